/* What the files of the FUSE protocol share with each other. */
#pragma once

#include "fs/fuse.h"

/* A request while it is worked on. */
typedef struct FuseCall {
    VmcFuse *fuse;
    VmcFuseMessage *message;
    uint64_t nodeid;
    VmcShareCaller who;
    bool at_once;     /* the handler may not wait: -EAGAIN if it would */
    const void *args; /* the fixed part, as long as the table of requests says */
    const uint8_t *rest;
    size_t rest_len; /* behind names */
    const char *name, *name2;

    uint8_t *reply; /* the handler's answer goes here, reply_max bytes, ... */
    size_t reply_max, reply_len;
    bool in_place; /* ... unless it stands in the message already, reply_len bytes behind the header */
} FuseCall;

/* 0 or a negative errno value; FUSE_CALL_WAIT. */
typedef int (*FuseHandler)(FuseCall *call);
#define FUSE_CALL_WAIT 1

/* A new reference, or NULL: the guest does not know such a node. */
VmcShareNode *fuse_node(VmcFuse *fuse, uint64_t nodeid);
/* The guest gets to know a node, once more; the reference is taken over. */
void fuse_remember(VmcFuse *fuse, VmcShareNode *node);
/* An open file by its number: a new reference, or NULL; it must be of the call's node. */
VmcShareFile *fuse_file(FuseCall *call, uint64_t fh);
/* Takes a reference over; its number. */
uint64_t fuse_add_file(VmcFuse *fuse, VmcShareFile *file);
/* The reference of that number, which is free then; NULL. */
VmcShareFile *fuse_take_file(FuseCall *call, uint64_t fh);

VmcShare *fuse_share(const VmcFuse *fuse);
VmcShareCache fuse_cache(const VmcFuse *fuse);
void fuse_fill_entry(const VmcFuse *fuse, uint64_t nodeid, const VmcShareAttr *attr,
                     struct fuse_entry_out *entry);
void fuse_fill_attr(const VmcShareAttr *from, struct fuse_attr *attr);
uint64_t fuse_valid_seconds(const VmcFuse *fuse);
/* Adds to the answer, for which the table has seen to room. */
void fuse_reply(FuseCall *call, const void *data, size_t len);
/* An answer of up to `max` bytes instead, made by the handler; freed with the call. */
uint8_t *fuse_reply_buffer(FuseCall *call, size_t max);
/* The answer's room in the guest's memory, without the header. */
size_t fuse_room(const FuseCall *call);

/* fuse_node.c */
int fuse_lookup(FuseCall *call);
int fuse_getattr(FuseCall *call);
int fuse_setattr(FuseCall *call);
int fuse_readlink(FuseCall *call);
int fuse_symlink(FuseCall *call);
int fuse_mknod(FuseCall *call);
int fuse_mkdir(FuseCall *call);
int fuse_unlink(FuseCall *call);
int fuse_rmdir(FuseCall *call);
int fuse_rename(FuseCall *call);
int fuse_rename2(FuseCall *call);
int fuse_link(FuseCall *call);
int fuse_statfs(FuseCall *call);
int fuse_access(FuseCall *call);
int fuse_setxattr(FuseCall *call);
int fuse_getxattr(FuseCall *call);
int fuse_listxattr(FuseCall *call);
int fuse_removexattr(FuseCall *call);

/* fuse_file.c */
int fuse_open(FuseCall *call);
int fuse_opendir(FuseCall *call);
int fuse_create(FuseCall *call);
int fuse_tmpfile(FuseCall *call);
int fuse_read(FuseCall *call);
int fuse_write(FuseCall *call);
int fuse_flush(FuseCall *call);
int fuse_release(FuseCall *call);
int fuse_fsync(FuseCall *call);
int fuse_syncfs(FuseCall *call);
int fuse_fallocate(FuseCall *call);
int fuse_lseek(FuseCall *call);
int fuse_copy_file_range(FuseCall *call);
int fuse_getlk(FuseCall *call);
int fuse_setlk(FuseCall *call);
int fuse_setlkw(FuseCall *call);

/* fuse_dir.c */
int fuse_readdir(FuseCall *call);
int fuse_readdirplus(FuseCall *call);
