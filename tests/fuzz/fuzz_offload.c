/*
 * Checksums and segmentation: a frame and what it says of itself, in a buffer that ends where the frame does.
 * Whatever comes out of it is looked at: no longer than announced, no payload more or less than went in.
 *
 * covers: vmcore/net/offload.c
 */
#include <glib.h>
#include <stdlib.h>

#include "net/offload.h"
#include "tests/fuzz/frames.h"

typedef struct Pieces {
    size_t bytes, count, stop_at;
    const VmcFrameInfo *info;
} Pieces;

static bool piece(void *data, const struct iovec *iov, unsigned n_iov)
{
    Pieces *pieces = data;
    uint8_t *copy = g_malloc(vmc_iov_length(iov, n_iov));
    size_t len = vmc_iov_copy(iov, n_iov, 0, copy, vmc_iov_length(iov, n_iov));

    if (len > VMC_FRAME_MAX || len < VMC_FRAME_MIN || (n_iov > 1 && iov[1].iov_len > pieces->info->gso_size))
        abort();
    pieces->bytes += n_iov > 1 ? iov[1].iov_len : 0;
    g_free(copy);
    return ++pieces->count != pieces->stop_at;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FuzzInput in = {data, size, 0};
    size_t transport = 0, stop_at = fuzz_u8(&in);
    uint8_t *big = g_malloc(VMC_FRAME_MAX);
    memset(big, 0, VMC_FRAME_MAX);
    size_t len = fuzz_frame(&in, big, VMC_FRAME_MAX, &transport);
    VmcFrameInfo info = fuzz_info(&in, transport);
    uint8_t *frame = g_memdup2(big, len);
    g_free(big);

    if (vmc_offload_check(&info, len)) {
        vmc_offload_needs(&info);
        if (info.gso_type) {
            Pieces pieces = {.stop_at = stop_at, .info = &info};
            bool whole = vmc_offload_segment(frame, len, &info, piece, &pieces);
            if (pieces.bytes > len || (whole && (!pieces.count || pieces.bytes + VMC_FRAME_MIN > len)))
                abort();
        }
        vmc_offload_checksum(frame, len, &info);
        /* Summed again with the sum in its place, it comes out as nothing. */
        if (info.flags & VMC_FRAME_NEEDS_CSUM && info.csum_offset % 2 == 0 && !info.gso_type) {
            uint64_t sum = vmc_checksum_add(0, frame + info.csum_start, len - info.csum_start);
            vmc_offload_checksum(frame, len, &info);
            if (sum == 0 && vmc_checksum_fold(sum) != 0xffff)
                abort();
        }
    }
    g_free(frame);
    return 0;
}
