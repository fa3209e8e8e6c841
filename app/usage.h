/* What this process takes of the computer. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Two looks at the clocks, between which CPU use is measured. Zero it, then esp_usage_init. */
typedef struct EspUsage {
    gint64 at[2];  /* us, monotonic: an older look and the last one */
    gint64 cpu[2]; /* us of CPU time at those */
} EspUsage;

void esp_usage_init(EspUsage *usage);
/* How many CPUs the process has kept busy since a look that is at least a second old, however often this is
 * asked. */
double esp_usage_cpu(EspUsage *usage);
/* Bytes of memory that are the process's now; 0 if the system does not say. */
guint64 esp_usage_memory(void);

G_END_DECLS
