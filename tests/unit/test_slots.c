/* Memory slots that move and their dirty log, while a CPU of either backend writes to them as fast as it can.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <glib/gstdio.h>

#include "cpu/cpu.h"

#define RAM      (2u << 20)
#define CODE     0x8000u
#define PAGES    16u
#define SIZE     (PAGES * VMC_PAGE_SIZE)
#define HERE     0x90000000ull
#define THERE    0xa0000000ull
#define PATIENCE (30 * G_TIME_SPAN_SECOND)

/* Writes a pseudo-random number to a pseudo-random place of the slot at HERE, for ever; 32-bit, flat. */
static const uint8_t painter[] = {
    0xbf, 0x00, 0x00, 0x00, 0x90,       /*    mov edi, HERE */
    0xb8, 0x01, 0x00, 0x00, 0x00,       /*    mov eax, 1 */
    0x69, 0xc0, 0x6d, 0x4e, 0xc6, 0x41, /* 1: imul eax, eax, 0x41c64e6d */
    0x05, 0x39, 0x30, 0x00, 0x00,       /*    add eax, 0x3039 */
    0x89, 0xc1,                         /*    mov ecx, eax */
    0xc1, 0xe9, 0x08,                   /*    shr ecx, 8 */
    0x81, 0xe1, 0xfc, 0xff, 0x00, 0x00, /*    and ecx, 0xfffc */
    0x89, 0x04, 0x0f,                   /*    mov [edi + ecx], eax */
    0xeb, 0xe5,                         /*    jmp 1b */
};

typedef struct Machine {
    const VmcCpuBackend *backend;
    VmcMemory *memory;
    VmcBus *pio, *mmio;
    VmcCpuVm *vm;
    VmcCpu *cpu;
    GThread *thread;
    unsigned slot;
    uint8_t *pixels; /* the slot's memory */
    uint8_t shadow[SIZE];
} Machine;

static bool usable(const VmcCpuBackend *backend)
{
    return backend == &vmc_cpu_soft || g_access("/dev/kvm", 6) == 0;
}

static gpointer run(gpointer data)
{
    Machine *m = data;

    assert_int_equal(m->backend->run(m->cpu, NULL), VMC_EXIT_KICKED);
    return NULL;
}

static void machine_init(Machine *m, const VmcCpuBackend *backend)
{
    VmcCpuState state;
    GError *error = NULL;

    memset(m, 0, sizeof *m);
    m->backend = backend;
    m->memory = vmc_memory_new();
    m->pio = vmc_bus_new("pio");
    m->mmio = vmc_bus_new("mmio");
    assert_true(vmc_memory_add(m->memory, "ram", 0, RAM, false, NULL));
    VmcCpuVmParams params = {.memory = m->memory, .pio = m->pio, .mmio = m->mmio, .n_cpus = 1};
    m->vm = backend->vm_new(&params, &error);
    assert_null(error);
    assert_true(vmc_memory_add_movable(m->memory, "video", SIZE, &m->slot, NULL));
    m->pixels = m->memory->slots[m->slot].host;
    m->cpu = backend->cpu_new(m->vm, 0, NULL, &error);
    assert_null(error);
    assert_true(vmc_memory_write(m->memory, CODE, painter, sizeof painter));
    vmc_cpu_state_reset(&state);
    state.rip = CODE;
    state.cr0 = 0x31;
    for (unsigned i = 0; i < VMC_SEG_COUNT; i++)
        state.seg[i] = (VmcSegment){.limit = 0xffffffff, .selector = 0x10, .attr = 0xc093};
    state.seg[VMC_CS] = (VmcSegment){.limit = 0xffffffff, .selector = 8, .attr = 0xc09b};
    assert_true(backend->set_state(m->cpu, &state, NULL));
}

static void start(Machine *m)
{
    m->thread = g_thread_new("cpu", run, m);
}

static void stop(Machine *m)
{
    m->backend->kick(m->cpu);
    g_thread_join(m->thread);
}

static void machine_clear(Machine *m)
{
    m->backend->cpu_free(m->cpu);
    m->backend->vm_free(m->vm);
    vmc_bus_free(m->pio);
    vmc_bus_free(m->mmio);
    vmc_memory_free(m->memory);
}

/* Takes over what the log says has changed. */
static bool take_over(Machine *m)
{
    uint64_t pages[1] = {0};

    if (!vmc_memory_take_dirty(m->memory, m->slot, 0, PAGES, pages))
        return false;
    for (unsigned page = 0; page < PAGES; page++)
        if (pages[0] >> page & 1)
            memcpy(m->shadow + page * VMC_PAGE_SIZE, m->pixels + page * VMC_PAGE_SIZE, VMC_PAGE_SIZE);
    return true;
}

/* Waits until the CPU's writes arrive in the slot, or no longer do. */
static void wait_for_writes(Machine *m, bool arriving)
{
    int64_t end = g_get_monotonic_time() + PATIENCE;
    unsigned same = 0;

    while (same < 3) {
        assert_true(g_get_monotonic_time() < end);
        g_usleep(2000);
        bool changed = memcmp(m->shadow, m->pixels, SIZE) != 0;
        memcpy(m->shadow, m->pixels, SIZE);
        same = changed == arriving ? same + 1 : 0;
    }
}

static void nothing_is_missed_on(const VmcCpuBackend *backend)
{
    Machine m;

    if (!usable(backend))
        return;
    machine_init(&m, backend);
    assert_true(vmc_memory_move(m.memory, m.slot, HERE));
    start(&m);
    for (unsigned rounds = 0; rounds < 10; rounds++) {
        wait_for_writes(&m, true);
        for (unsigned i = 0; i < 200; i++)
            take_over(&m);
        stop(&m);
        take_over(&m);
        assert_memory_equal(m.shadow, m.pixels, SIZE);
        /* Nobody writes: told once more at most, and then no more. */
        take_over(&m);
        assert_false(take_over(&m));
        assert_false(take_over(&m));
        start(&m);
    }
    stop(&m);
    machine_clear(&m);
}

static void a_move_reaches_the_cpu_of(const VmcCpuBackend *backend)
{
    Machine m;

    if (!usable(backend))
        return;
    machine_init(&m, backend);
    start(&m);
    wait_for_writes(&m, false);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(vmc_memory_move(m.memory, m.slot, HERE));
        wait_for_writes(&m, true);
        assert_true(vmc_memory_move(m.memory, m.slot, i & 1 ? THERE : VMC_MEM_UNMAPPED));
        wait_for_writes(&m, false);
    }
    stop(&m);
    machine_clear(&m);
}

static void test_the_software_cpus_writes_are_all_noted(void **state)
{
    nothing_is_missed_on(&vmc_cpu_soft);
}

static void test_kvms_writes_are_all_noted(void **state)
{
    nothing_is_missed_on(&vmc_cpu_kvm);
}

static void test_the_software_cpu_follows_a_move(void **state)
{
    a_move_reaches_the_cpu_of(&vmc_cpu_soft);
}

static void test_kvm_follows_a_move(void **state)
{
    a_move_reaches_the_cpu_of(&vmc_cpu_kvm);
}

/* Code in a slot that moves runs, but is decoded each time. */
static void test_code_in_video_memory_runs(void **state)
{
    Machine m;
    VmcCpuState cpu;

    machine_init(&m, &vmc_cpu_soft);
    assert_true(vmc_memory_move(m.memory, m.slot, THERE));
    memcpy(m.pixels, painter, sizeof painter);
    m.pixels[3] = 0x01; /* the picture goes to RAM */
    m.pixels[4] = 0x00;
    m.backend->get_state(m.cpu, &cpu);
    cpu.rip = THERE;
    assert_true(m.backend->set_state(m.cpu, &cpu, NULL));
    m.pixels = m.memory->slots[0].host + 0x10000;
    start(&m);
    wait_for_writes(&m, true);
    stop(&m);
    assert_int_equal(m.memory->slots[m.slot].code_words[0], 0);
    machine_clear(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_software_cpus_writes_are_all_noted),
        cmocka_unit_test(test_kvms_writes_are_all_noted),
        cmocka_unit_test(test_the_software_cpu_follows_a_move),
        cmocka_unit_test(test_kvm_follows_a_move),
        cmocka_unit_test(test_code_in_video_memory_runs),
    };

    return cmocka_run_group_tests_name("slots", tests, NULL, NULL);
}
