/* Serial lines: the 16550s of the board and virtio consoles. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "machine/devices/kind.h"

/* ---- what can be wrong ---- */

static void check_log_path(VmcCheck *check, const char *path)
{
    static const char field[] = "logFilePath";
    g_autofree char *folder = g_path_get_dirname(path);
    struct stat st;

    if (!*path) {
        vmc_check_fault(check, field, "the log file has no name; give a path");
    } else if (stat(folder, &st) < 0 || !S_ISDIR(st.st_mode)) {
        vmc_check_fault(check, field, "the folder of “%s” is not there; make “%s” or give another path", path,
                        folder);
    } else if (stat(path, &st) == 0) {
        if (S_ISDIR(st.st_mode))
            vmc_check_fault(check, field, "“%s” is a directory; give the path of a file", path);
        else if (access(path, W_OK) < 0)
            vmc_check_fault(check, field, "“%s” cannot be written: %s; give another path", path,
                            g_strerror(errno));
    } else if (access(folder, W_OK) < 0) {
        vmc_check_fault(check, field, "nothing can be created in “%s”: %s; give another path", folder,
                        g_strerror(errno));
    }
}

/* Two serial lines that would get in each other's way. */
static void check_pair(VmcCheck *check, guint first, const VmcSerialConfig *before,
                       const VmcSerialConfig *serial)
{
    if (before->log_path && g_strcmp0(before->log_path, serial->log_path) == 0)
        vmc_check_fault(check, NULL, "“%s” is already the log of devices[%u]; give each a file of its own",
                        serial->log_path, first);
    if (serial->fd_in >= 0 && before->fd_in == serial->fd_in)
        vmc_check_fault(check, NULL, "its input is already that of devices[%u]; only one device can read it",
                        first);
}

static void check_serial(VmcCheck *check, const VmcDeviceConfig *device)
{
    const VmcSerialConfig *serial = &device->serial;
    bool has_fd = serial->fd_in >= 0 || serial->fd_out >= 0;

    if (!serial->log_path == !has_fd)
        vmc_check_fault(check, NULL, "the serial line goes %s; give either a log file or descriptors",
                        has_fd ? "to two places" : "nowhere");
    if (serial->log_path)
        check_log_path(check, serial->log_path);
    if (serial->fd_in >= 0 && fcntl(serial->fd_in, F_GETFD) < 0)
        vmc_check_fault(check, NULL, "its input, descriptor %d, is not open", serial->fd_in);
    if (serial->fd_out >= 0 && fcntl(serial->fd_out, F_GETFD) < 0)
        vmc_check_fault(check, NULL, "its output, descriptor %d, is not open", serial->fd_out);
    for (guint i = 0; i < check->index; i++) {
        const VmcDeviceConfig *before = vmc_check_device(check, i);

        if (before->kind == VMC_DEVICE_UART || before->kind == VMC_DEVICE_VIRTIO_CONSOLE)
            check_pair(check, i, &before->serial, serial);
    }
}

/* ---- making them ---- */

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

static bool make_uart(VmcGuest *guest, guint index, GError **error)
{
    int fd_in, fd_out;

    return serial_fds(guest, &vmc_guest_config(guest, index)->serial, &fd_in, &fd_out, error) &&
           vmc_board_add_uart(guest->board, fd_in, fd_out, error);
}

static bool make_console(VmcGuest *guest, guint index, GError **error)
{
    VmcVirtioHost host = vmc_guest_virtio_host(guest);
    int fd_in, fd_out;

    return serial_fds(guest, &vmc_guest_config(guest, index)->serial, &fd_in, &fd_out, error) &&
           vmc_guest_add_pci(guest, index, vmc_virtio_console_new(&host, fd_in, fd_out), error);
}

static const VmcField fields[] = {
    VMC_FIELD("stdio", NULL, STDIO, serial, .one_of = 1),
    VMC_FIELD("logFilePath", "LogFile", PATH, serial.log_path, .value = "FILE", .one_of = 1),
};

const VmcDeviceKindOps vmc_kind_uart = {
    .info = {.name = "uart", .key = "UART", .help = "serial port ttyS0, ttyS1, ...", VMC_FIELDS(fields)},
    .check = check_serial,
    .make = make_uart,
};

const VmcDeviceKindOps vmc_kind_console = {
    .info = {.name = "virtio-serial",
             .key = "VirtioConsole",
             .help = "console hvc0, hvc1, ...",
             VMC_FIELDS(fields)},
    .pci = true,
    .check = check_serial,
    .make = make_console,
};
