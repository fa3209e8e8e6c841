/*
 * The Q35-compatible PC board: everything between the CPUs and the devices a user adds.
 *
 * Order of use (machine/machine.c): vmc_board_new; for each CPU backend->cpu_new with vmc_board_lapic(i),
 * then vmc_board_attach_cpu; devices onto vmc_board_pci / vmc_board_add_uart; vmc_board_prepare_boot; run.
 *
 * Physical memory: RAM below VMC_PC_LOW_RAM_END and from 4 GiB up; ECAM at VMC_PC_ECAM_BASE; PCI window
 * VMC_PC_PCI_BASE..VMC_PC_PCI_END, video memory included; IOAPIC FEC0_0000, HPET FED0_0000, LAPIC FEE0_0000.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/host.h"
#include "base/io.h"
#include "base/irq.h"
#include "base/memory.h"
#include "cpu/cpu.h"
#include "pci/pci.h"
#include "vmcore/config.h"

#define VMC_PC_LOW_RAM_END 0x80000000ull
#define VMC_PC_ECAM_BASE   0xb0000000ull
#define VMC_PC_ECAM_SIZE   0x10000000ull
#define VMC_PC_PCI_BASE    0xc0000000ull
#define VMC_PC_PCI_END     0xfec00000ull
#define VMC_PC_HIGH_RAM    0x100000000ull

typedef struct VmcBoard VmcBoard;

typedef struct VmcBoardParams {
    VmcMemory *memory; /* with what vmc_board_add_memory adds */
    VmcBus *pio, *mmio;
    VmcIo *io;
    const VmcCpuBackend *backend;
    VmcCpuVm *vm;
    unsigned n_cpus;
    unsigned packages;         /* that these are in, for SMBIOS; 0: one */
    const VmcBootConfig *boot; /* what it is to boot; must outlive the board */
    const VmcHostHooks *hooks; /* the same */
    /* What the guest asks of the machine; any thread; must only take note and kick. */
    void (*power_off)(void *opaque);
    void (*reset)(void *opaque);
    void (*log)(void *opaque, const char *line);
    void *opaque;
} VmcBoardParams;

/* Adds `bytes` of RAM in the board's layout, and the firmware's code if there is to be one. */
bool vmc_board_add_memory(VmcMemory *memory, uint64_t bytes, const VmcBootConfig *boot, GError **error);

VmcBoard *vmc_board_new(const VmcBoardParams *params, GError **error);
void vmc_board_free(VmcBoard *board); /* CPUs must be stopped, timers go with it */

VmcPciBus *vmc_board_pci(VmcBoard *board);
/* NULL with an in-kernel irqchip. */
const VmcLocalApic *vmc_board_lapic(VmcBoard *board, unsigned cpu);
void vmc_board_attach_cpu(VmcBoard *board, unsigned index, VmcCpu *cpu);

/* The next of COM1..COM4, its bytes from fd_in and to fd_out (-1: none), which stay the caller's. */
bool vmc_board_add_uart(VmcBoard *board, int fd_in, int fd_out, GError **error);

/* The controller of a Mac, at most one; the string of 64 characters is copied. */
bool vmc_board_add_smc(VmcBoard *board, const char *osk, GError **error);

typedef struct VmcFramebufferInfo {
    uint64_t gpa; /* 0: no display */
    unsigned width, height, stride;
} VmcFramebufferInfo;

/* Asks for a picture a kernel can draw on at once, when BARs have their addresses; *screen is all 0. */
typedef struct VmcBootScreen {
    void (*set_up)(void *opaque, VmcFramebufferInfo *screen);
    void *opaque;
} VmcBootScreen;

/* `screen`: NULL if there is none. Everything back to power-on (CPUs are not running). With firmware CPU 0 is
 * at its reset vector, which is all. For a kernel without, PCI resources are assigned, ACPI tables, kernel,
 * initrd, command line and boot_params written to memory, and CPU 0 is at the 64-bit entry. The others wait
 * for SIPI. Used for the first boot and for every guest reset. */
bool vmc_board_prepare_boot(VmcBoard *board, const VmcBootScreen *screen, GError **error);

/* What firmware tries to boot from, first to last: Open Firmware device paths, one in a line. Before the
 * machine runs; without firmware nothing happens. */
void vmc_board_set_boot_order(VmcBoard *board, const char *paths);

/* ACPI power button (any thread). */
void vmc_board_power_button(VmcBoard *board);
/* Saving a board whose clock is paused, with all its devices, and loading one that was just made and reset
 * (vmc_board_reset) and whose clock is paused, after its CPUs: base/state.h. Hold and release are for the
 * owner's thread, save and load for the I/O thread; see pci/pci.h. */
void vmc_board_hold(VmcBoard *board);
void vmc_board_release(VmcBoard *board);
void vmc_board_save(VmcBoard *board, VmcStateWriter *w);
bool vmc_board_load(VmcBoard *board, VmcStateReader *r);
/* Everything but memory back to power-on: devices, chips and CPUs, which do not run. */
bool vmc_board_reset(VmcBoard *board, GError **error);

/* Stops guest-visible time sources while paused (PIT, RTC, LAPIC timers) and lets them go on, with the
 * devices told so. */
void vmc_board_pause(VmcBoard *board);
void vmc_board_resume(VmcBoard *board);
/* The host has slept, during which those sources stood still, too; what guests tell the time of day by goes
 * on. While no CPU runs. */
void vmc_board_slept(VmcBoard *board);
