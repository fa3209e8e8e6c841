/* A frame as a hash, and as a PNG file (PNG specification, 3rd edition), compressed by GLib's zlib. */
#include <gio/gio.h>
#include <string.h>

#include "vmcore/display.h"

char *vmc_frame_hash(const VmcFrame *frame)
{
    GChecksum *sum = g_checksum_new(G_CHECKSUM_SHA256);
    uint32_t size[2] = {GUINT32_TO_LE(frame->width), GUINT32_TO_LE(frame->height)};
    g_autofree uint32_t *row = g_new(uint32_t, frame->width);

    g_checksum_update(sum, (const guchar *)size, sizeof size);
    for (unsigned y = 0; y < frame->height; y++) {
        const uint32_t *from = (const uint32_t *)(frame->pixels + (size_t)y * frame->stride);
        for (unsigned x = 0; x < frame->width; x++)
            row[x] = from[x] & GUINT32_TO_LE(0x00ffffff);
        g_checksum_update(sum, (const guchar *)row, (gssize)frame->width * 4);
    }
    char *hash = g_strdup(g_checksum_get_string(sum));
    g_checksum_free(sum);
    return hash;
}

static uint32_t crc(uint32_t sum, const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        sum ^= bytes[i];
        for (unsigned bit = 0; bit < 8; bit++)
            sum = sum >> 1 ^ (sum & 1 ? 0xedb88320u : 0);
    }
    return sum;
}

static void append_be32(GByteArray *file, uint32_t value)
{
    value = GUINT32_TO_BE(value);
    g_byte_array_append(file, (uint8_t *)&value, 4);
}

static void append_chunk(GByteArray *file, const char type[4], const uint8_t *data, size_t n)
{
    append_be32(file, (uint32_t)n);
    guint start = file->len;
    g_byte_array_append(file, (const uint8_t *)type, 4);
    g_byte_array_append(file, data, (guint)n);
    append_be32(file, ~crc(~0u, file->data + start, file->len - start));
}

/* Rows of R, G, B behind a filter byte of 0. */
static GByteArray *scanlines(const VmcFrame *frame)
{
    GByteArray *rows = g_byte_array_new();

    g_byte_array_set_size(rows, frame->height * (frame->width * 3 + 1));
    uint8_t *to = rows->data;
    for (unsigned y = 0; y < frame->height; y++) {
        const uint8_t *from = frame->pixels + (size_t)y * frame->stride;
        *to++ = 0;
        for (unsigned x = 0; x < frame->width; x++, from += 4) {
            *to++ = from[2];
            *to++ = from[1];
            *to++ = from[0];
        }
    }
    return rows;
}

static GBytes *compressed(const VmcFrame *frame, GError **error)
{
    g_autoptr(GByteArray) rows = scanlines(frame);
    g_autoptr(GZlibCompressor) zlib = g_zlib_compressor_new(G_ZLIB_COMPRESSOR_FORMAT_ZLIB, 6);
    g_autoptr(GOutputStream) memory = g_memory_output_stream_new_resizable();
    g_autoptr(GOutputStream) stream = g_converter_output_stream_new(memory, G_CONVERTER(zlib));

    if (!g_output_stream_write_all(stream, rows->data, rows->len, NULL, NULL, error) ||
        !g_output_stream_close(stream, NULL, error))
        return NULL;
    return g_memory_output_stream_steal_as_bytes(G_MEMORY_OUTPUT_STREAM(memory));
}

GBytes *vmc_frame_to_png(const VmcFrame *frame, GError **error)
{
    static const uint8_t signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    g_autoptr(GBytes) pixels = compressed(frame, error);
    g_autoptr(GByteArray) file = g_byte_array_new();
    uint8_t header[13] = {[8] = 8, [9] = 2}; /* eight bits, true colour */

    if (!pixels)
        return NULL;
    uint32_t sides[2] = {GUINT32_TO_BE(frame->width), GUINT32_TO_BE(frame->height)};
    memcpy(header, sides, sizeof sides);
    g_byte_array_append(file, signature, sizeof signature);
    append_chunk(file, "IHDR", header, sizeof header);
    append_chunk(file, "IDAT", g_bytes_get_data(pixels, NULL), g_bytes_get_size(pixels));
    append_chunk(file, "IEND", NULL, 0);
    return g_byte_array_free_to_bytes(g_steal_pointer(&file));
}

bool vmc_frame_write_png(const VmcFrame *frame, const char *path, GError **error)
{
    g_autoptr(GBytes) file = vmc_frame_to_png(frame, error);
    gsize length = 0;
    const char *bytes = file ? g_bytes_get_data(file, &length) : NULL;

    return bytes && g_file_set_contents(path, bytes, (gssize)length, error);
}
