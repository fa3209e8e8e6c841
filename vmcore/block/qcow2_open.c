/*
 * qcow2: opening an image, the VmcDisk on top of one, and closing.
 *
 * Opening reads the header, L1, the refcount table and the snapshots' tables, and notes for each of their
 * clusters what it is used for. Two tables in one cluster, or one that lies outside the file, make an image
 * that is refused, at least for writing. Nothing is changed in the file before the first write.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/i18n.h"
#include "block/format.h"
#include "block/qcow2.h"
#include "vmcore/error.h"

/* Enough for the tables of a 128 GiB disk with clusters of 64 KiB. */
#define L2_CACHE_BYTES       (16ull << 20)
#define REFBLOCK_CACHE_BYTES (4ull << 20)

/* ---- tables ---- */

static bool read_array(Qcow2 *q, Qcow2Array *array, const char *sentence, GError **error)
{
    array->entries = g_try_malloc0(MAX(array->n, 1) * sizeof(uint64_t));
    int err = array->entries ? vmc_qcow2_pread(q, array->offset, array->entries, array->n * sizeof(uint64_t))
                             : -ENOMEM;

    if (err)
        return vmc_qcow2_damaged(q, error, _(sentence), g_strerror(-err));
    for (uint64_t i = 0; i < array->n; i++)
        array->entries[i] = GUINT64_FROM_BE(array->entries[i]);
    return true;
}

/* Notes what clusters are used for; false: they are used for something else already. */
static bool claim(Qcow2 *q, uint64_t offset, uint64_t clusters, Qcow2Use use)
{
    uint64_t first = offset >> q->cluster_bits;

    for (uint64_t i = 0; i < clusters; i++) {
        Qcow2Use before = vmc_qcow2_use(q, first + i);
        bool shared = use == QCOW2_USE_INACTIVE_L2 && (before == QCOW2_USE_L2 || before == use);
        if (before != QCOW2_USE_NONE && !shared)
            return false;
        if (before == QCOW2_USE_NONE)
            vmc_qcow2_set_use(q, first + i, 1, use);
    }
    return true;
}

static bool table_fits(const Qcow2 *q, uint64_t entry)
{
    uint64_t offset = entry & QCOW2_OFFSET;

    return !(entry & ~(QCOW2_OFFSET | QCOW2_COPIED)) && !(offset & (q->cluster_size - 1)) &&
           offset < q->file_end;
}

/* `sentence` says of what. */
static bool overlap(const Qcow2 *q, GError **error, const char *sentence)
{
    return vmc_qcow2_damaged(q, error, "%s", sentence);
}

static bool claim_l1(Qcow2 *q, GError **error)
{
    for (uint64_t i = 0; i < q->l1.n; i++) {
        uint64_t entry = q->l1.entries[i];
        if (!entry)
            continue;
        if (!(entry & QCOW2_OFFSET) || !table_fits(q, entry))
            return vmc_qcow2_damaged(q, error, _("entry %" PRIu64 " of its L1 table points outside the file"),
                                     i);
        if (!claim(q, entry & QCOW2_OFFSET, 1, QCOW2_USE_L2))
            return overlap(q, error,
                           _("an L2 table lies where something else does; see what “qemu-img check” says"));
    }
    return true;
}

static bool claim_refblocks(Qcow2 *q, GError **error)
{
    for (uint64_t i = 0; i < q->reftable.n; i++) {
        uint64_t entry = q->reftable.entries[i];
        if (!entry)
            continue;
        if (entry & (q->cluster_size - 1) || entry >= q->file_end)
            return vmc_qcow2_damaged(q, error,
                                     _("entry %" PRIu64 " of its refcount table points outside the file"), i);
        if (!claim(q, entry, 1, QCOW2_USE_REFBLOCK))
            return overlap(
                q, error,
                _("a refcount block lies where something else does; see what “qemu-img check” says"));
    }
    return true;
}

static bool claim_snapshot_l1(void *data, uint64_t offset, uint64_t entries)
{
    Qcow2 *q = data;

    return claim(q, offset, (entries * sizeof(uint64_t) + q->cluster_size - 1) >> q->cluster_bits,
                 QCOW2_USE_SNAPSHOTS);
}

static bool claim_snapshot_l2(void *data, uint64_t entry)
{
    return claim(data, entry & QCOW2_OFFSET, 1, QCOW2_USE_INACTIVE_L2);
}

static bool claim_snapshots(Qcow2 *q, GError **error)
{
    GError *why = NULL;

    if (!q->n_snapshots)
        return true;
    if (!vmc_qcow2_walk_snapshots(q, claim_snapshot_l1, claim_snapshot_l2, q, &why)) {
        if (!why)
            return overlap(
                q, error,
                _("a table of a snapshot lies where something else does; see what “qemu-img check” says"));
        g_propagate_error(error, why);
        return false;
    }
    uint64_t clusters = (q->snapshots_bytes + q->cluster_size - 1) >> q->cluster_bits;
    return claim(q, q->snapshots_offset, clusters, QCOW2_USE_SNAPSHOTS) ||
           overlap(
               q, error,
               _("the table of snapshots lies where something else does; see what “qemu-img check” says"));
}

static bool read_tables(Qcow2 *q, GError **error)
{
    if (!read_array(q, &q->l1, N_("its L1 table cannot be read: %s"), error) ||
        !read_array(q, &q->reftable, N_("its refcount table cannot be read: %s"), error))
        return false;
    vmc_qcow2_set_use(q, 0, 1, QCOW2_USE_HEADER);
    if (!claim(q, q->l1.offset, q->l1.clusters, QCOW2_USE_L1))
        return overlap(q, error,
                       _("its L1 table lies where something else does; see what “qemu-img check” says"));
    if (!claim(q, q->reftable.offset, q->reftable.clusters, QCOW2_USE_REFTABLE))
        return overlap(
            q, error, _("its refcount table lies where something else does; see what “qemu-img check” says"));
    if (!claim_l1(q, error))
        return false;
    /* Readers need no more than that. */
    return q->readonly || (claim_refblocks(q, error) && claim_snapshots(q, error));
}

/* ---- snapshots in the image ---- */

static bool walk_snapshot(Qcow2 *q, const Qcow2SnapshotEntry *s, uint64_t *entries_left,
                          bool (*l1)(void *, uint64_t, uint64_t), bool (*l2)(void *, uint64_t), void *data,
                          GError **error)
{
    uint64_t offset = GUINT64_FROM_BE(s->l1_table_offset), n = GUINT32_FROM_BE(s->l1_size), end;
    uint64_t table[512];

    if (!n)
        return true;
    if (offset & (q->cluster_size - 1) || !offset || n > *entries_left ||
        __builtin_add_overflow(offset, n * sizeof(uint64_t), &end) || end > q->file_end + q->cluster_size)
        return vmc_qcow2_damaged(q, error, _("the L1 table of a snapshot does not lie in the file"));
    *entries_left -= n;
    if (!l1(data, offset, n))
        return false;
    for (uint64_t i = 0; i < n; i += G_N_ELEMENTS(table)) {
        uint64_t here = MIN(n - i, G_N_ELEMENTS(table));
        int err = vmc_qcow2_pread(q, offset + i * sizeof(*table), table, here * sizeof(*table));
        if (err)
            return vmc_qcow2_damaged(q, error, _("a snapshot cannot be read: %s"), g_strerror(-err));
        for (uint64_t k = 0; k < here; k++) {
            uint64_t entry = GUINT64_FROM_BE(table[k]);
            if (entry && (!(entry & QCOW2_OFFSET) || !table_fits(q, entry)))
                return vmc_qcow2_damaged(q, error, _("an L1 table of a snapshot points outside the file"));
            if (entry && !l2(data, entry))
                return false;
        }
    }
    return true;
}

bool vmc_qcow2_walk_snapshots(Qcow2 *q, bool (*l1)(void *data, uint64_t offset, uint64_t entries),
                              bool (*l2)(void *data, uint64_t entry), void *data, GError **error)
{
    uint64_t at = q->snapshots_offset, entries_left = 2 * QCOW2_L1_BYTES_MAX / sizeof(uint64_t);

    for (uint32_t i = 0; i < q->n_snapshots; i++) {
        Qcow2SnapshotEntry s;
        if (at > q->file_end || vmc_qcow2_pread(q, at, &s, sizeof(s)))
            return vmc_qcow2_damaged(q, error, _("its table of snapshots does not lie in the file"));
        if (!walk_snapshot(q, &s, &entries_left, l1, l2, data, error))
            return false;
        uint64_t length = sizeof(s) + (uint64_t)GUINT32_FROM_BE(s.extra_size) + GUINT16_FROM_BE(s.id_length) +
                          GUINT16_FROM_BE(s.name_length);
        at += (length + 7) / 8 * 8;
        if (at - q->snapshots_offset > (64u << 20))
            return vmc_qcow2_damaged(q, error, _("its table of snapshots is too large"));
    }
    q->snapshots_bytes = at - q->snapshots_offset;
    return true;
}

/* ---- opening ---- */

static bool inspect(Qcow2 *q, GError **error)
{
    bool dirty = q->incompatible & QCOW2_INCOMPAT_DIRTY;
    Qcow2Check result;

    if (q->readonly || (!dirty && !vmc_qcow2_check_is_cheap(q)))
        return true;
    if (!vmc_qcow2_check(q, true, &result, error))
        return false;
    if (!result.corruptions || dirty)
        return true;
    return vmc_qcow2_damaged(q, error,
                             _("%" PRIu64
                               " of its clusters are used by more than its refcounts say; repair it with "
                               "“qemu-img check -r all”, or attach it read-only"),
                             result.corruptions);
}

static bool start(Qcow2 *q, const VmcDiskOpen *params, const Qcow2Above *above, GError **error)
{
    struct stat st;

    if (fstat(q->fd, &st))
        return vmc_disk_file_failed(q->path, q->readonly, errno, error);
    if (!S_ISREG(st.st_mode)) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                    _("“%s” is a block device: a qcow2 image must be a file"), q->path);
        return false;
    }
    q->file_end = q->trim_to = (uint64_t)st.st_size;
    q->block_size = 4096; /* what file systems are made of */
    Qcow2Above self = {above, st.st_dev, st.st_ino};
    if (!vmc_qcow2_read_header(q, error))
        return false;
    vmc_qcow2_cache_init(&q->l2, q->cluster_size, L2_CACHE_BYTES);
    vmc_qcow2_cache_init(&q->refblocks, q->cluster_size, REFBLOCK_CACHE_BYTES);
    q->high_water = (q->file_end + q->cluster_size - 1) >> q->cluster_bits;
    return read_tables(q, error) && inspect(q, error) && vmc_qcow2_open_backing(q, params, &self, error);
}

Qcow2 *vmc_qcow2_open_fd(int fd, const VmcDiskOpen *params, const Qcow2Above *above, GError **error)
{
    Qcow2 *q = g_new0(Qcow2, 1);

    q->path = g_strdup(params->path);
    q->fd = fd;
    q->readonly = params->readonly;
    q->generation = 1;
    g_mutex_init(&q->meta);
    g_cond_init(&q->not_busy);
    g_mutex_init(&q->lock);
    g_mutex_init(&q->unpacked_lock);
    q->uses = g_hash_table_new(NULL, NULL);
    q->frees = g_array_new(FALSE, FALSE, sizeof(Qcow2Free));
    if (start(q, params, above, error))
        return q;
    vmc_qcow2_free(q);
    return NULL;
}

/* Twice: what the first commit lets go of is counted by the second. */
static void finish(Qcow2 *q)
{
    if (!q->touched || q->broken)
        return;
    if (vmc_qcow2_commit(q) || vmc_qcow2_commit(q))
        return;
    uint64_t used = MAX(q->high_water << q->cluster_bits, q->trim_to);
    if (used < q->file_end && ftruncate(q->fd, (off_t)used))
        return; /* a hole is left */
}

void vmc_qcow2_free(Qcow2 *q)
{
    g_mutex_lock(&q->meta);
    finish(q);
    g_mutex_unlock(&q->meta);
    vmc_disk_close(q->backing);
    close(q->fd);
    vmc_qcow2_cache_clear(&q->l2);
    vmc_qcow2_cache_clear(&q->refblocks);
    g_hash_table_unref(q->uses);
    g_array_unref(q->frees);
    g_mutex_clear(&q->meta);
    g_cond_clear(&q->not_busy);
    g_mutex_clear(&q->lock);
    g_mutex_clear(&q->unpacked_lock);
    g_free(q->l1.entries);
    g_free(q->reftable.entries);
    g_free(q->unpacked);
    g_free(q->backing_path);
    g_free(q->backing_format);
    g_free(q->path);
    g_free(q);
}

/* ---- the disk ---- */

static Qcow2 *image(VmcDisk *disk)
{
    return ((Qcow2Disk *)disk)->q;
}

static int disk_read(VmcDisk *disk, uint64_t offset, struct iovec *iov, unsigned n_iov)
{
    return vmc_qcow2_read(image(disk), offset, iov, n_iov);
}

static int disk_write(VmcDisk *disk, uint64_t offset, struct iovec *iov, unsigned n_iov)
{
    return vmc_qcow2_write(image(disk), offset, iov, n_iov);
}

static int disk_flush(VmcDisk *disk)
{
    return vmc_qcow2_flush(image(disk));
}

static int disk_discard(VmcDisk *disk, uint64_t offset, uint64_t length)
{
    return vmc_qcow2_discard(image(disk), offset, length);
}

static int disk_write_zeroes(VmcDisk *disk, uint64_t offset, uint64_t length, bool unmap)
{
    return vmc_qcow2_write_zeroes(image(disk), offset, length, unmap);
}

static int disk_grow(VmcDisk *disk, uint64_t size)
{
    int err = vmc_qcow2_grow(image(disk), size);

    disk->size = image(disk)->size;
    return err;
}

static bool disk_map(VmcDisk *disk, uint64_t offset, uint64_t length, bool write, VmcDiskExtent *extent)
{
    Qcow2 *q = image(disk);
    Qcow2Run run;

    g_mutex_lock(&q->lock);
    bool found = vmc_qcow2_look_up(q, offset, length, write, &run);
    bool good = found && run.kind == QCOW2_KIND_DATA && run.length == length && (!write || run.in_place) &&
                run.host + length <= q->file_end;
    if (found && !good)
        q->pins[run.pin]--;
    g_mutex_unlock(&q->lock);
    if (good)
        *extent = (VmcDiskExtent){q->fd, run.host, length, write, {(uintptr_t)q, run.pin}};
    return good;
}

static void disk_unmap(VmcDisk *disk, const VmcDiskExtent *extent)
{
    vmc_qcow2_unpin((Qcow2 *)(uintptr_t)extent->cookie[0], (unsigned)extent->cookie[1]);
}

static void disk_close(VmcDisk *disk)
{
    vmc_qcow2_free(image(disk));
    g_free(disk);
}

static const VmcDiskOps qcow2_ops = {
    .name = "qcow2",
    .read = disk_read,
    .write = disk_write,
    .flush = disk_flush,
    .discard = disk_discard,
    .write_zeroes = disk_write_zeroes,
    .grow = disk_grow,
    .map = disk_map,
    .unmap = disk_unmap,
    .close = disk_close,
};

VmcDisk *vmc_qcow2_disk_new(Qcow2 *q)
{
    Qcow2Disk *disk = g_new0(Qcow2Disk, 1);

    disk->disk.ops = &qcow2_ops;
    disk->disk.size = q->size;
    disk->disk.block_size = q->block_size;
    disk->disk.readonly = q->readonly;
    disk->disk.buffered_writes = true; /* an image is a file */
    disk->q = q;
    return &disk->disk;
}

static VmcDisk *qcow2_open(const VmcDiskOpen *params, GError **error)
{
    struct stat st;
    int fd = vmc_disk_file_open(params->path, params->readonly, &st, error);
    Qcow2 *q = fd < 0 ? NULL : vmc_qcow2_open_fd(fd, params, NULL, error);

    return q ? vmc_qcow2_disk_new(q) : NULL;
}

const VmcDiskFormatOps vmc_disk_format_qcow2 = {"qcow2", qcow2_open, vmc_qcow2_create, vmc_qcow2_info};
