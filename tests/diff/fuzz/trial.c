/*
 * The first run of a program, instruction by instruction, with an eye on each.
 *
 * An instruction whose outcome is not the same every time is overwritten with NOPs, and the program begins
 * again; one that does so in code that the program has made itself makes the program useless. So does an
 * endless loop. Flags that are undefined are followed exactly: an instruction that looks at one goes as well,
 * and the kernel's events are told which are undefined when they happen.
 */
#include "fuzz.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cpu/soft/decode/insn.h"

#define STEPS_MAX 12000
#define MENDS_MAX 60

#define ARITH FL_ARITH

enum look {
    LOOK_RUN,
    LOOK_MEND,    /* away with it */
    LOOK_USELESS, /* it cannot go on */
};

struct trial {
    const struct judge *judge;
    struct machine *m;
    struct program *p;
    uint64_t tables[TABLES_SIZE / 8];
    bool trace;
    uint32_t watch; /* physical address of a byte whose changes are traced */
};

static bool is_privileged(const struct judged *i)
{
    switch (i->insn.mnemonic) {
    case ZYDIS_MNEMONIC_HLT:
    case ZYDIS_MNEMONIC_LGDT:
    case ZYDIS_MNEMONIC_LIDT:
    case ZYDIS_MNEMONIC_LLDT:
    case ZYDIS_MNEMONIC_LTR:
    case ZYDIS_MNEMONIC_LMSW:
    case ZYDIS_MNEMONIC_RDMSR:
    case ZYDIS_MNEMONIC_WRMSR:
    case ZYDIS_MNEMONIC_SWAPGS:
    case ZYDIS_MNEMONIC_XSETBV:
    case ZYDIS_MNEMONIC_MWAIT:
    case ZYDIS_MNEMONIC_MONITOR:
    case ZYDIS_MNEMONIC_INVPCID:
        return true;
    case ZYDIS_MNEMONIC_MOV:
        for (unsigned k = 0; k < 2; k++)
            if (i->ops[k].type == ZYDIS_OPERAND_TYPE_REGISTER &&
                (ZydisRegisterGetClass(i->ops[k].reg.value) == ZYDIS_REGCLASS_CONTROL ||
                 ZydisRegisterGetClass(i->ops[k].reg.value) == ZYDIS_REGCLASS_DEBUG))
                return true;
        return false;
    default:
        return false;
    }
}

/* Ports of the kernel's are its own. */
static bool reaches_kernel_port(const struct judged *i, const VmcCpu *c)
{
    const ZydisDecodedOperand *port = &i->ops[i->insn.mnemonic == ZYDIS_MNEMONIC_OUT ? 0 : 1];
    unsigned number = (uint16_t)c->gpr[VMC_RDX];

    switch (i->insn.mnemonic) {
    case ZYDIS_MNEMONIC_OUT:
    case ZYDIS_MNEMONIC_IN:
        if (port->type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
            number = (unsigned)port->imm.value.u & 0xff;
        break;
    case ZYDIS_MNEMONIC_OUTSB:
    case ZYDIS_MNEMONIC_OUTSW:
    case ZYDIS_MNEMONIC_OUTSD:
    case ZYDIS_MNEMONIC_INSB:
    case ZYDIS_MNEMONIC_INSW:
    case ZYDIS_MNEMONIC_INSD:
        break;
    default:
        return false;
    }
    return number < PORT_PLAY && number + 8 > PORT_KERNEL;
}

/* A relative branch to where addresses are not canonical: the fault is the branch's on hardware, and ours is
 * the target's. */
static bool leaves_canonical(const struct judged *i, uint64_t rip)
{
    uint64_t target = rip + i->insn.length + (uint64_t)i->insn.raw.imm[0].value.s;

    return i->insn.raw.imm[0].is_relative && (uint64_t)((int64_t)(target << 16) >> 16) != target;
}

/* Leaves another kind of code behind, or depends on the moment or the machine. */
static bool is_forbidden(const struct judged *i, const VmcCpu *c)
{
    switch (i->insn.mnemonic) {
    case ZYDIS_MNEMONIC_RDTSC:
    case ZYDIS_MNEMONIC_RDTSCP:
    case ZYDIS_MNEMONIC_RDPMC:
    case ZYDIS_MNEMONIC_RDRAND:
    case ZYDIS_MNEMONIC_RDSEED:
    case ZYDIS_MNEMONIC_CPUID:
    case ZYDIS_MNEMONIC_SYSCALL:
    case ZYDIS_MNEMONIC_SYSRET:
    case ZYDIS_MNEMONIC_SYSENTER:
    case ZYDIS_MNEMONIC_SYSEXIT:
    case ZYDIS_MNEMONIC_IRET:
    case ZYDIS_MNEMONIC_IRETD:
    case ZYDIS_MNEMONIC_IRETQ:
    case ZYDIS_MNEMONIC_INT1:
        return true;
    case ZYDIS_MNEMONIC_INT: {
        unsigned vector = (unsigned)i->ops[0].imm.value.u & 0xff;
        return vector != VECTOR_SERVICE && vector != VECTOR_END && vector != 3;
    }
    case ZYDIS_MNEMONIC_SHLD:
    case ZYDIS_MNEMONIC_SHRD:
        return i->ops[0].size == 16 &&
               ((i->ops[2].type == ZYDIS_OPERAND_TYPE_IMMEDIATE ? i->ops[2].imm.value.u : c->gpr[VMC_RCX]) &
                31) > 16;
    default:
        return i->insn.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR || leaves_canonical(i, c->rip) ||
               reaches_kernel_port(i, c) || (c->cpl == 0 && is_privileged(i));
    }
}

static unsigned fetch(struct machine *m, uint64_t rip, uint8_t bytes[15])
{
    unsigned n = 0;

    for (uint8_t *p; n < 15 && (p = machine_at(m, rip + n)); n++)
        bytes[n] = *p;
    return n;
}

/* Shifts and rotates by at least one leave these flags defined; judge_written does not know the count. */
static uint64_t shift_written(const struct judged *i, uint64_t undefined)
{
    switch (i->insn.mnemonic) {
    case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHR:
    case ZYDIS_MNEMONIC_SAR:
    case ZYDIS_MNEMONIC_SHLD:
    case ZYDIS_MNEMONIC_SHRD:
        return undefined ? ARITH & ~undefined : 0; /* AF always is, unless the count is 0 */
    default:
        return 0;
    }
}

static uint64_t after(const struct judged *i, const VmcCpu *c, uint64_t undefined)
{
    struct diff_regs regs = {.gpr = {0}};
    uint64_t now;

    regs.gpr[1] = c->gpr[VMC_RCX];
    now = judge_undefined(i, &regs);
    return (undefined & ~judge_written(i) & ~shift_written(i, now)) | now;
}

static void print(const struct trial *t, const struct judged *i, const uint8_t *bytes, unsigned n)
{
    char text[128] = "?";

    if (i->valid)
        ZydisFormatterFormatInstruction(&t->judge->formatter, &i->insn, i->ops, i->insn.operand_count_visible,
                                        text, sizeof(text), t->m->cpu->rip, NULL);
    printf("%5u %3u %u %016" PRIx64 " %s ;", t->p->steps, t->m->outcome->n_events, t->m->cpu->cpl,
           t->m->cpu->rip, text);
    for (unsigned k = 0; k < n && k < (i->valid ? i->insn.length : 15u); k++)
        printf(" %02x", bytes[k]);
    printf("\n");
}

/* The instruction at the CPU's RIP, and what to do with it. *undefined: flags after it, if it completes. */
static enum look look(struct trial *t, struct judged *i, uint8_t bytes[15], uint64_t *undefined)
{
    VmcCpu *c = t->m->cpu;
    unsigned n;

    if (c->mode != VMC_MODE_64)
        return LOOK_USELESS;
    n = fetch(t->m, c->rip, bytes);
    judge_insn(t->judge, MODE_64, bytes, n, i);
    if (t->trace)
        print(t, i, bytes, n);
    *undefined = t->m->undefined;
    if (!i->valid || i->verdict == VERDICT_UD)
        return LOOK_RUN;
    if (is_forbidden(i, c) || (judge_tested(i) & t->m->undefined))
        return LOOK_MEND;
    *undefined = after(i, c, t->m->undefined);
    return LOOK_RUN;
}

/* NOPs in place of the instruction at the CPU's RIP, in the program as it was at its start. */
static bool mend(struct trial *t, const struct judged *i)
{
    for (unsigned k = 0; k < i->insn.length; k++) {
        uint8_t *now = machine_at(t->m, t->m->cpu->rip + k);
        uint64_t at = now ? (uint64_t)(now - t->m->ram) - AREA_PA : AREA_SIZE;

        if (at >= AREA_SIZE || t->p->area[at] != *now)
            return false;
    }
    for (unsigned k = 0; k < i->insn.length; k++)
        t->p->area[machine_at(t->m, t->m->cpu->rip + k) - t->m->ram - AREA_PA] = 0x90;
    return true;
}

/* A repeated instruction that overwrote its own bytes: CPUs may notice in the middle or at the end. */
static bool rewrote_itself(struct machine *m, uint64_t rip, const struct judged *i, const uint8_t *bytes)
{
    uint8_t now[15];

    return i->insn.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE) &&
           (fetch(m, rip, now) < i->insn.length || memcmp(now, bytes, i->insn.length) != 0);
}

/* One attempt. LOOK_RUN: it ran to its end. */
static enum look attempt(struct trial *t)
{
    struct machine *m = t->m;
    struct outcome *o = m->outcome;

    for (t->p->steps = 0; t->p->steps < STEPS_MAX; t->p->steps++) {
        bool kernel = machine_in_kernel(m);
        uint64_t undefined = 0, rip = m->cpu->rip;
        uint8_t bytes[15];
        struct judged i = {.valid = false};

        if (!kernel) {
            enum look found = look(t, &i, bytes, &undefined);

            if (found == LOOK_MEND && !mend(t, &i))
                return LOOK_USELESS;
            if (found != LOOK_RUN)
                return found;
        }
        uint8_t watched = m->ram[t->watch];
        machine_step(m);
        if (t->trace && watched != m->ram[t->watch])
            printf("  physical %x: %02x is now %02x\n", t->watch, watched, m->ram[t->watch]);
        if (o->ended)
            return LOOK_RUN;
        if ((o->exit != VMC_EXIT_DEBUG && o->exit != VMC_EXIT_KICKED) || m->give_up)
            return LOOK_USELESS;
        if (!kernel && i.valid && rewrote_itself(m, rip, &i, bytes))
            return LOOK_USELESS;
        if (!kernel && !machine_in_kernel(m))
            m->undefined = undefined;
    }
    return LOOK_USELESS;
}

bool trial_run(const struct judge *judge, struct machine *m, struct program *p, struct outcome *o, bool trace,
               uint32_t watch)
{
    static struct trial t;

    t = (struct trial){.judge = judge, .m = m, .p = p, .trace = trace, .watch = watch % RAM_SIZE};
    machine_tables(m, (uint8_t *)t.tables, false);
    for (unsigned mends = 0; mends < MENDS_MAX; mends++) {
        enum look result;

        machine_tables(m, (uint8_t *)t.tables, true);
        machine_restart(m);
        machine_load(m, p, o);
        m->give_up = false;
        result = attempt(&t);
        if (result == LOOK_RUN)
            return true;
        if (result == LOOK_USELESS)
            return false;
        if (trace)
            printf("  once more, without it\n");
    }
    return false;
}
