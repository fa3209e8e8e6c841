/* Network cards: what a cable is plugged into is the same for all of them. */
#include <arpa/inet.h>
#include <string.h>

#include "base/i18n.h"
#include "machine/devices/kind.h"
#include "machine/devices/net.h"
#include "net/attach.h"
#include "net/mac.h"

#define QUEUES_MAX 8u

/* ---- what can be wrong ---- */

/* Only how things are written: whether a tap is there and free is found out when it is opened, and so it is
 * said with the same words. */
static void check_forwards(VmcCheck *check, const VmcNetConfig *net)
{
    for (char **text = net->forwards; text && *text; text++) {
        VmcNatForward forward;
        GError *error = NULL;
        if (!net->nat)
            vmc_check_fault(check, "forward",
                            _("ports are forwarded by NAT only; add “nat” or leave “%s” out"), *text);
        else if (!vmc_nat_forward_parse(*text, &forward, &error))
            vmc_check_error(check, "forward", error);
    }
}

static void check_network_boot(VmcCheck *check, const VmcNetConfig *net)
{
    if (net->tftp && !net->nat)
        vmc_check_fault(check, "tftp", _("only NAT has a TFTP server; add “nat” or leave tftp out"));
    else if (net->tftp && !g_file_test(net->tftp, G_FILE_TEST_IS_DIR))
        vmc_check_fault(check, "tftp", _("“%s” is no folder; give the one whose files the guest may read"),
                        net->tftp);
    if (net->boot_file && !net->tftp)
        vmc_check_fault(check, "bootFile",
                        _("“%s” can be read by the guest only from a folder; add tftp=FOLDER"),
                        net->boot_file);
}

/* A descriptor, tap or socket carries one card. */
static void check_shared_cable(VmcCheck *check, const VmcNetConfig *net)
{
    for (guint i = 0; i < check->index; i++) {
        const VmcDeviceConfig *before = vmc_check_device(check, i);
        if (!vmc_is_network_card(before->kind))
            continue;
        if (net->tap && g_strcmp0(net->tap, before->net.tap) == 0)
            vmc_check_fault(check, "tap", _("“%s” is already the tap of devices[%u]; give each card its own"),
                            net->tap, i);
        if (net->fd >= 0 && net->fd == before->net.fd)
            vmc_check_fault(check, "fd",
                            _("descriptor %d is already that of devices[%u]; give each card its own"),
                            net->fd, i);
        if (net->mac && before->net.mac && g_ascii_strcasecmp(net->mac, before->net.mac) == 0)
            vmc_check_fault(check, "mac",
                            _("“%s” is already the MAC address of devices[%u]; give each card its own"),
                            net->mac, i);
    }
}

void vmc_check_network(VmcCheck *check, const VmcDeviceConfig *device)
{
    const VmcNetConfig *net = &device->net;
    uint8_t mac[VMC_MAC_BYTES];
    GError *error = NULL;

    if (net->mac && !vmc_mac_parse(net->mac, mac, &error))
        vmc_check_error(check, "mac", error);
    error = NULL;
    if (net->host_only && !vmc_host_only_check_name(net->host_only, &error))
        vmc_check_error(check, "hostOnly", error);
    check_forwards(check, net);
    check_network_boot(check, net);
    check_shared_cable(check, net);
}

/* ---- making them ---- */

static VmcCable *make_nat(VmcIo *io, const VmcNetConfig *net, GError **error)
{
    guint n = net->forwards ? g_strv_length(net->forwards) : 0;
    g_autofree VmcNatForward *forwards = g_new0(VmcNatForward, n + 1);
    VmcNatParams params = {
        .forwards = forwards,
        .n_forwards = n,
        .mtu = (uint16_t)net->mtu,
        .tftp_path = net->tftp,
        .boot_file = net->boot_file,
    };

    for (guint i = 0; i < n; i++)
        if (!vmc_nat_forward_parse(net->forwards[i], &forwards[i], error))
            return NULL;
    return vmc_cable_nat_new(io, &params, error);
}

VmcCable *vmc_guest_make_cable(VmcGuest *guest, const VmcNetConfig *net, GError **error)
{
    VmcIo *io = vmc_guest_virtio_host(guest).io;

    if (net->tap)
        return vmc_cable_tap_new(io, net->tap, error);
    if (net->bridge)
        return vmc_cable_bridge_new(io, net->bridge, NULL, error);
    if (net->host_only)
        return vmc_cable_host_only_new(io, net->host_only, error);
    if (net->unix_socket)
        return vmc_cable_unix_new(io, net->unix_socket, error);
    if (net->fd >= 0)
        return vmc_cable_fd_new(io, net->fd, error);
    return make_nat(io, net, error);
}

static bool make_virtio_net(VmcGuest *guest, guint index, GError **error)
{
    const VmcNetConfig *net = &vmc_guest_config(guest, index)->net;
    VmcVirtioHost host = vmc_guest_virtio_host(guest);
    VmcVirtioNetParams params = {.mtu = (uint16_t)net->mtu, .pairs = net->queues};

    if (net->mac && !vmc_mac_parse(net->mac, params.mac, error))
        return false;
    VmcCable *cable = vmc_guest_make_cable(guest, net, error);
    return cable && vmc_guest_add_pci(guest, index, vmc_virtio_net_new(&host, cable, &params), error);
}

/* ---- while it runs ---- */

bool vmc_act_link(const char *word, bool *up, GError **error)
{
    *up = strcmp(word, "up") == 0;
    if (*up || strcmp(word, "down") == 0)
        return true;
    g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG, _("“%s” is no state of a link; say “up” or “down”"),
                word);
    return false;
}

void vmc_act_describe(GString *reply, bool link, const uint8_t mac[VMC_MAC_BYTES],
                      const VmcNetAddress *addresses, unsigned n, const VmcCableCounters *sent,
                      const VmcCableCounters *received)
{
    g_autofree char *text = vmc_mac_to_string(mac);

    g_string_append_printf(reply, "mac %s\nlink %s\n", text, link ? "up" : "down");
    for (unsigned i = 0; i < n; i++) {
        char address[INET6_ADDRSTRLEN] = "";
        inet_ntop(addresses[i].family, addresses[i].bytes, address, sizeof(address));
        g_string_append_printf(reply, "address %s\n", address);
    }
    g_string_append_printf(reply, "sent %" G_GUINT64_FORMAT " frames %" G_GUINT64_FORMAT " bytes\n",
                           sent->frames, sent->bytes);
    g_string_append_printf(reply, "received %" G_GUINT64_FORMAT " frames %" G_GUINT64_FORMAT " bytes\n",
                           received->frames, received->bytes);
}

enum { ACTION_LINK, ACTION_STATUS };

static bool act_on_virtio_net(VmcGuest *guest, guint index, unsigned action, const char *const *arguments,
                              GString *reply, GError **error)
{
    VmcPciDevice *card = vmc_guest_pci(guest, index, VMC_DEVICE_VIRTIO_NET);
    VmcNetAddress addresses[VMC_WATCH_ADDRESSES];
    VmcCableCounters sent, received;
    uint8_t mac[VMC_MAC_BYTES];
    bool up;

    if (action == ACTION_LINK) {
        if (!vmc_act_link(arguments[0], &up, error))
            return false;
        vmc_virtio_net_set_link(card, up);
        return true;
    }
    vmc_virtio_net_get_mac(card, mac);
    vmc_virtio_net_counters(card, &sent, &received);
    unsigned n = vmc_virtio_net_get_addresses(card, addresses, G_N_ELEMENTS(addresses));
    vmc_act_describe(reply, vmc_virtio_net_link(card), mac, addresses, n, &sent, &received);
    return true;
}

static unsigned virtio_net_addresses(VmcGuest *guest, guint index, VmcNetAddress *addresses, unsigned max)
{
    VmcPciDevice *card = vmc_guest_pci(guest, index, VMC_DEVICE_VIRTIO_NET);

    return vmc_virtio_net_get_addresses(card, addresses, max);
}

static const VmcField virtio_net_fields[] = {
    VMC_NET_FIELDS,
    VMC_FIELD("queues", "Queues", NUMBER, net.queues, .value = "PAIRS", .preset = 1, .min = 1,
              .max = QUEUES_MAX),
};

static const VmcAction net_actions[] = {VMC_NET_ACTIONS};

const VmcDeviceKindOps vmc_kind_virtio_net = {
    .info = {.name = "virtio-net",
             .key = "VirtioNet",
             .help = N_("network card"),
             VMC_FIELDS(virtio_net_fields),
             VMC_ACTIONS(net_actions)},
    .pci = true,
    .boot_node = {"ethernet", "/ethernet-phy@0"},
    .check = vmc_check_network,
    .make = make_virtio_net,
    .act = act_on_virtio_net,
    .addresses = virtio_net_addresses,
};
