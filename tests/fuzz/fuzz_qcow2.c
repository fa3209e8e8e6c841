/*
 * A qcow2 image that anybody may have made, used as a guest would use it: the input is the image file and
 * what is done with it. Any outcome is fine but a crash, a leak, a refusal without words, an image that is
 * not one any more, or one whose tables a guest has written over.
 *
 * covers: vmcore/block/qcow2_open.c vmcore/block/qcow2_header.c vmcore/block/qcow2_map.c
 * vmcore/block/qcow2_cache.c covers: vmcore/block/qcow2_refcount.c vmcore/block/qcow2_commit.c
 * vmcore/block/qcow2_data.c covers: vmcore/block/qcow2_zero.c vmcore/block/qcow2_compressed.c
 * vmcore/block/qcow2_check.c covers: vmcore/block/qcow2_io.c vmcore/block/qcow2_backing.c
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "block/disk.h"
#include "block/qcow2.h"
#include "tests/fuzz/input.h"

#define OPS_MAX    48
#define BYTES_MAX  (64u << 10)
#define MAPPED_MAX 4

static void run_ops(VmcDisk *disk, FuzzInput *in)
{
    static uint8_t bytes[BYTES_MAX];
    VmcDiskExtent extents[MAPPED_MAX];
    unsigned mapped = 0;

    for (unsigned i = 0; i < OPS_MAX && fuzz_more(in); i++) {
        uint64_t sectors = disk->size / VMC_DISK_SECTOR;
        uint8_t op = fuzz_u8(in);
        uint64_t sector = (op & 0x40 ? fuzz_number(in, 5) : fuzz_u8(in)) % sectors;
        uint64_t length = MIN((uint64_t)(1 + fuzz_u8(in) % 128), sectors - sector) * VMC_DISK_SECTOR;
        uint64_t offset = sector * VMC_DISK_SECTOR;
        struct iovec iov[2] = {{bytes, 100}, {bytes + 100, length - 100}};

        switch (op & 7) {
        case 0:
        case 1:
            vmc_disk_read(disk, offset, iov, 2);
            break;
        case 2:
        case 3:
            memset(bytes, 0xa5, length);
            vmc_disk_write(disk, offset, iov, 2);
            break;
        case 4:
            vmc_disk_discard(disk, offset, length);
            break;
        case 5:
            vmc_disk_write_zeroes(disk, offset, length, op & 8);
            break;
        case 6:
            if (op & 0x38) {
                vmc_disk_flush(disk);
            } else if (disk->size < 1u << 30) {
                if (vmc_disk_grow(disk, disk->size + length) && disk->size % VMC_DISK_SECTOR)
                    abort();
            }
            break;
        default:
            if (mapped < MAPPED_MAX && vmc_disk_map(disk, offset, length, op & 8, &extents[mapped])) {
                if (op & 8 && pwrite(extents[mapped].fd, bytes, length, (off_t)extents[mapped].offset) < 0)
                    abort();
                mapped++;
            } else if (mapped) {
                vmc_disk_unmap(disk, &extents[--mapped]);
            }
        }
    }
    while (mapped)
        vmc_disk_unmap(disk, &extents[--mapped]);
}

/* Whatever a guest wrote, it did not write over this. */
static void check_header(int fd, const uint8_t *before)
{
    Qcow2Header header;

    if (pread(fd, &header, sizeof(header), 0) != sizeof(header) || memcmp(&header, before, 8) != 0 ||
        memcmp(&header.cluster_bits, before + offsetof(Qcow2Header, cluster_bits), 4) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FuzzInput in = {data, size, 0};
    uint8_t flags = fuzz_u8(&in);
    size_t length = fuzz_u16(&in);
    const uint8_t *bytes = data + in.at;
    char path[64];

    length = MIN(length, size - in.at);
    if (length < sizeof(Qcow2Header))
        return 0;
    in.at += length;
    int fd = memfd_create("image", MFD_CLOEXEC);
    if (fd < 0 || write(fd, bytes, length) != (ssize_t)length)
        abort();
    /* Some images end in a hole. */
    if (flags & 0x10 && ftruncate(fd, (off_t)length + (flags & 0xe0) * 512))
        abort();
    g_snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    for (unsigned times = 0; times < 2; times++) {
        VmcDiskOpen params = {path, "qcow2", (flags & 7) == 7, flags & 8};
        GError *error = NULL;
        size_t at = in.at;
        VmcDisk *disk = vmc_disk_open(&params, &error);
        if (!disk) {
            if (!error || !*error->message || strchr(error->message, '\n'))
                abort();
            g_error_free(error);
            break;
        }
        run_ops(disk, &in);
        vmc_disk_close(disk);
        check_header(fd, bytes);
        in.at = at;
    }
    close(fd);
    return 0;
}
