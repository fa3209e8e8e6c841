/*
 * qcow2: compressed clusters, which are read and never made.
 *
 * A cluster's data lies anywhere in the file, in whole sectors of 512 bytes ("Compressed Clusters
 * Descriptor"); it is deflate without a header (RFC 1951) or zstd, as the header says for all of them, and
 * the decompressor stops when it has made a cluster. The one that was read last is kept, since a guest reads
 * on in smaller steps than a cluster.
 */
#include <errno.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "block/qcow2.h"

static bool inflate_cluster(uint8_t *out, size_t out_len, const uint8_t *in, size_t in_len)
{
    z_stream stream = {
        .next_in = (Bytef *)(uintptr_t)in,
        .avail_in = (uInt)in_len,
        .next_out = out,
        .avail_out = (uInt)out_len,
    };

    if (inflateInit2(&stream, -MAX_WBITS) != Z_OK)
        return false;
    int result = inflate(&stream, Z_FINISH);
    inflateEnd(&stream);
    return !stream.avail_out && (result == Z_STREAM_END || result == Z_BUF_ERROR || result == Z_OK);
}

static bool unzstd_cluster(uint8_t *out, size_t out_len, const uint8_t *in, size_t in_len)
{
    ZSTD_inBuffer input = {in, in_len, 0};
    ZSTD_outBuffer output = {out, out_len, 0};
    ZSTD_DStream *stream = ZSTD_createDStream();

    if (!stream)
        return false;
    /* What follows the frame in the last sector is not ours; and a frame larger than a cluster is cut. */
    while (output.pos < output.size) {
        size_t before_in = input.pos, before_out = output.pos;
        size_t result = ZSTD_decompressStream(stream, &output, &input);
        if (ZSTD_isError(result) || (input.pos == before_in && output.pos == before_out))
            break;
    }
    ZSTD_freeDStream(stream);
    return output.pos == output.size;
}

/* With unpacked_lock. */
static int unpack(Qcow2 *q, uint64_t entry)
{
    uint64_t offset, length;
    g_autofree uint8_t *packed = NULL;

    if (q->unpacked && q->unpacked_entry == entry)
        return 0;
    if (!q->unpacked)
        q->unpacked = g_try_malloc(q->cluster_size);
    vmc_qcow2_compressed_place(q, entry, &offset, &length);
    packed = g_try_malloc(length);
    if (!packed || !q->unpacked)
        return -ENOMEM;
    q->unpacked_entry = 0;
    int err = vmc_qcow2_pread(q, offset, packed, length);
    if (err)
        return err;
    bool good = q->compression_type ? unzstd_cluster(q->unpacked, q->cluster_size, packed, length)
                                    : inflate_cluster(q->unpacked, q->cluster_size, packed, length);
    if (!good)
        return -EIO;
    q->unpacked_entry = entry;
    return 0;
}

int vmc_qcow2_read_compressed(Qcow2 *q, uint64_t entry, uint64_t from, uint64_t len, Qcow2Iov *to)
{
    g_mutex_lock(&q->unpacked_lock);
    int err = unpack(q, entry);
    if (!err)
        vmc_qcow2_iov_copy(to, q->unpacked + from, len);
    g_mutex_unlock(&q->unpacked_lock);
    return err;
}

void vmc_qcow2_forget_compressed(Qcow2 *q)
{
    g_mutex_lock(&q->unpacked_lock);
    q->unpacked_entry = 0;
    g_mutex_unlock(&q->unpacked_lock);
}
