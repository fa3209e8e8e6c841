/*
 * Serial lines: the 16550s of the board, and the ports of virtio-serial: consoles, and named ports.
 *
 * All ports of a machine are in one virtio-serial device. Kinds that are ports have a `port` function; the
 * first of them in the list makes the device with all.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/webdav.h"
#include "base/i18n.h"
#include "base/unix_socket.h"
#include "machine/devices/kind.h"

/* ---- what can be wrong ---- */

static void check_log_path(VmcCheck *check, const char *path)
{
    static const char field[] = "logFilePath";
    g_autofree char *folder = g_path_get_dirname(path);
    struct stat st;

    if (!*path) {
        vmc_check_fault(check, field, _("the log file has no name; give a path"));
    } else if (stat(folder, &st) < 0 || !S_ISDIR(st.st_mode)) {
        vmc_check_fault(check, field, _("the folder of “%s” is not there; make “%s” or give another path"),
                        path, folder);
    } else if (stat(path, &st) == 0) {
        if (S_ISDIR(st.st_mode))
            vmc_check_fault(check, field, _("“%s” is a directory; give the path of a file"), path);
        else if (access(path, W_OK) < 0)
            vmc_check_fault(check, field, _("“%s” cannot be written: %s; give another path"), path,
                            g_strerror(errno));
    } else if (access(folder, W_OK) < 0) {
        vmc_check_fault(check, field, _("nothing can be created in “%s”: %s; give another path"), folder,
                        g_strerror(errno));
    }
}

/* Two serial lines that would get in each other's way. */
static void check_pair(VmcCheck *check, guint first, const VmcSerialConfig *before,
                       const VmcSerialConfig *serial)
{
    if (before->log_path && g_strcmp0(before->log_path, serial->log_path) == 0)
        vmc_check_fault(check, NULL, _("“%s” is already the log of devices[%u]; give each a file of its own"),
                        serial->log_path, first);
    if (before->socket_path && g_strcmp0(before->socket_path, serial->socket_path) == 0)
        vmc_check_fault(check, NULL, _("“%s” is already the socket of devices[%u]; give each its own"),
                        serial->socket_path, first);
    if (serial->fd_in >= 0 && before->fd_in == serial->fd_in)
        vmc_check_fault(check, NULL,
                        _("its input is already that of devices[%u]; only one device can read it"), first);
}

void vmc_check_socket_path(VmcCheck *check, const char *field, const char *path)
{
    g_autofree char *folder = g_path_get_dirname(path);
    struct stat st;

    if (!vmc_unix_path_fits(path))
        vmc_check_fault(check, field, _("“%s” is no name for a socket; give one of 1 to 107 bytes"), path);
    else if (stat(folder, &st) < 0 || !S_ISDIR(st.st_mode))
        vmc_check_fault(check, field, _("the folder of “%s” is not there; make “%s” or give another path"),
                        path, folder);
    else if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
        vmc_check_fault(check, field, _("“%s” exists and is not a socket; give another path"), path);
    else if (access(folder, W_OK) < 0)
        vmc_check_fault(check, field, _("nothing can be created in “%s”: %s; give another path"), folder,
                        g_strerror(errno));
}

static const char *port_name_of(const VmcDeviceConfig *device)
{
    switch (device->kind) {
    case VMC_DEVICE_VIRTIO_CONSOLE:
        return device->serial.name;
    case VMC_DEVICE_SPICE_AGENT:
        return VMC_AGENT_PORT_NAME;
    case VMC_DEVICE_SPICE_WEBDAV:
        return VMC_WEBDAV_PORT_NAME;
    default:
        return NULL;
    }
}

void vmc_check_port_name(VmcCheck *check, const char *name, const char *port_name)
{
    if (!*port_name || strlen(port_name) > 63 || !g_utf8_validate(port_name, -1, NULL) ||
        strpbrk(port_name, "/\n"))
        vmc_check_fault(check, name, _("“%s” is no name for a port; give one of 1 to 63 bytes without a “/”"),
                        port_name);
    for (guint i = 0; i < check->index; i++)
        if (g_strcmp0(port_name_of(vmc_check_device(check, i)), port_name) == 0)
            vmc_check_fault(check, name, _("“%s” is already the name of devices[%u]; give each its own"),
                            port_name, i);
}

static void check_serial(VmcCheck *check, const VmcDeviceConfig *device)
{
    const VmcSerialConfig *serial = &device->serial;
    bool has_fd = serial->fd_in >= 0 || serial->fd_out >= 0;
    bool is_port = device->kind == VMC_DEVICE_VIRTIO_CONSOLE;
    unsigned places = (serial->log_path != NULL) + (serial->socket_path != NULL) + has_fd;

    if (places != 1)
        vmc_check_fault(
            check, NULL, "%s",
            places && is_port
                ? _("the serial line goes to several places; give either a log file, a socket or descriptors")
            : places  ? _("the serial line goes to several places; give either a log file or descriptors")
            : is_port ? _("the serial line goes nowhere; give either a log file, a socket or descriptors")
                      : _("the serial line goes nowhere; give either a log file or descriptors"));
    if (serial->log_path)
        check_log_path(check, serial->log_path);
    if (serial->socket_path)
        vmc_check_socket_path(check, "socketPath", serial->socket_path);
    if (serial->name && is_port)
        vmc_check_port_name(check, "name", serial->name);
    if (serial->fd_in >= 0 && fcntl(serial->fd_in, F_GETFD) < 0)
        vmc_check_fault(check, NULL, _("its input, descriptor %d, is not open"), serial->fd_in);
    if (serial->fd_out >= 0 && fcntl(serial->fd_out, F_GETFD) < 0)
        vmc_check_fault(check, NULL, _("its output, descriptor %d, is not open"), serial->fd_out);
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
        g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE, _("The log file “%s” cannot be opened: %s"), path,
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

static bool make_console_port(VmcGuest *guest, guint index, VmcConsolePort *port, GError **error)
{
    const VmcSerialConfig *serial = &vmc_guest_config(guest, index)->serial;
    int fd_in, fd_out;

    port->name = serial->name;
    port->console = !serial->name;
    if (serial->socket_path)
        port->port = vmc_port_socket_new(guest->io, serial->socket_path, error);
    else if (serial_fds(guest, serial, &fd_in, &fd_out, error))
        port->port = vmc_port_fd_new(guest->io, fd_in, fd_out);
    return port->port != NULL;
}

static bool is_port(VmcGuest *guest, guint index)
{
    const VmcDeviceKindOps *ops = vmc_device_kind_ops(vmc_guest_config(guest, index)->kind);

    return ops && ops->port;
}

bool vmc_guest_make_serial(VmcGuest *guest, guint first, GError **error)
{
    VmcVirtioHost host = vmc_guest_virtio_host(guest);
    VmcConsolePort ports[VMC_PORTS_MAX] = {0};
    unsigned n = 0;
    bool good = true;

    if (guest->pci_devices[first])
        return true;
    for (guint i = first; good && i < guest->config->devices->len && n < VMC_PORTS_MAX; i++)
        if (is_port(guest, i)) {
            good = vmc_device_kind_ops(vmc_guest_config(guest, i)->kind)->port(guest, i, &ports[n], error);
            n += good;
        }
    if (!good) {
        while (n)
            vmc_port_free(ports[--n].port);
        return false;
    }
    if (!vmc_guest_add_pci(guest, first, vmc_virtio_serial_new(&host, ports, n), error))
        return false;
    for (guint i = first; i < guest->config->devices->len; i++)
        if (is_port(guest, i))
            guest->pci_devices[i] = guest->pci_devices[first];
    return true;
}

void vmc_machine_set_console_size(VmcMachine *machine, unsigned number, unsigned columns, unsigned rows)
{
    VmcGuest *guest = vmc_machine_lock_guest(machine);

    if (!guest)
        return;
    for (guint i = 0; i < guest->config->devices->len; i++) {
        VmcPciDevice *device = vmc_guest_pci(guest, i, VMC_DEVICE_VIRTIO_CONSOLE);
        if (device) {
            vmc_virtio_console_set_size(device, number, columns, rows);
            break;
        }
    }
    vmc_machine_unlock_guest(machine);
}

/* The number of the console that the index-th device is; false: it is a named port. */
static bool console_number(const VmcGuest *guest, guint index, unsigned *number)
{
    *number = 0;
    for (guint i = 0; i < index; i++) {
        const VmcDeviceConfig *before = vmc_guest_config(guest, i);
        *number += before->kind == VMC_DEVICE_VIRTIO_CONSOLE && !before->serial.name;
    }
    return !vmc_guest_config(guest, index)->serial.name;
}

static bool parse_characters(const char *word, unsigned *value)
{
    guint64 parsed;
    bool good = g_ascii_string_to_unsigned(word, 10, 1, 65535, &parsed, NULL);

    if (good)
        *value = (unsigned)parsed;
    return good;
}

static bool act_on_console(VmcGuest *guest, guint index, unsigned action, const char *const *arguments,
                           GString *reply, GError **error)
{
    unsigned number, columns, rows;

    if (!console_number(guest, index, &number)) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_STATE, _("The port “%s” has no size; only consoles have"),
                    vmc_guest_config(guest, index)->serial.name);
        return false;
    }
    if (!parse_characters(arguments[0], &columns) || !parse_characters(arguments[1], &rows)) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                    _("“%s %s” is no size of a console; give columns and rows, 1 to 65535 each"),
                    arguments[0], arguments[1]);
        return false;
    }
    vmc_virtio_console_set_size(guest->pci_devices[index], number, columns, rows);
    return true;
}

static const VmcAction console_actions[] = {
    {"size", "COLUMNS ROWS", 2, 2, N_("tells the guest the size of the terminal")},
};

static const VmcField uart_fields[] = {
    VMC_FIELD("stdio", NULL, STDIO, serial, .one_of = 1),
    VMC_FIELD("logFilePath", "LogFile", PATH, serial.log_path, .value = "FILE", .one_of = 1),
};

static const VmcField console_fields[] = {
    VMC_FIELD("stdio", NULL, STDIO, serial, .one_of = 1),
    VMC_FIELD("logFilePath", "LogFile", PATH, serial.log_path, .value = "FILE", .one_of = 1),
    VMC_FIELD("socketPath", "Socket", PATH, serial.socket_path, .value = "SOCKET", .one_of = 1),
    VMC_FIELD("name", "PortName", STRING, serial.name, .value = "NAME"),
};

const VmcDeviceKindOps vmc_kind_uart = {
    .info = {.name = "uart",
             .key = "UART",
             .help = N_("serial port ttyS0, ttyS1, ..."),
             VMC_FIELDS(uart_fields)},
    .check = check_serial,
    .make = make_uart,
};

const VmcDeviceKindOps vmc_kind_console = {
    .info = {.name = "virtio-serial",
             .key = "VirtioConsole",
             .help = N_("console hvc0, hvc1, ..., or a port with a name"),
             VMC_FIELDS(console_fields),
             VMC_ACTIONS(console_actions)},
    .pci = true,
    .check = check_serial,
    .make = vmc_guest_make_serial,
    .port = make_console_port,
    .act = act_on_console,
};
