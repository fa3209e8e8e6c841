/*
 * A shared folder as a hostile guest sees it: on real files, as root and as an ordinary user, with openat2
 * and with openat2 denied as containers deny it. Beside the shared folder lies another, `outside`, that must
 * never be reached.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <ftw.h>
#include <glib.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <seccomp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fs/share.h"
#include "vmcore/error.h"

#define NOBODY 65534

static const VmcShareCaller USER = {1000, 1000}, OTHER = {1234, 4321}, ROOT = {0, 0};

typedef struct Folder {
    char *base, *inside, *outside;
    VmcShare *share;
    VmcShareNode *root;
} Folder;

static void open_share(Folder *f, bool readonly, unsigned max_descriptors)
{
    VmcShareOptions options = {
        .readonly = readonly, .uid = 1000, .gid = 1000, .max_descriptors = max_descriptors};
    GError *error = NULL;

    f->share = vmc_share_new(f->inside, &options, &error);
    if (!f->share)
        fail_msg("%s", error->message);
    f->root = vmc_share_root(f->share);
}

static void close_share(Folder *f)
{
    vmc_share_node_unref(f->root);
    vmc_share_free(f->share);
}

static char *at(const Folder *f, const char *name)
{
    static char path[2][512];
    static unsigned turn;

    turn = !turn;
    snprintf(path[turn], sizeof(path[0]), "%s/%s", f->inside, name);
    return path[turn];
}

static void put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static int setup(void **state)
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

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    return remove(path);
}

static int teardown(void **state)
{
    Folder *f = *state;

    close_share(f);
    nftw(f->base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    g_free(f->base);
    g_free(f->inside);
    g_free(f->outside);
    g_free(f);
    return 0;
}

/* ---- small steps ---- */

static VmcShareNode *find(VmcShareNode *dir, const char *name)
{
    VmcShareNode *node = NULL;
    VmcShareAttr attr;
    int err = vmc_share_lookup(dir, name, &node, &attr);

    if (err)
        fail_msg("lookup of %s: %s", name, strerror(-err));
    return node;
}

static int lookup_error(VmcShareNode *dir, const char *name)
{
    VmcShareNode *node;
    VmcShareAttr attr;
    int err = vmc_share_lookup(dir, name, &node, &attr);

    if (!err)
        vmc_share_node_unref(node);
    return err;
}

static VmcShareAttr attr_of(VmcShareNode *node)
{
    VmcShareAttr attr = {0};

    assert_int_equal(vmc_share_getattr(node, NULL, &attr), 0);
    return attr;
}

static VmcShareNode *make_file(VmcShareNode *dir, const char *name, VmcShareCaller who, uint32_t mode,
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

static VmcShareNode *make_dir(VmcShareNode *dir, const char *name, VmcShareCaller who, uint32_t mode)
{
    VmcShareNode *node;
    VmcShareAttr attr;

    assert_int_equal(vmc_share_mkdir(dir, name, &who, mode, &node, &attr), 0);
    return node;
}

static int open_error(VmcShareNode *node, int flags)
{
    VmcShareFile *file;
    int err = vmc_share_open(node, flags, &file);

    if (!err)
        vmc_share_file_unref(file);
    return err;
}

/* Up to 31 bytes of a node; NULL if it cannot be opened. */
static const char *text_of(VmcShareNode *node)
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

static int set_mode(VmcShareNode *node, uint32_t mode)
{
    VmcShareChange change = {.mask = VMC_SHARE_MODE, .mode = mode};

    return vmc_share_setattr(node, NULL, &change, NULL);
}

static int set_owner(VmcShareNode *node, uint32_t uid, uint32_t gid)
{
    VmcShareChange change = {.mask = VMC_SHARE_UID | VMC_SHARE_GID, .uid = uid, .gid = gid};

    return vmc_share_setattr(node, NULL, &change, NULL);
}

static mode_t host_mode(const Folder *f, const char *name)
{
    struct stat st;

    assert_int_equal(lstat(at(f, name), &st), 0);
    return st.st_mode & 07777;
}

/* ---- staying inside ---- */

static void names_with_a_way_out_are_refused(void **state)
{
    Folder *f = *state;
    static const char *const bad[] = {"", ".", "..", "/", "../outside", "a/b", "/etc", "a/..", "./x"};
    char too_long[300];
    VmcShareNode *node;
    VmcShareFile *file;
    VmcShareAttr attr;

    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        assert_int_equal(lookup_error(f->root, bad[i]), -EINVAL);
        assert_int_equal(vmc_share_mkdir(f->root, bad[i], &USER, 0755, &node, &attr), -EINVAL);
        assert_int_equal(vmc_share_symlink(f->root, bad[i], &USER, "x", &node, &attr), -EINVAL);
        assert_int_equal(vmc_share_mknod(f->root, bad[i], &USER, S_IFREG, &node, &attr), -EINVAL);
        assert_int_equal(vmc_share_create(f->root, bad[i], &USER, O_RDWR, 0644, &node, &attr, &file),
                         -EINVAL);
        assert_int_equal(vmc_share_unlink(f->root, bad[i]), -EINVAL);
        assert_int_equal(vmc_share_rmdir(f->root, bad[i]), -EINVAL);
        put(at(f, "here"), "x");
        assert_int_equal(vmc_share_rename(f->root, "here", f->root, bad[i], 0), -EINVAL);
        assert_int_equal(vmc_share_rename(f->root, bad[i], f->root, "there", 0), -EINVAL);
        node = find(f->root, "here");
        assert_int_equal(vmc_share_link(node, f->root, bad[i], NULL), -EINVAL);
        vmc_share_node_unref(node);
    }
    memset(too_long, 'a', sizeof(too_long));
    too_long[256] = 0;
    assert_int_equal(lookup_error(f->root, too_long), -ENAMETOOLONG);
    too_long[255] = 0;
    assert_int_equal(lookup_error(f->root, too_long), -ENOENT);
}

static void links_are_text_and_lead_nowhere(void **state)
{
    Folder *f = *state;
    char text[256];

    assert_int_equal(symlink(f->outside, at(f, "absolute")), 0);
    assert_int_equal(symlink("../outside/secret", at(f, "relative")), 0);
    assert_int_equal(symlink("/proc/self/root", at(f, "magic")), 0);
    static const char *const names[] = {"absolute", "relative", "magic"};
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        VmcShareNode *link = find(f->root, names[i]);
        VmcShareChange change = {.mask = VMC_SHARE_SIZE, .size = 0};
        assert_int_equal(vmc_share_node_type(link), S_IFLNK);
        assert_int_equal(open_error(link, O_RDONLY), -ELOOP);
        assert_int_equal(open_error(link, O_RDONLY | O_DIRECTORY), -ELOOP);
        assert_int_equal(lookup_error(link, "secret"), -ENOTDIR);
        assert_int_equal(vmc_share_setattr(link, NULL, &change, NULL), -EINVAL);
        assert_true(vmc_share_setxattr(link, "user.a", "b", 1, 0) < 0);
        assert_int_equal(vmc_share_unlink(link, "secret"), -ENOTDIR);
        vmc_share_node_unref(link);
    }
    VmcShareNode *link = find(f->root, "relative");
    int len = vmc_share_readlink(link, text, sizeof(text));
    assert_int_equal(len, strlen("../outside/secret"));
    assert_memory_equal(text, "../outside/secret", (size_t)len);
    vmc_share_node_unref(link);
}

static void creating_over_a_link_makes_nothing_outside(void **state)
{
    Folder *f = *state;
    VmcShareNode *node;
    VmcShareFile *file;
    VmcShareAttr attr;
    char *target = g_build_filename(f->outside, "new", NULL);

    assert_int_equal(symlink(target, at(f, "link")), 0);
    assert_int_equal(vmc_share_create(f->root, "link", &USER, O_RDWR, 0644, &node, &attr, &file), -ELOOP);
    assert_int_equal(vmc_share_create(f->root, "link", &USER, O_RDWR | O_EXCL, 0644, &node, &attr, &file),
                     -EEXIST);
    assert_int_equal(access(target, F_OK), -1);
    g_free(target);
}

static void touching_a_link_leaves_its_target_alone(void **state)
{
    Folder *f = *state;
    char *secret = g_build_filename(f->outside, "secret", NULL);
    struct stat before, after, link_st;
    VmcShareChange change = {.mask = VMC_SHARE_MTIME, .mtime = {1000000000, 5}};

    assert_int_equal(stat(secret, &before), 0);
    assert_int_equal(symlink(secret, at(f, "link")), 0);
    VmcShareNode *link = find(f->root, "link");
    assert_int_equal(vmc_share_setattr(link, NULL, &change, NULL), 0);
    assert_int_equal(set_mode(link, 04777), 0);
    assert_int_equal(set_owner(link, 5, 5), 0);
    assert_int_equal(stat(secret, &after), 0);
    assert_int_equal(lstat(at(f, "link"), &link_st), 0);
    assert_memory_equal(&before, &after, sizeof(before));
    assert_int_equal(link_st.st_mtime, 1000000000);
    vmc_share_node_unref(link);
    g_free(secret);
}

static void special_files_are_shown_and_never_opened(void **state)
{
    Folder *f = *state;
    VmcShareNode *node;
    VmcShareFile *file;
    VmcShareAttr attr;

    assert_int_equal(mkfifo(at(f, "pipe"), 0666), 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", at(f, "socket"));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    close(fd);
    bool device = !mknod(at(f, "zero"), S_IFCHR | 0666, makedev(1, 5));
    static const char *const names[] = {"pipe", "socket", "zero"};
    for (size_t i = 0; i < (device ? 3 : 2); i++) {
        node = find(f->root, names[i]);
        /* Opening the pipe would wait for a writer for ever. */
        assert_int_equal(open_error(node, O_RDONLY), -ENXIO);
        assert_int_equal(open_error(node, O_RDWR), -ENXIO);
        assert_int_equal(
            vmc_share_create(f->root, names[i], &USER, O_RDWR, 0644, &(VmcShareNode *){0}, &attr, &file),
            -ENXIO);
        VmcShareChange change = {.mask = VMC_SHARE_SIZE};
        assert_int_equal(vmc_share_setattr(node, NULL, &change, NULL), -EINVAL);
        VmcShareLock lock = {f, 1, F_WRLCK, 0, INT64_MAX};
        assert_int_equal(vmc_share_setlk(node, &lock), -EINVAL);
        vmc_share_node_unref(node);
    }
    assert_int_equal(vmc_share_mknod(f->root, "disk", &ROOT, S_IFBLK | 0666, &node, &attr), -EPERM);
    assert_int_equal(vmc_share_mknod(f->root, "tty", &ROOT, S_IFCHR | 0666, &node, &attr), -EPERM);
    assert_int_equal(vmc_share_mknod(f->root, "p2", &USER, S_IFIFO | 0620, &node, &attr), 0);
    assert_int_equal(attr.mode, S_IFIFO | 0620);
    vmc_share_node_unref(node);
}

/* Something that goes back and forth behind the layer's back. */
typedef struct Swapper {
    char a[512], b[512];
    atomic_bool stop;
    unsigned swaps;
} Swapper;

static gpointer swap(gpointer data)
{
    Swapper *s = data;

    while (!s->stop) {
        assert_int_equal(renameat2(AT_FDCWD, s->a, AT_FDCWD, s->b, RENAME_EXCHANGE), 0);
        s->swaps++;
    }
    return NULL;
}

/* Goes down `way` and reads "secret" there while the way is a folder and a link to `outside` in turn. */
static void race(Folder *f, unsigned rounds)
{
    Swapper s = {0};
    unsigned reached = 0;

    assert_int_equal(mkdir(at(f, "way"), 0755), 0);
    assert_int_equal(mkdir(at(f, "way/deep"), 0755), 0);
    put(at(f, "way/secret"), "inside");
    put(at(f, "way/deep/secret"), "inside");
    assert_int_equal(symlink(f->outside, at(f, "link")), 0);
    snprintf(s.a, sizeof(s.a), "%s", at(f, "way"));
    snprintf(s.b, sizeof(s.b), "%s", at(f, "link"));
    GThread *thread = g_thread_new("swap", swap, &s);
    for (unsigned i = 0; i < rounds || reached < 20; i++) {
        VmcShareNode *way, *node;
        VmcShareAttr attr;
        int err = vmc_share_lookup(f->root, "way", &way, &attr);
        assert_int_equal(err, 0);
        if (!vmc_share_lookup(way, "secret", &node, &attr)) {
            const char *text = text_of(node);
            if (text)
                assert_string_equal(text, "inside");
            reached += text != NULL;
            vmc_share_node_unref(node);
        }
        VmcShareNode *made;
        VmcShareFile *file;
        if (!vmc_share_create(way, "new", &USER, O_RDWR | O_EXCL, 0600, &made, &attr, &file)) {
            vmc_share_file_unref(file);
            vmc_share_node_unref(made);
            vmc_share_unlink(way, "new");
        }
        vmc_share_node_unref(way);
    }
    s.stop = true;
    g_thread_join(thread);
    char *made = g_build_filename(f->outside, "new", NULL);
    assert_int_equal(access(made, F_OK), -1);
    g_free(made);
    assert_true(s.swaps > 10);
}

static void a_folder_that_becomes_a_link_leads_nowhere(void **state)
{
    race(*state, 2000);
}

static void nor_does_it_when_descriptors_are_scarce(void **state)
{
    Folder *f = *state;

    close_share(f);
    open_share(f, false, 3);
    race(f, 2000);
}

/* A closed node is opened again by a path of several names, any of which may be a link by then. */
static void a_path_that_became_a_link_is_stale(void **state)
{
    Folder *f = *state;
    VmcShareNode *nodes[6];

    close_share(f);
    open_share(f, false, 4);
    assert_int_equal(mkdir(at(f, "way"), 0755), 0);
    assert_int_equal(mkdir(at(f, "way/deep"), 0755), 0);
    put(at(f, "way/deep/secret"), "inside");
    VmcShareNode *way = find(f->root, "way"), *deep = find(way, "deep"), *secret = find(deep, "secret");
    for (unsigned i = 0; i < G_N_ELEMENTS(nodes); i++) {
        char name[8];
        snprintf(name, sizeof(name), "f%u", i);
        put(at(f, name), "x");
        nodes[i] = find(f->root, name);
    }
    assert_string_equal(text_of(secret), "inside");
    for (unsigned i = 0; i < G_N_ELEMENTS(nodes); i++)
        attr_of(nodes[i]);
    assert_int_equal(rename(at(f, "way"), at(f, "moved")), 0);
    char *fake = g_build_filename(f->outside, "deep", NULL);
    assert_int_equal(mkdir(fake, 0755), 0);
    char *fake_secret = g_build_filename(fake, "secret", NULL);
    put(fake_secret, "outside");
    assert_int_equal(symlink(f->outside, at(f, "way")), 0);
    VmcShareAttr attr;
    assert_int_equal(vmc_share_getattr(secret, NULL, &attr), -ESTALE);
    assert_int_equal(open_error(secret, O_RDONLY), -ESTALE);
    /* Found again under its new name, it is the same node. */
    VmcShareNode *moved = find(f->root, "moved"), *deep2 = find(moved, "deep"),
                 *again = find(deep2, "secret");
    assert_ptr_equal(again, secret);
    assert_string_equal(text_of(secret), "inside");
    for (unsigned i = 0; i < G_N_ELEMENTS(nodes); i++)
        vmc_share_node_unref(nodes[i]);
    VmcShareNode *all[] = {way, deep, secret, moved, deep2, again};
    for (unsigned i = 0; i < G_N_ELEMENTS(all); i++)
        vmc_share_node_unref(all[i]);
    g_free(fake);
    g_free(fake_secret);
}

static void another_file_with_the_same_name_is_stale(void **state)
{
    Folder *f = *state;
    VmcShareAttr attr;

    close_share(f);
    open_share(f, false, 2);
    put(at(f, "a"), "first");
    put(at(f, "b"), "x");
    VmcShareNode *a = find(f->root, "a"), *b = find(f->root, "b");
    attr_of(b);
    assert_int_equal(unlink(at(f, "a")), 0);
    put(at(f, "a"), "second");
    assert_int_equal(vmc_share_getattr(a, NULL, &attr), -ESTALE);
    VmcShareNode *new = find(f->root, "a");
    assert_true(vmc_share_node_id(new) != vmc_share_node_id(a));
    assert_string_equal(text_of(new), "second");
    vmc_share_node_unref(new);
    vmc_share_node_unref(a);
    vmc_share_node_unref(b);
}

/* ---- descriptors ---- */

static unsigned open_descriptors(void)
{
    GDir *dir = g_dir_open("/proc/self/fd", 0, NULL);
    unsigned n = 0;

    while (g_dir_read_name(dir))
        n++;
    g_dir_close(dir);
    return n;
}

static void many_nodes_need_few_descriptors(void **state)
{
    enum { FILES = 300 };
    Folder *f = *state;
    VmcShareNode *nodes[FILES], *dirs[3];
    char name[16], text[16];

    close_share(f);
    open_share(f, false, 20);
    unsigned before = open_descriptors();
    dirs[0] = make_dir(f->root, "a", USER, 0755);
    dirs[1] = make_dir(dirs[0], "b", USER, 0755);
    dirs[2] = make_dir(dirs[1], "c", USER, 0755);
    for (unsigned i = 0; i < FILES; i++) {
        snprintf(name, sizeof(name), "f%u", i);
        nodes[i] = make_file(dirs[i % 3], name, USER, 0644, name);
    }
    assert_in_range(open_descriptors(), before, before + 20);
    /* The ways change while most nodes are closed. */
    assert_int_equal(vmc_share_rename(dirs[0], "b", f->root, "b2", 0), 0);
    for (unsigned i = 0; i < FILES; i++) {
        snprintf(text, sizeof(text), "f%u", i);
        assert_string_equal(text_of(nodes[i]), text);
    }
    assert_in_range(open_descriptors(), before, before + 20);
    /* What loses its last name while it is closed stays. */
    for (unsigned i = 0; i < 15; i++) {
        snprintf(name, sizeof(name), "f%u", i);
        assert_int_equal(vmc_share_unlink(dirs[i % 3], name), 0);
        assert_string_equal(text_of(nodes[i]), name);
    }
    /* But not without end. */
    int err = 0;
    for (unsigned i = 15; i < FILES && !err; i++) {
        snprintf(name, sizeof(name), "f%u", i);
        vmc_share_unlink(dirs[i % 3], name);
        VmcShareAttr attr;
        err = vmc_share_getattr(nodes[i], NULL, &attr);
    }
    assert_true(err == -ENFILE || err == -ESTALE);
    assert_in_range(open_descriptors(), before, before + 20);
    for (unsigned i = 0; i < FILES; i++)
        vmc_share_node_unref(nodes[i]);
    for (unsigned i = 0; i < 3; i++)
        vmc_share_node_unref(dirs[i]);
}

static void open_files_are_capped(void **state)
{
    Folder *f = *state;
    VmcShareFile *files[8];

    close_share(f);
    open_share(f, false, 8);
    put(at(f, "a"), "x");
    VmcShareNode *a = find(f->root, "a");
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(vmc_share_open(a, O_RDONLY, &files[i]), 0);
    assert_int_equal(open_error(a, O_RDONLY), -ENFILE);
    VmcShareLock lock = {f, 1, F_RDLCK, 0, 1};
    assert_int_equal(vmc_share_setlk(a, &lock), -ENFILE);
    vmc_share_file_unref(files[0]);
    assert_int_equal(open_error(a, O_RDONLY), 0);
    for (unsigned i = 1; i < 8; i++)
        vmc_share_file_unref(files[i]);
    vmc_share_node_unref(a);
}

static void the_limit_of_descriptors_is_raised(void **state)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(limit.rlim_cur, limit.rlim_max);
}

static void a_process_without_descriptors_makes_room(void **state)
{
    enum { FILES = 40 };
    Folder *f = *state;
    VmcShareNode *nodes[FILES];
    struct rlimit limit, low;
    char name[16];

    for (unsigned i = 0; i < FILES; i++) {
        snprintf(name, sizeof(name), "f%u", i);
        nodes[i] = make_file(f->root, name, USER, 0644, name);
    }
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    low = limit;
    low.rlim_cur = open_descriptors() - 1; /* less one for the listing itself */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    for (unsigned i = 0; i < FILES; i++) {
        snprintf(name, sizeof(name), "f%u", i);
        const char *text = text_of(nodes[i]);
        if (!text) {
            setrlimit(RLIMIT_NOFILE, &limit);
            fail_msg("%s cannot be opened", name);
        }
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (unsigned i = 0; i < FILES; i++)
        vmc_share_node_unref(nodes[i]);
}

/* ---- owners and modes ---- */

static void the_guests_user_owns_what_it_makes(void **state)
{
    Folder *f = *state;
    struct stat st;

    VmcShareNode *mine = make_file(f->root, "mine", USER, 0640, "");
    VmcShareNode *roots = make_file(f->root, "roots", ROOT, 0600, "");
    VmcShareNode *theirs = make_dir(f->root, "theirs", OTHER, 0700);
    assert_int_equal(attr_of(mine).uid, 1000);
    assert_int_equal(attr_of(mine).mode, S_IFREG | 0640);
    assert_int_equal(getxattr(at(f, "mine"), "user.espalier.owner", NULL, 0), -1);
    assert_int_equal(attr_of(roots).uid, 0);
    assert_int_equal(attr_of(roots).gid, 0);
    assert_int_equal(attr_of(theirs).uid, 1234);
    assert_int_equal(attr_of(theirs).gid, 4321);
    assert_int_equal(stat(at(f, "theirs"), &st), 0);
    assert_int_equal(st.st_uid, geteuid());
    vmc_share_node_unref(mine);
    vmc_share_node_unref(roots);
    vmc_share_node_unref(theirs);
}

static void chown_is_kept_and_shown(void **state)
{
    Folder *f = *state;
    char list[256];

    VmcShareNode *a = make_file(f->root, "a", USER, 0755, "");
    assert_int_equal(set_owner(a, 33, 44), 0);
    vmc_share_node_unref(a);
    close_share(f);
    open_share(f, false, 0);
    a = find(f->root, "a");
    assert_int_equal(attr_of(a).uid, 33);
    assert_int_equal(attr_of(a).gid, 44);
    assert_int_equal(attr_of(a).mode, S_IFREG | 0755);
    assert_int_equal(vmc_share_listxattr(a, list, sizeof(list)), 0);
    assert_int_equal(vmc_share_getxattr(a, "user.espalier.owner", list, sizeof(list)), -ENODATA);
    assert_int_equal(vmc_share_setxattr(a, "user.espalier.owner", "0:0:4755:755", 12, 0), -EPERM);
    assert_int_equal(vmc_share_removexattr(a, "user.espalier.owner"), -ENODATA);
    assert_int_equal(vmc_share_setxattr(a, "user.espalier.x.trusted.a", "0", 1, 0), -EPERM);
    assert_int_equal(set_owner(a, 1000, 1000), 0);
    assert_int_equal(getxattr(at(f, "a"), "user.espalier.owner", NULL, 0), -1);
    vmc_share_node_unref(a);
}

static void setuid_is_never_real(void **state)
{
    Folder *f = *state;

    VmcShareNode *a = make_file(f->root, "a", USER, 0755, "");
    assert_int_equal(set_mode(a, 06755), 0);
    assert_int_equal(attr_of(a).mode, S_IFREG | 06755);
    assert_int_equal(host_mode(f, "a"), 0755);
    /* A write of someone who is not root ends it; so does a new owner. */
    VmcShareFile *file;
    assert_int_equal(vmc_share_open(a, O_RDWR, &file), 0);
    struct iovec iov = {"x", 1};
    assert_int_equal(vmc_share_write(file, &iov, 1, 0, false), 1);
    assert_int_equal(attr_of(a).mode, S_IFREG | 06755);
    assert_int_equal(vmc_share_write(file, &iov, 1, 0, true), 1);
    assert_int_equal(attr_of(a).mode, S_IFREG | 0755);
    assert_int_equal(set_mode(a, 04755), 0);
    assert_int_equal(vmc_share_write(file, &iov, 1, 0, true), 1);
    assert_int_equal(attr_of(a).mode, S_IFREG | 0755);
    assert_int_equal(set_mode(a, 04711), 0);
    assert_int_equal(set_owner(a, 7, 7), 0);
    assert_int_equal(attr_of(a).mode, S_IFREG | 0711);
    vmc_share_file_unref(file);
    /* Created so, by a umask of the host that would take more away. */
    mode_t old = umask(077);
    VmcShareNode *b = make_file(f->root, "b", USER, 04775, "");
    VmcShareNode *d = make_dir(f->root, "d", USER, 0777);
    umask(old);
    assert_int_equal(attr_of(b).mode, S_IFREG | 04775);
    assert_int_equal(host_mode(f, "b"), 0775);
    assert_int_equal(host_mode(f, "d"), 0777);
    VmcShareNode *all[] = {a, b, d};
    for (unsigned i = 0; i < 3; i++)
        vmc_share_node_unref(all[i]);
}

static void the_hosts_setuid_is_not_shown(void **state)
{
    Folder *f = *state;

    put(at(f, "a"), "");
    assert_int_equal(chmod(at(f, "a"), 04755), 0);
    VmcShareNode *a = find(f->root, "a");
    assert_int_equal(attr_of(a).mode, S_IFREG | 0755);
    vmc_share_node_unref(a);
}

static void modes_that_shut_out_their_owner_are_only_shown(void **state)
{
    Folder *f = *state;

    VmcShareNode *a = make_file(f->root, "a", USER, 0444, "text");
    VmcShareNode *d = make_dir(f->root, "d", USER, 0755);
    assert_int_equal(attr_of(a).mode, S_IFREG | 0444);
    assert_int_equal(set_mode(a, 0), 0);
    assert_int_equal(attr_of(a).mode, S_IFREG);
    assert_int_equal(set_owner(a, 5, 6), 0);
    assert_int_equal(attr_of(a).mode, S_IFREG);
    assert_int_equal(attr_of(a).uid, 5);
    assert_string_equal(text_of(a), "text"); /* as the guest's root may */
    assert_int_equal(set_mode(d, 0555), 0);
    assert_int_equal(attr_of(d).mode, S_IFDIR | 0555);
    vmc_share_node_unref(make_file(d, "in", ROOT, 0644, ""));
    /* The host changes its mind: then that counts. */
    assert_int_equal(chmod(at(f, "a"), 0751), 0);
    assert_int_equal(attr_of(a).mode, S_IFREG | 0751);
    assert_int_equal(attr_of(a).uid, 5);
    vmc_share_node_unref(a);
    vmc_share_node_unref(d);
}

static void a_directory_with_setgid_hands_its_group_down(void **state)
{
    Folder *f = *state;

    VmcShareNode *d = make_dir(f->root, "d", USER, 0755);
    assert_int_equal(set_owner(d, 1000, 50), 0);
    assert_int_equal(set_mode(d, 02775), 0);
    assert_int_equal(host_mode(f, "d"), 0775);
    VmcShareNode *file = make_file(d, "file", OTHER, 0664, "");
    VmcShareNode *sub = make_dir(d, "sub", OTHER, 0755);
    assert_int_equal(attr_of(file).uid, 1234);
    assert_int_equal(attr_of(file).gid, 50);
    assert_int_equal(attr_of(file).mode, S_IFREG | 0664);
    assert_int_equal(attr_of(sub).gid, 50);
    assert_int_equal(attr_of(sub).mode, S_IFDIR | 02755);
    VmcShareNode *all[] = {d, file, sub};
    for (unsigned i = 0; i < 3; i++)
        vmc_share_node_unref(all[i]);
}

static void nonsense_in_the_owner_attribute_is_ignored(void **state)
{
    Folder *f = *state;
    static const char *const bad[] = {"",
                                      "x",
                                      "1",
                                      "1:",
                                      ":1",
                                      "1:2:",
                                      "1:2:3",
                                      "1:2:9:1",
                                      "1:2:7777777:644",
                                      "99999999999:1",
                                      "-1:1",
                                      "1:2:755:644:1",
                                      "1:2 ",
                                      "0x1:1"};

    put(at(f, "a"), "");
    VmcShareNode *a = find(f->root, "a");
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        assert_int_equal(setxattr(at(f, "a"), "user.espalier.owner", bad[i], strlen(bad[i]), 0), 0);
        assert_int_equal(attr_of(a).uid, 1000);
        assert_int_equal(attr_of(a).mode, S_IFREG | 0644);
    }
    assert_int_equal(set_owner(a, 8, 9), 0);
    assert_int_equal(attr_of(a).uid, 8);
    vmc_share_node_unref(a);
}

/* ---- names ---- */

static void links_and_renames_keep_the_node(void **state)
{
    Folder *f = *state;
    VmcShareAttr attr;

    VmcShareNode *a = make_file(f->root, "a", USER, 0644, "a"), *b = make_file(f->root, "b", USER, 0644, "b");
    VmcShareNode *d = make_dir(f->root, "d", USER, 0755);
    assert_int_equal(vmc_share_link(a, d, "a2", &attr), 0);
    assert_int_equal(attr.nlink, 2);
    VmcShareNode *a2 = find(d, "a2");
    assert_ptr_equal(a2, a);
    assert_int_equal(vmc_share_link(d, f->root, "d2", &attr), -EPERM);
    assert_int_equal(vmc_share_rename(f->root, "a", f->root, "b", RENAME_NOREPLACE), -EEXIST);
    assert_int_equal(vmc_share_rename(f->root, "a", f->root, "b", RENAME_EXCHANGE), 0);
    VmcShareNode *now_b = find(f->root, "b");
    assert_ptr_equal(now_b, a);
    assert_int_equal(vmc_share_rename(f->root, "a", f->root, "c", 4), -EINVAL);
    assert_int_equal(vmc_share_rename(f->root, "b", f->root, "a", 0), 0);
    assert_string_equal(text_of(b), "b"); /* nameless by now */
    assert_int_equal(attr_of(b).nlink, 0);
    assert_int_equal(vmc_share_rmdir(f->root, "d"), -ENOTEMPTY);
    assert_int_equal(vmc_share_unlink(d, "a2"), 0);
    assert_int_equal(vmc_share_rmdir(f->root, "d"), 0);
    assert_int_equal(vmc_share_unlink(d, "a2"), -ENOENT);
    VmcShareNode *all[] = {a, b, d, a2, now_b};
    for (unsigned i = 0; i < 5; i++)
        vmc_share_node_unref(all[i]);
}

static void parents_are_known_and_never_beyond_the_root(void **state)
{
    Folder *f = *state;

    VmcShareNode *d = make_dir(f->root, "d", USER, 0755), *e = make_dir(d, "e", USER, 0755);
    VmcShareNode *up = vmc_share_node_parent(e), *top = vmc_share_node_parent(up), *root;
    assert_ptr_equal(up, d);
    assert_ptr_equal(top, f->root);
    root = vmc_share_node_parent(top);
    assert_ptr_equal(root, f->root);
    /* The host turns the two folders inside out, which must not make a circle of them. */
    assert_int_equal(rename(at(f, "d/e"), at(f, "e")), 0);
    assert_int_equal(rename(at(f, "d"), at(f, "e/d")), 0);
    VmcShareNode *d2 = find(e, "d");
    assert_ptr_equal(d2, d);
    assert_int_equal(attr_of(d).nlink, 2);
    VmcShareNode *all[] = {d, e, up, top, root, d2};
    for (unsigned i = 0; i < 6; i++)
        vmc_share_node_unref(all[i]);
}

static void nothing_changes_in_a_read_only_share(void **state)
{
    Folder *f = *state;
    VmcShareNode *node;
    VmcShareFile *file;
    VmcShareAttr attr;
    VmcShareChange change = {.mask = VMC_SHARE_ATIME_NOW};

    put(at(f, "a"), "text");
    assert_int_equal(mkdir(at(f, "d"), 0755), 0);
    close_share(f);
    open_share(f, true, 0);
    VmcShareNode *a = find(f->root, "a");
    assert_string_equal(text_of(a), "text");
    assert_int_equal(open_error(a, O_RDWR), -EROFS);
    assert_int_equal(open_error(a, O_RDONLY | O_TRUNC), -EROFS);
    assert_int_equal(vmc_share_create(f->root, "n", &USER, O_RDWR, 0644, &node, &attr, &file), -EROFS);
    assert_int_equal(vmc_share_create(f->root, "a", &USER, O_RDWR, 0644, &node, &attr, &file), -EROFS);
    assert_int_equal(vmc_share_tmpfile(f->root, &USER, O_RDWR, 0644, &node, &attr, &file), -EROFS);
    assert_int_equal(vmc_share_mkdir(f->root, "n", &USER, 0755, &node, &attr), -EROFS);
    assert_int_equal(vmc_share_mknod(f->root, "n", &USER, S_IFREG, &node, &attr), -EROFS);
    assert_int_equal(vmc_share_symlink(f->root, "n", &USER, "x", &node, &attr), -EROFS);
    assert_int_equal(vmc_share_link(a, f->root, "n", NULL), -EROFS);
    assert_int_equal(vmc_share_unlink(f->root, "a"), -EROFS);
    assert_int_equal(vmc_share_rmdir(f->root, "d"), -EROFS);
    assert_int_equal(vmc_share_rename(f->root, "a", f->root, "b", 0), -EROFS);
    assert_int_equal(vmc_share_setattr(a, NULL, &change, NULL), -EROFS);
    assert_int_equal(vmc_share_setxattr(a, "user.a", "b", 1, 0), -EROFS);
    assert_int_equal(vmc_share_removexattr(a, "user.a"), -EROFS);
    assert_int_equal(vmc_share_access(a, &ROOT, W_OK), -EROFS);
    vmc_share_node_unref(a);
}

static void access_goes_by_what_the_guest_sees(void **state)
{
    Folder *f = *state;

    VmcShareNode *a = make_file(f->root, "a", OTHER, 0460, "");
    assert_int_equal(vmc_share_access(a, &OTHER, R_OK), 0);
    assert_int_equal(vmc_share_access(a, &OTHER, W_OK), -EACCES);
    assert_int_equal(vmc_share_access(a, &(VmcShareCaller){1, 4321}, R_OK | W_OK), 0);
    assert_int_equal(vmc_share_access(a, &USER, R_OK), -EACCES);
    assert_int_equal(vmc_share_access(a, &ROOT, R_OK | W_OK), 0);
    assert_int_equal(vmc_share_access(a, &ROOT, X_OK), -EACCES);
    vmc_share_node_unref(a);
}

/* ---- files ---- */

static void files_do_what_files_do(void **state)
{
    Folder *f = *state;
    VmcShareFile *file, *copy;
    char buf[16] = {0};

    VmcShareNode *a = make_file(f->root, "a", USER, 0644, ""), *b = make_file(f->root, "b", USER, 0644, "");
    assert_int_equal(vmc_share_open(a, O_RDWR, &file), 0);
    assert_int_equal(vmc_share_open(b, O_RDWR, &copy), 0);
    struct iovec two[2] = {{"ab", 2}, {"cde", 3}}, in = {buf, sizeof(buf)};
    assert_int_equal(vmc_share_write(file, two, 2, 1 << 20, false), 5);
    assert_int_equal(vmc_share_read(file, &in, 1, (1 << 20) + 1), 4);
    assert_memory_equal(buf, "bcde", 4);
    assert_int_equal(vmc_share_lseek(file, 0, SEEK_END), (1 << 20) + 5);
    assert_in_range(vmc_share_lseek(file, 0, SEEK_DATA), 1, 1 << 20);
    assert_int_equal(vmc_share_lseek(file, 0, SEEK_HOLE), 0);
    assert_int_equal(vmc_share_lseek(file, 0, SEEK_SET), -EINVAL);
    assert_int_equal(vmc_share_copy(file, 1 << 20, copy, 3, 100), 5);
    assert_int_equal(vmc_share_read(copy, &in, 1, 0), 8);
    assert_memory_equal(buf, "\0\0\0abcde", 8);
    assert_int_equal(vmc_share_fallocate(copy, 0, 0, 10000), 0);
    assert_int_equal(attr_of(b).size, 10000);
    assert_int_equal(vmc_share_fallocate(copy, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 3, 2), 0);
    assert_int_equal(vmc_share_read(copy, &in, 1, 3), 16);
    assert_memory_equal(buf, "\0\0cde", 5);
    assert_int_equal(vmc_share_fallocate(copy, FALLOC_FL_COLLAPSE_RANGE, 0, 4096), -EOPNOTSUPP);
    VmcShareChange change = {.mask = VMC_SHARE_SIZE | VMC_SHARE_MTIME, .size = 4, .mtime = {77, 88}};
    VmcShareAttr attr;
    assert_int_equal(vmc_share_setattr(b, copy, &change, &attr), 0);
    assert_int_equal(attr.size, 4);
    assert_int_equal(attr.mtime.tv_sec, 77);
    assert_int_equal(attr.mtime.tv_nsec, 88);
    change.mtime.tv_nsec = 1000000000;
    assert_int_equal(vmc_share_setattr(b, copy, &change, &attr), -EINVAL);
    assert_int_equal(vmc_share_fsync(file, true), 0);
    assert_int_equal(vmc_share_read(file, &in, 1, UINT64_MAX), -EINVAL);
    vmc_share_file_unref(file);
    vmc_share_file_unref(copy);
    vmc_share_node_unref(a);
    vmc_share_node_unref(b);
}

static void a_file_without_a_name_can_get_one(void **state)
{
    Folder *f = *state;
    VmcShareNode *node;
    VmcShareFile *file;
    VmcShareAttr attr;

    int err = vmc_share_tmpfile(f->root, &OTHER, O_RDWR, 0600, &node, &attr, &file);
    if (err == -EOPNOTSUPP)
        skip();
    assert_int_equal(err, 0);
    assert_int_equal(attr.nlink, 0);
    assert_int_equal(attr.uid, 1234);
    assert_int_equal(vmc_share_link(node, f->root, "named", &attr), 0);
    assert_int_equal(attr.nlink, 1);
    VmcShareNode *named = find(f->root, "named");
    assert_ptr_equal(named, node);
    vmc_share_file_unref(file);
    vmc_share_node_unref(node);
    vmc_share_node_unref(named);
}

typedef struct Listing {
    GHashTable *seen;
    uint64_t next;
    unsigned left;
} Listing;

static bool list_one(void *opaque, const VmcShareDirEntry *entry)
{
    Listing *l = opaque;

    if (!l->left)
        return false;
    l->left--;
    l->next = entry->next;
    assert_true(g_hash_table_add(l->seen, g_strdup(entry->name)));
    return true;
}

static void a_directory_is_read_in_pieces(void **state)
{
    Folder *f = *state;
    VmcShareFile *dir;
    char name[32];

    for (unsigned i = 0; i < 2000; i++) {
        snprintf(name, sizeof(name), "a-file-with-the-number-%u", i);
        put(at(f, name), "");
    }
    assert_int_equal(vmc_share_open(f->root, O_RDONLY | O_DIRECTORY, &dir), 0);
    for (unsigned piece = 7; piece < 10000; piece *= 20) {
        Listing l = {.seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL)};
        do {
            l.left = piece;
            assert_int_equal(vmc_share_readdir(dir, l.next, list_one, &l), 0);
        } while (!l.left);
        assert_int_equal(g_hash_table_size(l.seen), 2002);
        g_hash_table_unref(l.seen);
    }
    assert_int_equal(vmc_share_readdir(dir, UINT64_MAX, list_one, NULL), -EINVAL);
    vmc_share_file_unref(dir);
}

static void attributes_of_all_namespaces_are_kept(void **state)
{
    Folder *f = *state;
    char value[64], list[256], long_name[300] = "user.";
    static const char *const names[] = {"user.plain", "trusted.overlay.opaque", "security.selinux",
                                        "com.apple.FinderInfo"};

    VmcShareNode *a = make_file(f->root, "a", OTHER, 04755, "");
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(vmc_share_getxattr(a, names[i], value, 64), -ENODATA);
        assert_int_equal(vmc_share_setxattr(a, names[i], names[i], strlen(names[i]), XATTR_CREATE), 0);
        assert_int_equal(vmc_share_setxattr(a, names[i], "", 0, XATTR_CREATE), -EEXIST);
        assert_int_equal(vmc_share_getxattr(a, names[i], NULL, 0), strlen(names[i]));
        assert_int_equal(vmc_share_getxattr(a, names[i], value, 3), -ERANGE);
        assert_int_equal(vmc_share_getxattr(a, names[i], value, 64), strlen(names[i]));
        assert_memory_equal(value, names[i], strlen(names[i]));
    }
    ssize_t len = vmc_share_listxattr(a, NULL, 0), expected = 0;
    for (unsigned i = 0; i < 4; i++)
        expected += (ssize_t)strlen(names[i]) + 1;
    assert_int_equal(len, expected);
    assert_int_equal(vmc_share_listxattr(a, list, (size_t)len - 1), -ERANGE);
    assert_int_equal(vmc_share_listxattr(a, list, sizeof(list)), len);
    for (unsigned i = 0; i < 4; i++) {
        bool there = false;
        for (char *p = list; p < list + len; p += strlen(p) + 1)
            there |= !strcmp(p, names[i]);
        assert_true(there);
        assert_int_equal(vmc_share_removexattr(a, names[i]), 0);
    }
    assert_int_equal(vmc_share_setxattr(a, "system.posix_acl_access", "x", 1, 0), -EOPNOTSUPP);
    assert_int_equal(vmc_share_getxattr(a, "system.posix_acl_access", value, 64), -EOPNOTSUPP);
    assert_true(vmc_share_setxattr(a, "", "x", 1, 0) < 0);
    assert_int_equal(vmc_share_setxattr(a, "user.a", "x", 1, 4), -EINVAL);
    memset(long_name + 5, 'a', 290);
    assert_int_equal(vmc_share_setxattr(a, long_name, "x", 1, 0), -ERANGE);
    vmc_share_node_unref(a);
}

static void a_capability_ends_with_a_write(void **state)
{
    Folder *f = *state;
    VmcShareFile *file;
    struct iovec iov = {"x", 1};

    VmcShareNode *a = make_file(f->root, "a", USER, 0755, "");
    assert_int_equal(vmc_share_open(a, O_RDWR, &file), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(vmc_share_setxattr(a, "security.capability", "cap", 3, 0), 0);
        assert_int_equal(vmc_share_write(file, &iov, 1, 0, true), 1);
        assert_int_equal(vmc_share_getxattr(a, "security.capability", NULL, 0), -ENODATA);
    }
    vmc_share_file_unref(file);
    vmc_share_node_unref(a);
}

/* ---- at once ---- */

/* Whether the share has to do things at once: the test's folder may lie on anything. */
static bool is_on_disk(const Folder *f)
{
    struct statfs st;

    assert_int_equal(statfs(f->inside, &st), 0);
    return st.f_type == EXT4_SUPER_MAGIC || st.f_type == XFS_SUPER_MAGIC || st.f_type == BTRFS_SUPER_MAGIC;
}

/* The owner is remembered only when it is a moment since the last change. */
static VmcShareAttr attr_at_once(VmcShareNode *node, VmcShareFile *file)
{
    gint64 deadline = g_get_monotonic_time() + 60 * G_TIME_SPAN_SECOND;
    VmcShareAttr attr;
    int err;

    while ((err = vmc_share_getattr_at_once(node, file, &attr)) == -EAGAIN) {
        assert_true(g_get_monotonic_time() < deadline);
        g_usleep(G_TIME_SPAN_MILLISECOND);
        attr_of(node);
    }
    assert_int_equal(err, 0);
    return attr;
}

static void attributes_at_once_are_those_of_now(void **state)
{
    Folder *f = *state;
    VmcShareAttr attr;

    if (!is_on_disk(f))
        skip();
    VmcShareNode *a = make_file(f->root, "a", OTHER, 04750, "text");
    assert_int_equal(vmc_share_getattr_at_once(a, NULL, &attr), -EAGAIN); /* too young */
    assert_int_equal(attr_at_once(a, NULL).uid, 1234);
    assert_int_equal(attr_at_once(a, NULL).mode, S_IFREG | 04750);
    assert_int_equal(attr_at_once(a, NULL).size, 4);
    /* The host and the guest change it; what is remembered must not be told any more. */
    assert_int_equal(setxattr(at(f, "a"), "user.espalier.owner", "7:8", 3, 0), 0);
    assert_int_equal(vmc_share_getattr_at_once(a, NULL, &attr), -EAGAIN);
    assert_int_equal(attr_at_once(a, NULL).uid, 7);
    assert_int_equal(chmod(at(f, "a"), 0640), 0);
    assert_int_equal(vmc_share_getattr_at_once(a, NULL, &attr), -EAGAIN);
    assert_int_equal(attr_at_once(a, NULL).mode, S_IFREG | 0640);
    assert_int_equal(set_owner(a, 33, 44), 0);
    assert_int_equal(vmc_share_getattr_at_once(a, NULL, &attr), -EAGAIN);
    assert_int_equal(attr_at_once(a, NULL).gid, 44);
    vmc_share_node_unref(a);
    /* Nothing is kept for links. */
    assert_int_equal(symlink("a", at(f, "link")), 0);
    VmcShareNode *link = find(f->root, "link");
    assert_int_equal(vmc_share_getattr_at_once(link, NULL, &attr), 0);
    assert_int_equal(attr.mode & S_IFMT, S_IFLNK);
    vmc_share_node_unref(link);
}

static void names_in_the_cache_are_found_at_once(void **state)
{
    Folder *f = *state;
    VmcShareNode *node;
    VmcShareAttr attr;

    if (!is_on_disk(f))
        skip();
    VmcShareNode *a = make_file(f->root, "a", USER, 0644, "text");
    attr_at_once(a, NULL);
    int err = vmc_share_lookup_at_once(f->root, "a", &node, &attr);
    /* Where openat2 is denied, the kernel cannot be asked for what it has in its cache alone. */
    if (err != -EAGAIN) {
        assert_int_equal(err, 0);
        assert_ptr_equal(node, a);
        assert_int_equal(attr.size, 4);
        vmc_share_node_unref(node);
        assert_int_equal(lookup_error(f->root, "nothing"), -ENOENT);
        assert_int_equal(vmc_share_lookup_at_once(f->root, "nothing", &node, &attr), -ENOENT);
    } else {
        assert_int_equal(syscall(SYS_openat2, AT_FDCWD, "/", NULL, 0), -1);
        assert_int_not_equal(errno, EINVAL);
    }
    /* Nothing but a name in this folder is, ever. */
    assert_int_equal(vmc_share_lookup_at_once(f->root, "..", &node, &attr), -EAGAIN);
    assert_int_equal(vmc_share_lookup_at_once(f->root, "../outside", &node, &attr), -EAGAIN);
    assert_int_equal(vmc_share_lookup_at_once(a, "a", &node, &attr), -EAGAIN);
    vmc_share_node_unref(a);
}

static void what_is_in_memory_is_read_at_once(void **state)
{
    Folder *f = *state;
    VmcShareFile *file;
    char buf[16] = {0};
    struct iovec iov = {buf, sizeof(buf)}, begin = {buf, 2};

    if (!is_on_disk(f))
        skip();
    VmcShareNode *a = make_file(f->root, "a", USER, 0644, "some text");
    assert_int_equal(vmc_share_open(a, O_RDWR, &file), 0);
    assert_int_equal(vmc_share_read_at_once(file, &begin, 1, 5), 2);
    assert_memory_equal(buf, "te", 2);
    assert_int_equal(vmc_share_read_at_once(file, &iov, 1, 0), 9); /* to the end, and no further */
    assert_memory_equal(buf, "some text", 9);
    assert_int_equal(vmc_share_read_at_once(file, &iov, 1, 100), 0);
    assert_int_equal(vmc_share_read_at_once(file, &iov, 1, UINT64_MAX), -EAGAIN);
    /* What is on the disk alone has to be waited for. */
    assert_int_equal(vmc_share_fsync(file, false), 0);
    int fd = open(at(f, "a"), O_RDONLY);
    assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    close(fd);
    ssize_t done = vmc_share_read_at_once(file, &iov, 1, 0);
    assert_true(done == -EAGAIN || done == 9);
    assert_int_equal(vmc_share_read(file, &iov, 1, 0), 9);
    vmc_share_file_unref(file);
    vmc_share_node_unref(a);
}

static void a_node_without_locks_has_nothing_to_unlock(void **state)
{
    Folder *f = *state;

    VmcShareNode *a = make_file(f->root, "a", USER, 0644, "text");
    VmcShareLock lock = {f, 1, F_WRLCK, 0, 9};
    assert_int_equal(vmc_share_unlock_owner_at_once(a), 0);
    assert_int_equal(vmc_share_setlk(a, &lock), 0);
    assert_int_equal(vmc_share_unlock_owner_at_once(a), -EAGAIN);
    vmc_share_unlock_owner(a, f, 1);
    assert_int_equal(vmc_share_unlock_owner_at_once(a), 0);
    vmc_share_node_unref(a);
}

/* ---- locks ---- */

static void record_locks_belong_to_processes(void **state)
{
    Folder *f = *state;

    VmcShareNode *a = make_file(f->root, "a", USER, 0644, "text");
    VmcShareLock one = {f, 1, F_WRLCK, 0, 9}, two = {f, 2, F_RDLCK, 5, INT64_MAX}, probe;
    assert_int_equal(vmc_share_setlk(a, &one), 0);
    assert_int_equal(vmc_share_setlk(a, &one), 0); /* its own lock is not in its way */
    assert_int_equal(vmc_share_setlk(a, &two), -EAGAIN);
    probe = two;
    assert_int_equal(vmc_share_getlk(a, &probe), 0);
    assert_int_equal(probe.type, F_WRLCK);
    assert_int_equal(probe.start, 0);
    assert_int_equal(probe.end, 9);
    VmcShareLock part = {f, 1, F_UNLCK, 5, 9};
    assert_int_equal(vmc_share_setlk(a, &part), 0);
    assert_int_equal(vmc_share_setlk(a, &two), 0);
    /* Programs of the host see them, and the other way round. */
    int fd = open(at(f, "a"), O_RDWR);
    struct flock fl = {.l_type = F_WRLCK, .l_start = 7, .l_len = 1};
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &fl), -1);
    vmc_share_unlock_owner(a, f, 2);
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &fl), 0);
    assert_int_equal(vmc_share_setlk(a, &two), -EAGAIN);
    close(fd);
    assert_int_equal(vmc_share_setlk(a, &two), 0);
    VmcShareLock bad = {f, 1, F_WRLCK, 9, 8};
    assert_int_equal(vmc_share_setlk(a, &bad), -EINVAL);
    bad = (VmcShareLock){f, 1, 77, 0, 8};
    assert_int_equal(vmc_share_setlk(a, &bad), -EINVAL);
    bad = (VmcShareLock){f, 1, F_RDLCK, 0, UINT64_MAX};
    assert_int_equal(vmc_share_setlk(a, &bad), -EINVAL);
    vmc_share_node_unref(a);
}

static void file_locks_belong_to_open_files(void **state)
{
    Folder *f = *state;
    VmcShareFile *one, *two;

    VmcShareNode *a = make_file(f->root, "a", USER, 0644, "text");
    assert_int_equal(vmc_share_open(a, O_RDONLY, &one), 0);
    assert_int_equal(vmc_share_open(a, O_RDONLY, &two), 0);
    assert_int_equal(vmc_share_flock(one, LOCK_EX), 0);
    assert_int_equal(vmc_share_flock(two, LOCK_SH), -EAGAIN);
    vmc_share_file_unref(one);
    assert_int_equal(vmc_share_flock(two, LOCK_SH), 0);
    assert_int_equal(vmc_share_flock(two, LOCK_EX | LOCK_NB), -EINVAL);
    vmc_share_file_unref(two);
    vmc_share_node_unref(a);
}

/* ---- opening ---- */

static void what_cannot_be_shared_is_named(void **state)
{
    Folder *f = *state;
    VmcShareOptions options = {0};
    GError *error = NULL;

    put(at(f, "file"), "");
    assert_null(vmc_share_new(at(f, "file"), &options, &error));
    assert_true(g_error_matches(error, VMC_ERROR, VMC_ERROR_CONFIG));
    assert_non_null(strstr(error->message, at(f, "file")));
    g_clear_error(&error);
    assert_null(vmc_share_new(at(f, "nothing"), &options, &error));
    assert_true(g_error_matches(error, VMC_ERROR, VMC_ERROR_CONFIG));
    g_clear_error(&error);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static int run_all(void)
{
    const struct CMUnitTest tests[] = {
        CASE(names_with_a_way_out_are_refused),
        CASE(links_are_text_and_lead_nowhere),
        CASE(creating_over_a_link_makes_nothing_outside),
        CASE(touching_a_link_leaves_its_target_alone),
        CASE(special_files_are_shown_and_never_opened),
        CASE(a_folder_that_becomes_a_link_leads_nowhere),
        CASE(nor_does_it_when_descriptors_are_scarce),
        CASE(a_path_that_became_a_link_is_stale),
        CASE(another_file_with_the_same_name_is_stale),
        CASE(many_nodes_need_few_descriptors),
        CASE(open_files_are_capped),
        CASE(the_limit_of_descriptors_is_raised),
        CASE(a_process_without_descriptors_makes_room),
        CASE(the_guests_user_owns_what_it_makes),
        CASE(chown_is_kept_and_shown),
        CASE(setuid_is_never_real),
        CASE(the_hosts_setuid_is_not_shown),
        CASE(modes_that_shut_out_their_owner_are_only_shown),
        CASE(a_directory_with_setgid_hands_its_group_down),
        CASE(nonsense_in_the_owner_attribute_is_ignored),
        CASE(links_and_renames_keep_the_node),
        CASE(parents_are_known_and_never_beyond_the_root),
        CASE(nothing_changes_in_a_read_only_share),
        CASE(access_goes_by_what_the_guest_sees),
        CASE(files_do_what_files_do),
        CASE(a_file_without_a_name_can_get_one),
        CASE(a_directory_is_read_in_pieces),
        CASE(attributes_of_all_namespaces_are_kept),
        CASE(a_capability_ends_with_a_write),
        CASE(attributes_at_once_are_those_of_now),
        CASE(names_in_the_cache_are_found_at_once),
        CASE(what_is_in_memory_is_read_at_once),
        CASE(a_node_without_locks_has_nothing_to_unlock),
        CASE(record_locks_belong_to_processes),
        CASE(file_locks_belong_to_open_files),
        CASE(what_cannot_be_shared_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* As containers' filters do it. */
static bool deny_openat2(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    struct open_how how = {.flags = O_PATH};

    bool ok = !seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(openat2), 0) && !seccomp_load(filter);
    seccomp_release(filter);
    return ok && syscall(SYS_openat2, AT_FDCWD, "/", &how, sizeof(how)) < 0 && errno == EPERM;
}

static bool become_ordinary(void)
{
    if (geteuid())
        return true;
    if (setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) || setresuid(NOBODY, NOBODY, NOBODY))
        return false;
    return !prctl(PR_SET_DUMPABLE, 1); /* /proc/self is root's without */
}

/* All cases once more in a child that something was taken from. */
static int run_without(const char *what, bool (*take_away)(void))
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

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    int failed = run_all();

    failed |= run_without("openat2 denied", deny_openat2);
    if (!geteuid())
        failed |= run_without("as an ordinary user", become_ordinary);
    return failed;
}
