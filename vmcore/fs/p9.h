/*
 * The 9P protocol in the dialect 9P2000.L over a shared folder, as Linux (fs/9p) and macOS (mount_9p) speak
 * it. Of rings it knows nothing: a message is two vectors of memory, one with what the guest says, one for
 * the answer.
 *
 * Where it is written down: Plan 9's manual, section 5, for version, attach, walk, read, write, clunk, remove
 * and flush; the protocol.md of diod for what .L adds; Linux' net/9p for what is in neither. What macOS asks
 * is not written down anywhere. Known is that its mount_9p takes the tag alone and works with QEMU, so where
 * the texts leave a choice, we do as QEMU's server does: aname and uname are ignored, "." is a name that can
 * be walked, Rlopen always says an iounit, Trename and Tremove work as well as Trenameat and Tunlinkat.
 *
 * Who is who. Whoever attaches, and whatever user they say they are: what they make belongs to the configured
 * owner, and writing to a file ends setuid and setgid. The guest's kernel checks permissions.
 *
 * Data of Tread and Twrite moves straight between the vectors and the file. Everything else is copied once
 * and the copy is looked at. The guest names files by numbers of its own (fids), which are looked up.
 *
 * Threads: vmc_p9_serve may be called by several threads at once and may wait for the host's disk; the others
 * do not wait. Before vmc_p9_free nothing else is under way.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "fs/share.h"

#define VMC_P9_HEADER    7u /* size[4] type[1] tag[2] */
#define VMC_P9_MSIZE_MIN 8192u
#define VMC_P9_MSIZE_MAX ((512u << 10) + 24u) /* 24: what clients take off for the header of data */
#define VMC_P9_FIDS_MAX  65536u

typedef struct VmcP9 VmcP9;

typedef struct VmcP9Message {
    /* The caller's: the vectors are changed for a moment and are as they were afterwards. */
    struct iovec *out, *in; /* from the guest; for it */
    unsigned n_out, n_in;
    size_t out_len, in_len;
    /* vmc_p9_read_header */
    uint32_t size;
    uint8_t type;
    uint16_t tag;
} VmcP9Message;

typedef enum VmcP9Result {
    VMC_P9_DONE,
    VMC_P9_WAIT, /* a lock that another has: serve it once more, later */
} VmcP9Result;

/* The share must outlive it. `owner`: of everything that is made. */
VmcP9 *vmc_p9_new(VmcShare *share, VmcShareCaller owner);
/* Gives back all fids, files and locks. NULL is fine. */
void vmc_p9_free(VmcP9 *p9);

/* The guest's fids, as bytes (base/state.h), while no request is served. Loaded into a new session; one whose
 * file is not found is stale (ESTALE), and locks are gone. */
void vmc_p9_save(VmcP9 *p9, VmcStateWriter *w);
bool vmc_p9_load(VmcP9 *p9, VmcStateReader *r);

/* Copies the header. False: there is none, or it says more than there is. */
bool vmc_p9_read_header(VmcP9Message *message);
/* Whether it is a Tflush, which is the caller's to answer, with vmc_p9_flushed; `oldtag`: of the request it
 * wants to be rid of. */
bool vmc_p9_is_flush(const VmcP9Message *message, uint16_t *oldtag);
/* Does what the message asks. DONE: the answer's length is in `written`, 0 if there is none. */
VmcP9Result vmc_p9_serve(VmcP9 *p9, VmcP9Message *message, size_t *written);
/* Whether a request that was served can have freed a lock that another waits for. */
bool vmc_p9_may_unlock(const VmcP9Message *message);
/* Answers with an error (negative errno value), or to a flush; the answer's length. */
size_t vmc_p9_fail(VmcP9Message *message, int error);
size_t vmc_p9_flushed(VmcP9Message *message);
/* Answers to a lock that is WAIT that somebody else has it. */
size_t vmc_p9_blocked(VmcP9Message *message);
