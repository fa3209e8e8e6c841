/*
 * FLDENV, FNSTENV, FRSTOR, FNSAVE: the x87 environment in memory, in its 16- and 32-bit, real and protected
 * mode formats (SDM vol. 1 section 8.1.10, figures 8-9 to 8-12). In 64-bit mode the 32-bit protected mode
 * format is used, with the low halves of FIP and FDP. FCS and FDS are zero (fxstate.c).
 */
#include "cpu/soft/exec/x87.h"

#define ENV32 28u
#define ENV16 14u

static unsigned env_size(const struct vmc_uop *u)
{
    return u->imm ? ENV32 : ENV16;
}

/* Real mode and virtual-8086 mode have linear addresses instead of selector and offset. */
static bool real_format(const VmcCpu *c)
{
    return !(c->cr0 & CR0_PE) || (c->eflags & FL_VM);
}

/* The tag word in full: 0 valid, 1 zero, 2 special, 3 empty; two bits for each physical register. */
static uint16_t full_tags(const struct vmc_fx *fx)
{
    unsigned top = fx->fsw >> 11 & 7;
    uint16_t tags = 0;
    for (unsigned i = 0; i < 8; i++) {
        const uint8_t *st = fx->st[(i - top) & 7];
        uint64_t mantissa;
        uint16_t exponent;
        unsigned tag = 2;
        memcpy(&mantissa, st, 8);
        memcpy(&exponent, st + 8, 2);
        exponent &= 0x7fff;
        if (!(fx->ftw >> i & 1))
            tag = 3;
        else if (exponent == 0 && mantissa == 0)
            tag = 1;
        else if (exponent != 0 && exponent != 0x7fff && mantissa >> 63)
            tag = 0;
        tags |= (uint16_t)(tag << 2 * i);
    }
    return tags;
}

static uint8_t abridged_tags(uint16_t full)
{
    uint8_t tags = 0;
    for (unsigned i = 0; i < 8; i++)
        if ((full >> 2 * i & 3) != 3)
            tags |= (uint8_t)(1u << i);
    return tags;
}

static void put16(uint8_t *p, uint32_t v)
{
    uint16_t x = (uint16_t)v;
    memcpy(p, &x, 2);
}
static void put32(uint8_t *p, uint32_t v)
{
    memcpy(p, &v, 4);
}
static uint32_t get16(const uint8_t *p)
{
    uint16_t x;
    memcpy(&x, p, 2);
    return x;
}
static uint32_t get32(const uint8_t *p)
{
    uint32_t x;
    memcpy(&x, p, 4);
    return x;
}

static void make_env(VmcCpu *c, const struct vmc_uop *u, uint8_t *e)
{
    const struct vmc_fx *fx = &c->fx;
    bool real = real_format(c);
    uint32_t fip = (uint32_t)fx->fip, fdp = (uint32_t)fx->fdp;
    if (real) {
        fip += (uint32_t)c->seg[VMC_CS].base;
        fdp += (uint32_t)c->seg[VMC_DS].base;
    }
    if (!u->imm) {
        put16(e, fx->fcw);
        put16(e + 2, fx->fsw);
        put16(e + 4, full_tags(fx));
        put16(e + 6, fip);
        put16(e + 8, real ? (fip >> 16 & 0xf) << 12 | fx->fop : 0);
        put16(e + 10, fdp);
        put16(e + 12, real ? (fdp >> 16 & 0xf) << 12 : 0);
        return;
    }
    put32(e, 0xffff0000u | fx->fcw);
    put32(e + 4, 0xffff0000u | fx->fsw);
    put32(e + 8, 0xffff0000u | full_tags(fx));
    if (real) {
        put32(e + 12, 0xffff0000u | (fip & 0xffff));
        put32(e + 16, (fip >> 16) << 12 | fx->fop);
        put32(e + 20, 0xffff0000u | (fdp & 0xffff));
        put32(e + 24, (fdp >> 16) << 12);
    } else {
        put32(e + 12, fip);
        put32(e + 16, (uint32_t)fx->fop << 16);
        put32(e + 20, fdp);
        put32(e + 24, 0xffff0000u);
    }
}

/* The registers keep their physical places: FRSTOR writes them afterwards. */
static void take_env(VmcCpu *c, const struct vmc_uop *u, const uint8_t *e)
{
    bool real = real_format(c), wide = u->imm;
    uint32_t fop = wide ? real ? get32(e + 16) : get32(e + 16) >> 16 : real ? get16(e + 8) : c->fx.fop;
    uint32_t fip, fdp;
    if (wide && !real) {
        fip = get32(e + 12);
        fdp = get32(e + 20);
    } else if (wide) {
        fip = (get32(e + 12) & 0xffff) | (get32(e + 16) >> 12 & 0xffff) << 16;
        fdp = (get32(e + 20) & 0xffff) | (get32(e + 24) >> 12 & 0xffff) << 16;
    } else {
        fip = get16(e + 6) | (real ? (get16(e + 8) >> 12) << 16 : 0);
        fdp = get16(e + 10) | (real ? (get16(e + 12) >> 12) << 16 : 0);
    }
    if (real) {
        fip -= (uint32_t)c->seg[VMC_CS].base;
        fdp -= (uint32_t)c->seg[VMC_DS].base;
    }
    c->fx.fop = fop & 0x7ff;
    c->fx.fip = fip;
    c->fx.fdp = fdp;
    vmc_x87_set_status(c, (uint16_t)get16(e + (wide ? 4 : 2)));
    c->fx.ftw = abridged_tags((uint16_t)get16(e + (wide ? 8 : 4)));
    vmc_x87_set_control(c, (uint16_t)get16(e));
}

static VMC_NOINLINE void fldenv(VmcCpu *c, const struct vmc_uop *u)
{
    uint8_t e[ENV32];
    vmc_x87_check(c, u);
    vmc_read_bytes(c, u, vmc_ea(c, u), e, env_size(u));
    vmc_x87_sync(c);
    take_env(c, u, e);
}

static VMC_NOINLINE void fnstenv(VmcCpu *c, const struct vmc_uop *u)
{
    uint8_t e[ENV32];
    vmc_x87_check_nm(c, u);
    vmc_x87_sync(c);
    make_env(c, u, e);
    vmc_write_bytes(c, u, vmc_ea(c, u), e, env_size(u));
    vmc_x87_set_control(c, c->fx.fcw | FSW_FLAGS); /* all masked afterwards */
}

static VMC_NOINLINE void frstor(VmcCpu *c, const struct vmc_uop *u)
{
    uint8_t e[ENV32 + 80];
    unsigned size = env_size(u);
    vmc_x87_check(c, u);
    vmc_read_bytes(c, u, vmc_ea(c, u), e, size + 80);
    vmc_x87_sync(c);
    take_env(c, u, e);
    for (unsigned i = 0; i < 8; i++)
        memcpy(c->fx.st[i], e + size + 10 * i, 10);
}

static VMC_NOINLINE void fnsave(VmcCpu *c, const struct vmc_uop *u)
{
    uint8_t e[ENV32 + 80];
    unsigned size = env_size(u);
    vmc_x87_check_nm(c, u);
    vmc_x87_sync(c);
    make_env(c, u, e);
    for (unsigned i = 0; i < 8; i++)
        memcpy(e + size + 10 * i, c->fx.st[i], 10);
    vmc_write_bytes(c, u, vmc_ea(c, u), e, size + 80);
    vmc_x87_init(c);
}

#define HANDLER(name)                                                                                        \
    void vmc_x87_op_##name(VmcCpu *c, const struct vmc_uop *u)                                               \
    {                                                                                                        \
        name(c, u);                                                                                          \
        VMC_NEXT(c, u);                                                                                      \
    }
HANDLER(fldenv)
HANDLER(fnstenv)
HANDLER(frstor)
HANDLER(fnsave)
