/*
 * Frames as a guest might send them: mostly right, so that a fuzzer gets past the first look, with fields
 * that the input may make wrong.
 */
#pragma once

#include "net/cable.h"
#include "tests/fuzz/input.h"

static inline void fuzz_be16(uint8_t *p, unsigned value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

/* One of so few that they meet again. */
static inline void fuzz_mac(FuzzInput *in, uint8_t *mac)
{
    static const uint8_t first[] = {0x52, 0x52, 0xff, 0x01, 0x33, 0x02};
    uint8_t how = fuzz_u8(in);

    memset(mac, how % 6 == 2 ? 0xff : how >> 4, 6);
    mac[0] = first[how % 6];
}

/* Ethernet, tags, IP and TCP, UDP or ICMP, a payload: all of it in at most `max` bytes (256 or more). Where
 * the transport header begins goes to `transport`. */
static inline size_t fuzz_frame(FuzzInput *in, uint8_t *buf, size_t max, size_t *transport)
{
    static const uint8_t protocols[] = {6, 17, 58, 6, 0, 60, 43, 1};
    static const uint8_t icmp_types[] = {135, 136, 128, 0};
    uint8_t shape = fuzz_u8(in), detail = fuzz_u8(in);
    size_t at = 12, payload = fuzz_below(in, fuzz_u8(in) & 7 ? 2048 : 0x10000);

    memset(buf, 0, max < 512 ? max : 512);
    fuzz_mac(in, buf);
    fuzz_mac(in, buf + 6);
    for (unsigned tags = shape >> 6 & 3; tags; tags--, at += 4) {
        fuzz_be16(buf + at, detail & 1 ? 0x88a8 : 0x8100);
        fuzz_be16(buf + at + 2, fuzz_u8(in));
    }
    uint8_t *ip = buf + at + 2, protocol = protocols[shape >> 3 & 7];
    switch (shape & 3) {
    case 0: /* IPv4, perhaps with options */
        fuzz_be16(buf + at, 0x0800);
        ip[0] = (uint8_t)(0x40 | (detail & 2 ? fuzz_u8(in) : 5));
        fuzz_be16(ip + 6, detail & 4 ? fuzz_u16(in) : 0);
        ip[8] = 64;
        ip[9] = protocol;
        fuzz_take(in, ip + 12, 8);
        *transport = at + 2 + 4 * (size_t)(ip[0] & 15);
        break;
    case 1: /* IPv6, perhaps with an extension header */
        fuzz_be16(buf + at, 0x86dd);
        ip[0] = (uint8_t)(0x60 | (detail & 2));
        fuzz_be16(ip + 4, detail & 4 ? fuzz_u16(in) : 64);
        ip[6] = protocol;
        ip[7] = 255;
        ip[23] = detail & 8 ? 0 : fuzz_u8(in);
        ip[39] = fuzz_u8(in);
        *transport = at + 2 + 40;
        if (protocol == 0 || protocol == 60) {
            ip[40] = fuzz_u8(in) & 1 ? 6 : fuzz_u8(in);
            ip[41] = fuzz_u8(in) & 3;
            *transport += 8 + 8 * (size_t)ip[41];
        }
        break;
    case 2: /* ARP */
        fuzz_be16(buf + at, 0x0806);
        memcpy(ip, "\0\1\10\0\6\4\0", 7);
        ip[7] = detail & 1 ? 1 : 2;
        memcpy(ip + 8, buf + 6, 6);
        fuzz_take(in, ip + 14, 4);
        *transport = at + 2 + 28;
        break;
    default:
        fuzz_be16(buf + at, fuzz_u16(in));
        *transport = at + 2;
    }
    uint8_t *header = buf + *transport; /* at most 14 + 12 + 40 + 32 */
    if (protocol == 17) {
        fuzz_be16(header, detail & 16 ? 67 : fuzz_u8(in));
        fuzz_be16(header + 2, detail & 16 ? 68 : fuzz_u8(in));
        fuzz_be16(header + 4, detail & 32 ? fuzz_u16(in) : 300);
    } else if (protocol == 58) {
        header[0] = icmp_types[detail & 3];
        fuzz_take(in, header + 8, 16);
    } else if (protocol == 6) {
        header[12] = (uint8_t)(detail & 16 ? fuzz_u8(in) : 0x50);
        header[13] = fuzz_u8(in);
    }
    size_t used = *transport + 24, len = detail & 64 ? payload % (used + 1) : used + payload;
    if (len > max)
        len = max;
    if (len > used)
        fuzz_take(in, buf + used, len - used < 512 ? len - used : 512);
    return len;
}

static inline VmcFrameInfo fuzz_info(FuzzInput *in, size_t transport)
{
    static const uint8_t types[] = {0, 1, 4, 5, 0x81, 0x84, 3, 0x85};
    uint8_t how = fuzz_u8(in);
    VmcFrameInfo info = {
        .flags = how & 3,
        .gso_type = types[how >> 2 & 7],
        .gso_size = (uint16_t)(how & 32 ? fuzz_u16(in) : 8 + fuzz_u8(in)),
        .csum_start = (uint16_t)(how & 64 ? fuzz_u16(in) : transport),
        .csum_offset = (uint16_t)(how & 128             ? fuzz_u16(in)
                                  : (how >> 2 & 7) == 3 ? 6
                                                        : 16),
    };
    return info;
}
