/*
 * Languages, regions, keyboards and time zones to choose from, as the system's own lists have them: glibc's
 * locales, iso-codes, xkeyboard-config, tzdata. Where a list is missing there is a short one of the
 * program's.
 *
 * Lists are arrays of EspChoice that free what is in them, sorted by name in the user's language.
 *
 * Threads: any; reading a list takes some milliseconds.
 */
#pragma once

#include <glib.h>
#include <vmcore/config.h>

#include "app/machine_info.h"

G_BEGIN_DECLS

typedef struct EspChoice {
    char *id;   /* what is kept: "de", "Europe/Zurich" */
    char *name; /* what people read */
} EspChoice;

EspChoice *esp_choice_new(const char *id, const char *name);
GPtrArray *esp_choices_new(void);
void esp_choices_sort(GPtrArray *choices);
/* NULL: it is not among them. */
const EspChoice *esp_choices_find(GPtrArray *choices, const char *id);

/* What this computer itself is set to; empty strings never, NULL where nothing is known. `region` must be
 * empty. */
void esp_region_of_host(EspRegion *region, VmcKeyboardLayout *type);

/* "de", and of such a language the regions: "CH". */
GPtrArray *esp_languages(void);
GPtrArray *esp_regions_of(const char *language);
/* "de_CH.UTF-8" apart, either may be NULL; free with g_free. And together. */
void esp_locale_split(const char *locale, char **language, char **region);
char *esp_locale_join(const char *language, const char *region);
/* "German (Switzerland)"; free with g_free. */
char *esp_locale_name(const char *locale);

/* Layouts of xkb, "ch", and the variants of one, "fr"; the first of them, with the id "", is the layout
 * itself. */
GPtrArray *esp_keyboard_layouts(void);
GPtrArray *esp_keyboard_variants(const char *layout);
/* The layout and the kind of keyboard that are usual for a locale. `layout` is static. */
const char *esp_keyboard_for_locale(const char *locale, VmcKeyboardLayout *type);

/* "Europe/Zurich", named "Zurich (Switzerland)". */
GPtrArray *esp_time_zones(void);

/* Whether it can be a locale's, layout's, variant's or zone's id: letters, digits and _ - + / . @ only. */
gboolean esp_region_is_id(const char *text);

G_END_DECLS
