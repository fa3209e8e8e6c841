/* VmcConfig as data: made, copied, freed. What is right and wrong in one is validate.c's subject. */
#include "vmcore/config.h"

static bool is_serial(VmcDeviceKind kind)
{
    return kind == VMC_DEVICE_UART || kind == VMC_DEVICE_VIRTIO_CONSOLE;
}

static void device_free(gpointer data)
{
    VmcDeviceConfig *device = data;

    if (is_serial(device->kind)) {
        g_free(device->serial.log_path);
    } else if (device->kind == VMC_DEVICE_VIRTIO_BLOCK) {
        g_free(device->block.path);
        g_free(device->block.id);
    }
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

    device->kind = kind;
    if (is_serial(kind))
        device->serial.fd_in = device->serial.fd_out = -1;
    g_ptr_array_add(config->devices, device);
    return device;
}

static void device_copy(VmcConfig *to, const VmcDeviceConfig *from)
{
    VmcDeviceConfig *device = vmc_config_add_device(to, from->kind);

    *device = *from;
    if (is_serial(from->kind)) {
        device->serial.log_path = g_strdup(from->serial.log_path);
    } else if (from->kind == VMC_DEVICE_VIRTIO_BLOCK) {
        device->block.path = g_strdup(from->block.path);
        device->block.id = g_strdup(from->block.id);
    }
}

VmcConfig *vmc_config_copy(const VmcConfig *config)
{
    VmcConfig *copy = vmc_config_new();

    copy->cpus = config->cpus;
    copy->memory = config->memory;
    copy->cpu = config->cpu;
    copy->boot.kind = config->boot.kind;
    copy->boot.kernel = g_strdup(config->boot.kernel);
    copy->boot.initrd = g_strdup(config->boot.initrd);
    copy->boot.cmdline = g_strdup(config->boot.cmdline);
    for (guint i = 0; i < config->devices->len; i++)
        device_copy(copy, g_ptr_array_index(config->devices, i));
    return copy;
}

void vmc_config_free(VmcConfig *config)
{
    if (!config)
        return;
    g_free(config->boot.kernel);
    g_free(config->boot.initrd);
    g_free(config->boot.cmdline);
    g_ptr_array_unref(config->devices);
    g_free(config);
}

const char *vmc_device_kind_name(VmcDeviceKind kind)
{
    switch (kind) {
    case VMC_DEVICE_UART:
        return "uart";
    case VMC_DEVICE_VIRTIO_CONSOLE:
        return "virtio-serial";
    case VMC_DEVICE_VIRTIO_BLOCK:
        return "virtio-blk";
    case VMC_DEVICE_VIRTIO_RNG:
        return "virtio-rng";
    case VMC_DEVICE_VIRTIO_KEYBOARD:
        return "virtio-input,keyboard";
    case VMC_DEVICE_VIRTIO_TABLET:
        return "virtio-input,pointing";
    case VMC_DEVICE_FRAMEBUFFER:
        return "virtio-gpu";
    }
    return "unknown";
}
