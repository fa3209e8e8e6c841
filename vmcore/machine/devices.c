/* From each VmcDeviceConfig to a device on the board. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "block/disk.h"
#include "machine/private.h"
#include "virtio/devices.h"

/* Opens a log for appending; remembers whether that created it, so that a start that fails can undo it.
 * Without waiting, should it be a FIFO. */
static int open_log(VmcGuest *guest, const char *path, GError **error)
{
    int flags = O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    int fd = open(path, flags | O_CREAT | O_EXCL, 0666);

    if (fd >= 0)
        g_ptr_array_add(guest->created_logs, g_strdup(path));
    else if (errno == EEXIST)
        fd = open(path, flags);
    if (fd < 0)
        g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE, "The log file “%s” cannot be opened: %s", path,
                    g_strerror(errno));
    else
        g_array_append_val(guest->log_fds, fd);
    return fd;
}

static bool serial_fds(VmcGuest *guest, const VmcSerialConfig *serial, int *fd_in, int *fd_out,
                       GError **error)
{
    *fd_in = serial->fd_in;
    *fd_out = serial->fd_out;
    if (!serial->log_path)
        return true;
    *fd_in = -1;
    *fd_out = open_log(guest, serial->log_path, error);
    return *fd_out >= 0;
}

static bool add_pci(VmcGuest *guest, VmcPciDevice *device, VmcDeviceKind kind, GError **error)
{
    if (vmc_pci_bus_add(vmc_board_pci(guest->board), device, -1, 0))
        return true;
    device->ops->free(device);
    g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG, "There is no PCI slot left for a %s device; remove some",
                vmc_device_kind_name(kind));
    return false;
}

static bool add_uart(VmcGuest *guest, const VmcDeviceConfig *config, GError **error)
{
    int fd_in, fd_out;

    return serial_fds(guest, &config->serial, &fd_in, &fd_out, error) &&
           vmc_board_add_uart(guest->board, fd_in, fd_out, error);
}

static VmcPciDevice *make_pci(VmcGuest *guest, const VmcVirtioHost *host, const VmcDeviceConfig *config,
                              GError **error)
{
    VmcDisk *disk;
    int fd_in, fd_out;

    switch (config->kind) {
    case VMC_DEVICE_VIRTIO_CONSOLE:
        if (!serial_fds(guest, &config->serial, &fd_in, &fd_out, error))
            return NULL;
        return vmc_virtio_console_new(host, fd_in, fd_out);
    case VMC_DEVICE_VIRTIO_BLOCK:
        disk = vmc_disk_open_raw(config->block.path, config->block.readonly, error);
        return disk ? vmc_virtio_block_new(host, disk, config->block.id) : NULL;
    case VMC_DEVICE_VIRTIO_RNG:
        return vmc_virtio_rng_new(host);
    case VMC_DEVICE_VIRTIO_KEYBOARD:
        return vmc_virtio_keyboard_new(host);
    case VMC_DEVICE_VIRTIO_TABLET:
        return vmc_virtio_tablet_new(host);
    case VMC_DEVICE_UART:
    case VMC_DEVICE_FRAMEBUFFER:
        break;
    }
    g_set_error(error, VMC_ERROR, VMC_ERROR_INTERNAL, "A %s device is not a PCI device",
                vmc_device_kind_name(config->kind));
    return NULL;
}

static bool add_device(VmcGuest *guest, const VmcVirtioHost *host, const VmcDeviceConfig *config,
                       GError **error)
{
    VmcPciDevice *device;

    if (config->kind == VMC_DEVICE_FRAMEBUFFER) /* is memory, see build.c */
        return true;
    if (config->kind == VMC_DEVICE_UART)
        return add_uart(guest, config, error);
    device = make_pci(guest, host, config, error);
    if (!device || !add_pci(guest, device, config->kind, error))
        return false;
    if (config->kind == VMC_DEVICE_VIRTIO_KEYBOARD && !guest->keyboard)
        guest->keyboard = device;
    if (config->kind == VMC_DEVICE_VIRTIO_TABLET && !guest->tablet)
        guest->tablet = device;
    return true;
}

bool vmc_guest_add_devices(VmcGuest *guest, GError **error)
{
    VmcVirtioHost host = {guest->memory, guest->io};

    for (guint i = 0; i < guest->config->devices->len; i++)
        if (!add_device(guest, &host, g_ptr_array_index(guest->config->devices, i), error))
            return false;
    return true;
}
