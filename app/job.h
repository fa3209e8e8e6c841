/*
 * A long work that a person watches: copying a disk, downloading, creating a machine.
 *
 * The work runs on a thread of its own and says how far it is; the job tells the main context, at most ten
 * times a second, and works out speed and time left. It can be cancelled at any time: the work sees that by
 * the GCancellable, undoes or keeps what it must, and returns. A job lives until its last reference is gone;
 * the thread holds one.
 *
 * Signals, on the thread-default main context in which the job was made:
 *   changed ()    stage, progress or state are others
 *   finished ()   the work is over: succeeded, failed or cancelled; once
 *
 * Threads: as each function says.
 */
#pragma once

#include <gio/gio.h>
#include <stdbool.h>

G_BEGIN_DECLS

#define ESP_TYPE_JOB (esp_job_get_type())
G_DECLARE_FINAL_TYPE(EspJob, esp_job, ESP, JOB, GObject)

typedef enum EspJobState {
    ESP_JOB_READY,
    ESP_JOB_RUNNING,
    ESP_JOB_SUCCEEDED,
    ESP_JOB_FAILED,
    ESP_JOB_CANCELLED
} EspJobState;

/* The work; false with `error` set if it failed or was cancelled (G_IO_ERROR_CANCELLED). */
typedef bool (*EspJobWork)(EspJob *job, gpointer data, GError **error);

/* `title` is what a person reads: "Duplicating “Debian”". */
EspJob *esp_job_new(const char *title);
/* Runs `work` on a thread of its own; `destroy` is called for `data` on the owner's thread once it is over
 * (may be NULL). Owner's thread, once. */
void esp_job_start(EspJob *job, EspJobWork work, gpointer data, GDestroyNotify destroy);
/* Any thread. */
void esp_job_cancel(EspJob *job);

/* ---- for who watches; owner's thread ---- */

const char *esp_job_get_title(EspJob *job);
EspJobState esp_job_get_state(EspJob *job);
/* Why it failed; NULL otherwise. */
const GError *esp_job_get_error(EspJob *job);
/* What it does now ("Downloading"), or "". */
const char *esp_job_get_stage(EspJob *job);
/* Of the stage, 0 to 1; negative: not known. */
double esp_job_get_fraction(EspJob *job);
/* "1.2 GB of 3.4 GB (12.5 MB/s), 3 minutes left", as much of it as is known, or "". Free with g_free. */
char *esp_job_get_words(EspJob *job);
/* Bytes (or whatever is counted) a second, smoothed; 0: not known. */
double esp_job_get_speed(EspJob *job);
/* Seconds until the stage is done; negative: not known. */
double esp_job_get_seconds_left(EspJob *job);

/* ---- for the work; its thread ---- */

GCancellable *esp_job_get_cancellable(EspJob *job);
/* A new stage, with progress at the start. */
void esp_job_set_stage(EspJob *job, const char *stage);
/* `done` of `total` bytes of this stage; total 0: not known. Cheap; may be called as often as one likes. */
void esp_job_set_progress(EspJob *job, guint64 done, guint64 total);

G_END_DECLS
