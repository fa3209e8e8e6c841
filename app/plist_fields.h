/*
 * Settings <-> keys of a property list's dictionary, by tables of VmcField.
 *
 * A field's offset counts from `base`: a VmcDeviceConfig, an EspMachineInfo or whatever the table is for. A
 * plist is written by hand as often as by us, so reading says which key is wrong and what would be right, and
 * converts nothing silently; errors are ESP_BUNDLE_ERROR_FORMAT.
 */
#pragma once

#include <glib.h>
#include <plist/plist.h>
#include <vmcore/config.h>

G_BEGIN_DECLS

/* A string at `key`, or NULL when there is none; free with g_free. */
char *esp_plist_get_string(plist_t dict, const char *key);
/* Sets `key` to a string, or removes it for NULL. */
void esp_plist_set_string(plist_t dict, const char *key, const char *value);
/* Takes `key` away if it is there. */
void esp_plist_remove(plist_t dict, const char *key);
/* The path at `key`, taken from `dir` if it is relative; NULL when there is none. */
char *esp_plist_get_path(plist_t dict, const char *key, const char *dir);
/* Paths below `dir` become relative. */
void esp_plist_set_path(plist_t dict, const char *key, const char *dir, const char *path);
/* A whole number in min..max at `key`. Absent is an error unless `optional`; then *value stays as it is. */
bool esp_plist_get_uint(plist_t dict, const char *key, bool optional, uint64_t min, uint64_t max,
                        uint64_t *value, GError **error);

/* Which of the `n` names it is; -1: none of them. */
int esp_find_name(const char *const *names, size_t n, const char *name);

/* Takes the field's value from `dict` if it is there. The field in `base` must be empty. */
bool esp_plist_read_field(plist_t dict, const char *dir, const VmcField *field, void *base, GError **error);
/* Puts the field's value into `dict`. */
void esp_plist_write_field(plist_t dict, const char *dir, const VmcField *field, const void *base);

/* Always false, with a sentence in `error`. */
bool esp_plist_fail(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

G_END_DECLS
