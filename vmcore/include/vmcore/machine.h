/*
 * A virtual machine: made from a VmcConfig, started, paused, stopped.
 *
 * VmcMachine is a GObject with the read-only properties "state" (VmcMachineState) and "error" (GError, set in
 * VMC_MACHINE_ERROR), and the signals
 *
 *   state-changed (VmcMachineState state)        after each change
 *   stopped       (VmcStopReason reason)         once per stop
 *   log           (const char *line)             something a user may want to read; no newline
 *   guest-reset   ()                             the guest rebooted; the machine goes on by itself
 *   attention     (const char *why,              the host lacks something the user has to see to, such as
 * room gboolean paused)              for a disk; one sentence. The machine has been paused for it unless it
 * was already, before its guest could notice. After vmc_machine_resume what had to wait is tried again, which
 * may end in another such signal
 *
 * Threads: all functions are called on the thread that owns the GMainContext which was thread-default when
 * the machine was made, except where they say "any thread"; signals are emitted on that context.
 * Dropping the last reference stops the machine.
 */
#pragma once

#include <gio/gio.h>
#include <glib-object.h>
#include <vmcore/agent.h>
#include <vmcore/config.h>
#include <vmcore/display.h>
#include <vmcore/error.h>

G_BEGIN_DECLS

typedef enum VmcMachineState {
    VMC_MACHINE_STOPPED,
    VMC_MACHINE_STARTING,
    VMC_MACHINE_RUNNING,
    VMC_MACHINE_PAUSING,
    VMC_MACHINE_PAUSED,
    VMC_MACHINE_RESUMING,
    VMC_MACHINE_STOPPING,
    VMC_MACHINE_SAVING,
    VMC_MACHINE_RESTORING,
    VMC_MACHINE_ERROR,
} VmcMachineState;

typedef enum VmcStopReason {
    VMC_STOP_GUEST_POWER_OFF, /* the guest powered itself off */
    VMC_STOP_REQUESTED,       /* vmc_machine_stop */
    VMC_STOP_ERROR,           /* see "error" */
} VmcStopReason;

#define VMC_TYPE_MACHINE (vmc_machine_get_type())
G_DECLARE_FINAL_TYPE(VmcMachine, vmc_machine, VMC, MACHINE, GObject)

/* Validates and copies `config`; the first fault becomes the error. Opens nothing yet. */
VmcMachine *vmc_machine_new(const VmcConfig *config, GError **error);

VmcMachineState vmc_machine_get_state(VmcMachine *machine); /* any thread */
const GError *vmc_machine_get_error(VmcMachine *machine);
const char *vmc_machine_state_name(VmcMachineState state);
/* The same for people, in the user's language, as it stands in a sentence. */
const char *vmc_machine_state_text(VmcMachineState state);

/* "soft" or "kvm", and one sentence why; valid once started. */
const char *vmc_machine_get_cpu_backend(VmcMachine *machine);
const char *vmc_machine_get_cpu_reason(VmcMachine *machine);
/* "interpreter" or "translator", or NULL: the backend has no such choice, or it was not started. */
const char *vmc_machine_get_cpu_engine(VmcMachine *machine);
/* What the CPUs counted in the last run that has ended, one after the other: *n of them, owned by the machine
 * until its next start. NULL, and none, where there was no such run or the backend does not count. */
const VmcCpuStats *vmc_machine_get_cpu_stats(VmcMachine *machine, unsigned *n);

/* stopped/error -> running: memory, devices, kernel, threads. Fails with everything undone. */
bool vmc_machine_start(VmcMachine *machine, GError **error);
/* running -> paused and back. When pause returns no guest instruction runs any more. */
bool vmc_machine_pause(VmcMachine *machine, GError **error);
bool vmc_machine_resume(VmcMachine *machine, GError **error);
/* Presses the ACPI power button; the guest decides. */
bool vmc_machine_request_stop(VmcMachine *machine, GError **error);
/* Presses the reset button of a machine that runs: what the guest has not saved yet is lost, and
 * `guest-reset` follows. */
bool vmc_machine_reset(VmcMachine *machine, GError **error);
/* Pulls the plug: any state -> stopped. Waits until all threads are gone and disks are flushed. */
void vmc_machine_stop(VmcMachine *machine);

/* Time from vmc_machine_start to the first guest instruction, ns; 0 before. */
uint64_t vmc_machine_get_start_latency_ns(VmcMachine *machine);

/* What the machine was made from, with the devices that came since; valid until the next change. */
const VmcConfig *vmc_machine_get_config(VmcMachine *machine);
/* Does something with the index-th device of the configuration of a machine that runs or is paused: an action
 * of its kind (VmcDeviceInfo), with as many arguments as that takes, NULL-terminated. Returns what there is
 * to say about it, in lines, perhaps none ("" then); free with g_free. NULL with `error` set, and nothing
 * done, if there is no such device or action or it cannot be done. */
char *vmc_machine_act(VmcMachine *machine, unsigned index, const char *action, const char *const *arguments,
                      GError **error);

/* Keeps all disks that a machine which runs or is paused writes to (virtio-blk or NVMe, qcow2) as they are at
 * this moment, each as a snapshot of that name (vmcore/disk.h); the guest is held meanwhile and goes on.
 * False with `error` set: nothing was done if a disk is no such image or has a snapshot of that name, and the
 * message says which disks have been kept if one failed later. Waits for the host's disk. */
bool vmc_machine_take_snapshot(VmcMachine *machine, const char *name, GError **error);

/* Plugs a device into a machine that runs or is paused, and adds it to its configuration: USB storage, if the
 * machine was started with any USB device. Returns its index there, or -1 with `error` set and nothing done.
 * `device` is copied. */
int vmc_machine_attach(VmcMachine *machine, const VmcDeviceConfig *device, GError **error);
/* The same for a USB stick or CD-ROM: `format` is as in VmcDiskConfig; `id` may be NULL. */
int vmc_machine_attach_usb_storage(VmcMachine *machine, const char *path, VmcDiskFormat format, bool readonly,
                                   bool cdrom, const char *id, GError **error);
/* Pulls the index-th device of the configuration out, whether the guest is ready for that or not; those
 * behind it move up. Waits until what it was doing is done and its disk is flushed. False with nothing done.
 */
bool vmc_machine_detach(VmcMachine *machine, unsigned index, GError **error);

/* Saves a paused machine to a file, from which it can be brought back later, by another process too: memory,
 * devices and CPUs, but not its disks, which have to stay as they are. The machine is VMC_MACHINE_SAVING
 * meanwhile and then paused again, whatever became of it; it may be stopped, which ends the save. An older
 * file of that name is replaced at once when the new one is whole and on the disk, and stays otherwise.
 * `callback` is called on the machine's context and calls vmc_machine_save_finish; false with `error` set: it
 * was not saved (G_IO_ERROR_CANCELLED if that is why). `cancellable` may be NULL. */
void vmc_machine_save(VmcMachine *machine, const char *path, GCancellable *cancellable,
                      GAsyncReadyCallback callback, void *data);
bool vmc_machine_save_finish(VmcMachine *machine, GAsyncResult *result, GError **error);
/* stopped/error -> paused, as it was when it was saved; the file stays. The machine has to be made of the
 * same parts, and its disks have to be as they were. VMC_MACHINE_RESTORING meanwhile; when it fails it is
 * stopped, and nothing was changed. Otherwise as vmc_machine_save. */
void vmc_machine_restore(VmcMachine *machine, const char *path, GCancellable *cancellable,
                         GAsyncReadyCallback callback, void *data);
bool vmc_machine_restore_finish(VmcMachine *machine, GAsyncResult *result, GError **error);

/* The n-th display, owned by the machine and valid while it exists, or NULL. */
VmcDisplay *vmc_machine_get_display(VmcMachine *machine, unsigned n);
/* Of a machine with a spice-agent device, owned by the machine and valid while it exists; or NULL. */
VmcAgent *vmc_machine_get_agent(VmcMachine *machine);

/* Input, any thread; dropped when the machine has no such device or is not running. `keycode` is a Linux
 * evdev code (KEY_A = 30), which is an X11 hardware keycode - 8. x, y in 0..32767 over the display. */
void vmc_machine_send_key(VmcMachine *machine, unsigned keycode, bool down);
void vmc_machine_send_pointer(VmcMachine *machine, unsigned x, unsigned y);
void vmc_machine_send_motion(VmcMachine *machine, int right,
                             int down); /* a mouse's steps, about a pixel each */
void vmc_machine_send_button(VmcMachine *machine, unsigned button, bool down);  /* evdev BTN_LEFT, ... */
void vmc_machine_send_wheel(VmcMachine *machine, int vertical, int horizontal); /* clicks, up/right > 0 */

/* Whether the guest listens to a mouse rather than a tablet: then motions reach it, and points do not. */
bool vmc_machine_is_pointer_relative(VmcMachine *machine);

/* The addresses of the guest's network cards, in words ("10.0.2.15", "fec0::5054:ff:fe12:3456"), card after
 * card and of each the one heard of last first: what it was given by DHCP and what it says of itself, so good
 * for connecting to it, not for deciding who may do what. Empty when it has none or is stopped. Any thread;
 * free with g_strfreev. */
char **vmc_machine_get_addresses(VmcMachine *machine);

/* Tells the guest the size in characters of its n-th virtio console (hvc0 is 0). Any thread; nothing happens
 * when there is no such console or the machine is stopped. */
void vmc_machine_set_console_size(VmcMachine *machine, unsigned number, unsigned columns, unsigned rows);

G_END_DECLS
