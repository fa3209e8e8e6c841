/*
 * The serial lines of a machine (see serial_lines.h).
 *
 * One thread polls all lines, so that neither a slow disk under a log nor a busy window ever holds the guest
 * up or is held up by it. What it reads is told on the owner's context in pieces of whatever has come
 * together by then.
 */
#include "app/serial_lines.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gi18n.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_MAX  (64u << 10)
#define TYPED_MAX (1u << 20)
#define LINES_MAX 16u

typedef struct Line {
    char *name;
    int console;
    char *log_path;
    int log_fd, fd, guest_fd;
    off_t log_size;

    GByteArray *news;    /* read, not told yet */
    GByteArray *history; /* told */
    GByteArray *typed;   /* not yet taken by the guest */
} Line;

struct _EspSerialLines {
    GObject parent_instance;
    GMainContext *context;
    GThread *thread;
    int wake_fd;
    GMutex lock; /* guards news, typed, telling and ending */
    bool ending;
    GSource *telling; /* not NULL while it waits to be run */
    unsigned n;
    Line lines[LINES_MAX];
};

enum { DATA, N_SIGNALS };
static guint signals[N_SIGNALS];

G_DEFINE_TYPE(EspSerialLines, esp_serial_lines, G_TYPE_OBJECT)

/* ---- telling ---- */

static void keep_history(Line *line, const guint8 *data, guint length)
{
    if (length > ESP_SERIAL_HISTORY_MAX) {
        data += length - ESP_SERIAL_HISTORY_MAX;
        length = ESP_SERIAL_HISTORY_MAX;
    }
    g_byte_array_append(line->history, data, length);
    if (line->history->len > ESP_SERIAL_HISTORY_MAX)
        g_byte_array_remove_range(line->history, 0, line->history->len - ESP_SERIAL_HISTORY_MAX);
}

static gboolean on_tell(gpointer data)
{
    EspSerialLines *lines = data;

    g_mutex_lock(&lines->lock);
    g_clear_pointer(&lines->telling, g_source_unref);
    g_mutex_unlock(&lines->lock);
    for (unsigned i = 0; i < lines->n; i++) {
        Line *line = &lines->lines[i];
        g_mutex_lock(&lines->lock);
        GByteArray *news = line->news;
        line->news = g_byte_array_new();
        g_mutex_unlock(&lines->lock);
        if (news->len) {
            keep_history(line, news->data, news->len);
            g_autoptr(GBytes) bytes = g_byte_array_free_to_bytes(news);
            g_signal_emit(lines, signals[DATA], 0, i, bytes);
        } else {
            g_byte_array_unref(news);
        }
    }
    return G_SOURCE_REMOVE;
}

/* ---- the thread ---- */

static void write_log(Line *line, const guint8 *data, size_t length)
{
    if (line->log_size + (off_t)length > (off_t)ESP_SERIAL_LOG_MAX) {
        g_autofree char *old = g_strdup_printf("%s.old", line->log_path);
        int fd = -1;
        if (g_rename(line->log_path, old) == 0)
            fd = open(line->log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0666);
        if (fd >= 0) {
            close(line->log_fd);
            line->log_fd = fd;
        }
        line->log_size = 0;
    }
    line->log_size += (off_t)length;
    while (length) {
        ssize_t n = write(line->log_fd, data, length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; /* a full disk costs the log a piece, and the guest nothing */
        data += n;
        length -= (size_t)n;
    }
}

static bool read_line(EspSerialLines *lines, Line *line, guint8 *buffer)
{
    ssize_t n = recv(line->fd, buffer, READ_MAX, MSG_DONTWAIT);

    if (n <= 0)
        return n < 0 && (errno == EAGAIN || errno == EINTR);
    write_log(line, buffer, (size_t)n);
    g_mutex_lock(&lines->lock);
    g_byte_array_append(line->news, buffer, (guint)n);
    /* A window that does not keep up, or is none, is not to cost more than the history would. */
    if (line->news->len > 2 * ESP_SERIAL_HISTORY_MAX)
        g_byte_array_remove_range(line->news, 0, line->news->len - ESP_SERIAL_HISTORY_MAX);
    if (!lines->telling && !lines->ending) {
        lines->telling = g_idle_source_new();
        g_source_set_priority(lines->telling, G_PRIORITY_DEFAULT_IDLE);
        g_source_set_callback(lines->telling, on_tell, lines, NULL);
        g_source_attach(lines->telling, lines->context);
    }
    g_mutex_unlock(&lines->lock);
    return true;
}

static void send_typed(EspSerialLines *lines, Line *line)
{
    g_mutex_lock(&lines->lock);
    ssize_t n = line->typed->len
                    ? send(line->fd, line->typed->data, line->typed->len, MSG_DONTWAIT | MSG_NOSIGNAL)
                    : 0;
    if (n > 0)
        g_byte_array_remove_range(line->typed, 0, (guint)n);
    else if (n < 0 && errno != EAGAIN && errno != EINTR)
        g_byte_array_set_size(line->typed, 0);
    g_mutex_unlock(&lines->lock);
}

static void *line_thread(void *data)
{
    EspSerialLines *lines = data;
    g_autofree guint8 *buffer = g_malloc(READ_MAX);
    struct pollfd fds[LINES_MAX + 1];
    bool ending = false;

    while (!ending) {
        g_mutex_lock(&lines->lock);
        for (unsigned i = 0; i < lines->n; i++)
            fds[i] = (struct pollfd){.fd = lines->lines[i].fd,
                                     .events = (short)(POLLIN | (lines->lines[i].typed->len ? POLLOUT : 0))};
        g_mutex_unlock(&lines->lock);
        fds[lines->n] = (struct pollfd){.fd = lines->wake_fd, .events = POLLIN};
        if (poll(fds, lines->n + 1, -1) < 0)
            continue;
        uint64_t count;
        if (fds[lines->n].revents && read(lines->wake_fd, &count, sizeof(count)) < 0)
            g_debug("nothing woke the thread of the serial lines");
        for (unsigned i = 0; i < lines->n; i++) {
            if (fds[i].revents & POLLOUT)
                send_typed(lines, &lines->lines[i]);
            if (fds[i].revents & POLLIN)
                read_line(lines, &lines->lines[i], buffer);
        }
        g_mutex_lock(&lines->lock);
        ending = lines->ending;
        g_mutex_unlock(&lines->lock);
    }
    /* The last words of a machine that has just ended belong into the log, too. */
    for (unsigned i = 0; i < lines->n; i++) {
        ssize_t n;
        while ((n = recv(lines->lines[i].fd, buffer, READ_MAX, MSG_DONTWAIT)) > 0)
            write_log(&lines->lines[i], buffer, (size_t)n);
    }
    return NULL;
}

static void wake(EspSerialLines *lines)
{
    uint64_t one = 1;

    if (write(lines->wake_fd, &one, sizeof(one)) < 0)
        g_debug("the thread of the serial lines is awake already");
}

/* ---- making them ---- */

static char *name_of(const VmcDeviceConfig *device, unsigned *uarts, unsigned *consoles, int *console)
{
    *console = -1;
    if (device->kind == VMC_DEVICE_UART)
        return g_strdup_printf("ttyS%u", (*uarts)++);
    if (device->serial.name)
        return g_strdup(device->serial.name);
    *console = (int)(*consoles)++;
    return g_strdup_printf("hvc%d", *console);
}

/* As vmcore opens logs: without waiting, should it be a FIFO. */
static int open_log(const char *path, off_t *size, GError **error)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0) {
        g_set_error(error, G_IO_ERROR, g_io_error_from_errno(errno),
                    _("The log file “%s” cannot be opened: %s"), path, g_strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    *size = S_ISREG(st.st_mode) ? st.st_size : 0;
    return fd;
}

static bool take_over(EspSerialLines *lines, VmcSerialConfig *serial, char *name, int console, GError **error)
{
    Line *line = &lines->lines[lines->n];
    int pair[2] = {-1, -1};

    *line = (Line){.name = name, .console = console, .log_fd = -1, .fd = -1, .guest_fd = -1};
    lines->n++;
    line->news = g_byte_array_new();
    line->history = g_byte_array_new();
    line->typed = g_byte_array_new();
    line->log_fd = open_log(serial->log_path, &line->log_size, error);
    if (line->log_fd < 0)
        return false;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        g_set_error(error, G_IO_ERROR, g_io_error_from_errno(errno),
                    _("The serial line “%s” cannot be connected: %s"), name, g_strerror(errno));
        return false;
    }
    line->fd = pair[0];
    line->guest_fd = pair[1];
    line->log_path = g_steal_pointer(&serial->log_path);
    serial->fd_in = serial->fd_out = line->guest_fd;
    return true;
}

EspSerialLines *esp_serial_lines_new(VmcConfig *config, GError **error)
{
    g_autoptr(EspSerialLines) lines = g_object_new(ESP_TYPE_SERIAL_LINES, NULL);
    unsigned uarts = 0, consoles = 0;

    for (guint i = 0; i < config->devices->len; i++) {
        VmcDeviceConfig *device = config->devices->pdata[i];
        if (device->kind != VMC_DEVICE_UART && device->kind != VMC_DEVICE_VIRTIO_CONSOLE)
            continue;
        int console;
        char *name = name_of(device, &uarts, &consoles, &console);
        if (!device->serial.log_path || lines->n == LINES_MAX)
            g_free(name);
        else if (!take_over(lines, &device->serial, name, console, error))
            return NULL;
    }
    lines->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    lines->thread = g_thread_new("serial lines", line_thread, lines);
    return g_steal_pointer(&lines);
}

/* ---- the rest ---- */

unsigned esp_serial_lines_get_n(EspSerialLines *lines)
{
    return lines->n;
}

const char *esp_serial_lines_get_name(EspSerialLines *lines, unsigned line)
{
    return lines->lines[line].name;
}

int esp_serial_lines_get_console(EspSerialLines *lines, unsigned line)
{
    return lines->lines[line].console;
}

GBytes *esp_serial_lines_get_history(EspSerialLines *lines, unsigned line)
{
    return g_bytes_new(lines->lines[line].history->data, lines->lines[line].history->len);
}

void esp_serial_lines_send(EspSerialLines *lines, unsigned line, const void *data, size_t length)
{
    GByteArray *typed = lines->lines[line].typed;

    g_mutex_lock(&lines->lock);
    g_byte_array_append(typed, data, (guint)MIN(length, TYPED_MAX - MIN(typed->len, TYPED_MAX)));
    g_mutex_unlock(&lines->lock);
    wake(lines);
}

static void esp_serial_lines_finalize(GObject *object)
{
    EspSerialLines *lines = ESP_SERIAL_LINES(object);

    if (lines->thread) {
        g_mutex_lock(&lines->lock);
        lines->ending = true;
        g_mutex_unlock(&lines->lock);
        wake(lines);
        g_thread_join(lines->thread);
    }
    if (lines->telling) {
        g_source_destroy(lines->telling);
        g_source_unref(lines->telling);
    }
    for (unsigned i = 0; i < lines->n; i++) {
        Line *line = &lines->lines[i];
        const int fds[] = {line->log_fd, line->fd, line->guest_fd};
        for (size_t k = 0; k < G_N_ELEMENTS(fds); k++)
            if (fds[k] >= 0)
                close(fds[k]);
        g_free(line->name);
        g_free(line->log_path);
        g_byte_array_unref(line->news);
        g_byte_array_unref(line->history);
        g_byte_array_unref(line->typed);
    }
    if (lines->wake_fd >= 0)
        close(lines->wake_fd);
    g_main_context_unref(lines->context);
    g_mutex_clear(&lines->lock);
    G_OBJECT_CLASS(esp_serial_lines_parent_class)->finalize(object);
}

static void esp_serial_lines_class_init(EspSerialLinesClass *klass)
{
    G_OBJECT_CLASS(klass)->finalize = esp_serial_lines_finalize;
    signals[DATA] = g_signal_new("data", G_TYPE_FROM_CLASS(klass), G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL,
                                 G_TYPE_NONE, 2, G_TYPE_UINT, G_TYPE_BYTES);
}

static void esp_serial_lines_init(EspSerialLines *lines)
{
    lines->context = g_main_context_ref_thread_default();
    lines->wake_fd = -1;
    g_mutex_init(&lines->lock);
}
