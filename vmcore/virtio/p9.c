/*
 * virtio-9p (device type 9, Linux' virtio_9p.h; VIRTIO 1.2 has the number alone): 9P messages from one ring,
 * for a shared folder. What they mean lives in fs/p9.
 *
 * As in fs.c, the I/O thread takes messages off the queue, reads their headers and passes them to a small
 * pool of worker threads, so that it never waits for a disk. A worker does what is asked, straight in guest
 * RAM, puts the request on the `finished` list and rings a bell; the I/O thread gives the chain back. At most
 * REQUESTS_MAX are out at once; while all of them are, the rest wait in the queue.
 *
 * A lock that somebody else has keeps no worker waiting. Such a request is tried again when a request of this
 * device may have freed a lock, and from time to time, as a program of the host may have; until it gets the
 * lock, a Tflush names it, or the device is reset. Those that wait do not count against REQUESTS_MAX, and
 * there are at most LOCKERS_MAX, as they have places in the queue, which the one they wait for needs to
 * unlock; more hear that the lock is blocked and ask again by themselves.
 *
 * Tflush (flush(5)): after its answer the guest takes the request it names for gone, and may use its buffers
 * and its tag for something else. So that one's chain always goes back first: at once, with EINTR, if it
 * waits for a lock; else when a worker is through with it, with the answer that it has then. A Tflush that
 * names nothing is answered at once.
 *
 * A reset ends the session on a worker, as closing files may take its time, while the next may begin.
 */
#include <errno.h>

#include "fs/p9.h"
#include "virtio/devices.h"
#include "virtio/virtio_pci.h"

#define QUEUE        0u
#define QUEUE_SIZE   128u
#define REQUESTS_MAX 64u
#define WORKERS      4
#define LOCKERS_MAX  32u
#define RETRY_FIRST  (5 * 1000000ull) /* ns */
#define RETRY_LAST   (200 * 1000000ull)

/* The device's one feature: there is a tag in the configuration, which there always is. */
#define FEATURE_MOUNT_TAG (1ull << 0)

typedef struct P9Config {
    uint16_t tag_len;
    char tag[VMC_VIRTIO_FS_TAG_MAX]; /* not terminated */
} P9Config;

_Static_assert(sizeof(P9Config) == 2 + VMC_VIRTIO_FS_TAG_MAX, "no gap behind the length");

typedef struct P9 P9;
typedef struct Request Request;

struct Request {
    Request *next; /* in `unused` or `finished` */
    VmcVirtqElement elem;
    VmcP9Message message;
    VmcP9Result result;
    size_t written;
    VmcP9 *session; /* not NULL: no request, but a session to end */

    /* I/O thread only. */
    Request *next_taken, **prev_taken; /* in `taken` */
    Request *flushers;                 /* Tflush requests that wait for this one, linked by `next` */
    bool is_locker;                    /* waits for a lock, or did before it was tried again */
    bool waiting, flushed;
};

struct P9 {
    VmcVirtioDevice dev;
    VmcShare *share;
    VmcShareCaller owner;
    P9Config config;

    /* I/O thread only, but for `session`, which does not change while a request is out. */
    VmcP9 *session;
    bool used; /* the session was */
    Request *unused;
    Request *taken; /* all that are with a worker or wait for a lock */
    unsigned out;   /* given to workers and not yet back */
    unsigned n_lockers;
    uint64_t retry_ns;
    bool retry_armed;
    bool stalled;   /* the queue was left because too much was out */
    bool resetting; /* reset waits for `out` to become 0 */
    VmcTimer *retry;
    VmcDoorbell *bell;

    atomic_bool cancel; /* what has not begun need not */
    GThreadPool *workers;
    GMutex lock;
    GCond idle;
    Request *finished, **finished_tail; /* with lock */
    unsigned working;                   /* with lock: submitted and not finished */
};

/* ---- worker threads ---- */

static void work(gpointer data, gpointer user_data)
{
    P9 *p9 = user_data;
    Request *req = data;

    if (req->session) {
        vmc_p9_free(req->session);
        g_free(req);
        return;
    }
    req->written = 0;
    req->result = VMC_P9_DONE;
    if (!atomic_load_explicit(&p9->cancel, memory_order_relaxed))
        req->result = vmc_p9_serve(p9->session, &req->message, &req->written);

    g_mutex_lock(&p9->lock);
    /* Whoever takes the list takes all of it: one ring is enough. */
    if (!p9->finished)
        vmc_doorbell_ring(p9->bell);
    req->next = NULL;
    *p9->finished_tail = req;
    p9->finished_tail = &req->next;
    if (!--p9->working)
        g_cond_broadcast(&p9->idle);
    g_mutex_unlock(&p9->lock);
}

/* ---- requests (I/O thread) ---- */

/* Never more than the queue has places for. */
static Request *new_request(P9 *p9)
{
    Request *req = p9->unused;

    if (!req)
        return g_new0(Request, 1);
    p9->unused = req->next;
    req->next = req->flushers = NULL;
    req->is_locker = req->waiting = req->flushed = false;
    return req;
}

static void free_request(P9 *p9, Request *req)
{
    req->next = p9->unused;
    p9->unused = req;
}

static void add_taken(P9 *p9, Request *req)
{
    req->next_taken = p9->taken;
    req->prev_taken = &p9->taken;
    if (p9->taken)
        p9->taken->prev_taken = &req->next_taken;
    p9->taken = req;
}

static void remove_taken(Request *req)
{
    *req->prev_taken = req->next_taken;
    if (req->next_taken)
        req->next_taken->prev_taken = req->prev_taken;
}

static void give_back(P9 *p9, Request *req, size_t written)
{
    vmc_virtio_push(&p9->dev, QUEUE, &req->elem, (uint32_t)written);
    free_request(p9, req);
}

/* The end of a request that was taken, and then of those that wanted to be rid of it. Also while a reset
 * waits for it: guest memory is ours to write until the reset is done. */
static void complete(P9 *p9, Request *req, size_t written)
{
    Request *flusher = req->flushers;

    remove_taken(req);
    if (req->is_locker)
        p9->n_lockers--;
    give_back(p9, req, written);
    while (flusher) {
        Request *next = flusher->next;
        give_back(p9, flusher, vmc_p9_flushed(&flusher->message));
        flusher = next;
    }
}

static void submit(P9 *p9, Request *req)
{
    req->waiting = false;
    p9->out++;
    g_mutex_lock(&p9->lock);
    p9->working++;
    g_mutex_unlock(&p9->lock);
    g_thread_pool_push(p9->workers, req, NULL);
}

/* ---- locks that others have (I/O thread) ---- */

static void arm_retry(P9 *p9)
{
    if (!p9->retry_armed)
        vmc_timer_arm(p9->retry, vmc_now_ns() + p9->retry_ns);
    p9->retry_armed = true;
}

static void wait_for_lock(P9 *p9, Request *req)
{
    if (!req->is_locker && p9->n_lockers >= LOCKERS_MAX) {
        complete(p9, req, vmc_p9_blocked(&req->message));
        return;
    }
    if (!p9->n_lockers)
        p9->retry_ns = RETRY_FIRST;
    p9->n_lockers += !req->is_locker;
    req->is_locker = req->waiting = true;
    arm_retry(p9);
}

static void retry_all(P9 *p9)
{
    if (!atomic_load_explicit(&p9->dev.dma, memory_order_relaxed)) {
        arm_retry(p9);
        return;
    }
    for (Request *req = p9->taken; req; req = req->next_taken)
        if (req->waiting)
            submit(p9, req);
}

static void retry_time(void *data)
{
    P9 *p9 = data;

    p9->retry_armed = false;
    p9->retry_ns = MIN(p9->retry_ns * 2, RETRY_LAST);
    if (p9->dev.running && p9->n_lockers)
        retry_all(p9);
}

/* ---- the queue (I/O thread) ---- */

static void flush(P9 *p9, Request *req, uint16_t oldtag)
{
    Request *old = p9->taken;

    while (old && old->message.tag != oldtag)
        old = old->next_taken;
    if (!old) {
        give_back(p9, req, vmc_p9_flushed(&req->message));
        return;
    }
    req->next = old->flushers;
    old->flushers = req;
    old->flushed = true;
    if (old->waiting)
        complete(p9, old, vmc_p9_fail(&old->message, -EINTR));
}

static void take_request(P9 *p9, Request *req)
{
    VmcP9Message *message = &req->message;
    uint16_t oldtag;

    *message = (VmcP9Message){
        .out = req->elem.out,
        .in = req->elem.in,
        .n_out = req->elem.n_out,
        .n_in = req->elem.n_in,
        .out_len = req->elem.out_len,
        .in_len = req->elem.in_len,
    };
    p9->used = true;
    if (!vmc_p9_read_header(message)) {
        give_back(p9, req, vmc_p9_fail(message, -EINVAL));
        return;
    }
    if (vmc_p9_is_flush(message, &oldtag)) {
        flush(p9, req, oldtag);
        return;
    }
    add_taken(p9, req);
    submit(p9, req);
}

static void queue_notified(VmcVirtioDevice *dev, unsigned queue)
{
    P9 *p9 = (P9 *)dev;
    VmcVirtqueue *vq = &dev->queues[QUEUE];

    /* When it may use memory again, the queue is notified. */
    if (!dev->running || !atomic_load_explicit(&dev->dma, memory_order_relaxed))
        return;
    vmc_virtqueue_set_notification(vq, false);
    p9->stalled = false;
    /* As many as the queue holds, then others have their turn. */
    for (unsigned n = 0; n < QUEUE_SIZE && p9->out < REQUESTS_MAX; n++) {
        Request *req = new_request(p9);
        if (!vmc_virtio_pop(dev, QUEUE, &req->elem)) {
            free_request(p9, req);
            break;
        }
        take_request(p9, req);
    }
    vmc_virtio_notify(dev, QUEUE);
    p9->stalled = p9->out >= REQUESTS_MAX;
    if (p9->stalled)
        return;
    vmc_virtqueue_set_notification(vq, true);
    if (vmc_virtqueue_available(vq))
        vmc_virtio_kick(dev, QUEUE);
}

/* Takes back what the workers have done. True if locks may have become free. */
static bool reap(P9 *p9)
{
    bool unlocked = false;

    g_mutex_lock(&p9->lock);
    Request *req = p9->finished;
    p9->finished = NULL;
    p9->finished_tail = &p9->finished;
    g_mutex_unlock(&p9->lock);
    while (req) {
        Request *next = req->next;
        req->next = NULL;
        p9->out--;
        unlocked |= req->result == VMC_P9_DONE && vmc_p9_may_unlock(&req->message);
        if (req->result == VMC_P9_DONE || p9->cancel)
            complete(p9, req, req->written);
        else if (req->flushed)
            complete(p9, req, vmc_p9_fail(&req->message, -EINTR));
        else
            wait_for_lock(p9, req);
        req = next;
    }
    return unlocked;
}

static void end_session(P9 *p9)
{
    if (!p9->used)
        return;
    Request *job = g_new0(Request, 1);
    job->session = p9->session;
    /* cppcheck-suppress memleak; the worker frees it */
    g_thread_pool_push(p9->workers, job, NULL);
    p9->session = vmc_p9_new(p9->share, p9->owner);
    p9->used = false;
}

static void requests_finished(void *data)
{
    P9 *p9 = data;
    bool unlocked = reap(p9);

    if (p9->resetting && !p9->out) {
        p9->resetting = false;
        end_session(p9);
        vmc_virtio_reset_done(&p9->dev);
    } else if (p9->dev.running) {
        if (unlocked && p9->n_lockers) {
            p9->retry_ns = RETRY_FIRST;
            retry_all(p9);
        }
        vmc_virtio_notify(&p9->dev, QUEUE);
        if (p9->stalled)
            queue_notified(&p9->dev, QUEUE);
    }
}

/* ---- configuration and lifecycle ---- */

static void config_read(VmcVirtioDevice *dev, uint32_t offset, void *buf, size_t len)
{
    memcpy(buf, (const uint8_t *)&((P9 *)dev)->config + offset, len);
}

static void driver_ok(VmcVirtioDevice *dev)
{
    P9 *p9 = (P9 *)dev;

    p9->cancel = false;
    p9->stalled = false;
}

static bool reset(VmcVirtioDevice *dev)
{
    P9 *p9 = (P9 *)dev;
    Request *next;

    p9->cancel = true;
    for (Request *req = p9->taken; req; req = next) {
        next = req->next_taken;
        if (req->waiting)
            complete(p9, req, 0);
    }
    reap(p9);
    p9->resetting = p9->out;
    if (!p9->resetting)
        end_session(p9);
    return !p9->resetting;
}

static void drain(VmcVirtioDevice *dev)
{
    P9 *p9 = (P9 *)dev;

    g_mutex_lock(&p9->lock);
    while (p9->working)
        g_cond_wait(&p9->idle, &p9->lock);
    g_mutex_unlock(&p9->lock);
}

static void p9_free(VmcVirtioDevice *dev)
{
    P9 *p9 = (P9 *)dev;

    /* Sessions that end, too; and a worker may still be about to leave the lock. */
    g_thread_pool_free(p9->workers, FALSE, TRUE);
    vmc_doorbell_free(p9->bell);
    vmc_timer_free(p9->retry);
    while (p9->unused) {
        Request *next = p9->unused->next;
        vmc_virtq_element_clear(&p9->unused->elem);
        g_free(p9->unused);
        p9->unused = next;
    }
    vmc_p9_free(p9->session);
    vmc_share_free(p9->share);
    g_mutex_clear(&p9->lock);
    g_cond_clear(&p9->idle);
    g_free(p9);
}

static const VmcVirtioOps p9_ops = {
    .name = "virtio-9p",
    .type = VMC_VIRTIO_ID_9P,
    .pci_class = 0x018000,
    .config_size = sizeof(P9Config),
    .n_queues = 1,
    .queue_sizes = {QUEUE_SIZE},
    .config_read = config_read,
    .driver_ok = driver_ok,
    .queue_notified = queue_notified,
    .reset = reset,
    .drain = drain,
    .free = p9_free,
};

VmcPciDevice *vmc_virtio_p9_new(const VmcVirtioHost *host, VmcShare *share, const char *tag,
                                VmcShareCaller owner)
{
    P9 *p9 = g_new0(P9, 1);
    size_t len = strnlen(tag, sizeof(p9->config.tag));

    vmc_virtio_device_init(&p9->dev, &p9_ops, host->memory, host->io);
    p9->dev.offered = FEATURE_MOUNT_TAG;
    p9->share = share;
    p9->owner = owner;
    memcpy(p9->config.tag, tag, len);
    p9->config.tag_len = GUINT16_TO_LE((uint16_t)len);
    p9->session = vmc_p9_new(share, owner);
    p9->finished_tail = &p9->finished;
    g_mutex_init(&p9->lock);
    g_cond_init(&p9->idle);
    p9->workers = g_thread_pool_new(work, p9, WORKERS, FALSE, NULL);
    p9->bell = vmc_doorbell_new(host->io, requests_finished, p9);
    p9->retry = vmc_timer_new(host->io, retry_time, p9);
    if (!p9->bell) {
        p9_free(&p9->dev);
        return NULL;
    }
    return vmc_virtio_pci_new(&p9->dev);
}
