/* Machines from elsewhere (see import.h). */
#include <errno.h>
#include <fcntl.h>
#include <glib/gi18n.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/bundle_parts.h"
#include "app/confine.h"
#include "app/import_private.h"

#define PATH_DATA     "esp-import-path"
#define LEFT_OUT_DATA "esp-import-left-out"
#define ISO_MARK_AT   32769

typedef struct Import {
    char *path, *library, *name;
    bool renew_identity, move;
} Import;

static void import_free(gpointer data)
{
    Import *wanted = data;

    g_free(wanted->path);
    g_free(wanted->library);
    g_free(wanted->name);
    g_free(wanted);
}

/* ---- what it is ---- */

static const struct {
    const char *bytes;
    unsigned length, offset;
    EspImportKind kind; /* or ESP_IMPORT_KINDS: of no use, because it is ... */
    const char *what;
} marks[] = {
    {"QFI\xfb", 4, 0, ESP_IMPORT_DISK, NULL},
    {"\x28\xb5\x2f\xfd", 4, 0, ESP_IMPORT_ARCHIVE, NULL},
    {"\x1f\x8b", 2, 0, ESP_IMPORT_ARCHIVE, NULL},
    {"\xfd"
     "7zXZ",
     5, 0, ESP_IMPORT_ARCHIVE, NULL},
    {"ustar", 5, 257, ESP_IMPORT_ARCHIVE, NULL},
    {"CD001", 5, ISO_MARK_AT, ESP_IMPORT_DISC, NULL},
    {"KDMV", 4, 0, ESP_IMPORT_KINDS, "VMDK"},
    {"<<< Oracle", 10, 0, ESP_IMPORT_KINDS, "VDI"},
    {"<<< innotek", 11, 0, ESP_IMPORT_KINDS, "VDI"},
    {"vhdxfile", 8, 0, ESP_IMPORT_KINDS, "VHDX"},
    {"conectix", 8, 0, ESP_IMPORT_KINDS, "VHD"},
};

static EspImportKind refuse(GError **error, const char *path, const char *why)
{
    g_autofree char *shown = g_filename_display_basename(path);

    g_set_error(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FORMAT, _("“%s” cannot be imported: %s"), shown,
                why);
    return ESP_IMPORT_KINDS;
}

static EspImportKind look_at(int fd, const char *path, guint64 size, GError **error)
{
    char bytes[16];

    for (size_t i = 0; i < G_N_ELEMENTS(marks); i++) {
        if (pread(fd, bytes, marks[i].length, marks[i].offset) != (ssize_t)marks[i].length ||
            memcmp(bytes, marks[i].bytes, marks[i].length) != 0)
            continue;
        if (marks[i].kind != ESP_IMPORT_KINDS)
            return marks[i].kind;
        g_autofree char *why = g_strdup_printf(
            _("it is a disk image of the format %s. Make a qcow2 image of it first, with “qemu-img "
              "convert -O qcow2”."),
            marks[i].what);
        return refuse(error, path, why);
    }
    if (pread(fd, bytes, 2, 0) == 2 && memcmp(bytes, "PK", 2) == 0) {
        g_autofree char *lower = g_ascii_strdown(path, -1);
        return g_str_has_suffix(lower, ".ipsw")
                   ? ESP_IMPORT_IPSW
                   : refuse(error, path, _("it is a ZIP archive. Unpack it, and import what is in it."));
    }
    if (size < (1u << 20) || size % 512)
        return refuse(
            error, path,
            _("it is neither a virtual machine nor an image of a disk, which has at least 1 MiB and "
              "whole sectors of 512 bytes."));
    return ESP_IMPORT_DISK;
}

EspImportKind esp_import_look(const char *path, GError **error)
{
    g_autofree char *config = g_build_filename(path, ESP_BUNDLE_CONFIG, NULL);
    struct stat st;

    if (stat(path, &st))
        return refuse(error, path, g_strerror(errno));
    if (S_ISDIR(st.st_mode))
        return g_file_test(config, G_FILE_TEST_IS_REGULAR)
                   ? ESP_IMPORT_BUNDLE
                   : refuse(error, path, _("it is a folder without a virtual machine’s config.plist."));
    if (!S_ISREG(st.st_mode))
        return refuse(error, path, _("it is neither a file nor a folder."));
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return refuse(error, path, g_strerror(errno));
    EspImportKind kind = look_at(fd, path, (guint64)st.st_size, error);
    close(fd);
    return kind;
}

/* ---- making it one of ours ---- */

/* Snapshots whose configuration leads outside are kept as snapshots of the disks alone. */
static void confine_snapshots(EspBundle *to)
{
    g_autofree char *folder = esp_bundle_file(to, ESP_BUNDLE_SNAPSHOTS);
    GDir *dir = g_dir_open(folder, 0, NULL);
    const char *entry;

    while (dir && (entry = g_dir_read_name(dir))) {
        g_autofree char *one = g_build_filename(folder, entry, NULL);
        g_autofree char *file = g_build_filename(one, ESP_BUNDLE_CONFIG, NULL);
        g_autoptr(EspBundle) then = esp_bundle_open_as(file, esp_bundle_get_path(to), NULL);
        VmcConfig *config = then ? esp_bundle_get_config(then, NULL) : NULL;
        g_autoptr(GPtrArray) lines = config ? esp_confine(config, esp_bundle_get_path(to)) : NULL;

        if (!lines || lines->len)
            esp_tree_remove(one, NULL);
        if (config)
            vmc_config_free(config);
    }
    if (dir)
        g_dir_close(dir);
}

static void renew_identity(VmcConfig *config, EspBundle *to)
{
    g_autofree char *identity = esp_bundle_file(to, ESP_BUNDLE_IDENTITY);

    g_unlink(identity);
    esp_renew_addresses(config);
}

/* What was put into `to` is read, kept to itself, and given its name. */
static bool adopt(EspBundle *to, const Import *wanted, EspJob *job, GError **error)
{
    VmcConfig *config;

    if (!esp_bundle_reload(to, error) || !(config = esp_bundle_get_config(to, error)))
        return false;
    g_autoptr(GPtrArray) left_out = esp_confine(config, esp_bundle_get_path(to));
    if (wanted->renew_identity)
        renew_identity(config, to);
    esp_bundle_set_config(to, config);
    vmc_config_free(config);
    confine_snapshots(to);
    if (left_out->len) {
        g_ptr_array_add(left_out, NULL);
        g_object_set_data_full(G_OBJECT(job), LEFT_OUT_DATA, g_strjoinv("\n", (char **)left_out->pdata),
                               g_free);
    }
    return esp_confine_images(esp_bundle_get_path(to), error) &&
           (!wanted->name || esp_bundle_set_name(to, wanted->name, error));
}

static bool copy_bundle(const Import *wanted, EspBundle *to, EspJob *job, GError **error)
{
    g_autoptr(EspBundle) source = esp_bundle_hold(wanted->path, error);
    const EspPartsWanted parts_wanted = {.identity = true, .saved_state = true};
    g_autoptr(EspParts) parts = source ? esp_parts_find(source, &parts_wanted, error) : NULL;
    g_autofree char *name = source ? g_strdup(esp_bundle_get_name(source)) : NULL;
    EspProgress progress = {.job = job};

    if (!parts)
        return false;
    /* What it has outside was not given to us with it. */
    for (guint i = parts->list->len; i-- > 0;) {
        const EspPart *part = parts->list->pdata[i];
        if (!esp_path_is_below(part->path, parts->dir))
            g_ptr_array_remove_index(parts->list, i);
        else if (part->flatten) {
            g_autofree char *shown = g_filename_display_basename(part->path);
            g_set_error(
                error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FORMAT,
                _("The disk “%s” lies on one that is not part of what is imported. Export the machine "
                  "with Espalier, which makes it whole."),
                shown);
            return false;
        }
    }
    progress.total = parts->total;
    esp_job_set_stage(job, _("Copying"));
    return esp_parts_copy(parts, to, &progress, error) && esp_bundle_set_name(to, name, error) &&
           esp_parts_configure(parts, to, true, error);
}

static bool same_device(const char *a, const char *b)
{
    struct stat st_a, st_b;

    return !stat(a, &st_a) && !stat(b, &st_b) && st_a.st_dev == st_b.st_dev;
}

/* A bundle on the same file system only changes its place. False without `error`: that cannot be. */
static bool move_bundle(const Import *wanted, EspJob *job, GError **error)
{
    g_autofree char *basename = g_path_get_basename(wanted->path);
    g_autofree char *target = g_build_filename(wanted->library, basename, NULL);

    if (!g_str_has_suffix(basename, ESP_BUNDLE_SUFFIX) || basename[0] == '.' ||
        g_mkdir_with_parents(wanted->library, 0700) < 0 || !same_device(wanted->path, wanted->library) ||
        g_file_test(target, G_FILE_TEST_EXISTS))
        return false;
    g_autoptr(EspBundle) source = esp_bundle_hold(wanted->path, error);
    if (!source || !adopt(source, wanted, job, error) || !esp_bundle_save(source, error) ||
        renameat2(AT_FDCWD, wanted->path, AT_FDCWD, target, RENAME_NOREPLACE) < 0)
        return false;
    g_object_set_data_full(G_OBJECT(job), PATH_DATA, g_steal_pointer(&target), g_free);
    return true;
}

/* ---- the job ---- */

static char *name_from(const char *path)
{
    g_autofree char *basename = g_path_get_basename(path);
    g_autofree char *name = g_filename_display_name(basename);
    char *dot = strrchr(name, '.');

    if (dot && dot != name)
        *dot = '\0';
    return g_utf8_substring(name, 0, MIN(g_utf8_strlen(name, -1), ESP_BUNDLE_NAME_MAX));
}

static bool fill(EspImportKind kind, const Import *wanted, EspBundle *to, EspJob *job, GError **error)
{
    switch (kind) {
    case ESP_IMPORT_BUNDLE:
        return copy_bundle(wanted, to, job, error) && adopt(to, wanted, job, error);
    case ESP_IMPORT_ARCHIVE:
        esp_job_set_stage(job, _("Unpacking"));
        return esp_import_unpack(wanted->path, to, job, error) && adopt(to, wanted, job, error);
    case ESP_IMPORT_DISK:
        return esp_import_disk(wanted->path, to, job, error);
    case ESP_IMPORT_DISC:
        return esp_import_disc(wanted->path, to, job, error);
    case ESP_IMPORT_IPSW:
        refuse(error, wanted->path,
               _("it is a restore image of Apple’s. Make a new virtual machine and choose macOS there."));
        break;
    case ESP_IMPORT_KINDS:
        break;
    }
    return false;
}

static bool import(EspJob *job, gpointer data, GError **error)
{
    const Import *wanted = data;
    EspImportKind kind = esp_import_look(wanted->path, error);
    g_autoptr(GError) why = NULL;

    if (kind == ESP_IMPORT_KINDS)
        return false;
    if (esp_path_is_below(wanted->path, wanted->library) && kind == ESP_IMPORT_BUNDLE) {
        refuse(error, wanted->path, _("it is in the library already."));
        return false;
    }
    if (kind == ESP_IMPORT_BUNDLE && wanted->move) {
        if (move_bundle(wanted, job, &why))
            return true;
        if (why) {
            g_propagate_error(error, g_steal_pointer(&why));
            return false;
        }
    }
    g_autofree char *name = wanted->name ? g_strdup(wanted->name) : name_from(wanted->path);
    g_autoptr(EspBundle) to = esp_bundle_new(wanted->library, name, error);
    if (!to)
        return false;
    if ((kind == ESP_IMPORT_DISK || kind == ESP_IMPORT_DISC) &&
        !esp_bundle_set_name(to, name, wanted->name ? error : NULL)) {
        if (wanted->name)
            return false;
        esp_bundle_set_name(to, _("Imported machine"), NULL);
    }
    if (!fill(kind, wanted, to, job, error) || !esp_bundle_publish_beside(to, error))
        return false;
    g_object_set_data_full(G_OBJECT(job), PATH_DATA, g_strdup(esp_bundle_get_path(to)), g_free);
    return true;
}

EspJob *esp_import_start(const char *path, const char *library, const EspImportOptions *options)
{
    Import *wanted = g_new0(Import, 1);
    g_autofree char *shown = g_filename_display_basename(path);
    g_autofree char *title = g_strdup_printf(_("Importing “%s”"), shown);
    EspJob *job = esp_job_new(title);

    wanted->path = g_canonicalize_filename(path, NULL);
    wanted->library = g_canonicalize_filename(library, NULL);
    wanted->name = g_strdup(options->name);
    wanted->renew_identity = options->renew_identity;
    wanted->move = options->move;
    esp_job_start(job, import, wanted, import_free);
    return job;
}

const char *esp_import_get_path(EspJob *job)
{
    return g_object_get_data(G_OBJECT(job), PATH_DATA);
}

const char *esp_import_get_left_out(EspJob *job)
{
    return g_object_get_data(G_OBJECT(job), LEFT_OUT_DATA);
}
