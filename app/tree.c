/* Files and folders of bundles (see tree.h). */
#include "app/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glib/gi18n.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define COPY_BYTES (1u << 20)

bool esp_progress_add(EspProgress *progress, guint64 bytes, GError **error)
{
    progress->done += bytes;
    if (!progress->job)
        return true;
    esp_job_set_progress(progress->job, MIN(progress->done, progress->total), progress->total);
    return !g_cancellable_set_error_if_cancelled(esp_job_get_cancellable(progress->job), error);
}

static bool failed(GError **error, const char *path, const char *format)
{
    int saved = errno;
    g_autofree char *shown = g_filename_display_name(path);
    g_autofree char *what = g_strdup_printf(format, shown);

    g_set_error(error, G_IO_ERROR, g_io_error_from_errno(saved), "%s: %s", what, g_strerror(saved));
    return false;
}

/* [offset, end) through a buffer: copy_file_range(2) does not know of all file systems, and cannot be
 * cancelled. */
static bool copy_range(int in, int out, off_t offset, off_t end, const char *from, const char *to,
                       EspProgress *progress, GError **error)
{
    g_autofree char *buffer = g_malloc(COPY_BYTES);

    while (offset < end) {
        ssize_t n = pread(in, buffer, (size_t)MIN((off_t)COPY_BYTES, end - offset), offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return failed(error, from, _("“%s” cannot be read"));
        if (n == 0)
            return true; /* it was cut meanwhile */
        for (ssize_t at = 0; at < n;) {
            ssize_t done = pwrite(out, buffer + at, (size_t)(n - at), offset + at);
            if (done < 0 && errno != EINTR)
                return failed(error, to, _("“%s” cannot be written"));
            at += MAX(done, 0);
        }
        offset += n;
        if (!esp_progress_add(progress, (guint64)n, error))
            return false;
    }
    return true;
}

static bool copy_data(int in, int out, const struct stat *st, const char *from, const char *to,
                      EspProgress *progress, GError **error)
{
    off_t at = 0;

    if (!ioctl(out, FICLONE, in))
        return esp_progress_add(progress, (guint64)st->st_blocks * 512, error);
    if (ftruncate(out, st->st_size))
        return failed(error, to, _("“%s” cannot be written"));
    while (at < st->st_size) {
        off_t data = lseek(in, at, SEEK_DATA), hole;
        if (data < 0 && errno == ENXIO)
            break;
        if (data < 0)
            data = at; /* no such thing on this file system */
        hole = lseek(in, data, SEEK_HOLE);
        if (hole <= data)
            hole = st->st_size;
        if (!copy_range(in, out, data, hole, from, to, progress, error))
            return false;
        at = hole;
    }
    return true;
}

/* Whoever writes to a disk has it locked: a copy of it would be of no moment at all. */
static bool lock(int fd, const char *path, GError **error)
{
    struct flock shared = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    g_autofree char *shown = g_filename_display_basename(path);

    if (!fcntl(fd, F_OFD_SETLK, &shared) || (errno != EAGAIN && errno != EACCES))
        return true;
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_BUSY,
                _("“%s” cannot be copied: a virtual machine uses it. Shut that down first."), shown);
    return false;
}

bool esp_copy_file(const char *from, const char *to, EspProgress *progress, GError **error)
{
    int in = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), out = -1;
    struct stat st;
    bool good;

    if (in < 0)
        return failed(error, from, _("“%s” cannot be read"));
    good = fstat(in, &st) == 0 || failed(error, from, _("“%s” cannot be read"));
    if (good && !S_ISREG(st.st_mode)) {
        errno = EINVAL;
        good = failed(error, from, _("“%s” is not a file that can be copied"));
    }
    good = good && lock(in, from, error);
    if (good) {
        out = open(to, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        good = out >= 0 || failed(error, to, _("“%s” cannot be made"));
    }
    if (good) {
        const struct timespec times[] = {st.st_atim, st.st_mtim};
        good = copy_data(in, out, &st, from, to, progress, error);
        /* Who may write it stays as it is: layers of disks are read-only. */
        if (good && (fchmod(out, st.st_mode & 0700) || futimens(out, times) || fsync(out)))
            good = failed(error, to, _("“%s” cannot be written"));
        if (!good)
            unlink(to);
    }
    if (out >= 0)
        close(out);
    close(in);
    return good;
}

guint64 esp_file_takes(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0 && S_ISREG(st.st_mode) ? (guint64)st.st_blocks * 512 : 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    return remove(path);
}

bool esp_tree_remove(const char *path, GError **error)
{
    return nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) == 0 ||
           failed(error, path, _("“%s” cannot be removed"));
}

bool esp_path_is_below(const char *path, const char *dir)
{
    g_autofree char *clean = g_canonicalize_filename(path, "/"), *folder = g_canonicalize_filename(dir, "/");
    size_t n = strlen(folder);

    return strncmp(clean, folder, n) == 0 && clean[n] == '/';
}
