/*
 * What QEMU's standard VGA is to a driver: video memory, the DISPI registers of Bochs' VBE extension, an
 * EDID, and as much of the old VGA ports as probing code wants to see. Both primary adapters have one:
 * 1234:1111 is nothing else (vga_pci.c), virtio-gpu shows it until its driver takes over (virtio/gpu.c).
 *
 * Source: QEMU's docs/specs/standard-vga.rst; Bochs' VBE description (vbe_display_api.txt).
 *
 * Threads: registers are written by vCPUs; functions here are for any thread where they do not say other. One
 * lock, under which nobody waits.
 */
#pragma once

#include "base/bus.h"
#include "display/display.h"
#include "pci/pci.h"

#define VMC_VGA_MMIO_SIZE 4096u
#define VMC_VGA_VRAM_MIN  (16u << 20)

typedef struct VmcVga VmcVga;

typedef struct VmcVgaParams {
    VmcMemory *memory;
    VmcBus *pio;            /* or NULL: no ports */
    VmcDisplay *display;    /* what shows it */
    unsigned width, height; /* of the preferred mode, pixels, at most VMC_DISPLAY_SIDE_MAX */
} VmcVgaParams;

/* Adds the video memory, at least enough for the preferred mode, as a movable slot, and the ports to the bus.
 * All of `params` must outlive it. Before the machine runs. */
VmcVga *vmc_vga_new(const VmcVgaParams *params, GError **error);
/* No vCPU runs any more. NULL is fine. */
void vmc_vga_free(VmcVga *vga);
/* To power-on: no mode. */
void vmc_vga_reset(VmcVga *vga);

/* Adds the video memory to a device, a power of two in size, as this BAR. */
void vmc_vga_set_bar(VmcVga *vga, VmcPciDevice *pci, unsigned bar);

/* The page of registers (BAR 2). */
uint64_t vmc_vga_mmio_read(VmcVga *vga, uint64_t offset, unsigned size);
void vmc_vga_mmio_write(VmcVga *vga, uint64_t offset, unsigned size, uint64_t value);

/* The registers as bytes (base/state.h); video memory is a slot of the machine's memory. */
void vmc_vga_save(VmcVga *vga, VmcStateWriter *w);
bool vmc_vga_load(VmcVga *vga, VmcStateReader *r);

/* Another adapter's picture is shown from now on, or this one's again. */
void vmc_vga_hide(VmcVga *vga, bool hidden);

/* Sets the preferred mode, with 32 bits a pixel and black, as firmware does for a boot loader. The stride is
 * four bytes a pixel, the picture starts with the memory. */
void vmc_vga_set_mode(VmcVga *vga);
void vmc_vga_get_mode(VmcVga *vga, unsigned *width, unsigned *height);

/* 1234:1111 as a PCI device, ready for a bus: BAR 0 is the video memory, BAR 2 the registers. Takes the vga
 * over. */
VmcPciDevice *vmc_vga_pci_new(VmcVga *vga);
