/*
 * qcow2: the image below this one: opened, and exchanged.
 *
 * An image names any file it likes, so the one below is only opened when the caller wants that, or when it is
 * a snapshot of the same disk that was taken here; read-only, and with the format that the header says: a
 * format is never guessed from what a guest could have written.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/i18n.h"
#include "block/format.h"
#include "block/layers.h"
#include "block/qcow2.h"
#include "vmcore/error.h"

#define DEPTH_MAX 64u

const Qcow2Above vmc_qcow2_alone;

static bool check_loop(const Qcow2 *q, const struct stat *st, const Qcow2Above *above, GError **error)
{
    unsigned depth = 0;

    for (; above; above = above->above, depth++)
        if (above->dev == st->st_dev && above->ino == st->st_ino)
            return vmc_qcow2_damaged(q, error, _("the image below it, “%s”, is one that lies above"),
                                     q->backing_path);
    if (depth < DEPTH_MAX)
        return true;
    return vmc_qcow2_damaged(q, error, _("more than %u images lie below each other; merge some of them"),
                             DEPTH_MAX);
}

static VmcDisk *open_below(Qcow2 *q, const char *path, bool backing, const Qcow2Above *above, GError **error)
{
    VmcDiskOpen params = {.path = path, .format = q->backing_format, .readonly = true, .backing = backing};
    struct stat st;
    VmcDisk *disk;

    if (strcmp(q->backing_format, "qcow2") != 0)
        return vmc_disk_open(&params, error);
    int fd = vmc_disk_file_open(path, true, &st, error);
    if (fd < 0)
        return NULL;
    if (!check_loop(q, &st, above, error)) {
        close(fd);
        return NULL;
    }
    Qcow2 *below = vmc_qcow2_open_fd(fd, &params, above, error);
    if (!below)
        return NULL;
    disk = vmc_qcow2_disk_new(below);
    disk->path = g_strdup(path);
    return disk;
}

/* A disk that has been kept as a snapshot goes on being used as it was. */
static bool is_own_layer(const Qcow2 *q)
{
    return q->backing_format && strcmp(q->backing_format, "qcow2") == 0 &&
           vmc_disk_is_layer_of(q->path, q->backing_path);
}

bool vmc_qcow2_open_backing(Qcow2 *q, const VmcDiskOpen *params, const Qcow2Above *above, GError **error)
{
    GError *why = NULL;

    if (!q->backing_path || above->above == &vmc_qcow2_alone)
        return true;
    if (!params->backing && !is_own_layer(q))
        return vmc_qcow2_damaged(
            q, error, _("it lies on top of another image, “%s”, and may only be used where that is allowed"),
            q->backing_path);
    if (!q->backing_format)
        return vmc_qcow2_damaged(
            q, error,
            _("it does not say which format the image below it, “%s”, has; set it with “qemu-img rebase "
              "-u -b FILE -F raw” or “-F qcow2”"),
            q->backing_path);
    g_autofree char *path = vmc_qcow2_backing_path(q->path, q->backing_path);
    q->backing = open_below(q, path, params->backing, above, &why);
    if (q->backing)
        return true;
    if (why->code == VMC_ERROR_IMAGE && strstr(why->message, path))
        g_propagate_error(error, why);
    else {
        /* Translators: the second is a sentence: what is wrong with the image below. */
        g_set_error(error, why->domain, why->code, _("Disk “%s” lies on top of another image: %s"), q->path,
                    why->message);
        g_error_free(why);
    }
    return false;
}

/* ---- exchanging it ---- */

/* The extensions of a header but for the backing format, as they are, behind a new one for that. Returns
 * the end of them in `to`, 0 if they do not fit. */
static uint64_t rebuild_extensions(const uint8_t *cluster, uint8_t *to, uint64_t size, uint64_t at,
                                   uint64_t end, const char *format)
{
    uint64_t out = at;
    uint32_t head[2];

    if (format) {
        size_t length = strlen(format);
        if (out + 8 + (length + 7) / 8 * 8 + 8 > size)
            return 0;
        head[0] = GUINT32_TO_BE(QCOW2_EXT_BACKING_FORMAT);
        head[1] = GUINT32_TO_BE((uint32_t)length);
        memcpy(to + out, head, 8);
        memcpy(to + out + 8, format, length);
        out += 8 + (length + 7) / 8 * 8;
    }
    while (at + 8 <= end) {
        memcpy(head, cluster + at, 8);
        uint64_t length = 8 + ((uint64_t)GUINT32_FROM_BE(head[1]) + 7) / 8 * 8;
        if (!head[0])
            break;
        if (length > end - at || out + length + 8 > size)
            return 0;
        if (GUINT32_FROM_BE(head[0]) != QCOW2_EXT_BACKING_FORMAT) {
            memcpy(to + out, cluster + at, length);
            out += length;
        }
        at += length;
    }
    return out + 8; /* and zeroes: the end of the extensions */
}

/* Somewhere behind the extensions, and not where the old name is, so that this stays true until the header
 * says otherwise. */
static uint64_t place_name(const Qcow2Header *h, uint64_t from, uint64_t length, uint64_t size)
{
    uint64_t old = GUINT64_FROM_BE(h->backing_file_offset);
    uint64_t old_end = old + GUINT32_FROM_BE(h->backing_file_size);

    if (old && from < old_end && old < from + length && old_end + length <= size)
        return old_end;
    return from + length <= size ? from : 0;
}

static bool header_full(const Qcow2 *q, GError **error)
{
    return vmc_qcow2_damaged(q, error, _("there is no room in its header to name another image below it"));
}

static bool write_failed(const Qcow2 *q, int err, GError **error)
{
    g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE, _("Disk “%s” cannot be written to: %s"), q->path,
                g_strerror(-err));
    return false;
}

bool vmc_qcow2_write_backing(Qcow2 *q, const char *path, const char *format, GError **error)
{
    g_autofree uint8_t *old = g_malloc0(q->cluster_size), *new = g_malloc0(q->cluster_size);
    uint64_t length = path ? strlen(path) : 0, end, name = 0;
    Qcow2Header h;
    int err = vmc_qcow2_pread(q, 0, old, q->cluster_size);

    if (err)
        return write_failed(q, err, error);
    memcpy(&h, old, sizeof(h));
    uint64_t header = q->version == 2 ? QCOW2_V2_HEADER_LENGTH : GUINT32_FROM_BE(h.header_length);
    uint64_t old_end = GUINT64_FROM_BE(h.backing_file_offset);
    if (!old_end || old_end > q->cluster_size)
        old_end = q->cluster_size;
    memcpy(new, old, header);
    end = rebuild_extensions(old, new, q->cluster_size, header, old_end, path ? format : NULL);
    if (end && path)
        name = place_name(&h, end, length, q->cluster_size);
    if (!end || length > QCOW2_BACKING_NAME_MAX || (path && !name))
        return header_full(q, error);
    h.backing_file_offset = GUINT64_TO_BE(name);
    h.backing_file_size = GUINT32_TO_BE((uint32_t)length);
    memcpy(new, &h, QCOW2_V2_HEADER_LENGTH);
    if (path) {
        err = vmc_qcow2_pwrite(q, name, path, length);
        if (!err)
            err = vmc_qcow2_sync(q);
    }
    if (!err)
        err = vmc_qcow2_pwrite(q, 0, new, end);
    if (!err)
        err = vmc_qcow2_sync(q);
    return err ? write_failed(q, err, error) : true;
}
