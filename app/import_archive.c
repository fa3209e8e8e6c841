/*
 * Unpacking an archive of a machine into a new bundle.
 *
 * libarchive reads it; what we take are regular files whose names are one folder and one file, or lie two
 * folders below "snapshots". No name is used as it stands: it is taken apart, checked piece by piece, and
 * opened below the new bundle's folder, where there is nothing but what we made. Room on the disk is looked
 * at all the while, since a few kilobytes can unpack to any size.
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <glib/gi18n.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "app/import_private.h"
#include "app/utf8_locale.h"

#define READ_BYTES   (1u << 20)
#define BLOCK        4096u
#define FILES_MAX    10000u
#define FILE_MAX     (64ull << 40)
#define ROOM_LEFT    (64ull << 20) /* stays free on the disk */
#define ROOM_LOOK    (16ull << 20) /* bytes between two looks */
#define NAME_MAX_OWN 255u

typedef struct Unpacker {
    struct archive *archive;
    const char *dir;
    EspJob *job;
    guint64 size; /* of the archive */
    guint64 since_look;
    unsigned files;
} Unpacker;

static bool refused(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
static bool refused(GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *message = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error_literal(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FORMAT, message);
    return false;
}

/* ---- names ---- */

static bool is_plain(const char *piece)
{
    return *piece && piece[0] != '.' && strlen(piece) <= NAME_MAX_OWN && g_utf8_validate(piece, -1, NULL);
}

/* The name within the bundle; "" for a folder that need not be made; NULL: no archive of ours has it. */
static char *name_inside(const char *path)
{
    g_auto(GStrv) pieces = g_strsplit(path, "/", 8);
    guint n = g_strv_length(pieces), first = 0;

    if (*path == '/')
        return NULL;
    if (n && strcmp(pieces[0], ".") == 0)
        first = 1;
    while (n > first && !*pieces[n - 1])
        n--; /* folders end in a slash */
    if (n <= first + 1)
        return n == first || is_plain(pieces[first]) ? g_strdup("") : NULL;
    for (guint i = first; i < n; i++)
        if (!is_plain(pieces[i]))
            return NULL;
    if (n - first == 2)
        return g_strdup(pieces[first + 1]);
    if (strcmp(pieces[first + 1], ESP_BUNDLE_SNAPSHOTS) != 0 || n - first > 4)
        return NULL;
    return n - first == 4 ? g_build_filename(pieces[first + 1], pieces[first + 2], pieces[first + 3], NULL)
                          : g_strdup("");
}

/* ---- one file ---- */

static bool has_room(Unpacker *unpacker, guint64 bytes, GError **error)
{
    struct statvfs room;

    unpacker->since_look += bytes;
    if (unpacker->since_look < ROOM_LOOK)
        return true;
    unpacker->since_look = 0;
    if (statvfs(unpacker->dir, &room) || (guint64)room.f_bavail * room.f_frsize > ROOM_LEFT)
        return true;
    g_set_error(
        error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FILE,
        _("There is not enough room for what is in the archive. Make room, or have the machines elsewhere."));
    return false;
}

static bool go_on(Unpacker *unpacker, GError **error)
{
    gint64 done = archive_filter_bytes(unpacker->archive, -1);

    esp_job_set_progress(unpacker->job, (guint64)MAX(done, 0), unpacker->size);
    return !g_cancellable_set_error_if_cancelled(esp_job_get_cancellable(unpacker->job), error);
}

static bool is_zero(const char *bytes, size_t length)
{
    return !bytes[0] && !memcmp(bytes, bytes + 1, length - 1);
}

/* Blocks of zeroes stay holes. */
static bool write_block(Unpacker *unpacker, int fd, const char *name, const char *data, size_t length,
                        gint64 offset, GError **error)
{
    for (size_t at = 0, n; at < length; at += n) {
        n = MIN(BLOCK - (size_t)((offset + (gint64)at) % BLOCK), length - at);
        if (is_zero(data + at, n))
            continue;
        if (pwrite(fd, data + at, n, offset + (gint64)at) != (ssize_t)n) {
            g_set_error(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FILE, _("“%s” cannot be written: %s"), name,
                        g_strerror(errno));
            return false;
        }
        if (!has_room(unpacker, n, error))
            return false;
    }
    return true;
}

static bool unpack_data(Unpacker *unpacker, int fd, const char *name, gint64 size, GError **error)
{
    const void *data;
    la_int64_t offset;
    size_t length;
    int rc;

    while ((rc = archive_read_data_block(unpacker->archive, &data, &length, &offset)) == ARCHIVE_OK) {
        if (offset < 0 || offset > size || length > (guint64)(size - offset))
            return refused(error, _("The archive is damaged: “%s” is longer than it says."), name);
        if (length && !write_block(unpacker, fd, name, data, length, offset, error))
            return false;
        if (!go_on(unpacker, error))
            return false;
    }
    if (rc != ARCHIVE_EOF)
        return refused(error, _("The archive is damaged, or was cut off: %s."),
                       archive_error_string(unpacker->archive));
    return true;
}

static bool unpack_file(Unpacker *unpacker, struct archive_entry *entry, const char *name, GError **error)
{
    const struct timespec times[] = {{.tv_nsec = UTIME_NOW},
                                     {archive_entry_mtime(entry), archive_entry_mtime_nsec(entry)}};
    g_autofree char *path = g_build_filename(unpacker->dir, name, NULL), *folder = g_path_get_dirname(path);
    gint64 size = archive_entry_size(entry);
    int fd;

    if (!archive_entry_size_is_set(entry) || size < 0 || (guint64)size > FILE_MAX)
        return refused(
            error, _("The archive is not one of a virtual machine: “%s” has no size that could be."), name);
    if (strchr(name, '/'))
        g_mkdir_with_parents(folder, 0700);
    fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        g_set_error(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FILE, _("“%s” cannot be made: %s"), name,
                    g_strerror(errno));
        return false;
    }
    bool good = unpack_data(unpacker, fd, name, size, error);
    if (good && (ftruncate(fd, size) || fchmod(fd, archive_entry_perm(entry) & 0600) || futimens(fd, times) ||
                 fsync(fd))) {
        g_set_error(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FILE, _("“%s” cannot be written: %s"), name,
                    g_strerror(errno));
        good = false;
    }
    close(fd);
    return good;
}

static bool unpack_entry(Unpacker *unpacker, struct archive_entry *entry, GError **error)
{
    const char *bytes = archive_entry_pathname(entry);
    const char *path = bytes ? bytes : archive_entry_pathname_utf8(entry);
    g_autofree char *name = path ? name_inside(path) : NULL;
    g_autofree char *shown = g_filename_display_name(path ? path : "");

    if (!name || archive_entry_hardlink(entry) || archive_entry_symlink(entry) ||
        (archive_entry_filetype(entry) != AE_IFREG && archive_entry_filetype(entry) != AE_IFDIR))
        return refused(
            error,
            _("The archive is not one of a virtual machine: there is “%s” in it, which such an archive "
              "has not."),
            shown);
    if (archive_entry_filetype(entry) == AE_IFDIR)
        return true;
    if (!*name || ++unpacker->files > FILES_MAX)
        return refused(error,
                       _("The archive is not one of a virtual machine: its files should be in one folder."));
    /* What another computer left there; a lock is made anew. */
    if (strcmp(name, ESP_BUNDLE_LOCK) == 0)
        return true;
    return unpack_file(unpacker, entry, name, error);
}

bool esp_import_unpack(const char *file, EspBundle *to, EspJob *job, GError **error)
{
    Unpacker unpacker = {.dir = esp_bundle_get_path(to), .job = job};
    EspUtf8 utf8 = esp_utf8_begin();
    struct archive_entry *entry;
    struct stat st;
    bool good;
    int rc = ARCHIVE_OK;

    if (stat(file, &st) == 0)
        unpacker.size = (guint64)st.st_size;
    unpacker.archive = archive_read_new();
    archive_read_support_format_tar(unpacker.archive);
    archive_read_support_filter_zstd(unpacker.archive);
    archive_read_support_filter_gzip(unpacker.archive);
    archive_read_support_filter_xz(unpacker.archive);
    good = archive_read_open_filename(unpacker.archive, file, READ_BYTES) == ARCHIVE_OK ||
           refused(error, _("The archive is damaged, or was cut off: %s."),
                   archive_error_string(unpacker.archive));
    while (good && (rc = archive_read_next_header(unpacker.archive, &entry)) >= ARCHIVE_WARN &&
           rc != ARCHIVE_EOF)
        good = unpack_entry(&unpacker, entry, error) && go_on(&unpacker, error);
    if (good && rc != ARCHIVE_EOF)
        good = refused(error, _("The archive is damaged, or was cut off: %s."),
                       archive_error_string(unpacker.archive));
    if (good && !unpacker.files)
        good = refused(error, _("There is nothing in the archive."));
    archive_read_free(unpacker.archive);
    esp_utf8_end(utf8);
    return good;
}
