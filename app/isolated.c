/*
 * The isolated machine's configuration and layers (see isolated.h).
 *
 * A layer is only right on the disk as it was when the layer was made. What that was is noted beside the
 * layer
 * (`disk-N.base`), and a machine whose disk has changed since is not started on the old layer.
 */
#include "app/isolated.h"

#include <errno.h>
#include <gio/gio.h>
#include <glib/gi18n.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <vmcore/disk.h>

#include "app/bundle.h"

/* A folder for each bundle, below one that only this user can enter. */
static char *folder_of(const char *bundle)
{
    g_autofree char *full = g_canonicalize_filename(bundle, NULL);
    g_autofree char *sum = g_compute_checksum_for_string(G_CHECKSUM_SHA256, full, -1);
    g_autofree char *name = g_strndup(sum, 24);

    return g_build_filename(g_get_user_cache_dir(), "espalier", "isolated", name, NULL);
}

static bool fail(GError **error, const char *path, const char *why)
{
    g_set_error(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FILE,
                _("What changes in an isolated machine cannot be kept in “%s”: %s"), path, why);
    return false;
}

/* ---- disks ---- */

static char *describe_base(const char *path)
{
    GStatBuf st;

    if (g_stat(path, &st) < 0)
        return NULL;
    return g_strdup_printf("%s\n%" G_GUINT64_FORMAT " %" G_GINT64_FORMAT " %" G_GINT64_FORMAT ".%09ld\n",
                           path, (guint64)st.st_ino, (gint64)st.st_size, (gint64)st.st_mtim.tv_sec,
                           st.st_mtim.tv_nsec);
}

static bool check_base(const char *note, const char *path, const char *base, GError **error)
{
    g_autofree char *noted = NULL;

    if (g_file_get_contents(note, &noted, NULL, NULL) && !g_strcmp0(noted, base))
        return true;
    g_set_error(
        error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FORMAT,
        _("“%s” has changed since the isolated machine ran last. Throw away what changed in it then, and "
          "start it again."),
        path);
    return false;
}

static bool make_layer(const VmcDiskConfig *disk, const char *layer, const char *note, const char *base,
                       GError **error)
{
    VmcDiskCreate create = {.backing = disk->path,
                            .backing_format = disk->format == VMC_DISK_QCOW2 ? "qcow2" : "raw"};

    /* The note first: a layer without one would be refused for ever. */
    return g_file_set_contents_full(note, base, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600, error) &&
           vmc_disk_create(layer, "qcow2", &create, error);
}

static bool put_layer(VmcDiskConfig *disk, const char *folder, guint number, GError **error)
{
    g_autofree char *name = g_strdup_printf("%s/disk-%u.qcow2", folder, number);
    g_autofree char *note = g_strdup_printf("%s/disk-%u.base", folder, number);
    g_autofree char *base = disk->path ? describe_base(disk->path) : NULL;

    if (!base)
        return true; /* the validator has said so, or will */
    if (g_file_test(name, G_FILE_TEST_EXISTS) ? !check_base(note, disk->path, base, error)
                                              : !make_layer(disk, name, note, base, error))
        return false;
    g_free(disk->path);
    disk->path = g_steal_pointer(&name);
    disk->format = VMC_DISK_QCOW2;
    disk->backing = true;
    return true;
}

/* ---- the rest ---- */

static bool is_way_out(const VmcDeviceConfig *device)
{
    switch (device->kind) {
    case VMC_DEVICE_VIRTIO_NET:
    case VMC_DEVICE_E1000:
    case VMC_DEVICE_VIRTIO_FS:
    case VMC_DEVICE_VIRTIO_9P:
    case VMC_DEVICE_SPICE_WEBDAV:
    case VMC_DEVICE_VIRTIO_VSOCK:
        return true;
    case VMC_DEVICE_VIRTIO_CONSOLE:
        return device->serial.socket_path != NULL;
    default:
        return false;
    }
}

/* A line's log goes where the layers are. */
static void move_log(char **path, const char *folder, guint number)
{
    if (!*path)
        return;
    g_free(*path);
    *path = g_strdup_printf("%s/serial-%u.log", folder, number);
}

static bool isolate_device(VmcDeviceConfig *device, const char *folder, guint number, GError **error)
{
    switch (device->kind) {
    case VMC_DEVICE_VIRTIO_BLOCK:
    case VMC_DEVICE_NVME:
    case VMC_DEVICE_USB_STORAGE:
        return device->block.readonly || device->block.cdrom ||
               put_layer(&device->block, folder, number, error);
    case VMC_DEVICE_UART:
    case VMC_DEVICE_VIRTIO_CONSOLE:
        move_log(&device->serial.log_path, folder, number);
        return true;
    case VMC_DEVICE_VIRTIO_SOUND:
        device->sound.input = false;
        device->sound.output = true;
        if (device->sound.backend == VMC_SOUND_FILE)
            device->sound.backend = VMC_SOUND_SILENT;
        g_clear_pointer(&device->sound.play_path, g_free);
        g_clear_pointer(&device->sound.record_path, g_free);
        return true;
    case VMC_DEVICE_SPICE_AGENT:
        device->agent.clipboard = VMC_CLIPBOARD_OFF;
        return true;
    default:
        return true;
    }
}

static bool copy_variables(VmcBootConfig *boot, const char *folder, GError **error)
{
    g_autofree char *path = g_build_filename(folder, "nvram.fd", NULL);
    g_autoptr(GFile) from = boot->variable_store ? g_file_new_for_path(boot->variable_store) : NULL;
    g_autoptr(GFile) to = g_file_new_for_path(path);

    if (!from)
        return true;
    if (!g_file_test(path, G_FILE_TEST_EXISTS) && g_file_query_exists(from, NULL) &&
        !g_file_copy(from, to, G_FILE_COPY_NONE, NULL, NULL, NULL, error))
        return false;
    g_free(boot->variable_store);
    boot->variable_store = g_steal_pointer(&path);
    return true;
}

bool esp_isolated_apply(VmcConfig *config, const char *bundle, GError **error)
{
    g_autofree char *folder = folder_of(bundle);

    if (g_mkdir_with_parents(folder, 0700) < 0)
        return fail(error, folder, g_strerror(errno));
    /* Backwards, since some go; numbers stay those of the bundle. */
    for (guint i = config->devices->len; i-- > 0;) {
        VmcDeviceConfig *device = g_ptr_array_index(config->devices, i);

        if (is_way_out(device))
            g_ptr_array_remove_index(config->devices, i);
        else if (!isolate_device(device, folder, i, error))
            return false;
    }
    return copy_variables(&config->boot, folder, error);
}

/* ---- what changed ---- */

bool esp_isolated_has_changes(const char *bundle)
{
    g_autofree char *folder = folder_of(bundle);
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);

    return dir && g_dir_read_name(dir) != NULL;
}

bool esp_isolated_throw_away(const char *bundle, GError **error)
{
    g_autofree char *folder = folder_of(bundle);
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *name;

    /* Plain files of our making. */
    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        if (g_unlink(path) < 0 && errno != ENOENT)
            return fail(error, path, g_strerror(errno));
    }
    g_rmdir(folder);
    return true;
}
