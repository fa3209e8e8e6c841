/*
 * A kind of device in a machine's configuration: what it takes, what can be wrong with it, how it is put on
 * the board. One file for each family; kinds.c lists them all.
 *
 * Threads: check on any one thread, without side effects on what it looks at; make on the owner's thread,
 * before the machine runs.
 */
#pragma once

#include "block/disk.h"
#include "fs/share.h"
#include "machine/private.h"
#include "net/watch.h"
#include "virtio/devices.h"
#include "vmcore/config.h"

/* A validation under way, at one device. */
typedef struct VmcCheck {
    const VmcConfig *config;
    guint index; /* of the device looked at */
    GPtrArray *faults;
} VmcCheck;

typedef struct VmcDeviceKindOps {
    VmcDeviceInfo info;
    /* It has a function of its own on the PCI bus. */
    bool pci;
    /* It hangs on the machine's USB controller. */
    bool usb;
    /* What firmware may boot from: the last nodes of its Open Firmware device path, before and behind
     * "@SLOT". */
    struct {
        const char *name, *rest;
    } boot_node;
    /* What stands for boot_node.rest where that is not the same for all of the kind; or NULL. The caller
     * frees it. */
    char *(*boot_rest)(VmcGuest *guest, guint index);
    /* All of the kind are in one function. */
    bool shared;
    /* Adds what is wrong with the device, also together with those before it in the list. May be NULL. */
    void (*check)(VmcCheck *check, const VmcDeviceConfig *device);
    /* Makes the device and puts it on the board. Kinds of which several share one controller make it with the
     * first and find the others in guest->config. NULL: it is not a device of the board's. */
    bool (*make)(VmcGuest *guest, guint index, GError **error);
    /* Does info.actions[action] with a device that was made; the number of arguments is right. What there is
     * to say goes to `reply`. Owner's thread. */
    bool (*act)(VmcGuest *guest, guint index, unsigned action, const char *const *arguments, GString *reply,
                GError **error);
    /* Of a network card: the guest's addresses on it, as they were overheard; at most `max` of them. Any
     * thread that keeps the guest from going away. May be NULL. */
    unsigned (*addresses)(VmcGuest *guest, guint index, VmcNetAddress *addresses, unsigned max);
    /* Takes a device off a machine that runs, which waits until what it was doing is done; its place in the
     * configuration goes afterwards. A kind that has this can also be made while the machine runs. NULL:
     * stays as long as the machine. */
    void (*detach)(VmcGuest *guest, guint index);
    /* It is a port of the one virtio-serial device of the machine: fills in what the device is to carry, on
     * the host's side ready for use (devices/serial.c). `make` is vmc_guest_make_serial then. */
    bool (*port)(VmcGuest *guest, guint index, VmcConsolePort *port, GError **error);
} VmcDeviceKindOps;

extern const VmcDeviceKindOps vmc_kind_uart, vmc_kind_console, vmc_kind_block, vmc_kind_rng,
    vmc_kind_keyboard, vmc_kind_tablet;
extern const VmcDeviceKindOps vmc_kind_usb_keyboard, vmc_kind_usb_tablet, vmc_kind_usb_mouse,
    vmc_kind_usb_storage;
extern const VmcDeviceKindOps vmc_kind_balloon, vmc_kind_vsock;
extern const VmcDeviceKindOps vmc_kind_virtio_net;
extern const VmcDeviceKindOps vmc_kind_gpu, vmc_kind_vga;
extern const VmcDeviceKindOps vmc_kind_fs, vmc_kind_9p;
extern const VmcDeviceKindOps vmc_kind_sound;
extern const VmcDeviceKindOps vmc_kind_e1000;
extern const VmcDeviceKindOps vmc_kind_smc;
extern const VmcDeviceKindOps vmc_kind_nvme;
extern const VmcDeviceKindOps vmc_kind_agent, vmc_kind_webdav;

const VmcDeviceKindOps *vmc_device_kind_ops(VmcDeviceKind kind); /* or NULL */

/* ---- for the files of kinds ---- */

#define VMC_BOOT_INDEX_MAX 999u

/* VMC_FIELD("path", "Path", PATH, block.path, .value = "FILE", .required = true) */
#define VMC_FIELD(name_, key_, type_, member, ...)                                                           \
    {                                                                                                        \
        .name = (name_), .key = (key_), .type = VMC_FIELD_##type_,                                           \
        .offset = offsetof(VmcDeviceConfig, member), ##__VA_ARGS__                                           \
    }
#define VMC_FIELDS(table)  .fields = (table), .n_fields = G_N_ELEMENTS(table)
#define VMC_ACTIONS(table) .actions = (table), .n_actions = G_N_ELEMENTS(table)

/* Adds a fault: “devices[3].path”, or “devices[3]” for a NULL name. */
void vmc_check_fault(VmcCheck *check, const char *name, const char *format, ...) G_GNUC_PRINTF(3, 4);
/* Takes the error over. */
void vmc_check_error(VmcCheck *check, const char *name, GError *error);
/* The n-th device of the configuration looked at. */
const VmcDeviceConfig *vmc_check_device(const VmcCheck *check, guint n);
/* A disk that other disks of the machine use too, where one of them writes. */
void vmc_check_shared_disk(VmcCheck *check, const VmcDeviceConfig *device);

/* Whether it is a disk: device->block says which. */
bool vmc_device_is_disk(const VmcDeviceConfig *device);
/* Opens what a disk's configuration names. */
VmcDisk *vmc_guest_open_disk(const VmcDiskConfig *config, GError **error);
/* What a guest that has to be told a serial number reads: the user's, or one that stays what it is while the
 * disk's path does. Free with g_free. */
char *vmc_guest_disk_serial(const VmcDiskConfig *config);
/* For growing or keeping the index-th device of the configuration, which was made; NULL: it is no disk of
 * which that can be done. */
VmcDiskChanges *vmc_guest_disk_changes(VmcGuest *guest, guint index);

/* Adds a fault if no socket can be made at `path`. `name`: of the setting. */
void vmc_check_socket_path(VmcCheck *check, const char *name, const char *path);
/* Makes the virtio-serial device with all ports of the configuration, when called for the first of them. */
bool vmc_guest_make_serial(VmcGuest *guest, guint index, GError **error);
/* Adds a fault if the name of the port is none, or that of another port before it in the list. `name`: of the
 * setting, or NULL. */
void vmc_check_port_name(VmcCheck *check, const char *name, const char *port_name);

VmcVirtioHost vmc_guest_virtio_host(VmcGuest *guest);
const VmcDeviceConfig *vmc_guest_config(const VmcGuest *guest, guint index);
/* Puts `device` on the bus as the index-th of the configuration; NULL (a constructor failed) is an error,
 * too. The guest owns it in every case. */
bool vmc_guest_add_pci(VmcGuest *guest, guint index, VmcPciDevice *device, GError **error);
/* Puts `pci` on the bus as the function of the index-th device, in the slot that is given for it or else in
 * one that no device asks for, and notes which that is. False: there is none. */
bool vmc_guest_place_pci(VmcGuest *guest, guint index, VmcPciDevice *pci);
/* Whether two devices of these kinds are in one function. */
bool vmc_device_same_function(VmcDeviceKind a, VmcDeviceKind b);
/* The index-th device of a running machine's configuration, or NULL if it has none of that kind there. */
VmcPciDevice *vmc_guest_pci(VmcGuest *guest, guint index, VmcDeviceKind kind);

/* What can be done with keyboards and pointers of any kind: their table of actions, and the act of it. */
extern const VmcAction vmc_keyboard_actions[2], vmc_pointer_actions[3], vmc_mouse_actions[3];
bool vmc_act_keyboard(VmcKeyboard *keyboard, unsigned action, const char *const *arguments, GString *reply,
                      GError **error);
bool vmc_act_pointer(VmcPointer *pointer, unsigned action, const char *const *arguments, GError **error);

/* The guest of a machine that is not stopped, kept from going away until it is unlocked; NULL, without the
 * lock, if it is. Any thread. */
VmcGuest *vmc_machine_lock_guest(VmcMachine *machine);
void vmc_machine_unlock_guest(VmcMachine *machine);
