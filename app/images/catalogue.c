/* What can be installed, from all sources (see catalogue.h). Those of macOS come here when there are any. */
#include "app/images/catalogue.h"

static const EspCatalogueSource *const sources[] = {&esp_catalogue_linux};

EspCatalogueEntry *esp_catalogue_entry_new(const char *id, const char *name)
{
    EspCatalogueEntry *entry = g_new0(EspCatalogueEntry, 1);

    entry->id = g_strdup(id);
    entry->name = g_strdup(name);
    return entry;
}

void esp_catalogue_entry_free(gpointer data)
{
    EspCatalogueEntry *entry = data;

    g_free(entry->id);
    g_free(entry->name);
    g_free(entry->build);
    g_free(entry->link);
    g_free(entry->sums);
    g_free(entry->os_id);
    g_free(entry->why_not);
    g_free(entry);
}

GPtrArray *esp_catalogue_list(EspGuestSystem system, GCancellable *cancellable, char **problem)
{
    GPtrArray *entries = g_ptr_array_new_with_free_func(esp_catalogue_entry_free);

    if (problem)
        *problem = NULL;
    for (size_t i = 0; i < G_N_ELEMENTS(sources); i++) {
        g_autoptr(GError) error = NULL;
        if (sources[i]->system == system && !sources[i]->list(entries, cancellable, &error) && problem &&
            !*problem)
            *problem = g_strdup(error->message);
    }
    return entries;
}

const EspCatalogueEntry *esp_catalogue_find(GPtrArray *entries, const char *id)
{
    for (guint i = 0; i < entries->len; i++) {
        const EspCatalogueEntry *entry = entries->pdata[i];
        if (!g_strcmp0(entry->id, id))
            return entry;
    }
    return NULL;
}
