/*
 * Extended attributes.
 *
 * user.* goes through. What the host's user cannot set, because it means something to the host's kernel
 * (security.*, trusted.*) or because Linux knows no such namespace (com.apple.*, as macOS writes it), is kept
 * under user.espalier.x.NAME: the guest gets back what it stored, and the host takes no notice. ACLs
 * (system.*) are not taken, as nobody would heed them. Our own names are neither shown nor given.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#include "fs/internal.h"

#define HOST_NAME_MAX_BYTES 255
#define LIST_MAX            65536

/* The name on the host; 0, or `ours` if it is one the guest has no business with. */
static int host_name(const char *name, int ours, char host[HOST_NAME_MAX_BYTES + 1])
{
    bool plain = g_str_has_prefix(name, "user.");

    if (!*name || !strcmp(name, "user."))
        return -EINVAL;
    if (g_str_has_prefix(name, VMC_OWNER_PREFIX))
        return ours;
    if (g_str_has_prefix(name, "system."))
        return -EOPNOTSUPP;
    int len = snprintf(host, HOST_NAME_MAX_BYTES + 1, "%s%s", plain ? "" : VMC_OTHER_PREFIX, name);
    return len > HOST_NAME_MAX_BYTES ? -ERANGE : 0;
}

/* The path to call with, of the borrowed descriptor. */
static int borrow_path(VmcShareNode *node, char path[VMC_FD_PATH])
{
    int fd = vmc_node_borrow(node);

    if (fd < 0)
        return fd;
    vmc_fd_path(fd, path);
    return 0;
}

ssize_t vmc_share_getxattr(VmcShareNode *node, const char *name, void *value, size_t size)
{
    char host[HOST_NAME_MAX_BYTES + 1], path[VMC_FD_PATH];
    int err = host_name(name, -ENODATA, host);

    if (!err)
        err = borrow_path(node, path);
    if (err)
        return err;
    ssize_t len = getxattr(path, host, value, size);
    if (len < 0)
        len = -errno;
    vmc_node_return(node);
    return len;
}

/* The guest's name for a host's, or NULL. */
static const char *guest_name(const char *host)
{
    if (g_str_has_prefix(host, VMC_OTHER_PREFIX))
        return host[strlen(VMC_OTHER_PREFIX)] ? host + strlen(VMC_OTHER_PREFIX) : NULL;
    if (g_str_has_prefix(host, VMC_OWNER_PREFIX))
        return NULL;
    return g_str_has_prefix(host, "user.") ? host : NULL;
}

static ssize_t translate(const char *host, size_t host_len, char *list, size_t size)
{
    size_t len = 0;

    for (const char *at = host; at < host + host_len; at += strlen(at) + 1) {
        const char *name = guest_name(at);
        if (!name)
            continue;
        size_t here = strlen(name) + 1;
        if (size && here > size - len)
            return -ERANGE;
        if (size)
            memcpy(list + len, name, here);
        len += here;
    }
    return (ssize_t)len;
}

ssize_t vmc_share_listxattr(VmcShareNode *node, char *list, size_t size)
{
    char path[VMC_FD_PATH];
    int err = borrow_path(node, path);

    if (err)
        return err;
    char *host = g_malloc(LIST_MAX + 1);
    ssize_t len = listxattr(path, host, LIST_MAX);
    if (len < 0)
        len = -errno;
    vmc_node_return(node);
    if (len >= 0) {
        host[len] = 0;
        len = translate(host, (size_t)len, list, size);
    }
    g_free(host);
    return len;
}

int vmc_share_setxattr(VmcShareNode *node, const char *name, const void *value, size_t size, int flags)
{
    char host[HOST_NAME_MAX_BYTES + 1], path[VMC_FD_PATH];

    if (node->share->readonly)
        return -EROFS;
    if (flags & ~(XATTR_CREATE | XATTR_REPLACE))
        return -EINVAL;
    if (size > VMC_SHARE_XATTR_MAX)
        return -E2BIG;
    int err = host_name(name, -EPERM, host);
    if (!err)
        err = borrow_path(node, path);
    if (err)
        return err;
    /* Not while somebody finds that the file has no capabilities. */
    g_mutex_lock(&node->lock);
    atomic_store_explicit(&node->no_privs, false, memory_order_release);
    err = setxattr(path, host, value, size, flags) ? -errno : 0;
    g_mutex_unlock(&node->lock);
    vmc_node_return(node);
    return err;
}

int vmc_share_removexattr(VmcShareNode *node, const char *name)
{
    char host[HOST_NAME_MAX_BYTES + 1], path[VMC_FD_PATH];

    if (node->share->readonly)
        return -EROFS;
    int err = host_name(name, -ENODATA, host);
    if (!err)
        err = borrow_path(node, path);
    if (err)
        return err;
    err = removexattr(path, host) ? -errno : 0;
    vmc_node_return(node);
    return err;
}
