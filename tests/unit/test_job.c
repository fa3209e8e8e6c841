/* Long works: what the watcher hears of them, however they end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "app/job.h"

typedef struct Watch {
    GMainLoop *loop;
    unsigned changed, finished, destroyed;
    unsigned reports; /* that the work has made */
    GThread *thread;  /* of the work */
} Watch;

static void on_changed(EspJob *job, Watch *watch)
{
    watch->changed++;
}

static void on_finished(EspJob *job, Watch *watch)
{
    watch->finished++;
    g_main_loop_quit(watch->loop);
}

static void on_destroy(gpointer data)
{
    ((Watch *)data)->destroyed++;
}

static EspJob *start(Watch *watch, EspJobWork work)
{
    EspJob *job = esp_job_new("Copying");

    watch->loop = g_main_loop_new(NULL, FALSE);
    g_signal_connect(job, "changed", G_CALLBACK(on_changed), watch);
    g_signal_connect(job, "finished", G_CALLBACK(on_finished), watch);
    esp_job_start(job, work, watch, on_destroy);
    return job;
}

static void await(Watch *watch)
{
    g_main_loop_run(watch->loop);
    g_main_loop_unref(watch->loop);
}

/* 1.6 s at about 10 MB/s, with very many reports. */
static bool copy(EspJob *job, gpointer data, GError **error)
{
    Watch *watch = data;
    gint64 begin = g_get_monotonic_time(), now;

    watch->thread = g_thread_self();
    esp_job_set_stage(job, "Reading");
    while ((now = g_get_monotonic_time() - begin) < 1600000) {
        esp_job_set_progress(job, (guint64)now * 10, 20000000);
        watch->reports++;
        g_usleep(100);
    }
    return true;
}

static void test_a_work_succeeds_and_its_watcher_is_not_flooded(void **state)
{
    Watch watch = {0};
    g_autoptr(EspJob) job = start(&watch, copy);

    assert_int_equal(esp_job_get_state(job), ESP_JOB_RUNNING);
    await(&watch);
    assert_int_equal(esp_job_get_state(job), ESP_JOB_SUCCEEDED);
    assert_null(esp_job_get_error(job));
    assert_int_equal(watch.finished, 1);
    assert_int_equal(watch.destroyed, 1);
    assert_true(watch.thread != g_thread_self());
    assert_true(watch.reports > 100);
    assert_in_range(watch.changed, 3, 20);
    assert_string_equal(esp_job_get_stage(job), "Reading");
    assert_float_equal(esp_job_get_fraction(job), 0.8, 0.05);
    assert_true(esp_job_get_speed(job) > 7e6 && esp_job_get_speed(job) < 13e6);
    assert_true(esp_job_get_seconds_left(job) > 0.2 && esp_job_get_seconds_left(job) < 1);
    g_autofree char *words = esp_job_get_words(job);
    assert_non_null(strstr(words, " of "));
    assert_non_null(strstr(words, "/s), 1 second left"));
}

static bool break_down(EspJob *job, gpointer data, GError **error)
{
    g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NOSPC, "the disk is full");
    return false;
}

static void test_a_work_fails_with_its_sentence(void **state)
{
    Watch watch = {0};
    g_autoptr(EspJob) job = start(&watch, break_down);

    await(&watch);
    assert_int_equal(esp_job_get_state(job), ESP_JOB_FAILED);
    assert_string_equal(esp_job_get_error(job)->message, "the disk is full");
    g_autofree char *words = esp_job_get_words(job);
    assert_string_equal(words, "");
}

static bool endless(EspJob *job, gpointer data, GError **error)
{
    while (!g_cancellable_set_error_if_cancelled(esp_job_get_cancellable(job), error))
        g_usleep(1000);
    return false;
}

static gboolean cancel(gpointer job)
{
    esp_job_cancel(job);
    return G_SOURCE_REMOVE;
}

static void test_a_work_is_cancelled_which_is_no_error(void **state)
{
    Watch watch = {0};
    g_autoptr(EspJob) job = start(&watch, endless);

    g_timeout_add(50, cancel, job);
    await(&watch);
    assert_int_equal(esp_job_get_state(job), ESP_JOB_CANCELLED);
    assert_null(esp_job_get_error(job));
    assert_true(esp_job_get_fraction(job) < 0);
}

static void count_death(gpointer data, GObject *where)
{
    ((Watch *)data)->destroyed += 100;
}

static void test_a_job_that_nobody_holds_lives_until_its_work_is_over(void **state)
{
    Watch watch = {0};
    EspJob *job = start(&watch, copy);

    g_object_weak_ref(G_OBJECT(job), count_death, &watch);
    g_object_unref(job);
    await(&watch);
    /* A last report may be on its way. */
    for (gint64 end = g_get_monotonic_time() + 1000000;
         watch.destroyed < 101 && g_get_monotonic_time() < end;)
        if (!g_main_context_iteration(NULL, FALSE))
            g_usleep(1000);
    assert_int_equal(watch.destroyed, 101);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_work_succeeds_and_its_watcher_is_not_flooded),
        cmocka_unit_test(test_a_work_fails_with_its_sentence),
        cmocka_unit_test(test_a_work_is_cancelled_which_is_no_error),
        cmocka_unit_test(test_a_job_that_nobody_holds_lives_until_its_work_is_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
