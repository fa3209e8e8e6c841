/* A job in the terminal (see watch_job.h). */
#include "app/ctl/watch_job.h"

#include <glib/gi18n.h>
#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "app/ctl/run.h"

#define CLEAR_LINE "\r\033[K"

typedef struct Watch {
    GMainLoop *loop;
    EspJob *job;
    bool shown; /* there is a line that has to be cleared */
    bool interrupted;
} Watch;

static void on_changed(EspJob *job, Watch *watch)
{
    g_autofree char *words = esp_job_get_words(job);
    double fraction = esp_job_get_fraction(job);

    if (!isatty(STDERR_FILENO) || esp_job_get_state(job) != ESP_JOB_RUNNING)
        return;
    fprintf(stderr, CLEAR_LINE "%s", esp_job_get_stage(job));
    if (fraction >= 0)
        fprintf(stderr, " %3.0f %%", fraction * 100);
    fprintf(stderr, "  %s", words);
    watch->shown = true;
}

static void on_finished(EspJob *job, Watch *watch)
{
    g_main_loop_quit(watch->loop);
}

static gboolean on_interrupt(gpointer data)
{
    Watch *watch = data;

    watch->interrupted = true;
    esp_job_cancel(watch->job);
    return G_SOURCE_CONTINUE;
}

int esp_ctl_watch_job(EspJob *job)
{
    Watch watch = {.loop = g_main_loop_new(NULL, FALSE), .job = job};
    guint interrupt = g_unix_signal_add(SIGINT, on_interrupt, &watch);
    guint terminate = g_unix_signal_add(SIGTERM, on_interrupt, &watch);
    int status = ESP_EXIT_OK;

    g_signal_connect(job, "changed", G_CALLBACK(on_changed), &watch);
    g_signal_connect(job, "finished", G_CALLBACK(on_finished), &watch);
    g_main_loop_run(watch.loop);
    g_main_loop_unref(watch.loop);
    g_source_remove(interrupt);
    g_source_remove(terminate);
    if (watch.shown)
        fprintf(stderr, CLEAR_LINE);
    if (esp_job_get_state(job) == ESP_JOB_FAILED) {
        esp_ctl_say("%s", esp_job_get_error(job)->message);
        status = ESP_EXIT_FAILED;
    } else if (esp_job_get_state(job) == ESP_JOB_CANCELLED) {
        esp_ctl_say(_("cancelled; everything is as it was"));
        status = watch.interrupted ? 128 + SIGINT : ESP_EXIT_FAILED;
    }
    g_object_unref(job);
    return status;
}
