/* What a debugger's session does to a machine. */
#include "gdb/target.h"

#include "machine/private.h"

static const VmcGuest *guest_of(void *opaque)
{
    return VMC_MACHINE(opaque)->guest;
}

static VmcCpu *cpu_of(void *opaque, unsigned cpu)
{
    return guest_of(opaque)->vcpus.vcpus[cpu].cpu;
}

static unsigned n_cpus(void *opaque)
{
    return guest_of(opaque)->vcpus.n;
}

static void get_state(void *opaque, unsigned cpu, VmcCpuState *state)
{
    guest_of(opaque)->backend->get_state(cpu_of(opaque, cpu), state);
}

static bool set_state(void *opaque, unsigned cpu, const VmcCpuState *state)
{
    return guest_of(opaque)->backend->set_state(cpu_of(opaque, cpu), state, NULL);
}

static bool translate(void *opaque, unsigned cpu, uint64_t va, uint64_t *pa)
{
    return guest_of(opaque)->backend->translate(cpu_of(opaque, cpu), va, pa);
}

static bool read_memory(void *opaque, uint64_t pa, void *bytes, size_t len)
{
    return vmc_memory_read(guest_of(opaque)->memory, pa, bytes, len);
}

static bool write_memory(void *opaque, uint64_t pa, const void *bytes, size_t len)
{
    return vmc_memory_write(guest_of(opaque)->memory, pa, bytes, len);
}

static bool fits(void *opaque, const VmcCpuDebug *points)
{
    return vmc_cpu_debug_fits(guest_of(opaque)->backend, points);
}

static bool go(void *opaque, const VmcDebugGo *what, const VmcCpuDebug *points)
{
    return vmc_debug_go(opaque, what, points, NULL);
}

static bool interrupt(void *opaque, VmcDebugStop *stop)
{
    return vmc_debug_stop(opaque, stop);
}

const VmcGdbTargetOps vmc_gdb_machine_target = {
    .n_cpus = n_cpus,
    .get_state = get_state,
    .set_state = set_state,
    .translate = translate,
    .read = read_memory,
    .write = write_memory,
    .fits = fits,
    .go = go,
    .interrupt = interrupt,
};
