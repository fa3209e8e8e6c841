/*
 * For tests of what a device does when the host's disk is full: such a disk, and an ear for what the device
 * tells the user.
 *
 * The full disk is a small tmpfs in a mount namespace of this program's own, which a user may make who may
 * make user namespaces.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/host.h"

#define SMALL_BYTES   (256u << 10)
#define HEARD_TIMEOUT (20 * G_TIME_SPAN_SECOND)

static char *small_folder; /* of the full disk, or NULL: there is none */

/* What the device told the user. */
typedef struct Heard {
    GMutex lock;
    GCond cond;
    unsigned logs, attentions;
    char *last;
    VmcHostHooks hooks;
} Heard;

static inline void hear(Heard *heard, unsigned *count, const char *line)
{
    g_mutex_lock(&heard->lock);
    ++*count;
    g_free(heard->last);
    heard->last = g_strdup(line);
    g_cond_broadcast(&heard->cond);
    g_mutex_unlock(&heard->lock);
}

static inline void on_log(void *opaque, const char *line)
{
    hear(opaque, &((Heard *)opaque)->logs, line);
}

static inline void on_attention(void *opaque, const char *why)
{
    hear(opaque, &((Heard *)opaque)->attentions, why);
}

static inline Heard *heard_new(void)
{
    Heard *heard = g_new0(Heard, 1);

    g_mutex_init(&heard->lock);
    g_cond_init(&heard->cond);
    heard->hooks = (VmcHostHooks){on_log, on_attention, heard};
    return heard;
}

static inline void heard_free(Heard *heard)
{
    g_mutex_clear(&heard->lock);
    g_cond_clear(&heard->cond);
    g_free(heard->last);
    g_free(heard);
}

static inline void await_heard(Heard *heard, unsigned *count, unsigned wanted)
{
    gint64 end = g_get_monotonic_time() + HEARD_TIMEOUT;
    bool late = false;

    g_mutex_lock(&heard->lock);
    while (*count < wanted && !late)
        late = !g_cond_wait_until(&heard->cond, &heard->lock, end);
    g_mutex_unlock(&heard->lock);
    if (late)
        fail_msg("the device said nothing to the user");
}

/* One sentence, with the disk's name and `what` in it. */
static inline void expect_sentence(const Heard *heard, const char *path, const char *what)
{
    if (!heard->last || !strstr(heard->last, path) || !strstr(heard->last, what) ||
        strchr(heard->last, '\n') || g_str_has_suffix(heard->last, "."))
        fail_msg("“%s” should name “%s” and say “%s”", heard->last, path, what);
}

/* ---- the small file system ---- */

static inline bool write_proc(const char *name, const char *text)
{
    int fd = open(name, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

    if (fd >= 0)
        close(fd);
    return ok;
}

/* A mount namespace of our own; for who is not root, in a user namespace in which we are who we were, for
 * nobody else can own a file there. */
static inline bool unshare_mounts(void)
{
    g_autofree char *uid = g_strdup_printf("%u %u 1", geteuid(), geteuid());
    g_autofree char *gid = g_strdup_printf("%u %u 1", getegid(), getegid());

    return !unshare(CLONE_NEWNS) ||
           (!unshare(CLONE_NEWUSER | CLONE_NEWNS) && write_proc("/proc/self/setgroups", "deny") &&
            write_proc("/proc/self/uid_map", uid) && write_proc("/proc/self/gid_map", gid));
}

static inline bool mount_small(void)
{
    g_autofree char *options = g_strdup_printf("size=%u,mode=700", SMALL_BYTES);
    g_autofree char *folder = g_dir_make_tmp("vmcore-small-XXXXXX", NULL);

    if (!unshare_mounts() || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("small", folder, "tmpfs", 0, options)) {
        g_rmdir(folder);
        return false;
    }
    small_folder = g_steal_pointer(&folder);
    return true;
}

static inline void resize_small_disk(unsigned bytes)
{
    g_autofree char *options = g_strdup_printf("size=%u", bytes);

    assert_int_equal(mount("small", small_folder, "tmpfs", MS_REMOUNT, options), 0);
}

static inline void unmount_small(void)
{
    umount2(small_folder, MNT_DETACH);
    g_rmdir(small_folder);
    g_free(small_folder);
}

static inline char *ballast_path(void)
{
    return g_build_filename(small_folder, "ballast", NULL);
}

/* Fills the small disk to the last page. */
static inline void fill_small_disk(void)
{
    g_autofree char *path = ballast_path();
    int fd = open(path, O_CREAT | O_WRONLY | O_APPEND, 0600);
    char page[4096] = {1};

    assert_true(fd >= 0);
    while (write(fd, page, sizeof(page)) > 0)
        ;
    assert_int_equal(errno, ENOSPC);
    close(fd);
}

static inline void make_room(void)
{
    g_autofree char *path = ballast_path();

    assert_int_equal(g_remove(path), 0);
}
