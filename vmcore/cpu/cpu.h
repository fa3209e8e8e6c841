/*
 * The seam between a board and whatever executes guest code.
 *
 * A backend (cpu/soft, cpu/kvm) is one const VmcCpuBackend. A VmcCpuVm is what all CPUs of a machine share;
 * a VmcCpu is one CPU, run by one thread of its own. Port I/O and MMIO go straight to the board's buses from
 * inside `run`, HLT waits inside `run`; only what the machine must decide comes back as a VmcCpuExit.
 *
 * Interrupts: a backend with `in_kernel_irqchip` owns LAPICs, IOAPIC, PIC and PIT and is driven through
 * set_gsi and send_msi. Otherwise the board has its own chips: each CPU is given a VmcLocalApic to ask,
 * and the board calls notify/nmi/init/sipi when there is something to ask for.
 *
 * Debuggers: set_debug has a CPU stop at places, at accesses or after one instruction, unseen by the guest;
 * its run then returns VMC_EXIT_DEBUG, and get_debug_event says why.
 *
 * Threads: vm_new, cpu_new, reset, get_state, set_state, get_stats, set_debug, get_debug_event, translate,
 * save, load and the frees while no CPU runs; run on the CPU's own thread; kick, notify, nmi, init, sipi,
 * set_gsi, send_msi, wire_msi, unwire_msi from any.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bus.h"
#include "base/memory.h"
#include "base/state.h"
#include "vmcore/cpu.h"

typedef struct VmcCpuVm VmcCpuVm; /* each backend's own struct */
typedef struct VmcCpu VmcCpu;

typedef enum VmcCpuExit {
    VMC_EXIT_KICKED,   /* somebody called kick: look at your requests and call run again */
    VMC_EXIT_SHUTDOWN, /* triple fault: hardware would reset */
    VMC_EXIT_DEBUG,    /* what set_debug asked for has happened */
    VMC_EXIT_ERROR,    /* the backend cannot go on; the GError of run says why */
} VmcCpuExit;

/* What a CPU asks of the local APIC the board gave it. All but `mmio_*` are called on the CPU's thread. */
typedef struct VmcLocalApicOps {
    /* The vector to deliver now (IRR against TPR and ISR, or ExtINT), or -1. Does not change anything. */
    int (*pending)(void *apic);
    /* Takes the interrupt that pending would name: IRR -> ISR, or the PIC's INTA cycle. -1 if gone. */
    int (*acknowledge)(void *apic);
    uint64_t (*get_base)(void *apic);             /* IA32_APIC_BASE */
    bool (*set_base)(void *apic, uint64_t value); /* false: #GP */
    uint64_t (*get_cr8)(void *apic);              /* TPR >> 4 */
    void (*set_cr8)(void *apic, uint64_t value);  /* value <= 15 */
    /* x2APIC MSRs 0x800..0x8ff and IA32_TSC_DEADLINE (0x6e0). false: #GP */
    bool (*read_msr)(void *apic, uint32_t msr, uint64_t *value);
    bool (*write_msr)(void *apic, uint32_t msr, uint64_t value);
    /* The 4 KiB page at the APIC base, xAPIC mode; each CPU sees its own, so it is not on the bus. */
    uint32_t (*mmio_read)(void *apic, uint32_t offset);
    void (*mmio_write)(void *apic, uint32_t offset, uint32_t value);
} VmcLocalApicOps;

typedef struct VmcLocalApic {
    const VmcLocalApicOps *ops;
    void *apic;
} VmcLocalApic;

typedef struct VmcSegment {
    uint64_t base;
    uint32_t limit; /* in bytes, granularity applied */
    uint16_t selector;
    uint16_t attr; /* descriptor bits 40..55 as VMX/SVM "access rights": type 3:0, S 4, DPL 6:5, P 7,
                      AVL 12, L 13, D/B 14, G 15; bit 16 of VMX ("unusable") is P == 0 here */
} VmcSegment;

enum { VMC_ES, VMC_CS, VMC_SS, VMC_DS, VMC_FS, VMC_GS, VMC_SEG_COUNT };
enum { VMC_RAX, VMC_RCX, VMC_RDX, VMC_RBX, VMC_RSP, VMC_RBP, VMC_RSI, VMC_RDI };

/* Architectural state as a boot loader or a test sets it and a debugger shows it. */
typedef struct VmcCpuState {
    uint64_t gpr[16], rip, rflags;
    VmcSegment seg[VMC_SEG_COUNT], ldt, tr;
    struct {
        uint64_t base;
        uint16_t limit;
    } gdt, idt;
    uint64_t cr0, cr2, cr3, cr4, cr8, efer, apic_base;
    uint64_t dr[8];
    uint8_t fxsave[512] __attribute__((aligned(16))); /* FXSAVE image, 64-bit format */
    /* Software CPU only; KVM shows zeros and keeps what it has. */
    uint8_t ymm_high[16][16]; /* bits 255:128 of YMM0..15 */
    uint64_t xcr0;
    bool halted;
    bool wait_for_sipi; /* an application processor that has not been started */
    /* What holds events off between two instructions. KVM keeps these to itself: zero there, and not set. */
    bool interrupt_shadow,
        debug_shadow; /* of STI, MOV SS, POP SS; of the latter two: no debug traps either */
    bool nmi_blocked, nmi_pending;
    uint64_t debug_pending; /* DR6 bits of traps that are due */
} VmcCpuState;

/* The state after RESET (Intel SDM vol. 3 table 9-1): real mode at F000:FFF0. */
void vmc_cpu_state_reset(VmcCpuState *state);
/* As bytes (state_save.c). What is loaded has not been looked at: set_state does that. */
void vmc_cpu_state_save(const VmcCpuState *state, VmcStateWriter *w);
bool vmc_cpu_state_load(VmcCpuState *state, VmcStateReader *r);

/* ---- debugging ---- */

#define VMC_DEBUG_BREAKPOINTS 128
#define VMC_DEBUG_WATCHPOINTS 16

typedef enum VmcDebugAccess {
    VMC_DEBUG_WRITE = 1,
    VMC_DEBUG_READ = 2,
    VMC_DEBUG_ACCESS = 3, /* either */
} VmcDebugAccess;

/* What a CPU shall stop at. Addresses are linear and hold in every address space. */
typedef struct VmcCpuDebug {
    bool single_step; /* one instruction, or the first of what takes its place: an exception's handler.
                         Interrupts wait until it is done, unless the CPU is halted */
    unsigned n_breakpoints, n_watchpoints;
    struct {
        uint64_t address;
        bool hardware; /* only a debug register will do: nothing is put into memory, even while it is not
                          mapped */
    } breakpoints[VMC_DEBUG_BREAKPOINTS]; /* stops before the instruction */
    struct {
        uint64_t address, length; /* length >= 1, address + length - 1 does not wrap */
        VmcDebugAccess access;
    } watchpoints[VMC_DEBUG_WATCHPOINTS]; /* stops after the instruction that did it */
} VmcCpuDebug;

typedef enum VmcDebugReason {
    VMC_DEBUG_NONE,
    VMC_DEBUG_STEP,
    VMC_DEBUG_BREAKPOINT,
    VMC_DEBUG_WATCHPOINT,
} VmcDebugReason;

typedef struct VmcDebugEvent {
    VmcDebugReason reason;
    bool hardware;         /* a breakpoint: as it was asked for */
    VmcDebugAccess access; /* a watchpoint: as it was asked for */
    uint64_t address;      /* of the breakpoint; of the first watched byte that was touched */
} VmcDebugEvent;

typedef struct VmcCpuVmParams {
    VmcMemory *memory;
    VmcBus *pio, *mmio;
    unsigned n_cpus;
    VmcCpuModel model;
    /* The software CPU's; other backends ignore them. */
    VmcCpuEngine engine;
    bool lockstep;           /* run each block by both engines and compare (slow: for tests) */
    unsigned code_cache_mib; /* host code the translator keeps, 8..1024; 0: 64 */
    bool baseline_cpu;       /* soft: x86-64-v2 and nothing beyond, whatever the host has */
    /* What a user should know; any thread. May be NULL. */
    void (*log)(void *opaque, const char *line);
    void *log_opaque;
} VmcCpuVmParams;

typedef struct VmcCpuBackend {
    const char *name; /* "soft", "kvm" */
    bool in_kernel_irqchip;

    VmcCpuVm *(*vm_new)(const VmcCpuVmParams *params, GError **error);
    void (*vm_free)(VmcCpuVm *vm);

    /* `index` counts from 0 and is the APIC ID; CPU 0 is the bootstrap processor. `lapic` is ignored (and may
     * be NULL) with an in-kernel irqchip. */
    VmcCpu *(*cpu_new)(VmcCpuVm *vm, unsigned index, const VmcLocalApic *lapic, GError **error);
    void (*cpu_free)(VmcCpu *cpu);

    VmcCpuExit (*run)(VmcCpu *cpu, GError **error);
    void (*kick)(VmcCpu *cpu);

    /* RESET: everything to power-on, also what VmcCpuState has no name for (MSRs). */
    void (*reset)(VmcCpu *cpu);
    void (*get_state)(VmcCpu *cpu, VmcCpuState *state);
    bool (*set_state)(VmcCpu *cpu, const VmcCpuState *state, GError **error);

    /* Without in-kernel irqchip: the local APIC's wires into the CPU. */
    void (*notify)(VmcCpu *cpu); /* `pending` may have changed */
    void (*nmi)(VmcCpu *cpu);
    void (*init)(VmcCpu *cpu);
    void (*sipi)(VmcCpu *cpu, uint8_t vector);

    /* With in-kernel irqchip. GSI 0..15 go to PIC and IOAPIC, 16..23 to the IOAPIC. */
    void (*set_gsi)(VmcCpuVm *vm, unsigned gsi, bool level);
    void (*send_msi)(VmcCpuVm *vm, uint64_t address, uint32_t data);
    /* Optional, both or neither: wires for messages, as VmcMsi has them (base/irq.h). */
    int (*wire_msi)(VmcCpuVm *vm, int fd, uint64_t address, uint32_t data);
    void (*unwire_msi)(VmcCpuVm *vm, int fd);
    /* The PIT shall keep IRQ 0 to itself, or shall not: an HPET has taken its place. May be NULL. */
    void (*mute_pit)(VmcCpuVm *vm, bool muted);

    /* Optional: has writes of CPUs to this physical address ring an eventfd and go nowhere else, so that the
     * CPU does not come back here for them. False: not this one, which then stays with the bus. The same pair
     * is there at most once; removing one that is not there does nothing. Any thread, but it may take a
     * while. */
    bool (*add_doorbell)(VmcCpuVm *vm, uint64_t address, int fd);
    void (*remove_doorbell)(VmcCpuVm *vm, uint64_t address, int fd);

    /* How many breakpoints of hardware and watchpoints there are together, the latter of 1, 2, 4 or 8 aligned
     * bytes; 0: as many and as long as VmcCpuDebug has room for. */
    unsigned debug_registers;
    /* Replaces what was asked of this CPU before and forgets an event that was not fetched; NULL: nothing any
     * more, and then it costs nothing. Stays through reset. False: this host cannot, or not that
     * (vmc_cpu_debug_fits). */
    bool (*set_debug)(VmcCpu *cpu, const VmcCpuDebug *debug, GError **error);
    /* Why run returned VMC_EXIT_DEBUG; after set_debug there is none. */
    void (*get_debug_event)(VmcCpu *cpu, VmcDebugEvent *event);
    /* Where a linear address lies for the kernel of this CPU's guest, whatever its rights are; marks nothing
     * as accessed. False: nowhere. */
    bool (*translate)(VmcCpu *cpu, uint64_t va, uint64_t *pa);

    /* Guest TSC ticks per second; the guest TSC as it reads now (any thread). */
    uint64_t (*tsc_hz)(VmcCpuVm *vm);
    uint64_t (*tsc_now)(VmcCpuVm *vm);

    /* Optional: CPUs are about to go on after the machine was paused for some time. While no CPU runs. */
    void (*resumed)(VmcCpuVm *vm);
    /* About once a minute (VMC_ANCHOR_NS), any thread: takes note of where the guest's clocks stand, so that
     * after the host has slept it is known where they should be. They are brought there by slept, while no
     * CPU runs. */
    void (*keep_time)(VmcCpuVm *vm);
    void (*slept)(VmcCpuVm *vm);

    /* How it executes guest code, never VMC_ENGINE_DEFAULT. NULL where there is only one way. */
    VmcCpuEngine (*engine)(VmcCpuVm *vm);
    /* What the CPU has counted so far; false: nothing. NULL where the backend does not count. */
    bool (*get_stats)(VmcCpu *cpu, VmcCpuStats *stats);

    /* Saving a machine, while no CPU runs (base/state.h): what all CPUs share, and each CPU with all a guest
     * can notice of it. Loading goes into a VM that was just made and CPUs that were reset, the VM first,
     * before the board. `elapsed_ns` is how long the machine was away by the wall clock, by which the TSC
     * goes on. NULL, all of them: machines with this backend cannot be saved. */
    void (*save_vm)(VmcCpuVm *vm, VmcStateWriter *w);
    bool (*load_vm)(VmcCpuVm *vm, uint64_t elapsed_ns, VmcStateReader *r);
    void (*save_cpu)(VmcCpu *cpu, VmcStateWriter *w);
    bool (*load_cpu)(VmcCpu *cpu, VmcStateReader *r);
    /* What processors these are, in words that differ whenever a guest would notice it if it went on with the
     * others. The caller frees it. */
    char *(*describe)(VmcCpuVm *vm);
} VmcCpuBackend;

extern const VmcCpuBackend vmc_cpu_soft;
extern const VmcCpuBackend vmc_cpu_kvm;

/* Whether the backend has enough debug registers for all of these (debug.c). */
bool vmc_cpu_debug_fits(const VmcCpuBackend *backend, const VmcCpuDebug *debug);
/* The first watchpoint an access of `size` bytes at `va` touches, as an event; false: none. `access` is what
 * is done. */
bool vmc_cpu_debug_watched(const VmcCpuDebug *debug, uint64_t va, uint64_t size, VmcDebugAccess access,
                           VmcDebugEvent *event);
/* A page walk for debuggers by the control registers of `state` (walk.c): what VmcCpuBackend.translate says,
 * for backends whose own way of asking leaves traces. */
bool vmc_cpu_walk(const VmcCpuState *state, const VmcMemory *memory, uint64_t va, uint64_t *pa);
