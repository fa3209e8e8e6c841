/*
 * The I/O thread: a GMainContext, doorbells on eventfds and timers on one timerfd.
 *
 * Timers stand in a list ordered by deadline. The timerfd is set to the earliest; it is only set again when a
 * timer is armed before that, so a CPU that moves its deadline back and forth mostly costs a list insertion.
 * A wake-up for a timer that has been disarmed meanwhile finds nothing due and sets the clock anew.
 * A timerfd rather than poll's timeout because that has no timer slack and nanoseconds.
 */
#include "base/io.h"

#include <errno.h>
#include <glib-unix.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/i18n.h"
#include "base/thread.h"
#include "vmcore/error.h"

struct VmcTimer {
    VmcIo *io;
    void (*func)(void *data);
    void *data;
    uint64_t deadline; /* ns */
    bool armed;        /* in the list */
    VmcTimer *next, *prev;
};

struct VmcIo {
    GThread *thread;
    GMainContext *context;
    GMainLoop *loop;
    GSource *clock; /* the timerfd */
    int clock_fd;

    pthread_mutex_t lock; /* guards everything below and every VmcTimer */
    pthread_cond_t idle;  /* `running` has changed to NULL */
    VmcTimer *first;      /* by deadline */
    VmcTimer *running;    /* whose callback runs now */
    uint64_t programmed;  /* what the timerfd is set to; UINT64_MAX: not */
};

uint64_t vmc_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Sets the clock to the first timer unless it goes off before that anyway. Called locked. */
static void program_clock(VmcIo *io)
{
    struct itimerspec spec = {0};
    uint64_t at;

    if (!io->first || io->first->deadline >= io->programmed)
        return;
    io->programmed = io->first->deadline;
    at = MAX(io->programmed, 1); /* zero would switch it off */
    spec.it_value.tv_sec = (time_t)(at / 1000000000u);
    spec.it_value.tv_nsec = (long)(at % 1000000000u);
    timerfd_settime(io->clock_fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

static void unlink_timer(VmcTimer *timer)
{
    if (!timer->armed)
        return;
    if (timer->prev)
        timer->prev->next = timer->next;
    else
        timer->io->first = timer->next;
    if (timer->next)
        timer->next->prev = timer->prev;
    timer->next = timer->prev = NULL;
    timer->armed = false;
}

static void link_timer(VmcTimer *timer)
{
    VmcIo *io = timer->io;
    VmcTimer *before = NULL, *after = io->first;

    while (after && after->deadline <= timer->deadline) {
        before = after;
        after = after->next;
    }
    timer->prev = before;
    timer->next = after;
    if (before)
        before->next = timer;
    else
        io->first = timer;
    if (after)
        after->prev = timer;
    timer->armed = true;
}

/* At most so many callbacks before other sources get their turn: a timer may keep arming itself for the past.
 */
#define CALLBACKS_PER_TURN 256

static gboolean clock_dispatch(int fd, GIOCondition condition, gpointer data)
{
    VmcIo *io = data;
    uint64_t expirations, now = vmc_now_ns();
    VmcTimer *timer;

    if (read(fd, &expirations, sizeof expirations) < 0 && errno != EAGAIN)
        return G_SOURCE_CONTINUE;
    pthread_mutex_lock(&io->lock);
    for (unsigned n = 0; n < CALLBACKS_PER_TURN && (timer = io->first) && timer->deadline <= now; n++) {
        unlink_timer(timer);
        io->running = timer;
        pthread_mutex_unlock(&io->lock);
        timer->func(timer->data);
        pthread_mutex_lock(&io->lock);
        io->running = NULL;
        pthread_cond_broadcast(&io->idle);
    }
    io->programmed = UINT64_MAX;
    program_clock(io);
    pthread_mutex_unlock(&io->lock);
    return G_SOURCE_CONTINUE;
}

static gpointer io_thread(gpointer data)
{
    VmcIo *io = data;

    g_main_context_push_thread_default(io->context);
    g_main_loop_run(io->loop);
    g_main_context_pop_thread_default(io->context);
    return NULL;
}

/* No callback on this thread runs a main loop of its own; that GLib need not see to it halves the cost. */
static GSource *new_watch(int fd, GIOCondition condition)
{
    GSource *source = g_unix_fd_source_new(fd, condition);

    g_source_set_can_recurse(source, TRUE);
    return source;
}

VmcIo *vmc_io_new(GError **error)
{
    VmcIo *io;
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);

    if (fd < 0) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE, _("Cannot make a timer for the I/O thread: %s"),
                    g_strerror(errno));
        return NULL;
    }
    io = g_new0(VmcIo, 1);
    io->clock_fd = fd;
    io->programmed = UINT64_MAX;
    pthread_mutex_init(&io->lock, NULL);
    pthread_cond_init(&io->idle, NULL);
    io->context = g_main_context_new();
    io->loop = g_main_loop_new(io->context, FALSE);
    io->clock = new_watch(fd, G_IO_IN);
    /* No higher a priority than the rest: a timer that is always due would starve every device. */
    g_source_set_callback(io->clock, G_SOURCE_FUNC(clock_dispatch), io, NULL);
    g_source_attach(io->clock, io->context);
    io->thread = vmc_thread_new("vmc-io", io_thread, io, error);
    if (!io->thread) {
        vmc_io_free(io);
        return NULL;
    }
    return io;
}

static void quit(void *data)
{
    g_main_loop_quit(data);
}

void vmc_io_free(VmcIo *io)
{
    if (!io)
        return;
    if (io->thread) {
        vmc_io_call(io, quit, io->loop); /* behind the calls already queued, which still run */
        g_thread_join(io->thread);
    }
    g_source_destroy(io->clock);
    g_source_unref(io->clock);
    close(io->clock_fd);
    g_main_loop_unref(io->loop);
    g_main_context_unref(io->context);
    pthread_cond_destroy(&io->idle);
    pthread_mutex_destroy(&io->lock);
    g_free(io);
}

GMainContext *vmc_io_context(VmcIo *io)
{
    return io->context;
}

/* While the callback of a source that may not recurse runs, GLib takes its descriptor out of the set it
 * polls, and each time that set changes it wakes itself up: two writes, a read and a poll for each dispatch.
 */
void vmc_io_watch(VmcIo *io, GSource **watch, int fd, GIOCondition condition, GUnixFDSourceFunc func,
                  void *data)
{
    if (*watch)
        return;
    *watch = new_watch(fd, condition);
    g_source_set_callback(*watch, G_SOURCE_FUNC(func), data, NULL);
    g_source_attach(*watch, io->context);
}

void vmc_io_unwatch(GSource **watch)
{
    if (!*watch)
        return;
    g_source_destroy(*watch);
    g_source_unref(*watch);
    *watch = NULL;
}

bool vmc_io_on_thread(VmcIo *io)
{
    return g_thread_self() == io->thread;
}

typedef struct Call {
    void (*func)(void *data);
    void *data;
    GMutex lock; /* the rest is for sync calls only */
    GCond done_cond;
    bool done;
} Call;

static gboolean call_run(gpointer data)
{
    Call *call = data;

    call->func(call->data);
    return G_SOURCE_REMOVE;
}

static void queue_call(VmcIo *io, GSourceFunc run, Call *call, GDestroyNotify notify)
{
    GSource *source = g_idle_source_new();

    g_source_set_priority(source, G_PRIORITY_DEFAULT);
    g_source_set_callback(source, run, call, notify);
    g_source_attach(source, io->context);
    g_source_unref(source);
}

void vmc_io_call(VmcIo *io, void (*func)(void *data), void *data)
{
    Call *call = g_new0(Call, 1);

    call->func = func;
    call->data = data;
    queue_call(io, call_run, call, g_free);
}

static gboolean call_run_sync(gpointer data)
{
    Call *call = data;

    call->func(call->data);
    g_mutex_lock(&call->lock);
    call->done = true;
    g_cond_signal(&call->done_cond);
    g_mutex_unlock(&call->lock);
    return G_SOURCE_REMOVE;
}

void vmc_io_call_sync(VmcIo *io, void (*func)(void *data), void *data)
{
    Call call = {.func = func, .data = data};

    if (vmc_io_on_thread(io)) {
        func(data);
        return;
    }
    g_mutex_init(&call.lock);
    g_cond_init(&call.done_cond);
    queue_call(io, call_run_sync, &call, NULL);
    g_mutex_lock(&call.lock);
    while (!call.done)
        g_cond_wait(&call.done_cond, &call.lock);
    g_mutex_unlock(&call.lock);
    g_cond_clear(&call.done_cond);
    g_mutex_clear(&call.lock);
}

/* The source carries the callback itself, so a bell may be freed from inside its own callback. */
struct VmcDoorbell {
    VmcIo *io;
    int fd;
    GSource *source;
    void (*func)(void *data);
    void *data;
};

static gboolean doorbell_dispatch(int fd, GIOCondition condition, gpointer data)
{
    VmcDoorbell *bell = data;
    uint64_t rings;

    if (read(fd, &rings, sizeof rings) == sizeof rings)
        bell->func(bell->data);
    return G_SOURCE_CONTINUE;
}

static void doorbell_destroy(gpointer data)
{
    VmcDoorbell *bell = data;

    close(bell->fd);
    g_free(bell);
}

VmcDoorbell *vmc_doorbell_new(VmcIo *io, void (*func)(void *data), void *data)
{
    VmcDoorbell *bell;
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

    if (fd < 0)
        return NULL;
    bell = g_new0(VmcDoorbell, 1);
    bell->io = io;
    bell->fd = fd;
    bell->func = func;
    bell->data = data;
    bell->source = new_watch(fd, G_IO_IN);
    g_source_set_callback(bell->source, G_SOURCE_FUNC(doorbell_dispatch), bell, doorbell_destroy);
    g_source_attach(bell->source, io->context);
    return bell;
}

static void destroy_source(void *data)
{
    GSource *source = data;

    g_source_destroy(source);
    g_source_unref(source);
}

/* On the I/O thread, so that the callback is not running when this returns. */
void vmc_doorbell_free(VmcDoorbell *bell)
{
    if (bell)
        vmc_io_call_sync(bell->io, destroy_source, bell->source);
}

void vmc_doorbell_ring(VmcDoorbell *bell)
{
    uint64_t one = 1;
    ssize_t written = write(bell->fd, &one, sizeof one);

    (void)written; /* EAGAIN: it has been rung 2^64-2 times and will be answered all the same */
}

int vmc_doorbell_fd(VmcDoorbell *bell)
{
    return bell->fd;
}

VmcTimer *vmc_timer_new(VmcIo *io, void (*func)(void *data), void *data)
{
    VmcTimer *timer = g_new0(VmcTimer, 1);

    timer->io = io;
    timer->func = func;
    timer->data = data;
    return timer;
}

void vmc_timer_free(VmcTimer *timer)
{
    VmcIo *io;

    if (!timer)
        return;
    io = timer->io;
    pthread_mutex_lock(&io->lock);
    unlink_timer(timer);
    while (io->running == timer && !vmc_io_on_thread(io)) {
        pthread_cond_wait(&io->idle, &io->lock);
        unlink_timer(timer); /* the callback may have armed it again */
    }
    pthread_mutex_unlock(&io->lock);
    g_free(timer);
}

void vmc_timer_arm(VmcTimer *timer, uint64_t deadline_ns)
{
    VmcIo *io = timer->io;

    pthread_mutex_lock(&io->lock);
    unlink_timer(timer);
    timer->deadline = deadline_ns;
    link_timer(timer);
    program_clock(io);
    pthread_mutex_unlock(&io->lock);
}

void vmc_timer_disarm(VmcTimer *timer)
{
    VmcIo *io = timer->io;

    pthread_mutex_lock(&io->lock);
    unlink_timer(timer);
    pthread_mutex_unlock(&io->lock);
}
