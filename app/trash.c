/*
 * The trash (see trash.h).
 *
 * GIO moves things there, but brings them back only through a service that not every desktop has. The layout
 * of the home trash is specified (freedesktop.org's Trash specification 1.0): "files/NAME", and
 * "info/NAME.trashinfo" that says where it came from and when.
 */
#include "app/trash.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gi18n.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>

#include "app/duplicate.h"
#include "app/isolated.h"

#define INFO_SUFFIX ".trashinfo"

static bool refuse_needed(const char *path, const char *name, GError **error)
{
    g_auto(GStrv) duplicates = esp_machine_find_duplicates(path);

    if (!duplicates[0])
        return true;
    g_autofree char *list = g_strjoinv(_("”, “"), duplicates);
    g_set_error(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_BUSY,
                ngettext("“%s” cannot be moved to the trash: the disks of its linked duplicate “%s” lie on "
                         "its own. Make a full duplicate of that and remove it first.",
                         "“%s” cannot be moved to the trash: the disks of its linked duplicates “%s” lie on "
                         "its own. Make full duplicates of them and remove them first.",
                         g_strv_length(duplicates)),
                name, list);
    return false;
}

bool esp_machine_trash(const char *path, GError **error)
{
    g_autoptr(GError) why = NULL;
    g_autoptr(EspBundle) bundle = esp_bundle_hold(path, &why);
    g_autofree char *name =
        bundle ? g_strdup(esp_bundle_get_name(bundle)) : g_filename_display_basename(path);
    g_autoptr(GFile) file = g_file_new_for_path(path);

    /* One whose configuration cannot even be read cannot run either. */
    if (!bundle && !g_error_matches(why, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FORMAT) &&
        (g_error_matches(why, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_BUSY) ||
         !g_file_test(path, G_FILE_TEST_IS_DIR))) {
        g_propagate_error(error, g_steal_pointer(&why));
        return false;
    }
    g_clear_error(&why);
    if (!refuse_needed(path, name, error))
        return false;
    if (g_file_trash(file, NULL, &why)) {
        /* Or the next machine in this place would go on with what this one changed. */
        esp_isolated_throw_away(path, NULL);
        return true;
    }
    if (g_error_matches(why, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED))
        g_set_error(
            error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FILE,
            _("“%s” cannot be moved to the trash: there is none where it lies. It stays where it is; to "
              "delete it for good, delete its folder in Files."),
            name);
    else
        g_set_error(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FILE,
                    _("“%s” cannot be moved to the trash: %s"), name, why->message);
    return false;
}

/* The name in the trash of what came from `path`, the latest of them, or NULL. */
static char *find(const char *info_dir, const char *path)
{
    GDir *dir = g_dir_open(info_dir, 0, NULL);
    g_autofree char *latest = NULL;
    char *found = NULL;
    const char *entry;

    while (dir && (entry = g_dir_read_name(dir))) {
        g_autoptr(GKeyFile) info = g_key_file_new();
        g_autofree char *file = g_build_filename(info_dir, entry, NULL);
        if (!g_str_has_suffix(entry, INFO_SUFFIX) ||
            !g_key_file_load_from_file(info, file, G_KEY_FILE_NONE, NULL))
            continue;
        g_autofree char *escaped = g_key_file_get_string(info, "Trash Info", "Path", NULL);
        g_autofree char *when = g_key_file_get_string(info, "Trash Info", "DeletionDate", NULL);
        g_autofree char *from = escaped ? g_uri_unescape_string(escaped, NULL) : NULL;
        if (g_strcmp0(from, path) != 0 || (found && g_strcmp0(when, latest) <= 0))
            continue;
        g_free(found);
        found = g_strndup(entry, strlen(entry) - strlen(INFO_SUFFIX));
        g_free(latest);
        latest = g_steal_pointer(&when);
    }
    if (dir)
        g_dir_close(dir);
    return found;
}

bool esp_machine_untrash(const char *path, GError **error)
{
    g_autofree char *full = g_canonicalize_filename(path, NULL), *shown = g_filename_display_basename(full);
    g_autofree char *trash = g_build_filename(g_get_user_data_dir(), "Trash", NULL);
    g_autofree char *info_dir = g_build_filename(trash, "info", NULL);
    g_autofree char *name = find(info_dir, full);
    g_autofree char *file = name ? g_build_filename(trash, "files", name, NULL) : NULL;
    g_autofree char *info = name ? g_strconcat(info_dir, "/", name, INFO_SUFFIX, NULL) : NULL;
    int rc;

    if (!file || !g_file_test(file, G_FILE_TEST_IS_DIR)) {
        g_set_error(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FILE,
                    _("“%s” was not found in the trash of the home folder. Look for it in Files."), shown);
        return false;
    }
    rc = renameat2(AT_FDCWD, file, AT_FDCWD, full, RENAME_NOREPLACE);
    if (rc < 0 && errno == EINVAL)
        rc = rename(file, full);
    if (rc < 0) {
        g_set_error(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FILE,
                    _("“%s” cannot be brought back from the trash, where it stays: %s"), shown,
                    g_strerror(errno));
        return false;
    }
    g_unlink(info);
    return true;
}
