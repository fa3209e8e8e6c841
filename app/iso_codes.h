/* Names of languages and countries in the user's language, from the package iso-codes where it is installed.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Codes of two letters (languages also of three) -> names; what is not there has no name. */
GHashTable *esp_iso_languages(void);
GHashTable *esp_iso_countries(void);

G_END_DECLS
