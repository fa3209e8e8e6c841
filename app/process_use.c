/* What a process takes of this computer (see process_use.h). */
#include "app/process_use.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Fields 14, 15 and 24 of proc(5)'s stat; the second may have anything in it but ends with the last ")". */
static bool read_stat(int pid, guint64 *ticks, guint64 *pages)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/stat", pid), *text = NULL;
    unsigned long long user, system;
    long long rss;
    const char *rest;

    if (pid <= 0 || !g_file_get_contents(path, &text, NULL, NULL) || !(rest = strrchr(text, ')')))
        return false;
    if (sscanf(rest + 1,
               " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %*d %*d %*u %*u %lld",
               &user, &system, &rss) != 3)
        return false;
    *ticks = user + system;
    *pages = (guint64)MAX(rss, 0);
    return true;
}

bool esp_process_use_look(EspProcessUse *use, int pid)
{
    guint64 ticks, pages;
    gint64 now = g_get_monotonic_time();

    if (!read_stat(pid, &ticks, &pages)) {
        *use = (EspProcessUse){.cpu = -1};
        return false;
    }
    double seconds = (double)(now - use->looked) / 1e6;
    use->cpu = use->pid == pid && ticks >= use->ticks && seconds > 0.01
                   ? (double)(ticks - use->ticks) / (double)sysconf(_SC_CLK_TCK) / seconds
                   : -1;
    use->pid = pid;
    use->ticks = ticks;
    use->looked = now;
    use->memory = pages * (guint64)sysconf(_SC_PAGESIZE);
    return true;
}
