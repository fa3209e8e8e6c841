/*
 * Checksums and segmentation in software; see offload.h.
 *
 * A large frame is cut up as RFC 793 and 768 have it: each piece has a copy of all headers, with lengths,
 * IPv4's identification, the TCP sequence number and flags put right, and sums of its own. Nothing of what
 * the headers say of lengths is believed; the length of the frame is all there is. The pseudo header's sum
 * that the sender has left in the checksum field is not used either.
 */
#include "net/offload.h"

#include "base/seeded.h"

#include <glib.h>
#include <netinet/in.h>
#include <string.h>

#define ETH_HEADER 14u
#define VLAN_TAG   4u
#define IP4_MIN    20u
#define IP6_HEADER 40u
#define TCP_MIN    20u
#define UDP_HEADER 8u
#define TCP_CSUM   16u
#define UDP_CSUM   6u
#define HEADERS_MAX                                                                                          \
    256u /* all headers of a frame to be cut up: Ethernet, IP with options, TCP with options */

#define ETHERTYPE_IP4  0x0800u
#define ETHERTYPE_IP6  0x86ddu
#define ETHERTYPE_VLAN 0x8100u
#define ETHERTYPE_QINQ 0x88a8u

#define TCP_FIN 0x01u
#define TCP_PSH 0x08u
#define TCP_CWR 0x80u

static uint16_t load16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static void store16(uint8_t *p, unsigned value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

static uint32_t load32(const uint8_t *p)
{
    return (uint32_t)load16(p) << 16 | load16(p + 2);
}

static void store32(uint8_t *p, uint32_t value)
{
    store16(p, value >> 16);
    store16(p + 2, value & 0xffff);
}

/* ---- sums ---- */

/* In the host's order: the sum of swapped words is the swapped sum, and fold swaps it back. 32 bits at a time
 * into 64 cannot overflow below 16 GiB. */
uint64_t vmc_checksum_add(uint64_t sum, const void *bytes, size_t len)
{
    const uint8_t *p = bytes;

    for (; len >= 32; len -= 32, p += 32) {
        uint32_t words[8];
        memcpy(words, p, sizeof(words));
        sum += (uint64_t)words[0] + words[1] + words[2] + words[3];
        sum += (uint64_t)words[4] + words[5] + words[6] + words[7];
    }
    for (; len >= 4; len -= 4, p += 4) {
        uint32_t word;
        memcpy(&word, p, sizeof(word));
        sum += word;
    }
    if (len) {
        uint8_t rest[4] = {0};
        uint32_t word;
        memcpy(rest, p, len);
        memcpy(&word, rest, sizeof(word));
        sum += word;
    }
    return sum;
}

uint16_t vmc_checksum_fold(uint64_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~GUINT16_FROM_BE((uint16_t)sum);
}

/* A sum of zero is stored as its other form, which for UDP does not mean "no checksum". */
static uint16_t fold_nonzero(uint64_t sum)
{
    uint16_t value = vmc_checksum_fold(sum);

    return value ? value : 0xffff;
}

/* ---- what a frame asks for ---- */

bool vmc_offload_check(const VmcFrameInfo *info, size_t len)
{
    if (len < VMC_FRAME_MIN || len > VMC_FRAME_MAX)
        return false;
    if (info->flags & VMC_FRAME_NEEDS_CSUM && !VMC_SEEDED(FRAME_LENGTH) &&
        (info->csum_start < VMC_FRAME_MIN || (size_t)info->csum_start + info->csum_offset + 2 > len))
        return false;
    switch (info->gso_type) {
    case VMC_GSO_NONE:
        return true;
    case VMC_GSO_TCPV4:
    case VMC_GSO_TCPV6:
    case VMC_GSO_TCPV4 | VMC_GSO_ECN:
    case VMC_GSO_TCPV6 | VMC_GSO_ECN:
        return info->flags & VMC_FRAME_NEEDS_CSUM && info->csum_offset == TCP_CSUM &&
               info->gso_size >= VMC_GSO_SIZE_MIN;
    case VMC_GSO_UDP:
        return info->flags & VMC_FRAME_NEEDS_CSUM && info->csum_offset == UDP_CSUM &&
               info->gso_size >= VMC_GSO_SIZE_MIN;
    default:
        return false;
    }
}

uint32_t vmc_offload_needs(const VmcFrameInfo *info)
{
    uint32_t needs = info->flags & VMC_FRAME_NEEDS_CSUM ? VMC_OFFLOAD_CSUM : 0;

    switch (info->gso_type & ~VMC_GSO_ECN) {
    case VMC_GSO_TCPV4:
        needs |= VMC_OFFLOAD_TSO4;
        break;
    case VMC_GSO_TCPV6:
        needs |= VMC_OFFLOAD_TSO6;
        break;
    case VMC_GSO_UDP: /* the type does not tell; both, then */
        needs |= VMC_OFFLOAD_USO4 | VMC_OFFLOAD_USO6;
        break;
    default:
        break;
    }
    if (info->gso_type & VMC_GSO_ECN)
        needs |= VMC_OFFLOAD_ECN;
    return needs;
}

void vmc_offload_checksum(uint8_t *frame, size_t len, const VmcFrameInfo *info)
{
    if (!(info->flags & VMC_FRAME_NEEDS_CSUM))
        return;
    uint64_t sum = vmc_checksum_add(0, frame + info->csum_start, len - info->csum_start);
    store16(frame + info->csum_start + info->csum_offset, fold_nonzero(sum));
}

/* ---- cutting up ---- */

/* Where the headers of a frame are. */
typedef struct Layout {
    size_t ip, transport, payload; /* offsets */
    bool ip6, udp;
} Layout;

/* Follows IPv6's extension headers (RFC 8200 s4) up to `transport`; returns the protocol there, or -1. With a
 * routing header the pseudo header is another: not known here. */
static int ip6_protocol(const uint8_t *frame, size_t ip, size_t transport)
{
    unsigned next = frame[ip + 6];
    size_t at = ip + IP6_HEADER;

    while (at < transport) {
        if ((next != IPPROTO_HOPOPTS && next != IPPROTO_DSTOPTS) || at + 8 > transport)
            return -1;
        next = frame[at];
        at += 8 + 8 * (size_t)frame[at + 1];
    }
    return at == transport ? (int)next : -1;
}

static int ip4_protocol(const uint8_t *frame, size_t ip, size_t transport)
{
    size_t header = 4 * (size_t)(frame[ip] & 15);
    bool fragment = load16(frame + ip + 6) & 0x3fff; /* more fragments, or an offset */

    return header >= IP4_MIN && ip + header == transport && !fragment ? frame[ip + 9] : -1;
}

/* Finds the headers of a frame to be cut up; csum_start says where TCP or UDP begins, and all else has to
 * agree with that. */
static bool find_layout(const uint8_t *frame, size_t len, const VmcFrameInfo *info, Layout *layout)
{
    size_t at = ETH_HEADER - 2, transport = info->csum_start;
    unsigned type = load16(frame + at);

    for (unsigned tags = 0; tags < 2 && (type == ETHERTYPE_VLAN || type == ETHERTYPE_QINQ); tags++) {
        at += VLAN_TAG;
        if (at + 2 > len)
            return false;
        type = load16(frame + at);
    }
    *layout = (Layout){.ip = at + 2, .transport = transport, .ip6 = type == ETHERTYPE_IP6};
    layout->udp = info->gso_type == VMC_GSO_UDP;
    size_t ip_header = layout->ip6 ? IP6_HEADER : IP4_MIN;
    size_t transport_header = layout->udp ? UDP_HEADER : TCP_MIN;
    if ((type != ETHERTYPE_IP4 && !layout->ip6) || layout->ip + ip_header > transport ||
        transport + transport_header > len || frame[layout->ip] >> 4 != (layout->ip6 ? 6 : 4))
        return false;
    if (!layout->udp && layout->ip6 != ((info->gso_type & ~VMC_GSO_ECN) == VMC_GSO_TCPV6))
        return false;
    int protocol =
        layout->ip6 ? ip6_protocol(frame, layout->ip, transport) : ip4_protocol(frame, layout->ip, transport);
    if (protocol != (layout->udp ? IPPROTO_UDP : IPPROTO_TCP))
        return false;
    if (!layout->udp)
        transport_header = 4 * (size_t)(frame[transport + 12] >> 4);
    layout->payload = transport + transport_header;
    if ((!layout->udp && transport_header < TCP_MIN) || layout->payload > MIN(len, HEADERS_MAX))
        return false;
    return layout->payload - layout->ip + MIN(len - layout->payload, info->gso_size) <= 0xffff;
}

/* The sum of the pseudo header (RFC 793 s3.1, RFC 8200 s8.1) for a transport segment of `len` bytes. */
static uint64_t pseudo_sum(const uint8_t *headers, const Layout *layout, size_t len)
{
    uint8_t tail[8] = {0};

    store32(tail, (uint32_t)len);
    tail[7] = layout->udp ? IPPROTO_UDP : IPPROTO_TCP;
    uint64_t sum = vmc_checksum_add(0, tail, sizeof(tail));
    return layout->ip6 ? vmc_checksum_add(sum, headers + layout->ip + 8, 32)
                       : vmc_checksum_add(sum, headers + layout->ip + 12, 8);
}

/* Puts the headers right for segment `n`, which has `here` bytes of payload from `offset` on. */
static void finish_headers(uint8_t *headers, const uint8_t *original, const Layout *layout, unsigned n,
                           size_t offset, size_t here, bool last)
{
    uint8_t *ip = headers + layout->ip, *transport = headers + layout->transport;
    size_t ip_len = layout->payload - layout->ip + here;

    if (layout->ip6) {
        store16(ip + 4, (unsigned)(ip_len - IP6_HEADER));
    } else {
        store16(ip + 2, (unsigned)ip_len);
        store16(ip + 4, (load16(original + layout->ip + 4) + n) & 0xffff);
        store16(ip + 10, 0);
        store16(ip + 10, vmc_checksum_fold(vmc_checksum_add(0, ip, layout->transport - layout->ip)));
    }
    if (layout->udp) {
        store16(transport + 4, (unsigned)(UDP_HEADER + here));
        return;
    }
    uint8_t flags = original[layout->transport + 13];
    if (!last)
        flags &= (uint8_t) ~(TCP_FIN | TCP_PSH);
    if (n)
        flags &= (uint8_t)~TCP_CWR;
    transport[13] = flags;
    store32(transport + 4, load32(original + layout->transport + 4) + (uint32_t)offset);
}

bool vmc_offload_segment(const uint8_t *frame, size_t len, const VmcFrameInfo *info, VmcSegmentFunc func,
                         void *data)
{
    uint8_t headers[HEADERS_MAX];
    Layout layout;

    if (!find_layout(frame, len, info, &layout))
        return false;
    size_t total = len - layout.payload, offset = 0, here;
    memcpy(headers, frame, layout.payload);
    unsigned n = 0;
    do {
        here = MIN(total - offset, info->gso_size);
        const uint8_t *payload = frame + layout.payload + offset;
        size_t transport_len = layout.payload - layout.transport + here;
        uint8_t *csum = headers + layout.transport + (layout.udp ? UDP_CSUM : TCP_CSUM);

        finish_headers(headers, frame, &layout, n++, offset, here, offset + here == total);
        store16(csum, 0);
        uint64_t sum = pseudo_sum(headers, &layout, transport_len);
        sum = vmc_checksum_add(sum, headers + layout.transport, layout.payload - layout.transport);
        sum = vmc_checksum_add(sum, payload, here);
        store16(csum, fold_nonzero(sum));

        struct iovec iov[2] = {{headers, layout.payload}, {(void *)(uintptr_t)payload, here}};
        if (!func(data, iov, here ? 2 : 1))
            return false;
        offset += here;
    } while (offset < total);
    return true;
}
