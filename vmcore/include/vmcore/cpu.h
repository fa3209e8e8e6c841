/* What a user may say about CPUs, and what CPUs say about themselves. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

G_BEGIN_DECLS

/* How the software CPU executes guest code. */
typedef enum VmcCpuEngine {
    VMC_ENGINE_DEFAULT,     /* what ESPALIER_CPU_ENGINE in the environment says, else the best there is */
    VMC_ENGINE_INTERPRETER, /* decoded blocks, one handler after the other */
    VMC_ENGINE_TRANSLATOR,  /* blocks as host code */
} VmcCpuEngine;

/* "interpreter", "translator"; NULL for the default. */
const char *vmc_cpu_engine_name(VmcCpuEngine engine);
/* False: there is none of that name. */
bool vmc_cpu_engine_from_name(const char *name, VmcCpuEngine *engine);

/* What CPU the guest sees, on any backend; never one that can do more than what it runs on. */
typedef enum VmcCpuModel {
    VMC_CPU_MODEL_HOST,      /* all that the backend offers on this computer */
    VMC_CPU_MODEL_X86_64_V2, /* as far as programs see: the level of the psABI, the same on every computer */
    VMC_CPU_MODEL_X86_64_V3, /* the next one, with AVX2 */
    VMC_CPU_MODEL_MACOS,     /* one that macOS knows */
    VMC_CPU_MODELS
} VmcCpuModel;

/* "host", "x86-64-v2", "x86-64-v3", "macos"; NULL: there is no such model. */
const char *vmc_cpu_model_name(VmcCpuModel model);
/* False: there is none of that name. */
bool vmc_cpu_model_from_name(const char *name, VmcCpuModel *model);

/* Host code that the translator keeps, in MiB. */
#define VMC_CODE_CACHE_MIN     8u
#define VMC_CODE_CACHE_MAX     1024u
#define VMC_CODE_CACHE_DEFAULT 64u

/* What one CPU has done since it was made; resets of the guest do not clear it. All fields are counts but the
 * two that end on bytes, and all are uint64_t. What a backend or engine does not do, or could not count
 * without being slower, stays 0. */
typedef struct VmcCpuStats {
    uint64_t blocks_decoded;     /* stretches of guest code that were read and decoded */
    uint64_t blocks_translated;  /* of them, those that were made host code */
    uint64_t insns_translated;   /* guest instructions in those */
    uint64_t code_bytes;         /* host code there is now */
    uint64_t code_bytes_total;   /* host code that was ever made */
    uint64_t evictions;          /* generations of blocks and their host code that made room for newer ones */
    uint64_t flushes;            /* of the TLB, whole or but for global pages */
    uint64_t blocks_interpreted; /* runs of blocks by the translator's fallback, the interpreter */
    uint64_t lookups;       /* blocks the run loop asked for; jumps that find theirs themselves are not in */
    uint64_t lookup_misses; /* of them, those that were not in the jump cache */
    uint64_t tlb_slow;      /* memory accesses that the inline TLB look-up could not serve */
    uint64_t bails;         /* instructions that the translator gave to the interpreter */
    uint64_t exits;         /* returns of guest code to the run loop */
    uint64_t requests;      /* times the run loop served requests: interrupts, kicks, single steps */
    uint64_t lockstep_blocks; /* blocks that both engines ran and that were compared */

    /* KVM's. */
    uint64_t kernel_entries; /* KVM_RUN calls */
    uint64_t kernel_exits;   /* times the processor left the guest, most of which the kernel sees to itself; 0
                                before Linux 5.14 */
    uint64_t halts;          /* of them, those in which the guest had nothing to do */
    uint64_t interrupts;     /* given to the guest */
    uint64_t port_exits;     /* accesses that came to this process: to ports, */
    uint64_t memory_exits;   /* to devices in memory, */
    uint64_t msr_exits;      /* to model-specific registers */
} VmcCpuStats;

/* Looks whether /dev/kvm is there, may be used and runs kernel code at a useful speed. Takes a few
 * milliseconds. `reason` gets one sentence either way; the caller frees it. Any thread. */
bool vmc_cpu_kvm_probe(char **reason);

G_END_DECLS
