/*
 * The 82545EM (see e1000.h): registers, interrupts, lifecycle. Rings are in e1000_tx.c and e1000_rx.c, EEPROM
 * and PHY in e1000_phy.c.
 *
 * Most registers only keep what is written; those that do something have a case below. A write to a ring's
 * tail, to what enables the rings, or a reset rings the bell, and the I/O thread looks at what there is to
 * do.
 */
#include "net/e1000_internal.h"

#include <string.h>

#define REGISTERS_BAR      0u
#define PORTS_BAR          1u
#define REGISTERS_BAR_SIZE 0x20000u
#define PORTS_BAR_SIZE     64u
#define IOADDR             0u /* SDM s13.2.2 */
#define IODATA             4u

#define STATUS_DEFAULT (STATUS_FD | STATUS_1000)

/* ---- for all files (with the lock held) ---- */

void vmc_e1000_interrupt(E1000 *card, uint32_t causes)
{
    uint32_t *icr = e1000_reg(card, E1000_ICR);

    *icr |= causes;
    vmc_pci_intx(&card->pci, *icr & *e1000_reg(card, E1000_IMS));
}

void vmc_e1000_count(E1000 *card, unsigned reg, uint32_t n)
{
    uint32_t *count = e1000_reg(card, reg);

    *count = n > UINT32_MAX - *count ? UINT32_MAX : *count + n;
}

void vmc_e1000_count64(E1000 *card, unsigned reg, uint64_t n)
{
    uint64_t count = (uint64_t)*e1000_reg(card, reg + 4) << 32 | *e1000_reg(card, reg);

    count = n > UINT64_MAX - count ? UINT64_MAX : count + n;
    *e1000_reg(card, reg) = (uint32_t)count;
    *e1000_reg(card, reg + 4) = (uint32_t)(count >> 32);
}

bool vmc_e1000_link_up(E1000 *card)
{
    return atomic_load(&card->plugged) && vmc_cable_link(card->cable);
}

/* ---- registers ---- */

/* What a reset leaves (SDM s14.1): the address comes from the EEPROM, the PHY keeps its link. */
static void reset_registers(E1000 *card)
{
    const uint8_t *mac = card->mac;

    memset(card->regs, 0, sizeof(card->regs));
    *e1000_reg(card, E1000_CTRL) = CTRL_SLU;
    *e1000_reg(card, E1000_STATUS) = STATUS_DEFAULT;
    *e1000_reg(card, E1000_PBA) = 0x30;
    *e1000_reg(card, E1000_RAL0) = (uint32_t)(mac[0] | mac[1] << 8 | mac[2] << 16) | (uint32_t)mac[3] << 24;
    *e1000_reg(card, E1000_RAH0) = (uint32_t)(mac[4] | mac[5] << 8) | 1u << 31;
    memset(&card->microwire, 0, sizeof(card->microwire));
    vmc_e1000_phy_reset(card);
    vmc_e1000_interrupt(card, 0);
    card->resets++;
    card->stop = true;
}

static uint32_t read_register(E1000 *card, unsigned reg)
{
    uint32_t value;

    if (reg >= E1000_REGS_SIZE)
        return 0;
    value = *e1000_reg(card, reg);
    if (reg >= E1000_STATS && reg < E1000_STATS_END) {
        *e1000_reg(card, reg) = 0;
        return value;
    }
    switch (reg) {
    case E1000_STATUS:
        return value | (vmc_e1000_link_up(card) ? STATUS_LU : 0);
    case E1000_EECD:
        return vmc_e1000_read_eecd(card);
    case E1000_ICR:
        *e1000_reg(card, E1000_ICR) = 0;
        vmc_e1000_interrupt(card, 0);
        return value;
    case E1000_ICS:
    case E1000_IMC:
        return 0;
    default:
        return value;
    }
}

static void write_register(E1000 *card, unsigned reg, uint32_t value)
{
    if (reg >= E1000_REGS_SIZE)
        return;
    switch (reg) {
    case E1000_CTRL:
        if (value & CTRL_RST)
            reset_registers(card);
        else
            *e1000_reg(card, reg) = value;
        break;
    case E1000_STATUS:
        return;
    case E1000_EECD:
        vmc_e1000_write_eecd(card, value);
        return;
    case E1000_EERD:
        vmc_e1000_write_eerd(card, value);
        return;
    case E1000_MDIC:
        vmc_e1000_write_mdic(card, value);
        return;
    case E1000_ICR:
        *e1000_reg(card, E1000_ICR) &= ~value;
        vmc_e1000_interrupt(card, 0);
        return;
    case E1000_ICS:
        vmc_e1000_interrupt(card, value);
        return;
    case E1000_IMS:
        *e1000_reg(card, E1000_IMS) |= value;
        vmc_e1000_interrupt(card, 0);
        return;
    case E1000_IMC:
        *e1000_reg(card, E1000_IMS) &= ~value;
        vmc_e1000_interrupt(card, 0);
        return;
    case E1000_RDH:
    case E1000_RDT:
    case E1000_TDH:
    case E1000_TDT:
        *e1000_reg(card, reg) = value & 0xffff;
        break;
    case E1000_RCTL:
    case E1000_TCTL:
        *e1000_reg(card, reg) = value;
        break;
    default:
        *e1000_reg(card, reg) = value;
        return;
    }
    vmc_doorbell_ring(card->bell);
}

/* ---- BARs (vCPUs) ---- */

/* Registers are 32 bits wide; narrower accesses see and change their part. */
static uint64_t bar_read(VmcPciDevice *pci, unsigned bar, uint64_t offset, unsigned size)
{
    E1000 *card = (E1000 *)pci;
    unsigned shift = 8 * (offset & 3);
    uint64_t value = 0;

    g_mutex_lock(&card->lock);
    if (bar == REGISTERS_BAR) {
        value = read_register(card, (unsigned)offset & ~3u) >> shift;
        if (size == 8)
            value |= (uint64_t)read_register(card, ((unsigned)offset & ~3u) + 4) << 32;
    } else if ((offset & ~3ull) == IOADDR) {
        value = card->io_address >> shift;
    } else if ((offset & ~3ull) == IODATA) {
        value = read_register(card, card->io_address & ~3u) >> shift;
    }
    g_mutex_unlock(&card->lock);
    return size == 8 ? value : value & ((1ull << (8 * size)) - 1);
}

static void bar_write(VmcPciDevice *pci, unsigned bar, uint64_t offset, unsigned size, uint64_t value)
{
    E1000 *card = (E1000 *)pci;

    if (offset & 3 || size < 4)
        return; /* SDM s13.2.1: only whole registers are written */
    g_mutex_lock(&card->lock);
    if (bar == REGISTERS_BAR) {
        write_register(card, (unsigned)offset, (uint32_t)value);
        if (size == 8)
            write_register(card, (unsigned)offset + 4, (uint32_t)(value >> 32));
    } else if (offset == IOADDR) {
        card->io_address = (uint32_t)value;
    } else if (offset == IODATA) {
        write_register(card, card->io_address & ~3u, (uint32_t)value);
    }
    g_mutex_unlock(&card->lock);
}

static void bus_master(VmcPciDevice *pci, bool on)
{
    E1000 *card = (E1000 *)pci;

    atomic_store(&card->dma, on);
    vmc_doorbell_ring(card->bell);
}

/* ---- the I/O thread ---- */

static void work(void *data)
{
    E1000 *card = data;
    bool stop;

    g_mutex_lock(&card->lock);
    stop = card->stop;
    card->stop = false;
    g_mutex_unlock(&card->lock);
    if (stop) {
        vmc_e1000_tx_reset(card);
        vmc_cable_stop(card->cable);
    }
    vmc_e1000_tx_run(card);
    if (vmc_e1000_can_receive(card))
        vmc_cable_resume(card->cable);
}

static void room(void *nic)
{
    E1000 *card = nic;

    card->tx.refused = false;
    vmc_e1000_tx_run(card);
}

static void tell_link(E1000 *card)
{
    g_mutex_lock(&card->lock);
    vmc_e1000_phy_link(card, vmc_e1000_link_up(card));
    vmc_e1000_interrupt(card, ICR_LSC);
    g_mutex_unlock(&card->lock);
}

static void link_changed(void *nic)
{
    tell_link(nic);
}

static const VmcNicOps nic_ops = {
    .receive = vmc_e1000_receive,
    .room = room,
    .link_changed = link_changed,
};

/* ---- lifecycle ---- */

static void reset_and_work(void *data)
{
    E1000 *card = data;

    g_mutex_lock(&card->lock);
    reset_registers(card);
    g_mutex_unlock(&card->lock);
    work(card);
}

static void pci_reset(VmcPciDevice *pci)
{
    E1000 *card = (E1000 *)pci;

    vmc_io_call_sync(card->io, reset_and_work, card);
}

/* ---- saving ---- */

static void pci_hold(VmcPciDevice *pci)
{
    atomic_store(&((E1000 *)pci)->dma, false);
}

static void pci_release(VmcPciDevice *pci)
{
    bus_master(pci, pci->config[4] & 4);
}

static void save(VmcPciDevice *pci, VmcStateWriter *w)
{
    E1000 *card = (E1000 *)pci;

    vmc_state_begin(w, "e1000", 1);
    g_mutex_lock(&card->lock);
    vmc_state_put_bytes(w, card->mac, VMC_MAC_BYTES);
    vmc_state_put_bool(w, atomic_load(&card->plugged));
    for (unsigned i = 0; i < G_N_ELEMENTS(card->regs); i++)
        vmc_state_put_u32(w, card->regs[i]);
    vmc_state_put_u32(w, card->io_address);
    vmc_state_put_bool(w, card->stop);
    vmc_state_put_u32(w, card->microwire.bits_in);
    vmc_state_put_u32(w, card->microwire.bits_out);
    vmc_state_put_u16(w, card->microwire.shifted);
    vmc_state_put_u16(w, card->microwire.data);
    vmc_state_put_bool(w, card->microwire.out);
    for (unsigned i = 0; i < G_N_ELEMENTS(card->phy); i++)
        vmc_state_put_u16(w, card->phy[i]);
    g_mutex_unlock(&card->lock);
    vmc_e1000_tx_save(card, w);
    vmc_state_end(w);
}

static void load_registers(E1000 *card, VmcStateReader *r)
{
    static const unsigned short_registers[] = {E1000_RDH, E1000_RDT, E1000_TDH, E1000_TDT};

    vmc_state_get_bytes(r, card->mac, VMC_MAC_BYTES);
    atomic_store(&card->plugged, vmc_state_get_bool(r));
    for (unsigned i = 0; i < G_N_ELEMENTS(card->regs); i++)
        card->regs[i] = vmc_state_get_u32(r);
    for (unsigned i = 0; i < G_N_ELEMENTS(short_registers); i++)
        *e1000_reg(card, short_registers[i]) &= 0xffff;
    card->io_address = vmc_state_get_u32(r);
    card->stop = vmc_state_get_bool(r);
    card->microwire.bits_in = vmc_state_get_u32(r);
    card->microwire.bits_out = vmc_state_get_u32(r);
    card->microwire.shifted = vmc_state_get_u16(r);
    card->microwire.data = vmc_state_get_u16(r);
    card->microwire.out = vmc_state_get_bool(r);
    for (unsigned i = 0; i < G_N_ELEMENTS(card->phy); i++)
        card->phy[i] = vmc_state_get_u16(r);
}

/* The cable is another one: the driver is told so, by its link. */
static bool load(VmcPciDevice *pci, VmcStateReader *r)
{
    E1000 *card = (E1000 *)pci;

    if (!vmc_state_enter(r, "e1000", 1))
        return false;
    g_mutex_lock(&card->lock);
    load_registers(card, r);
    vmc_e1000_eeprom_init(card);
    g_mutex_unlock(&card->lock);
    vmc_e1000_tx_load(card, r);
    if (!vmc_state_leave(r))
        return false;
    tell_link(card);
    return true;
}

static void pci_free(VmcPciDevice *pci)
{
    E1000 *card = (E1000 *)pci;

    vmc_cable_free(card->cable);
    vmc_doorbell_free(card->bell);
    vmc_pci_device_clear(&card->pci);
    g_mutex_clear(&card->lock);
    g_free(card);
}

static const VmcPciDeviceOps pci_ops = {
    .name = "e1000",
    .bar_read = bar_read,
    .bar_write = bar_write,
    .bus_master = bus_master,
    .reset = pci_reset,
    .free = pci_free,
    .hold = pci_hold,
    .release = pci_release,
    .save = save,
    .load = load,
};

VmcPciDevice *vmc_e1000_new(VmcMemory *memory, VmcIo *io, VmcCable *cable, const uint8_t mac[VMC_MAC_BYTES])
{
    E1000 *card = g_new0(E1000, 1);
    VmcPciIdentity identity = {
        .vendor = 0x8086,
        .device = 0x100f,
        .subsystem_vendor = 0x8086,
        .subsystem = 0x1001, /* the copper adapter */
        .class_code = 0x020000,
        .revision = 1,
    };

    card->memory = memory;
    card->io = io;
    card->cable = cable;
    memcpy(card->mac, mac, sizeof(card->mac));
    atomic_init(&card->plugged, true);
    g_mutex_init(&card->lock);
    vmc_pci_device_init(&card->pci, &pci_ops, &identity);
    card->pci.config[0x3d] = 1; /* INTA */
    vmc_pci_device_add_bar(&card->pci, REGISTERS_BAR, REGISTERS_BAR_SIZE, false, false, false);
    vmc_pci_device_add_bar(&card->pci, PORTS_BAR, PORTS_BAR_SIZE, true, false, false);
    card->bell = vmc_doorbell_new(io, work, card);
    if (!card->bell) {
        pci_free(&card->pci);
        return NULL;
    }
    vmc_e1000_eeprom_init(card);
    vmc_cable_plug(cable, &nic_ops, card);
    reset_registers(card);
    return &card->pci;
}

void vmc_e1000_set_link(VmcPciDevice *pci, bool up)
{
    E1000 *card = (E1000 *)pci;

    atomic_store(&card->plugged, up);
    tell_link(card);
}

bool vmc_e1000_link(VmcPciDevice *pci)
{
    return vmc_e1000_link_up((E1000 *)pci);
}

void vmc_e1000_get_mac(VmcPciDevice *pci, uint8_t mac[VMC_MAC_BYTES])
{
    memcpy(mac, ((E1000 *)pci)->mac, VMC_MAC_BYTES);
}

VmcCable *vmc_e1000_cable(VmcPciDevice *pci)
{
    return ((E1000 *)pci)->cable;
}
