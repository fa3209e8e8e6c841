/* Made-up firmware: files that have the outside of firmware volumes, and nothing in them that would run. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <glib.h>

#define TINY_CODE_SIZE      (96u * 1024) /* in two volumes */
#define TINY_VARIABLES_SIZE (32u * 1024) /* what goes with it */

static inline void tiny_append_volume(GByteArray *bytes, uint64_t length, uint8_t last)
{
    guint start = bytes->len;
    uint64_t le = GUINT64_TO_LE(length);

    g_byte_array_set_size(bytes, start + (guint)length);
    memset(bytes->data + start, 0xff, length);
    memset(bytes->data + start, 0, 56);
    memcpy(bytes->data + start + 32, &le, 8);
    memcpy(bytes->data + start + 40, "_FVH", 4);
    bytes->data[start + length - 16] = last;
}

static inline void tiny_save_file(const char *path, const void *bytes, size_t size)
{
    GError *error = NULL;

    if (!g_file_set_contents(path, bytes, (gssize)size, &error))
        fail_msg("%s", error->message);
}

static inline void tiny_save_code(const char *path, uint64_t size)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();

    tiny_append_volume(bytes, size * 2 / 3, 0xff);
    tiny_append_volume(bytes, size - size * 2 / 3, 0xe9);
    tiny_save_file(path, bytes->data, bytes->len);
}

static inline void tiny_save_variables(const char *path, uint64_t size, uint8_t mark)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();

    tiny_append_volume(bytes, size, 0xff);
    bytes->data[100] = mark;
    tiny_save_file(path, bytes->data, bytes->len);
}
