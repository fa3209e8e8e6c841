/*
 * qcow2: counting what is used, and putting refcounts right.
 *
 * All that points at clusters is gone through: the header, the tables, the L2 tables of the disk and of its
 * internal snapshots. A refcount that is too low is what the dirty bit announces (lazy refcounts), one that
 * is too high is a leak, such as a killed process leaves. Whoever finds a refcount too low without that bit
 * has found a damaged image.
 */
#include <errno.h>
#include <string.h>

#include "base/i18n.h"
#include "block/qcow2.h"

/* Files of up to so many clusters are counted, in 4 bytes each. */
#define CLUSTERS_MAX (64ull << 20)
/* What is cheap: so many bytes of tables, and so many clusters. */
#define CHEAP_TABLES   (4ull << 20)
#define CHEAP_CLUSTERS (1ull << 20)

typedef struct Count {
    Qcow2 *q;
    uint32_t *refs; /* for each cluster of the file */
    uint64_t n;
    uint64_t shared; /* clusters that an entry says are its own and that have another reference */
    int err;
} Count;

static void count_clusters(Count *count, uint64_t first, uint64_t n)
{
    for (uint64_t i = first; i < first + n && i < count->n; i++)
        count->refs[i]++;
}

static void count_bytes(Count *count, uint64_t offset, uint64_t length)
{
    unsigned bits = count->q->cluster_bits;

    count_clusters(count, offset >> bits, ((offset + length - 1) >> bits) - (offset >> bits) + 1);
}

/* An L2 table and what it points at. Read past the cache, which it would only empty. */
static bool count_l2(void *data, uint64_t l1_entry)
{
    Count *count = data;
    Qcow2 *q = count->q;
    uint64_t offset = l1_entry & QCOW2_OFFSET, place, length;
    g_autofree uint8_t *bytes = g_try_malloc(q->cluster_size);
    Qcow2Table table = {.data = bytes};

    count->err = bytes ? vmc_qcow2_pread(q, offset, bytes, q->cluster_size) : -ENOMEM;
    if (count->err)
        return false;
    count_bytes(count, offset, 1);
    for (uint64_t i = 0; i >> q->l2_bits == 0; i++) {
        uint64_t entry = vmc_qcow2_entry(&table, i);
        if (!entry)
            continue;
        switch (vmc_qcow2_kind(q, entry)) {
        case QCOW2_KIND_COMPRESSED:
            vmc_qcow2_compressed_place(q, entry, &place, &length);
            count_bytes(count, place, length);
            break;
        case QCOW2_KIND_DATA:
        case QCOW2_KIND_ZERO:
            if (entry & QCOW2_OFFSET)
                count_bytes(count, entry & QCOW2_OFFSET, 1);
            break;
        case QCOW2_KIND_UNALLOCATED:
        case QCOW2_KIND_BAD:
            break;
        }
    }
    return true;
}

static bool count_l1(void *data, uint64_t offset, uint64_t entries)
{
    count_bytes(data, offset, entries * sizeof(uint64_t));
    return true;
}

/* Again through the disk's own tables: what says that it has one reference must have one. */
static bool find_shared(Count *count, uint64_t l1_entry)
{
    Qcow2 *q = count->q;
    g_autofree uint8_t *bytes = g_try_malloc(q->cluster_size);
    Qcow2Table table = {.data = bytes};

    count->err = bytes ? vmc_qcow2_pread(q, l1_entry & QCOW2_OFFSET, bytes, q->cluster_size) : -ENOMEM;
    if (count->err)
        return false;
    for (uint64_t i = 0; i >> q->l2_bits == 0; i++) {
        uint64_t entry = vmc_qcow2_entry(&table, i);
        if (entry & QCOW2_COPIED && vmc_qcow2_kind(q, entry) != QCOW2_KIND_BAD &&
            count->refs[(entry & QCOW2_OFFSET) >> q->cluster_bits] > 1)
            count->shared++;
    }
    return true;
}

static bool count_all(Count *count, GError **error)
{
    Qcow2 *q = count->q;

    count_clusters(count, 0, 1);
    count_bytes(count, q->l1.offset, q->l1.n ? q->l1.n * sizeof(uint64_t) : 1);
    count_clusters(count, q->reftable.offset >> q->cluster_bits, q->reftable.clusters);
    for (uint64_t i = 0; i < q->reftable.n; i++)
        if (q->reftable.entries[i])
            count_bytes(count, q->reftable.entries[i], 1);
    for (uint64_t i = 0; i < q->l1.n && !count->err; i++)
        if (q->l1.entries[i])
            count_l2(count, q->l1.entries[i]);
    if (!count->err && q->n_snapshots) {
        if (!vmc_qcow2_walk_snapshots(q, count_l1, count_l2, count, error) && !count->err)
            return false;
        count_bytes(count, q->snapshots_offset, MAX(q->snapshots_bytes, 1));
    }
    for (uint64_t i = 0; i < q->l1.n && !count->err; i++)
        if (q->l1.entries[i])
            find_shared(count, q->l1.entries[i]);
    return !count->err ||
           vmc_qcow2_damaged(q, error, _("its tables cannot be read: %s"), g_strerror(-count->err));
}

static int compare(Count *count, bool repair, Qcow2Check *result)
{
    Qcow2 *q = count->q;

    for (uint64_t cluster = 0; cluster < count->n; cluster++) {
        uint64_t has;
        int err = vmc_qcow2_refcount(q, cluster, &has);
        if (err)
            return err;
        if (has == count->refs[cluster])
            continue;
        if (has > count->refs[cluster])
            result->leaks++;
        else
            result->corruptions++;
        /* Where something may be in use that we know nothing of, a leak is left alone. */
        if (!repair || (has > count->refs[cluster] && q->foreign_tables))
            continue;
        err = vmc_qcow2_make_block(q, cluster >> q->refblock_bits);
        if (!err)
            err = vmc_qcow2_set_refcount(q, cluster, count->refs[cluster]);
        if (err)
            return err;
    }
    return 0;
}

bool vmc_qcow2_check_is_cheap(const Qcow2 *q)
{
    uint64_t tables = 0;

    for (uint64_t i = 0; i < q->l1.n; i++)
        tables += q->l1.entries[i] != 0;
    return !q->n_snapshots && tables << q->cluster_bits <= CHEAP_TABLES &&
           q->file_end >> q->cluster_bits <= CHEAP_CLUSTERS;
}

bool vmc_qcow2_check(Qcow2 *q, bool repair, Qcow2Check *result, GError **error)
{
    Count count = {.q = q, .n = q->high_water};

    memset(result, 0, sizeof(*result));
    if (count.n > CLUSTERS_MAX)
        return vmc_qcow2_damaged(q, error,
                                 _("it is too large to be checked here; use “qemu-img check -r all”"));
    count.refs = g_try_new0(uint32_t, count.n);
    if (!count.refs)
        return vmc_qcow2_damaged(q, error, _("there is not enough memory to check it"));
    bool good = count_all(&count, error);
    if (good && count.shared) {
        good = vmc_qcow2_damaged(q, error,
                                 _("%" PRIu64
                                   " of its clusters are used twice; repair it with “qemu-img check -r all”, "
                                   "or attach it read-only"),
                                 count.shared);
    } else if (good) {
        int err = compare(&count, repair, result);
        good =
            !err || vmc_qcow2_damaged(q, error, _("its refcounts cannot be put right: %s"), g_strerror(-err));
    }
    g_free(count.refs);
    return good;
}
