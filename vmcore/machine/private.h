/*
 * The inside of a VmcMachine, shared by the files of this folder.
 *
 * Three kinds of threads meet here. The owner's thread calls the public functions and gets the signals. A
 * vCPU thread runs guest code and, when it is the last to reach the barrier, carries out a guest's reset. The
 * I/O thread runs devices. Whatever happens on the latter two is told to the owner through the mailbox
 * (events.c).
 */
#pragma once

#include "agent/agent.h"
#include "base/bus.h"
#include "base/host.h"
#include "base/host_sleep.h"
#include "base/input.h"
#include "base/io.h"
#include "base/memory.h"
#include "cpu/cpu.h"
#include "display/vga.h"
#include "machine/debug.h"
#include "pc/board.h"
#include "usb/device.h"
#include "virtio/devices.h"
#include "vmcore/machine.h"

/* What the guest's threads report to the owner. */
typedef enum VmcEventKind {
    VMC_EVENT_LOG,       /* text */
    VMC_EVENT_ATTENTION, /* text: the machine is to be paused until the user has seen to something */
    VMC_EVENT_RESET,     /* the guest was reset and goes on */
    VMC_EVENT_POWER_OFF, /* all vCPUs are held; the owner is to stop the machine */
    VMC_EVENT_FAILED,    /* the same, with an error */
    VMC_EVENT_DEBUG,     /* a CPU came to what a debugger asked for */
} VmcEventKind;

typedef struct VmcMailbox VmcMailbox;

VmcMailbox *vmc_mailbox_new(VmcMachine *machine, GMainContext *context);
/* Nothing is delivered from now on. On the owner's thread. */
void vmc_mailbox_close(VmcMailbox *mailbox);
/* Any thread. `text` is copied, `error` taken over. `run` is the run of the machine it belongs to. */
void vmc_mailbox_post(VmcMailbox *mailbox, VmcEventKind kind, unsigned run, const char *text, GError *error);
/* Implemented by machine.c: an event arrives, on the owner's thread. */
void vmc_machine_on_event(VmcMachine *machine, VmcEventKind kind, unsigned run, const char *text,
                          const GError *error);

/* Sets `error` (VMC_ERROR, this code) and returns false. */
bool vmc_machine_refuse(GError **error, VmcError code, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* Why vCPUs stand at the barrier; a bit each. */
enum {
    VMC_HOLD_PAUSE = 1, /* until vmc_vcpus_release */
    VMC_HOLD_RESET = 2, /* until the last one to arrive has reset the machine */
    VMC_HOLD_END = 4,   /* the guest powered off or failed: until vmc_vcpus_join */
    VMC_HOLD_DEBUG = 8, /* until vmc_vcpus_debug_release */
    VMC_HOLD_WAKE = 16, /* until the last one to arrive has set the clocks after the host's sleep */
};

typedef struct VmcVcpus VmcVcpus;

typedef struct VmcVcpu {
    VmcVcpus *group;
    unsigned index;
    VmcCpu *cpu;
    GThread *thread;
    bool debug_held;           /* a debugger lets others run, but not this one */
    VmcDebugEvent debug_event; /* what it came to and has not been told */
} VmcVcpu;

/* All vCPUs of a running machine and the barrier they stop at (vcpu.c). */
struct VmcVcpus {
    const VmcCpuBackend *backend;
    VmcMailbox *mailbox;
    unsigned run;
    bool (*reset)(void *opaque, GError **error); /* on a vCPU thread while all stand still */
    void (*woken)(void *opaque);                 /* the same */
    void *opaque;

    unsigned n;
    VmcVcpu *vcpus;

    GMutex lock;
    GCond released; /* for vCPUs: holds or quit changed */
    GCond arrived;  /* for the owner: all are parked, or a reset (or woken) is over */
    unsigned holds; /* VMC_HOLD_* */
    unsigned parked;
    unsigned wakes;       /* how often VMC_HOLD_WAKE was put up */
    bool quit, resetting; /* resetting: `reset` or `woken` runs */
    int debug_cpu;        /* whose event stopped the machine and has not been told, or -1 */
    gint64 shutdowns[3];  /* when the last triple faults were, us */

    uint64_t started_at;            /* ns, vmc_machine_start */
    _Atomic uint64_t start_latency; /* ns to the first entry into a vCPU, 0 before */
};

/* The threads start at once, with `paused` held as by vmc_vcpus_hold. False: none runs. */
bool vmc_vcpus_start(VmcVcpus *group, bool paused, GError **error);
/* Holds all vCPUs and waits until none runs guest code. */
void vmc_vcpus_hold(VmcVcpus *group);
void vmc_vcpus_release(VmcVcpus *group);
/* The same for a debugger; releases all but those with `debug_held`. */
void vmc_vcpus_debug_hold(VmcVcpus *group);
void vmc_vcpus_debug_release(VmcVcpus *group);
bool vmc_vcpus_debug_held(VmcVcpus *group);
/* Ends and joins all threads. Fine if none was started. */
void vmc_vcpus_join(VmcVcpus *group);
/* What a guest asks for; any thread, never waits. */
void vmc_vcpus_request_reset(VmcVcpus *group);
/* The host has slept. The same. */
void vmc_vcpus_request_wake(VmcVcpus *group);
void vmc_vcpus_request_end(VmcVcpus *group, VmcEventKind kind, GError *error);

/* Everything there is while the machine is not stopped (build.c). */
typedef struct VmcGuest {
    VmcMachine *machine;
    const VmcConfig *config; /* the machine's */
    const VmcCpuBackend *backend;
    VmcMemory *memory;
    VmcBus *pio, *mmio;
    VmcIo *io;
    VmcCpuVm *vm;
    VmcBoard *board;
    VmcVcpus vcpus;
    VmcHostSleep *host_sleep;        /* NULL before the vCPUs' threads are there */
    VmcTimer *keep_time;             /* drops anchors (cpu/anchor.h) */
    VmcVga *vga;                     /* of the primary adapter, or NULL; its device's */
    VmcPciDevice *vga_card;          /* that device */
    VmcHostHooks hooks;              /* what devices tell the user */
    VmcPciDevice **pci_devices;      /* one for each device of the configuration, or NULL; the bus's */
    VmcUsbDevice **usb_devices;      /* the same; those that were attached are the controller's */
    VmcPciDevice *usb;               /* the USB controller, or NULL; the bus's */
    GPtrArray *keyboards, *pointers; /* of VmcKeyboard, VmcPointer: in the order of the configuration */
    GArray *log_fds;                 /* of int: files opened for serial lines */
    GPtrArray *created_logs;         /* their paths, if they were not there before */
    bool started;                    /* the guest has run: what was created stays */
} VmcGuest;

/* Builds all of it for the machine's config, backend and run, and starts the vCPU threads; `started_at` is
 * when the user asked for that. NULL: nothing is left behind. */
VmcGuest *vmc_guest_new(VmcMachine *machine, uint64_t started_at, GError **error);
/* In two steps, for a guest whose memory and state come from elsewhere: everything after a reset of the
 * board, with its time standing still and memory all zero; then the vCPU threads, paused. */
VmcGuest *vmc_guest_new_empty(VmcMachine *machine, uint64_t started_at, GError **error);
bool vmc_guest_start_paused(VmcGuest *guest, GError **error);
/* Has the guest's clocks go on after the host has slept (host_sleep.c). Stop before the vCPUs' threads end;
 * fine if it was not started. */
bool vmc_guest_watch_sleep(VmcGuest *guest, GError **error);
void vmc_guest_unwatch_sleep(VmcGuest *guest);
/* Stops the vCPUs, drains the devices, frees everything. NULL is fine. */
void vmc_guest_free(VmcGuest *guest);

/* Devices (devices/kinds.c). */
bool vmc_guest_add_devices(VmcGuest *guest, GError **error);
/* Tells firmware in which order to try those that have a bootIndex (devices/boot_order.c). */
void vmc_guest_set_boot_order(VmcGuest *guest);
/* Tells the user if firmware will find nothing to boot on the media there are (devices/boot_media.c). Before
 * the devices are made. */
void vmc_machine_look_at_media(VmcMachine *machine);

/* What is wrong with one device, also together with the others (validate.c); as vmc_config_validate. */
GPtrArray *vmc_config_validate_device(const VmcConfig *config, guint index);

/* Which backend runs the CPUs, and one sentence why (choose_cpu.c). The caller frees the reason. */
const VmcCpuBackend *vmc_choose_cpu(VmcCpuKind kind, char **reason);

/* VMC_EVENT_DEBUG arrives (debug.c). */
void vmc_debug_on_event(VmcMachine *machine);

struct _VmcMachine {
    GObject parent_instance;
    GMainContext *context; /* the owner's */
    VmcMailbox *mailbox;
    VmcConfig *config;
    VmcDisplay *displays[VMC_GPU_SCANOUTS];
    unsigned n_displays;
    VmcAgent *agent; /* or NULL */

    _Atomic int state; /* VmcMachineState; written by the owner's thread only */
    GError *error;
    unsigned run; /* counts starts */
    const VmcCpuBackend *backend;
    char *cpu_reason;
    VmcCpuEngine engine;    /* of the last start; DEFAULT: the backend has none */
    uint64_t start_latency; /* of the last run that has ended */
    VmcCpuStats *cpu_stats; /* the same, one for each CPU; NULL: there are none */

    struct {
        const VmcDebuggerOps *ops; /* or NULL */
        void *opaque;
        bool wait;
    } debugger;

    GMutex guest_lock;        /* guards the pointer against callers from other threads */
    VmcGuest *guest;          /* NULL when stopped */
    struct VmcSaving *saving; /* a save or restore under way (save.c), or NULL */
};

/* ---- machine.c, for save.c ---- */

/* Announces a state. False: a handler has changed it again. */
bool vmc_machine_set_state(VmcMachine *machine, VmcMachineState state);
/* False with `sentence`, N_(), which has places for the state it is in and the wanted one. */
bool vmc_machine_check_state(VmcMachine *machine, VmcMachineState wanted, const char *sentence,
                             GError **error);
void vmc_machine_set_guest(VmcMachine *machine, VmcGuest *guest);
/* Another run of the machine begins: chooses who runs its CPUs. */
void vmc_machine_begin_run(VmcMachine *machine);

/* ---- save.c ---- */

/* Ends a save or restore that is under way, and waits until nobody works on the guest any more; whoever asked
 * for it is told later. Before the guest is freed. */
void vmc_saving_abandon(VmcMachine *machine);
