/*
 * Everything that is wrong with a configuration, at once.
 *
 * Each check appends a VmcFault that names the field and says what would be right; none stops the others.
 * Files are opened and closed again, disks even locked for a moment, so that what passes here nearly always
 * starts; what changes between now and then is reported by the start itself, in the same words.
 */
#include <string.h>
#include <unistd.h>

#include "base/i18n.h"
#include "boot/bzimage.h"
#include "boot/efi.h"
#include "boot/smm.h"
#include "cpu/model.h"
#include "machine/devices/kind.h"
#include "machine/initrd.h"

#define MIB       ((uint64_t)1 << 20)
#define UARTS_MAX 4u

static void fault_free(gpointer data)
{
    VmcFault *fault = data;

    g_free(fault->field);
    g_free(fault->message);
    g_free(fault);
}

static void G_GNUC_PRINTF(3, 4) add_fault(GPtrArray *faults, const char *field, const char *format, ...)
{
    VmcFault *fault = g_new0(VmcFault, 1);
    va_list args;

    va_start(args, format);
    fault->field = g_strdup(field);
    fault->message = g_strdup_vprintf(format, args);
    va_end(args);
    g_ptr_array_add(faults, fault);
}

static void add_error(GPtrArray *faults, const char *field, GError *error)
{
    add_fault(faults, field, "%s", error->message);
    g_error_free(error);
}

static void check_cpus(GPtrArray *faults, const VmcConfig *config)
{
    GError *error = NULL;

    if (config->cpus < 1 || config->cpus > VMC_CPUS_MAX)
        add_fault(faults, "cpus",
                  ngettext("a machine cannot have %u CPU; give 1 to %u",
                           "a machine cannot have %u CPUs; give 1 to %u", config->cpus),
                  config->cpus, VMC_CPUS_MAX);
    if (config->cpu != VMC_CPU_AUTO && config->cpu != VMC_CPU_KVM && config->cpu != VMC_CPU_SOFT)
        add_fault(faults, "cpu", _("%d is not a kind of CPU; give auto, kvm or soft"), (int)config->cpu);
    if (!vmc_cpu_model_name(config->cpu_model))
        add_fault(faults, "cpu-model",
                  _("%d is not a model of CPU; give host, x86-64-v2, x86-64-v3 or macos"),
                  (int)config->cpu_model);
    else if (!vmc_cpu_model_check_host(config->cpu_model, &error))
        add_error(faults, "cpu-model", error);
}

static void check_soft_cpu(GPtrArray *faults, const VmcSoftCpuConfig *soft)
{
    if (soft->engine != VMC_ENGINE_DEFAULT && !vmc_cpu_engine_name(soft->engine))
        add_fault(faults, "cpu.engine", _("%d is not an engine; give interpreter or translator"),
                  (int)soft->engine);
    if (soft->lockstep && soft->engine == VMC_ENGINE_INTERPRETER)
        add_fault(
            faults, "cpu.lockstep",
            _("lockstep compares the translator with the interpreter, which is chosen to run alone; give "
              "the translator or leave lockstep out"));
    if (soft->code_cache && (soft->code_cache < VMC_CODE_CACHE_MIN || soft->code_cache > VMC_CODE_CACHE_MAX))
        add_fault(faults, "cpu.codeCache", _("a code cache cannot have %u MiB; give %u to %u MiB"),
                  soft->code_cache, VMC_CODE_CACHE_MIN, VMC_CODE_CACHE_MAX);
}

static void check_memory(GPtrArray *faults, const VmcConfig *config)
{
    uint64_t host = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t mib = config->memory / MIB;

    if (config->memory % MIB)
        add_fault(faults, "memory",
                  _("%" PRIu64 " bytes is not a whole number of MiB; give a multiple of 1 MiB"),
                  config->memory);
    else if (config->memory < VMC_MEMORY_MIN)
        add_fault(faults, "memory", _("%" PRIu64 " MiB is too little to boot; give at least %" PRIu64 " MiB"),
                  mib, (uint64_t)(VMC_MEMORY_MIN / MIB));
    else if (config->memory > host)
        add_fault(faults, "memory",
                  _("%" PRIu64 " MiB is more than this computer has; give at most %" PRIu64 " MiB"), mib,
                  host / MIB);
}

/* `cmdline_max` is set if the kernel says it. */
static void check_kernel(GPtrArray *faults, const VmcConfig *config, unsigned *cmdline_max)
{
    const char *path = config->boot.kernel;
    GError *error = NULL;
    VmcBzImage image;
    uint64_t size, end;
    int fd;

    if (!path || !*path) {
        add_fault(faults, "boot.kernel", _("no kernel is given; give the path of a bzImage"));
        return;
    }
    fd = vmc_boot_file_open("kernel", path, &size, &error);
    if (fd < 0 || !vmc_bzimage_read(&image, fd, path, &error)) {
        add_error(faults, "boot.kernel", error);
    } else {
        *cmdline_max = image.cmdline_max;
        end = image.load_address + image.memory_size;
        if (end > config->memory && config->memory >= VMC_MEMORY_MIN)
            add_fault(faults, "memory",
                      _("the kernel “%s” needs %" PRIu64 " MiB to unpack itself; give at least so much"),
                      path, (end + MIB - 1) / MIB);
    }
    if (fd >= 0)
        close(fd);
}

#define FIRMWARE_MEMORY (64 * MIB)

static void check_firmware(GPtrArray *faults, const VmcConfig *config)
{
    const VmcBootConfig *boot = &config->boot;
    g_autofree char *code = NULL, *variables = NULL;
    GError *error = NULL;
    uint64_t size;
    int fd;

    if (config->memory < FIRMWARE_MEMORY && config->memory >= VMC_MEMORY_MIN)
        add_fault(faults, "memory", _("UEFI firmware needs 64 MiB to run; give at least so much"));
    if (!boot->variable_store || !*boot->variable_store)
        add_fault(faults, "boot.variableStore",
                  _("no variable store is given; give the path of a file in which the firmware keeps its "
                    "variables"));
    if (!vmc_efi_find(boot->firmware, &code, &variables, &error) || !vmc_efi_check_smm(code, NULL, &error) ||
        (fd = vmc_efi_open_code(code, &size, &error)) < 0) {
        add_error(faults, "boot.firmware", error);
        return;
    }
    close(fd);
    if (boot->variable_store && *boot->variable_store &&
        !vmc_efi_check_variables(boot->variable_store, boot->create_variable_store ? variables : NULL, size,
                                 &error))
        add_error(faults, "boot.variableStore", error);
}

static void check_boot(GPtrArray *faults, const VmcConfig *config)
{
    unsigned cmdline_max = 0;
    GError *error = NULL;

    if (config->boot.kind != VMC_BOOT_LINUX && config->boot.kind != VMC_BOOT_EFI) {
        add_fault(faults, "boot", _("there is nothing to boot; give a Linux kernel or UEFI firmware"));
        return;
    }
    if (config->boot.kind == VMC_BOOT_EFI)
        check_firmware(faults, config);
    if (config->boot.kind == VMC_BOOT_LINUX || config->boot.kernel)
        check_kernel(faults, config, &cmdline_max);
    if (config->boot.kind == VMC_BOOT_EFI && !config->boot.kernel &&
        (config->boot.initrd || config->boot.cmdline))
        add_fault(faults, "boot.kernel",
                  _("an initrd and a command line belong to a kernel, and none is given; give one, or leave "
                    "them out"));
    if (config->boot.initrd && !vmc_initrd_check(config->boot.initrd, config->memory, &error))
        add_error(faults, "boot.initrd", error);
    if (config->boot.cmdline && cmdline_max && strlen(config->boot.cmdline) > cmdline_max)
        add_fault(faults, "boot.cmdline",
                  ngettext("the command line has %zu byte; this kernel takes at most %u",
                           "the command line has %zu bytes; this kernel takes at most %u",
                           strlen(config->boot.cmdline)),
                  strlen(config->boot.cmdline), cmdline_max);
}

/* ---- devices; each kind's own faults are in devices/ ---- */

void vmc_check_fault(VmcCheck *check, const char *name, const char *format, ...)
{
    g_autofree char *field =
        g_strdup_printf("devices[%u]%s%s", check->index, name ? "." : "", name ? name : "");
    g_autofree char *message = NULL;
    va_list args;

    va_start(args, format);
    message = g_strdup_vprintf(format, args);
    va_end(args);
    add_fault(check->faults, field, "%s", message);
}

void vmc_check_error(VmcCheck *check, const char *name, GError *error)
{
    vmc_check_fault(check, name, "%s", error->message);
    g_error_free(error);
}

const VmcDeviceConfig *vmc_check_device(const VmcCheck *check, guint n)
{
    return g_ptr_array_index(check->config->devices, n);
}

/* What is in one function may say the same slot more than once, and all say the same. */
static void check_slot(VmcCheck *check, const VmcDeviceConfig *device)
{
    if (!device->pci_slot)
        return;
    if (device->pci_slot > VMC_PCI_SLOT_MAX)
        vmc_check_fault(check, vmc_pci_slot_field.name, _("there is no PCI slot %u; give 1 to %u, or none"),
                        device->pci_slot, VMC_PCI_SLOT_MAX);
    for (guint i = 0; i < check->index; i++) {
        const VmcDeviceConfig *before = vmc_check_device(check, i);
        bool together = vmc_device_same_function(before->kind, device->kind);

        if (before->pci_slot && together != (before->pci_slot == device->pci_slot))
            vmc_check_fault(check, vmc_pci_slot_field.name,
                            together
                                ? _("it is in one with devices[%u], which has slot %u; give that or none")
                                : _("devices[%u] has slot %u already; give another or none"),
                            i, before->pci_slot);
    }
}

/* What the table of its fields says about numbers and lengths. */
static void check_bounds(VmcCheck *check, const VmcDeviceConfig *device, const VmcField *field)
{
    const void *at = vmc_field_of(field, device);
    const char *text = field->type == VMC_FIELD_STRING ? *(char *const *)at : NULL;
    unsigned number = field->type == VMC_FIELD_NUMBER ? *(const unsigned *)at : 0;

    if (text && field->max && strlen(text) > field->max)
        vmc_check_fault(check, field->name,
                        ngettext("“%s” has %zu byte; give at most %u", "“%s” has %zu bytes; give at most %u",
                                 strlen(text)),
                        text, strlen(text), (unsigned)field->max);
    if (field->type != VMC_FIELD_NUMBER || !field->max || (field->automatic && !number))
        return;
    if (number < field->min || number > field->max)
        vmc_check_fault(check, field->name,
                        field->automatic ? _("%s cannot be %u; give %u to %u, or none for what fits")
                                         : _("%s cannot be %u; give %u to %u"),
                        field->name, number, (unsigned)field->min, (unsigned)field->max);
}

static void check_device(GPtrArray *faults, const VmcConfig *config, guint index)
{
    VmcCheck check = {config, index, faults};
    const VmcDeviceConfig *device = vmc_check_device(&check, index);
    const VmcDeviceKindOps *ops = vmc_device_kind_ops(device->kind);

    if (!ops)
        vmc_check_fault(&check, NULL, _("there is no device of kind %d in this version; remove it"),
                        (int)device->kind);
    else if (ops->check)
        ops->check(&check, device);
    for (unsigned i = 0; ops && i < ops->info.n_fields; i++)
        check_bounds(&check, device, &ops->info.fields[i]);
    check_slot(&check, device);
}

static bool is_display(VmcDeviceKind kind)
{
    return kind == VMC_DEVICE_VIRTIO_GPU || kind == VMC_DEVICE_VGA;
}

/* Whether the index-th device brings a PCI function: all ports are in one, all USB devices on one controller,
 * and some kinds are in one, too. */
static bool is_new_function(const VmcConfig *config, guint index)
{
    const VmcDeviceConfig *device = g_ptr_array_index(config->devices, index);
    const VmcDeviceKindOps *ops = vmc_device_kind_ops(device->kind);

    for (guint i = 0; ops && (ops->shared || ops->port || ops->usb) && i < index; i++) {
        const VmcDeviceConfig *before = g_ptr_array_index(config->devices, i);
        const VmcDeviceKindOps *before_ops = vmc_device_kind_ops(before->kind);
        if (before_ops &&
            (before_ops == ops || (before_ops->port && ops->port) || (before_ops->usb && ops->usb)))
            return false;
    }
    return ops && (ops->pci || ops->port || ops->usb);
}

static void check_counts(GPtrArray *faults, const VmcConfig *config)
{
    unsigned uarts = 0, displays = 0, pci = 0, ports = 0, usb = 0;

    for (guint i = 0; i < config->devices->len; i++) {
        const VmcDeviceConfig *device = g_ptr_array_index(config->devices, i);

        const VmcDeviceKindOps *ops = vmc_device_kind_ops(device->kind);

        uarts += device->kind == VMC_DEVICE_UART;
        displays += is_display(device->kind);
        ports += ops && ops->port;
        usb += ops && ops->usb;
        pci += is_new_function(config, i);
    }
    if (usb > VMC_USB_DEVICES_MAX)
        add_fault(faults, "devices",
                  ngettext("%u USB device is too many; give at most %u",
                           "%u USB devices are too many; give at most %u", usb),
                  usb, VMC_USB_DEVICES_MAX);
    if (ports > VMC_PORTS_MAX)
        add_fault(faults, "devices",
                  ngettext("%u virtio serial port is too many; give at most %u",
                           "%u virtio serial ports are too many; give at most %u", ports),
                  ports, VMC_PORTS_MAX);
    if (uarts > UARTS_MAX)
        add_fault(faults, "devices",
                  ngettext("%u device of kind uart is too many; give at most %u",
                           "%u devices of kind uart are too many; give at most %u", uarts),
                  uarts, UARTS_MAX);
    if (displays > 1)
        add_fault(faults, "devices",
                  ngettext("%u primary adapter (virtio-gpu, vga) is too many; give at most one",
                           "%u primary adapters (virtio-gpu, vga) are too many; give at most one", displays),
                  displays);
    if (pci > VMC_PCI_DEVICES_MAX)
        add_fault(faults, "devices",
                  ngettext("%u PCI device is too many; give at most %u",
                           "%u PCI devices are too many; give at most %u", pci),
                  pci, VMC_PCI_DEVICES_MAX);
}

GPtrArray *vmc_config_validate_device(const VmcConfig *config, guint index)
{
    GPtrArray *faults = g_ptr_array_new_with_free_func(fault_free);

    check_device(faults, config, index);
    check_counts(faults, config);
    return faults;
}

GPtrArray *vmc_config_validate(const VmcConfig *config)
{
    GPtrArray *faults = g_ptr_array_new_with_free_func(fault_free);

    check_cpus(faults, config);
    check_soft_cpu(faults, &config->soft);
    check_memory(faults, config);
    check_boot(faults, config);
    for (guint i = 0; i < config->devices->len; i++)
        check_device(faults, config, i);
    check_counts(faults, config);
    return faults;
}
