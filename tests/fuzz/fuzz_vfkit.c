/*
 * A machine's description as a user or a program may type it: one option per line, "name value". Every
 * outcome is fine but a crash, a leak, or a refusal without words.
 *
 * covers: app/vfkit.c app/vfkit_items.c
 */
#include <stdlib.h>
#include <string.h>

#include "app/vfkit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    g_auto(GStrv) lines = g_strsplit(text, "\n", 16);
    EspVfkit vfkit;

    esp_vfkit_init(&vfkit);
    for (char **line = lines; *line; line++) {
        char *space = strchr(*line, ' ');
        g_autoptr(GError) error = NULL;

        if (!space)
            continue;
        *space = '\0';
        if (!esp_vfkit_knows(*line))
            continue;
        bool good = esp_vfkit_option(&vfkit, *line, space + 1, &error);
        if (good == (error != NULL) || (error && !*error->message))
            abort();
    }
    esp_vfkit_clear(&vfkit);
    return 0;
}
