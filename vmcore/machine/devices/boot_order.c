/*
 * Which devices firmware boots from first. A device says so with a number, its bootIndex; firmware gets a
 * list of Open Firmware device paths (IEEE 1275-1994 s3.2.1.1, PCI Bus Binding 2.1), which is how QEMU's
 * "bootorder" file names them and OVMF finds them.
 */
#include <string.h>

#include "machine/devices/kind.h"

typedef struct Entry {
    unsigned index; /* of boot order */
    guint device;
} Entry;

static unsigned boot_index(const VmcDeviceConfig *device)
{
    const VmcDeviceInfo *info = vmc_device_info(device->kind);

    for (unsigned i = 0; info && i < info->n_fields; i++)
        if (!strcmp(info->fields[i].name, "bootIndex"))
            return *(const unsigned *)vmc_field_of(&info->fields[i], device);
    return 0;
}

static gint by_index(gconstpointer a, gconstpointer b)
{
    const Entry *x = a, *y = b;

    if (x->index != y->index)
        return x->index < y->index ? -1 : 1;
    return x->device < y->device ? -1 : 1;
}

static void add_path(GString *paths, VmcGuest *guest, guint device)
{
    const VmcDeviceKindOps *ops = vmc_device_kind_ops(vmc_guest_config(guest, device)->kind);
    const VmcPciDevice *pci = ops->usb ? guest->usb : guest->pci_devices[device];

    if (!pci || !ops->boot_node.name)
        return;
    g_autofree char *rest = ops->boot_rest ? ops->boot_rest(guest, device) : g_strdup(ops->boot_node.rest);
    g_string_append_printf(paths, "%s/pci@i0cf8/%s@%x%s", paths->len ? "\n" : "", ops->boot_node.name,
                           pci->devfn >> 3, rest);
}

void vmc_guest_set_boot_order(VmcGuest *guest)
{
    g_autoptr(GArray) entries = g_array_new(FALSE, FALSE, sizeof(Entry));
    g_autoptr(GString) paths = g_string_new(NULL);

    for (guint i = 0; i < guest->config->devices->len; i++) {
        Entry entry = {boot_index(vmc_guest_config(guest, i)), i};
        if (entry.index)
            g_array_append_val(entries, entry);
    }
    g_array_sort(entries, by_index);
    for (guint i = 0; i < entries->len; i++)
        add_path(paths, guest, g_array_index(entries, Entry, i).device);
    if (paths->len)
        vmc_board_set_boot_order(guest->board, paths->str);
}
