/* The user's language (see locale.h). */
#include "app/locale.h"

#include <glib.h>
#include <libintl.h>
#include <locale.h>

void esp_locale_init(void)
{
    g_autofree char *program = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *dir = program ? g_path_get_dirname(program) : g_strdup(".");
    g_autofree char *here = g_build_filename(dir, "locale", NULL);
    g_autofree char *installed = g_canonicalize_filename("../share/locale", dir);

    setlocale(LC_ALL, "");
    bindtextdomain(ESP_DOMAIN, g_file_test(here, G_FILE_TEST_IS_DIR) ? here : installed);
    bind_textdomain_codeset(ESP_DOMAIN, "UTF-8");
    textdomain(ESP_DOMAIN);
}

void esp_locale_english(void)
{
    setlocale(LC_MESSAGES, "C");
}
