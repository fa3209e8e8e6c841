/* Choices, and what this computer is set to (see region.h). */
#include "app/region.h"

#include <string.h>

#define SMALL_FILE_MAX 65536u

EspChoice *esp_choice_new(const char *id, const char *name)
{
    EspChoice *choice = g_new0(EspChoice, 1);

    choice->id = g_strdup(id);
    choice->name = g_strdup(name);
    return choice;
}

static void choice_free(gpointer data)
{
    EspChoice *choice = data;

    g_free(choice->id);
    g_free(choice->name);
    g_free(choice);
}

GPtrArray *esp_choices_new(void)
{
    return g_ptr_array_new_with_free_func(choice_free);
}

static int by_name(gconstpointer a, gconstpointer b)
{
    const EspChoice *x = *(EspChoice *const *)a, *y = *(EspChoice *const *)b;
    int order = g_utf8_collate(x->name, y->name);

    return order ? order : strcmp(x->id, y->id);
}

void esp_choices_sort(GPtrArray *choices)
{
    g_ptr_array_sort(choices, by_name);
}

const EspChoice *esp_choices_find(GPtrArray *choices, const char *id)
{
    for (guint i = 0; id && i < choices->len; i++) {
        const EspChoice *choice = choices->pdata[i];
        if (!strcmp(choice->id, id))
            return choice;
    }
    return NULL;
}

gboolean esp_region_is_id(const char *text)
{
    for (const char *p = text; *p; p++)
        if (!g_ascii_isalnum(*p) && !strchr("_-+/.@", *p))
            return FALSE;
    return *text && strlen(text) < 64 && !strstr(text, "..");
}

/* ---- this computer ---- */

static char *locale_of_host(void)
{
    static const char *const variables[] = {"LC_ALL", "LC_MESSAGES", "LANG"};

    for (size_t i = 0; i < G_N_ELEMENTS(variables); i++) {
        const char *value = g_getenv(variables[i]);
        g_autofree char *language = NULL, *region = NULL;
        if (!value || !*value)
            continue;
        esp_locale_split(value, &language, &region);
        if (language && region)
            return esp_locale_join(language, region);
        break; /* the first that is set is the one that counts; "C" is nobody's language */
    }
    return g_strdup("en_US.UTF-8");
}

/* The value of KEY in a file of shell assignments, of several layouts the first. */
static char *assigned(const char *file, const char *key)
{
    g_autofree char *text = NULL;
    gsize length;

    if (!g_file_get_contents(file, &text, &length, NULL) || length > SMALL_FILE_MAX)
        return NULL;
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        char *value =
            g_str_has_prefix(*line, key) && (*line)[strlen(key)] == '=' ? *line + strlen(key) + 1 : NULL;
        if (!value)
            continue;
        g_autofree char *word = g_strndup(value, strcspn(value, "#"));
        g_strdelimit(word, "\"'", ' ');
        g_strstrip(word);
        word[strcspn(word, ",")] = '\0';
        return esp_region_is_id(word) ? g_steal_pointer(&word) : NULL;
    }
    return NULL;
}

static char *zone_of_host(void)
{
    g_autoptr(GTimeZone) zone = g_time_zone_new_local();
    const char *id = g_time_zone_get_identifier(zone);

    /* "/etc/localtime" or "UTC0" and their like are no zones that a guest could be told. */
    if (id && strchr(id, '/') && esp_region_is_id(id) && *id != '/')
        return g_strdup(id);
    g_autofree char *name = NULL;
    if (!g_file_get_contents("/etc/timezone", &name, NULL, NULL))
        return NULL;
    g_strstrip(name);
    return esp_region_is_id(name) ? g_steal_pointer(&name) : NULL;
}

void esp_region_of_host(EspRegion *region, VmcKeyboardLayout *type)
{
    region->locale = locale_of_host();
    const char *usual = esp_keyboard_for_locale(region->locale, type);
    region->keyboard_layout = assigned("/etc/default/keyboard", "XKBLAYOUT");
    if (region->keyboard_layout)
        region->keyboard_variant = assigned("/etc/default/keyboard", "XKBVARIANT");
    else
        region->keyboard_layout = assigned("/etc/vconsole.conf", "XKBLAYOUT");
    if (!region->keyboard_layout)
        region->keyboard_layout = g_strdup(usual);
    region->time_zone = zone_of_host();
    if (!region->time_zone)
        region->time_zone = g_strdup("Etc/UTC");
}
