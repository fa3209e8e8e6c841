/* What the table of settings says, as help on a terminal and as a manual page. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Each setting with what it may be, in lines for a terminal. Free with g_free. */
char *esp_settings_help(void);
/* The manual page espalier-settings(7), in man(7)'s language and in English. Free with g_free. */
char *esp_settings_manual(void);

G_END_DECLS
