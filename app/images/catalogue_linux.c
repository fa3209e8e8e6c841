/* The cloud images of Linux distributions, from the list that the program has in itself
 * (data/cloud-images.ini). */
#include "app/images/catalogue.h"

#include "app/data.h"

#define RESOURCE "/org/espalier/data/cloud-images.ini"

static bool take(GPtrArray *entries, GKeyFile *file, const char *id)
{
    g_autofree char *name = g_key_file_get_string(file, id, "Name", NULL);
    EspCatalogueEntry *entry = esp_catalogue_entry_new(id, name);

    entry->link = g_key_file_get_string(file, id, "Link", NULL);
    entry->sums = g_key_file_get_string(file, id, "Sums", NULL);
    entry->os_id = g_key_file_get_string(file, id, "OSID", NULL);
    entry->size = g_key_file_get_uint64(file, id, "Size", NULL);
    entry->memory_mib = (unsigned)g_key_file_get_integer(file, id, "Memory", NULL);
    entry->disk_gib = (unsigned)g_key_file_get_integer(file, id, "Disk", NULL);
    g_ptr_array_add(entries, entry);
    return name && entry->link;
}

static bool list(GPtrArray *entries, GCancellable *cancellable, GError **error)
{
    g_autoptr(GBytes) bytes = g_resource_lookup_data(esp_data_get_resource(), RESOURCE, 0, error);
    g_autoptr(GKeyFile) file = g_key_file_new();

    if (!bytes || !g_key_file_load_from_bytes(file, bytes, G_KEY_FILE_NONE, error))
        return false;
    g_auto(GStrv) groups = g_key_file_get_groups(file, NULL);
    for (char **id = groups; *id; id++)
        if (!take(entries, file, *id))
            g_ptr_array_remove_index(entries, entries->len - 1);
    return true;
}

const EspCatalogueSource esp_catalogue_linux = {
    .name = "cloud-images.ini", .system = ESP_GUEST_LINUX, .list = list};
