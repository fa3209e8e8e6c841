/*
 * Who owns a file in the guest's eyes, and what its mode is.
 *
 * On the host all is the calling user's. Where the guest sees something else, the extended attribute
 * user.espalier.owner has it, as text:
 *
 *     UID:GID              decimal; the mode is the file's own
 *     UID:GID:MODE:REAL    octal; the guest sees MODE as long as the file's own permissions are REAL
 *
 * The second form is for modes the host's file does not get. That is setuid and setgid, which would let other
 * users of the host run what a guest made as the one who runs the guest; sticky files; and modes that take
 * their own file away from the host's user (0444, 0000), because then neither the attribute could be changed
 * any more nor could the guest's root do what root may: the file keeps rw, a directory rwx, for its user. If
 * somebody changes the permissions on the host, REAL does not fit any more and the host's word counts.
 *
 * The host's own setuid and setgid bits are not shown: they would mean another user.
 *
 * Links, FIFOs and sockets cannot have user attributes (xattr(7)); they have the owner of the options.
 *
 * Reading an attribute can mean to wait for the disk. What was read is remembered with the file's time of
 * change, which a new attribute or mode moves on, whoever sets it. File systems take that from a clock that
 * ticks: only a time that was some while ago when the attribute was read will not come again.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/seeded.h"
#include "fs/internal.h"

#define TEXT_MAX   64
#define AGE_FINE   100000000ll  /* ns; times of change with nanoseconds come at least every 10 ms */
#define AGE_COARSE 2000000000ll /* the same for those in whole seconds */

static bool can_keep(const VmcShareNode *node)
{
    return S_ISREG(node->type) || S_ISDIR(node->type);
}

/* The bits a file's own mode has a say in; what is left of 07777 is the guest's only. */
static uint32_t own_bits(mode_t type)
{
    return S_ISDIR(type) ? 01777 : 0777;
}

mode_t vmc_owner_real_mode(mode_t type, uint32_t mode)
{
    return (mode & own_bits(type)) | (S_ISDIR(type) ? 0700 : 0600);
}

static bool parse_number(const char **text, int base, uint64_t max, uint32_t *value)
{
    char *end;

    if (**text < '0' || **text > '9')
        return false;
    unsigned long long number = strtoull(*text, &end, base);
    if (end - *text > 10 || number > max)
        return false;
    *value = (uint32_t)number;
    *text = end;
    return true;
}

static bool parse_char(const char **text, char c)
{
    return **text == c && ++*text;
}

/* False if it is not of ours. */
static bool parse(const char *text, uint32_t real, VmcOwner *owner)
{
    uint32_t uid, gid, mode, written_with;

    if (!parse_number(&text, 10, UINT32_MAX, &uid) || !parse_char(&text, ':') ||
        !parse_number(&text, 10, UINT32_MAX, &gid))
        return false;
    if (*text) {
        if (!parse_char(&text, ':') || !parse_number(&text, 8, 07777, &mode) || !parse_char(&text, ':') ||
            !parse_number(&text, 8, 07777, &written_with) || *text)
            return false;
        if (written_with == real)
            owner->mode = mode;
    }
    owner->uid = uid;
    owner->gid = gid;
    return true;
}

bool vmc_owner_read(VmcShareNode *node, int fd, const struct statx *st, VmcOwner *owner)
{
    char path[VMC_FD_PATH], text[TEXT_MAX + 1];

    owner->uid = node->share->uid;
    owner->gid = node->share->gid;
    owner->mode = st->stx_mode & own_bits(node->type);
    owner->kept = false;
    if (!can_keep(node))
        return true;
    vmc_fd_path(fd, path);
    ssize_t len = getxattr(path, VMC_OWNER_XATTR, text, TEXT_MAX);
    if (len < 0)
        return errno == ENODATA || errno == EOPNOTSUPP || errno == ERANGE;
    text[len] = 0;
    owner->kept = true;
    parse(text, owner->mode, owner);
    return true;
}

static bool same_time(const struct timespec *a, const struct statx_timestamp *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

bool vmc_owner_recall(VmcShareNode *node, const struct statx *st, VmcOwner *owner)
{
    VmcShare *share = node->share;

    if (!can_keep(node)) {
        *owner = (VmcOwner){share->uid, share->gid, st->stx_mode & own_bits(node->type), false};
        return true;
    }
    g_mutex_lock(&share->lock);
    bool known = node->owner_known && same_time(&node->owner_time, &st->stx_ctime);
    *owner = node->owner;
    g_mutex_unlock(&share->lock);
    return known;
}

void vmc_owner_remember(VmcShareNode *node, const struct timespec *then, const struct statx *st,
                        const VmcOwner *owner)
{
    int64_t seconds = then->tv_sec - st->stx_ctime.tv_sec;
    int64_t age = CLAMP(seconds, -10, 10) * 1000000000ll + then->tv_nsec - st->stx_ctime.tv_nsec;

    if (age < (st->stx_ctime.tv_nsec ? AGE_FINE : AGE_COARSE))
        return;
    g_mutex_lock(&node->share->lock);
    node->owner = *owner;
    node->owner_time = (struct timespec){st->stx_ctime.tv_sec, st->stx_ctime.tv_nsec};
    node->owner_known = true;
    g_mutex_unlock(&node->share->lock);
}

static bool not_supported(int err)
{
    return err == -EOPNOTSUPP || err == -ENOSYS;
}

/* The attribute as it has to be for `wanted` on a file with the mode `real`. */
static int store(VmcShareNode *node, const char *path, bool kept, const VmcOwner *wanted, uint32_t real)
{
    char text[TEXT_MAX];
    int len;

    if (wanted->mode != real)
        len = snprintf(text, sizeof(text), "%u:%u:%o:%o", wanted->uid, wanted->gid, wanted->mode, real);
    else if (wanted->uid != node->share->uid || wanted->gid != node->share->gid)
        len = snprintf(text, sizeof(text), "%u:%u", wanted->uid, wanted->gid);
    else
        return !kept || !removexattr(path, VMC_OWNER_XATTR) || errno == ENODATA ? 0 : -errno;
    return setxattr(path, VMC_OWNER_XATTR, text, (size_t)len, 0) ? -errno : 0;
}

/* The file's own bits, but for setgid of a directory, which is the host's business. */
static int set_real_mode(const char *path, const struct statx *st, uint32_t real)
{
    if ((st->stx_mode & 07777 & ~(S_ISDIR(st->stx_mode) ? S_ISGID : 0u)) == real)
        return 0;
    if (S_ISDIR(st->stx_mode))
        real |= st->stx_mode & S_ISGID;
    return chmod(path, real) ? -errno : 0;
}

int vmc_owner_write(VmcShareNode *node, int fd, const struct statx *st, const VmcOwner *now,
                    const VmcOwner *wanted)
{
    char path[VMC_FD_PATH];

    if (now->uid == wanted->uid && now->gid == wanted->gid && now->mode == wanted->mode)
        return 0;
    if (S_ISLNK(node->type))
        return 0;
    vmc_fd_path(fd, path);
    if (!can_keep(node))
        return set_real_mode(path, st, wanted->mode & 0777);

    uint32_t real = vmc_owner_real_mode(node->type, wanted->mode);
    int err = set_real_mode(path, st, real);
    if (err)
        return err;
    err = store(node, path, now->kept, wanted, real);
    if (!not_supported(err))
        return err;
    /* No attributes here: what the file itself can have, it gets. */
    if (now->uid != wanted->uid || now->gid != wanted->gid || wanted->mode & ~own_bits(node->type))
        return -EPERM;
    return chmod(path, wanted->mode) ? -errno : 0;
}

int vmc_owner_init(VmcShareNode *node, int fd, const VmcOwner *dir, const VmcShareCaller *who, uint32_t mode)
{
    struct statx st;
    VmcOwner now, wanted = {.uid = who->uid, .gid = who->gid, .mode = mode & 07777};
    int err = vmc_fd_statx(fd, &st);

    if (err)
        return err;
    if (dir->mode & S_ISGID && !VMC_SEEDED(SETGID)) {
        wanted.gid = dir->gid;
        if (S_ISDIR(node->type))
            wanted.mode |= S_ISGID;
    }
    now.uid = node->share->uid;
    now.gid = node->share->gid;
    /* Not what the file was made with: the host's umask may have taken something off that. */
    now.mode = VMC_SEEDED(UMASK) ? wanted.mode : st.stx_mode & own_bits(node->type);
    now.kept = false;
    if (!can_keep(node))
        wanted.uid = now.uid, wanted.gid = now.gid, wanted.mode &= 0777;
    g_mutex_lock(&node->lock);
    err = vmc_owner_write(node, fd, &st, &now, &wanted);
    g_mutex_unlock(&node->lock);
    /* Without attributes it is the configured owner's: the same as for all other files there. */
    return err == -EPERM ? 0 : err;
}

int vmc_owner_kill_privs(VmcShareNode *node, int fd)
{
    char path[VMC_FD_PATH];
    struct statx st;
    VmcOwner now, wanted;

    if (!S_ISREG(node->type) || atomic_load_explicit(&node->no_privs, memory_order_acquire))
        return 0;
    g_mutex_lock(&node->lock);
    int err = vmc_fd_statx(fd, &st);
    if (!err) {
        vmc_owner_read(node, fd, &st, &now);
        wanted = now;
        wanted.mode &= ~(uint32_t)S_ISUID;
        if (wanted.mode & S_IXGRP)
            wanted.mode &= ~(uint32_t)S_ISGID;
        err = vmc_owner_write(node, fd, &st, &now, &wanted);
    }
    vmc_fd_path(fd, path);
    if (!err && removexattr(path, VMC_OTHER_PREFIX "security.capability") && errno != ENODATA &&
        !not_supported(-errno))
        err = -errno;
    if (!err)
        atomic_store_explicit(&node->no_privs, true, memory_order_release);
    g_mutex_unlock(&node->lock);
    return err;
}
