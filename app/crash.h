/*
 * Machines whose process died: what the lock file and the log it left behind say.
 *
 * A process that ends in order empties the lock file; one that was killed leaves its last words there, and
 * the kernel lets go of the lock. So a crash is known to everybody, at any time later, until the machine is
 * started again or somebody dismisses it.
 *
 * Threads: any.
 */
#pragma once

#include <gio/gio.h>
#include <stdbool.h>

G_BEGIN_DECLS

#define ESP_STATUS_UNKNOWN (-1)

typedef struct EspCrash {
    char *path; /* of the bundle */
    char *name; /* the machine's */
    int pid;
    char *state;     /* what the machine was doing, as vmc_machine_state_name says it */
    int wait_status; /* as waitpid gives it, or ESP_STATUS_UNKNOWN: the process was not ours */
} EspCrash;

/* Whether the last process of the bundle at `path` died while its machine was on. */
bool esp_crash_happened(const char *path);
/* What is known of it, or NULL: there was none. `wait_status` is the caller's, who may have waited for it. */
EspCrash *esp_crash_new(const char *path, int wait_status);
void esp_crash_free(EspCrash *crash);
/* How it ended, in a sentence; free with g_free. */
char *esp_crash_explain(const EspCrash *crash);
/* All of it, with the end of the log, for whoever helps; free with g_free. Reads files. */
char *esp_crash_describe(const EspCrash *crash);
/* Forgets it. False: the machine has been started, or the file system refused. */
bool esp_crash_dismiss(const char *path);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(EspCrash, esp_crash_free)

G_END_DECLS
