/*
 * The instruction decoder: prefixes, opcode, ModRM, SIB, displacement and immediates of every opcode map.
 *
 * One byte of attributes per opcode (tables.c) says whether a ModRM byte follows and which immediate; the few
 * opcodes whose shape depends on more than that are named here. Lengths hold also for opcodes that do not
 * exist: those raise #UD whatever follows, and that is the binder's affair.
 *
 * Source: Intel SDM vol. 2, chapter 2 and appendix A. Where AMD differs Intel's reading is taken, as CPUID
 * says Intel: a 66 prefix on a near branch in 64-bit mode is ignored (AMD's cuts immediate and RIP to 16
 * bits; as the two disagree, nobody emits the form).
 *
 * A VEX prefix is turned into what the legacy prefixes it stands for would have left behind. EVEX and XOP
 * forms are recognised only in so far as they are marked: nothing that CPUID advertises uses them, so they
 * are instructions that do not exist.
 */
#include "cpu/soft/decode/insn.h"

#include <stddef.h>
#include <string.h>

#include "cpu/cpu.h"
#include "cpu/soft/decode/tables.h"

#define INSN_MAX 15

struct cursor {
    const uint8_t *bytes;
    unsigned pos, avail;
    enum vmc_decode_status status;
};

/* The next `size` bytes, little endian and zero-extended; 0 once the bytes have run out. */
static uint64_t take(struct cursor *cur, unsigned size)
{
    uint64_t value = 0;

    if (cur->pos + size > INSN_MAX && cur->avail >= INSN_MAX) {
        cur->status = VMC_DECODE_TOO_LONG;
        return 0;
    }
    if (cur->pos + size > cur->avail) {
        cur->status = VMC_DECODE_MORE;
        return 0;
    }
    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)cur->bytes[cur->pos + i] << (8 * i);
    cur->pos += size;
    return value;
}

static int64_t sign_extend(uint64_t value, unsigned size)
{
    unsigned shift = 64 - 8 * size;

    return size ? (int64_t)(value << shift) >> shift : 0;
}

/* Segment of a prefix byte; those that do not count in 64-bit mode leave what was there. */
static void segment_prefix(struct vmc_insn *d, uint8_t byte)
{
    switch (byte) {
    case 0x64:
        d->seg = VMC_FS;
        return;
    case 0x65:
        d->seg = VMC_GS;
        return;
    case 0x26:
    case 0x2e:
    case 0x36:
    case 0x3e:
        if (d->mode != VMC_MODE_64)
            d->seg = (byte - 0x26) / 8; /* ES, CS, SS, DS are 0..3 */
        return;
    }
}

/* Reads prefixes and returns the first byte that is none. A REX counts only right before the opcode. */
static uint8_t read_prefixes(struct cursor *cur, struct vmc_insn *d, bool *prefix67)
{
    for (;;) {
        uint8_t byte = (uint8_t)take(cur, 1);

        if (cur->status != VMC_DECODE_OK)
            return 0;
        switch (byte) {
        case 0x26:
        case 0x2e:
        case 0x36:
        case 0x3e:
        case 0x64:
        case 0x65:
            segment_prefix(d, byte);
            break;
        case 0x66:
            d->prefix66 = true;
            break;
        case 0x67:
            *prefix67 = true;
            break;
        case 0xf0:
            d->lock = true;
            break;
        case 0xf2:
        case 0xf3:
            d->rep = byte;
            break;
        default:
            if (d->mode != VMC_MODE_64 || (byte & 0xf0) != 0x40)
                return byte;
            d->rex = byte;
            continue;
        }
        d->rex = 0;
    }
}

static void effective_sizes(struct vmc_insn *d, bool prefix67)
{
    switch (d->mode) {
    case VMC_MODE_64:
        d->opsize = d->rex & 8 ? 8 : d->prefix66 ? 2 : 4;
        d->addrsize = prefix67 ? 4 : 8;
        break;
    case VMC_MODE_32:
        d->opsize = d->prefix66 ? 2 : 4;
        d->addrsize = prefix67 ? 2 : 4;
        break;
    default:
        d->opsize = d->prefix66 ? 4 : 2;
        d->addrsize = prefix67 ? 4 : 2;
        break;
    }
}

static void read_disp(struct cursor *cur, struct vmc_insn *d, unsigned size)
{
    d->disp_size = (uint8_t)size;
    d->disp = (int32_t)sign_extend(take(cur, size), size);
}

/* 16-bit addressing: SDM table 2-1. */
static void read_mem16(struct cursor *cur, struct vmc_insn *d)
{
    static const uint8_t bases[8] = {VMC_RBX, VMC_RBX, VMC_RBP, VMC_RBP, VMC_RSI, VMC_RDI, VMC_RBP, VMC_RBX};
    static const uint8_t indices[8] = {VMC_RSI,    VMC_RDI,    VMC_RSI,    VMC_RDI,
                                       VMC_NO_REG, VMC_NO_REG, VMC_NO_REG, VMC_NO_REG};
    unsigned mod = d->modrm >> 6, rm = d->modrm & 7;

    if (mod == 0 && rm == 6) {
        read_disp(cur, d, 2);
        return;
    }
    d->base = bases[rm];
    d->index = indices[rm];
    d->ss_default = d->base == VMC_RBP;
    if (mod)
        read_disp(cur, d, mod);
}

/* 32- and 64-bit addressing: SDM tables 2-2, 2-3, 2-5 and 2-7. */
static void read_mem32(struct cursor *cur, struct vmc_insn *d)
{
    unsigned mod = d->modrm >> 6, base = d->modrm & 7;
    bool sib = base == 4;

    if (sib) {
        uint8_t byte = (uint8_t)take(cur, 1);
        unsigned index = ((byte >> 3) & 7) | (d->rex & 2 ? 8 : 0);

        base = byte & 7;
        if (index != 4 || d->vsib) {
            d->index = (uint8_t)index;
            d->scale = byte >> 6;
        }
    }
    if (mod == 0 && base == 5) {
        if (!sib && d->mode == VMC_MODE_64)
            d->base = VMC_RIP_REG;
        read_disp(cur, d, 4);
        return;
    }
    d->ss_default = base == VMC_RSP || base == VMC_RBP;
    d->base = (uint8_t)base;
    if (d->rex & 1) {
        d->base |= 8;
        d->ss_default = false;
    }
    if (mod == 1)
        read_disp(cur, d, 1);
    else if (mod == 2)
        read_disp(cur, d, 4);
}

static void read_modrm(struct cursor *cur, struct vmc_insn *d)
{
    bool register_only = d->map == VMC_MAP_0F && d->opcode >= 0x20 && d->opcode <= 0x27; /* MOV CR, DR, TR */

    d->has_modrm = true;
    d->modrm = (uint8_t)take(cur, 1);
    d->reg = ((d->modrm >> 3) & 7) | (d->rex & 4 ? 8 : 0);
    if (d->modrm >= 0xc0 || register_only) {
        d->rm = (d->modrm & 7) | (d->rex & 1 ? 8 : 0);
        return;
    }
    d->is_mem = true;
    if (d->vsib && (d->addrsize == 2 || (d->modrm & 7) != 4))
        d->vex_refused = true; /* no SIB byte */
    if (d->addrsize == 2)
        read_mem16(cur, d);
    else
        read_mem32(cur, d);
}

static void read_imm(struct cursor *cur, struct vmc_insn *d, unsigned size)
{
    d->imm_size = (uint8_t)size;
    d->imm = sign_extend(take(cur, size), size);
}

static void read_immediates(struct cursor *cur, struct vmc_insn *d, unsigned kind)
{
    unsigned z = d->opsize == 2 ? 2 : 4;

    switch (kind) {
    case VMC_IMM_B:
        read_imm(cur, d, 1);
        break;
    case VMC_IMM_W:
        read_imm(cur, d, 2);
        break;
    case VMC_IMM_Z:
        read_imm(cur, d, z);
        break;
    case VMC_IMM_NEAR:
        read_imm(cur, d, d->mode == VMC_MODE_64 ? 4 : z);
        break;
    case VMC_IMM_V:
        read_imm(cur, d, d->opsize);
        break;
    case VMC_IMM_OFFSET:
        d->imm_size = d->addrsize;
        d->imm = (int64_t)take(cur, d->addrsize);
        break;
    case VMC_IMM_FAR:
        d->imm_size = (uint8_t)z;
        d->imm = (int64_t)take(cur, z);
        d->imm2 = (uint16_t)take(cur, 2);
        break;
    case VMC_IMM_ENTER:
        read_imm(cur, d, 2);
        d->imm2 = (uint16_t)take(cur, 1);
        break;
    case VMC_IMM_GROUP3: /* TEST alone of its group has an immediate */
        if (((d->modrm >> 3) & 7) < 2)
            read_imm(cur, d, d->opcode & 1 ? z : 1);
        break;
    case VMC_IMM_EXTRQ: /* SSE4a: 66 0F 78 /0 ib ib, F2 0F 78 /r ib ib; without a prefix VMREAD */
        if (d->prefix66 || d->rep == 0xf2) {
            read_imm(cur, d, 1);
            d->imm2 = (uint16_t)take(cur, 1);
        }
        break;
    default:
        break;
    }
}

/* Does this byte of map 1 begin a VEX, EVEX or XOP form? Outside 64-bit mode it does when what would be the
 * ModRM byte of LES, LDS or BOUND names a register. */
static bool is_vex(const struct cursor *cur, const struct vmc_insn *d)
{
    bool have_next = cur->pos < cur->avail;
    uint8_t next = have_next ? cur->bytes[cur->pos] : 0;

    switch (d->opcode) {
    case 0x62:
    case 0xc4:
    case 0xc5:
        return d->mode == VMC_MODE_64 || next >= 0xc0;
    case 0x8f:
        return (next & 0x1f) >= 8;
    default:
        return false;
    }
}

/* What the second byte of C5, or the third of C4, holds besides its top bit. */
static void vex_payload(struct vmc_insn *d, uint8_t byte)
{
    static const uint8_t rep[4] = {0, 0, 0xf3, 0xf2};

    d->vvvv = (uint8_t)(~byte >> 3 & 15);
    d->vex_l = byte & 4;
    d->prefix66 = (byte & 3) == 1;
    d->rep = rep[byte & 3];
}

/* The rest of a VEX prefix and its opcode byte (SDM vol. 2, 2.3.5). R, X, B and vvvv are stored inverted.
 * Outside 64-bit mode there are eight registers, whatever the bits say. */
static void read_vex(struct cursor *cur, struct vmc_insn *d)
{
    bool three = d->opcode == 0xc4;
    uint8_t first = (uint8_t)take(cur, 1), second = three ? (uint8_t)take(cur, 1) : first;
    unsigned map = three ? first & 31u : 1u;
    unsigned rxb = three ? (unsigned)~first >> 5 & 7u : (unsigned)~first >> 5 & 4u;

    if (d->prefix66 || d->rep || d->lock || d->rex || map < 1 || map > 3) {
        d->vex_refused = true;
        return;
    }
    d->map = (uint8_t)(VMC_MAP_1 + map);
    d->vex_w = three && second & 0x80;
    vex_payload(d, second);
    d->opsize = 4;
    if (d->mode == VMC_MODE_64) {
        d->rex = (uint8_t)(0x40 | rxb | (d->vex_w ? 8u : 0u));
        d->opsize = d->vex_w ? 8 : 4;
    }
    d->opcode = (uint8_t)take(cur, 1);
    d->vsib = d->map == VMC_MAP_0F38 && (d->opcode & 0xfc) == 0x90;
}

static bool opcode_names_register(const struct vmc_insn *d)
{
    unsigned op = d->opcode;

    if (d->map == VMC_MAP_0F)
        return op >= 0xc8 && op <= 0xcf;
    return d->map == VMC_MAP_1 &&
           ((op >= 0x40 && op <= 0x5f) || (op >= 0x90 && op <= 0x97) || (op >= 0xb0 && op <= 0xbf));
}

/* The opcode byte and its map, from the first byte that is no prefix. */
static void read_opcode(struct cursor *cur, struct vmc_insn *d, uint8_t byte)
{
    d->map = VMC_MAP_1;
    if (byte == 0x0f) {
        byte = (uint8_t)take(cur, 1);
        d->map = VMC_MAP_0F;
        if (byte == 0x38 || byte == 0x3a) {
            d->map = byte == 0x38 ? VMC_MAP_0F38 : VMC_MAP_0F3A;
            byte = (uint8_t)take(cur, 1);
        }
    }
    d->opcode = byte;
}

enum vmc_decode_status vmc_decode(const uint8_t *bytes, unsigned avail, enum vmc_width mode,
                                  struct vmc_insn *insn)
{
    struct cursor cur = {.bytes = bytes, .avail = avail < INSN_MAX ? avail : INSN_MAX};
    bool prefix67 = false;
    uint8_t byte, shape;

    memset(insn, 0, sizeof(*insn));
    insn->mode = (uint8_t)mode;
    insn->seg = insn->base = insn->index = VMC_NO_REG;

    byte = read_prefixes(&cur, insn, &prefix67);
    effective_sizes(insn, prefix67);
    read_opcode(&cur, insn, byte);
    if (cur.status != VMC_DECODE_OK)
        return cur.status;

    insn->vex = insn->map == VMC_MAP_1 && is_vex(&cur, insn);
    if (insn->vex && (insn->opcode & 0xfe) == 0xc4)
        read_vex(&cur, insn);
    else
        insn->vex_refused = insn->vex;
    shape = vmc_shapes[insn->map][insn->opcode];
    if (insn->vex_refused)
        shape = 0; /* nothing of what follows is decoded */
    if (shape & VMC_SHAPE_MODRM)
        read_modrm(&cur, insn);
    else if (opcode_names_register(insn))
        insn->rm = (insn->opcode & 7) | (insn->rex & 1 ? 8 : 0);
    if (cur.status == VMC_DECODE_OK)
        read_immediates(&cur, insn, shape & VMC_SHAPE_IMM);

    insn->length = (uint8_t)cur.pos;
    return cur.status;
}
