/*
 * The bytes of one fuzzing input, taken from the front. Behind the end there are zeros, so nothing that reads
 * them has to ask first.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct FuzzInput {
    const uint8_t *data;
    size_t size, at;
} FuzzInput;

static inline bool fuzz_more(const FuzzInput *in)
{
    return in->at < in->size;
}

static inline uint8_t fuzz_u8(FuzzInput *in)
{
    return in->at < in->size ? in->data[in->at++] : 0;
}

/* Little-endian, `bytes` of them (at most 8). */
static inline uint64_t fuzz_number(FuzzInput *in, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)fuzz_u8(in) << (8 * i);
    return value;
}

static inline uint16_t fuzz_u16(FuzzInput *in)
{
    return (uint16_t)fuzz_number(in, 2);
}

static inline uint32_t fuzz_u32(FuzzInput *in)
{
    return (uint32_t)fuzz_number(in, 4);
}

static inline uint64_t fuzz_u64(FuzzInput *in)
{
    return fuzz_number(in, 8);
}

/* Below `n`, 0 for n = 0; takes no more bytes than such a number needs, and none where there is no choice. */
static inline uint32_t fuzz_below(FuzzInput *in, uint32_t n)
{
    if (n <= 1)
        return 0;
    return (uint32_t)(fuzz_number(in, n <= 0x100 ? 1 : n <= 0x10000 ? 2 : 4) % n);
}

static inline void fuzz_take(FuzzInput *in, void *buf, size_t len)
{
    size_t here = len < in->size - in->at ? len : in->size - in->at;

    memcpy(buf, in->data + in->at, here);
    memset((uint8_t *)buf + here, 0, len - here);
    in->at += here;
}
