/* How long the program has been there (see start_clock.h). */
#include "ui/start_clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Field 22 of proc(5)'s stat: ticks after boot. */
static double started_ms(void)
{
    g_autofree char *text = NULL;
    unsigned long long ticks;
    const char *rest;

    if (!g_file_get_contents("/proc/self/stat", &text, NULL, NULL) || !(rest = strrchr(text, ')')))
        return -1;
    if (sscanf(rest + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
               &ticks) != 1)
        return -1;
    return 1000.0 * (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

double esp_ms_since_start(void)
{
    double started = started_ms();
    struct timespec now;

    if (started < 0 || clock_gettime(CLOCK_BOOTTIME, &now))
        return -1;
    return 1000.0 * (double)now.tv_sec + (double)now.tv_nsec / 1e6 - started;
}

double esp_cpu_ms(void)
{
    struct timespec cpu;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    return 1000.0 * (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e6;
}

void esp_count(const char *name, double value)
{
    char text[G_ASCII_DTOSTR_BUF_SIZE]; /* with a point in every language: a program reads it */

    if (g_getenv("ESPALIER_COUNTERS"))
        fprintf(stderr, "%s %s\n", name, g_ascii_formatd(text, sizeof(text), "%.1f", value));
}
