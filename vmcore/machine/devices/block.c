/* Disks: virtio-blk, and what all kinds of disks have in common. */
#include <string.h>
#include <sys/stat.h>

#include "machine/devices/kind.h"

#define BLOCK_ID_MAX   20u
#define QUEUES_USUALLY 4u

/* As vmc_disk_open calls them. */
static const char *const format_names[] = {[VMC_DISK_RAW] = "raw", [VMC_DISK_QCOW2] = "qcow2", NULL};

/* ---- disks of any kind ---- */

VmcDisk *vmc_guest_open_disk(const VmcDiskConfig *config, GError **error)
{
    VmcDiskOpen params = {
        .path = config->path,
        .format = format_names[config->format],
        .readonly = config->readonly,
        .backing = config->backing,
    };

    return vmc_disk_open(&params, error);
}

static bool is_disk(const VmcDeviceConfig *device)
{
    return device->kind == VMC_DEVICE_VIRTIO_BLOCK || device->kind == VMC_DEVICE_USB_STORAGE;
}

/* Which file or device a path means, however it is written. */
static bool disk_identity(const VmcDeviceConfig *device, dev_t *dev, ino_t *ino)
{
    struct stat st;

    if (!is_disk(device) || !device->block.path || stat(device->block.path, &st) < 0)
        return false;
    *dev = S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev;
    *ino = S_ISBLK(st.st_mode) ? 0 : st.st_ino;
    return true;
}

static bool same_disk(const VmcDeviceConfig *a, const VmcDeviceConfig *b)
{
    dev_t dev_a, dev_b;
    ino_t ino_a, ino_b;

    return disk_identity(a, &dev_a, &ino_a) && disk_identity(b, &dev_b, &ino_b) && dev_a == dev_b &&
           ino_a == ino_b;
}

void vmc_check_shared_disk(VmcCheck *check, const VmcDeviceConfig *device)
{
    for (guint i = 0; i < check->index; i++) {
        const VmcDeviceConfig *before = vmc_check_device(check, i);

        if (same_disk(before, device) && !(before->block.readonly && device->block.readonly))
            vmc_check_fault(check, NULL,
                            "“%s” is already devices[%u]; give each disk once, or make both read-only",
                            device->block.path, i);
    }
}

/* ---- virtio-blk ---- */

static void check_block(VmcCheck *check, const VmcDeviceConfig *device)
{
    GError *error = NULL;
    VmcDisk *disk;

    if (!device->block.path || !*device->block.path) {
        vmc_check_fault(check, "path", "no disk is given; give the path of a disk image or block device");
    } else {
        disk = vmc_guest_open_disk(&device->block, &error);
        if (!disk)
            vmc_check_error(check, "path", error);
        vmc_disk_close(disk);
    }
    if (device->block.id && strlen(device->block.id) > BLOCK_ID_MAX)
        vmc_check_fault(check, "deviceId", "“%s” has %zu bytes; give at most %u", device->block.id,
                        strlen(device->block.id), BLOCK_ID_MAX);
    if (device->block.queues > VMC_VIRTIO_BLOCK_QUEUES_MAX)
        vmc_check_fault(check, "queues",
                        "a disk cannot have %u queues; give 1 to %u, or none for as many as fit",
                        device->block.queues, VMC_VIRTIO_BLOCK_QUEUES_MAX);
    vmc_check_shared_disk(check, device);
}

static bool make_block(VmcGuest *guest, guint index, GError **error)
{
    const VmcDeviceConfig *config = vmc_guest_config(guest, index);
    VmcVirtioHost host = vmc_guest_virtio_host(guest);
    VmcVirtioBlockParams params = {
        .disk = vmc_guest_open_disk(&config->block, error),
        .id = config->block.id,
        .queues = config->block.queues ? config->block.queues : MIN(guest->config->cpus, QUEUES_USUALLY),
        .cache = config->block.cache,
    };

    return params.disk && vmc_guest_add_pci(guest, index, vmc_virtio_block_new(&host, &params), error);
}

enum { ACTION_RESIZE, ACTION_SNAPSHOT }; /* as in block_actions */

static bool act_on_block(VmcGuest *guest, guint index, unsigned action, const char *const *arguments,
                         GString *reply, GError **error)
{
    guint64 mib;

    if (action == ACTION_SNAPSHOT)
        return vmc_disk_change_to_snapshot(vmc_virtio_block_changes(guest->pci_devices[index]), arguments[0],
                                           error);
    if (!g_ascii_string_to_unsigned(arguments[0], 10, 1, UINT64_MAX >> 20, &mib, NULL)) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                    "“%s” is no size of a disk; give a number of MiB, more than it has", arguments[0]);
        return false;
    }
    return vmc_disk_change_size(vmc_virtio_block_changes(guest->pci_devices[index]), mib << 20, error);
}

static const VmcAction block_actions[] = {
    {"resize", "MIB", 1, 1, "makes the disk larger and tells the guest"},
    {"snapshot", "NAME", 1, 1, "keeps a qcow2 disk as it is now"},
};

static const char *const cache_names[] = {
    [VMC_CACHE_WRITE_BACK] = "writeback",
    [VMC_CACHE_WRITE_THROUGH] = "writethrough",
    [VMC_CACHE_UNSAFE] = "unsafe",
    NULL,
};

static const VmcField block_fields[] = {
    VMC_FIELD("path", "Path", PATH, block.path, .value = "FILE", .required = true),
    VMC_FIELD("format", "Format", CHOICE, block.format, .choices = format_names),
    VMC_FIELD("backing", "Backing", FLAG, block.backing),
    VMC_FIELD("deviceId", "Identifier", STRING, block.id, .value = "ID"),
    VMC_FIELD("readonly", "ReadOnly", FLAG, block.readonly),
    VMC_FIELD("cache", "Cache", CHOICE, block.cache, .choices = cache_names),
    VMC_FIELD("queues", "Queues", NUMBER, block.queues, .value = "N"),
    VMC_FIELD("bootIndex", "BootIndex", NUMBER, block.boot_index, .value = "N"),
};

const VmcDeviceKindOps vmc_kind_block = {
    .info = {.name = "virtio-blk",
             .key = "VirtioBlock",
             .help = "disk",
             VMC_FIELDS(block_fields),
             VMC_ACTIONS(block_actions)},
    .pci = true,
    .boot_node = {"scsi", "/disk@0,0"},
    .check = check_block,
    .make = make_block,
    .act = act_on_block,
};
