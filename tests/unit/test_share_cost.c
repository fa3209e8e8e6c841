/*
 * What a shared folder takes of the host: few descriptors, however much the guest knows and has open; and of
 * what needs no waiting, no waiting.
 */
#include "tests/unit/share_rig.h"

#include <linux/magic.h>
#include <sys/resource.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

/* ---- descriptors ---- */

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

static int run_all(void)
{
    const struct CMUnitTest tests[] = {
        CASE(many_nodes_need_few_descriptors),     CASE(open_files_are_capped),
        CASE(the_limit_of_descriptors_is_raised),  CASE(a_process_without_descriptors_makes_room),
        CASE(attributes_at_once_are_those_of_now), CASE(names_in_the_cache_are_found_at_once),
        CASE(what_is_in_memory_is_read_at_once),   CASE(a_node_without_locks_has_nothing_to_unlock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    return run_three_ways(run_all);
}
