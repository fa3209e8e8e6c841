/*
 * The guest's kernel: a few stubs, and what they are told from behind a port.
 *
 * An exception's stub pushes all registers and asks by writing to the port; the frame on its stack may be
 * changed then. It does what the shared page says (control registers, INVLPG), takes the registers back and
 * returns. Whatever is decided here comes from the program's seed and the number of the event, so that all
 * CPUs see the same. Interrupts and NMIs have stacks of their own and leave everything as it was, so that it
 * does not matter when they come.
 */
#include "fuzz.h"

#include <string.h>

#include "cpu/soft/decode/insn.h"

#define PATCH_MAX 15

/* ---- stubs ---- */

struct writer {
    uint8_t *ram;
    uint32_t at;
};

static void put(struct writer *w, const char *bytes, unsigned n)
{
    memcpy(w->ram + w->at, bytes, n);
    w->at += n;
}
#define PUT(w, bytes) put(w, bytes, sizeof(bytes) - 1)

static void put_imm(struct writer *w, uint64_t value, unsigned n)
{
    memcpy(w->ram + w->at, &value, n);
    w->at += n;
}

static void jump_to(struct writer *w, uint32_t target)
{
    PUT(w, "\xe9");
    put_imm(w, target - (w->at + 4), 4);
}

/* A short forward jump, and where it leads to. */
static uint32_t skip(struct writer *w, const char *jcc)
{
    put(w, jcc, 1);
    put_imm(w, 0, 1);
    return w->at;
}
static void here(struct writer *w, uint32_t jump)
{
    w->ram[jump - 1] = (uint8_t)(w->at - jump);
}

static void load_rbx_shared(struct writer *w)
{
    PUT(w, "\x48\xbb"); /* mov rbx, imm64 */
    put_imm(w, KERNEL + PHYS_SHARED, 8);
}

static void push_all(struct writer *w)
{
    for (unsigned r = 16; r-- > 8;) {
        PUT(w, "\x41");
        put_imm(w, 0x50 + r - 8, 1);
    }
    for (unsigned r = 8; r-- > 0;)
        put_imm(w, 0x50 + r, 1);
    PUT(w, "\x0f\x20\xd0\x50"); /* mov rax, cr2; push rax */
}

static void pop_all(struct writer *w)
{
    PUT(w, "\x58");
    for (unsigned r = 0; r < 8; r++)
        if (r == VMC_RSP)
            PUT(w, "\x48\x8d\x64\x24\x08"); /* lea rsp, [rsp + 8] */
        else
            put_imm(w, 0x58 + r, 1);
    for (unsigned r = 8; r < 16; r++) {
        PUT(w, "\x41");
        put_imm(w, 0x58 + r - 8, 1);
    }
    PUT(w, "\x48\x83\xc4\x10\x48\xcf"); /* add rsp, 16; iretq */
}

/* Does what the shared page says. */
static void act(struct writer *w, bool xsave)
{
    uint32_t no_registers, no_cr3, no_xcr0;

    PUT(w, "\xf6\x03\x01"); /* test byte [rbx], 1 */
    no_registers = skip(w, "\x74");
    PUT(w, "\x48\x8b\x43\x08\x0f\x22\xc0"); /* mov rax, [rbx + 8]; mov cr0, rax */
    PUT(w, "\x48\x8b\x43\x10\x0f\x22\xe0"); /* cr4 */
    PUT(w, "\x48\x8b\x43\x18\x0f\x01\x38"); /* invlpg [rax] */
    here(w, no_registers);
    PUT(w, "\xf6\x03\x02");
    no_cr3 = skip(w, "\x74");
    PUT(w, "\x0f\x20\xd8\x0f\x22\xd8"); /* mov rax, cr3; mov cr3, rax */
    here(w, no_cr3);
    if (!xsave)
        return;
    PUT(w, "\xf6\x03\x04");
    no_xcr0 = skip(w, "\x74");
    PUT(w, "\x8b\x43\x38\x31\xd2\x31\xc9\x0f\x01\xd1"); /* mov eax, [rbx + 56]; edx, ecx = 0; xsetbv */
    here(w, no_xcr0);
}

/* All vector and x87 registers to or from [rbx + 64]. */
static void save_or_restore(struct writer *w, bool xsave, bool save)
{
    if (xsave)
        PUT(w, "\xb8\x07\x00\x00\x00\x31\xd2"); /* mov eax, 7; xor edx, edx */
    PUT(w, "\x48\x0f\xae");
    put_imm(w, save ? (xsave ? 0x63 : 0x43) : (xsave ? 0x6b : 0x4b), 1);
    PUT(w, "\x40");
}

/* The end of a program and the beginning of the next. Returns where the latter is. */
static uint32_t make_end(struct writer *w, bool xsave)
{
    uint32_t start;

    PUT(w, "\x0f\x06"); /* clts */
    if (xsave) {
        PUT(w, "\x0f\x20\xe0\x0f\xba\xe8\x12\x0f\x22\xe0"); /* mov rax, cr4; bts eax, 18; mov cr4, rax */
        PUT(w, "\xb8\x07\x00\x00\x00\x31\xd2\x31\xc9\x0f\x01\xd1"); /* eax = 7; edx, ecx = 0; xsetbv */
    }
    load_rbx_shared(w);
    save_or_restore(w, xsave, true);
    PUT(w, "\xf3\x48\x0f\xae\xc0\x48\x89\x43\x20"); /* rdfsbase rax; mov [rbx + 32], rax */
    PUT(w, "\xf3\x48\x0f\xae\xc8\x48\x89\x43\x28"); /* rdgsbase */
    PUT(w, "\xe6");
    put_imm(w, PORT_KERNEL, 1);
    start = w->at;
    load_rbx_shared(w);
    save_or_restore(w, xsave, false);
    PUT(w, "\x31\xc0\x8e\xe0\x8e\xe8\x8e\xd8\x8e\xc0"); /* null selectors, so that IRET leaves bases alone */
    PUT(w, "\x48\x8b\x43\x20\xf3\x48\x0f\xae\xd0");
    PUT(w, "\x48\x8b\x43\x28\xf3\x48\x0f\xae\xd8");
    PUT(w, "\x48\x8b\x43\x30\x0f\x22\xd0"); /* cr2 */
    return start;
}

static uint32_t make_exceptions(struct writer *w, bool xsave, uint32_t *start)
{
    uint32_t entry = w->at, not_end, to_tail;

    push_all(w);
    PUT(w, "\x81\xbc\x24\x88\x00\x00\x00\x81\x00\x00\x00"); /* cmp dword [rsp + 88h], VECTOR_END */
    not_end = skip(w, "\x75");
    *start = make_end(w, xsave);
    to_tail = skip(w, "\xeb");
    here(w, not_end);
    load_rbx_shared(w);
    PUT(w, "\xe6");
    put_imm(w, PORT_KERNEL, 1);
    here(w, to_tail);
    act(w, xsave);
    pop_all(w);
    return entry;
}

/* Four handlers of interrupts: one that does nothing, and three that disturb the TLB. */
static void make_interrupts(struct writer *w, uint32_t entry[4])
{
    for (unsigned i = 0; i < 4; i++) {
        entry[i] = w->at;
        PUT(w, "\x50\x51");
        if (i == 1) {
            PUT(w, "\x0f\x20\xd8\x0f\x22\xd8"); /* CR3 again */
        } else if (i == 2) {
            PUT(w, "\x48\xb8"); /* mov rax, imm64; mov ecx, 9; test [rax], al; add rax, 4096; loop */
            put_imm(w, KERNEL + PHYS_GDT, 8);
            PUT(w, "\xb9\x09\x00\x00\x00\x84\x00\x48\x05\x00\x10\x00\x00\xe2\xf6");
        } else if (i == 3) {
            PUT(w, "\x48\xb8");
            put_imm(w, UDATA + PAGE, 8);
            PUT(w, "\x0f\x01\x38"); /* invlpg [rax] */
        }
        PUT(w, "\xe6");
        put_imm(w, PORT_INTERRUPT, 1);
        PUT(w, "\x59\x58\x48\xcf");
    }
}

static bool has_error_code(unsigned vector)
{
    return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
}

static void make_gate(struct machine *m, unsigned vector, uint32_t stub)
{
    bool user = vector == 3 || vector == 4 || vector == VECTOR_SERVICE || vector == VECTOR_END;
    unsigned stack = vector == 2 ? 3 : vector < 32 || user ? 1 : 2;
    uint64_t va = KERNEL + stub, low, high = va >> 32;

    low = (va & 0xffff) | 0x10ull << 16 | (uint64_t)stack << 32 | (user ? 0xeeull : 0x8eull) << 40 |
          ((va >> 16) & 0xffff) << 48;
    memcpy(m->ram + PHYS_IDT + vector * 16, &low, 8);
    memcpy(m->ram + PHYS_IDT + vector * 16 + 8, &high, 8);
}

uint64_t kernel_make(struct machine *m)
{
    struct writer w = {m->ram, PHYS_STUBS + PAGE};
    uint32_t interrupts[4], start, exceptions;

    exceptions = make_exceptions(&w, m->xcr0 != 0, &start);
    make_interrupts(&w, interrupts);
    g_assert(w.at < PHYS_SHARED);
    for (unsigned v = 0; v < 256; v++) {
        w.at = PHYS_STUBS + v * 16;
        make_gate(m, v, w.at);
        if (v == 2 || (v >= 32 && v != VECTOR_SERVICE && v != VECTOR_END)) {
            jump_to(&w, interrupts[v == 2 ? 0 : v & 3]);
            continue;
        }
        if (!has_error_code(v))
            PUT(&w, "\x6a\x00");
        PUT(&w, "\x68");
        put_imm(&w, v, 4);
        jump_to(&w, exceptions);
    }
    for (unsigned stack = 1; stack <= 3; stack++) {
        uint64_t top = KERNEL + PHYS_STACKS + stack * PAGE;

        memcpy(m->ram + PHYS_TSS + 0x1c + stack * 8, &top, 8);
    }
    m->ram[PHYS_TSS + 0x66] = 0x68; /* no I/O bitmap */
    return KERNEL + start;
}

/* ---- interrupts ---- */

static void arm(struct machine *m, unsigned n)
{
    m->interrupts += (int)n;
    vmc_cpu_soft.notify(m->cpu);
}

static int apic_pending(void *opaque)
{
    struct machine *m = opaque;

    return m->interrupts > 0 ? 0x20 + (int)(m->taken * 7 % 61) : -1;
}
static int apic_acknowledge(void *opaque)
{
    struct machine *m = opaque;
    int vector = apic_pending(m);

    if (vector >= 0) {
        m->interrupts--;
        m->taken++;
    }
    return vector;
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

const VmcLocalApicOps kernel_apic = {
    .pending = apic_pending,
    .acknowledge = apic_acknowledge,
    .get_base = apic_base,
    .set_base = apic_set_base,
    .get_cr8 = apic_cr8,
    .set_cr8 = apic_set_cr8,
    .read_msr = apic_read_msr,
    .write_msr = apic_write_msr,
    .mmio_read = apic_mmio_read,
    .mmio_write = apic_mmio_write,
};

/* ---- exceptions ---- */

static uint64_t choose(struct machine *m, unsigned use)
{
    return program_random(m->program, m->outcome->n_events, use);
}

static bool from_user(const struct frame *f)
{
    return (f->cs & 3) == 3;
}

/* A place where a function begins, in one of the windows on code. */
static uint64_t some_label(struct machine *m, const struct frame *f, unsigned use)
{
    const struct labels *labels = m->program->labels;
    uint64_t r = choose(m, use);

    return UCODE + (from_user(f) ? 0 : TO_SUPER) + labels->at[r % labels->n];
}

static void skip_instruction(struct machine *m, struct frame *f)
{
    uint8_t bytes[15];
    struct vmc_insn d;
    unsigned n = 0;

    for (uint8_t *p; n < sizeof(bytes) && (p = machine_at(m, f->rip + n)); n++)
        bytes[n] = *p;
    f->rip += vmc_decode(bytes, n, VMC_MODE_64, &d) == VMC_DECODE_OK ? d.length : 1;
    if (f->rip >> 47 == 1) /* not there: over the edge */
        f->rip = UCODE;
}

static bool in_window(uint64_t va)
{
    va &= ~TO_SUPER;
    return va - UCODE < WINDOW * PAGE || va - UDATA < WINDOW * PAGE;
}

static void invalidate(struct machine *m, uint64_t va)
{
    struct shared *shared = machine_shared(m);

    shared->action |= 1;
    shared->invlpg = va;
}

/* Makes the page such that the access succeeds, mostly. */
static void mend_page(struct machine *m, const struct frame *f)
{
    uint64_t *pte = machine_pte(m, f->cr2);

    if (!*pte)
        *pte = DATA_PA + choose(m, 3) % DATA_PAGES * PAGE + PTE_A + PTE_D;
    *pte |= PTE_P;
    if (f->error & 2)
        *pte |= PTE_W;
    if (f->error & 4 && !(f->cr2 & TO_SUPER))
        *pte |= PTE_U;
    if (f->error & 16)
        *pte &= ~PTE_NX;
    invalidate(m, f->cr2);
}

static void page_fault(struct machine *m, struct frame *f)
{
    unsigned r = (unsigned)(choose(m, 1) % 100);

    if (in_window(f->cr2) && r < 50)
        mend_page(m, f);
    else if (f->error & 16)
        f->rip = some_label(m, f, 2);
    else
        skip_instruction(m, f);
}

/* ---- the service ---- */

static uint64_t some_page(struct machine *m, unsigned use)
{
    static const uint64_t windows[] = {UCODE, UDATA, UDATA, UCODE + TO_SUPER, UDATA + TO_SUPER};
    uint64_t r = choose(m, use);

    return windows[r % G_N_ELEMENTS(windows)] + (r >> 8) % WINDOW * PAGE;
}

static void change_page(struct machine *m)
{
    static const uint64_t bits[] = {PTE_P, PTE_W, PTE_NX, PTE_U, PTE_W, 0};
    uint64_t va = some_page(m, 4), *pte = machine_pte(m, va), r = choose(m, 5);

    if (*pte && r % 3)
        *pte = (*pte ^ bits[(r >> 8) % G_N_ELEMENTS(bits)]) & ~(r >> 40 & 3 ? 0 : PTE_A | PTE_D);
    else
        *pte = (*pte & ~0xfffff000ull) | (AREA_PA + (r >> 8) % (CODE_PAGES + DATA_PAGES) * PAGE) | PTE_P;
    if (va & TO_SUPER)
        *pte &= ~PTE_U;
    invalidate(m, va);
}

/* As a device would: a few bytes into a page, or a piece of code to another place. */
static void write_memory(struct machine *m)
{
    uint64_t r = choose(m, 6), bytes[2] = {choose(m, 7), choose(m, 8)};
    uint32_t to = AREA_PA + (uint32_t)(r % (AREA_SIZE - 64)),
             from = AREA_PA + (uint32_t)(r >> 32) % (AREA_SIZE - 64);

    if (r >> 24 & 1)
        memcpy(bytes, m->ram + from, sizeof(bytes));
    vmc_memory_write(m->memory, to, bytes, 1 + (r >> 25) % sizeof(bytes));
}

/* Between user and supervisor, with pointers to follow. */
static void change_privilege(struct machine *m, struct frame *f)
{
    uint64_t r = choose(m, 9);
    bool user = from_user(f);

    f->cs = user ? 0x10 : 0x33;
    f->ss = user ? 0x18 : 0x2b;
    f->rip = some_label(m, f, 10);
    f->rsp ^= TO_SUPER;
    for (unsigned i = 0; i < 16; i++)
        if (r >> i & 1 && in_window(f->gpr[i]))
            f->gpr[i] ^= TO_SUPER;
}

/* AVX as it was, or for a while without the kernel's consent: by CR4 or by XCR0. */
static void change_avx(struct machine *m, bool enable)
{
    struct shared *shared = machine_shared(m);
    uint64_t r = choose(m, 14);

    if (!m->xcr0)
        return;
    invalidate(m, UDATA);
    shared->cr4 |= CR4_OSXSAVE;
    shared->xcr0 = enable ? m->xcr0 : r & 1 ? 3 : 1;
    if (!enable && r & 2)
        shared->cr4 &= ~CR4_OSXSAVE;
    else
        shared->action |= 4;
}

static bool avx_is_off(struct machine *m)
{
    const struct shared *shared = machine_shared(m);

    return m->xcr0 && (!(shared->cr4 & CR4_OSXSAVE) || shared->xcr0 != m->xcr0);
}

static void service(struct machine *m, struct frame *f)
{
    struct shared *shared = machine_shared(m);
    uint64_t r = choose(m, 11);

    switch (r % 16) {
    case 0:
    case 1:
    case 2:
        change_page(m);
        break;
    case 3:
        change_page(m);
        shared->action |= 2;
        break;
    case 4:
        shared->action |= 2;
        break;
    case 5:
        shared->action |= 3;
        shared->invlpg = UDATA;
        shared->cr4 ^= r & 0x100 ? 1u << 7 : 3u << 20;
        break;
    case 6:
        invalidate(m, UCODE);
        shared->cr0 ^= r & 0x100 ? CR0_TS : r & 0x200 ? CR0_WP : CR0_AM;
        break;
    case 7:
        change_privilege(m, f);
        break;
    case 8:
    case 9:
        write_memory(m);
        break;
    case 10:
        arm(m, 1 + (r >> 8) % 3);
        break;
    case 11:
        vmc_cpu_soft.nmi(m->cpu);
        break;
    case 12:
        f->rflags ^= r >> 8 & (FL_DF | FL_IF | FL_AC | FL_CF | FL_ZF);
        if (r >> 60 == 0)
            f->rflags |= FL_TF;
        break;
    case 13:
        f->rip = some_label(m, f, 12);
        break;
    case 14:
        change_avx(m, r & 0x300);
        break;
    default:
        break;
    }
}

static void resolve(struct machine *m, struct frame *f)
{
    struct shared *shared = machine_shared(m);
    unsigned r = (unsigned)(choose(m, 0) % 100);

    switch (f->vector) {
    case EXC_DB:
        if (r < 80)
            f->rflags &= ~FL_TF;
        break;
    case EXC_BP:
    case EXC_OF:
        break;
    case VECTOR_SERVICE:
        service(m, f);
        break;
    case EXC_PF:
        page_fault(m, f);
        break;
    case EXC_NM:
        invalidate(m, UDATA);
        shared->cr0 &= ~CR0_TS;
        break;
    case EXC_AC:
        f->rflags &= ~FL_AC;
        break;
    default:
        if (f->vector == EXC_UD && avx_is_off(m) && r < 50)
            change_avx(m, true);
        else if (r < 75)
            skip_instruction(m, f);
        else
            f->rip = some_label(m, f, 13);
    }
    if (f->cs != 0x10 && f->cs != 0x33) /* never left in a state that IRET refuses */
        f->cs = 0x33, f->ss = 0x2b;
}

static void asked(struct machine *m)
{
    struct frame *f = (struct frame *)(void *)(m->ram + FRAME_PA);
    struct shared *shared = machine_shared(m);
    struct outcome *o = m->outcome;

    if (o->n_events > EVENTS_MAX) {
        vmc_cpu_soft.kick(m->cpu);
        m->give_up = true;
        return;
    }
    if (m->trial)
        m->program->undefined[o->n_events] = m->undefined;
    m->undefined = 0;
    f->rflags &= ~m->program->undefined[o->n_events];
    o->events[o->n_events] = *f;
    shared->action = 0;
    if (f->vector == VECTOR_END) {
        memcpy(o->fx, shared->fx, sizeof(o->fx));
        o->fs_base = shared->fs_base;
        o->gs_base = shared->gs_base;
        o->ended = true;
        o->n_events++;
        vmc_cpu_soft.kick(m->cpu);
        return;
    }
    if (o->n_events >= EVENTS_MAX - 1 || f->rip - KERNEL < RAM_SIZE) {
        f->rip = UEXIT + (from_user(f) ? 0 : TO_SUPER);
        f->rflags &= ~FL_TF;
    } else {
        resolve(m, f);
    }
    o->n_events++;
}

/* ---- ports and memory-mapped registers ---- */

static void note(struct machine *m, uint64_t what)
{
    uint64_t state = m->outcome->device ^ what;

    m->outcome->device = diff_random(&state);
    m->outcome->accesses++;
}

/* At times an access has interrupts come. */
static void stir(struct machine *m)
{
    uint64_t r = program_random(m->program, m->outcome->accesses, 20);

    if (r % 8 == 0)
        arm(m, 1 + (r >> 8) % 2);
    else if (r % 8 == 1)
        vmc_cpu_soft.nmi(m->cpu);
}

static uint64_t port_read(void *opaque, uint64_t offset, unsigned size)
{
    struct machine *m = opaque;

    note(m, offset << 8 | size);
    return m->outcome->device;
}

static void port_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct machine *m = opaque;

    if (PORT_KERNEL + offset == PORT_KERNEL) {
        asked(m);
    } else if (PORT_KERNEL + offset != PORT_INTERRUPT) {
        note(m, value << 8 | offset << 4 | size | 0x80);
        stir(m);
    }
}

static uint64_t mmio_read(void *opaque, uint64_t offset, unsigned size)
{
    struct machine *m = opaque;

    note(m, offset << 16 | size << 8 | 1);
    stir(m);
    return m->outcome->device;
}

static void mmio_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct machine *m = opaque;

    note(m, value ^ offset << 48 ^ (uint64_t)size << 60 ^ 2);
    stir(m);
}

const VmcRegionOps kernel_ports = {port_read, port_write};
const VmcRegionOps kernel_mmio = {mmio_read, mmio_write};
