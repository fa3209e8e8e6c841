/* What a machine consists of (see bundle_parts.h). */
#include "app/bundle_parts.h"

#include <glib/gi18n.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <vmcore/disk.h>

#define CHAIN_MAX 64u
#define DEPTH_MAX 2u

static void part_free(gpointer data)
{
    EspPart *part = data;

    g_free(part->path);
    g_free(part->name);
    g_free(part);
}

void esp_parts_free(EspParts *parts)
{
    if (!parts)
        return;
    g_ptr_array_unref(parts->list);
    if (parts->config)
        vmc_config_free(parts->config);
    g_free(parts->dir);
    g_free(parts);
}

bool esp_is_own_disk(const VmcDeviceConfig *device)
{
    return (device->kind == VMC_DEVICE_VIRTIO_BLOCK || device->kind == VMC_DEVICE_NVME ||
            device->kind == VMC_DEVICE_USB_STORAGE) &&
           device->block.path && !device->block.readonly && !device->block.cdrom;
}

static EspPart *add(EspParts *parts, const char *path, const char *name)
{
    EspPart *part = g_new0(EspPart, 1);

    part->path = g_strdup(path);
    part->name = g_strdup(name);
    part->size = esp_file_takes(path);
    parts->total += part->size;
    g_ptr_array_add(parts->list, part);
    return part;
}

/* ---- disks ---- */

/* The bytes of all images that a disk lies on, in *bytes; whether one of them is outside of the bundle. */
static bool leaves(const char *dir, const char *path, guint64 *bytes)
{
    g_autofree char *at = g_strdup(path);
    bool outside = !esp_path_is_below(path, dir);

    for (unsigned n = 0; at && n < CHAIN_MAX; n++) {
        VmcDiskInfo info;
        *bytes += esp_file_takes(at);
        if (!vmc_disk_info(at, NULL, &info, NULL))
            break;
        g_autofree char *folder = g_path_get_dirname(at);
        g_free(at);
        at = info.backing ? g_canonicalize_filename(info.backing, folder) : NULL;
        vmc_disk_info_clear(&info);
        outside = outside || (at && !esp_path_is_below(at, dir));
    }
    return outside;
}

static char *free_name(const EspParts *parts, const char *path)
{
    g_autofree char *basename = g_path_get_basename(path);

    for (unsigned n = 1;; n++) {
        char *name = n == 1 ? g_strdup(basename) : g_strdup_printf("%u-%s", n, basename);
        g_autofree char *there = g_build_filename(parts->dir, name, NULL);
        bool taken = g_file_test(there, G_FILE_TEST_EXISTS);
        for (guint i = 0; i < parts->list->len; i++)
            taken = taken || strcmp(((EspPart *)parts->list->pdata[i])->name, name) == 0;
        if (!taken)
            return name;
        g_free(name);
    }
}

/* Files that come with a disk of a name: its layers and their names. */
static bool belongs_to_disk(const char *file, const char *disk)
{
    g_autofree char *stem =
        g_str_has_suffix(disk, ".qcow2") ? g_strndup(disk, strlen(disk) - 6) : g_strdup(disk);

    return strcmp(file, disk) == 0 ||
           (g_str_has_prefix(file, stem) && (g_str_has_prefix(file + strlen(stem), ".snapshot-") ||
                                             strcmp(file + strlen(stem), ".snapshots") == 0));
}

/* Disks that cannot be copied as files; the names of those in the bundle are put into `apart`. */
static void add_disks(EspParts *parts, bool none, GPtrArray *apart)
{
    for (guint i = 0; i < parts->config->devices->len; i++) {
        const VmcDeviceConfig *device = parts->config->devices->pdata[i];
        guint64 bytes = 0;
        struct stat st;

        if (!esp_is_own_disk(device) || stat(device->block.path, &st) || !S_ISREG(st.st_mode))
            continue;
        bool inside = esp_path_is_below(device->block.path, parts->dir);
        if (inside && !none && !leaves(parts->dir, device->block.path, &bytes))
            continue;
        if (inside)
            g_ptr_array_add(apart, g_path_get_basename(device->block.path));
        if (none)
            continue;
        g_autofree char *name =
            inside ? g_path_get_basename(device->block.path) : free_name(parts, device->block.path);
        EspPart *part = add(parts, device->block.path, name);
        parts->total += MAX(bytes, part->size) - part->size;
        part->size = MAX(bytes, part->size);
        part->flatten = true;
        part->format = device->block.format;
    }
}

/* ---- other files ---- */

static bool is_wanted(const char *name, unsigned depth, const EspPartsWanted *wanted)
{
    if (name[0] == '.' || g_str_has_suffix(name, ".log") || g_str_has_suffix(name, ".log.old"))
        return false;
    if (depth)
        return true;
    return strcmp(name, ESP_BUNDLE_LOCK) != 0 && strcmp(name, ESP_BUNDLE_CONFIG) != 0 &&
           (wanted->saved_state || strcmp(name, ESP_BUNDLE_SAVED_STATE) != 0) &&
           (wanted->identity || strcmp(name, ESP_BUNDLE_IDENTITY) != 0);
}

static bool is_apart(const char *name, GPtrArray *apart)
{
    for (guint i = 0; i < apart->len; i++)
        if (belongs_to_disk(name, apart->pdata[i]))
            return true;
    return false;
}

static bool add_folder(EspParts *parts, const char *below, unsigned depth, const EspPartsWanted *wanted,
                       GPtrArray *apart, GError **error)
{
    g_autofree char *folder = g_build_filename(parts->dir, below, NULL);
    GDir *dir = g_dir_open(folder, 0, error);
    bool good = dir != NULL;
    const char *entry;

    while (good && (entry = g_dir_read_name(dir))) {
        g_autofree char *name = *below ? g_build_filename(below, entry, NULL) : g_strdup(entry);
        g_autofree char *path = g_build_filename(folder, entry, NULL);
        struct stat st;

        if (!is_wanted(entry, depth, wanted) || lstat(path, &st) || (!depth && is_apart(entry, apart)))
            continue;
        if (S_ISREG(st.st_mode))
            add(parts, path, name);
        /* Snapshots of the machine mean something only with those of all its disks. */
        else if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX && g_str_has_prefix(name, ESP_BUNDLE_SNAPSHOTS) &&
                 !apart->len)
            good = add_folder(parts, name, depth + 1, wanted, apart, error);
    }
    if (dir)
        g_dir_close(dir);
    return good;
}

EspParts *esp_parts_find(EspBundle *bundle, const EspPartsWanted *wanted, GError **error)
{
    g_autoptr(EspParts) parts = g_new0(EspParts, 1);
    g_autoptr(GPtrArray) apart = g_ptr_array_new_with_free_func(g_free);

    parts->list = g_ptr_array_new_with_free_func(part_free);
    parts->dir = g_strdup(esp_bundle_get_path(bundle));
    parts->config = esp_bundle_get_config(bundle, error);
    if (!parts->config)
        return NULL;
    add_disks(parts, wanted->no_disks, apart);
    if (!add_folder(parts, "", 0, wanted, apart, error))
        return NULL;
    return g_steal_pointer(&parts);
}

/* ---- copying ---- */

typedef struct Flatten {
    EspProgress *progress;
    guint64 size, told;
    GError *error;
} Flatten;

static bool on_flatten(void *data, uint64_t done, uint64_t total)
{
    Flatten *flatten = data;
    guint64 now = total ? (guint64)((double)flatten->size * (double)done / (double)total) : 0;
    guint64 more = MAX(now, flatten->told) - flatten->told;

    flatten->told += more;
    return esp_progress_add(flatten->progress, more, &flatten->error);
}

bool esp_part_copy(const EspPart *part, EspBundle *to, EspProgress *progress, GError **error)
{
    static const char *const formats[] = {"raw", "qcow2"};
    g_autofree char *path = esp_bundle_file(to, part->name);
    g_autofree char *folder = g_path_get_dirname(path);
    Flatten flatten = {.progress = progress, .size = part->size};

    if (strchr(part->name, '/'))
        g_mkdir_with_parents(folder, 0700);
    if (!part->flatten)
        return esp_copy_file(part->path, path, progress, error);
    bool good = vmc_disk_copy(part->path, formats[part->format], path, formats[part->format], on_flatten,
                              &flatten, error);
    g_clear_error(&flatten.error);
    return good;
}

bool esp_parts_copy(const EspParts *parts, EspBundle *to, EspProgress *progress, GError **error)
{
    for (guint i = 0; i < parts->list->len; i++)
        if (!esp_part_copy(parts->list->pdata[i], to, progress, error))
            return false;
    return true;
}

/* ---- the configuration ---- */

/* Where `path` of the source is in the copy; NULL: where it was. */
static char *moved(const EspParts *parts, const char *path, const char *to)
{
    for (guint i = 0; i < parts->list->len; i++) {
        const EspPart *part = parts->list->pdata[i];
        if (strcmp(part->path, path) == 0)
            return g_build_filename(to, part->name, NULL);
    }
    if (!esp_path_is_below(path, parts->dir))
        return NULL;
    return g_build_filename(to, path + strlen(parts->dir), NULL);
}

static void move_path(const EspParts *parts, char **path, const char *to)
{
    g_autofree char *clean = *path ? g_canonicalize_filename(*path, parts->dir) : NULL;
    char *new_path = clean ? moved(parts, clean, to) : NULL;

    if (!new_path)
        return;
    g_free(*path);
    *path = new_path;
}

static void new_address(VmcDeviceConfig *device)
{
    uint8_t bytes[3];

    if ((device->kind != VMC_DEVICE_VIRTIO_NET && device->kind != VMC_DEVICE_E1000) || !device->net.mac)
        return;
    if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = (uint8_t)g_random_int();
    g_free(device->net.mac);
    device->net.mac = g_strdup_printf("52:54:00:%02x:%02x:%02x", bytes[0], bytes[1], bytes[2]);
}

void esp_renew_addresses(VmcConfig *config)
{
    for (guint i = 0; i < config->devices->len; i++)
        new_address(config->devices->pdata[i]);
}

bool esp_parts_configure(const EspParts *parts, EspBundle *to, bool same_identity, GError **error)
{
    g_autofree char *source = g_build_filename(parts->dir, ESP_BUNDLE_CONFIG, NULL);
    g_autofree char *target = esp_bundle_file(to, ESP_BUNDLE_CONFIG);
    g_autofree char *name = g_strdup(esp_bundle_get_name(to));
    const char *dir = esp_bundle_get_path(to);
    EspProgress silent = {0};

    if (!esp_copy_file(source, target, &silent, error) || g_chmod(target, 0600) ||
        !esp_bundle_reload(to, error) || !esp_bundle_set_name(to, name, error))
        return false;
    VmcConfig *config = vmc_config_copy(parts->config);
    VmcBootConfig *boot = &config->boot;
    char **const boot_paths[] = {&boot->kernel, &boot->initrd, &boot->firmware, &boot->variable_store};
    for (size_t i = 0; i < G_N_ELEMENTS(boot_paths); i++)
        move_path(parts, boot_paths[i], dir);
    for (guint i = 0; i < config->devices->len; i++) {
        VmcDeviceConfig *device = config->devices->pdata[i];
        const VmcDeviceInfo *info = vmc_device_info(device->kind);

        for (unsigned n = 0; info && n < info->n_fields; n++)
            if (info->fields[n].type == VMC_FIELD_PATH)
                move_path(parts, vmc_field_in(&info->fields[n], device), dir);
    }
    if (!same_identity)
        esp_renew_addresses(config);
    esp_bundle_set_config(to, config);
    vmc_config_free(config);
    return esp_bundle_save(to, error);
}
