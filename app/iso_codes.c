/*
 * Names of languages and countries (see iso_codes.h).
 *
 * The lists are XML in which each entry is one element with attributes; the translations are gettext
 * catalogues of the lists' names.
 */
#include "app/iso_codes.h"

#include <libintl.h>
#include <string.h>

#define FOLDER "/usr/share/xml/iso-codes"

typedef struct List {
    const char *file, *domain, *element, *codes[2], *names[2];
} List;

typedef struct Reading {
    const List *list;
    GHashTable *table;
} Reading;

static const List languages = {"iso_639-2.xml",
                               "iso_639-2",
                               "iso_639_entry",
                               {"iso_639_1_code", "iso_639_2T_code"},
                               {"common_name", "name"}};
static const List countries = {
    "iso_3166-1.xml", "iso_3166-1", "iso_3166_entry", {"alpha_2_code", NULL}, {"common_name", "name"}};

static const char *attribute(const char **names, const char **values, const char *name)
{
    for (; name && *names; names++, values++)
        if (!strcmp(*names, name))
            return *values;
    return NULL;
}

static void on_element(GMarkupParseContext *context, const char *element, const char **names,
                       const char **values, gpointer data, GError **error)
{
    Reading *reading = data;
    const List *list = reading->list;

    if (strcmp(element, list->element))
        return;
    const char *name = attribute(names, values, list->names[0]);
    if (!name)
        name = attribute(names, values, list->names[1]);
    if (!name || !*name)
        return;
    const char *translated = dgettext(list->domain, name);
    /* "Spanish; Castilian": one is enough to know it by. */
    g_autofree char *shown = g_strndup(translated, strcspn(translated, ";"));
    for (size_t i = 0; i < G_N_ELEMENTS(list->codes); i++) {
        const char *code = attribute(names, values, list->codes[i]);
        if (code && *code)
            g_hash_table_insert(reading->table, g_strdup(code), g_strdup(shown));
    }
}

static GHashTable *read_list(const List *list)
{
    const GMarkupParser parser = {.start_element = on_element};
    Reading reading = {list, g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free)};
    g_autofree char *path = g_build_filename(FOLDER, list->file, NULL);
    g_autofree char *text = NULL;
    gsize length;

    bind_textdomain_codeset(list->domain, "UTF-8");
    if (g_file_get_contents(path, &text, &length, NULL)) {
        GMarkupParseContext *context = g_markup_parse_context_new(&parser, 0, &reading, NULL);
        if (!g_markup_parse_context_parse(context, text, (gssize)length, NULL))
            g_debug("%s cannot be read to its end", path);
        g_markup_parse_context_free(context);
    }
    return reading.table;
}

GHashTable *esp_iso_languages(void)
{
    return read_list(&languages);
}

GHashTable *esp_iso_countries(void)
{
    return read_list(&countries);
}
