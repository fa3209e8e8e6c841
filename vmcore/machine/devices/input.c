/* Keyboards and pointers over virtio. */
#include "machine/devices/kind.h"

static bool make_keyboard(VmcGuest *guest, guint index, GError **error)
{
    VmcVirtioHost host = vmc_guest_virtio_host(guest);

    if (!vmc_guest_add_pci(guest, index, vmc_virtio_keyboard_new(&host), error))
        return false;
    if (!guest->keyboard)
        guest->keyboard = guest->pci_devices[index];
    return true;
}

static bool make_tablet(VmcGuest *guest, guint index, GError **error)
{
    VmcVirtioHost host = vmc_guest_virtio_host(guest);

    if (!vmc_guest_add_pci(guest, index, vmc_virtio_tablet_new(&host), error))
        return false;
    if (!guest->tablet)
        guest->tablet = guest->pci_devices[index];
    return true;
}

const VmcDeviceKindOps vmc_kind_keyboard = {
    .info = {.name = "virtio-input,keyboard", .key = "VirtioKeyboard", .help = "keyboard"},
    .pci = true,
    .make = make_keyboard,
};

const VmcDeviceKindOps vmc_kind_tablet = {
    .info = {.name = "virtio-input,pointing", .key = "VirtioTablet", .help = "tablet, an absolute pointer"},
    .pci = true,
    .make = make_tablet,
};
