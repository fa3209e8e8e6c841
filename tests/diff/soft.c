/*
 * The software CPU's side: a guest of the fewest pages that looks to a snippet as Linux does to user code.
 *
 * Long mode, paging on, snippets' pages at the addresses they have natively, CPL 3; the GDT is the one Linux
 * gives a process (arch/x86/include/asm/segment.h), so that selectors mean the same. Every gate of the IDT
 * leads to an OUT to the port of its own number: the device behind it kicks the CPU, and what the exception
 * frame, CR2 and the registers then hold is the outcome.
 */
#include "diff.h"

#include <glib.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bus.h"
#include "base/memory.h"
#include "cpu/cpu.h"
#include "cpu/soft/state.h"

#define RAM_SIZE    0x40000u
#define PHYS_TABLES 0x1000u
#define PHYS_GDT    0x10000u
#define PHYS_IDT    0x11000u
#define PHYS_TSS    0x12000u
#define PHYS_STUBS  0x13000u
#define PHYS_STACK  0x14000u /* one page */
#define PHYS_LDT    0x15000u
#define PHYS_IMAGE  0x20000u
#define KERNEL      0xffff900000000000ull /* where physical 0 is seen by the supervisor */
#define STACK_TOP   (KERNEL + PHYS_STACK + 0x1000)

#define PTE_P  1ull
#define PTE_W  2ull
#define PTE_U  4ull
#define PTE_NX (1ull << 63)

struct soft {
    VmcMemory *memory;
    VmcBus *pio, *mmio;
    VmcCpuVm *vm;
    VmcCpu *cpu;
    uint8_t *ram;
    uint32_t next_table; /* physical address of the next unused page table */
    int vector;          /* of the exit, -1 before it */
    VmcCpuState start;   /* everything a case does not set */
    /* the watchdog */
    GThread *watchdog;
    clockid_t clock;
    _Atomic uint64_t running; /* number of the case under way, 0 none */
    _Atomic bool timed_out, stop;
    uint64_t n_cases;
};

static void put64(struct soft *s, uint32_t pa, uint64_t value)
{
    memcpy(s->ram + pa, &value, 8);
}

static uint64_t get64(struct soft *s, uint32_t pa)
{
    uint64_t value;

    memcpy(&value, s->ram + pa, 8);
    return value;
}

static void map_page(struct soft *s, uint64_t va, uint32_t pa, uint64_t bits)
{
    uint32_t table = PHYS_TABLES;

    for (int shift = 39; shift > 12; shift -= 9) {
        uint32_t entry = table + (uint32_t)((va >> shift) & 511) * 8;

        if (!get64(s, entry)) {
            put64(s, entry, s->next_table | PTE_P | PTE_W | PTE_U);
            s->next_table += PAGE;
        }
        table = (uint32_t)get64(s, entry) & ~0xfffu;
    }
    put64(s, table + (uint32_t)((va >> 12) & 511) * 8, pa | bits | PTE_P);
}

static void make_paging(struct soft *s)
{
    s->next_table = PHYS_TABLES + PAGE;
    for (uint32_t pa = PHYS_GDT; pa < PHYS_IMAGE; pa += PAGE)
        map_page(s, KERNEL + pa, pa, PTE_W);
    for (unsigned a = 0; a < AREA_COUNT; a++) {
        const struct area *area = &diff_areas[a];

        for (unsigned p = 0; p < area->pages; p++)
            map_page(s, area->base + p * PAGE, PHYS_IMAGE + (area->first + p) * PAGE,
                     PTE_U | (area->write ? PTE_W : 0) | (area->exec ? 0 : PTE_NX));
    }
    g_assert(s->next_table <= PHYS_GDT);
}

/* Linux's GDT. The CPU-number segment is an expand-down, read-only one with the number as limit. */
static void make_gdt(struct soft *s, uint32_t cpu_limit)
{
    uint64_t tss = KERNEL + PHYS_TSS;

    put64(s, PHYS_GDT + 0x08, 0x00cf9b000000ffffull);
    put64(s, PHYS_GDT + 0x10, 0x00af9b000000ffffull);
    put64(s, PHYS_GDT + 0x18, 0x00cf93000000ffffull);
    put64(s, PHYS_GDT + 0x20, 0x00cffb000000ffffull);
    put64(s, PHYS_GDT + 0x28, 0x00cff3000000ffffull);
    put64(s, PHYS_GDT + 0x30, 0x00affb000000ffffull);
    put64(s, PHYS_GDT + 0x40, 0x67 | (tss & 0xffffff) << 16 | 0x8bull << 40 | ((tss >> 24) & 0xff) << 56);
    put64(s, PHYS_GDT + 0x48, tss >> 32);
    put64(s, PHYS_GDT + 0x78,
          (cpu_limit & 0xffffull) | 0xf5ull << 40 | ((uint64_t)cpu_limit >> 16 & 15) << 48 | 4ull << 52);
}

/* The LDT as Linux makes it from what modify_ldt is told: always accessed, DPL 3. */
static void make_ldt(struct soft *s)
{
    for (unsigned i = 0; i < LDT_COUNT; i++) {
        const struct descriptor *d = &diff_ldt[i];
        uint64_t type = 1u | (d->read_only ? 0u : 2u) | (uint64_t)d->contents << 2;
        uint64_t high = 0x70u | type | (d->absent ? 0u : 0x80u);

        put64(s, PHYS_LDT + i * 8,
              (d->limit & 0xffffull) | (d->base & 0xffffffull) << 16 | high << 40 |
                  (uint64_t)(d->limit >> 16 & 15) << 48 | (d->wide ? 1ull << 54 : 0) |
                  (d->pages ? 1ull << 55 : 0) | (uint64_t)(d->base >> 24) << 56);
    }
}

static void make_idt(struct soft *s)
{
    for (unsigned v = 0; v < 256; v++) {
        uint64_t stub = KERNEL + PHYS_STUBS + v * 8;
        bool user = v == 3 || v == 4;
        uint8_t code[8] = {0xe6, (uint8_t)v, 0xf4, 0xeb, 0xfd}; /* out v, al; hlt; jmp back to it */

        memcpy(s->ram + PHYS_STUBS + v * 8, code, 8);
        put64(s, PHYS_IDT + v * 16,
              (stub & 0xffff) | 0x10ull << 16 | (user ? 0xeeull : 0x8eull) << 40 |
                  ((stub >> 16) & 0xffff) << 48);
        put64(s, PHYS_IDT + v * 16 + 8, stub >> 32);
    }
    put64(s, PHYS_TSS + 4, STACK_TOP);
    s->ram[PHYS_TSS + 0x66] = 0x68; /* no I/O bitmap */
}

/* What a segment register holds once loaded with this selector. */
static VmcSegment segment(struct soft *s, uint16_t selector)
{
    uint64_t d = get64(s, (selector & 4 ? PHYS_LDT : PHYS_GDT) + (selector & ~7u));
    VmcSegment seg = {.selector = selector};

    if (selector < 4)
        return seg;
    seg.base = (d >> 16 & 0xffffff) | (d >> 56 & 0xff) << 24;
    seg.limit = (uint32_t)((d & 0xffff) | (d >> 48 & 15) << 16);
    if (d >> 55 & 1)
        seg.limit = seg.limit << 12 | 0xfff;
    seg.attr = (uint16_t)(d >> 40 & 0xf0ff);
    return seg;
}

static void make_start(struct soft *s, bool avx)
{
    VmcCpuState *st = &s->start;

    vmc_cpu_state_reset(st);
    st->cr0 = 0x80050033; /* PG AM WP NE ET MP PE */
    st->cr3 = PHYS_TABLES;
    st->cr4 = 0x10e20; /* FSGSBASE UMIP OSXMMEXCPT OSFXSR PAE */
    if (avx) {
        st->cr4 |= 1u << 18; /* OSXSAVE */
        st->xcr0 = 7;
    }
    st->efer = 0xd01; /* NXE LMA LME SCE */
    st->gdt.base = KERNEL + PHYS_GDT;
    st->gdt.limit = 127;
    st->idt.base = KERNEL + PHYS_IDT;
    st->idt.limit = 4095;
    st->tr = (VmcSegment){.base = KERNEL + PHYS_TSS, .limit = 0x67, .selector = 0x40, .attr = 0x8b};
    st->ldt =
        (VmcSegment){.base = KERNEL + PHYS_LDT, .limit = LDT_COUNT * 8 - 1, .selector = 0x50, .attr = 0x82};
}

/* ---- the board: one port range, and a local APIC with nothing to say ---- */

static uint64_t port_read(void *opaque, uint64_t offset, unsigned size)
{
    return ~0ull;
}

static void port_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct soft *s = opaque;

    if (s->vector < 0)
        s->vector = (int)offset;
    vmc_cpu_soft.kick(s->cpu);
}

static const VmcRegionOps port_ops = {port_read, port_write};

static int apic_none(void *apic)
{
    return -1;
}
static uint64_t apic_base(void *apic)
{
    return 0xfee00900;
}
static bool apic_set_base(void *apic, uint64_t value)
{
    return true;
}
static uint64_t apic_cr8(void *apic)
{
    return 0;
}
static void apic_set_cr8(void *apic, uint64_t value)
{
}
static bool apic_read_msr(void *apic, uint32_t msr, uint64_t *value)
{
    return false;
}
static bool apic_write_msr(void *apic, uint32_t msr, uint64_t value)
{
    return false;
}
static uint32_t apic_mmio_read(void *apic, uint32_t offset)
{
    return 0;
}
static void apic_mmio_write(void *apic, uint32_t offset, uint32_t value)
{
}

static const VmcLocalApicOps apic_ops = {
    .pending = apic_none,
    .acknowledge = apic_none,
    .get_base = apic_base,
    .set_base = apic_set_base,
    .get_cr8 = apic_cr8,
    .set_cr8 = apic_set_cr8,
    .read_msr = apic_read_msr,
    .write_msr = apic_write_msr,
    .mmio_read = apic_mmio_read,
    .mmio_write = apic_mmio_write,
};

uint64_t soft_translated(const struct soft *s)
{
    VmcCpuStats stats;

    return vmc_cpu_soft.get_stats(s->cpu, &stats) ? stats.insns_translated : 0;
}

/* CPU time of the thread that runs the CPU, so that a busy host ends nothing early. */
static uint64_t runner_us(struct soft *s)
{
    struct timespec ts;

    clock_gettime(s->clock, &ts);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* Ends cases that have run for 40 ms. */
static gpointer watchdog_main(gpointer data)
{
    struct soft *s = data;
    uint64_t last = 0, since = 0;

    while (!s->stop) {
        uint64_t now;

        g_usleep(20000);
        now = s->running;
        if (now != last)
            since = runner_us(s);
        else if (now && runner_us(s) - since > 40000) {
            s->timed_out = true;
            vmc_cpu_soft.kick(s->cpu);
        }
        last = now;
    }
    return NULL;
}

struct soft *soft_new(uint32_t cpu_limit, bool avx, VmcCpuEngine engine, bool lockstep)
{
    struct soft *s = calloc(1, sizeof(*s));
    VmcLocalApic lapic = {&apic_ops, s};
    GError *error = NULL;
    VmcCpuVmParams params;

    s->memory = vmc_memory_new();
    if (!vmc_memory_add(s->memory, "ram", 0, RAM_SIZE, false, &error))
        g_error("%s", error->message);
    s->ram = vmc_memory_host(s->memory, 0, RAM_SIZE);
    s->pio = vmc_bus_new("pio");
    s->mmio = vmc_bus_new("mmio");
    vmc_bus_add(s->pio, "exit", 0, 256, &port_ops, s);
    params = (VmcCpuVmParams){.memory = s->memory,
                              .pio = s->pio,
                              .mmio = s->mmio,
                              .n_cpus = 1,
                              .baseline_cpu = !avx,
                              .engine = engine,
                              .lockstep = lockstep};
    s->vm = vmc_cpu_soft.vm_new(&params, &error);
    if (s->vm) {
        s->vm->translate_after = 0; /* every case runs once */
        s->cpu = vmc_cpu_soft.cpu_new(s->vm, 0, &lapic, &error);
    }
    if (!s->cpu)
        g_error("%s", error->message);
    make_paging(s);
    make_gdt(s, cpu_limit);
    make_ldt(s);
    make_idt(s);
    make_start(s, avx);
    pthread_getcpuclockid(pthread_self(), &s->clock);
    s->watchdog = g_thread_new("watchdog", watchdog_main, s);
    return s;
}

void soft_free(struct soft *s)
{
    s->stop = true;
    g_thread_join(s->watchdog);
    vmc_cpu_soft.cpu_free(s->cpu);
    vmc_cpu_soft.vm_free(s->vm);
    vmc_bus_free(s->pio);
    vmc_bus_free(s->mmio);
    vmc_memory_free(s->memory);
    free(s);
}

static void load_case(struct soft *s, const struct diff_case *c, VmcCpuState *st)
{
    *st = s->start;
    memcpy(st->gpr, c->in.gpr, sizeof(st->gpr));
    memcpy(st->fxsave, c->in.fx, sizeof(st->fxsave));
    memcpy(st->ymm_high, c->in.ymm_high, sizeof(st->ymm_high));
    st->rip = c->in.rip;
    st->rflags = c->in.rflags | 2;
    st->seg[VMC_CS] = segment(s, c->in.cs);
    st->seg[VMC_SS] = segment(s, c->in.ss);
    st->seg[VMC_DS] = segment(s, c->in.ds);
    st->seg[VMC_ES] = segment(s, c->in.es);
    st->seg[VMC_FS] = segment(s, c->in.fs);
    st->seg[VMC_GS] = segment(s, c->in.gs);
    if (!c->in.fs)
        st->seg[VMC_FS].base = c->in.fs_base;
    if (!c->in.gs)
        st->seg[VMC_GS].base = c->in.gs_base;
}

static bool has_error_code(int vector)
{
    return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
}

/* The exception frame: error code, RIP, CS, RFLAGS, RSP, SS up to the top of the stack. */
static void store_outcome(struct soft *s, const VmcCpuState *st, struct diff_outcome *o)
{
    uint64_t frame[6];

    memcpy(frame, s->ram + PHYS_STACK + 0x1000 - sizeof(frame), sizeof(frame));
    memcpy(o->out.gpr, st->gpr, sizeof(o->out.gpr));
    memcpy(o->out.fx, st->fxsave, sizeof(o->out.fx));
    memcpy(o->out.ymm_high, st->ymm_high, sizeof(o->out.ymm_high));
    o->vector = (uint32_t)s->vector;
    o->error = has_error_code(s->vector) ? (uint32_t)frame[0] : 0;
    o->cr2 = st->cr2;
    o->out.rip = frame[1];
    o->out.cs = (uint16_t)frame[2];
    o->out.rflags = frame[3];
    o->out.gpr[4] = frame[4];
    o->out.ss = (uint16_t)frame[5];
    o->out.ds = st->seg[VMC_DS].selector;
    o->out.es = st->seg[VMC_ES].selector;
    o->out.fs = st->seg[VMC_FS].selector;
    o->out.gs = st->seg[VMC_GS].selector;
    o->out.fs_base = st->seg[VMC_FS].base;
    o->out.gs_base = st->seg[VMC_GS].base;
}

void soft_run(struct soft *s, const struct diff_case *c, struct diff_outcome *o)
{
    GError *error = NULL;
    VmcCpuState st;
    VmcCpuExit exit;

    memset(o, 0, offsetof(struct diff_outcome, image));
    diff_image(c, false, s->ram + PHYS_IMAGE);
    vmc_memory_written(s->memory, PHYS_IMAGE, IMAGE_SIZE);
    load_case(s, c, &st);
    if (!vmc_cpu_soft.set_state(s->cpu, &st, &error))
        g_error("%s", error->message);
    s->vector = -1;
    s->timed_out = false;
    s->running = ++s->n_cases;
    do
        exit = vmc_cpu_soft.run(s->cpu, &error);
    while (exit == VMC_EXIT_KICKED && s->vector < 0 && !s->timed_out);
    s->running = 0;
    if (exit == VMC_EXIT_ERROR)
        fprintf(stderr, "%s\n", error->message);
    vmc_cpu_soft.get_state(s->cpu, &st);
    if (exit == VMC_EXIT_KICKED && s->vector >= 0) {
        store_outcome(s, &st, o);
    } else {
        memcpy(o->out.gpr, st.gpr, sizeof(o->out.gpr));
        o->out.rip = st.rip;
        o->vector = exit == VMC_EXIT_KICKED ? VECTOR_TIMEOUT : VECTOR_CRASH;
    }
    g_clear_error(&error);
    memcpy(o->image, s->ram + PHYS_IMAGE, IMAGE_SIZE);
}
