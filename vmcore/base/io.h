/*
 * The I/O thread of a machine: one thread with a GMainContext on which devices do their work, and precise
 * timers on one timerfd.
 *
 * Threads: vmc_io_call and the vmc_timer functions may be called from any thread; callbacks run on the I/O
 * thread. Time is CLOCK_MONOTONIC in nanoseconds (vmc_now_ns), which stands still while the host sleeps
 * (host_sleep.h).
 */
#pragma once

#include <glib-unix.h>
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct VmcIo VmcIo;
typedef struct VmcTimer VmcTimer;

/* Starts the thread. */
VmcIo *vmc_io_new(GError **error);
/* Stops and joins it; all sources and timers must be gone or are dropped. NULL is fine. */
void vmc_io_free(VmcIo *io);

GMainContext *vmc_io_context(VmcIo *io);
/* A watch: sets *watch, unless it is there already, to have func(fd, condition, data) called on this thread;
 * and ends it, as func itself may. Unwatch on this thread only, so that func does not run any more. */
void vmc_io_watch(VmcIo *io, GSource **watch, int fd, GIOCondition condition, GUnixFDSourceFunc func,
                  void *data);
void vmc_io_unwatch(GSource **watch);
bool vmc_io_on_thread(VmcIo *io);

/* Runs func(data) once on the I/O thread, soon. */
void vmc_io_call(VmcIo *io, void (*func)(void *data), void *data);
/* The same, and waits until it has run. Directly when already on the I/O thread. */
void vmc_io_call_sync(VmcIo *io, void (*func)(void *data), void *data);

/* A doorbell: ringing it (any thread, cheap, async-safe) makes func(data) run on the I/O thread; rings before
 * the run are merged. Backed by an eventfd that KVM's ioeventfd can ring too. */
typedef struct VmcDoorbell VmcDoorbell;
VmcDoorbell *vmc_doorbell_new(VmcIo *io, void (*func)(void *data), void *data);
void vmc_doorbell_free(VmcDoorbell *bell);
void vmc_doorbell_ring(VmcDoorbell *bell);
int vmc_doorbell_fd(VmcDoorbell *bell);

uint64_t vmc_now_ns(void);

/* One-shot timers: func(data) at or just after `deadline_ns`. Arming again replaces the deadline. */
VmcTimer *vmc_timer_new(VmcIo *io, void (*func)(void *data), void *data);
void vmc_timer_free(VmcTimer *timer); /* after it returns the callback is not running and will not run */
void vmc_timer_arm(VmcTimer *timer, uint64_t deadline_ns);
void vmc_timer_disarm(VmcTimer *timer);
