/* A machine's log in its bundle (see machine_log.h). */
#include "app/machine_log.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gi18n.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct EspMachineLog {
    EspBundle *bundle; /* the owner's */
    int fd;            /* or -1 */
    bool has_stderr;
};

/* The bundle is somebody's gift, perhaps: no links, no pipes. */
static int open_log(const char *file, int flags)
{
    int fd = open(file, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);
    struct stat st;

    if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))) {
        close(fd);
        fd = -1;
        errno = EINVAL;
    }
    return fd;
}

static void reopen(EspMachineLog *log)
{
    g_autofree char *file = esp_bundle_file(log->bundle, ESP_MACHINE_LOG);

    if (log->fd >= 0)
        close(log->fd);
    esp_bundle_rotate_log(log->bundle, ESP_MACHINE_LOG, ESP_LOG_FILE_MAX);
    log->fd = open_log(file, O_WRONLY | O_APPEND | O_CREAT);
    if (log->has_stderr && log->fd >= 0)
        dup2(log->fd, STDERR_FILENO);
}

EspMachineLog *esp_machine_log_new(EspBundle *bundle)
{
    EspMachineLog *log = g_new0(EspMachineLog, 1);

    log->bundle = bundle;
    log->fd = -1;
    reopen(log);
    return log;
}

void esp_machine_log_free(EspMachineLog *log)
{
    if (!log)
        return;
    if (log->fd >= 0)
        close(log->fd);
    g_free(log);
}

void esp_machine_log_write(EspMachineLog *log, const char *line)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_local();
    g_autofree char *time = g_date_time_format(now, "%Y-%m-%d %H:%M:%S");
    g_auto(GStrv) lines = g_strsplit(line, "\n", -1);
    g_autofree char *joined = g_strjoinv("\n                     ", lines);
    g_autofree char *text = g_strdup_printf("%s  %s\n", time, joined);
    struct stat st;

    if (log->fd >= 0 && fstat(log->fd, &st) == 0 && st.st_size > (off_t)ESP_LOG_FILE_MAX)
        reopen(log);
    /* Half a line on a full disk is better than none, and there is nobody to tell. */
    if (log->fd >= 0 && write(log->fd, text, strlen(text)) < 0)
        g_debug("%s cannot be written: %s", ESP_MACHINE_LOG, g_strerror(errno));
}

void esp_machine_log_take_stderr(EspMachineLog *log)
{
    struct stat st;

    if (log->fd < 0 || log->has_stderr || isatty(STDERR_FILENO) ||
        (fstat(STDERR_FILENO, &st) == 0 && S_ISREG(st.st_mode)))
        return;
    log->has_stderr = dup2(log->fd, STDERR_FILENO) >= 0;
}

/* From the start of a line on, unless there is but one. */
static const char *whole_lines(const char *text)
{
    const char *end = strchr(text, '\n');

    return end && end[1] ? end + 1 : text;
}

char *esp_machine_log_read(const char *path, const char *basename, gsize max, GError **error)
{
    g_autofree char *file = g_build_filename(path, basename, NULL);
    int fd = open_log(file, O_RDONLY);
    struct stat st = {0};

    if (fd < 0 || fstat(fd, &st) < 0) {
        g_autofree char *shown = g_filename_display_name(file);
        g_set_error(error, G_FILE_ERROR, (gint)g_file_error_from_errno(errno), _("“%s” cannot be read: %s"),
                    shown, g_strerror(errno));
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    off_t from = st.st_size > (off_t)max ? st.st_size - (off_t)max : 0;
    g_autofree char *text = g_malloc(max + 1);
    ssize_t got = pread(fd, text, max, from);
    close(fd);
    text[MAX(got, 0)] = '\0';
    return g_utf8_make_valid(from ? whole_lines(text) : text, -1);
}
