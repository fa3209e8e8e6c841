/* Messages in pieces: to and from buffers, and parts of them in place. */
#include <glib.h>
#include <stdint.h>
#include <string.h>

#include "base/vectors.h"

size_t vmc_iov_length(const struct iovec *iov, unsigned n)
{
    size_t len = 0;

    for (unsigned i = 0; i < n; i++)
        len += iov[i].iov_len;
    return len;
}

size_t vmc_iov_copy(const struct iovec *iov, unsigned n, size_t offset, void *buf, size_t len)
{
    size_t done = 0;

    for (unsigned i = 0; i < n && done < len; i++) {
        if (offset >= iov[i].iov_len) {
            offset -= iov[i].iov_len;
            continue;
        }
        size_t here = MIN(iov[i].iov_len - offset, len - done);
        memcpy((uint8_t *)buf + done, (uint8_t *)iov[i].iov_base + offset, here);
        done += here;
        offset = 0;
    }
    return done;
}

size_t vmc_iov_write(const struct iovec *iov, unsigned n, size_t offset, const void *buf, size_t len)
{
    size_t done = 0;

    for (unsigned i = 0; i < n && done < len; i++) {
        if (offset >= iov[i].iov_len) {
            offset -= iov[i].iov_len;
            continue;
        }
        size_t here = MIN(iov[i].iov_len - offset, len - done);
        memcpy((uint8_t *)iov[i].iov_base + offset, (const uint8_t *)buf + done, here);
        done += here;
        offset = 0;
    }
    return done;
}

void vmc_iov_window_open(VmcIovWindow *w, struct iovec *iov, unsigned n, size_t offset, size_t len)
{
    unsigned i = 0;

    *w = (VmcIovWindow){.iov = iov};
    while (i < n && offset >= iov[i].iov_len)
        offset -= iov[i++].iov_len;
    if (i == n || !len)
        return;
    w->iov = w->first = &iov[i];
    w->first_was = *w->first;
    w->first->iov_base = (uint8_t *)w->first->iov_base + offset;
    w->first->iov_len -= offset;
    while (w->iov + w->n < iov + n && len) {
        w->last = &w->iov[w->n++];
        w->last_was = *w->last;
        w->last->iov_len = MIN(w->last->iov_len, len);
        len -= w->last->iov_len;
    }
}

void vmc_iov_window_close(VmcIovWindow *w)
{
    if (w->last)
        *w->last = w->last_was;
    if (w->first)
        *w->first = w->first_was;
}
