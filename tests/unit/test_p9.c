/*
 * virtio-9p and files: what a guest finds, makes and changes in a shared folder, and what it is refused.
 */
#include "tests/unit/p9_rig.h"

#include <dirent.h>
#include <sys/xattr.h>

/* ---- starting ---- */

static void the_device_tells_its_tag(void **state)
{
    P9 *p = *state = plug(false);
    const char *tag = "folder";

    assert_int_equal(vmc_bus_read(p->rig.mmio, p->rig.device, 2), strlen(tag));
    for (unsigned i = 0; i < strlen(tag); i++)
        assert_int_equal(vmc_bus_read(p->rig.mmio, p->rig.device + 2 + i, 1), tag[i]);
    assert_int_equal(rig_read(&p->rig, RIG_COMMON(num_queues), 2), 1);
    assert_int_equal(rig_offered(&p->rig) & 1, 1);
    assert_int_equal(rig_config(&p->rig, PCI_DEVICE_ID, 2), 0x1049);
}

static void nothing_is_served_before_a_version_is_agreed_on(void **state)
{
    P9 *p = *state = plug(false);

    rig_bring_up(&p->rig, RIG_FEATURES | 1, 1, SIZE);
    assert_int_equal(ask(p, ATTACH, "ddssd", 0, NOFID, "", "", 0), -EIO);
    assert_int_equal(ask(p, VERSION, "ds", 4096, "9P2000.L"), -EMSGSIZE);
    assert_int_equal(ask(p, VERSION, "ds", MSIZE, "9P2000.u"), 0);
    assert_int_equal(get(p, 4), MSIZE);
    assert_int_equal(get(p, 2), 7);
    assert_memory_equal(p->answer, "unknown", 7);
    assert_int_equal(ask(p, ATTACH, "ddssd", 0, NOFID, "", "", 0), -EIO);
    /* More than we take is answered with what we take. */
    assert_int_equal(ask(p, VERSION, "ds", 1u << 30, "9P2000.L"), 0);
    assert_int_equal(get(p, 4), 512 * 1024 + 24);
    assert_int_equal(get(p, 2), 8);
    assert_memory_equal(p->answer, "9P2000.L", 8);
    assert_int_equal(ask(p, AUTH, "dssd", 5, "", "", 0), -EOPNOTSUPP);
    assert_int_equal(ask(p, ATTACH, "ddssd", 0, NOFID, "", "anything", 0), 0);
    assert_int_equal(get(p, 1), 0x80);
    assert_int_equal(ask(p, ATTACH, "ddssd", 0, NOFID, "", "", 0), -EBADF);
    assert_int_equal(ask(p, ATTACH, "ddssd", NOFID, NOFID, "", "", 0), -EBADF);
    /* A new version is a new session. */
    assert_int_equal(ask(p, VERSION, "ds", MSIZE, "9P2000.L"), 0);
    assert_int_equal(clunk(p, 0), -EBADF);
}

/* ---- names ---- */

static void fids_walk_through_folders(void **state)
{
    P9 *p = *state;
    Attr root, attr;

    assert_int_equal(mkdir(at(p, "a"), 0755), 0);
    assert_int_equal(mkdir(at(p, "a/b"), 0755), 0);
    host_writes(p, "a/b/c", "text");
    assert_int_equal(ask(p, WALK, "ddwsss", 0, 1, 3, "a", "b", "c"), 0);
    assert_int_equal(get(p, 2), 3);
    assert_int_equal(p->answer_len, 3 * 13);
    assert_int_equal(p->answer[0], 0x80);
    assert_int_equal(p->answer[26], 0);
    assert_int_equal(getattr(p, 1, &attr), 0);
    assert_int_equal(attr.size, 4);
    /* As far as it goes, and then there is no fid; if not one step goes, that is an error. */
    assert_int_equal(ask(p, WALK, "ddwsss", 0, 2, 3, "a", "x", "c"), 0);
    assert_int_equal(get(p, 2), 1);
    assert_int_equal(clunk(p, 2), -EBADF);
    assert_int_equal(walk(p, 0, 2, "x"), -ENOENT);
    assert_int_equal(walk(p, 1, 2, "x"), -ENOTDIR);
    assert_int_equal(walk(p, 9, 2, NULL), -EBADF);
    assert_int_equal(walk(p, 0, 1, NULL), -EBADF);
    /* A copy, and a walk in place. */
    assert_int_equal(walk(p, 1, 2, NULL), 0);
    assert_int_equal(clunk(p, 1), 0);
    assert_int_equal(getattr(p, 2, &attr), 0);
    assert_int_equal(attr.size, 4);
    assert_int_equal(walk(p, 0, 3, "a"), 0);
    assert_int_equal(walk(p, 3, 3, "b"), 0);
    assert_int_equal(walk(p, 3, 3, "c"), 0);
    assert_int_equal(getattr(p, 3, &attr), 0);
    assert_int_equal(attr.size, 4);
    /* Upwards ends at the root. */
    assert_int_equal(ask(p, WALK, "ddwssss", 0, 4, 4, "a", "b", "..", "."), 0);
    assert_int_equal(walk(p, 4, 5, "b"), 0);
    assert_int_equal(ask(p, WALK, "ddwsss", 4, 6, 3, "..", "..", ".."), 0);
    assert_int_equal(getattr(p, 0, &root), 0);
    assert_int_equal(getattr(p, 6, &attr), 0);
    assert_int_equal(attr.ino, root.ino);
}

static void nothing_outside_is_reachable(void **state)
{
    static const char *const bad[] = {"a/b", "/", "/etc", "../x", "", "a/"};
    P9 *p = *state;
    char secret[600];

    snprintf(secret, sizeof(secret), "%s-secret", p->folder);
    assert_true(g_file_set_contents(secret, "secret", -1, NULL));
    char *beside = g_path_get_basename(secret);
    assert_int_equal(mkdir(at(p, "a"), 0755), 0);
    host_writes(p, "a/b", "x");
    assert_int_equal(symlink(secret, at(p, "link")), 0);
    assert_int_equal(symlink("..", at(p, "up")), 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        assert_int_equal(walk(p, 0, 1, bad[i]), -EINVAL);
        assert_int_equal(ask(p, MKDIR, "dsdd", 0, bad[i], 0755, 0), -EINVAL);
        assert_int_equal(ask(p, UNLINKAT, "dsd", 0, bad[i], 0), -EINVAL);
        assert_int_equal(ask(p, RENAMEAT, "dsds", 0, "a", 0, bad[i]), -EINVAL);
        assert_int_equal(ask(p, SYMLINK, "dssd", 0, bad[i], "target", 0), -EINVAL);
    }
    assert_int_equal(ask(p, RENAMEAT, "dsds", 0, "a", 0, ".."), -EINVAL);
    assert_int_equal(ask(p, UNLINKAT, "dsd", 0, "..", 0x200), -EINVAL);
    assert_int_equal(ask(p, WALK, "ddwss", 0, 1, 2, "..", beside), 0);
    assert_int_equal(get(p, 2), 1);
    /* Links are text: they are not walked through and not opened. */
    assert_int_equal(ask(p, WALK, "ddwss", 0, 1, 2, "up", beside), 0);
    assert_int_equal(get(p, 2), 1);
    assert_int_equal(walk(p, 0, 1, "link"), 0);
    assert_int_equal(get(p, 2), 1);
    assert_int_equal(get(p, 1), 2);
    assert_int_equal(ask(p, LOPEN, "dd", 1, O_RDONLY), -ELOOP);
    assert_int_equal(ask(p, READLINK, "d", 1), 0);
    assert_int_equal(get(p, 2), strlen(secret));
    assert_memory_equal(p->answer, secret, strlen(secret));
    /* A NUL in a name does not end it. */
    begin(p, WALK);
    put(p, 0, 4);
    put(p, 2, 4);
    put(p, 1, 2);
    put(p, 3, 2);
    memcpy(p->text + p->len, "a\0b", 3);
    p->len += 3;
    assert_int_equal(ask_room(p, ROOM), -EINVAL);
    unlink(secret);
    g_free(beside);
}

static void names_are_made_moved_and_removed(void **state)
{
    P9 *p = *state;
    Attr attr;
    struct stat st;

    assert_int_equal(ask(p, MKDIR, "dsdd", 0, "d", 0750, 0), 0);
    assert_int_equal(get(p, 1), 0x80);
    assert_int_equal(ask(p, MKDIR, "dsdd", 0, "d", 0750, 0), -EEXIST);
    assert_int_equal(walk(p, 0, 1, "d"), 0);
    create(p, 2, "file");
    assert_int_equal(ask(p, LINK, "dds", 1, 2, "second"), 0);
    assert_int_equal(getattr(p, 2, &attr), 0);
    assert_int_equal(attr.nlink, 2);
    assert_int_equal(attr.uid, UID);
    assert_int_equal(attr.gid, GID);
    assert_int_equal(attr.mode, S_IFREG | 0644);
    assert_int_equal(ask(p, SYMLINK, "dssd", 1, "link", "../file", 0), 0);
    assert_int_equal(ask(p, MKNOD, "dsdddd", 1, "pipe", S_IFIFO | 0600, 0, 0, 0), 0);
    assert_int_equal(ask(p, MKNOD, "dsdddd", 1, "disk", S_IFBLK | 0600, 8, 0, 0), -EPERM);
    assert_int_equal(ask(p, MKNOD, "dsdddd", 1, "tty", S_IFCHR | 0600, 5, 0, 0), -EPERM);
    assert_int_equal(lstat(at(p, "d/pipe"), &st), 0);
    assert_true(S_ISFIFO(st.st_mode));
    assert_int_equal(walk(p, 1, 3, "pipe"), 0);
    assert_int_equal(ask(p, LOPEN, "dd", 3, O_RDWR), -ENXIO);
    assert_int_equal(ask(p, RENAMEAT, "dsds", 0, "file", 1, "moved"), 0);
    assert_int_equal(ask(p, UNLINKAT, "dsd", 0, "d", 0), -EISDIR);
    assert_int_equal(ask(p, UNLINKAT, "dsd", 0, "d", 0x200), -ENOTEMPTY);
    assert_int_equal(ask(p, UNLINKAT, "dsd", 1, "moved", 0), 0);
    assert_int_equal(ask(p, UNLINKAT, "dsd", 1, "second", 7), -EINVAL);
    assert_int_equal(ask(p, UNLINKAT, "dsd", 1, "second", 0), 0);
    /* Open still, without a name. */
    assert_int_equal(write_file(p, 2, 0, "text", 4), 4);
    assert_int_equal(getattr(p, 2, &attr), 0);
    assert_int_equal(attr.nlink, 0);
    assert_int_equal(attr.size, 4);
}

/* By fid: the name it was walked to, of several; and another one if that has gone. */
static void fids_are_renamed_and_removed(void **state)
{
    P9 *p = *state;

    host_writes(p, "one", "x");
    char *one = g_strdup(at(p, "one"));
    assert_int_equal(link(one, at(p, "two")), 0);
    assert_int_equal(mkdir(at(p, "d"), 0755), 0);
    assert_int_equal(walk(p, 0, 1, "one"), 0);
    assert_int_equal(walk(p, 0, 2, "two"), 0);
    assert_int_equal(walk(p, 0, 3, "d"), 0);
    assert_int_equal(ask(p, REMOVE, "d", 1), 0);
    assert_int_equal(access(one, F_OK), -1);
    assert_int_equal(access(at(p, "two"), F_OK), 0);
    assert_int_equal(clunk(p, 1), -EBADF);
    assert_int_equal(ask(p, RENAME, "dds", 2, 3, "three"), 0);
    assert_int_equal(access(at(p, "d/three"), F_OK), 0);
    /* The fid went where the file went, also if another fid took it there. */
    assert_int_equal(ask(p, RENAME, "dds", 2, 0, "four"), 0);
    assert_int_equal(access(at(p, "four"), F_OK), 0);
    assert_int_equal(ask(p, RENAMEAT, "dsds", 0, "four", 3, "five"), 0);
    host_writes(p, "four", "not this one");
    assert_int_equal(ask(p, REMOVE, "d", 2), 0);
    assert_int_equal(access(at(p, "d/five"), F_OK), -1);
    assert_int_equal(access(at(p, "four"), F_OK), 0);
    assert_int_equal(ask(p, RENAME, "dds", 0, 3, "root"), -EBUSY);
    /* The fid goes even if the folder does not. */
    host_writes(p, "d/x", "x");
    assert_int_equal(ask(p, REMOVE, "d", 3), -ENOTEMPTY);
    assert_int_equal(clunk(p, 3), -EBADF);
    g_free(one);
}

/* ---- files ---- */

static void a_file_is_made_written_and_read(void **state)
{
    P9 *p = *state;
    uint8_t *data = g_malloc(60000);
    Attr attr;

    for (unsigned i = 0; i < 60000; i++)
        data[i] = (uint8_t)(i * 7 + (i >> 8));
    assert_int_equal(walk(p, 0, 1, NULL), 0);
    assert_int_equal(ask(p, LCREATE, "dsddd", 1, "f", O_RDWR | O_EXCL, 0644, 0), 0);
    get(p, 13);
    uint32_t iounit = (uint32_t)get(p, 4);
    assert_true(iounit && iounit <= MSIZE - 24 && iounit % 4096 == 0);
    assert_int_equal(write_file(p, 1, 5, data, 60000), 60000);
    assert_int_equal(getattr(p, 1, &attr), 0);
    assert_int_equal(attr.size, 60005);
    assert_true(attr.version);
    assert_int_equal(read_file(p, 1, 5, 60000), 60000);
    assert_memory_equal(p->answer, data, 60000);
    assert_int_equal(read_file(p, 1, 60000, 100), 5);
    assert_int_equal(read_file(p, 1, 70000, 100), 0);
    /* No more than a message holds, or than there is room for. */
    assert_int_equal(write_file(p, 1, 60000, data, 60000), 60000);
    assert_int_equal(read_file(p, 1, 0, 1u << 31), MSIZE - 11);
    begin(p, READ);
    put(p, 1, 4), put(p, 0, 8), put(p, 100, 4);
    assert_int_equal(ask_room(p, 31), 0);
    assert_int_equal(get(p, 4), 20);
    assert_int_equal(ask(p, FSYNC, "d", 1), 0);
    assert_int_equal(ask(p, FSYNC, "dd", 1, 1), 0);
    assert_int_equal(read_file(p, 1, UINT64_MAX, 1), -EINVAL);
    /* Opened once, made once. */
    assert_int_equal(ask(p, LOPEN, "dd", 1, O_RDONLY), -EBADF);
    assert_int_equal(ask(p, LCREATE, "dsddd", 1, "g", O_RDWR, 0644, 0), -EBADF);
    assert_int_equal(walk(p, 1, 1, NULL), -EBADF);
    assert_int_equal(walk(p, 0, 2, NULL), 0);
    assert_int_equal(ask(p, LCREATE, "dsddd", 2, "f", O_RDWR | O_EXCL, 0644, 0), -EEXIST);
    assert_int_equal(read_file(p, 2, 0, 1), -EBADF);
    assert_int_equal(write_file(p, 2, 0, "x", 1), -EBADF);
    assert_int_equal(walk(p, 2, 2, "f"), 0);
    assert_int_equal(ask(p, LOPEN, "dd", 2, O_WRONLY | O_TRUNC), 0);
    assert_int_equal(read_file(p, 2, 0, 1), -EBADF);
    assert_int_equal(getattr(p, 2, &attr), 0);
    assert_int_equal(attr.size, 0);
    g_free(data);
}

static void attributes_change(void **state)
{
    const char *form = "dddddqqqqq";
    const uint64_t none = 0;
    P9 *p = *state;
    Attr attr;
    struct stat st;
    char kept[64] = "";

    create(p, 1, "f");
    assert_int_equal(ask(p, SETATTR, form, 1, 1, 04751, 0, 0, none, none, none, none, none), 0);
    assert_int_equal(getattr(p, 1, &attr), 0);
    assert_int_equal(attr.mode, S_IFREG | 04751);
    assert_int_equal(stat(at(p, "f"), &st), 0);
    assert_int_equal(st.st_mode & 07000, 0);
    /* Whoever writes ends setuid. */
    assert_int_equal(write_file(p, 1, 0, "text", 4), 4);
    assert_int_equal(getattr(p, 1, &attr), 0);
    assert_int_equal(attr.mode, S_IFREG | 0751);
    assert_int_equal(ask(p, SETATTR, form, 1, 6, 0, 12, 34, none, none, none, none, none), 0);
    assert_int_equal(getattr(p, 1, &attr), 0);
    assert_int_equal(attr.uid, 12);
    assert_int_equal(attr.gid, 34);
    assert_true(getxattr(at(p, "f"), "user.espalier.owner", kept, sizeof(kept) - 1) > 0);
    assert_int_equal(stat(at(p, "f"), &st), 0);
    assert_int_equal(st.st_uid, geteuid());
    assert_int_equal(ask(p, SETATTR, form, 1, 8 | 0x20 | 0x100, 0, 0, 0, UINT64_C(9), none, none,
                         UINT64_C(1000), UINT64_C(5)),
                     0);
    assert_int_equal(getattr(p, 1, &attr), 0);
    assert_int_equal(attr.size, 9);
    assert_int_equal(attr.mtime, 1000);
    assert_int_equal(ask(p, SETATTR, form, 1, 0x20, 0, 0, 0, none, none, none, none, none), 0);
    assert_int_equal(getattr(p, 1, &attr), 0);
    assert_true(attr.mtime > 1000);
    assert_int_equal(ask(p, SETATTR, form, 1, 0x20 | 0x100, 0, 0, 0, none, none, none, none, UINT64_MAX),
                     -EINVAL);
    assert_int_equal(ask(p, STATFS, "d", 0), 0);
    assert_int_equal(get(p, 4), 0x01021997);
    assert_true(get(p, 4) >= 512);
    assert_true(get(p, 8) > 0);
    assert_int_equal(p->answer_len, 44);
}

static void a_folder_is_listed_in_pieces(void **state)
{
    enum { FILES = 300 };
    P9 *p = *state;
    bool seen[FILES] = {false};
    unsigned n = 0, dots = 0, rounds = 0;
    uint64_t offset = 0;
    char name[256] = "";

    for (unsigned i = 0; i < FILES; i++) {
        snprintf(name, sizeof(name), "file-%u", i);
        host_writes(p, name, "x");
    }
    assert_int_equal(walk(p, 0, 1, NULL), 0);
    assert_int_equal(ask(p, READDIR, "dqd", 1, UINT64_C(0), 4096), -EBADF);
    assert_int_equal(ask(p, LOPEN, "dd", 1, 0200000), 0);
    assert_int_equal(ask(p, READDIR, "dqd", 1, UINT64_C(0), 10), -EINVAL);
    assert_int_equal(read_file(p, 1, 0, 100), -EISDIR);
    for (;; rounds++) {
        assert_int_equal(ask(p, READDIR, "dqd", 1, offset, 2000), 0);
        size_t len = (size_t)get(p, 4);
        assert_int_equal(len, p->answer_len);
        assert_true(len <= 2000);
        if (!p->answer_len)
            break;
        while (p->answer_len) {
            uint8_t type = (uint8_t)get(p, 1);
            get(p, 4), get(p, 8);
            offset = get(p, 8);
            assert_int_equal(get(p, 1), type ? DT_DIR : DT_REG);
            unsigned name_len = (unsigned)get(p, 2), number = FILES;
            memcpy(name, p->answer, name_len);
            name[name_len] = 0;
            p->answer += name_len;
            p->answer_len -= name_len;
            dots += name[0] == '.';
            if (sscanf(name, "file-%u", &number) == 1) {
                assert_true(number < FILES && !seen[number]);
                seen[number] = true;
                n++;
            }
        }
    }
    assert_int_equal(n, FILES);
    assert_int_equal(dots, 2);
    assert_true(rounds > 4);
}

/* ---- extended attributes ---- */

static int set_xattr(P9 *p, unsigned fid, const char *name, const char *value, unsigned flags)
{
    int err = walk(p, fid, 90, NULL);

    if (!err)
        err = ask(p, XATTRCREATE, "dsqd", 90, name, (uint64_t)strlen(value), flags);
    if (!err && *value)
        assert_int_equal(write_file(p, 90, 0, value, (uint32_t)strlen(value)), strlen(value));
    int end = clunk(p, 90);
    return err ? err : end;
}

static int get_xattr(P9 *p, unsigned fid, const char *name)
{
    int err = ask(p, XATTRWALK, "dds", fid, 91, name);

    if (err)
        return err;
    uint64_t size = get(p, 8);
    int len = read_file(p, 91, 0, 65536);
    assert_int_equal(len, size);
    uint8_t copy[1024];
    assert_true(len >= 0 && (size_t)len < sizeof(copy));
    memcpy(copy, p->answer, (size_t)len);
    assert_int_equal(read_file(p, 91, size + 5, 10), 0);
    assert_int_equal(write_file(p, 91, 0, "x", 1), -EBADF);
    assert_int_equal(clunk(p, 91), 0);
    memcpy(p->text, copy, (size_t)len);
    return len;
}

static void extended_attributes_are_kept(void **state)
{
    P9 *p = *state;

    host_writes(p, "f", "x");
    assert_int_equal(walk(p, 0, 1, "f"), 0);
    assert_int_equal(get_xattr(p, 1, "user.a"), -ENODATA);
    assert_int_equal(set_xattr(p, 1, "user.a", "value", 0), 0);
    assert_int_equal(get_xattr(p, 1, "user.a"), 5);
    assert_memory_equal(p->text, "value", 5);
    assert_int_equal(set_xattr(p, 1, "user.a", "value", XATTR_CREATE), -EEXIST);
    assert_int_equal(set_xattr(p, 1, "user.b", "value", XATTR_REPLACE), -ENODATA);
    assert_int_equal(set_xattr(p, 1, "com.apple.x", "mac", 0), 0);
    assert_int_equal(set_xattr(p, 1, "user.espalier.owner", "0:0:777", 0), -EPERM);
    assert_int_equal(set_xattr(p, 1, "system.posix_acl_access", "x", 0), -EOPNOTSUPP);
    assert_int_equal(get_xattr(p, 1, ""), 7 + 12);
    /* Nothing in it is a value, too; with XATTR_REPLACE it is the end of the attribute. */
    assert_int_equal(set_xattr(p, 1, "user.a", "", 0), 0);
    assert_int_equal(get_xattr(p, 1, "user.a"), 0);
    assert_int_equal(set_xattr(p, 1, "user.a", "", XATTR_REPLACE), 0);
    assert_int_equal(get_xattr(p, 1, "user.a"), -ENODATA);
    assert_int_equal(set_xattr(p, 1, "user.a", "", XATTR_REPLACE), -ENODATA);
    /* A value that does not come, or too much of it. */
    assert_int_equal(ask(p, XATTRCREATE, "dsqd", 1, "user.c", UINT64_C(1) << 40, 0), -E2BIG);
    assert_int_equal(walk(p, 1, 2, NULL), 0);
    assert_int_equal(ask(p, XATTRCREATE, "dsqd", 2, "user.c", UINT64_C(4), 0), 0);
    assert_int_equal(write_file(p, 2, 0, "12345", 5), -ENOSPC);
    assert_int_equal(write_file(p, 2, 1, "1", 1), -ENOSPC);
    assert_int_equal(write_file(p, 2, UINT64_MAX, "1", 1), -ENOSPC);
    assert_int_equal(write_file(p, 2, 0, "12", 2), 2);
    assert_int_equal(read_file(p, 2, 0, 2), -EBADF);
    assert_int_equal(walk(p, 2, 3, NULL), -EBADF);
    assert_int_equal(ask(p, LOPEN, "dd", 2, O_RDONLY), -EBADF);
    assert_int_equal(clunk(p, 2), -EINVAL);
    assert_int_equal(clunk(p, 2), -EBADF);
    assert_int_equal(get_xattr(p, 1, "user.c"), -ENODATA);
}

static void attributes_take_only_so_much_memory(void **state)
{
    P9 *p = *state;
    unsigned n = 0;

    for (int err = 0; !err && n < 1000; n += !err) {
        assert_int_equal(walk(p, 0, 100 + n, NULL), 0);
        err = ask(p, XATTRCREATE, "dsqd", 100 + n, "user.a", UINT64_C(65536), 0);
        if (err)
            assert_int_equal(err, -ENOMEM);
    }
    assert_int_equal(n, 256);
    assert_int_equal(clunk(p, 100), -EINVAL);
    assert_int_equal(ask(p, XATTRCREATE, "dsqd", 100 + n, "user.a", UINT64_C(65536), 0), 0);
}

/* ---- what cannot be ---- */

static void requests_that_are_wrong_are_refused(void **state)
{
    P9 *p = *state;
    uint64_t zero = 0;

    create(p, 1, "f");
    assert_int_equal(ask(p, 98, ""), -EOPNOTSUPP);
    assert_int_equal(ask(p, 250, ""), -EOPNOTSUPP);
    assert_int_equal(ask(p, 6, ""), -EOPNOTSUPP);
    for (unsigned type = 8; type < 124; type += 2) {
        /* Without arguments nothing can be done, and nothing is. */
        int err = ask(p, (uint8_t)type, "");
        assert_true(err == -EINVAL || err == -EOPNOTSUPP);
    }
    assert_int_equal(ask(p, WALK, "ddw", 0, 2, 17), -EINVAL);
    assert_int_equal(ask(p, WALK, "ddws", 0, 2, 2, "a"), -EINVAL);
    assert_int_equal(ask(p, LOPEN, "dd", 0, 3), -EINVAL);
    /* More data is announced than there is. */
    assert_int_equal(ask(p, WRITE, "dqdd", 1, zero, 5, 0), -EINVAL);
    assert_int_equal(ask(p, WRITE, "dqdd", 1, zero, 0xffffffff, 0), -EINVAL);
    /* A string that is longer than the message. */
    assert_int_equal(ask(p, UNLINKAT, "dw", 0, 0xffff), -EINVAL);
    /* Answers that do not fit. */
    begin(p, STATFS);
    put(p, 0, 4);
    assert_int_equal(ask_room(p, 20), -EINVAL);
    begin(p, STATFS);
    put(p, 0, 4);
    assert_int_equal(ask_room(p, 10), -ENOMSG);
    begin(p, STATFS);
    put(p, 0, 4);
    post(p, p->out, p->in, 0);
    assert_int_equal(take_used(p).len, 0);
    char name[300];
    memset(name, 'n', sizeof(name));
    name[256] = 0;
    assert_int_equal(ask(p, MKDIR, "dsdd", 0, name, 0755, 0), -ENAMETOOLONG);
    name[255] = 0;
    assert_int_equal(ask(p, MKDIR, "dsdd", 0, name, 0755, 0), 0);
}

static void headers_that_lie_are_refused(void **state)
{
    P9 *p = *state;
    static const uint32_t sizes[] = {0, 6, 12, 0xffffffff};

    for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
        begin(p, STATFS);
        put(p, 0, 4);
        uint8_t *text = rig_host(&p->rig, p->out, p->len);
        memcpy(text, p->text, p->len);
        memcpy(text, &sizes[i], 4);
        RigBuffer buffers[] = {{p->out, (uint32_t)p->len}, {p->in, ROOM}};
        rig_add(&p->rig, QUEUE, buffers, 1, 1);
        rig_kick(&p->rig, QUEUE);
        assert_int_equal(look(p, p->in, take_used(p).len, STATFS, p->tag), -EINVAL);
    }
    /* Longer than was agreed on. */
    begin(p, WALK);
    p->len = MSIZE + 1;
    assert_int_equal(ask_room(p, ROOM), -EMSGSIZE);
}

static void a_read_only_share_stays_as_it_is(void **state)
{
    P9 *p = *state = plug_and_attach(true);
    const uint64_t none = 0;

    host_writes(p, "f", "text");
    assert_int_equal(walk(p, 0, 1, "f"), 0);
    assert_int_equal(ask(p, LOPEN, "dd", 1, O_RDWR), -EROFS);
    assert_int_equal(ask(p, MKDIR, "dsdd", 0, "d", 0755, 0), -EROFS);
    assert_int_equal(ask(p, UNLINKAT, "dsd", 0, "f", 0), -EROFS);
    assert_int_equal(ask(p, RENAMEAT, "dsds", 0, "f", 0, "g"), -EROFS);
    assert_int_equal(ask(p, SETATTR, "dddddqqqqq", 1, 1, 0600, 0, 0, none, none, none, none, none), -EROFS);
    assert_int_equal(set_xattr(p, 1, "user.a", "b", 0), -EROFS);
    assert_int_equal(walk(p, 0, 2, NULL), 0);
    assert_int_equal(ask(p, LCREATE, "dsddd", 2, "new", O_RDWR, 0644, 0), -EROFS);
    assert_int_equal(ask(p, LOPEN, "dd", 1, O_RDONLY), 0);
    assert_int_equal(read_file(p, 1, 0, 10), 4);
    assert_int_equal(write_file(p, 1, 0, "x", 1), -EBADF);
    assert_int_equal(ask(p, REMOVE, "d", 1), -EROFS);
}

static void there_are_only_so_many_fids(void **state)
{
    P9 *p = *state;

    for (unsigned n = 1; n < FIDS;) {
        unsigned batch = MIN(SLOTS, FIDS - n);
        for (unsigned i = 0; i < batch; i++)
            send_slot(p, i, WALK, "ddw", 0, n + i, 0);
        for (unsigned i = 0; i < batch; i++)
            assert_int_equal(take_used(p).len, 9);
        n += batch;
    }
    assert_int_equal(walk(p, 0, FIDS, NULL), -EMFILE);
    assert_int_equal(clunk(p, 17), 0);
    assert_int_equal(walk(p, 0, FIDS, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLAIN(the_device_tells_its_tag),           PLAIN(nothing_is_served_before_a_version_is_agreed_on),
        CASE(fids_walk_through_folders),           CASE(nothing_outside_is_reachable),
        CASE(names_are_made_moved_and_removed),    CASE(fids_are_renamed_and_removed),
        CASE(a_file_is_made_written_and_read),     CASE(attributes_change),
        CASE(a_folder_is_listed_in_pieces),        CASE(extended_attributes_are_kept),
        CASE(attributes_take_only_so_much_memory), CASE(requests_that_are_wrong_are_refused),
        CASE(headers_that_lie_are_refused),        PLAIN(a_read_only_share_stays_as_it_is),
        CASE(there_are_only_so_many_fids),
    };
    setvbuf(stdout, NULL, _IOLBF, 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
