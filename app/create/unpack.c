/*
 * Copying an image into a machine (see unpack.h), by libarchive's "raw" format, which knows one nameless file
 * behind any compression, or none.
 *
 * A compressed file may be small and what is in it endless: no disk is larger than ESP_DISK_MAX_GIB, and the
 * disk of the host ends before.
 */
#include "app/create/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <glib/gi18n.h>
#include <glib/gstdio.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/create/creation.h"
#include "app/create/host_limits.h"
#include "app/create/image_kind.h"

#define READ_BYTES (256u << 10)
#define HOLE_BYTES 65536u

typedef struct Unpack {
    const char *from, *temporary;
    int in, out;
    guint64 total, written;
    void (*progress)(guint64, guint64, gpointer);
    gpointer data;
    GCancellable *cancellable;
} Unpack;

static bool fail_write(const Unpack *unpack, GError **error)
{
    int err = errno;
    g_autofree char *shown = g_filename_display_name(unpack->temporary);

    g_set_error(error, ESP_CREATION_ERROR, ESP_CREATION_ERROR_FILE, _("“%s” cannot be written: %s"), shown,
                g_strerror(err));
    return false;
}

static bool fail_read(const Unpack *unpack, const char *why, GError **error)
{
    g_autofree char *shown = g_filename_display_name(unpack->from);

    g_set_error(error, ESP_CREATION_ERROR, ESP_CREATION_ERROR_SOURCE, _("“%s” cannot be unpacked: %s"), shown,
                why ? why : _("it is damaged"));
    return false;
}

static bool is_zero(const char *bytes, size_t n)
{
    return !n || (!bytes[0] && !memcmp(bytes, bytes + 1, n - 1));
}

static bool write_all(Unpack *unpack, const char *bytes, size_t n, guint64 at, GError **error)
{
    while (n) {
        ssize_t written = pwrite(unpack->out, bytes, n, (off_t)at);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return fail_write(unpack, error);
        bytes += written;
        at += (guint64)written;
        n -= (size_t)written;
    }
    return true;
}

/* What is zero is left out; the file is given its length in the end. */
static bool write_block(Unpack *unpack, const char *bytes, size_t n, guint64 at, GError **error)
{
    for (size_t step; n; bytes += step, at += step, n -= step) {
        step = MIN(n, HOLE_BYTES - at % HOLE_BYTES);
        if (!is_zero(bytes, step) && !write_all(unpack, bytes, step, at, error))
            return false;
        unpack->written = MAX(unpack->written, at + step);
    }
    return true;
}

static bool copy_blocks(Unpack *unpack, struct archive *archive, GError **error)
{
    const void *bytes;
    size_t n;
    la_int64_t at;
    int rc;

    while ((rc = archive_read_data_block(archive, &bytes, &n, &at)) == ARCHIVE_OK) {
        if (g_cancellable_set_error_if_cancelled(unpack->cancellable, error))
            return false;
        if ((guint64)at + n > (guint64)ESP_DISK_MAX_GIB << 30)
            return fail_read(unpack, _("what is in it is larger than a disk can be"), error);
        if (!write_block(unpack, bytes, n, (guint64)at, error))
            return false;
        if (unpack->progress)
            unpack->progress(MIN((guint64)archive_filter_bytes(archive, -1), unpack->total), unpack->total,
                             unpack->data);
    }
    return rc == ARCHIVE_EOF || fail_read(unpack, archive_error_string(archive), error);
}

static bool copy_archive(Unpack *unpack, GError **error)
{
    struct archive *archive = archive_read_new();
    struct archive_entry *entry;
    bool good;

    archive_read_support_filter_gzip(archive);
    archive_read_support_filter_xz(archive);
    archive_read_support_filter_zstd(archive);
    archive_read_support_filter_bzip2(archive);
    archive_read_support_format_raw(archive);
    if (archive_read_open_fd(archive, unpack->in, READ_BYTES) != ARCHIVE_OK ||
        archive_read_next_header(archive, &entry) != ARCHIVE_OK)
        good = fail_read(unpack, archive_error_string(archive), error);
    else
        good = copy_blocks(unpack, archive, error) &&
               (!ftruncate(unpack->out, (off_t)unpack->written) || fail_write(unpack, error));
    archive_read_free(archive);
    return good;
}

static bool copy(Unpack *unpack, GError **error)
{
    EspImageKind kind;
    struct stat st;

    if (!esp_image_kind(unpack->from, &kind, NULL, error))
        return false;
    unpack->in = open(unpack->from, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (unpack->in < 0 || fstat(unpack->in, &st))
        return fail_read(unpack, g_strerror(errno), error);
    unpack->total = (guint64)st.st_size;
    unpack->out = open(unpack->temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (unpack->out < 0)
        return fail_write(unpack, error);
    if (kind != ESP_IMAGE_COMPRESSED && !ioctl(unpack->out, FICLONE, unpack->in))
        return !fsync(unpack->out) || fail_write(unpack, error);
    return copy_archive(unpack, error) && (!fsync(unpack->out) || fail_write(unpack, error));
}

bool esp_unpack(const char *from, const char *to, void (*progress)(guint64, guint64, gpointer), gpointer data,
                GCancellable *cancellable, GError **error)
{
    g_autofree char *temporary = g_strconcat(to, ".tmp", NULL);
    Unpack unpack = {.from = from,
                     .temporary = temporary,
                     .in = -1,
                     .out = -1,
                     .progress = progress,
                     .data = data,
                     .cancellable = cancellable};
    bool good = copy(&unpack, error) && (!rename(temporary, to) || fail_write(&unpack, error));

    if (unpack.in >= 0)
        close(unpack.in);
    if (unpack.out >= 0)
        close(unpack.out);
    if (!good)
        g_unlink(temporary);
    return good;
}
