/*
 * qcow2: refcounts, and finding clusters that have none ("Host cluster management").
 *
 * We only ever raise a refcount from 0 to 1 (internal snapshots, which would raise it further, are kept but
 * never made), so that even refcounts one bit wide suffice.
 *
 * The refcounts of a hostile image may say that its own tables are free. So besides a refcount of 0 a cluster
 * must not be one that we know to be in use for a table (`uses`), and one that is breaks the image: nothing
 * is written to it any more.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "block/qcow2.h"

int vmc_qcow2_break(Qcow2 *q)
{
    g_mutex_lock(&q->lock);
    q->broken = true;
    q->ready = false;
    g_mutex_unlock(&q->lock);
    return -EIO;
}

/* ---- what clusters are used for ---- */

Qcow2Use vmc_qcow2_use(const Qcow2 *q, uint64_t cluster)
{
    return (Qcow2Use)GPOINTER_TO_UINT(g_hash_table_lookup(q->uses, (gpointer)(uintptr_t)cluster));
}

void vmc_qcow2_set_use(Qcow2 *q, uint64_t first, uint64_t n, Qcow2Use use)
{
    g_mutex_lock(&q->lock);
    for (uint64_t i = 0; i < n; i++) {
        gpointer key = (gpointer)(uintptr_t)(first + i);
        if (use == QCOW2_USE_NONE)
            g_hash_table_remove(q->uses, key);
        else
            g_hash_table_insert(q->uses, key, GUINT_TO_POINTER((guint)use));
    }
    g_mutex_unlock(&q->lock);
}

/* ---- entries of a refcount block ---- */

static uint64_t get_count(const Qcow2 *q, const uint8_t *data, uint64_t i)
{
    switch (q->refcount_order) {
    case 3:
        return data[i];
    case 4:
        return GUINT16_FROM_BE(((const uint16_t *)(const void *)data)[i]);
    case 5:
        return GUINT32_FROM_BE(((const uint32_t *)(const void *)data)[i]);
    case 6:
        return GUINT64_FROM_BE(((const uint64_t *)(const void *)data)[i]);
    default: { /* narrower than a byte, the lowest bits first */
        unsigned bits = 1u << q->refcount_order, per_byte = 8 / bits;
        return data[i / per_byte] >> i % per_byte * bits & ((1u << bits) - 1);
    }
    }
}

static void put_count(const Qcow2 *q, uint8_t *data, uint64_t i, uint64_t count)
{
    switch (q->refcount_order) {
    case 3:
        data[i] = (uint8_t)count;
        break;
    case 4:
        ((uint16_t *)(void *)data)[i] = GUINT16_TO_BE((uint16_t)count);
        break;
    case 5:
        ((uint32_t *)(void *)data)[i] = GUINT32_TO_BE((uint32_t)count);
        break;
    case 6:
        ((uint64_t *)(void *)data)[i] = GUINT64_TO_BE(count);
        break;
    default: {
        unsigned bits = 1u << q->refcount_order, per_byte = 8 / bits;
        unsigned shift = (unsigned)(i % per_byte) * bits, mask = ((1u << bits) - 1) << shift;
        data[i / per_byte] = (uint8_t)((data[i / per_byte] & ~mask) | (count << shift & mask));
    }
    }
}

static uint64_t index_in_block(const Qcow2 *q, uint64_t cluster)
{
    return cluster & ((1ull << q->refblock_bits) - 1);
}

static void set_count(Qcow2 *q, Qcow2Table *block, uint64_t cluster, uint64_t count)
{
    uint64_t i = index_in_block(q, cluster);
    uint64_t byte = (i << q->refcount_order) / 8;
    uint64_t bytes = MAX(1u, (1u << q->refcount_order) / 8);

    put_count(q, block->data, i, count);
    vmc_qcow2_cache_dirty(&q->refblocks, block, (uint32_t)byte, (uint32_t)(byte + bytes));
}

/* The block for a cluster; NULL where there is none, whose clusters are all free. */
static int find_block(Qcow2 *q, uint64_t cluster, Qcow2Table **block)
{
    uint64_t i = cluster >> q->refblock_bits;

    *block = NULL;
    if (i >= q->reftable.n || !q->reftable.entries[i])
        return 0;
    return vmc_qcow2_cache_get(q, &q->refblocks, q->reftable.entries[i], block);
}

int vmc_qcow2_refcount(Qcow2 *q, uint64_t cluster, uint64_t *count)
{
    Qcow2Table *block;
    int err = find_block(q, cluster, &block);

    *count = !err && block ? get_count(q, block->data, index_in_block(q, cluster)) : 0;
    return err;
}

/* ---- making room for refcounts ---- */

static int grow_reftable(Qcow2 *q, uint64_t entries);

static void set_reftable_entry(Qcow2 *q, uint64_t i, uint64_t offset)
{
    Qcow2Array *table = &q->reftable;
    bool clean = table->dirty_from >= table->dirty_to;

    table->entries[i] = offset;
    table->dirty_from = clean ? i : MIN(table->dirty_from, i);
    table->dirty_to = clean ? i + 1 : MAX(table->dirty_to, i + 1);
}

/* A new refcount block for the clusters that table entry `i` covers, at `cluster`, counted by whoever it
 * belongs to. */
static int make_block_at(Qcow2 *q, uint64_t i, uint64_t cluster, Qcow2Table **block)
{
    uint64_t offset = cluster << q->cluster_bits;
    int err;

    if (vmc_qcow2_use(q, cluster) != QCOW2_USE_NONE)
        return vmc_qcow2_break(q);
    err = vmc_qcow2_extend(q, offset + q->cluster_size);
    if (!err)
        err = vmc_qcow2_cache_new(q, &q->refblocks, offset, block);
    if (err)
        return err;
    vmc_qcow2_set_use(q, cluster, 1, QCOW2_USE_REFBLOCK);
    set_reftable_entry(q, i, offset);
    q->high_water = MAX(q->high_water, cluster + 1);
    return 0;
}

/* The block that covers a cluster, made if need be: it lies in the first cluster that it covers. */
static int ensure_block(Qcow2 *q, uint64_t cluster, Qcow2Table **block)
{
    uint64_t i = cluster >> q->refblock_bits;
    int err = 0;

    if (cluster >= QCOW2_HOST_MAX >> q->cluster_bits)
        return -EFBIG;
    if (i >= q->reftable.n)
        err = grow_reftable(q, i + 1);
    if (!err)
        err = find_block(q, cluster, block);
    if (err || *block)
        return err;
    err = make_block_at(q, i, i << q->refblock_bits, block);
    if (!err)
        set_count(q, *block, i << q->refblock_bits, 1);
    return err;
}

int vmc_qcow2_set_refcount(Qcow2 *q, uint64_t cluster, uint64_t count)
{
    Qcow2Table *block;
    int err;

    if (q->refcount_order < 6 && count >> (1u << q->refcount_order))
        return -ERANGE;
    err = ensure_block(q, cluster, &block);
    if (!err)
        set_count(q, block, cluster, count);
    return err;
}

int vmc_qcow2_make_block(Qcow2 *q, uint64_t i)
{
    uint64_t cluster = q->high_water;
    Qcow2Table *block;

    if (i >= q->reftable.n || cluster >> q->refblock_bits >= q->reftable.n)
        return -EFBIG;
    if (q->reftable.entries[i])
        return 0;
    int err = make_block_at(q, i, cluster, &block);
    if (!err)
        err = vmc_qcow2_make_block(q, cluster >> q->refblock_bits);
    return err ? err : vmc_qcow2_set_refcount(q, cluster, 1);
}

/* Room for `n` adjacent clusters beyond everything else, and behind them for the blocks that count both. */
static int place_at_end(Qcow2 *q, uint64_t n, uint64_t *first)
{
    uint64_t blocks = 0, from = q->high_water, needed;

    do {
        needed = 0;
        uint64_t last = (from + n + blocks - 1) >> q->refblock_bits;
        if (last >= q->reftable.n)
            return -ENOSPC; /* the caller has made the table large enough */
        for (uint64_t i = from >> q->refblock_bits; i <= last; i++)
            needed += !q->reftable.entries[i];
        if (needed <= blocks)
            break;
        blocks = needed;
    } while (true);

    int err = vmc_qcow2_extend(q, (from + n + blocks) << q->cluster_bits);
    if (err)
        return err;
    uint64_t at = from + n, last = (from + n + blocks - 1) >> q->refblock_bits;
    for (uint64_t i = from >> q->refblock_bits; i <= last && !err; i++) {
        Qcow2Table *block;
        if (!q->reftable.entries[i])
            err = make_block_at(q, i, at++, &block);
    }
    *first = from;
    q->high_water = MAX(q->high_water, from + n + blocks);
    /* Those of the blocks' clusters that are left over are free. */
    for (uint64_t cluster = from; cluster < at && !err; cluster++) {
        uint64_t count;
        err = vmc_qcow2_refcount(q, cluster, &count);
        if (!err && count)
            err = -EIO; /* counted, but beyond the end of the file */
        if (!err)
            err = vmc_qcow2_set_refcount(q, cluster, 1);
    }
    return err ? vmc_qcow2_break(q) : 0; /* half of it is done */
}

void vmc_qcow2_array_moved(Qcow2 *q, Qcow2Array *array)
{
    uint64_t first = array->offset >> q->cluster_bits;

    if (array->old_clusters) { /* moved twice: the file has never heard of the place in between */
        vmc_qcow2_set_use(q, first, array->clusters, QCOW2_USE_NONE);
        vmc_qcow2_unalloc(q, first, array->clusters);
        return;
    }
    vmc_qcow2_set_use(q, first, array->clusters, QCOW2_USE_RETIRED);
    array->old_offset = array->offset;
    array->old_clusters = array->clusters;
}

/* Changes the array's place to one with room for `n` entries; it is written there by the next commit. */
static int grow_reftable(Qcow2 *q, uint64_t entries)
{
    Qcow2Array *table = &q->reftable;
    uint64_t per_cluster = q->cluster_size / sizeof(uint64_t), first;
    /* Half as much again, so that this happens rarely; and what the new table and its blocks themselves
     * need. */
    uint64_t n = (MAX(entries, table->n) * 3 / 2 + 2 + per_cluster) / per_cluster * per_cluster;

    for (;; n += per_cluster) {
        uint64_t clusters = n / per_cluster;
        uint64_t end = q->high_water + clusters + (clusters >> q->refblock_bits) + 4;
        if (n * sizeof(uint64_t) > QCOW2_REFTABLE_BYTES_MAX)
            return -EFBIG;
        if (MAX(end >> q->refblock_bits, entries) + 4 < n)
            break;
    }
    table->entries = g_renew(uint64_t, table->entries, n);
    memset(table->entries + table->n, 0, (n - table->n) * sizeof(uint64_t));
    table->n = n;
    int err = place_at_end(q, n / per_cluster, &first);
    if (err)
        return vmc_qcow2_break(q); /* in memory it is larger than in the file, and cannot be brought there */
    vmc_qcow2_array_moved(q, table);
    table->offset = first << q->cluster_bits;
    table->clusters = n / per_cluster;
    table->dirty_from = 0;
    table->dirty_to = n;
    vmc_qcow2_set_use(q, first, table->clusters, QCOW2_USE_REFTABLE);
    return 0;
}

/* ---- allocating ---- */

/* The first free cluster from *at on among those that its block covers; false: *at is the first one of the
 * next block. */
static bool first_free(const Qcow2 *q, const Qcow2Table *block, uint64_t *at)
{
    uint64_t first = *at - index_in_block(q, *at), end = 1ull << q->refblock_bits;
    uint64_t i = index_in_block(q, *at);

    while (i < end && get_count(q, block->data, i))
        i++;
    *at = first + i;
    return i < end;
}

static int find_free(Qcow2 *q, Qcow2Table **block, uint64_t *cluster)
{
    int err;

    *cluster = q->free_hint;
    do {
        err = ensure_block(q, *cluster, block);
        if (err)
            return err;
    } while (!first_free(q, *block, cluster));
    return vmc_qcow2_use(q, *cluster) == QCOW2_USE_NONE ? 0 : vmc_qcow2_break(q);
}

int vmc_qcow2_alloc(Qcow2 *q, uint64_t want, uint64_t *first, uint64_t *n, bool *fresh)
{
    Qcow2Table *block;
    uint64_t count = 1;
    int err = find_free(q, &block, first);

    if (err)
        return err;
    *fresh = *first >= q->high_water;
    while (count < want && index_in_block(q, *first + count) &&
           !get_count(q, block->data, index_in_block(q, *first + count)) &&
           vmc_qcow2_use(q, *first + count) == QCOW2_USE_NONE && (*first + count >= q->high_water) == *fresh)
        count++;
    err = vmc_qcow2_extend(q, (*first + count) << q->cluster_bits);
    if (err)
        return err;
    for (uint64_t i = 0; i < count; i++)
        set_count(q, block, *first + i, 1);
    *n = count;
    q->free_hint = *first + count;
    q->high_water = MAX(q->high_water, *first + count);
    return 0;
}

int vmc_qcow2_alloc_table(Qcow2 *q, Qcow2Use use, uint64_t *offset)
{
    uint64_t first, n;
    bool fresh;
    int err = vmc_qcow2_alloc(q, 1, &first, &n, &fresh);

    if (err)
        return err;
    vmc_qcow2_set_use(q, first, 1, use);
    *offset = first << q->cluster_bits;
    return 0;
}

int vmc_qcow2_alloc_array(Qcow2 *q, uint64_t n, Qcow2Use use, uint64_t *offset)
{
    uint64_t first, end = q->high_water + n + (n >> q->refblock_bits) + 4;
    int err = 0;

    if (end >= QCOW2_HOST_MAX >> q->cluster_bits)
        return -EFBIG;
    if ((end >> q->refblock_bits) + 1 >= q->reftable.n)
        err = grow_reftable(q, (end >> q->refblock_bits) + 2);
    if (!err)
        err = place_at_end(q, n, &first);
    if (err)
        return err;
    vmc_qcow2_set_use(q, first, n, use);
    *offset = first << q->cluster_bits;
    return 0;
}

/* ---- freeing ---- */

static int lower(Qcow2 *q, uint64_t cluster, bool *now_free)
{
    Qcow2Use use = vmc_qcow2_use(q, cluster);
    Qcow2Table *block;
    uint64_t count;
    int err;

    if (use != QCOW2_USE_NONE && use != QCOW2_USE_RETIRED)
        return vmc_qcow2_break(q); /* an L2 entry pointed at a table */
    err = find_block(q, cluster, &block);
    if (err)
        return err;
    count = block ? get_count(q, block->data, index_in_block(q, cluster)) : 0;
    if (!count)
        return vmc_qcow2_break(q);
    set_count(q, block, cluster, count - 1);
    *now_free = count == 1;
    if (use == QCOW2_USE_RETIRED)
        vmc_qcow2_set_use(q, cluster, 1, count == 1 ? QCOW2_USE_NONE : QCOW2_USE_INACTIVE_L2);
    if (count == 1)
        q->free_hint = MIN(q->free_hint, cluster);
    return 0;
}

void vmc_qcow2_unalloc(Qcow2 *q, uint64_t first, uint64_t n)
{
    bool now_free;

    for (uint64_t i = 0; i < n; i++)
        lower(q, first + i, &now_free);
}

void vmc_qcow2_free_later(Qcow2 *q, uint64_t first, uint64_t n)
{
    Qcow2Free *last = q->frees->len ? &g_array_index(q->frees, Qcow2Free, q->frees->len - 1) : NULL;

    if (last && !last->generation && last->first + last->n == first) {
        last->n += n;
    } else {
        Qcow2Free f = {first, n, 0};
        g_array_append_val(q->frees, f);
    }
}

/* Gives the space back to the host; where that cannot be done it is merely not given back. */
static void punch(Qcow2 *q, uint64_t first, uint64_t n)
{
    if (fallocate(q->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(first << q->cluster_bits),
                  (off_t)(n << q->cluster_bits)))
        return;
}

static void apply(Qcow2 *q, const Qcow2Free *f)
{
    uint64_t run = 0;

    for (uint64_t i = 0; i <= f->n; i++) {
        bool now_free = false;
        if (i < f->n && !q->broken)
            lower(q, f->first + i, &now_free);
        if (now_free) {
            run++;
        } else if (run) {
            punch(q, f->first + i - run, run);
            run = 0;
        }
    }
}

/* See the head of qcow2.h. A generation ends when the pins of the one before have gone. */
static void next_generation(Qcow2 *q)
{
    g_mutex_lock(&q->lock);
    for (unsigned i = 0; i < 2 && !q->pins[(q->generation + 1) & 1]; i++)
        q->generation++;
    g_mutex_unlock(&q->lock);
}

void vmc_qcow2_apply_frees(Qcow2 *q)
{
    guint kept = 0;

    if (!q->frees->len)
        return;
    next_generation(q);
    for (guint i = 0; i < q->frees->len; i++) {
        Qcow2Free f = g_array_index(q->frees, Qcow2Free, i);
        g_mutex_lock(&q->lock);
        bool pinned = !f.generation || f.generation == q->generation ||
                      (f.generation + 1 == q->generation && q->pins[f.generation & 1]);
        g_mutex_unlock(&q->lock);
        if (pinned)
            g_array_index(q->frees, Qcow2Free, kept++) = f;
        else
            apply(q, &f);
    }
    g_array_set_size(q->frees, kept);
    vmc_qcow2_forget_compressed(q);
}
