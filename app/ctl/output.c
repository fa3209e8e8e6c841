/* Tables and JSON (see output.h). */
#include "app/ctl/output.h"

#include <glib/gi18n.h>
#include <stdio.h>
#include <string.h>

#include "app/words.h"

#define GAP "  "

static char *plain(JsonObject *object, const char *member)
{
    JsonNode *node = json_object_get_member(object, member);

    if (JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_STRING)
        return json_node_dup_string(node);
    if (JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_INT64)
        return g_strdup_printf("%" G_GINT64_FORMAT, json_node_get_int(node));
    return json_to_string(node, FALSE);
}

char *esp_output_bytes(JsonObject *object, const char *member)
{
    return g_format_size_full((guint64)json_object_get_int_member(object, member), G_FORMAT_SIZE_IEC_UNITS);
}

char *esp_output_percent(JsonObject *object, const char *member)
{
    /* Translators: how much of one CPU is in use; your language may want no blank. */
    return g_strdup_printf(_("%.0f %%"), json_object_get_double_member(object, member) * 100);
}

/* What a terminal must not be told by a name somebody else chose: no control characters. */
static char *cell(JsonObject *object, const EspColumn *column)
{
    if (!json_object_has_member(object, column->member) ||
        JSON_NODE_HOLDS_NULL(json_object_get_member(object, column->member)))
        return g_strdup("");
    char *text = (column->text ? column->text : plain)(object, column->member);
    for (char *p = text, *next; *p; p = next) {
        next = g_utf8_next_char(p);
        if (g_unichar_iscntrl(g_utf8_get_char(p)))
            memset(p, ' ', (size_t)(next - p));
    }
    return text;
}

void esp_output_cell(const char *text, int width)
{
    printf("%s%*s", text, MAX(width - esp_text_width(text), 0), "");
}

void esp_output_table(JsonArray *array, const EspColumn *columns, unsigned n)
{
    guint rows = json_array_get_length(array);
    g_autofree int *widths = g_new0(int, n);

    if (!rows)
        return;
    for (unsigned c = 0; c < n; c++) {
        widths[c] = esp_text_width(_(columns[c].title));
        for (guint r = 0; r < rows; r++) {
            g_autofree char *text = cell(json_array_get_object_element(array, r), &columns[c]);
            widths[c] = MAX(widths[c], esp_text_width(text));
        }
    }
    for (unsigned c = 0; c < n; c++) {
        esp_output_cell(_(columns[c].title), c + 1 < n ? widths[c] : 0);
        fputs(c + 1 < n ? GAP : "\n", stdout);
    }
    for (guint r = 0; r < rows; r++)
        for (unsigned c = 0; c < n; c++) {
            g_autofree char *text = cell(json_array_get_object_element(array, r), &columns[c]);
            esp_output_cell(text, c + 1 < n ? widths[c] : 0);
            fputs(c + 1 < n ? GAP : "\n", stdout);
        }
}

void esp_output_lines(JsonObject *object, const EspColumn *columns, unsigned n)
{
    int width = 0;

    for (unsigned c = 0; c < n; c++)
        width = MAX(width, esp_text_width(_(columns[c].title)));
    for (unsigned c = 0; c < n; c++) {
        g_autofree char *text = cell(object, &columns[c]);
        if (!*text)
            continue;
        esp_output_cell(_(columns[c].title), width);
        printf(GAP "%s\n", text);
    }
}

void esp_output_json(JsonNode *node)
{
    g_autofree char *text = json_to_string(node, TRUE);

    printf("%s\n", text);
    json_node_unref(node);
}
