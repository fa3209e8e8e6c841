/*
 * A disk's contents as a new image that needs no other (vmc_disk_copy of vmcore/disk.h).
 *
 * Where the tables of qcow2 images say that there is nothing, nothing is read: a large, empty disk is copied
 * at once. Blocks of zeroes that were written as data are not written again, since a new image reads as zero.
 */
#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <string.h>
#include <unistd.h>

#include "base/i18n.h"
#include "block/create.h"
#include "block/qcow2.h"
#include "vmcore/error.h"

#define COPY_BYTES (1u << 20)
#define BLOCK      4096u
#define LOOK_BYTES (1ull << 30)

/* How many bytes at `offset`, of at most `length`, are nowhere in the images; 0: there is something. */
static uint64_t empty_at(VmcDisk *disk, uint64_t offset, uint64_t length)
{
    Qcow2Run run;

    if (strcmp(disk->ops->name, "qcow2") != 0)
        return offset >= disk->size ? length : 0;
    Qcow2 *q = ((Qcow2Disk *)disk)->q;
    if (offset >= q->size)
        return length;
    if (vmc_qcow2_find(q, offset, MIN(length, q->size - offset), false, &run))
        return 0; /* reading it says why */
    vmc_qcow2_unpin(q, run.pin);
    if (run.kind == QCOW2_KIND_ZERO)
        return run.length;
    if (run.kind != QCOW2_KIND_UNALLOCATED)
        return 0;
    return q->backing ? empty_at(q->backing, offset, run.length) : run.length;
}

static bool is_zero(const uint8_t *bytes, uint64_t length)
{
    return !bytes[0] && !memcmp(bytes, bytes + 1, length - 1);
}

/* Writes what is not zero in the buffer. */
static int write_data(VmcDisk *to, uint64_t offset, uint8_t *buffer, uint64_t length)
{
    for (uint64_t at = 0, end; at < length; at = end) {
        bool zero = is_zero(buffer + at, MIN(BLOCK, length - at));

        for (end = at; end < length && is_zero(buffer + end, MIN(BLOCK, length - end)) == zero;)
            end += MIN(BLOCK, length - end);
        struct iovec iov = {buffer + at, end - at};
        int err = zero ? 0 : vmc_disk_write(to, offset + at, &iov, 1);
        if (err)
            return err;
    }
    return 0;
}

/* `sentence` has places for the disk and why. */
static bool failed(GError **error, const char *path, const char *sentence, int err)
{
    g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE, _(sentence), path, g_strerror(err));
    return false;
}

static bool copy_all(VmcDisk *from, VmcDisk *to, const char *name, VmcDiskProgress progress, void *data,
                     GError **error)
{
    g_autofree uint8_t *buffer = g_malloc(COPY_BYTES);
    uint64_t offset = 0;

    while (offset < from->size) {
        uint64_t empty = empty_at(from, offset, MIN(from->size - offset, LOOK_BYTES));
        uint64_t length = empty ? empty : MIN(from->size - offset, COPY_BYTES);

        if (progress && !progress(data, offset, from->size)) {
            g_set_error(error, G_IO_ERROR, G_IO_ERROR_CANCELLED, _("The copy of disk “%s” was cancelled"),
                        from->path);
            return false;
        }
        if (!empty) {
            struct iovec iov = {buffer, length};
            int err = vmc_disk_read(from, offset, &iov, 1);
            if (err)
                return failed(error, from->path, N_("Disk “%s” cannot be read: %s"), -err);
            err = write_data(to, offset, buffer, length);
            if (err)
                return failed(error, name, N_("Disk “%s” cannot be written: %s"), -err);
        }
        offset += length;
    }
    int err = vmc_disk_flush(to);
    return err ? failed(error, name, N_("Disk “%s” cannot be written: %s"), -err) : true;
}

bool vmc_disk_copy(const char *path, const char *format, const char *to, const char *to_format,
                   VmcDiskProgress progress, void *data, GError **error)
{
    const VmcDiskOpen source = {.path = path, .format = format, .readonly = true, .backing = true};
    g_autofree char *temporary = NULL;
    VmcDisk *from, *into = NULL;
    bool good;

    if (!access(to, F_OK)) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                    _("Disk “%s” is there already: choose another name, or move that one away"), to);
        return false;
    }
    from = vmc_disk_open(&source, error);
    if (!from)
        return false;
    const VmcDiskCreate params = {.size = from->size};
    good = vmc_disk_create_temporary(to, to_format, &params, &temporary, error);
    if (good) {
        const VmcDiskOpen target = {.path = temporary, .format = to_format};
        into = vmc_disk_open(&target, error);
        good = into && copy_all(from, into, to, progress, data, error);
        vmc_disk_close(into);
        if (!good)
            unlink(temporary);
    }
    vmc_disk_close(from);
    return good && vmc_disk_publish(temporary, to, error);
}
