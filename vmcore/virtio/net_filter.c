/*
 * The receive filter of virtio-net and the commands that set it; see net_filter.h.
 */
#include "virtio/net_filter.h"

#include <glib.h>
#include <netinet/in.h>
#include <string.h>

#define RX_PROMISC  0u
#define RX_ALLMULTI 1u
#define RX_ALLUNI   2u
#define RX_NOMULTI  3u
#define RX_NOUNI    4u
#define RX_NOBCAST  5u

#define MAC_TABLE_SET 0u
#define MAC_ADDR_SET  1u

#define VLAN_ADD 0u
#define VLAN_DEL 1u

#define ETHERTYPE_IP4  0x0800u
#define ETHERTYPE_IP6  0x86ddu
#define ETHERTYPE_VLAN 0x8100u

static uint16_t load16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

/* ---- commands ---- */

void vmc_net_filter_reset(VmcNetFilter *filter, const uint8_t mac[VMC_MAC_BYTES], bool vlans_filtered)
{
    memset(filter, 0, sizeof(*filter));
    memcpy(filter->mac, mac, VMC_MAC_BYTES);
    filter->promiscuous = true;
    filter->vlans_filtered = vlans_filtered;
}

static bool rx_command(VmcNetFilter *filter, uint8_t command, VmcVirtqElement *elem)
{
    bool *modes[] = {
        [RX_PROMISC] = &filter->promiscuous, [RX_ALLMULTI] = &filter->all_multicast,
        [RX_ALLUNI] = &filter->all_unicast,  [RX_NOMULTI] = &filter->no_multicast,
        [RX_NOUNI] = &filter->no_unicast,    [RX_NOBCAST] = &filter->no_broadcast,
    };
    uint8_t on;

    if (command >= G_N_ELEMENTS(modes) || vmc_virtq_element_read(elem, &on, 1) != 1)
        return false;
    *modes[command] = on != 0;
    return true;
}

/* A count and so many addresses; those for which there is no place are only counted. */
static bool read_macs(VmcNetMacs *macs, VmcVirtqElement *elem)
{
    uint32_t count;

    if (vmc_virtq_element_read(elem, &count, sizeof(count)) != sizeof(count))
        return false;
    count = GUINT32_FROM_LE(count);
    if (count > elem->out_len / VMC_MAC_BYTES)
        return false;
    macs->n = MIN(count, VMC_NET_FILTER_MACS);
    macs->overflow = count > VMC_NET_FILTER_MACS;
    vmc_virtq_element_read(elem, macs->macs, (size_t)macs->n * VMC_MAC_BYTES);
    vmc_virtq_element_skip(elem, (size_t)(count - macs->n) * VMC_MAC_BYTES);
    return true;
}

static bool mac_command(VmcNetFilter *filter, uint8_t command, VmcVirtqElement *elem)
{
    VmcNetMacs unicast, multicast;
    uint8_t mac[VMC_MAC_BYTES];

    switch (command) {
    case MAC_TABLE_SET:
        if (!read_macs(&unicast, elem) || !read_macs(&multicast, elem))
            return false;
        filter->unicast = unicast;
        filter->multicast = multicast;
        return true;
    case MAC_ADDR_SET:
        if (vmc_virtq_element_read(elem, mac, sizeof(mac)) != sizeof(mac))
            return false;
        memcpy(filter->mac, mac, sizeof(mac));
        return true;
    default:
        return false;
    }
}

static bool vlan_command(VmcNetFilter *filter, uint8_t command, VmcVirtqElement *elem)
{
    uint16_t id;

    if (command > VLAN_DEL || vmc_virtq_element_read(elem, &id, sizeof(id)) != sizeof(id))
        return false;
    id = GUINT16_FROM_LE(id);
    if (id >= 4096)
        return false;
    if (command == VLAN_ADD)
        filter->vlans[id / 32] |= 1u << (id % 32);
    else
        filter->vlans[id / 32] &= ~(1u << (id % 32));
    return true;
}

bool vmc_net_filter_command(VmcNetFilter *filter, uint8_t class, uint8_t command, VmcVirtqElement *elem)
{
    switch (class) {
    case VMC_NET_CTRL_RX:
        return rx_command(filter, command, elem);
    case VMC_NET_CTRL_MAC:
        return mac_command(filter, command, elem);
    case VMC_NET_CTRL_VLAN:
        return vlan_command(filter, command, elem);
    default:
        return false;
    }
}

/* ---- frames ---- */

static bool has(const VmcNetMacs *macs, const uint8_t *mac)
{
    for (unsigned i = 0; i < macs->n; i++)
        if (!memcmp(macs->macs[i], mac, VMC_MAC_BYTES))
            return true;
    return macs->overflow;
}

bool vmc_net_filter_wants(const VmcNetFilter *filter, const uint8_t *head, size_t len)
{
    static const uint8_t broadcast[VMC_MAC_BYTES] = {255, 255, 255, 255, 255, 255};

    if (filter->promiscuous)
        return true;
    if (filter->vlans_filtered && len >= 16 && load16(head + 12) == ETHERTYPE_VLAN) {
        unsigned id = load16(head + 14) & 4095;
        if (!(filter->vlans[id / 32] >> (id % 32) & 1))
            return false;
    }
    if (!memcmp(head, broadcast, sizeof(broadcast)))
        return !filter->no_broadcast;
    if (head[0] & 1)
        return !filter->no_multicast && (filter->all_multicast || has(&filter->multicast, head));
    return !filter->no_unicast &&
           (filter->all_unicast || !memcmp(head, filter->mac, VMC_MAC_BYTES) || has(&filter->unicast, head));
}

/* Sums do for a hash here: they are the same when source and destination change places. */
unsigned vmc_net_flow(const uint8_t *head, size_t len)
{
    size_t at = 12, ports;
    uint32_t hash = 0;
    unsigned protocol;

    if (len >= 18 && load16(head + at) == ETHERTYPE_VLAN)
        at += 4;
    if (len < at + 2 + 40)
        return 0;
    const uint8_t *ip = head + at + 2;
    if (load16(head + at) == ETHERTYPE_IP4) {
        ports = 4 * (size_t)(ip[0] & 15);
        protocol = load16(ip + 6) & 0x3fff ? 0 : ip[9];
        for (unsigned i = 12; i < 20; i += 2)
            hash += load16(ip + i);
    } else if (load16(head + at) == ETHERTYPE_IP6) {
        ports = 40;
        protocol = ip[6];
        for (unsigned i = 8; i < 40; i += 2)
            hash += load16(ip + i);
    } else {
        return 0;
    }
    if ((protocol != IPPROTO_TCP && protocol != IPPROTO_UDP) || at + 2 + ports + 4 > len)
        return 0;
    hash += (uint32_t)load16(ip + ports) + load16(ip + ports + 2);
    return hash * 2654435761u >> 24;
}

/* ---- saving ---- */

static void save_macs(const VmcNetMacs *macs, VmcStateWriter *w)
{
    vmc_state_put_bool(w, macs->overflow);
    vmc_state_put_u32(w, macs->n);
    vmc_state_put_bytes(w, macs->macs, macs->n * VMC_MAC_BYTES);
}

static void load_macs(VmcNetMacs *macs, VmcStateReader *r)
{
    macs->overflow = vmc_state_get_bool(r);
    macs->n = vmc_state_get_u32_max(r, VMC_NET_FILTER_MACS);
    vmc_state_get_bytes(r, macs->macs, macs->n * VMC_MAC_BYTES);
}

void vmc_net_filter_save(const VmcNetFilter *f, VmcStateWriter *w)
{
    const bool flags[] = {f->promiscuous, f->all_multicast, f->all_unicast,   f->no_multicast,
                          f->no_unicast,  f->no_broadcast,  f->vlans_filtered};

    for (unsigned i = 0; i < G_N_ELEMENTS(flags); i++)
        vmc_state_put_bool(w, flags[i]);
    vmc_state_put_bytes(w, f->mac, sizeof(f->mac));
    save_macs(&f->unicast, w);
    save_macs(&f->multicast, w);
    for (unsigned i = 0; i < G_N_ELEMENTS(f->vlans); i++)
        vmc_state_put_u32(w, f->vlans[i]);
}

void vmc_net_filter_load(VmcNetFilter *f, VmcStateReader *r)
{
    bool *flags[] = {&f->promiscuous, &f->all_multicast, &f->all_unicast,   &f->no_multicast,
                     &f->no_unicast,  &f->no_broadcast,  &f->vlans_filtered};

    for (unsigned i = 0; i < G_N_ELEMENTS(flags); i++)
        *flags[i] = vmc_state_get_bool(r);
    vmc_state_get_bytes(r, f->mac, sizeof(f->mac));
    load_macs(&f->unicast, r);
    load_macs(&f->multicast, r);
    for (unsigned i = 0; i < G_N_ELEMENTS(f->vlans); i++)
        f->vlans[i] = vmc_state_get_u32(r);
}
