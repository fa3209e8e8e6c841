/*
 * Direct boot of an x86-64 Linux kernel through its 64-bit entry point (Documentation/arch/x86/boot.rst,
 * zero-page.rst; protocol 2.12 and later).
 *
 * Threads: any one, while no CPU runs. Nothing is kept between calls: files are read anew for each boot.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/memory.h"
#include "cpu/cpu.h"
#include "vmcore/config.h"

typedef enum VmcE820Type {
    VMC_E820_RAM = 1,
    VMC_E820_RESERVED = 2,
    VMC_E820_ACPI = 3,
} VmcE820Type;

typedef struct VmcE820Entry {
    uint64_t address, size; /* bytes */
    uint32_t type;          /* VmcE820Type */
} VmcE820Entry;

#define VMC_E820_MAX 128u

typedef struct VmcLinuxParams {
    VmcMemory *memory;
    const VmcBootConfig *boot;
    uint64_t low_ram_end;    /* RAM is contiguous from 1 MiB to here; at most 4 GiB */
    const VmcE820Entry *map; /* ascending */
    unsigned n_map;
    uint64_t rsdp;                           /* address of the ACPI RSDP, 0: none */
    uint64_t fb_gpa;                         /* linear framebuffer, XRGB8888; 0: none */
    unsigned fb_width, fb_height, fb_stride; /* pixels, pixels, bytes */
} VmcLinuxParams;

/* Puts kernel, initrd, command line, boot_params, page tables and GDT into memory and fills `state` for the
 * CPU that enters the kernel. Errors (VMC_ERROR_IMAGE, VMC_ERROR_CONFIG) name the file and what would be
 * right; memory may have been written by then. */
bool vmc_linux_load(const VmcLinuxParams *params, VmcCpuState *state, GError **error);
