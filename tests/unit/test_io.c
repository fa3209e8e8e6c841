/* The I/O thread: calls, doorbells and timers. alone: yes */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/io.h"

#define MS 1000000ull

static int set_up(void **state)
{
    *state = vmc_io_new(NULL);
    return *state ? 0 : -1;
}

static int tear_down(void **state)
{
    vmc_io_free(*state);
    return 0;
}

typedef struct Log {
    VmcIo *io;
    GMutex lock;
    unsigned n;
    int what[64];
    bool off_thread;
} Log;

typedef struct Note {
    Log *log;
    int what;
} Note;

static void note(void *data)
{
    Note *n = data;

    g_mutex_lock(&n->log->lock);
    n->log->what[n->log->n++ % 64] = n->what;
    n->log->off_thread |= !vmc_io_on_thread(n->log->io);
    g_mutex_unlock(&n->log->lock);
}

static unsigned count(Log *log)
{
    unsigned n;

    g_mutex_lock(&log->lock);
    n = log->n;
    g_mutex_unlock(&log->lock);
    return n;
}

/* Up to two seconds. */
static void wait_for(Log *log, unsigned n)
{
    for (unsigned i = 0; i < 2000 && count(log) < n; i++)
        g_usleep(1000);
    assert_true(count(log) >= n);
}

static void test_calls_run_in_order_on_the_thread(void **state)
{
    Log log = {.io = *state};
    Note notes[20];

    for (int i = 0; i < 20; i++) {
        notes[i] = (Note){&log, i};
        vmc_io_call(*state, note, &notes[i]);
    }
    wait_for(&log, 20);
    for (int i = 0; i < 20; i++)
        assert_int_equal(log.what[i], i);
    assert_false(log.off_thread);
    assert_false(vmc_io_on_thread(*state));
}

static void call_again(void *data)
{
    Note *n = data;

    vmc_io_call_sync(n->log->io, note, n); /* on the thread: directly */
    note(n);
}

static void test_a_sync_call_has_run_when_it_returns(void **state)
{
    Log log = {.io = *state};
    Note n = {&log, 7};

    vmc_io_call_sync(*state, note, &n);
    assert_int_equal(count(&log), 1);
    vmc_io_call_sync(*state, call_again, &n);
    assert_int_equal(count(&log), 3);
    assert_false(log.off_thread);
}

static void sleep_a_little(void *data)
{
    g_usleep(20000);
}

static void test_rings_before_the_answer_are_merged(void **state)
{
    Log log = {.io = *state};
    Note n = {&log, 1};
    VmcDoorbell *bell = vmc_doorbell_new(*state, note, &n);

    assert_non_null(bell);
    vmc_io_call(*state, sleep_a_little, NULL);
    for (int i = 0; i < 100; i++)
        vmc_doorbell_ring(bell);
    wait_for(&log, 1);
    assert_in_range(count(&log), 1, 2); /* one may have come before the sleep */
    vmc_doorbell_ring(bell);
    wait_for(&log, 2);
    vmc_doorbell_free(bell);
}

static void test_a_bell_rings_through_its_descriptor(void **state)
{
    Log log = {.io = *state};
    Note n = {&log, 1};
    VmcDoorbell *bell = vmc_doorbell_new(*state, note, &n);
    uint64_t one = 1;

    assert_int_equal(write(vmc_doorbell_fd(bell), &one, sizeof one), sizeof one);
    wait_for(&log, 1);
    vmc_doorbell_free(bell);
    vmc_doorbell_free(NULL);
}

static void test_timers_fire_in_the_order_of_their_deadlines(void **state)
{
    Log log = {.io = *state};
    Note notes[4];
    VmcTimer *timers[4];
    uint64_t now = vmc_now_ns();
    static const unsigned delay[4] = {40, 10, 30, 20};

    for (int i = 0; i < 4; i++) {
        notes[i] = (Note){&log, i};
        timers[i] = vmc_timer_new(*state, note, &notes[i]);
        vmc_timer_arm(timers[i], now + delay[i] * MS);
    }
    wait_for(&log, 4);
    assert_int_equal(log.what[0], 1);
    assert_int_equal(log.what[1], 3);
    assert_int_equal(log.what[2], 2);
    assert_int_equal(log.what[3], 0);
    for (int i = 0; i < 4; i++)
        vmc_timer_free(timers[i]);
}

typedef struct Late {
    VmcTimer *timer;
    uint64_t deadline;
    gint n;
    int64_t late[100];
} Late;

static void measure(void *data)
{
    Late *late = data;
    uint64_t now = vmc_now_ns();

    late->late[late->n] = (int64_t)(now - late->deadline);
    if (late->n < 99) {
        late->deadline = now + MS;
        vmc_timer_arm(late->timer, late->deadline);
    }
    g_atomic_int_inc(&late->n);
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

static void test_timers_are_never_early_and_seldom_late(void **state)
{
    Late late = {.n = 0};

    late.timer = vmc_timer_new(*state, measure, &late);
    late.deadline = vmc_now_ns() + MS;
    vmc_timer_arm(late.timer, late.deadline);
    for (int i = 0; i < 3000 && g_atomic_int_get(&late.n) < 100; i++)
        g_usleep(1000);
    assert_int_equal(g_atomic_int_get(&late.n), 100);
    vmc_timer_free(late.timer);
    qsort(late.late, 100, sizeof *late.late, compare);
    print_message("late by %.3f ms at the median, %.3f at worst\n", (double)late.late[50] / 1e6,
                  (double)late.late[99] / 1e6);
    assert_true(late.late[0] >= 0);
    assert_true(late.late[50] < 5 * (int64_t)MS);
}

static void test_a_disarmed_timer_stays_quiet_and_a_new_deadline_replaces_the_old(void **state)
{
    Log log = {.io = *state};
    Note a = {&log, 1}, b = {&log, 2};
    VmcTimer *off = vmc_timer_new(*state, note, &a), *moved = vmc_timer_new(*state, note, &b);
    uint64_t now = vmc_now_ns();

    vmc_timer_arm(off, now + 30 * MS);
    vmc_timer_arm(moved, now + 60000 * MS);
    vmc_timer_disarm(off);
    vmc_timer_disarm(off);
    vmc_timer_arm(moved, now + 60 * MS);
    wait_for(&log, 1);
    assert_int_equal(log.what[0], 2);
    assert_true(vmc_now_ns() >= now + 60 * MS);
    g_usleep(20000);
    assert_int_equal(count(&log), 1);
    vmc_timer_free(off);
    vmc_timer_free(moved);
}

static void test_a_deadline_in_the_past_fires_at_once(void **state)
{
    Log log = {.io = *state};
    Note n = {&log, 1};
    VmcTimer *timer = vmc_timer_new(*state, note, &n);

    vmc_timer_arm(timer, 0);
    wait_for(&log, 1);
    vmc_timer_arm(timer, vmc_now_ns() - 5);
    wait_for(&log, 2);
    vmc_timer_free(timer);
}

static void arm_for_the_past(void *data)
{
    VmcTimer **timer = data;

    vmc_timer_arm(*timer, 0);
}

static void test_a_timer_that_never_rests_leaves_others_their_turn(void **state)
{
    Log log = {.io = *state};
    Note n = {&log, 1};
    VmcTimer *busy;

    busy = vmc_timer_new(*state, arm_for_the_past, &busy);
    vmc_timer_arm(busy, 0);
    vmc_io_call_sync(*state, sleep_a_little, NULL); /* a deadlock if it starves us */
    vmc_io_call(*state, note, &n);
    wait_for(&log, 1);
    vmc_timer_free(busy);
}

typedef struct Slow {
    gint entered, left;
} Slow;

static void slow(void *data)
{
    Slow *s = data;

    g_atomic_int_set(&s->entered, 1);
    g_usleep(30000);
    g_atomic_int_set(&s->left, 1);
}

static void test_free_waits_for_a_running_callback(void **state)
{
    Slow s = {0};
    VmcTimer *timer = vmc_timer_new(*state, slow, &s);

    vmc_timer_arm(timer, 0);
    for (int i = 0; i < 2000 && !g_atomic_int_get(&s.entered); i++)
        g_usleep(1000);
    assert_int_equal(g_atomic_int_get(&s.entered), 1);
    vmc_timer_free(timer);
    assert_int_equal(g_atomic_int_get(&s.left), 1);
}

static void free_itself(void *data)
{
    VmcTimer **timer = data;

    vmc_timer_free(*timer);
    *timer = NULL;
}

static void test_a_timer_may_free_itself(void **state)
{
    VmcTimer *timer;

    timer = vmc_timer_new(*state, free_itself, &timer);
    vmc_timer_arm(timer, 0);
    for (int i = 0; i < 2000 && g_atomic_pointer_get(&timer); i++)
        g_usleep(1000);
    assert_null(g_atomic_pointer_get(&timer));
}

static void get_mask(void *data)
{
    pthread_sigmask(SIG_SETMASK, NULL, data);
}

static void test_signals_stay_with_the_program(void **state)
{
    sigset_t theirs, ours;

    vmc_io_call_sync(*state, get_mask, &theirs);
    get_mask(&ours);
    assert_int_equal(sigismember(&theirs, SIGTERM), 1);
    assert_int_equal(sigismember(&theirs, SIGINT), 1);
    assert_int_equal(sigismember(&theirs, SIGSEGV), 0);
    assert_int_equal(sigismember(&ours, SIGTERM), 0);
}

static void test_calls_made_before_the_end_still_run(void **state)
{
    VmcIo *io = vmc_io_new(NULL);
    Log log = {.io = io};
    Note n = {&log, 1};

    for (int i = 0; i < 10; i++)
        vmc_io_call(io, note, &n);
    vmc_io_free(io);
    assert_int_equal(log.n, 10);
    vmc_io_free(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_calls_run_in_order_on_the_thread),
        TEST(test_a_sync_call_has_run_when_it_returns),
        TEST(test_rings_before_the_answer_are_merged),
        TEST(test_a_bell_rings_through_its_descriptor),
        TEST(test_timers_fire_in_the_order_of_their_deadlines),
        TEST(test_timers_are_never_early_and_seldom_late),
        TEST(test_a_disarmed_timer_stays_quiet_and_a_new_deadline_replaces_the_old),
        TEST(test_a_deadline_in_the_past_fires_at_once),
        TEST(test_a_timer_that_never_rests_leaves_others_their_turn),
        TEST(test_free_waits_for_a_running_callback),
        TEST(test_a_timer_may_free_itself),
        TEST(test_signals_stay_with_the_program),
        TEST(test_calls_made_before_the_end_still_run),
    };

    return cmocka_run_group_tests_name("io", tests, NULL, NULL);
}
