/* A disk image or an installation disc becomes a new machine: a UEFI computer with what most systems know. */
#include <errno.h>
#include <fcntl.h>
#include <glib/gi18n.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>
#include <vmcore/disk.h>

#include "app/import_private.h"

#define MEMORY_WANTED (4ull << 30)
#define NEW_DISK_SIZE (64ull << 30)

/* Half of this computer at most, and no more than most systems need. */
static VmcConfig *plain_machine(EspBundle *to)
{
    VmcConfig *config = vmc_config_new();
    guint64 memory = (guint64)sysconf(_SC_PHYS_PAGES) * (guint64)sysconf(_SC_PAGESIZE);

    config->cpus = CLAMP(g_get_num_processors() / 2, 1, 4);
    config->memory = CLAMP(memory / 2, 512ull << 20, MEMORY_WANTED) >> 20 << 20;
    config->boot.kind = VMC_BOOT_EFI;
    config->boot.variable_store = esp_bundle_file(to, "nvram.fd");
    config->boot.create_variable_store = true;
    VmcDeviceConfig *screen = vmc_config_add_device(config, VMC_DEVICE_VIRTIO_GPU);
    screen->display.width = 1280;
    screen->display.height = 800;
    vmc_config_add_device(config, VMC_DEVICE_USB_KEYBOARD);
    vmc_config_add_device(config, VMC_DEVICE_USB_TABLET);
    vmc_config_add_device(config, VMC_DEVICE_VIRTIO_NET)->net.nat = true;
    vmc_config_add_device(config, VMC_DEVICE_VIRTIO_RNG);
    vmc_config_add_device(config, VMC_DEVICE_SPICE_AGENT);
    return config;
}

static void add_disk(VmcConfig *config, EspBundle *to, const char *name, VmcDiskFormat format)
{
    VmcDeviceConfig *disk = vmc_config_add_device(config, VMC_DEVICE_VIRTIO_BLOCK);

    disk->block.path = esp_bundle_file(to, name);
    disk->block.format = format;
    disk->block.id = g_strdup("disk");
}

static bool finish(EspBundle *to, VmcConfig *config)
{
    esp_bundle_set_config(to, config);
    vmc_config_free(config);
    return true;
}

/* The format is asked of the file only now, once, when the user has it imported. */
static bool look(const char *file, VmcDiskFormat *format, GError **error)
{
    g_autofree char *shown = g_filename_display_basename(file);
    VmcDiskInfo info;

    if (!vmc_disk_info(file, NULL, &info, error))
        return false;
    *format = strcmp(info.format, "qcow2") == 0 ? VMC_DISK_QCOW2 : VMC_DISK_RAW;
    g_autofree char *backing = g_strdup(info.backing);
    unsigned inside = info.snapshots;
    vmc_disk_info_clear(&info);
    if (backing) {
        g_set_error(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FORMAT,
                    _("“%s” cannot be imported: it lies on another image, “%s”. Make one of both first, with "
                      "“qemu-img convert -O qcow2”."),
                    shown, backing);
        return false;
    }
    if (inside)
        g_debug("%s: %u snapshots inside are kept, but not seen", file, inside);
    return true;
}

bool esp_import_disk(const char *file, EspBundle *to, EspJob *job, GError **error)
{
    VmcDiskFormat format;
    EspProgress progress = {.job = job, .total = esp_file_takes(file)};

    if (!look(file, &format, error))
        return false;
    const char *name = format == VMC_DISK_QCOW2 ? "disk.qcow2" : "disk.img";
    g_autofree char *target = esp_bundle_file(to, name);
    esp_job_set_stage(job, _("Copying"));
    if (!esp_copy_file(file, target, &progress, error))
        return false;
    g_chmod(target, 0600);
    VmcConfig *config = plain_machine(to);
    add_disk(config, to, name, format);
    return finish(to, config);
}

bool esp_import_disc(const char *file, EspBundle *to, EspJob *job, GError **error)
{
    const VmcDiskCreate params = {.size = NEW_DISK_SIZE};
    g_autofree char *target = esp_bundle_file(to, "disk.qcow2");

    esp_job_set_stage(job, _("Making a disk"));
    if (!vmc_disk_create(target, "qcow2", &params, error))
        return false;
    VmcConfig *config = plain_machine(to);
    add_disk(config, to, "disk.qcow2", VMC_DISK_QCOW2);
    VmcDeviceConfig *drive = vmc_config_add_device(config, VMC_DEVICE_USB_STORAGE);
    drive->block.path = g_strdup(file);
    drive->block.readonly = true;
    drive->block.cdrom = true;
    return finish(to, config);
}
