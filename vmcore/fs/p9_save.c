/* 9P: fids as bytes (base/state.h). */
#include "fs/p9_internal.h"

#define XATTR_NAME_LENGTH 255u

/* ---- saving ---- */

static void save_xattr(const P9Xattr *xattr, VmcStateWriter *w)
{
    vmc_state_put_string(w, xattr->name);
    vmc_state_put_u32(w, (uint32_t)xattr->flags);
    vmc_state_put_u32(w, xattr->filled);
    vmc_state_put_blob(w, xattr->data, xattr->size);
}

static void save_fid(uint32_t number, const P9Fid *fid, VmcStateWriter *w)
{
    vmc_state_put_u32(w, number);
    vmc_share_node_save(fid->node, w);
    vmc_state_put_bool(w, fid->dir && fid->name);
    if (fid->dir && fid->name) {
        vmc_share_node_save(fid->dir, w);
        vmc_state_put_blob(w, fid->name, strlen(fid->name));
    }
    vmc_state_put_bool(w, fid->file != NULL);
    if (fid->file)
        vmc_share_file_save(fid->file, w);
    vmc_state_put_bool(w, fid->xattr != NULL);
    if (fid->xattr)
        save_xattr(fid->xattr, w);
}

void vmc_p9_save(VmcP9 *p9, VmcStateWriter *w)
{
    GHashTableIter at;
    gpointer number, fid;

    vmc_state_begin(w, "p9", 1);
    vmc_state_put_u32(w, p9->msize);
    vmc_state_put_u32(w, g_hash_table_size(p9->fids));
    g_hash_table_iter_init(&at, p9->fids);
    while (g_hash_table_iter_next(&at, &number, &fid))
        save_fid(GPOINTER_TO_UINT(number), fid, w);
    vmc_state_end(w);
}

/* ---- loading ---- */

static P9Xattr *load_xattr(VmcP9 *p9, VmcStateReader *r)
{
    g_autofree char *name = vmc_state_get_string(r, XATTR_NAME_LENGTH);
    uint32_t flags = vmc_state_get_u32(r), filled = vmc_state_get_u32(r);
    size_t n;
    const uint8_t *data = vmc_state_get_blob(r, VMC_SHARE_XATTR_MAX, &n);

    if (!vmc_state_check(r, filled <= n, "an extended attribute"))
        return NULL;
    P9Xattr *xattr = p9_xattr_new(p9, name, (uint32_t)n, (int)(flags & 3));
    if (xattr) {
        memcpy(xattr->data, data, n);
        xattr->filled = filled;
    }
    return xattr;
}

/* The name it was found by. */
static void load_place(VmcP9 *p9, P9Fid *fid, VmcStateReader *r)
{
    if (!vmc_state_get_bool(r))
        return;
    VmcShareNode *dir = vmc_share_node_load(p9->share, r);
    size_t n;
    const uint8_t *name = vmc_state_get_blob(r, VMC_SHARE_NAME_MAX, &n);
    if (dir && name && vmc_state_ok(r)) {
        fid->dir = vmc_share_node_ref(dir);
        fid->name = g_strndup((const char *)name, n);
    }
    vmc_share_node_unref(dir);
}

static void note_stale(VmcP9 *p9, uint32_t number)
{
    if (!p9->stale)
        p9->stale = g_hash_table_new(NULL, NULL);
    g_hash_table_add(p9->stale, GUINT_TO_POINTER(number));
}

/* All of it is read, whether the file is found or not. */
static void load_fid(P9Call *call, VmcStateReader *r)
{
    VmcP9 *p9 = call->p9;
    uint32_t number = vmc_state_get_u32(r);
    VmcShareNode *node = vmc_share_node_load(p9->share, r);
    bool lost = !node;
    P9Fid *fid = p9_fid_new(node ? node : vmc_share_root(p9->share), NULL, NULL);

    load_place(p9, fid, r);
    if (vmc_state_get_bool(r)) {
        fid->file = vmc_share_file_load(node, r);
        lost |= !fid->file;
    }
    if (vmc_state_get_bool(r)) {
        fid->xattr = load_xattr(p9, r);
        lost |= !fid->xattr;
    }
    bool good = vmc_state_check(r, !(fid->file && fid->xattr), "a fid");
    if (!lost && good) {
        p9_add(call, number, fid);
        return;
    }
    note_stale(p9, number);
    p9_fid_drop(p9, fid);
}

bool vmc_p9_load(VmcP9 *p9, VmcStateReader *r)
{
    P9Call call = {.p9 = p9};

    if (!vmc_state_enter(r, "p9", 1))
        return false;
    p9->msize = vmc_state_get_u32_max(r, VMC_P9_MSIZE_MAX);
    uint32_t n = vmc_state_get_u32_max(r, VMC_P9_FIDS_MAX);
    for (; n && vmc_state_ok(r); n--)
        load_fid(&call, r);
    return vmc_state_leave(r);
}
