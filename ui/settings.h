/* The user's settings (org.espalier.Espalier), with defaults where the schema is not installed. */
#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

/* The settings, from the installed schema or from schemas/ beside the program in a source tree; NULL when
 * there is neither. The caller owns it. */
GSettings *esp_settings_new(void);

G_END_DECLS
