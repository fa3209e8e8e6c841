/*
 * What a machine shall be: plain data, to be filled in, validated and given to vmc_machine_new.
 *
 * Strings in a config are owned by it (g_strdup'ed). A config may be freed as soon as the machine exists.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include <vmcore/cpu.h>

G_BEGIN_DECLS

typedef enum VmcCpuKind { VMC_CPU_AUTO, VMC_CPU_KVM, VMC_CPU_SOFT } VmcCpuKind;

/* How the software CPU works, if that is what a machine gets. */
typedef struct VmcSoftCpuConfig {
    VmcCpuEngine engine;
    bool lockstep; /* of the translator: every block is also interpreted and compared; slow, for tests */
    unsigned code_cache; /* of the translator: host code kept at most, MiB; 0: VMC_CODE_CACHE_DEFAULT */
} VmcSoftCpuConfig;

typedef enum VmcBootKind { VMC_BOOT_NONE, VMC_BOOT_LINUX, VMC_BOOT_EFI } VmcBootKind;

typedef struct VmcBootConfig {
    VmcBootKind kind;
    char *kernel;  /* bzImage; EFI: for the firmware to start, or NULL */
    char *initrd;  /* or NULL */
    char *cmdline; /* or NULL */
    /* Of EFI. */
    char *firmware;             /* its code; NULL: that of the host's package */
    char *variable_store;       /* this machine's own; written to */
    bool create_variable_store; /* if it is not there yet */
} VmcBootConfig;

typedef enum VmcDeviceKind {
    VMC_DEVICE_UART,           /* 16550 at COM1.. in the order of the list */
    VMC_DEVICE_VIRTIO_CONSOLE, /* hvc0.., or a named port */
    VMC_DEVICE_VIRTIO_BLOCK,
    VMC_DEVICE_NVME, /* a disk for guests without virtio */
    VMC_DEVICE_VIRTIO_RNG,
    VMC_DEVICE_VIRTIO_KEYBOARD,
    VMC_DEVICE_VIRTIO_TABLET, /* absolute pointer */
    VMC_DEVICE_VIRTIO_GPU,    /* the primary adapter: VGA-compatible for firmware, virtio-gpu for a driver */
    VMC_DEVICE_VGA,           /* the primary adapter: a linear framebuffer as of 1234:1111 */
    VMC_DEVICE_VIRTIO_NET,
    VMC_DEVICE_E1000, /* 82545EM */
    VMC_DEVICE_VIRTIO_FS,
    VMC_DEVICE_VIRTIO_9P,
    VMC_DEVICE_VIRTIO_VSOCK,
    VMC_DEVICE_VIRTIO_BALLOON,
    VMC_DEVICE_VIRTIO_SOUND,
    VMC_DEVICE_USB_KEYBOARD,
    VMC_DEVICE_USB_TABLET,
    VMC_DEVICE_USB_MOUSE, /* relative pointer */
    VMC_DEVICE_USB_STORAGE,
    VMC_DEVICE_SPICE_AGENT,  /* clipboard and more, on the port com.redhat.spice.0 */
    VMC_DEVICE_SPICE_WEBDAV, /* a folder, on the port org.spice-space.webdav.0 */
    VMC_DEVICE_APPLE_SMC,    /* the system management controller that macOS asks for */
    VMC_DEVICE_KINDS
} VmcDeviceKind;

/* Where the bytes of a serial line go. Exactly one of the three is set: a file that is created or appended to
 * (output only), a Unix socket that we make and listen on, or a pair of descriptors, which stay the caller's
 * and must outlive the machine. */
typedef struct VmcSerialConfig {
    char *log_path;
    char *socket_path;
    int fd_in;  /* -1: no input */
    int fd_out; /* -1: none */
    char *name; /* of a port that is no console, or NULL */
} VmcSerialConfig;

typedef enum VmcDiskFormat { VMC_DISK_RAW, VMC_DISK_QCOW2 } VmcDiskFormat;

typedef enum VmcDiskCache {
    VMC_CACHE_WRITE_BACK,    /* the guest flushes what it wants to keep */
    VMC_CACHE_WRITE_THROUGH, /* every write lasts before the guest hears of it */
    VMC_CACHE_UNSAFE,        /* flushes are ignored: for disks that may be lost */
} VmcDiskCache;

typedef struct VmcDiskConfig {
    char *path; /* image or block device */
    VmcDiskFormat format;
    char *id; /* what the guest reads as the serial, at most 20 bytes, or NULL */
    bool readonly;
    bool backing; /* an image may name another one below it, which is then opened read-only */
    VmcDiskCache cache;
    unsigned queues;     /* 0: as many as fit the CPUs */
    bool cdrom;          /* USB: a CD-ROM drive instead of a stick */
    unsigned boot_index; /* UEFI: 1 is tried first, then 2...; 0: where the firmware has it */
} VmcDiskConfig;

/* One of nat, tap, bridge, host_only, unix_socket and fd says what the cable is plugged into. */
typedef struct VmcNetConfig {
    bool nat;
    char *tap;         /* a tap interface of the user's */
    char *bridge;      /* a bridge, through qemu-bridge-helper */
    char *host_only;   /* name of a network of this user's machines */
    char *unix_socket; /* of type datagram; each datagram is a frame */
    int fd;            /* the same, or a tap; stays the caller's and must outlive the machine; -1: none */
    char *mac;         /* "52:54:00:12:34:56", or NULL: made up */
    unsigned mtu;      /* 0: not said */
    unsigned queues;   /* pairs */
    char *
        *forwards; /* of nat: "tcp:[ADDRESS:]PORT-[ADDRESS:]PORT", host to guest; NULL-terminated, or NULL */
    char *tftp;    /* of nat: a folder that the guest may read by TFTP, or NULL */
    char *boot_file; /* of nat: the file there that DHCP tells the guest to boot from the network, or NULL */
    unsigned boot_index; /* as of disks */
} VmcNetConfig;

typedef enum VmcShareCache {
    VMC_SHARE_CACHE_AUTO,
    VMC_SHARE_CACHE_NONE,
    VMC_SHARE_CACHE_ALWAYS
} VmcShareCache;

typedef struct VmcShareConfig {
    char *path; /* a folder */
    char *tag;  /* what the guest mounts, at most 36 bytes */
    bool readonly;
    unsigned uid, gid; /* the guest's user that everything belongs to */
    VmcShareCache cache;
    unsigned queues; /* 0: as many as fit the CPUs */
} VmcShareConfig;

/* A port of AF_VSOCK and a Unix socket, in vfkit's words, which say what the host does at the port. */
typedef struct VmcVsockConfig {
    unsigned port;
    char *path;
    bool listen;  /* the guest connects to the port: we pass it on to the socket, which somebody else listens
                   * on; so also if neither is given */
    bool connect; /* the guest listens at the port: we make the socket, and who connects to it reaches it */
} VmcVsockConfig;

typedef enum VmcSoundBackend { VMC_SOUND_PULSE, VMC_SOUND_SILENT, VMC_SOUND_FILE } VmcSoundBackend;

typedef struct VmcSoundConfig {
    VmcSoundBackend backend;
    char *play_path;    /* FILE: what is played goes there as WAV; or NULL */
    char *record_path;  /* FILE: a WAV file that is recorded; or NULL */
    bool input, output; /* neither: both */
} VmcSoundConfig;

typedef struct VmcDisplayConfig {
    unsigned width, height; /* pixels */
    unsigned displays;      /* 1..4 */
} VmcDisplayConfig;

typedef enum VmcKeyboardLayout { VMC_KEYBOARD_ANSI, VMC_KEYBOARD_ISO, VMC_KEYBOARD_JIS } VmcKeyboardLayout;

typedef struct VmcKeyboardConfig {
    VmcKeyboardLayout layout;
    bool swap; /* the key above Tab and the one right of left Shift change places */
} VmcKeyboardConfig;

typedef enum VmcClipboard {
    VMC_CLIPBOARD_BOTH,
    VMC_CLIPBOARD_TO_GUEST,
    VMC_CLIPBOARD_TO_HOST,
    VMC_CLIPBOARD_OFF
} VmcClipboard;

typedef struct VmcAgentConfig {
    VmcClipboard clipboard;
} VmcAgentConfig;

typedef struct VmcSmcConfig {
    char
        *key_file; /* with the 64 characters of its key; NULL: this computer's SMC is asked, if it is a Mac */
} VmcSmcConfig;

typedef struct VmcDeviceConfig {
    VmcDeviceKind kind;
    unsigned pci_slot; /* of its function on bus 0, 1 to VMC_PCI_SLOT_MAX; 0: any that is free. A machine that
                          runs says here which it is */
    union {
        VmcSerialConfig serial;     /* UART, VIRTIO_CONSOLE */
        VmcDiskConfig block;        /* VIRTIO_BLOCK, NVME, USB_STORAGE */
        VmcNetConfig net;           /* VIRTIO_NET, E1000 */
        VmcShareConfig share;       /* VIRTIO_FS, VIRTIO_9P, SPICE_WEBDAV */
        VmcVsockConfig vsock;       /* VIRTIO_VSOCK */
        VmcSoundConfig sound;       /* VIRTIO_SOUND */
        VmcDisplayConfig display;   /* VIRTIO_GPU, VGA */
        VmcKeyboardConfig keyboard; /* USB_KEYBOARD */
        VmcAgentConfig agent;       /* SPICE_AGENT */
        VmcSmcConfig smc;           /* APPLE_SMC */
    };
} VmcDeviceConfig;

typedef struct VmcConfig {
    unsigned cpus;   /* 1..VMC_CPUS_MAX */
    uint64_t memory; /* bytes, a multiple of 1 MiB, at least VMC_MEMORY_MIN */
    VmcCpuKind cpu;
    VmcCpuModel cpu_model;
    VmcSoftCpuConfig soft;
    VmcBootConfig boot;
    GPtrArray *devices; /* of VmcDeviceConfig, owned */
} VmcConfig;

#define VMC_CPUS_MAX        64u
#define VMC_MEMORY_MIN      (16ull << 20)
#define VMC_MEMORY_MAX      (1ull << 40) /* and no more than the host has */
#define VMC_PCI_DEVICES_MAX 27u
#define VMC_PCI_SLOT_MAX    30u
#define VMC_PORTS_MAX       30u /* of virtio-serial */
#define VMC_USB_DEVICES_MAX 32u

/* One CPU, 512 MiB, CPU chosen automatically, nothing attached. */
VmcConfig *vmc_config_new(void);
VmcConfig *vmc_config_copy(const VmcConfig *config);
void vmc_config_free(VmcConfig *config);

/* Appends a device and returns it to be filled in; descriptors start as -1, numbers and choices as their
 * fields say. The config owns it. */
VmcDeviceConfig *vmc_config_add_device(VmcConfig *config, VmcDeviceKind kind);

/* Appends a copy of a device and returns it. */
VmcDeviceConfig *vmc_config_add_copy(VmcConfig *config, const VmcDeviceConfig *device);

/* One thing that is wrong: the field as a user would name it ("memory", "devices[2].path"), what is wrong
 * with it and what would be right, in one sentence. */
typedef struct VmcFault {
    char *field;
    char *message;
} VmcFault;

/* Everything that is wrong with a config, in the order of its fields; an empty array when nothing is. Looks
 * at the files it names (opens and closes them, creates nothing). Free with g_ptr_array_unref. */
GPtrArray *vmc_config_validate(const VmcConfig *config);

/* ---- what the devices take ---- */

typedef enum VmcFieldType {
    VMC_FIELD_STRING, /* char *, owned */
    VMC_FIELD_PATH,   /* char *, owned; a bundle keeps it relative to itself */
    VMC_FIELD_FLAG,   /* bool */
    VMC_FIELD_NUMBER, /* unsigned */
    VMC_FIELD_SIZE,   /* uint64_t, bytes; a whole number of MiB */
    VMC_FIELD_CHOICE, /* an enum of int's size */
    VMC_FIELD_LIST,   /* char **, owned, NULL-terminated or NULL; given once for each string */
    VMC_FIELD_FD,     /* int, -1: none; never kept in a bundle */
    VMC_FIELD_STDIO,  /* VmcSerialConfig: standard input and output; never kept in a bundle */
} VmcFieldType;

/* One setting of a kind of device, or of a machine. The command line, bundles, the listing of devices,
 * bounds, copying and freeing all come from this. */
typedef struct VmcField {
    const char *name; /* on the command line, as in vfkit's grammar: "path" */
    const char *key;  /* in a bundle: "Path"; NULL: is not kept there */
    VmcFieldType type;
    size_t offset;              /* in VmcDeviceConfig, or in VmcConfig */
    const char *const *choices; /* CHOICE: the words, in the order of the enum; NULL-terminated */
    const char *value;          /* what stands for the value in help texts: "FILE" */
    unsigned preset;            /* NUMBER and CHOICE: the value if none is given */
    uint64_t min, max;  /* NUMBER and SIZE: what it may be; STRING: bytes it may have. max 0: no bounds */
    bool automatic;     /* NUMBER: it may also be 0, which leaves it to the program */
    const char *prefix; /* PATH: may stand before it on the command line and means nothing, or NULL */
    bool required;
    unsigned one_of; /* not 0: of all fields with the same number exactly one is given */
} VmcField;

/* Something that can be done with a device while the machine runs (vmc_machine_act). */
typedef struct VmcAction {
    const char *name;      /* "link" */
    const char *arguments; /* for help texts: "up|down" */
    unsigned min, max;     /* number of arguments */
    const char *help;
} VmcAction;

typedef struct VmcDeviceInfo {
    const char *name; /* "virtio-blk", as in vfkit's grammar; "virtio-input,keyboard" where a word follows */
    const char *key;  /* in a bundle: "VirtioBlock" */
    const char *help; /* a few words: "disk" */
    const VmcField *fields;
    unsigned n_fields;
    const VmcAction *actions;
    unsigned n_actions;
} VmcDeviceInfo;

/* The members of a VmcConfig that are no devices, named as faults name them: "memory", "boot.kernel". */
const VmcField *vmc_config_fields(unsigned *n);

/* pci_slot as a setting ("pciSlot", "PCISlot"), which is not in the tables because all kinds have it that are
 * on the PCI bus: by themselves, or with others in one function, which all say the same then. */
extern const VmcField vmc_pci_slot_field;
bool vmc_device_has_pci_slot(VmcDeviceKind kind);
/* Puts the slots that `running` has, the configuration of a machine that runs, into `config`, from which it
 * was made. True: there were new ones, which are worth keeping. */
bool vmc_config_take_pci_slots(VmcConfig *config, const VmcConfig *running);

/* NULL when this version has no such device. */
const VmcDeviceInfo *vmc_device_info(VmcDeviceKind kind);
const char *vmc_device_kind_name(VmcDeviceKind kind); /* info->name, or "unknown" */

/* Where a field lies in a device's configuration. */
static inline void *vmc_field_in(const VmcField *field, VmcDeviceConfig *device)
{
    return (char *)device + field->offset;
}

static inline const void *vmc_field_of(const VmcField *field, const VmcDeviceConfig *device)
{
    return (const char *)device + field->offset;
}

/* Whether a field has another value than that it starts with. */
bool vmc_field_is_set(const VmcField *field, const VmcDeviceConfig *device);

G_END_DECLS
