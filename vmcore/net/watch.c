/*
 * Looking at passing frames for a guest's addresses; see watch.h.
 *
 * What is believed:
 *  - ARP (RFC 826, 5227) from the guest with its own address as the sender's; a probe has none yet;
 *  - neighbour solicitations and advertisements (RFC 4861 s4.3, s4.4) from the guest. A solicitation without
 * a source is the check for duplicates (RFC 4862 s5.4.2) of an address it is about to use;
 *  - DHCP (RFC 2131) acknowledgements to the guest and releases from it;
 *  - an advertisement to the guest for an address that it was about to use takes it back.
 *
 * Each frame's first bytes are copied; only frames that may be one of these are looked at more closely, up to
 * LOOK_BYTES, and only the copy. Frames with VLAN tags are not this link's business.
 */
#include "net/watch.h"

#include <netinet/in.h>
#include <string.h>

#include "net/offload.h"

#define HEAD_BYTES 64u
#define LOOK_BYTES 1024u

#define ETHERTYPE_IP4 0x0800u
#define ETHERTYPE_ARP 0x0806u
#define ETHERTYPE_IP6 0x86ddu

#define PORT_DHCP_SERVER 67u
#define PORT_DHCP_CLIENT 68u

#define ND_SOLICITATION  135u
#define ND_ADVERTISEMENT 136u

#define DHCP_COOKIE      0x63825363u
#define DHCP_OPTION_PAD  0u
#define DHCP_OPTION_TYPE 53u
#define DHCP_OPTION_END  255u
#define DHCP_ACK         5u
#define DHCP_RELEASE     7u

typedef struct Look {
    const uint8_t *frame;
    size_t len;
} Look;

static uint16_t load16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t load32(const uint8_t *p)
{
    return (uint32_t)load16(p) << 16 | load16(p + 2);
}

/* ---- the list ---- */

void vmc_watch_init(VmcWatch *watch)
{
    memset(watch, 0, sizeof(*watch));
    g_mutex_init(&watch->lock);
}

void vmc_watch_clear(VmcWatch *watch)
{
    g_mutex_clear(&watch->lock);
}

void vmc_watch_reset(VmcWatch *watch)
{
    g_mutex_lock(&watch->lock);
    watch->n = 0;
    g_mutex_unlock(&watch->lock);
}

static size_t address_bytes(int family)
{
    return family == AF_INET ? 4 : 16;
}

static bool usable(int family, const uint8_t *bytes)
{
    static const uint8_t none[16];

    if (!memcmp(bytes, none, address_bytes(family)))
        return false;
    if (family == AF_INET)
        return bytes[0] != 127 && bytes[0] < 224;
    return bytes[0] != 0xff && (memcmp(bytes, none, 15) || bytes[15] != 1);
}

/* Called locked. The address's place, or watch->n. */
static unsigned find(const VmcWatch *watch, int family, const uint8_t *bytes)
{
    for (unsigned i = 0; i < watch->n; i++) {
        const VmcNetAddress *address = &watch->addresses[i];
        if (address->family == family && !memcmp(address->bytes, bytes, address_bytes(family)))
            return i;
    }
    return watch->n;
}

static void remove_at(VmcWatch *watch, unsigned at)
{
    watch->n--;
    memmove(&watch->addresses[at], &watch->addresses[at + 1], (watch->n - at) * sizeof(watch->addresses[0]));
}

/* Puts it first; the one not heard of for longest makes room. */
static void note(VmcWatch *watch, const uint8_t *mac, int family, const uint8_t *bytes)
{
    VmcNetAddress address = {.family = family};

    if (!usable(family, bytes) || (mac[0] & 1))
        return;
    memcpy(address.mac, mac, sizeof(address.mac));
    memcpy(address.bytes, bytes, address_bytes(family));
    g_mutex_lock(&watch->lock);
    unsigned at = find(watch, family, bytes);
    if (at < watch->n)
        remove_at(watch, at);
    if (watch->n == VMC_WATCH_ADDRESSES)
        watch->n--;
    memmove(&watch->addresses[1], &watch->addresses[0], watch->n * sizeof(watch->addresses[0]));
    watch->addresses[0] = address;
    watch->n++;
    g_mutex_unlock(&watch->lock);
}

static void forget(VmcWatch *watch, int family, const uint8_t *bytes)
{
    g_mutex_lock(&watch->lock);
    unsigned at = find(watch, family, bytes);
    if (at < watch->n)
        remove_at(watch, at);
    g_mutex_unlock(&watch->lock);
}

unsigned vmc_watch_addresses(VmcWatch *watch, const uint8_t *mac, VmcNetAddress *addresses, unsigned max)
{
    unsigned n = 0;

    g_mutex_lock(&watch->lock);
    for (unsigned i = 0; i < watch->n && n < max; i++)
        if (!mac || !memcmp(mac, watch->addresses[i].mac, 6))
            addresses[n++] = watch->addresses[i];
    g_mutex_unlock(&watch->lock);
    return n;
}

/* ---- ARP ---- */

/* Ethernet and IPv4, request or reply; the sender is who the frame says. */
static void look_at_arp(VmcWatch *watch, Look look)
{
    static const uint8_t kind[] = {0, 1, 8, 0, 6, 4, 0};
    const uint8_t *arp = look.frame + VMC_FRAME_MIN, *sender = arp + 8;

    if (look.len < VMC_FRAME_MIN + 28 || memcmp(arp, kind, sizeof(kind)) || memcmp(sender, look.frame + 6, 6))
        return;
    note(watch, sender, AF_INET, sender + 6);
}

/* ---- neighbour discovery ---- */

/* The target of a solicitation or advertisement, or NULL; RFC 4861 s7.1: the hop limit is 255, or it comes
 * from somewhere else. */
static const uint8_t *nd_target(Look look, uint8_t *type)
{
    const uint8_t *ip = look.frame + VMC_FRAME_MIN, *icmp = ip + 40;

    if (look.len < VMC_FRAME_MIN + 40 + 24 || ip[0] >> 4 != 6 || load16(ip + 4) < 24 ||
        ip[6] != IPPROTO_ICMPV6 || ip[7] != 255 ||
        (icmp[0] != ND_SOLICITATION && icmp[0] != ND_ADVERTISEMENT) || icmp[1])
        return NULL;
    *type = icmp[0];
    return icmp + 8;
}

static void look_at_own_nd(VmcWatch *watch, Look look)
{
    static const uint8_t none[16];
    const uint8_t *source = look.frame + VMC_FRAME_MIN + 8;
    uint8_t type;
    const uint8_t *target = nd_target(look, &type);

    if (!target)
        return;
    if (type == ND_ADVERTISEMENT || !memcmp(source, none, sizeof(none)))
        note(watch, look.frame + 6, AF_INET6, target);
    else
        note(watch, look.frame + 6, AF_INET6, source);
}

static void look_at_others_nd(VmcWatch *watch, Look look)
{
    uint8_t type;
    const uint8_t *target = nd_target(look, &type);

    if (target && type == ND_ADVERTISEMENT)
        forget(watch, AF_INET6, target);
}

/* ---- DHCP ---- */

/* The message of a DHCP packet between these ports, its length cut to what its headers say and to what is
 * there. Empty: it is none. */
static Look dhcp_message(Look look, unsigned from, unsigned to)
{
    const uint8_t *ip = look.frame + VMC_FRAME_MIN;
    Look none = {NULL, 0};

    if (look.len < VMC_FRAME_MIN + 20 || ip[0] >> 4 != 4 || ip[9] != IPPROTO_UDP || load16(ip + 6) & 0x3fff)
        return none;
    size_t header = 4 * (size_t)(ip[0] & 15), left = look.len - VMC_FRAME_MIN;
    if (header < 20 || left < header + 8)
        return none;
    const uint8_t *udp = ip + header;
    size_t says = load16(udp + 4);
    if (load16(udp) != from || load16(udp + 2) != to || says < 8)
        return none;
    return (Look){udp + 8, MIN(says, left - header) - 8};
}

/* RFC 2131 s2, RFC 2132 s9.6: the value of the message type option, or 0. */
static unsigned dhcp_type(Look message)
{
    size_t at = 240;

    if (message.len < at || load32(message.frame + 236) != DHCP_COOKIE)
        return 0;
    while (at < message.len && message.frame[at] != DHCP_OPTION_END) {
        if (message.frame[at] == DHCP_OPTION_PAD) {
            at++;
            continue;
        }
        if (at + 2 > message.len || at + 2 + message.frame[at + 1] > message.len)
            return 0;
        if (message.frame[at] == DHCP_OPTION_TYPE && message.frame[at + 1] == 1)
            return message.frame[at + 2];
        at += 2 + (size_t)message.frame[at + 1];
    }
    return 0;
}

static bool is_dhcp(Look message, unsigned type)
{
    return message.frame && dhcp_type(message) == type && message.frame[1] == 1 && message.frame[2] == 6;
}

static void look_at_lease(VmcWatch *watch, Look look)
{
    Look message = dhcp_message(look, PORT_DHCP_SERVER, PORT_DHCP_CLIENT);

    if (is_dhcp(message, DHCP_ACK))
        note(watch, message.frame + 28, AF_INET, message.frame + 16);
}

static void look_at_release(VmcWatch *watch, Look look)
{
    Look message = dhcp_message(look, PORT_DHCP_CLIENT, PORT_DHCP_SERVER);

    if (is_dhcp(message, DHCP_RELEASE))
        forget(watch, AF_INET, message.frame + 12);
}

/* ---- frames ---- */

/* Copies what is to be looked at, or nothing if the frame is of no interest. */
static Look copy_frame(const struct iovec *iov, unsigned n_iov, uint8_t copy[LOOK_BYTES])
{
    size_t len = vmc_iov_copy(iov, n_iov, 0, copy, HEAD_BYTES);

    if (len < VMC_FRAME_MIN + 20)
        return (Look){NULL, 0};
    unsigned type = load16(copy + 12);
    bool interesting = type == ETHERTYPE_ARP || (type == ETHERTYPE_IP4 && copy[23] == IPPROTO_UDP) ||
                       (type == ETHERTYPE_IP6 && copy[20] == IPPROTO_ICMPV6);
    if (!interesting)
        return (Look){NULL, 0};
    if (len == HEAD_BYTES)
        len += vmc_iov_copy(iov, n_iov, len, copy + len, LOOK_BYTES - len);
    return (Look){copy, len};
}

void vmc_watch_sent(VmcWatch *watch, const struct iovec *iov, unsigned n_iov)
{
    uint8_t copy[LOOK_BYTES];
    Look look = copy_frame(iov, n_iov, copy);

    if (!look.frame)
        return;
    switch (load16(copy + 12)) {
    case ETHERTYPE_ARP:
        look_at_arp(watch, look);
        break;
    case ETHERTYPE_IP4:
        look_at_release(watch, look);
        break;
    default:
        look_at_own_nd(watch, look);
        break;
    }
}

void vmc_watch_received(VmcWatch *watch, const struct iovec *iov, unsigned n_iov)
{
    uint8_t copy[LOOK_BYTES];
    Look look = copy_frame(iov, n_iov, copy);

    if (!look.frame)
        return;
    if (load16(copy + 12) == ETHERTYPE_IP4)
        look_at_lease(watch, look);
    else if (load16(copy + 12) == ETHERTYPE_IP6)
        look_at_others_nd(watch, look);
}
