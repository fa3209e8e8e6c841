/* Time zones (see region.h): tzdata's list of them by country. */
#include "app/region.h"

#include <glib/gi18n.h>
#include <string.h>

#include "app/iso_codes.h"

#define FOLDER "/usr/share/zoneinfo"

/* Where the system has no list. */
static const char *const some[] = {
    "Africa/Cairo",  "Africa/Johannesburg", "Africa/Lagos",     "America/Chicago",   "America/Denver",
    "America/Lima",  "America/Los_Angeles", "America/New_York", "America/Sao_Paulo", "America/Toronto",
    "Asia/Dubai",    "Asia/Hong_Kong",      "Asia/Jakarta",     "Asia/Jerusalem",    "Asia/Kolkata",
    "Asia/Seoul",    "Asia/Shanghai",       "Asia/Singapore",   "Asia/Tokyo",        "Australia/Sydney",
    "Europe/Berlin", "Europe/London",       "Europe/Madrid",    "Europe/Moscow",     "Europe/Paris",
    "Europe/Rome",   "Europe/Warsaw",       "Europe/Zurich",    "Pacific/Auckland",
};

/* "America/Argentina/Buenos_Aires" is known as Buenos Aires. */
static char *city_of(const char *zone)
{
    const char *slash = strrchr(zone, '/');

    return g_strdelimit(g_strdup(slash ? slash + 1 : zone), "_", ' ');
}

static void add(GPtrArray *zones, const char *zone, const char *country)
{
    g_autofree char *city = city_of(zone);
    /* Translators: a time zone by its city and country: "Zurich (Switzerland)". */
    g_autofree char *name = country ? g_strdup_printf(_("%s (%s)"), city, country) : g_strdup(city);

    g_ptr_array_add(zones, esp_choice_new(zone, name));
}

/* "CH	+4723+00832	Europe/Zurich	comment" */
static bool add_listed(GPtrArray *zones)
{
    g_autoptr(GHashTable) countries = esp_iso_countries();
    g_autofree char *text = NULL;

    if (!g_file_get_contents(FOLDER "/zone.tab", &text, NULL, NULL))
        return false;
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        g_auto(GStrv) words = **line == '#' ? NULL : g_strsplit(*line, "\t", 4);
        if (words && g_strv_length(words) >= 3 && esp_region_is_id(words[2]))
            add(zones, words[2], g_hash_table_lookup(countries, words[0]));
    }
    return zones->len > 0;
}

GPtrArray *esp_time_zones(void)
{
    GPtrArray *zones = esp_choices_new();

    if (!add_listed(zones))
        for (size_t i = 0; i < G_N_ELEMENTS(some); i++)
            add(zones, some[i], NULL);
    esp_choices_sort(zones);
    /* Translators: the time zone UTC, for those who want no other. */
    g_ptr_array_insert(zones, 0, esp_choice_new("Etc/UTC", _("Coordinated Universal Time (UTC)")));
    return zones;
}
