/*
 * A small virtio driver for tests: it finds a device on a real PCI bus, maps nothing, and talks to it the way
 * a guest does, through configuration space, BARs and rings in guest memory. Structure layouts come from the
 * kernel's own headers, not from ours.
 *
 * Guest memory: RIG_RAM bytes at 0, a page of ROM at RIG_ROM, more RAM at 4 GiB; all else is not RAM. BARs
 * are assigned from RIG_WINDOW on.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <glib.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/bus.h"
#include "base/io.h"
#include "base/memory.h"
#include "pci/pci.h"
#include "virtio/devices.h"

/* A program that needs more sets both before it includes this. */
#ifndef RIG_RAM
#define RIG_RAM (16u << 20)
#define RIG_ROM 0x2000000ull
#endif
#define RIG_HIGH    0x100000000ull
#define RIG_WINDOW  0xc0000000ull
#define RIG_HOLE    0x40000000ull
#define RIG_TIMEOUT (5 * G_TIME_SPAN_SECOND)
#define RIG_VECTORS 20
#define RIG_MSI     0xfee00000ull

#define RIG_FEATURES                                                                                         \
    (1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_RING_F_INDIRECT_DESC)

typedef struct RigQueue {
    unsigned index, size;
    uint64_t desc, avail, used, notify;
    uint16_t next_avail, last_used;
    uint16_t kicked; /* next_avail when it was last considered whether to notify */
    unsigned next_desc;
} RigQueue;

typedef struct Rig {
    VmcMemory *memory;
    VmcBus *pio, *mmio;
    VmcIo *io;
    VmcPciBus *pci;
    VmcVirtioHost host;
    VmcPciDevice *dev;
    uint64_t common, isr, device, notify;
    uint32_t notify_multiplier;
    unsigned msix_cap, window_cap;
    bool msix;
    uint64_t features, next_free;
    RigQueue queues[16];

    GMutex lock;
    GCond cond;
    unsigned interrupts[RIG_VECTORS]; /* messages, by data */
    bool intx;
    unsigned intx_rises;
    struct {
        uint64_t at;
        int fd;
    } bells[16]; /* what CPUs would ring themselves */
    unsigned n_bells;
    struct {
        uint64_t address;
        uint32_t data;
        int fd; /* 0: free */
    } wires[4]; /* for messages */
    unsigned max_wires, times_wired;
} Rig;

typedef struct RigBuffer {
    uint64_t gpa;
    uint32_t len;
} RigBuffer;

static inline void rig_msi(void *opaque, uint64_t address, uint32_t data)
{
    Rig *rig = opaque;

    g_mutex_lock(&rig->lock);
    if (address == RIG_MSI && data < RIG_VECTORS)
        rig->interrupts[data]++;
    g_cond_broadcast(&rig->cond);
    g_mutex_unlock(&rig->lock);
}

static inline void rig_wire(void *opaque, unsigned line, bool level)
{
    Rig *rig = opaque;

    g_mutex_lock(&rig->lock);
    rig->intx_rises += level && !rig->intx;
    rig->intx = level;
    g_cond_broadcast(&rig->cond);
    g_mutex_unlock(&rig->lock);
}

static inline bool rig_add_bell(void *opaque, uint64_t address, int fd)
{
    Rig *rig = opaque;

    assert_true(rig->n_bells < G_N_ELEMENTS(rig->bells));
    rig->bells[rig->n_bells].at = address;
    rig->bells[rig->n_bells++].fd = fd;
    return true;
}

static inline void rig_remove_bell(void *opaque, uint64_t address, int fd)
{
    Rig *rig = opaque;
    unsigned i = 0;

    while (i < rig->n_bells && (rig->bells[i].at != address || rig->bells[i].fd != fd))
        i++;
    assert_true(i < rig->n_bells); /* only what is there is taken away */
    rig->bells[i] = rig->bells[--rig->n_bells];
}

/* An eventfd for a message, as many as a test allows. */
static inline int rig_wire_msi(void *opaque, int fd, uint64_t address, uint32_t data)
{
    Rig *rig = opaque;
    unsigned i = 0;

    while (i < rig->max_wires && rig->wires[i].fd != (fd < 0 ? 0 : fd))
        i++;
    if (i == rig->max_wires)
        return -1;
    if (fd < 0)
        rig->wires[i].fd = eventfd(0, EFD_NONBLOCK);
    rig->wires[i].address = address;
    rig->wires[i].data = data;
    rig->times_wired++;
    return rig->wires[i].fd;
}

static inline void rig_unwire_msi(void *opaque, int fd)
{
    Rig *rig = opaque;
    unsigned i = 0;

    while (i < rig->max_wires && rig->wires[i].fd != fd)
        i++;
    assert_true(fd > 0 && i < rig->max_wires);
    rig->wires[i].fd = 0;
    close(fd);
}

/* The machine without a device. */
static inline void rig_init(Rig *rig)
{
    memset(rig, 0, sizeof(*rig));
    g_mutex_init(&rig->lock);
    g_cond_init(&rig->cond);
    rig->memory = vmc_memory_new();
    assert_true(vmc_memory_add(rig->memory, "ram", 0, RIG_RAM, false, NULL));
    assert_true(vmc_memory_add(rig->memory, "rom", RIG_ROM, 4096, true, NULL));
    assert_true(vmc_memory_add(rig->memory, "high", RIG_HIGH, RIG_RAM, false, NULL));
    rig->pio = vmc_bus_new("pio");
    rig->mmio = vmc_bus_new("mmio");
    rig->io = vmc_io_new(NULL);
    assert_non_null(rig->io);
    rig->host = (VmcVirtioHost){.memory = rig->memory, .io = rig->io};
    VmcPciBusParams params = {
        .pio = rig->pio, .mmio = rig->mmio, .msi = {rig_msi, rig, rig_wire_msi, rig_unwire_msi}};
    params.doorbells = (VmcPciDoorbellOps){rig_add_bell, rig_remove_bell, rig};
    for (unsigned i = 0; i < 8; i++)
        params.intx[i] = (VmcIrq){rig_wire, rig, i};
    rig->pci = vmc_pci_bus_new(&params);
    rig->next_free = 0x10000;
}

static inline void rig_clear(Rig *rig)
{
    vmc_pci_bus_free(rig->pci);
    vmc_io_free(rig->io);
    vmc_bus_free(rig->pio);
    vmc_bus_free(rig->mmio);
    vmc_memory_free(rig->memory);
    g_mutex_clear(&rig->lock);
    g_cond_clear(&rig->cond);
}

static inline uint32_t rig_config(Rig *rig, unsigned offset, unsigned size)
{
    return vmc_pci_bus_config_read(rig->pci, rig->dev->devfn, offset, size);
}

static inline void rig_set_config(Rig *rig, unsigned offset, unsigned size, uint32_t value)
{
    vmc_pci_bus_config_write(rig->pci, rig->dev->devfn, offset, size, value);
}

static inline uint64_t rig_bar(Rig *rig, unsigned bar)
{
    return rig_config(rig, PCI_BASE_ADDRESS_0 + 4 * bar, 4) & PCI_BASE_ADDRESS_MEM_MASK;
}

static inline void rig_find_structures(Rig *rig)
{
    for (unsigned at = rig_config(rig, PCI_CAPABILITY_LIST, 1), n = 0; at && n < 48; n++) {
        unsigned id = rig_config(rig, at, 1);
        if (id == PCI_CAP_ID_MSIX)
            rig->msix_cap = at;
        if (id == PCI_CAP_ID_VNDR) {
            unsigned bar = rig_config(rig, at + VIRTIO_PCI_CAP_BAR, 1);
            uint64_t where = rig_bar(rig, bar) + rig_config(rig, at + VIRTIO_PCI_CAP_OFFSET, 4);
            switch (rig_config(rig, at + VIRTIO_PCI_CAP_CFG_TYPE, 1)) {
            case VIRTIO_PCI_CAP_COMMON_CFG:
                rig->common = where;
                break;
            case VIRTIO_PCI_CAP_NOTIFY_CFG:
                rig->notify = where;
                rig->notify_multiplier = rig_config(rig, at + VIRTIO_PCI_NOTIFY_CAP_MULT, 4);
                break;
            case VIRTIO_PCI_CAP_ISR_CFG:
                rig->isr = where;
                break;
            case VIRTIO_PCI_CAP_DEVICE_CFG:
                rig->device = where;
                break;
            case VIRTIO_PCI_CAP_PCI_CFG:
                rig->window_cap = at;
                break;
            default:
                fail_msg("capability of unknown type at %#x", at);
            }
        }
        at = rig_config(rig, at + 1, 1);
    }
    assert_true(rig->common && rig->notify && rig->isr && rig->msix_cap && rig->window_cap);
}

/* Puts the device on the bus, gives it addresses and finds its registers. */
static inline void rig_plug(Rig *rig, VmcPciDevice *dev)
{
    static const uint8_t lines[8] = {10, 11, 10, 11, 10, 11, 10, 11};

    assert_non_null(dev);
    rig->dev = dev;
    assert_true(vmc_pci_bus_add(rig->pci, dev, -1, 0));
    vmc_pci_bus_assign(rig->pci, RIG_WINDOW, RIG_WINDOW + 0x4000000, 0xc000, lines);
    rig_find_structures(rig);
    rig_set_config(rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

/* ---- registers ---- */

#define RIG_COMMON(field) offsetof(struct virtio_pci_common_cfg, field)

static inline uint64_t rig_read(Rig *rig, unsigned offset, unsigned size)
{
    return vmc_bus_read(rig->mmio, rig->common + offset, size);
}

static inline void rig_write(Rig *rig, unsigned offset, unsigned size, uint64_t value)
{
    vmc_bus_write(rig->mmio, rig->common + offset, size, value);
}

static inline uint8_t rig_status(Rig *rig)
{
    return (uint8_t)rig_read(rig, RIG_COMMON(device_status), 1);
}

static inline void rig_set_status(Rig *rig, uint8_t bits)
{
    rig_write(rig, RIG_COMMON(device_status), 1, rig_status(rig) | bits);
}

static inline void rig_reset(Rig *rig)
{
    rig_write(rig, RIG_COMMON(device_status), 1, 0);
    for (int64_t end = g_get_monotonic_time() + RIG_TIMEOUT; rig_status(rig); g_usleep(1000))
        assert_true(g_get_monotonic_time() < end);
    memset(rig->queues, 0, sizeof(rig->queues));
}

static inline uint64_t rig_offered(Rig *rig)
{
    uint64_t features;

    rig_write(rig, RIG_COMMON(device_feature_select), 4, 0);
    features = rig_read(rig, RIG_COMMON(device_feature), 4);
    rig_write(rig, RIG_COMMON(device_feature_select), 4, 1);
    return features | rig_read(rig, RIG_COMMON(device_feature), 4) << 32;
}

/* Reset, ACKNOWLEDGE, DRIVER, features, FEATURES_OK. True if the device took them. */
static inline bool rig_negotiate(Rig *rig, uint64_t features)
{
    rig_reset(rig);
    rig_set_status(rig, VIRTIO_CONFIG_S_ACKNOWLEDGE);
    rig_set_status(rig, VIRTIO_CONFIG_S_DRIVER);
    rig->features = features;
    for (unsigned i = 0; i < 2; i++) {
        rig_write(rig, RIG_COMMON(guest_feature_select), 4, i);
        rig_write(rig, RIG_COMMON(guest_feature), 4, (uint32_t)(features >> (32 * i)));
    }
    rig_set_status(rig, VIRTIO_CONFIG_S_FEATURES_OK);
    return rig_status(rig) & VIRTIO_CONFIG_S_FEATURES_OK;
}

/* Vector n sends data n; vector 0 is for configuration changes, n + 1 for queue n. */
static inline void rig_enable_msix(Rig *rig)
{
    uint32_t where = rig_config(rig, rig->msix_cap + PCI_MSIX_TABLE, 4);
    uint64_t table = rig_bar(rig, where & 7) + (where & ~7u);
    unsigned vectors = (rig_config(rig, rig->msix_cap + PCI_MSIX_FLAGS, 2) & PCI_MSIX_FLAGS_QSIZE) + 1;

    rig_set_config(rig, rig->msix_cap + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
    for (unsigned i = 0; i < vectors; i++) {
        vmc_bus_write(rig->mmio, table + 16 * i, 4, RIG_MSI);
        vmc_bus_write(rig->mmio, table + 16 * i + 4, 4, 0);
        vmc_bus_write(rig->mmio, table + 16 * i + 8, 4, i);
        vmc_bus_write(rig->mmio, table + 16 * i + 12, 4, 0);
    }
    rig_write(rig, RIG_COMMON(msix_config), 2, 0);
    assert_int_equal(rig_read(rig, RIG_COMMON(msix_config), 2), 0);
    rig->msix = true;
}

/* ---- guest memory ---- */

static inline uint64_t rig_alloc(Rig *rig, uint64_t len)
{
    uint64_t at = rig->next_free;

    rig->next_free = (at + len + 4095) & ~4095ull;
    assert_true(rig->next_free <= RIG_RAM);
    return at;
}

static inline void *rig_host(Rig *rig, uint64_t gpa, uint64_t len)
{
    void *host = vmc_memory_host(rig->memory, gpa, len);

    assert_non_null(host);
    return host;
}

/* ---- queues ---- */

static inline void rig_set_address(Rig *rig, unsigned low, uint64_t gpa)
{
    rig_write(rig, low, 4, (uint32_t)gpa);
    rig_write(rig, low + 4, 4, gpa >> 32);
}

static inline RigQueue *rig_setup_queue(Rig *rig, unsigned index, unsigned size)
{
    RigQueue *q = &rig->queues[index];

    q->index = index;
    q->size = size;
    q->desc = rig_alloc(rig, 16 * size);
    q->avail = rig_alloc(rig, 6 + 2 * size);
    q->used = rig_alloc(rig, 6 + 8 * size);
    memset(rig_host(rig, q->avail, 6 + 2 * size), 0, 6 + 2 * size);
    memset(rig_host(rig, q->used, 6 + 8 * size), 0, 6 + 8 * size);
    rig_write(rig, RIG_COMMON(queue_select), 2, index);
    rig_write(rig, RIG_COMMON(queue_size), 2, size);
    rig_set_address(rig, RIG_COMMON(queue_desc_lo), q->desc);
    rig_set_address(rig, RIG_COMMON(queue_avail_lo), q->avail);
    rig_set_address(rig, RIG_COMMON(queue_used_lo), q->used);
    if (rig->msix) {
        rig_write(rig, RIG_COMMON(queue_msix_vector), 2, index + 1);
        assert_int_equal(rig_read(rig, RIG_COMMON(queue_msix_vector), 2), index + 1);
    }
    q->notify = rig->notify + rig_read(rig, RIG_COMMON(queue_notify_off), 2) * rig->notify_multiplier;
    rig_write(rig, RIG_COMMON(queue_enable), 2, 1);
    return q;
}

/* All of it up to DRIVER_OK, with MSI-X. */
static inline void rig_bring_up(Rig *rig, uint64_t features, unsigned n_queues, unsigned size)
{
    assert_true(rig_negotiate(rig, features));
    rig_enable_msix(rig);
    for (unsigned i = 0; i < n_queues; i++)
        rig_setup_queue(rig, i, size);
    rig_set_status(rig, VIRTIO_CONFIG_S_DRIVER_OK);
    assert_int_equal(rig_status(rig) & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
}

static inline struct vring_desc *rig_desc(Rig *rig, RigQueue *q, unsigned n)
{
    return (struct vring_desc *)rig_host(rig, q->desc, 16 * q->size) + n;
}

static inline void rig_offer(Rig *rig, RigQueue *q, uint16_t head)
{
    struct vring_avail *avail = rig_host(rig, q->avail, 6 + 2 * q->size);

    avail->ring[q->next_avail++ % q->size] = head;
    __atomic_store_n(&avail->idx, q->next_avail, __ATOMIC_RELEASE);
}

/* Whether the device has asked to be told of what was offered since the last look (VIRTIO 1.2 s2.7.7.2,
 * s2.7.10). */
static inline bool rig_notification_wanted(Rig *rig, RigQueue *q)
{
    struct vring_used *used = rig_host(rig, q->used, 6 + 8 * q->size);
    uint16_t before = q->kicked;

    q->kicked = q->next_avail;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!(rig->features & 1ull << VIRTIO_RING_F_EVENT_IDX))
        return !(__atomic_load_n(&used->flags, __ATOMIC_RELAXED) & VRING_USED_F_NO_NOTIFY);
    return vring_need_event(__atomic_load_n((uint16_t *)&used->ring[q->size], __ATOMIC_RELAXED),
                            q->next_avail, before);
}

/* Notifies when that was asked for, as real drivers do, so that a device which forgets to ask waits for ever.
 */
static inline void rig_kick(Rig *rig, RigQueue *q)
{
    if (rig_notification_wanted(rig, q))
        vmc_bus_write(rig->mmio, q->notify, 2, q->index);
}

/* Notifies whether or not that was asked for. */
static inline void rig_kick_unasked(Rig *rig, RigQueue *q)
{
    vmc_bus_write(rig->mmio, q->notify, 2, q->index);
}

/* Adds a chain of out and then in buffers; returns its head. Descriptors are taken in turn and never run out
 * as long as fewer than `size` of them are in use. */
static inline uint16_t rig_add(Rig *rig, RigQueue *q, const RigBuffer *buffers, unsigned n_out, unsigned n_in)
{
    unsigned head = q->next_desc;

    for (unsigned i = 0; i < n_out + n_in; i++) {
        unsigned n = q->next_desc, next = (n + 1) % q->size;
        *rig_desc(rig, q, n) = (struct vring_desc){
            .addr = buffers[i].gpa,
            .len = buffers[i].len,
            .flags = (i >= n_out ? VRING_DESC_F_WRITE : 0) | (i + 1 < n_out + n_in ? VRING_DESC_F_NEXT : 0),
            .next = (uint16_t)next,
        };
        q->next_desc = next;
    }
    rig_offer(rig, q, (uint16_t)head);
    return (uint16_t)head;
}

/* Asks for an interrupt with the next used element: used_event stands behind the available ring. */
static inline void rig_want_interrupt(Rig *rig, RigQueue *q)
{
    struct vring_avail *avail = rig_host(rig, q->avail, 6 + 2 * q->size);

    __atomic_store_n(&avail->ring[q->size], q->last_used, __ATOMIC_SEQ_CST);
}

/* Waits, as a driver would, for an interrupt that brings the next used element. */
static inline bool rig_wait_used(Rig *rig, RigQueue *q, struct vring_used_elem *elem, int64_t timeout)
{
    struct vring_used *used = rig_host(rig, q->used, 6 + 8 * q->size);
    int64_t end = g_get_monotonic_time() + timeout;
    bool there;

    g_mutex_lock(&rig->lock);
    while (!(there = __atomic_load_n(&used->idx, __ATOMIC_ACQUIRE) != q->last_used))
        if (!g_cond_wait_until(&rig->cond, &rig->lock, end))
            break;
    g_mutex_unlock(&rig->lock);
    if (!there)
        return false;
    *elem = used->ring[q->last_used++ % q->size];
    rig_want_interrupt(rig, q);
    return true;
}

static inline struct vring_used_elem rig_used(Rig *rig, RigQueue *q)
{
    struct vring_used_elem elem = {0};

    if (!rig_wait_used(rig, q, &elem, RIG_TIMEOUT))
        fail_msg("queue %u: no used element and interrupt in time; status %#x", q->index, rig_status(rig));
    return elem;
}

/* Kicks the queue and waits until the device asks for a reset. */
static inline void rig_expect_needs_reset(Rig *rig)
{
    for (int64_t end = g_get_monotonic_time() + RIG_TIMEOUT; !(rig_status(rig) & VIRTIO_CONFIG_S_NEEDS_RESET);
         g_usleep(500))
        if (g_get_monotonic_time() > end)
            fail_msg("the device did not notice: status %#x", rig_status(rig));
}
