/*
 * The run loop of a software CPU: blocks one after the other, and between them whatever was requested.
 *
 * Everything that is not the next block goes through one atomic word, `request`: looked at here and where one
 * block jumps to another. Faults come back by longjmp to the setjmp at the head of the loop; delivering one
 * may fault again and come back the same way (exception.c counts). HLT sleeps here, on the condition that
 * notify, nmi, init, sipi and kick signal.
 */
#include "cpu/soft/run.h"

#include "cpu/soft/block.h"
#include "cpu/soft/debug.h"
#include "cpu/soft/exec/fx.h"
#include "cpu/soft/flags.h"
#include "cpu/soft/reset.h"
#include "cpu/soft/slots.h"
#include "cpu/soft/translate/lockstep.h"
#include "cpu/soft/translate/translator.h"

#define DR6_BS (1u << 14)

/* Requests that end a sleep; HALT and STEP are the CPU's own. */
#define WAKING (REQ_INTR | REQ_NMI | REQ_INIT | REQ_SIPI | REQ_KICK | REQ_CODE)

/* With any breakpoint on, instructions run one by one: a data breakpoint traps right behind the one that
 * touched it. The same for a debugger. */
static bool breakpoints(const VmcCpu *c)
{
    return (c->dr[7] & 0xff) || vmc_debug_one_by_one(c);
}

static bool breakpoints_on_code(const VmcCpu *c)
{
    for (unsigned i = 0; i < 4; i++)
        if ((c->dr[7] & (3u << (i * 2))) && ((c->dr[7] >> (16 + i * 4)) & 3) == 0)
            return true;
    return false;
}

void vmc_soft_update_mode(VmcCpu *c)
{
    uint16_t cs = c->seg[VMC_CS].attr;
    if (c->long_mode && (cs & SEG_L))
        c->mode = VMC_MODE_64;
    else
        c->mode = (cs & SEG_DB) ? VMC_MODE_32 : VMC_MODE_16;
    c->stack32 = c->seg[VMC_SS].attr & SEG_DB;
    if (vmc_has_vex(c) == !!(c->fx_guard & FXG_NO_VEX))
        vmc_fx_update(c);

    bool align = c->cpl == 3 && (c->cr0 & CR0_AM) && (c->eflags & FL_AC);
    bool ac = c->cpl != 3 && (c->eflags & FL_AC);
    if (align || (c->dr[7] & 0xff) || c->noting || vmc_debug_watches(c))
        c->tlb = c->tlbs[VMC_TLB_NEVER];
    else if (c->cpl == 3)
        c->tlb = c->tlbs[VMC_TLB_USER];
    else
        c->tlb = c->tlbs[ac ? VMC_TLB_SUPER_AC : VMC_TLB_SUPER];
    c->kind = (uint8_t)(c->mode | (c->stack32 ? VMC_KIND_STACK32 : 0) | (c->cpl == 3 ? VMC_KIND_USER : 0) |
                        (ac ? VMC_KIND_AC : 0) | (c->fx_guard & FXG_SSE_FP ? VMC_KIND_NO_SSE : 0) |
                        (c->fx_guard & FXG_AVX_FP ? VMC_KIND_NO_AVX : 0));
    if (vmc_unlikely(!c->kind_tags[c->kind]))
        c->kind_tags[c->kind] = ++c->last_tag; /* never used twice */
    c->jump_key = c->kind_tags[c->kind];

    if ((c->eflags & FL_TF) || c->inhibit || c->db_pending || breakpoints(c))
        atomic_fetch_or_explicit(&c->request, REQ_STEP, memory_order_relaxed);
}

static void run_block(VmcCpu *c, struct vmc_block *b)
{
    c->block = b;
    c->block_rip = c->rip;
    b->uops[0].fn(c, b->uops);
}

/* ---- single steps ---- */

/* Instruction breakpoints at the current RIP: a fault-class #DB before the instruction, unless RF. */
static void check_code_breakpoints(VmcCpu *c)
{
    uint64_t linear = c->mode == VMC_MODE_64 ? c->rip : (uint32_t)(c->seg[VMC_CS].base + c->rip);
    unsigned hits = 0;
    for (unsigned i = 0; i < 4; i++)
        if ((c->dr[7] & (3u << (i * 2))) && ((c->dr[7] >> (16 + i * 4)) & 3) == 0 && c->dr[i] == linear)
            hits |= 1u << i;
    if (!hits || (c->eflags & FL_RF) || c->inhibit_db)
        return;
    c->dr[6] = (c->dr[6] & ~0xfull) | hits;
    vmc_fault(c, EXC_DB);
}

static void deliver_debug_trap(VmcCpu *c)
{
    c->dr[6] = (c->dr[6] & ~0xfull) | c->db_pending;
    c->db_pending = 0;
    vmc_deliver(c, VMC_EVENT_TRAP, EXC_DB, false, 0);
}

/* Runs exactly one instruction, with what its traps and shadows ask for. */
static void step(VmcCpu *c)
{
    if (c->db_pending && !c->inhibit_db) {
        deliver_debug_trap(c);
        return;
    }
    atomic_fetch_and_explicit(&c->request, ~REQ_STEP, memory_order_relaxed);
    c->cur = NULL;
    if (vmc_unlikely(c->debug) && vmc_debug_before(c))
        return;
    if (breakpoints_on_code(c))
        check_code_breakpoints(c);
    bool trap = c->eflags & FL_TF;
    c->inhibit = c->inhibit_db = false;
    struct vmc_block *b = vmc_block_single(c);
    uint64_t rf = c->eflags & FL_RF;
    /* Leave after this one instruction, whatever it jumps to. */
    atomic_fetch_or_explicit(&c->request, REQ_STEP, memory_order_relaxed);
    c->event_taken = false;
    run_block(c, b);
    if (rf)
        c->eflags &= ~FL_RF;
    if (!c->inhibit && !(c->eflags & FL_TF) && !breakpoints(c))
        atomic_fetch_and_explicit(&c->request, ~REQ_STEP, memory_order_relaxed);
    if (trap && !c->event_taken &&
        !c->inhibit_db) /* behind MOV SS and POP SS there is no step trap, not even later */
        c->db_pending |= DR6_BS;
    if (c->db_pending)
        atomic_fetch_or_explicit(&c->request, REQ_STEP, memory_order_relaxed);
}

/* ---- interrupts and sleep ---- */

static bool take_interrupt(VmcCpu *c)
{
    atomic_fetch_and(&c->request, ~REQ_INTR);
    c->intr_waiting = false;
    if (!c->lapic.ops || c->lapic.ops->pending(c->lapic.apic) < 0)
        return false;
    if (!(c->eflags & FL_IF) || c->inhibit) {
        c->intr_waiting = true;
        return false;
    }
    int vector = c->lapic.ops->acknowledge(c->lapic.apic);
    if (vector < 0)
        return false;
    /* There may be more behind it. */
    atomic_fetch_or_explicit(&c->request, REQ_INTR, memory_order_relaxed);
    c->halted = false;
    vmc_deliver(c, VMC_EVENT_EXTERNAL, (unsigned)vector, false, 0);
    return true;
}

static void sleep_until_request(VmcCpu *c)
{
    g_mutex_lock(&c->sleep_lock);
    atomic_store(&c->running, false);
    while (!(atomic_load(&c->request) & WAKING))
        g_cond_wait(&c->sleep_cond, &c->sleep_lock);
    atomic_store(&c->running, true);
    g_mutex_unlock(&c->sleep_lock);
}

void vmc_soft_raise(VmcCpu *c, uint32_t request)
{
    atomic_fetch_or(&c->request, request);
    g_mutex_lock(&c->sleep_lock);
    g_cond_signal(&c->sleep_cond);
    g_mutex_unlock(&c->sleep_lock);
}

/* Serves everything asked for. False: leave run with *exit. */
static bool serve_requests(VmcCpu *c, VmcCpuExit *exit)
{
    uint32_t request = atomic_load(&c->request);
    c->link_from = NULL;
    c->cur = NULL;
    if (request & REQ_CODE)
        vmc_block_serve_code_request(c);
    if (request & (REQ_DIRTY | REQ_MOVED))
        vmc_soft_serve_slot_requests(c);
    if (request & REQ_STALE) {
        atomic_fetch_and(&c->request, ~REQ_STALE);
        vmc_jumps_flush(c, false);
    }
    if (c->shutdown || c->fatal)
        return *exit = c->shutdown ? VMC_EXIT_SHUTDOWN : VMC_EXIT_ERROR, false;
    if (vmc_debug_due(c))
        return *exit = VMC_EXIT_DEBUG, false;
    if (request & REQ_KICK) {
        atomic_fetch_and(&c->request, ~REQ_KICK);
        return *exit = VMC_EXIT_KICKED, false;
    }
    if (request & REQ_INIT) {
        atomic_fetch_and(&c->request, ~(REQ_INIT | REQ_SIPI));
        vmc_soft_reset(c, true);
    }
    if (request & REQ_SIPI) {
        atomic_fetch_and(&c->request, ~REQ_SIPI);
        if (c->wait_sipi)
            vmc_soft_start_sipi(c, atomic_load(&c->sipi_vector));
    }
    if (c->wait_sipi) {
        atomic_fetch_and(&c->request, ~(REQ_INTR | REQ_NMI));
        sleep_until_request(c);
        return true;
    }
    if ((request & REQ_STEP) && c->db_pending && !c->inhibit_db) {
        deliver_debug_trap(c);
        return true;
    }
    bool quiet = vmc_debug_holds_interrupts(c);
    if ((request & REQ_NMI) && !c->nmi_blocked && !c->inhibit && !quiet) {
        atomic_fetch_and(&c->request, ~REQ_NMI);
        c->halted = false;
        c->nmi_blocked = true;
        vmc_deliver(c, VMC_EVENT_NMI, EXC_NMI, false, 0);
        return true;
    }
    if ((request & REQ_NMI) && c->nmi_blocked) {
        atomic_fetch_and(&c->request, ~REQ_NMI);
        c->nmi_waiting = true; /* IRET asks again (exec/far.c) */
    }
    if (((request & REQ_INTR) || c->intr_waiting) && !quiet && take_interrupt(c))
        return true;
    if (c->halted) {
        sleep_until_request(c);
        return true;
    }
    atomic_fetch_and(&c->request, ~REQ_HALT);
    if (atomic_load(&c->request) & REQ_STEP)
        step(c);
    return true;
}

VmcCpuExit vmc_soft_run(VmcCpu *c, GError **error)
{
    VmcCpuExit exit = VMC_EXIT_KICKED;
    atomic_store(&c->running, true);
    vmc_fx_enter(c);
    if (_setjmp(c->fault_jmp)) {
        vmc_lockstep_leave(c);
        c->narrow = c->bail = false;
        if (c->split_held) {
            c->split_held = false;
            g_mutex_unlock(&c->vm->split_lock);
        }
        c->link_from = NULL;
        c->cur = NULL;
        if (vmc_unlikely(c->debug))
            vmc_debug_fault(c);
        vmc_deliver_fault(c);
    }
    for (;;) {
        if (vmc_unlikely(vmc_attention(c))) {
            c->stats.requests++;
            if (!serve_requests(c, &exit))
                break;
            continue;
        }
        if (c->translator) {
            vmc_translator_run(c);
            continue;
        }
        struct vmc_block *b = vmc_block_find(c);
        c->stats.exits++;
        run_block(c, b);
    }
    vmc_fx_leave(c);
    atomic_store(&c->running, false);
    if (exit == VMC_EXIT_ERROR)
        g_propagate_error(error, g_steal_pointer(&c->fatal));
    if (exit == VMC_EXIT_SHUTDOWN)
        c->shutdown = false;
    return exit;
}
