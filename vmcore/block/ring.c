/*
 * io_uring(7), through liburing.
 *
 * The ring's own descriptor is polled: it is readable while something finished has not been taken, so an
 * eventfd, which costs a write and a read each time, is not needed.
 *
 * What the kernel must promise: that completions are never dropped, and that vectors may go once a request
 * was submitted (both since Linux 5.5). Each newer wish (fewer interrupts of our own thread, 5.19) is dropped
 * where it is refused.
 */
#include "block/ring.h"

#include <errno.h>
#include <glib.h>
#include <liburing.h>

#define SHORTAGE_US 1000

struct VmcBlockRing {
    struct io_uring uring;
    unsigned depth, out;
};

VmcBlockRing *vmc_block_ring_new(unsigned depth)
{
    static const unsigned wishes[] = {IORING_SETUP_COOP_TASKRUN, 0};
    const unsigned needs = IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE;
    VmcBlockRing *ring = g_new0(VmcBlockRing, 1);

    ring->depth = depth;
    for (unsigned i = 0; i < G_N_ELEMENTS(wishes); i++) {
        struct io_uring_params params = {.flags = wishes[i]};
        int err = io_uring_queue_init_params(depth, &ring->uring, &params);
        if (!err && (params.features & needs) == needs)
            return ring;
        if (!err)
            io_uring_queue_exit(&ring->uring);
        if (err != -EINVAL)
            break;
    }
    g_free(ring);
    return NULL;
}

void vmc_block_ring_free(VmcBlockRing *ring)
{
    if (!ring)
        return;
    io_uring_queue_exit(&ring->uring);
    g_free(ring);
}

int vmc_block_ring_fd(const VmcBlockRing *ring)
{
    return ring->uring.ring_fd;
}

bool vmc_block_ring_move(VmcBlockRing *ring, bool write, int fd, uint64_t offset, const struct iovec *iov,
                         unsigned n, void *tag)
{
    struct io_uring_sqe *sqe = ring->out < ring->depth ? io_uring_get_sqe(&ring->uring) : NULL;

    if (!sqe)
        return false;
    if (n == 1 && write)
        io_uring_prep_write(sqe, fd, iov->iov_base, (unsigned)iov->iov_len, offset);
    else if (n == 1)
        io_uring_prep_read(sqe, fd, iov->iov_base, (unsigned)iov->iov_len, offset);
    else if (write)
        io_uring_prep_writev(sqe, fd, iov, n, offset);
    else
        io_uring_prep_readv(sqe, fd, iov, n, offset);
    io_uring_sqe_set_data(sqe, tag);
    ring->out++;
    return true;
}

bool vmc_block_ring_submit(VmcBlockRing *ring)
{
    while (io_uring_sq_ready(&ring->uring)) {
        int n = io_uring_submit(&ring->uring);
        if (n <= 0 && n != -EINTR)
            return false;
    }
    return true;
}

void vmc_block_ring_wait(VmcBlockRing *ring)
{
    struct io_uring_cqe *cqe;

    if (!ring->out)
        return;
    vmc_block_ring_submit(ring);
    /* What the kernel has not taken for want of memory is tried again when something has finished, or at
     * after a moment. */
    if (io_uring_sq_ready(&ring->uring) < ring->out)
        io_uring_wait_cqe(&ring->uring, &cqe);
    else
        g_usleep(SHORTAGE_US);
}

bool vmc_block_ring_next(VmcBlockRing *ring, void **tag, int *result)
{
    struct io_uring_cqe *cqe;

    if (io_uring_peek_cqe(&ring->uring, &cqe) || !cqe)
        return false;
    *tag = io_uring_cqe_get_data(cqe);
    *result = cqe->res;
    io_uring_cqe_seen(&ring->uring, cqe);
    ring->out--;
    return true;
}

unsigned vmc_block_ring_out(const VmcBlockRing *ring)
{
    return ring->out;
}
