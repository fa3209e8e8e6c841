/* The list of all kinds of devices, and from a configuration's list to devices on the board. */
#include "base/i18n.h"
#include "machine/devices/kind.h"

static const VmcDeviceKindOps *const kinds[VMC_DEVICE_KINDS] = {
    [VMC_DEVICE_UART] = &vmc_kind_uart,
    [VMC_DEVICE_VIRTIO_CONSOLE] = &vmc_kind_console,
    [VMC_DEVICE_VIRTIO_BLOCK] = &vmc_kind_block,
    [VMC_DEVICE_NVME] = &vmc_kind_nvme,
    [VMC_DEVICE_VIRTIO_RNG] = &vmc_kind_rng,
    [VMC_DEVICE_VIRTIO_BALLOON] = &vmc_kind_balloon,
    [VMC_DEVICE_VIRTIO_VSOCK] = &vmc_kind_vsock,
    [VMC_DEVICE_VIRTIO_FS] = &vmc_kind_fs,
    [VMC_DEVICE_VIRTIO_9P] = &vmc_kind_9p,
    [VMC_DEVICE_VIRTIO_KEYBOARD] = &vmc_kind_keyboard,
    [VMC_DEVICE_VIRTIO_TABLET] = &vmc_kind_tablet,
    [VMC_DEVICE_USB_KEYBOARD] = &vmc_kind_usb_keyboard,
    [VMC_DEVICE_USB_TABLET] = &vmc_kind_usb_tablet,
    [VMC_DEVICE_USB_MOUSE] = &vmc_kind_usb_mouse,
    [VMC_DEVICE_USB_STORAGE] = &vmc_kind_usb_storage,
    [VMC_DEVICE_VIRTIO_NET] = &vmc_kind_virtio_net,
    [VMC_DEVICE_E1000] = &vmc_kind_e1000,
    [VMC_DEVICE_VIRTIO_GPU] = &vmc_kind_gpu,
    [VMC_DEVICE_VGA] = &vmc_kind_vga,
    [VMC_DEVICE_VIRTIO_SOUND] = &vmc_kind_sound,
    [VMC_DEVICE_SPICE_AGENT] = &vmc_kind_agent,
    [VMC_DEVICE_SPICE_WEBDAV] = &vmc_kind_webdav,
    [VMC_DEVICE_APPLE_SMC] = &vmc_kind_smc,
};

const VmcDeviceKindOps *vmc_device_kind_ops(VmcDeviceKind kind)
{
    return (unsigned)kind < VMC_DEVICE_KINDS ? kinds[kind] : NULL;
}

const VmcDeviceInfo *vmc_device_info(VmcDeviceKind kind)
{
    const VmcDeviceKindOps *ops = vmc_device_kind_ops(kind);

    return ops ? &ops->info : NULL;
}

VmcVirtioHost vmc_guest_virtio_host(VmcGuest *guest)
{
    return (VmcVirtioHost){.memory = guest->memory, .io = guest->io, .hooks = &guest->hooks};
}

const VmcDeviceConfig *vmc_guest_config(const VmcGuest *guest, guint index)
{
    return g_ptr_array_index(guest->config->devices, index);
}

/* ---- where they are on the PCI bus ---- */

const VmcField vmc_pci_slot_field = VMC_FIELD("pciSlot", "PCISlot", NUMBER, pci_slot, .value = "N", .min = 1,
                                              .max = VMC_PCI_SLOT_MAX, .automatic = true);

bool vmc_device_has_pci_slot(VmcDeviceKind kind)
{
    const VmcDeviceKindOps *ops = vmc_device_kind_ops(kind);

    return ops && (ops->pci || ops->port || ops->usb);
}

bool vmc_device_same_function(VmcDeviceKind a, VmcDeviceKind b)
{
    const VmcDeviceKindOps *x = vmc_device_kind_ops(a), *y = vmc_device_kind_ops(b);

    return x && y && ((x == y && x->shared) || (x->port && y->port) || (x->usb && y->usb));
}

/* The slot that is wanted for the function of the index-th device; 0: none in particular. */
static unsigned wanted_slot(const VmcGuest *guest, guint index)
{
    const VmcDeviceConfig *device = vmc_guest_config(guest, index);

    for (guint i = 0; !device->pci_slot && i < guest->config->devices->len; i++) {
        const VmcDeviceConfig *other = vmc_guest_config(guest, i);
        if (other->pci_slot && vmc_device_same_function(device->kind, other->kind))
            return other->pci_slot;
    }
    return device->pci_slot;
}

static bool is_wanted(const VmcGuest *guest, unsigned slot)
{
    for (guint i = 0; i < guest->config->devices->len; i++)
        if (vmc_guest_config(guest, i)->pci_slot == slot)
            return true;
    return false;
}

/* What was given out once stays: a slot that another device asks for is not taken, whether that has been made
 * or not.
 */
bool vmc_guest_place_pci(VmcGuest *guest, guint index, VmcPciDevice *pci)
{
    VmcPciBus *bus = vmc_board_pci(guest->board);
    unsigned wanted = wanted_slot(guest, index), slot = wanted;
    bool placed = wanted && vmc_pci_bus_add(bus, pci, (int)wanted, 0);

    for (slot = placed ? wanted : 1; !placed && !wanted && slot <= VMC_PCI_SLOT_MAX; slot += !placed)
        placed = !is_wanted(guest, slot) && vmc_pci_bus_add(bus, pci, (int)slot, 0);
    if (!placed)
        return false;
    for (guint i = 0; i < guest->config->devices->len; i++) {
        VmcDeviceConfig *other = g_ptr_array_index(guest->config->devices, i);
        if (i == index || vmc_device_same_function(vmc_guest_config(guest, index)->kind, other->kind))
            other->pci_slot = slot;
    }
    return true;
}

bool vmc_config_take_pci_slots(VmcConfig *config, const VmcConfig *running)
{
    bool news = false;

    for (guint i = 0; i < config->devices->len && i < running->devices->len; i++) {
        VmcDeviceConfig *device = g_ptr_array_index(config->devices, i);
        const VmcDeviceConfig *now = g_ptr_array_index(running->devices, i);
        if (device->kind != now->kind)
            break;
        news |= device->pci_slot != now->pci_slot;
        device->pci_slot = now->pci_slot;
    }
    return news;
}

bool vmc_guest_add_pci(VmcGuest *guest, guint index, VmcPciDevice *device, GError **error)
{
    const char *name = vmc_device_kind_name(vmc_guest_config(guest, index)->kind);

    if (!device) {
        g_set_error(
            error, VMC_ERROR, VMC_ERROR_RESOURCE,
            _("There is no file descriptor left for a %s device; raise the limit (ulimit -n) or close "
              "something"),
            name);
        return false;
    }
    if (!vmc_guest_place_pci(guest, index, device)) {
        device->ops->free(device);
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                    _("There is no PCI slot left for a %s device, or not the one it asks for; remove some"),
                    name);
        return false;
    }
    guest->pci_devices[index] = device;
    return true;
}

VmcPciDevice *vmc_guest_pci(VmcGuest *guest, guint index, VmcDeviceKind kind)
{
    if (index >= guest->config->devices->len || vmc_guest_config(guest, index)->kind != kind)
        return NULL;
    return guest->pci_devices[index];
}

VmcGuest *vmc_machine_lock_guest(VmcMachine *machine)
{
    g_mutex_lock(&machine->guest_lock);
    if (machine->guest)
        return machine->guest;
    g_mutex_unlock(&machine->guest_lock);
    return NULL;
}

void vmc_machine_unlock_guest(VmcMachine *machine)
{
    g_mutex_unlock(&machine->guest_lock);
}

static bool make_device(VmcGuest *guest, guint index, GError **error)
{
    VmcDeviceKind kind = vmc_guest_config(guest, index)->kind;
    const VmcDeviceKindOps *ops = vmc_device_kind_ops(kind);

    if (ops)
        return !ops->make || ops->make(guest, index, error);
    g_set_error(error, VMC_ERROR, VMC_ERROR_INTERNAL, _("There is no device of kind %d"), (int)kind);
    return false;
}

bool vmc_guest_add_devices(VmcGuest *guest, GError **error)
{
    guest->pci_devices = g_new0(VmcPciDevice *, guest->config->devices->len);
    guest->usb_devices = g_new0(VmcUsbDevice *, guest->config->devices->len);
    for (guint i = 0; i < guest->config->devices->len; i++)
        if (!make_device(guest, i, error))
            return false;
    return true;
}
