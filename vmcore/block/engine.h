/*
 * Moves the bytes of a disk for a controller whose home is the I/O thread, which must never wait for one.
 *
 * A request whose bytes the disk can map (disk.h) goes from the I/O thread straight into an io_uring of this
 * disk: no other thread is woken, and what lies in the host's page cache is there when `run` returns. All
 * other requests go to a few worker threads. Where the host has no io_uring for us (an old kernel, a
 * container's seccomp filter, a memory limit) the workers do everything; nobody else can tell.
 *
 * Threads: all functions on the I/O thread but new, drain and free (below). Callbacks come on the I/O thread.
 */
#pragma once

#include "base/io.h"
#include "block/disk.h"

typedef enum VmcBlockOp {
    VMC_BLOCK_READ,
    VMC_BLOCK_WRITE,
    VMC_BLOCK_FLUSH,
    VMC_BLOCK_DISCARD,
    VMC_BLOCK_WRITE_ZEROES,
    VMC_BLOCK_GROW, /* to `length` bytes; nothing else may be in flight */
    VMC_BLOCK_CALL, /* `call` on a worker thread; nothing else may be in flight */
} VmcBlockOp;

typedef struct VmcBlockEngine VmcBlockEngine;
typedef struct VmcBlockRequest VmcBlockRequest;

/* The controller's memory; zeroed before its first use, not touched between submit and done. */
struct VmcBlockRequest {
    VmcBlockOp op;
    bool unmap;              /* WRITE_ZEROES */
    bool durable;            /* WRITE, WRITE_ZEROES: not done before it survives a power failure */
    uint64_t offset, length; /* on the disk, bytes; within it */
    struct iovec *iov;       /* READ, WRITE: `length` bytes of memory; the vectors are changed on the way */
    unsigned n_iov;
    int (*call)(VmcDisk *disk, void *data); /* CALL: 0 or a negative errno value */
    void *call_data;

    /* 0 or a negative errno value. After an error offset, length and iov say what has not been done, so that
     * the request can be submitted again as it is; a length of 0 means that only the flush of a durable
     * request failed. -ECANCELED: vmc_block_engine_cancel. */
    int error;

    /* The engine's. */
    VmcBlockRequest *next;
    VmcDiskExtent extent;
    bool mapped, flushing;
    unsigned slice;   /* vectors that are in the ring */
    size_t slice_cut; /* bytes taken off the last one for the time being */
};

typedef struct VmcBlockEngineParams {
    VmcIo *io;
    VmcDisk *disk;                                        /* stays the caller's */
    unsigned depth;                                       /* how many requests the caller has out at most */
    void (*done)(void *opaque, VmcBlockRequest *request); /* may submit, may not run */
    void (*batch)(void *opaque); /* after some calls of `done` that no `run` has caused; may submit and run */
    void *opaque;
} VmcBlockEngineParams;

/* Any thread. NULL: the host has no file descriptor or thread left. */
VmcBlockEngine *vmc_block_engine_new(const VmcBlockEngineParams *params);
/* Any thread but a vCPU's, with the I/O thread running; nothing may be in flight. NULL is fine. */
void vmc_block_engine_free(VmcBlockEngine *engine);
/* "io_uring" or "threads": who moves what can be mapped. */
const char *vmc_block_engine_way(const VmcBlockEngine *engine);

/* Takes a request. It may be held back until run. */
void vmc_block_engine_submit(VmcBlockEngine *engine, VmcBlockRequest *request);
/* Starts everything submitted and calls `done` for what has finished. True: for at least one. */
bool vmc_block_engine_run(VmcBlockEngine *engine);
/* With true, what is in flight ends early, as -ECANCELED where it has not been done; new requests, too. GROW,
 * CALL and FLUSH are not affected. */
void vmc_block_engine_cancel(VmcBlockEngine *engine, bool cancel);
/* Waits until nothing in flight touches memory or disk any more; a `run` after that calls `done` for all of
 * it. Any thread but a vCPU's, with the I/O thread running if it is another. */
void vmc_block_engine_drain(VmcBlockEngine *engine);
