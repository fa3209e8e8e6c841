/*
 * virtio-fs (VIRTIO 1.2 s5.11): FUSE messages from rings, for a shared folder. What they mean lives in fs/,
 * how they are worked off in share_device.c.
 *
 * What can be done without waiting (fs/quick.c) is done at once, as two threads cost more than most requests;
 * so are FORGET and INTERRUPT. INTERRUPT matters to a request that waits for a lock: it ends with EINTR.
 */
#include <errno.h>

#include "fs/fuse.h"
#include "virtio/share_device.h"
#include "virtio/virtio_pci.h"

#define QUEUE_SIZE  VMC_VIRTQ_SIZE_MAX
#define LOCKERS_MAX 1024u

/* s5.11.4 */
typedef struct FsConfig {
    char tag[VMC_VIRTIO_FS_TAG_MAX]; /* padded with NUL */
    uint32_t num_request_queues;
} FsConfig;

_Static_assert(sizeof(FsConfig) == 40, "as in s5.11.4");

typedef struct Request {
    VmcShareRequest base;
    VmcFuseMessage message;
} Request;

typedef struct Fs {
    VmcShareDevice base;
    VmcShareCache cache;
    FsConfig config;
} Fs;

/* ---- messages ---- */

static void *session_new(VmcShareDevice *dev)
{
    return vmc_fuse_new(dev->share, ((Fs *)dev)->cache);
}

static void session_free(void *session)
{
    vmc_fuse_free(session);
}

/* There is no answer. */
static void interrupt(VmcShareDevice *dev, const VmcFuseMessage *message)
{
    struct fuse_interrupt_in in;
    VmcShareRequest *next;

    if (!vmc_fuse_read_args(message, &in, sizeof(in)))
        return;
    for (VmcShareRequest *req = dev->taken; req; req = next) {
        unsigned queue = req->queue;
        next = req->next_taken;
        if (((Request *)req)->message.header.unique == in.unique && vmc_share_device_give_up(dev, req))
            vmc_virtio_notify(&dev->dev, queue);
    }
}

static void take(VmcShareDevice *dev, VmcShareRequest *req)
{
    VmcFuseMessage *message = &((Request *)req)->message;
    size_t written = 0;

    *message = (VmcFuseMessage){
        .out = req->elem.out,
        .in = req->elem.in,
        .n_out = req->elem.n_out,
        .n_in = req->elem.n_in,
        .out_len = req->elem.out_len,
        .in_len = req->elem.in_len,
    };
    if (!vmc_fuse_read_header(message)) {
        vmc_share_device_give_back(dev, req, vmc_fuse_fail(message, -EINVAL));
    } else if (message->header.opcode == FUSE_INTERRUPT) {
        interrupt(dev, message);
        vmc_share_device_give_back(dev, req, 0);
    } else if (vmc_fuse_forget(dev->session, message)) {
        vmc_share_device_give_back(dev, req, 0);
    } else if (vmc_fuse_serve_at_once(dev->session, message, &written) == VMC_FUSE_DONE) {
        vmc_share_device_give_back(dev, req, written);
    } else {
        vmc_share_device_submit(dev, req);
    }
}

static bool serve(VmcShareDevice *dev, VmcShareRequest *req)
{
    return vmc_fuse_serve(dev->session, &((Request *)req)->message, &req->written) == VMC_FUSE_DONE;
}

static bool may_unlock(const VmcShareRequest *req)
{
    switch (((const Request *)req)->message.header.opcode) {
    case FUSE_SETLK:
    case FUSE_SETLKW:
    case FUSE_FLUSH:
    case FUSE_RELEASE:
    case FUSE_DESTROY:
        return true;
    default:
        return false;
    }
}

static size_t interrupted(VmcShareRequest *req)
{
    return vmc_fuse_fail(&((Request *)req)->message, -EINTR);
}

static size_t too_many(VmcShareRequest *req)
{
    return vmc_fuse_fail(&((Request *)req)->message, -ENOLCK);
}

static void session_save(void *session, VmcStateWriter *w)
{
    vmc_fuse_save(session, w);
}

static bool session_load(void *session, VmcStateReader *r)
{
    return vmc_fuse_load(session, r);
}

static const VmcShareProtocol protocol = {
    .request_size = sizeof(Request),
    .lockers_max = LOCKERS_MAX,
    .has_hiprio = true,
    .session_new = session_new,
    .session_free = session_free,
    .take = take,
    .serve = serve,
    .may_unlock = may_unlock,
    .interrupted = interrupted,
    .too_many = too_many,
    .save = session_save,
    .load = session_load,
};

/* ---- the device ---- */

static void config_read(VmcVirtioDevice *dev, uint32_t offset, void *buf, size_t len)
{
    memcpy(buf, (const uint8_t *)&((Fs *)dev)->config + offset, len);
}

static const VmcVirtioOps fs_ops = {
    .name = "virtio-fs",
    .type = VMC_VIRTIO_ID_FS,
    .pci_class = 0x018000,
    .config_size = sizeof(FsConfig),
    .n_queues = 2,
    .queue_sizes = {QUEUE_SIZE, QUEUE_SIZE},
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

VmcPciDevice *vmc_virtio_fs_new(const VmcVirtioHost *host, VmcShare *share, const char *tag,
                                VmcShareCache cache, unsigned queues)
{
    Fs *fs = g_new0(Fs, 1);

    queues = CLAMP(queues, 1, VMC_VIRTIO_FS_QUEUES_MAX);
    fs->cache = cache;
    memcpy(fs->config.tag, tag, strnlen(tag, sizeof(fs->config.tag)));
    fs->config.num_request_queues = GUINT32_TO_LE(queues);
    if (!vmc_share_device_init(&fs->base, &fs_ops, &protocol, host, share))
        return NULL;
    vmc_virtio_device_add_queues(&fs->base.dev, queues - 1, QUEUE_SIZE);
    return vmc_virtio_pci_new(&fs->base.dev);
}
