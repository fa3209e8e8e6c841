/*
 * 9P: fids, the guest's numbers for files, directories and attributes.
 *
 * A fid is in the table as long as the guest has it, and is held by the requests that use it, so a Tclunk
 * that passes a Tread on its way harms nobody. A fid that is dropped gives up the locks that were taken
 * through it: POSIX has a process lose its locks on a file when it closes it, and 9P has no other message
 * for that.
 */
#include <errno.h>
#include <string.h>

#include "fs/p9_internal.h"

#define OWNERS_MAX      4096u       /* of locks, for each fid */
#define XATTR_BYTES_MAX (16u << 20) /* of attributes that are being read or written */

/* ---- one fid ---- */

P9Fid *p9_fid_new(VmcShareNode *node, VmcShareNode *dir, const char *name)
{
    P9Fid *fid = g_new0(P9Fid, 1);

    fid->refs = 1;
    fid->node = node;
    if (dir && name) {
        fid->dir = vmc_share_node_ref(dir);
        fid->name = g_strdup(name);
    }
    return fid;
}

P9Fid *p9_fid_clone(P9Call *call, const P9Use *use)
{
    VmcP9 *p9 = call->p9;

    g_mutex_lock(&p9->lock);
    P9Fid *fid = p9_fid_new(vmc_share_node_ref(use->node), use->fid->dir, use->fid->name);
    g_mutex_unlock(&p9->lock);
    return fid;
}

static void free_fid(VmcP9 *p9, P9Fid *fid)
{
    for (guint i = 0; fid->owners && i < fid->owners->len; i++)
        vmc_share_unlock_owner(fid->node, p9, g_array_index(fid->owners, uint64_t, i));
    if (fid->owners)
        g_array_unref(fid->owners);
    p9_xattr_free(p9, fid->xattr);
    vmc_share_file_unref(fid->file);
    vmc_share_node_unref(fid->node);
    vmc_share_node_unref(fid->dir);
    g_free(fid->name);
    g_free(fid);
}

static void drop(VmcP9 *p9, P9Fid *fid)
{
    g_mutex_lock(&p9->lock);
    bool last = !--fid->refs;
    g_mutex_unlock(&p9->lock);
    if (last)
        free_fid(p9, fid);
}

void p9_fid_drop(VmcP9 *p9, P9Fid *fid)
{
    drop(p9, fid);
}

/* ---- using one ---- */

/* With the session's lock. */
static P9Fid *find(VmcP9 *p9, uint32_t number)
{
    return g_hash_table_lookup(p9->fids, GUINT_TO_POINTER(number));
}

static int use_any(P9Call *call, uint32_t number, P9Use *use)
{
    VmcP9 *p9 = call->p9;

    *use = (P9Use){0};
    g_mutex_lock(&p9->lock);
    P9Fid *fid = find(p9, number);
    if (fid) {
        fid->refs++;
        use->fid = fid;
        use->node = vmc_share_node_ref(fid->node);
        use->file = fid->file ? vmc_share_file_ref(fid->file) : NULL;
        use->xattr = fid->xattr;
    }
    bool stale = !fid && p9->stale && g_hash_table_contains(p9->stale, GUINT_TO_POINTER(number));
    g_mutex_unlock(&p9->lock);
    return fid ? 0 : stale ? -ESTALE : -EBADF;
}

int p9_use(P9Call *call, uint32_t number, P9Use *use)
{
    int err = use_any(call, number, use);

    return !err && use->xattr ? -EBADF : err;
}

int p9_use_open(P9Call *call, uint32_t number, P9Use *use)
{
    int err = p9_use(call, number, use);

    return !err && !use->file ? -EBADF : err;
}

P9Xattr *p9_use_xattr(P9Call *call, uint32_t number, P9Use *use)
{
    use_any(call, number, use);
    return use->xattr;
}

void p9_done(P9Call *call, P9Use *use)
{
    vmc_share_file_unref(use->file);
    vmc_share_node_unref(use->node);
    if (use->fid)
        drop(call->p9, use->fid);
    *use = (P9Use){0};
}

/* ---- the table ---- */

int p9_add(P9Call *call, uint32_t number, P9Fid *fid)
{
    VmcP9 *p9 = call->p9;
    int err = 0;

    g_mutex_lock(&p9->lock);
    if (number == P9_NOFID || find(p9, number))
        err = -EBADF;
    else if (g_hash_table_size(p9->fids) >= VMC_P9_FIDS_MAX)
        err = -EMFILE;
    else
        g_hash_table_insert(p9->fids, GUINT_TO_POINTER(number), fid);
    g_mutex_unlock(&p9->lock);
    if (err)
        drop(p9, fid);
    return err;
}

int p9_replace(P9Call *call, uint32_t number, const P9Use *use, P9Fid *fid)
{
    VmcP9 *p9 = call->p9;
    P9Fid *goes = fid;

    g_mutex_lock(&p9->lock);
    if (find(p9, number) == use->fid && !use->fid->file && !use->fid->xattr) {
        goes = use->fid;
        g_hash_table_insert(p9->fids, GUINT_TO_POINTER(number), fid);
    }
    g_mutex_unlock(&p9->lock);
    drop(p9, goes);
    return goes == fid ? -EBADF : 0;
}

int p9_give_back(P9Call *call, uint32_t number)
{
    VmcP9 *p9 = call->p9;
    int err = 0;

    g_mutex_lock(&p9->lock);
    P9Fid *fid = find(p9, number);
    g_hash_table_remove(p9->fids, GUINT_TO_POINTER(number));
    bool stale = !fid && p9->stale && g_hash_table_remove(p9->stale, GUINT_TO_POINTER(number));
    g_mutex_unlock(&p9->lock);
    if (!fid)
        return stale ? 0 : -EBADF;
    if (fid->xattr && fid->xattr->name)
        err = p9_xattr_store(fid->node, fid->xattr);
    drop(p9, fid);
    return err;
}

void p9_start_anew(VmcP9 *p9, uint32_t msize)
{
    GHashTableIter at;
    gpointer fid;

    g_mutex_lock(&p9->lock);
    GHashTable *fids = p9->fids;
    p9->fids = g_hash_table_new(NULL, NULL);
    g_clear_pointer(&p9->stale, g_hash_table_unref);
    p9->msize = msize;
    g_mutex_unlock(&p9->lock);
    if (!fids)
        return;
    g_hash_table_iter_init(&at, fids);
    while (g_hash_table_iter_next(&at, NULL, &fid))
        drop(p9, fid);
    g_hash_table_unref(fids);
}

/* ---- what a fid becomes ---- */

int p9_opened(P9Call *call, const P9Use *use, VmcShareFile *file, VmcShareNode *node, const char *name)
{
    VmcP9 *p9 = call->p9;
    P9Fid *fid = use->fid;
    VmcShareNode *dir = NULL, *was = node;
    char *old_name = NULL;

    g_mutex_lock(&p9->lock);
    bool may = !fid->file && !fid->xattr;
    if (may)
        fid->file = file;
    if (may && node) {
        dir = fid->dir;
        old_name = fid->name;
        fid->dir = fid->node;
        fid->name = g_strdup(name);
        fid->node = node;
        was = NULL;
    }
    g_mutex_unlock(&p9->lock);
    if (!may)
        vmc_share_file_unref(file);
    vmc_share_node_unref(was);
    vmc_share_node_unref(dir);
    g_free(old_name);
    return may ? 0 : -EBADF;
}

int p9_become_xattr(P9Call *call, const P9Use *use, P9Xattr *xattr)
{
    VmcP9 *p9 = call->p9;
    P9Fid *fid = use->fid;

    g_mutex_lock(&p9->lock);
    bool may = !fid->file && !fid->xattr;
    if (may)
        fid->xattr = xattr;
    g_mutex_unlock(&p9->lock);
    if (!may)
        p9_xattr_free(p9, xattr);
    return may ? 0 : -EBADF;
}

int p9_note_owner(P9Call *call, const P9Use *use, uint64_t owner, bool has)
{
    VmcP9 *p9 = call->p9;
    int err = 0;
    guint i = 0;

    g_mutex_lock(&p9->lock);
    GArray *owners = use->fid->owners;
    if (!owners)
        owners = use->fid->owners = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    while (i < owners->len && g_array_index(owners, uint64_t, i) != owner)
        i++;
    if (!has && i < owners->len)
        g_array_remove_index_fast(owners, i);
    else if (has && i == owners->len && i < OWNERS_MAX)
        g_array_append_val(owners, owner);
    else if (has && i == owners->len)
        err = -ENOLCK;
    g_mutex_unlock(&p9->lock);
    return err;
}

/* ---- where its file is ---- */

/* The name under which the fid was found, if it has one. */
static bool last_place(P9Call *call, const P9Use *use, VmcShareNode **dir, char name[VMC_SHARE_NAME_MAX + 1])
{
    const P9Fid *fid = use->fid;

    g_mutex_lock(&call->p9->lock);
    bool has = fid->name;
    if (has) {
        *dir = vmc_share_node_ref(fid->dir);
        g_strlcpy(name, fid->name, VMC_SHARE_NAME_MAX + 1);
    }
    g_mutex_unlock(&call->p9->lock);
    return has;
}

/* It may have been renamed since through another fid: then any name it has will do. */
int p9_place(P9Call *call, const P9Use *use, VmcShareNode **dir, char name[VMC_SHARE_NAME_MAX + 1])
{
    VmcShareNode *there;
    VmcShareAttr attr;

    if (last_place(call, use, dir, name)) {
        bool same = false;
        if (!vmc_share_lookup(*dir, name, &there, &attr)) {
            same = there == use->node;
            vmc_share_node_unref(there);
        }
        if (same)
            return 0;
        vmc_share_node_unref(*dir);
    }
    return vmc_share_node_name(use->node, dir, name);
}

void p9_moved(P9Call *call, const P9Use *use, VmcShareNode *dir, const char *name)
{
    P9Fid *fid = use->fid;

    g_mutex_lock(&call->p9->lock);
    VmcShareNode *old = fid->dir;
    char *old_name = fid->name;
    fid->dir = vmc_share_node_ref(dir);
    fid->name = g_strdup(name);
    g_mutex_unlock(&call->p9->lock);
    vmc_share_node_unref(old);
    g_free(old_name);
}

/* ---- attributes ---- */

P9Xattr *p9_xattr_new(VmcP9 *p9, const char *name, uint32_t size, int flags)
{
    g_mutex_lock(&p9->lock);
    bool room = size <= XATTR_BYTES_MAX - p9->xattr_bytes;
    if (room)
        p9->xattr_bytes += size;
    g_mutex_unlock(&p9->lock);
    if (!room)
        return NULL;
    P9Xattr *xattr = g_malloc0(sizeof(*xattr) + size);
    xattr->name = g_strdup(name);
    xattr->size = size;
    xattr->flags = flags;
    g_mutex_init(&xattr->lock);
    return xattr;
}

void p9_xattr_free(VmcP9 *p9, P9Xattr *xattr)
{
    if (!xattr)
        return;
    g_mutex_lock(&p9->lock);
    p9->xattr_bytes -= xattr->size;
    g_mutex_unlock(&p9->lock);
    g_mutex_clear(&xattr->lock);
    g_free(xattr->name);
    g_free(xattr);
}
