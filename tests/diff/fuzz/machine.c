/*
 * The guest of a session: memory, page tables, and one CPU in it.
 *
 * Long mode. The windows' page tables hold all that an access can run into: pages that may be written to or
 * not, executed or not, are the supervisor's alone, are not there, are devices or ROM, or show the same
 * memory as others. Every entry is marked as accessed and written from the start, or is not and then never
 * read by programs, so that it does not matter when a CPU notes it, only that it does.
 */
#include "fuzz.h"

#include <string.h>

#include "cpu/soft/xcr.h"

#define TABLES_END PHYS_GDT

static uint64_t get64(struct machine *m, uint32_t pa)
{
    uint64_t value;

    memcpy(&value, m->ram + pa, 8);
    return value;
}

static void put64(struct machine *m, uint32_t pa, uint64_t value)
{
    memcpy(m->ram + pa, &value, 8);
}

/* Physical address of the entry for `va` at the level whose index begins at bit `last`. */
static uint32_t entry_for(struct machine *m, uint64_t va, int last)
{
    uint32_t table = PHYS_TABLES;

    for (int shift = 39; shift > last; shift -= 9) {
        uint32_t entry = table + (uint32_t)((va >> shift) & 511) * 8;

        if (!get64(m, entry)) {
            g_assert(m->next_table < TABLES_END);
            put64(m, entry, m->next_table | PTE_P | PTE_W | PTE_U | PTE_A);
            m->next_table += PAGE;
        }
        table = (uint32_t)get64(m, entry) & ~0xfffu;
    }
    return table + (uint32_t)((va >> last) & 511) * 8;
}

static void map(struct machine *m, uint64_t va, uint64_t pa, uint64_t bits)
{
    put64(m, entry_for(m, va, 12), pa | bits | PTE_P);
}

uint64_t *machine_pte(struct machine *m, uint64_t va)
{
    return (uint64_t *)(void *)(m->ram + entry_for(m, va, 12));
}

static void map_code(struct machine *m, uint64_t base, uint64_t who)
{
    for (unsigned i = 0; i < CODE_PAGES; i++) {
        uint64_t bits = who | PTE_A | (i % 3 ? PTE_D : 0);

        bits |= i == 13 ? 0 : PTE_W;
        bits |= i == 14 ? PTE_NX : 0;
        map(m, base + i * PAGE, AREA_PA + i * PAGE, bits);
    }
}

/* The kinds of page there are, by their place in the window. */
static void map_data(struct machine *m, uint64_t base, uint64_t who)
{
    const uint64_t rw = who | PTE_W | PTE_A | PTE_D;
    const struct {
        unsigned at;
        uint64_t pa, bits;
    } pages[] = {
        {0, DATA_PA, rw | PTE_NX},
        {1, DATA_PA + PAGE, rw},
        {2, DATA_PA + 2 * PAGE, rw | PTE_NX},
        {3, DATA_PA + 3 * PAGE, who | PTE_W},
        {4, DATA_PA + 4 * PAGE, who | PTE_A | PTE_D},
        {6, DATA_PA + 6 * PAGE, rw},
        {7, DATA_PA + 7 * PAGE, rw},
        {8, DATA_PA + 8 * PAGE, rw & ~PTE_U},
        {9, MMIO_PA, rw},
        {10, DATA_PA + 10 * PAGE, rw},
        {11, AREA_PA, rw | PTE_NX},
        {12, ROM_PA, rw},
        {13, DATA_PA, rw},
        {14, AREA_PA + 5 * PAGE, rw},
        {15, AREA_PA + 6 * PAGE, rw},
        {17, DATA_PA + 12 * PAGE, rw},
        {18, DATA_PA + 13 * PAGE, rw},
        {19, DATA_PA + 14 * PAGE, rw},
        {20, DATA_PA + 15 * PAGE, rw},
    };

    entry_for(m, base, 12);
    for (unsigned i = 0; i < G_N_ELEMENTS(pages); i++)
        map(m, base + pages[i].at * PAGE, pages[i].pa, pages[i].bits);
}

static void make_paging(struct machine *m)
{
    m->next_table = PHYS_TABLES + PAGE;
    for (uint32_t pa = PHYS_GDT; pa <= PHYS_EXIT; pa += PAGE)
        map(m, KERNEL + pa, pa, PTE_W | PTE_A | PTE_D | PTE_G);
    map_code(m, UCODE, PTE_U);
    map_code(m, UCODE + TO_SUPER, PTE_G);
    map_data(m, UDATA, PTE_U);
    map_data(m, UDATA + TO_SUPER, 0);
    put64(m, entry_for(m, ULARGE, 21), AREA_PA | PTE_P | PTE_W | PTE_U | PTE_A | PTE_D | 0x80);
    put64(m, entry_for(m, ULARGE + TO_SUPER, 21), AREA_PA | PTE_P | PTE_W | PTE_A | PTE_D | 0x80);
    map(m, UEXIT, PHYS_EXIT, PTE_U | PTE_A | PTE_D);
    map(m, UEXIT + TO_SUPER, PHYS_EXIT, PTE_A | PTE_D);
    map(m, UEDGE, AREA_PA + 15 * PAGE, PTE_U | PTE_W | PTE_A | PTE_D);
}

static void make_gdt(struct machine *m)
{
    uint64_t tss = KERNEL + PHYS_TSS;

    put64(m, PHYS_GDT + 0x10, 0x00af9b000000ffffull);
    put64(m, PHYS_GDT + 0x18, 0x00cf93000000ffffull);
    put64(m, PHYS_GDT + 0x28, 0x00cff3000000ffffull);
    put64(m, PHYS_GDT + 0x30, 0x00affb000000ffffull);
    put64(m, PHYS_GDT + 0x40, 0x67 | (tss & 0xffffff) << 16 | 0x8bull << 40 | ((tss >> 24) & 0xff) << 56);
    put64(m, PHYS_GDT + 0x48, tss >> 32);
}

/* At the place in the guest's kernel where programs begin. */
static void set_start(struct machine *m, uint64_t rip)
{
    VmcCpuState st;
    GError *error = NULL;

    vmc_cpu_state_reset(&st);
    st.cr0 = 0x80050033;
    st.cr3 = PHYS_TABLES;
    st.cr4 = 0x10ea0; /* FSGSBASE UMIP OSXMMEXCPT OSFXSR PGE PAE */
    if (m->xcr0) {
        st.cr4 |= CR4_OSXSAVE;
        st.xcr0 = m->xcr0;
    }
    st.efer = 0xd01;
    st.gdt.base = KERNEL + PHYS_GDT;
    st.gdt.limit = 127;
    st.idt.base = KERNEL + PHYS_IDT;
    st.idt.limit = 4095;
    st.tr = (VmcSegment){.base = KERNEL + PHYS_TSS, .limit = 0x67, .selector = 0x40, .attr = 0x8b};
    st.seg[VMC_CS] = (VmcSegment){.limit = 0xffffffff, .selector = 0x10, .attr = 0xa09b};
    st.seg[VMC_SS] = (VmcSegment){.limit = 0xffffffff, .selector = 0x18, .attr = 0xc093};
    st.rip = rip;
    st.gpr[VMC_RSP] = KERNEL + FRAME_PA;
    st.rflags = 2;
    if (!vmc_cpu_soft.set_state(m->cpu, &st, &error))
        g_error("%s", error->message);
}

struct machine *machine_new(const struct machine_kind *kind)
{
    struct machine *m = g_new0(struct machine, 1);
    VmcLocalApic lapic = {&kernel_apic, m};
    GError *error = NULL;
    VmcCpuVmParams params;

    m->name = kind->name;
    m->trial = kind->trial;
    m->memory = vmc_memory_new();
    if (!vmc_memory_add(m->memory, "ram", 0, RAM_SIZE, false, &error) ||
        !vmc_memory_add(m->memory, "rom", ROM_PA, PAGE, true, &error))
        g_error("%s", error->message);
    m->ram = vmc_memory_host(m->memory, 0, RAM_SIZE);
    m->pio = vmc_bus_new("pio");
    m->mmio = vmc_bus_new("mmio");
    vmc_bus_add(m->pio, "kernel", PORT_KERNEL, 8, &kernel_ports, m);
    vmc_bus_add(m->mmio, "device", MMIO_PA, PAGE, &kernel_mmio, m);
    params = (VmcCpuVmParams){.memory = m->memory,
                              .pio = m->pio,
                              .mmio = m->mmio,
                              .n_cpus = 1,
                              .engine = kind->engine,
                              .lockstep = kind->lockstep,
                              .baseline_cpu = kind->baseline,
                              .code_cache_mib = VMC_CODE_CACHE_MIN};
    m->vm = vmc_cpu_soft.vm_new(&params, &error);
    if (m->vm) {
        m->vm->translate_after = kind->translate_after;
        if (kind->cache_kib) /* soon full */
            m->vm->code_cache_kib = m->vm->block_arena_kib = kind->cache_kib;
        m->cpu = vmc_cpu_soft.cpu_new(m->vm, 0, &lapic, &error);
    }
    if (!m->cpu)
        g_error("%s", error->message);
    m->xcr0 = vmc_xcr0_allowed(m->cpu);
    if (!(m->xcr0 & 4)) /* FXSAVE keeps all there is */
        m->xcr0 = 0;
    make_paging(m);
    make_gdt(m);
    m->start = kernel_make(m);
    set_start(m, m->start);
    return m;
}

void machine_free(struct machine *m)
{
    vmc_cpu_soft.cpu_free(m->cpu);
    vmc_cpu_soft.vm_free(m->vm);
    vmc_bus_free(m->pio);
    vmc_bus_free(m->mmio);
    vmc_memory_free(m->memory);
    g_free(m);
}

static void load_page(struct machine *m, uint32_t pa, const uint8_t *page)
{
    if (memcmp(m->ram + pa, page, PAGE) == 0)
        return;
    memcpy(m->ram + pa, page, PAGE);
    vmc_memory_written(m->memory, pa, PAGE);
}

void machine_load(struct machine *m, struct program *p, struct outcome *o)
{
    /* Where CR0.WP is off, the last program may have written there. */
    static const uint8_t way_out[PAGE] = {0xcd, VECTOR_END};
    struct shared *shared = machine_shared(m);

    load_page(m, PHYS_EXIT, way_out);
    for (uint32_t at = 0; at < AREA_SIZE; at += PAGE)
        load_page(m, AREA_PA + at, p->area + at);
    memcpy(m->ram + FRAME_PA, &p->start, sizeof(p->start));
    memcpy(shared->fx, p->fx, sizeof(p->fx));
    memcpy(shared->fx + FX_HEADER, &m->xcr0, sizeof(m->xcr0)); /* XSTATE_BV: all of it is there */
    shared->action = m->xcr0 ? 7 : 3;
    shared->cr0 = p->cr0;
    shared->xcr0 = m->xcr0;
    shared->cr4 = p->cr4 | (m->xcr0 ? CR4_OSXSAVE : 0);
    shared->invlpg = UDATA;
    shared->fs_base = p->fs_base;
    shared->gs_base = p->gs_base;
    shared->cr2 = 0;
    m->program = p;
    m->outcome = o;
    m->interrupts = 0;
    m->undefined = 0;
    g_free(o->error);
    memset(o, 0, sizeof(*o));
}

void machine_restart(struct machine *m)
{
    set_start(m, m->start);
}

void machine_step(struct machine *m)
{
    static const VmcCpuDebug one = {.single_step = true};
    GError *error = NULL;

    vmc_cpu_soft.set_debug(m->cpu, &one, NULL);
    m->outcome->exit = vmc_cpu_soft.run(m->cpu, &error);
    g_clear_error(&error);
}

void machine_run(struct machine *m, unsigned steps)
{
    struct outcome *o = m->outcome;
    GError *error = NULL;

    while (steps-- && !o->ended)
        machine_step(m);
    vmc_cpu_soft.set_debug(m->cpu, NULL, NULL);
    do
        o->exit = vmc_cpu_soft.run(m->cpu, &error);
    while (o->exit == VMC_EXIT_KICKED && !o->ended && !m->give_up);
    if (error)
        o->error = g_strdup(error->message);
    g_clear_error(&error);
}

void machine_copy(struct machine *m, const struct machine *from)
{
    memcpy(m->ram, from->ram, AREA_PA);
    for (uint32_t at = AREA_PA; at < RAM_SIZE; at += PAGE)
        load_page(m, at, from->ram + at);
    set_start(m, m->start);
}

uint8_t *machine_at(struct machine *m, uint64_t va)
{
    uint64_t pa, offset;
    const VmcMemSlot *slot;

    if (!vmc_cpu_soft.translate(m->cpu, va, &pa))
        return NULL;
    slot = vmc_memory_find(m->memory, pa, &offset);
    return slot ? slot->host + offset : NULL;
}

bool machine_in_kernel(const struct machine *m)
{
    return m->cpu->rip - KERNEL < RAM_SIZE;
}

struct shared *machine_shared(struct machine *m)
{
    return (struct shared *)(void *)(m->ram + PHYS_SHARED);
}

void machine_tables(struct machine *m, uint8_t *tables, bool put)
{
    if (put)
        memcpy(m->ram + PHYS_TABLES, tables, TABLES_SIZE);
    else
        memcpy(tables, m->ram + PHYS_TABLES, TABLES_SIZE);
}

/* A CPU may mark a page as accessed that it does not access in the end. */
static int64_t tables_differ(const struct machine *m, const struct machine *expected)
{
    const uint64_t *x = (const uint64_t *)(const void *)expected->ram,
                   *y = (const uint64_t *)(const void *)m->ram;

    for (uint32_t i = PHYS_TABLES / 8; i < TABLES_END / 8; i++)
        if (x[i] != y[i] && (x[i] | PTE_A) != y[i])
            return i * 8;
    return -1;
}

int64_t machine_differs(const struct machine *m, const struct machine *expected)
{
    static const struct {
        uint32_t from, to;
    } parts[] = {{PHYS_SHARED, PHYS_STACKS + PAGE}, {PHYS_EXIT, PHYS_EXIT + PAGE}, {AREA_PA, RAM_SIZE}};
    int64_t table = tables_differ(m, expected);

    if (table >= 0)
        return table;
    for (unsigned i = 0; i < G_N_ELEMENTS(parts); i++)
        for (uint32_t at = parts[i].from; at < parts[i].to; at += PAGE)
            if (memcmp(m->ram + at, expected->ram + at, PAGE) != 0)
                for (uint32_t k = at; k < at + PAGE; k++)
                    if (m->ram[k] != expected->ram[k])
                        return k;
    return -1;
}
