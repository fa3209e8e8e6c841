/*
 * A bus as a sorted table of ranges.
 *
 * Regions are kept in the order they were added; whenever they change, a flat table of ranges that do not
 * overlap is made from them, the region added last winning where several claim an address. A look-up is a
 * binary search in the flat table under a reader lock; the range is copied out and the lock dropped before
 * the device is called. Changes are rare (a guest sizes and places its BARs once) and cost a rebuild, done
 * outside the reader lock.
 */
#include "base/bus.h"

#include <pthread.h>

typedef struct Region {
    const char *name;
    uint64_t base, last; /* inclusive, so that a region may end at the top of the address space */
    const VmcRegionOps *ops;
    void *opaque;
} Region;

typedef struct Range {
    uint64_t first, last;
    uint64_t base; /* of the region, which offsets count from */
    const VmcRegionOps *ops;
    void *opaque;
} Range;

struct VmcBus {
    char *name;
    pthread_mutex_t change; /* serialises add and remove; guards `regions` */
    GArray *regions;        /* of Region, in the order added */
    pthread_rwlock_t lock;  /* guards the two below */
    Range *ranges;
    size_t n_ranges;
};

VmcBus *vmc_bus_new(const char *name)
{
    VmcBus *bus = g_new0(VmcBus, 1);
    pthread_rwlockattr_t attr;

    bus->name = g_strdup(name);
    bus->regions = g_array_new(FALSE, FALSE, sizeof(Region));
    pthread_mutex_init(&bus->change, NULL);
    /* CPUs that poll a device must not keep a change of the map out for ever. Readers never nest. */
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&bus->lock, &attr);
    pthread_rwlockattr_destroy(&attr);
    return bus;
}

void vmc_bus_free(VmcBus *bus)
{
    if (!bus)
        return;
    pthread_rwlock_destroy(&bus->lock);
    pthread_mutex_destroy(&bus->change);
    g_array_unref(bus->regions);
    g_free(bus->ranges);
    g_free(bus->name);
    g_free(bus);
}

static int compare_u64(gconstpointer a, gconstpointer b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* Every address at which the answer can change: the first byte of a region and the first byte after one. */
static GArray *collect_edges(GArray *regions)
{
    GArray *edges = g_array_new(FALSE, FALSE, sizeof(uint64_t));

    for (guint i = 0; i < regions->len; i++) {
        Region *region = &g_array_index(regions, Region, i);

        g_array_append_val(edges, region->base);
        if (region->last != UINT64_MAX) {
            uint64_t after = region->last + 1;
            g_array_append_val(edges, after);
        }
    }
    g_array_sort(edges, compare_u64);
    return edges;
}

static const Region *region_at(GArray *regions, uint64_t addr)
{
    for (guint i = regions->len; i-- > 0;) {
        const Region *region = &g_array_index(regions, Region, i);

        if (addr >= region->base && addr <= region->last)
            return region;
    }
    return NULL;
}

/* Called with `change` held. */
static void rebuild(VmcBus *bus)
{
    GArray *edges = collect_edges(bus->regions);
    Range *ranges = g_new(Range, edges->len + 1), *old;
    const Region *previous = NULL;
    size_t n = 0;

    for (guint i = 0; i < edges->len; i++) {
        uint64_t first = g_array_index(edges, uint64_t, i);
        uint64_t last = UINT64_MAX;
        const Region *region;

        if (i + 1 < edges->len) {
            uint64_t next = g_array_index(edges, uint64_t, i + 1);

            if (next == first)
                continue;
            last = next - 1;
        }
        region = region_at(bus->regions, first);
        if (region && region == previous)
            ranges[n - 1].last = last;
        else if (region)
            ranges[n++] = (Range){first, last, region->base, region->ops, region->opaque};
        previous = region;
    }
    g_array_unref(edges);

    pthread_rwlock_wrlock(&bus->lock);
    old = bus->ranges;
    bus->ranges = ranges;
    bus->n_ranges = n;
    pthread_rwlock_unlock(&bus->lock);
    g_free(old);
}

void vmc_bus_add(VmcBus *bus, const char *name, uint64_t base, uint64_t size, const VmcRegionOps *ops,
                 void *opaque)
{
    Region region = {.name = name, .base = base, .ops = ops, .opaque = opaque};

    if (!size)
        return;
    if (__builtin_add_overflow(base, size - 1, &region.last))
        region.last = UINT64_MAX;
    pthread_mutex_lock(&bus->change);
    g_array_append_val(bus->regions, region);
    rebuild(bus);
    pthread_mutex_unlock(&bus->change);
}

void vmc_bus_remove(VmcBus *bus, uint64_t base, const VmcRegionOps *ops, void *opaque)
{
    bool changed = false;

    pthread_mutex_lock(&bus->change);
    for (guint i = bus->regions->len; i-- > 0;) {
        Region *region = &g_array_index(bus->regions, Region, i);

        if (region->base == base && region->ops == ops && region->opaque == opaque) {
            g_array_remove_index(bus->regions, i);
            changed = true;
        }
    }
    if (changed)
        rebuild(bus);
    pthread_mutex_unlock(&bus->change);
}

typedef enum Claim {
    CLAIM_NONE,  /* nobody answers at any byte */
    CLAIM_WHOLE, /* one region has all bytes */
    CLAIM_MIXED, /* different answers for different bytes */
} Claim;

static Claim look_up(VmcBus *bus, uint64_t addr, unsigned size, Range *found)
{
    uint64_t last = addr + size - 1;
    size_t low = 0, high;
    Claim claim = CLAIM_NONE;

    if (last < addr) /* wraps around the top */
        return size > 1 ? CLAIM_MIXED : CLAIM_NONE;
    pthread_rwlock_rdlock(&bus->lock);
    high = bus->n_ranges;
    /* The first range that ends at or after addr. */
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (bus->ranges[middle].last < addr)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < bus->n_ranges && bus->ranges[low].first <= last) {
        *found = bus->ranges[low];
        claim = found->first <= addr && last <= found->last ? CLAIM_WHOLE : CLAIM_MIXED;
    }
    pthread_rwlock_unlock(&bus->lock);
    return claim;
}

static inline uint64_t size_mask(unsigned size)
{
    return size >= 8 ? UINT64_MAX : (1ull << (size * 8)) - 1;
}

uint64_t vmc_bus_read(VmcBus *bus, uint64_t addr, unsigned size)
{
    uint64_t value = 0;
    Range range;

    switch (look_up(bus, addr, size, &range)) {
    case CLAIM_NONE:
        return size_mask(size);
    case CLAIM_WHOLE:
        if (!range.ops->read)
            return size_mask(size);
        return range.ops->read(range.opaque, addr - range.base, size) & size_mask(size);
    case CLAIM_MIXED:
        break;
    }
    for (unsigned i = 0; i < size; i++)
        value |= vmc_bus_read(bus, addr + i, 1) << (i * 8);
    return value;
}

void vmc_bus_write(VmcBus *bus, uint64_t addr, unsigned size, uint64_t value)
{
    Range range;

    switch (look_up(bus, addr, size, &range)) {
    case CLAIM_NONE:
        return;
    case CLAIM_WHOLE:
        if (range.ops->write)
            range.ops->write(range.opaque, addr - range.base, size, value & size_mask(size));
        return;
    case CLAIM_MIXED:
        break;
    }
    for (unsigned i = 0; i < size; i++)
        vmc_bus_write(bus, addr + i, 1, (value >> (i * 8)) & 0xff);
}
