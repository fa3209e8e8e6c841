/*
 * qcow2: discarding, writing zeroes, and growing.
 *
 * Whole clusters are done in the L2 table: without an image below them, or from version 3 on, where an entry
 * can say that its cluster reads as zero. What begins or ends within a cluster is left alone by a discard and
 * written by write_zeroes. The host clusters are given back after the next commit, once nobody is busy with
 * them any more.
 */
#include <errno.h>
#include <string.h>

#include "block/qcow2.h"

#define ZEROES_BYTES (64 * 1024u)

typedef enum Zeroing {
    ZEROING_DISCARD, /* may be forgotten: reads as zero or as before */
    ZEROING_UNMAP,   /* must read as zero, and the space is given back */
    ZEROING_KEEP,    /* must read as zero, and the space is kept */
} Zeroing;

/* What an entry becomes; false: it cannot be done in the table. */
static bool zeroed(const Qcow2 *q, uint64_t entry, Zeroing how, uint64_t *to)
{
    Qcow2Kind kind = vmc_qcow2_kind(q, entry);

    *to = entry;
    if (kind == QCOW2_KIND_UNALLOCATED && !q->backing)
        return true;
    if (kind == QCOW2_KIND_BAD)
        return false;
    if (kind == QCOW2_KIND_UNALLOCATED && how == ZEROING_DISCARD)
        return true;
    if (q->version < 3) {
        *to = 0;
        return !q->backing;
    }
    if (kind == QCOW2_KIND_ZERO && (how == ZEROING_KEEP || entry == QCOW2_ZERO))
        return true;
    if (kind == QCOW2_KIND_DATA && how == ZEROING_KEEP && entry & QCOW2_COPIED)
        *to = entry | QCOW2_ZERO;
    else
        *to = q->backing ? QCOW2_ZERO : 0;
    return true;
}

/* With meta: whole guest clusters that one L2 table covers. *done: how many could be done. */
static int zero_in_table(Qcow2 *q, uint64_t first, uint64_t n, Zeroing how, uint64_t *done)
{
    uint64_t offset = first << q->cluster_bits, index = vmc_qcow2_l2_index(q, offset);
    bool make = how != ZEROING_DISCARD && q->backing && q->version >= 3;
    Qcow2Table *table;
    int err = vmc_qcow2_begin_change(q);

    *done = 0;
    if (err || vmc_qcow2_wait_not_busy(q, first, n))
        return err;
    err = vmc_qcow2_l2_for_write(q, vmc_qcow2_l1_index(q, offset), make, &table);
    if (err)
        return err;
    if (!table) { /* nothing there: zeroes, unless there is something below */
        *done = how == ZEROING_DISCARD || !q->backing ? n : 0;
        return *done ? 0 : -EOPNOTSUPP;
    }
    for (; *done < n; ++*done) {
        uint64_t entry = vmc_qcow2_entry(table, index + *done), to;
        if (!zeroed(q, entry, how, &to))
            break;
        if (to == entry)
            continue;
        vmc_qcow2_set_l2(q, table, index + *done, to);
        if (!(to & QCOW2_OFFSET))
            vmc_qcow2_drop_entry(q, entry);
    }
    table->users--;
    return *done ? 0 : -EOPNOTSUPP;
}

static int write_zero_bytes(Qcow2 *q, uint64_t offset, uint64_t length)
{
    static const uint8_t zeroes[ZEROES_BYTES];
    int err = 0;

    while (length && !err) {
        size_t here = (size_t)MIN(length, sizeof(zeroes));
        struct iovec iov = {(void *)(uintptr_t)zeroes, here};
        err = vmc_qcow2_write(q, offset, &iov, 1);
        offset += here;
        length -= here;
    }
    return err;
}

/* Part of a cluster. Nothing is written where zeroes are already. */
static int zero_part(Qcow2 *q, uint64_t offset, uint64_t length, Zeroing how)
{
    Qcow2Run run;

    if (!length || how == ZEROING_DISCARD)
        return 0;
    int err = vmc_qcow2_find(q, offset, length, false, &run);
    if (err)
        return err;
    vmc_qcow2_unpin(q, run.pin);
    if (run.length == length &&
        (run.kind == QCOW2_KIND_ZERO || (run.kind == QCOW2_KIND_UNALLOCATED && !q->backing)))
        return 0;
    return write_zero_bytes(q, offset, length);
}

static int zero_clusters(Qcow2 *q, uint64_t first, uint64_t n, Zeroing how)
{
    while (n) {
        uint64_t in_table = (1ull << q->l2_bits) - (first & ((1ull << q->l2_bits) - 1));
        uint64_t done;
        g_mutex_lock(&q->meta);
        int err = zero_in_table(q, first, MIN(n, in_table), how, &done);
        g_mutex_unlock(&q->meta);
        if (err == -EOPNOTSUPP) {
            err = zero_part(q, first << q->cluster_bits, q->cluster_size, how);
            done = 1;
        }
        if (err)
            return err;
        first += done;
        n -= done;
    }
    return 0;
}

static int zero(Qcow2 *q, uint64_t offset, uint64_t length, Zeroing how)
{
    uint64_t end = offset + length, mask = q->cluster_size - 1;
    uint64_t first = (offset + mask) >> q->cluster_bits;
    /* What is behind the disk's end in its last cluster nobody can see. */
    uint64_t last = end == q->size ? (end + mask) >> q->cluster_bits : end >> q->cluster_bits;
    int err;

    if (q->readonly)
        return -EROFS;
    if (first > last || (first == last && first << q->cluster_bits >= end))
        return zero_part(q, offset, length, how);
    err = zero_part(q, offset, (first << q->cluster_bits) - offset, how);
    if (!err)
        err = zero_clusters(q, first, last - first, how);
    if (!err && last << q->cluster_bits < end)
        err = zero_part(q, last << q->cluster_bits, end - (last << q->cluster_bits), how);
    return err;
}

int vmc_qcow2_discard(Qcow2 *q, uint64_t offset, uint64_t length)
{
    return zero(q, offset, length, ZEROING_DISCARD);
}

int vmc_qcow2_write_zeroes(Qcow2 *q, uint64_t offset, uint64_t length, bool unmap)
{
    return zero(q, offset, length, unmap ? ZEROING_UNMAP : ZEROING_KEEP);
}

/* ---- growing ---- */

static int grow_l1(Qcow2 *q, uint64_t entries)
{
    Qcow2Array *l1 = &q->l1;
    uint64_t per_cluster = q->cluster_size / sizeof(uint64_t), offset;
    uint64_t clusters = (entries + per_cluster - 1) / per_cluster;
    int err;

    if (entries * sizeof(uint64_t) > QCOW2_L1_BYTES_MAX)
        return -EFBIG;
    if (clusters > l1->clusters) {
        err = vmc_qcow2_alloc_array(q, clusters, QCOW2_USE_L1, &offset);
        if (err)
            return err;
        vmc_qcow2_array_moved(q, l1);
        l1->offset = offset;
        l1->clusters = clusters;
        l1->dirty_from = 0;
    } else {
        l1->dirty_from = l1->dirty_from < l1->dirty_to ? MIN(l1->dirty_from, l1->n) : l1->n;
    }
    uint64_t *bigger = g_new0(uint64_t, entries);
    memcpy(bigger, l1->entries, l1->n * sizeof(uint64_t));
    g_mutex_lock(&q->lock);
    g_free(l1->entries);
    l1->entries = bigger;
    l1->n = entries;
    g_mutex_unlock(&q->lock);
    l1->dirty_to = entries;
    return 0;
}

/* What was beyond the old end in its last cluster may be anything: the guest could not see it. */
static int zero_old_tail(Qcow2 *q, uint64_t size)
{
    uint64_t end = (q->size + q->cluster_size - 1) >> q->cluster_bits << q->cluster_bits;
    uint64_t from = q->size;

    if (from == end)
        return 0;
    q->size = MIN(end, size);
    int err = zero_part(q, from, q->size - from, ZEROING_KEEP);
    q->size = from;
    return err;
}

int vmc_qcow2_grow(Qcow2 *q, uint64_t size)
{
    uint64_t span = q->cluster_size << q->l2_bits;
    uint64_t entries = size / span + (size % span != 0);
    uint64_t old = q->size, below = q->backing ? q->backing->size : 0;
    int err;

    if (q->readonly)
        return -EROFS;
    /* An internal snapshot remembers its size, but what it keeps behind the disk's end would become part of
     * the disk. */
    if (q->n_snapshots)
        return -EOPNOTSUPP;
    err = zero_old_tail(q, size);
    g_mutex_lock(&q->meta);
    if (!err)
        err = vmc_qcow2_begin_change(q);
    if (!err && entries > q->l1.n)
        err = grow_l1(q, entries);
    if (!err) {
        q->size = size;
        q->size_changed = true;
        err = vmc_qcow2_commit(q);
        if (err)
            q->size = old;
    }
    g_mutex_unlock(&q->meta);
    if (!err && below > q->size)
        below = q->size;
    /* A larger image below must not show through. */
    return err || below <= old ? err : vmc_qcow2_write_zeroes(q, old, below - old, true);
}
