/*
 * A folder of the host that a guest may use: the layer below every protocol that shares files (FUSE over
 * virtio-fs, 9P).
 *
 * What is reachable. Only what lies below the folder. The layer never hands a path with more than one
 * component of the guest's to the kernel: each name is checked (no '/', no NUL, not "." or "..", not empty,
 * at most 255 bytes) and looked up in a directory that is already open, with openat2 and
 * RESOLVE_BENEATH|NO_SYMLINKS|NO_MAGICLINKS, or, where the host denies that call, with O_NOFOLLOW. Symbolic
 * links are given to the guest as text and never followed. Device nodes, FIFOs and sockets are shown and
 * never opened: a file is opened with O_PATH, looked at, and only then opened for real. Other file systems
 * mounted below the folder belong to it.
 *
 * Nodes. A node is one file, directory or link as the guest knows it, the same for all names it has. Its
 * identity is (device, inode number, mount, time of birth). It is held by an O_PATH descriptor while there
 * are descriptors to spare; of the rest we know parent and name, under which it is found again and compared.
 * What has become something else meanwhile is -ESTALE.
 *
 * Who owns what. The machine runs as an ordinary user, to whom all files it makes belong. The guest sees them
 * as owned by the uid and gid of the options, or by whom it gave them to: an owner other than that, and mode
 * bits the host's file cannot have, are kept in the extended attribute `user.espalier.owner`, which is hidden
 * from the guest (see owner.h for what is in it). So setuid, setgid and the guest's ownership are never real
 * on the host. It is the guest's kernel that checks permissions among the guest's users; what the host's user
 * may not do fails whoever asks. On a file system without user attributes chown fails with -EPERM.
 *
 * Errors are 0 or a negative errno value, the guest's kernel's to understand. Threads: everything here may be
 * called from several threads at once, and may wait for the host's disk, so never on a vCPU or the I/O thread
 * (exceptions are marked "never waits"). Before vmc_share_free no other call is under way and all nodes and
 * files have been given back.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/state.h"

#define VMC_SHARE_NAME_MAX  255u
#define VMC_SHARE_XATTR_MAX 65536u /* bytes of a value, as Linux has it */

typedef struct VmcShare VmcShare;
typedef struct VmcShareNode VmcShareNode;
typedef struct VmcShareFile VmcShareFile;

typedef struct VmcShareOptions {
    bool readonly;
    uint32_t uid, gid;        /* shown for files of which nothing else is known */
    unsigned shares;          /* how many the process has: they divide half of its descriptors; 0: this one */
    unsigned max_descriptors; /* at most so many for nodes, and as many for files; 0: no such limit */
} VmcShareOptions;

/* Opens a folder. Raises the process's soft limit of descriptors to the hard one. NULL with `error`
 * (VMC_ERROR_CONFIG: no folder; VMC_ERROR_RESOURCE: cannot be opened). */
VmcShare *vmc_share_new(const char *folder, const VmcShareOptions *options, GError **error);
void vmc_share_free(VmcShare *share); /* NULL is fine */
bool vmc_share_readonly(const VmcShare *share);

/* ---- nodes ---- */

/* Never waits, all of these. A node stays what it is while somebody has a reference to it. */
VmcShareNode *vmc_share_root(VmcShare *share); /* a new reference */
VmcShareNode *vmc_share_node_ref(VmcShareNode *node);
void vmc_share_node_unref(VmcShareNode *node); /* NULL is fine */
/* A number no other node of this share has or will have; the root's is 1. */
uint64_t vmc_share_node_id(const VmcShareNode *node);
/* S_IFMT bits; a node never changes its type. */
mode_t vmc_share_node_type(const VmcShareNode *node);
/* The directory it was last seen in, as a new reference; the root's is the root. NULL: not known any more. */
VmcShareNode *vmc_share_node_parent(VmcShareNode *node);
/* One name it has, and the directory, as a new reference. -ESTALE: none is known any more; -EBUSY: the root.
 */
int vmc_share_node_name(VmcShareNode *node, VmcShareNode **parent, char name[VMC_SHARE_NAME_MAX + 1]);

/* What the guest sees of a node. */
typedef struct VmcShareAttr {
    uint64_t ino; /* unique in the share, other file systems below it included, as far as 64 bits go */
    uint64_t size, blocks; /* bytes; units of 512 */
    struct timespec atime, mtime, ctime, btime;
    uint32_t mode; /* with S_IFMT */
    uint32_t nlink, uid, gid, blksize;
} VmcShareAttr;

/* On whose behalf something is made: who owns it then. */
typedef struct VmcShareCaller {
    uint32_t uid, gid;
} VmcShareCaller;

/* Finds `name` in a directory. `node` is a new reference. Symbolic links are themselves. -ENOENT, -ENOTDIR,
 * -EINVAL: not a name, -ENFILE: no descriptor to spare. */
int vmc_share_lookup(VmcShareNode *dir, const char *name, VmcShareNode **node, VmcShareAttr *attr);
/* `file` is an open file of the node or NULL. */
int vmc_share_getattr(VmcShareNode *node, VmcShareFile *file, VmcShareAttr *attr);

typedef enum VmcShareChangeMask {
    VMC_SHARE_MODE = 1 << 0,
    VMC_SHARE_UID = 1 << 1,
    VMC_SHARE_GID = 1 << 2,
    VMC_SHARE_SIZE = 1 << 3,
    VMC_SHARE_ATIME = 1 << 4,
    VMC_SHARE_MTIME = 1 << 5,
    VMC_SHARE_ATIME_NOW = 1 << 6,
    VMC_SHARE_MTIME_NOW = 1 << 7,
    VMC_SHARE_KILL_PRIVS = 1 << 8, /* with SIZE: setuid and setgid end, as the guest's user is not root */
} VmcShareChangeMask;

typedef struct VmcShareChange {
    unsigned mask;
    uint32_t mode; /* 07777 */
    uint32_t uid, gid;
    uint64_t size;
    struct timespec atime, mtime;
} VmcShareChange;

/* Changes what the mask says, in the order owner, mode, size, times, up to the first error. A new owner ends
 * setuid and setgid of a file. The owner of a symbolic link, a FIFO or a socket cannot be kept and is
 * ignored. `attr` (may be NULL): as it is then. */
int vmc_share_setattr(VmcShareNode *node, VmcShareFile *file, const VmcShareChange *change,
                      VmcShareAttr *attr);

int vmc_share_readlink(VmcShareNode *node, char *buf,
                       size_t size); /* the length, without a NUL; negative: errno */
int vmc_share_statfs(VmcShareNode *node, struct statvfs *st);
/* Whether `who` (without further groups) may do `mask` (R_OK, W_OK, X_OK or 0) by the mode the guest sees. */
int vmc_share_access(VmcShareNode *node, const VmcShareCaller *who, int mask);

/* ---- names ---- */

/* Opens what has the name, or makes it, as open(2) with O_CREAT in `flags`; O_EXCL is heeded. The umask has
 * been taken off `mode` already. In a directory that the guest sees with setgid, the new file has its group.
 */
int vmc_share_create(VmcShareNode *dir, const char *name, const VmcShareCaller *who, int flags, uint32_t mode,
                     VmcShareNode **node, VmcShareAttr *attr, VmcShareFile **file);
/* A file without a name, as O_TMPFILE; vmc_share_link can give it one. */
int vmc_share_tmpfile(VmcShareNode *dir, const VmcShareCaller *who, int flags, uint32_t mode,
                      VmcShareNode **node, VmcShareAttr *attr, VmcShareFile **file);
/* Regular files, FIFOs and sockets; -EPERM for block and character devices. */
int vmc_share_mknod(VmcShareNode *dir, const char *name, const VmcShareCaller *who, uint32_t mode,
                    VmcShareNode **node, VmcShareAttr *attr);
int vmc_share_mkdir(VmcShareNode *dir, const char *name, const VmcShareCaller *who, uint32_t mode,
                    VmcShareNode **node, VmcShareAttr *attr);
int vmc_share_symlink(VmcShareNode *dir, const char *name, const VmcShareCaller *who, const char *target,
                      VmcShareNode **node, VmcShareAttr *attr);
/* A further name for a node, which is not a directory. `attr` (may be NULL): as it is then. */
int vmc_share_link(VmcShareNode *node, VmcShareNode *dir, const char *name, VmcShareAttr *attr);
int vmc_share_unlink(VmcShareNode *dir, const char *name);
int vmc_share_rmdir(VmcShareNode *dir, const char *name);
/* `flags`: 0, RENAME_NOREPLACE or RENAME_EXCHANGE. */
int vmc_share_rename(VmcShareNode *from, const char *name, VmcShareNode *to, const char *new_name,
                     unsigned flags);

/* ---- at once ---- */

/* The same as the functions without _at_once, but never waiting, so also for the I/O thread. -EAGAIN: that
 * cannot be done, or would perhaps wait; nothing has happened, but that bytes beyond those that count may
 * have been read. What is done at once, and why it does not wait, is told in quick.c. */
int vmc_share_lookup_at_once(VmcShareNode *dir, const char *name, VmcShareNode **node, VmcShareAttr *attr);
int vmc_share_getattr_at_once(VmcShareNode *node, VmcShareFile *file, VmcShareAttr *attr);
/* Short only at the end of the file. */
ssize_t vmc_share_read_at_once(VmcShareFile *file, const struct iovec *iov, unsigned n_iov, uint64_t offset);
/* 0 only if nobody has any lock on the node, so that there is nothing to unlock. */
int vmc_share_unlock_owner_at_once(VmcShareNode *node);

/* ---- open files ---- */

/* Opens a regular file or, with O_DIRECTORY, a directory. Of `flags` are heeded: O_ACCMODE, O_APPEND,
 * O_TRUNC, O_SYNC, O_DSYNC, O_DIRECTORY. -ELOOP for links, -ENXIO for special files. */
int vmc_share_open(VmcShareNode *node, int flags, VmcShareFile **file);
VmcShareFile *vmc_share_file_ref(VmcShareFile *file);  /* never waits */
void vmc_share_file_unref(VmcShareFile *file);         /* closes it with the last; NULL is fine */
VmcShareNode *vmc_share_file_node(VmcShareFile *file); /* the file's own reference */

/* Bytes moved or a negative errno value; short at the end of the file and on errors after the first bytes.
 * At most IOV_MAX vectors. `kill_privs`: setuid and setgid end. */
ssize_t vmc_share_read(VmcShareFile *file, const struct iovec *iov, unsigned n_iov, uint64_t offset);
ssize_t vmc_share_write(VmcShareFile *file, const struct iovec *iov, unsigned n_iov, uint64_t offset,
                        bool kill_privs);
/* Setuid and setgid of the file end, and capabilities, as when somebody who is not root changes it. */
int vmc_share_kill_privs(VmcShareFile *file);
/* Modes as fallocate(2): 0, KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE. */
int vmc_share_fallocate(VmcShareFile *file, int mode, uint64_t offset, uint64_t length);
/* SEEK_DATA, SEEK_HOLE or SEEK_END only. */
int64_t vmc_share_lseek(VmcShareFile *file, int64_t offset, int whence);
/* May copy less, and does so for more than 64 MiB. */
ssize_t vmc_share_copy(VmcShareFile *from, uint64_t from_offset, VmcShareFile *to, uint64_t to_offset,
                       uint64_t length);
int vmc_share_fsync(VmcShareFile *file, bool data_only);
int vmc_share_syncfs(VmcShare *share);

typedef struct VmcShareDirEntry {
    const char *name; /* good until `each` returns */
    size_t name_len;
    uint64_t ino;
    uint64_t next; /* where to go on behind this entry */
    unsigned type; /* DT_... */
} VmcShareDirEntry;

/* Calls `each` for the entries from `offset` on (0, or the `next` of an entry of this directory), "." and
 * ".." included, until it returns false (that entry will come again) or there are no more. */
int vmc_share_readdir(VmcShareFile *dir, uint64_t offset,
                      bool (*each)(void *opaque, const VmcShareDirEntry *entry), void *opaque);

/* ---- extended attributes ---- */

/* user.* are the host's own. Names in other namespaces (trusted, security, and macOS's, which have none) are
 * kept below user.espalier.x. and have no effect on the host; system.* (ACLs) is -EOPNOTSUPP. Sizes and
 * -ERANGE as getxattr(2) and listxattr(2): size 0 asks for the length. `flags`: XATTR_CREATE, XATTR_REPLACE.
 */
ssize_t vmc_share_getxattr(VmcShareNode *node, const char *name, void *value, size_t size);
ssize_t vmc_share_listxattr(VmcShareNode *node, char *list, size_t size);
int vmc_share_setxattr(VmcShareNode *node, const char *name, const void *value, size_t size, int flags);
int vmc_share_removexattr(VmcShareNode *node, const char *name);

/* ---- locks ---- */

/* A POSIX record lock of a guest's process, held on the host as an open file description lock, so programs of
 * the host (and other machines) and the guest exclude each other. */
typedef struct VmcShareLock {
    const void *session; /* owners of different sessions are different */
    uint64_t owner;
    int type;            /* F_RDLCK, F_WRLCK, F_UNLCK */
    uint64_t start, end; /* bytes, both included; end INT64_MAX: to the end of the file, however long */
} VmcShareLock;

/* Takes or gives up a lock. Does not wait for others: -EAGAIN. */
int vmc_share_setlk(VmcShareNode *node, const VmcShareLock *lock);
/* What would be in the way of `lock`, else type F_UNLCK. */
int vmc_share_getlk(VmcShareNode *node, VmcShareLock *lock);
/* A process has closed one of its descriptors of the node: all its locks there end. */
void vmc_share_unlock_owner(VmcShareNode *node, const void *session, uint64_t owner);
/* flock(2): LOCK_SH, LOCK_EX or LOCK_UN; belongs to the open file. Does not wait: -EAGAIN. */
int vmc_share_flock(VmcShareFile *file, int operation);

/* ---- saving (save.c); may wait, nothing else is done with the share ---- */

/* Where a node is, and what it is, as bytes. */
void vmc_share_node_save(VmcShareNode *node, VmcStateWriter *w);
/* The same file, as a new reference; NULL: it is not there any more, or something was wrong with what was
 * read. */
VmcShareNode *vmc_share_node_load(VmcShare *share, VmcStateReader *r);
/* Numbers of nodes: that a new one gets next, and the one a node had. False: it may not have that. */
uint64_t vmc_share_next_id(VmcShare *share);
void vmc_share_set_next_id(VmcShare *share, uint64_t id);
bool vmc_share_node_renumber(VmcShareNode *node, uint64_t id);
/* How a file was opened; and again, of a node that may be NULL. NULL: that is not possible any more. */
void vmc_share_file_save(VmcShareFile *file, VmcStateWriter *w);
VmcShareFile *vmc_share_file_load(VmcShareNode *node, VmcStateReader *r);
