/*
 * qcow2: from a guest's offset to what lies there ("Cluster mapping").
 *
 * Looking up takes no memory and does no I/O as long as the L2 table is in the cache; that is what map uses.
 * Entries come from the file and are checked each time they are used: a hostile image gets its guest an I/O
 * error, never a byte outside the image or inside its tables.
 */
#include <errno.h>
#include <string.h>

#include "block/qcow2.h"

/* Where entries may point: whole clusters of the file as it is now, the last one perhaps cut short. */
static bool within_file(const Qcow2 *q, uint64_t host)
{
    return host && !(host & (q->cluster_size - 1)) && host < q->file_end;
}

bool vmc_qcow2_compressed_place(const Qcow2 *q, uint64_t entry, uint64_t *offset, uint64_t *length)
{
    unsigned x = 62 - (q->cluster_bits - 8);
    uint64_t more = entry >> x & ((1ull << (q->cluster_bits - 8)) - 1);

    *offset = entry & ((1ull << x) - 1);
    *length = (more + 1) * 512 - (*offset & 511);
    return *offset >= q->cluster_size && *offset < q->file_end && *offset < QCOW2_HOST_MAX;
}

Qcow2Kind vmc_qcow2_kind(const Qcow2 *q, uint64_t entry)
{
    uint64_t offset, length;

    if (!entry)
        return QCOW2_KIND_UNALLOCATED;
    if (entry & QCOW2_COMPRESSED)
        return !(entry & QCOW2_COPIED) && vmc_qcow2_compressed_place(q, entry, &offset, &length)
                   ? QCOW2_KIND_COMPRESSED
                   : QCOW2_KIND_BAD;
    if (entry & QCOW2_RESERVED || (entry & QCOW2_ZERO && q->version < 3))
        return QCOW2_KIND_BAD;
    if (entry == QCOW2_ZERO)
        return QCOW2_KIND_ZERO;
    if (!within_file(q, entry & QCOW2_OFFSET))
        return QCOW2_KIND_BAD;
    return entry & QCOW2_ZERO ? QCOW2_KIND_ZERO : QCOW2_KIND_DATA;
}

/* A cluster of data that is ours alone and holds no table. */
static bool writable(const Qcow2 *q, uint64_t entry)
{
    return entry & QCOW2_COPIED &&
           vmc_qcow2_use(q, (entry & QCOW2_OFFSET) >> q->cluster_bits) == QCOW2_USE_NONE;
}

static void pin(Qcow2 *q, Qcow2Run *run)
{
    run->pin = q->generation & 1;
    q->pins[run->pin]++;
}

void vmc_qcow2_unpin(Qcow2 *q, unsigned pin)
{
    g_mutex_lock(&q->lock);
    q->pins[pin]--;
    g_mutex_unlock(&q->lock);
}

/* How far the run goes on: `length` bytes at most, from a cluster's middle perhaps. */
static void measure_run(const Qcow2 *q, const Qcow2Table *table, bool shared, uint64_t offset,
                        uint64_t length, bool write, Qcow2Run *run)
{
    uint64_t index = vmc_qcow2_l2_index(q, offset), in_cluster = offset & (q->cluster_size - 1);
    uint64_t done = q->cluster_size - in_cluster;
    uint64_t host = run->entry & QCOW2_OFFSET;

    run->host = host + in_cluster;
    run->in_place = run->kind == QCOW2_KIND_DATA && q->ready && !shared && write && writable(q, run->entry);
    while (done < length && ++index >> q->l2_bits == 0 && run->kind != QCOW2_KIND_COMPRESSED) {
        uint64_t entry = vmc_qcow2_entry(table, index);
        if (vmc_qcow2_kind(q, entry) != run->kind)
            break;
        host += q->cluster_size;
        if (run->kind == QCOW2_KIND_DATA && (entry & QCOW2_OFFSET) != host)
            break;
        if (run->in_place && !writable(q, entry))
            break;
        done += q->cluster_size;
    }
    run->length = MIN(done, length);
}

bool vmc_qcow2_look_up(Qcow2 *q, uint64_t offset, uint64_t length, bool write, Qcow2Run *run)
{
    uint64_t l1_index = vmc_qcow2_l1_index(q, offset), l1_entry;
    Qcow2Table *table = NULL;

    memset(run, 0, sizeof(*run));
    run->kind = QCOW2_KIND_BAD;
    l1_entry = l1_index < q->l1.n ? q->l1.entries[l1_index] : 0;
    if (l1_entry & QCOW2_OFFSET) {
        table = vmc_qcow2_cache_find(&q->l2, l1_entry & QCOW2_OFFSET);
        if (!table)
            return false;
        run->entry = vmc_qcow2_entry(table, vmc_qcow2_l2_index(q, offset));
        run->kind = vmc_qcow2_kind(q, run->entry);
        measure_run(q, table, !(l1_entry & QCOW2_COPIED), offset, length, write, run);
    } else {
        uint64_t span = q->cluster_size << q->l2_bits;
        run->kind = QCOW2_KIND_UNALLOCATED;
        run->length = MIN(length, span - (offset & (span - 1)));
    }
    pin(q, run);
    return true;
}

/* With meta. */
static int load(Qcow2 *q, uint64_t l1_index, Qcow2Table **table)
{
    uint64_t entry = l1_index < q->l1.n ? q->l1.entries[l1_index] : 0;

    *table = NULL;
    if (!(entry & QCOW2_OFFSET))
        return 0;
    return vmc_qcow2_cache_get(q, &q->l2, entry & QCOW2_OFFSET, table);
}

int vmc_qcow2_find(Qcow2 *q, uint64_t offset, uint64_t length, bool write, Qcow2Run *run)
{
    Qcow2Table *table;
    bool found;

    g_mutex_lock(&q->lock);
    found = vmc_qcow2_look_up(q, offset, length, write, run);
    g_mutex_unlock(&q->lock);
    if (found)
        return 0;
    g_mutex_lock(&q->meta);
    int err = load(q, vmc_qcow2_l1_index(q, offset), &table);
    if (!err) {
        g_mutex_lock(&q->lock);
        vmc_qcow2_look_up(q, offset, length, write, run);
        g_mutex_unlock(&q->lock);
    }
    g_mutex_unlock(&q->meta);
    return err;
}

/* ---- changing tables ---- */

static void set_l1(Qcow2 *q, uint64_t index, uint64_t entry)
{
    Qcow2Array *l1 = &q->l1;
    bool clean = l1->dirty_from >= l1->dirty_to;

    g_mutex_lock(&q->lock);
    l1->entries[index] = entry;
    g_mutex_unlock(&q->lock);
    l1->dirty_from = clean ? index : MIN(l1->dirty_from, index);
    l1->dirty_to = clean ? index + 1 : MAX(l1->dirty_to, index + 1);
}

/* A new table: empty, or a copy of one that a snapshot shares with us. */
static int new_l2(Qcow2 *q, uint64_t l1_index, Qcow2Table *old, Qcow2Table **table)
{
    uint64_t offset;
    int err;

    if (old)
        old->users++;
    err = vmc_qcow2_alloc_table(q, QCOW2_USE_L2, &offset);
    if (!err) {
        err = vmc_qcow2_cache_new(q, &q->l2, offset, table);
        if (err) {
            vmc_qcow2_set_use(q, offset >> q->cluster_bits, 1, QCOW2_USE_NONE);
            vmc_qcow2_unalloc(q, offset >> q->cluster_bits, 1);
        }
    }
    if (old)
        old->users--;
    if (err)
        return err;
    if (old) {
        memcpy((*table)->data, old->data, q->cluster_size);
        vmc_qcow2_set_use(q, old->offset >> q->cluster_bits, 1, QCOW2_USE_RETIRED);
        vmc_qcow2_free_later(q, old->offset >> q->cluster_bits, 1);
    }
    set_l1(q, l1_index, offset | QCOW2_COPIED);
    return 0;
}

int vmc_qcow2_l2_for_write(Qcow2 *q, uint64_t l1_index, bool make, Qcow2Table **table)
{
    Qcow2Table *old;
    int err;

    if (l1_index >= q->l1.n)
        return -EIO;
    err = load(q, l1_index, &old);
    *table = old;
    if (!err && (old ? !(q->l1.entries[l1_index] & QCOW2_COPIED) : make))
        err = new_l2(q, l1_index, old, table);
    if (!err && *table)
        (*table)->users++;
    return err;
}

void vmc_qcow2_set_l2(Qcow2 *q, Qcow2Table *table, uint64_t index, uint64_t entry)
{
    uint32_t at = (uint32_t)(index * sizeof(entry));

    g_mutex_lock(&q->lock);
    ((uint64_t *)(void *)table->data)[index] = GUINT64_TO_BE(entry);
    g_mutex_unlock(&q->lock);
    vmc_qcow2_cache_dirty(&q->l2, table, at, at + (uint32_t)sizeof(entry));
}

void vmc_qcow2_drop_entry(Qcow2 *q, uint64_t entry)
{
    uint64_t offset, length;

    switch (vmc_qcow2_kind(q, entry)) {
    case QCOW2_KIND_COMPRESSED:
        vmc_qcow2_compressed_place(q, entry, &offset, &length);
        offset = offset & ~511ull;
        uint64_t last = (offset + (length + 511) / 512 * 512 - 1) >> q->cluster_bits;
        vmc_qcow2_free_later(q, offset >> q->cluster_bits, last - (offset >> q->cluster_bits) + 1);
        break;
    case QCOW2_KIND_DATA:
    case QCOW2_KIND_ZERO:
        if (entry & QCOW2_OFFSET)
            vmc_qcow2_free_later(q, (entry & QCOW2_OFFSET) >> q->cluster_bits, 1);
        break;
    case QCOW2_KIND_UNALLOCATED:
    case QCOW2_KIND_BAD:
        break;
    }
}
