/*
 * Encoding one instruction (emit.h).
 */
#include "cpu/soft/translate/emit.h"

static unsigned high(unsigned reg)
{
    return reg != H_NONE && reg >= 8;
}

static unsigned rex_bits(uint32_t op, unsigned reg, struct vmc_rm rm)
{
    unsigned rex = (op & VMC_OP_W ? 8u : 0) | high(reg) << 2;
    if (rm.reg != H_NONE)
        rex |= high(rm.reg);
    else
        rex |= high(rm.index) << 1 | high(rm.base);
    bool byte = ((op & VMC_OP_REG8) && reg >= 4) || ((op & VMC_OP_RM8) && rm.reg != H_NONE && rm.reg >= 4);
    return rex || byte ? 0x40 | rex : 0;
}

static void put_opcode(struct vmc_emit *e, uint32_t op)
{
    unsigned map = op >> 8 & 3;
    if (map)
        vmc_put8(e, 0x0f);
    if (map > 1)
        vmc_put8(e, map == 2 ? 0x38 : 0x3a);
    vmc_put8(e, op & 0xff);
}

static void put_memory(struct vmc_emit *e, unsigned reg, struct vmc_rm rm)
{
    unsigned base = rm.base & 7u, field = (reg & 7u) << 3;
    bool sib = rm.index != H_NONE || base == 4;
    unsigned mod = rm.disp == 0 && base != 5 ? 0 : rm.disp >= -128 && rm.disp < 128 ? 1 : 2;
    if (sib) {
        unsigned index = rm.index == H_NONE ? 4 : rm.index & 7u;
        vmc_put8(e, mod << 6 | field | 4);
        vmc_put8(e, (unsigned)rm.scale << 6 | index << 3 | base);
    } else {
        vmc_put8(e, mod << 6 | field | base);
    }
    if (mod == 1)
        vmc_put8(e, (unsigned)rm.disp & 0xff);
    else if (mod == 2)
        vmc_put32(e, (uint32_t)rm.disp);
}

void vmc_emit(struct vmc_emit *e, uint32_t op, unsigned reg, struct vmc_rm rm)
{
    unsigned rex = rex_bits(op, reg, rm);
    if (reg == H_R10 || rm.reg == H_R10)
        e->r10_holds = VMC_R10_UNKNOWN;
    if (op & VMC_OP_LOCK)
        vmc_put8(e, 0xf0);
    if (op & VMC_OP_66)
        vmc_put8(e, 0x66);
    if (op & VMC_OP_F2)
        vmc_put8(e, 0xf2);
    if (op & VMC_OP_F3)
        vmc_put8(e, 0xf3);
    if (rex)
        vmc_put8(e, rex);
    put_opcode(e, op);
    if (rm.reg != H_NONE)
        vmc_put8(e, 0xc0 | (reg & 7u) << 3 | (rm.reg & 7u));
    else
        put_memory(e, reg, rm);
}

void vmc_emit_vex(struct vmc_emit *e, uint32_t op, bool l, unsigned vvvv, unsigned reg, struct vmc_rm rm)
{
    unsigned rex = rex_bits(op, reg, rm), pp = op & VMC_OP_66   ? 1
                                               : op & VMC_OP_F3 ? 2
                                               : op & VMC_OP_F2 ? 3
                                                                : 0;
    if (reg == H_R10 || rm.reg == H_R10 || vvvv == H_R10)
        e->r10_holds = VMC_R10_UNKNOWN;
    vmc_put8(e, 0xc4);
    vmc_put8(e, ((rex & 7) ^ 7) << 5 | (op >> 8 & 3));
    vmc_put8(e, (rex & 8 ? 0x80u : 0) | (~vvvv & 15) << 3 | (l ? 4u : 0) | pp);
    vmc_put8(e, op & 0xff);
    if (rm.reg != H_NONE)
        vmc_put8(e, 0xc0 | (reg & 7u) << 3 | (rm.reg & 7u));
    else
        put_memory(e, reg, rm);
}
