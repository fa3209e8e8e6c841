/*
 * config.plist <-> VmcConfig (see bundle_config.h).
 *
 * A plist is written by hand as often as by us, so every reading function says which key is wrong and what
 * would be right, and nothing is converted silently.
 */
#include "app/bundle_config.h"

#include <glib/gi18n.h>
#include <inttypes.h>
#include <string.h>

#include "app/bundle.h"
#include "app/plist_fields.h"

static const char *const cpu_names[] = {
    [VMC_CPU_AUTO] = "auto",
    [VMC_CPU_KVM] = "kvm",
    [VMC_CPU_SOFT] = "soft",
};

#define DEVICES_MAX 64u
static bool read_boot(plist_t root, const char *dir, VmcBootConfig *boot, GError **error)
{
    plist_t dict = plist_dict_get_item(root, "BootLoader");
    if (!dict)
        return true;
    if (plist_get_node_type(dict) != PLIST_DICT)
        return esp_plist_fail(error, _("BootLoader should be a dictionary."));
    g_autofree char *type = esp_plist_get_string(dict, "Type");
    if (g_strcmp0(type, "Linux") == 0)
        boot->kind = VMC_BOOT_LINUX;
    else if (g_strcmp0(type, "EFI") == 0)
        boot->kind = VMC_BOOT_EFI;
    else
        return esp_plist_fail(error, _("BootLoader has the type “%s”; this version knows “Linux” and “EFI”."),
                              type ? type : "");
    boot->kernel = esp_plist_get_path(dict, "Kernel", dir);
    boot->initrd = esp_plist_get_path(dict, "InitialRamdisk", dir);
    boot->cmdline = esp_plist_get_string(dict, "CommandLine");
    boot->firmware = esp_plist_get_path(dict, "Firmware", dir);
    boot->variable_store = esp_plist_get_path(dict, "VariableStore", dir);
    boot->create_variable_store = boot->kind == VMC_BOOT_EFI; /* it comes with the first start */
    return true;
}

/* Names of devices in the file are stable, whatever the command line calls them. */
static const VmcDeviceInfo *find_kind(const char *type, VmcDeviceKind *kind)
{
    /* Of the first version: nothing but memory, which drivers could not take over. */
    if (!g_strcmp0(type, "Framebuffer"))
        type = "VirtioGPU";
    for (unsigned i = 0; i < VMC_DEVICE_KINDS; i++) {
        const VmcDeviceInfo *info = vmc_device_info((VmcDeviceKind)i);

        *kind = (VmcDeviceKind)i;
        if (info && !g_strcmp0(info->key, type))
            return info;
    }
    return NULL;
}

static bool read_device(plist_t dict, unsigned index, const char *dir, VmcConfig *config, GError **error)
{
    if (!dict || plist_get_node_type(dict) != PLIST_DICT)
        return esp_plist_fail(error, _("Devices[%u] should be a dictionary."), index);
    g_autofree char *type = esp_plist_get_string(dict, "Type");
    VmcDeviceKind kind;
    const VmcDeviceInfo *info = find_kind(type, &kind);
    if (!info)
        return esp_plist_fail(error, _("Devices[%u] has the type “%s”, which this version does not know."),
                              index, type ? type : "");

    VmcDeviceConfig *device = vmc_config_add_device(config, kind);
    for (unsigned i = 0; i < info->n_fields; i++)
        if (!esp_plist_read_field(dict, dir, &info->fields[i], device, error)) {
            g_prefix_error(error, "Devices[%u].", index);
            return false;
        }
    return !vmc_device_has_pci_slot(kind) ||
           esp_plist_read_field(dict, dir, &vmc_pci_slot_field, device, error);
}

static bool read_devices(plist_t root, const char *dir, VmcConfig *config, GError **error)
{
    plist_t array = plist_dict_get_item(root, "Devices");
    if (!array)
        return true;
    if (plist_get_node_type(array) != PLIST_ARRAY)
        return esp_plist_fail(error, _("Devices should be an array."));
    uint32_t n = plist_array_get_size(array);
    if (n > DEVICES_MAX)
        return esp_plist_fail(error, _("There are %u devices; at most %u are possible."), n, DEVICES_MAX);
    for (uint32_t i = 0; i < n; i++)
        if (!read_device(plist_array_get_item(array, i), i, dir, config, error))
            return false;
    return true;
}

/* The software CPU's keys are younger than CPU: a bundle without them has the best engine there is. */
static bool read_cpu(plist_t root, VmcConfig *config, GError **error)
{
    g_autofree char *cpu = esp_plist_get_string(root, "CPU");
    g_autofree char *engine = esp_plist_get_string(root, "CPUEngine");
    g_autofree char *model = esp_plist_get_string(root, "CPUModel");
    plist_t lockstep = plist_dict_get_item(root, "CPULockstep");
    uint64_t cache = config->soft.code_cache;
    uint8_t flag = 0;

    if (cpu) {
        int kind = esp_find_name(cpu_names, G_N_ELEMENTS(cpu_names), cpu);
        if (kind < 0)
            return esp_plist_fail(error, _("CPU is “%s”; it should be auto, kvm or soft."), cpu);
        config->cpu = (VmcCpuKind)kind;
    }
    if (plist_dict_get_item(root, "CPUModel") &&
        !(model && vmc_cpu_model_from_name(model, &config->cpu_model)))
        return esp_plist_fail(error, _("CPUModel is “%s”; it should be host, x86-64-v2, x86-64-v3 or macos."),
                              model ? model : "");
    if (plist_dict_get_item(root, "CPUEngine") &&
        !(engine && vmc_cpu_engine_from_name(engine, &config->soft.engine)))
        return esp_plist_fail(error, _("CPUEngine is “%s”; it should be interpreter or translator."),
                              engine ? engine : "");
    if (lockstep && plist_get_node_type(lockstep) != PLIST_BOOLEAN)
        return esp_plist_fail(error, _("CPULockstep should be true or false."));
    if (lockstep)
        plist_get_bool_val(lockstep, &flag);
    config->soft.lockstep = flag;
    if (!esp_plist_get_uint(root, "CPUCodeCache", true, VMC_CODE_CACHE_MIN, VMC_CODE_CACHE_MAX, &cache,
                            error))
        return false;
    config->soft.code_cache = (unsigned)cache;
    return true;
}

static bool read_all(plist_t root, const char *dir, VmcConfig *config, GError **error)
{
    uint64_t version = 0, cpus = config->cpus, memory = config->memory >> 20;
    if (!esp_plist_get_uint(root, "Version", false, 1, UINT64_MAX, &version, error))
        return false;
    if (version > ESP_BUNDLE_VERSION)
        return esp_plist_fail(error,
                              _("It was written by a newer Espalier (format %" PRIu64
                                "; this one reads up to %u). Please update Espalier."),
                              version, ESP_BUNDLE_VERSION);
    /* Sensible bounds are the validator's to name; these only keep the arithmetic honest. */
    if (!esp_plist_get_uint(root, "CPUCount", true, 0, UINT32_MAX, &cpus, error) ||
        !esp_plist_get_uint(root, "MemorySize", true, 0, UINT64_MAX >> 20, &memory, error))
        return false;
    config->cpus = (unsigned)cpus;
    config->memory = memory << 20;
    return read_cpu(root, config, error) && read_boot(root, dir, &config->boot, error) &&
           read_devices(root, dir, config, error);
}

VmcConfig *esp_bundle_config_read(plist_t root, const char *dir, GError **error)
{
    VmcConfig *config = vmc_config_new();
    if (!read_all(root, dir, config, error)) {
        vmc_config_free(config);
        return NULL;
    }
    return config;
}

/* The dictionary the file already has for the n-th device, if it is of the same type: its unknown keys stay.
 */
static plist_t device_dict(plist_t old, uint32_t n, const char *type)
{
    plist_t dict = NULL;
    if (old && plist_get_node_type(old) == PLIST_ARRAY && n < plist_array_get_size(old))
        dict = plist_array_get_item(old, n);
    if (dict && plist_get_node_type(dict) == PLIST_DICT) {
        g_autofree char *old_type = esp_plist_get_string(dict, "Type");
        if (!g_strcmp0(old_type, type))
            return plist_copy(dict);
    }
    return plist_new_dict();
}

static plist_t device_to_plist(const VmcDeviceConfig *device, plist_t old, uint32_t n, const char *dir)
{
    const VmcDeviceInfo *info = vmc_device_info(device->kind);
    plist_t dict = device_dict(old, n, info->key);
    esp_plist_set_string(dict, "Type", info->key);
    for (unsigned i = 0; i < info->n_fields; i++)
        esp_plist_write_field(dict, dir, &info->fields[i], device);
    esp_plist_remove(dict, vmc_pci_slot_field.key);
    if (device->pci_slot)
        esp_plist_write_field(dict, dir, &vmc_pci_slot_field, device);
    return dict;
}

/* Whether a device goes somewhere that only this process has: a descriptor, standard input. */
static bool is_of_this_process(const VmcDeviceConfig *device)
{
    const VmcDeviceInfo *info = vmc_device_info(device->kind);

    for (unsigned i = 0; info && i < info->n_fields; i++)
        if (!info->fields[i].key && vmc_field_is_set(&info->fields[i], device))
            return true;
    return !info;
}

static void write_boot(plist_t root, const char *dir, const VmcBootConfig *boot)
{
    if (boot->kind == VMC_BOOT_NONE) {
        if (plist_dict_get_item(root, "BootLoader"))
            plist_dict_remove_item(root, "BootLoader");
        return;
    }
    plist_t dict = plist_dict_get_item(root, "BootLoader");
    if (!dict || plist_get_node_type(dict) != PLIST_DICT) {
        dict = plist_new_dict();
        plist_dict_set_item(root, "BootLoader", dict);
    }
    esp_plist_set_string(dict, "Type", boot->kind == VMC_BOOT_EFI ? "EFI" : "Linux");
    esp_plist_set_path(dict, "Kernel", dir, boot->kernel);
    esp_plist_set_path(dict, "InitialRamdisk", dir, boot->initrd);
    esp_plist_set_string(dict, "CommandLine", boot->cmdline);
    esp_plist_set_path(dict, "Firmware", dir, boot->firmware);
    esp_plist_set_path(dict, "VariableStore", dir, boot->variable_store);
}

/* What nobody has chosen is not written, so that it stays what the program thinks best. */
static void write_cpu(plist_t root, const VmcConfig *config)
{
    static const char *const younger[] = {"CPULockstep", "CPUCodeCache", "CPUModel"};

    esp_plist_set_string(root, "CPU", cpu_names[config->cpu]);
    esp_plist_set_string(root, "CPUEngine", vmc_cpu_engine_name(config->soft.engine));
    for (unsigned i = 0; i < G_N_ELEMENTS(younger); i++)
        if (plist_dict_get_item(root, younger[i]))
            plist_dict_remove_item(root, younger[i]);
    if (config->cpu_model != VMC_CPU_MODEL_HOST)
        esp_plist_set_string(root, "CPUModel", vmc_cpu_model_name(config->cpu_model));
    if (config->soft.lockstep)
        plist_dict_set_item(root, "CPULockstep", plist_new_bool(1));
    if (config->soft.code_cache)
        plist_dict_set_item(root, "CPUCodeCache", plist_new_uint(config->soft.code_cache));
}

void esp_bundle_config_write(plist_t root, const char *dir, const VmcConfig *config)
{
    plist_dict_set_item(root, "Version", plist_new_uint(ESP_BUNDLE_VERSION));
    plist_dict_set_item(root, "CPUCount", plist_new_uint(config->cpus));
    plist_dict_set_item(root, "MemorySize", plist_new_uint(config->memory >> 20));
    write_cpu(root, config);
    write_boot(root, dir, &config->boot);

    plist_t old = plist_dict_get_item(root, "Devices");
    plist_t array = plist_new_array();
    for (guint i = 0; i < config->devices->len; i++) {
        const VmcDeviceConfig *device = config->devices->pdata[i];
        if (is_of_this_process(device))
            continue;
        plist_array_append_item(array, device_to_plist(device, old, plist_array_get_size(array), dir));
    }
    plist_dict_set_item(root, "Devices", array);
}
