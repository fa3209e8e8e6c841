/*
 * The modern virtio-pci transport (VIRTIO 1.2 s4.1).
 *
 * One memory BAR of four pages (or where its layout puts them), a page for each structure so that a later KVM
 * can catch doorbells by page: common configuration, ISR status, device configuration, notifications (one
 * 32-bit cell for each queue). MSI-X has BAR 1, with vector 0.. as the driver likes; the
 * VIRTIO_PCI_CAP_PCI_CFG window reaches the same registers from configuration space.
 *
 * How it stays in one piece though vCPUs write and the I/O thread works:
 *  - `lock` serialises the registers among vCPUs. A write that starts or resets the device keeps it and waits
 * for the I/O thread, which never takes it.
 *  - what the I/O thread changes on its own is atomic (status, generation) or has a lock that nobody waits
 * under (isr).
 *  - queue registers and features are handed over by value at DRIVER_OK and do not change until reset.
 *  - a reset with requests in flight does not make the vCPU wait for a disk: status goes on reading as it was
 * until the last one has come back, which is what a driver has to poll for (s4.1.4.3.2).
 */
#include "virtio/virtio_pci.h"

#include <glib.h>

#include "base/seeded.h"
#include "virtio/virtio_pci_internal.h"

#define VENDOR         0x1af4u
#define DEVICE_BASE    0x1040u
#define SUBSYSTEM      0x1100u /* 0x40 or more, so that no legacy driver takes it (s4.1.2.1) */
#define PAGE           4096u
#define REGISTERS_SIZE (4 * PAGE)

enum { PAGE_COMMON, PAGE_ISR, PAGE_DEVICE, PAGE_NOTIFY };

#define CAP_VENDOR        0x09u
#define CFG_COMMON        1u
#define CFG_NOTIFY        2u
#define CFG_ISR           3u
#define CFG_DEVICE        4u
#define CFG_PCI           5u
#define NOTIFY_MULTIPLIER 4u

/* s4.1.4.3, without the fields of features we do not offer; little-endian. */
typedef struct __attribute__((packed)) CommonCfg {
    uint32_t device_feature_select, device_feature;
    uint32_t driver_feature_select, driver_feature;
    uint16_t config_msix_vector, num_queues;
    uint8_t device_status, config_generation;
    uint16_t queue_select, queue_size, queue_msix_vector, queue_enable, queue_notify_off;
    uint64_t queue_desc, queue_driver, queue_device;
} CommonCfg;

_Static_assert(sizeof(CommonCfg) == 56, "as in s4.1.4.3");

uint64_t vmc_virtio_pci_offered(const VirtioPci *vp)
{
    return vp->dev->offered | OWN_FEATURES;
}

/* ---- interrupts (any thread) ---- */

static void set_isr(VirtioPci *vp, uint8_t bits)
{
    g_mutex_lock(&vp->isr_lock);
    vp->isr |= bits;
    vmc_pci_intx(&vp->pci, true);
    g_mutex_unlock(&vp->isr_lock);
}

static uint8_t take_isr(VirtioPci *vp)
{
    g_mutex_lock(&vp->isr_lock);
    uint8_t isr = vp->isr;
    vp->isr = 0;
    vmc_pci_intx(&vp->pci, false);
    g_mutex_unlock(&vp->isr_lock);
    return isr;
}

static void interrupt(VirtioPci *vp, uint16_t vector, uint8_t isr_bit)
{
    if (!vmc_pci_msix_enabled(&vp->pci))
        set_isr(vp, isr_bit);
    else if (vector != NO_VECTOR)
        vmc_pci_msix_notify(&vp->pci, vector);
}

static void interrupt_queue(void *opaque, unsigned queue)
{
    VirtioPci *vp = opaque;

    interrupt(vp, vp->queues[queue].vector, ISR_QUEUE);
}

static void interrupt_config(void *opaque)
{
    VirtioPci *vp = opaque;

    vp->generation++;
    if (vp->status & STATUS_DRIVER_OK)
        interrupt(vp, vp->config_vector, ISR_CONFIG);
}

static void kick(void *opaque, unsigned queue)
{
    VirtioPci *vp = opaque;

    vmc_doorbell_ring(vp->queues[queue].bell);
}

/* ---- starting and stopping (I/O thread) ---- */

static void needs_reset(void *opaque)
{
    VirtioPci *vp = opaque;

    atomic_fetch_or(&vp->status, STATUS_NEEDS_RESET);
    interrupt_config(vp);
}

static void queue_rung(void *data)
{
    PciQueue *queue = data;
    VirtioPci *vp = queue->vp;

    if (vp->dev->running && atomic_load(&vp->dev->dma))
        vp->dev->ops->queue_notified(vp->dev, (unsigned)(queue - vp->queues));
}

/* From now on CPUs that can ring the bells without us. Not before: while BARs are looked for and placed, each
 * move would cost as much again for each queue. */
void vmc_virtio_pci_add_doorbells(VirtioPci *vp)
{
    uint64_t cells = vp->layout->registers_at + PAGE_NOTIFY * PAGE;

    for (unsigned i = 0; i < vp->n_queues; i++)
        if (vp->queues[i].enabled)
            vmc_pci_device_add_doorbell(&vp->pci, vp->layout->registers_bar, cells + i * NOTIFY_MULTIPLIER,
                                        vmc_doorbell_fd(vp->queues[i].bell));
}

/* DRIVER_OK. The vCPU that wrote it waits, so its registers stand still. */
static void start(void *data)
{
    VirtioPci *vp = data;
    VmcVirtioDevice *dev = vp->dev;
    bool good = true;

    dev->features = vp->driver_features;
    for (unsigned i = 0; i < vp->n_queues; i++)
        if (vp->queues[i].enabled)
            good &= vmc_virtqueue_start(&dev->queues[i], &vp->queues[i].setup, dev->features);
    if (!good) {
        vmc_virtio_needs_reset(dev);
        return;
    }
    dev->running = true;
    if (dev->ops->driver_ok)
        dev->ops->driver_ok(dev);
    vmc_virtio_pci_add_doorbells(vp);
    for (unsigned i = 0; i < vp->n_queues; i++)
        if (vp->queues[i].enabled)
            kick(vp, i);
}

static void reset_done(void *opaque)
{
    VirtioPci *vp = opaque;

    vmc_pci_device_remove_doorbells(&vp->pci, vp->layout->registers_bar);
    for (unsigned i = 0; i < vp->n_queues; i++)
        vmc_virtqueue_stop(&vp->dev->queues[i]);
    vp->dev->features = 0;
    take_isr(vp);
    vp->status = 0;
    vp->resetting = false;
}

static void begin_reset(void *data)
{
    VirtioPci *vp = data;

    vp->dev->running = false;
    if (!vp->dev->ops->reset || vp->dev->ops->reset(vp->dev) || VMC_SEEDED(RESET_RACE))
        reset_done(vp);
}

static void clear_registers(VirtioPci *vp)
{
    vp->device_feature_select = vp->driver_feature_select = 0;
    vp->driver_features = 0;
    vp->queue_select = 0;
    vp->config_vector = NO_VECTOR;
    for (unsigned i = 0; i < vp->n_queues; i++) {
        PciQueue *queue = &vp->queues[i];
        queue->setup = (VmcVirtqueueSetup){.size = vp->dev->queues[i].max_size};
        queue->enabled = false;
        queue->vector = NO_VECTOR;
    }
}

/* From power-on reset and free, with no vCPU running: here it is right to wait for what is in flight. */
static void reset_and_wait(VirtioPci *vp)
{
    g_mutex_lock(&vp->lock);
    vp->resetting = true;
    vmc_io_call_sync(vp->dev->io, begin_reset, vp);
    if (vp->resetting) {
        vp->dev->ops->drain(vp->dev);
        vmc_io_call_sync(vp->dev->io, begin_reset, vp);
    }
    clear_registers(vp);
    g_mutex_unlock(&vp->lock);
}

/* ---- common configuration (vCPUs, with `lock` held) ---- */

static void write_status(VirtioPci *vp, uint8_t value)
{
    if (vp->resetting)
        return;
    if (!value) {
        vp->resetting = true;
        clear_registers(vp);
        vmc_io_call_sync(vp->dev->io, begin_reset, vp);
        return;
    }
    uint8_t set = value & STATUS_WRITABLE & ~vp->status; /* the driver cannot take a bit back but by reset */
    bool acceptable = (vp->driver_features & VMC_VIRTIO_F_VERSION_1) &&
                      !(vp->driver_features & ~vmc_virtio_pci_offered(vp));
    if ((set & STATUS_FEATURES_OK) && !acceptable)
        set &= ~STATUS_FEATURES_OK;
    if ((set & STATUS_DRIVER_OK) && !((vp->status | set) & STATUS_FEATURES_OK))
        set &= ~STATUS_DRIVER_OK;
    atomic_fetch_or(&vp->status, set);
    if (set & STATUS_DRIVER_OK)
        vmc_io_call_sync(vp->dev->io, start, vp);
}

static uint32_t half(uint64_t value, uint32_t select)
{
    return select > 1 ? 0 : (uint32_t)(value >> (32 * select));
}

static CommonCfg common_image(VirtioPci *vp)
{
    CommonCfg cfg = {
        .device_feature_select = GUINT32_TO_LE(vp->device_feature_select),
        .device_feature = GUINT32_TO_LE(half(vmc_virtio_pci_offered(vp), vp->device_feature_select)),
        .driver_feature_select = GUINT32_TO_LE(vp->driver_feature_select),
        .driver_feature = GUINT32_TO_LE(half(vp->driver_features, vp->driver_feature_select)),
        .config_msix_vector = GUINT16_TO_LE(vp->config_vector),
        .num_queues = GUINT16_TO_LE(vp->n_queues),
        .device_status = vp->status,
        .config_generation = vp->generation,
        .queue_select = GUINT16_TO_LE(vp->queue_select),
    };

    /* A queue that is not there has size 0 (s4.1.4.3). */
    if (vp->queue_select < vp->n_queues) {
        const PciQueue *queue = &vp->queues[vp->queue_select];
        cfg.queue_size = GUINT16_TO_LE(queue->setup.size);
        cfg.queue_msix_vector = GUINT16_TO_LE(queue->vector);
        cfg.queue_enable = GUINT16_TO_LE(queue->enabled);
        cfg.queue_notify_off = GUINT16_TO_LE(vp->queue_select);
        cfg.queue_desc = GUINT64_TO_LE(queue->setup.desc);
        cfg.queue_driver = GUINT64_TO_LE(queue->setup.driver);
        cfg.queue_device = GUINT64_TO_LE(queue->setup.device);
    }
    return cfg;
}

/* Returns the vector the driver will read back: NO_VECTOR for one there is not (s4.1.5.1.2). */
uint16_t vmc_virtio_pci_vector(const VirtioPci *vp, uint64_t value)
{
    return value < vp->vectors ? (uint16_t)value : NO_VECTOR;
}

static void write_driver_feature(VirtioPci *vp, uint32_t value)
{
    unsigned shift = 32 * vp->driver_feature_select;

    if (vp->driver_feature_select > 1 || (vp->status & STATUS_FEATURES_OK))
        return;
    vp->driver_features = (vp->driver_features & ~(0xffffffffull << shift)) | (uint64_t)value << shift;
}

static void set_address(uint64_t *field, unsigned offset, unsigned size, uint64_t value)
{
    if (size == 8)
        *field = value;
    else if (offset & 4)
        *field = (*field & 0xffffffffull) | value << 32;
    else
        *field = (*field & ~0xffffffffull) | value;
}

#define FIELD(name, width) (offset == offsetof(CommonCfg, name) && size == (width))
/* 64-bit fields are also written as two halves (s4.1.3.1). */
#define FIELD64(name)                                                                                        \
    (FIELD(name, 8) || FIELD(name, 4) || (offset == offsetof(CommonCfg, name) + 4 && size == 4))

static void write_queue(VirtioPci *vp, unsigned offset, unsigned size, uint64_t value)
{
    if (vp->queue_select >= vp->n_queues)
        return;
    PciQueue *queue = &vp->queues[vp->queue_select];
    if (FIELD(queue_msix_vector, 2)) {
        queue->vector = vmc_virtio_pci_vector(vp, value);
        return;
    }
    /* Frozen: a queue once enabled, all of them once the driver is ready. */
    if ((queue->enabled || (vp->status & STATUS_DRIVER_OK)) && !VMC_SEEDED(QUEUE_REWRITE))
        return;
    if (FIELD(queue_size, 2))
        queue->setup.size = (uint16_t)value;
    else if (FIELD(queue_enable, 2))
        queue->enabled = value == 1;
    else if (FIELD64(queue_desc))
        set_address(&queue->setup.desc, offset, size, value);
    else if (FIELD64(queue_driver))
        set_address(&queue->setup.driver, offset, size, value);
    else if (FIELD64(queue_device))
        set_address(&queue->setup.device, offset, size, value);
}

static void write_common(VirtioPci *vp, unsigned offset, unsigned size, uint64_t value)
{
    if (FIELD(device_feature_select, 4))
        vp->device_feature_select = (uint32_t)value;
    else if (FIELD(driver_feature_select, 4))
        vp->driver_feature_select = (uint32_t)value;
    else if (FIELD(driver_feature, 4))
        write_driver_feature(vp, (uint32_t)value);
    else if (FIELD(config_msix_vector, 2))
        vp->config_vector = vmc_virtio_pci_vector(vp, value);
    else if (FIELD(device_status, 1))
        write_status(vp, (uint8_t)value);
    else if (FIELD(queue_select, 2))
        vp->queue_select = (uint16_t)value;
    else
        write_queue(vp, offset, size, value);
}

/* ---- the BAR (vCPUs) ---- */

static uint64_t read_common(VirtioPci *vp, uint64_t offset, unsigned size)
{
    uint64_t value = 0;

    g_mutex_lock(&vp->lock);
    CommonCfg cfg = common_image(vp);
    g_mutex_unlock(&vp->lock);
    if (offset < sizeof(cfg))
        memcpy(&value, (uint8_t *)&cfg + offset,
               VMC_SEEDED(FIXED_BUFFER) ? size : MIN(size, sizeof(cfg) - offset));
    return GUINT64_FROM_LE(value);
}

static uint64_t read_device(VirtioPci *vp, uint64_t offset, unsigned size)
{
    VmcVirtioDevice *dev = vp->dev;
    uint64_t value = 0;

    if (offset >= dev->ops->config_size)
        return 0;
    g_mutex_lock(&vp->lock);
    dev->ops->config_read(dev, (uint32_t)offset, &value, MIN(size, dev->ops->config_size - offset));
    g_mutex_unlock(&vp->lock);
    return GUINT64_FROM_LE(value);
}

static void write_device(VirtioPci *vp, uint64_t offset, unsigned size, uint64_t value)
{
    VmcVirtioDevice *dev = vp->dev;
    uint64_t le = GUINT64_TO_LE(value);

    if (offset >= dev->ops->config_size || size > dev->ops->config_size - offset || !dev->ops->config_write)
        return;
    g_mutex_lock(&vp->lock);
    dev->ops->config_write(dev, (uint32_t)offset, &le, size);
    g_mutex_unlock(&vp->lock);
}

static uint64_t bar_read(VmcPciDevice *pci, unsigned bar, uint64_t offset, unsigned size)
{
    VirtioPci *vp = (VirtioPci *)pci;

    if (offset < vp->layout->registers_at)
        return vp->layout->read(vp->dev, offset, size);
    offset -= vp->layout->registers_at;
    switch (offset / PAGE) {
    case PAGE_COMMON:
        return read_common(vp, offset % PAGE, size);
    case PAGE_ISR:
        return offset % PAGE ? 0 : take_isr(vp);
    case PAGE_DEVICE:
        return read_device(vp, offset % PAGE, size);
    default:
        return 0;
    }
}

static void bar_write(VmcPciDevice *pci, unsigned bar, uint64_t offset, unsigned size, uint64_t value)
{
    VirtioPci *vp = (VirtioPci *)pci;
    unsigned in_page = offset % PAGE;

    if (offset < vp->layout->registers_at) {
        vp->layout->write(vp->dev, offset, size, value);
        return;
    }
    switch ((offset - vp->layout->registers_at) / PAGE) {
    case PAGE_COMMON:
        g_mutex_lock(&vp->lock);
        write_common(vp, in_page, size, value);
        g_mutex_unlock(&vp->lock);
        break;
    case PAGE_DEVICE:
        write_device(vp, in_page, size, value);
        break;
    case PAGE_NOTIFY:
        if (in_page % NOTIFY_MULTIPLIER == 0 && in_page / NOTIFY_MULTIPLIER < vp->n_queues)
            kick(vp, in_page / NOTIFY_MULTIPLIER);
        break;
    default:
        break;
    }
}

/* ---- the window in configuration space (s4.1.4.9) ---- */

static uint32_t config32(const VmcPciDevice *pci, unsigned offset)
{
    uint32_t value;

    memcpy(&value, &pci->config[offset], 4);
    return GUINT32_FROM_LE(value);
}

/* Whether this configuration access goes through the window to a register, and to which. */
static bool window_target(VirtioPci *vp, unsigned offset, unsigned size, uint32_t *target, uint32_t *length)
{
    unsigned data = vp->window + 16;

    if (offset >= data + 4 || offset + size <= data)
        return false;
    *target = config32(&vp->pci, vp->window + 8);
    *length = config32(&vp->pci, vp->window + 12);
    return vp->pci.config[vp->window + 4] == vp->layout->registers_bar &&
           (*length == 1 || *length == 2 || *length == 4) && *target % *length == 0 &&
           *target < vp->registers_size;
}

static void config_reading(VmcPciDevice *pci, unsigned offset, unsigned size)
{
    VirtioPci *vp = (VirtioPci *)pci;
    uint32_t target, length;

    if (!window_target(vp, offset, size, &target, &length))
        return;
    uint32_t value = GUINT32_TO_LE((uint32_t)bar_read(pci, vp->layout->registers_bar, target, length));
    memcpy(&pci->config[vp->window + 16], &value, length);
}

static void config_written(VmcPciDevice *pci, unsigned offset, unsigned size)
{
    VirtioPci *vp = (VirtioPci *)pci;
    uint32_t target, length;

    if (!window_target(vp, offset, size, &target, &length))
        return;
    uint32_t value = config32(pci, vp->window + 16);
    if (length < 4)
        value &= (1u << (8 * length)) - 1;
    bar_write(pci, vp->layout->registers_bar, target, length, value);
}

/* ---- lifecycle ---- */

void vmc_virtio_pci_bus_master(VmcPciDevice *pci, bool on)
{
    VirtioPci *vp = (VirtioPci *)pci;

    atomic_store(&vp->dev->dma, on);
    for (unsigned i = 0; on && i < vp->n_queues; i++)
        kick(vp, i);
}

static void pci_reset(VmcPciDevice *pci)
{
    VirtioPci *vp = (VirtioPci *)pci;

    reset_and_wait(vp);
    if (vp->layout->power_on)
        vp->layout->power_on(vp->dev);
}

static void resumed(void *data)
{
    VirtioPci *vp = data;

    vp->dev->ops->resumed(vp->dev);
}

static void pci_resumed(VmcPciDevice *pci)
{
    VirtioPci *vp = (VirtioPci *)pci;

    if (vp->dev->ops->resumed)
        vmc_io_call_sync(vp->dev->io, resumed, vp);
}

static void pci_free(VmcPciDevice *pci)
{
    VirtioPci *vp = (VirtioPci *)pci;

    reset_and_wait(vp);
    for (unsigned i = 0; i < vp->n_queues; i++)
        vmc_doorbell_free(vp->queues[i].bell);
    vp->dev->ops->free(vp->dev);
    vmc_pci_device_clear(&vp->pci);
    g_mutex_clear(&vp->lock);
    g_mutex_clear(&vp->isr_lock);
    g_free(vp);
}

static unsigned add_capability(VirtioPci *vp, uint8_t type, unsigned page, uint32_t length, unsigned size)
{
    unsigned at = vmc_pci_device_add_capability(&vp->pci, CAP_VENDOR, size);
    uint8_t *cap = &vp->pci.config[at];
    uint32_t offset_le = GUINT32_TO_LE(vp->layout->registers_at + page * PAGE),
             length_le = GUINT32_TO_LE(length);

    cap[2] = (uint8_t)size;
    cap[3] = type;
    cap[4] = (uint8_t)vp->layout->registers_bar;
    memcpy(cap + 8, &offset_le, 4);
    memcpy(cap + 12, &length_le, 4);
    return at;
}

static void add_capabilities(VirtioPci *vp)
{
    add_capability(vp, CFG_COMMON, PAGE_COMMON, sizeof(CommonCfg), 16);
    add_capability(vp, CFG_ISR, PAGE_ISR, 1, 16);
    if (vp->dev->ops->config_size)
        add_capability(vp, CFG_DEVICE, PAGE_DEVICE, vp->dev->ops->config_size, 16);
    unsigned notify = add_capability(vp, CFG_NOTIFY, PAGE_NOTIFY, NOTIFY_MULTIPLIER * vp->n_queues, 20);
    uint32_t multiplier = GUINT32_TO_LE(NOTIFY_MULTIPLIER);
    memcpy(&vp->pci.config[notify + 16], &multiplier, 4);

    vp->window = add_capability(vp, CFG_PCI, 0, 0, 20);
    vp->pci.writable[vp->window + 4] = 0xff;             /* bar */
    memset(&vp->pci.writable[vp->window + 8], 0xff, 12); /* offset, length, data */
    vmc_pci_device_add_msix(&vp->pci, vp->layout->msix_bar, vp->vectors);
}

static const VmcVirtioTransport transport = {
    .interrupt_queue = interrupt_queue,
    .interrupt_config = interrupt_config,
    .kick = kick,
    .needs_reset = needs_reset,
    .reset_done = reset_done,
};

static const VmcPciDeviceOps pci_ops = {
    .name = "virtio-pci",
    .bar_read = bar_read,
    .bar_write = bar_write,
    .config_written = config_written,
    .config_reading = config_reading,
    .bus_master = vmc_virtio_pci_bus_master,
    .reset = pci_reset,
    .resumed = pci_resumed,
    .free = pci_free,
    .hold = vmc_virtio_pci_hold,
    .release = vmc_virtio_pci_release,
    .save = vmc_virtio_pci_save,
    .load = vmc_virtio_pci_load,
};

static bool make_doorbells(VirtioPci *vp)
{
    for (unsigned i = 0; i < vp->n_queues; i++) {
        vp->queues[i].vp = vp;
        vp->queues[i].bell = vmc_doorbell_new(vp->dev->io, queue_rung, &vp->queues[i]);
        if (!vp->queues[i].bell)
            return false;
    }
    return true;
}

VmcPciDevice *vmc_virtio_pci_new(VmcVirtioDevice *dev)
{
    static const VmcVirtioPciLayout usual = {.registers_bar = 0, .msix_bar = 1};

    return vmc_virtio_pci_new_at(dev, &usual);
}

VmcPciDevice *vmc_virtio_pci_new_at(VmcVirtioDevice *dev, const VmcVirtioPciLayout *layout)
{
    VirtioPci *vp = g_new0(VirtioPci, 1);
    VmcPciIdentity identity = {
        .vendor = VENDOR,
        .device = (uint16_t)(DEVICE_BASE + dev->ops->type),
        .subsystem_vendor = VENDOR,
        .subsystem = SUBSYSTEM,
        .class_code = dev->ops->pci_class,
        .revision = 1,
    };

    vp->dev = dev;
    vp->layout = layout;
    vp->registers_size = REGISTERS_SIZE;
    while (vp->registers_size < layout->registers_at + REGISTERS_SIZE)
        vp->registers_size *= 2;
    vp->n_queues = dev->n_queues;
    vp->vectors = vp->n_queues + 1;
    g_mutex_init(&vp->lock);
    g_mutex_init(&vp->isr_lock);
    dev->transport = &transport;
    dev->transport_opaque = vp;
    clear_registers(vp);
    vmc_pci_device_init(&vp->pci, &pci_ops, &identity);
    vp->pci.config[0x3d] = 1; /* INTA */
    vmc_pci_device_add_bar(&vp->pci, layout->registers_bar, vp->registers_size, false, false, false);
    add_capabilities(vp);
    if (!make_doorbells(vp)) {
        pci_free(&vp->pci);
        return NULL;
    }
    return &vp->pci;
}

VmcVirtioDevice *vmc_virtio_pci_device(VmcPciDevice *pci, const VmcVirtioOps *ops)
{
    if (!pci || pci->ops != &pci_ops)
        return NULL;
    VmcVirtioDevice *dev = ((VirtioPci *)pci)->dev;
    return !ops || dev->ops == ops ? dev : NULL;
}
