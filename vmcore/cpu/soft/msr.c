/*
 * RDMSR and WRMSR: every register CPUID promises, with the checks hardware makes; all others raise #GP.
 *
 * Registers that are plain storage stand in one table with the bits they accept; those that do something have
 * a case of their own. Cache-control registers (PAT, MTRRs) are kept and checked but change nothing, as there
 * is no cache to control. Speculation controls likewise.
 *
 * Source: Intel SDM vol. 4 (registers), vol. 3 sections 12.11 (MTRR), 12.12 (PAT), 18.17 (TSC).
 */
#include "cpu/soft/msr.h"

#include <stddef.h>

#include "cpu/soft/segment.h"
#include "cpu/soft/tsc.h"

enum {
    MSR_TSC = 0x10,
    MSR_PLATFORM_ID = 0x17,
    MSR_APIC_BASE = 0x1b,
    MSR_TSC_ADJUST = 0x3b,
    MSR_SPEC_CTRL = 0x48,
    MSR_PRED_CMD = 0x49,
    MSR_UCODE_REV = 0x8b,
    MSR_MTRRCAP = 0xfe,
    MSR_ARCH_CAPABILITIES = 0x10a,
    MSR_SYSENTER_CS = 0x174,
    MSR_SYSENTER_ESP = 0x175,
    MSR_SYSENTER_EIP = 0x176,
    MSR_MCG_CAP = 0x179,
    MSR_MCG_STATUS = 0x17a,
    MSR_MISC_ENABLE = 0x1a0,
    MSR_DEBUGCTL = 0x1d9,
    MSR_MTRR_PHYSBASE0 = 0x200,
    MSR_MTRR_FIX64K = 0x250,
    MSR_MTRR_FIX16K = 0x258,
    MSR_MTRR_FIX4K = 0x268,
    MSR_PAT = 0x277,
    MSR_MTRR_DEF = 0x2ff,
    MSR_TSC_DEADLINE = 0x6e0,
    MSR_X2APIC = 0x800,
    MSR_X2APIC_END = 0x8ff,
};
#define MSR_EFER           0xc0000080u
#define MSR_STAR           0xc0000081u
#define MSR_LSTAR          0xc0000082u
#define MSR_CSTAR          0xc0000083u
#define MSR_SFMASK         0xc0000084u
#define MSR_FS_BASE        0xc0000100u
#define MSR_GS_BASE        0xc0000101u
#define MSR_KERNEL_GS_BASE 0xc0000102u
#define MSR_TSC_AUX        0xc0000103u

/* RDCL_NO, IBRS_ALL, SKIP_L1DFL_VMENTRY, SSB_NO, MDS_NO, PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO, FBSDP_NO,
 * PSDP_NO, BHI_NO, PBRSB_NO, GDS_NO, RFDS_NO, ITS_NO: nothing here runs ahead of itself. */
#define ARCH_CAPABILITIES                                                                                    \
    (1ull << 0 | 1ull << 1 | 1ull << 3 | 1ull << 4 | 1ull << 5 | 1ull << 6 | 1ull << 8 | 1ull << 13 |        \
     1ull << 14 | 1ull << 15 | 1ull << 20 | 1ull << 24 | 1ull << 26 | 1ull << 27 | 1ull << 62)

#define N_VARIABLE_MTRR 8
#define MTRRCAP         (N_VARIABLE_MTRR | 1u << 8 /* fixed */ | 1u << 10 /* WC */)
#define PAT_RESET       0x0007040600070406ull
#define UCODE_REVISION  0x1f /* a real one of this model */
/* Fast strings; no BTS, no PEBS. */
#define MISC_ENABLE_RESET 0x1801ull
#define EFER_WRITABLE     (EFER_SCE | EFER_LME | EFER_NXE)

enum check { CHECK_MASK, CHECK_CANONICAL };

/* Storage of VmcCpu.msr. */
static const struct storage {
    uint32_t msr;
    uint16_t offset;
    uint8_t check;
    uint64_t mask; /* bits that may be set */
} storage[] = {
#define FIELD(f) offsetof(VmcCpu, msr.f)
    {MSR_SPEC_CTRL, FIELD(spec[0]), CHECK_MASK, 0x403}, /* IBRS, STIBP, BHI_DIS_S */
    {MSR_SYSENTER_CS, FIELD(sysenter_cs), CHECK_MASK, 0xffffffffu},
    {MSR_SYSENTER_ESP, FIELD(sysenter_esp), CHECK_CANONICAL, 0},
    {MSR_SYSENTER_EIP, FIELD(sysenter_eip), CHECK_CANONICAL, 0},
    {MSR_MCG_STATUS, FIELD(spec[1]), CHECK_MASK, 0x7},
    {MSR_MISC_ENABLE, FIELD(misc_enable), CHECK_MASK, 0x00451889ull},
    {MSR_DEBUGCTL, FIELD(debugctl), CHECK_MASK, 0x3}, /* LBR, BTF */
    {MSR_STAR, FIELD(star), CHECK_MASK, ~0ull},
    {MSR_LSTAR, FIELD(lstar), CHECK_CANONICAL, 0},
    {MSR_CSTAR, FIELD(cstar), CHECK_CANONICAL, 0},
    {MSR_SFMASK, FIELD(sfmask), CHECK_MASK, 0xffffffffu},
    {MSR_KERNEL_GS_BASE, FIELD(kernel_gs_base), CHECK_CANONICAL, 0},
    {MSR_TSC_AUX, FIELD(tsc_aux), CHECK_MASK, 0xffffffffu},
#undef FIELD
};

static const struct storage *find_storage(uint32_t msr)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(storage); i++)
        if (storage[i].msr == msr)
            return &storage[i];
    return NULL;
}

static uint64_t *storage_of(VmcCpu *c, const struct storage *s)
{
    return (uint64_t *)((char *)c + s->offset);
}

/* ---- time ---- */

uint64_t vmc_soft_tsc(const VmcCpu *c)
{
    return vmc_soft_tsc_now(c->vm) + (uint64_t)c->msr.tsc_offset;
}

/* Moves this CPU's TSC; IA32_TSC_ADJUST moves along (SDM vol. 3 18.17.3). */
static void move_tsc(VmcCpu *c, uint64_t delta)
{
    c->msr.tsc_offset += (int64_t)delta;
    c->msr.tsc_adjust += delta;
}

/* The local APIC counts in the machine's TSC; a CPU whose own was moved speaks in its own. 0 disarms and
 * stays 0. */
static bool deadline(VmcCpu *c, bool write, uint64_t *value)
{
    const VmcLocalApicOps *ops = c->lapic.ops;
    uint64_t v = *value, offset = (uint64_t)c->msr.tsc_offset;
    if (!ops)
        return false;
    if (write)
        return ops->write_msr(c->lapic.apic, MSR_TSC_DEADLINE, v ? v - offset : 0);
    if (!ops->read_msr(c->lapic.apic, MSR_TSC_DEADLINE, &v))
        return false;
    *value = v ? v + offset : 0;
    return true;
}

/* ---- memory types ---- */

static bool memory_type(uint64_t t)
{
    return t <= 6 && t != 2 && t != 3;
}

static bool all_bytes(uint64_t value, bool pat)
{
    for (unsigned i = 0; i < 64; i += 8) {
        uint64_t t = value >> i & 0xff;
        if (!memory_type(t) && !(pat && t == 7))
            return false;
    }
    return true;
}

static uint64_t *fixed_mtrr(VmcCpu *c, uint32_t msr)
{
    if (msr == MSR_MTRR_FIX64K)
        return &c->msr.mtrr_fix[0];
    if (msr - MSR_MTRR_FIX16K < 2)
        return &c->msr.mtrr_fix[1 + msr - MSR_MTRR_FIX16K];
    if (msr - MSR_MTRR_FIX4K < 8)
        return &c->msr.mtrr_fix[3 + msr - MSR_MTRR_FIX4K];
    return NULL;
}

static uint64_t *variable_mtrr(VmcCpu *c, uint32_t msr)
{
    uint32_t i = msr - MSR_MTRR_PHYSBASE0;
    if (i >= 2 * N_VARIABLE_MTRR)
        return NULL;
    return i & 1 ? &c->msr.mtrr_mask[i / 2] : &c->msr.mtrr_base[i / 2];
}

static bool write_variable_mtrr(VmcCpu *c, uint32_t msr, uint64_t value)
{
    uint64_t low = msr & 1 ? 0x7ff : 0xf00; /* reserved below the address */
    if (value & (low | ~((1ull << VMC_PHYS_BITS) - 1)))
        return false;
    if (!(msr & 1) && !memory_type(value & 0xff))
        return false;
    *variable_mtrr(c, msr) = value;
    return true;
}

/* ---- reading ---- */

bool vmc_msr_read(VmcCpu *c, uint32_t msr, uint64_t *value)
{
    const struct storage *s = find_storage(msr);
    uint64_t *p;
    *value = 0;
    if (s)
        return *value = *storage_of(c, s), true;
    if ((p = fixed_mtrr(c, msr)) || (p = variable_mtrr(c, msr)))
        return *value = *p, true;
    if (msr >= MSR_X2APIC && msr <= MSR_X2APIC_END)
        return c->lapic.ops && c->lapic.ops->read_msr(c->lapic.apic, msr, value);
    switch (msr) {
    case MSR_TSC:
        *value = vmc_soft_tsc(c);
        return true;
    case MSR_PLATFORM_ID:
    case MSR_MCG_CAP:
        return true;
    case MSR_APIC_BASE:
        *value = c->lapic.ops ? c->lapic.ops->get_base(c->lapic.apic) : c->apic_base;
        return true;
    case MSR_TSC_ADJUST:
        *value = c->msr.tsc_adjust;
        return true;
    case MSR_UCODE_REV:
        *value = (uint64_t)UCODE_REVISION << 32;
        return true;
    case MSR_MTRRCAP:
        *value = MTRRCAP;
        return true;
    case MSR_ARCH_CAPABILITIES:
        *value = ARCH_CAPABILITIES;
        return true;
    case MSR_PAT:
        *value = c->msr.pat;
        return true;
    case MSR_MTRR_DEF:
        *value = c->msr.mtrr_def;
        return true;
    case MSR_TSC_DEADLINE:
        return deadline(c, false, value);
    case MSR_EFER:
        *value = c->efer;
        return true;
    case MSR_FS_BASE:
        *value = c->seg[VMC_FS].base;
        return true;
    case MSR_GS_BASE:
        *value = c->seg[VMC_GS].base;
        return true;
    }
    return vmc_cpu_model_read_msr(&c->vm->model, msr, value);
}

/* ---- writing ---- */

static bool write_efer(VmcCpu *c, uint64_t value)
{
    value &= ~EFER_LMA; /* follows LME and CR0.PG, whatever is written */
    if (value & ~EFER_WRITABLE)
        return false;
    if (((value ^ c->efer) & EFER_LME) && (c->cr0 & CR0_PG))
        return false;
    bool flush = (value ^ c->efer) & EFER_NXE;
    c->efer = value | (c->efer & EFER_LMA);
    if (flush)
        vmc_tlb_flush(c);
    return true;
}

static bool write_base(VmcCpu *c, unsigned seg, uint64_t value)
{
    if (!vmc_canonical(value))
        return false;
    c->seg[seg].base = value;
    c->seg_base[seg] = value;
    return true;
}

static bool write_apic_base(VmcCpu *c, uint64_t value)
{
    if (!c->lapic.ops || !c->lapic.ops->set_base(c->lapic.apic, value))
        return false;
    c->apic_base = c->lapic.ops->get_base(c->lapic.apic);
    vmc_tlb_flush(c); /* the page may have been RAM */
    return true;
}

static bool write_storage(VmcCpu *c, const struct storage *s, uint64_t value)
{
    if (s->check == CHECK_CANONICAL ? !vmc_canonical(value) : (value & ~s->mask) != 0)
        return false;
    *storage_of(c, s) = value;
    return true;
}

bool vmc_msr_write(VmcCpu *c, uint32_t msr, uint64_t value)
{
    const struct storage *s = find_storage(msr);
    uint64_t *fixed = fixed_mtrr(c, msr);
    if (s)
        return write_storage(c, s, value);
    if (fixed)
        return all_bytes(value, false) && (*fixed = value, true);
    if (variable_mtrr(c, msr))
        return write_variable_mtrr(c, msr, value);
    if (msr >= MSR_X2APIC && msr <= MSR_X2APIC_END) {
        bool ok = c->lapic.ops && c->lapic.ops->write_msr(c->lapic.apic, msr, value);
        vmc_request(c, REQ_INTR); /* TPR or EOI may have unmasked something */
        return ok;
    }
    switch (msr) {
    case MSR_TSC:
        move_tsc(c, value - vmc_soft_tsc(c));
        return true;
    case MSR_APIC_BASE:
        return write_apic_base(c, value);
    case MSR_TSC_ADJUST:
        move_tsc(c, value - c->msr.tsc_adjust);
        return true;
    case MSR_PRED_CMD:
        return !(value & ~1ull); /* IBPB: there are no predictors */
    case MSR_UCODE_REV:
        return true; /* written before CPUID to ask for the revision */
    case MSR_PAT:
        return all_bytes(value, true) && (c->msr.pat = value, true);
    case MSR_MTRR_DEF:
        return !(value & ~0xcffull) && memory_type(value & 0xff) && (c->msr.mtrr_def = value, true);
    case MSR_TSC_DEADLINE:
        return deadline(c, true, &value);
    case MSR_EFER:
        return write_efer(c, value);
    case MSR_FS_BASE:
        return write_base(c, VMC_FS, value);
    case MSR_GS_BASE:
        return write_base(c, VMC_GS, value);
    }
    return vmc_cpu_model_write_msr(&c->vm->model, msr);
}

void vmc_msr_reset(VmcCpu *c)
{
    memset(&c->msr, 0, sizeof c->msr);
    c->msr.pat = PAT_RESET;
    c->msr.misc_enable = MISC_ENABLE_RESET;
}

/* ---- saving ---- */

/* The registers besides those of the table whose values are kept as they are. */
static const struct {
    uint32_t first, n;
} saved_ranges[] = {
    {MSR_MTRR_PHYSBASE0, 2 * N_VARIABLE_MTRR},
    {MSR_MTRR_FIX64K, 1},
    {MSR_MTRR_FIX16K, 2},
    {MSR_MTRR_FIX4K, 8},
    {MSR_PAT, 1},
    {MSR_MTRR_DEF, 1},
};

static void save_register(VmcCpu *c, uint32_t msr, VmcStateWriter *w)
{
    uint64_t value;

    vmc_msr_read(c, msr, &value);
    vmc_state_put_u32(w, msr);
    vmc_state_put_u64(w, value);
}

void vmc_msr_save(VmcCpu *c, VmcStateWriter *w)
{
    unsigned n = G_N_ELEMENTS(storage);

    for (unsigned i = 0; i < G_N_ELEMENTS(saved_ranges); i++)
        n += saved_ranges[i].n;
    vmc_state_begin(w, "msrs", 1);
    vmc_state_put_u64(w, (uint64_t)c->msr.tsc_offset);
    vmc_state_put_u64(w, c->msr.tsc_adjust);
    vmc_state_put_u32(w, n);
    for (unsigned i = 0; i < G_N_ELEMENTS(storage); i++)
        save_register(c, storage[i].msr, w);
    for (unsigned i = 0; i < G_N_ELEMENTS(saved_ranges); i++)
        for (uint32_t k = 0; k < saved_ranges[i].n; k++)
            save_register(c, saved_ranges[i].first + k, w);
    vmc_state_end(w);
}

static bool is_saved(uint32_t msr)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(saved_ranges); i++)
        if (msr - saved_ranges[i].first < saved_ranges[i].n)
            return true;
    return find_storage(msr) != NULL;
}

bool vmc_msr_load(VmcCpu *c, VmcStateReader *r)
{
    if (!vmc_state_enter(r, "msrs", 1))
        return false;
    c->msr.tsc_offset = (int64_t)vmc_state_get_u64(r);
    c->msr.tsc_adjust = vmc_state_get_u64(r);
    uint32_t n = vmc_state_get_u32(r);
    for (uint32_t i = 0; i < n && vmc_state_ok(r); i++) {
        uint32_t msr = vmc_state_get_u32(r);
        uint64_t value = vmc_state_get_u64(r);
        if (vmc_state_ok(r))
            vmc_state_check(r, is_saved(msr) && vmc_msr_write(c, msr, value), "a model-specific register");
    }
    return vmc_state_leave(r);
}
