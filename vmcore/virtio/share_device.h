/*
 * What the devices for shared folders have in common, virtio-fs (fs.c) and virtio-9p (p9.c): messages come
 * from rings, may take their time, and get an answer. What they say is the protocol's, in the device's file.
 *
 * The I/O thread takes messages off the queues and shows them to the protocol. What it cannot answer without
 * waiting it submits to a small pool of workers, so that the I/O thread never waits for a disk. A worker does
 * what is asked, straight in guest RAM, puts the request on the `finished` list and rings a bell; the I/O
 * thread gives the chain back. At most REQUESTS_MAX are out at once; while all of them are, the rest wait in
 * their queues. There is no order among requests that are under way, so one may overtake another.
 *
 * A queue is looked at until nothing more is in it, even after the driver may notify it again: one that has
 * its answer at once often asks again at once. After TURN_NS other devices have their turn.
 *
 * A lock that somebody else has keeps no worker waiting. Such a request is tried again when a request of this
 * device may have freed a lock, and from time to time, as a program of the host may have; until it gets the
 * lock, the guest gives it up, or the device is reset. Those that wait do not count against REQUESTS_MAX:
 * processes that wait must not keep the one they wait for from unlocking.
 *
 * A reset ends the session: what the guest knew and had open is given back. That is done on a worker, as
 * closing a file may take its time, while the next session may begin.
 *
 * Threads: the I/O thread, but for what is said to be the workers'.
 */
#pragma once

#include "fs/share.h"
#include "virtio/device.h"
#include "virtio/devices.h"

typedef struct VmcShareDevice VmcShareDevice;
typedef struct VmcShareRequest VmcShareRequest;

/* A message; a protocol embeds it as the first member of its own. */
struct VmcShareRequest {
    VmcShareRequest *next; /* in a list: of the device's, or before it is submitted of the protocol's */
    unsigned queue;
    VmcVirtqElement elem;
    size_t written; /* the length of the answer */
    bool blocked;   /* there is none: somebody else has the lock */
    void *session;  /* not NULL: no request, but a session to end */

    /* I/O thread only. */
    VmcShareRequest *next_taken, **prev_taken; /* in `taken` */
    bool is_locker;                            /* waits for a lock, or did before it was tried again */
    bool waiting, given_up;
};

typedef struct VmcShareProtocol {
    size_t request_size;
    unsigned lockers_max;
    bool has_hiprio; /* what is in queue 0 comes through even when the others have used all there is */
    /* For the device's folder; free may wait. */
    void *(*session_new)(VmcShareDevice *dev);
    void (*session_free)(void *session);
    /* A chain has been taken: gives it back, or submits it. The request is zeroed but for queue and elem, or
     * has been used before. */
    void (*take)(VmcShareDevice *dev, VmcShareRequest *request);
    /* Workers: does what is asked and sets `written`. False: a lock that somebody else has. */
    bool (*serve)(VmcShareDevice *dev, VmcShareRequest *request);
    /* Whether a request that was served can have freed a lock that another waits for. */
    bool (*may_unlock)(const VmcShareRequest *request);
    /* Answers, of that length: EINTR; and that more than lockers_max would wait. */
    size_t (*interrupted)(VmcShareRequest *request);
    size_t (*too_many)(VmcShareRequest *request);
    /* The session as bytes, and into a new one (base/state.h). */
    void (*save)(void *session, VmcStateWriter *w);
    bool (*load)(void *session, VmcStateReader *r);
    /* A request that was submitted has gone back. May be NULL. */
    void (*gone)(VmcShareDevice *dev, VmcShareRequest *request);
} VmcShareProtocol;

struct VmcShareDevice {
    VmcVirtioDevice dev;
    const VmcShareProtocol *protocol;
    VmcShare *share;

    /* I/O thread only, but for `session`, which does not change while a request is out. */
    void *session;
    VmcShareRequest *unused;
    VmcShareRequest *taken; /* all that are with a worker or wait for a lock */
    uint64_t stalled;       /* queues that were left because too much was out, by bit */
    uint64_t retry_ns;
    VmcTimer *retry;
    VmcDoorbell *bell;
    unsigned n_unused;
    unsigned out; /* given to workers and not yet back */
    unsigned n_lockers;
    bool used; /* the session was */
    bool retry_armed;
    bool resetting; /* reset waits for `out` to become 0 */

    atomic_bool cancel; /* what has not begun need not */
    GThreadPool *workers;
    GMutex lock;
    GCond idle;
    VmcShareRequest *finished, **finished_tail; /* with lock */
    unsigned working;                           /* with lock: submitted and not finished */
};

/* Sets up a device whose memory was zeroed and whose protocol can make a session by now; owns `share`. False:
 * the host has no file descriptor left, and the device is gone. */
bool vmc_share_device_init(VmcShareDevice *dev, const VmcVirtioOps *ops, const VmcShareProtocol *protocol,
                           const VmcVirtioHost *host, VmcShare *share);

/* For `take`: to the workers. */
void vmc_share_device_submit(VmcShareDevice *dev, VmcShareRequest *request);
/* The chain of a request that was not submitted goes back with this answer; the request is gone. */
void vmc_share_device_give_back(VmcShareDevice *dev, VmcShareRequest *request, size_t written);
/* The guest does not want one of `taken` any more: it is interrupted at once if it waits for a lock (true),
 * or instead of waiting for one. All others end soon by themselves. */
bool vmc_share_device_give_up(VmcShareDevice *dev, VmcShareRequest *request);

/* For VmcVirtioOps. */
void vmc_share_device_driver_ok(VmcVirtioDevice *dev);
void vmc_share_device_queue_notified(VmcVirtioDevice *dev, unsigned queue);
bool vmc_share_device_reset(VmcVirtioDevice *dev);
void vmc_share_device_drain(VmcVirtioDevice *dev);
void vmc_share_device_free(VmcVirtioDevice *dev);
void vmc_share_device_settle(VmcVirtioDevice *dev);
void vmc_share_device_save(VmcVirtioDevice *dev, VmcStateWriter *w);
bool vmc_share_device_load(VmcVirtioDevice *dev, VmcStateReader *r);
