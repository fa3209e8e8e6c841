/*
 * An io_uring for reads and writes, on the I/O thread; what to do with it is the engine's business.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

typedef struct VmcBlockRing VmcBlockRing;

/* NULL: the host has none for us. `depth`: how many may be out at a time. */
VmcBlockRing *vmc_block_ring_new(unsigned depth);
void vmc_block_ring_free(VmcBlockRing *ring); /* nothing may be out; NULL is fine */
/* Readable when something has finished. */
int vmc_block_ring_fd(const VmcBlockRing *ring);

/* Prepares one transfer, to be started by submit; the vectors must stay until then, the memory they name
 * until it has finished. At most IOV_MAX vectors. False: `depth` are out. */
bool vmc_block_ring_move(VmcBlockRing *ring, bool write, int fd, uint64_t offset, const struct iovec *iov,
                         unsigned n, void *tag);
/* False: the kernel would not take all that was prepared now; call again after a while. */
bool vmc_block_ring_submit(VmcBlockRing *ring);
/* Submits and waits until something has finished, if anything is out. */
void vmc_block_ring_wait(VmcBlockRing *ring);
/* The next that has finished; `result` is what preadv or pwritev would have returned, or a negative errno
 * value. False: none. */
bool vmc_block_ring_next(VmcBlockRing *ring, void **tag, int *result);
/* Prepared or started, and not yet returned by next. */
unsigned vmc_block_ring_out(const VmcBlockRing *ring);
