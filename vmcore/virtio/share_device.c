/* Messages between a guest's rings and a shared folder; see share_device.h. */
#include "virtio/share_device.h"

#define QUEUE_HIPRIO 0u
#define REQUESTS_MAX 64u
#define WORKERS      4
#define RETRY_FIRST  (5 * 1000000ull) /* ns */
#define RETRY_LAST   (200 * 1000000ull)
#define TURN_NS      300000u

typedef VmcShareDevice Device;
typedef VmcShareRequest Request;

/* ---- worker threads ---- */

static void work(gpointer data, gpointer user_data)
{
    Device *dev = user_data;
    Request *req = data;

    if (req->session) {
        dev->protocol->session_free(req->session);
        g_free(req);
        return;
    }
    req->written = 0;
    req->blocked = false;
    if (!atomic_load_explicit(&dev->cancel, memory_order_relaxed))
        req->blocked = !dev->protocol->serve(dev, req);

    g_mutex_lock(&dev->lock);
    /* Whoever takes the list takes all of it: one ring is enough. */
    if (!dev->finished)
        vmc_doorbell_ring(dev->bell);
    req->next = NULL;
    *dev->finished_tail = req;
    dev->finished_tail = &req->next;
    if (!--dev->working)
        g_cond_broadcast(&dev->idle);
    g_mutex_unlock(&dev->lock);
}

/* ---- requests (I/O thread) ---- */

static Request *new_request(Device *dev, unsigned queue)
{
    Request *req = dev->unused;

    if (req) {
        dev->unused = req->next;
        dev->n_unused--;
    } else {
        req = g_malloc0(dev->protocol->request_size);
    }
    req->next = NULL;
    req->queue = queue;
    req->is_locker = req->waiting = req->given_up = false;
    return req;
}

static void free_request(Device *dev, Request *req)
{
    if (dev->n_unused >= REQUESTS_MAX) {
        vmc_virtq_element_clear(&req->elem);
        g_free(req);
        return;
    }
    req->next = dev->unused;
    dev->unused = req;
    dev->n_unused++;
}

void vmc_share_device_give_back(Device *dev, Request *req, size_t written)
{
    vmc_virtio_push(&dev->dev, req->queue, &req->elem, (uint32_t)written);
    free_request(dev, req);
}

static void hand_over(Device *dev, Request *req)
{
    req->waiting = false;
    dev->out++;
    g_mutex_lock(&dev->lock);
    dev->working++;
    g_mutex_unlock(&dev->lock);
    g_thread_pool_push(dev->workers, req, NULL);
}

void vmc_share_device_submit(Device *dev, Request *req)
{
    req->next_taken = dev->taken;
    req->prev_taken = &dev->taken;
    if (dev->taken)
        dev->taken->prev_taken = &req->next_taken;
    dev->taken = req;
    hand_over(dev, req);
}

/* The end of a request that was submitted. Also while a reset waits for it: guest memory is ours to write
 * until the reset is done. */
static void complete(Device *dev, Request *req, size_t written)
{
    *req->prev_taken = req->next_taken;
    if (req->next_taken)
        req->next_taken->prev_taken = req->prev_taken;
    if (req->is_locker)
        dev->n_lockers--;
    vmc_virtio_push(&dev->dev, req->queue, &req->elem, (uint32_t)written);
    if (dev->protocol->gone)
        dev->protocol->gone(dev, req);
    free_request(dev, req);
}

/* ---- locks that others have (I/O thread) ---- */

static void arm_retry(Device *dev)
{
    if (!dev->retry_armed)
        vmc_timer_arm(dev->retry, vmc_now_ns() + dev->retry_ns);
    dev->retry_armed = true;
}

static void wait_for_lock(Device *dev, Request *req)
{
    if (!req->is_locker && dev->n_lockers >= dev->protocol->lockers_max) {
        complete(dev, req, dev->protocol->too_many(req));
        return;
    }
    if (!dev->n_lockers)
        dev->retry_ns = RETRY_FIRST;
    dev->n_lockers += !req->is_locker;
    req->is_locker = req->waiting = true;
    arm_retry(dev);
}

static void retry_all(Device *dev)
{
    if (!atomic_load_explicit(&dev->dev.dma, memory_order_relaxed)) {
        arm_retry(dev);
        return;
    }
    for (Request *req = dev->taken; req; req = req->next_taken)
        if (req->waiting)
            hand_over(dev, req);
}

static void retry_time(void *data)
{
    Device *dev = data;

    dev->retry_armed = false;
    dev->retry_ns = MIN(dev->retry_ns * 2, RETRY_LAST);
    if (dev->dev.running && dev->n_lockers)
        retry_all(dev);
}

bool vmc_share_device_give_up(Device *dev, Request *req)
{
    req->given_up = true;
    if (!req->waiting)
        return false;
    complete(dev, req, dev->protocol->interrupted(req));
    return true;
}

/* ---- queues (I/O thread) ---- */

static bool has_room(const Device *dev, unsigned queue)
{
    return dev->out < (dev->protocol->has_hiprio && queue == QUEUE_HIPRIO ? 2 : 1) * REQUESTS_MAX;
}

/* Takes what is there, up to the end of the turn, with one interrupt for what is done already. */
static void serve_batch(Device *dev, unsigned queue, uint64_t turn_end)
{
    for (unsigned n = 0; has_room(dev, queue) && (!n || vmc_now_ns() < turn_end); n++) {
        Request *req = new_request(dev, queue);
        if (!vmc_virtio_pop(&dev->dev, queue, &req->elem)) {
            free_request(dev, req);
            break;
        }
        dev->used = true;
        dev->protocol->take(dev, req);
    }
    vmc_virtio_notify(&dev->dev, queue);
}

void vmc_share_device_queue_notified(VmcVirtioDevice *virtio, unsigned queue)
{
    Device *dev = (Device *)virtio;
    VmcVirtqueue *vq = &virtio->queues[queue];
    uint64_t turn_end = vmc_now_ns() + TURN_NS;

    /* When it may use memory again, all queues are notified. */
    if (!virtio->running || !atomic_load_explicit(&virtio->dma, memory_order_relaxed))
        return;
    dev->stalled &= ~(1ull << queue);
    do {
        vmc_virtqueue_set_notification(vq, false);
        serve_batch(dev, queue, turn_end);
        if (!has_room(dev, queue)) {
            dev->stalled |= 1ull << queue;
            return;
        }
        vmc_virtqueue_set_notification(vq, true);
        if (!vmc_virtqueue_available(vq))
            return;
    } while (vmc_now_ns() < turn_end);
    vmc_virtio_kick(virtio, queue);
}

/* Takes back what the workers have done. True if locks may have become free. */
static bool reap(Device *dev)
{
    bool unlocked = false;

    g_mutex_lock(&dev->lock);
    Request *req = dev->finished;
    dev->finished = NULL;
    dev->finished_tail = &dev->finished;
    g_mutex_unlock(&dev->lock);
    while (req) {
        Request *next = req->next;
        dev->out--;
        unlocked |= !req->blocked && dev->protocol->may_unlock(req);
        if (!req->blocked || dev->cancel)
            complete(dev, req, req->written);
        else if (req->given_up)
            complete(dev, req, dev->protocol->interrupted(req));
        else
            wait_for_lock(dev, req);
        req = next;
    }
    return unlocked;
}

static void end_session(Device *dev)
{
    if (!dev->used)
        return;
    Request *job = g_new0(Request, 1);
    job->session = dev->session;
    dev->session = dev->protocol->session_new(dev);
    dev->used = false;
    g_thread_pool_push(dev->workers, job, NULL);
    /* cppcheck-suppress memleak; the worker frees it */
}

static void go_on(Device *dev, bool unlocked)
{
    if (unlocked && dev->n_lockers) {
        dev->retry_ns = RETRY_FIRST;
        retry_all(dev);
    }
    for (unsigned i = 0; i < dev->dev.n_queues; i++) {
        vmc_virtio_notify(&dev->dev, i);
        if (dev->stalled >> i & 1)
            vmc_share_device_queue_notified(&dev->dev, i);
    }
}

static void requests_finished(void *data)
{
    Device *dev = data;
    bool unlocked = reap(dev);

    if (dev->resetting && !dev->out) {
        dev->resetting = false;
        end_session(dev);
        vmc_virtio_reset_done(&dev->dev);
    } else if (dev->dev.running) {
        go_on(dev, unlocked);
    }
}

/* ---- lifecycle ---- */

void vmc_share_device_driver_ok(VmcVirtioDevice *virtio)
{
    Device *dev = (Device *)virtio;

    dev->cancel = false;
    dev->stalled = 0;
}

bool vmc_share_device_reset(VmcVirtioDevice *virtio)
{
    Device *dev = (Device *)virtio;
    Request *next;

    dev->cancel = true;
    for (Request *req = dev->taken; req; req = next) {
        next = req->next_taken;
        if (req->waiting)
            complete(dev, req, 0);
    }
    reap(dev);
    dev->resetting = dev->out;
    if (!dev->resetting)
        end_session(dev);
    return !dev->resetting;
}

void vmc_share_device_drain(VmcVirtioDevice *virtio)
{
    Device *dev = (Device *)virtio;

    g_mutex_lock(&dev->lock);
    while (dev->working)
        g_cond_wait(&dev->idle, &dev->lock);
    g_mutex_unlock(&dev->lock);
}

/* Who waits for a lock is interrupted: that one has taken it in another process, or had, is not kept. */
void vmc_share_device_settle(VmcVirtioDevice *virtio)
{
    Device *dev = (Device *)virtio;
    Request *next;

    reap(dev);
    for (Request *req = dev->taken; req; req = next) {
        next = req->next_taken;
        if (req->waiting)
            complete(dev, req, dev->protocol->interrupted(req));
    }
    for (unsigned i = 0; i < virtio->n_queues; i++)
        vmc_virtio_notify(virtio, i);
}

void vmc_share_device_save(VmcVirtioDevice *virtio, VmcStateWriter *w)
{
    Device *dev = (Device *)virtio;

    dev->protocol->save(dev->session, w);
}

bool vmc_share_device_load(VmcVirtioDevice *virtio, VmcStateReader *r)
{
    Device *dev = (Device *)virtio;

    dev->cancel = false;
    dev->used = true;
    return dev->protocol->load(dev->session, r);
}

void vmc_share_device_free(VmcVirtioDevice *virtio)
{
    Device *dev = (Device *)virtio;

    /* Sessions that end, too; and a worker may still be about to leave the lock. */
    g_thread_pool_free(dev->workers, FALSE, TRUE);
    vmc_doorbell_free(dev->bell);
    vmc_timer_free(dev->retry);
    while (dev->unused) {
        Request *next = dev->unused->next;
        vmc_virtq_element_clear(&dev->unused->elem);
        g_free(dev->unused);
        dev->unused = next;
    }
    dev->protocol->session_free(dev->session);
    vmc_share_free(dev->share);
    g_mutex_clear(&dev->lock);
    g_cond_clear(&dev->idle);
    g_free(dev);
}

bool vmc_share_device_init(Device *dev, const VmcVirtioOps *ops, const VmcShareProtocol *protocol,
                           const VmcVirtioHost *host, VmcShare *share)
{
    vmc_virtio_device_init(&dev->dev, ops, host->memory, host->io);
    dev->protocol = protocol;
    dev->share = share;
    dev->session = protocol->session_new(dev);
    dev->finished_tail = &dev->finished;
    g_mutex_init(&dev->lock);
    g_cond_init(&dev->idle);
    dev->workers = g_thread_pool_new(work, dev, WORKERS, FALSE, NULL);
    dev->bell = vmc_doorbell_new(host->io, requests_finished, dev);
    dev->retry = vmc_timer_new(host->io, retry_time, dev);
    if (dev->bell)
        return true;
    vmc_share_device_free(&dev->dev);
    return false;
}
