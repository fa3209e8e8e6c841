/*
 * The virtio-pci transport as bytes (base/state.h): registers, queues and then what the device has of its
 * own. Held, a device touches no memory of the guest and has nothing under way.
 */
#include "base/i18n.h"
#include "virtio/virtio_pci_internal.h"

static void hold_device(void *data)
{
    VirtioPci *vp = data;

    atomic_store(&vp->dev->dma, false);
}

static void settle_device(void *data)
{
    VirtioPci *vp = data;

    if (vp->dev->ops->settle)
        vp->dev->ops->settle(vp->dev);
}

void vmc_virtio_pci_hold(VmcPciDevice *pci)
{
    VirtioPci *vp = (VirtioPci *)pci;

    vmc_io_call_sync(vp->dev->io, hold_device, vp);
    if (vp->dev->ops->drain)
        vp->dev->ops->drain(vp->dev);
    vmc_io_call_sync(vp->dev->io, settle_device, vp);
}

void vmc_virtio_pci_release(VmcPciDevice *pci)
{
    vmc_virtio_pci_bus_master(pci, pci->config[4] & 4);
}

static void save_queue(VirtioPci *vp, unsigned n, VmcStateWriter *w)
{
    const PciQueue *queue = &vp->queues[n];
    unsigned kept = vp->dev->ops->kept ? vp->dev->ops->kept(vp->dev, n) : 0;

    vmc_state_put_u16(w, queue->setup.size);
    vmc_state_put_u64(w, queue->setup.desc);
    vmc_state_put_u64(w, queue->setup.driver);
    vmc_state_put_u64(w, queue->setup.device);
    vmc_state_put_bool(w, queue->enabled);
    vmc_state_put_u16(w, queue->vector);
    vmc_virtqueue_save(&vp->dev->queues[n], kept, w);
}

void vmc_virtio_pci_save(VmcPciDevice *pci, VmcStateWriter *w)
{
    VirtioPci *vp = (VirtioPci *)pci;
    VmcVirtioDevice *dev = vp->dev;

    vmc_state_begin(w, dev->ops->name, 1);
    if (vp->resetting || !dev->ops->save)
        vmc_state_refuse(w,
                         vp->resetting ? _("The machine cannot be saved during the reset of a “%s” device")
                                       : _("The machine cannot be saved with a “%s” device"),
                         dev->ops->name);
    vmc_state_put_u32(w, vp->device_feature_select);
    vmc_state_put_u32(w, vp->driver_feature_select);
    vmc_state_put_u64(w, vp->driver_features);
    vmc_state_put_u16(w, vp->queue_select);
    vmc_state_put_u8(w, vp->status);
    vmc_state_put_u8(w, vp->generation);
    vmc_state_put_u16(w, vp->config_vector);
    vmc_state_put_u8(w, vp->isr);
    vmc_state_put_bool(w, dev->running);
    vmc_state_put_u16(w, (uint16_t)vp->n_queues);
    for (unsigned i = 0; i < vp->n_queues; i++)
        save_queue(vp, i, w);
    if (dev->ops->save)
        dev->ops->save(dev, w);
    vmc_state_end(w);
}

static uint16_t get_vector(const VirtioPci *vp, VmcStateReader *r)
{
    uint16_t vector = vmc_state_get_u16(r);

    vmc_state_check(r, vector == vmc_virtio_pci_vector(vp, vector), "a vector");
    return vector;
}

static void load_queue(VirtioPci *vp, unsigned n, VmcStateReader *r)
{
    PciQueue *queue = &vp->queues[n];
    VmcVirtqueue *vq = &vp->dev->queues[n];

    queue->setup.size = vmc_state_get_u16(r);
    queue->setup.desc = vmc_state_get_u64(r);
    queue->setup.driver = vmc_state_get_u64(r);
    queue->setup.device = vmc_state_get_u64(r);
    queue->enabled = vmc_state_get_bool(r);
    queue->vector = get_vector(vp, r);
    if (queue->enabled && (vp->status & STATUS_DRIVER_OK) && vmc_state_ok(r) &&
        !vmc_virtqueue_start(vq, &queue->setup, vp->driver_features))
        vmc_state_check(r, vp->status & STATUS_NEEDS_RESET, "where a queue is");
    vmc_virtqueue_load(vq, r);
}

static bool load_registers(VirtioPci *vp, VmcStateReader *r)
{
    vp->device_feature_select = vmc_state_get_u32(r);
    vp->driver_feature_select = vmc_state_get_u32(r);
    vp->driver_features = vmc_state_get_u64(r);
    vp->queue_select = vmc_state_get_u16(r);
    vp->status = vmc_state_get_u8(r);
    vp->generation = vmc_state_get_u8(r);
    vp->config_vector = get_vector(vp, r);
    vp->isr = vmc_state_get_u8_max(r, ISR_QUEUE | ISR_CONFIG);
    vmc_state_check(r, !(vp->status & ~(STATUS_WRITABLE | STATUS_NEEDS_RESET)), "the device's status");
    if (vp->status & STATUS_FEATURES_OK)
        vmc_state_check(r, !(vp->driver_features & ~vmc_virtio_pci_offered(vp)), "what was negotiated");
    return vmc_state_check(r, !(vp->status & STATUS_DRIVER_OK) || (vp->status & STATUS_FEATURES_OK),
                           "the device's status");
}

bool vmc_virtio_pci_load(VmcPciDevice *pci, VmcStateReader *r)
{
    VirtioPci *vp = (VirtioPci *)pci;
    VmcVirtioDevice *dev = vp->dev;
    bool ready, running;

    if (!vmc_state_enter(r, dev->ops->name, 1) || !load_registers(vp, r))
        return false;
    ready = vp->status & STATUS_DRIVER_OK;
    running = vmc_state_get_bool(r);
    vmc_state_check(r, vmc_state_get_u16(r) == vp->n_queues, "how many queues it has");
    for (unsigned i = 0; i < vp->n_queues && vmc_state_ok(r); i++)
        load_queue(vp, i, r);
    if (!vmc_state_check(r, ready || !running, "that it runs") ||
        !vmc_state_check(r, dev->ops->load, "its kind"))
        return false;
    dev->features = ready ? vp->driver_features : 0;
    dev->running = running;
    if (running)
        vmc_virtio_pci_add_doorbells(vp);
    return dev->ops->load(dev, r) && vmc_state_leave(r);
}
