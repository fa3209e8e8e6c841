/*
 * virtio-9p (device type 9, Linux' virtio_9p.h; VIRTIO 1.2 has the number alone): 9P messages from one ring,
 * for a shared folder. What they mean lives in fs/p9, how they are worked off in share_device.c.
 *
 * Those that wait for a lock have places in the queue, which the one they wait for needs to unlock. So there
 * are at most LOCKERS_MAX of them; more hear that the lock is blocked and ask again by themselves.
 *
 * Tflush (flush(5)): after its answer the guest takes the request it names for gone, and may use its buffers
 * and its tag for something else. So that one's chain always goes back first: at once, with EINTR, if it
 * waits for a lock; else when a worker is through with it, with the answer that it has then. A Tflush that
 * names nothing is answered at once.
 */
#include <errno.h>

#include "fs/p9.h"
#include "virtio/share_device.h"
#include "virtio/virtio_pci.h"

#define QUEUE_SIZE  128u
#define LOCKERS_MAX 32u

/* The device's one feature: there is a tag in the configuration, which there always is. */
#define FEATURE_MOUNT_TAG (1ull << 0)

typedef struct P9Config {
    uint16_t tag_len;
    char tag[VMC_VIRTIO_FS_TAG_MAX]; /* not terminated */
} P9Config;

_Static_assert(sizeof(P9Config) == 2 + VMC_VIRTIO_FS_TAG_MAX, "no gap behind the length");

typedef struct Request {
    VmcShareRequest base;
    VmcP9Message message;
    VmcShareRequest *flushers; /* Tflush requests that wait for this one, linked by `next` */
} Request;

typedef struct P9 {
    VmcShareDevice base;
    VmcShareCaller owner;
    P9Config config;
} P9;

/* ---- messages ---- */

static void *session_new(VmcShareDevice *dev)
{
    return vmc_p9_new(dev->share, ((P9 *)dev)->owner);
}

static void session_free(void *session)
{
    vmc_p9_free(session);
}

static void answer_flush(VmcShareDevice *dev, VmcShareRequest *req)
{
    vmc_share_device_give_back(dev, req, vmc_p9_flushed(&((Request *)req)->message));
}

static void flush(VmcShareDevice *dev, VmcShareRequest *req, uint16_t oldtag)
{
    VmcShareRequest *old = dev->taken;

    while (old && ((Request *)old)->message.tag != oldtag)
        old = old->next_taken;
    if (!old) {
        answer_flush(dev, req);
        return;
    }
    req->next = ((Request *)old)->flushers;
    ((Request *)old)->flushers = req;
    vmc_share_device_give_up(dev, old);
}

/* Now those that wanted to be rid of it have their answers. */
static void gone(VmcShareDevice *dev, VmcShareRequest *req)
{
    for (VmcShareRequest *flusher = ((Request *)req)->flushers, *next; flusher; flusher = next) {
        next = flusher->next;
        answer_flush(dev, flusher);
    }
}

static void take(VmcShareDevice *dev, VmcShareRequest *req)
{
    VmcP9Message *message = &((Request *)req)->message;
    uint16_t oldtag;

    *message = (VmcP9Message){
        .out = req->elem.out,
        .in = req->elem.in,
        .n_out = req->elem.n_out,
        .n_in = req->elem.n_in,
        .out_len = req->elem.out_len,
        .in_len = req->elem.in_len,
    };
    ((Request *)req)->flushers = NULL;
    if (!vmc_p9_read_header(message))
        vmc_share_device_give_back(dev, req, vmc_p9_fail(message, -EINVAL));
    else if (vmc_p9_is_flush(message, &oldtag))
        flush(dev, req, oldtag);
    else
        vmc_share_device_submit(dev, req);
}

static bool serve(VmcShareDevice *dev, VmcShareRequest *req)
{
    return vmc_p9_serve(dev->session, &((Request *)req)->message, &req->written) == VMC_P9_DONE;
}

static bool may_unlock(const VmcShareRequest *req)
{
    return vmc_p9_may_unlock(&((const Request *)req)->message);
}

static size_t interrupted(VmcShareRequest *req)
{
    return vmc_p9_fail(&((Request *)req)->message, -EINTR);
}

static size_t too_many(VmcShareRequest *req)
{
    return vmc_p9_blocked(&((Request *)req)->message);
}

static void session_save(void *session, VmcStateWriter *w)
{
    vmc_p9_save(session, w);
}

static bool session_load(void *session, VmcStateReader *r)
{
    return vmc_p9_load(session, r);
}

static const VmcShareProtocol protocol = {
    .request_size = sizeof(Request),
    .lockers_max = LOCKERS_MAX,
    .session_new = session_new,
    .session_free = session_free,
    .take = take,
    .serve = serve,
    .may_unlock = may_unlock,
    .interrupted = interrupted,
    .too_many = too_many,
    .save = session_save,
    .load = session_load,
    .gone = gone,
};

/* ---- the device ---- */

static void config_read(VmcVirtioDevice *dev, uint32_t offset, void *buf, size_t len)
{
    memcpy(buf, (const uint8_t *)&((P9 *)dev)->config + offset, len);
}

static const VmcVirtioOps p9_ops = {
    .name = "virtio-9p",
    .type = VMC_VIRTIO_ID_9P,
    .pci_class = 0x018000,
    .config_size = sizeof(P9Config),
    .n_queues = 1,
    .queue_sizes = {QUEUE_SIZE},
    .config_read = config_read,
    .driver_ok = vmc_share_device_driver_ok,
    .queue_notified = vmc_share_device_queue_notified,
    .reset = vmc_share_device_reset,
    .drain = vmc_share_device_drain,
    .free = vmc_share_device_free,
    .settle = vmc_share_device_settle,
    .save = vmc_share_device_save,
    .load = vmc_share_device_load,
};

VmcPciDevice *vmc_virtio_p9_new(const VmcVirtioHost *host, VmcShare *share, const char *tag,
                                VmcShareCaller owner)
{
    P9 *p9 = g_new0(P9, 1);
    size_t len = strnlen(tag, sizeof(p9->config.tag));

    p9->owner = owner;
    memcpy(p9->config.tag, tag, len);
    p9->config.tag_len = GUINT16_TO_LE((uint16_t)len);
    if (!vmc_share_device_init(&p9->base, &p9_ops, &protocol, host, share))
        return NULL;
    p9->base.dev.offered = FEATURE_MOUNT_TAG;
    return vmc_virtio_pci_new(&p9->base.dev);
}
