/*
 * qcow2: reading and writing the guest's bytes.
 *
 * A request is worked off in runs of bytes that have the same kind. Reads and writes in place look up, pin
 * and go. A write to clusters that are not there, shared or compressed allocates new ones: it takes the
 * guest clusters for itself (Qcow2Busy), lets go of the locks, fills the new clusters with what was there
 * around what is new, and only then changes the L2 table; so other requests see the old cluster or the new
 * one, whole, and so does the next start after a crash.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "block/qcow2.h"

/* At most so much is allocated at once, so that a large write does not keep others waiting. */
#define ALLOCATE_BYTES (2ull << 20)

/* ---- who is busy where (with meta) ---- */

bool vmc_qcow2_wait_not_busy(Qcow2 *q, uint64_t first, uint64_t n)
{
    bool waited = false;

    for (Qcow2Busy *busy = q->busy; busy;) {
        if (busy->first < first + n && first < busy->first + busy->n) {
            g_cond_wait(&q->not_busy, &q->meta);
            waited = true;
            busy = q->busy;
        } else {
            busy = busy->next;
        }
    }
    return waited;
}

void vmc_qcow2_busy_add(Qcow2 *q, Qcow2Busy *busy)
{
    busy->next = q->busy;
    q->busy = busy;
}

void vmc_qcow2_busy_remove(Qcow2 *q, Qcow2Busy *busy)
{
    Qcow2Busy **at = &q->busy;

    while (*at != busy)
        at = &(*at)->next;
    *at = busy->next;
    g_cond_broadcast(&q->not_busy);
}

int vmc_qcow2_begin_change(Qcow2 *q)
{
    int err;

    if (q->readonly)
        return -EROFS;
    if (q->broken)
        return -EIO;
    err = vmc_qcow2_touch(q);
    if (!err && vmc_qcow2_needs_commit(q))
        err = vmc_qcow2_commit(q);
    return err;
}

/* ---- reading ---- */

/* What is not allocated here: the image below, as far as it reaches, then zeroes. */
static int read_below(Qcow2 *q, uint64_t offset, uint64_t len, Qcow2Iov *to)
{
    uint64_t below = q->backing && q->backing->size > offset ? MIN(len, q->backing->size - offset) : 0;
    int err = below ? vmc_qcow2_iov_read_disk(q->backing, to, below, offset) : 0;

    if (!err)
        vmc_qcow2_iov_zero(to, len - below);
    return err;
}

static int read_run(Qcow2 *q, const Qcow2Run *run, uint64_t offset, Qcow2Iov *to)
{
    switch (run->kind) {
    case QCOW2_KIND_UNALLOCATED:
        return read_below(q, offset, run->length, to);
    case QCOW2_KIND_ZERO:
        vmc_qcow2_iov_zero(to, run->length);
        return 0;
    case QCOW2_KIND_DATA:
        return vmc_qcow2_iov_pread(q, to, run->length, run->host);
    case QCOW2_KIND_COMPRESSED:
        return vmc_qcow2_read_compressed(q, run->entry, offset & (q->cluster_size - 1), run->length, to);
    case QCOW2_KIND_BAD:
        break;
    }
    return -EIO;
}

static uint64_t iov_bytes(const struct iovec *iov, unsigned n)
{
    uint64_t bytes = 0;

    for (unsigned i = 0; i < n; i++)
        bytes += iov[i].iov_len;
    return bytes;
}

int vmc_qcow2_read(Qcow2 *q, uint64_t offset, struct iovec *iov, unsigned n)
{
    uint64_t left = iov_bytes(iov, n);
    Qcow2Iov to = {iov, n};
    Qcow2Run run;

    while (left) {
        int err = vmc_qcow2_find(q, offset, left, false, &run);
        if (err)
            return err;
        err = read_run(q, &run, offset, &to);
        vmc_qcow2_unpin(q, run.pin);
        if (err)
            return err;
        offset += run.length;
        left -= run.length;
    }
    return 0;
}

/* ---- allocating writes ---- */

typedef struct Allocation {
    Qcow2Busy busy;
    Qcow2Table *table;
    uint64_t index; /* of the first entry */
    uint64_t first; /* host cluster */
    uint64_t n;
    bool fresh;                  /* the host clusters read as zero */
    bool reused;                 /* the cluster was there before, for a guest cluster of zeroes */
    Qcow2Run old_head, old_tail; /* what was in the first and in the last cluster */
} Allocation;

static bool needs_allocation(const Qcow2 *q, uint64_t entry)
{
    Qcow2Kind kind = vmc_qcow2_kind(q, entry);

    return kind != QCOW2_KIND_BAD && !(kind == QCOW2_KIND_DATA && entry & QCOW2_COPIED);
}

/* A guest cluster of zeroes that has kept a host cluster of its own. */
static bool can_reuse(const Qcow2 *q, uint64_t entry)
{
    return vmc_qcow2_kind(q, entry) == QCOW2_KIND_ZERO && entry & QCOW2_COPIED && entry & QCOW2_OFFSET;
}

static void old_run(const Qcow2 *q, const Allocation *a, uint64_t index, Qcow2Run *run)
{
    run->entry = vmc_qcow2_entry(a->table, index);
    run->kind = vmc_qcow2_kind(q, run->entry);
    run->host = run->entry & QCOW2_OFFSET;
}

/* With meta, the table loaded and ours. Chooses how many guest clusters from a->index on, and where. */
static int choose_clusters(Qcow2 *q, Allocation *a, uint64_t want)
{
    uint64_t n = 0, entry = vmc_qcow2_entry(a->table, a->index);

    want = MIN(want, (1ull << q->l2_bits) - a->index);
    want = MIN(want, MAX(1, ALLOCATE_BYTES >> q->cluster_bits));
    if (can_reuse(q, entry)) {
        a->first = (entry & QCOW2_OFFSET) >> q->cluster_bits;
        a->n = 1;
        a->reused = true;
        if (vmc_qcow2_use(q, a->first) != QCOW2_USE_NONE)
            return vmc_qcow2_break(q);
    } else {
        while (n < want && needs_allocation(q, vmc_qcow2_entry(a->table, a->index + n)) &&
               !can_reuse(q, vmc_qcow2_entry(a->table, a->index + n)))
            n++;
        if (!n)
            return -EIO;
        int err = vmc_qcow2_alloc(q, n, &a->first, &a->n, &a->fresh);
        if (err)
            return err;
    }
    old_run(q, a, a->index, &a->old_head);
    old_run(q, a, a->index + a->n - 1, &a->old_tail);
    return 0;
}

/* Fills [from, to) of the new cluster number `i` with what was in the old one. */
static int fill(Qcow2 *q, const Allocation *a, uint64_t i, const Qcow2Run *old, uint64_t from, uint64_t to)
{
    uint64_t guest = ((a->busy.first + i) << q->cluster_bits) + from;
    uint64_t host = ((a->first + i) << q->cluster_bits) + from;
    uint64_t below = q->backing ? q->backing->size : 0;
    bool zero = old->kind == QCOW2_KIND_ZERO || (old->kind == QCOW2_KIND_UNALLOCATED && guest >= below);

    if (from == to || (zero && a->fresh))
        return 0;
    g_autofree uint8_t *bytes = g_try_malloc(to - from);
    struct iovec iov = {bytes, to - from};
    Qcow2Iov v = {&iov, 1};
    Qcow2Run run = *old;
    if (!bytes)
        return -ENOMEM;
    run.host += from;
    run.length = to - from;
    int err = read_run(q, &run, guest, &v);
    return err ? err : vmc_qcow2_pwrite(q, host, bytes, to - from);
}

/* Without locks: the new clusters get their contents. */
static int fill_clusters(Qcow2 *q, const Allocation *a, uint64_t offset, uint64_t len, Qcow2Iov *from)
{
    uint64_t mask = q->cluster_size - 1, host = (a->first << q->cluster_bits) + (offset & mask);
    uint64_t tail = (offset + len) & mask;
    int err = fill(q, a, 0, &a->old_head, 0, offset & mask);

    if (!err && tail)
        err = fill(q, a, a->n - 1, &a->old_tail, tail, q->cluster_size);
    return err ? err : vmc_qcow2_iov_pwrite(q, from, len, host);
}

/* With meta: the guest sees the new clusters. */
static void link_clusters(Qcow2 *q, const Allocation *a)
{
    for (uint64_t i = 0; i < a->n; i++) {
        uint64_t old = vmc_qcow2_entry(a->table, a->index + i);
        vmc_qcow2_set_l2(q, a->table, a->index + i, (a->first + i) << q->cluster_bits | QCOW2_COPIED);
        if (!a->reused)
            vmc_qcow2_drop_entry(q, old);
    }
}

/* With meta. 0: `a` is chosen, busy and its table held; -EAGAIN: look again. */
static int begin_allocation(Qcow2 *q, Allocation *a, uint64_t offset, uint64_t len)
{
    uint64_t guest = offset >> q->cluster_bits;
    uint64_t want = ((offset + len - 1) >> q->cluster_bits) - guest + 1;
    int err = vmc_qcow2_begin_change(q);

    if (err)
        return err;
    if (vmc_qcow2_wait_not_busy(q, guest, want))
        return -EAGAIN;
    err = vmc_qcow2_l2_for_write(q, vmc_qcow2_l1_index(q, offset), true, &a->table);
    if (err)
        return err;
    a->index = vmc_qcow2_l2_index(q, offset);
    uint64_t entry = vmc_qcow2_entry(a->table, a->index);
    if (vmc_qcow2_kind(q, entry) == QCOW2_KIND_BAD)
        err = -EIO;
    else if (!needs_allocation(q, entry))
        err = vmc_qcow2_use(q, (entry & QCOW2_OFFSET) >> q->cluster_bits) == QCOW2_USE_NONE
                  ? -EAGAIN
                  : vmc_qcow2_break(q);
    else
        err = choose_clusters(q, a, want);
    if (err) {
        a->table->users--;
        return err;
    }
    a->busy.first = guest;
    a->busy.n = a->n;
    vmc_qcow2_busy_add(q, &a->busy);
    return 0;
}

/* Writes the first part of [offset, offset + *len) to new clusters; *len becomes how much that was. */
static int write_allocating(Qcow2 *q, uint64_t offset, uint64_t *len, Qcow2Iov *from)
{
    Allocation a = {.n = 0};

    g_mutex_lock(&q->meta);
    int err = begin_allocation(q, &a, offset, *len);
    g_mutex_unlock(&q->meta);
    if (err == -EAGAIN) {
        *len = 0;
        return 0;
    }
    if (err)
        return err;

    *len = MIN(*len, (a.n << q->cluster_bits) - (offset & (q->cluster_size - 1)));
    err = fill_clusters(q, &a, offset, *len, from);

    g_mutex_lock(&q->meta);
    if (!err)
        link_clusters(q, &a);
    else if (!a.reused)
        vmc_qcow2_unalloc(q, a.first, a.n);
    a.table->users--;
    vmc_qcow2_busy_remove(q, &a.busy);
    g_mutex_unlock(&q->meta);
    return err;
}

int vmc_qcow2_write(Qcow2 *q, uint64_t offset, struct iovec *iov, unsigned n)
{
    uint64_t left = iov_bytes(iov, n);
    Qcow2Iov from = {iov, n};
    Qcow2Run run;

    if (q->readonly)
        return -EROFS;
    while (left) {
        uint64_t done;
        int err = vmc_qcow2_find(q, offset, left, true, &run);
        if (err)
            return err;
        done = run.in_place ? run.length : left;
        if (run.in_place)
            err = vmc_qcow2_iov_pwrite(q, &from, run.length, run.host);
        vmc_qcow2_unpin(q, run.pin);
        if (!run.in_place)
            err = write_allocating(q, offset, &done, &from);
        if (err)
            return err;
        offset += done;
        left -= done;
    }
    return 0;
}

int vmc_qcow2_flush(Qcow2 *q)
{
    if (q->readonly)
        return 0;
    g_mutex_lock(&q->meta);
    int err = q->broken ? -EIO : 0;
    bool data_only = vmc_qcow2_is_clean(q) && !q->frees->len;
    if (!err && q->touched && !data_only)
        err = vmc_qcow2_commit(q);
    g_mutex_unlock(&q->meta);
    if (err || !data_only || !fdatasync(q->fd)) /* the common case keeps nobody from changing tables */
        return err;
    err = -errno;
    g_mutex_lock(&q->meta);
    vmc_qcow2_break(q);
    g_mutex_unlock(&q->meta);
    return err;
}
