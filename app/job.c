/*
 * A long work that a person watches (see job.h).
 *
 * The thread writes what it has done under a lock and, if none is on its way, sends one idle source to the
 * owner's context after a tenth of a second: however often the work reports, the owner is not flooded. Speed
 * is measured by the owner between its looks and smoothed over about four seconds.
 */
#include "app/job.h"

#include <glib/gi18n.h>
#include <math.h>

#define TELL_MS        100
#define SMOOTH_SECONDS 4.0
#define SETTLE_SECONDS 1.0 /* before that a speed is a guess */

struct _EspJob {
    GObject parent_instance;
    char *title;
    GMainContext *context;
    GCancellable *cancellable;

    EspJobWork work;
    gpointer data;
    GDestroyNotify destroy;

    /* The owner's. */
    EspJobState state;
    GError *error;
    char *stage;
    guint64 done, total;
    double speed;
    gint64 stage_start, looked; /* us */
    guint64 looked_done;
    unsigned looked_stage;

    GMutex lock; /* for what the thread says */
    struct {
        char *stage;
        unsigned stage_number;
        guint64 done, total;
        bool told; /* a look is on its way */
    } said;
    GError *work_error;
    bool work_ok;
};

enum { CHANGED, FINISHED, N_SIGNALS };
static guint signals[N_SIGNALS];

G_DEFINE_TYPE(EspJob, esp_job, G_TYPE_OBJECT)

EspJob *esp_job_new(const char *title)
{
    EspJob *job = g_object_new(ESP_TYPE_JOB, NULL);
    job->title = g_strdup(title);
    return job;
}

/* ---- the owner looks ---- */

static void measure(EspJob *job, unsigned stage, gint64 now)
{
    if (stage != job->looked_stage) {
        job->looked_stage = stage;
        job->stage_start = job->looked = now;
        job->looked_done = job->done;
        job->speed = 0;
        return;
    }
    double seconds = (double)(now - job->looked) / 1e6;
    if (seconds < 0.05)
        return;
    double current = job->done >= job->looked_done ? (double)(job->done - job->looked_done) / seconds : 0;
    double weight = job->speed > 0 ? 1 - exp(-seconds / SMOOTH_SECONDS) : 1;
    job->speed += (current - job->speed) * weight;
    job->looked = now;
    job->looked_done = job->done;
}

static void look(EspJob *job)
{
    g_mutex_lock(&job->lock);
    if (g_strcmp0(job->stage, job->said.stage)) {
        g_free(job->stage);
        job->stage = g_strdup(job->said.stage);
    }
    job->done = job->said.done;
    job->total = job->said.total;
    unsigned stage = job->said.stage_number;
    job->said.told = false;
    g_mutex_unlock(&job->lock);
    measure(job, stage, g_get_monotonic_time());
}

static gboolean on_look(gpointer data)
{
    EspJob *job = data;

    look(job);
    if (job->state == ESP_JOB_RUNNING)
        g_signal_emit(job, signals[CHANGED], 0);
    return G_SOURCE_REMOVE;
}

static gboolean on_over(gpointer data)
{
    EspJob *job = data;

    look(job);
    job->error = g_steal_pointer(&job->work_error);
    if (job->work_ok) {
        job->state = ESP_JOB_SUCCEEDED;
    } else if (g_error_matches(job->error, G_IO_ERROR, G_IO_ERROR_CANCELLED)) {
        job->state = ESP_JOB_CANCELLED;
        g_clear_error(&job->error);
    } else {
        job->state = ESP_JOB_FAILED;
    }
    if (job->destroy)
        job->destroy(job->data);
    job->data = NULL;
    g_signal_emit(job, signals[CHANGED], 0);
    g_signal_emit(job, signals[FINISHED], 0);
    return G_SOURCE_REMOVE;
}

/* Has the owner's thread call `call`, and hands it the caller's reference to the job. */
static void send(EspJob *job, GSource *source, GSourceFunc call)
{
    g_source_set_callback(source, call, job, g_object_unref);
    g_source_attach(source, job->context);
    g_source_unref(source);
}

/* ---- the thread ---- */

static gpointer run(gpointer data)
{
    EspJob *job = data;

    job->work_ok = job->work(job, job->data, &job->work_error);
    if (!job->work_ok && !job->work_error)
        job->work_error = g_error_new(G_IO_ERROR, G_IO_ERROR_FAILED, "%s failed", job->title);
    send(job, g_idle_source_new(), on_over);
    return NULL;
}

void esp_job_start(EspJob *job, EspJobWork work, gpointer data, GDestroyNotify destroy)
{
    g_return_if_fail(job->state == ESP_JOB_READY);
    job->work = work;
    job->data = data;
    job->destroy = destroy;
    job->state = ESP_JOB_RUNNING;
    job->stage_start = job->looked = g_get_monotonic_time();
    GThread *thread = g_thread_new("job", run, g_object_ref(job));
    g_thread_unref(thread);
}

void esp_job_cancel(EspJob *job)
{
    g_cancellable_cancel(job->cancellable);
}

GCancellable *esp_job_get_cancellable(EspJob *job)
{
    return job->cancellable;
}

/* Lock held. */
static void tell(EspJob *job)
{
    if (job->said.told)
        return;
    job->said.told = true;
    send(g_object_ref(job), g_timeout_source_new(TELL_MS), on_look);
}

void esp_job_set_stage(EspJob *job, const char *stage)
{
    g_mutex_lock(&job->lock);
    g_free(job->said.stage);
    job->said.stage = g_strdup(stage);
    job->said.stage_number++;
    job->said.done = job->said.total = 0;
    tell(job);
    g_mutex_unlock(&job->lock);
}

void esp_job_set_progress(EspJob *job, guint64 done, guint64 total)
{
    g_mutex_lock(&job->lock);
    job->said.done = done;
    job->said.total = total;
    tell(job);
    g_mutex_unlock(&job->lock);
}

/* ---- what there is to see ---- */

const char *esp_job_get_title(EspJob *job)
{
    return job->title;
}

EspJobState esp_job_get_state(EspJob *job)
{
    return job->state;
}

const GError *esp_job_get_error(EspJob *job)
{
    return job->error;
}

const char *esp_job_get_stage(EspJob *job)
{
    return job->stage ? job->stage : "";
}

double esp_job_get_fraction(EspJob *job)
{
    return job->total ? CLAMP((double)job->done / (double)job->total, 0, 1) : -1;
}

double esp_job_get_speed(EspJob *job)
{
    return (double)(job->looked - job->stage_start) / 1e6 >= SETTLE_SECONDS ? job->speed : 0;
}

double esp_job_get_seconds_left(EspJob *job)
{
    double speed = esp_job_get_speed(job);

    return speed > 0 && job->total > job->done ? (double)(job->total - job->done) / speed : -1;
}

static char *time_words(double seconds)
{
    unsigned n = (unsigned)MIN(ceil(seconds), 1e9);

    if (n < 60)
        return g_strdup_printf(ngettext("%u second left", "%u seconds left", n), n);
    n = (n + 59) / 60;
    if (n < 60)
        return g_strdup_printf(ngettext("%u minute left", "%u minutes left", n), n);
    n = (n + 59) / 60;
    return g_strdup_printf(ngettext("%u hour left", "%u hours left", n), n);
}

char *esp_job_get_words(EspJob *job)
{
    g_autofree char *done = g_format_size(job->done), *total = g_format_size(job->total);
    double speed = esp_job_get_speed(job), seconds = esp_job_get_seconds_left(job);

    if (!job->done)
        return g_strdup("");
    /* Translators: how much of a download or copy is done: "1.2 GB of 3.4 GB". */
    g_autofree char *amount = job->total ? g_strdup_printf(_("%s of %s"), done, total) : g_strdup(done);
    if (speed <= 0)
        return g_steal_pointer(&amount);
    g_autofree char *size = g_format_size((guint64)speed);
    if (seconds < 0)
        /* Translators: "1.2 GB (12.5 MB/s)". */
        return g_strdup_printf(_("%s (%s/s)"), amount, size);
    g_autofree char *left = time_words(seconds);
    /* Translators: "1.2 GB of 3.4 GB (12.5 MB/s), 3 minutes left". */
    return g_strdup_printf(_("%s (%s/s), %s"), amount, size, left);
}

/* ---- the object ---- */

static void esp_job_finalize(GObject *object)
{
    EspJob *job = ESP_JOB(object);

    g_free(job->title);
    g_free(job->stage);
    g_free(job->said.stage);
    g_clear_error(&job->error);
    g_object_unref(job->cancellable);
    g_main_context_unref(job->context);
    g_mutex_clear(&job->lock);
    G_OBJECT_CLASS(esp_job_parent_class)->finalize(object);
}

static void esp_job_class_init(EspJobClass *klass)
{
    const GType type = G_TYPE_FROM_CLASS(klass);

    G_OBJECT_CLASS(klass)->finalize = esp_job_finalize;
    signals[CHANGED] = g_signal_new("changed", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 0);
    signals[FINISHED] =
        g_signal_new("finished", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 0);
}

static void esp_job_init(EspJob *job)
{
    job->context = g_main_context_ref_thread_default();
    job->cancellable = g_cancellable_new();
    g_mutex_init(&job->lock);
}
