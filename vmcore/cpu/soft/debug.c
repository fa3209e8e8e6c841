/* A debugger on a software CPU: what it asked for, and noticing that it happens (debug.h says how). */
#include "cpu/soft/debug.h"

#include "cpu/soft/block.h"

/* Where blocks have to end for these breakpoints. */
static void collect_offsets(const VmcCpuDebug *want, uint64_t offsets[64])
{
    memset(offsets, 0, 64 * sizeof *offsets);
    for (unsigned i = 0; i < want->n_breakpoints; i++) {
        uint64_t address = want->breakpoints[i].address;
        offsets[address >> 6 & 63] |= 1ull << (address & 63);
    }
}

bool vmc_soft_set_debug(VmcCpu *c, const VmcCpuDebug *debug, GError **error)
{
    static const uint64_t none[64];
    struct vmc_debug *d = c->debug;
    if (!debug && !d)
        return true;
    if (!d)
        d = g_new0(struct vmc_debug, 1);
    const uint64_t *offsets = none;
    uint64_t wanted[64];
    if (debug) {
        d->want = *debug;
        collect_offsets(debug, wanted);
        /* A step runs outside of blocks: what they were made for may stay, as debuggers take a breakpoint
         * away only to step over it. */
        offsets = debug->single_step ? d->offsets : wanted;
    }
    if (memcmp(d->offsets, offsets, sizeof d->offsets) != 0) {
        memcpy(d->offsets, offsets, sizeof d->offsets);
        vmc_blocks_drop(c);
    }
    d->event = (VmcDebugEvent){.reason = VMC_DEBUG_NONE};
    d->one_by_one = d->want.single_step || d->want.n_watchpoints;
    d->ran = c->event_taken = false;
    c->bail =
        false; /* what was to be interpreted may have a breakpoint now, or not be where the CPU goes on */
    c->debug = d;
    if (!debug) {
        g_free(d);
        c->debug = NULL;
    }
    vmc_soft_update_mode(c);
    return true;
}

void vmc_soft_get_debug_event(VmcCpu *c, VmcDebugEvent *event)
{
    *event = c->debug ? c->debug->event : (VmcDebugEvent){.reason = VMC_DEBUG_NONE};
}

bool vmc_soft_translate(VmcCpu *c, uint64_t va, uint64_t *pa)
{
    bool sane = c->long_mode ? (uint64_t)((int64_t)(va << 16) >> 16) == va : va >> 32 == 0;
    return sane && vmc_translate_debug(c, va, pa);
}

bool vmc_debug_due(VmcCpu *c)
{
    struct vmc_debug *d = c->debug;
    if (!d)
        return false;
    if (d->event.reason == VMC_DEBUG_NONE && d->want.single_step && (d->ran || c->event_taken))
        d->event.reason = VMC_DEBUG_STEP;
    return d->event.reason != VMC_DEBUG_NONE;
}

bool vmc_debug_before(VmcCpu *c)
{
    struct vmc_debug *d = c->debug;
    uint64_t linear = c->mode == VMC_MODE_64 ? c->rip : (uint32_t)(c->seg[VMC_CS].base + c->rip);
    for (unsigned i = 0; i < d->want.n_breakpoints; i++)
        if (d->want.breakpoints[i].address == linear) {
            d->event = (VmcDebugEvent){.reason = VMC_DEBUG_BREAKPOINT,
                                       .hardware = d->want.breakpoints[i].hardware,
                                       .address = linear};
            atomic_fetch_or_explicit(&c->request, REQ_STEP,
                                     memory_order_relaxed); /* back to where it is told */
            return true;
        }
    d->ran = true;
    return false;
}

void vmc_debug_access(VmcCpu *c, uint64_t va, unsigned size, enum vmc_access access)
{
    struct vmc_debug *d = c->debug;
    if (d->event.reason == VMC_DEBUG_NONE)
        vmc_cpu_debug_watched(&d->want, va, size, access == VMC_WRITE ? VMC_DEBUG_WRITE : VMC_DEBUG_READ,
                              &d->event);
}

void vmc_debug_fault(VmcCpu *c)
{
    if (c->debug->event.reason == VMC_DEBUG_WATCHPOINT)
        c->debug->event.reason = VMC_DEBUG_NONE;
}

void vmc_op_break(VmcCpu *c, const struct vmc_uop *u)
{
    c->rip = c->block_rip + u->off;
    c->link_from = NULL;
    atomic_fetch_or_explicit(&c->request, REQ_STEP, memory_order_relaxed);
}
