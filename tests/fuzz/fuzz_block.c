/*
 * virtio-blk: requests of all types, on a disk in memory that fails where the input says, is full at times,
 * can be made larger while requests are under way, and is found by io_uring or by worker threads.
 *
 * covers: vmcore/virtio/block.c vmcore/virtio/block_request.c vmcore/block/engine.c
 * vmcore/block/change.c vmcore/virtio/linger.c
 */
#include <errno.h>
#include <linux/virtio_blk.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/device.h"

#define SECTORS_FIRST 96u
#define SECTORS_MAX   128u

typedef struct FuzzDisk {
    VmcDisk disk;
    uint8_t *bytes; /* SECTORS_MAX of them, also in `fd` if there is one */
    int fd;
    unsigned bad_sector, bad_error;
    atomic_bool full;
    VmcHostHooks hooks;
} FuzzDisk;

/* ---- the disk (worker threads) ---- */

static int failure(FuzzDisk *fd, uint64_t offset, uint64_t length, bool write)
{
    uint64_t bad = (uint64_t)fd->bad_sector * VMC_DISK_SECTOR;

    if (offset + length < offset || offset + length > fd->disk.size)
        fuzz_finding("the disk is asked for %" G_GUINT64_FORMAT " bytes at %" G_GUINT64_FORMAT, length,
                     offset);
    if (write && fd->disk.readonly)
        fuzz_finding("a read-only disk is written");
    if (write && fd->full)
        return -ENOSPC;
    return fd->bad_error && bad >= offset && bad < offset + length ? -(int)fd->bad_error : 0;
}

static int disk_move(VmcDisk *disk, uint64_t offset, struct iovec *iov, unsigned n, bool write)
{
    FuzzDisk *fd = (FuzzDisk *)disk;
    uint64_t length = 0;

    for (unsigned i = 0; i < n; i++)
        length += iov[i].iov_len;
    int err = failure(fd, offset, length, write);
    for (unsigned i = 0; i < n && !err; i++) {
        if (write)
            memcpy(fd->bytes + offset, iov[i].iov_base, iov[i].iov_len);
        else
            memcpy(iov[i].iov_base, fd->bytes + offset, iov[i].iov_len);
        offset += iov[i].iov_len;
    }
    return err;
}

static int disk_read(VmcDisk *disk, uint64_t offset, struct iovec *iov, unsigned n)
{
    return disk_move(disk, offset, iov, n, false);
}

static int disk_write(VmcDisk *disk, uint64_t offset, struct iovec *iov, unsigned n)
{
    return disk_move(disk, offset, iov, n, true);
}

static int disk_flush(VmcDisk *disk)
{
    FuzzDisk *fd = (FuzzDisk *)disk;

    return fd->full && fd->bad_error ? -ENOSPC : 0;
}

static int disk_discard(VmcDisk *disk, uint64_t offset, uint64_t length)
{
    return failure((FuzzDisk *)disk, offset, length, true);
}

static int disk_write_zeroes(VmcDisk *disk, uint64_t offset, uint64_t length, bool unmap)
{
    FuzzDisk *fd = (FuzzDisk *)disk;
    int err = failure(fd, offset, length, true);

    if (!err)
        memset(fd->bytes + offset, 0, length);
    return err;
}

static int disk_grow(VmcDisk *disk, uint64_t size)
{
    if (size > SECTORS_MAX * VMC_DISK_SECTOR)
        return -EFBIG;
    disk->size = size;
    return 0;
}

static bool disk_map(VmcDisk *disk, uint64_t offset, uint64_t length, bool write, VmcDiskExtent *extent)
{
    FuzzDisk *fd = (FuzzDisk *)disk;

    if (fd->full || failure(fd, offset, length, write))
        return false;
    /* Where the input has made the file shorter than the disk, the ring finds less than it looks for. */
    *extent = (VmcDiskExtent){.fd = fd->fd, .offset = offset, .length = length, .write = write};
    return true;
}

static void disk_close(VmcDisk *disk)
{
}

#define DISK_OPS                                                                                             \
    .name = "fuzz", .read = disk_read, .write = disk_write, .flush = disk_flush, .close = disk_close

static const VmcDiskOps plain_ops = {DISK_OPS};
static const VmcDiskOps full_ops = {DISK_OPS, .discard = disk_discard, .write_zeroes = disk_write_zeroes,
                                    .grow = disk_grow};
static const VmcDiskOps mapped_ops = {DISK_OPS, .discard = disk_discard, .write_zeroes = disk_write_zeroes,
                                      .grow = disk_grow, .map = disk_map};

/* ---- the device ---- */

static void hear(void *opaque, const char *line)
{
    if (strchr(line, '\n') || !strstr(line, "“fuzz”"))
        fuzz_finding("the user is told “%s”", line);
}

/* A ring is dear to make, so only few inputs have one. */
static void make_bytes(FuzzDisk *fd, bool mapped)
{
    size_t size = SECTORS_MAX * VMC_DISK_SECTOR;

    fd->fd = mapped ? memfd_create("fuzz-disk", MFD_CLOEXEC) : -1;
    if (mapped && ftruncate(fd->fd, (off_t)size))
        fuzz_finding("there is no memory for a disk");
    fd->bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, mapped ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS,
                     fd->fd, 0);
}

static VmcPciDevice *make(FuzzMachine *m, FuzzInput *in)
{
    static const unsigned errors[] = {0, 0, EIO, ENOSPC, EDQUOT, EAGAIN};
    FuzzDisk *fd = g_new0(FuzzDisk, 1);
    uint8_t how = fuzz_u8(in), what = fuzz_u8(in);
    bool mapped = how >= 0xf0;

    m->own = fd;
    make_bytes(fd, mapped);
    fd->disk.ops = mapped ? &mapped_ops : how & 1 ? &plain_ops : &full_ops;
    fd->disk.size = SECTORS_FIRST * VMC_DISK_SECTOR;
    fd->disk.block_size = how & 2 ? 4096 : VMC_DISK_SECTOR;
    fd->disk.readonly = (how & 0x1c) == 4;
    fd->bad_sector = fuzz_below(in, SECTORS_MAX);
    fd->bad_error = errors[what % G_N_ELEMENTS(errors)];
    fd->hooks = (VmcHostHooks){hear, hear, fd};
    VmcVirtioBlockParams params = {
        .disk = &fd->disk,
        .id = what & 0x40 ? "fuzz" : NULL,
        .queues = 1 + (how >> 5) % 4,
        .cache = (VmcDiskCache)(what >> 3 & 3) % 3,
    };
    m->host.hooks = what & 0x80 ? NULL : &fd->hooks;
    return vmc_virtio_block_new(&m->host, &params);
}

static void unmake(FuzzMachine *m)
{
    FuzzDisk *fd = m->own;

    m->host.hooks = NULL;
    munmap(fd->bytes, SECTORS_MAX * VMC_DISK_SECTOR);
    if (fd->fd >= 0)
        close(fd->fd);
    g_free(fd);
}

/* ---- requests ---- */

static uint64_t any_sector(FuzzInput *in)
{
    uint8_t how = fuzz_u8(in);

    if (how < 0xe0)
        return how % (SECTORS_MAX + 2);
    return how < 0xf0 ? UINT64_MAX >> (how & 15) : fuzz_u64(in);
}

static size_t request(FuzzMachine *m, FuzzInput *in, uint8_t *buf)
{
    static const uint32_t types[] = {VIRTIO_BLK_T_IN,     VIRTIO_BLK_T_OUT,         VIRTIO_BLK_T_FLUSH,
                                     VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_DISCARD,     VIRTIO_BLK_T_WRITE_ZEROES,
                                     VIRTIO_BLK_T_OUT,    VIRTIO_BLK_T_WRITE_ZEROES};
    uint8_t how = fuzz_u8(in);
    struct virtio_blk_outhdr header = {.type = how & 0x80 ? fuzz_u8(in) : types[how % G_N_ELEMENTS(types)],
                                       .sector = any_sector(in)};
    size_t len = sizeof(header);

    memcpy(buf, &header, sizeof(header));
    if (header.type == VIRTIO_BLK_T_DISCARD || header.type == VIRTIO_BLK_T_WRITE_ZEROES) {
        for (unsigned n = fuzz_below(in, 19); n; n--, len += sizeof(struct virtio_blk_discard_write_zeroes)) {
            uint8_t flags = fuzz_u8(in);
            struct virtio_blk_discard_write_zeroes segment = {
                .sector = any_sector(in),
                .num_sectors = flags & 0x40 ? fuzz_u32(in) : fuzz_below(in, 40),
                .flags = flags & 0x80 ? flags : flags & 1,
            };
            memcpy(buf + len, &segment, sizeof(segment));
        }
        if (how & 0x40)
            len -= fuzz_below(in, 17);
    } else if (header.type == VIRTIO_BLK_T_OUT) {
        size_t data = fuzz_below(in, 4) * VMC_DISK_SECTOR + (how & 0x40 ? fuzz_u8(in) : 0);
        data = MIN(data, FUZZ_MESSAGE_MAX - len);
        memset(buf + len, how, data);
        len += data;
    }
    return how == 0x3f ? fuzz_below(in, 17) : len;
}

static const FuzzMessage messages[] = {{.queue = FUZZ_ANY_QUEUE, .make = request}};

/* A read of whole sectors, which the common steps' lengths seldom are. */
static void step_read(FuzzMachine *m, FuzzInput *in)
{
    struct virtio_blk_outhdr header = {.type = VIRTIO_BLK_T_IN, .sector = any_sector(in)};
    unsigned queue = fuzz_below(in, m->n_queues ? m->n_queues : 1);
    FuzzChain chain = {.out = &header,
                       .len = sizeof(header),
                       .in_len = fuzz_below(in, 20) * VMC_DISK_SECTOR + 1,
                       .n_out = 1,
                       .n_in = 1 + fuzz_below(in, 4),
                       .indirect = fuzz_u8(in) & 1};

    fuzz_send(m, queue, &chain);
    fuzz_kick(m, queue);
    if (fuzz_u8(in) & 1)
        fuzz_settle(m);
}

/* ---- what happens on the host ---- */

static void step_full(FuzzMachine *m, FuzzInput *in)
{
    FuzzDisk *fd = m->own;

    fd->full = fuzz_u8(in) & 1;
}

static void step_resumed(FuzzMachine *m, FuzzInput *in)
{
    vmc_pci_bus_resumed(m->pci);
    if (fuzz_u8(in) & 1)
        fuzz_settle(m);
}

typedef struct Resize {
    FuzzMachine *m;
    uint64_t size;
    atomic_bool done;
} Resize;

static gpointer resize_thread(gpointer data)
{
    Resize *resize = data;

    vmc_disk_change_size(vmc_virtio_block_changes(resize->m->dev), resize->size, NULL);
    resize->done = true;
    return NULL;
}

static void step_resize(FuzzMachine *m, FuzzInput *in)
{
    Resize resize = {m, (uint64_t)fuzz_below(in, SECTORS_MAX + 2) * VMC_DISK_SECTOR + (fuzz_u8(in) == 0xff),
                     false};
    GThread *thread = g_thread_new("resize", resize_thread, &resize);

    while (!resize.done)
        g_main_context_iteration(vmc_io_context(m->io), FALSE);
    g_thread_join(thread);
}

static void (*const steps[])(FuzzMachine *m, FuzzInput *in) = {step_read, step_read, step_full, step_resumed,
                                                               step_resize};

static const FuzzTarget target = {
    .make = make,
    .unmake = unmake,
    .messages = messages,
    .n_messages = G_N_ELEMENTS(messages),
    .steps = steps,
    .n_steps = G_N_ELEMENTS(steps),
    .drain = true,
};

FUZZ_DEVICE(target)
