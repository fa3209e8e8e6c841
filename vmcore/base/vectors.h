/*
 * Messages in pieces: what is done with the vectors of memory that a frame or a message (FUSE, 9P) comes in.
 * The memory may be the guest's, who may write to it at any time: copy, then look at the copy.
 *
 * Threads: any; nothing here waits.
 */
#pragma once

#include <stddef.h>
#include <sys/uio.h>

size_t vmc_iov_length(const struct iovec *iov, unsigned n);
/* Copies up to `len` bytes from the vector to `buf`, or writes them there from it, from the vector's byte
 * `offset` on; returns how many there were. */
size_t vmc_iov_copy(const struct iovec *iov, unsigned n, size_t offset, void *buf, size_t len);
size_t vmc_iov_write(const struct iovec *iov, unsigned n, size_t offset, const void *buf, size_t len);

/* The part [offset, offset + len) of a vector, in place: `n` elements from `iov` on, as long as the window is
 * open. It may turn out shorter than `len`. */
typedef struct VmcIovWindow {
    struct iovec *iov;
    unsigned n;
    struct iovec *first, *last, first_was, last_was; /* what was changed for that */
} VmcIovWindow;

void vmc_iov_window_open(VmcIovWindow *w, struct iovec *iov, unsigned n, size_t offset, size_t len);
/* The vector is as it was. */
void vmc_iov_window_close(VmcIovWindow *w);
