/*
 * The decoder's tables, one row per sixteen opcodes, written as the opcode maps of the SDM are (vol. 2,
 * appendix A). Opcodes that do not exist have the shape of their neighbours.
 */
#include "cpu/soft/decode/tables.h"

/* clang-format off */
#define _  0
#define M  VMC_SHAPE_MODRM
#define B  VMC_IMM_B
#define W  VMC_IMM_W
#define Z  VMC_IMM_Z
#define J  VMC_IMM_NEAR
#define V  VMC_IMM_V
#define O  VMC_IMM_OFFSET
#define F  VMC_IMM_FAR
#define E  VMC_IMM_ENTER
#define MB (M | VMC_IMM_B)
#define MZ (M | VMC_IMM_Z)
#define MG (M | VMC_IMM_GROUP3)
#define MX (M | VMC_IMM_EXTRQ)

const uint8_t vmc_shapes[4][256] = {
    [VMC_MAP_1] = {
        /*        0   1   2   3   4   5   6   7   8   9   a   b   c   d   e   f */
        /* 00 */ M,  M,  M,  M,  B,  Z,  _,  _,  M,  M,  M,  M,  B,  Z,  _,  _,
        /* 10 */ M,  M,  M,  M,  B,  Z,  _,  _,  M,  M,  M,  M,  B,  Z,  _,  _,
        /* 20 */ M,  M,  M,  M,  B,  Z,  _,  _,  M,  M,  M,  M,  B,  Z,  _,  _,
        /* 30 */ M,  M,  M,  M,  B,  Z,  _,  _,  M,  M,  M,  M,  B,  Z,  _,  _,
        /* 40 */ _,  _,  _,  _,  _,  _,  _,  _,  _,  _,  _,  _,  _,  _,  _,  _,
        /* 50 */ _,  _,  _,  _,  _,  _,  _,  _,  _,  _,  _,  _,  _,  _,  _,  _,
        /* 60 */ _,  _,  M,  M,  _,  _,  _,  _,  Z,  MZ, B,  MB, _,  _,  _,  _,
        /* 70 */ B,  B,  B,  B,  B,  B,  B,  B,  B,  B,  B,  B,  B,  B,  B,  B,
        /* 80 */ MB, MZ, MB, MB, M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,
        /* 90 */ _,  _,  _,  _,  _,  _,  _,  _,  _,  _,  F,  _,  _,  _,  _,  _,
        /* a0 */ O,  O,  O,  O,  _,  _,  _,  _,  B,  Z,  _,  _,  _,  _,  _,  _,
        /* b0 */ B,  B,  B,  B,  B,  B,  B,  B,  V,  V,  V,  V,  V,  V,  V,  V,
        /* c0 */ MB, MB, W,  _,  M,  M,  MB, MZ, E,  _,  W,  _,  _,  B,  _,  _,
        /* d0 */ M,  M,  M,  M,  B,  B,  _,  _,  M,  M,  M,  M,  M,  M,  M,  M,
        /* e0 */ B,  B,  B,  B,  B,  B,  B,  B,  J,  J,  F,  B,  _,  _,  _,  _,
        /* f0 */ _,  _,  _,  _,  _,  _,  MG, MG, _,  _,  _,  _,  _,  _,  M,  M,
    },
    [VMC_MAP_0F] = {
        /*        0   1   2   3   4   5   6   7   8   9   a   b   c   d   e   f */
        /* 00 */ M,  M,  M,  M,  _,  _,  _,  _,  _,  _,  _,  _,  _,  M,  _,  MB,
        /* 10 */ M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,
        /* 20 */ M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,
        /* 30 */ _,  _,  _,  _,  _,  _,  _,  _,  _,  _,  _,  _,  _,  _,  _,  _,
        /* 40 */ M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,
        /* 50 */ M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,
        /* 60 */ M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,
        /* 70 */ MB, MB, MB, MB, M,  M,  M,  _,  MX, M,  M,  M,  M,  M,  M,  M,
        /* 80 */ J,  J,  J,  J,  J,  J,  J,  J,  J,  J,  J,  J,  J,  J,  J,  J,
        /* 90 */ M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,
        /* a0 */ _,  _,  _,  M,  MB, M,  M,  M,  _,  _,  _,  M,  MB, M,  M,  M,
        /* b0 */ M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  MB, M,  M,  M,  M,  M,
        /* c0 */ M,  M,  MB, M,  MB, MB, MB, M,  _,  _,  _,  _,  _,  _,  _,  _,
        /* d0 */ M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,
        /* e0 */ M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,
        /* f0 */ M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,  M,
    },
    [VMC_MAP_0F38] = {[0 ... 255] = M},
    [VMC_MAP_0F3A] = {[0 ... 255] = MB},
};
