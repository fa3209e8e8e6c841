/* What a process takes of this computer: of its CPUs, and of its memory; from /proc. */
#pragma once

#include <glib.h>
#include <stdbool.h>

G_BEGIN_DECLS

/* Of one process; all zero at first. */
typedef struct EspProcessUse {
    int pid;
    guint64 ticks;  /* of CPU time until the last look */
    gint64 looked;  /* us */
    double cpu;     /* of one CPU, 0 to the number of CPUs; negative: not known yet */
    guint64 memory; /* bytes that are in memory now */
} EspProcessUse;

/* Looks again; the CPU's use is that since the last look. False: there is no such process. */
bool esp_process_use_look(EspProcessUse *use, int pid);

G_END_DECLS
