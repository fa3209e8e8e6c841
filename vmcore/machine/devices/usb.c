/* What hangs on the USB controller, which is made with the first of them. */
#include <string.h>

#include "base/i18n.h"
#include "machine/devices/kind.h"
#include "usb/hid.h"
#include "usb/storage.h"
#include "usb/xhci.h"

#define ID_MAX 32u

/* ---- the controller ---- */

static bool make_controller(VmcGuest *guest, guint index, GError **error)
{
    VmcPciDevice *xhci;

    if (guest->usb)
        return true;
    xhci = vmc_xhci_new(guest->memory, guest->io);
    if (!xhci) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE,
                    _("There is no file descriptor left for a USB controller; raise the limit (ulimit -n) or "
                      "close something"));
        return false;
    }
    if (!vmc_guest_place_pci(guest, index, xhci)) {
        xhci->ops->free(xhci);
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                    _("There is no PCI slot left for a USB controller; remove some devices"));
        return false;
    }
    guest->usb = xhci;
    return true;
}

/* Plugs it in as the index-th device; the guest owns it in every case. */
static bool add_usb(VmcGuest *guest, guint index, VmcUsbDevice *dev, GError **error)
{
    if (!make_controller(guest, index, error) || !vmc_xhci_attach(guest->usb, dev, error)) {
        vmc_usb_device_free(dev);
        return false;
    }
    guest->usb_devices[index] = dev;
    return true;
}

/* ---- keyboard and pointers ---- */

static bool make_keyboard(VmcGuest *guest, guint index, GError **error)
{
    static const VmcUsbLayout layouts[] = {
        [VMC_KEYBOARD_ANSI] = VMC_USB_ANSI,
        [VMC_KEYBOARD_ISO] = VMC_USB_ISO,
        [VMC_KEYBOARD_JIS] = VMC_USB_JIS,
    };
    const VmcKeyboardConfig *config = &vmc_guest_config(guest, index)->keyboard;
    VmcUsbDevice *dev = vmc_usb_keyboard_new(guest->io, layouts[config->layout], config->swap);

    if (!add_usb(guest, index, dev, error))
        return false;
    g_ptr_array_add(guest->keyboards, vmc_usb_keyboard_input(dev));
    return true;
}

static bool add_pointer(VmcGuest *guest, guint index, VmcUsbDevice *dev, GError **error)
{
    if (!add_usb(guest, index, dev, error))
        return false;
    g_ptr_array_add(guest->pointers, vmc_usb_pointer_input(dev));
    return true;
}

static bool make_tablet(VmcGuest *guest, guint index, GError **error)
{
    return add_pointer(guest, index, vmc_usb_tablet_new(), error);
}

static bool make_mouse(VmcGuest *guest, guint index, GError **error)
{
    return add_pointer(guest, index, vmc_usb_mouse_new(), error);
}

static bool act_keyboard(VmcGuest *guest, guint index, unsigned action, const char *const *arguments,
                         GString *reply, GError **error)
{
    return vmc_act_keyboard(vmc_usb_keyboard_input(guest->usb_devices[index]), action, arguments, reply,
                            error);
}

static bool act_pointer(VmcGuest *guest, guint index, unsigned action, const char *const *arguments,
                        GString *reply, GError **error)
{
    return vmc_act_pointer(vmc_usb_pointer_input(guest->usb_devices[index]), action, arguments, error);
}

static const char *const layout_names[] = {
    [VMC_KEYBOARD_ANSI] = "ansi",
    [VMC_KEYBOARD_ISO] = "iso",
    [VMC_KEYBOARD_JIS] = "jis",
    NULL,
};

static const VmcField keyboard_fields[] = {
    VMC_FIELD("layout", "Layout", CHOICE, keyboard.layout, .choices = layout_names),
    VMC_FIELD("swap", "SwapKeys", FLAG, keyboard.swap),
};

const VmcDeviceKindOps vmc_kind_usb_keyboard = {
    .info = {.name = "usb-keyboard",
             .key = "USBKeyboard",
             .help = N_("USB keyboard"),
             VMC_FIELDS(keyboard_fields),
             VMC_ACTIONS(vmc_keyboard_actions)},
    .usb = true,
    .make = make_keyboard,
    .act = act_keyboard,
};

const VmcDeviceKindOps vmc_kind_usb_tablet = {
    .info = {.name = "usb-tablet",
             .key = "USBTablet",
             .help = N_("USB tablet, an absolute pointer"),
             VMC_ACTIONS(vmc_pointer_actions)},
    .usb = true,
    .make = make_tablet,
    .act = act_pointer,
};

const VmcDeviceKindOps vmc_kind_usb_mouse = {
    .info = {.name = "usb-mouse",
             .key = "USBMouse",
             .help = N_("USB mouse, which tells how far it moved"),
             VMC_ACTIONS(vmc_mouse_actions)},
    .usb = true,
    .make = make_mouse,
    .act = act_pointer,
};

/* ---- mass storage ---- */

/* A CD-ROM is opened for reading, whatever else is said. */
static VmcDisk *open_storage(const VmcDiskConfig *config, GError **error)
{
    VmcDiskConfig disk = *config;

    disk.readonly |= disk.cdrom;
    return vmc_guest_open_disk(&disk, error);
}

static void check_storage(VmcCheck *check, const VmcDeviceConfig *device)
{
    GError *error = NULL;
    VmcDisk *disk;

    if (!device->block.path || !*device->block.path) {
        vmc_check_fault(check, "path", _("no disk is given; give the path of a disk image or block device"));
    } else {
        disk = open_storage(&device->block, &error);
        if (!disk)
            vmc_check_error(check, "path", error);
        else if (device->block.cdrom && disk->size < 2048)
            vmc_check_fault(check, "path", _("“%s” has not even one sector of a CD-ROM, 2048 bytes"),
                            device->block.path);
        vmc_disk_close(disk);
    }
    vmc_check_shared_disk(check, device);
}

static bool make_storage(VmcGuest *guest, guint index, GError **error)
{
    const VmcDiskConfig *config = &vmc_guest_config(guest, index)->block;
    VmcDisk *disk = open_storage(config, error);
    VmcUsbDevice *dev;
    g_autofree char *id = NULL;

    if (!disk)
        return false;
    /* Two sticks are told apart by their serial numbers, which are to stay what they are. */
    id = vmc_guest_disk_serial(config);
    dev = vmc_usb_storage_new(disk, config->cdrom, id);
    vmc_usb_storage_set_hooks(dev, &guest->hooks);
    return add_usb(guest, index, dev, error);
}

/* Waits for the disk: not on a thread the guest waits for. */
static void detach_storage(VmcGuest *guest, guint index)
{
    VmcUsbDevice *dev = guest->usb_devices[index];

    vmc_xhci_detach(guest->usb, dev);
    vmc_usb_device_free(dev);
    guest->usb_devices[index] = NULL;
}

static const char *const format_names[] = {[VMC_DISK_RAW] = "raw", [VMC_DISK_QCOW2] = "qcow2", NULL};

static const VmcField storage_fields[] = {
    VMC_FIELD("path", "Path", PATH, block.path, .value = "FILE", .required = true),
    VMC_FIELD("format", "Format", CHOICE, block.format, .choices = format_names),
    VMC_FIELD("deviceId", "Identifier", STRING, block.id, .value = "ID", .max = ID_MAX),
    VMC_FIELD("readonly", "ReadOnly", FLAG, block.readonly),
    VMC_FIELD("cdrom", "CDROM", FLAG, block.cdrom),
    VMC_FIELD("bootIndex", "BootIndex", NUMBER, block.boot_index, .value = "N", .min = 1,
              .max = VMC_BOOT_INDEX_MAX, .automatic = true),
};

const VmcDeviceKindOps vmc_kind_usb_storage = {
    .info = {.name = "usb-mass-storage",
             .key = "USBMassStorage",
             .help = N_("USB stick, or CD-ROM drive"),
             VMC_FIELDS(storage_fields)},
    .usb = true,
    .boot_node = {"usb", "/storage@1/channel@0/disk@0,0"},
    .check = check_storage,
    .make = make_storage,
    .detach = detach_storage,
};
