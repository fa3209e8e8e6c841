/* Items of vfkit's grammar (see vfkit_items.h). */
#include "app/vfkit_items.h"

#include <glib/gi18n.h>
#include <string.h>
#include <vmcore/error.h>

bool esp_items_fail(GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (error)
        *error = g_error_new_valist(VMC_ERROR, VMC_ERROR_CONFIG, format, args);
    va_end(args);
    return false;
}

static void item_free(gpointer data)
{
    EspItem *item = data;

    g_free(item->name);
    g_free(item->value);
    g_free(item);
}

/* From the opening quote at *at to behind the closing one. NULL: there is none. */
static char *take_quoted(const char **at)
{
    GString *text = g_string_new(NULL);
    char quote = *(*at)++;

    while (**at && **at != quote) {
        if (**at == '\\' && ((*at)[1] == quote || (*at)[1] == '\\'))
            (*at)++;
        g_string_append_c(text, *(*at)++);
    }
    if (!**at) {
        g_string_free(text, TRUE);
        return NULL;
    }
    (*at)++;
    return g_string_free(text, FALSE);
}

static bool is_quote(char c)
{
    return c == '"' || c == '\'';
}

/* Splits "name=value", of which the value may contain more of them. */
static void split_item(EspItem *item, const char *text)
{
    const char *equals = strchr(text, '=');

    item->name = equals ? g_strndup(text, (gsize)(equals - text)) : g_strdup(text);
    item->value = equals ? g_strdup(equals + 1) : NULL;
}

static EspItem *next_item(const char **at)
{
    EspItem *item = g_new0(EspItem, 1);
    const char *start = *at;
    g_autofree char *text = NULL;
    size_t name;

    if (is_quote(*start)) { /* all of it: "cmdline=..." */
        item->quoted = true;
        text = take_quoted(at);
        if (text)
            split_item(item, text);
        return item;
    }
    name = strcspn(start, "=,");
    if (start[name] == '=' && is_quote(start[name + 1])) {
        item->quoted = true;
        *at = start + name + 1;
        item->name = g_strndup(start, name);
        item->value = take_quoted(at);
        return item;
    }
    *at = start + strcspn(start, ",");
    text = g_strndup(start, (gsize)(*at - start));
    split_item(item, text);
    return item;
}

GPtrArray *esp_items_split(const char *option, const char *text, GError **error)
{
    g_autoptr(GPtrArray) items = g_ptr_array_new_with_free_func(item_free);
    const char *at = text;

    for (;;) {
        EspItem *item = next_item(&at);

        g_ptr_array_add(items, item);
        if (item->quoted && (!item->name || !item->value)) {
            esp_items_fail(
                error,
                _("--%s: a quoted part of “%s” has no closing quote or no name; write it as name=\"value\""),
                option, text);
            return NULL;
        }
        if (*at && *at != ',') {
            esp_items_fail(error, _("--%s: there is “%s” right behind a closing quote; put a comma between"),
                           option, at);
            return NULL;
        }
        if (!*item->name) {
            esp_items_fail(error, _("--%s: there is an empty item in “%s”; remove a comma"), option, text);
            return NULL;
        }
        if (!*at)
            return g_steal_pointer(&items);
        at++;
    }
}

bool esp_items_number(const char *what, const char *text, uint64_t max, uint64_t *value, GError **error)
{
    g_autoptr(GError) fault = NULL;
    guint64 number = 0;

    *value = 0;
    if (g_ascii_string_to_unsigned(text, 10, 0, max, &number, &fault)) {
        *value = number;
        return true;
    }
    if (g_error_matches(fault, G_NUMBER_PARSER_ERROR, G_NUMBER_PARSER_ERROR_OUT_OF_BOUNDS))
        return esp_items_fail(error, _("%s cannot be as much as %s; give a smaller number"), what, text);
    return esp_items_fail(error, _("%s takes a whole number, not “%s”"), what, text);
}
