/*
 * Frames for tests, put together and taken apart by their specifications and not with our own code: sums are
 * made here in the plain way of RFC 1071.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <glib.h>
#include <stdbool.h>
#include <string.h>

#define FRAME_MAX (14 + 4 + 65535)

typedef struct TestFrame {
    size_t len, ip, transport, payload; /* offsets */
    uint8_t bytes[FRAME_MAX];
} TestFrame;

static inline void put16(uint8_t *p, unsigned value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

static inline unsigned get16(const uint8_t *p)
{
    return p[0] << 8 | p[1];
}

static inline uint32_t get32(const uint8_t *p)
{
    return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static inline void put32(uint8_t *p, uint32_t value)
{
    put16(p, value >> 16);
    put16(p + 2, value & 0xffff);
}

/* Word by word; 0xffff over what has a right checksum in it. */
static inline unsigned plain_sum(unsigned sum, const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        sum += i % 2 ? p[i] : (unsigned)p[i] << 8;
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

/* The sum over pseudo header and transport segment of a frame. */
static inline unsigned transport_sum(const uint8_t *bytes, size_t len, size_t ip, size_t transport,
                                     uint8_t protocol)
{
    uint8_t tail[4];
    bool six = bytes[ip] >> 4 == 6;
    unsigned sum = plain_sum(0, bytes + ip + (six ? 8 : 12), six ? 32 : 8);

    put16(tail, (unsigned)(len - transport));
    put16(tail + 2, protocol);
    return plain_sum(plain_sum(sum, tail, 4), bytes + transport, len - transport);
}

/* TCP or UDP over IPv4 or IPv6, with `tags` VLAN tags, options in both headers if asked for, and a payload
 * that says where each of its bytes is. Sums are not filled in. */
static inline void make_frame(TestFrame *f, bool six, uint8_t protocol, unsigned tags, bool options,
                              size_t payload)
{
    size_t at = 12;

    memset(f->bytes, 0, 256);
    memcpy(f->bytes, "\x52\x54\0\0\0\x02\x52\x54\0\0\0\x01", 12);
    for (; tags; tags--, at += 4) {
        put16(f->bytes + at, 0x8100);
        put16(f->bytes + at + 2, 5);
    }
    put16(f->bytes + at, six ? 0x86dd : 0x0800);
    f->ip = at + 2;
    uint8_t *ip = f->bytes + f->ip;
    size_t ip_len = six ? (options ? 48 : 40) : options ? 32 : 20;
    size_t transport_len = protocol == 17 ? 8 : options ? 32 : 20;
    f->transport = f->ip + ip_len;
    f->payload = f->transport + transport_len;
    f->len = f->payload + payload;
    if (six) {
        ip[0] = 0x60;
        put16(ip + 4, (unsigned)(f->len - f->ip - 40));
        ip[6] = options ? 0 : protocol; /* hop-by-hop: PadN */
        ip[7] = 64;
        inet_pton(AF_INET6, "fec0::15", ip + 8);
        inet_pton(AF_INET6, "fec0::2", ip + 24);
        if (options)
            memcpy(ip + 40, (uint8_t[]){protocol, 0, 1, 4, 0, 0, 0, 0}, 8);
    } else {
        ip[0] = (uint8_t)(0x40 | ip_len / 4);
        put16(ip + 2, (unsigned)(f->len - f->ip));
        put16(ip + 4, 0xfffe);
        put16(ip + 6, 0x4000);
        ip[8] = 64;
        ip[9] = protocol;
        inet_pton(AF_INET, "10.0.2.15", ip + 12);
        inet_pton(AF_INET, "10.0.2.2", ip + 16);
        for (size_t i = 20; i < ip_len; i++)
            ip[i] = 1;
    }
    uint8_t *transport = f->bytes + f->transport;
    put16(transport, 40000);
    put16(transport + 2, 80);
    if (protocol == 17) {
        put16(transport + 4, (unsigned)(8 + payload));
    } else {
        put32(transport + 4, 0xfffffff0u);
        transport[12] = (uint8_t)(transport_len / 4 << 4);
        transport[13] = 0x10;
        put16(transport + 14, 0xffff);
        for (size_t i = 20; i < transport_len; i++)
            transport[i] = 1;
    }
    for (size_t i = 0; i < payload; i++)
        f->bytes[f->payload + i] = (uint8_t)(i * 7 + (i >> 8));
}

/* Leaves the sum to others, as a driver does: the field has that of the pseudo header. */
static inline void leave_sum(TestFrame *f, uint8_t protocol)
{
    uint8_t none[2] = {0};
    unsigned offset = protocol == 17 ? 6 : 16;

    put16(f->bytes + f->transport + offset, 0);
    uint8_t tail[4];
    bool six = f->bytes[f->ip] >> 4 == 6;
    unsigned sum = plain_sum(0, f->bytes + f->ip + (six ? 8 : 12), six ? 32 : 8);
    put16(tail, (unsigned)(f->len - f->transport));
    put16(tail + 2, protocol);
    put16(f->bytes + f->transport + offset, plain_sum(plain_sum(sum, tail, 4), none, 0));
}
