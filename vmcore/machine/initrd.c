/*
 * Is this file an initramfs, and is all of it there?
 *
 * Sources: Linux Documentation/driver-api/early-userspace/buffer-format.rst (an initramfs is a chain of cpio
 * archives, each plain or compressed), RFC 1952 (gzip), RFC 8878 s3.1.1 (zstd frames), the xz file format 1.2
 * s2.1.2 (stream footer), the kernel's lz4 legacy frames.
 *
 * A truncated initramfs makes a guest panic minutes later with a message about a missing root device, so it
 * is worth a look before. A plain cpio, zstd and lz4 are walked by their headers without unpacking, xz has a
 * footer. gzip has only its last eight bytes: if they look like those of an archive they are believed, and
 * only if not is the file unpacked to know for sure.
 */
#include "machine/initrd.h"

#include <gio/gio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/i18n.h"
#include "boot/bzimage.h"
#include "vmcore/error.h"

static uint16_t le16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t le32(const uint8_t *p)
{
    return le16(p) | (uint32_t)le16(p + 2) << 16;
}

/* A piece of the file, ever shorter from the front. */
typedef struct Bytes {
    const uint8_t *at;
    size_t left;
} Bytes;

static bool skip(Bytes *bytes, uint64_t n)
{
    if (n > bytes->left)
        return false;
    bytes->at += n;
    bytes->left -= n;
    return true;
}

static bool starts_with(const Bytes *bytes, const void *magic, size_t length)
{
    return bytes->left >= length && memcmp(bytes->at, magic, length) == 0;
}

static bool hex8(const uint8_t *text, uint32_t *value)
{
    *value = 0;
    for (unsigned i = 0; i < 8; i++) {
        int digit = g_ascii_xdigit_value((char)text[i]);

        if (digit < 0)
            return false;
        *value = *value << 4 | (uint32_t)digit;
    }
    return true;
}

/* One "newc" archive: a header of 110 bytes, the name, the data, both padded to 4, until a member named
 * TRAILER!!!. */
static bool skip_cpio(Bytes *bytes)
{
    const uint8_t *start = bytes->at;

    for (;;) {
        uint32_t name_size, file_size;
        bool trailer;

        if (bytes->left < 110 || memcmp(bytes->at, "07070", 5) != 0 || !hex8(bytes->at + 54, &file_size) ||
            !hex8(bytes->at + 94, &name_size) || name_size > bytes->left - 110)
            return false;
        trailer = name_size == 11 && memcmp(bytes->at + 110, "TRAILER!!!", 11) == 0;
        if (!skip(bytes, 110 + (uint64_t)name_size))
            return false;
        if (trailer)
            return true;
        if (!skip(bytes, -(size_t)(bytes->at - start) & 3) || !skip(bytes, file_size) ||
            !skip(bytes, -(size_t)(bytes->at - start) & 3))
            return false;
    }
}

/* One zstd frame, block by block (RFC 8878 s3.1.1). */
static bool skip_zstd(Bytes *bytes)
{
    static const unsigned dictionary_bytes[] = {0, 1, 2, 4}, content_bytes[] = {0, 2, 4, 8};
    unsigned descriptor, header;
    bool last = false;

    if (bytes->left < 5)
        return false;
    descriptor = bytes->at[4];
    header = 5 + dictionary_bytes[descriptor & 3] + content_bytes[descriptor >> 6];
    if (!(descriptor & 0x20))
        header++; /* window descriptor */
    else if (descriptor >> 6 == 0)
        header++; /* a single segment always says its size */
    if (!skip(bytes, header))
        return false;
    while (!last) {
        uint32_t block;

        if (bytes->left < 3)
            return false;
        block = le16(bytes->at) | (uint32_t)bytes->at[2] << 16;
        last = block & 1;
        /* An RLE block is one byte that stands for many. */
        if (!skip(bytes, 3 + ((block >> 1 & 3) == 1 ? 1 : block >> 3)))
            return false;
    }
    return !(descriptor & 4) || skip(bytes, 4);
}

/* The kernel's lz4 legacy format: blocks with their sizes until the end of the file. */
static bool skip_lz4(Bytes *bytes)
{
    skip(bytes, 4);
    while (bytes->left >= 4) {
        uint32_t block = le32(bytes->at);

        if (block == 0 || block == 0x184c2102) /* padding, or the next frame */
            return true;
        if (!skip(bytes, 4 + (uint64_t)block))
            return false;
    }
    return bytes->left == 0;
}

/* The stream ends with "YZ" and padding of zeros. */
static bool skip_xz(Bytes *bytes)
{
    size_t end = bytes->left;

    while (end > 2 && bytes->at[end - 1] == 0)
        end--;
    return memcmp(bytes->at + end - 2, "YZ", 2) == 0 && skip(bytes, bytes->left);
}

static bool inflate_all(const Bytes *bytes)
{
    GConverter *inflate = G_CONVERTER(g_zlib_decompressor_new(G_ZLIB_COMPRESSOR_FORMAT_GZIP));
    GConverterResult result = G_CONVERTER_CONVERTED;
    uint8_t *out = g_malloc(256 * 1024);
    size_t at = 0;

    while (result == G_CONVERTER_CONVERTED) {
        gsize did_read = 0, did_write = 0;

        result = g_converter_convert(inflate, bytes->at + at, bytes->left - at, out, 256 * 1024,
                                     G_CONVERTER_INPUT_AT_END, &did_read, &did_write, NULL);
        at += did_read;
    }
    g_free(out);
    g_object_unref(inflate);
    return result == G_CONVERTER_FINISHED;
}

/* The last four bytes are the length of what was packed: cpio makes that a multiple of 512, and deflate never
 * packs tighter than 1032 to 1. One truncated file in 512 passes; no good one is refused. */
static bool skip_gzip(Bytes *bytes)
{
    Bytes all = *bytes;
    uint32_t unpacked;

    if (bytes->left < 18)
        return false;
    skip(bytes, bytes->left - 4);
    unpacked = le32(bytes->at);
    skip(bytes, 4);
    if (unpacked && unpacked % 512 == 0 && unpacked / 1032 <= all.left)
        return true;
    return inflate_all(&all);
}

/* Archive after archive. An unknown start may be a file system image of old and is the kernel's to judge. */
static bool initrd_complete(Bytes bytes)
{
    static const struct {
        uint8_t magic[6];
        size_t length;
        bool (*skip)(Bytes *bytes);
    } formats[] = {
        {"07070", 5, skip_cpio},
        {{0x1f, 0x8b}, 2, skip_gzip},
        {{0x28, 0xb5, 0x2f, 0xfd}, 4, skip_zstd},
        {{0x02, 0x21, 0x4c, 0x18}, 4, skip_lz4},
        {{0xfd, '7', 'z', 'X', 'Z', 0}, 6, skip_xz},
    };

    while (bytes.left) {
        unsigned i = 0;

        if (bytes.at[0] == 0) { /* padding between archives */
            skip(&bytes, 1);
            continue;
        }
        while (i < G_N_ELEMENTS(formats) && !starts_with(&bytes, formats[i].magic, formats[i].length))
            i++;
        if (i == G_N_ELEMENTS(formats))
            return true;
        if (!formats[i].skip(&bytes))
            return false;
    }
    return true;
}

/* Memory that goes back to the host afterwards, which as much of the heap may not. */
static uint8_t *take_memory(uint64_t size)
{
    void *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return data == MAP_FAILED ? NULL : data;
}

bool vmc_initrd_check(const char *path, uint64_t limit, GError **error)
{
    uint8_t *data = NULL;
    uint64_t size;
    bool ok;
    int fd = vmc_boot_file_open("initrd", path, &size, error);

    if (fd < 0)
        return false;
    if (size <= limit)
        data = take_memory(size);
    if (!data) {
        g_set_error(
            error, VMC_ERROR, VMC_ERROR_IMAGE,
            _("the initrd “%s” is larger than the guest's memory; give the guest more, or a smaller initrd"),
            path);
        close(fd);
        return false;
    }
    /* Read rather than mapped: a file that shrinks meanwhile must not fault. */
    ok = vmc_boot_file_read(fd, "initrd", path, 0, data, size, error);
    close(fd);
    if (ok && !initrd_complete((Bytes){data, size})) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_IMAGE,
                    _("the initrd “%s” is not complete: its end is missing; make or download it again"),
                    path);
        ok = false;
    }
    munmap(data, size);
    return ok;
}
