/* Disks: virtio-blk and NVMe, and what all kinds of disks have in common. */
#include <string.h>
#include <sys/stat.h>

#include "base/i18n.h"
#include "machine/devices/kind.h"
#include "nvme/nvme.h"

#define BLOCK_ID_MAX   20u /* of virtio-blk and of NVMe */
#define SERIAL_CHARS   16u /* of one that nobody gave */
#define QUEUES_USUALLY 4u

/* UEFI firmware asks for two pairs of queues whatever there is, and drivers of others for one on each CPU. */
#define NVME_QUEUES_MIN     2u
#define NVME_QUEUES_USUALLY 8u

_Static_assert(BLOCK_ID_MAX == VMC_NVME_SERIAL_BYTES, "so it is");

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

bool vmc_device_is_disk(const VmcDeviceConfig *device)
{
    return device->kind == VMC_DEVICE_VIRTIO_BLOCK || device->kind == VMC_DEVICE_NVME ||
           device->kind == VMC_DEVICE_USB_STORAGE;
}

char *vmc_guest_disk_serial(const VmcDiskConfig *config)
{
    char *serial;

    if (config->id)
        return g_strdup(config->id);
    serial = g_compute_checksum_for_string(G_CHECKSUM_SHA256, config->path, -1);
    serial[SERIAL_CHARS] = '\0';
    return serial;
}

VmcDiskChanges *vmc_guest_disk_changes(VmcGuest *guest, guint index)
{
    VmcPciDevice *device = guest->pci_devices[index];

    switch (vmc_guest_config(guest, index)->kind) {
    case VMC_DEVICE_VIRTIO_BLOCK:
        return vmc_virtio_block_changes(device);
    case VMC_DEVICE_NVME:
        return vmc_nvme_changes(device);
    default:
        return NULL;
    }
}

/* Which file or device a path means, however it is written. */
static bool disk_identity(const VmcDeviceConfig *device, dev_t *dev, ino_t *ino)
{
    struct stat st;

    if (!vmc_device_is_disk(device) || !device->block.path || stat(device->block.path, &st) < 0)
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
                            _("“%s” is already devices[%u]; give each disk once, or make both read-only"),
                            device->block.path, i);
    }
}

/* ---- what virtio-blk and NVMe have in common ---- */

static void check_disk(VmcCheck *check, const VmcDeviceConfig *device)
{
    GError *error = NULL;
    VmcDisk *disk;

    if (!device->block.path || !*device->block.path) {
        vmc_check_fault(check, "path", _("no disk is given; give the path of a disk image or block device"));
    } else {
        disk = vmc_guest_open_disk(&device->block, &error);
        if (!disk)
            vmc_check_error(check, "path", error);
        vmc_disk_close(disk);
    }
    vmc_check_shared_disk(check, device);
}

enum { ACTION_RESIZE, ACTION_SNAPSHOT }; /* as in disk_actions */

static bool act_on_disk(VmcGuest *guest, guint index, unsigned action, const char *const *arguments,
                        GString *reply, GError **error)
{
    VmcDiskChanges *changes = vmc_guest_disk_changes(guest, index);
    guint64 mib;

    if (action == ACTION_SNAPSHOT)
        return vmc_disk_change_to_snapshot(changes, arguments[0], error);
    if (!g_ascii_string_to_unsigned(arguments[0], 10, 1, UINT64_MAX >> 20, &mib, NULL)) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                    _("“%s” is no size of a disk; give a number of MiB, more than it has"), arguments[0]);
        return false;
    }
    return vmc_disk_change_size(changes, mib << 20, error);
}

static const VmcAction disk_actions[] = {
    {"resize", "MIB", 1, 1, N_("makes the disk larger and tells the guest")},
    {"snapshot", "NAME", 1, 1, N_("keeps a qcow2 disk as it is now")},
};

static const char *const cache_names[] = {
    [VMC_CACHE_WRITE_BACK] = "writeback",
    [VMC_CACHE_WRITE_THROUGH] = "writethrough",
    [VMC_CACHE_UNSAFE] = "unsafe",
    NULL,
};

#define DISK_FIELDS(queues_min, queues_max)                                                                  \
    VMC_FIELD("path", "Path", PATH, block.path, .value = "FILE", .required = true),                          \
        VMC_FIELD("format", "Format", CHOICE, block.format, .choices = format_names),                        \
        VMC_FIELD("backing", "Backing", FLAG, block.backing),                                                \
        VMC_FIELD("deviceId", "Identifier", STRING, block.id, .value = "ID", .max = BLOCK_ID_MAX),           \
        VMC_FIELD("readonly", "ReadOnly", FLAG, block.readonly),                                             \
        VMC_FIELD("cache", "Cache", CHOICE, block.cache, .choices = cache_names),                            \
        VMC_FIELD("queues", "Queues", NUMBER, block.queues, .value = "N", .min = (queues_min),               \
                  .max = (queues_max), .automatic = true),                                                   \
        VMC_FIELD("bootIndex", "BootIndex", NUMBER, block.boot_index, .value = "N", .min = 1,                \
                  .max = VMC_BOOT_INDEX_MAX, .automatic = true)

static const VmcField disk_fields[] = {DISK_FIELDS(1, VMC_VIRTIO_BLOCK_QUEUES_MAX)};
static const VmcField nvme_fields[] = {DISK_FIELDS(NVME_QUEUES_MIN, VMC_NVME_QUEUES_MAX)};

/* ---- virtio-blk ---- */

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

const VmcDeviceKindOps vmc_kind_block = {
    .info = {.name = "virtio-blk",
             .key = "VirtioBlock",
             .help = N_("disk"),
             VMC_FIELDS(disk_fields),
             VMC_ACTIONS(disk_actions)},
    .pci = true,
    .boot_node = {"disk",
                  ""}, /* not "scsi": OVMF would then look for partitions only, and not on new disks */
    .check = check_disk,
    .make = make_block,
    .act = act_on_disk,
};

/* ---- NVMe ---- */

/* NVMe 1.4 s1.5: a serial number is ASCII, spaces behind it do not count. */
static bool is_serial(const char *id)
{
    size_t len = strlen(id);

    for (size_t i = 0; i < len; i++)
        if (!g_ascii_isprint(id[i]))
            return false;
    return len && id[0] != ' ' && id[len - 1] != ' ';
}

/* Drivers take two controllers with one serial number for two ways to one disk, and refuse the second. */
static void check_serial(VmcCheck *check, const VmcDeviceConfig *device)
{
    g_autofree char *serial = vmc_guest_disk_serial(&device->block);

    if (!is_serial(serial))
        vmc_check_fault(check, "deviceId",
                        _("“%s” is no serial number; give ASCII letters, digits and signs, with no space at "
                          "the beginning or end"),
                        serial);
    for (guint i = 0; i < check->index; i++) {
        const VmcDeviceConfig *before = vmc_check_device(check, i);

        if (before->kind != VMC_DEVICE_NVME || !before->block.path)
            continue;
        g_autofree char *other = vmc_guest_disk_serial(&before->block);
        if (strcmp(other, serial) == 0)
            vmc_check_fault(check, "deviceId",
                            _("“%s” is already that of devices[%u]; give each NVMe disk one of its own"),
                            serial, i);
    }
}

static void check_nvme(VmcCheck *check, const VmcDeviceConfig *device)
{
    check_disk(check, device);
    if (device->block.path)
        check_serial(check, device);
}

static bool make_nvme(VmcGuest *guest, guint index, GError **error)
{
    const VmcDiskConfig *config = &vmc_guest_config(guest, index)->block;
    g_autofree char *serial = vmc_guest_disk_serial(config);
    VmcNvmeParams params = {
        .memory = guest->memory,
        .io = guest->io,
        .hooks = &guest->hooks,
        .disk = vmc_guest_open_disk(config, error),
        .serial = serial,
        .queues = config->queues ? config->queues
                                 : CLAMP(guest->config->cpus, NVME_QUEUES_MIN, NVME_QUEUES_USUALLY),
        .cache = config->cache,
    };

    return params.disk && vmc_guest_add_pci(guest, index, vmc_nvme_new(&params), error);
}

/* A namespace and its EUI-64. OVMF (QemuBootOrderLib) takes the controller for what it is only by the name of
 * QEMU's, whatever stands in configuration space. */
static char *nvme_boot_rest(VmcGuest *guest, guint index)
{
    return g_strdup_printf("/namespace@1,%" G_GINT64_MODIFIER "x", vmc_nvme_eui64(guest->pci_devices[index]));
}

const VmcDeviceKindOps vmc_kind_nvme = {
    .info = {.name = "nvme",
             .key = "NVMExpress",
             .help = N_("disk for guests without virtio, NVMe"),
             VMC_FIELDS(nvme_fields),
             VMC_ACTIONS(disk_actions)},
    .pci = true,
    .boot_node = {.name = "pci8086,5845"},
    .boot_rest = nvme_boot_rest,
    .check = check_nvme,
    .make = make_nvme,
    .act = act_on_disk,
};
