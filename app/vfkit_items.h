/*
 * vfkit's items: "virtio-blk,path=/a b,readonly" taken apart.
 *
 * An item is NAME or NAME=VALUE. A value, or a whole item, may stand in single or double quotes; commas
 * inside belong to it, and a backslash keeps the next quote or backslash from being special.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

G_BEGIN_DECLS

typedef struct EspItem {
    char *name;
    char *value; /* NULL: there was no '=' */
    bool quoted;
} EspItem;

/* All items of a text, in order, at least one; NULL with VMC_ERROR_CONFIG set. `option` is for messages. Free
 * with g_ptr_array_unref. */
GPtrArray *esp_items_split(const char *option, const char *text, GError **error);

/* A whole number of at most `max`; `what` is for messages. */
bool esp_items_number(const char *what, const char *text, uint64_t max, uint64_t *value, GError **error);

/* Sets VMC_ERROR_CONFIG and returns false. */
bool esp_items_fail(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

G_END_DECLS
