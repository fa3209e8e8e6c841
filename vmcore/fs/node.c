/*
 * The nodes of a share: which file is which, and the descriptors that hold them.
 *
 * A node is in the table as long as anybody has a reference. Its descriptor (O_PATH) is open as long as there
 * is room; the longest unused is closed first, and opened again when it is asked for, by the names from the
 * nearest directory above that is open. What is found there is compared with what it was: inode numbers
 * are used again, so the time of birth counts too. A node without a known name (its last one was removed, or
 * it never had one) keeps its descriptor, as there is no way back.
 *
 * A parent is kept by its children. As names are only what we saw last, and the host moves folders around, a
 * directory could seem to lie in its own subfolder; such a name is not taken (see set_name), so chains of
 * parents end at the root.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "fs/internal.h"

#define NODES_MAX   (4u << 20) /* memory: about 300 bytes each */
#define DEVICES_MAX 0xfffeu
#define DEPTH_MAX   1024u /* names to go down at once when a descriptor is opened again */

int vmc_fd_statx(int fd, struct statx *st)
{
    if (statx(fd, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT,
              STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID, st))
        return -errno;
    return 0;
}

static VmcNodeKey key_of(const struct statx *st)
{
    return (VmcNodeKey){
        .dev = makedev(st->stx_dev_major, st->stx_dev_minor),
        .ino = st->stx_ino,
        .mount = st->stx_mask & STATX_MNT_ID ? st->stx_mnt_id : 0,
    };
}

static struct timespec birth_of(const struct statx *st)
{
    if (!(st->stx_mask & STATX_BTIME))
        return (struct timespec){0};
    return (struct timespec){st->stx_btime.tv_sec, st->stx_btime.tv_nsec};
}

static bool is_same(const VmcShareNode *node, const struct statx *st)
{
    VmcNodeKey key = key_of(st);
    struct timespec birth = birth_of(st);

    return key.ino == node->key.ino && key.dev == node->key.dev && key.mount == node->key.mount &&
           birth.tv_sec == node->birth.tv_sec && birth.tv_nsec == node->birth.tv_nsec &&
           (st->stx_mode & S_IFMT) == node->type;
}

/* ---- idle descriptors (all with share->lock) ---- */

static void not_idle(VmcShareNode *node)
{
    if (node->is_idle)
        g_queue_unlink(&node->share->idle, &node->idle);
    node->is_idle = false;
}

/* Whether the node's descriptor may be closed has perhaps changed. */
static void update_idle(VmcShareNode *node)
{
    bool idle = node->fd >= 0 && !node->users && node->parent;

    if (idle == node->is_idle)
        return;
    if (idle)
        g_queue_push_tail_link(&node->share->idle, &node->idle);
    else
        g_queue_unlink(&node->share->idle, &node->idle);
    node->is_idle = idle;
}

static bool close_oldest(VmcShare *share)
{
    GList *oldest = share->idle.head;

    if (!oldest)
        return false;
    VmcShareNode *node = oldest->data;
    not_idle(node);
    close(node->fd);
    node->fd = -1;
    share->open_nodes--;
    return true;
}

/* Gives a node its descriptor, if there is room for one. */
static int install_fd(VmcShareNode *node, int fd)
{
    VmcShare *share = node->share;

    if (share->open_nodes >= share->max_open_nodes && !close_oldest(share))
        return -ENFILE;
    node->fd = fd;
    share->open_nodes++;
    return 0;
}

bool vmc_node_make_room(VmcShare *share)
{
    bool helped = false;

    g_mutex_lock(&share->lock);
    for (unsigned n = share->idle.length / 2 + 1; n && close_oldest(share); n--)
        helped = true;
    g_mutex_unlock(&share->lock);
    return helped;
}

/* ---- references ---- */

VmcShareNode *vmc_share_node_ref(VmcShareNode *node)
{
    g_mutex_lock(&node->share->lock);
    node->refs++;
    g_mutex_unlock(&node->share->lock);
    return node;
}

/* With share->lock: takes nodes without references out, up the chain of parents; returns them as a list. */
static VmcShareNode *drop(VmcShareNode *node)
{
    VmcShare *share = node->share;
    VmcShareNode *dropped = NULL;

    while (node && !--node->refs) {
        VmcShareNode *parent = node->parent;
        not_idle(node);
        if (!node->gone)
            g_hash_table_remove(share->nodes, &node->key);
        share->open_nodes -= node->fd >= 0;
        node->parent = dropped;
        dropped = node;
        node = parent;
    }
    return dropped;
}

static void free_dropped(VmcShareNode *node)
{
    while (node) {
        VmcShareNode *next = node->parent;
        vmc_lock_owners_free(node);
        if (node->fd >= 0)
            close(node->fd);
        g_mutex_clear(&node->lock);
        g_free(node->name);
        g_free(node);
        node = next;
    }
}

void vmc_share_node_unref(VmcShareNode *node)
{
    if (!node)
        return;
    VmcShare *share = node->share;
    g_mutex_lock(&share->lock);
    VmcShareNode *dropped = drop(node);
    g_mutex_unlock(&share->lock);
    free_dropped(dropped);
}

uint64_t vmc_share_node_id(const VmcShareNode *node)
{
    return node->id;
}

mode_t vmc_share_node_type(const VmcShareNode *node)
{
    return node->type;
}

VmcShareNode *vmc_share_node_parent(VmcShareNode *node)
{
    VmcShare *share = node->share;

    g_mutex_lock(&share->lock);
    VmcShareNode *parent = node == share->root ? node : node->parent;
    if (parent)
        parent->refs++;
    g_mutex_unlock(&share->lock);
    return parent;
}

int vmc_share_node_name(VmcShareNode *node, VmcShareNode **parent, char name[VMC_SHARE_NAME_MAX + 1])
{
    VmcShare *share = node->share;
    int err = node == share->root ? -EBUSY : -ESTALE;

    g_mutex_lock(&share->lock);
    if (node->parent) {
        *parent = node->parent;
        node->parent->refs++;
        g_strlcpy(name, node->name, VMC_SHARE_NAME_MAX + 1);
        err = 0;
    }
    g_mutex_unlock(&share->lock);
    return err;
}

/* ---- names ---- */

/* With share->lock; returns what there is to free. */
static VmcShareNode *set_name(VmcShareNode *node, VmcShareNode *parent, const char *name)
{
    VmcShareNode *old = node->parent;

    if (node == node->share->root || (parent && parent == old && !strcmp(name, node->name)))
        return NULL;
    for (VmcShareNode *up = S_ISDIR(node->type) ? parent : NULL; up; up = up->parent)
        if (up == node)
            parent = NULL;
    if (parent)
        parent->refs++;
    node->parent = parent;
    g_free(node->name);
    node->name = parent ? g_strdup(name) : NULL;
    update_idle(node);
    return old ? drop(old) : NULL;
}

bool vmc_node_has_name(VmcShareNode *node)
{
    g_mutex_lock(&node->share->lock);
    bool has = node->parent;
    g_mutex_unlock(&node->share->lock);
    return has;
}

void vmc_node_renamed(VmcShareNode *node, VmcShareNode *parent, const char *name)
{
    g_mutex_lock(&node->share->lock);
    VmcShareNode *dropped = set_name(node, parent, name);
    g_mutex_unlock(&node->share->lock);
    free_dropped(dropped);
}

void vmc_node_unnamed(VmcShareNode *node, VmcShareNode *parent, const char *name)
{
    VmcShareNode *dropped = NULL;

    g_mutex_lock(&node->share->lock);
    if (node->parent == parent && !strcmp(node->name, name))
        dropped = set_name(node, NULL, NULL);
    g_mutex_unlock(&node->share->lock);
    free_dropped(dropped);
}

/* ---- finding and making nodes ---- */

/* Inode numbers of further file systems get a number of the file system into their upper bits, where few file
 * systems have any of their own. */
static uint64_t shown_ino(VmcShare *share, const VmcNodeKey *key)
{
    GArray *devices = share->devices;
    guint i;

    for (i = 0; i < devices->len; i++)
        if (g_array_index(devices, uint64_t, i) == key->dev)
            break;
    if (i == devices->len && i < DEVICES_MAX)
        g_array_append_val(devices, key->dev);
    return key->ino ^ (uint64_t)i << 48;
}

/* With share->lock. The node of that file with a new reference, or NULL. */
static VmcShareNode *find(VmcShare *share, const struct statx *st)
{
    VmcNodeKey key = key_of(st);
    VmcShareNode *node = g_hash_table_lookup(share->nodes, &key);

    if (!node)
        return NULL;
    if (!is_same(node, st)) {
        g_hash_table_remove(share->nodes, &key);
        node->gone = true;
        return NULL;
    }
    node->refs++;
    return node;
}

static VmcShareNode *make(VmcShare *share, const struct statx *st)
{
    VmcShareNode *node = g_new0(VmcShareNode, 1);

    node->share = share;
    node->id = share->next_id++;
    node->key = key_of(st);
    node->birth = birth_of(st);
    node->shown_ino = shown_ino(share, &node->key);
    node->type = st->stx_mode & S_IFMT;
    node->refs = 1;
    node->fd = -1;
    node->idle.data = node;
    g_mutex_init(&node->lock);
    g_hash_table_insert(share->nodes, &node->key, node);
    return node;
}

int vmc_node_intern(VmcShare *share, int fd, VmcShareNode *parent, const char *name, VmcShareNode **node)
{
    struct statx st;
    VmcShareNode *dropped = NULL;
    int err = vmc_fd_statx(fd, &st);

    if (err) {
        close(fd);
        return err;
    }
    g_mutex_lock(&share->lock);
    VmcShareNode *found = find(share, &st);
    if (!found && g_hash_table_size(share->nodes) < NODES_MAX)
        found = make(share, &st);
    if (!found)
        err = -ENFILE;
    else if (found->fd < 0 && !(err = install_fd(found, fd)))
        fd = -1;
    if (!err && parent)
        dropped = set_name(found, parent, name);
    if (!err)
        update_idle(found);
    else if (found)
        dropped = drop(found);
    g_mutex_unlock(&share->lock);
    free_dropped(dropped);
    if (fd >= 0)
        close(fd);
    if (!err)
        *node = found;
    return err;
}

/* ---- descriptors of nodes ---- */

/* With share->lock. The names from the nearest open directory above down to the node; that directory gets a
 * user. */
static char *path_from_above(VmcShareNode *node, VmcShareNode **above)
{
    GPtrArray *names = g_ptr_array_new();
    VmcShareNode *up = node;
    GString *path = NULL;

    for (; up && up->fd < 0 && names->len < DEPTH_MAX; up = up->parent)
        g_ptr_array_add(names, up->name);
    if (up && up->fd >= 0) {
        path = g_string_new(NULL);
        for (guint i = names->len; i--;)
            g_string_append_printf(path, "%s%s", path->len ? "/" : "", (char *)names->pdata[i]);
        up->users++;
        up->refs++;
        not_idle(up);
        *above = up;
    }
    g_ptr_array_free(names, TRUE);
    return path ? g_string_free(path, FALSE) : NULL;
}

/* Opens a node that was closed. */
static int find_again(VmcShareNode *node, const char *path, VmcShareNode *above)
{
    VmcShare *share = node->share;
    struct statx st;
    int fd = vmc_walk_path(&share->walk, above->fd, path);

    if ((fd == -EMFILE || fd == -ENFILE) && vmc_node_make_room(share))
        fd = vmc_walk_path(&share->walk, above->fd, path);
    if (fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM)
        return fd;
    if (fd < 0)
        return -ESTALE;
    if (!vmc_fd_statx(fd, &st) && is_same(node, &st))
        return fd;
    close(fd);
    return -ESTALE;
}

int vmc_node_borrow_open(VmcShareNode *node)
{
    g_mutex_lock(&node->share->lock);
    int fd = node->fd;
    if (fd >= 0) {
        node->users++;
        not_idle(node);
    }
    g_mutex_unlock(&node->share->lock);
    return fd >= 0 ? fd : -EAGAIN;
}

int vmc_node_borrow(VmcShareNode *node)
{
    VmcShare *share = node->share;
    VmcShareNode *above = NULL;
    char *path = NULL;
    int fd;

    g_mutex_lock(&share->lock);
    if (node->fd >= 0) {
        node->users++;
        not_idle(node);
    } else {
        path = path_from_above(node, &above);
    }
    fd = node->fd;
    g_mutex_unlock(&share->lock);
    if (fd >= 0)
        return fd;
    if (!path)
        return -ESTALE;

    fd = find_again(node, path, above);
    g_free(path);
    vmc_node_return(above);
    vmc_share_node_unref(above);
    if (fd < 0)
        return fd;
    g_mutex_lock(&share->lock);
    int err = 0;
    if (node->fd >= 0 || (err = install_fd(node, fd)))
        close(fd); /* another thread was quicker, or there is no room */
    if (!err) {
        fd = node->fd;
        node->users++;
        not_idle(node);
    }
    g_mutex_unlock(&share->lock);
    return err ? err : fd;
}

void vmc_node_return(VmcShareNode *node)
{
    g_mutex_lock(&node->share->lock);
    node->users--;
    update_idle(node);
    g_mutex_unlock(&node->share->lock);
}

VmcShareNode *vmc_node_hold_target(VmcShareNode *dir, int dir_fd, const char *name)
{
    VmcShare *share = dir->share;
    struct statx st;

    if (statx(dir_fd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT,
              STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID, &st))
        return NULL;
    g_mutex_lock(&share->lock);
    VmcShareNode *node = find(share, &st);
    g_mutex_unlock(&share->lock);
    if (!node)
        return NULL;
    if (vmc_node_borrow(node) >= 0)
        return node;
    vmc_share_node_unref(node);
    return NULL;
}

void vmc_node_release_target(VmcShareNode *node)
{
    if (!node)
        return;
    vmc_node_return(node);
    vmc_share_node_unref(node);
}
