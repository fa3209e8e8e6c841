/*
 * The xHCI host controller: PCI function, registers, and how its work is put in order (xHCI 1.2 s5).
 *
 * One memory BAR: capability registers, operational registers from 0x40, ports from 0x440, extended
 * capabilities from 0x800 (BIOS hand-off, the two protocols), runtime registers from 0x1000, doorbells from
 * 0x2000. MSI-X, a vector for each interrupter, has BAR 2.
 *
 *   xhci_rings.c      TRBs from the guest, events to it, interrupts
 *   xhci_commands.c   the command ring
 *   xhci_contexts.c   what drivers say of slots and endpoints
 *   xhci_transfers.c  transfer rings
 *   xhci_ports.c      root ports, and where devices are plugged in
 *
 * Threads: a vCPU that writes a register holds the lock for that and no longer; what takes work (doorbells,
 * resets) it only notes down, and the I/O thread does it, one command or transfer for each time it takes the
 * lock. Nothing waits anywhere: a device that is not ready says so (device.h), so there is nothing in flight
 * that a reset or the end would have to wait for, but what a device does by itself, see its free.
 *
 * Streams, isochronous transfers, virtualisation and power saving below U3 are not there, and the capability
 * registers say so. Save and restore keep what is here anyway.
 */
#include "base/i18n.h"
#include "usb/xhci_internal.h"
#include "vmcore/error.h"

#define VENDOR 0x1b36u /* what free virtual hardware uses; drivers go by the class */
#define DEVICE 0x000du
#define CLASS  0x0c0330u

#define REGISTERS_BAR  0u
#define MSIX_BAR       2u
#define REGISTERS_SIZE 0x4000u

#define OPERATIONAL 0x40u
#define PORTS       0x440u
#define EXTENDED    0x800u
#define RUNTIME     0x1000u
#define DOORBELLS   0x2000u

#define INTERRUPT_PIN 0x3du
#define SBRN_OFFSET   0x60u /* s5.2.3: serial bus release number */
#define FLADJ         0x61u

#define MFINDEX_NS   125000ull
#define MFINDEX_MASK 0x3fffu

/* ---- work (I/O thread) ---- */

static void reset_slots(Xhci *xhci)
{
    for (unsigned i = 1; i <= XHCI_SLOTS; i++) {
        if (!xhci->slots[i].enabled)
            continue;
        for (unsigned index = 1; index < XHCI_ENDPOINTS; index++)
            xhci_drop_endpoint(xhci, i, index);
        xhci->slots[i] = (XhciSlot){.enabled = false};
    }
}

static void controller_reset(Xhci *xhci)
{
    xhci->reset_wanted = false;
    reset_slots(xhci);
    xhci->usbcmd = xhci->dnctrl = xhci->config = 0;
    xhci->usbsts = STS_HALTED;
    xhci->dcbaap = 0;
    xhci->saved = false;
    xhci->command_running = false;
    xhci->commands = (XhciRing){0};
    memset(xhci->interrupters, 0, sizeof(xhci->interrupters));
    vmc_timer_disarm(xhci->wrap);
    xhci_reset_ports(xhci);
    xhci_update_interrupts(xhci);
}

/* What one slot has to do. True: there may be more. */
static bool run_slot(Xhci *xhci, unsigned n)
{
    XhciSlot *slot = &xhci->slots[n];
    uint32_t rung = slot->rung;
    uint32_t todo = rung | slot->more | (slot->dev ? atomic_exchange(&slot->dev->ready, 0) : 0);

    if (!slot->enabled || !todo)
        return false;
    slot->rung = slot->more = 0;
    for (unsigned index = 1; index < XHCI_ENDPOINTS; index++) {
        if (!(todo & 1u << index))
            continue;
        if (xhci_run_endpoint(xhci, n, index, rung & 1u << index) || !xhci_can_post(xhci))
            slot->more |= 1u << index;
    }
    return slot->more;
}

/* The doorbell. Between two pieces of work vCPUs get at the registers. */
static void work(void *data)
{
    Xhci *xhci = data;
    bool more = false;

    g_mutex_lock(&xhci->lock);
    if (xhci->reset_wanted)
        controller_reset(xhci);
    xhci_serve_ports(xhci);
    more = xhci_run_commands(xhci);
    for (unsigned i = 1; i <= XHCI_SLOTS && xhci_running(xhci); i++) {
        more |= run_slot(xhci, i);
        g_mutex_unlock(&xhci->lock);
        g_mutex_lock(&xhci->lock);
    }
    /* With the guest's event ring full, ERDP rings again. */
    more = more && xhci_can_post(xhci) && xhci_running(xhci);
    g_mutex_unlock(&xhci->lock);
    if (more)
        vmc_doorbell_ring(xhci->bell);
}

void xhci_die(Xhci *xhci)
{
    xhci->usbsts |= STS_HCE | STS_HALTED;
    xhci->usbcmd &= ~CMD_RUN;
    xhci->command_running = false;
}

/* ---- MFINDEX (s5.5.1) ---- */

static uint32_t mfindex(const Xhci *xhci)
{
    if (!(xhci->usbcmd & CMD_RUN))
        return 0;
    return (uint32_t)((vmc_now_ns() - xhci->started) / MFINDEX_NS) & MFINDEX_MASK;
}

void xhci_arm_wrap(Xhci *xhci)
{
    uint64_t period = (MFINDEX_MASK + 1ull) * MFINDEX_NS;

    if ((xhci->usbcmd & (CMD_RUN | CMD_EWE)) != (CMD_RUN | CMD_EWE))
        vmc_timer_disarm(xhci->wrap);
    else
        vmc_timer_arm(xhci->wrap, vmc_now_ns() + period - (vmc_now_ns() - xhci->started) % period);
}

/* I/O thread. */
static void wrapped(void *data)
{
    Xhci *xhci = data;
    XhciEvent event = {.status = (uint32_t)CC_SUCCESS << 24, .control = TRB_WRAP_EVENT << 10};

    g_mutex_lock(&xhci->lock);
    if (xhci->usbcmd & CMD_EWE) {
        xhci_post(xhci, 0, &event);
        xhci_arm_wrap(xhci);
    }
    g_mutex_unlock(&xhci->lock);
}

/* ---- capability registers (s5.3) and extended ones (s7) ---- */

#define HCIVERSION   0x0100u
#define MAX_PSI_NONE 0u
#define NAME_USB     0x20425355u

static uint32_t read_capability(unsigned offset)
{
    switch (offset) {
    case 0x00:
        return HCIVERSION << 16 | OPERATIONAL;
    case 0x04:
        return XHCI_PORTS << 24 | XHCI_INTERRUPTERS << 8 | XHCI_SLOTS;
    case 0x08: /* no scratchpads, no isochronous scheduling threshold to speak of */
        return XHCI_ERST_SHIFT << 4 | 1;
    case 0x10: /* 64-bit addresses, 32-byte contexts, no streams, ports always powered */
        return EXTENDED / 4 << 16 | 1;
    case 0x14:
        return DOORBELLS;
    case 0x18:
        return RUNTIME;
    default:
        return 0;
    }
}

/* The hand-off from firmware (s7.1): two owners' bits, which nobody here looks at. Protocols (s7.2). */
static uint32_t read_extended(const Xhci *xhci, unsigned offset)
{
    switch (offset) {
    case 0x00:
        return xhci->legacy | 4 << 8 | 1;
    case 0x04:
        return xhci->legacy_control;
    case 0x10:
        return 0x02000000 | 4 << 8 | 2;
    case 0x14:
    case 0x24:
        return NAME_USB;
    case 0x18:
        return XHCI_PORTS_USB2 << 8 | 1;
    case 0x20:
        return 0x03000000 | 2;
    case 0x28:
        return XHCI_PORTS_USB3 << 8 | (XHCI_PORTS_USB2 + 1);
    default:
        return 0;
    }
}

#define BIOS_OWNED    (1u << 16)
#define OS_OWNED      (1u << 24)
#define LEGACY_ENABLE 0x0000e011u

/* A BIOS that is asked for the controller gives it up at once: there is none that runs. */
static void write_extended(Xhci *xhci, unsigned offset, uint32_t value, uint32_t mask)
{
    if (offset == 0) {
        xhci->legacy = (xhci->legacy & ~mask) | (value & mask & (OS_OWNED | BIOS_OWNED));
        if (xhci->legacy & OS_OWNED)
            xhci->legacy &= ~BIOS_OWNED;
    } else if (offset == 4) {
        xhci->legacy_control = (xhci->legacy_control & ~mask) | (value & mask & LEGACY_ENABLE);
    }
}

/* ---- operational registers (s5.4) ---- */

static uint32_t read_operational(const Xhci *xhci, unsigned offset)
{
    switch (offset) {
    case 0x00:
        return xhci->usbcmd | (xhci->reset_wanted ? CMD_RESET : 0);
    case 0x04:
        return xhci->usbsts | (xhci->reset_wanted ? STS_CNR : 0);
    case 0x08:
        return 1; /* pages of 4 KiB */
    case 0x14:
        return xhci->dnctrl;
    case 0x18:
        return xhci->command_running ? CRCR_RUNNING : 0;
    case 0x30:
        return (uint32_t)xhci->dcbaap;
    case 0x34:
        return (uint32_t)(xhci->dcbaap >> 32);
    case 0x38:
        return xhci->config;
    default:
        return 0;
    }
}

static void start(Xhci *xhci)
{
    if (xhci->usbsts & (STS_HCE | STS_HSE))
        return;
    xhci->usbcmd |= CMD_RUN;
    xhci->usbsts &= ~STS_HALTED;
    xhci->started = vmc_now_ns();
    /* What changed while it stood still is told now (s4.19.2). */
    for (unsigned i = 0; i < XHCI_PORTS; i++) {
        XhciEvent event = {.parameter = (uint64_t)(i + 1) << 24,
                           .status = (uint32_t)CC_SUCCESS << 24,
                           .control = TRB_PORT_EVENT << 10};
        if (!(xhci->ports[i].portsc & PORT_CHANGES))
            continue;
        xhci->usbsts |= STS_PCD;
        xhci_post(xhci, 0, &event);
    }
    vmc_doorbell_ring(xhci->bell);
}

static void write_command(Xhci *xhci, uint32_t value)
{
    uint32_t old = xhci->usbcmd;

    if (value & CMD_RESET) {
        xhci->reset_wanted = true;
        vmc_doorbell_ring(xhci->bell);
        return;
    }
    if ((value & CMD_CSS) && (xhci->usbsts & STS_HALTED))
        xhci->saved = true;
    if ((value & CMD_CRS) && !xhci->saved)
        xhci->usbsts |= STS_SRE;
    xhci->usbcmd = (old & CMD_RUN) | (value & CMD_KEPT & ~CMD_RUN);
    if ((value & CMD_RUN) && !(old & CMD_RUN)) {
        start(xhci);
    } else if (!(value & CMD_RUN) && (old & CMD_RUN)) {
        xhci->usbcmd &= ~CMD_RUN;
        xhci->usbsts |= STS_HALTED;
        xhci->command_running = false;
    }
    if ((xhci->usbcmd ^ old) & (CMD_RUN | CMD_EWE))
        xhci_arm_wrap(xhci);
    xhci_update_interrupts(xhci);
}

#define CRCR_STOP 6u /* Command Stop, Command Abort */

static void set_half(uint64_t *reg, bool high, uint32_t value)
{
    *reg = high ? (*reg & 0xffffffffull) | (uint64_t)value << 32 : (*reg & ~0xffffffffull) | value;
}

static void write_crcr(Xhci *xhci, bool high, uint32_t value)
{
    if (xhci->command_running) {
        if (!high && (value & CRCR_STOP))
            xhci_stop_commands(xhci);
        return;
    }
    set_half(&xhci->commands.dequeue, high, high ? value : value & ~63u);
    if (!high)
        xhci->commands.cycle = value & 1;
}

static void write_operational(Xhci *xhci, unsigned offset, uint32_t value)
{
    if (xhci->reset_wanted)
        return;
    switch (offset) {
    case 0x00:
        write_command(xhci, value);
        break;
    case 0x04:
        xhci->usbsts &= ~(value & STS_CLEARED);
        break;
    case 0x14:
        xhci->dnctrl = value & 0xffff;
        break;
    case 0x18:
    case 0x1c:
        write_crcr(xhci, offset == 0x1c, value);
        break;
    case 0x30:
    case 0x34:
        set_half(&xhci->dcbaap, offset == 0x34, offset == 0x34 ? value : value & ~63u);
        break;
    case 0x38:
        xhci->config = value & 0xff;
        break;
    default:
        break;
    }
}

/* s5.4.8 to s5.4.11: PORTSC, PORTPMSC; the other two have nothing for us. */
static uint32_t read_port(const Xhci *xhci, unsigned offset)
{
    const XhciPort *port = &xhci->ports[offset / 16];

    switch (offset % 16) {
    case 0:
        return port->portsc;
    case 4:
        return port->portpmsc;
    default:
        return 0;
    }
}

static void write_port(Xhci *xhci, unsigned offset, uint32_t value)
{
    if (xhci->reset_wanted)
        return;
    if (offset % 16 == 0)
        xhci_write_port(xhci, offset / 16, value);
    else if (offset % 16 == 4) /* U1 and U2 time-outs, L1; kept, without effect */
        xhci->ports[offset / 16].portpmsc = value & 0x1ffff;
}

/* ---- runtime registers (s5.5) and doorbells (s5.6) ---- */

static uint32_t read_runtime(const Xhci *xhci, unsigned offset)
{
    if (!offset)
        return mfindex(xhci);
    if (offset < 0x20 || offset >= 0x20 + 32 * XHCI_INTERRUPTERS)
        return 0;
    const XhciInterrupter *intr = &xhci->interrupters[offset / 32 - 1];
    switch (offset % 32) {
    case 0x00:
        return intr->iman;
    case 0x04:
        return intr->imod;
    case 0x08:
        return intr->erstsz;
    case 0x10:
        return (uint32_t)intr->erstba;
    case 0x14:
        return (uint32_t)(intr->erstba >> 32);
    case 0x18:
        return (uint32_t)intr->erdp;
    case 0x1c:
        return (uint32_t)(intr->erdp >> 32);
    default:
        return 0;
    }
}

/* The guest has taken events, and perhaps its interrupt handler is through (s5.5.2.3.3). */
static void write_erdp(Xhci *xhci, unsigned n, bool high, uint32_t value)
{
    XhciInterrupter *intr = &xhci->interrupters[n];
    uint64_t busy = intr->erdp & ERDP_EHB;

    if (!high && (value & ERDP_EHB))
        busy = 0;
    set_half(&intr->erdp, high, value);
    intr->erdp = (intr->erdp & ~(uint64_t)ERDP_EHB) | busy;
    if (!xhci_running(xhci))
        return;
    if (xhci_drain(xhci, n))
        vmc_doorbell_ring(xhci->bell);
    if (!high && (value & ERDP_EHB))
        xhci_handler_done(xhci, n);
}

static void write_runtime(Xhci *xhci, unsigned offset, uint32_t value)
{
    if (xhci->reset_wanted || offset < 0x20 || offset >= 0x20 + 32 * XHCI_INTERRUPTERS)
        return;
    unsigned n = offset / 32 - 1;
    XhciInterrupter *intr = &xhci->interrupters[n];
    switch (offset % 32) {
    case 0x00:
        intr->iman = (intr->iman & IMAN_IP & ~value) | (value & IMAN_IE);
        xhci_update_interrupts(xhci);
        break;
    case 0x04:
        intr->imod = value;
        break;
    case 0x08:
        intr->erstsz = MIN(value & 0xffff, 1u << XHCI_ERST_SHIFT);
        break;
    case 0x10:
    case 0x14:
        set_half(&intr->erstba, offset % 32 == 0x14, value);
        intr->fresh = true;
        intr->first = intr->count = 0;
        break;
    case 0x18:
    case 0x1c:
        write_erdp(xhci, n, offset % 32 == 0x1c, value);
        break;
    default:
        break;
    }
}

static void write_doorbell(Xhci *xhci, unsigned slot, uint32_t value)
{
    unsigned target = value & 0xff;

    if (slot > XHCI_SLOTS || !xhci_running(xhci))
        return;
    if (!slot && !target)
        xhci->command_running = true;
    else if (slot && xhci->slots[slot].enabled && target && target < XHCI_ENDPOINTS)
        xhci->slots[slot].rung |= 1u << target;
    else
        return;
    vmc_doorbell_ring(xhci->bell);
}

/* ---- the BAR (vCPUs) ---- */

static uint32_t read_dword(const Xhci *xhci, unsigned offset)
{
    if (offset < OPERATIONAL)
        return read_capability(offset);
    if (offset < PORTS)
        return read_operational(xhci, offset - OPERATIONAL);
    if (offset < PORTS + 16 * XHCI_PORTS)
        return read_port(xhci, offset - PORTS);
    if (offset >= EXTENDED && offset < RUNTIME)
        return read_extended(xhci, offset - EXTENDED);
    if (offset >= RUNTIME && offset < DOORBELLS)
        return read_runtime(xhci, offset - RUNTIME);
    return 0; /* doorbells too */
}

static void write_dword(Xhci *xhci, unsigned offset, uint32_t value)
{
    if (offset >= OPERATIONAL && offset < PORTS)
        write_operational(xhci, offset - OPERATIONAL, value);
    else if (offset >= PORTS && offset < PORTS + 16 * XHCI_PORTS)
        write_port(xhci, offset - PORTS, value);
    else if (offset >= EXTENDED && offset < RUNTIME)
        write_extended(xhci, offset - EXTENDED, value, UINT32_MAX);
    else if (offset >= RUNTIME && offset < DOORBELLS)
        write_runtime(xhci, offset - RUNTIME, value);
    else if (offset >= DOORBELLS)
        write_doorbell(xhci, (offset - DOORBELLS) / 4, value);
}

static uint64_t bar_read(VmcPciDevice *pci, unsigned bar, uint64_t offset, unsigned size)
{
    Xhci *xhci = (Xhci *)pci;
    uint64_t value;

    g_mutex_lock(&xhci->lock);
    value = read_dword(xhci, (unsigned)offset & ~3u);
    if (size > 4 - offset % 4)
        value |= (uint64_t)read_dword(xhci, ((unsigned)offset & ~3u) + 4) << 32;
    g_mutex_unlock(&xhci->lock);
    return value >> (offset % 4 * 8);
}

/* Registers are written as a whole; only of the hand-off register drivers write single bytes (s7.1.1). */
static void bar_write(VmcPciDevice *pci, unsigned bar, uint64_t offset, unsigned size, uint64_t value)
{
    Xhci *xhci = (Xhci *)pci;
    unsigned shift = offset % 4 * 8;

    g_mutex_lock(&xhci->lock);
    if (size >= 4 && offset % 4 == 0) {
        write_dword(xhci, (unsigned)offset, (uint32_t)value);
        if (size == 8)
            write_dword(xhci, (unsigned)offset + 4, (uint32_t)(value >> 32));
    } else if (offset >= EXTENDED && offset < RUNTIME && size + offset % 4 <= 4) {
        write_extended(xhci, (unsigned)(offset - EXTENDED) & ~3u, (uint32_t)value << shift,
                       ((1u << size * 8) - 1) << shift);
    }
    g_mutex_unlock(&xhci->lock);
}

static void bus_master(VmcPciDevice *pci, bool on)
{
    Xhci *xhci = (Xhci *)pci;

    g_mutex_lock(&xhci->lock);
    xhci->dma = on;
    g_mutex_unlock(&xhci->lock);
    if (on)
        vmc_doorbell_ring(xhci->bell);
}

/* ---- lifecycle ---- */

static void power_on(void *data)
{
    Xhci *xhci = data;

    g_mutex_lock(&xhci->lock);
    controller_reset(xhci);
    xhci->legacy = xhci->legacy_control = 0;
    g_mutex_unlock(&xhci->lock);
}

static void reset(VmcPciDevice *pci)
{
    vmc_io_call_sync(((Xhci *)pci)->io, power_on, pci);
}

static void machine_resumed(void *data)
{
    Xhci *xhci = data;

    g_mutex_lock(&xhci->lock);
    for (unsigned i = 0; i < XHCI_PORTS; i++)
        vmc_usb_device_machine_resumed(xhci->ports[i].dev); /* a hub tells what is plugged into it */
    g_mutex_unlock(&xhci->lock);
}

static void resumed(VmcPciDevice *pci)
{
    vmc_io_call_sync(((Xhci *)pci)->io, machine_resumed, pci);
}

/* Devices go before the bell, which their workers ring to the last; the I/O thread does not see them any
 * more by then. */
static void xhci_free(VmcPciDevice *pci)
{
    Xhci *xhci = (Xhci *)pci;
    VmcUsbDevice *devices[XHCI_PORTS];

    g_mutex_lock(&xhci->lock);
    xhci->usbcmd &= ~CMD_RUN;
    reset_slots(xhci);
    for (unsigned i = 0; i < XHCI_PORTS; i++) {
        devices[i] = xhci->ports[i].dev;
        xhci->ports[i].dev = NULL;
    }
    g_mutex_unlock(&xhci->lock);
    for (unsigned i = 0; i < XHCI_PORTS; i++)
        vmc_usb_device_free(devices[i]); /* a hub frees what is plugged into it */
    vmc_doorbell_free(xhci->bell);
    vmc_timer_free(xhci->wrap);
    g_ptr_array_unref(xhci->hubs);
    vmc_pci_device_clear(pci);
    g_mutex_clear(&xhci->lock);
    g_free(xhci);
}

static const VmcPciDeviceOps xhci_ops = {
    .name = "xhci",
    .bar_read = bar_read,
    .bar_write = bar_write,
    .bus_master = bus_master,
    .reset = reset,
    .resumed = resumed,
    .free = xhci_free,
    .hold = xhci_hold,
    .release = xhci_release,
    .save = xhci_save,
    .load = xhci_load,
};

VmcPciDevice *vmc_xhci_new(VmcMemory *memory, VmcIo *io)
{
    static const VmcPciIdentity identity = {
        .vendor = VENDOR,
        .device = DEVICE,
        .subsystem_vendor = 0x1af4,
        .subsystem = 0x1100,
        .class_code = CLASS,
        .revision = 1,
    };
    Xhci *xhci = g_new0(Xhci, 1);

    g_mutex_init(&xhci->lock);
    xhci->memory = memory;
    xhci->io = io;
    xhci->hubs = g_ptr_array_new();
    xhci->usbsts = STS_HALTED;
    xhci_init_ports(xhci);
    xhci->wrap = vmc_timer_new(io, wrapped, xhci);
    vmc_pci_device_init(&xhci->pci, &xhci_ops, &identity);
    vmc_pci_device_add_bar(&xhci->pci, REGISTERS_BAR, REGISTERS_SIZE, false, true, false);
    vmc_pci_device_add_msix(&xhci->pci, MSIX_BAR, XHCI_INTERRUPTERS);
    xhci->pci.config[INTERRUPT_PIN] = 1; /* INTA */
    xhci->pci.config[SBRN_OFFSET] = 0x30;
    xhci->pci.config[FLADJ] = 0x20;
    xhci->bell = vmc_doorbell_new(io, work, xhci);
    if (!xhci->bell) {
        xhci_free(&xhci->pci);
        return NULL;
    }
    return &xhci->pci;
}

/* ---- plugging ---- */

typedef struct Plug {
    Xhci *xhci;
    VmcUsbDevice *dev;
    bool done;
} Plug;

static void plug(void *data)
{
    Plug *p = data;

    g_mutex_lock(&p->xhci->lock);
    p->done = xhci_plug(p->xhci, p->dev);
    g_mutex_unlock(&p->xhci->lock);
}

static void unplug(void *data)
{
    Plug *p = data;

    g_mutex_lock(&p->xhci->lock);
    xhci_unplug(p->xhci, p->dev);
    g_mutex_unlock(&p->xhci->lock);
}

bool vmc_xhci_attach(VmcPciDevice *pci, VmcUsbDevice *dev, GError **error)
{
    Plug p = {(Xhci *)pci, dev, false};

    vmc_io_call_sync(p.xhci->io, plug, &p);
    if (!p.done)
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                    _("There is no USB port left for a %s; detach another USB device first"), dev->ops->name);
    return p.done;
}

void vmc_xhci_detach(VmcPciDevice *pci, VmcUsbDevice *dev)
{
    Plug p = {(Xhci *)pci, dev, false};

    vmc_io_call_sync(p.xhci->io, unplug, &p);
}
