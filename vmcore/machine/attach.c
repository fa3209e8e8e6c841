/*
 * Devices that come and go while a machine runs. The configuration goes with them, so that the next start
 * finds what is plugged in now.
 *
 * Threads: the owner's; the arrays that other threads look at change under the guest lock.
 */
#include "base/i18n.h"
#include "machine/devices/kind.h"

static bool runs(VmcMachine *machine, GError **error)
{
    VmcMachineState state = vmc_machine_get_state(machine);

    if (machine->guest && (state == VMC_MACHINE_RUNNING || state == VMC_MACHINE_PAUSED))
        return true;
    g_set_error(error, VMC_ERROR, VMC_ERROR_STATE,
                _("No device can be attached or detached: the machine is %s, not running"),
                vmc_machine_state_text(state));
    return false;
}

/* The configuration with one more device has no fault. */
static bool check(const VmcConfig *config, GError **error)
{
    g_autoptr(GPtrArray) faults = vmc_config_validate_device(config, config->devices->len - 1);
    const VmcFault *first;

    if (!faults->len)
        return true;
    first = g_ptr_array_index(faults, 0);
    g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG, "%s: %s", first->field, first->message);
    return false;
}

static void grow(VmcGuest *guest, guint n)
{
    guest->pci_devices = g_renew(VmcPciDevice *, guest->pci_devices, n);
    guest->usb_devices = g_renew(VmcUsbDevice *, guest->usb_devices, n);
    guest->pci_devices[n - 1] = NULL;
    guest->usb_devices[n - 1] = NULL;
}

static void forget(VmcMachine *machine, guint index)
{
    VmcGuest *guest = machine->guest;
    GPtrArray *devices = machine->config->devices;

    g_mutex_lock(&machine->guest_lock);
    for (guint i = index; i + 1 < devices->len; i++) {
        guest->pci_devices[i] = guest->pci_devices[i + 1];
        guest->usb_devices[i] = guest->usb_devices[i + 1];
    }
    g_ptr_array_remove_index(devices, index);
    g_mutex_unlock(&machine->guest_lock);
}

/* A USB device needs the controller, and a PCI bus does not grow while it runs. */
static bool can_attach(VmcMachine *machine, VmcDeviceKind kind, GError **error)
{
    const VmcDeviceKindOps *ops = vmc_device_kind_ops(kind);

    if (!ops || !ops->detach) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG, _("A %s cannot be attached to a machine that runs"),
                    vmc_device_kind_name(kind));
        return false;
    }
    if (ops->usb && !machine->guest->usb) {
        g_set_error(
            error, VMC_ERROR, VMC_ERROR_CONFIG,
            _("The machine was started without any USB device, so it has no USB controller; give it a "
              "USB keyboard or tablet"));
        return false;
    }
    return true;
}

int vmc_machine_attach(VmcMachine *machine, const VmcDeviceConfig *device, GError **error)
{
    guint index = machine->config->devices->len;

    if (!runs(machine, error) || !can_attach(machine, device->kind, error))
        return -1;
    g_mutex_lock(&machine->guest_lock);
    vmc_config_add_copy(machine->config, device);
    grow(machine->guest, index + 1);
    g_mutex_unlock(&machine->guest_lock);
    if (check(machine->config, error) &&
        vmc_device_kind_ops(device->kind)->make(machine->guest, index, error))
        return (int)index;
    forget(machine, index);
    return -1;
}

int vmc_machine_attach_usb_storage(VmcMachine *machine, const char *path, VmcDiskFormat format, bool readonly,
                                   bool cdrom, const char *id, GError **error)
{
    /* Copied before anybody could write to them. */
    VmcDeviceConfig device = {
        .kind = VMC_DEVICE_USB_STORAGE,
        .block =
            {.path = (char *)path, .format = format, .id = (char *)id, .readonly = readonly, .cdrom = cdrom},
    };

    return vmc_machine_attach(machine, &device, error);
}

bool vmc_machine_detach(VmcMachine *machine, unsigned index, GError **error)
{
    const VmcDeviceKindOps *ops;

    if (!runs(machine, error))
        return false;
    if (index >= machine->config->devices->len) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                    ngettext("There is no device %u; the machine has %u, counted from 0",
                             "There is no device %u; the machine has %u, counted from 0",
                             machine->config->devices->len),
                    index, machine->config->devices->len);
        return false;
    }
    ops = vmc_device_kind_ops(vmc_guest_config(machine->guest, index)->kind);
    if (!ops->detach) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                    _("Device %u, %s, cannot be detached while the machine runs"), index, ops->info.name);
        return false;
    }
    ops->detach(machine->guest, index);
    forget(machine, index);
    return true;
}
