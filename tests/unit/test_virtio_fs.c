/*
 * virtio-fs and files: what a guest finds, makes and changes in a shared folder, and what it is refused.
 */
#include "tests/unit/fs_rig.h"

#include <linux/falloc.h>

/* ---- starting ---- */

static void the_device_tells_its_tag_and_queues(void **state)
{
    Fs *f = plug(false, VMC_SHARE_CACHE_AUTO, 3);
    char tag[36] = "my-folder";

    *state = f;
    for (unsigned i = 0; i < sizeof(tag); i++)
        assert_int_equal(vmc_bus_read(f->rig.mmio, f->rig.device + i, 1), tag[i]);
    assert_int_equal(vmc_bus_read(f->rig.mmio, f->rig.device + 36, 4), 3);
    assert_int_equal(rig_read(&f->rig, RIG_COMMON(num_queues), 2), 4);
}

static void nothing_is_served_before_init(void **state)
{
    Fs *f = plug(false, VMC_SHARE_CACHE_AUTO, 1);
    struct fuse_init_in in = {.major = 7, .minor = 11};
    struct fuse_init_out out;

    *state = f;
    rig_bring_up(&f->rig, RIG_FEATURES, 2, SIZE);
    assert_int_equal(ASK_NAME(f, FUSE_LOOKUP, 1, "a"), -EIO);
    assert_int_equal(ASK(f, FUSE_INIT, 0, in), -EPROTO);
    in.major = 6;
    assert_int_equal(ASK(f, FUSE_INIT, 0, in), -EPROTO);
    /* A newer one hears what we speak and asks again. */
    in.major = 8;
    assert_int_equal(ASK(f, FUSE_INIT, 0, in), sizeof(out));
    memcpy(&out, payload(f), sizeof(out));
    assert_int_equal(out.major, 7);
    assert_int_equal(ASK_NAME(f, FUSE_LOOKUP, 1, "a"), -EIO);
    in = (struct fuse_init_in){.major = 7, .minor = 31, .flags = FUSE_MAX_PAGES | FUSE_POSIX_LOCKS};
    assert_int_equal(ASK(f, FUSE_INIT, 0, in), sizeof(out));
    memcpy(&out, payload(f), sizeof(out));
    assert_int_equal(out.minor, 31);
    assert_int_equal(out.flags, FUSE_MAX_PAGES | FUSE_POSIX_LOCKS);
    assert_int_equal(out.max_write, MEBI);
    assert_int_equal(out.max_pages, 256);
    assert_int_equal(ASK_NAME(f, FUSE_LOOKUP, 1, "a"), -ENOENT);
    /* An old one has a shorter answer, and may say less. */
    in.minor = 22;
    assert_int_equal(ask(f, FUSE_INIT, 0, &in, 16, NULL, 0), 24);
    assert_int_equal(ask(f, FUSE_DESTROY, 0, NULL, 0, NULL, 0), 0);
    assert_int_equal(ASK_NAME(f, FUSE_LOOKUP, 1, "a"), -EIO);
}

static void check_cache(void **state, VmcShareCache cache, uint64_t seconds, uint32_t file, uint32_t dir)
{
    Fs *f = *state = plug_and_mount(false, cache);
    struct fuse_init_out out;

    memcpy(&out, payload(f), sizeof(out));
    assert_int_equal(!!(out.flags & FUSE_AUTO_INVAL_DATA), cache != VMC_SHARE_CACHE_ALWAYS);
    put(f, "a", "x");
    struct fuse_entry_out entry = lookup(f, 1, "a");
    assert_int_equal(entry.entry_valid, seconds);
    assert_int_equal(entry.attr_valid, seconds);
    assert_int_equal(open_node(f, FUSE_OPEN, entry.nodeid, O_RDONLY).open_flags, file);
    assert_int_equal(open_node(f, FUSE_OPENDIR, 1, O_RDONLY).open_flags, dir);
}

static void without_cache_every_look_is_new(void **state)
{
    check_cache(state, VMC_SHARE_CACHE_NONE, 0, FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES, 0);
}

static void an_automatic_cache_is_good_for_a_second(void **state)
{
    check_cache(state, VMC_SHARE_CACHE_AUTO, 1, 0, 0);
}

static void a_cache_for_always_lasts_a_day(void **state)
{
    check_cache(state, VMC_SHARE_CACHE_ALWAYS, 86400, FOPEN_KEEP_CACHE, FOPEN_KEEP_CACHE | FOPEN_CACHE_DIR);
}

/* ---- what it is for ---- */

static void a_file_is_made_written_and_read(void **state)
{
    Fs *f = *state;
    char *data = g_malloc(MEBI);

    for (unsigned i = 0; i < MEBI; i++)
        data[i] = (char)(i * 7 + i / 251);
    Open file = create(f, "file");
    assert_int_equal(write_file(f, file, 12345, data, MEBI), MEBI);
    assert_int_equal(read_file(f, file, 12345, MEBI), MEBI);
    assert_memory_equal(payload(f), data, MEBI);
    assert_int_equal(read_file(f, file, 12345 + MEBI - 10, 100), 10);
    assert_int_equal(read_file(f, file, UINT64_MAX, 100), -EINVAL);
    struct fuse_getattr_in getattr = {.getattr_flags = FUSE_GETATTR_FH, .fh = file.fh};
    struct fuse_attr_out attr;
    assert_int_equal(ASK(f, FUSE_GETATTR, file.nodeid, getattr), sizeof(attr));
    memcpy(&attr, payload(f), sizeof(attr));
    assert_int_equal(attr.attr.size, MEBI + 12345);
    assert_int_equal(attr.attr.mode, S_IFREG | 0644);
    assert_int_equal(attr.attr.uid, 1000);
    assert_int_equal(release(f, file), 0);
    assert_int_equal(release(f, file), -EBADF);
    assert_int_equal(read_file(f, file, 0, 1), -EBADF);

    char *there;
    gsize len;
    assert_true(g_file_get_contents(at(f, "file"), &there, &len, NULL));
    assert_int_equal(len, MEBI + 12345);
    assert_memory_equal(there + 12345, data, MEBI);
    g_free(there);
    g_free(data);
}

/* Data may come in any pieces, not where the header ends. */
static void pieces_of_any_size_make_one_message(void **state)
{
    Fs *f = *state;
    Open file = create(f, "file");
    struct {
        struct fuse_in_header header;
        struct fuse_write_in write;
        char data[10];
    } __attribute__((packed)) message = {
        {.len = 90, .opcode = FUSE_WRITE, .unique = 99, .nodeid = file.nodeid},
        {.fh = file.fh, .size = 10},
        "0123456789",
    };
    RigBuffer buffers[64];
    unsigned n_out = 0, n_in = 0;

    assert_int_equal(sizeof(message), 90);
    memcpy(rig_host(&f->rig, f->out, 90), &message, 90);
    for (unsigned i = 0; i < 90; i += 3)
        buffers[n_out++] = (RigBuffer){f->out + i, 3};
    for (unsigned i = 0; i < 24; i += 2)
        buffers[n_out + n_in++] = (RigBuffer){f->in + i, 2};
    rig_add(&f->rig, QUEUE, buffers, n_out, n_in);
    rig_kick(&f->rig, QUEUE);
    assert_int_equal(take_used(f, QUEUE).len, 24);
    assert_int_equal(read_file(f, file, 0, 4096), 10);
    assert_memory_equal(payload(f), "0123456789", 10);
    /* And a read into pieces, of which the file fills some. */
    struct {
        struct fuse_in_header header;
        struct fuse_read_in read;
    } again = {
        {.len = 80, .opcode = FUSE_READ, .unique = 100, .nodeid = file.nodeid},
        {.fh = file.fh, .offset = 1, .size = 7},
    };
    memcpy(rig_host(&f->rig, f->out, sizeof(again)), &again, sizeof(again));
    memset(rig_host(&f->rig, f->in, 40), 'x', 40);
    buffers[0] = (RigBuffer){f->out, sizeof(again)};
    for (n_in = 0; n_in < 13; n_in++)
        buffers[1 + n_in] = (RigBuffer){f->in + 3 * n_in, 3};
    rig_add(&f->rig, QUEUE, buffers, 1, n_in);
    rig_kick(&f->rig, QUEUE);
    assert_int_equal(take_used(f, QUEUE).len, 23);
    assert_memory_equal(payload(f), "1234567xxx", 10);
}

static void names_are_made_moved_and_removed(void **state)
{
    Fs *f = *state;
    struct fuse_mkdir_in mkdir_in = {.mode = 0750};
    struct fuse_mknod_in mknod_in = {.mode = S_IFREG | 0600}, device = {.mode = S_IFCHR | 0600, .rdev = 259};
    struct fuse_entry_out entry;

    assert_int_equal(ASK_BOTH(f, FUSE_MKDIR, 1, mkdir_in, "dir"), sizeof(entry));
    memcpy(&entry, payload(f), sizeof(entry));
    assert_int_equal(entry.attr.mode, S_IFDIR | 0750);
    uint64_t dir = entry.nodeid;
    assert_int_equal(ASK_BOTH(f, FUSE_MKNOD, dir, mknod_in, "a"), sizeof(entry));
    memcpy(&entry, payload(f), sizeof(entry));
    uint64_t a = entry.nodeid;
    assert_int_equal(ASK_BOTH(f, FUSE_MKNOD, dir, device, "null"), -EPERM);
    assert_int_equal(ask(f, FUSE_SYMLINK, 1, "link\0/etc/passwd", 17, NULL, 0), sizeof(entry));
    memcpy(&entry, payload(f), sizeof(entry));
    assert_int_equal(ask(f, FUSE_READLINK, entry.nodeid, NULL, 0, NULL, 0), 11);
    assert_memory_equal(payload(f), "/etc/passwd", 11);
    struct fuse_link_in link_in = {.oldnodeid = a};
    assert_int_equal(ASK_BOTH(f, FUSE_LINK, 1, link_in, "a2"), sizeof(entry));
    memcpy(&entry, payload(f), sizeof(entry));
    assert_int_equal(entry.nodeid, a);
    assert_int_equal(entry.attr.nlink, 2);
    struct fuse_rename_in rename_in = {.newdir = 1};
    assert_int_equal(ask(f, FUSE_RENAME, dir, &rename_in, sizeof(rename_in), "a\0b", 4), 0);
    struct fuse_rename2_in rename2_in = {.newdir = 1, .flags = RENAME_NOREPLACE};
    assert_int_equal(ask(f, FUSE_RENAME2, 1, &rename2_in, sizeof(rename2_in), "b\0a2", 5), -EEXIST);
    rename2_in.flags = RENAME_EXCHANGE;
    assert_int_equal(ask(f, FUSE_RENAME2, 1, &rename2_in, sizeof(rename2_in), "b\0dir", 6), 0);
    assert_int_equal(lookup(f, 1, "dir").nodeid, a);
    assert_int_equal(ASK_NAME(f, FUSE_UNLINK, 1, "dir"), 0);
    assert_int_equal(ASK_NAME(f, FUSE_UNLINK, 1, "a2"), 0);
    assert_int_equal(ASK_NAME(f, FUSE_RMDIR, 1, "b"), 0);
    assert_int_equal(ASK_NAME(f, FUSE_UNLINK, 1, "link"), 0);
    assert_int_equal(rmdir(f->folder), 0);
    assert_int_equal(mkdir(f->folder, 0755), 0);
}

static void attributes_change(void **state)
{
    Fs *f = *state;
    Open file = create(f, "file");
    struct fuse_attr_out attr;
    struct fuse_setattr_in in = {.valid = FATTR_SIZE | FATTR_MODE | FATTR_UID | FATTR_MTIME | FATTR_ATIME_NOW,
                                 .size = 5000,
                                 .mode = S_IFREG | 0600,
                                 .uid = 77,
                                 .mtime = 1234,
                                 .mtimensec = 5678};

    assert_int_equal(ASK(f, FUSE_SETATTR, file.nodeid, in), sizeof(attr));
    memcpy(&attr, payload(f), sizeof(attr));
    assert_int_equal(attr.attr.size, 5000);
    assert_int_equal(attr.attr.mode, S_IFREG | 0600);
    assert_int_equal(attr.attr.uid, 77);
    assert_int_equal(attr.attr.gid, 1000);
    assert_int_equal(attr.attr.mtime, 1234);
    assert_int_equal(attr.attr.mtimensec, 5678);
    struct fuse_access_in access_in = {.mask = W_OK};
    assert_int_equal(ASK(f, FUSE_ACCESS, file.nodeid, access_in), -EACCES);
    in = (struct fuse_setattr_in){.valid = FATTR_SIZE | FATTR_FH, .fh = file.fh, .size = UINT64_MAX};
    assert_int_equal(ASK(f, FUSE_SETATTR, file.nodeid, in), -EINVAL);
    assert_int_equal(ask(f, FUSE_STATFS, 1, NULL, 0, NULL, 0), sizeof(struct fuse_statfs_out));
    struct fuse_statfs_out st;
    memcpy(&st, payload(f), sizeof(st));
    assert_true(st.st.blocks && st.st.namelen == 255);
}

static int get_xattr(Fs *f, uint64_t nodeid, const char *name, uint32_t size)
{
    struct fuse_getxattr_in in = {.size = size};

    return ASK_BOTH(f, FUSE_GETXATTR, nodeid, in, name);
}

static int set_xattr(Fs *f, uint64_t nodeid, const char *name, const char *value)
{
    struct {
        uint32_t size, flags;
        char text[100];
    } in = {.size = (uint32_t)strlen(value)};
    size_t len = strlen(name) + 1;

    memcpy(in.text, name, len);
    memcpy(in.text + len, value, in.size);
    return ask(f, FUSE_SETXATTR, nodeid, &in, 8 + len + in.size, NULL, 0);
}

static void extended_attributes_are_kept(void **state)
{
    Fs *f = *state;
    Open file = create(f, "file");
    struct fuse_getxattr_in list = {.size = 0};

    assert_int_equal(get_xattr(f, file.nodeid, "user.a", 100), -ENODATA);
    assert_int_equal(set_xattr(f, file.nodeid, "user.a", "value"), 0);
    assert_int_equal(set_xattr(f, file.nodeid, "trusted.b", "other"), 0);
    assert_int_equal(get_xattr(f, file.nodeid, "user.a", 0), sizeof(struct fuse_getxattr_out));
    assert_int_equal(*(uint32_t *)payload(f), 5);
    assert_int_equal(get_xattr(f, file.nodeid, "user.a", 4), -ERANGE);
    assert_int_equal(get_xattr(f, file.nodeid, "user.a", 1u << 31), 5);
    assert_memory_equal(payload(f), "value", 5);
    assert_int_equal(ASK(f, FUSE_LISTXATTR, file.nodeid, list), sizeof(struct fuse_getxattr_out));
    assert_int_equal(*(uint32_t *)payload(f), 17);
    list.size = 17;
    assert_int_equal(ASK(f, FUSE_LISTXATTR, file.nodeid, list), 17);
    assert_int_equal(ASK_NAME(f, FUSE_REMOVEXATTR, file.nodeid, "user.a"), 0);
    assert_int_equal(ASK_NAME(f, FUSE_REMOVEXATTR, file.nodeid, "user.a"), -ENODATA);
    assert_int_equal(set_xattr(f, file.nodeid, "user.espalier.owner", "0:0"), -EPERM);
    /* A value that is longer than the message. */
    uint32_t lie[] = {1000, 0, 0x00612e78};
    assert_int_equal(ask(f, FUSE_SETXATTR, file.nodeid, lie, sizeof(lie), NULL, 0), -EINVAL);
}

static void files_have_holes_and_are_copied(void **state)
{
    Fs *f = *state;
    Open from = create(f, "from"), to = create(f, "to");
    struct fuse_fallocate_in allocate = {.fh = from.fh, .length = 1 << 16};
    struct fuse_lseek_in seek = {.fh = from.fh, .whence = SEEK_HOLE};
    struct fuse_write_out written;
    struct fuse_lseek_out sought;

    assert_int_equal(ASK(f, FUSE_FALLOCATE, from.nodeid, allocate), 0);
    assert_int_equal(write_file(f, from, 0, "text", 4), 4);
    assert_int_equal(ASK(f, FUSE_LSEEK, from.nodeid, seek), sizeof(sought));
    memcpy(&sought, payload(f), sizeof(sought));
    assert_in_range(sought.offset, 4, 1 << 16);
    seek.whence = 99;
    assert_int_equal(ASK(f, FUSE_LSEEK, from.nodeid, seek), -EINVAL);
    allocate.mode = FALLOC_FL_COLLAPSE_RANGE;
    assert_int_equal(ASK(f, FUSE_FALLOCATE, from.nodeid, allocate), -EOPNOTSUPP);
    struct fuse_copy_file_range_in copy = {
        .fh_in = from.fh, .nodeid_out = to.nodeid, .fh_out = to.fh, .off_out = 2, .len = 3};
    assert_int_equal(ASK(f, FUSE_COPY_FILE_RANGE, from.nodeid, copy), sizeof(written));
    memcpy(&written, payload(f), sizeof(written));
    assert_int_equal(written.size, 3);
    assert_int_equal(read_file(f, to, 0, 100), 5);
    assert_memory_equal(payload(f), "\0\0tex", 5);
    copy.fh_out = from.fh;
    assert_int_equal(ASK(f, FUSE_COPY_FILE_RANGE, from.nodeid, copy), -EBADF);
    struct fuse_fsync_in sync = {.fh = from.fh, .fsync_flags = FUSE_FSYNC_FDATASYNC};
    assert_int_equal(ASK(f, FUSE_FSYNC, from.nodeid, sync), 0);
    struct fuse_create_in nameless = {.flags = O_RDWR, .mode = 0600};
    assert_in_set(ASK_BOTH(f, FUSE_TMPFILE, 1, nameless, ""),
                  ((LargestIntegralType[]){sizeof(struct fuse_entry_out) + sizeof(struct fuse_open_out),
                                           (LargestIntegralType)-EOPNOTSUPP}),
                  2);
}

/* Reads the root with requests of `size`; how many entries, and how many of them with nodes. */
static unsigned read_dir(Fs *f, uint32_t opcode, uint32_t size, unsigned *nodes)
{
    size_t head = opcode == FUSE_READDIR ? 0 : sizeof(struct fuse_entry_out);
    struct fuse_open_out dir = open_node(f, FUSE_OPENDIR, 1, 0);
    struct fuse_read_in in = {.fh = dir.fh, .size = size};
    GHashTable *seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    int len;

    *nodes = 0;
    while ((len = ASK(f, opcode, 1, in)) > 0) {
        assert_true((uint32_t)len <= size);
        for (size_t at_byte = 0; at_byte < (size_t)len;) {
            uint8_t *record = (uint8_t *)payload(f) + at_byte;
            const struct fuse_dirent *entry = (const struct fuse_dirent *)(record + head);
            if (head && ((struct fuse_entry_out *)record)->nodeid)
                ++*nodes;
            assert_true(g_hash_table_add(seen, g_strndup(entry->name, entry->namelen)));
            in.offset = entry->off;
            at_byte += FUSE_REC_ALIGN(head + FUSE_NAME_OFFSET + entry->namelen);
        }
    }
    assert_int_equal(len, 0);
    struct fuse_release_in release_in = {.fh = dir.fh};
    assert_int_equal(ASK(f, FUSE_RELEASEDIR, 1, release_in), 0);
    unsigned n = g_hash_table_size(seen);
    g_hash_table_unref(seen);
    return n;
}

static void a_folder_is_listed_in_pieces_with_and_without_nodes(void **state)
{
    Fs *f = *state;
    char name[32];
    unsigned nodes;

    for (unsigned i = 0; i < 500; i++) {
        snprintf(name, sizeof(name), "number-%u", i);
        put(f, name, "");
    }
    assert_int_equal(read_dir(f, FUSE_READDIR, 4096, &nodes), 502);
    assert_int_equal(read_dir(f, FUSE_READDIR, 300, &nodes), 502);
    assert_int_equal(read_dir(f, FUSE_READDIRPLUS, 4096, &nodes), 502);
    assert_int_equal(nodes, 500);
    assert_int_equal(read_dir(f, FUSE_READDIRPLUS, 1 << 20, &nodes), 502);
    assert_int_equal(nodes, 500);
    struct fuse_open_out dir = open_node(f, FUSE_OPENDIR, 1, 0);
    struct fuse_read_in in = {.fh = dir.fh, .size = 8};
    assert_int_equal(ASK(f, FUSE_READDIR, 1, in), -EINVAL);
}

static void what_is_forgotten_is_closed(void **state)
{
    Fs *f = *state;
    unsigned before = open_descriptors();
    struct fuse_forget_in forget = {.nlookup = 2};
    struct {
        struct fuse_batch_forget_in head;
        struct fuse_forget_one one[3];
    } batch = {.head = {.count = 1000}};

    put(f, "a", "");
    put(f, "b", "");
    uint64_t a = lookup(f, 1, "a").nodeid, b = lookup(f, 1, "b").nodeid;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(lookup(f, 1, "a").nodeid, a);
        assert_int_equal(lookup(f, 1, "b").nodeid, b);
    }
    assert_int_equal(open_descriptors(), before + 2);
    send_at(f, HIPRIO, f->out, 0, 0, FUSE_FORGET, a, &forget, sizeof(forget), NULL, 0);
    assert_int_equal(take_used(f, HIPRIO).len, 0);
    assert_int_equal(open_descriptors(), before + 2);
    batch.one[0] = (struct fuse_forget_one){a, 1};
    batch.one[1] = (struct fuse_forget_one){b, UINT64_MAX};
    batch.one[2] = (struct fuse_forget_one){4711, 1};
    send_at(f, HIPRIO, f->out, 0, 0, FUSE_BATCH_FORGET, 0, &batch, sizeof(batch), NULL, 0);
    take_used(f, HIPRIO);
    assert_int_equal(open_descriptors(), before);
    struct fuse_getattr_in getattr = {0};
    assert_int_equal(ASK(f, FUSE_GETATTR, a, getattr), -ESTALE);
    /* The root is not forgotten. */
    send_at(f, HIPRIO, f->out, 0, 0, FUSE_FORGET, 1, &forget, sizeof(forget), NULL, 0);
    take_used(f, HIPRIO);
    assert_int_equal(ASK(f, FUSE_GETATTR, 1, getattr), sizeof(struct fuse_attr_out));
}

/* ---- messages that are wrong ---- */

static void requests_that_are_wrong_are_refused(void **state)
{
    Fs *f = *state;
    Open file = create(f, "file"), other = create(f, "other");
    struct fuse_getattr_in getattr = {0};

    assert_int_equal(ask(f, 9999, 1, NULL, 0, NULL, 0), -ENOSYS);
    assert_int_equal(ask(f, 0, 1, NULL, 0, NULL, 0), -ENOSYS);
    assert_int_equal(ask(f, FUSE_IOCTL, file.nodeid, NULL, 0, NULL, 0), -ENOSYS);
    assert_int_equal(ask(f, FUSE_POLL, file.nodeid, NULL, 0, NULL, 0), -ENOSYS);
    assert_int_equal(ask(f, FUSE_GETATTR, 1, &getattr, 15, NULL, 0), -EINVAL);
    assert_int_equal(ask(f, FUSE_LOOKUP, 1, "file", 4, NULL, 0), -EINVAL); /* no NUL */
    assert_int_equal(ask(f, FUSE_LOOKUP, 1, NULL, 0, NULL, 0), -EINVAL);
    assert_int_equal(ask(f, FUSE_SYMLINK, 1, "only-one", 9, NULL, 0), -EINVAL);
    assert_int_equal(ASK_NAME(f, FUSE_LOOKUP, 1, ".."), -EINVAL);
    assert_int_equal(ASK_NAME(f, FUSE_LOOKUP, 1, "a/b"), -EINVAL);
    assert_int_equal(ASK_NAME(f, FUSE_LOOKUP, file.nodeid, "x"), -ENOTDIR);
    assert_int_equal(ASK(f, FUSE_GETATTR, 0xdead, getattr), -ESTALE);
    assert_int_equal(ASK(f, FUSE_GETATTR, 0, getattr), -ESTALE);
    /* A file's number with another node. */
    assert_int_equal(read_file(f, (Open){other.nodeid, file.fh}, 0, 1), -EBADF);
    assert_int_equal(release(f, (Open){1, file.fh}), -EBADF);
    /* No room for the answer: nothing is done. */
    struct fuse_mkdir_in mkdir_in = {.mode = 0755};
    assert_int_equal(ask_room(f, 16 + sizeof(struct fuse_entry_out) - 1, FUSE_MKDIR, 1, &mkdir_in,
                              sizeof(mkdir_in), "d", 2),
                     -EINVAL);
    assert_int_equal(access(at(f, "d"), F_OK), -1);
    /* More data said than there is. */
    struct fuse_write_in write_in = {.fh = file.fh, .size = 100};
    assert_int_equal(ask(f, FUSE_WRITE, file.nodeid, &write_in, sizeof(write_in), "abc", 3), -EINVAL);
    char *big = g_malloc0(100000);
    assert_int_equal(ask(f, FUSE_LOOKUP, 1, big, 100000, NULL, 0), -E2BIG);
    g_free(big);
}

static void headers_that_lie_are_refused(void **state)
{
    Fs *f = *state;
    struct fuse_in_header header = {.len = 1000, .opcode = FUSE_STATFS, .unique = 5, .nodeid = 1};
    static const uint32_t lengths[] = {0, 39, 41, 1000, UINT32_MAX};

    for (unsigned i = 0; i < G_N_ELEMENTS(lengths); i++) {
        header.len = lengths[i];
        memcpy(rig_host(&f->rig, f->out, sizeof(header)), &header, sizeof(header));
        rig_add(&f->rig, QUEUE, (RigBuffer[]){{f->out, sizeof(header)}, {f->in, 4096}}, 1, 1);
        rig_kick(&f->rig, QUEUE);
        assert_int_equal(take_used(f, QUEUE).len, 16);
        assert_int_equal(answer_at(f, f->in).error, -EINVAL);
    }
    /* Half a header, no room for an answer, nothing at all of one kind. */
    rig_add(&f->rig, QUEUE, (RigBuffer[]){{f->out, 20}, {f->in, 4096}}, 1, 1);
    rig_add(&f->rig, QUEUE, (RigBuffer[]){{f->out, 40}, {f->in, 15}}, 1, 1);
    rig_add(&f->rig, QUEUE, (RigBuffer[]){{f->out, 40}}, 1, 0);
    rig_add(&f->rig, QUEUE, (RigBuffer[]){{f->in, 4096}}, 0, 1);
    rig_kick(&f->rig, QUEUE);
    for (int i = 0; i < 4; i++)
        take_used(f, QUEUE);
    assert_int_equal(ask(f, FUSE_STATFS, 1, NULL, 0, NULL, 0), sizeof(struct fuse_statfs_out));
}

static void a_read_only_share_stays_as_it_is(void **state)
{
    Fs *f = *state = plug_and_mount(true, VMC_SHARE_CACHE_AUTO);
    struct fuse_create_in create_in = {.flags = O_RDWR, .mode = 0644};
    struct fuse_mkdir_in mkdir_in = {.mode = 0755};
    struct fuse_open_in open_in = {.flags = O_RDWR};
    struct fuse_setattr_in setattr = {.valid = FATTR_MODE};

    put(f, "a", "text");
    uint64_t a = lookup(f, 1, "a").nodeid;
    assert_int_equal(ASK_BOTH(f, FUSE_CREATE, 1, create_in, "b"), -EROFS);
    assert_int_equal(ASK_BOTH(f, FUSE_MKDIR, 1, mkdir_in, "b"), -EROFS);
    assert_int_equal(ASK(f, FUSE_OPEN, a, open_in), -EROFS);
    assert_int_equal(ASK(f, FUSE_SETATTR, a, setattr), -EROFS);
    assert_int_equal(ASK_NAME(f, FUSE_UNLINK, 1, "a"), -EROFS);
    Open file = {a, open_node(f, FUSE_OPEN, a, O_RDONLY).fh};
    assert_int_equal(read_file(f, file, 0, 10), 4);
    assert_int_equal(write_file(f, file, 0, "x", 1), -EBADF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLAIN(the_device_tells_its_tag_and_queues),
        PLAIN(nothing_is_served_before_init),
        PLAIN(without_cache_every_look_is_new),
        PLAIN(an_automatic_cache_is_good_for_a_second),
        PLAIN(a_cache_for_always_lasts_a_day),
        CASE(a_file_is_made_written_and_read),
        CASE(pieces_of_any_size_make_one_message),
        CASE(names_are_made_moved_and_removed),
        CASE(attributes_change),
        CASE(extended_attributes_are_kept),
        CASE(files_have_holes_and_are_copied),
        CASE(a_folder_is_listed_in_pieces_with_and_without_nodes),
        CASE(what_is_forgotten_is_closed),
        CASE(requests_that_are_wrong_are_refused),
        CASE(headers_that_lie_are_refused),
        PLAIN(a_read_only_share_stays_as_it_is),
    };
    setvbuf(stdout, NULL, _IOLBF, 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
