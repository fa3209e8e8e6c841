/* Another machine like one there is (see duplicate.h). */
#include "app/duplicate.h"

#include <errno.h>
#include <glib/gi18n.h>
#include <glib/gstdio.h>
#include <string.h>
#include <vmcore/disk.h>

#include "app/bundle_parts.h"

typedef struct Duplicate {
    char *path, *name;
    bool linked, saved_state;
} Duplicate;

static void duplicate_free(gpointer data)
{
    Duplicate *duplicate = data;

    g_free(duplicate->path);
    g_free(duplicate->name);
    g_free(duplicate);
}

/* ---- linked ---- */

/* The disks that are to be linked, as paths; NULL with `error` set: they cannot be. */
static GPtrArray *find_links(const VmcConfig *config, const char *dir, GError **error)
{
    g_autoptr(GPtrArray) disks = g_ptr_array_new_with_free_func(g_free);

    for (guint i = 0; i < config->devices->len; i++) {
        const VmcDeviceConfig *device = config->devices->pdata[i];
        if (!esp_is_own_disk(device))
            continue;
        if (device->block.format != VMC_DISK_QCOW2 || !esp_path_is_below(device->block.path, dir)) {
            g_autofree char *shown = g_filename_display_basename(device->block.path);
            g_set_error(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FORMAT,
                        _("A linked duplicate cannot be made: the disk “%s” is not a qcow2 image of the "
                          "machine’s own. Make a full one."),
                        shown);
            return NULL;
        }
        g_ptr_array_add(disks, g_strdup(device->block.path));
    }
    if (disks->len)
        return g_steal_pointer(&disks);
    g_set_error(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FORMAT,
                _("A linked duplicate cannot be made: the machine has no disk that it writes to. Make a full "
                  "one."));
    return NULL;
}

bool esp_duplicate_can_link(EspBundle *bundle, GError **error)
{
    VmcConfig *config = esp_bundle_get_config(bundle, error);
    g_autoptr(GPtrArray) disks = config ? find_links(config, esp_bundle_get_path(bundle), error) : NULL;

    if (config)
        vmc_config_free(config);
    return disks != NULL;
}

static bool has_snapshot(const char *disk, const char *name)
{
    g_autoptr(GPtrArray) list = vmc_snapshots_list(disk, NULL);

    for (guint i = 0; list && i < list->len; i++)
        if (strcmp(((VmcSnapshot *)list->pdata[i])->name, name) == 0)
            return true;
    return false;
}

/* A name for the snapshot that no disk has yet. */
static char *snapshot_name(GPtrArray *disks, const char *name)
{
    for (unsigned n = 1;; n++) {
        /* Translators: the name of a snapshot that was made for a linked duplicate of that name. */
        char *text = n == 1 ? g_strdup_printf(_("For the duplicate “%s”"), name)
                            : g_strdup_printf(_("For the duplicate “%s” (%u)"), name, n);
        bool taken = strlen(text) > 200;
        for (guint i = 0; i < disks->len; i++)
            taken = taken || has_snapshot(disks->pdata[i], text);
        if (!taken)
            return text;
        if (strlen(text) > 200) /* bytes that vmcore takes */
            name = "…";
        g_free(text);
    }
}

static bool link_disks(GPtrArray *disks, const char *snapshot, EspBundle *to, guint *taken, GError **error)
{
    for (*taken = 0; *taken < disks->len; ++*taken)
        if (!vmc_snapshot_take(disks->pdata[*taken], snapshot, error))
            return false;
    for (guint i = 0; i < disks->len; i++) {
        g_autofree char *basename = g_path_get_basename(disks->pdata[i]);
        g_autofree char *clone = esp_bundle_file(to, basename);
        if (!vmc_disk_clone(disks->pdata[i], "qcow2", snapshot, clone, error))
            return false;
    }
    return true;
}

/* The new disks are where they stay: their originals are told. */
static void note_links(GPtrArray *disks, EspBundle *to)
{
    for (guint i = 0; i < disks->len; i++) {
        g_autofree char *basename = g_path_get_basename(disks->pdata[i]);
        g_autofree char *clone = esp_bundle_file(to, basename);
        g_autoptr(GError) error = NULL;
        if (!vmc_disk_clone_moved(clone, &error))
            g_debug("%s", error->message); /* esp_machine_find_duplicates looks through the folder, too */
    }
}

/* Disks outside of the bundle's that lie on others may be opened by who says so. */
static void allow_backing(EspBundle *to)
{
    VmcConfig *config = esp_bundle_get_config(to, NULL);

    for (guint i = 0; config && i < config->devices->len; i++) {
        VmcDeviceConfig *device = config->devices->pdata[i];
        if (esp_is_own_disk(device))
            device->block.backing = true;
    }
    if (config) {
        esp_bundle_set_config(to, config);
        vmc_config_free(config);
    }
}

static bool make_linked(EspBundle *source, EspBundle *to, const EspParts *parts, EspProgress *progress,
                        GError **error)
{
    g_autoptr(GPtrArray) disks = find_links(parts->config, parts->dir, error);
    guint taken = 0;

    if (!disks || !esp_parts_copy(parts, to, progress, error) ||
        !esp_parts_configure(parts, to, false, error))
        return false;
    g_autofree char *snapshot = snapshot_name(disks, esp_bundle_get_name(to));
    bool good = link_disks(disks, snapshot, to, &taken, error);
    allow_backing(to);
    good = good && esp_bundle_publish_beside(to, error);
    if (good) {
        note_links(disks, to);
        return true;
    }
    /* The new disks first, which are in the way of forgetting. */
    for (guint i = 0; i < disks->len; i++) {
        g_autofree char *basename = g_path_get_basename(disks->pdata[i]);
        g_autofree char *clone = esp_bundle_file(to, basename);
        g_unlink(clone);
    }
    for (guint i = 0; i < taken; i++)
        vmc_snapshot_delete(disks->pdata[i], snapshot, NULL);
    return false;
}

/* ---- the job ---- */

static bool duplicate(EspJob *job, gpointer data, GError **error)
{
    const Duplicate *wanted = data;
    g_autofree char *parent = g_path_get_dirname(wanted->path);
    g_autoptr(EspBundle) source = esp_bundle_hold(wanted->path, error);
    g_autoptr(EspBundle) to = source ? esp_bundle_new(parent, wanted->name, error) : NULL;
    const EspPartsWanted parts_wanted = {.saved_state = wanted->saved_state && !wanted->linked,
                                         .no_disks = wanted->linked};
    EspProgress progress = {.job = job};

    if (!to || !esp_bundle_set_name(to, wanted->name, error))
        return false;
    g_autoptr(EspParts) parts = esp_parts_find(source, &parts_wanted, error);
    if (!parts)
        return false;
    progress.total = parts->total;
    esp_job_set_stage(job, _("Copying"));
    if (wanted->linked)
        return make_linked(source, to, parts, &progress, error);
    return esp_parts_copy(parts, to, &progress, error) && esp_parts_configure(parts, to, false, error) &&
           esp_bundle_publish_beside(to, error);
}

EspJob *esp_duplicate_start(const char *path, const EspDuplicateOptions *options)
{
    Duplicate *wanted = g_new0(Duplicate, 1);
    g_autofree char *title = g_strdup_printf(_("Making “%s”"), options->name);
    EspJob *job = esp_job_new(title);

    wanted->path = g_canonicalize_filename(path, NULL);
    wanted->name = g_strdup(options->name);
    wanted->linked = options->linked;
    wanted->saved_state = options->saved_state;
    esp_job_start(job, duplicate, wanted, duplicate_free);
    return job;
}

char *esp_duplicate_name(const char *parent_dir, const char *name)
{
    g_autofree char *stem = g_utf8_substring(name, 0, MIN(g_utf8_strlen(name, -1), ESP_BUNDLE_NAME_MAX - 12));

    for (unsigned n = 1;; n++) {
        /* Translators: the name of a duplicate, "Debian copy"; %u is the number of a further one. At most 12
         * characters longer than the name. */
        char *text = n == 1 ? g_strdup_printf(_("%s copy"), stem) : g_strdup_printf(_("%s copy %u"), stem, n);
        g_autofree char *folder = g_strconcat(text, ESP_BUNDLE_SUFFIX, NULL);
        g_autofree char *path = g_build_filename(parent_dir, folder, NULL);
        if (!g_file_test(path, G_FILE_TEST_EXISTS))
            return text;
        g_free(text);
    }
}

/* ---- who needs whom ---- */

/* Whether an image lies, directly or not, on one in the folder `dir`. */
static bool lies_on(const char *image, const char *dir)
{
    g_autofree char *at = g_strdup(image);

    for (unsigned n = 0; at && n < 64; n++) {
        VmcDiskInfo info;
        if (!vmc_disk_info(at, NULL, &info, NULL))
            return false;
        g_autofree char *folder = g_path_get_dirname(at);
        g_free(at);
        at = info.backing ? g_canonicalize_filename(info.backing, folder) : NULL;
        vmc_disk_info_clear(&info);
        if (at && esp_path_is_below(at, dir))
            return true;
    }
    return false;
}

static bool bundle_lies_on(EspBundle *bundle, const char *dir)
{
    VmcConfig *config = esp_bundle_get_config(bundle, NULL);
    bool found = false;

    for (guint i = 0; config && i < config->devices->len && !found; i++) {
        const VmcDeviceConfig *device = config->devices->pdata[i];
        found = esp_is_own_disk(device) && device->block.format == VMC_DISK_QCOW2 &&
                lies_on(device->block.path, dir);
    }
    if (config)
        vmc_config_free(config);
    return found;
}

/* `folder` is that of a bundle, or of a disk without one. */
static void add_name(GHashTable *names, const char *folder)
{
    g_autoptr(EspBundle) bundle = esp_bundle_open(folder, NULL);

    char *name = g_strdup(bundle ? esp_bundle_get_name(bundle) : folder);

    if (g_hash_table_contains(names, name))
        g_free(name);
    else
        g_hash_table_add(names, name);
}

static void add_noted(GHashTable *names, const char *path)
{
    g_autoptr(EspBundle) bundle = esp_bundle_open(path, NULL);
    VmcConfig *config = bundle ? esp_bundle_get_config(bundle, NULL) : NULL;

    for (guint i = 0; config && i < config->devices->len; i++) {
        const VmcDeviceConfig *device = config->devices->pdata[i];
        if (!esp_is_own_disk(device) || device->block.format != VMC_DISK_QCOW2)
            continue;
        g_auto(GStrv) clones = vmc_disk_clones(device->block.path, NULL, NULL);
        for (guint n = 0; clones && clones[n]; n++) {
            g_autofree char *folder = g_path_get_dirname(clones[n]);
            if (!esp_path_is_below(clones[n], path))
                add_name(names, folder);
        }
    }
    if (config)
        vmc_config_free(config);
}

char **esp_machine_find_duplicates(const char *path)
{
    g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
    g_autofree char *full = g_canonicalize_filename(path, NULL), *parent = g_path_get_dirname(full);
    GDir *dir = g_dir_open(parent, 0, NULL);
    const char *entry;

    add_noted(names, full);
    while (dir && (entry = g_dir_read_name(dir))) {
        g_autofree char *other = g_build_filename(parent, entry, NULL);
        if (entry[0] == '.' || !g_str_has_suffix(entry, ESP_BUNDLE_SUFFIX) || strcmp(other, full) == 0)
            continue;
        g_autoptr(EspBundle) bundle = esp_bundle_open(other, NULL);
        if (bundle && bundle_lies_on(bundle, full))
            add_name(names, other);
    }
    if (dir)
        g_dir_close(dir);
    guint n;
    return (char **)g_hash_table_get_keys_as_array(names, &n);
}
