/*
 * A debugger's hold on a machine: all CPUs stop together, and the debugger says which of them go on.
 *
 * It is a brake beside that of vmc_machine_pause: the machine's state does not change by it, and its CPUs run
 * while neither is on. What CPUs stop at is asked for anew each time they are let go.
 *
 * Threads: the machine's owner's.
 */
#pragma once

#include "cpu/cpu.h"
#include "vmcore/machine.h"

/* What a CPU does when the machine is let go. */
typedef enum VmcDebugGo { VMC_GO_STAY, VMC_GO_RUN, VMC_GO_STEP } VmcDebugGo;

typedef struct VmcDebugStop {
    bool happened;       /* false: the CPUs were only told to stop */
    unsigned cpu;        /* whose event it is */
    VmcDebugEvent event; /* what it was */
} VmcDebugStop;

typedef struct VmcDebuggerOps {
    /* A CPU came to what was asked for: vmc_debug_stop says what it was. Not called if that was asked
     * meanwhile. */
    void (*stopped)(void *opaque);
} VmcDebuggerOps;

/* One debugger at a time. With `wait` the CPUs of a machine that is started do not run before they are let
 * go. */
void vmc_debug_attach(VmcMachine *machine, const VmcDebuggerOps *ops, void *opaque, bool wait);
/* The machine goes on, with nothing asked of its CPUs any more, if `go_on`; else it stays as it is. */
void vmc_debug_detach(VmcMachine *machine, bool go_on);

/* Stops all CPUs and waits until none runs; guest time stands still. False: the machine is not running. */
bool vmc_debug_stop(VmcMachine *machine, VmcDebugStop *stop);
/* Lets CPUs go on: `go` has one entry for each. False with all of them still standing: this host's CPUs
 * cannot do that. Only after vmc_debug_stop. */
bool vmc_debug_go(VmcMachine *machine, const VmcDebugGo *go, const VmcCpuDebug *points, GError **error);
