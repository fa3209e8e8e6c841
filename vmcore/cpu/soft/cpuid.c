/*
 * CPUID: an Intel processor of the x86-64-v2 level with what else is implemented, and nothing that is not.
 * What goes beyond depends on the host and comes from features.c. Other models than the host's own are made
 * of this by cpu/model.c.
 *
 * It is a GenuineIntel of a plain model (macOS insists on Intel; SYSCALL is then for 64-bit code only and
 * SYSENTER works in both). There is no speculation here, so ARCH_CAPABILITIES truthfully says that none of
 * its bugs exist, and the speculation controls (SPEC_CTRL, enhanced IBRS) are offered because they cost
 * nothing while a guest that lacks them pays for retpolines.
 *
 * Source: Intel SDM vol. 2 "CPUID"; leaves 4000_0000H and 4000_0010H: the convention hypervisors share for
 * their name and clocks.
 */
#include "cpu/soft/cpuid.h"

#include <string.h>

#include "cpu/soft/features.h"
#include "cpu/soft/mmu.h"
#include "cpu/soft/xcr.h"

#define BIT(n) (1u << (n))

enum {
    /* leaf 1 EDX */
    F1D = BIT(0) /* fpu */ | BIT(2) /* de */ | BIT(3) /* pse */ | BIT(4) /* tsc */ | BIT(5) /* msr */ |
          BIT(6) /* pae */ | BIT(7) /* mce */ | BIT(8) /* cx8 */ | BIT(9) /* apic */ | BIT(11) /* sep */ |
          BIT(12) /* mtrr */ | BIT(13) /* pge */ | BIT(14) /* mca */ | BIT(15) /* cmov */ |
          BIT(16) /* pat */ | BIT(17) /* pse36 */ | BIT(19) /* clflush */ | BIT(23) /* mmx */ |
          BIT(24) /* fxsr */ | BIT(25) /* sse */ | BIT(26) /* sse2 */,
    F1D_HTT = BIT(28),
    F1D_APIC = BIT(9),
    /* leaf 1 ECX */
    F1C = BIT(0) /* sse3 */ | BIT(9) /* ssse3 */ | BIT(13) /* cx16 */ | BIT(19) /* sse4.1 */ |
          BIT(20) /* sse4.2 */ | BIT(21) /* x2apic */ | BIT(23) /* popcnt */ | BIT(24) /* tsc deadline */,
    /* leaf 7.0 EBX */
    F7B = BIT(0) /* fsgsbase */ | BIT(1) /* tsc_adjust */ | BIT(7) /* smep */ | BIT(9) /* erms */ |
          BIT(13) /* FCS, FDS read as zero */ | BIT(20) /* smap */,
    F7C = BIT(2) /* umip */,
    F7D = BIT(26) /* spec_ctrl, pred_cmd */ | BIT(27) /* stibp */ | BIT(29) /* arch_capabilities */,
    /* leaf 8000_0001 */
    FXC = BIT(0) /* lahf_lm */,
    FXD = BIT(11) /* syscall */ | BIT(20) /* nx */ | BIT(27) /* rdtscp */ | BIT(29) /* lm */,
};
#define F1C_HYPERVISOR BIT(31)
#define F1C_OSXSAVE    BIT(27)

uint64_t vmc_cr4_allowed(const VmcCpu *c)
{
    return CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE | CR4_PCE | CR4_OSFXSR | CR4_OSXMMEXCPT |
           CR4_UMIP | CR4_FSGSBASE | CR4_SMEP | CR4_SMAP |
           (c->vm->features & VMC_HAS_XSAVE ? CR4_OSXSAVE : 0);
}

static unsigned log2_ceil(unsigned n)
{
    unsigned bits = 0;
    while ((1u << bits) < n)
        bits++;
    return bits;
}

static void text(VmcCpuidRegs *r, const char *twelve)
{
    memcpy(&r->b, twelve, 4);
    memcpy(&r->c, twelve + 4, 4);
    memcpy(&r->d, twelve + 8, 4);
}

static uint32_t shown(const VmcCpu *c, enum vmc_feature_word word)
{
    return vmc_features_shown(c->vm->features, word);
}

static void leaf_1(const VmcCpu *c, VmcCpuidRegs *r)
{
    unsigned n = c->vm->n_cpus;
    r->a = c->vm->model.signature;
    r->b =
        (c->index & 0xff) << 24 | (n > 1 ? 1u << log2_ceil(n) : 1) << 16 | 8 << 8; /* CLFLUSH: 8 * 8 bytes */
    r->c = F1C | F1C_HYPERVISOR | shown(c, VMC_CPUID_1_ECX) | (c->cr4 & CR4_OSXSAVE ? F1C_OSXSAVE : 0);
    r->d = F1D | (n > 1 ? F1D_HTT : 0);
    if (!(c->apic_base & 0x800))
        r->d &= ~(uint32_t)F1D_APIC;
}

/* Extended topology: one thread to a core, all cores in one package. */
static void leaf_b(const VmcCpu *c, unsigned sub, VmcCpuidRegs *r)
{
    r->c = sub & 0xff;
    r->d = c->index;
    if (sub == 0) {
        r->b = 1;
        r->c |= 1 << 8;
    } else if (sub == 1) {
        r->a = log2_ceil(c->vm->n_cpus);
        r->b = c->vm->n_cpus;
        r->c |= 2 << 8;
    }
}

/* Extended state: XSAVE's area, its instructions, where AVX has its part. */
static void leaf_d(const VmcCpu *c, unsigned sub, VmcCpuidRegs *r)
{
    uint64_t allowed = vmc_xcr0_allowed(c);
    if (!(c->vm->features & VMC_HAS_XSAVE))
        return;
    if (sub == 0) {
        r->a = (uint32_t)allowed;
        r->b = vmc_xsave_size(c->xcr0);
        r->c = vmc_xsave_size(allowed);
    } else if (sub == 1) {
        r->a = BIT(0) /* xsaveopt */ | BIT(1) /* xsavec */ | BIT(2) /* xgetbv with ECX = 1 */;
        r->b = vmc_xsave_size(c->xcr0); /* compacted; there is no supervisor state */
    } else if (sub < 32 && allowed >> sub & 1) {
        r->a = VMC_XSAVE_SIZE - VMC_XSAVE_AVX;
        r->b = VMC_XSAVE_AVX;
    }
}

static void basic_leaf(const VmcCpu *c, uint32_t leaf, uint32_t sub, VmcCpuidRegs *r)
{
    switch (leaf) {
    case 0x0:
        r->a = 0x16;
        memcpy(&r->b, "Genu", 4);
        memcpy(&r->d, "ineI", 4);
        memcpy(&r->c, "ntel", 4);
        break;
    case 0x1:
        leaf_1(c, r);
        break;
    case 0x2:
        r->a = 0x00ff0001; /* descriptor FFH: caches are in leaf 4 */
        break;
    case 0x4:
        vmc_cpu_model_caches(c->vm->n_cpus, sub, r);
        break;
    case 0x6:
        r->a = BIT(2); /* ARAT */
        break;
    case 0x7:
        if (sub == 0) {
            r->a = 2; /* last sub-leaf */
            r->b = F7B | shown(c, VMC_CPUID_7_EBX);
            r->c = F7C;
            r->d = (uint32_t)F7D;
        } else if (sub == 2) {
            r->d = BIT(
                4); /* BHI_CTRL: without it Linux clears a branch history in software at every system call */
        }
        break;
    case 0xb:
        leaf_b(c, sub, r);
        break;
    case 0xd:
        leaf_d(c, sub, r);
        break;
    case 0x15:
        vmc_cpu_model_crystal(c->vm->tsc_hz, VMC_APIC_TIMER_HZ, r);
        break;
    case 0x16:
        r->a = r->b = (uint32_t)((c->vm->tsc_hz + 500000) / 1000000);
        r->c = (uint32_t)(VMC_APIC_TIMER_HZ / 1000000);
        break;
    }
}

static void extended_leaf(const VmcCpu *c, uint32_t leaf, VmcCpuidRegs *r)
{
    static const char brand[49] = "Espalier virtual x86-64 processor";
    switch (leaf) {
    case 0x80000000:
        r->a = 0x80000008;
        break;
    case 0x80000001:
        r->c = FXC | shown(c, VMC_CPUID_EXT1_ECX);
        r->d = FXD;
        if (c->mode != VMC_MODE_64)
            r->d &= ~BIT(11); /* as Intel's do */
        break;
    case 0x80000002:
    case 0x80000003:
    case 0x80000004:
        memcpy(r, brand + (leaf - 0x80000002) * 16, 16);
        break;
    case 0x80000006:
        r->c = 256u << 16 | 6 << 12 | 64; /* KiB, 8 ways, line */
        break;
    case 0x80000007:
        r->d = BIT(8); /* invariant TSC */
        break;
    case 0x80000008:
        r->a = VMC_PHYS_BITS | 48 << 8;
        break;
    }
}

static void hypervisor_leaf(const VmcCpu *c, uint32_t leaf, VmcCpuidRegs *r)
{
    if (leaf == 0x40000000) {
        r->a = 0x40000010;
        text(r, "EspalierVmc ");
    } else if (leaf == 0x40000010) {
        r->a = (uint32_t)(c->vm->tsc_hz / 1000);
        r->b = (uint32_t)(VMC_APIC_TIMER_HZ / 1000);
    }
}

void vmc_cpuid(VmcCpu *c)
{
    uint32_t leaf = (uint32_t)c->gpr[VMC_RAX], sub = (uint32_t)c->gpr[VMC_RCX];
    VmcCpuidRegs r = {0};
    if (leaf >= 0x40000000 && leaf <= 0x40000010)
        hypervisor_leaf(c, leaf, &r);
    else if (leaf >= 0x80000000 && leaf <= 0x80000008)
        extended_leaf(c, leaf, &r);
    else
        basic_leaf(c, leaf = MIN(leaf, 0x16), sub, &r); /* beyond the last leaf: as the last one */
    vmc_cpu_model_cpuid(&c->vm->model, c->index, leaf, sub, &r);
    c->gpr[VMC_RAX] = r.a;
    c->gpr[VMC_RBX] = r.b;
    c->gpr[VMC_RCX] = r.c;
    c->gpr[VMC_RDX] = r.d;
}
