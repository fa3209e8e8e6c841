/* The seed as a disc (see seed.h), by libarchive. */
#include "app/create/seed.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <glib/gi18n.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#define LABEL "cidata"

static bool add_file(struct archive *archive, const char *name, const char *text)
{
    struct archive_entry *entry = archive_entry_new();
    size_t n = strlen(text);

    archive_entry_set_pathname(entry, name);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0400);
    archive_entry_set_size(entry, (la_int64_t)n);
    bool good = archive_write_header(archive, entry) == ARCHIVE_OK &&
                archive_write_data(archive, text, n) == (la_ssize_t)n;
    archive_entry_free(entry);
    return good;
}

static bool write_disc(const EspSeed *seed, int fd, char **why)
{
    struct archive *archive = archive_write_new();
    bool good =
        archive_write_set_format_iso9660(archive) == ARCHIVE_OK &&
        archive_write_add_filter_none(archive) == ARCHIVE_OK &&
        archive_write_set_options(archive, "volume-id=" LABEL ",joliet=1,rockridge=useful") == ARCHIVE_OK &&
        archive_write_open_fd(archive, fd) == ARCHIVE_OK && add_file(archive, "meta-data", seed->meta_data) &&
        add_file(archive, "user-data", seed->user_data) &&
        add_file(archive, "network-config", seed->network_config) &&
        archive_write_close(archive) == ARCHIVE_OK;

    if (!good)
        *why = g_strdup(archive_error_string(archive));
    archive_write_free(archive);
    return good && !fsync(fd);
}

bool esp_seed_write(const EspSeed *seed, const char *path, GError **error)
{
    g_autofree char *temporary = g_strconcat(path, ".tmp", NULL);
    g_autofree char *why = NULL;
    int fd = open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool good = fd >= 0 && write_disc(seed, fd, &why) && !rename(temporary, path);
    int err = errno;

    if (fd >= 0)
        close(fd);
    if (good)
        return true;
    g_unlink(temporary);
    g_autofree char *shown = g_filename_display_name(path);
    g_set_error(error, ESP_CREATION_ERROR, ESP_CREATION_ERROR_FILE,
                _("The disc “%s”, which sets the guest up, cannot be written: %s"), shown,
                why ? why : g_strerror(err));
    return false;
}
