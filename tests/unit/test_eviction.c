/* The software CPU with caches far too small for its guest: what is evicted is made again, and nothing else
 * is noticed of it.
 *
 * The guest calls thousands of small functions in turn, so that every generation is evicted while it is in
 * use. All of them end in one page, where a block that is there early is jumped to from blocks that come
 * late, and the other way round: links between generations, in both directions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "cpu/cpu.h"
#include "cpu/soft/state.h"

#define RAM       (4u << 20)
#define TABLES    0x1000u
#define STACK     0x8000u
#define SHARED    0x10000u /* the page where all functions end */
#define MAIN      0x20000u
#define FUNCTIONS 0x100000u
#define SPACING   32u
#define N         8000u
#define TAILS     16u

typedef struct Machine {
    VmcMemory *memory;
    VmcBus *pio, *mmio;
    VmcCpuVm *vm;
    VmcCpu *cpu;
    uint8_t *ram, *p; /* p: where code is being written */
} Machine;

#define CODE(m, ...) put((m), (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static void put(Machine *m, const void *bytes, size_t n)
{
    memcpy(m->p, bytes, n);
    m->p += n;
}

static void put32(Machine *m, uint32_t value)
{
    put(m, &value, 4);
}

static void put_distance(Machine *m, uint32_t target)
{
    put32(m, target - (uint32_t)(m->p + 4 - m->ram));
}

static uint32_t constant(uint32_t i)
{
    return i * 0x1234567u & 0x7fffffff;
}

static uint64_t rotate(uint64_t value, unsigned by)
{
    return by ? value << by | value >> (64 - by) : value;
}

static void write_function(Machine *m, uint32_t i)
{
    m->p = m->ram + FUNCTIONS + i * SPACING;
    CODE(m, 0x48, 0x05); /* add rax, constant */
    put32(m, constant(i));
    CODE(m, 0xa8, 0x01);                      /* test al, 1 */
    CODE(m, 0x74, 0x03);                      /* jz 1f */
    CODE(m, 0x48, 0xf7, 0xd0);                /* not rax */
    CODE(m, 0x48, 0xc1, 0xc0, 1 + (i & 31u)); /* 1: rol rax, 1 + (i & 31) */
    CODE(m, 0xff, 0xc1);                      /* inc ecx */
    CODE(m, 0xe9);                            /* jmp to the shared page */
    put_distance(m, SHARED + 16);
}

/* One of TAILS ways, each in use for 512 calls, that all end at the page's start. */
static void write_shared(Machine *m)
{
    uint8_t *jumps[TAILS];

    m->p = m->ram + SHARED;
    CODE(m, 0x48, 0x83, 0xf0, 0x5a, 0xc3); /* xor rax, 5ah; ret */
    m->p = m->ram + SHARED + 16;
    CODE(m, 0x89, 0xce, 0xc1, 0xee, 0x09, 0x83, 0xe6, TAILS - 1); /* esi = ecx >> 9 & 15 */
    for (unsigned k = 0; k < TAILS; k++) {
        CODE(m, 0x83, 0xfe, (uint8_t)k, 0x0f, 0x84); /* cmp esi, k; je tail k */
        jumps[k] = m->p;
        put32(m, 0);
    }
    for (unsigned k = 0; k < TAILS; k++) {
        int32_t distance = (int32_t)(m->p - (jumps[k] + 4));
        memcpy(jumps[k], &distance, 4);
        CODE(m, 0x48, 0x83, 0xc0, (uint8_t)k);     /* add rax, k */
        CODE(m, 0x48, 0xc1, 0xc0, (uint8_t)k + 1); /* rol rax, k + 1 */
        CODE(m, 0xe9);                             /* jmp */
        put_distance(m, SHARED);
    }
}

static void write_main(Machine *m)
{
    m->p = m->ram + MAIN;
    for (uint32_t i = 0; i < N; i++) {
        CODE(m, 0xe8); /* call */
        put_distance(m, FUNCTIONS + i * SPACING);
    }
    CODE(m, 0xff, 0xca, 0x0f, 0x85); /* dec edx; jnz to the start */
    put_distance(m, MAIN);
    CODE(m, 0xe6, 0x01, 0xeb, 0xfe); /* out 1, al; jmp to itself */
}

static uint64_t expected(unsigned rounds)
{
    uint64_t a = 0;
    uint32_t calls = 0;

    for (unsigned round = 0; round < rounds; round++)
        for (uint32_t i = 0; i < N; i++) {
            a += constant(i);
            if (a & 1)
                a = ~a;
            a = rotate(a, 1 + (i & 31));
            unsigned k = ++calls >> 9 & (TAILS - 1);
            a = rotate(a + k, k + 1) ^ 0x5a;
        }
    return a;
}

static uint64_t port_read(void *opaque, uint64_t offset, unsigned size)
{
    return 0;
}

static void port_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    Machine *m = opaque;

    vmc_cpu_soft.kick(m->cpu);
}

static const VmcRegionOps port = {port_read, port_write};

/* Long mode, everything at its physical address. */
static void set_state(Machine *m, unsigned rounds)
{
    uint64_t tables[] = {TABLES + 0x1003, TABLES + 0x2003, 0x83, 0x200083};
    VmcCpuState state;

    memcpy(m->ram + TABLES, &tables[0], 8);
    memcpy(m->ram + TABLES + 0x1000, &tables[1], 8);
    memcpy(m->ram + TABLES + 0x2000, &tables[2], 16);
    vmc_cpu_state_reset(&state);
    state.cr0 = 0x80000033;
    state.cr3 = TABLES;
    state.cr4 = 0x620;
    state.efer = 0x500;
    state.seg[VMC_CS] = (VmcSegment){.limit = UINT32_MAX, .selector = 8, .attr = 0xa09b};
    for (unsigned s = 0; s < VMC_SEG_COUNT; s++)
        if (s != VMC_CS)
            state.seg[s] = (VmcSegment){.limit = UINT32_MAX, .selector = 16, .attr = 0xc093};
    memset(state.gpr, 0, sizeof state.gpr);
    state.gpr[2] = rounds;
    state.gpr[4] = STACK;
    state.rip = MAIN;
    assert_true(vmc_cpu_soft.set_state(m->cpu, &state, NULL));
}

static void machine_init(Machine *m, VmcCpuEngine engine, bool lockstep)
{
    GError *error = NULL;

    memset(m, 0, sizeof *m);
    m->memory = vmc_memory_new();
    m->pio = vmc_bus_new("pio");
    m->mmio = vmc_bus_new("mmio");
    assert_true(vmc_memory_add(m->memory, "ram", 0, RAM, false, NULL));
    vmc_bus_add(m->pio, "exit", 0, 16, &port, m);
    m->ram = vmc_memory_host(m->memory, 0, RAM);
    VmcCpuVmParams params = {.memory = m->memory,
                             .pio = m->pio,
                             .mmio = m->mmio,
                             .n_cpus = 1,
                             .engine = engine,
                             .lockstep = lockstep};
    m->vm = vmc_cpu_soft.vm_new(&params, &error);
    assert_null(error);
    m->vm->code_cache_kib = m->vm->block_arena_kib = 1; /* the least that works */
    m->vm->translate_after = 0; /* a block that is evicted takes with it how often it was run */
    m->cpu = vmc_cpu_soft.cpu_new(m->vm, 0, NULL, &error);
    assert_null(error);
    write_main(m);
    write_shared(m);
    for (uint32_t i = 0; i < N; i++)
        write_function(m, i);
}

static void machine_clear(Machine *m)
{
    vmc_cpu_soft.cpu_free(m->cpu);
    vmc_cpu_soft.vm_free(m->vm);
    vmc_bus_free(m->pio);
    vmc_bus_free(m->mmio);
    vmc_memory_free(m->memory);
}

static void run(Machine *m, unsigned rounds, VmcCpuStats *stats)
{
    GError *error = NULL;
    VmcCpuState state;

    set_state(m, rounds);
    VmcCpuExit exit = vmc_cpu_soft.run(m->cpu, &error);
    if (error)
        fail_msg("%s", error->message);
    assert_int_equal(exit, VMC_EXIT_KICKED);
    vmc_cpu_soft.get_state(m->cpu, &state);
    assert_int_equal(state.gpr[1], N * rounds);
    assert_int_equal(state.gpr[0], expected(rounds));
    assert_true(vmc_cpu_soft.get_stats(m->cpu, stats));
}

static void test_the_translator_makes_evicted_code_again(void **unused)
{
    Machine m;
    VmcCpuStats stats;

    machine_init(&m, VMC_ENGINE_TRANSLATOR, false);
    run(&m, 20, &stats);
    assert_in_range(stats.evictions, 100, UINT64_MAX);
    assert_in_range(stats.code_bytes, 1, 1 << 20);
    assert_in_range(stats.code_bytes_total, 10 * stats.code_bytes, UINT64_MAX);
    machine_clear(&m);
}

static void test_lockstep_finds_nothing_wrong_with_it(void **unused)
{
    Machine m;
    VmcCpuStats stats;

    machine_init(&m, VMC_ENGINE_TRANSLATOR, true);
    run(&m, 4, &stats);
    assert_in_range(stats.evictions, 20, UINT64_MAX);
    assert_in_range(stats.lockstep_blocks, N, UINT64_MAX);
    machine_clear(&m);
}

static void test_the_interpreter_decodes_evicted_blocks_again(void **unused)
{
    Machine m;
    VmcCpuStats stats;

    machine_init(&m, VMC_ENGINE_INTERPRETER, false);
    run(&m, 20, &stats);
    assert_in_range(stats.evictions, 100, UINT64_MAX);
    assert_int_equal(stats.code_bytes, 0);
    machine_clear(&m);
}

static void test_what_fits_is_not_evicted(void **unused)
{
    Machine m;
    VmcCpuStats stats;

    machine_init(&m, VMC_ENGINE_TRANSLATOR, false);
    vmc_cpu_soft.cpu_free(m.cpu);
    m.vm->code_cache_kib = m.vm->block_arena_kib = 64 << 10;
    m.cpu = vmc_cpu_soft.cpu_new(m.vm, 0, NULL, NULL);
    run(&m, 4, &stats);
    assert_int_equal(stats.evictions, 0);
    assert_int_equal(stats.code_bytes, stats.code_bytes_total);
    machine_clear(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_translator_makes_evicted_code_again),
        cmocka_unit_test(test_lockstep_finds_nothing_wrong_with_it),
        cmocka_unit_test(test_the_interpreter_decodes_evicted_blocks_again),
        cmocka_unit_test(test_what_fits_is_not_evicted),
    };

    return cmocka_run_group_tests_name("eviction", tests, NULL, NULL);
}
