/* Settings and property lists (see plist_fields.h). */
#include "app/plist_fields.h"

#include <glib/gi18n.h>
#include <inttypes.h>
#include <string.h>

#include "app/bundle.h"

#define LIST_MAX 64u

bool esp_plist_fail(GError **error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *message = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FORMAT, "%s", message);
    return false;
}

char *esp_plist_get_string(plist_t dict, const char *key)
{
    plist_t node = plist_dict_get_item(dict, key);
    if (!node || plist_get_node_type(node) != PLIST_STRING)
        return NULL;
    uint64_t length = 0;
    const char *text = plist_get_string_ptr(node, &length);
    return text ? g_strndup(text, length) : NULL;
}

void esp_plist_set_string(plist_t dict, const char *key, const char *value)
{
    if (value)
        plist_dict_set_item(dict, key, plist_new_string(value));
    else if (plist_dict_get_item(dict, key))
        plist_dict_remove_item(dict, key);
}

void esp_plist_remove(plist_t dict, const char *key)
{
    if (plist_dict_get_item(dict, key))
        plist_dict_remove_item(dict, key);
}

/* A whole number in min..max at `key`; absent is an error unless *value is to stay as it is (`optional`). */
bool esp_plist_get_uint(plist_t dict, const char *key, bool optional, uint64_t min, uint64_t max,
                        uint64_t *value, GError **error)
{
    plist_t node = plist_dict_get_item(dict, key);
    if (!node) {
        return optional || esp_plist_fail(error, _("%s is missing; it should be a whole number."), key);
    }
    uint64_t number = 0;
    if (plist_get_node_type(node) == PLIST_UINT)
        plist_get_uint_val(node, &number);
    else
        return esp_plist_fail(error, _("%s should be a whole number."), key);
    if (number < min || number > max)
        return esp_plist_fail(error,
                              _("%s is %" PRIu64 "; it should be between %" PRIu64 " and %" PRIu64 "."), key,
                              number, min, max);
    *value = number;
    return true;
}

int esp_find_name(const char *const *names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (name && !strcmp(names[i], name))
            return (int)i;
    return -1;
}

char *esp_plist_get_path(plist_t dict, const char *key, const char *dir)
{
    g_autofree char *path = esp_plist_get_string(dict, key);
    return path && *path ? g_canonicalize_filename(path, dir) : NULL;
}

void esp_plist_set_path(plist_t dict, const char *key, const char *dir, const char *path)
{
    size_t n = strlen(dir);
    if (path && !strncmp(path, dir, n) && path[n] == '/')
        path += n + 1;
    esp_plist_set_string(dict, key, path);
}

static bool wrong_type(const VmcField *field, const char *wanted, GError **error)
{
    return esp_plist_fail(error, _("%s should be %s."), field->key, wanted);
}

static bool read_list(plist_t node, const VmcField *field, char ***list, GError **error)
{
    uint32_t n = plist_get_node_type(node) == PLIST_ARRAY ? plist_array_get_size(node) : 0;

    if (plist_get_node_type(node) != PLIST_ARRAY || n > LIST_MAX)
        return wrong_type(field, _("an array of a few texts"), error);
    *list = g_new0(char *, n + 1);
    for (uint32_t i = 0; i < n; i++) {
        plist_t item = plist_array_get_item(node, i);
        char *text = NULL;

        if (plist_get_node_type(item) != PLIST_STRING)
            return wrong_type(field, _("an array of a few texts"), error);
        plist_get_string_val(item, &text);
        (*list)[i] = g_strdup(text);
        free(text);
    }
    return true;
}

static bool read_choice(const char *word, const VmcField *field, int *value, GError **error)
{
    g_autofree char *words = g_strjoinv(", ", (char **)field->choices);

    *value = esp_find_name(field->choices, g_strv_length((char **)field->choices), word);
    return *value >= 0 ||
           esp_plist_fail(error, _("%s is “%s”; it should be one of %s."), field->key, word, words);
}

/* Takes the value of a field from `dict` if it is there. */
bool esp_plist_read_field(plist_t dict, const char *dir, const VmcField *field, void *base, GError **error)
{
    plist_t node = field->key ? plist_dict_get_item(dict, field->key) : NULL;
    void *at = (char *)base + field->offset;
    uint64_t number = 0;
    uint8_t flag = 0;

    if (!node)
        return true;
    g_autofree char *text = esp_plist_get_string(dict, field->key);
    switch (field->type) {
    case VMC_FIELD_STRING:
        *(char **)at = g_steal_pointer(&text);
        return true;
    case VMC_FIELD_PATH:
        *(char **)at = esp_plist_get_path(dict, field->key, dir);
        return true;
    case VMC_FIELD_FLAG:
        if (plist_get_node_type(node) != PLIST_BOOLEAN)
            return wrong_type(field, _("true or false"), error);
        plist_get_bool_val(node, &flag);
        *(bool *)at = flag;
        return true;
    case VMC_FIELD_NUMBER:
        if (!esp_plist_get_uint(dict, field->key, true, 0, UINT32_MAX, &number, error))
            return false;
        *(unsigned *)at = (unsigned)number;
        return true;
    case VMC_FIELD_SIZE: /* in MiB, as a person would write it */
        if (!esp_plist_get_uint(dict, field->key, true, 0, UINT64_MAX >> 20, &number, error))
            return false;
        *(uint64_t *)at = number << 20;
        return true;
    case VMC_FIELD_CHOICE:
        return read_choice(text ? text : "", field, at, error);
    case VMC_FIELD_LIST:
        return read_list(node, field, at, error);
    case VMC_FIELD_FD:
    case VMC_FIELD_STDIO:
        break;
    }
    return true;
}

static plist_t list_to_plist(char *const *list)
{
    plist_t array = plist_new_array();

    for (; list && *list; list++)
        plist_array_append_item(array, plist_new_string(*list));
    return array;
}

void esp_plist_write_field(plist_t dict, const char *dir, const VmcField *field, const void *base)
{
    const void *at = (const char *)base + field->offset;

    if (!field->key)
        return;
    switch (field->type) {
    case VMC_FIELD_STRING:
        esp_plist_set_string(dict, field->key, *(char *const *)at);
        break;
    case VMC_FIELD_PATH:
        esp_plist_set_path(dict, field->key, dir, *(char *const *)at);
        break;
    case VMC_FIELD_FLAG:
        plist_dict_set_item(dict, field->key, plist_new_bool(*(const bool *)at));
        break;
    case VMC_FIELD_NUMBER:
        plist_dict_set_item(dict, field->key, plist_new_uint(*(const unsigned *)at));
        break;
    case VMC_FIELD_SIZE:
        plist_dict_set_item(dict, field->key, plist_new_uint(*(const uint64_t *)at >> 20));
        break;
    case VMC_FIELD_CHOICE:
        plist_dict_set_item(dict, field->key, plist_new_string(field->choices[*(const unsigned *)at]));
        break;
    case VMC_FIELD_LIST:
        plist_dict_set_item(dict, field->key, list_to_plist(*(char *const *const *)at));
        break;
    case VMC_FIELD_FD:
    case VMC_FIELD_STDIO:
        break;
    }
}
