/*
 * machine.log in a bundle: what happened to the machine and its process, kept for the time when neither is
 * there any more to be asked.
 *
 * Only the process that has the bundle's lock writes it. Beyond a size the file becomes machine.log.old, and
 * a new one begins.
 *
 * Threads: one at a time per log; esp_machine_log_read on any.
 */
#pragma once

#include <gio/gio.h>

#include "app/bundle.h"

G_BEGIN_DECLS

#define ESP_MACHINE_LOG     "machine.log"
#define ESP_LOG_FILE_MAX    (1u << 20) /* bytes after which a log is put aside */
#define ESP_LOG_SHOWN_BYTES (64u << 10)

typedef struct EspMachineLog EspMachineLog;

/* Never NULL: a log that cannot be written takes lines and forgets them. */
EspMachineLog *esp_machine_log_new(EspBundle *bundle);
void esp_machine_log_free(EspMachineLog *log);
/* Adds a line with the time before it. `line` may have several, which become lines of one time. */
void esp_machine_log_write(EspMachineLog *log, const char *line);
/* Standard error, if what is printed there would be lost or on its way to nobody who knows the machine (a
 * pipe, a socket, /dev/null), goes to the log from now on: what libraries say before they abort. A terminal
 * and a file stay what they are. */
void esp_machine_log_take_stderr(EspMachineLog *log);

/* The last `max` bytes of a file in the bundle at `path`, from the start of a line, as valid UTF-8; free with
 * g_free. A file that is not there is an error (G_FILE_ERROR). */
char *esp_machine_log_read(const char *path, const char *basename, gsize max, GError **error);

G_END_DECLS
