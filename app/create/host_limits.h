/*
 * What this computer has, and what a new machine on it should get of that.
 *
 * Threads: any.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

#define ESP_MEMORY_MIN_MIB 128u
#define ESP_DISK_MAX_GIB   65536u

typedef struct EspHostLimits {
    unsigned cpus;            /* that the computer has, at most as many as a machine can have */
    unsigned memory_mib;      /* likewise */
    unsigned memory_wise_mib; /* beyond that the computer itself has too little left */
    guint64 disk_free;        /* bytes where the library is; 0: not known */
    unsigned cpus_default, memory_default_mib, disk_default_gib;
} EspHostLimits;

/* `library_dir` (NULL: not asked) need not be there yet. May wait for the file system. */
void esp_host_limits_get(EspHostLimits *limits, const char *library_dir);

G_END_DECLS
