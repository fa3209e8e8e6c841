/* Sockets between guest and host: all entries of a configuration are ports of one device. */
#include "base/i18n.h"
#include "base/unix_socket.h"
#include "machine/devices/kind.h"

#define PORT_ANY 0xffffffffu /* VMADDR_PORT_ANY */

static void check_pair(VmcCheck *check, guint first, const VmcVsockConfig *before,
                       const VmcVsockConfig *vsock)
{
    if (before->port == vsock->port && before->connect == vsock->connect)
        vmc_check_fault(check, "port", _("devices[%u] has port %u, too; give each its own"), first,
                        vsock->port);
    if (vsock->connect && before->connect && g_strcmp0(before->path, vsock->path) == 0)
        vmc_check_fault(check, "socketURL", _("“%s” is already the socket of devices[%u]; give each its own"),
                        vsock->path, first);
}

static void check_vsock(VmcCheck *check, const VmcDeviceConfig *device)
{
    const VmcVsockConfig *vsock = &device->vsock;

    if (vsock->listen && vsock->connect)
        vmc_check_fault(check, NULL, _("a port either connects or listens; give one of the two"));
    if (!vsock->path)
        vmc_check_fault(check, "socketURL", _("the port leads nowhere; give the path of a Unix socket"));
    else if (vsock->connect)
        vmc_check_socket_path(check, "socketURL", vsock->path);
    else if (!vmc_unix_path_fits(vsock->path))
        vmc_check_fault(check, "socketURL", _("“%s” is no name for a socket; give one of 1 to 107 bytes"),
                        vsock->path);
    for (guint i = 0; i < check->index; i++)
        if (vmc_check_device(check, i)->kind == VMC_DEVICE_VIRTIO_VSOCK)
            check_pair(check, i, &vmc_check_device(check, i)->vsock, vsock);
}

/* With the first entry. */
static bool make_vsock(VmcGuest *guest, guint first, GError **error)
{
    VmcVirtioHost host = vmc_guest_virtio_host(guest);
    g_autoptr(GArray) ports = g_array_new(FALSE, FALSE, sizeof(VmcVsockPort));
    g_autoptr(GError) problem = NULL;

    if (guest->pci_devices[first])
        return true;
    for (guint i = first; i < guest->config->devices->len; i++) {
        const VmcDeviceConfig *device = vmc_guest_config(guest, i);
        VmcVsockPort port = {device->vsock.port, device->vsock.path, device->vsock.connect};
        if (device->kind == VMC_DEVICE_VIRTIO_VSOCK)
            g_array_append_val(ports, port);
    }
    VmcPciDevice *pci =
        vmc_virtio_vsock_new(&host, 0, (const VmcVsockPort *)ports->data, ports->len, &problem);
    if (problem) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return false;
    }
    if (!vmc_guest_add_pci(guest, first, pci, error))
        return false;
    for (guint i = first; i < guest->config->devices->len; i++)
        if (vmc_guest_config(guest, i)->kind == VMC_DEVICE_VIRTIO_VSOCK)
            guest->pci_devices[i] = pci;
    return true;
}

static const VmcField fields[] = {
    VMC_FIELD("port", "Port", NUMBER, vsock.port, .value = "N", .required = true, .min = 1,
              .max = PORT_ANY - 1),
    VMC_FIELD("socketURL", "Socket", PATH, vsock.path, .value = "SOCKET", .required = true,
              .prefix = "unix:"),
    VMC_FIELD("listen", "Listen", FLAG, vsock.listen),
    VMC_FIELD("connect", "Connect", FLAG, vsock.connect),
};

const VmcDeviceKindOps vmc_kind_vsock = {
    .info =
        {.name = "virtio-vsock",
         .key = "VirtioSocket",
         .help =
             "port of AF_VSOCK: the guest reaches SOCKET there, or with “connect” programs reach the guest",
         VMC_FIELDS(fields)},
    .pci = true,
    .shared = true,
    .check = check_vsock,
    .make = make_vsock,
};
