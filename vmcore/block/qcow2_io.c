/*
 * qcow2: bytes of the image file, from buffers and vectors.
 *
 * What lies beyond the end of the file reads as zero: the last cluster of an image may be cut short. A write
 * that is interrupted or partial goes on; one that writes nothing is an error.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "block/qcow2.h"

/* The file is made longer in steps of this: a hole, which costs nothing. */
#define EXTEND_STEP (4ull << 20)

int vmc_qcow2_pread(const Qcow2 *q, uint64_t offset, void *buf, size_t len)
{
    uint8_t *at = buf;

    while (len) {
        ssize_t done = pread(q->fd, at, len, (off_t)offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return -errno;
        if (!done) {
            memset(at, 0, len);
            return 0;
        }
        at += done;
        offset += (uint64_t)done;
        len -= (size_t)done;
    }
    return 0;
}

int vmc_qcow2_pwrite(const Qcow2 *q, uint64_t offset, const void *buf, size_t len)
{
    const uint8_t *at = buf;

    while (len) {
        ssize_t done = pwrite(q->fd, at, len, (off_t)offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return done ? -errno : -EIO;
        at += done;
        offset += (uint64_t)done;
        len -= (size_t)done;
    }
    return 0;
}

int vmc_qcow2_extend(Qcow2 *q, uint64_t end)
{
    uint64_t size;

    if (end <= q->file_end)
        return 0;
    if (__builtin_add_overflow(end, EXTEND_STEP - 1, &size) || size > INT64_MAX)
        return -EFBIG;
    size = size / EXTEND_STEP * EXTEND_STEP;
    if (ftruncate(q->fd, (off_t)size)) {
        if (errno != EFBIG || ftruncate(q->fd, (off_t)end)) /* RLIMIT_FSIZE may lie in between */
            return -errno;
        size = end;
    }
    g_mutex_lock(&q->lock);
    q->file_end = size;
    g_mutex_unlock(&q->lock);
    return 0;
}

int vmc_qcow2_sync(Qcow2 *q)
{
    int err;

    if (!fdatasync(q->fd))
        return 0;
    err = -errno;
    vmc_qcow2_break(q);
    return err;
}

/* ---- vectors ---- */

/* Takes `done` bytes off the front. */
static void advance(Qcow2Iov *v, uint64_t done)
{
    while (v->n && done >= v->iov->iov_len) {
        done -= v->iov->iov_len;
        v->iov++;
        v->n--;
    }
    if (done && v->n) {
        v->iov->iov_base = (uint8_t *)v->iov->iov_base + done;
        v->iov->iov_len -= done;
    }
}

/* How many vectors, at most IOV_MAX, make up at most `len` bytes; the last of them is shortened for that, and
 * *cut is what it had. */
static int front(const Qcow2Iov *v, uint64_t len, size_t *cut)
{
    unsigned n = 0;

    for (;;) {
        *cut = v->iov[n].iov_len;
        if (*cut >= len) {
            v->iov[n].iov_len = (size_t)len;
            return (int)n + 1;
        }
        len -= *cut;
        if (++n == v->n || n == IOV_MAX) {
            return (int)n;
        }
    }
}

static int move(const Qcow2 *q, Qcow2Iov *v, uint64_t len, uint64_t offset, bool write)
{
    advance(v, 0);
    while (len) {
        size_t cut;
        if (!v->n)
            return -EINVAL;
        int n = front(v, len, &cut);
        ssize_t done =
            write ? pwritev(q->fd, v->iov, n, (off_t)offset) : preadv(q->fd, v->iov, n, (off_t)offset);
        int err = errno;
        v->iov[n - 1].iov_len = cut;
        if (done < 0 && err == EINTR)
            continue;
        if (done < 0)
            return -err;
        if (!done && write)
            return -EIO;
        if (!done) {
            vmc_qcow2_iov_zero(v, len);
            return 0;
        }
        advance(v, (uint64_t)done);
        offset += (uint64_t)done;
        len -= (uint64_t)done;
    }
    return 0;
}

int vmc_qcow2_iov_pread(const Qcow2 *q, Qcow2Iov *to, uint64_t len, uint64_t offset)
{
    return move(q, to, len, offset, false);
}

int vmc_qcow2_iov_pwrite(const Qcow2 *q, Qcow2Iov *from, uint64_t len, uint64_t offset)
{
    return move(q, from, len, offset, true);
}

int vmc_qcow2_iov_read_disk(VmcDisk *disk, Qcow2Iov *to, uint64_t len, uint64_t offset)
{
    while (len) {
        struct iovec part[32];
        unsigned n = 0;
        uint64_t bytes = 0;

        for (; n < to->n && n < G_N_ELEMENTS(part) && bytes < len; n++) {
            part[n] = to->iov[n];
            part[n].iov_len = (size_t)MIN(part[n].iov_len, len - bytes);
            bytes += part[n].iov_len;
        }
        if (!n)
            return -EINVAL;
        int err = vmc_disk_read(disk, offset, part, n);
        if (err)
            return err;
        advance(to, bytes);
        offset += bytes;
        len -= bytes;
    }
    return 0;
}

void vmc_qcow2_iov_zero(Qcow2Iov *to, uint64_t len)
{
    while (len && to->n) {
        size_t here = (size_t)MIN(len, to->iov->iov_len);
        if (here)
            memset(to->iov->iov_base, 0, here);
        advance(to, here);
        len -= here;
    }
}

void vmc_qcow2_iov_copy(Qcow2Iov *to, const uint8_t *bytes, uint64_t len)
{
    while (len && to->n) {
        size_t here = (size_t)MIN(len, to->iov->iov_len);
        if (here)
            memcpy(to->iov->iov_base, bytes, here);
        advance(to, here);
        bytes += here;
        len -= here;
    }
}
