/*
 * fuzzcpu: see fuzz.h for what it does.
 *
 *   fuzzcpu [--seconds N] [--seed N] [--sessions N] [--programs N]
 *           [--baseline] [--alone] [--trace] [--watch ADDRESS] [--steps N]
 *           [--engine blocks|translator|lockstep]
 *
 * Sessions one after the other until the time is up, or the first difference; that is printed with the
 * options that bring it back. --baseline: x86-64-v2, as on a host without AVX. --programs: how many a session
 * has. Of the last one --trace prints what it executes and when the byte at a physical address changes; with
 * --steps the engines run its first instructions one by one; with --alone they run nothing else, and find in
 * memory what the earlier ones left.
 */
#include "fuzz.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cpu/soft/cpuid.h"

#define ENGINES  3
#define PROGRAMS 40

struct run {
    struct judge judge;
    uint64_t seed;
    double seconds, until;
    unsigned long sessions;
    unsigned programs;
    bool baseline, alone, trace;
    const char *engine;
    uint32_t watch;
    unsigned steps; /* of the last program, not to be run by the engine */
    /* a session */
    struct machine *trial, *machines[ENGINES];
    struct program *program;
    struct labels labels;
    struct outcome *expected, *got;
    /* the watchdog */
    GThread *watchdog;
    GMutex lock;
    struct machine *running;
    double since;
    bool stop;
    /* figures */
    unsigned long n_sessions, n_programs, n_useless, n_events, n_interrupts;
    uint64_t n_steps;
    VmcCpuStats stats[ENGINES];
};

static double now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* What ends within a hundredth of a second when each instruction runs by itself ends in ten. */
static gpointer watchdog_main(gpointer data)
{
    struct run *r = data;

    while (!r->stop) {
        g_usleep(100000);
        g_mutex_lock(&r->lock);
        if (r->running && now() - r->since > 10) {
            r->running->give_up = true;
            vmc_cpu_soft.kick(r->running->cpu);
        }
        g_mutex_unlock(&r->lock);
    }
    return NULL;
}

static void watch(struct run *r, struct machine *m)
{
    g_mutex_lock(&r->lock);
    r->running = m;
    r->since = now();
    g_mutex_unlock(&r->lock);
}

/* What CPUID shows, for the judge of instructions. */
static void ask_cpuid(struct run *r)
{
    static const uint32_t leaves[4][2] = {{1, 0}, {7, 0}, {13, 1}, {0x80000001, 0}};
    uint32_t answers[4][4];
    VmcCpu *c = r->trial->cpu;

    for (unsigned i = 0; i < 4; i++) {
        c->gpr[VMC_RAX] = leaves[i][0];
        c->gpr[VMC_RCX] = leaves[i][1];
        vmc_cpuid(c);
        answers[i][0] = (uint32_t)c->gpr[VMC_RAX];
        answers[i][1] = (uint32_t)c->gpr[VMC_RBX];
        answers[i][2] = (uint32_t)c->gpr[VMC_RCX];
        answers[i][3] = (uint32_t)c->gpr[VMC_RDX];
    }
    judge_set_advertised(&r->judge, answers[0], answers[1], answers[2], answers[3]);
}

/* ---- comparing ---- */

static const char *const frame_names[] = {"cr2", "rax",    "rcx",   "rdx", "rbx", "rsp?",   "rbp", "rsi",
                                          "rdi", "r8",     "r9",    "r10", "r11", "r12",    "r13", "r14",
                                          "r15", "vector", "error", "rip", "cs",  "rflags", "rsp", "ss"};

static void print_event(unsigned n, const struct frame *f)
{
    printf("  event %u: vector %" PRIu64 " error %" PRIx64 " cr2 %" PRIx64 " cs %" PRIx64 " rip %" PRIx64
           " rflags %" PRIx64 " rsp %" PRIx64 "\n",
           n, f->vector, f->error, f->cr2, f->cs, f->rip, f->rflags, f->rsp);
}

static bool same_event(const struct frame *x, const struct frame *y)
{
    return memcmp(x, y, sizeof(*x)) == 0;
}

static void print_events(const struct outcome *x, const struct outcome *y)
{
    unsigned n = 0;

    while (n < x->n_events && n < y->n_events && same_event(&x->events[n], &y->events[n]))
        n++;
    for (unsigned i = n > 3 ? n - 3 : 0; i < n; i++)
        print_event(i, &x->events[i]);
    if (n < x->n_events) {
        printf("expected:\n");
        print_event(n, &x->events[n]);
    }
    if (n < y->n_events) {
        printf("got:\n");
        print_event(n, &y->events[n]);
    }
    for (unsigned i = 0; n < x->n_events && n < y->n_events && i < G_N_ELEMENTS(frame_names); i++) {
        uint64_t a, b;

        memcpy(&a, (const uint8_t *)&x->events[n] + i * 8, 8);
        memcpy(&b, (const uint8_t *)&y->events[n] + i * 8, 8);
        if (a != b)
            printf("  %-6s expected %016" PRIx64 "  got %016" PRIx64 "\n", frame_names[i], a, b);
    }
}

static void print_bytes(const uint8_t *bytes)
{
    for (unsigned k = 16; k-- > 0;)
        printf("%02x", bytes[k]);
}

static void print_fx(const struct outcome *x, const struct outcome *y)
{
    static const struct {
        const char *name;
        unsigned from;
    } parts[] = {{"control", 0}, {"st", 32}, {"xmm", 160}, {"rest", 416}, {"ymm", FX_YMM}};
    unsigned part = 0;

    for (unsigned i = 0; i < FX_SIZE; i += 16) {
        if (part + 1 < G_N_ELEMENTS(parts) && i == parts[part + 1].from)
            part++;
        if (memcmp(x->fx + i, y->fx + i, 16) == 0)
            continue;
        printf("  %s%u (XSAVE offset %u) expected ", parts[part].name, (i - parts[part].from) / 16, i);
        print_bytes(x->fx + i);
        printf(" got ");
        print_bytes(y->fx + i);
        printf("\n");
    }
}

/* Whether the engine's machine came out as the trial's. Prints where not. */
static bool compare(struct run *r, const struct machine *m)
{
    const struct outcome *x = r->expected, *y = r->got;
    int64_t at = machine_differs(m, r->trial);
    bool same_events = x->n_events == y->n_events;

    for (unsigned i = 0; same_events && i < x->n_events; i++)
        same_events = same_event(&x->events[i], &y->events[i]);
    if (y->ended && same_events && at < 0 && memcmp(x->fx, y->fx, sizeof(x->fx)) == 0 &&
        x->device == y->device && x->fs_base == y->fs_base && x->gs_base == y->gs_base)
        return true;
    printf("DIFFERS on %s: %s\n", m->name,
           y->error                       ? y->error
           : m->give_up                   ? "the program does not end"
           : y->exit == VMC_EXIT_SHUTDOWN ? "triple fault"
           : !same_events                 ? "other exceptions, or other registers at one"
                                          : "what is left behind");
    print_events(x, y);
    if (y->ended)
        print_fx(x, y);
    if (x->device != y->device)
        printf("  devices saw something else (%u and %u accesses)\n", x->accesses, y->accesses);
    if (y->ended && (x->fs_base != y->fs_base || x->gs_base != y->gs_base))
        printf("  fs_base %" PRIx64 " %" PRIx64 " gs_base %" PRIx64 " %" PRIx64 "\n", x->fs_base, y->fs_base,
               x->gs_base, y->gs_base);
    if (at >= 0)
        printf("  memory at physical %" PRIx64 ": expected %016" PRIx64 ", got %016" PRIx64 "\n",
               (uint64_t)at & ~UINT64_C(7), *(uint64_t *)(void *)(r->trial->ram + (at & ~7ull)),
               *(uint64_t *)(void *)(m->ram + (at & ~7ull)));
    return false;
}

/* ---- sessions ---- */

static void start_session(struct run *r, uint64_t seed)
{
    static const unsigned hot[] = {0, 0, 1, 1, 2, 8}, caches[] = {0, 1, 256, 1024};
    uint64_t random = seed;
    struct machine_kind kinds[] = {
        {.name = "blocks", .engine = VMC_ENGINE_INTERPRETER},
        {.name = "translator", .engine = VMC_ENGINE_TRANSLATOR},
        {.name = "lockstep", .engine = VMC_ENGINE_TRANSLATOR, .lockstep = true},
    };

    r->trial = machine_new(&(struct machine_kind){
        .name = "trial", .engine = VMC_ENGINE_INTERPRETER, .trial = true, .baseline = r->baseline});
    for (unsigned i = 0; i < ENGINES; i++) {
        kinds[i].translate_after = PICK(&(struct generator){.random = diff_random(&random)}, hot);
        kinds[i].baseline = r->baseline;
        kinds[i].cache_kib = PICK(&(struct generator){.random = diff_random(&random)}, caches);
        if (!r->engine || strcmp(r->engine, kinds[i].name) == 0)
            r->machines[i] = machine_new(&kinds[i]);
    }
    memset(&r->labels, 0, sizeof(r->labels));
    if (!r->n_sessions)
        ask_cpuid(r);
}

static void end_session(struct run *r)
{
    for (unsigned i = 0; i < ENGINES; i++) {
        VmcCpuStats stats;

        if (!r->machines[i])
            continue;
        vmc_cpu_soft.get_stats(r->machines[i]->cpu, &stats);
        for (unsigned k = 0; k < sizeof(stats) / 8; k++)
            ((uint64_t *)&r->stats[i])[k] += ((uint64_t *)&stats)[k];
        r->n_interrupts += r->machines[i]->taken;
        machine_free(r->machines[i]);
        r->machines[i] = NULL;
    }
    machine_free(r->trial);
    r->n_sessions++;
}

/* One program on all. False: they differ. */
static bool run_program(struct run *r, bool last)
{
    static uint8_t before[AREA_SIZE];
    static uint64_t tables[TABLES_SIZE / 8];
    struct labels labels = r->labels;

    memcpy(before, r->trial->ram + AREA_PA, AREA_SIZE);
    memcpy(r->program->area, before, AREA_SIZE);
    machine_tables(r->trial, (uint8_t *)tables, false);
    program_make(&r->judge, r->program, &r->labels);
    watch(r, r->trial);
    if (!trial_run(&r->judge, r->trial, r->program, r->expected, last && r->trace, r->watch)) {
        r->n_useless++; /* and never was */
        r->labels = labels;
        memcpy(r->trial->ram + AREA_PA, before, AREA_SIZE);
        vmc_memory_written(r->trial->memory, AREA_PA, AREA_SIZE);
        machine_tables(r->trial, (uint8_t *)tables, true);
        return true;
    }
    r->n_programs++;
    r->n_steps += r->program->steps;
    r->n_events += r->expected->n_events;
    for (unsigned i = 0; i < ENGINES; i++) {
        if (!r->machines[i])
            continue;
        if (r->alone && !last) {
            machine_copy(r->machines[i], r->trial);
            continue;
        }
        machine_load(r->machines[i], r->program, r->got);
        watch(r, r->machines[i]);
        machine_run(r->machines[i], last ? r->steps : 0);
        watch(r, NULL);
        if (!compare(r, r->machines[i]))
            return false;
    }
    return true;
}

static bool run_session(struct run *r, uint64_t seed)
{
    uint64_t random = seed;
    unsigned n;
    bool good = true;

    start_session(r, seed);
    for (n = 0; good && n < r->programs; n++) {
        r->program->seed = diff_random(&random);
        good = run_program(r, n + 1 == r->programs);
    }
    if (!good)
        printf("again: fuzzcpu%s --seed %" PRIu64 " --sessions 1 --programs %u\n",
               r->baseline ? " --baseline" : "", seed, n);
    end_session(r);
    return good;
}

static void print_figures(const struct run *r)
{
    printf("%lu sessions, %lu programs (%lu were of no use), %" PRIu64
           " instructions, %lu exceptions, %lu interrupts\n",
           r->n_sessions, r->n_programs, r->n_useless, r->n_steps, r->n_events, r->n_interrupts);
    printf("translator: %" PRIu64 " blocks translated, %" PRIu64 " interpreted, %" PRIu64
           " instructions left to the "
           "interpreter, cache full %" PRIu64 " times\n",
           r->stats[1].blocks_translated, r->stats[1].blocks_interpreted, r->stats[1].bails,
           r->stats[1].evictions);
    printf("lockstep: %" PRIu64 " blocks compared, %" PRIu64 " translated\n", r->stats[2].lockstep_blocks,
           r->stats[2].blocks_translated);
}

static bool parse_options(struct run *r, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";

        bool *flag = strcmp(argv[i], "--alone") == 0      ? &r->alone
                     : strcmp(argv[i], "--trace") == 0    ? &r->trace
                     : strcmp(argv[i], "--baseline") == 0 ? &r->baseline
                                                          : NULL;

        if (flag) {
            *flag = true;
            continue;
        }
        if (strcmp(argv[i], "--seconds") == 0)
            r->seconds = atof(value);
        else if (strcmp(argv[i], "--seed") == 0)
            r->seed = strtoull(value, NULL, 0);
        else if (strcmp(argv[i], "--sessions") == 0)
            r->sessions = strtoul(value, NULL, 0);
        else if (strcmp(argv[i], "--programs") == 0)
            r->programs = (unsigned)atoi(value);
        else if (strcmp(argv[i], "--steps") == 0)
            r->steps = (unsigned)atoi(value);
        else if (strcmp(argv[i], "--watch") == 0)
            r->watch = (uint32_t)strtoul(value, NULL, 16);
        else if (strcmp(argv[i], "--engine") == 0)
            r->engine = value;
        else
            return false;
        i++;
    }
    return r->programs > 0;
}

int main(int argc, char **argv)
{
    struct run r = {.seconds = 20, .seed = (uint64_t)time(NULL) * 1000, .programs = PROGRAMS};
    bool good = true;

    if (!parse_options(&r, argc, argv)) {
        fprintf(stderr, "see the head of tests/diff/fuzz/main.c for the options\n");
        return 2;
    }
    judge_init(&r.judge);
    r.program = g_new0(struct program, 1);
    r.expected = g_new0(struct outcome, 1);
    r.got = g_new0(struct outcome, 1);
    r.watchdog = g_thread_new("watchdog", watchdog_main, &r);
    printf("seed %" PRIu64 "\n", r.seed);
    fflush(stdout);
    r.until = now() + r.seconds;
    while (good && (r.sessions ? r.n_sessions < r.sessions : now() < r.until))
        good = run_session(&r, r.seed + r.n_sessions);
    print_figures(&r);
    printf("%s\n", good ? "all agree" : "DIFFERENCES");
    r.stop = true;
    g_thread_join(r.watchdog);
    g_free(r.program);
    g_free(r.expected);
    g_free(r.got);
    return good ? 0 : 1;
}
