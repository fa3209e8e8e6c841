/*
 * The host's sleep, noticed by the wall clock's step at its end.
 *
 * Linux tells nobody that it has slept, but whoever waits for a time of day: such a timer may be cancelled
 * when that clock is set (timerfd_create(2), TFD_TIMER_CANCEL_ON_SET), and the end of a sleep counts as that.
 * Whether it was one, or only the user who set the clock, CLOCK_BOOTTIME tells, which runs away from
 * CLOCK_MONOTONIC in sleeps and at no other time.
 */
#include "base/host_sleep.h"

#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/i18n.h"
#include "vmcore/error.h"

/* The timer itself shall never go off, and if it does it is set anew. */
#define FAR_S (10l * 365 * 24 * 3600)

#define READ_TRIES 8
#define READ_NS    1000000u /* so long apart the two clocks may be read */

struct VmcHostSleep {
    VmcIo *io;
    int fd;
    GSource *watch;
    VmcHostTime then;
    void (*woken)(void *data);
    void *data;
};

static uint64_t read_ns(clockid_t id)
{
    struct timespec now;

    clock_gettime(id, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Between two readings of CLOCK_MONOTONIC; again if we were interrupted there, or asleep. */
void vmc_host_time(VmcHostTime *now)
{
    for (unsigned i = 0; i < READ_TRIES; i++) {
        uint64_t before = read_ns(CLOCK_MONOTONIC), boot = read_ns(CLOCK_BOOTTIME),
                 after = read_ns(CLOCK_MONOTONIC);

        *now = (VmcHostTime){.boot_ns = boot, .slept_ns = boot > before ? boot - before : 0};
        if (after - before < READ_NS)
            break;
    }
}

static bool arm(VmcHostSleep *sleep)
{
    struct itimerspec spec = {.it_value.tv_sec = time(NULL) + FAR_S};

    return !timerfd_settime(sleep->fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &spec, NULL);
}

static gboolean clock_was_set(int fd, GIOCondition condition, gpointer data)
{
    VmcHostSleep *sleep = data;
    uint64_t expirations;
    VmcHostTime now;
    ssize_t got = read(fd, &expirations, sizeof expirations); /* ECANCELED */

    (void)got;
    (void)condition;
    arm(sleep);
    vmc_host_time(&now);
    if (vmc_host_slept(&sleep->then, &now))
        sleep->woken(sleep->data);
    sleep->then = now;
    return G_SOURCE_CONTINUE;
}

static void start(void *data)
{
    VmcHostSleep *sleep = data;

    vmc_io_watch(sleep->io, &sleep->watch, sleep->fd, G_IO_IN, clock_was_set, sleep);
}

static void stop(void *data)
{
    VmcHostSleep *sleep = data;

    vmc_io_unwatch(&sleep->watch);
}

VmcHostSleep *vmc_host_sleep_new(VmcIo *io, void (*woken)(void *data), void *data, GError **error)
{
    VmcHostSleep *sleep = g_new0(VmcHostSleep, 1);

    sleep->io = io;
    sleep->woken = woken;
    sleep->data = data;
    vmc_host_time(&sleep->then);
    sleep->fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (sleep->fd < 0 || !arm(sleep)) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE,
                    _("Cannot make a timer that notices when the computer has slept: %s"), g_strerror(errno));
        vmc_host_sleep_free(sleep);
        return NULL;
    }
    vmc_io_call_sync(io, start, sleep);
    return sleep;
}

void vmc_host_sleep_free(VmcHostSleep *sleep)
{
    if (!sleep)
        return;
    if (sleep->watch)
        vmc_io_call_sync(sleep->io, stop, sleep);
    if (sleep->fd >= 0)
        close(sleep->fd);
    g_free(sleep);
}
