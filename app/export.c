/* A machine as one file (see export.h). */
#include "app/export.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <glib/gi18n.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/bundle_parts.h"
#include "app/utf8_locale.h"

#define BUFFER_BYTES (1u << 20)

typedef struct Export {
    char *bundle, *file;
    EspExportOptions options;
} Export;

typedef struct Packer {
    struct archive *archive;
    char *folder; /* in the archive */
    char *buffer;
    EspProgress progress;
} Packer;

static void export_free(gpointer data)
{
    Export *wanted = data;

    g_free(wanted->bundle);
    g_free(wanted->file);
    g_free(wanted);
}

static bool failed(GError **error, const char *path, const char *why)
{
    g_autofree char *shown = g_filename_display_name(path);

    g_set_error(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FILE, _("“%s” cannot be written: %s"), shown, why);
    return false;
}

/* ---- one file ---- */

/* Says where the file has data; the rest are holes. */
static void add_extents(struct archive_entry *entry, int fd, off_t size)
{
    off_t data = 0, hole;
    bool some = false;

    while (data < size && (data = lseek(fd, data, SEEK_DATA)) >= 0) {
        hole = lseek(fd, data, SEEK_HOLE);
        if (hole <= data)
            return archive_entry_sparse_clear(entry); /* it changes under us, or cannot say */
        archive_entry_sparse_add_entry(entry, data, hole - data);
        data = hole;
        some = true;
    }
    /* A file that is nothing but a hole needs something for its size to be kept. */
    if (!some && size)
        archive_entry_sparse_add_entry(entry, size, 0);
}

/* libarchive wants the holes' bytes, too, and drops them. */
static bool pack_data(Packer *packer, int fd, const struct stat *st, const char *path, GError **error)
{
    off_t at = 0, data = 0;

    while (at < st->st_size) {
        size_t length = (size_t)MIN((off_t)BUFFER_BYTES, st->st_size - at);
        ssize_t n = (ssize_t)length;

        if (data <= at)
            data = lseek(fd, at, SEEK_DATA);
        bool hole = data < 0 ? errno == ENXIO : data >= at + (off_t)length;
        if (hole)
            memset(packer->buffer, 0, length);
        else
            n = pread(fd, packer->buffer, length, at);
        if (data < 0 && hole)
            data = st->st_size;
        if (n <= 0)
            return failed(error, path, n < 0 ? g_strerror(errno) : _("it became shorter meanwhile"));
        if (archive_write_data(packer->archive, packer->buffer, (size_t)n) != n)
            return failed(error, path, archive_error_string(packer->archive));
        at += n;
        if (!esp_progress_add(&packer->progress, hole ? 0 : (guint64)n, error))
            return false;
    }
    return true;
}

static bool pack_file(Packer *packer, const char *path, const char *name, GError **error)
{
    g_autofree char *where = g_strconcat(packer->folder, "/", name, NULL);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct archive_entry *entry;
    struct stat st;
    bool good;

    if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        failed(error, path, fd < 0 ? g_strerror(errno) : _("it is not a file"));
        if (fd >= 0)
            close(fd);
        return false;
    }
    entry = archive_entry_new2(packer->archive);
    archive_entry_set_pathname(entry, where);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, st.st_mode & 0700);
    archive_entry_set_size(entry, st.st_size);
    archive_entry_set_mtime(entry, st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    add_extents(entry, fd, st.st_size);
    good = archive_write_header(packer->archive, entry) >= ARCHIVE_WARN ||
           failed(error, path, archive_error_string(packer->archive));
    archive_entry_free(entry);
    good = good && pack_data(packer, fd, &st, path, error);
    close(fd);
    return good;
}

static bool pack_part(Packer *packer, const EspPart *part, EspBundle *work, GError **error)
{
    g_autofree char *flat = NULL;
    bool good;

    if (!part->flatten)
        return pack_file(packer, part->path, part->name, error);
    flat = esp_bundle_file(work, part->name);
    good = esp_part_copy(part, work, &packer->progress, error) && pack_file(packer, flat, part->name, error);
    g_unlink(flat);
    return good;
}

/* ---- all of them ---- */

static bool pack_all(Packer *packer, const EspParts *parts, EspBundle *work, GError **error)
{
    g_autofree char *config = esp_bundle_file(work, ESP_BUNDLE_CONFIG);

    if (!pack_file(packer, config, ESP_BUNDLE_CONFIG, error))
        return false;
    for (guint i = 0; i < parts->list->len; i++)
        if (!pack_part(packer, parts->list->pdata[i], work, error))
            return false;
    return true;
}

static bool write_archive(Packer *packer, int fd, const char *file, const EspParts *parts, EspBundle *work,
                          GError **error)
{
    struct archive *archive = archive_write_new();
    bool good = archive_write_set_format_pax_restricted(archive) == ARCHIVE_OK &&
                archive_write_add_filter_zstd(archive) == ARCHIVE_OK &&
                archive_write_open_fd(archive, fd) == ARCHIVE_OK;

    if (!good)
        failed(error, file, archive_error_string(archive));
    packer->archive = archive;
    good = good && pack_all(packer, parts, work, error);
    /* What is in buffers still can fail. */
    if (good && archive_write_close(archive) != ARCHIVE_OK)
        good = failed(error, file, archive_error_string(archive));
    if (!good)
        archive_write_fail(archive);
    archive_write_free(archive);
    return good && (fsync(fd) == 0 || failed(error, file, g_strerror(errno)));
}

static bool put_in_place(const char *temporary, const char *file, bool replace, GError **error)
{
    int rc =
        replace ? rename(temporary, file) : renameat2(AT_FDCWD, temporary, AT_FDCWD, file, RENAME_NOREPLACE);

    if (rc < 0 && errno == EINVAL)
        rc = link(temporary, file) ? -1 : unlink(temporary);
    return rc == 0 || failed(error, file, g_strerror(errno));
}

static bool export_machine(EspJob *job, gpointer data, GError **error)
{
    const Export *wanted = data;
    const EspPartsWanted parts_wanted = {.saved_state = wanted->options.saved_state, .identity = true};
    g_autofree char *parent = g_path_get_dirname(wanted->file);
    g_autofree char *temporary = g_strconcat(wanted->file, ".XXXXXX", NULL);
    g_autofree char *buffer = g_malloc(BUFFER_BYTES);
    Packer packer = {.buffer = buffer, .progress = {.job = job}};
    g_autoptr(EspBundle) source = esp_bundle_hold(wanted->bundle, error);
    g_autoptr(EspParts) parts = source ? esp_parts_find(source, &parts_wanted, error) : NULL;
    /* Its configuration, and disks that have to be made whole, until they are packed. */
    g_autoptr(EspBundle) work = parts ? esp_bundle_new(parent, esp_bundle_get_name(source), error) : NULL;
    g_autofree char *folder = g_path_get_basename(wanted->bundle);
    int fd;

    if (!work || !esp_parts_configure(parts, work, true, error))
        return false;
    if (!wanted->options.replace && g_file_test(wanted->file, G_FILE_TEST_EXISTS))
        return failed(error, wanted->file, g_strerror(EEXIST));
    fd = g_mkstemp_full(temporary, O_RDWR | O_CLOEXEC, 0666);
    if (fd < 0)
        return failed(error, wanted->file, g_strerror(errno));
    packer.folder = g_utf8_make_valid(folder, -1);
    packer.progress.total = parts->total;
    for (guint i = 0; i < parts->list->len; i++)
        packer.progress.total +=
            ((EspPart *)parts->list->pdata[i])->flatten ? ((EspPart *)parts->list->pdata[i])->size : 0;
    esp_job_set_stage(job, _("Packing"));
    EspUtf8 utf8 = esp_utf8_begin();
    bool good = write_archive(&packer, fd, wanted->file, parts, work, error);
    esp_utf8_end(utf8);
    close(fd);
    good = good && put_in_place(temporary, wanted->file, wanted->options.replace, error);
    if (!good)
        g_unlink(temporary);
    g_free(packer.folder);
    return good;
}

EspJob *esp_export_start(const char *bundle_path, const char *file, const EspExportOptions *options)
{
    Export *wanted = g_new0(Export, 1);
    g_autofree char *shown = g_filename_display_basename(file);
    g_autofree char *title = g_strdup_printf(_("Exporting to “%s”"), shown);
    EspJob *job = esp_job_new(title);

    wanted->bundle = g_canonicalize_filename(bundle_path, NULL);
    wanted->file = g_canonicalize_filename(file, NULL);
    wanted->options = *options;
    esp_job_start(job, export_machine, wanted, export_free);
    return job;
}
