/*
 * One debugger's conversation in GDB's remote protocol: bytes in, bytes out, and a machine behind
 * VmcGdbTargetOps. Knows no socket and no thread, and never waits.
 *
 * All-stop: while CPUs run there is nothing to say but Ctrl-C.
 */
#pragma once

#include <glib.h>

#include "machine/debug.h"

#define VMC_GDB_CPUS_MAX 64u

/* What a session does to a machine. All CPUs stand while any but `interrupt` is called. */
typedef struct VmcGdbTargetOps {
    unsigned (*n_cpus)(void *opaque); /* 1 to VMC_GDB_CPUS_MAX */
    void (*get_state)(void *opaque, unsigned cpu, VmcCpuState *state);
    bool (*set_state)(void *opaque, unsigned cpu, const VmcCpuState *state);
    bool (*translate)(void *opaque, unsigned cpu, uint64_t va, uint64_t *pa);
    /* Within one page of guest physical memory; false: not RAM. */
    bool (*read)(void *opaque, uint64_t pa, void *bytes, size_t len);
    bool (*write)(void *opaque, uint64_t pa, const void *bytes, size_t len);
    /* Whether CPUs can stop at all of these. */
    bool (*fits)(void *opaque, const VmcCpuDebug *points);
    /* Lets them go, as vmc_debug_go; vmc_gdb_session_stopped is called when they have stopped again. */
    bool (*go)(void *opaque, const VmcDebugGo *go, const VmcCpuDebug *points);
    /* Stops them; false: there is no machine any more. */
    bool (*interrupt)(void *opaque, VmcDebugStop *stop);
} VmcGdbTargetOps;

typedef enum VmcGdbEnd {
    VMC_GDB_GOES_ON,
    VMC_GDB_DETACHED, /* the machine is to go on without a debugger */
    VMC_GDB_KILLED,   /* the machine is to end */
    VMC_GDB_STRANGER, /* that was no debugger */
} VmcGdbEnd;

typedef struct VmcGdbSession VmcGdbSession;

/* The machine stands. */
VmcGdbSession *vmc_gdb_session_new(const VmcGdbTargetOps *ops, void *opaque);
void vmc_gdb_session_free(VmcGdbSession *session); /* NULL is fine */

/* Takes in what a debugger has sent; returns how many bytes of it: fewer when there is too much to be sent
 * first. */
size_t vmc_gdb_session_input(VmcGdbSession *session, const uint8_t *bytes, size_t len);
/* What is to be sent; whoever sends it takes it out. */
GByteArray *vmc_gdb_session_output(VmcGdbSession *session);
/* CPUs that were let go have stopped. */
void vmc_gdb_session_stopped(VmcGdbSession *session, const VmcDebugStop *stop);
/* The machine has ended; `failed` or as it should. */
void vmc_gdb_session_exited(VmcGdbSession *session, bool failed);

VmcGdbEnd vmc_gdb_session_end(const VmcGdbSession *session);
/* Whether it has ever let the machine go. */
bool vmc_gdb_session_has_run(const VmcGdbSession *session);
