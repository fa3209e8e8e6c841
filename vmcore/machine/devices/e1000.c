/* The Intel 82545EM, on any cable. */
#include "base/i18n.h"
#include "machine/devices/kind.h"
#include "machine/devices/net.h"
#include "net/e1000.h"
#include "net/mac.h"

static void check_e1000(VmcCheck *check, const VmcDeviceConfig *device)
{
    vmc_check_network(check, device);
    if (device->net.mtu)
        vmc_check_fault(check, "mtu",
                        _("this card cannot tell its driver an MTU; leave it out or take virtio-net"));
}

static bool make_e1000(VmcGuest *guest, guint index, GError **error)
{
    const VmcNetConfig *net = &vmc_guest_config(guest, index)->net;
    VmcVirtioHost host = vmc_guest_virtio_host(guest);
    uint8_t mac[VMC_MAC_BYTES];

    if (!net->mac)
        vmc_mac_random(mac);
    else if (!vmc_mac_parse(net->mac, mac, error))
        return false;
    VmcCable *cable = vmc_guest_make_cable(guest, net, error);
    return cable && vmc_guest_add_pci(guest, index, vmc_e1000_new(host.memory, host.io, cable, mac), error);
}

enum { ACTION_LINK, ACTION_STATUS };

static bool act_on_e1000(VmcGuest *guest, guint index, unsigned action, const char *const *arguments,
                         GString *reply, GError **error)
{
    VmcPciDevice *card = vmc_guest_pci(guest, index, VMC_DEVICE_E1000);
    VmcNetAddress addresses[VMC_WATCH_ADDRESSES];
    VmcCableCounters sent, received;
    uint8_t mac[VMC_MAC_BYTES];
    bool up;

    if (action == ACTION_LINK) {
        if (!vmc_act_link(arguments[0], &up, error))
            return false;
        vmc_e1000_set_link(card, up);
        return true;
    }
    vmc_e1000_get_mac(card, mac);
    vmc_cable_counters(vmc_e1000_cable(card), &sent, &received);
    unsigned n = vmc_cable_addresses(vmc_e1000_cable(card), mac, addresses, G_N_ELEMENTS(addresses));
    vmc_act_describe(reply, vmc_e1000_link(card), mac, addresses, n, &sent, &received);
    return true;
}

static unsigned e1000_addresses(VmcGuest *guest, guint index, VmcNetAddress *addresses, unsigned max)
{
    VmcPciDevice *card = vmc_guest_pci(guest, index, VMC_DEVICE_E1000);
    uint8_t mac[VMC_MAC_BYTES];

    vmc_e1000_get_mac(card, mac);
    return vmc_cable_addresses(vmc_e1000_cable(card), mac, addresses, max);
}

static const VmcField fields[] = {VMC_NET_FIELDS};

static const VmcAction actions[] = {VMC_NET_ACTIONS};

const VmcDeviceKindOps vmc_kind_e1000 = {
    .info = {.name = "e1000",
             .key = "E1000",
             .help = N_("network card for guests without virtio, an Intel 82545EM"),
             VMC_FIELDS(fields),
             VMC_ACTIONS(actions)},
    .pci = true,
    .boot_node = {"ethernet", "/ethernet-phy@0"},
    .check = check_e1000,
    .make = make_e1000,
    .act = act_on_e1000,
    .addresses = e1000_addresses,
};
