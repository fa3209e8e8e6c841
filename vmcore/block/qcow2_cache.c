/*
 * qcow2: the two caches of tables, one for L2 tables and one for refcount blocks.
 *
 * A table is found by its place in the file. The number of tables is bounded softly: tables that have changed
 * or are in use stay until they have been written, and whoever changes tables commits before there are too
 * many (vmc_qcow2_needs_commit). The rest make room for each other, the second chance going to those looked
 * at since the clock's hand went by.
 *
 * Threads: meta for all that changes the cache; lock, too, for the moment in which its chains change, since
 * map goes through them with lock alone.
 */
#include <errno.h>
#include <string.h>

#include "block/qcow2.h"

#define TABLES_MIN 4u
#define TABLES_MAX 16384u

/* Tables are written in whole blocks of this, since that is what the host writes anyway. */
#define WRITE_BLOCK 4096u

void vmc_qcow2_cache_init(Qcow2Cache *cache, uint64_t cluster_size, uint64_t bytes)
{
    cache->soft_max = (unsigned)CLAMP(bytes / cluster_size, TABLES_MIN, TABLES_MAX);
    cache->n_buckets = 1;
    while (cache->n_buckets < cache->soft_max)
        cache->n_buckets <<= 1;
    cache->buckets = g_new0(Qcow2Table *, cache->n_buckets);
}

static void table_free(Qcow2Table *table)
{
    if (table)
        g_free(table->data);
    g_free(table);
}

void vmc_qcow2_cache_clear(Qcow2Cache *cache)
{
    for (unsigned i = 0; i < cache->n; i++)
        table_free(cache->tables[i]);
    g_free(cache->tables);
    g_free(cache->buckets);
}

static Qcow2Table **bucket_of(const Qcow2Cache *cache, uint64_t offset)
{
    return &cache->buckets[(offset >> QCOW2_CLUSTER_BITS_MIN) * 0x9e3779b97f4a7c15ull >> 32 &
                           (cache->n_buckets - 1)];
}

Qcow2Table *vmc_qcow2_cache_find(const Qcow2Cache *cache, uint64_t offset)
{
    Qcow2Table *table = *bucket_of(cache, offset);

    while (table && table->offset != offset)
        table = table->next;
    if (table)
        table->used = true;
    return table;
}

static bool is_dirty(const Qcow2Table *table)
{
    return table->dirty_from != table->dirty_to;
}

/* With lock. */
static void unlink_table(Qcow2Cache *cache, Qcow2Table *table)
{
    Qcow2Table **at = bucket_of(cache, table->offset);

    while (*at != table)
        at = &(*at)->next;
    *at = table->next;
}

/* The place in `tables` of one that can go, or `n`. */
static unsigned find_victim(Qcow2Cache *cache)
{
    for (unsigned i = 0; i < 2 * cache->n; i++) {
        Qcow2Table *table = cache->tables[cache->hand];
        unsigned here = cache->hand;
        cache->hand = (cache->hand + 1) % cache->n;
        if (is_dirty(table) || table->users)
            continue;
        if (!table->used)
            return here;
        table->used = false;
    }
    return cache->n;
}

/* A table that is in no chain, its contents whatever they were; the caller adds or frees it. */
static Qcow2Table *take_table(Qcow2 *q, Qcow2Cache *cache)
{
    Qcow2Table *table = NULL;

    g_mutex_lock(&q->lock);
    if (cache->n >= cache->soft_max) {
        unsigned victim = find_victim(cache);
        if (victim < cache->n) {
            table = cache->tables[victim];
            unlink_table(cache, table);
            cache->tables[victim] = cache->tables[--cache->n];
            if (cache->hand >= cache->n)
                cache->hand = 0;
        }
    }
    g_mutex_unlock(&q->lock);
    if (table)
        return table;
    table = g_new0(Qcow2Table, 1);
    table->data = g_try_malloc(q->cluster_size);
    if (table->data)
        return table;
    g_free(table);
    return NULL;
}

static void add_table(Qcow2 *q, Qcow2Cache *cache, Qcow2Table *table, uint64_t offset)
{
    table->offset = offset;
    table->used = true;
    g_mutex_lock(&q->lock);
    if (cache->n == cache->room) {
        cache->room = MAX(16, cache->room * 2);
        cache->tables = g_renew(Qcow2Table *, cache->tables, cache->room);
    }
    cache->tables[cache->n++] = table;
    table->next = *bucket_of(cache, offset);
    *bucket_of(cache, offset) = table;
    g_mutex_unlock(&q->lock);
}

int vmc_qcow2_cache_get(Qcow2 *q, Qcow2Cache *cache, uint64_t offset, Qcow2Table **table)
{
    *table = vmc_qcow2_cache_find(cache, offset);
    if (*table)
        return 0;
    Qcow2Table *fresh = take_table(q, cache);
    if (!fresh)
        return -ENOMEM;
    int err = vmc_qcow2_pread(q, offset, fresh->data, q->cluster_size);
    if (err) {
        table_free(fresh);
        return err;
    }
    add_table(q, cache, fresh, offset);
    *table = fresh;
    return 0;
}

int vmc_qcow2_cache_new(Qcow2 *q, Qcow2Cache *cache, uint64_t offset, Qcow2Table **table)
{
    /* A table that was retired, and whose cluster is used again, may still be here. */
    Qcow2Table *fresh = vmc_qcow2_cache_find(cache, offset);

    if (!fresh) {
        fresh = take_table(q, cache);
        if (!fresh)
            return -ENOMEM;
        add_table(q, cache, fresh, offset);
    }
    g_mutex_lock(&q->lock);
    memset(fresh->data, 0, q->cluster_size);
    g_mutex_unlock(&q->lock);
    vmc_qcow2_cache_dirty(cache, fresh, 0, (uint32_t)q->cluster_size);
    *table = fresh;
    return 0;
}

void vmc_qcow2_cache_dirty(Qcow2Cache *cache, Qcow2Table *table, uint32_t from, uint32_t to)
{
    if (!is_dirty(table)) {
        cache->n_dirty++;
        table->dirty_from = from;
        table->dirty_to = to;
        return;
    }
    table->dirty_from = MIN(table->dirty_from, from);
    table->dirty_to = MAX(table->dirty_to, to);
}

int vmc_qcow2_cache_write(Qcow2 *q, Qcow2Cache *cache)
{
    for (unsigned i = 0; i < cache->n && cache->n_dirty; i++) {
        Qcow2Table *table = cache->tables[i];
        if (!is_dirty(table))
            continue;
        uint32_t from = table->dirty_from / WRITE_BLOCK * WRITE_BLOCK;
        uint64_t to =
            MIN(q->cluster_size, ((uint64_t)table->dirty_to + WRITE_BLOCK - 1) / WRITE_BLOCK * WRITE_BLOCK);
        int err = vmc_qcow2_pwrite(q, table->offset + from, table->data + from, (size_t)(to - from));
        if (err)
            return err;
        table->dirty_from = table->dirty_to = 0;
        cache->n_dirty--;
    }
    return 0;
}
