/*
 * What becomes of a CPU's TLB when a memory slot moves or its dirty log is taken.
 *
 * Nothing is added to a store. A page of a slot with a dirty log has a write tag in a TLB only after a write
 * through that TLB has set the page's dirty bit (mmu.c, fill). Whoever takes the log clears bits and then
 * asks every CPU, by REQ_DIRTY and a new epoch, to drop its write tags into such slots. Nobody waits: until a
 * CPU has served the request, or sleeps, it may write unnoticed to pages it held a tag for, so these count as
 * dirty once more (vmc_memory_take_dirty). A sleeping CPU serves its requests before it runs again.
 *
 * A move is the same with the whole TLB flushed. An access that a CPU makes before it does reaches the slot's
 * memory, which is still there, at its old place.
 */
#include "cpu/soft/slots.h"

#include "cpu/soft/mmu.h"

static void ask_all(VmcCpuVm *vm, uint32_t request)
{
    for (unsigned i = 0; i < vm->n_cpus; i++)
        if (vm->cpus[i])
            atomic_fetch_or(&vm->cpus[i]->request, request);
}

static void moved(void *opaque, unsigned slot)
{
    ask_all(opaque, REQ_MOVED);
}

static uint64_t protect(void *opaque, unsigned slot)
{
    VmcCpuVm *vm = opaque;
    uint64_t epoch = atomic_fetch_add(&vm->dirty_epoch, 1) + 1;

    ask_all(vm, REQ_DIRTY);
    return epoch;
}

static bool settled(void *opaque, uint64_t ticket)
{
    VmcCpuVm *vm = opaque;

    for (unsigned i = 0; i < vm->n_cpus; i++) {
        VmcCpu *c = vm->cpus[i];
        if (c && atomic_load(&c->running) && atomic_load(&c->dirty_seen) < ticket)
            return false;
    }
    return true;
}

void vmc_soft_serve_slot_requests(VmcCpu *c)
{
    const VmcMemory *memory = c->vm->memory;
    uint32_t request = atomic_fetch_and(&c->request, ~(REQ_DIRTY | REQ_MOVED));
    /* Read behind the request: if it grows meanwhile, another request comes. */
    uint64_t epoch = atomic_load(&c->vm->dirty_epoch);

    if (request & REQ_MOVED)
        vmc_tlb_flush(c);
    else
        for (unsigned i = 0; i < memory->n_slots; i++)
            if (memory->slots[i].dirty)
                vmc_tlb_protect_range(c, (uintptr_t)memory->slots[i].host, memory->slots[i].size);
    atomic_store(&c->dirty_seen, epoch);
}

static void code_written(void *opaque)
{
    const VmcCpuVm *vm = opaque;

    if (vm->engine == VMC_ENGINE_TRANSLATOR)
        ask_all(opaque, REQ_STALE);
}

static const VmcMemoryOps slot_ops = {
    .moved = moved, .protect = protect, .settled = settled, .code_written = code_written};

void vmc_soft_watch_slots(VmcCpuVm *vm)
{
    vm->memory->ops = &slot_ops;
    vm->memory->ops_opaque = vm;
}
