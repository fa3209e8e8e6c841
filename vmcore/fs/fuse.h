/*
 * The FUSE protocol (linux/fuse.h, 7.31 and later) over a shared folder, as Linux and macOS guests speak it.
 * Of rings it knows nothing: a message is two vectors of memory, one with what the guest says, one for the
 * answer.
 *
 * Data of READ and WRITE moves straight between these vectors and the file. Everything else is copied once
 * and the copy is looked at. The guest names nodes and open files by numbers of ours, which are looked up.
 *
 * Threads: vmc_fuse_serve may be called by several threads at once and may wait for the host's disk;
 * vmc_fuse_serve_at_once and vmc_fuse_forget do not wait. Before vmc_fuse_free nothing else is under way.
 */
#pragma once

#include <linux/fuse.h>
#include <stdbool.h>
#include <stddef.h>

#include "fs/share.h"
#include "vmcore/config.h"

#define VMC_FUSE_WRITE_MAX   (1u << 20)
#define VMC_FUSE_AT_ONCE_MAX (1u << 20)

typedef struct VmcFuse VmcFuse;

typedef struct VmcFuseMessage {
    /* The caller's: the vectors are changed for a moment and are as they were afterwards. */
    struct iovec *out, *in; /* from the guest; for it */
    unsigned n_out, n_in;
    size_t out_len, in_len;
    struct fuse_in_header header; /* vmc_fuse_read_header */
} VmcFuseMessage;

typedef enum VmcFuseResult {
    VMC_FUSE_DONE,
    VMC_FUSE_WAIT,  /* a lock that another has: serve it once more, later */
    VMC_FUSE_LATER, /* vmc_fuse_serve_at_once: nothing was done, vmc_fuse_serve will */
} VmcFuseResult;

/* What the guest knows and has open, as bytes (base/state.h), while no request is served. Loaded into a new
 * session; what is not found is stale (ESTALE), and locks are gone. */
void vmc_fuse_save(VmcFuse *fuse, VmcStateWriter *w);
bool vmc_fuse_load(VmcFuse *fuse, VmcStateReader *r);

/* The share must outlive it, and may have several. */
VmcFuse *vmc_fuse_new(VmcShare *share, VmcShareCache cache);
/* Gives back all nodes, files and locks. NULL is fine. */
void vmc_fuse_free(VmcFuse *fuse);

/* Copies the header. False: there is none, or it says more than there is. */
bool vmc_fuse_read_header(VmcFuseMessage *message);
/* Copies the first bytes behind the header. False: there are not as many. */
bool vmc_fuse_read_args(const VmcFuseMessage *message, void *args, size_t len);
/* Does what the message asks. DONE: the answer's length is in `written`, 0 if there is none. */
VmcFuseResult vmc_fuse_serve(VmcFuse *fuse, VmcFuseMessage *message, size_t *written);
/* The same, if that can be had without waiting, for requests of up to VMC_FUSE_AT_ONCE_MAX bytes; else LATER.
 */
VmcFuseResult vmc_fuse_serve_at_once(VmcFuse *fuse, VmcFuseMessage *message, size_t *written);
/* FORGET and BATCH_FORGET, which have no answer; false: it is neither. */
bool vmc_fuse_forget(VmcFuse *fuse, VmcFuseMessage *message);
/* Answers with an error (negative errno value); the answer's length. */
size_t vmc_fuse_fail(VmcFuseMessage *message, int error);
