/*
 * A snapshot of a machine: all disks it writes to, at one moment.
 *
 * The guest is held for it. What it had asked of a disk before is carried out before that disk becomes a
 * layer, and it asks for nothing meanwhile; so the snapshot is what the disks of a computer are after a power
 * failure, and a file system, volume group or database that lies on several of them finds them all of the
 * same age.
 *
 * All that can be known is looked at before the first disk is touched. Disks on USB are not part of it: a
 * stick is a thing that is carried elsewhere.
 */
#include <string.h>

#include "base/i18n.h"
#include "machine/devices/kind.h"
#include "vmcore/disk.h"
#include "vmcore/error.h"

static bool is_kept(const VmcDeviceConfig *device)
{
    return (device->kind == VMC_DEVICE_VIRTIO_BLOCK || device->kind == VMC_DEVICE_NVME) &&
           !device->block.readonly;
}

static bool check_disk(const char *path, VmcDiskFormat format, const char *name, GError **error)
{
    if (format != VMC_DISK_QCOW2)
        return vmc_machine_refuse(
            error, VMC_ERROR_CONFIG,
            _("Disk “%s” is a raw image, and only qcow2 images have snapshots: put such a one on top of it "
              "with “espalierctl disk clone”, or make it read-only"),
            path);
    g_autoptr(GPtrArray) list = vmc_snapshots_list(path, error);
    for (guint i = 0; list && i < list->len; i++) {
        const VmcSnapshot *snapshot = g_ptr_array_index(list, i);
        if (strcmp(snapshot->name, name) == 0)
            return vmc_machine_refuse(error, VMC_ERROR_CONFIG,
                                      _("Disk “%s” already has a snapshot “%s”; choose another name"), path,
                                      name);
    }
    return list != NULL;
}

/* The indices of the disks, if each of them can be kept under that name. */
static GArray *find_disks(const VmcGuest *guest, const char *name, GError **error)
{
    const VmcConfig *config = guest->config;
    g_autoptr(GArray) disks = g_array_new(FALSE, FALSE, sizeof(guint));

    for (guint i = 0; i < config->devices->len; i++) {
        const VmcDeviceConfig *device = g_ptr_array_index(config->devices, i);
        if (!is_kept(device))
            continue;
        if (!check_disk(device->block.path, device->block.format, name, error))
            return NULL;
        g_array_append_val(disks, i);
    }
    if (disks->len)
        return g_steal_pointer(&disks);
    vmc_machine_refuse(error, VMC_ERROR_CONFIG,
                       _("The machine has no disk that a snapshot could be taken of: a qcow2 image "
                         "that it writes to"));
    return NULL;
}

/* Says which disks have it all the same, since those stay as they are. */
static void add_taken(const VmcGuest *guest, const GArray *disks, guint taken, const char *name,
                      GError **error)
{
    g_autoptr(GString) paths = g_string_new(NULL);

    if (!taken || !error)
        return;
    for (guint i = 0; i < taken; i++)
        g_string_append_printf(paths, "%s“%s”", i ? ", " : "",
                               vmc_guest_config(guest, g_array_index(disks, guint, i))->block.path);
    GError *why = *error;
    *error = NULL;
    /* Translators: a snapshot, names of disks, and a sentence: why it is not whole. */
    g_set_error(error, why->domain, why->code,
                _("The snapshot “%s” is not whole; %s took it and can forget it, but: %s"), name, paths->str,
                why->message);
    g_error_free(why);
}

static bool take_all(VmcGuest *guest, const GArray *disks, const char *name, GError **error)
{
    for (guint i = 0; i < disks->len; i++) {
        VmcDiskChanges *disk = vmc_guest_disk_changes(guest, g_array_index(disks, guint, i));
        if (!vmc_disk_change_to_snapshot(disk, name, error)) {
            add_taken(guest, disks, i, name, error);
            return false;
        }
    }
    return true;
}

bool vmc_machine_take_snapshot(VmcMachine *machine, const char *name, GError **error)
{
    VmcMachineState state = vmc_machine_get_state(machine);
    bool runs = state == VMC_MACHINE_RUNNING;

    if (!machine->guest || (!runs && state != VMC_MACHINE_PAUSED))
        return vmc_machine_refuse(
            error, VMC_ERROR_STATE,
            _("A snapshot of a machine's disks is taken while it runs or is paused; it is %s"),
            vmc_machine_state_text(state));
    g_autoptr(GArray) disks = find_disks(machine->guest, name, error);
    if (!disks || (runs && !vmc_machine_pause(machine, error)))
        return false;
    bool good = take_all(machine->guest, disks, name, error);
    /* What was running goes on, whatever became of the snapshot. */
    return (!runs || vmc_machine_resume(machine, good ? error : NULL)) && good;
}
