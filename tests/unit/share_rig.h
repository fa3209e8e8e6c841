/*
 * A shared folder for tests as a hostile guest sees it: on real files, as root and as an ordinary user, with
 * openat2 and with openat2 denied as containers deny it. Beside the shared folder lies another, `outside`,
 * that must never be reached.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <glib.h>
#include <linux/openat2.h>
#include <seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/share.h"
#include "tests/unit/folder.h"

#define NOBODY 65534

static const VmcShareCaller USER = {1000, 1000}, OTHER = {1234, 4321}, ROOT = {0, 0};

typedef struct Folder {
    char *base, *inside, *outside;
    VmcShare *share;
    VmcShareNode *root;
} Folder;

static inline void open_share(Folder *f, bool readonly, unsigned max_descriptors)
{
    VmcShareOptions options = {
        .readonly = readonly, .uid = 1000, .gid = 1000, .max_descriptors = max_descriptors};
    GError *error = NULL;

    f->share = vmc_share_new(f->inside, &options, &error);
    if (!f->share)
        fail_msg("%s", error->message);
    f->root = vmc_share_root(f->share);
}

static inline void close_share(Folder *f)
{
    vmc_share_node_unref(f->root);
    vmc_share_free(f->share);
}

static inline char *at(const Folder *f, const char *name)
{
    static char path[2][512];
    static unsigned turn;

    turn = !turn;
    snprintf(path[turn], sizeof(path[0]), "%s/%s", f->inside, name);
    return path[turn];
}

static inline void put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static inline int setup(void **state)
{
    Folder *f = g_new0(Folder, 1);

    f->base = g_dir_make_tmp("share-XXXXXX", NULL);
    f->inside = g_build_filename(f->base, "inside", NULL);
    f->outside = g_build_filename(f->base, "outside", NULL);
    assert_int_equal(mkdir(f->inside, 0755), 0);
    assert_int_equal(mkdir(f->outside, 0755), 0);
    char *secret = g_build_filename(f->outside, "secret", NULL);
    put(secret, "outside");
    g_free(secret);
    open_share(f, false, 0);
    *state = f;
    return 0;
}

static inline int teardown(void **state)
{
    Folder *f = *state;

    close_share(f);
    remove_folder(f->base);
    g_free(f->base);
    g_free(f->inside);
    g_free(f->outside);
    g_free(f);
    return 0;
}

/* ---- small steps ---- */

static inline VmcShareNode *find(VmcShareNode *dir, const char *name)
{
    VmcShareNode *node = NULL;
    VmcShareAttr attr;
    int err = vmc_share_lookup(dir, name, &node, &attr);

    if (err)
        fail_msg("lookup of %s: %s", name, strerror(-err));
    return node;
}

static inline int lookup_error(VmcShareNode *dir, const char *name)
{
    VmcShareNode *node;
    VmcShareAttr attr;
    int err = vmc_share_lookup(dir, name, &node, &attr);

    if (!err)
        vmc_share_node_unref(node);
    return err;
}

static inline VmcShareAttr attr_of(VmcShareNode *node)
{
    VmcShareAttr attr = {0};

    assert_int_equal(vmc_share_getattr(node, NULL, &attr), 0);
    return attr;
}

static inline VmcShareNode *make_file(VmcShareNode *dir, const char *name, VmcShareCaller who, uint32_t mode,
                                      const char *text)
{
    VmcShareNode *node;
    VmcShareFile *file;
    VmcShareAttr attr;

    assert_int_equal(vmc_share_create(dir, name, &who, O_RDWR | O_CREAT | O_EXCL, mode, &node, &attr, &file),
                     0);
    struct iovec iov = {(void *)(uintptr_t)text, strlen(text)};
    assert_int_equal(vmc_share_write(file, &iov, 1, 0, false), strlen(text));
    vmc_share_file_unref(file);
    return node;
}

static inline VmcShareNode *make_dir(VmcShareNode *dir, const char *name, VmcShareCaller who, uint32_t mode)
{
    VmcShareNode *node;
    VmcShareAttr attr;

    assert_int_equal(vmc_share_mkdir(dir, name, &who, mode, &node, &attr), 0);
    return node;
}

static inline int open_error(VmcShareNode *node, int flags)
{
    VmcShareFile *file;
    int err = vmc_share_open(node, flags, &file);

    if (!err)
        vmc_share_file_unref(file);
    return err;
}

/* Up to 31 bytes of a node; NULL if it cannot be opened. */
static inline const char *text_of(VmcShareNode *node)
{
    static char text[32];
    VmcShareFile *file;

    if (vmc_share_open(node, O_RDONLY, &file))
        return NULL;
    struct iovec iov = {text, sizeof(text) - 1};
    ssize_t len = vmc_share_read(file, &iov, 1, 0);
    vmc_share_file_unref(file);
    if (len < 0)
        return NULL;
    text[len] = 0;
    return text;
}

static inline int set_mode(VmcShareNode *node, uint32_t mode)
{
    VmcShareChange change = {.mask = VMC_SHARE_MODE, .mode = mode};

    return vmc_share_setattr(node, NULL, &change, NULL);
}

static inline int set_owner(VmcShareNode *node, uint32_t uid, uint32_t gid)
{
    VmcShareChange change = {.mask = VMC_SHARE_UID | VMC_SHARE_GID, .uid = uid, .gid = gid};

    return vmc_share_setattr(node, NULL, &change, NULL);
}

static inline mode_t host_mode(const Folder *f, const char *name)
{
    struct stat st;

    assert_int_equal(lstat(at(f, name), &st), 0);
    return st.st_mode & 07777;
}

/* ---- three ways to run ---- */

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* As containers' filters do it. */
static inline bool deny_openat2(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    struct open_how how = {.flags = O_PATH};

    bool ok = !seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(openat2), 0) && !seccomp_load(filter);
    seccomp_release(filter);
    return ok && syscall(SYS_openat2, AT_FDCWD, "/", &how, sizeof(how)) < 0 && errno == EPERM;
}

static inline bool become_ordinary(void)
{
    if (geteuid())
        return true;
    if (setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) || setresuid(NOBODY, NOBODY, NOBODY))
        return false;
    return !prctl(PR_SET_DUMPABLE, 1); /* /proc/self is root's without */
}

/* All cases once more in a child that something was taken from. */
static inline int run_without(int (*run_all)(void), const char *what, bool (*take_away)(void))
{
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        print_message("# %s\n", what);
        if (!take_away())
            exit(99);
        exit(run_all() ? 1 : 0);
    }
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child)
        return 1;
    return status != 0;
}

/* `run_all` as it is, where openat2 is denied, and as an ordinary user if this is root. For main. */
static inline int run_three_ways(int (*run_all)(void))
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    int failed = run_all();

    failed |= run_without(run_all, "openat2 denied", deny_openat2);
    if (!geteuid())
        failed |= run_without(run_all, "as an ordinary user", become_ordinary);
    return failed;
}
