/*
 * A model is a table of masks, what of each register of CPUID a guest may see of what the CPU has, and for
 * macOS also leaves that are made up. Masks can only take away, so no model promises what the CPU lacks.
 *
 * x86-64-v2 and x86-64-v3 are the levels of the psABI (x86-64 psABI, section 3.1.1) and nothing beyond for
 * programs; what only operating systems use (NX, SMEP, the controls against speculation) comes as the CPU has
 * it, and so does the vendor.
 *
 * macos is a Skylake of Intel's, whatever it really is. What xnu makes of it (osfmk/i386 in xnu-11417): any
 * other vendor, or a model it does not know, is a panic (cpuid.c); the "x86_64h" programs want FMA, MOVBE,
 * LZCNT, AVX2, BMI1 and BMI2 (cpuid.h). Cores and threads of a package come from MSR 35H, and from leaf 4 how
 * APIC IDs divide into packages; both together must give as many CPUs as ACPI's MADT has, or it panics
 * (cpu_threads.c). With a hypervisor's leaf 4000_0010H, the frequencies come from there (tsc.c).
 *
 * Source: Intel SDM vol. 2 "CPUID", vol. 4; AMD APM vol. 3 appendix E (80000001H).
 */
#include "cpu/model.h"

#include <cpuid.h>
#include <string.h>

#include "base/i18n.h"
#include "vmcore/error.h"

#define BIT(n) (1u << (n))

/* ---- names ---- */

static const char *const names[VMC_CPU_MODELS] = {
    [VMC_CPU_MODEL_HOST] = "host",
    [VMC_CPU_MODEL_X86_64_V2] = "x86-64-v2",
    [VMC_CPU_MODEL_X86_64_V3] = "x86-64-v3",
    [VMC_CPU_MODEL_MACOS] = "macos",
};

const char *vmc_cpu_model_name(VmcCpuModel model)
{
    return (unsigned)model < VMC_CPU_MODELS ? names[model] : NULL;
}

bool vmc_cpu_model_from_name(const char *name, VmcCpuModel *model)
{
    for (unsigned i = 0; i < VMC_CPU_MODELS; i++)
        if (strcmp(names[i], name) == 0) {
            *model = (VmcCpuModel)i;
            return true;
        }
    return false;
}

/* ---- features ---- */

enum {
    /* leaf 1 ECX */
    C1_V2 = BIT(0) /* sse3 */ | BIT(9) /* ssse3 */ | BIT(13) /* cx16 */ | BIT(19) /* sse4.1 */ |
            BIT(20) /* sse4.2 */ | BIT(23) /* popcnt */,
    C1_SYSTEM = BIT(21) /* x2apic */ | BIT(24) /* tsc deadline */,
    C1_V3 = C1_V2 | BIT(12) /* fma */ | BIT(22) /* movbe */ | BIT(26) /* xsave */ | BIT(27) /* osxsave */ |
            BIT(28) /* avx */ | BIT(29) /* f16c */,
    C1_MACOS = C1_V3 | BIT(1) /* pclmul */ | BIT(17) /* pcid */ | BIT(25) /* aes */ | BIT(30) /* rdrand */,
    /* leaf 1 EDX: fpu, vme, de, pse, tsc, msr, pae, mce, cx8, apic, sep, mtrr, pge, mca, cmov, pat, pse36,
     * clflush, mmx, fxsr, sse, sse2, htt */
    D1 = 0x178bfbff,
    /* leaf 7 EBX */
    B7_SYSTEM = BIT(0) /* fsgsbase */ | BIT(1) /* tsc_adjust */ | BIT(7) /* smep */ | BIT(9) /* erms */ |
                BIT(13) /* FCS, FDS read as zero */ | BIT(20) /* smap */,
    B7_V3 = BIT(3) /* bmi1 */ | BIT(5) /* avx2 */ | BIT(8) /* bmi2 */,
    B7_MACOS =
        B7_V3 | BIT(10) /* invpcid */ | BIT(18) /* rdseed */ | BIT(19) /* adx */ | BIT(23) /* clflushopt */,
    C7 = BIT(2) /* umip */,
    /* leaf 7 EDX: md_clear, spec_ctrl, stibp, l1d_flush, arch_capabilities */
    D7 = BIT(10) | BIT(26) | BIT(27) | BIT(28) | BIT(29),
    /* leaf 8000_0001 ECX: lahf_lm; of AMD's, how cores are counted: cmp_legacy, cr8_legacy, topoext */
    CX_V2 = BIT(0) | BIT(1) | BIT(4) | BIT(22),
    CX_V3 = CX_V2 | BIT(5) /* lzcnt */,
    CX_MACOS = BIT(0) | BIT(5) | BIT(8) /* prefetchw */,
    /* EDX: syscall, nx, 1 GiB pages, rdtscp, lm; AMD's repeat leaf 1's there */
    DX = BIT(11) | BIT(20) | BIT(26) | BIT(27) | BIT(29) | 0x0183f3ff,
    DX_MACOS = BIT(11) | BIT(20) | BIT(27) | BIT(29),
};
#define C1_HYPERVISOR BIT(31)
#define D7_SSBD       BIT(31)
#define D1_HTT        BIT(28)

/* What is left of the registers of the leaves that list features. */
typedef struct Masks {
    uint32_t c1, b7, cx, dx;
    uint32_t xcr0; /* states of XSAVE */
} Masks;

static const Masks masks[VMC_CPU_MODELS] = {
    [VMC_CPU_MODEL_X86_64_V2] = {C1_V2 | C1_SYSTEM, B7_SYSTEM, CX_V2, DX, 0},
    [VMC_CPU_MODEL_X86_64_V3] = {C1_V3 | C1_SYSTEM, B7_SYSTEM | B7_V3, CX_V3, DX, 7},
    [VMC_CPU_MODEL_MACOS] = {C1_MACOS | C1_SYSTEM, B7_SYSTEM | B7_MACOS, CX_MACOS, DX_MACOS, 7},
};

static void keep(VmcCpuidRegs *regs, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
    regs->a &= a;
    regs->b &= b;
    regs->c &= c;
    regs->d &= d;
}

/* Extended state. Offsets and sizes of x87, SSE and AVX are the same in all CPUs. */
static void mask_state(const Masks *m, uint32_t subleaf, VmcCpuidRegs *regs)
{
    static const uint32_t size = 576 + 256; /* of the area with AVX, the last of the three */
    if (subleaf == 0) {
        keep(regs, m->xcr0, UINT32_MAX, UINT32_MAX, 0);
        regs->b = MIN(regs->b, size);
        regs->c = MIN(regs->c, size);
    } else if (subleaf == 1) {
        keep(regs, 7, UINT32_MAX, 0, 0); /* xsaveopt, xsavec, xgetbv with ECX = 1; no supervisor states */
    } else if (subleaf >= 32 || !(m->xcr0 >> subleaf & 1)) {
        *regs = (VmcCpuidRegs){0};
    }
    if (!m->xcr0)
        *regs = (VmcCpuidRegs){0};
}

static void mask_features(const Masks *m, uint32_t leaf, uint32_t subleaf, VmcCpuidRegs *regs)
{
    switch (leaf) {
    case 0x1:
        keep(regs, UINT32_MAX, UINT32_MAX, m->c1 | C1_HYPERVISOR, D1);
        break;
    case 0x6:
        keep(regs, BIT(2), 0, 0, 0); /* ARAT */
        break;
    case 0x7:
        if (subleaf == 0)
            keep(regs, UINT32_MAX, m->b7, C7, D7 | D7_SSBD);
        else if (subleaf != 2) /* controls against speculation */
            *regs = (VmcCpuidRegs){0};
        break;
    case 0xd:
        mask_state(m, subleaf, regs);
        break;
    case 0x80000001:
        keep(regs, UINT32_MAX, UINT32_MAX, m->cx, m->dx);
        break;
    case 0x5: /* MONITOR, counters, and what came with newer instructions */
    case 0xa:
    case 0x12:
    case 0x14:
    case 0x19:
    case 0x1d:
    case 0x1e:
    case 0x24:
        *regs = (VmcCpuidRegs){0};
        break;
    }
}

/* ---- topology ---- */

static unsigned log2_ceil(unsigned n)
{
    unsigned bits = 0;
    while ((1u << bits) < n)
        bits++;
    return bits;
}

unsigned vmc_cpu_model_cores(VmcCpuModel model, unsigned cpus)
{
    return model == VMC_CPU_MODEL_MACOS ? cpus & -cpus : cpus; /* the lowest bit that is set */
}

void vmc_cpu_model_caches(unsigned cores, unsigned subleaf, VmcCpuidRegs *regs)
{
    static const struct {
        uint8_t type, level, ways;
        uint16_t sets;
    } caches[] = {{1, 1, 8, 64}, {2, 1, 8, 64}, {3, 2, 8, 512}, {3, 3, 16, 8192}};
    *regs = (VmcCpuidRegs){0};
    if (subleaf >= G_N_ELEMENTS(caches))
        return;
    unsigned ids = 1u << log2_ceil(cores), sharing = caches[subleaf].level == 3 ? ids : 1;
    regs->a = caches[subleaf].type | (uint32_t)caches[subleaf].level << 5 | BIT(8) | (sharing - 1) << 14 |
              MIN(ids - 1, 63) << 26;
    regs->b = (64 - 1) | (caches[subleaf].ways - 1u) << 22;
    regs->c = caches[subleaf].sets - 1u;
    regs->d = caches[subleaf].level == 3 ? BIT(1) : 0; /* inclusive */
}

/* Leaves BH and 1FH: one thread to a core. */
static void levels(unsigned cores, unsigned index, uint32_t subleaf, VmcCpuidRegs *regs)
{
    *regs = (VmcCpuidRegs){0, 0, subleaf & 0xff, index};
    if (subleaf == 0) {
        regs->b = 1;
        regs->c |= 1 << 8;
    } else if (subleaf == 1) {
        regs->a = log2_ceil(cores);
        regs->b = cores;
        regs->c |= 2 << 8;
    }
}

/* ---- frequencies ---- */

/* Guests multiply kHz by EBX in 32 bits, so the fraction must be small: the best one by continued fractions,
 * which is good to well below a millionth. */
void vmc_cpu_model_crystal(uint64_t tsc_hz, uint64_t apic_hz, VmcCpuidRegs *regs)
{
    uint64_t num = tsc_hz, den = apic_hz, limit = UINT32_MAX / MAX(apic_hz / 1000, 1);
    uint64_t p0 = 0, q0 = 1, p1 = 1, q1 = 0;
    *regs = (VmcCpuidRegs){0};
    while (den) {
        uint64_t a = num / den, rest = num % den, p2, q2;
        if (a > limit)
            break;
        p2 = a * p1 + p0;
        q2 = a * q1 + q0;
        if (p2 > limit || q2 > limit)
            break;
        p0 = p1, q0 = q1, p1 = p2, q1 = q2;
        num = den;
        den = rest;
    }
    if (p1 && q1)
        *regs = (VmcCpuidRegs){(uint32_t)q1, (uint32_t)p1, (uint32_t)apic_hz, 0};
}

static uint32_t mhz(uint64_t hz)
{
    return (uint32_t)((hz + 500000) / 1000000);
}

/* ---- macOS ---- */

/* Family 6, model 5EH, stepping 3: Skylake, which xnu knows from 10.12 on. */
#define MACOS_SIGNATURE 0x000506e3u
#define MACOS_LAST_LEAF 0x16u

static const VmcCpuidLeaf macos_leaves[] = {
    {0x0, 1},        {0x1, 1},        {0x2, 1},        {0x4, 5},        {0x6, 1},        {0x7, 1},
    {0xb, 3},        {0x15, 1},       {0x16, 1},       {0x40000000, 1}, {0x40000010, 1}, {0x80000000, 1},
    {0x80000002, 1}, {0x80000003, 1}, {0x80000004, 1}, {0x80000006, 1}, {0x80000007, 1}, {0x80000008, 1},
};

const VmcCpuidLeaf *vmc_cpu_model_leaves(VmcCpuModel model, unsigned *n)
{
    *n = model == VMC_CPU_MODEL_MACOS ? G_N_ELEMENTS(macos_leaves) : 0;
    return macos_leaves;
}

static void macos_identity(const VmcCpuModelParams *p, unsigned index, VmcCpuidRegs *regs)
{
    unsigned cores = vmc_cpu_model_cores(p->model, p->cpus);
    regs->a = MACOS_SIGNATURE;
    regs->b = (index & 0xff) << 24 | cores << 16 | 8 << 8; /* CLFLUSH: 8 * 8 bytes */
    regs->c |= C1_HYPERVISOR; /* else the leaf with the frequencies is not looked at */
    regs->d = (regs->d & ~D1_HTT) | (cores > 1 ? D1_HTT : 0);
}

static void macos_basic(const VmcCpuModelParams *p, unsigned index, uint32_t leaf, uint32_t subleaf,
                        VmcCpuidRegs *regs)
{
    unsigned cores = vmc_cpu_model_cores(p->model, p->cpus);
    switch (leaf) {
    case 0x0:
        regs->a = MACOS_LAST_LEAF;
        memcpy(&regs->b, "Genu", 4);
        memcpy(&regs->d, "ineI", 4);
        memcpy(&regs->c, "ntel", 4);
        break;
    case 0x1:
        macos_identity(p, index, regs);
        break;
    case 0x2:
        *regs = (VmcCpuidRegs){.a = 0x00ff0001}; /* descriptor FFH: caches are in leaf 4 */
        break;
    case 0x4:
        vmc_cpu_model_caches(cores, subleaf, regs);
        break;
    case 0x6:
        *regs = (VmcCpuidRegs){.a = BIT(2)}; /* ARAT */
        break;
    case 0xb:
        levels(cores, index, subleaf, regs);
        break;
    case 0x15:
        vmc_cpu_model_crystal(p->tsc_hz, p->apic_hz, regs);
        break;
    case 0x16:
        *regs = (VmcCpuidRegs){mhz(p->tsc_hz), mhz(p->tsc_hz), mhz(p->apic_hz), 0};
        break;
    default:
        if (leaf > MACOS_LAST_LEAF)
            *regs = (VmcCpuidRegs){0};
    }
}

static void macos_extended(uint32_t leaf, VmcCpuidRegs *regs)
{
    static const char brand[48] = "Intel(R) Core(TM) CPU, virtual";
    switch (leaf) {
    case 0x80000000:
        *regs = (VmcCpuidRegs){.a = 0x80000008};
        break;
    case 0x80000001:
        regs->a = regs->b = 0;
        break;
    case 0x80000002:
    case 0x80000003:
    case 0x80000004:
        memcpy(regs, brand + (leaf - 0x80000002) * 16, 16);
        break;
    case 0x80000006:
        *regs = (VmcCpuidRegs){.c = 256u << 16 | 6 << 12 | 64}; /* second level: KiB, 8 ways, line */
        break;
    case 0x80000007:
        *regs = (VmcCpuidRegs){.d = BIT(8)}; /* invariant TSC */
        break;
    case 0x80000008:
        *regs = (VmcCpuidRegs){.a = (regs->a & 0xff) | 48 << 8};
        break;
    default:
        *regs = (VmcCpuidRegs){0};
    }
}

static void macos_hypervisor(const VmcCpuModelParams *p, uint32_t leaf, VmcCpuidRegs *regs)
{
    if (leaf == 0x40000000) {
        if (!(regs->b | regs->c | regs->d)) {
            memcpy(&regs->b, "Espa", 4);
            memcpy(&regs->c, "lier", 4);
            memcpy(&regs->d, "Vmc ", 4);
        }
        regs->a = MAX(regs->a, 0x40000010);
    } else if (leaf == 0x40000010) {
        *regs = (VmcCpuidRegs){(uint32_t)(p->tsc_hz / 1000), (uint32_t)(p->apic_hz / 1000), 0, 0};
    }
}

/* ---- for backends ---- */

void vmc_cpu_model_cpuid(const VmcCpuModelParams *params, unsigned index, uint32_t leaf, uint32_t subleaf,
                         VmcCpuidRegs *regs)
{
    if (params->model == VMC_CPU_MODEL_HOST)
        return;
    mask_features(&masks[params->model], leaf, subleaf, regs);
    if (params->model != VMC_CPU_MODEL_MACOS)
        return;
    if (leaf < 0x40000000)
        macos_basic(params, index, leaf, subleaf, regs);
    else if (leaf < 0x80000000)
        macos_hypervisor(params, leaf, regs);
    else
        macos_extended(leaf, regs);
}

uint32_t vmc_cpu_model_signature(const VmcCpuModelParams *params)
{
    return params->model == VMC_CPU_MODEL_MACOS ? MACOS_SIGNATURE : params->signature;
}

#define MSR_FEATURE_CONTROL   0x3a
#define MSR_CORE_THREAD_COUNT 0x35
#define MSR_PLATFORM_INFO     0xce
#define MSR_PKG_CST_CONFIG    0xe2
#define MSR_FLEX_RATIO        0x194
#define MSR_PERF_STATUS       0x198
#define MSR_PERF_CTL          0x199
#define MSR_TURBO_RATIO_LIMIT 0x1ad
#define RATIO_HZ              100000000u /* of Skylake's ratios */

bool vmc_cpu_model_read_msr(const VmcCpuModelParams *params, uint32_t msr, uint64_t *value)
{
    uint64_t ratio = CLAMP((params->tsc_hz + RATIO_HZ / 2) / RATIO_HZ, 1, 0xff);
    uint64_t cores = vmc_cpu_model_cores(params->model, params->cpus);
    if (params->model != VMC_CPU_MODEL_MACOS)
        return false;
    switch (msr) {
    case MSR_CORE_THREAD_COUNT:
        *value = cores << 16 | cores;
        return true;
    case MSR_FEATURE_CONTROL:
        *value = 1; /* locked, with VMX off */
        return true;
    case MSR_PLATFORM_INFO:
        *value = ratio << 40 | ratio << 8; /* lowest and highest without turbo */
        return true;
    case MSR_PERF_STATUS:
        *value = ratio << 8;
        return true;
    case MSR_TURBO_RATIO_LIMIT:
        *value = ratio * 0x0101010101010101ull; /* for 1 to 8 cores */
        return true;
    case MSR_FLEX_RATIO: /* off */
    case MSR_PKG_CST_CONFIG:
    case MSR_PERF_CTL:
        *value = 0;
        return true;
    default:
        return false;
    }
}

bool vmc_cpu_model_write_msr(const VmcCpuModelParams *params, uint32_t msr)
{
    return params->model == VMC_CPU_MODEL_MACOS &&
           (msr == MSR_PKG_CST_CONFIG || msr == MSR_PERF_CTL || msr == MSR_FLEX_RATIO);
}

/* ---- the host ---- */

static uint32_t missing(uint32_t leaf, bool ecx, uint32_t wanted)
{
    uint32_t a = 0, b = 0, c = 0, d = 0;
    __get_cpuid_count(leaf, 0, &a, &b, &c, &d);
    return wanted & ~(ecx ? c : b);
}

bool vmc_cpu_model_check_host(VmcCpuModel model, GError **error)
{
    if (model != VMC_CPU_MODEL_X86_64_V3 ||
        !(missing(1, true, C1_V3) | missing(7, false, B7_V3) | missing(0x80000001, true, BIT(5))))
        return true;
    g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                _("the CPU of this computer has not all that %s promises (AVX2 and what came with it); give "
                  "%s or %s"),
                names[model], names[VMC_CPU_MODEL_X86_64_V2], names[VMC_CPU_MODEL_HOST]);
    return false;
}
