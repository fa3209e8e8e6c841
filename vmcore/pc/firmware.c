/*
 * The map: code ends at 4 GiB, so that the reset vector is its last 16 bytes; the variables end where it
 * begins. The code is memory that cannot be written; the variables are a chip (flash.h).
 */
#include "pc/firmware.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/i18n.h"
#include "boot/bzimage.h"
#include "boot/efi.h"
#include "pc/acpi_loader.h"
#include "pc/flash.h"
#include "vmcore/error.h"

#define FOUR_GIB 0x100000000ull

#define PORT_DEBUG  0x402u
#define DEBUG_THERE 0xe9u /* what the port reads as where there is one */
#define DEBUG_LINE  256u
#define DEBUG_LINES 2000u /* told in one run of the firmware; a guest may write for ever */

struct VmcFirmware {
    VmcBus *pio;
    VmcFwCfg *fw_cfg;
    VmcFlash *variables;
    VmcAcpiTables *(*acpi)(void *opaque);
    void *opaque;

    const VmcHostHooks *hooks;
    GMutex debug_lock; /* for the rest */
    char line[DEBUG_LINE];
    unsigned length, lines;
};

/* ---- code ---- */

bool vmc_firmware_add_code(VmcMemory *memory, const VmcBootConfig *boot, GError **error)
{
    g_autofree char *code = NULL, *variables = NULL;
    uint64_t size;

    if (!vmc_efi_find(boot->firmware, &code, &variables, error))
        return false;
    int fd = vmc_efi_open_code(code, &size, error);
    if (fd < 0)
        return false;
    bool ok = vmc_memory_add(memory, "vmc-firmware", FOUR_GIB - size, size, true, error);
    int64_t n = ok ? vmc_memory_load(memory, FOUR_GIB - size, size, fd, 0) : 0;
    if (ok && n != (int64_t)size) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_IMAGE, _("cannot read the firmware “%s”: %s"), code,
                    n < 0 ? g_strerror(errno) : _("it has become shorter meanwhile"));
        ok = false;
    }
    close(fd);
    return ok;
}

/* ---- the debug port ---- */

/* Lock held. */
static void end_line(VmcFirmware *firmware)
{
    firmware->line[firmware->length] = '\0';
    if (firmware->length && firmware->lines < DEBUG_LINES) {
        g_autofree char *valid = g_utf8_make_valid(firmware->line, -1);
        g_autofree char *text = g_strdup_printf("firmware: %s", valid);
        firmware->lines++;
        firmware->hooks->log(firmware->hooks->opaque, text);
    }
    firmware->length = 0;
}

static uint64_t debug_read(void *opaque, uint64_t offset, unsigned size)
{
    return DEBUG_THERE;
}

static void debug_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    VmcFirmware *firmware = opaque;
    char c = (char)value;

    g_mutex_lock(&firmware->debug_lock);
    if (c == '\n' || firmware->length == DEBUG_LINE - 1)
        end_line(firmware);
    if (g_ascii_isprint(c) || c == '\t' || c & 0x80)
        firmware->line[firmware->length++] = c;
    g_mutex_unlock(&firmware->debug_lock);
}

static const VmcRegionOps debug_ops = {debug_read, debug_write};

/* ---- what fw_cfg says ---- */

static void fill_acpi(void *opaque)
{
    VmcFirmware *firmware = opaque;
    g_autoptr(VmcAcpiTables) tables = firmware->acpi(firmware->opaque);
    VmcAcpiFiles files;

    vmc_acpi_loader_files(tables, &files);
    vmc_fw_cfg_set_file(firmware->fw_cfg, VMC_ACPI_FILE_RSDP, files.rsdp);
    vmc_fw_cfg_set_file(firmware->fw_cfg, VMC_ACPI_FILE_TABLES, files.tables);
    vmc_fw_cfg_set_file(firmware->fw_cfg, VMC_ACPI_FILE_LOADER, files.loader);
}

/* A firmware installs the tables once it has given addresses to PCI devices; they are made when it asks. */
static void add_acpi(VmcFirmware *firmware)
{
    fill_acpi(firmware);
    vmc_fw_cfg_set_refresh(firmware->fw_cfg, VMC_ACPI_FILE_LOADER, fill_acpi, firmware);
    vmc_fw_cfg_set_refresh(firmware->fw_cfg, VMC_ACPI_FILE_TABLES, fill_acpi, firmware);
}

static void add_memory_map(VmcFwCfg *fw, const VmcFirmwareParams *params)
{
    GByteArray *bytes = g_byte_array_new();

    for (unsigned i = 0; i < params->n_map; i++) {
        uint64_t range[2] = {GUINT64_TO_LE(params->map[i].address), GUINT64_TO_LE(params->map[i].size)};
        uint32_t type = GUINT32_TO_LE(params->map[i].type);
        g_byte_array_append(bytes, (uint8_t *)range, sizeof(range));
        g_byte_array_append(bytes, (uint8_t *)&type, sizeof(type));
    }
    vmc_fw_cfg_set_file(fw, "etc/e820", g_byte_array_free_to_bytes(bytes));
}

/* ---- a kernel for the firmware to start ---- */

/* Not mapped: a file that becomes shorter while the guest reads it would end this process. */
static GBytes *read_file(const char *what, const char *path, GError **error)
{
    g_autofree uint8_t *bytes = NULL;
    uint64_t size;
    int fd = vmc_boot_file_open(what, path, &size, error);

    if (fd < 0)
        return NULL;
    bytes = g_try_malloc(size);
    if (!bytes)
        g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE,
                    _("there is no memory for the file “%s” of %" PRIu64 " bytes"), path, size);
    bool ok = bytes && vmc_boot_file_read(fd, what, path, 0, bytes, size, error);
    close(fd);
    return ok ? g_bytes_new_take(g_steal_pointer(&bytes), size) : NULL;
}

static void add_sized(VmcFwCfg *fw, uint16_t size_key, uint16_t data_key, GBytes *bytes)
{
    vmc_fw_cfg_set_number(fw, size_key, g_bytes_get_size(bytes), 4);
    vmc_fw_cfg_set(fw, data_key, bytes);
}

/* A bzImage goes in two parts: the setup sectors, of which its byte 1F1h says how many, and the rest. */
static bool add_kernel(VmcFwCfg *fw, const VmcBootConfig *boot, GError **error)
{
    GBytes *kernel = read_file("kernel", boot->kernel, error);
    if (!kernel)
        return false;
    gsize size;
    const uint8_t *bytes = g_bytes_get_data(kernel, &size);
    gsize setup = size > 0x1f1 ? ((bytes[0x1f1] ? bytes[0x1f1] : 4u) + 1u) * 512u : 0;
    if (!setup || setup > size) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_IMAGE, _("the kernel “%s” is no bzImage: it is too short"),
                    boot->kernel);
        g_bytes_unref(kernel);
        return false;
    }
    add_sized(fw, VMC_FW_CFG_SETUP_SIZE, VMC_FW_CFG_SETUP_DATA, g_bytes_new_from_bytes(kernel, 0, setup));
    add_sized(fw, VMC_FW_CFG_KERNEL_SIZE, VMC_FW_CFG_KERNEL_DATA,
              g_bytes_new_from_bytes(kernel, setup, size - setup));
    g_bytes_unref(kernel);
    if (boot->initrd) {
        GBytes *initrd = read_file("initrd", boot->initrd, error);
        if (!initrd)
            return false;
        add_sized(fw, VMC_FW_CFG_INITRD_SIZE, VMC_FW_CFG_INITRD_DATA, initrd);
    }
    const char *cmdline = boot->cmdline ? boot->cmdline : "";
    add_sized(fw, VMC_FW_CFG_CMDLINE_SIZE, VMC_FW_CFG_CMDLINE_DATA,
              g_bytes_new(cmdline, strlen(cmdline) + 1));
    return true;
}

/* ---- lifecycle ---- */

static bool add_variables(VmcFirmware *firmware, const VmcFirmwareParams *params, GError **error)
{
    const VmcBootConfig *boot = params->boot;
    g_autofree char *code = NULL, *variables = NULL;
    VmcFlashParams flash = {
        .mmio = params->mmio, .io = params->io, .path = boot->variable_store, .hooks = params->hooks};
    uint64_t code_size =
        vmc_memory_slot(params->memory, FOUR_GIB - 1)->size; /* of what add_code has put there */

    if (!vmc_efi_find(boot->firmware, &code, &variables, error))
        return false;
    flash.fd = vmc_efi_open_variables(boot->variable_store, boot->create_variable_store ? variables : NULL,
                                      code_size, &flash.size, error);
    if (flash.fd < 0)
        return false;
    flash.base = FOUR_GIB - code_size - flash.size;
    firmware->variables = vmc_flash_new(&flash, error);
    return firmware->variables != NULL;
}

VmcFirmware *vmc_firmware_new(const VmcFirmwareParams *params, GError **error)
{
    VmcFirmware *firmware = g_new0(VmcFirmware, 1);

    g_mutex_init(&firmware->debug_lock);
    firmware->pio = params->pio;
    firmware->hooks = params->hooks;
    firmware->acpi = params->acpi;
    firmware->opaque = params->opaque;
    firmware->fw_cfg = vmc_fw_cfg_new(params->pio, params->memory);
    vmc_bus_add(params->pio, "firmware debug port", PORT_DEBUG, 1, &debug_ops, firmware);
    vmc_fw_cfg_set_number(firmware->fw_cfg, VMC_FW_CFG_RAM_SIZE, params->ram, 8);
    vmc_fw_cfg_set_number(firmware->fw_cfg, VMC_FW_CFG_NB_CPUS, params->n_cpus, 2);
    vmc_fw_cfg_set_number(firmware->fw_cfg, VMC_FW_CFG_MAX_CPUS, params->n_cpus, 2);
    add_memory_map(firmware->fw_cfg, params);
    if ((params->boot->kernel && !add_kernel(firmware->fw_cfg, params->boot, error)) ||
        !add_variables(firmware, params, error)) {
        vmc_firmware_free(firmware);
        return NULL;
    }
    add_acpi(firmware);
    return firmware;
}

void vmc_firmware_free(VmcFirmware *firmware)
{
    if (!firmware)
        return;
    vmc_bus_remove(firmware->pio, PORT_DEBUG, &debug_ops, firmware);
    vmc_fw_cfg_free(firmware->fw_cfg);
    vmc_flash_free(firmware->variables);
    g_mutex_clear(&firmware->debug_lock);
    g_free(firmware);
}

void vmc_firmware_reset(VmcFirmware *firmware)
{
    vmc_fw_cfg_reset(firmware->fw_cfg);
    vmc_flash_reset(firmware->variables);
    g_mutex_lock(&firmware->debug_lock);
    firmware->length = firmware->lines = 0;
    g_mutex_unlock(&firmware->debug_lock);
}

VmcFwCfg *vmc_firmware_fw_cfg(VmcFirmware *firmware)
{
    return firmware->fw_cfg;
}

/* What was half a line on the debug port is not told. */
void vmc_firmware_save(VmcFirmware *firmware, VmcStateWriter *w)
{
    vmc_fw_cfg_save(firmware->fw_cfg, w);
    vmc_flash_save(firmware->variables, w);
}

bool vmc_firmware_load(VmcFirmware *firmware, VmcStateReader *r)
{
    return vmc_fw_cfg_load(firmware->fw_cfg, r) && vmc_flash_load(firmware->variables, r);
}
