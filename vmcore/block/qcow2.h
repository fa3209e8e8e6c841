/*
 * The inside of the qcow2 format: what its files share. Nothing outside block/qcow2*.c and layers.c includes
 * this.
 *
 * A Qcow2 is an image file with its tables; a Qcow2Disk is the VmcDisk on top of it, so that a running
 * machine's disk can be given a new top image (vmc_qcow2_put_on_top).
 *
 * What is in memory and what is in the file
 * -----------------------------------------
 * L1 and the refcount table are in memory whole; L2 tables and refcount blocks pass through two bounded
 * caches. All changes are made in memory and reach the file in vmc_qcow2_commit alone, which flush calls, in
 * an order in which the file is consistent after every single step, whether a process is killed or the
 * computer loses power:
 *
 *     data and refcount blocks - sync - refcount table - sync - L2 tables - sync - L1 table - sync - frees
 *
 * So nothing ever points at a cluster that is not counted, whose contents are not there, or which may be
 * given to somebody else. What is dropped (by a discard, or by copy on write) keeps its refcount until the
 * L2 table that dropped it is safe in the file; the worst that can happen is that such a cluster is leaked.
 *
 * Locks
 * -----
 * `meta` is held by whoever changes tables, loads one or commits, over I/O. `lock` is inside of it and is
 * never held over I/O: it protects what looking up needs. A change is made with both held, looking up needs
 * one of them, and that is why map never waits for a disk. While an allocating write moves its data it
 * holds neither; it has put itself into `busy`, and whoever wants to change the same guest clusters waits.
 *
 * Pins
 * ----
 * Whoever looks up a cluster and goes on to move bytes pins it: the cluster's refcount will not fall, so
 * that nobody else is given it, before the pin is gone. Pins are not kept for each cluster but for each of
 * two generations: a free of generation g waits until all pins taken in g or before have gone.
 */
#pragma once

#include "block/disk.h"
#include "block/qcow2_format.h"

typedef struct Qcow2 Qcow2;

/* ---- tables of one cluster: L2 tables, refcount blocks (qcow2_cache.c) ---- */

typedef struct Qcow2Table Qcow2Table;
struct Qcow2Table {
    uint64_t offset; /* in the file */
    uint8_t *data;   /* as in the file, big-endian */
    Qcow2Table *next;
    uint32_t dirty_from, dirty_to; /* bytes; the same: clean */
    unsigned users;                /* with meta: not to be evicted */
    bool used;                     /* since the clock's hand went by */
};

typedef struct Qcow2Cache {
    Qcow2Table **tables;
    unsigned n, room, soft_max, hand;
    unsigned n_dirty; /* with meta */
    Qcow2Table **buckets;
    unsigned n_buckets; /* a power of two */
} Qcow2Cache;

void vmc_qcow2_cache_init(Qcow2Cache *cache, uint64_t cluster_size, uint64_t bytes);
void vmc_qcow2_cache_clear(Qcow2Cache *cache);
/* With meta or lock. NULL: not in the cache. */
Qcow2Table *vmc_qcow2_cache_find(const Qcow2Cache *cache, uint64_t offset);
/* With meta: from the cache or from the file. 0 or a negative errno value. */
int vmc_qcow2_cache_get(Qcow2 *q, Qcow2Cache *cache, uint64_t offset, Qcow2Table **table);
/* With meta: a table of zeroes that is new at `offset`, all of it dirty. */
int vmc_qcow2_cache_new(Qcow2 *q, Qcow2Cache *cache, uint64_t offset, Qcow2Table **table);
/* With meta and, for what map looks at, lock. Bytes [from, to) have changed. */
void vmc_qcow2_cache_dirty(Qcow2Cache *cache, Qcow2Table *table, uint32_t from, uint32_t to);
/* With meta: writes what is dirty, syncs nothing. */
int vmc_qcow2_cache_write(Qcow2 *q, Qcow2Cache *cache);

static inline uint64_t vmc_qcow2_entry(const Qcow2Table *table, uint64_t index)
{
    return GUINT64_FROM_BE(((const uint64_t *)(const void *)table->data)[index]);
}

/* ---- the image ---- */

/* What the clusters are that hold no guest data. */
typedef enum Qcow2Use {
    QCOW2_USE_NONE,
    QCOW2_USE_HEADER,
    QCOW2_USE_L1,
    QCOW2_USE_REFTABLE,
    QCOW2_USE_REFBLOCK,
    QCOW2_USE_L2,
    QCOW2_USE_SNAPSHOTS,   /* the snapshot table and its L1 tables */
    QCOW2_USE_INACTIVE_L2, /* of a snapshot */
    QCOW2_USE_RETIRED,     /* was one of these; its refcount is about to fall */
} Qcow2Use;

/* An allocating write or a zeroing under way: nobody else changes these guest clusters. */
typedef struct Qcow2Busy Qcow2Busy;
struct Qcow2Busy {
    Qcow2Busy *next;
    uint64_t first, n; /* guest clusters */
};

/* Clusters [first, first + n) whose refcounts are to fall by one. */
typedef struct Qcow2Free {
    uint64_t first, n;
    uint64_t generation; /* 0: not committed yet */
} Qcow2Free;

/* An array of 64-bit entries that is in memory whole and lies in one piece in the file: L1 and the refcount
 * table. Entries in host order. */
typedef struct Qcow2Array {
    uint64_t *entries;
    uint64_t n;
    uint64_t offset, clusters; /* in the file */
    uint64_t dirty_from, dirty_to;
    uint64_t old_offset, old_clusters; /* where it is until the commit, if it has moved; else 0 */
} Qcow2Array;

struct Qcow2 {
    /* Never changes after opening. */
    char *path;
    int fd;
    unsigned version, cluster_bits, refcount_order;
    unsigned l2_bits;       /* log2 of the entries in an L2 table */
    unsigned refblock_bits; /* ... in a refcount block */
    uint64_t cluster_size;
    unsigned compression_type;
    unsigned block_size;
    VmcDisk *backing; /* owned; NULL: none */
    char *backing_path, *backing_format;
    uint32_t n_snapshots;
    uint64_t snapshots_offset, snapshots_bytes;
    uint64_t compatible;
    bool
        foreign_tables; /* there may be clusters in use that we know nothing of (bitmaps, other extensions) */

    /* With meta, but for the caller of grow and put_on_top, who is alone. */
    bool readonly;
    uint64_t incompatible, autoclear;
    uint64_t size;

    GMutex meta;
    GCond not_busy; /* with meta */
    Qcow2Busy *busy;
    Qcow2Array reftable;
    Qcow2Cache refblocks;
    GArray *frees;       /* of Qcow2Free */
    uint64_t free_hint;  /* no free cluster below */
    uint64_t high_water; /* clusters from here on have never been written to */
    uint64_t trim_to;    /* the file's size when it was opened: not made shorter than that */
    bool touched;        /* the header says that we write */
    bool size_changed;   /* the header's size is to be written */

    GMutex lock; /* inside meta */
    Qcow2Array l1;
    Qcow2Cache l2;
    GHashTable *uses;    /* cluster number -> Qcow2Use */
    uint64_t file_end;   /* the file's size, which only grows */
    uint64_t generation; /* starts at 1 */
    unsigned pins[2];    /* by generation & 1 */
    bool ready;          /* touched and not broken: map may give out extents for writing */
    bool broken;         /* the image is damaged or a sync has failed: nothing is written any more */

    GMutex unpacked_lock; /* the compressed cluster that was read last */
    uint64_t unpacked_entry;
    uint8_t *unpacked;
};

typedef struct Qcow2Disk {
    VmcDisk disk;
    Qcow2 *q;
} Qcow2Disk;

/* ---- opening and closing (qcow2_open.c, qcow2_header.c) ---- */

/* Which images are being opened above this one, so that a loop is noticed. */
typedef struct Qcow2Above {
    const struct Qcow2Above *above;
    dev_t dev;
    ino_t ino;
} Qcow2Above;

/* As `above`: the image alone, without the one below it, of which it then knows nothing. */
extern const Qcow2Above vmc_qcow2_alone;

/* Takes over an open, locked file, whatever happens. */
Qcow2 *vmc_qcow2_open_fd(int fd, const VmcDiskOpen *params, const Qcow2Above *above, GError **error);
/* Writes what there is to write, if that is possible, and frees. */
void vmc_qcow2_free(Qcow2 *q);
VmcDisk *vmc_qcow2_disk_new(Qcow2 *q); /* owns q */

/* Opens the image that the header names, if params allow it; true if there is none. */
bool vmc_qcow2_open_backing(Qcow2 *q, const VmcDiskOpen *params, const Qcow2Above *above, GError **error);
/* Reads and checks the header, its extensions and the backing file's name. `q` has path, fd, file_end and
 * readonly. */
bool vmc_qcow2_read_header(Qcow2 *q, GError **error);
/* Changes fields of the header in the file; nothing is synced. */
int vmc_qcow2_write_features(Qcow2 *q);
int vmc_qcow2_write_l1_place(Qcow2 *q);
int vmc_qcow2_write_reftable_place(Qcow2 *q);
/* Makes another image, or none (NULL), the one below this one, synced, in a single step as far as anyone can
 * see. What `q` itself has open stays as it is. */
bool vmc_qcow2_write_backing(Qcow2 *q, const char *path, const char *format, GError **error);
/* Fills a cluster with a header, its extensions and the backing file's name, as a new image has them. False:
 * the name does not fit in. */
bool vmc_qcow2_format_header(uint8_t *cluster, uint64_t cluster_size, const Qcow2Header *header,
                             const char *backing, const char *backing_format);
/* The path of the image below: `name` is relative to the folder of `path`. */
char *vmc_qcow2_backing_path(const char *path, const char *name);
bool vmc_qcow2_damaged(const Qcow2 *q, GError **error, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* Calls `l1` for the L1 table of each internal snapshot, then `l2` for each of its entries that is not 0, all
 * of them checked. */
bool vmc_qcow2_walk_snapshots(Qcow2 *q, bool (*l1)(void *data, uint64_t offset, uint64_t entries),
                              bool (*l2)(void *data, uint64_t entry), void *data, GError **error);

/* ---- making one (qcow2_create.c): see VmcDiskFormatOps ---- */

bool vmc_qcow2_create(int fd, const char *path, const VmcDiskCreate *params, GError **error);
bool vmc_qcow2_info(int fd, const char *path, VmcDiskInfo *info, GError **error);

/* ---- bytes of the file (qcow2_io.c) ---- */

int vmc_qcow2_pread(const Qcow2 *q, uint64_t offset, void *buf, size_t len); /* beyond the end: zeroes */
int vmc_qcow2_pwrite(const Qcow2 *q, uint64_t offset, const void *buf, size_t len);
/* Sees to it that the file is at least so long. With meta. */
int vmc_qcow2_extend(Qcow2 *q, uint64_t end);
/* With meta. A sync that fails leaves nobody knowing what is in the file: the image is broken from then on.
 */
int vmc_qcow2_sync(Qcow2 *q);

/* A place in a vector. */
typedef struct Qcow2Iov {
    struct iovec *iov;
    unsigned n;
} Qcow2Iov;

/* Each takes exactly `len` bytes off the front; there are as many. */
int vmc_qcow2_iov_pread(const Qcow2 *q, Qcow2Iov *to, uint64_t len, uint64_t offset);
int vmc_qcow2_iov_pwrite(const Qcow2 *q, Qcow2Iov *from, uint64_t len, uint64_t offset);
int vmc_qcow2_iov_read_disk(VmcDisk *disk, Qcow2Iov *to, uint64_t len, uint64_t offset);
void vmc_qcow2_iov_zero(Qcow2Iov *to, uint64_t len);
void vmc_qcow2_iov_copy(Qcow2Iov *to, const uint8_t *bytes, uint64_t len);

/* ---- refcounts and allocation (qcow2_refcount.c); all with meta ---- */

int vmc_qcow2_refcount(Qcow2 *q, uint64_t cluster, uint64_t *count);
int vmc_qcow2_set_refcount(Qcow2 *q, uint64_t cluster, uint64_t count);
/* Refcount block number `i`, if there is none, at the end of the file. For repairing: elsewhere a cluster
 * that has no block is free. */
int vmc_qcow2_make_block(Qcow2 *q, uint64_t i);
/* Up to `want` adjacent clusters, at least one, with refcount 1; the file is long enough for them. *fresh:
 * they have never been written to, so they read as zero. */
int vmc_qcow2_alloc(Qcow2 *q, uint64_t want, uint64_t *first, uint64_t *n, bool *fresh);
/* A cluster for a table. */
int vmc_qcow2_alloc_table(Qcow2 *q, Qcow2Use use, uint64_t *offset);
/* `n` adjacent clusters that are zeroes. */
int vmc_qcow2_alloc_array(Qcow2 *q, uint64_t n, Qcow2Use use, uint64_t *offset);
/* The array is about to get another place: what becomes of this one. */
void vmc_qcow2_array_moved(Qcow2 *q, Qcow2Array *array);
/* Clusters that were just allocated and that nothing points at. */
void vmc_qcow2_unalloc(Qcow2 *q, uint64_t first, uint64_t n);
/* Clusters that something pointed at until now: after the next commit. */
void vmc_qcow2_free_later(Qcow2 *q, uint64_t first, uint64_t n);
/* After a commit: those frees whose pins have gone. */
void vmc_qcow2_apply_frees(Qcow2 *q);
Qcow2Use vmc_qcow2_use(const Qcow2 *q, uint64_t cluster); /* with meta or lock */
void vmc_qcow2_set_use(Qcow2 *q, uint64_t first, uint64_t n, Qcow2Use use);
/* Remembers that the image is damaged; -EIO. */
int vmc_qcow2_break(Qcow2 *q);

/* ---- the order in which things reach the file (qcow2_commit.c); with meta ---- */

int vmc_qcow2_commit(Qcow2 *q);
bool vmc_qcow2_needs_commit(const Qcow2 *q);
bool vmc_qcow2_is_clean(const Qcow2 *q); /* no table is to be written */
/* Before the first change: what the header has to say while we write. */
int vmc_qcow2_touch(Qcow2 *q);

/* ---- L1 and L2 (qcow2_map.c) ---- */

typedef enum Qcow2Kind {
    QCOW2_KIND_UNALLOCATED,
    QCOW2_KIND_ZERO,
    QCOW2_KIND_DATA,
    QCOW2_KIND_COMPRESSED,
    QCOW2_KIND_BAD,
} Qcow2Kind;

/* A run of guest bytes of one kind. */
typedef struct Qcow2Run {
    Qcow2Kind kind;
    uint64_t entry;  /* of the first cluster */
    uint64_t host;   /* where in the file the first byte lies; DATA only */
    uint64_t length; /* bytes, at most as asked for */
    bool in_place;   /* DATA: may be written in place, all of it */
    unsigned pin;    /* for vmc_qcow2_unpin */
} Qcow2Run;

Qcow2Kind vmc_qcow2_kind(const Qcow2 *q, uint64_t entry); /* with meta or lock */
/* With lock: what lies at `offset`, pinned. False: the table is not in memory. For a write, the run ends
 * where writing in place does. */
bool vmc_qcow2_look_up(Qcow2 *q, uint64_t offset, uint64_t length, bool write, Qcow2Run *run);
/* Without locks: the same, and loads the table. */
int vmc_qcow2_find(Qcow2 *q, uint64_t offset, uint64_t length, bool write, Qcow2Run *run);
void vmc_qcow2_unpin(Qcow2 *q, unsigned pin);
/* With meta: the L2 table for writing, which is ours alone afterwards; the caller drops `users`. With
 * `make` NULL is never given; without, NULL means that there is none. */
int vmc_qcow2_l2_for_write(Qcow2 *q, uint64_t l1_index, bool make, Qcow2Table **table);
/* With meta: changes an entry. */
void vmc_qcow2_set_l2(Qcow2 *q, Qcow2Table *table, uint64_t index, uint64_t entry);
/* With meta: the clusters that an entry points at are dropped. */
void vmc_qcow2_drop_entry(Qcow2 *q, uint64_t entry);
/* The clusters that a compressed cluster's data touches; false if that is nowhere. */
bool vmc_qcow2_compressed_place(const Qcow2 *q, uint64_t entry, uint64_t *offset, uint64_t *length);

static inline uint64_t vmc_qcow2_l2_index(const Qcow2 *q, uint64_t offset)
{
    return offset >> q->cluster_bits & ((1ull << q->l2_bits) - 1);
}

static inline uint64_t vmc_qcow2_l1_index(const Qcow2 *q, uint64_t offset)
{
    return offset >> (q->cluster_bits + q->l2_bits);
}

/* ---- compressed clusters (qcow2_compressed.c) ---- */

/* Copies bytes [from, from + len) of the cluster; pinned. */
int vmc_qcow2_read_compressed(Qcow2 *q, uint64_t entry, uint64_t from, uint64_t len, Qcow2Iov *to);
void vmc_qcow2_forget_compressed(Qcow2 *q);

/* ---- data (qcow2_data.c, qcow2_zero.c) ---- */

int vmc_qcow2_read(Qcow2 *q, uint64_t offset, struct iovec *iov, unsigned n);
int vmc_qcow2_write(Qcow2 *q, uint64_t offset, struct iovec *iov, unsigned n);
int vmc_qcow2_flush(Qcow2 *q);
int vmc_qcow2_discard(Qcow2 *q, uint64_t offset, uint64_t length);
int vmc_qcow2_write_zeroes(Qcow2 *q, uint64_t offset, uint64_t length, bool unmap);
int vmc_qcow2_grow(Qcow2 *q, uint64_t size);
/* With meta: waits until nobody is busy with one of these guest clusters; true if it had to let go of meta.
 */
bool vmc_qcow2_wait_not_busy(Qcow2 *q, uint64_t first, uint64_t n);
/* With meta: nothing more than that. */
void vmc_qcow2_busy_add(Qcow2 *q, Qcow2Busy *busy);
void vmc_qcow2_busy_remove(Qcow2 *q, Qcow2Busy *busy);
/* With meta: may tables be changed? Touches the header, commits when much has gathered. */
int vmc_qcow2_begin_change(Qcow2 *q);

/* ---- counting what is used (qcow2_check.c) ---- */

typedef struct Qcow2Check {
    uint64_t leaks;       /* clusters whose refcount is too high */
    uint64_t corruptions; /* clusters whose refcount is too low, or which two things own */
} Qcow2Check;

/* Counts all references. With `repair` refcounts that are wrong are put right, in memory; the next commit
 * brings them into the file. False with `error` set if the tables cannot be read or are too large to count.
 * Nobody else uses the image. */
bool vmc_qcow2_check(Qcow2 *q, bool repair, Qcow2Check *result, GError **error);
/* Whether that takes so little time that it may be done at each opening. */
bool vmc_qcow2_check_is_cheap(const Qcow2 *q);
