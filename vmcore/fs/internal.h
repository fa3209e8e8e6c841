/*
 * What the files of this folder share with each other and nobody else. Errors are negative errno values; a
 * function that gives a descriptor gives a negative one on errors.
 *
 * Locks: share->lock is for the table of nodes and is never held over a system call that can wait (closing an
 * O_PATH descriptor is none). node->lock is for a node's owner attribute and its record locks; it is taken
 * before share->lock and held over system calls. file->lock is for the position in a directory and is taken
 * before node->lock.
 */
#pragma once

#include <stdatomic.h>

#include "fs/share.h"

/* ---- walk.c: names to descriptors ---- */

typedef struct VmcWalk {
    atomic_bool no_openat2; /* the host denies the call */
    atomic_bool no_cached;  /* or does not know RESOLVE_CACHED (before Linux 5.12) */
} VmcWalk;

/* One component, as share.h says. */
bool vmc_walk_name_valid(const char *name);
/* Opens `path`, components with single '/' between them, below the directory `dir`, with O_PATH. A symbolic
 * link at the end is opened itself, one in the middle is -ELOOP. `dir` may be an O_PATH descriptor. */
int vmc_walk_path(VmcWalk *walk, int dir, const char *path);
/* One component, from what the kernel has in memory, on the same mount as `dir`. Never waits. -EAGAIN: ask
 * vmc_walk_path; -ENOENT is known for certain. */
int vmc_walk_cached(VmcWalk *walk, int dir, const char *name);
/* Makes a regular file that is not there yet (O_CREAT|O_EXCL) and opens it. `name` is one component. */
int vmc_walk_create(VmcWalk *walk, int dir, const char *name, int flags, mode_t mode);

#define VMC_FD_PATH 32
/* "/proc/self/fd/N": the file of a descriptor of ours, for calls that will not take an O_PATH descriptor. */
void vmc_fd_path(int fd, char path[VMC_FD_PATH]);
/* Opens once more the file of an O_PATH descriptor that is known to be a regular file or a directory. */
int vmc_fd_reopen(int fd, int flags);

/* ---- share.c and node.c ---- */

typedef struct VmcNodeKey {
    uint64_t dev, ino, mount;
} VmcNodeKey;

typedef struct LockOwner LockOwner; /* lock.c */

/* What the guest sees as owner and mode (07777). */
typedef struct VmcOwner {
    uint32_t uid, gid, mode;
    bool kept; /* in the attribute */
} VmcOwner;

struct VmcShareNode {
    VmcShare *share;
    uint64_t id, shown_ino;
    VmcNodeKey key;
    struct timespec birth; /* 0 where the file system keeps none */
    mode_t type;
    atomic_bool no_privs; /* known to have neither setuid, setgid nor a capability */

    GMutex lock;
    LockOwner *lock_owners; /* with lock */

    /* With share->lock. */
    unsigned refs;
    unsigned users;       /* of fd, at this moment */
    int fd;               /* O_PATH; -1: closed to save descriptors */
    bool gone;            /* its inode number belongs to another file now */
    VmcShareNode *parent; /* NULL: no name is known. A reference. */
    char *name;
    GList idle; /* in share->idle if fd >= 0, users == 0 and parent */
    bool is_idle;
    bool owner_known; /* `owner` is right while the time of change is `owner_time` */
    VmcOwner owner;
    struct timespec owner_time;
};

struct VmcShare {
    bool readonly;
    uint32_t uid, gid;
    unsigned max_open_nodes, max_open_files;
    VmcWalk walk;
    VmcShareNode *root;
    bool local;             /* quick.c: the folder's file system is one of those */
    atomic_bool no_nowait;  /* and cannot read without waiting */
    atomic_uint open_files; /* files and lock owners */

    GMutex lock;
    GHashTable *nodes; /* by key; no references */
    GQueue idle;       /* nodes whose descriptor may be closed, the longest unused first */
    unsigned open_nodes;
    uint64_t next_id;
    GArray *devices; /* uint64_t: file systems seen below the folder */
};

/* The descriptor of a node (O_PATH), good until vmc_node_return. Opens it again if it was closed: -ESTALE if
 * it is not to be found under its last name, -ENFILE if there is no room. */
int vmc_node_borrow(VmcShareNode *node);
/* The same, but -EAGAIN if it was closed. Never waits. */
int vmc_node_borrow_open(VmcShareNode *node);
void vmc_node_return(VmcShareNode *node);
/* The node of the file `fd` (O_PATH; taken over, on errors too) that was found as `name` in `parent` (both
 * may be NULL). */
int vmc_node_intern(VmcShare *share, int fd, VmcShareNode *parent, const char *name, VmcShareNode **node);
/* The node for what has that name, if there is one, with its descriptor borrowed; else NULL. To be called
 * before the name goes away; afterwards vmc_node_renamed and vmc_node_release_target. */
VmcShareNode *vmc_node_hold_target(VmcShareNode *dir, int dir_fd, const char *name);
void vmc_node_release_target(VmcShareNode *node); /* NULL is fine */
/* The node is called `name` in `parent` now; NULL: it has no known name. */
void vmc_node_renamed(VmcShareNode *node, VmcShareNode *parent, const char *name);
/* The node lost this name; if it is the one we know it by, it has none now. */
void vmc_node_unnamed(VmcShareNode *node, VmcShareNode *parent, const char *name);
bool vmc_node_has_name(VmcShareNode *node);
/* Closes up to half of the idle descriptors, when the process has run out of them. True if that helped. */
bool vmc_node_make_room(VmcShare *share);
int vmc_fd_statx(int fd, struct statx *st);

/* Counts a descriptor that is no node's; -ENFILE. */
int vmc_share_count_file(VmcShare *share);
void vmc_share_uncount_file(VmcShare *share);

/* ---- owner.c ---- */

#define VMC_OWNER_PREFIX "user.espalier."
#define VMC_OWNER_XATTR  VMC_OWNER_PREFIX "owner"
#define VMC_OTHER_PREFIX VMC_OWNER_PREFIX "x." /* xattr.c: names of other namespaces */

/* `fd` may be O_PATH; st is of the same file. False: there may be an attribute that could not be read. */
bool vmc_owner_read(VmcShareNode *node, int fd, const struct statx *st, VmcOwner *owner);
/* The same from memory, for nodes of local file systems (quick.c). False: not known. Never waits. */
bool vmc_owner_recall(VmcShareNode *node, const struct statx *st, VmcOwner *owner);
/* What vmc_owner_read said, having been asked after `st` was, and that after `then` (CLOCK_REALTIME_COARSE).
 */
void vmc_owner_remember(VmcShareNode *node, const struct timespec *then, const struct statx *st,
                        const VmcOwner *owner);
/* Makes `wanted` what the guest sees, by chmod and the attribute. With node->lock. */
int vmc_owner_write(VmcShareNode *node, int fd, const struct statx *st, const VmcOwner *now,
                    const VmcOwner *wanted);
/* For a file just made in `dir`: mode and owner as creation rules have them. */
int vmc_owner_init(VmcShareNode *node, int fd, const VmcOwner *dir, const VmcShareCaller *who, uint32_t mode);
/* The mode a new file or directory gets on the host. */
mode_t vmc_owner_real_mode(mode_t type, uint32_t mode);
/* Ends setuid, setgid (of files that the group can run) and capabilities. */
int vmc_owner_kill_privs(VmcShareNode *node, int fd);

/* statx and owner together. */
int vmc_node_attr(VmcShareNode *node, int fd, VmcShareAttr *attr, VmcOwner *owner);

/* The same without waiting, or -EAGAIN. */
int vmc_node_attr_at_once(VmcShareNode *node, int fd, VmcShareAttr *attr);

/* ---- quick.c ---- */

/* Decides share->local; `fd` is the folder. */
void vmc_quick_init(VmcShare *share, int fd);
/* Whether the node lies on the folder's own file system, and that is a local one. */
bool vmc_quick_node(const VmcShareNode *node);

/* ---- file.c, lock.c ---- */

struct VmcShareFile {
    VmcShareNode *node;
    int fd;
    atomic_uint refs;

    GMutex lock; /* directories: all below */
    uint8_t *entries;
    size_t at, filled;
    uint64_t position; /* of the entry at `at` */
};

/* A file around `fd`, taken over, which vmc_share_count_file has counted. */
VmcShareFile *vmc_file_new(VmcShareNode *node, int fd);
/* With no more references to the node. */
void vmc_lock_owners_free(VmcShareNode *node);
