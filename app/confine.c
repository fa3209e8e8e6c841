/* A configuration from elsewhere (see confine.h). */
#include "app/confine.h"

#include <glib/gi18n.h>
#include <string.h>
#include <sys/stat.h>
#include <vmcore/disk.h>

#include "app/bundle.h"
#include "app/tree.h"

static bool leaves(const char *path, const char *dir)
{
    g_autofree char *clean = path && *path ? g_canonicalize_filename(path, dir) : NULL;

    return clean && !esp_path_is_below(clean, dir);
}

static void say(GPtrArray *lines, const char *what, const char *path)
{
    g_autofree char *shown = g_filename_display_name(path);

    /* Translators: a setting that was left out of an imported machine: "virtio-blk: /home/ann/disk.iso". */
    g_ptr_array_add(lines, g_strdup_printf(_("%s: %s"), what, shown));
}

static void confine_boot(VmcBootConfig *boot, const char *dir, GPtrArray *lines)
{
    char **const paths[] = {&boot->kernel, &boot->initrd, &boot->firmware, &boot->variable_store};

    for (size_t i = 0; i < G_N_ELEMENTS(paths); i++)
        if (leaves(*paths[i], dir)) {
            say(lines, _("boot"), *paths[i]);
            g_clear_pointer(paths[i], g_free);
        }
    if (boot->kind == VMC_BOOT_LINUX && !boot->kernel)
        boot->kind = VMC_BOOT_NONE;
}

/* False: the device is nothing without what it has lost. */
static bool confine_device(VmcDeviceConfig *device, const char *dir, GPtrArray *lines)
{
    const VmcDeviceInfo *info = vmc_device_info(device->kind);
    bool good = info != NULL;

    for (unsigned i = 0; info && i < info->n_fields; i++) {
        const VmcField *field = &info->fields[i];
        char **path = field->type == VMC_FIELD_PATH ? vmc_field_in(field, device) : NULL;

        if (!path || !leaves(*path, dir))
            continue;
        say(lines, info->name, *path);
        good = good && !field->required && !field->one_of;
        g_clear_pointer(path, g_free);
    }
    /* A cable that was plugged into a socket of somebody's goes to the network as all do. */
    if (!good && (device->kind == VMC_DEVICE_VIRTIO_NET || device->kind == VMC_DEVICE_E1000)) {
        device->net.nat = true;
        good = true;
    }
    return good;
}

GPtrArray *esp_confine(VmcConfig *config, const char *dir)
{
    GPtrArray *lines = g_ptr_array_new_with_free_func(g_free);

    confine_boot(&config->boot, dir, lines);
    for (guint i = config->devices->len; i-- > 0;)
        if (!confine_device(config->devices->pdata[i], dir, lines))
            g_ptr_array_remove_index(config->devices, i);
    return lines;
}

static bool check_image(const char *path, const char *dir, GError **error)
{
    VmcDiskInfo info;
    bool good = true;

    if (!vmc_disk_info(path, NULL, &info, NULL))
        return true; /* nor can it be used */
    g_autofree char *below = info.backing ? g_canonicalize_filename(info.backing, dir) : NULL;
    vmc_disk_info_clear(&info);
    if (below && !esp_path_is_below(below, dir)) {
        g_autofree char *shown = g_filename_display_basename(path), *other = g_filename_display_name(below);
        g_set_error(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FORMAT,
                    _("The disk “%s” lies on “%s”, which is not part of what is imported. Export the machine "
                      "with Espalier, which makes it whole."),
                    shown, other);
        good = false;
    }
    return good;
}

bool esp_confine_images(const char *dir, GError **error)
{
    GDir *folder = g_dir_open(dir, 0, error);
    bool good = folder != NULL;
    const char *entry;

    while (good && (entry = g_dir_read_name(folder))) {
        g_autofree char *path = g_build_filename(dir, entry, NULL);
        struct stat st;
        if (lstat(path, &st) == 0 && S_ISREG(st.st_mode))
            good = check_image(path, dir, error);
    }
    if (folder)
        g_dir_close(folder);
    return good;
}
