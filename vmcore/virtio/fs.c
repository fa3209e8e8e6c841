/*
 * virtio-fs (VIRTIO 1.2 s5.11): FUSE messages from rings, for a shared folder. What they mean lives in fs/.
 *
 * The I/O thread takes messages off the queues and reads their headers. What can be done without waiting
 * (fs/quick.c) it does at once, as two threads cost more than most requests. All else it passes to a small
 * pool of workers, so that it never waits for a disk. A worker does what is asked, straight in guest RAM,
 * puts the request on the `finished` list and rings a bell; the I/O thread gives the chain back. At most
 * REQUESTS_MAX are out at once; while all of them are, the rest wait in their queues. FORGET and INTERRUPT
 * are done at once. There is no order among requests that are under way, so one may overtake another.
 *
 * The queue is looked at until nothing more is in it, even after the driver may notify it again: one that has
 * its answer at once often asks again at once. After TURN_NS other devices have their turn.
 *
 * A lock that somebody else has keeps no worker waiting. Such a request stays among the `lockers` and is
 * tried again when a request of this device may have freed a lock, and from time to time, as a program of the
 * host may have; until it gets the lock, INTERRUPT names it, or the device is reset. Lockers that wait do not
 * count against REQUESTS_MAX: processes that wait must not keep the one they wait for from unlocking.
 *
 * A reset ends the session: what the guest knew and had open is given back. That is done on a worker, as
 * closing a file may take its time, while the next session may begin.
 */
#include <errno.h>

#include "fs/fuse.h"
#include "virtio/devices.h"
#include "virtio/virtio_pci.h"

#define QUEUE_HIPRIO 0u
#define QUEUE_SIZE   VMC_VIRTQ_SIZE_MAX

#define REQUESTS_MAX 64u
#define WORKERS      4
#define LOCKERS_MAX  1024u

#define RETRY_FIRST (5 * 1000000ull) /* ns */
#define RETRY_LAST  (200 * 1000000ull)
#define TURN_NS     300000u

/* s5.11.4 */
typedef struct FsConfig {
    char tag[VMC_VIRTIO_FS_TAG_MAX]; /* padded with NUL */
    uint32_t num_request_queues;
} FsConfig;

_Static_assert(sizeof(FsConfig) == 40, "as in s5.11.4");

typedef struct Fs Fs;
typedef struct Request Request;

struct Request {
    Request *next; /* in `unused` or `finished` */
    unsigned queue;
    VmcVirtqElement elem;
    VmcFuseMessage message;
    VmcFuseResult result;
    size_t written;
    VmcFuse *session; /* not NULL: no request, but a session to end */

    /* SETLKW; I/O thread only. */
    Request *next_locker;
    bool is_locker, waiting, interrupted;
};

struct Fs {
    VmcVirtioDevice dev;
    VmcShare *share;
    VmcShareCache cache;
    FsConfig config;

    /* I/O thread only, but for `fuse`, which does not change while a request is out. */
    VmcFuse *fuse;
    bool used; /* the session was */
    Request *unused;
    unsigned n_unused;
    unsigned out; /* given to workers and not yet back */
    Request *lockers;
    unsigned n_lockers;
    uint64_t retry_ns;
    bool retry_armed;
    uint64_t stalled; /* queues that were left because too much was out, by bit */
    bool resetting;   /* reset waits for `out` to become 0 */
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
    Fs *fs = user_data;
    Request *req = data;

    if (req->session) {
        vmc_fuse_free(req->session);
        g_free(req);
        return;
    }
    req->written = 0;
    req->result = VMC_FUSE_DONE;
    if (!atomic_load_explicit(&fs->cancel, memory_order_relaxed))
        req->result = vmc_fuse_serve(fs->fuse, &req->message, &req->written);

    g_mutex_lock(&fs->lock);
    /* Whoever takes the list takes all of it: one ring is enough. */
    if (!fs->finished)
        vmc_doorbell_ring(fs->bell);
    req->next = NULL;
    *fs->finished_tail = req;
    fs->finished_tail = &req->next;
    if (!--fs->working)
        g_cond_broadcast(&fs->idle);
    g_mutex_unlock(&fs->lock);
}

/* ---- requests (I/O thread) ---- */

static Request *new_request(Fs *fs, unsigned queue)
{
    Request *req = fs->unused;

    if (req) {
        fs->unused = req->next;
        fs->n_unused--;
    } else {
        req = g_new0(Request, 1);
    }
    req->queue = queue;
    req->is_locker = req->waiting = req->interrupted = false;
    return req;
}

static void free_request(Fs *fs, Request *req)
{
    if (fs->n_unused >= REQUESTS_MAX) {
        vmc_virtq_element_clear(&req->elem);
        g_free(req);
        return;
    }
    req->next = fs->unused;
    fs->unused = req;
    fs->n_unused++;
}

static void remove_locker(Fs *fs, Request *req)
{
    Request **at = &fs->lockers;

    while (*at != req)
        at = &(*at)->next_locker;
    *at = req->next_locker;
    fs->n_lockers--;
    req->is_locker = false;
}

/* Also while a reset waits for it: guest memory is ours to write until the reset is done. */
static void complete(Fs *fs, Request *req, size_t written)
{
    if (req->is_locker)
        remove_locker(fs, req);
    vmc_virtio_push(&fs->dev, req->queue, &req->elem, (uint32_t)written);
    free_request(fs, req);
}

static void submit(Fs *fs, Request *req)
{
    req->waiting = false;
    fs->out++;
    g_mutex_lock(&fs->lock);
    fs->working++;
    g_mutex_unlock(&fs->lock);
    g_thread_pool_push(fs->workers, req, NULL);
}

/* ---- locks that others have (I/O thread) ---- */

static void wait_for_lock(Fs *fs, Request *req)
{
    req->waiting = true;
    if (!fs->retry_armed)
        vmc_timer_arm(fs->retry, vmc_now_ns() + fs->retry_ns);
    fs->retry_armed = true;
}

static void retry_all(Fs *fs)
{
    bool dma = atomic_load_explicit(&fs->dev.dma, memory_order_relaxed);

    for (Request *req = fs->lockers; req; req = req->next_locker) {
        if (req->waiting && dma)
            submit(fs, req);
        else if (req->waiting)
            wait_for_lock(fs, req);
    }
}

static void retry_time(void *data)
{
    Fs *fs = data;

    fs->retry_armed = false;
    fs->retry_ns = MIN(fs->retry_ns * 2, RETRY_LAST);
    if (fs->dev.running)
        retry_all(fs);
}

/* Whether a request can have freed a lock that another waits for. */
static bool may_unlock(const Request *req)
{
    switch (req->message.header.opcode) {
    case FUSE_SETLK:
    case FUSE_SETLKW:
    case FUSE_FLUSH:
    case FUSE_RELEASE:
    case FUSE_DESTROY:
        return req->result == VMC_FUSE_DONE;
    default:
        return false;
    }
}

static void add_locker(Fs *fs, Request *req)
{
    if (!fs->lockers)
        fs->retry_ns = RETRY_FIRST;
    req->next_locker = fs->lockers;
    fs->lockers = req;
    fs->n_lockers++;
    req->is_locker = true;
}

/* FUSE_INTERRUPT: ends a request that waits for a lock, or marks it, if it is just being tried again. All
 * others end soon by themselves. There is no answer. */
static void interrupt(Fs *fs, const VmcFuseMessage *message)
{
    struct fuse_interrupt_in in;
    Request *next;

    if (!vmc_fuse_read_args(message, &in, sizeof(in)))
        return;
    for (Request *req = fs->lockers; req; req = next) {
        unsigned queue = req->queue;
        next = req->next_locker;
        if (req->message.header.unique != in.unique)
            continue;
        req->interrupted = true;
        if (req->waiting) {
            complete(fs, req, vmc_fuse_fail(&req->message, -EINTR));
            vmc_virtio_notify(&fs->dev, queue);
        }
    }
}

/* ---- queues (I/O thread) ---- */

static void take_request(Fs *fs, Request *req)
{
    VmcFuseMessage *message = &req->message;
    size_t written = 0;

    *message = (VmcFuseMessage){
        .out = req->elem.out,
        .in = req->elem.in,
        .n_out = req->elem.n_out,
        .n_in = req->elem.n_in,
        .out_len = req->elem.out_len,
        .in_len = req->elem.in_len,
    };
    fs->used = true;
    if (!vmc_fuse_read_header(message)) {
        complete(fs, req, vmc_fuse_fail(message, -EINVAL));
        return;
    }
    switch (message->header.opcode) {
    case FUSE_INTERRUPT:
        interrupt(fs, message);
        complete(fs, req, 0);
        return;
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
        vmc_fuse_forget(fs->fuse, message);
        complete(fs, req, 0);
        return;
    case FUSE_SETLKW:
        if (fs->n_lockers >= LOCKERS_MAX) {
            complete(fs, req, vmc_fuse_fail(message, -ENOLCK));
            return;
        }
        add_locker(fs, req);
        break;
    }
    if (vmc_fuse_serve_at_once(fs->fuse, message, &written) == VMC_FUSE_DONE)
        complete(fs, req, written);
    else
        submit(fs, req);
}

/* Interrupts come through even when the other queues have used all there is. */
static bool has_room(const Fs *fs, unsigned queue)
{
    return fs->out < (queue == QUEUE_HIPRIO ? 2 : 1) * REQUESTS_MAX;
}

/* Takes what is there, up to the end of the turn, with one interrupt for what is done already. */
static void serve_batch(Fs *fs, unsigned queue, uint64_t turn_end)
{
    for (unsigned n = 0; has_room(fs, queue) && (!n || vmc_now_ns() < turn_end); n++) {
        Request *req = new_request(fs, queue);
        if (!vmc_virtio_pop(&fs->dev, queue, &req->elem)) {
            free_request(fs, req);
            break;
        }
        take_request(fs, req);
    }
    vmc_virtio_notify(&fs->dev, queue);
}

static void queue_notified(VmcVirtioDevice *dev, unsigned queue)
{
    Fs *fs = (Fs *)dev;
    VmcVirtqueue *vq = &dev->queues[queue];
    uint64_t turn_end = vmc_now_ns() + TURN_NS;

    /* When it may use memory again, all queues are notified. */
    if (!dev->running || !atomic_load_explicit(&dev->dma, memory_order_relaxed))
        return;
    fs->stalled &= ~(1ull << queue);
    do {
        vmc_virtqueue_set_notification(vq, false);
        serve_batch(fs, queue, turn_end);
        if (!has_room(fs, queue)) {
            fs->stalled |= 1ull << queue;
            return;
        }
        vmc_virtqueue_set_notification(vq, true);
        if (!vmc_virtqueue_available(vq))
            return;
    } while (vmc_now_ns() < turn_end);
    vmc_virtio_kick(dev, queue);
}

/* Takes back what the workers have done. True if locks may have become free. */
static bool reap(Fs *fs)
{
    bool unlocked = false;

    g_mutex_lock(&fs->lock);
    Request *req = fs->finished;
    fs->finished = NULL;
    fs->finished_tail = &fs->finished;
    g_mutex_unlock(&fs->lock);
    while (req) {
        Request *next = req->next;
        fs->out--;
        unlocked |= may_unlock(req);
        if (req->result == VMC_FUSE_DONE || fs->cancel)
            complete(fs, req, req->written);
        else if (req->interrupted)
            complete(fs, req, vmc_fuse_fail(&req->message, -EINTR));
        else
            wait_for_lock(fs, req);
        req = next;
    }
    return unlocked;
}

static void end_session(Fs *fs)
{
    if (!fs->used)
        return;
    Request *job = g_new0(Request, 1);
    job->session = fs->fuse;
    /* cppcheck-suppress memleak; the worker frees it */
    g_thread_pool_push(fs->workers, job, NULL);
    fs->fuse = vmc_fuse_new(fs->share, fs->cache);
    fs->used = false;
}

static void go_on(Fs *fs, bool unlocked)
{
    if (unlocked && fs->lockers) {
        fs->retry_ns = RETRY_FIRST;
        retry_all(fs);
    }
    for (unsigned i = 0; i < fs->dev.n_queues; i++) {
        vmc_virtio_notify(&fs->dev, i);
        if (fs->stalled >> i & 1)
            queue_notified(&fs->dev, i);
    }
}

static void requests_finished(void *data)
{
    Fs *fs = data;
    bool unlocked = reap(fs);

    if (fs->resetting && !fs->out) {
        fs->resetting = false;
        end_session(fs);
        vmc_virtio_reset_done(&fs->dev);
    } else if (fs->dev.running) {
        go_on(fs, unlocked);
    }
}

/* ---- configuration and lifecycle ---- */

static void config_read(VmcVirtioDevice *dev, uint32_t offset, void *buf, size_t len)
{
    memcpy(buf, (const uint8_t *)&((Fs *)dev)->config + offset, len);
}

static void driver_ok(VmcVirtioDevice *dev)
{
    Fs *fs = (Fs *)dev;

    fs->cancel = false;
    fs->stalled = 0;
}

static bool reset(VmcVirtioDevice *dev)
{
    Fs *fs = (Fs *)dev;
    Request *next;

    fs->cancel = true;
    for (Request *req = fs->lockers; req; req = next) {
        next = req->next_locker;
        if (req->waiting)
            complete(fs, req, 0);
    }
    reap(fs);
    fs->resetting = fs->out;
    if (!fs->resetting)
        end_session(fs);
    return !fs->resetting;
}

static void drain(VmcVirtioDevice *dev)
{
    Fs *fs = (Fs *)dev;

    g_mutex_lock(&fs->lock);
    while (fs->working)
        g_cond_wait(&fs->idle, &fs->lock);
    g_mutex_unlock(&fs->lock);
}

static void fs_free(VmcVirtioDevice *dev)
{
    Fs *fs = (Fs *)dev;

    /* Sessions that end, too; and a worker may still be about to leave the lock. */
    g_thread_pool_free(fs->workers, FALSE, TRUE);
    vmc_doorbell_free(fs->bell);
    vmc_timer_free(fs->retry);
    while (fs->unused) {
        Request *next = fs->unused->next;
        vmc_virtq_element_clear(&fs->unused->elem);
        g_free(fs->unused);
        fs->unused = next;
    }
    vmc_fuse_free(fs->fuse);
    vmc_share_free(fs->share);
    g_mutex_clear(&fs->lock);
    g_cond_clear(&fs->idle);
    g_free(fs);
}

static const VmcVirtioOps fs_ops = {
    .name = "virtio-fs",
    .type = VMC_VIRTIO_ID_FS,
    .pci_class = 0x018000,
    .config_size = sizeof(FsConfig),
    .n_queues = 2,
    .queue_sizes = {QUEUE_SIZE, QUEUE_SIZE},
    .config_read = config_read,
    .driver_ok = driver_ok,
    .queue_notified = queue_notified,
    .reset = reset,
    .drain = drain,
    .free = fs_free,
};

VmcPciDevice *vmc_virtio_fs_new(const VmcVirtioHost *host, VmcShare *share, const char *tag,
                                VmcShareCache cache, unsigned queues)
{
    Fs *fs = g_new0(Fs, 1);

    queues = CLAMP(queues, 1, VMC_VIRTIO_FS_QUEUES_MAX);
    vmc_virtio_device_init(&fs->dev, &fs_ops, host->memory, host->io);
    vmc_virtio_device_add_queues(&fs->dev, queues - 1, QUEUE_SIZE);
    fs->share = share;
    fs->cache = cache;
    memcpy(fs->config.tag, tag, strnlen(tag, sizeof(fs->config.tag)));
    fs->config.num_request_queues = GUINT32_TO_LE(queues);
    fs->fuse = vmc_fuse_new(share, cache);
    fs->finished_tail = &fs->finished;
    g_mutex_init(&fs->lock);
    g_cond_init(&fs->idle);
    fs->workers = g_thread_pool_new(work, fs, WORKERS, FALSE, NULL);
    fs->bell = vmc_doorbell_new(host->io, requests_finished, fs);
    fs->retry = vmc_timer_new(host->io, retry_time, fs);
    if (!fs->bell) {
        fs_free(&fs->dev);
        return NULL;
    }
    return vmc_virtio_pci_new(&fs->dev);
}
