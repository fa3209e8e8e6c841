/*
 * The PCI bus: BARs of all kinds that move about, configuration space, INTx and MSI-X, with a device whose
 * registers are bytes in memory and whose every write may raise an interrupt.
 *
 * covers: vmcore/pci/pci.c vmcore/pci/msix.c vmcore/base/bus.c
 */
#include "tests/fuzz/device.h"

#define REGISTERS 256u
#define VECTORS   70u /* more than one word of pending bits */

typedef struct Board {
    VmcPciDevice pci;
    uint8_t registers[REGISTERS];
    bool master;
} Board;

/* The bus must hand out offsets within the BAR only. */
static void check_range(VmcPciDevice *dev, unsigned bar, uint64_t offset, unsigned size)
{
    if (bar > 5 || offset >= dev->bars[bar].size || size > dev->bars[bar].size - offset)
        fuzz_finding("BAR %u is asked for %u bytes at %#llx", bar, size, (unsigned long long)offset);
}

static uint64_t bar_read(VmcPciDevice *dev, unsigned bar, uint64_t offset, unsigned size)
{
    check_range(dev, bar, offset, size);
    return ((Board *)dev)->registers[offset % REGISTERS];
}

static void bar_write(VmcPciDevice *dev, unsigned bar, uint64_t offset, unsigned size, uint64_t value)
{
    check_range(dev, bar, offset, size);
    ((Board *)dev)->registers[offset % REGISTERS] = (uint8_t)value;
    vmc_pci_intx(dev, value & 1);
    vmc_pci_msix_notify(dev, (unsigned)(value >> 1));
}

static void config_written(VmcPciDevice *dev, unsigned offset, unsigned size)
{
    if (offset > VMC_PCI_CONFIG_SIZE - size)
        fuzz_finding("configuration space is written to at %#x", offset);
    vmc_pci_intx(dev, offset & 4);
}

static void bus_master(VmcPciDevice *dev, bool on)
{
    ((Board *)dev)->master = on;
}

static void board_free(VmcPciDevice *dev)
{
    vmc_pci_device_clear(dev);
    g_free(dev);
}

static const VmcPciDeviceOps board_ops = {
    .name = "board",
    .bar_read = bar_read,
    .bar_write = bar_write,
    .config_written = config_written,
    .bus_master = bus_master,
    .free = board_free,
};

static VmcPciDevice *new_board(uint8_t kinds)
{
    static const VmcPciIdentity identity = {.vendor = 0x1234, .device = 0x5678, .class_code = 0xff0000};
    Board *board = g_new0(Board, 1);

    vmc_pci_device_init(&board->pci, &board_ops, &identity);
    board->pci.config[0x3d] = 1 + (kinds & 3);
    vmc_pci_device_add_bar(&board->pci, 0, 0x20, true, false, false);
    vmc_pci_device_add_bar(&board->pci, 1, 16ull << (kinds & 15), false, false, kinds & 16);
    vmc_pci_device_add_bar(&board->pci, 2, 0x1000ull << (kinds >> 5), false, true, true);
    if (kinds & 16)
        vmc_pci_device_add_msix(&board->pci, 4, VECTORS);
    return &board->pci;
}

static VmcPciDevice *make(FuzzMachine *m, FuzzInput *in)
{
    /* Others that overlap with it, and share its wires, once their BARs are moved. */
    for (unsigned i = fuzz_below(in, 3); i; i--)
        vmc_pci_bus_add(m->pci, new_board(fuzz_u8(in)), -1, fuzz_u8(in) & 1 ? 1 : 0);
    return new_board(fuzz_u8(in));
}

static unsigned access_size(FuzzInput *in)
{
    return 1u << fuzz_below(in, 4);
}

/* Any device, also one that is not there, and any offset. */
static void step_config(FuzzMachine *m, FuzzInput *in)
{
    unsigned devfn = fuzz_u8(in) & 0x1f, offset = fuzz_u16(in), size = access_size(in);

    vmc_pci_bus_config_write(m->pci, devfn, offset, size, fuzz_u32(in));
    vmc_pci_bus_config_read(m->pci, devfn, offset, size);
}

/* A BAR goes to an address that others have, or to the end of the address space. */
static void step_move_bar(FuzzMachine *m, FuzzInput *in)
{
    static const uint32_t bases[] = {0, 0xc0000000, 0xfffffff0, 0xc001, 0xffe1, 0xffffffff, 0x80000000, 1};
    unsigned devfn = fuzz_u8(in) & 0x1f, how = fuzz_u8(in);

    vmc_pci_bus_config_write(m->pci, devfn, 0x10 + 4 * (how & 7) % 24, 4, bases[how >> 3 & 7] + fuzz_u16(in));
}

static void step_access(FuzzMachine *m, FuzzInput *in)
{
    uint8_t how = fuzz_u8(in);
    unsigned size = access_size(in);
    VmcBus *bus = how & 1 ? m->pio : m->mmio;
    uint64_t at = how & 1   ? fuzz_u16(in)
                  : how & 2 ? UINT64_MAX - fuzz_u8(in)
                            : FUZZ_WINDOW + fuzz_u32(in) % FUZZ_WINSIZE;

    vmc_bus_write(bus, at, size, fuzz_u32(in));
    vmc_bus_read(bus, at, size);
}

static void (*const steps[])(FuzzMachine *m, FuzzInput *in) = {step_config, step_move_bar, step_access};

static const FuzzTarget target = {.make = make, .steps = steps, .n_steps = G_N_ELEMENTS(steps)};

FUZZ_DEVICE(target)
