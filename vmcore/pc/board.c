/*
 * The board put together: who is wired to whom, and what firmware would have done before an operating system
 * starts.
 *
 * With a backend that has the interrupt chips in the kernel (KVM), local APICs, IOAPIC, PIC and PIT are not
 * made here: wires and messages go to the backend. Everything else is the same.
 */
#include "pc/board.h"

#include <string.h>

#include "base/i18n.h"
#include "boot/linux.h"
#include "pc/acpi.h"
#include "pc/clock.h"
#include "pc/firmware.h"
#include "pc/host_bridge.h"
#include "pc/hpet.h"
#include "pc/ioapic.h"
#include "pc/lapic.h"
#include "pc/legacy.h"
#include "pc/lpc.h"
#include "pc/pic.h"
#include "pc/pit.h"
#include "pc/pm.h"
#include "pc/rtc.h"
#include "pc/smbios.h"
#include "pc/smc.h"
#include "pc/uart.h"
#include "pc/wires.h"
#include "vmcore/error.h"

#define GSI_RTC     8
#define GSI_SCI     9
#define UARTS_MAX   4
#define PCI_IO_BASE 0xc000

/* Conventional memory ends here; what is above up to 1 MiB is not handed out as RAM. */
#define CONVENTIONAL_END 0x9fc00u
#define ONE_MIB          0x100000u

static const struct {
    uint16_t port;
    uint8_t irq;
} com_ports[UARTS_MAX] = {{0x3f8, 4}, {0x2f8, 3}, {0x3e8, 4}, {0x2e8, 3}};

/* Where PIRQ A..H go for a guest that uses the 8259s, as OVMF has them too; level triggered, as is the SCI.
 */
static const uint8_t irq_of_pirq[8] = {10, 10, 11, 11, 10, 10, 11, 11};
#define LEVEL_IRQS (1u << GSI_SCI | 1u << 10 | 1u << 11)

struct VmcBoard {
    VmcBoardParams params;
    VmcClock *clock;
    VmcWires *wires;
    VmcCpu **cpus;

    /* NULL with an in-kernel irqchip */
    VmcLapics *lapics;
    VmcIoapic *ioapic;
    VmcPic *pic;
    VmcPit *pit;

    VmcHpet *hpet;
    VmcRtc *rtc;
    VmcPm *pm;
    VmcLegacy *legacy;
    VmcFirmware *firmware; /* or NULL */
    VmcPciBus *pci;
    VmcHostBridge *bridge; /* these two belong to pci */
    VmcLpc *lpc;
    VmcUart *uarts[UARTS_MAX];
    VmcIrq uart_irqs[UARTS_MAX];
    unsigned n_uarts;
    VmcSmc *smc; /* NULL: none */
};

/* ---- interrupt wiring ---- */

/* Our chips: ISA interrupts go to both the 8259s and the IOAPIC, where the PIT is on pin 2 (the MADT says
 * so). */
static void gsi_to_chips(void *opaque, unsigned gsi, bool level)
{
    VmcBoard *board = opaque;
    if (gsi < 16)
        vmc_pic_set_irq(board->pic, gsi, level);
    if (gsi == 0)
        vmc_ioapic_set_pin(board->ioapic, 2, level);
    else if (gsi != 2)
        vmc_ioapic_set_pin(board->ioapic, gsi, level);
}

static void gsi_to_backend(void *opaque, unsigned gsi, bool level)
{
    VmcBoard *board = opaque;
    board->params.backend->set_gsi(board->params.vm, gsi, level);
}

/* INTR of the 8259s: LINT0 of every CPU, and pin 0 of the IOAPIC. */
static void pic_intr(void *opaque, bool level)
{
    VmcBoard *board = opaque;
    if (board->lapics)
        vmc_lapics_set_extint(board->lapics, level);
    if (board->ioapic)
        vmc_ioapic_set_pin(board->ioapic, 0, level);
}

static void send_msi(void *opaque, uint64_t address, uint32_t data)
{
    VmcBoard *board = opaque;
    if (board->lapics)
        vmc_lapics_msi(board->lapics, address, data);
    else
        board->params.backend->send_msi(board->params.vm, address, data);
}

static int wire_msi(void *opaque, int fd, uint64_t address, uint32_t data)
{
    VmcBoard *board = opaque;
    return board->params.backend->wire_msi(board->params.vm, fd, address, data);
}

static void unwire_msi(void *opaque, int fd)
{
    VmcBoard *board = opaque;
    board->params.backend->unwire_msi(board->params.vm, fd);
}

static bool add_doorbell(void *opaque, uint64_t address, int fd)
{
    VmcBoard *board = opaque;
    return board->params.backend->add_doorbell(board->params.vm, address, fd);
}

static void remove_doorbell(void *opaque, uint64_t address, int fd)
{
    VmcBoard *board = opaque;
    board->params.backend->remove_doorbell(board->params.vm, address, fd);
}

static void mute_kernel_pit(void *opaque, bool muted)
{
    VmcBoard *board = opaque;
    if (board->params.backend->mute_pit)
        board->params.backend->mute_pit(board->params.vm, muted);
}

/* ---- what the guest asks for ---- */

static void on_power_off(void *opaque)
{
    VmcBoard *board = opaque;
    board->params.power_off(board->params.opaque);
}

static void on_reset(void *opaque)
{
    VmcBoard *board = opaque;
    board->params.reset(board->params.opaque);
}

/* ---- assembly ---- */

bool vmc_board_add_memory(VmcMemory *memory, uint64_t bytes, const VmcBootConfig *boot, GError **error)
{
    uint64_t low = MIN(bytes, VMC_PC_LOW_RAM_END);
    if (!vmc_memory_add(memory, "vmc-ram-low", 0, low, false, error))
        return false;
    if (bytes > low && !vmc_memory_add(memory, "vmc-ram-high", VMC_PC_HIGH_RAM, bytes - low, false, error))
        return false;
    return boot->kind != VMC_BOOT_EFI || vmc_firmware_add_code(memory, boot, error);
}

/* Bytes of RAM from `base` on, 0 if none begins there. */
static uint64_t ram_at(const VmcBoard *board, uint64_t base)
{
    const VmcMemSlot *slot = vmc_memory_slot(board->params.memory, base);
    return slot && slot->gpa == base ? slot->size : 0;
}

static void make_interrupt_chips(VmcBoard *board)
{
    const VmcBoardParams *p = &board->params;
    if (p->backend->in_kernel_irqchip) {
        board->wires = vmc_wires_new(gsi_to_backend, board);
        return;
    }
    VmcLapicsParams lapics = {p->n_cpus, p->backend, p->vm, board->clock};
    board->lapics = vmc_lapics_new(&lapics);
    board->pic = vmc_pic_new(p->pio, pic_intr, board);
    board->ioapic = vmc_ioapic_new(p->mmio, board->lapics);
    vmc_lapics_connect(board->lapics, board->pic, board->ioapic);
    board->wires = vmc_wires_new(gsi_to_chips, board);
}

/* PIT and RTC behind the HPET, which takes their place when the guest wants it to. */
static void make_timers(VmcBoard *board)
{
    const VmcBoardParams *p = &board->params;
    VmcHpetParams hpet = {
        .mmio = p->mmio,
        .clock = board->clock,
        .wires = board->wires,
        .msi = {.send = send_msi, .opaque = board},
        .mute_pit = p->backend->in_kernel_irqchip ? mute_kernel_pit : NULL,
        .opaque = board,
    };
    board->hpet = vmc_hpet_new(&hpet);
    VmcIrq wire = vmc_wires_add(board->wires, GSI_RTC);
    VmcIrq irq8 = vmc_hpet_gate(board->hpet, VMC_HPET_GATE_RTC, &wire);
    board->rtc = vmc_rtc_new(p->pio, board->clock, &irq8);
    if (!p->backend->in_kernel_irqchip) {
        wire = vmc_wires_add(board->wires, 0);
        VmcIrq irq0 = vmc_hpet_gate(board->hpet, VMC_HPET_GATE_PIT, &wire);
        board->pit = vmc_pit_new(p->pio, board->clock, &irq0);
    }
}

static void make_pci(VmcBoard *board)
{
    const VmcBoardParams *p = &board->params;
    VmcPciBusParams pci = {.pio = p->pio, .mmio = p->mmio, .msi = {.send = send_msi, .opaque = board}};
    if (p->backend->wire_msi) {
        pci.msi.wire = wire_msi;
        pci.msi.unwire = unwire_msi;
    }
    if (p->backend->add_doorbell)
        pci.doorbells = (VmcPciDoorbellOps){add_doorbell, remove_doorbell, board};
    board->lpc = vmc_lpc_new(board->pm, board->wires, p->mmio);
    for (unsigned i = 0; i < 8; i++)
        pci.intx[i] = (VmcIrq){vmc_lpc_pirq, board->lpc, i};
    board->pci = vmc_pci_bus_new(&pci);
    vmc_lpc_add(board->lpc, board->pci);
    board->bridge = vmc_host_bridge_new(board->pci, p->pio, p->mmio, board->legacy);
}

/* ---- ACPI and firmware ---- */

#define PCI64_SIZE (32ull << 30)

/* The tables for the board as it is set up now. The window above 4 GiB is there for firmware only, which puts
 * large BARs where it likes; it is told where that was, or, before it has, where there is room. */
static VmcAcpiTables *build_acpi(VmcBoard *board)
{
    uint64_t ecam = vmc_host_bridge_ecam(board->bridge);
    bool sane = ecam >= VMC_PC_LOW_RAM_END && ecam <= VMC_PC_PCI_END - VMC_PC_ECAM_SIZE;
    VmcAcpiParams params = {
        .n_cpus = board->params.n_cpus,
        .n_uarts = board->n_uarts,
        .smc = board->smc != NULL,
        .ecam_base = sane ? ecam : VMC_PC_ECAM_BASE,
        .pci_base = VMC_PC_ECAM_BASE,
    };
    memcpy(params.irq_of_pirq, irq_of_pirq, sizeof irq_of_pirq);
    if (board->params.boot->kind == VMC_BOOT_EFI) {
        uint64_t top = VMC_PC_HIGH_RAM + ram_at(board, VMC_PC_HIGH_RAM);
        if (!vmc_pci_bus_high_range(board->pci, &params.pci64_first, &params.pci64_last)) {
            params.pci64_first = (top + PCI64_SIZE - 1) & ~(PCI64_SIZE - 1);
            params.pci64_last = params.pci64_first + PCI64_SIZE - 1;
        }
        params.pci64_first &= ~((1ull << 30) - 1);
        params.pci64_last |= (1ull << 30) - 1;
        /* Wherever ECAM is, so that the tables are always as long. */
        params.pci_base = VMC_PC_LOW_RAM_END;
    }
    return vmc_acpi_build(&params);
}

static VmcAcpiTables *acpi_for_firmware(void *opaque)
{
    return build_acpi(opaque);
}

static VmcSmbiosParams describe(const VmcBoard *board)
{
    const VmcBoardParams *p = &board->params;
    return (VmcSmbiosParams){
        .manufacturer = "Espalier",
        .product = "Virtual Machine",
        .version = "Q35",
        .firmware_vendor = "Espalier",
        .firmware_version = "1.0",
        .firmware_date = "01/01/2026",
        .uefi = board->firmware != NULL,
        .memory = ram_at(board, 0) + ram_at(board, VMC_PC_HIGH_RAM),
        .cpus = p->n_cpus,
        .sockets = MAX(p->packages, 1),
        .cpu_mhz = (unsigned)(p->backend->tsc_hz(p->vm) / 1000000),
    };
}

/* OVMF adds what is in these two to its own, and places all of it (OvmfPkg/SmbiosPlatformDxe). */
static void give_smbios(VmcBoard *board)
{
    VmcFwCfg *fw_cfg = vmc_firmware_fw_cfg(board->firmware);
    VmcSmbiosParams params = describe(board);
    GByteArray *table = vmc_smbios_build(&params);
    GByteArray *anchor = vmc_smbios_anchor(VMC_SMBIOS_ANCHOR_2, table, 0);
    vmc_fw_cfg_set_file(fw_cfg, "etc/smbios/smbios-tables", g_byte_array_free_to_bytes(table));
    vmc_fw_cfg_set_file(fw_cfg, "etc/smbios/smbios-anchor", g_byte_array_free_to_bytes(anchor));
}

static bool make_firmware(VmcBoard *board, GError **error)
{
    const VmcBoardParams *p = &board->params;
    uint64_t high = ram_at(board, VMC_PC_HIGH_RAM);
    VmcE820Entry map[] = {{0, ram_at(board, 0), VMC_E820_RAM}, {VMC_PC_HIGH_RAM, high, VMC_E820_RAM}};
    VmcFirmwareParams params = {
        .pio = p->pio,
        .mmio = p->mmio,
        .io = p->io,
        .memory = p->memory,
        .boot = p->boot,
        .hooks = p->hooks,
        .n_cpus = p->n_cpus,
        .ram = ram_at(board, 0),
        .map = map,
        .n_map = high ? 2 : 1,
        .acpi = acpi_for_firmware,
        .opaque = board,
    };
    board->firmware = vmc_firmware_new(&params, error);
    if (!board->firmware)
        return false;
    give_smbios(board);
    return true;
}

VmcBoard *vmc_board_new(const VmcBoardParams *params, GError **error)
{
    VmcBoard *board = g_new0(VmcBoard, 1);
    board->params = *params;
    board->cpus = g_new0(VmcCpu *, params->n_cpus);
    board->clock = vmc_clock_new(params->io);
    make_interrupt_chips(board);
    make_timers(board);
    VmcPmParams pm = {
        .pio = params->pio,
        .clock = board->clock,
        .sci = vmc_wires_add(board->wires, GSI_SCI),
        .power_off = on_power_off,
        .opaque = board,
    };
    board->pm = vmc_pm_new(&pm);
    board->legacy = vmc_legacy_new(params->pio, on_reset, board);
    make_pci(board);
    if (params->boot->kind == VMC_BOOT_EFI && !make_firmware(board, error)) {
        vmc_board_free(board);
        return NULL;
    }
    return board;
}

void vmc_board_free(VmcBoard *board)
{
    if (!board)
        return;
    vmc_pci_bus_free(board->pci); /* devices first: they use everything else */
    for (unsigned i = 0; i < board->n_uarts; i++)
        vmc_uart_free(board->uarts[i]);
    vmc_smc_free(board->smc);
    vmc_firmware_free(board->firmware);
    vmc_legacy_free(board->legacy);
    vmc_pm_free(board->pm);
    vmc_rtc_free(board->rtc);
    vmc_pit_free(board->pit);
    vmc_hpet_free(board->hpet);
    vmc_ioapic_free(board->ioapic);
    vmc_lapics_free(board->lapics);
    vmc_pic_free(board->pic);
    vmc_wires_free(board->wires);
    vmc_clock_free(board->clock);
    g_free(board->cpus);
    g_free(board);
}

VmcPciBus *vmc_board_pci(VmcBoard *board)
{
    return board->pci;
}

const VmcLocalApic *vmc_board_lapic(VmcBoard *board, unsigned cpu)
{
    return board->lapics ? vmc_lapics_get(board->lapics, cpu) : NULL;
}

void vmc_board_attach_cpu(VmcBoard *board, unsigned index, VmcCpu *cpu)
{
    if (index >= board->params.n_cpus)
        return;
    board->cpus[index] = cpu;
    if (board->lapics)
        vmc_lapics_attach_cpu(board->lapics, index, cpu);
}

bool vmc_board_add_uart(VmcBoard *board, int fd_in, int fd_out, GError **error)
{
    unsigned n = board->n_uarts;
    if (n == UARTS_MAX) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG, _("a PC has at most %d serial ports"), UARTS_MAX);
        return false;
    }
    VmcUartParams params = {
        .pio = board->params.pio,
        .io = board->params.io,
        .clock = board->clock,
        .port = com_ports[n].port,
        .irq = vmc_wires_add(board->wires, com_ports[n].irq),
        .fd_in = fd_in,
        .fd_out = fd_out,
    };
    board->uarts[n] = vmc_uart_new(&params, error);
    if (!board->uarts[n])
        return false;
    board->n_uarts++;
    return true;
}

bool vmc_board_add_smc(VmcBoard *board, const char *osk, GError **error)
{
    if (board->smc) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG, _("a machine has at most one SMC"));
        return false;
    }
    board->smc = vmc_smc_new(board->params.pio, osk);
    return true;
}

/* ---- reset and boot ---- */

/* RESET. PCI first: its devices let go of their interrupt wires before the chips at the other end are reset.
 */
static void reset_board(VmcBoard *board)
{
    vmc_pci_bus_reset(board->pci);
    for (unsigned i = 0; i < board->n_uarts; i++)
        vmc_uart_reset(board->uarts[i]);
    if (board->smc)
        vmc_smc_reset(board->smc);
    vmc_legacy_reset(board->legacy);
    if (board->firmware)
        vmc_firmware_reset(board->firmware);
    vmc_pm_reset(board->pm);
    vmc_hpet_reset(board->hpet);
    vmc_rtc_reset(board->rtc);
    vmc_rtc_set_memory(board->rtc, ram_at(board, 0), ram_at(board, VMC_PC_HIGH_RAM), board->params.n_cpus);
    if (board->lapics) {
        vmc_pit_reset(board->pit);
        vmc_pic_reset(board->pic);
        vmc_ioapic_reset(board->ioapic);
        vmc_lapics_reset(board->lapics, false);
    }
}

/* What a BIOS does to the chips before it hands over. */
static void set_up_as_firmware(VmcBoard *board)
{
    vmc_host_bridge_firmware_setup(board->bridge, VMC_PC_ECAM_BASE);
    vmc_lpc_firmware_setup(board->lpc, irq_of_pirq);
    vmc_pci_bus_assign(board->pci, VMC_PC_PCI_BASE, VMC_PC_PCI_END, PCI_IO_BASE, irq_of_pirq);
    if (board->lapics) {
        vmc_pic_set_elcr(board->pic, LEVEL_IRQS);
        vmc_lapics_reset(board->lapics, true);
    }
}

static bool write_acpi_tables(VmcBoard *board, GError **error)
{
    g_autoptr(VmcAcpiTables) built = build_acpi(board);
    GByteArray *tables = vmc_acpi_place(built, VMC_ACPI_BASE);
    bool ok = tables->len <= VMC_ACPI_SIZE &&
              vmc_memory_write(board->params.memory, VMC_ACPI_BASE, tables->data, tables->len);
    if (!ok)
        g_set_error(error, VMC_ERROR, VMC_ERROR_INTERNAL,
                    _("%u bytes of ACPI tables do not fit into the BIOS area"), tables->len);
    g_byte_array_unref(tables);
    return ok;
}

static bool write_smbios(VmcBoard *board, GError **error)
{
    VmcSmbiosParams params = describe(board);
    GByteArray *area = vmc_smbios_area(&params);
    bool ok = area->len <= VMC_SMBIOS_SIZE &&
              vmc_memory_write(board->params.memory, VMC_SMBIOS_BASE, area->data, area->len);
    if (!ok)
        g_set_error(error, VMC_ERROR, VMC_ERROR_INTERNAL,
                    _("%u bytes of SMBIOS structures do not fit into the BIOS area"), area->len);
    g_byte_array_unref(area);
    return ok;
}

/* The memory map a BIOS would report, ascending. */
static unsigned fill_map(const VmcBoard *board, VmcE820Entry map[8])
{
    unsigned n = 0;
    uint64_t low = ram_at(board, 0), high = ram_at(board, VMC_PC_HIGH_RAM);
    map[n++] = (VmcE820Entry){0, CONVENTIONAL_END, VMC_E820_RAM};
    map[n++] = (VmcE820Entry){CONVENTIONAL_END, 0xa0000 - CONVENTIONAL_END, VMC_E820_RESERVED};
    map[n++] = (VmcE820Entry){VMC_ACPI_BASE, VMC_ACPI_SIZE, VMC_E820_ACPI};
    map[n++] = (VmcE820Entry){VMC_SMBIOS_BASE, VMC_SMBIOS_SIZE, VMC_E820_RESERVED};
    map[n++] = (VmcE820Entry){ONE_MIB, low - ONE_MIB, VMC_E820_RAM};
    map[n++] = (VmcE820Entry){VMC_PC_ECAM_BASE, VMC_PC_ECAM_SIZE, VMC_E820_RESERVED};
    if (high)
        map[n++] = (VmcE820Entry){VMC_PC_HIGH_RAM, high, VMC_E820_RAM};
    return n;
}

static bool boot_linux(VmcBoard *board, const VmcBootScreen *screen, VmcCpuState *state, GError **error)
{
    VmcE820Entry map[8];
    VmcFramebufferInfo fb = {0};
    VmcLinuxParams params = {
        .memory = board->params.memory,
        .boot = board->params.boot,
        .low_ram_end = ram_at(board, 0),
        .map = map,
        .n_map = fill_map(board, map),
        .rsdp = VMC_ACPI_BASE,
    };
    set_up_as_firmware(board);
    if (screen)
        screen->set_up(screen->opaque, &fb);
    params.fb_gpa = fb.gpa;
    params.fb_width = fb.width;
    params.fb_height = fb.height;
    params.fb_stride = fb.stride;
    return write_acpi_tables(board, error) && write_smbios(board, error) &&
           vmc_linux_load(&params, state, error);
}

static bool set_cpu_states(VmcBoard *board, VmcCpuState *first, GError **error)
{
    for (unsigned i = 0; i < board->params.n_cpus; i++) {
        VmcCpuState other, *state = first;
        if (i > 0) {
            vmc_cpu_state_reset(&other);
            other.apic_base = VMC_LAPIC_BASE | 1u << 11;
            other.wait_for_sipi = true;
            state = &other;
        }
        if (!board->cpus[i])
            continue;
        board->params.backend->reset(board->cpus[i]);
        if (!board->params.backend->set_state(board->cpus[i], state, error))
            return false;
    }
    return true;
}

bool vmc_board_prepare_boot(VmcBoard *board, const VmcBootScreen *screen, GError **error)
{
    VmcCpuState state;
    vmc_cpu_state_reset(&state);
    reset_board(board);
    if (board->params.boot->kind == VMC_BOOT_LINUX && !boot_linux(board, screen, &state, error))
        return false;
    return set_cpu_states(board, &state, error);
}

void vmc_board_set_boot_order(VmcBoard *board, const char *paths)
{
    if (board->firmware)
        vmc_fw_cfg_set_file(vmc_firmware_fw_cfg(board->firmware), "bootorder",
                            g_bytes_new(paths, strlen(paths) + 1));
}

void vmc_board_power_button(VmcBoard *board)
{
    vmc_pm_power_button(board->pm);
}

void vmc_board_pause(VmcBoard *board)
{
    vmc_clock_pause(board->clock);
}

void vmc_board_resume(VmcBoard *board)
{
    vmc_clock_resume(board->clock);
    if (board->lapics)
        vmc_lapics_tsc_moved(board->lapics);
    if (board->params.backend->resumed)
        board->params.backend->resumed(board->params.vm);
    vmc_pci_bus_resumed(board->pci);
}

void vmc_board_slept(VmcBoard *board)
{
    if (board->params.backend->slept)
        board->params.backend->slept(board->params.vm);
    if (board->lapics)
        vmc_lapics_tsc_moved(board->lapics);
}

bool vmc_board_reset(VmcBoard *board, GError **error)
{
    VmcCpuState state;

    vmc_cpu_state_reset(&state);
    reset_board(board);
    return set_cpu_states(board, &state, error);
}

/* ---- saving ---- */

void vmc_board_hold(VmcBoard *board)
{
    vmc_pci_bus_hold(board->pci);
}

void vmc_board_release(VmcBoard *board)
{
    vmc_pci_bus_release(board->pci);
}

void vmc_board_save(VmcBoard *board, VmcStateWriter *w)
{
    vmc_state_begin(w, "board", 1);
    vmc_clock_save(board->clock, w);
    vmc_wires_save(board->wires, w);
    if (board->lapics) {
        vmc_pic_save(board->pic, w);
        vmc_ioapic_save(board->ioapic, w);
        vmc_lapics_save(board->lapics, w);
        vmc_pit_save(board->pit, w);
    }
    vmc_hpet_save(board->hpet, w);
    vmc_rtc_save(board->rtc, w);
    vmc_pm_save(board->pm, w);
    vmc_legacy_save(board->legacy, w);
    for (unsigned i = 0; i < board->n_uarts; i++)
        vmc_uart_save(board->uarts[i], w);
    vmc_pci_bus_save(board->pci, w);
    if (board->smc)
        vmc_smc_save(board->smc, w);
    if (board->firmware)
        vmc_firmware_save(board->firmware, w);
    vmc_state_end(w);
}

/* Time first, by which all else is measured; then from the CPUs outwards, so that whoever drives a wire finds
 * the other end as it left it. */
bool vmc_board_load(VmcBoard *board, VmcStateReader *r)
{
    if (!vmc_state_enter(r, "board", 1))
        return false;
    vmc_clock_load(board->clock, r);
    if (!vmc_wires_load(board->wires, r))
        return false;
    if (board->lapics && (!vmc_pic_load(board->pic, r) || !vmc_ioapic_load(board->ioapic, r) ||
                          !vmc_lapics_load(board->lapics, r) || !vmc_pit_load(board->pit, r)))
        return false;
    if (!vmc_hpet_load(board->hpet, r) || !vmc_rtc_load(board->rtc, r) || !vmc_pm_load(board->pm, r) ||
        !vmc_legacy_load(board->legacy, r))
        return false;
    for (unsigned i = 0; i < board->n_uarts; i++)
        if (!vmc_uart_load(board->uarts[i], r))
            return false;
    return vmc_pci_bus_load(board->pci, r) && (!board->smc || vmc_smc_load(board->smc, r)) &&
           (!board->firmware || vmc_firmware_load(board->firmware, r)) && vmc_state_leave(r);
}
