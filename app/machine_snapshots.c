/* Snapshots of a whole machine (see machine_snapshots.h). */
#include "app/machine_snapshots.h"

#include <errno.h>
#include <glib/gi18n.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <vmcore/disk.h>

#include "app/bundle_parts.h"
#include "app/control.h"

#define CONFIG_FILE    ESP_BUNDLE_CONFIG
#define VARIABLES_FILE "variables"
#define PICTURE_FILE   "screenshot.png"
#define NAME_BYTES     200u
#define CALL_MS        120000

/* ---- the disks, and the folder beside them ---- */

/* Paths of the qcow2 disks that a configuration writes to. If a disk that is written to can have no
 * snapshots, NULL with `error` set; with `error` NULL such disks are left out. */
static GPtrArray *find_disks(const VmcConfig *config, GError **error)
{
    g_autoptr(GPtrArray) disks = g_ptr_array_new_with_free_func(g_free);

    for (guint i = 0; i < config->devices->len; i++) {
        const VmcDeviceConfig *device = config->devices->pdata[i];
        if (!esp_is_own_disk(device) || device->kind == VMC_DEVICE_USB_STORAGE)
            continue;
        if (device->block.format == VMC_DISK_QCOW2) {
            g_ptr_array_add(disks, g_strdup(device->block.path));
        } else if (error) {
            g_autofree char *shown = g_filename_display_basename(device->block.path);
            g_set_error(
                error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FORMAT,
                _("No snapshot can be taken: the disk “%s” is a raw image, and only qcow2 images have "
                  "snapshots."),
                shown);
            return NULL;
        }
    }
    if (disks->len || !error)
        return g_steal_pointer(&disks);
    g_set_error(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FORMAT,
                _("No snapshot can be taken: the machine has no disk that it writes to."));
    return NULL;
}

static char *folder_of(EspBundle *bundle, const char *name)
{
    g_autofree char *sum = g_compute_checksum_for_string(G_CHECKSUM_SHA256, name, -1);
    g_autofree char *id = g_strndup(sum, 16);

    return g_build_filename(esp_bundle_get_path(bundle), ESP_BUNDLE_SNAPSHOTS, id, NULL);
}

static bool is_disk_of(const VmcConfig *config, const char *path)
{
    for (guint i = 0; i < config->devices->len; i++) {
        const VmcDeviceConfig *device = config->devices->pdata[i];
        if (esp_is_own_disk(device) && strcmp(device->block.path, path) == 0)
            return true;
    }
    return false;
}

/* Whether going back would touch nothing but what is the machine's: what was kept may come from elsewhere. */
static bool is_harmless(const VmcConfig *then, const VmcConfig *now, const char *dir)
{
    if (then->boot.variable_store && !esp_path_is_below(then->boot.variable_store, dir))
        return false;
    for (guint i = 0; i < then->devices->len; i++) {
        const VmcDeviceConfig *device = then->devices->pdata[i];
        if (esp_is_own_disk(device) && !esp_path_is_below(device->block.path, dir) &&
            !is_disk_of(now, device->block.path))
            return false;
    }
    return true;
}

/* The configuration as it was then; NULL: it was not kept, or cannot be used. Paths in it are taken from the
 * bundle's folder, as they were. */
static VmcConfig *config_of(EspBundle *bundle, const char *name)
{
    g_autofree char *folder = folder_of(bundle, name);
    g_autofree char *kept = g_build_filename(folder, CONFIG_FILE, NULL);
    g_autoptr(EspBundle) then = esp_bundle_open_as(kept, esp_bundle_get_path(bundle), NULL);
    VmcConfig *config = then ? esp_bundle_get_config(then, NULL) : NULL;
    VmcConfig *now = config ? esp_bundle_get_config(bundle, NULL) : NULL;

    if (config && (!now || !is_harmless(config, now, esp_bundle_get_path(bundle))))
        g_clear_pointer(&config, vmc_config_free);
    if (now)
        vmc_config_free(now);
    return config;
}

static const VmcSnapshot *find(GPtrArray *list, const char *name)
{
    for (guint i = 0; list && i < list->len; i++) {
        const VmcSnapshot *snapshot = list->pdata[i];
        if (strcmp(snapshot->name, name) == 0)
            return snapshot;
    }
    return NULL;
}

static bool has_snapshot(const char *disk, const char *name)
{
    g_autoptr(GPtrArray) list = vmc_snapshots_list(disk, NULL);

    return find(list, name) != NULL;
}

/* ---- listing ---- */

static void snapshot_free(gpointer data)
{
    EspMachineSnapshot *snapshot = data;

    g_free(snapshot->name);
    g_free(snapshot->parent);
    g_free(snapshot->picture);
    g_strfreev(snapshot->clones);
    g_free(snapshot);
}

/* Names of machines, not of images. */
static void add_clones(EspMachineSnapshot *snapshot, const char *disk)
{
    g_auto(GStrv) clones = vmc_disk_clones(disk, snapshot->name, NULL);
    g_autoptr(GPtrArray) names = g_ptr_array_new();

    for (guint i = 0; snapshot->clones && snapshot->clones[i]; i++)
        g_ptr_array_add(names, g_strdup(snapshot->clones[i]));
    for (guint i = 0; clones && clones[i]; i++) {
        g_autofree char *folder = g_path_get_dirname(clones[i]);
        g_autoptr(EspBundle) bundle = esp_bundle_open(folder, NULL);
        const char *name = bundle ? esp_bundle_get_name(bundle) : clones[i];
        if (!snapshot->clones || !g_strv_contains((const char *const *)snapshot->clones, name))
            g_ptr_array_add(names, g_strdup(name));
    }
    g_strfreev(snapshot->clones);
    g_ptr_array_add(names, NULL);
    snapshot->clones = (char **)g_ptr_array_steal(names, NULL);
}

static const char *name_of(GPtrArray *list, unsigned number)
{
    for (guint i = 0; i < list->len; i++) {
        const VmcSnapshot *snapshot = list->pdata[i];
        if (snapshot->number == number)
            return snapshot->name;
    }
    return NULL;
}

static EspMachineSnapshot *to_machine(EspBundle *bundle, const VmcSnapshot *disk, GPtrArray *list)
{
    EspMachineSnapshot *snapshot = g_new0(EspMachineSnapshot, 1);
    g_autofree char *folder = folder_of(bundle, disk->name);
    g_autofree char *config = g_build_filename(folder, CONFIG_FILE, NULL);
    g_autofree char *picture = g_build_filename(folder, PICTURE_FILE, NULL);

    snapshot->name = g_strdup(disk->name);
    snapshot->time = disk->time;
    snapshot->parent = g_strdup(name_of(list, disk->parent));
    snapshot->current = disk->current;
    snapshot->complete = g_file_test(config, G_FILE_TEST_IS_REGULAR);
    snapshot->whole = true;
    if (g_file_test(picture, G_FILE_TEST_IS_REGULAR))
        snapshot->picture = g_steal_pointer(&picture);
    return snapshot;
}

static EspMachineSnapshot *find_machine(GPtrArray *all, const char *name)
{
    for (guint i = 0; i < all->len; i++) {
        EspMachineSnapshot *snapshot = all->pdata[i];
        if (strcmp(snapshot->name, name) == 0)
            return snapshot;
    }
    return NULL;
}

static int by_time(gconstpointer a, gconstpointer b)
{
    const EspMachineSnapshot *x = *(EspMachineSnapshot *const *)a, *y = *(EspMachineSnapshot *const *)b;

    return x->time < y->time ? -1 : x->time > y->time ? 1 : strcmp(x->name, y->name);
}

static bool add_disk(EspBundle *bundle, GPtrArray *all, const char *disk, GError **error)
{
    g_autoptr(GPtrArray) list = vmc_snapshots_list(disk, error);

    if (!list)
        return false;
    for (guint i = 0; i < list->len; i++) {
        const VmcSnapshot *one = list->pdata[i];
        EspMachineSnapshot *snapshot = find_machine(all, one->name);
        if (!snapshot) {
            snapshot = to_machine(bundle, one, list);
            g_ptr_array_add(all, snapshot);
        }
        add_clones(snapshot, disk);
    }
    return true;
}

GPtrArray *esp_machine_snapshots_list(const char *path, GError **error)
{
    g_autoptr(EspBundle) bundle = esp_bundle_open(path, error);
    VmcConfig *config = bundle ? esp_bundle_get_config(bundle, error) : NULL;
    g_autoptr(GPtrArray) all = g_ptr_array_new_with_free_func(snapshot_free);
    bool good = config != NULL;

    if (!good)
        return NULL;
    g_autoptr(GPtrArray) disks = find_disks(config, NULL);
    vmc_config_free(config);
    for (guint i = 0; good && i < disks->len; i++)
        good = add_disk(bundle, all, disks->pdata[i], error);
    for (guint i = 0; good && i < all->len; i++) {
        EspMachineSnapshot *snapshot = all->pdata[i];
        for (guint n = 0; n < disks->len; n++)
            snapshot->whole = snapshot->whole && has_snapshot(disks->pdata[n], snapshot->name);
    }
    g_ptr_array_sort(all, by_time);
    return good ? g_steal_pointer(&all) : NULL;
}

/* ---- taking one ---- */

static bool copy_kept(const char *from, const char *folder, const char *name, GError **error)
{
    g_autofree char *to = g_build_filename(folder, name, NULL);
    EspProgress silent = {0};

    return !g_file_test(from, G_FILE_TEST_IS_REGULAR) || esp_copy_file(from, to, &silent, error);
}

/* What lies beside the disks, in a folder under a hidden name; its path. */
static char *keep(EspBundle *bundle, const VmcConfig *config, const char *name, GError **error)
{
    g_autofree char *folder = folder_of(bundle, name), *parent = g_path_get_dirname(folder);
    char *hidden = g_build_filename(parent, ".new-XXXXXX", NULL);
    g_autofree char *config_file = esp_bundle_file(bundle, CONFIG_FILE);
    g_autofree char *picture = esp_bundle_file(bundle, PICTURE_FILE);
    const char *variables = config->boot.variable_store;

    if (g_mkdir_with_parents(parent, 0700) < 0 || !g_mkdtemp_full(hidden, 0700)) {
        g_set_error(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FILE,
                    _("The snapshot “%s” cannot be written: %s"), name, g_strerror(errno));
        g_free(hidden);
        return NULL;
    }
    if (copy_kept(config_file, hidden, CONFIG_FILE, error) &&
        copy_kept(picture, hidden, PICTURE_FILE, error) &&
        (!variables || copy_kept(variables, hidden, VARIABLES_FILE, error)))
        return hidden;
    esp_tree_remove(hidden, NULL);
    g_free(hidden);
    return NULL;
}

/* One that is left of a snapshot which somebody has deleted otherwise makes room. */
static bool show_kept(EspBundle *bundle, const char *hidden, const char *name, GError **error)
{
    g_autofree char *folder = folder_of(bundle, name);

    if (g_file_test(folder, G_FILE_TEST_EXISTS))
        esp_tree_remove(folder, NULL);
    if (!g_rename(hidden, folder))
        return true;
    g_set_error(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FILE, _("The snapshot “%s” cannot be written: %s"),
                name, g_strerror(errno));
    return false;
}

static bool take_running(const char *path, const char *name, GError **error)
{
    g_autofree char *socket = esp_control_path_of(path);
    g_autoptr(GDBusConnection) peer = socket ? esp_control_connect(socket, error) : NULL;
    g_autoptr(GVariant) reply = NULL;

    if (!peer) {
        if (!socket)
            g_set_error(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_BUSY,
                        _("The machine runs, and cannot be reached to take a snapshot."));
        return false;
    }
    reply = g_dbus_connection_call_sync(peer, NULL, ESP_CONTROL_PATH, ESP_CONTROL_INTERFACE, "Snapshot",
                                        g_variant_new("(s)", name), NULL, G_DBUS_CALL_FLAGS_NONE, CALL_MS,
                                        NULL, error);
    if (!reply && error && *error)
        g_dbus_error_strip_remote_error(*error);
    return reply != NULL;
}

/* All disks, or none. */
static bool take_stopped(GPtrArray *disks, const char *name, GError **error)
{
    for (guint i = 0; i < disks->len; i++)
        if (!vmc_snapshot_take(disks->pdata[i], name, error)) {
            for (guint n = 0; n < i; n++)
                vmc_snapshot_delete(disks->pdata[n], name, NULL);
            return false;
        }
    return true;
}

static bool check_name(GPtrArray *disks, const char *name, GError **error)
{
    bool good = *name && strlen(name) <= NAME_BYTES && g_utf8_validate(name, -1, NULL);

    for (const char *p = name; good && *p; p = g_utf8_next_char(p))
        good =
            g_unichar_isprint(g_utf8_get_char(p)) && g_unichar_type(g_utf8_get_char(p)) != G_UNICODE_FORMAT;
    if (!good) {
        g_set_error(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FORMAT,
                    _("This cannot be the name of a snapshot: a name has 1 to %u bytes in one line, all of "
                      "which can be seen."),
                    NAME_BYTES);
        return false;
    }
    for (guint i = 0; i < disks->len; i++)
        if (has_snapshot(disks->pdata[i], name)) {
            g_set_error(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_EXISTS,
                        _("There is already a snapshot “%s”. Please choose another name."), name);
            return false;
        }
    return true;
}

static bool refuse_saved(EspBundle *bundle, GError **error)
{
    g_autofree char *saved = esp_bundle_file(bundle, ESP_BUNDLE_SAVED_STATE);

    if (!g_file_test(saved, G_FILE_TEST_EXISTS))
        return true;
    g_set_error(
        error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_BUSY,
        _("“%s” is saved in the middle of its work, which belongs to its disks as they are: start it, "
          "and take the snapshot while it runs or after it was shut down."),
        esp_bundle_get_name(bundle));
    return false;
}

bool esp_machine_snapshot_take(const char *path, const char *name, GError **error)
{
    bool runs = esp_bundle_get_runner(path, NULL, NULL);
    g_autoptr(EspBundle) bundle = runs ? esp_bundle_open(path, error) : esp_bundle_hold(path, error);
    VmcConfig *config = bundle ? esp_bundle_get_config(bundle, error) : NULL;
    g_autoptr(GPtrArray) disks = config ? find_disks(config, error) : NULL;
    g_autofree char *hidden = NULL;
    bool good = disks && check_name(disks, name, error) && (runs || refuse_saved(bundle, error));

    if (good)
        hidden = keep(bundle, config, name, error);
    if (config)
        vmc_config_free(config);
    if (!hidden)
        return false;
    good = runs ? take_running(path, name, error) : take_stopped(disks, name, error);
    good = good && show_kept(bundle, hidden, name, error);
    if (!good)
        esp_tree_remove(hidden, NULL);
    return good;
}

/* ---- going back ---- */

/* The disks of then if that is known, else of now; each has to have the snapshot. */
static GPtrArray *disks_of_then(EspBundle *bundle, const char *name, GError **error)
{
    VmcConfig *then = config_of(bundle, name);
    VmcConfig *config = then ? then : esp_bundle_get_config(bundle, error);
    g_autoptr(GPtrArray) disks = config ? find_disks(config, NULL) : NULL;
    bool good = disks != NULL;

    if (config)
        vmc_config_free(config);
    for (guint i = 0; good && i < disks->len; i++) {
        g_autoptr(GPtrArray) list = vmc_snapshots_list(disks->pdata[i], error);
        good = list != NULL;
        if (good && !find(list, name)) {
            g_autofree char *shown = g_filename_display_basename(disks->pdata[i]);
            g_set_error(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FORMAT,
                        _("The disk “%s” has no snapshot “%s”, so the machine cannot go back to it."), shown,
                        name);
            good = false;
        }
    }
    if (good && !disks->len) {
        g_set_error(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FORMAT, _("There is no snapshot “%s”."), name);
        good = false;
    }
    return good ? g_steal_pointer(&disks) : NULL;
}

static bool restore_file(const char *folder, const char *name, const char *to, GError **error)
{
    g_autofree char *from = g_build_filename(folder, name, NULL);
    g_autofree char *temporary = g_strdup_printf("%s.%08x", to, g_random_int());
    EspProgress silent = {0};

    if (!g_file_test(from, G_FILE_TEST_IS_REGULAR))
        return true;
    if (!esp_copy_file(from, temporary, &silent, error))
        return false;
    if (!g_rename(temporary, to))
        return true;
    g_set_error(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FILE, _("“%s” cannot be written: %s"), to,
                g_strerror(errno));
    g_unlink(temporary);
    return false;
}

/* The firmware's variables, the configuration but for the name, and the picture. */
static bool restore_kept(EspBundle *bundle, const char *snapshot, GError **error)
{
    g_autofree char *folder = folder_of(bundle, snapshot);
    g_autofree char *config_file = esp_bundle_file(bundle, CONFIG_FILE);
    g_autofree char *picture = esp_bundle_file(bundle, PICTURE_FILE);
    g_autofree char *name = g_strdup(esp_bundle_get_name(bundle));
    VmcConfig *then = config_of(bundle, snapshot);
    bool good = true;

    if (!then)
        return true;
    if (then->boot.variable_store)
        good = restore_file(folder, VARIABLES_FILE, then->boot.variable_store, error);
    vmc_config_free(then);
    good = good && restore_file(folder, CONFIG_FILE, config_file, error) && esp_bundle_reload(bundle, error);
    if (good && strcmp(name, esp_bundle_get_name(bundle)) != 0)
        good = esp_bundle_set_name(bundle, name, error) && esp_bundle_save(bundle, error);
    return good && restore_file(folder, PICTURE_FILE, picture, error);
}

bool esp_machine_snapshot_go_back(const char *path, const char *name, GError **error)
{
    g_autoptr(EspBundle) bundle = esp_bundle_hold(path, error);
    g_autoptr(GPtrArray) disks = bundle ? disks_of_then(bundle, name, error) : NULL;

    if (!disks)
        return false;
    for (guint i = 0; i < disks->len; i++)
        if (!vmc_snapshot_go_back(disks->pdata[i], name, error)) {
            if (i)
                g_prefix_error(
                    error,
                    _("Only some disks of “%s” are back at “%s”; go back to it again, or to another "
                      "snapshot, before the machine is started. "),
                    esp_bundle_get_name(bundle), name);
            return false;
        }
    /* What was in memory belongs to disks that are gone. */
    g_autofree char *saved = esp_bundle_file(bundle, ESP_BUNDLE_SAVED_STATE);
    g_unlink(saved);
    return restore_kept(bundle, name, error);
}

/* ---- deleting ---- */

static bool refuse_needed(const char *path, const char *name, GError **error)
{
    g_autoptr(GPtrArray) list = esp_machine_snapshots_list(path, error);
    const EspMachineSnapshot *snapshot = list ? find_machine(list, name) : NULL;

    if (!list)
        return false;
    if (!snapshot)
        g_set_error(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FORMAT, _("There is no snapshot “%s”."), name);
    else if (snapshot->clones && snapshot->clones[0])
        g_set_error(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_BUSY,
                    _("The snapshot “%s” cannot be deleted: the linked duplicate “%s” needs it."), name,
                    snapshot->clones[0]);
    else
        return true;
    return false;
}

bool esp_machine_snapshot_delete(const char *path, const char *name, GError **error)
{
    g_autoptr(EspBundle) bundle = esp_bundle_hold(path, error);
    VmcConfig *config = bundle ? esp_bundle_get_config(bundle, error) : NULL;
    g_autoptr(GPtrArray) disks = config ? find_disks(config, NULL) : NULL;

    if (config)
        vmc_config_free(config);
    if (!disks || !refuse_saved(bundle, error) || !refuse_needed(path, name, error))
        return false;
    for (guint i = 0; i < disks->len; i++)
        if (has_snapshot(disks->pdata[i], name) && !vmc_snapshot_delete(disks->pdata[i], name, error))
            return false;
    g_autofree char *folder = folder_of(bundle, name);
    return !g_file_test(folder, G_FILE_TEST_EXISTS) || esp_tree_remove(folder, error);
}

char *esp_machine_snapshot_new_name(void)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_local();

    /* Translators: the name of a snapshot: date and time, as strftime(3) writes them. */
    return g_date_time_format(now, _("%d %B %Y, %H:%M:%S"));
}
