/*
 * What a guest does with files in a shared folder: names, data, listings, extended attributes, locks.
 */
#include "tests/unit/share_rig.h"

#include <linux/falloc.h>
#include <sys/file.h>
#include <sys/xattr.h>

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

static int run_all(void)
{
    const struct CMUnitTest tests[] = {
        CASE(links_and_renames_keep_the_node),
        CASE(parents_are_known_and_never_beyond_the_root),
        CASE(nothing_changes_in_a_read_only_share),
        CASE(access_goes_by_what_the_guest_sees),
        CASE(files_do_what_files_do),
        CASE(a_file_without_a_name_can_get_one),
        CASE(a_directory_is_read_in_pieces),
        CASE(attributes_of_all_namespaces_are_kept),
        CASE(a_capability_ends_with_a_write),
        CASE(record_locks_belong_to_processes),
        CASE(file_locks_belong_to_open_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    return run_three_ways(run_all);
}
