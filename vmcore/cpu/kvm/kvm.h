/* What the files of the KVM backend share: its structs and the ioctl wrapper. */
#pragma once

#include <glib.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>

#include "cpu/anchor.h"
#include "cpu/cpu.h"
#include "cpu/kvm/open.h"
#include "cpu/model.h"

#define VMC_KVM_DEVICE    "/dev/kvm"
#define VMC_KVM_CPUS_MAX  256u
#define VMC_KVM_WIRES_MAX 256u

/* Pages that Intel hosts need to run real mode; between the local APICs and the largest firmware flash. */
#define VMC_KVM_IDENTITY_ADDRESS 0xfeffc000ul
#define VMC_KVM_TSS_ADDRESS      0xfeffd000ul

/* KVM's local APICs count this, whatever the host has. */
#define VMC_KVM_APIC_HZ 1000000000ull

/* A breakpoint in the guest's memory. */
struct kvm_int3 {
    uint64_t pa;
    uint8_t original;
};

/* An eventfd that sends a message (routes.c). */
typedef struct VmcKvmWire {
    int fd; /* -1: free */
    uint64_t address;
    uint32_t data;
} VmcKvmWire;

struct VmcCpuVm {
    VmcMemory *memory;
    VmcBus *pio, *mmio;
    unsigned n_cpus;
    int kvm_fd, vm_fd;
    size_t run_size;                /* bytes of the shared kvm_run area */
    VmcCpuModelParams model;        /* with the rate of the guest's TSC, 0 before there is a CPU */
    bool mapped[VMC_MEM_SLOTS_MAX]; /* KVM knows this slot */
    uint64_t away_ns;               /* how long it was in a file (save.c) */
    VmcCpu *cpus[VMC_KVM_CPUS_MAX]; /* those there are */

    /* Where the guest's clocks were a while ago (clock.c). CPU 0's thread, or while no CPU runs. */
    VmcAnchor anchor;        /* of CPU 0's TSC; all 0 before it has run */
    uint64_t anchor_clock;   /* KVM's clock at the same time, ns */
    _Atomic bool anchor_due; /* CPU 0 is to drop another */

    void (*log)(void *opaque, const char *line); /* or NULL */
    void *log_opaque;

    /* As they were when they were made (chips.c). */
    struct kvm_irqchip chips[3];
    struct kvm_pit_state2 pit;
    bool any_length; /* doorbells take writes of any size */

    GMutex wires_lock;
    unsigned n_wires, max_wires; /* entries in use or used once; how many there can be */
    VmcKvmWire wires[VMC_KVM_WIRES_MAX];

    GMutex msr_lock;
    GHashTable *msrs_told; /* of unknown MSRs: index << 1 | write (msr.c) */

    /* A debugger's breakpoints that are in memory while a CPU is in the guest (debug.c). */
    GMutex debug_lock;
    unsigned n_inside, n_int3;
    struct kvm_int3 int3[VMC_DEBUG_BREAKPOINTS];
};

struct VmcCpu {
    VmcCpuVm *vm;
    unsigned index;
    int fd;
    struct kvm_run *run;
    pthread_t thread;    /* of the last run; valid while `inside` */
    _Atomic bool inside; /* between run's entry and return: worth a signal */
    _Atomic bool kicked;
    GMutex lock; /* thread, inside against kick */
    VmcCpuStats stats;
    struct kvm_lapic_state apic; /* as it was when it was made */
    bool unfinished; /* the last exit was an access to a device: its instruction ends when KVM is entered
            again */

    /* What a debugger asked for: as KVM has it, what each debug register is for, and what none was left for.
     */
    struct kvm_guest_debug guest_debug;
    VmcDebugEvent registers[4];
    uint64_t int3[VMC_DEBUG_BREAKPOINTS];
    unsigned n_int3;
    VmcDebugEvent event;
};

/* ioctl that goes on after EINTR; -1 with *error (may be NULL) set to `sentence`, N_(), which has a place for
 * why. */
int vmc_kvm_ioctl(int fd, unsigned long request, const void *arg, const char *sentence, GError **error);

/* chips.c: local APICs, IOAPIC, PIC and PIT in the kernel */
bool vmc_kvm_make_chips(VmcCpuVm *vm, GError **error);
void vmc_kvm_reset_chips(VmcCpuVm *vm);
bool vmc_kvm_keep_apic(VmcCpu *cpu, GError **error);
void vmc_kvm_reset_apic(VmcCpu *cpu);
void vmc_kvm_set_gsi(VmcCpuVm *vm, unsigned gsi, bool level);
void vmc_kvm_mute_pit(VmcCpuVm *vm, bool muted);
bool vmc_kvm_add_doorbell(VmcCpuVm *vm, uint64_t address, int fd);
void vmc_kvm_remove_doorbell(VmcCpuVm *vm, uint64_t address, int fd);
/* routes.c: GSIs and messages */
bool vmc_kvm_make_routes(VmcCpuVm *vm, GError **error);
void vmc_kvm_clear_routes(VmcCpuVm *vm);
void vmc_kvm_send_msi(VmcCpuVm *vm, uint64_t address, uint32_t data);
int vmc_kvm_wire_msi(VmcCpuVm *vm, int fd, uint64_t address, uint32_t data);
void vmc_kvm_unwire_msi(VmcCpuVm *vm, int fd);
/* What was written to wires is in the local APICs when it returns; nobody writes meanwhile. */
void vmc_kvm_settle_messages(VmcCpuVm *vm);
/* msr.c */
void vmc_kvm_msr_init(VmcCpuVm *vm);
void vmc_kvm_msr_clear(VmcCpuVm *vm);
bool vmc_kvm_take_msrs(VmcCpuVm *vm, GError **error);
void vmc_kvm_msr_exit(VmcCpu *cpu);
/* While the CPU does not run, or on its thread. False: KVM does not have it, or does not take that. */
bool vmc_kvm_get_msr(VmcCpu *cpu, uint32_t index, uint64_t *value);
bool vmc_kvm_set_msr(VmcCpu *cpu, uint32_t index, uint64_t value);
/* clock.c */
uint64_t vmc_kvm_measure_tsc(VmcCpu *cpu);
uint64_t vmc_kvm_tsc_hz(VmcCpuVm *vm);
uint64_t vmc_kvm_tsc_now(VmcCpuVm *vm);
void vmc_kvm_resumed(VmcCpuVm *vm);
void vmc_kvm_drop_anchor(VmcCpu *cpu);
void vmc_kvm_slept(VmcCpuVm *vm);
/* stats.c */
bool vmc_kvm_get_stats(VmcCpu *cpu, VmcCpuStats *stats);
/* state.c */
void vmc_kvm_reset(VmcCpu *cpu);
void vmc_kvm_get_state(VmcCpu *cpu, VmcCpuState *state);
bool vmc_kvm_set_state(VmcCpu *cpu, const VmcCpuState *state, GError **error);
/* debug.c */
bool vmc_kvm_set_debug(VmcCpu *cpu, const VmcCpuDebug *debug, GError **error);
void vmc_kvm_get_debug_event(VmcCpu *cpu, VmcDebugEvent *event);
bool vmc_kvm_translate(VmcCpu *cpu, uint64_t va, uint64_t *pa);
/* Around the time that a CPU is in the guest. */
void vmc_kvm_debug_enter(VmcCpu *cpu);
void vmc_kvm_debug_leave(VmcCpu *cpu);
/* KVM_EXIT_DEBUG. True: it was the debugger's; false: the guest's, which has been seen to. */
bool vmc_kvm_debug_exit(VmcCpu *cpu);
/* save.c */
char *vmc_kvm_describe(VmcCpuVm *vm);
void vmc_kvm_save_vm(VmcCpuVm *vm, VmcStateWriter *w);
bool vmc_kvm_load_vm(VmcCpuVm *vm, uint64_t elapsed_ns, VmcStateReader *r);
void vmc_kvm_save_cpu(VmcCpu *cpu, VmcStateWriter *w);
bool vmc_kvm_load_cpu(VmcCpu *cpu, VmcStateReader *r);
/* cpuid.c: what the guest is told: KVM's own offer with our topology and clocks. */
bool vmc_kvm_set_cpuid(VmcCpu *cpu, GError **error);
