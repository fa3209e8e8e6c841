/*
 * What follows each opcode byte: a ModRM byte or not, and which immediate. Private to the decoder.
 */
#pragma once

#include <stdint.h>

#include "cpu/soft/decode/insn.h"

#define VMC_SHAPE_MODRM 0x10u
#define VMC_SHAPE_IMM   0x0fu

enum {
    VMC_IMM_NONE,
    VMC_IMM_B,      /* one byte */
    VMC_IMM_W,      /* two bytes */
    VMC_IMM_Z,      /* two or four, by operand size */
    VMC_IMM_NEAR,   /* near branches: like Z, but always four bytes in 64-bit mode */
    VMC_IMM_V,      /* two, four or eight, by operand size */
    VMC_IMM_OFFSET, /* moffs: as many as an address has */
    VMC_IMM_FAR,    /* offset by operand size, then a selector */
    VMC_IMM_ENTER,  /* two bytes and one */
    VMC_IMM_GROUP3, /* F6, F7: by ModRM.reg */
    VMC_IMM_EXTRQ,  /* two single bytes with a 66 or F2 prefix */
};

extern const uint8_t vmc_shapes[4][256];
