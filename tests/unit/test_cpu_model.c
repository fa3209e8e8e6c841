/* CPU models: what a guest of each is told, first of a CPU that has everything, then of the software CPU. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <glib.h>

#include "cpu/cpu.h"
#include "cpu/model.h"
#include "cpu/soft/cpuid.h"
#include "cpu/soft/features.h"
#include "cpu/soft/msr.h"

#define BIT(n) (1u << (n))
#define HTT    BIT(28)

static VmcCpuModelParams params_of(VmcCpuModel model, unsigned cpus)
{
    return (VmcCpuModelParams){model, cpus, 2495000000u, 1000000000u, 0x000206c2};
}

/* Of a CPU in which every bit is set. */
static VmcCpuidRegs shown(const VmcCpuModelParams *params, unsigned index, uint32_t leaf, uint32_t subleaf)
{
    VmcCpuidRegs regs = {UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX};
    vmc_cpu_model_cpuid(params, index, leaf, subleaf, &regs);
    return regs;
}

static void host_is_left_alone(void **state)
{
    VmcCpuModelParams params = params_of(VMC_CPU_MODEL_HOST, 6);
    for (uint32_t leaf = 0; leaf < 0x30; leaf++) {
        VmcCpuidRegs regs = shown(&params, 3, leaf, 1);
        assert_int_equal(regs.a & regs.b & regs.c & regs.d, UINT32_MAX);
    }
    uint64_t value;
    assert_false(vmc_cpu_model_read_msr(&params, 0x35, &value));
    assert_int_equal(vmc_cpu_model_signature(&params), 0x000206c2);
}

/* x86-64 psABI, section 3.1.1, table 3.1. */
static void levels_have_what_they_promise_and_no_more(void **state)
{
    static const uint32_t v2_1c = BIT(0) | BIT(9) | BIT(13) | BIT(19) | BIT(20) | BIT(23);
    static const uint32_t v3_1c = BIT(12) | BIT(22) | BIT(26) | BIT(27) | BIT(28) | BIT(29);
    static const uint32_t v3_7b = BIT(3) | BIT(5) | BIT(8);
    for (VmcCpuModel model = VMC_CPU_MODEL_X86_64_V2; model <= VMC_CPU_MODEL_X86_64_V3; model++) {
        VmcCpuModelParams params = params_of(model, 4);
        bool v3 = model == VMC_CPU_MODEL_X86_64_V3;
        VmcCpuidRegs one = shown(&params, 1, 1, 0), seven = shown(&params, 1, 7, 0);
        VmcCpuidRegs extended = shown(&params, 1, 0x80000001, 0), sizes = shown(&params, 1, 0xd, 0);
        assert_int_equal(one.c & v2_1c, v2_1c);
        assert_int_equal(one.c & v3_1c, v3 ? v3_1c : 0);
        assert_int_equal(one.c & (BIT(1) | BIT(5) | BIT(25) | BIT(30)), 0); /* pclmul, vmx, aes, rdrand */
        assert_int_equal(one.d & 0x07808131, 0x07808131); /* fpu, pse.., cx8, cmov, mmx, fxsr, sse, sse2 */
        assert_int_equal(seven.b & v3_7b, v3 ? v3_7b : 0);
        assert_int_equal(seven.b & (BIT(16) | BIT(18) | BIT(19) | BIT(29)), 0); /* avx512, rdseed, adx, sha */
        assert_int_equal(extended.c & BIT(5), v3 ? BIT(5) : 0);
        assert_int_equal(extended.c & BIT(0), BIT(0));
        assert_int_equal(extended.d & BIT(29), BIT(29));
        assert_int_equal(sizes.a, v3 ? 7 : 0);
        assert_int_equal(sizes.c, v3 ? 832 : 0);
        assert_int_equal(shown(&params, 1, 0xd, 2).a, v3 ? UINT32_MAX : 0);
        assert_int_equal(shown(&params, 1, 0xd, 5).a, 0); /* avx512's */
        assert_int_equal(shown(&params, 1, 0xa, 0).a, 0);
        assert_int_equal(shown(&params, 1, 0x14, 0).b, 0);
    }
}

/* A mask cannot make features up. */
static void no_model_adds_features(void **state)
{
    for (VmcCpuModel model = 0; model < VMC_CPU_MODELS; model++) {
        VmcCpuModelParams params = params_of(model, 2);
        VmcCpuidRegs one = {0}, seven = {0}, extended = {0};
        vmc_cpu_model_cpuid(&params, 0, 1, 0, &one);
        vmc_cpu_model_cpuid(&params, 0, 7, 0, &seven);
        vmc_cpu_model_cpuid(&params, 0, 0x80000001, 0, &extended);
        assert_int_equal((one.c & ~BIT(31)) | (one.d & ~HTT), 0);
        assert_int_equal(seven.b | seven.c | seven.d | extended.c | extended.d, 0);
    }
}

static void macos_is_an_intel_that_xnu_knows(void **state)
{
    VmcCpuModelParams params = params_of(VMC_CPU_MODEL_MACOS, 4);
    VmcCpuidRegs r = shown(&params, 2, 0, 0);
    char vendor[13] = "", brand[49] = "";
    memcpy(vendor, &r.b, 4);
    memcpy(vendor + 4, &r.d, 4);
    memcpy(vendor + 8, &r.c, 4);
    assert_string_equal(vendor, "GenuineIntel");
    assert_int_equal(r.a, 0x16);
    r = shown(&params, 2, 1, 0);
    assert_int_equal(r.a >> 8 & 15, 6);
    assert_int_equal((r.a >> 12 & 0xf0) | (r.a >> 4 & 15), 0x5e);
    assert_int_equal(vmc_cpu_model_signature(&params), r.a);
    assert_int_equal(r.b >> 24, 2);
    assert_int_equal(r.c & (BIT(12) | BIT(20) | BIT(22) | BIT(23) | BIT(28) | BIT(31)),
                     BIT(12) | BIT(20) | BIT(22) | BIT(23) | BIT(28) | BIT(31));
    assert_int_equal(r.c & BIT(5), 0); /* VMX */
    assert_int_equal(shown(&params, 0, 7, 0).b & (BIT(3) | BIT(5) | BIT(8)), BIT(3) | BIT(5) | BIT(8));
    assert_int_equal(shown(&params, 0, 0x80000007, 0).d, BIT(8));
    r = shown(&params, 0, 0x80000001, 0);
    assert_int_equal(r.d & BIT(26), 0); /* 1 GiB pages */
    assert_int_equal(r.d & BIT(31), 0); /* 3DNow! of an AMD */
    assert_int_equal(r.c & ~(BIT(0) | BIT(5) | BIT(8)), 0);
    for (unsigned i = 0; i < 3; i++) {
        r = shown(&params, 0, 0x80000002 + i, 0);
        memcpy(brand + 16 * i, &r, 16);
    }
    assert_non_null(strstr(brand, "Intel"));
    assert_int_equal(shown(&params, 0, 0x8000001e, 0).a, 0);
    assert_int_equal(shown(&params, 0, 0x1f, 0).b, 0);
}

/* osfmk/i386/tsc.c: kHz from the hypervisor's leaf, else ART * EBX / EAX. */
static void macos_is_told_its_frequencies(void **state)
{
    VmcCpuModelParams params = params_of(VMC_CPU_MODEL_MACOS, 1);
    VmcCpuidRegs kvm = {0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d}, r;
    vmc_cpu_model_cpuid(&params, 0, 0x40000000, 0, &kvm);
    assert_int_equal(kvm.a, 0x40000010);
    assert_int_equal(kvm.b, 0x4b4d564b); /* its name stays */
    r = (VmcCpuidRegs){0};
    vmc_cpu_model_cpuid(&params, 0, 0x40000000, 0, &r);
    assert_int_equal(r.a, 0x40000010);
    assert_memory_equal(&r.b, "Espa", 4);
    r = shown(&params, 0, 0x40000010, 0);
    assert_int_equal(r.a, 2495000);
    assert_int_equal(r.b, 1000000);
    r = shown(&params, 0, 0x15, 0);
    assert_int_equal((uint64_t)r.c * r.b / r.a, 2495000000u);
    r = shown(&params, 0, 0x16, 0);
    assert_int_equal(r.a, 2495);
}

/* What xnu works out in cpu_threads.c: packages by APIC ID, threads of a package by MSR 35H; together they
 * have to be the CPUs there are. */
static void macos_finds_as_many_cpus_as_there_are(void **state)
{
    for (unsigned cpus = 1; cpus <= 64; cpus++) {
        VmcCpuModelParams params = params_of(VMC_CPU_MODEL_MACOS, cpus);
        unsigned cores = vmc_cpu_model_cores(VMC_CPU_MODEL_MACOS, cpus);
        uint64_t msr = 0;
        assert_int_equal(cores & (cores - 1), 0);
        assert_int_equal(cpus % cores, 0);
        assert_true(vmc_cpu_model_read_msr(&params, 0x35, &msr));
        assert_int_equal(msr, (uint64_t)cores << 16 | cores);
        VmcCpuidRegs one = shown(&params, 0, 1, 0), four = shown(&params, 0, 4, 3);
        unsigned per_package = (four.a >> 26) + 1, logical = one.d & HTT ? one.b >> 16 & 0xff : 1;
        assert_int_equal(per_package, cores);
        assert_int_equal(logical, cores);
        assert_int_equal((four.a >> 14 & 0xfff) + 1, cores); /* share the third level */
        unsigned last = (cpus - 1) / per_package;
        assert_int_equal((last + 1) * (unsigned)(msr & 0xffff), cpus);
    }
    assert_int_equal(vmc_cpu_model_cores(VMC_CPU_MODEL_MACOS, 6), 2);
    assert_int_equal(vmc_cpu_model_cores(VMC_CPU_MODEL_MACOS, 8), 8);
    assert_int_equal(vmc_cpu_model_cores(VMC_CPU_MODEL_X86_64_V3, 6), 6);
}

static void macos_has_the_registers_that_xnu_reads(void **state)
{
    VmcCpuModelParams params = params_of(VMC_CPU_MODEL_MACOS, 4);
    uint64_t value;
    assert_true(vmc_cpu_model_read_msr(&params, 0xce, &value));
    assert_int_equal(value >> 8 & 0xff, 25); /* of 100 MHz */
    assert_true(vmc_cpu_model_read_msr(&params, 0x198, &value));
    assert_int_equal(value, 25 << 8);
    assert_true(vmc_cpu_model_read_msr(&params, 0x1ad, &value));
    assert_int_equal(value & 0xff, 25);
    assert_true(vmc_cpu_model_read_msr(&params, 0x194, &value));
    assert_int_equal(value & BIT(16), 0);
    assert_true(vmc_cpu_model_read_msr(&params, 0xe2, &value));
    assert_int_equal(value & BIT(15), 0); /* not locked */
    assert_true(vmc_cpu_model_read_msr(&params, 0x3a, &value));
    assert_int_equal(value, 1);
    assert_true(vmc_cpu_model_write_msr(&params, 0xe2));
    assert_false(vmc_cpu_model_write_msr(&params, 0x35));
    assert_false(vmc_cpu_model_read_msr(&params, 0x480, &value)); /* VMX */
}

/* Every leaf that the model makes up is in the list for backends that work by one. */
static void made_up_leaves_are_listed(void **state)
{
    static const uint32_t from[] = {0, 0x40000000, 0x80000000};
    VmcCpuModelParams params = params_of(VMC_CPU_MODEL_MACOS, 4);
    unsigned n;
    const VmcCpuidLeaf *leaves = vmc_cpu_model_leaves(VMC_CPU_MODEL_MACOS, &n);
    for (unsigned i = 0; i < 3; i++)
        for (uint32_t leaf = from[i]; leaf < from[i] + 0x20; leaf++) {
            VmcCpuidRegs r = {0};
            bool listed = false;
            vmc_cpu_model_cpuid(&params, 0, leaf, 0, &r);
            for (unsigned k = 0; k < n; k++)
                listed |= leaves[k].leaf == leaf;
            if ((r.a | r.b | r.c | r.d) && !listed)
                fail_msg("leaf %x is not in the list", leaf);
        }
    vmc_cpu_model_leaves(VMC_CPU_MODEL_X86_64_V3, &n);
    assert_int_equal(n, 0);
}

static void names_lead_to_models_and_back(void **state)
{
    static const char *const names[] = {"host", "x86-64-v2", "x86-64-v3", "macos"};
    VmcCpuModel model;
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        assert_true(vmc_cpu_model_from_name(names[i], &model));
        assert_int_equal(model, i);
        assert_string_equal(vmc_cpu_model_name(model), names[i]);
    }
    assert_false(vmc_cpu_model_from_name("Macos", &model));
    assert_null(vmc_cpu_model_name(VMC_CPU_MODELS));
}

/* ---- the software CPU ---- */

typedef struct Machine {
    VmcMemory *memory;
    VmcBus *pio, *mmio;
    VmcCpuVm *vm;
    VmcCpu *cpus[64];
    unsigned n;
} Machine;

static void machine_init(Machine *m, VmcCpuModel model, unsigned n)
{
    GError *error = NULL;
    memset(m, 0, sizeof *m);
    m->memory = vmc_memory_new();
    m->pio = vmc_bus_new("pio");
    m->mmio = vmc_bus_new("mmio");
    m->n = n;
    VmcCpuVmParams params = {
        .memory = m->memory, .pio = m->pio, .mmio = m->mmio, .n_cpus = n, .model = model};
    m->vm = vmc_cpu_soft.vm_new(&params, &error);
    if (!m->vm)
        fail_msg("%s", error->message);
    for (unsigned i = 0; i < n; i++) {
        m->cpus[i] = vmc_cpu_soft.cpu_new(m->vm, i, NULL, &error);
        assert_non_null(m->cpus[i]);
        vmc_cpu_soft.reset(m->cpus[i]);
    }
}

static void machine_clear(Machine *m)
{
    for (unsigned i = 0; i < m->n; i++)
        vmc_cpu_soft.cpu_free(m->cpus[i]);
    vmc_cpu_soft.vm_free(m->vm);
    vmc_bus_free(m->pio);
    vmc_bus_free(m->mmio);
    vmc_memory_free(m->memory);
}

static VmcCpuidRegs cpuid(VmcCpu *c, uint32_t leaf, uint32_t subleaf)
{
    c->gpr[VMC_RAX] = leaf;
    c->gpr[VMC_RCX] = subleaf;
    vmc_cpuid(c);
    return (VmcCpuidRegs){(uint32_t)c->gpr[VMC_RAX], (uint32_t)c->gpr[VMC_RBX], (uint32_t)c->gpr[VMC_RCX],
                          (uint32_t)c->gpr[VMC_RDX]};
}

/* What is not shown cannot be used either. */
static void soft_cpu_has_what_it_shows(void **state)
{
    uint32_t host = vmc_features_of_host(), v3 = VMC_HAS_MOVBE | VMC_HAS_LZCNT | VMC_HAS_BMI1 | VMC_HAS_BMI2 |
                                                 VMC_HAS_XSAVE | VMC_HAS_AVX | VMC_HAS_AVX2 | VMC_HAS_FMA |
                                                 VMC_HAS_F16C;
    const uint32_t features[VMC_CPU_MODELS] = {
        [VMC_CPU_MODEL_HOST] = host,
        [VMC_CPU_MODEL_X86_64_V2] = 0,
        [VMC_CPU_MODEL_X86_64_V3] = host & v3,
        [VMC_CPU_MODEL_MACOS] = host & (v3 | VMC_HAS_AES | VMC_HAS_PCLMUL | VMC_HAS_RDRAND | VMC_HAS_RDSEED),
    };
    for (VmcCpuModel model = 0; model < VMC_CPU_MODELS; model++) {
        Machine m;
        VmcCpuState reset;
        machine_init(&m, model, 1);
        assert_int_equal(m.vm->features, features[model]);
        VmcCpuidRegs one = cpuid(m.cpus[0], 1, 0), seven = cpuid(m.cpus[0], 7, 0);
        assert_int_equal(one.c & BIT(28), m.vm->features & VMC_HAS_AVX ? BIT(28) : 0);
        assert_int_equal(seven.b & BIT(5), m.vm->features & VMC_HAS_AVX2 ? BIT(5) : 0);
        vmc_cpu_soft.reset(m.cpus[0]);
        vmc_cpu_soft.get_state(m.cpus[0], &reset);
        assert_int_equal(reset.gpr[VMC_RDX], one.a);
        machine_clear(&m);
    }
}

/* Leaves 1, 4 and BH tell the same packages and cores, and APIC IDs count up, whatever the number of CPUs. */
static void topology_is_one(void **state)
{
    static const unsigned counts[] = {1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 31, 32, 33, 64};
    static const VmcCpuModel models[] = {VMC_CPU_MODEL_HOST, VMC_CPU_MODEL_MACOS};
    for (unsigned k = 0; k < G_N_ELEMENTS(counts) * 2; k++) {
        unsigned n = counts[k / 2], cores = vmc_cpu_model_cores(models[k & 1], n), ids = 1;
        Machine m;
        machine_init(&m, models[k & 1], n);
        while (ids < cores)
            ids *= 2;
        for (unsigned i = 0; i < n; i++) {
            VmcCpuidRegs one = cpuid(m.cpus[i], 1, 0), four = cpuid(m.cpus[i], 4, 3);
            VmcCpuidRegs threads = cpuid(m.cpus[i], 0xb, 0), packages = cpuid(m.cpus[i], 0xb, 1);
            assert_int_equal(one.b >> 24, i);
            assert_int_equal(one.d & HTT, cores > 1 ? HTT : 0);
            assert_int_equal(one.b >> 16 & 0xff, ids);
            assert_int_equal((four.a >> 26) + 1, ids);
            assert_int_equal((four.a >> 14 & 0xfff) + 1, ids);
            assert_int_equal(threads.a, 0);
            assert_int_equal(threads.b, 1);
            assert_int_equal(threads.c >> 8, 1);
            assert_int_equal(packages.c >> 8, 2);
            assert_int_equal(1u << packages.a, ids);
            assert_int_equal(packages.b, cores);
            assert_int_equal(packages.d, i);
            assert_int_equal(cpuid(m.cpus[i], 0xb, 2).c >> 8, 0);
        }
        machine_clear(&m);
    }
}

static void soft_cpu_answers_for_the_model(void **state)
{
    Machine m;
    uint64_t value;
    machine_init(&m, VMC_CPU_MODEL_MACOS, 6);
    VmcCpu *c = m.cpus[5];
    static const uint32_t readable[] = {0x17,  0x35,  0x3a,  0x8b,  0xce,  0xe2,  0xfe,  0x179,
                                        0x17a, 0x194, 0x198, 0x199, 0x1a0, 0x1ad, 0x1d9, 0x200,
                                        0x20f, 0x250, 0x258, 0x259, 0x268, 0x26f, 0x277, 0x2ff};
    for (unsigned i = 0; i < G_N_ELEMENTS(readable); i++)
        if (!vmc_msr_read(c, readable[i], &value))
            fail_msg("MSR %x cannot be read", readable[i]);
    assert_true(vmc_msr_read(c, 0x35, &value));
    assert_int_equal(value, 0x20002);
    assert_true(vmc_msr_read(c, 0x1a0, &value));
    assert_int_equal(value & 1, 1); /* fast strings, which leaf 7 shows */
    assert_true(vmc_msr_write(c, 0x8b, 0));
    assert_false(vmc_msr_read(c, 0x480, &value));
    VmcCpuidRegs last = cpuid(c, 0x16, 0), beyond = cpuid(c, 0x1f, 1);
    assert_memory_equal(&last, &beyond, sizeof last);
    assert_int_equal(cpuid(c, 0x40000010, 0).a, (uint32_t)(m.vm->tsc_hz / 1000));
    machine_clear(&m);
    machine_init(&m, VMC_CPU_MODEL_HOST, 1);
    assert_false(vmc_msr_read(m.cpus[0], 0x35, &value));
    machine_clear(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(host_is_left_alone),
        cmocka_unit_test(levels_have_what_they_promise_and_no_more),
        cmocka_unit_test(no_model_adds_features),
        cmocka_unit_test(macos_is_an_intel_that_xnu_knows),
        cmocka_unit_test(macos_is_told_its_frequencies),
        cmocka_unit_test(macos_finds_as_many_cpus_as_there_are),
        cmocka_unit_test(macos_has_the_registers_that_xnu_reads),
        cmocka_unit_test(made_up_leaves_are_listed),
        cmocka_unit_test(names_lead_to_models_and_back),
        cmocka_unit_test(soft_cpu_has_what_it_shows),
        cmocka_unit_test(topology_is_one),
        cmocka_unit_test(soft_cpu_answers_for_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
