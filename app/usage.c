/* What this process takes of the computer (see usage.h). */
#include "app/usage.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

static gint64 cpu_time_us(void)
{
    struct timespec time;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return time.tv_sec * G_USEC_PER_SEC + time.tv_nsec / 1000;
}

void esp_usage_init(EspUsage *usage)
{
    for (int i = 0; i < 2; i++) {
        usage->at[i] = g_get_monotonic_time();
        usage->cpu[i] = cpu_time_us();
    }
}

double esp_usage_cpu(EspUsage *usage)
{
    gint64 now = g_get_monotonic_time(), cpu = cpu_time_us();

    if (now - usage->at[1] >= G_USEC_PER_SEC) {
        usage->at[0] = usage->at[1];
        usage->cpu[0] = usage->cpu[1];
        usage->at[1] = now;
        usage->cpu[1] = cpu;
    }
    return now > usage->at[0] ? (double)(cpu - usage->cpu[0]) / (double)(now - usage->at[0]) : 0.0;
}

guint64 esp_usage_memory(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    unsigned long resident = 0;

    if (file && fscanf(file, "%*u %lu", &resident) != 1)
        resident = 0;
    if (file)
        fclose(file);
    return (guint64)resident * (guint64)sysconf(_SC_PAGESIZE);
}
