/*
 * Opening and closing a share, and how many descriptors it may have.
 *
 * A guest keeps as many inodes in mind as it has memory for, far more than a process may have descriptors.
 * All shares together take at most half of what the process may have, each its part, half of that for nodes
 * and half for open files: nodes beyond are closed and found again by name (node.c), files beyond are -ENFILE
 * to the guest. The limit itself is raised as far as the user may, once a share is opened; nothing of ours
 * uses select(2).
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/i18n.h"
#include "fs/internal.h"
#include "vmcore/error.h"

#define DESCRIPTORS_MIN 32u
#define DESCRIPTORS_MAX 65536u

/* Descriptors the process may have from now on. */
static rlim_t raise_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit))
        return 1024;
    if (limit.rlim_cur < limit.rlim_max) {
        struct rlimit raised = {limit.rlim_max, limit.rlim_max};
        if (!setrlimit(RLIMIT_NOFILE, &raised))
            return raised.rlim_cur;
    }
    return limit.rlim_cur;
}

/* Files are opened for real through /proc/self/fd, and a chroot may lack it. */
static bool check_proc(int fd, GError **error)
{
    char path[VMC_FD_PATH];

    vmc_fd_path(fd, path);
    if (!access(path, F_OK))
        return true;
    g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE,
                _("Sharing folders needs the file system “/proc”, which is not mounted here."));
    return false;
}

static guint key_hash(gconstpointer key)
{
    const VmcNodeKey *k = key;
    uint64_t mixed = (k->ino ^ k->dev << 32 ^ k->mount << 16) * 0x9e3779b97f4a7c15ull;

    return (guint)(mixed >> 32);
}

static gboolean key_equal(gconstpointer a, gconstpointer b)
{
    const VmcNodeKey *k = a, *l = b;

    return k->ino == l->ino && k->dev == l->dev && k->mount == l->mount;
}

VmcShare *vmc_share_new(const char *folder, const VmcShareOptions *options, GError **error)
{
    int fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0) {
        int err = errno;
        g_set_error(error, VMC_ERROR, err == ENOENT || err == ENOTDIR ? VMC_ERROR_CONFIG : VMC_ERROR_RESOURCE,
                    _("The folder “%s” cannot be shared: %s."), folder, g_strerror(err));
        return NULL;
    }
    if (!check_proc(fd, error)) {
        close(fd);
        return NULL;
    }

    VmcShare *share = g_new0(VmcShare, 1);
    rlim_t part = raise_limit() / 4 / MAX(options->shares, 1);
    unsigned most = (unsigned)CLAMP(part, DESCRIPTORS_MIN, DESCRIPTORS_MAX);
    share->max_open_nodes = share->max_open_files =
        options->max_descriptors ? MIN(options->max_descriptors, most) : most;
    share->readonly = options->readonly;
    share->uid = options->uid;
    share->gid = options->gid;
    share->next_id = 1;
    share->nodes = g_hash_table_new(key_hash, key_equal);
    share->devices = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    g_queue_init(&share->idle);
    g_mutex_init(&share->lock);
    vmc_quick_init(share, fd);
    int err = vmc_node_intern(share, fd, NULL, NULL, &share->root);
    if (err) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE, _("The folder “%s” cannot be shared: %s."), folder,
                    g_strerror(-err));
        vmc_share_free(share);
        return NULL;
    }
    return share;
}

void vmc_share_free(VmcShare *share)
{
    if (!share)
        return;
    vmc_share_node_unref(share->root);
    g_assert(!g_hash_table_size(share->nodes) && !share->open_files);
    g_hash_table_unref(share->nodes);
    g_array_unref(share->devices);
    g_mutex_clear(&share->lock);
    g_free(share);
}

bool vmc_share_readonly(const VmcShare *share)
{
    return share->readonly;
}

VmcShareNode *vmc_share_root(VmcShare *share)
{
    return vmc_share_node_ref(share->root);
}

int vmc_share_count_file(VmcShare *share)
{
    if (atomic_fetch_add_explicit(&share->open_files, 1, memory_order_relaxed) < share->max_open_files)
        return 0;
    vmc_share_uncount_file(share);
    return -ENFILE;
}

void vmc_share_uncount_file(VmcShare *share)
{
    atomic_fetch_sub_explicit(&share->open_files, 1, memory_order_relaxed);
}
