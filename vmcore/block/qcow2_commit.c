/*
 * qcow2: the order in which tables reach the file. See the head of qcow2.h for why it is this one.
 *
 * Every step writes what is dirty, and forgets that it was only when that has succeeded; so a commit that
 * fails, on a full disk for example, is repeated by the next one. Each sync is left out when the step before
 * it had nothing to write.
 */
#include <errno.h>

#include "block/qcow2.h"

/* Commits come by themselves when so much has gathered. */
#define FREES_MAX 4096u

static bool array_dirty(const Qcow2Array *array)
{
    return array->dirty_from < array->dirty_to || array->old_clusters;
}

/* Writes the entries that changed. */
static int write_array(Qcow2 *q, Qcow2Array *array)
{
    uint64_t be[512];
    uint64_t i = array->dirty_from;

    while (i < array->dirty_to) {
        uint64_t n = MIN(array->dirty_to - i, G_N_ELEMENTS(be));
        for (uint64_t k = 0; k < n; k++)
            be[k] = GUINT64_TO_BE(array->entries[i + k]);
        int err = vmc_qcow2_pwrite(q, array->offset + i * sizeof(*be), be, n * sizeof(*be));
        if (err)
            return err;
        i += n;
    }
    return 0;
}

/* An array that has moved is written whole and synced before the header points at it. */
static int commit_array(Qcow2 *q, Qcow2Array *array, int (*write_place)(Qcow2 *))
{
    int err;

    if (!array_dirty(array))
        return 0;
    err = write_array(q, array);
    if (!err)
        err = vmc_qcow2_sync(q);
    if (!err && array->old_clusters) {
        err = write_place(q);
        if (!err)
            err = vmc_qcow2_sync(q);
        if (!err) {
            vmc_qcow2_free_later(q, array->old_offset >> q->cluster_bits, array->old_clusters);
            array->old_offset = array->old_clusters = 0;
        }
    }
    if (!err)
        array->dirty_from = array->dirty_to = 0;
    return err;
}

int vmc_qcow2_touch(Qcow2 *q)
{
    int err = 0;

    if (q->touched)
        return 0;
    /* What we do not keep up to date (bitmaps) is not true any more from now on. And whoever reads the image
     * after us may find refcounts that we keep in memory missing, but never a reference that is not
     * counted: the dirty bit is not ours to set. */
    if (q->autoclear) {
        uint64_t before = q->autoclear;
        q->autoclear = 0;
        err = vmc_qcow2_write_features(q);
        if (err)
            q->autoclear = before;
        else
            err = vmc_qcow2_sync(q);
    }
    if (err)
        return err;
    g_mutex_lock(&q->lock);
    q->touched = true;
    q->ready = !q->broken;
    g_mutex_unlock(&q->lock);
    return 0;
}

bool vmc_qcow2_needs_commit(const Qcow2 *q)
{
    return q->l2.n_dirty > q->l2.soft_max / 2 || q->refblocks.n_dirty > q->refblocks.soft_max / 2 ||
           q->frees->len > FREES_MAX;
}

bool vmc_qcow2_is_clean(const Qcow2 *q)
{
    return !q->refblocks.n_dirty && !q->l2.n_dirty && !array_dirty(&q->reftable) && !array_dirty(&q->l1) &&
           !q->size_changed;
}

static int write_tables(Qcow2 *q)
{
    bool counted = q->refblocks.n_dirty, mapped = q->l2.n_dirty;
    int err = vmc_qcow2_cache_write(q, &q->refblocks);

    /* Together with the refcounts the data that L2 tables will point at becomes safe. */
    if (!err && (counted || mapped || array_dirty(&q->reftable) || array_dirty(&q->l1)))
        err = vmc_qcow2_sync(q);
    if (!err)
        err = commit_array(q, &q->reftable, vmc_qcow2_write_reftable_place);
    if (!err)
        err = vmc_qcow2_cache_write(q, &q->l2);
    if (!err && mapped)
        err = vmc_qcow2_sync(q);
    if (!err)
        err = commit_array(q, &q->l1, vmc_qcow2_write_l1_place);
    if (!err && q->size_changed) {
        err = vmc_qcow2_write_l1_place(q);
        if (!err)
            err = vmc_qcow2_sync(q);
        if (!err)
            q->size_changed = false;
    }
    return err;
}

int vmc_qcow2_commit(Qcow2 *q)
{
    int err;

    if (q->broken)
        return -EIO;
    if (vmc_qcow2_is_clean(q)) {
        err = vmc_qcow2_sync(q);
    } else {
        err = write_tables(q);
        /* All refcounts are right now, whoever left them wrong. */
        if (!err && q->incompatible & QCOW2_INCOMPAT_DIRTY) {
            q->incompatible &= ~QCOW2_INCOMPAT_DIRTY;
            err = vmc_qcow2_write_features(q);
            if (!err)
                err = vmc_qcow2_sync(q);
            if (err)
                q->incompatible |= QCOW2_INCOMPAT_DIRTY;
        }
    }
    if (err)
        return err;
    for (guint i = 0; i < q->frees->len; i++) {
        Qcow2Free *f = &g_array_index(q->frees, Qcow2Free, i);
        if (!f->generation)
            f->generation = q->generation;
    }
    vmc_qcow2_apply_frees(q);
    return 0;
}
