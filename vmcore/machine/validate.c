/*
 * Everything that is wrong with a configuration, at once.
 *
 * Each check appends a VmcFault that names the field and says what would be right; none stops the others.
 * Files are opened and closed again, disks even locked for a moment, so that what passes here nearly always
 * starts; what changes between now and then is reported by the start itself, in the same words.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block/disk.h"
#include "boot/bzimage.h"
#include "machine/initrd.h"
#include "vmcore/config.h"

#define MIB               ((uint64_t)1 << 20)
#define UARTS_MAX         4u
#define FRAMEBUFFER_MIN_W 320u
#define FRAMEBUFFER_MIN_H 200u
#define FRAMEBUFFER_MAX   8192u
#define BLOCK_ID_MAX      20u

static void fault_free(gpointer data)
{
    VmcFault *fault = data;

    g_free(fault->field);
    g_free(fault->message);
    g_free(fault);
}

static void G_GNUC_PRINTF(3, 4) add_fault(GPtrArray *faults, const char *field, const char *format, ...)
{
    VmcFault *fault = g_new0(VmcFault, 1);
    va_list args;

    va_start(args, format);
    fault->field = g_strdup(field);
    fault->message = g_strdup_vprintf(format, args);
    va_end(args);
    g_ptr_array_add(faults, fault);
}

static void add_error(GPtrArray *faults, const char *field, GError *error)
{
    add_fault(faults, field, "%s", error->message);
    g_error_free(error);
}

static void check_cpus(GPtrArray *faults, const VmcConfig *config)
{
    if (config->cpus < 1 || config->cpus > VMC_CPUS_MAX)
        add_fault(faults, "cpus", "a machine cannot have %u CPUs; give 1 to %u", config->cpus, VMC_CPUS_MAX);
    if (config->cpu != VMC_CPU_AUTO && config->cpu != VMC_CPU_KVM && config->cpu != VMC_CPU_SOFT)
        add_fault(faults, "cpu", "%d is not a kind of CPU; give auto, kvm or soft", (int)config->cpu);
}

static void check_memory(GPtrArray *faults, const VmcConfig *config)
{
    uint64_t host = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t mib = config->memory / MIB;

    if (config->memory % MIB)
        add_fault(faults, "memory",
                  "%" G_GUINT64_FORMAT " bytes is not a whole number of MiB; give a multiple of 1 MiB",
                  config->memory);
    else if (config->memory < VMC_MEMORY_MIN)
        add_fault(faults, "memory",
                  "%" G_GUINT64_FORMAT " MiB is too little to boot; give at least %" G_GUINT64_FORMAT " MiB",
                  mib, (uint64_t)(VMC_MEMORY_MIN / MIB));
    else if (config->memory > host)
        add_fault(faults, "memory",
                  "%" G_GUINT64_FORMAT " MiB is more than this computer has; give at most %" G_GUINT64_FORMAT
                  " MiB",
                  mib, host / MIB);
}

/* `cmdline_max` is set if the kernel says it. */
static void check_kernel(GPtrArray *faults, const VmcConfig *config, unsigned *cmdline_max)
{
    const char *path = config->boot.kernel;
    GError *error = NULL;
    VmcBzImage image;
    uint64_t size, end;
    int fd;

    if (!path || !*path) {
        add_fault(faults, "boot.kernel", "no kernel is given; give the path of a bzImage");
        return;
    }
    fd = vmc_boot_file_open("kernel", path, &size, &error);
    if (fd < 0 || !vmc_bzimage_read(&image, fd, path, &error)) {
        add_error(faults, "boot.kernel", error);
    } else {
        *cmdline_max = image.cmdline_max;
        end = image.load_address + image.memory_size;
        if (end > config->memory && config->memory >= VMC_MEMORY_MIN)
            add_fault(faults, "memory",
                      "the kernel “%s” needs %" G_GUINT64_FORMAT
                      " MiB to unpack itself; give at least so much",
                      path, (end + MIB - 1) / MIB);
    }
    if (fd >= 0)
        close(fd);
}

static void check_boot(GPtrArray *faults, const VmcConfig *config)
{
    unsigned cmdline_max = 0;
    GError *error = NULL;

    if (config->boot.kind != VMC_BOOT_LINUX) {
        add_fault(faults, "boot", "there is nothing to boot; give a Linux kernel");
        return;
    }
    check_kernel(faults, config, &cmdline_max);
    if (config->boot.initrd && !vmc_initrd_check(config->boot.initrd, config->memory, &error))
        add_error(faults, "boot.initrd", error);
    if (config->boot.cmdline && cmdline_max && strlen(config->boot.cmdline) > cmdline_max)
        add_fault(faults, "boot.cmdline", "the command line has %zu bytes; this kernel takes at most %u",
                  strlen(config->boot.cmdline), cmdline_max);
}

static void check_log_path(GPtrArray *faults, const char *field, const char *path)
{
    g_autofree char *folder = g_path_get_dirname(path);
    struct stat st;

    if (!*path) {
        add_fault(faults, field, "the log file has no name; give a path");
    } else if (stat(folder, &st) < 0 || !S_ISDIR(st.st_mode)) {
        add_fault(faults, field, "the folder of “%s” is not there; make “%s” or give another path", path,
                  folder);
    } else if (stat(path, &st) == 0) {
        if (S_ISDIR(st.st_mode))
            add_fault(faults, field, "“%s” is a directory; give the path of a file", path);
        else if (access(path, W_OK) < 0)
            add_fault(faults, field, "“%s” cannot be written: %s; give another path", path,
                      g_strerror(errno));
    } else if (access(folder, W_OK) < 0) {
        add_fault(faults, field, "nothing can be created in “%s”: %s; give another path", folder,
                  g_strerror(errno));
    }
}

static void check_serial(GPtrArray *faults, guint index, const VmcSerialConfig *serial)
{
    g_autofree char *field = g_strdup_printf("devices[%u]", index);
    g_autofree char *log_field = g_strdup_printf("devices[%u].logFilePath", index);
    bool has_fd = serial->fd_in >= 0 || serial->fd_out >= 0;

    if (!serial->log_path == !has_fd)
        add_fault(faults, field, "the serial line goes %s; give either a log file or descriptors",
                  has_fd ? "to two places" : "nowhere");
    if (serial->log_path)
        check_log_path(faults, log_field, serial->log_path);
    if (serial->fd_in >= 0 && fcntl(serial->fd_in, F_GETFD) < 0)
        add_fault(faults, field, "its input, descriptor %d, is not open", serial->fd_in);
    if (serial->fd_out >= 0 && fcntl(serial->fd_out, F_GETFD) < 0)
        add_fault(faults, field, "its output, descriptor %d, is not open", serial->fd_out);
}

static void check_block(GPtrArray *faults, guint index, const VmcDeviceConfig *device)
{
    g_autofree char *path_field = g_strdup_printf("devices[%u].path", index);
    g_autofree char *id_field = g_strdup_printf("devices[%u].deviceId", index);
    GError *error = NULL;
    VmcDisk *disk;

    if (!device->block.path || !*device->block.path) {
        add_fault(faults, path_field, "no disk is given; give the path of a disk image or block device");
    } else {
        disk = vmc_disk_open_raw(device->block.path, device->block.readonly, &error);
        if (!disk)
            add_error(faults, path_field, error);
        vmc_disk_close(disk);
    }
    if (device->block.id && strlen(device->block.id) > BLOCK_ID_MAX)
        add_fault(faults, id_field, "“%s” has %zu bytes; give at most %u", device->block.id,
                  strlen(device->block.id), BLOCK_ID_MAX);
}

static void check_framebuffer(GPtrArray *faults, guint index, const VmcDeviceConfig *device)
{
    g_autofree char *field = g_strdup_printf("devices[%u]", index);
    unsigned width = device->framebuffer.width, height = device->framebuffer.height;

    if (width < FRAMEBUFFER_MIN_W || height < FRAMEBUFFER_MIN_H || width > FRAMEBUFFER_MAX ||
        height > FRAMEBUFFER_MAX)
        add_fault(faults, field, "a display cannot be %u by %u pixels; give %u by %u to %u by %u", width,
                  height, FRAMEBUFFER_MIN_W, FRAMEBUFFER_MIN_H, FRAMEBUFFER_MAX, FRAMEBUFFER_MAX);
}

/* Which file or device a path means, however it is written. */
static bool disk_identity(const VmcDeviceConfig *device, dev_t *dev, ino_t *ino)
{
    struct stat st;

    if (device->kind != VMC_DEVICE_VIRTIO_BLOCK || !device->block.path || stat(device->block.path, &st) < 0)
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

static const VmcSerialConfig *serial_of(const VmcDeviceConfig *device)
{
    return device->kind == VMC_DEVICE_UART || device->kind == VMC_DEVICE_VIRTIO_CONSOLE ? &device->serial
                                                                                        : NULL;
}

/* Two devices that would get in each other's way. */
static void check_pair(GPtrArray *faults, guint first, const VmcDeviceConfig *a, guint index,
                       const VmcDeviceConfig *b)
{
    g_autofree char *field = g_strdup_printf("devices[%u]", index);
    const VmcSerialConfig *serial_a = serial_of(a), *serial_b = serial_of(b);

    if (same_disk(a, b) && !(a->block.readonly && b->block.readonly))
        add_fault(faults, field, "“%s” is already devices[%u]; give each disk once, or make both read-only",
                  b->block.path, first);
    if (!serial_a || !serial_b)
        return;
    if (serial_a->log_path && g_strcmp0(serial_a->log_path, serial_b->log_path) == 0)
        add_fault(faults, field, "“%s” is already the log of devices[%u]; give each a file of its own",
                  serial_b->log_path, first);
    if (serial_b->fd_in >= 0 && serial_a->fd_in == serial_b->fd_in)
        add_fault(faults, field, "its input is already that of devices[%u]; only one device can read it",
                  first);
}

static void check_device(GPtrArray *faults, guint index, const VmcDeviceConfig *device)
{
    switch (device->kind) {
    case VMC_DEVICE_UART:
    case VMC_DEVICE_VIRTIO_CONSOLE:
        check_serial(faults, index, &device->serial);
        break;
    case VMC_DEVICE_VIRTIO_BLOCK:
        check_block(faults, index, device);
        break;
    case VMC_DEVICE_FRAMEBUFFER:
        check_framebuffer(faults, index, device);
        break;
    case VMC_DEVICE_VIRTIO_RNG:
    case VMC_DEVICE_VIRTIO_KEYBOARD:
    case VMC_DEVICE_VIRTIO_TABLET:
        break;
    }
}

static void check_counts(GPtrArray *faults, const VmcConfig *config)
{
    unsigned uarts = 0, displays = 0, pci = 0;

    for (guint i = 0; i < config->devices->len; i++) {
        const VmcDeviceConfig *device = g_ptr_array_index(config->devices, i);

        if (device->kind == VMC_DEVICE_UART)
            uarts++;
        else if (device->kind == VMC_DEVICE_FRAMEBUFFER)
            displays++;
        else
            pci++;
    }
    if (uarts > UARTS_MAX)
        add_fault(faults, "devices", "%u devices of kind uart are too many; give at most %u", uarts,
                  UARTS_MAX);
    if (displays > 1)
        add_fault(faults, "devices", "%u displays are too many; give at most one", displays);
    if (pci > VMC_PCI_DEVICES_MAX)
        add_fault(faults, "devices", "%u virtio devices are too many; give at most %u", pci,
                  VMC_PCI_DEVICES_MAX);
}

GPtrArray *vmc_config_validate(const VmcConfig *config)
{
    GPtrArray *faults = g_ptr_array_new_with_free_func(fault_free);

    check_cpus(faults, config);
    check_memory(faults, config);
    check_boot(faults, config);
    for (guint i = 0; i < config->devices->len; i++) {
        const VmcDeviceConfig *device = g_ptr_array_index(config->devices, i);

        check_device(faults, i, device);
        for (guint j = 0; j < i; j++)
            check_pair(faults, j, g_ptr_array_index(config->devices, j), i, device);
    }
    check_counts(faults, config);
    return faults;
}
