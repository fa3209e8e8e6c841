/*
 * A word about media that UEFI firmware cannot boot, before the guest starts: it would say nothing, and wait
 * at its shell or for a server. Disks with data are as they should be where something else boots, and so are
 * blank ones. A disc that the user wants booted first is not.
 */
#include "boot/medium.h"
#include "machine/devices/kind.h"

/* The device has not opened it yet. An error is told by whoever opens it in earnest. */
static VmcMedium look(const VmcDiskConfig *config)
{
    VmcDiskConfig readonly = *config;

    readonly.readonly = true;
    VmcDisk *disk = vmc_guest_open_disk(&readonly, NULL);
    VmcMedium medium = disk ? vmc_medium_look(disk) : VMC_MEDIUM_BOOTS;
    vmc_disk_close(disk);
    return medium;
}

static bool is_disc(VmcMedium medium)
{
    return medium == VMC_MEDIUM_DISC || medium == VMC_MEDIUM_BIOS_DISC;
}

void vmc_machine_look_at_media(VmcMachine *machine)
{
    const VmcConfig *config = machine->config;
    g_autofree VmcMedium *media = g_new0(VmcMedium, config->devices->len);
    bool boots = false;

    if (config->boot.kind != VMC_BOOT_EFI || config->boot.kernel)
        return;
    for (guint i = 0; i < config->devices->len; i++) {
        const VmcDeviceConfig *device = g_ptr_array_index(config->devices, i);
        media[i] = vmc_device_is_disk(device) ? look(&device->block) : VMC_MEDIUM_BLANK;
        boots = boots || media[i] == VMC_MEDIUM_BOOTS;
    }
    for (guint i = 0; i < config->devices->len; i++) {
        const VmcDeviceConfig *device = g_ptr_array_index(config->devices, i);
        if (boots && !(is_disc(media[i]) && device->block.boot_index))
            continue;
        g_autofree char *line = vmc_medium_complaint(media[i], device->block.path);
        if (line)
            vmc_mailbox_post(machine->mailbox, VMC_EVENT_LOG, machine->run, line, NULL);
    }
}
