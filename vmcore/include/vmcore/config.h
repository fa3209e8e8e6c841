/*
 * What a machine shall be: plain data, to be filled in, validated and given to vmc_machine_new.
 *
 * Strings in a config are owned by it (g_strdup'ed). A config may be freed as soon as the machine exists.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

G_BEGIN_DECLS

typedef enum VmcCpuKind { VMC_CPU_AUTO, VMC_CPU_KVM, VMC_CPU_SOFT } VmcCpuKind;

typedef enum VmcBootKind { VMC_BOOT_NONE, VMC_BOOT_LINUX } VmcBootKind;

typedef struct VmcBootConfig {
    VmcBootKind kind;
    char *kernel;  /* bzImage */
    char *initrd;  /* or NULL */
    char *cmdline; /* or NULL */
} VmcBootConfig;

typedef enum VmcDeviceKind {
    VMC_DEVICE_UART,           /* 16550 at COM1.. in the order of the list */
    VMC_DEVICE_VIRTIO_CONSOLE, /* hvc0.. */
    VMC_DEVICE_VIRTIO_BLOCK,
    VMC_DEVICE_VIRTIO_RNG,
    VMC_DEVICE_VIRTIO_KEYBOARD,
    VMC_DEVICE_VIRTIO_TABLET, /* absolute pointer */
    VMC_DEVICE_FRAMEBUFFER,   /* linear, XRGB8888, handed to the kernel as an EFI framebuffer */
} VmcDeviceKind;

/* Where the bytes of a serial line go. Exactly one of the two is set: a file that is created or appended to
 * (output only), or a pair of descriptors, which stay the caller's and must outlive the machine. */
typedef struct VmcSerialConfig {
    char *log_path;
    int fd_in;  /* -1: no input */
    int fd_out; /* -1: none */
} VmcSerialConfig;

typedef struct VmcDeviceConfig {
    VmcDeviceKind kind;
    union {
        VmcSerialConfig serial; /* UART, VIRTIO_CONSOLE */
        struct {
            char *path; /* raw image or block device */
            char *id;   /* virtio-blk device id, at most 20 bytes, or NULL */
            bool readonly;
        } block;
        struct {
            unsigned width, height; /* pixels */
        } framebuffer;
    };
} VmcDeviceConfig;

typedef struct VmcConfig {
    unsigned cpus;   /* 1..VMC_CPUS_MAX */
    uint64_t memory; /* bytes, a multiple of 1 MiB, at least VMC_MEMORY_MIN */
    VmcCpuKind cpu;
    VmcBootConfig boot;
    GPtrArray *devices; /* of VmcDeviceConfig, owned */
} VmcConfig;

#define VMC_CPUS_MAX        64u
#define VMC_MEMORY_MIN      (16ull << 20)
#define VMC_PCI_DEVICES_MAX 27u

/* One CPU, 512 MiB, CPU chosen automatically, nothing attached. */
VmcConfig *vmc_config_new(void);
VmcConfig *vmc_config_copy(const VmcConfig *config);
void vmc_config_free(VmcConfig *config);

/* Appends a device and returns it to be filled in; serial descriptors start as -1. The config owns it. */
VmcDeviceConfig *vmc_config_add_device(VmcConfig *config, VmcDeviceKind kind);

/* One thing that is wrong: the field as a user would name it ("memory", "devices[2].path"), what is wrong
 * with it and what would be right, in one sentence. */
typedef struct VmcFault {
    char *field;
    char *message;
} VmcFault;

/* Everything that is wrong with a config, in the order of its fields; an empty array when nothing is. Looks
 * at the files it names (opens and closes them, creates nothing). Free with g_ptr_array_unref. */
GPtrArray *vmc_config_validate(const VmcConfig *config);

const char *vmc_device_kind_name(VmcDeviceKind kind); /* "virtio-blk", ... as in the vfkit grammar */

G_END_DECLS
