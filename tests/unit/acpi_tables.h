/*
 * ACPI tables for tests: found as an operating system finds them, from the RSDP on, wherever they lie, and
 * shown to Intel's own compiler.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <glib.h>

#include "folder.h"
#include "pc/acpi.h"
#include "pc/board.h"

typedef struct Tables {
    uint64_t rsdp, base;   /* addresses of the RSDP and of `blob` */
    GByteArray *blob;      /* the tables; the RSDP too, unless that is elsewhere */
    GByteArray *rsdp_blob; /* then it is here, or NULL */
    char *folder;          /* for iasl */
} Tables;

static inline Tables *tables_new(void)
{
    Tables *t = g_new0(Tables, 1);

    t->folder = g_dir_make_tmp("acpi-XXXXXX", NULL);
    return t;
}

static inline void tables_free(Tables *t)
{
    remove_folder(t->folder);
    g_free(t->folder);
    g_clear_pointer(&t->blob, g_byte_array_unref);
    g_clear_pointer(&t->rsdp_blob, g_byte_array_unref);
    g_free(t);
}

/* Where `size` bytes of guest memory are; they must be in a table. */
static inline const uint8_t *bytes_at(const Tables *t, uint64_t address, unsigned size)
{
    const GByteArray *blob = t->blob;
    uint64_t base = t->base;

    if (t->rsdp_blob && address >= t->rsdp && address < t->rsdp + t->rsdp_blob->len) {
        blob = t->rsdp_blob;
        base = t->rsdp;
    }
    if (address < base || blob->len < size || address - base > blob->len - size)
        fail_msg("%#lx is in no table", (unsigned long)address);
    return blob->data + (address - base);
}

static inline uint64_t get(const Tables *t, uint64_t address, unsigned size)
{
    uint64_t value = 0;

    memcpy(&value, bytes_at(t, address, size), size);
    return value;
}

static inline const uint8_t *at(const Tables *t, uint64_t address)
{
    return bytes_at(t, address, 1);
}

static inline uint8_t sum(const Tables *t, uint64_t address, uint64_t length)
{
    uint8_t total = 0;

    for (uint64_t i = 0; i < length; i++)
        total += *at(t, address + i);
    return total;
}

/* The table with this signature, by way of RSDP and XSDT (and FADT for the DSDT). */
static inline uint64_t find(const Tables *t, const char *signature)
{
    uint64_t xsdt = get(t, t->rsdp + 24, 8);

    assert_memory_equal(bytes_at(t, xsdt, 4), "XSDT", 4);
    for (uint64_t entry = xsdt + 36; entry < xsdt + get(t, xsdt + 4, 4); entry += 8) {
        uint64_t table = get(t, entry, 8);
        if (!memcmp(bytes_at(t, table, 4), signature, 4))
            return table;
        if (!memcmp(at(t, table), "FACP", 4) && !memcmp(bytes_at(t, get(t, table + 140, 8), 4), signature, 4))
            return get(t, table + 140, 8);
    }
    return 0;
}

static inline char *run_iasl(const Tables *t, const char *option, const char *file)
{
    const char *argv[] = {"iasl", option, file, NULL};
    char *out = NULL, *err = NULL;
    int status = 0;
    GError *error = NULL;
    g_spawn_sync(t->folder, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &out, &err, &status,
                 &error);
    assert_null(error);
    char *all = g_strconcat(out, err, NULL);
    g_free(out);
    g_free(err);
    if (status != 0)
        print_error("%s", all);
    assert_int_equal(status, 0);
    return all;
}

/* Disassembles a table and compiles what came out; returns the source. */
static inline char *round_trip(const Tables *t, const char *signature)
{
    uint64_t table = find(t, signature);
    char *binary = g_strdup_printf("%s/%s.dat", t->folder, signature);
    char *source = g_strdup_printf("%s/%s.dsl", t->folder, signature), *text = NULL;
    assert_true(g_file_set_contents(binary, (const char *)bytes_at(t, table, (unsigned)get(t, table + 4, 4)),
                                    (gssize)get(t, table + 4, 4), NULL));
    g_free(run_iasl(t, "-d", binary));
    char *said = run_iasl(t, "-tc", source);
    assert_non_null(strstr(said, "0 Errors, 0 Warnings"));
    g_free(said);
    assert_true(g_file_get_contents(source, &text, NULL, NULL));
    assert_null(strstr(text, "nvalid")); /* how iasl marks what it could not make sense of */
    g_free(binary);
    g_free(source);
    return text;
}
