/*
 * The virtio devices a machine can have, each ready to be put on a PCI bus.
 *
 * Every constructor gives a device with the modern virtio-pci transport around it (VIRTIO 1.2 s4.1); give it
 * to vmc_pci_bus_add, which owns it from then on, or free it with its ops->free. A constructor returns NULL
 * only when the host has no file descriptor left for it.
 *
 * Threads: constructors on any one thread, before the machine runs. A device's home thread is the machine's
 * I/O thread: its queues are served there. Freeing a device (vmc_pci_bus_free) is done while the I/O thread
 * still runs, on another thread or on it, once no vCPU runs any more; it waits for requests in flight. So the
 * order at the end is: stop vCPUs, free the PCI bus, free the VmcIo, free the VmcMemory.
 */
#pragma once

#include "base/host.h"
#include "base/input.h"
#include "base/io.h"
#include "base/memory.h"
#include "block/change.h"
#include "net/cable.h"
#include "display/vga.h"
#include "fs/share.h"
#include "pci/pci.h"
#include "sound/sound.h"
#include "virtio/port.h"
#include "vmcore/config.h"

/* What every virtio device needs of its machine. Copied by the constructors; both must outlive the devices.
 */
typedef struct VmcVirtioHost {
    VmcMemory *memory;
    VmcIo *io;
    const VmcHostHooks *hooks; /* whom to tell; outlives the devices; NULL: nobody */
} VmcVirtioHost;

/* A serial line of a machine: a console (hvc0 ...), or a port of a name (/dev/virtio-ports/NAME). */
typedef struct VmcConsolePort {
    VmcPort *port;
    const char *name; /* UTF-8, or NULL; copied */
    bool console;
} VmcConsolePort;

/* All serial lines in one device (s5.3), 1 to 30 of them, which it owns from now on, even if it returns NULL.
 * Consoles become the first ports of the device, the others follow, each in the order given. */
VmcPciDevice *vmc_virtio_serial_new(const VmcVirtioHost *host, const VmcConsolePort *ports, unsigned n);
/* One console on a pair of descriptors, see vmc_port_fd_new. */
VmcPciDevice *vmc_virtio_console_new(const VmcVirtioHost *host, int fd_in, int fd_out);
/* Tells the guest a new size in characters of console `number` (0, 1 ...), any thread. */
void vmc_virtio_console_set_size(VmcPciDevice *dev, unsigned number, unsigned columns, unsigned rows);

/* A disk (s5.2). */
typedef struct VmcVirtioBlockParams {
    VmcDisk *disk;      /* the device's from now on, also when it cannot be made */
    const char *id;     /* what the guest reads as the serial, at most 20 bytes of it, or NULL */
    unsigned queues;    /* 1 to VMC_VIRTIO_BLOCK_QUEUES_MAX */
    VmcDiskCache cache; /* see vmcore/config.h */
} VmcVirtioBlockParams;

#define VMC_VIRTIO_BLOCK_QUEUES_MAX 16u

VmcPciDevice *vmc_virtio_block_new(const VmcVirtioHost *host, const VmcVirtioBlockParams *params);
/* For making the disk larger, of which the driver hears (s5.2.5), or keeping it as it is, while the machine
 * runs or is paused (block/change.h). NULL: it is no such device. Any thread. */
VmcDiskChanges *vmc_virtio_block_changes(VmcPciDevice *dev);

/* A source of random numbers (s5.4). */
VmcPciDevice *vmc_virtio_rng_new(const VmcVirtioHost *host);

/* The balloon (s5.5), by which a guest of `memory` bytes gives memory back to the host. */
VmcPciDevice *vmc_virtio_balloon_new(const VmcVirtioHost *host, uint64_t memory);
/* How many bytes the guest shall make do with; all it has at first. It gets there as it can. Any thread, as
 * all of these. */
void vmc_virtio_balloon_set_target(VmcPciDevice *dev, uint64_t bytes);
uint64_t vmc_virtio_balloon_get_target(VmcPciDevice *dev);
/* How many bytes it has now, as its driver says. */
uint64_t vmc_virtio_balloon_get_actual(VmcPciDevice *dev);
/* How many bytes went back to the host since the device was made, those counted twice that did so twice. */
uint64_t vmc_virtio_balloon_get_discarded(VmcPciDevice *dev);

/* What a guest says of its memory (s5.5.6.4): bytes, or a number of faults or pages. */
typedef enum VmcBalloonStat {
    VMC_BALLOON_SWAP_IN,
    VMC_BALLOON_SWAP_OUT,
    VMC_BALLOON_MAJOR_FAULTS,
    VMC_BALLOON_MINOR_FAULTS,
    VMC_BALLOON_FREE,
    VMC_BALLOON_TOTAL,
    VMC_BALLOON_AVAILABLE,
    VMC_BALLOON_CACHES,
    VMC_BALLOON_HUGE_PAGES_MADE,
    VMC_BALLOON_HUGE_PAGES_FAILED,
    VMC_BALLOON_STATS
} VmcBalloonStat;

typedef struct VmcBalloonStatistics {
    uint64_t updated_ns; /* when it said so (vmc_now_ns); 0: never since its driver started */
    uint32_t known;      /* bit VmcBalloonStat: the value is there */
    uint64_t values[VMC_BALLOON_STATS];
} VmcBalloonStatistics;

/* Asks the guest for its statistics now, and then every so many seconds; 0: only now. The answer takes its
 * time. */
void vmc_virtio_balloon_poll(VmcPciDevice *dev, unsigned seconds);
/* The last ones. */
void vmc_virtio_balloon_get_statistics(VmcPciDevice *dev, VmcBalloonStatistics *statistics);

/* A port of AF_VSOCK, and the Unix socket that leads to it or that it leads to. */
typedef struct VmcVsockPort {
    uint32_t port;
    const char *path; /* copied */
    bool connect; /* the guest listens at its port: we make the socket; else the guest connects to that port
                   * of CID 2, and we to the socket for each connection */
} VmcVsockPort;

/* Sockets between the guest and the host (s5.10). `cid`: the guest's address, 0 for 3. NULL with `error` if a
 * socket cannot be made, without if there is no file descriptor left. */
VmcPciDevice *vmc_virtio_vsock_new(const VmcVirtioHost *host, uint64_t cid, const VmcVsockPort *ports,
                                   unsigned n, GError **error);
/* Ends all connections and tells the guest (s5.10.6.7), as after its state was saved and restored. Any thread
 * but a vCPU's. */
void vmc_virtio_vsock_reset_transport(VmcPciDevice *dev);

/* A sound card (s5.14), with playback, recording, or both. Owns `backend` from now on. */
VmcPciDevice *vmc_virtio_sound_new(const VmcVirtioHost *host, VmcSound *backend, bool output, bool input);

/* Input devices (s5.8): a keyboard with LEDs; an absolute tablet, x and y in 0..32767, with buttons and
 * wheels. */
VmcPciDevice *vmc_virtio_keyboard_new(const VmcVirtioHost *host);
VmcPciDevice *vmc_virtio_tablet_new(const VmcVirtioHost *host);

/* Adds an event (type, code, value: Linux evdev's) to the report that is being made up, any thread; the guest
 * gets it with the next vmc_virtio_input_sync, whole or, if it has no room for all of it, not at all. Events
 * a device does not announce are ignored. Calls for one device that belong to one report are made by one
 * thread at a time. */
void vmc_virtio_input_event(VmcPciDevice *dev, unsigned type, unsigned code, int value);
/* Ends the report (EV_SYN) and sends it, any thread. */
void vmc_virtio_input_sync(VmcPciDevice *dev);
/* The lights the guest has switched on, bit LED_NUML, LED_CAPSL, LED_SCROLLL; any thread. */
uint32_t vmc_virtio_input_leds(VmcPciDevice *dev);
/* The same as front ends see them, whatever kind they are of; good as long as the device. */
VmcKeyboard *vmc_virtio_keyboard_input(VmcPciDevice *dev);
VmcPointer *vmc_virtio_tablet_input(VmcPciDevice *dev);

/* A network card (s5.1). */
typedef struct VmcVirtioNetParams {
    uint8_t mac[VMC_MAC_BYTES]; /* unicast; all zero: a random one, locally administered */
    uint16_t mtu;               /* told to the guest, at least 68; 0: the cable's, if it knows one */
    unsigned pairs;             /* of queues, 1 to 8; 0 is 1 */
} VmcVirtioNetParams;

/* Owns `cable` from now on, and plugs itself into it. */
VmcPciDevice *vmc_virtio_net_new(const VmcVirtioHost *host, VmcCable *cable,
                                 const VmcVirtioNetParams *params);
/* Pulls the cable out of the card, or puts it back; at first it is in. Any thread. */
void vmc_virtio_net_set_link(VmcPciDevice *dev, bool up);
/* Whether frames pass: the cable is in, and there is a link at its other end. Any thread. */
bool vmc_virtio_net_link(VmcPciDevice *dev);
/* The card's own address. Any thread. */
void vmc_virtio_net_get_mac(VmcPciDevice *dev, uint8_t mac[VMC_MAC_BYTES]);
/* The guest's addresses on this card as seen on its cable (net/watch.h), the one heard of last first; returns
 * how many, at most `max`. Any thread. */
unsigned vmc_virtio_net_get_addresses(VmcPciDevice *dev, VmcNetAddress *addresses, unsigned max);
/* As vmc_cable_counters. Any thread. */
void vmc_virtio_net_counters(VmcPciDevice *dev, VmcCableCounters *sent, VmcCableCounters *received);
#define VMC_GPU_SCANOUTS 4u

typedef struct VmcGpuParams {
    VmcVga *vga; /* what it is to firmware, on the first display; taken over */
    VmcDisplay *displays[VMC_GPU_SCANOUTS];
    unsigned n_displays;    /* 1 to VMC_GPU_SCANOUTS */
    unsigned width, height; /* that the monitors prefer at first, pixels */
} VmcGpuParams;

/* The primary adapter with virtio-gpu (s5.7). The displays must outlive it. */
VmcPciDevice *vmc_virtio_gpu_new(const VmcVirtioHost *host, const VmcGpuParams *params);

/* A shared folder (s5.11). Owns `share` from now on. `tag`: what the guest mounts, at most
 * VMC_VIRTIO_FS_TAG_MAX bytes of it; `queues`: for requests, 1 to VMC_VIRTIO_FS_QUEUES_MAX. */
#define VMC_VIRTIO_FS_TAG_MAX    36u
#define VMC_VIRTIO_FS_QUEUES_MAX 16u
VmcPciDevice *vmc_virtio_fs_new(const VmcVirtioHost *host, VmcShare *share, const char *tag,
                                VmcShareCache cache, unsigned queues);
/* The same by 9P (device type 9), for guests that know only that. `owner`: of what the guest makes. */
VmcPciDevice *vmc_virtio_p9_new(const VmcVirtioHost *host, VmcShare *share, const char *tag,
                                VmcShareCaller owner);
