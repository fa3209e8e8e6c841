/* What settings and devices need (see settings_needs.h). */
#include "app/settings_needs.h"

#include <glib/gi18n.h>
#include <stdio.h>
#include <string.h>

/* ---- settings ---- */

const char *esp_needs_kvm_off(const EspMachineSettings *machine, const VmcDeviceConfig *device)
{
    return machine->config->cpu == VMC_CPU_KVM ? _("This is of the software CPU, and KVM is chosen.") : NULL;
}

const char *esp_needs_translator(const EspMachineSettings *machine, const VmcDeviceConfig *device)
{
    if (machine->config->soft.engine == VMC_ENGINE_INTERPRETER)
        return _("This is of the translator, and the interpreter is chosen.");
    return esp_needs_kvm_off(machine, device);
}

const char *esp_needs_efi(const EspMachineSettings *machine, const VmcDeviceConfig *device)
{
    return machine->config->boot.kind == VMC_BOOT_EFI ? NULL : _("This needs UEFI firmware.");
}

const char *esp_needs_kernel_boot(const EspMachineSettings *machine, const VmcDeviceConfig *device)
{
    return machine->config->boot.kind == VMC_BOOT_NONE ? _("Choose first what the machine starts with.")
                                                       : NULL;
}

const char *esp_needs_kernel(const EspMachineSettings *machine, const VmcDeviceConfig *device)
{
    return machine->config->boot.kernel ? NULL : _("This belongs to a Linux kernel, and none is given.");
}

const char *esp_needs_clipboard(const EspMachineSettings *machine, const VmcDeviceConfig *device)
{
    for (int i = 0; (device = esp_machine_settings_device(machine, i)); i++)
        if (device->kind == VMC_DEVICE_SPICE_AGENT && device->agent.clipboard != VMC_CLIPBOARD_OFF)
            return NULL;
    return _("The clipboard is not shared: add it under “Sharing” first.");
}

const char *esp_needs_nat(const EspMachineSettings *machine, const VmcDeviceConfig *device)
{
    return device->net.nat ? NULL : _("This works with a network by NAT only.");
}

const char *esp_needs_tftp(const EspMachineSettings *machine, const VmcDeviceConfig *device)
{
    return device->net.tftp ? esp_needs_nat(machine, device) : _("Give the folder with the file first.");
}

const char *esp_needs_virtio_net(const EspMachineSettings *machine, const VmcDeviceConfig *device)
{
    return device->kind == VMC_DEVICE_E1000 ? _("This card cannot tell the guest about it; choose virtio.")
                                            : NULL;
}

const char *esp_needs_qcow2(const EspMachineSettings *machine, const VmcDeviceConfig *device)
{
    return device->block.format == VMC_DISK_QCOW2 ? NULL : _("Only qcow2 images can lie on another one.");
}

const char *esp_needs_sound_file(const EspMachineSettings *machine, const VmcDeviceConfig *device)
{
    return device->sound.backend == VMC_SOUND_FILE ? NULL : _("Choose first that sound goes to a file.");
}

/* ---- what guests can do ---- */

/* The version in "http://apple.com/macosx/10.15" is before that. False if it is no macOS, or none is known.
 */
static bool is_macos_before(const EspMachineSettings *machine, unsigned major, unsigned minor)
{
    const char *slash = machine->info.os_id ? strrchr(machine->info.os_id, '/') : NULL;
    unsigned have_major = 0, have_minor = 0;

    if (machine->info.system != ESP_GUEST_MACOS || !slash ||
        sscanf(slash + 1, "%3u.%3u", &have_major, &have_minor) < 1)
        return false;
    return have_major < major || (have_major == major && have_minor < minor);
}

const char *esp_needs_virtio_fs(const EspMachineSettings *machine, const VmcDeviceConfig *device)
{
    return is_macos_before(machine, 13, 0)
               ? _("macOS before version 13 cannot use this kind of shared folder; take one by 9P.")
               : NULL;
}

const char *esp_needs_9p(const EspMachineSettings *machine, const VmcDeviceConfig *device)
{
    return is_macos_before(machine, 10, 14) ? _("macOS before version 10.14 cannot use shared folders.")
                                            : NULL;
}

const char *esp_needs_virtio_block(const EspMachineSettings *machine, const VmcDeviceConfig *device)
{
    return is_macos_before(machine, 10, 15)
               ? _("macOS before version 10.15 does not work well with virtio disks; take NVMe.")
               : NULL;
}

const char *esp_needs_virtio_network(const EspMachineSettings *machine, const VmcDeviceConfig *device)
{
    return is_macos_before(machine, 11, 0)
               ? _("macOS before version 11 has no driver for this network card; take the Intel one.")
               : NULL;
}

const char *esp_needs_virtio_sound(const EspMachineSettings *machine, const VmcDeviceConfig *device)
{
    return is_macos_before(machine, 12, 0) ? _("macOS before version 12 has no driver for this sound card.")
                                           : NULL;
}

const char *esp_needs_virtio_gpu(const EspMachineSettings *machine, const VmcDeviceConfig *device)
{
    return machine->info.system == ESP_GUEST_MACOS
               ? _("macOS has no driver for this display; take the plain framebuffer.")
               : NULL;
}

const char *esp_needs_virtio_input(const EspMachineSettings *machine, const VmcDeviceConfig *device)
{
    return is_macos_before(machine, 11, 0) ? _("macOS before version 11 has no driver for this; take USB.")
                                           : NULL;
}

const char *esp_needs_macos(const EspMachineSettings *machine, const VmcDeviceConfig *device)
{
    return machine->info.system == ESP_GUEST_MACOS ? NULL : _("Only macOS asks for this.");
}
