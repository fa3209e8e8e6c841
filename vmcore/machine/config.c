/* VmcConfig as data: its members by name, made, copied, freed, by the fields that devices have. What is right
 * and wrong in one is validate.c's subject. */
#include "vmcore/config.h"

static const char *const cpu_kinds[] = {"auto", "kvm", "soft", NULL};
static const char *const cpu_models[] = {"host", "x86-64-v2", "x86-64-v3", "macos", NULL};
static const char *const cpu_engines[] = {"auto", "interpreter", "translator", NULL};
static const char *const boot_kinds[] = {"none", "linux", "efi", NULL};

#define MEMBER(name_, key_, type_, member_, ...)                                                             \
    {                                                                                                        \
        .name = (name_), .key = (key_), .type = VMC_FIELD_##type_, .offset = offsetof(VmcConfig, member_),   \
        ##__VA_ARGS__                                                                                        \
    }

static const VmcField members[] = {
    MEMBER("cpus", "CPUCount", NUMBER, cpus, .value = "N", .preset = 1, .min = 1, .max = VMC_CPUS_MAX),
    MEMBER("memory", "MemorySize", SIZE, memory, .value = "SIZE", .min = VMC_MEMORY_MIN,
           .max = VMC_MEMORY_MAX),
    MEMBER("cpu", "CPU", CHOICE, cpu, .choices = cpu_kinds),
    MEMBER("cpu-model", "CPUModel", CHOICE, cpu_model, .choices = cpu_models),
    MEMBER("cpu.engine", "CPUEngine", CHOICE, soft.engine, .choices = cpu_engines),
    MEMBER("cpu.codeCache", "CPUCodeCache", NUMBER, soft.code_cache, .value = "MIB",
           .min = VMC_CODE_CACHE_MIN, .max = VMC_CODE_CACHE_MAX, .automatic = true),
    MEMBER("cpu.lockstep", "CPULockstep", FLAG, soft.lockstep),
    MEMBER("boot", "Type", CHOICE, boot.kind, .choices = boot_kinds),
    MEMBER("boot.kernel", "Kernel", PATH, boot.kernel, .value = "FILE"),
    MEMBER("boot.initrd", "InitialRamdisk", PATH, boot.initrd, .value = "FILE"),
    MEMBER("boot.cmdline", "CommandLine", STRING, boot.cmdline, .value = "TEXT"),
    MEMBER("boot.firmware", "Firmware", PATH, boot.firmware, .value = "FILE"),
    MEMBER("boot.variableStore", "VariableStore", PATH, boot.variable_store, .value = "FILE"),
};

const VmcField *vmc_config_fields(unsigned *n)
{
    *n = G_N_ELEMENTS(members);
    return members;
}

static const VmcField *fields_of(VmcDeviceKind kind, unsigned *n)
{
    const VmcDeviceInfo *info = vmc_device_info(kind);

    *n = info ? info->n_fields : 0;
    return info ? info->fields : NULL;
}

static void preset(const VmcField *field, VmcDeviceConfig *device)
{
    void *at = vmc_field_in(field, device);

    switch (field->type) {
    case VMC_FIELD_NUMBER:
    case VMC_FIELD_CHOICE:
        *(unsigned *)at = field->preset;
        break;
    case VMC_FIELD_FD:
        *(int *)at = -1;
        break;
    case VMC_FIELD_STDIO:
        ((VmcSerialConfig *)at)->fd_in = ((VmcSerialConfig *)at)->fd_out = -1;
        break;
    case VMC_FIELD_STRING:
    case VMC_FIELD_PATH:
    case VMC_FIELD_FLAG:
    case VMC_FIELD_SIZE:
    case VMC_FIELD_LIST:
        break;
    }
}

bool vmc_field_is_set(const VmcField *field, const VmcDeviceConfig *device)
{
    const void *at = vmc_field_of(field, device);

    switch (field->type) {
    case VMC_FIELD_STRING:
    case VMC_FIELD_PATH:
    case VMC_FIELD_LIST:
        return *(void *const *)at != NULL;
    case VMC_FIELD_FLAG:
        return *(const bool *)at;
    case VMC_FIELD_NUMBER:
    case VMC_FIELD_CHOICE:
        return *(const unsigned *)at != field->preset;
    case VMC_FIELD_SIZE:
        return *(const uint64_t *)at != 0;
    case VMC_FIELD_FD:
        return *(const int *)at >= 0;
    case VMC_FIELD_STDIO:
        return ((const VmcSerialConfig *)at)->fd_in >= 0 || ((const VmcSerialConfig *)at)->fd_out >= 0;
    }
    return false;
}

/* Makes what a field owns in `device` a copy of it; the bytes of the two are the same so far. */
static void own_field(const VmcField *field, VmcDeviceConfig *device)
{
    void *at = vmc_field_in(field, device);

    if (field->type == VMC_FIELD_STRING || field->type == VMC_FIELD_PATH)
        *(char **)at = g_strdup(*(char **)at);
    else if (field->type == VMC_FIELD_LIST)
        *(char ***)at = g_strdupv(*(char ***)at);
}

static void free_field(const VmcField *field, VmcDeviceConfig *device)
{
    void *at = vmc_field_in(field, device);

    if (field->type == VMC_FIELD_STRING || field->type == VMC_FIELD_PATH)
        g_free(*(char **)at);
    else if (field->type == VMC_FIELD_LIST)
        g_strfreev(*(char ***)at);
}

static void device_free(gpointer data)
{
    VmcDeviceConfig *device = data;
    unsigned n;
    const VmcField *fields = fields_of(device->kind, &n);

    for (unsigned i = 0; i < n; i++)
        free_field(&fields[i], device);
    g_free(device);
}

VmcConfig *vmc_config_new(void)
{
    VmcConfig *config = g_new0(VmcConfig, 1);

    config->cpus = 1;
    config->memory = 512ull << 20;
    config->cpu = VMC_CPU_AUTO;
    config->devices = g_ptr_array_new_with_free_func(device_free);
    return config;
}

VmcDeviceConfig *vmc_config_add_device(VmcConfig *config, VmcDeviceKind kind)
{
    VmcDeviceConfig *device = g_new0(VmcDeviceConfig, 1);
    unsigned n;
    const VmcField *fields = fields_of(kind, &n);

    device->kind = kind;
    for (unsigned i = 0; i < n; i++)
        preset(&fields[i], device);
    g_ptr_array_add(config->devices, device);
    return device;
}

VmcDeviceConfig *vmc_config_add_copy(VmcConfig *to, const VmcDeviceConfig *from)
{
    VmcDeviceConfig *device = g_memdup2(from, sizeof(*from));
    unsigned n;
    const VmcField *fields = fields_of(from->kind, &n);

    for (unsigned i = 0; i < n; i++)
        own_field(&fields[i], device);
    g_ptr_array_add(to->devices, device);
    return device;
}

VmcConfig *vmc_config_copy(const VmcConfig *config)
{
    VmcConfig *copy = vmc_config_new();

    copy->cpus = config->cpus;
    copy->memory = config->memory;
    copy->cpu = config->cpu;
    copy->cpu_model = config->cpu_model;
    copy->soft = config->soft;
    copy->boot.kind = config->boot.kind;
    copy->boot.kernel = g_strdup(config->boot.kernel);
    copy->boot.initrd = g_strdup(config->boot.initrd);
    copy->boot.cmdline = g_strdup(config->boot.cmdline);
    copy->boot.firmware = g_strdup(config->boot.firmware);
    copy->boot.variable_store = g_strdup(config->boot.variable_store);
    copy->boot.create_variable_store = config->boot.create_variable_store;
    for (guint i = 0; i < config->devices->len; i++)
        vmc_config_add_copy(copy, g_ptr_array_index(config->devices, i));
    return copy;
}

void vmc_config_free(VmcConfig *config)
{
    if (!config)
        return;
    g_free(config->boot.kernel);
    g_free(config->boot.initrd);
    g_free(config->boot.cmdline);
    g_free(config->boot.firmware);
    g_free(config->boot.variable_store);
    g_ptr_array_unref(config->devices);
    g_free(config);
}

const char *vmc_device_kind_name(VmcDeviceKind kind)
{
    const VmcDeviceInfo *info = vmc_device_info(kind);

    return info ? info->name : "unknown";
}
