/*
 * What a guest knows of a share, as bytes (base/state.h): files by their paths, to be opened again by another
 * process.
 *
 * A file is taken for the same one if it has the type, the inode number and, where the file system keeps it,
 * the time of birth that it had. What is not found is stale: a file without a name, one that was renamed,
 * replaced or removed meanwhile, another folder.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "fs/internal.h"

#define PATH_BYTES_MAX (64u * 1024)
#define DEPTH_MAX      1024u

/* With share->lock. NULL: no name is known. */
static char *path_of(const VmcShareNode *node)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    const VmcShareNode *up = node;

    for (; up && up != node->share->root && names->len < DEPTH_MAX; up = up->parent)
        g_ptr_array_add(names, up->name);
    if (!up || up != node->share->root)
        return NULL;
    GString *path = g_string_new(NULL);
    for (guint i = names->len; i--;)
        g_string_append_printf(path, "%s%s", path->len ? "/" : "", (const char *)names->pdata[i]);
    return g_string_free(path, FALSE);
}

void vmc_share_node_save(VmcShareNode *node, VmcStateWriter *w)
{
    g_mutex_lock(&node->share->lock);
    g_autofree char *path = path_of(node);
    g_mutex_unlock(&node->share->lock);
    if (path && strlen(path) > PATH_BYTES_MAX)
        g_clear_pointer(&path, g_free);
    vmc_state_put_u32(w, node->type);
    vmc_state_put_u64(w, node->shown_ino);
    vmc_state_put_u64(w, (uint64_t)node->birth.tv_sec);
    vmc_state_put_u32(w, (uint32_t)node->birth.tv_nsec);
    /* Names are bytes: no string of the reader's. */
    vmc_state_put_bool(w, path != NULL);
    if (path)
        vmc_state_put_blob(w, path, strlen(path));
}

/* From the root down; no name has a '/' in it, and what else is wrong with one the look-up says. */
static VmcShareNode *find_path(VmcShare *share, char *path)
{
    VmcShareNode *node = vmc_share_root(share), *next;
    VmcShareAttr attr;
    unsigned depth = 0;

    for (char *name = path, *end; *name && node; name = end) {
        end = name + strcspn(name, "/");
        if (*end)
            *end++ = '\0';
        int err = depth++ < DEPTH_MAX ? vmc_share_lookup(node, name, &next, &attr) : -ESTALE;
        vmc_share_node_unref(node);
        node = err ? NULL : next;
    }
    return node;
}

VmcShareNode *vmc_share_node_load(VmcShare *share, VmcStateReader *r)
{
    uint32_t type = vmc_state_get_u32(r);
    uint64_t ino = vmc_state_get_u64(r), birth = vmc_state_get_u64(r);
    uint32_t birth_ns = vmc_state_get_u32(r);
    bool named = vmc_state_get_bool(r);
    size_t n = 0;
    const uint8_t *bytes = named ? vmc_state_get_blob(r, PATH_BYTES_MAX, &n) : NULL;

    if (!bytes || !vmc_state_ok(r))
        return NULL;
    g_autofree char *path = g_strndup((const char *)bytes, n);
    VmcShareNode *node = find_path(share, path);
    if (node && node != share->root &&
        (node->type != type || node->shown_ino != ino || (uint64_t)node->birth.tv_sec != birth ||
         (uint32_t)node->birth.tv_nsec != birth_ns)) {
        vmc_share_node_unref(node);
        return NULL;
    }
    return node;
}

bool vmc_share_node_renumber(VmcShareNode *node, uint64_t id)
{
    VmcShare *share = node->share;

    g_mutex_lock(&share->lock);
    bool may = node != share->root && id < share->next_id;
    if (may)
        node->id = id;
    g_mutex_unlock(&share->lock);
    return may;
}

uint64_t vmc_share_next_id(VmcShare *share)
{
    g_mutex_lock(&share->lock);
    uint64_t id = share->next_id;
    g_mutex_unlock(&share->lock);
    return id;
}

void vmc_share_set_next_id(VmcShare *share, uint64_t id)
{
    g_mutex_lock(&share->lock);
    share->next_id = MAX(share->next_id, id);
    g_mutex_unlock(&share->lock);
}

void vmc_share_file_save(VmcShareFile *file, VmcStateWriter *w)
{
    int flags = fcntl(file->fd, F_GETFL);

    vmc_state_put_u32(w, flags < 0 ? 0 : (uint32_t)flags & (O_ACCMODE | O_APPEND | O_SYNC | O_DSYNC));
}

VmcShareFile *vmc_share_file_load(VmcShareNode *node, VmcStateReader *r)
{
    uint32_t flags = vmc_state_get_u32_max(r, O_ACCMODE | O_APPEND | O_SYNC | O_DSYNC);
    VmcShareFile *file;

    if (!node || !vmc_state_ok(r) ||
        vmc_share_open(node, (int)(flags & (O_ACCMODE | O_APPEND | O_SYNC | O_DSYNC)), &file))
        return NULL;
    return file;
}
