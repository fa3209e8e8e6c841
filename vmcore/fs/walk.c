/*
 * Names to descriptors, without leaving the shared folder.
 *
 * openat2(2) does it in one call: RESOLVE_BENEATH refuses whatever would lead out of the directory,
 * NO_SYMLINKS and NO_MAGICLINKS every link on the way. Where a seccomp filter or an old kernel denies the
 * call, each component is opened by itself with O_PATH|O_NOFOLLOW: then nothing is followed either, and as no
 * component is
 * "..", there is no way up. Which of the two is used is found out at the first call.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fs/internal.h"

bool vmc_walk_name_valid(const char *name)
{
    size_t len = strnlen(name, VMC_SHARE_NAME_MAX + 1);

    if (!len || len > VMC_SHARE_NAME_MAX || strchr(name, '/'))
        return false;
    return strcmp(name, ".") && strcmp(name, "..");
}

/* Every component is a name; an empty one is none. */
static bool path_valid(const char *path)
{
    for (;;) {
        size_t len = strcspn(path, "/");
        char name[VMC_SHARE_NAME_MAX + 1];
        if (len > VMC_SHARE_NAME_MAX)
            return false;
        memcpy(name, path, len);
        name[len] = 0;
        if (!vmc_walk_name_valid(name))
            return false;
        if (!path[len])
            return true;
        path += len + 1;
    }
}

/* True if the call was to be had, with its result in `fd`. */
static bool try_openat2(VmcWalk *walk, int dir, const char *path, int flags, mode_t mode, int *fd)
{
    struct open_how how = {
        .flags = (uint64_t)(unsigned)flags,
        .mode = flags & O_CREAT ? mode : 0,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };

    if (atomic_load_explicit(&walk->no_openat2, memory_order_relaxed))
        return false;
    /* EAGAIN: something was renamed meanwhile and the kernel would not say whether that mattered. */
    for (int tries = 0; tries < 16; tries++) {
        *fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
        if (*fd >= 0)
            return true;
        *fd = -errno;
        if (*fd != -EAGAIN && *fd != -EINTR)
            break;
    }
    if (*fd != -ENOSYS && *fd != -EPERM)
        return true;
    /* EPERM may mean the file, when one is made (an immutable directory); the other way says so again. */
    if (*fd == -ENOSYS || !(flags & O_CREAT))
        atomic_store_explicit(&walk->no_openat2, true, memory_order_relaxed);
    return false;
}

/* One component; `name` need not end with it. */
static int open_component(int dir, const char *name, size_t len, int flags)
{
    char component[VMC_SHARE_NAME_MAX + 1];

    memcpy(component, name, len);
    component[len] = 0;
    int fd = openat(dir, component, flags);
    return fd < 0 ? -errno : fd;
}

static int walk_components(int dir, const char *path)
{
    int at = dir;

    for (;;) {
        size_t len = strcspn(path, "/");
        bool last = !path[len];
        int next = open_component(at, path, len, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (at != dir)
            close(at);
        if (next < 0 || last)
            return next;
        /* Opened with O_NOFOLLOW, a link is a link here, and looking below it says ENOTDIR. */
        struct stat st;
        if (!fstat(next, &st) && S_ISLNK(st.st_mode)) {
            close(next);
            return -ELOOP;
        }
        at = next;
        path += len + 1;
    }
}

int vmc_walk_path(VmcWalk *walk, int dir, const char *path)
{
    int fd;

    if (!path_valid(path))
        return -EINVAL;
    if (strlen(path) < PATH_MAX && try_openat2(walk, dir, path, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0, &fd))
        return fd;
    return walk_components(dir, path);
}

int vmc_walk_cached(VmcWalk *walk, int dir, const char *name)
{
    struct open_how how = {
        .flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
        .resolve =
            RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV | RESOLVE_CACHED,
    };

    if (!vmc_walk_name_valid(name) || atomic_load_explicit(&walk->no_openat2, memory_order_relaxed) ||
        atomic_load_explicit(&walk->no_cached, memory_order_relaxed))
        return -EAGAIN;
    int fd = (int)syscall(SYS_openat2, dir, name, &how, sizeof(how));
    if (fd >= 0)
        return fd;
    if (errno == EINVAL || errno == ENOSYS || errno == EPERM)
        atomic_store_explicit(&walk->no_cached, true, memory_order_relaxed);
    return errno == ENOENT ? -ENOENT : -EAGAIN;
}

int vmc_walk_create(VmcWalk *walk, int dir, const char *name, int flags, mode_t mode)
{
    int fd;

    if (!vmc_walk_name_valid(name))
        return -EINVAL;
    flags |= O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY;
    if (try_openat2(walk, dir, name, flags, mode, &fd))
        return fd;
    fd = openat(dir, name, flags, mode);
    return fd < 0 ? -errno : fd;
}

void vmc_fd_path(int fd, char path[VMC_FD_PATH])
{
    snprintf(path, VMC_FD_PATH, "/proc/self/fd/%d", fd);
}

int vmc_fd_reopen(int fd, int flags)
{
    char path[VMC_FD_PATH];

    vmc_fd_path(fd, path);
    int opened = open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    return opened < 0 ? -errno : opened;
}
