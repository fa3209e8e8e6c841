/*
 * A check of this computer, in words: what virtual machines need of it, whether it is there, and what to do
 * about it. Shown at the first start, and by `espalierctl check`.
 *
 * Threads: any; it takes a few milliseconds, and may wait for the disk.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef enum EspCheckLevel { ESP_CHECK_GOOD, ESP_CHECK_WARNING, ESP_CHECK_PROBLEM } EspCheckLevel;

typedef struct EspCheckLine {
    const char *id;   /* for programs: "cpu" */
    const char *name; /* what was looked at: "Processor" */
    EspCheckLevel level;
    char *finding; /* one sentence */
    char *advice;  /* what to do, or NULL */
} EspCheckLine;

/* Everything, most important first; an array of EspCheckLine that frees them. `library` is the folder of the
 * machines, which need not exist. */
GPtrArray *esp_check_run(const char *library);
/* The worst of them. */
EspCheckLevel esp_check_worst(GPtrArray *lines);

G_END_DECLS
