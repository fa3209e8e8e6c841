/*
 * qcow2: a new image, and what can be said about one.
 *
 * A new image is header, refcount table, refcount blocks and L1, one behind the other, in version 3 with
 * refcounts of 16 bits, which is what everything that knows qcow2 reads.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/i18n.h"
#include "block/format.h"
#include "block/qcow2.h"
#include "vmcore/error.h"

#define CLUSTER_SIZE_DEFAULT 65536u
#define REFCOUNT_ORDER       4u

/* Where everything lies, in clusters. */
typedef struct Layout {
    uint64_t cluster_size;
    uint64_t l1_entries;
    uint64_t table_at, table; /* the refcount table */
    uint64_t blocks_at, blocks;
    uint64_t l1_at, l1;
    uint64_t end;
} Layout;

static uint64_t divide_up(uint64_t a, uint64_t b)
{
    return a / b + (a % b != 0);
}

/* The refcount blocks count themselves, so their number is found step by step. */
static void lay_out(Layout *l, uint64_t size)
{
    uint64_t per_block = l->cluster_size * 8 >> REFCOUNT_ORDER, before;

    l->l1_entries = divide_up(size, l->cluster_size * (l->cluster_size / sizeof(uint64_t)));
    l->l1 = divide_up(l->l1_entries * sizeof(uint64_t), l->cluster_size);
    l->blocks = 1;
    do {
        before = l->blocks;
        l->table = divide_up(l->blocks * sizeof(uint64_t), l->cluster_size);
        l->end = 1 + l->table + l->blocks + l->l1;
        l->blocks = divide_up(l->end, per_block);
    } while (l->blocks != before);
    l->table_at = 1;
    l->blocks_at = l->table_at + l->table;
    l->l1_at = l->blocks_at + l->blocks;
}

static int write_all(int fd, const uint8_t *bytes, size_t length, uint64_t offset)
{
    Qcow2 file = {.fd = fd};

    return vmc_qcow2_pwrite(&file, offset, bytes, length);
}

/* Refcounts of 1 for all there is, and the table of their blocks. L1 stays a hole. */
static int write_refcounts(int fd, const Layout *l)
{
    uint64_t *table = g_new0(uint64_t, l->table * l->cluster_size / sizeof(uint64_t));
    uint16_t *counts = g_new0(uint16_t, l->blocks * l->cluster_size / sizeof(uint16_t));

    for (uint64_t i = 0; i < l->blocks; i++)
        table[i] = GUINT64_TO_BE((l->blocks_at + i) * l->cluster_size);
    for (uint64_t i = 0; i < l->end; i++)
        counts[i] = GUINT16_TO_BE(1);
    int err =
        write_all(fd, (const uint8_t *)table, l->table * l->cluster_size, l->table_at * l->cluster_size);
    if (!err)
        err = write_all(fd, (const uint8_t *)counts, l->blocks * l->cluster_size,
                        l->blocks_at * l->cluster_size);
    g_free(table);
    g_free(counts);
    return err;
}

static bool config_error(GError **error, const char *path, const char *what)
{
    g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG, _("Disk “%s” cannot be made: %s"), path, what);
    return false;
}

bool vmc_qcow2_create(int fd, const char *path, const VmcDiskCreate *params, GError **error)
{
    Layout l = {.cluster_size = params->cluster_size ? params->cluster_size : CLUSTER_SIZE_DEFAULT};

    if (l.cluster_size & (l.cluster_size - 1) || l.cluster_size >> QCOW2_CLUSTER_BITS_MIN == 0 ||
        l.cluster_size >> QCOW2_CLUSTER_BITS_MAX > 1)
        return config_error(error, path,
                            _("its clusters must have a power of two of bytes, from 512 to 2097152"));
    lay_out(&l, params->size);
    if (l.l1_entries * sizeof(uint64_t) > QCOW2_L1_BYTES_MAX)
        return config_error(error, path,
                            _("it is too large for its clusters; make them, or the disk, another size"));
    Qcow2Header header = {
        .magic = GUINT32_TO_BE(QCOW2_MAGIC),
        .version = GUINT32_TO_BE(3),
        .cluster_bits = GUINT32_TO_BE((uint32_t)__builtin_ctzll(l.cluster_size)),
        .size = GUINT64_TO_BE(params->size),
        .l1_size = GUINT32_TO_BE((uint32_t)l.l1_entries),
        .l1_table_offset = GUINT64_TO_BE(l.l1_at * l.cluster_size),
        .refcount_table_offset = GUINT64_TO_BE(l.table_at * l.cluster_size),
        .refcount_table_clusters = GUINT32_TO_BE((uint32_t)l.table),
        .refcount_order = GUINT32_TO_BE(REFCOUNT_ORDER),
    };
    g_autofree uint8_t *cluster = g_malloc(l.cluster_size);
    if (!vmc_qcow2_format_header(cluster, l.cluster_size, &header, params->backing, params->backing_format))
        return config_error(error, path, _("the name of the image below it is too long"));
    int err = ftruncate(fd, (off_t)(l.end * l.cluster_size)) ? -errno : write_refcounts(fd, &l);
    if (!err)
        err = write_all(fd, cluster, l.cluster_size, 0);
    if (!err)
        return true;
    g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE, _("Disk “%s” cannot be made: %s"), path,
                g_strerror(-err));
    return false;
}

bool vmc_qcow2_info(int fd, const char *path, VmcDiskInfo *info, GError **error)
{
    Qcow2 q = {.fd = fd, .path = (char *)(uintptr_t)path, .readonly = true};
    unsigned block_size;
    bool good = vmc_disk_file_measure(fd, path, true, &q.file_end, &block_size, error) &&
                vmc_qcow2_read_header(&q, error);

    if (good) {
        info->size = q.size;
        info->version = q.version;
        info->cluster_size = q.cluster_size;
        info->snapshots = q.n_snapshots;
        info->dirty = q.incompatible & QCOW2_INCOMPAT_DIRTY;
        info->corrupt = q.incompatible & QCOW2_INCOMPAT_CORRUPT;
        info->backing = g_steal_pointer(&q.backing_path);
        info->backing_format = g_steal_pointer(&q.backing_format);
    }
    g_free(q.backing_path);
    g_free(q.backing_format);
    return good;
}
