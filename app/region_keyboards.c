/* Keyboards (see region.h): the layouts and variants of xkeyboard-config, which every Linux guest knows by
 * name. */
#include "app/region.h"

#include <glib/gi18n.h>
#include <libintl.h>
#include <string.h>

#define RULES  "/usr/share/X11/xkb/rules/evdev.xml"
#define DOMAIN "xkeyboard-config"

static const struct {
    const char *id, *name;
} some[] = {
    {"us", "English (US)"},
    {"gb", "English (UK)"},
    {"de", "German"},
    {"fr", "French"},
    {"es", "Spanish"},
    {"it", "Italian"},
    {"pt", "Portuguese"},
    {"br", "Portuguese (Brazil)"},
    {"ch", "German (Switzerland)"},
    {"pl", "Polish"},
    {"ru", "Russian"},
    {"tr", "Turkish"},
    {"jp", "Japanese"},
    {"kr", "Korean"},
    {"cn", "Chinese"},
};

/* Countries whose layout has another name, and those whose keyboards are of the American kind. */
static const struct {
    const char *locale, *layout;
} usual[] = {
    {"en_US", "us"}, {"en_AU", "us"}, {"en_NZ", "us"}, {"en_ZA", "us"},  {"en_IN", "us"},
    {"en_PH", "us"}, {"en_CA", "us"}, {"en_SG", "us"}, {"en_HK", "us"},  {"nl_NL", "us"},
    {"zh_CN", "us"}, {"zh_TW", "us"}, {"zh_HK", "us"}, {"fr_CA", "ca"},  {"en_IE", "ie"},
    {"es_ES", "es"}, {"ca_ES", "es"}, {"pt_BR", "br"}, {"es_", "latam"}, {"ar_", "ara"},
};

typedef struct Reading {
    GPtrArray *choices;
    const char *layout; /* its variants are wanted; NULL: the layouts */
    int in_layout, in_variant, in_item;
    GString *text;
    char *name, *description, *layout_name;
} Reading;

static void on_start(GMarkupParseContext *context, const char *element, const char **names,
                     const char **values, gpointer data, GError **error)
{
    Reading *reading = data;

    if (!strcmp(element, "layout"))
        reading->in_layout = 1;
    else if (!strcmp(element, "variant"))
        reading->in_variant = 1;
    else if (!strcmp(element, "configItem"))
        reading->in_item = 1;
    g_string_truncate(reading->text, 0);
}

static void on_text(GMarkupParseContext *context, const char *text, gsize n, gpointer data, GError **error)
{
    g_string_append_len(((Reading *)data)->text, text, (gssize)n);
}

static void take_item(Reading *reading)
{
    bool wanted = reading->layout ? reading->in_variant && !g_strcmp0(reading->layout_name, reading->layout)
                                  : !reading->in_variant;

    if (!reading->in_variant) {
        g_free(reading->layout_name);
        reading->layout_name = g_strdup(reading->name);
    }
    if (wanted && reading->in_layout && reading->name && reading->description &&
        esp_region_is_id(reading->name))
        g_ptr_array_add(reading->choices,
                        esp_choice_new(reading->name, dgettext(DOMAIN, reading->description)));
    g_clear_pointer(&reading->name, g_free);
    g_clear_pointer(&reading->description, g_free);
}

static void on_end(GMarkupParseContext *context, const char *element, gpointer data, GError **error)
{
    Reading *reading = data;

    if (reading->in_item && !strcmp(element, "name") && !reading->name)
        reading->name = g_strdup(reading->text->str);
    else if (reading->in_item && !strcmp(element, "description") && !reading->description)
        reading->description = g_strdup(reading->text->str);
    else if (!strcmp(element, "configItem")) {
        take_item(reading);
        reading->in_item = 0;
    } else if (!strcmp(element, "variant")) {
        reading->in_variant = 0;
    } else if (!strcmp(element, "layout")) {
        reading->in_layout = 0;
    }
}

static GPtrArray *read_rules(const char *layout)
{
    const GMarkupParser parser = {.start_element = on_start, .end_element = on_end, .text = on_text};
    Reading reading = {.choices = esp_choices_new(), .layout = layout, .text = g_string_new(NULL)};
    g_autofree char *text = NULL;
    gsize length;

    bind_textdomain_codeset(DOMAIN, "UTF-8");
    if (g_file_get_contents(RULES, &text, &length, NULL)) {
        GMarkupParseContext *context = g_markup_parse_context_new(&parser, 0, &reading, NULL);
        if (!g_markup_parse_context_parse(context, text, (gssize)length, NULL))
            g_debug("%s cannot be read to its end", RULES);
        g_markup_parse_context_free(context);
    }
    g_string_free(reading.text, TRUE);
    g_free(reading.name);
    g_free(reading.description);
    g_free(reading.layout_name);
    esp_choices_sort(reading.choices);
    return reading.choices;
}

GPtrArray *esp_keyboard_layouts(void)
{
    GPtrArray *layouts = read_rules(NULL);

    if (!layouts->len)
        for (size_t i = 0; i < G_N_ELEMENTS(some); i++)
            g_ptr_array_add(layouts, esp_choice_new(some[i].id, some[i].name));
    return layouts;
}

GPtrArray *esp_keyboard_variants(const char *layout)
{
    GPtrArray *variants = read_rules(layout);

    /* Translators: of a keyboard layout, the form that has no name of its own. */
    g_ptr_array_insert(variants, 0, esp_choice_new("", _("Standard")));
    return variants;
}

static VmcKeyboardLayout type_of(const char *layout)
{
    static const char *const ansi[] = {"us", "cn", "tw", "kr", "th", "in", "ph", "vn", "ca"};

    if (!strcmp(layout, "jp"))
        return VMC_KEYBOARD_JIS;
    for (size_t i = 0; i < G_N_ELEMENTS(ansi); i++)
        if (!strcmp(layout, ansi[i]))
            return VMC_KEYBOARD_ANSI;
    return VMC_KEYBOARD_ISO;
}

const char *esp_keyboard_for_locale(const char *locale, VmcKeyboardLayout *type)
{
    g_autofree char *language = NULL, *region = NULL;
    const char *layout = NULL;

    esp_locale_split(locale, &language, &region);
    for (size_t i = 0; language && region && !layout && i < G_N_ELEMENTS(usual); i++)
        if (g_str_has_prefix(locale, usual[i].locale))
            layout = usual[i].layout;
    if (!layout && region) {
        g_autofree char *lower = g_ascii_strdown(region, -1);
        layout = g_intern_string(lower); /* xkb calls its layouts by countries */
    }
    if (!layout)
        layout = "us";
    if (type)
        *type = type_of(layout);
    return layout;
}
