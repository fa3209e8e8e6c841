/*
 * Kernels of a few instructions, in real bzImage files: what a test wants a guest to do, without waiting for
 * Linux.
 *
 * The code starts in 64-bit mode with the memory below 4 GiB mapped one to one, no interrupts and no IDT: an
 * undefined instruction is a triple fault.
 */
#pragma once

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <glib.h>
#include <glib/gstdio.h>

#define TINY_SETUP  (2 * 512) /* boot sector and one setup sector */
#define TINY_LOAD   0x100000u
#define TINY_MEMORY 0x10000u

typedef struct TinyCode {
    uint8_t bytes[2048];
    size_t n;
} TinyCode;

static inline void tiny_emit(TinyCode *code, const void *bytes, size_t n)
{
    assert_true(code->n + n <= sizeof code->bytes);
    memcpy(code->bytes + code->n, bytes, n);
    code->n += n;
}

#define TINY(code, ...)                                                                                      \
    tiny_emit(code, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static inline void tiny_out(TinyCode *code, uint16_t port, uint8_t value)
{
    TINY(code, 0x66, 0xba, port & 0xff, port >> 8); /* mov $port, %dx */
    TINY(code, 0xb0, value, 0xee);                  /* mov $value, %al; out %al, %dx */
}

/* To COM1. */
static inline void tiny_print(TinyCode *code, const char *text)
{
    for (; *text; text++)
        tiny_out(code, 0x3f8, (uint8_t)*text);
}

/* S5 through PM1a_CNT: SLP_TYP 7, SLP_EN. */
static inline void tiny_power_off(TinyCode *code)
{
    TINY(code, 0x66, 0xba, 0x04, 0x06);             /* mov $0x604, %dx */
    TINY(code, 0x66, 0xb8, 0x00, 0x3c, 0x66, 0xef); /* mov $0x3c00, %ax; out %ax, %dx */
    TINY(code, 0xf4, 0xeb, 0xfd);                   /* hlt; jmp to it */
}

static inline void tiny_reset(TinyCode *code)
{
    tiny_out(code, 0xcf9, 6);
    TINY(code, 0xf4, 0xeb, 0xfd);
}

static inline void tiny_triple_fault(TinyCode *code)
{
    TINY(code, 0x0f, 0x0b); /* ud2 */
}

/* Counts in memory for ever: 64 bits at 0x60000. */
static inline void tiny_count(TinyCode *code)
{
    TINY(code, 0x48, 0xff, 0x04, 0x25, 0x00, 0x00, 0x06, 0x00, 0xeb, 0xf6);
}

/* Adds one to the byte at 0x50000, and goes on behind `skip` bytes when it has reached `n`. */
static inline void tiny_unless_boots(TinyCode *code, uint8_t n, uint8_t skip)
{
    TINY(code, 0xfe, 0x04, 0x25, 0x00, 0x00, 0x05, 0x00);    /* incb 0x50000 */
    TINY(code, 0x80, 0x3c, 0x25, 0x00, 0x00, 0x05, 0x00, n); /* cmpb $n, 0x50000 */
    TINY(code, 0x73, skip);                                  /* jae */
}

static inline void tiny_put(uint8_t *file, unsigned offset, uint64_t value, unsigned size)
{
    for (unsigned i = 0; i < size; i++)
        file[offset + i] = (uint8_t)(value >> (8 * i));
}

static inline void tiny_write_file(const char *path, const void *data, size_t size)
{
    assert_true(g_file_set_contents(path, data, (gssize)size, NULL));
}

/* The setup header of boot protocol 2.12 and the code at the 64-bit entry. */
static inline size_t tiny_image(const TinyCode *code, uint8_t file[8192])
{
    size_t payload = (0x200 + code->n + 15) & ~(size_t)15;

    memset(file, 0, 8192);
    file[0x1f1] = 1;
    tiny_put(file, 0x1f4, payload / 16, 4);
    tiny_put(file, 0x1fe, 0xaa55, 2);
    file[0x200] = 0xeb;
    file[0x201] = 0x66;
    memcpy(file + 0x202, "HdrS", 4);
    tiny_put(file, 0x206, 0x20c, 2);
    file[0x211] = 1; /* loaded high */
    tiny_put(file, 0x22c, 0x7fffffff, 4);
    tiny_put(file, 0x236, 1, 2); /* has a 64-bit entry */
    tiny_put(file, 0x238, 255, 4);
    tiny_put(file, 0x258, TINY_LOAD, 8);
    tiny_put(file, 0x260, TINY_MEMORY, 4);
    memcpy(file + TINY_SETUP + 0x200, code->bytes, code->n);
    return TINY_SETUP + payload;
}

/* Writes it to dir/name and returns that path. */
static inline char *tiny_kernel(const char *dir, const char *name, const TinyCode *code)
{
    char *path = g_build_filename(dir, name, NULL);
    uint8_t file[8192];
    size_t size = tiny_image(code, file);

    tiny_write_file(path, file, size);
    return path;
}

/* A folder for one test's files. */
static inline char *tiny_dir(void)
{
    char *dir = g_dir_make_tmp("espalier-test-XXXXXX", NULL);

    assert_non_null(dir);
    return dir;
}

/* Removes it and the files in it, and frees the name. */
static inline void tiny_dir_remove(char *dir)
{
    GDir *entries = g_dir_open(dir, 0, NULL);
    const char *name;

    while (entries && (name = g_dir_read_name(entries))) {
        g_autofree char *path = g_build_filename(dir, name, NULL);

        g_remove(path);
    }
    if (entries)
        g_dir_close(entries);
    assert_int_equal(g_rmdir(dir), 0);
    g_free(dir);
}
