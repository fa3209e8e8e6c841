/* What this computer has (see host_limits.h). */
#include "app/create/host_limits.h"

#include <sys/statvfs.h>
#include <unistd.h>
#include <vmcore/config.h>

#define DISK_DEFAULT_GIB   32u
#define MEMORY_DEFAULT_MIB 4096u
#define MEMORY_OF_HOST_MIB 1024u /* that a desktop wants for itself */

/* Of the nearest folder above that is there. */
static guint64 free_bytes(const char *dir)
{
    g_autofree char *at = g_canonicalize_filename(dir, NULL);
    struct statvfs fs;

    while (statvfs(at, &fs)) {
        char *above = g_path_get_dirname(at);
        if (!g_strcmp0(above, at)) {
            g_free(above);
            return 0;
        }
        g_free(at);
        at = above;
    }
    return (guint64)fs.f_bavail * fs.f_frsize;
}

void esp_host_limits_get(EspHostLimits *limits, const char *library_dir)
{
    guint64 memory = (guint64)sysconf(_SC_PHYS_PAGES) * (guint64)sysconf(_SC_PAGESIZE) >> 20;

    *limits = (EspHostLimits){
        .cpus = MIN(g_get_num_processors(), VMC_CPUS_MAX),
        .memory_mib = (unsigned)MAX(memory, ESP_MEMORY_MIN_MIB),
        .disk_default_gib = DISK_DEFAULT_GIB,
    };
    limits->memory_wise_mib =
        MAX(limits->memory_mib > 2 * MEMORY_OF_HOST_MIB ? limits->memory_mib - MEMORY_OF_HOST_MIB
                                                        : limits->memory_mib / 2,
            ESP_MEMORY_MIN_MIB);
    limits->cpus_default = CLAMP(limits->cpus / 2, 1, 4);
    /* A quarter of the memory, in steps of half a GiB. */
    limits->memory_default_mib =
        CLAMP(limits->memory_mib / 4 / 512 * 512, MIN(1024, limits->memory_wise_mib), MEMORY_DEFAULT_MIB);
    if (library_dir)
        limits->disk_free = free_bytes(library_dir);
}
