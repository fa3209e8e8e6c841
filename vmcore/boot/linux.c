/*
 * Does what a boot loader does before it jumps. The kernel is not unpacked: its own decompressor runs in the
 * guest, as on hardware.
 *
 * Low memory while booting (all of it given back to the kernel, which copies what it wants to keep):
 *   0500 GDT   7000 boot_params   9000 page tables, identity map of 4 GiB   20000 command line
 */
#include "boot/linux.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/i18n.h"
#include "boot/bzimage.h"
#include "vmcore/error.h"

#define GDT_AT         0x500u
#define BOOT_PARAMS_AT 0x7000u
#define PAGE_TABLES_AT 0x9000u
#define CMDLINE_AT     0x20000u
#define ENTRY_64       0x200u
#define IDENTITY_GIB   4u

/* Selectors the 64-bit boot protocol asks for. */
#define BOOT_CS 0x10
#define BOOT_DS 0x18

/* Fields of boot_params (zero-page.rst; screen_info from include/uapi/linux/screen_info.h). */
#define BP_VIDEO_IS_VGA     0x00f
#define BP_LFB_WIDTH        0x012
#define BP_LFB_HEIGHT       0x014
#define BP_LFB_DEPTH        0x016
#define BP_LFB_BASE         0x018
#define BP_LFB_SIZE         0x01c
#define BP_LFB_LINELENGTH   0x024
#define BP_LFB_COLOURS      0x026 /* size and position of red, green, blue, reserved */
#define BP_LFB_PAGES        0x032
#define BP_LFB_CAPABILITIES 0x036
#define BP_EXT_LFB_BASE     0x03a
#define BP_ACPI_RSDP        0x070
#define BP_E820_ENTRIES     0x1e8
#define BP_E820_TABLE       0x2d0
#define BP_TYPE_OF_LOADER   0x210
#define BP_CODE32_START     0x214
#define BP_RAMDISK_IMAGE    0x218
#define BP_RAMDISK_SIZE     0x21c
#define BP_CMD_LINE_PTR     0x228

#define VIDEO_TYPE_EFI              0x70
#define VIDEO_CAPABILITY_64BIT_BASE 2
#define LOADER_UNDEFINED            0xff

static void put(uint8_t *bytes, unsigned offset, uint64_t value, unsigned size)
{
    for (unsigned i = 0; i < size; i++)
        bytes[offset + i] = value >> (8 * i);
}

/* A piece of guest memory to fill; NULL with the error set if it is not all RAM. */
static uint8_t *guest_bytes(const VmcLinuxParams *params, uint64_t gpa, uint64_t size, GError **error)
{
    uint8_t *bytes = vmc_memory_host(params->memory, gpa, size);
    if (!bytes)
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                    _("a Linux boot needs RAM at %#" PRIx64 "; give the machine more memory"), gpa);
    return bytes;
}

/* A part of a file into guest memory that has been found to be there. */
static bool load_file(const VmcLinuxParams *params, const char *what, const char *path, int fd,
                      uint64_t offset, uint64_t gpa, uint64_t size, GError **error)
{
    int64_t n = vmc_memory_load(params->memory, gpa, size, fd, offset);
    if (n >= 0 && (uint64_t)n == size)
        return true;
    g_set_error(error, VMC_ERROR, VMC_ERROR_IMAGE,
                strcmp(what, "initrd") == 0 ? _("cannot read the initrd “%s”: %s")
                                            : _("cannot read the kernel “%s”: %s"),
                path, n < 0 ? g_strerror(errno) : _("it has become shorter meanwhile"));
    return false;
}

static bool load_kernel(const VmcLinuxParams *params, const VmcBzImage *image, int fd, GError **error)
{
    const char *path = params->boot->kernel;
    uint64_t end = image->load_address + image->memory_size; /* both fit in 32 bits and a bit */
    if (end > params->low_ram_end ||
        !vmc_memory_host(params->memory, image->load_address, image->payload_size)) {
        g_set_error(
            error, VMC_ERROR, VMC_ERROR_CONFIG,
            _("the kernel “%s” needs memory up to %" PRIu64 " MiB to unpack itself; give the machine more"),
            path, (end + 0xfffff) >> 20);
        return false;
    }
    return load_file(params, "kernel", path, fd, image->payload_offset, image->load_address,
                     image->payload_size, error);
}

/* As high as the kernel allows, out of its way while it unpacks itself. */
static bool place_initrd(const VmcLinuxParams *params, const VmcBzImage *image, uint64_t size, uint64_t *at,
                         GError **error)
{
    uint64_t top = MIN(params->low_ram_end, image->initrd_max + 1);
    uint64_t bottom = image->load_address + image->memory_size;
    if (top > size)
        *at = (top - size) & VMC_PAGE_MASK;
    if (top <= size || *at < bottom) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                    _("the initrd “%s” of %" PRIu64
                      " MiB does not fit beside the kernel, which needs %" PRIu64
                      " MiB; give the machine more memory"),
                    params->boot->initrd, (size + 0xfffff) >> 20, (bottom + 0xfffff) >> 20);
        return false;
    }
    return true;
}

static bool load_initrd(const VmcLinuxParams *params, const VmcBzImage *image, uint8_t *boot_params,
                        GError **error)
{
    const char *path = params->boot->initrd;
    uint64_t size, at = 0;
    if (!path)
        return true;
    int fd = vmc_boot_file_open("initrd", path, &size, error);
    if (fd < 0)
        return false;
    bool ok = place_initrd(params, image, size, &at, error);
    ok = ok && guest_bytes(params, at, size, error) &&
         load_file(params, "initrd", path, fd, 0, at, size, error);
    close(fd);
    if (!ok)
        return false;
    put(boot_params, BP_RAMDISK_IMAGE, at, 4);
    put(boot_params, BP_RAMDISK_SIZE, size, 4);
    return true;
}

static bool load_cmdline(const VmcLinuxParams *params, const VmcBzImage *image, uint8_t *boot_params,
                         GError **error)
{
    const char *text = params->boot->cmdline ? params->boot->cmdline : "";
    size_t length = strlen(text);
    if (length > image->cmdline_max) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                    _("the kernel command line has %zu bytes; the kernel “%s” takes at most %u"), length,
                    params->boot->kernel, image->cmdline_max);
        return false;
    }
    uint8_t *bytes = guest_bytes(params, CMDLINE_AT, length + 1, error);
    if (!bytes)
        return false;
    memcpy(bytes, text, length + 1);
    vmc_memory_written(params->memory, CMDLINE_AT, length + 1);
    put(boot_params, BP_CMD_LINE_PTR, CMDLINE_AT, 4);
    return true;
}

/* The framebuffer as an EFI boot would hand it over: distributions' kernels have the driver for that one
 * built in. */
static bool describe_screen(const VmcLinuxParams *params, uint8_t *boot_params, GError **error)
{
    static const uint8_t colours[8] = {8, 16, 8, 8, 8, 0, 8, 24}; /* XRGB8888 */
    if (!params->fb_gpa)
        return true;
    if (params->fb_width > 0xffff || params->fb_height > 0xffff || params->fb_stride > 0xffff) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                    _("a framebuffer of %u x %u pixels is too large for Linux; 16383 x 65535 is the most"),
                    params->fb_width, params->fb_height);
        return false;
    }
    put(boot_params, BP_VIDEO_IS_VGA, VIDEO_TYPE_EFI, 1);
    put(boot_params, BP_LFB_WIDTH, params->fb_width, 2);
    put(boot_params, BP_LFB_HEIGHT, params->fb_height, 2);
    put(boot_params, BP_LFB_DEPTH, 32, 2);
    put(boot_params, BP_LFB_BASE, params->fb_gpa, 4);
    put(boot_params, BP_LFB_SIZE, (uint64_t)params->fb_stride * params->fb_height, 4);
    put(boot_params, BP_LFB_LINELENGTH, params->fb_stride, 2);
    memcpy(boot_params + BP_LFB_COLOURS, colours, sizeof colours);
    put(boot_params, BP_LFB_PAGES, 1, 2);
    put(boot_params, BP_LFB_CAPABILITIES, VIDEO_CAPABILITY_64BIT_BASE, 4);
    put(boot_params, BP_EXT_LFB_BASE, params->fb_gpa >> 32, 4);
    return true;
}

static void describe_memory(const VmcLinuxParams *params, uint8_t *boot_params)
{
    unsigned n = MIN(params->n_map, VMC_E820_MAX);
    for (unsigned i = 0; i < n; i++) {
        put(boot_params, BP_E820_TABLE + 20 * i, params->map[i].address, 8);
        put(boot_params, BP_E820_TABLE + 20 * i + 8, params->map[i].size, 8);
        put(boot_params, BP_E820_TABLE + 20 * i + 16, params->map[i].type, 4);
    }
    put(boot_params, BP_E820_ENTRIES, n, 1);
}

/* All of boot_params; the kernel and what goes with it are loaded on the way. */
static bool fill_boot_params(const VmcLinuxParams *params, const VmcBzImage *image, GError **error)
{
    uint8_t *bytes = guest_bytes(params, BOOT_PARAMS_AT, VMC_PAGE_SIZE, error);
    if (!bytes)
        return false;
    memset(bytes, 0, VMC_PAGE_SIZE);
    memcpy(bytes + VMC_BZIMAGE_HEADER, image->setup + VMC_BZIMAGE_HEADER,
           image->header_end - VMC_BZIMAGE_HEADER);
    put(bytes, BP_TYPE_OF_LOADER, LOADER_UNDEFINED, 1);
    put(bytes, BP_CODE32_START, image->load_address, 4);
    put(bytes, BP_RAMDISK_IMAGE, 0, 4);
    put(bytes, BP_RAMDISK_SIZE, 0, 4);
    put(bytes, BP_ACPI_RSDP, params->rsdp, 8);
    describe_memory(params, bytes);
    bool ok = describe_screen(params, bytes, error) && load_cmdline(params, image, bytes, error) &&
              load_initrd(params, image, bytes, error);
    vmc_memory_written(params->memory, BOOT_PARAMS_AT, VMC_PAGE_SIZE);
    return ok;
}

/* One PML4, one PDPT, a page directory per GiB; present, writable, 2 MiB pages. */
static bool write_page_tables(const VmcLinuxParams *params, GError **error)
{
    const unsigned size = (2 + IDENTITY_GIB) * VMC_PAGE_SIZE;
    uint8_t *bytes = guest_bytes(params, PAGE_TABLES_AT, size, error);
    if (!bytes)
        return false;
    memset(bytes, 0, size);
    put(bytes, 0, (PAGE_TABLES_AT + VMC_PAGE_SIZE) | 3, 8);
    for (unsigned i = 0; i < IDENTITY_GIB; i++)
        put(bytes, VMC_PAGE_SIZE + 8 * i, (PAGE_TABLES_AT + (2 + i) * VMC_PAGE_SIZE) | 3, 8);
    for (unsigned i = 0; i < IDENTITY_GIB * 512; i++)
        put(bytes, 2 * VMC_PAGE_SIZE + 8 * i, (uint64_t)i << 21 | 0x83, 8);
    vmc_memory_written(params->memory, PAGE_TABLES_AT, size);
    return true;
}

static bool write_gdt(const VmcLinuxParams *params, GError **error)
{
    static const uint64_t gdt[] = {0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff};
    uint8_t *bytes = guest_bytes(params, GDT_AT, sizeof gdt, error);
    if (!bytes)
        return false;
    for (unsigned i = 0; i < G_N_ELEMENTS(gdt); i++)
        put(bytes, 8 * i, gdt[i], 8);
    vmc_memory_written(params->memory, GDT_AT, sizeof gdt);
    return true;
}

/* boot.rst, "64-bit Boot Protocol": long mode, flat segments, interrupts off, RSI = boot_params. */
static void fill_state(VmcCpuState *state, uint64_t entry)
{
    vmc_cpu_state_reset(state);
    for (unsigned i = 0; i < 16; i++)
        state->gpr[i] = 0;
    state->gpr[VMC_RSI] = BOOT_PARAMS_AT;
    state->gpr[VMC_RSP] = BOOT_PARAMS_AT;
    state->rip = entry;
    for (unsigned i = 0; i < VMC_SEG_COUNT; i++)
        state->seg[i] = (VmcSegment){.limit = 0xffffffff, .selector = BOOT_DS, .attr = 0xc093};
    state->seg[VMC_CS] = (VmcSegment){.limit = 0xffffffff, .selector = BOOT_CS, .attr = 0xa09b};
    state->gdt.base = GDT_AT;
    state->gdt.limit = 4 * 8 - 1;
    state->idt.base = 0;
    state->idt.limit = 0;
    state->cr0 = 0x80000031; /* PG, NE, ET, PE */
    state->cr3 = PAGE_TABLES_AT;
    state->cr4 = 0x20;   /* PAE */
    state->efer = 0x500; /* LMA, LME */
}

bool vmc_linux_load(const VmcLinuxParams *params, VmcCpuState *state, GError **error)
{
    VmcBzImage image;
    uint64_t size;
    int fd = vmc_boot_file_open("kernel", params->boot->kernel, &size, error);
    if (fd < 0)
        return false;
    bool ok =
        vmc_bzimage_read(&image, fd, params->boot->kernel, error) && load_kernel(params, &image, fd, error);
    close(fd);
    if (!ok || !fill_boot_params(params, &image, error) || !write_page_tables(params, error) ||
        !write_gdt(params, error))
        return false;
    fill_state(state, image.load_address + ENTRY_64);
    return true;
}
