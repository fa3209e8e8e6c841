/* What the files of the 9P protocol share with each other. */
#pragma once

#include "fs/p9.h"

/* Message types: requests; an answer is one more. Tlerror is never sent. */
enum {
    P9_TLERROR = 6,
    P9_TSTATFS = 8,
    P9_TLOPEN = 12,
    P9_TLCREATE = 14,
    P9_TSYMLINK = 16,
    P9_TMKNOD = 18,
    P9_TRENAME = 20,
    P9_TREADLINK = 22,
    P9_TGETATTR = 24,
    P9_TSETATTR = 26,
    P9_TXATTRWALK = 30,
    P9_TXATTRCREATE = 32,
    P9_TREADDIR = 40,
    P9_TFSYNC = 50,
    P9_TLOCK = 52,
    P9_TGETLOCK = 54,
    P9_TLINK = 70,
    P9_TMKDIR = 72,
    P9_TRENAMEAT = 74,
    P9_TUNLINKAT = 76,
    P9_TVERSION = 100,
    P9_TAUTH = 102,
    P9_TATTACH = 104,
    P9_TFLUSH = 108,
    P9_TWALK = 110,
    P9_TREAD = 116,
    P9_TWRITE = 118,
    P9_TCLUNK = 120,
    P9_TREMOVE = 122,
    P9_TYPES = 128,
};

/* An answer to Tlock. */
#define P9_LOCK_SUCCESS 0u
#define P9_LOCK_BLOCKED 1u
#define P9_NOFID        UINT32_MAX
/* A file's type in its qid. */
#define P9_QTDIR       0x80u
#define P9_QTSYMLINK   0x02u
#define P9_QTFILE      0x00u
#define P9_QID_BYTES   13u
#define P9_WALK_MAX    16u
#define P9_DATA_HEADER 11u /* of an answer with data: header and count[4] */
#define P9_READ_ARGS   16u /* fid[4] offset[8] count[4], of Tread, Treaddir and Twrite */
#define P9_IO_HEADER   24u /* what clients take off msize for data */

/* ---- fids ---- */

/* An extended attribute being read, or written, when the guest gives the fid back. */
typedef struct P9Xattr {
    char *name; /* NULL: being read */
    int flags;
    uint32_t size;   /* of the buffer */
    GMutex lock;     /* what follows, of one that is being written */
    uint32_t filled; /* bytes that were written, from the start */
    uint8_t data[];
} P9Xattr;

/* What a number of the guest's stands for. What can change is protected by the session's lock; P9Use is a
 * look at it. */
typedef struct P9Fid {
    unsigned refs; /* with the session's lock */
    VmcShareNode *node;
    VmcShareFile *file; /* NULL: not open */
    P9Xattr *xattr;     /* NULL: a file, not an attribute */
    /* The name it was walked to, which is what Tremove and Trename mean; a file may have several. NULL: the
     * root, or "..". */
    VmcShareNode *dir;
    char *name;
    GArray *owners; /* uint64_t: of locks taken with it */
} P9Fid;

/* A device's session with its guest. */
struct VmcP9 {
    VmcShare *share;
    VmcShareCaller owner;

    GMutex lock;
    uint32_t msize;       /* 0: no version was agreed on */
    GHashTable *fids;     /* number -> P9Fid, a reference */
    GHashTable *stale;    /* numbers of fids that were lost when the machine was restored; NULL: none */
    uint64_t xattr_bytes; /* of attributes in memory */
};

/* A request while it is worked on. */
typedef struct P9Call {
    VmcP9 *p9;
    VmcP9Message *message;
    VmcShareCaller who;
    uint32_t msize;

    const uint8_t *args; /* what is still to be read of the copy ... */
    size_t args_len;
    bool bad; /* ... and whether more was asked of it than there is, or something that cannot be */

    uint8_t *reply; /* the handler's answer goes here, reply_max bytes, ... */
    size_t reply_max, reply_len;
    bool in_place; /* ... unless it stands in the message already, reply_len bytes behind the header */
} P9Call;

/* 0 or a negative errno value; P9_CALL_WAIT. */
typedef int (*P9Handler)(P9Call *call);
#define P9_CALL_WAIT 1

/* References to what a fid is at the moment; NULL where there is nothing. */
typedef struct P9Use {
    P9Fid *fid;
    VmcShareNode *node;
    VmcShareFile *file;
    P9Xattr *xattr; /* the fid's */
} P9Use;

/* Looks a fid up: -EBADF if there is none, or if it stands for an attribute. p9_done in any case. */
int p9_use(P9Call *call, uint32_t number, P9Use *use);
/* The same, and it must be open: -EBADF. */
int p9_use_open(P9Call *call, uint32_t number, P9Use *use);
void p9_done(P9Call *call, P9Use *use);
/* The attribute a fid stands for, good until p9_done; NULL: none. */
P9Xattr *p9_use_xattr(P9Call *call, uint32_t number, P9Use *use);

/* A fid for a node, whose reference is taken over; `dir` (not taken over) and `name` may be NULL. */
P9Fid *p9_fid_new(VmcShareNode *node, VmcShareNode *dir, const char *name);
/* Gives a reference back that has no number; what was written to an attribute is lost. */
void p9_fid_drop(VmcP9 *p9, P9Fid *fid);
/* One more for the file of that in `use`, not open. */
P9Fid *p9_fid_clone(P9Call *call, const P9Use *use);
/* Gives it a number; takes it over. -EBADF: the number is in use; -EMFILE: there are too many. */
int p9_add(P9Call *call, uint32_t number, P9Fid *fid);
/* Gives it the number of that in `use`, which must not be open and loses it; takes it over. */
int p9_replace(P9Call *call, uint32_t number, const P9Use *use, P9Fid *fid);
/* Takes the number away and gives the file back; 0, -EBADF: there is none, or why an attribute that was
 * written cannot be stored. */
int p9_give_back(P9Call *call, uint32_t number);
/* The fid in `use` is open now; takes the file over. -EBADF: it was open already. With `node` (taken over) it
 * stands for that now, `name` in the directory it was. */
int p9_opened(P9Call *call, const P9Use *use, VmcShareFile *file, VmcShareNode *node, const char *name);
/* The fid in `use`, which is not open, stands for an attribute now; taken over. */
int p9_become_xattr(P9Call *call, const P9Use *use, P9Xattr *xattr);
/* Remembers (or forgets) that an owner may have locks taken through the fid; -ENOLCK: too many have. */
int p9_note_owner(P9Call *call, const P9Use *use, uint64_t owner, bool has);
/* Where a fid's file is: directory (a new reference) and name. */
int p9_place(P9Call *call, const P9Use *use, VmcShareNode **dir, char name[VMC_SHARE_NAME_MAX + 1]);
/* It is there now. */
void p9_moved(P9Call *call, const P9Use *use, VmcShareNode *dir, const char *name);

/* Room for an attribute; NULL: what the guest has of them takes too much memory. */
P9Xattr *p9_xattr_new(VmcP9 *p9, const char *name, uint32_t size, int flags);
void p9_xattr_free(VmcP9 *p9, P9Xattr *xattr);

/* ---- taking requests apart, making answers ---- */

uint8_t p9_u8(P9Call *call);
uint16_t p9_u16(P9Call *call);
uint32_t p9_u32(P9Call *call);
uint64_t p9_u64(P9Call *call);
/* A string, without a NUL, in the copy. */
const char *p9_bytes(P9Call *call, uint16_t *len);
/* A string of at most `max` bytes without NUL in it, or the call is bad; with one behind it in `buf`, which
 * has max + 1 bytes. */
void p9_string(P9Call *call, char *buf, size_t max);
/* The name of a file, in VMC_SHARE_NAME_MAX + 2 bytes: too long a name is left too long. */
typedef char P9Name[VMC_SHARE_NAME_MAX + 2];
void p9_name(P9Call *call, P9Name name);

void p9_put_u8(P9Call *call, uint8_t value);
void p9_put_u16(P9Call *call, uint16_t value);
void p9_put_u32(P9Call *call, uint32_t value);
void p9_put_u64(P9Call *call, uint64_t value);
void p9_put_bytes(P9Call *call, const void *data, size_t len);
void p9_put_qid(P9Call *call, const VmcShareAttr *attr);
/* An answer of up to `max` bytes instead of P9_REPLY_SMALL; what stands there already is lost. */
void p9_reply_buffer(P9Call *call, size_t max);
/* The answer's room in the guest's memory, without the header. */
size_t p9_room(const P9Call *call);
#define P9_REPLY_SMALL 256u

/* How much data to move at once for files with such blocks. */
uint32_t p9_iounit(const P9Call *call, uint32_t blksize);

/* p9_fid.c */
/* All fids go, and requests have at most so many bytes from now on. */
void p9_start_anew(VmcP9 *p9, uint32_t msize);

/* p9_node.c */
int p9_walk(P9Call *call);
int p9_symlink(P9Call *call);
int p9_mknod(P9Call *call);
int p9_mkdir(P9Call *call);
int p9_link(P9Call *call);
int p9_rename(P9Call *call);
int p9_renameat(P9Call *call);
int p9_unlinkat(P9Call *call);
int p9_remove(P9Call *call);
int p9_readlink(P9Call *call);
int p9_getattr(P9Call *call);
int p9_setattr(P9Call *call);
int p9_statfs(P9Call *call);

/* p9_file.c */
int p9_lopen(P9Call *call);
int p9_lcreate(P9Call *call);
int p9_read(P9Call *call);
int p9_write(P9Call *call);
int p9_readdir(P9Call *call);
int p9_fsync(P9Call *call);
int p9_lock(P9Call *call);
int p9_getlock(P9Call *call);

/* p9_xattr.c */
int p9_xattrwalk(P9Call *call);
int p9_xattrcreate(P9Call *call);
/* Tread and Twrite of a fid that stands for an attribute. */
int p9_xattr_read(P9Call *call, const P9Xattr *xattr, uint64_t offset, uint32_t count);
int p9_xattr_write(P9Call *call, P9Xattr *xattr, uint64_t offset, uint32_t count);
/* Stores what was written to such a fid, when it is given back. */
int p9_xattr_store(VmcShareNode *node, P9Xattr *xattr);
