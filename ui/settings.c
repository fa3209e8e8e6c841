/* The user's settings (see settings.h). */
#include "ui/settings.h"

#define SCHEMA_ID "org.espalier.Espalier"

static GSettingsSchema *lookup_beside_program(GSettingsSchemaSource *parent)
{
    g_autofree char *program = g_file_read_link("/proc/self/exe", NULL);
    if (!program)
        return NULL;
    g_autofree char *dir = g_path_get_dirname(program);
    const char *const places[] = {"schemas", "../share/glib-2.0/schemas"};
    for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
        g_autofree char *folder = g_build_filename(dir, places[i], NULL);
        g_autoptr(GSettingsSchemaSource) source =
            g_settings_schema_source_new_from_directory(folder, parent, FALSE, NULL);
        GSettingsSchema *schema = source ? g_settings_schema_source_lookup(source, SCHEMA_ID, FALSE) : NULL;
        if (schema)
            return schema;
    }
    return NULL;
}

GSettings *esp_settings_new(void)
{
    GSettingsSchemaSource *installed = g_settings_schema_source_get_default();
    g_autoptr(GSettingsSchema) schema = lookup_beside_program(installed);
    if (!schema && installed)
        schema = g_settings_schema_source_lookup(installed, SCHEMA_ID, TRUE);
    return schema ? g_settings_new_full(schema, NULL, NULL) : NULL;
}
