/* Languages and regions (see region.h): the pairs that glibc has locales for, named by iso-codes. */
#include "app/region.h"

#include <string.h>

#include "app/iso_codes.h"

#define SUPPORTED "/usr/share/i18n/SUPPORTED"
#define SOURCES   "/usr/share/i18n/locales"

/* Where the system has no list of locales. */
static const char *const some[] = {
    "ar_EG", "bg_BG", "ca_ES", "cs_CZ", "da_DK", "de_AT", "de_CH", "de_DE", "el_GR", "en_AU",
    "en_CA", "en_GB", "en_IE", "en_IN", "en_NZ", "en_US", "en_ZA", "es_AR", "es_CL", "es_CO",
    "es_ES", "es_MX", "et_EE", "fa_IR", "fi_FI", "fr_BE", "fr_CA", "fr_CH", "fr_FR", "he_IL",
    "hi_IN", "hr_HR", "hu_HU", "id_ID", "is_IS", "it_CH", "it_IT", "ja_JP", "ko_KR", "lt_LT",
    "lv_LV", "nb_NO", "nl_BE", "nl_NL", "pl_PL", "pt_BR", "pt_PT", "ro_RO", "ru_RU", "sk_SK",
    "sl_SI", "sr_RS", "sv_SE", "th_TH", "tr_TR", "uk_UA", "vi_VN", "zh_CN", "zh_HK", "zh_TW",
};

void esp_locale_split(const char *locale, char **language, char **region)
{
    size_t n = strcspn(locale, "_.@");
    const char *rest = locale + n;

    *language = n >= 2 && n <= 3 ? g_strndup(locale, n) : NULL;
    *region = *language && *rest == '_' ? g_strndup(rest + 1, strcspn(rest + 1, ".@")) : NULL;
    if (*region && (strlen(*region) != 2 || !g_ascii_isupper(**region)))
        g_clear_pointer(region, g_free);
    if (*language && (!g_ascii_islower((*language)[0]) || !g_ascii_islower((*language)[1])))
        g_clear_pointer(language, g_free);
}

char *esp_locale_join(const char *language, const char *region)
{
    return g_strdup_printf("%s_%s.UTF-8", language, region);
}

/* Calls `take` with each pair that there is, some of them more than once. */
typedef void (*TakePair)(const char *language, const char *region, gpointer data);

static void give(const char *locale, TakePair take, gpointer data)
{
    g_autofree char *language = NULL, *region = NULL;

    if (strchr(locale, '@'))
        return;
    esp_locale_split(locale, &language, &region);
    if (language && region)
        take(language, region, data);
}

static bool give_supported(TakePair take, gpointer data)
{
    g_autofree char *text = NULL;

    if (!g_file_get_contents(SUPPORTED, &text, NULL, NULL))
        return false;
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++)
        if (g_str_has_suffix(*line, " UTF-8")) {
            (*line)[strcspn(*line, " ")] = '\0';
            give(*line, take, data);
        }
    return true;
}

static bool give_sources(TakePair take, gpointer data)
{
    GDir *dir = g_dir_open(SOURCES, 0, NULL);
    const char *entry;

    if (!dir)
        return false;
    while ((entry = g_dir_read_name(dir)))
        give(entry, take, data);
    g_dir_close(dir);
    return true;
}

static void give_all(TakePair take, gpointer data)
{
    if (give_supported(take, data) || give_sources(take, data))
        return;
    for (size_t i = 0; i < G_N_ELEMENTS(some); i++)
        give(some[i], take, data);
}

typedef struct Collect {
    GHashTable *seen;   /* owned ids */
    const char *wanted; /* regions: of that language */
} Collect;

static void collect_language(const char *language, const char *region, gpointer data)
{
    g_hash_table_add(((Collect *)data)->seen, g_strdup(language));
}

static void collect_region(const char *language, const char *region, gpointer data)
{
    Collect *collect = data;

    if (!strcmp(language, collect->wanted))
        g_hash_table_add(collect->seen, g_strdup(region));
}

static GPtrArray *named(GHashTable *seen, GHashTable *names)
{
    GPtrArray *choices = esp_choices_new();
    GHashTableIter iter;
    gpointer id;

    g_hash_table_iter_init(&iter, seen);
    while (g_hash_table_iter_next(&iter, &id, NULL)) {
        const char *name = g_hash_table_lookup(names, id);
        g_ptr_array_add(choices, esp_choice_new(id, name ? name : id));
    }
    esp_choices_sort(choices);
    return choices;
}

GPtrArray *esp_languages(void)
{
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr(GHashTable) names = esp_iso_languages();
    Collect collect = {seen, NULL};

    give_all(collect_language, &collect);
    return named(seen, names);
}

GPtrArray *esp_regions_of(const char *language)
{
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr(GHashTable) names = esp_iso_countries();
    Collect collect = {seen, language};

    give_all(collect_region, &collect);
    return named(seen, names);
}

char *esp_locale_name(const char *locale)
{
    g_autofree char *language = NULL, *region = NULL;

    esp_locale_split(locale, &language, &region);
    if (!language)
        return g_strdup(locale);
    g_autoptr(GHashTable) languages = esp_iso_languages();
    g_autoptr(GHashTable) countries = esp_iso_countries();
    const char *first = g_hash_table_lookup(languages, language);
    const char *second = region ? g_hash_table_lookup(countries, region) : NULL;
    if (!first || !second)
        return g_strdup(locale);
    return g_strdup_printf("%s (%s)", first, second);
}
