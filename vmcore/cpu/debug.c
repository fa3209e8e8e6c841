/* What a debugger asks of a CPU, as far as it is the same for every backend. */
#include "cpu/cpu.h"

/* A debug register watches 1, 2, 4 or 8 bytes at a multiple of their number (SDM vol. 3 section 17.2.5). */
static bool fits_register(uint64_t address, uint64_t length)
{
    return length >= 1 && length <= 8 && !(length & (length - 1)) && !(address & (length - 1));
}

bool vmc_cpu_debug_fits(const VmcCpuBackend *backend, const VmcCpuDebug *debug)
{
    unsigned used = debug->n_watchpoints;

    if (!backend->debug_registers)
        return true;
    for (unsigned i = 0; i < debug->n_breakpoints; i++)
        used += debug->breakpoints[i].hardware;
    for (unsigned i = 0; i < debug->n_watchpoints; i++)
        if (!fits_register(debug->watchpoints[i].address, debug->watchpoints[i].length))
            return false;
    return used <= backend->debug_registers;
}

bool vmc_cpu_debug_watched(const VmcCpuDebug *debug, uint64_t va, uint64_t size, VmcDebugAccess access,
                           VmcDebugEvent *event)
{
    for (unsigned i = 0; i < debug->n_watchpoints; i++) {
        uint64_t first = debug->watchpoints[i].address, last = first + debug->watchpoints[i].length - 1;

        if (!(debug->watchpoints[i].access & access) || va > last || va + size - 1 < first)
            continue;
        *event = (VmcDebugEvent){.reason = VMC_DEBUG_WATCHPOINT,
                                 .access = debug->watchpoints[i].access,
                                 .address = MAX(va, first)};
        return true;
    }
    return false;
}
