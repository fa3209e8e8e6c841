/*
 * The serial lines of a machine, for a window to show and type into, with their log files kept.
 *
 * A line of a configuration that goes to a log file is given to us: the machine gets one end of a pair of
 * sockets, and a thread at the other end writes what comes to the same file and passes it on. Lines that go
 * elsewhere, such as to a socket of the user's choice, stay as they are.
 *
 * Signal:
 *   data (guint line, GBytes *bytes)   the guest has written
 *
 * Threads: the thread that made it, on whose thread-default main context the signal comes.
 */
#pragma once

#include <gio/gio.h>
#include <stdbool.h>
#include <vmcore/config.h>

G_BEGIN_DECLS

#define ESP_TYPE_SERIAL_LINES (esp_serial_lines_get_type())
G_DECLARE_FINAL_TYPE(EspSerialLines, esp_serial_lines, ESP, SERIAL_LINES, GObject)

/* A log that has grown beyond this is renamed to NAME.old, and begun anew. */
#define ESP_SERIAL_LOG_MAX (8u << 20)
/* How much of what a line said is kept for windows that come later. */
#define ESP_SERIAL_HISTORY_MAX (256u << 10)

/* Takes over the lines of `config` that go to log files, which are appended to, and changes it accordingly.
 * It must outlive the machine that is made of it. NULL with an error of GIO's if a log cannot be opened. */
EspSerialLines *esp_serial_lines_new(VmcConfig *config, GError **error);

unsigned esp_serial_lines_get_n(EspSerialLines *lines);
/* What the guest calls it: "hvc0", "ttyS0", or the name of a port. */
const char *esp_serial_lines_get_name(EspSerialLines *lines, unsigned line);
/* The number of a virtio console, for vmc_machine_set_console_size; -1: it is another kind. */
int esp_serial_lines_get_console(EspSerialLines *lines, unsigned line);
/* What it said last, at most ESP_SERIAL_HISTORY_MAX bytes; what is told by `data` from now on comes after it.
 */
GBytes *esp_serial_lines_get_history(EspSerialLines *lines, unsigned line);
/* Types. What the guest does not take yet waits, up to 1 MiB; beyond that it is lost. */
void esp_serial_lines_send(EspSerialLines *lines, unsigned line, const void *data, size_t length);

G_END_DECLS
