/*
 * Chips with 8-bit registers on a bus that allows wider accesses: a wide access is one of each byte in order,
 * as the ISA bridge splits it.
 */
#pragma once

#include <stdint.h>

typedef uint8_t VmcByteRead(void *opaque, unsigned offset);
typedef void VmcByteWrite(void *opaque, unsigned offset, uint8_t value);

static inline uint64_t vmc_bytes_read(VmcByteRead *read, void *opaque, uint64_t offset, unsigned size)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)read(opaque, (unsigned)offset + i) << (8 * i);
    return value;
}

static inline void vmc_bytes_write(VmcByteWrite *write, void *opaque, uint64_t offset, unsigned size,
                                   uint64_t value)
{
    for (unsigned i = 0; i < size; i++)
        write(opaque, (unsigned)offset + i, (uint8_t)(value >> (8 * i)));
}
