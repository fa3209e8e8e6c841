/*
 * Disk images as files: making them, saying what they are, and snapshots of them.
 *
 * A snapshot keeps a disk as it is: the image becomes a layer, which is never written to again, and a new,
 * empty qcow2 image takes its place and name, on top of it. The layers of "disk.qcow2" are
 * "disk.snapshot-1.qcow2" and so on beside it, since an image names the one below it relative to its own
 * folder, so that a folder can be moved and qemu-img finds its way; "disk.snapshots" keeps the names people
 * gave them. What lies on what is said by the images alone. Going back to one and going on from there leaves
 * a tree.
 *
 * Every change is made under another name, synced and put in its place by one rename; whenever it ends, the
 * disk is as before or as after. A disk that a machine uses is locked and refused.
 *
 * Threads: any; all of them may wait for the host's disk. Paths are those of the host. Errors are VMC_ERROR.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

G_BEGIN_DECLS

#define VMC_DISK_SECTOR 512u

/* What a new image is to be. */
typedef struct VmcDiskCreate {
    uint64_t size; /* bytes, a multiple of VMC_DISK_SECTOR; 0: that of the image below */
    /* An image to lie below this one, as it is to be named in it: absolute, or relative to the new image's
     * folder; and its format. NULL: none. It is opened and closed, and not changed. */
    const char *backing;
    const char *backing_format;
    uint32_t cluster_size; /* bytes, a power of two from 512 to 2 MiB; 0: 65536 */
} VmcDiskCreate;

/* Makes an image that was not there before, sparse and reading as zero (or as the image below): written under
 * another name, synced, and then given its own, so that it is there whole or not at all. False with `error`
 * set (VMC_ERROR_CONFIG: it exists, or cannot be like that; VMC_ERROR_RESOURCE: the host refuses). */
bool vmc_disk_create(const char *path, const char *format, const VmcDiskCreate *params, GError **error);

/* Makes an image larger that no machine uses: `size` in bytes, a multiple of VMC_DISK_SECTOR. One that is as
 * large already or larger stays as it is. False with `error` set (VMC_ERROR_CONFIG, VMC_ERROR_IMAGE or
 * VMC_ERROR_RESOURCE) and nothing changed. */
bool vmc_disk_enlarge(const char *path, const char *format, uint64_t size, GError **error);

/* What can be said about an image without using it. */
typedef struct VmcDiskInfo {
    const char *format;
    uint64_t size;      /* of the disk, bytes */
    uint64_t allocated; /* what the file takes, bytes */
    /* qcow2: */
    unsigned version;
    uint64_t cluster_size;
    char *backing, *backing_format; /* as the image names them; NULL: none */
    unsigned snapshots;             /* inside the image */
    bool dirty, corrupt;
} VmcDiskInfo;

/* Opens the image read-only, but not the one below it, and says what it is. Unlike a disk that is used, its
 * format may be found out from its content: NULL. The caller clears `info`. */
bool vmc_disk_info(const char *path, const char *format, VmcDiskInfo *info, GError **error);
void vmc_disk_info_clear(VmcDiskInfo *info);

/* A layer of a disk. */
typedef struct VmcSnapshot {
    unsigned number; /* of its file */
    char *name;
    char *path;
    gint64 time;     /* when it was taken, seconds since the Epoch */
    unsigned parent; /* number of the snapshot it lies on; 0: none */
    bool current;    /* the disk lies directly on it */
} VmcSnapshot;

/* The snapshots of the qcow2 image `path`, by number; an array of VmcSnapshot that frees what is in it. */
GPtrArray *vmc_snapshots_list(const char *path, GError **error);
/* Keeps the disk as it is. The name must not be one of another snapshot. */
bool vmc_snapshot_take(const char *path, const char *name, GError **error);
/* The disk becomes what it was then; what was done since, and is in no snapshot, is gone. */
bool vmc_snapshot_go_back(const char *path, const char *name, GError **error);
/* The snapshot is gone; what lies on it (the disk, later snapshots) stays as it is, since it is given what it
 * needs. Refused while a linked clone lies on it. */
bool vmc_snapshot_delete(const char *path, const char *name, GError **error);
/* A new disk `to` that starts as the disk `path` (format "qcow2" or "raw") is, and shares with it what
 * neither changes. With `snapshot` NULL, a qcow2 disk is kept as it is in a new snapshot, and a raw one is
 * made read-only for good, since it must not change any more. */
bool vmc_disk_clone(const char *path, const char *format, const char *snapshot, const char *to,
                    GError **error);

/* Tells what a linked clone lies on where the clone is now, if it is on a snapshot of another disk. */
bool vmc_disk_clone_moved(const char *clone, GError **error);
/* The linked clones that are there and lie on the snapshot `name` of the qcow2 disk `path`, or on any of its
 * snapshots if that is NULL: paths as they were noted. Free with g_strfreev. */
char **vmc_disk_clones(const char *path, const char *name, GError **error);

/* Told how far a copy is, in bytes of the disk; false ends it (G_IO_ERROR_CANCELLED). */
typedef bool (*VmcDiskProgress)(void *data, uint64_t done, uint64_t total);

/* A new disk `to` with the contents of the disk `path` and of all it lies on, needing neither of them; what
 * reads as zero takes no room. `progress` may be NULL. When it fails nothing is left. */
bool vmc_disk_copy(const char *path, const char *format, const char *to, const char *to_format,
                   VmcDiskProgress progress, void *data, GError **error);

G_END_DECLS
