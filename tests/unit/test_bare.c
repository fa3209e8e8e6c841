/*
 * Bare-metal guests of ours (tests/guest/bare) on a CPU backend: what user mode cannot do. Each is a flat
 * binary that starts in real mode on CPU 0 and says at a port which of its checks failed; here is the machine
 * around it: memory, buses, local APICs, one thread for each CPU.
 *
 *     test_bare [BACKEND [NAME]]
 *
 * Some run again under a debugger that they must not notice: every instruction a step, every access watched
 * for, or blocks that end everywhere for breakpoints that are elsewhere.
 *
 * A KVM that the probe finds slow runs only the simplest of them, unless ESPALIER_KVM=real says that it is a
 * real one on a slow processor (tests/guest/kvm-host). ESPALIER_PATIENCE multiplies the time limit.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cpu/cpu.h"
#include "pc/lapic.h"

#define IMAGE     0x8000u
#define IMAGE_MAX 0x18000u
#define RAM       (16u << 20)
#define PORT_LOG  0xe9
#define PORT_EXIT 0xf4
#define EXC       0x7800u /* exception record: bare.h */
#define MAX_CPUS  4
#define SECONDS   20

static const VmcCpuBackend *const backends[] = {&vmc_cpu_soft, &vmc_cpu_kvm};

enum expect { EXPECT_PASS, EXPECT_SHUTDOWN, EXPECT_REFUSAL };

/* Where a guest makes sense. */
enum where {
    ANYWHERE,      /* even on a KVM that emulates its guests instruction by instruction */
    REAL_CPU,      /* such a KVM lacks instructions and exceptions it needs */
    SOFTWARE_ONLY, /* about our own CPU's choices */
};

/* What a debugger does meanwhile. */
enum debugged { ALONE, STEPPED, WATCHED, BROKEN };
static const char *const debugged_names[] = {"", " stepped", " watched", " broken"};

static const struct guest {
    const char *name;
    unsigned cpus;
    enum expect expect;
    enum where where;
    bool interrupted; /* it waits for interrupts, which wait while a debugger steps */
    bool baseline;    /* VmcCpuVmParams.baseline_cpu */
} guests[] = {
    // clang-format off
    {"basic", 1, EXPECT_PASS, ANYWHERE, false, false},
    {"wake", 3, EXPECT_PASS, ANYWHERE, false, false},
    {"modes", 1, EXPECT_PASS, REAL_CPU, false, false},
    {"paging", 1, EXPECT_PASS, REAL_CPU, false, false},
    {"privilege", 1, EXPECT_PASS, REAL_CPU, false, false},
    {"canonical", 1, EXPECT_PASS, REAL_CPU, false, false},
    {"exceptions", 1, EXPECT_PASS, REAL_CPU, false, false},
    {"interrupts", 1, EXPECT_PASS, REAL_CPU, true, false},
    {"registers", 1, EXPECT_PASS, SOFTWARE_ONLY, false, false},
    {"segments", 1, EXPECT_PASS, REAL_CPU, false, false},
    {"legacy", 1, EXPECT_PASS, REAL_CPU, false, false},
    {"fpu", 1, EXPECT_PASS, REAL_CPU, false, false},
    {"avx", 1, EXPECT_PASS, SOFTWARE_ONLY, false, false}, /* a real one may have more of XCR0 */
    {"baseline", 1, EXPECT_PASS, SOFTWARE_ONLY, false, true},
    {"ferr", 1, EXPECT_PASS, SOFTWARE_ONLY, false, false},
    {"debug", 1, EXPECT_PASS, REAL_CPU, false, false},
    {"smp", 3, EXPECT_PASS, REAL_CPU, true, false},
    {"triple", 1, EXPECT_SHUTDOWN, ANYWHERE, false, false},
    {"task", 1, EXPECT_REFUSAL, SOFTWARE_ONLY, false, false}, /* what the software CPU does not do ends with a sentence */
    // clang-format on
};

struct machine {
    const VmcCpuBackend *backend;
    const struct guest *guest;
    enum debugged debugged;
    VmcIo *io;
    VmcClock *clock;
    VmcMemory *memory;
    VmcBus *pio, *mmio;
    VmcCpuVm *vm;
    VmcLapics *lapics;
    VmcCpu *cpus[MAX_CPUS];
    GThread *threads[MAX_CPUS];

    GMutex lock;
    GCond changed;
    bool done; /* somebody said how it ended */
    bool exited, shut_down;
    uint32_t code;
    GError *error;
    GString *log;
};

struct runner {
    struct machine *m;
    unsigned index;
};

static void finish_locked(struct machine *m)
{
    m->done = true;
    g_cond_signal(&m->changed);
    for (unsigned i = 0; i < m->guest->cpus; i++)
        m->backend->kick(m->cpus[i]);
}

static void port_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct machine *m = opaque;
    g_mutex_lock(&m->lock);
    if (!m->done) {
        m->exited = true;
        m->code = (uint32_t)value;
        finish_locked(m);
    }
    g_mutex_unlock(&m->lock);
}

static void log_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct machine *m = opaque;
    g_mutex_lock(&m->lock);
    if (m->log->len < 4096)
        g_string_append_c(m->log, (char)value);
    g_mutex_unlock(&m->lock);
}

/* Scratch ports 100h..107h: guests test string I/O with them. */
static uint64_t scratch_read(void *opaque, uint64_t offset, unsigned size)
{
    static const uint8_t pattern[8] = {0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe};
    uint64_t value = 0;
    memcpy(&value, pattern + offset, MIN(size, 8 - offset));
    return value;
}

static void ignore_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
}

static uint64_t read_nothing(void *opaque, uint64_t offset, unsigned size)
{
    return ~0ull;
}

static const VmcRegionOps exit_ops = {.read = read_nothing, .write = port_write};
static const VmcRegionOps log_ops = {.read = read_nothing, .write = log_write};
static const VmcRegionOps scratch_ops = {.read = scratch_read, .write = ignore_write};

/* Asks the CPU for what never comes, or for what always does. */
static void debug(const struct machine *m, VmcCpu *cpu)
{
    g_autofree VmcCpuDebug *debug = g_new0(VmcCpuDebug, 1);
    switch (m->debugged) {
    case ALONE:
        return;
    case STEPPED:
        debug->single_step = true;
        break;
    case WATCHED:
        debug->n_watchpoints = 1;
        debug->watchpoints[0].address = 0x7fff0000;
        debug->watchpoints[0].length = 8;
        debug->watchpoints[0].access = VMC_DEBUG_ACCESS;
        break;
    case BROKEN: /* every third byte of a part of each page */
        debug->n_breakpoints = VMC_DEBUG_BREAKPOINTS;
        for (unsigned i = 0; i < VMC_DEBUG_BREAKPOINTS; i++)
            debug->breakpoints[i].address = 0x7fff0000 + i * 3;
        break;
    }
    if (!m->backend->set_debug(cpu, debug, NULL))
        abort();
}

static void *cpu_thread(void *data)
{
    struct runner *r = data;
    struct machine *m = r->m;
    bool go_on = true;
    debug(m, m->cpus[r->index]);
    while (go_on) {
        GError *error = NULL;
        VmcCpuExit reason = m->backend->run(m->cpus[r->index], &error);
        g_mutex_lock(&m->lock);
        if (reason == VMC_EXIT_DEBUG) {
            debug(m, m->cpus[r->index]);
        } else if (reason != VMC_EXIT_KICKED && !m->done) {
            m->shut_down = reason == VMC_EXIT_SHUTDOWN;
            m->error = g_steal_pointer(&error);
            finish_locked(m);
        }
        g_clear_error(&error);
        go_on = !m->done;
        g_mutex_unlock(&m->lock);
    }
    return NULL;
}

static void load_image(struct machine *m)
{
    const char *build = g_getenv("ESPALIER_BUILD");
    char *path = g_strdup_printf("%s/bare/%s.bin", build ? build : "build", m->guest->name), *bytes = NULL;
    gsize length = 0;
    GError *error = NULL;
    if (!g_file_get_contents(path, &bytes, &length, &error))
        fail_msg("%s", error->message);
    assert_in_range(length, 16, IMAGE_MAX);
    assert_true(vmc_memory_write(m->memory, IMAGE, bytes, length));
    g_free(bytes);
    g_free(path);
}

static void machine_build(struct machine *m, const VmcCpuBackend *backend, const struct guest *guest,
                          enum debugged debugged)
{
    GError *error = NULL;
    memset(m, 0, sizeof(*m));
    m->backend = backend;
    m->guest = guest;
    m->debugged = debugged;
    m->log = g_string_new(NULL);
    g_mutex_init(&m->lock);
    g_cond_init(&m->changed);
    m->io = vmc_io_new(&error);
    assert_non_null(m->io);
    m->clock = vmc_clock_new(m->io);
    m->memory = vmc_memory_new();
    assert_true(vmc_memory_add(m->memory, "bare", 0, RAM, false, &error));
    m->pio = vmc_bus_new("pio");
    m->mmio = vmc_bus_new("mmio");
    vmc_bus_add(m->pio, "exit", PORT_EXIT, 4, &exit_ops, m);
    vmc_bus_add(m->pio, "log", PORT_LOG, 1, &log_ops, m);
    vmc_bus_add(m->pio, "scratch", 0x100, 8, &scratch_ops, m);

    VmcCpuVmParams params = {.memory = m->memory,
                             .pio = m->pio,
                             .mmio = m->mmio,
                             .n_cpus = guest->cpus,
                             .baseline_cpu = guest->baseline};
    m->vm = backend->vm_new(&params, &error);
    if (!m->vm)
        fail_msg("%s", error->message);
    if (!backend->in_kernel_irqchip) {
        VmcLapicsParams lapics = {.n_cpus = guest->cpus, .backend = backend, .vm = m->vm, .clock = m->clock};
        m->lapics = vmc_lapics_new(&lapics);
        vmc_lapics_connect(m->lapics, NULL, NULL);
    }
    for (unsigned i = 0; i < guest->cpus; i++) {
        m->cpus[i] = backend->cpu_new(m->vm, i, m->lapics ? vmc_lapics_get(m->lapics, i) : NULL, &error);
        if (!m->cpus[i])
            fail_msg("%s", error->message);
        if (m->lapics)
            vmc_lapics_attach_cpu(m->lapics, i, m->cpus[i]);
    }
    if (m->lapics)
        vmc_lapics_reset(m->lapics, false);
    load_image(m);
    for (unsigned i = 0; i < guest->cpus; i++) {
        VmcCpuState state;
        vmc_cpu_state_reset(&state);
        if (i) {
            state.apic_base &= ~0x100ull;
            state.wait_for_sipi = true;
        } else {
            state.seg[VMC_CS].selector = 0;
            state.seg[VMC_CS].base = 0;
            state.rip = IMAGE;
        }
        if (!backend->set_state(m->cpus[i], &state, &error))
            fail_msg("%s", error->message);
    }
}

static void machine_clear(struct machine *m)
{
    for (unsigned i = 0; i < m->guest->cpus; i++) {
        if (m->lapics)
            vmc_lapics_attach_cpu(m->lapics, i, NULL);
        m->backend->cpu_free(m->cpus[i]);
    }
    vmc_lapics_free(m->lapics);
    m->backend->vm_free(m->vm);
    vmc_bus_free(m->pio);
    vmc_bus_free(m->mmio);
    vmc_memory_free(m->memory);
    vmc_clock_free(m->clock);
    vmc_io_free(m->io);
    g_mutex_clear(&m->lock);
    g_cond_clear(&m->changed);
    g_clear_error(&m->error);
    g_string_free(m->log, TRUE);
}

static void machine_run(struct machine *m)
{
    struct runner runners[MAX_CPUS];
    const char *patience = g_getenv("ESPALIER_PATIENCE");
    double seconds = SECONDS * MAX(patience ? g_ascii_strtod(patience, NULL) : 1.0, 1.0);
    gint64 deadline = g_get_monotonic_time() + (gint64)(seconds * G_TIME_SPAN_SECOND);
    for (unsigned i = 0; i < m->guest->cpus; i++) {
        runners[i] = (struct runner){m, i};
        m->threads[i] = g_thread_new("cpu", cpu_thread, &runners[i]);
    }
    g_mutex_lock(&m->lock);
    while (!m->done)
        if (!g_cond_wait_until(&m->changed, &m->lock, deadline))
            finish_locked(m);
    g_mutex_unlock(&m->lock);
    for (unsigned i = 0; i < m->guest->cpus; i++)
        g_thread_join(m->threads[i]);
}

/* How it ended, in words; NULL if as expected. */
static char *judge(const struct machine *m)
{
    uint64_t exc[12] = {0};
    VmcCpuState s;
    switch (m->guest->expect) {
    case EXPECT_PASS:
        if (m->exited && m->code == 0)
            return NULL;
        break;
    case EXPECT_SHUTDOWN:
        if (m->shut_down)
            return NULL;
        break;
    case EXPECT_REFUSAL:
        if (m->error && strstr(m->error->message, "task"))
            return NULL;
        break;
    }
    vmc_memory_read(m->memory, EXC, exc, sizeof(exc));
    m->backend->get_state(m->cpus[0], &s);
    const char *what = m->exited      ? "said"
                       : m->shut_down ? "shut down"
                       : m->error     ? m->error->message
                                      : "hung";
    return g_strdup_printf("%s on %s: %s, code %u (%08x); CPU 0 at %04x:%" PRIx64 "; last exception %" PRIu64
                           " error %" PRIx64 " at %" PRIx64 ":%" PRIx64 " cr2 %" PRIx64 " rsp %" PRIx64
                           "; log: %s",
                           m->guest->name, m->backend->name, what, m->code, m->code, s.seg[VMC_CS].selector,
                           s.rip, exc[0], exc[1], exc[3], exc[2], exc[7], exc[5], m->log->str);
}

struct one {
    const VmcCpuBackend *backend;
    const struct guest *guest;
    enum debugged debugged;
    bool skip;
};

/* Why this host's KVM cannot run even the simplest guests, or (in `slow`) not those that need more; NULL if
 * it can. */
static char *why_no_kvm(char **slow)
{
    char *reason = NULL;
    *slow = NULL;
    if (access("/dev/kvm", R_OK | W_OK) != 0)
        return g_strdup("there is no /dev/kvm that may be used");
    if (!vmc_cpu_kvm_probe(&reason))
        *slow = g_steal_pointer(&reason);
    if (*slow && g_strcmp0(g_getenv("ESPALIER_KVM"), "real") == 0) {
        printf("note: kvm: all guests all the same; %s\n", *slow);
        g_clear_pointer(slow, g_free);
    }
    g_free(reason);
    return NULL;
}

static void test_guest(void **state)
{
    const struct one *one = *state;
    struct machine m;
    if (one->skip)
        skip();
    machine_build(&m, one->backend, one->guest, one->debugged);
    machine_run(&m);
    char *wrong = judge(&m);
    if (m.log->len)
        printf("log %s: %s\n", one->guest->name, m.log->str);
    machine_clear(&m);
    if (wrong)
        fail_msg("%s", wrong);
}

int main(int argc, char **argv)
{
    const char *only_backend = argc > 1 ? argv[1] : NULL, *only_guest = argc > 2 ? argv[2] : NULL;
    struct CMUnitTest tests[(G_N_ELEMENTS(backends) + BROKEN) * G_N_ELEMENTS(guests)];
    char names[G_N_ELEMENTS(tests)][32];
    struct one ones[G_N_ELEMENTS(tests)];
    char *slow, *no_kvm = why_no_kvm(&slow);
    size_t n = 0;
    for (size_t b = 0; b < G_N_ELEMENTS(backends); b++) {
        bool kvm = backends[b] == &vmc_cpu_kvm;
        if (only_backend && strcmp(only_backend, backends[b]->name) != 0)
            continue;
        for (size_t g = 0; g < G_N_ELEMENTS(guests); g++) {
            if ((only_guest && strcmp(only_guest, guests[g].name) != 0) ||
                (kvm && guests[g].where == SOFTWARE_ONLY))
                continue;
            bool skip_it = kvm && (no_kvm || (slow && guests[g].where != ANYWHERE));
            for (unsigned d = ALONE; d <= (kvm ? ALONE : BROKEN); d++) {
                if (d == STEPPED && guests[g].interrupted)
                    continue;
                g_snprintf(names[n], sizeof(names[n]), "%s%s", guests[g].name, debugged_names[d]);
                ones[n] = (struct one){backends[b], &guests[g], d, skip_it};
                tests[n] = (struct CMUnitTest){names[n], test_guest, NULL, NULL, &ones[n]};
                n++;
            }
        }
    }
    if (no_kvm || slow)
        printf("note: kvm: %s\n", no_kvm ? no_kvm : slow);
    g_free(no_kvm);
    g_free(slow);
    if (n == 0) {
        fprintf(stderr, "no such backend or guest\n");
        return 1;
    }
    return _cmocka_run_group_tests("bare", tests, n, NULL, NULL);
}
