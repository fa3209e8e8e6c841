/*
 * 9P requests about extended attributes.
 *
 * Txattrwalk makes a fid from which an attribute (or with an empty name, the list of them) is read like a
 * file; what is read is what it was then. Txattrcreate turns a fid into one to which a value of a size that
 * is said in advance is written like to a file; it is set when the fid is given back, and the answer to that
 * Tclunk says whether it could be.
 */
#include <errno.h>
#include <string.h>
#include <sys/xattr.h>

#include "fs/p9_internal.h"
#include "base/vectors.h"

/* ---- reading ---- */

static ssize_t get(VmcShareNode *node, const char *name, void *buf, size_t size)
{
    return *name ? vmc_share_getxattr(node, name, buf, size) : vmc_share_listxattr(node, buf, size);
}

/* It may grow between the two calls; a few tries are enough. */
static int fetch(P9Call *call, VmcShareNode *node, const char *name, P9Xattr **xattr)
{
    ssize_t size = 0;

    for (int tries = 0; tries < 4; tries++) {
        size = get(node, name, NULL, 0);
        if (size < 0)
            return (int)size;
        if (size > VMC_SHARE_XATTR_MAX)
            return -E2BIG;
        *xattr = p9_xattr_new(call->p9, NULL, (uint32_t)size, 0);
        if (!*xattr)
            return -ENOMEM;
        if (size)
            size = get(node, name, (*xattr)->data, (size_t)size);
        if (size >= 0)
            break;
        p9_xattr_free(call->p9, *xattr);
        if (size != -ERANGE)
            break;
    }
    if (size < 0)
        return (int)size;
    (*xattr)->filled = (uint32_t)size;
    return 0;
}

/* A fid of its own for the attribute. */
static int walk_to(P9Call *call, const P9Use *use, uint32_t new_number, const char *name)
{
    P9Xattr *xattr = NULL;
    int err = fetch(call, use->node, name, &xattr);

    if (err)
        return err;
    uint32_t size = xattr->filled;
    P9Fid *fid = p9_fid_new(vmc_share_node_ref(use->node), NULL, NULL);
    fid->xattr = xattr;
    err = p9_add(call, new_number, fid);
    if (!err)
        p9_put_u64(call, size);
    return err;
}

/* fid[4] newfid[4] name[s] */
int p9_xattrwalk(P9Call *call)
{
    uint32_t number = p9_u32(call), new_number = p9_u32(call);
    P9Name name;
    P9Use use;

    p9_name(call, name);
    if (call->bad)
        return -EINVAL;
    int err = p9_use(call, number, &use);
    if (!err)
        err = walk_to(call, &use, new_number, name);
    p9_done(call, &use);
    return err;
}

int p9_xattr_read(P9Call *call, const P9Xattr *xattr, uint64_t offset, uint32_t count)
{
    if (xattr->name)
        return -EBADF;
    if (offset > xattr->filled)
        offset = xattr->filled;
    count = (uint32_t)MIN(count, xattr->filled - offset);
    p9_reply_buffer(call, 4 + (size_t)count);
    p9_put_u32(call, count);
    p9_put_bytes(call, xattr->data + offset, count);
    return 0;
}

/* ---- writing ---- */

/* fid[4] name[s] attr_size[8] flags[4] */
int p9_xattrcreate(P9Call *call)
{
    uint32_t number = p9_u32(call);
    P9Xattr *xattr;
    P9Name name;
    P9Use use;

    p9_name(call, name);
    uint64_t size = p9_u64(call);
    uint32_t flags = p9_u32(call);
    if (call->bad || !*name)
        return -EINVAL;
    if (size > VMC_SHARE_XATTR_MAX)
        return -E2BIG;
    int err = p9_use(call, number, &use);
    if (!err && use.file)
        err = -EBADF;
    if (!err) {
        xattr = p9_xattr_new(call->p9, name, (uint32_t)size, (int)flags);
        err = xattr ? p9_become_xattr(call, &use, xattr) : -ENOMEM;
    }
    p9_done(call, &use);
    return err;
}

/* From the start to the end, without gaps. */
int p9_xattr_write(P9Call *call, P9Xattr *xattr, uint64_t offset, uint32_t count)
{
    const VmcP9Message *message = call->message;
    int err = 0;

    if (!xattr->name)
        return -EBADF;
    g_mutex_lock(&xattr->lock);
    if (offset > xattr->filled || count > xattr->size - offset)
        err = -ENOSPC;
    else
        vmc_iov_copy(message->out, message->n_out, VMC_P9_HEADER + P9_READ_ARGS, xattr->data + offset, count);
    if (!err)
        xattr->filled = MAX(xattr->filled, (uint32_t)offset + count);
    g_mutex_unlock(&xattr->lock);
    if (!err)
        p9_put_u32(call, count);
    return err;
}

/* 9P has no message to remove an attribute. Linux' client creates one of no bytes, as it does for an empty
 * value, but with the flag XATTR_REPLACE, which setxattr(2) with an empty value hardly ever has. */
int p9_xattr_store(VmcShareNode *node, P9Xattr *xattr)
{
    int err;

    g_mutex_lock(&xattr->lock);
    if (xattr->filled != xattr->size)
        err = -EINVAL;
    else if (!xattr->size && xattr->flags & XATTR_REPLACE)
        err = vmc_share_removexattr(node, xattr->name);
    else
        err = vmc_share_setxattr(node, xattr->name, xattr->data, xattr->size, xattr->flags);
    g_mutex_unlock(&xattr->lock);
    return err;
}
