/*
 * What a cable is: the way from a NIC to a network. A NIC (virtio-net, e1000) has one cable and knows nothing
 * of what is at its other end; an attachment (NAT, tap, host-only ...) makes a cable and knows nothing of the
 * NIC in it.
 *
 * Frames are Ethernet without FCS, VMC_FRAME_MIN to VMC_FRAME_MAX bytes. With each goes a VmcFrameInfo: what
 * has still to be done to it (a checksum to be filled in, a large TCP segment to be cut up). Either side says
 * which of that it takes from the other, as VMC_OFFLOAD_... bits; the cable does the rest in software, so any
 * NIC works on any attachment. A NIC that knows of none of this passes NULL for the info and gets only
 * finished frames, which is how a cable begins.
 *
 * Flow, in both directions: whoever refuses a frame (false) has not taken it, and gets no more until it says
 * that it has room again.
 *
 *   NIC -> network   vmc_cable_send is false: the NIC keeps the frame, until nic->ops->room.
 *   network -> NIC   nic->ops->receive is false: the attachment keeps the frame or drops it, and gives
 * nothing until vmc_cable_resume. A cable begins in this state: a NIC calls vmc_cable_resume when its driver
 * is ready, and vmc_cable_stop when it is reset.
 *
 * Threads: the home thread is the machine's I/O thread (base/io.h). All functions below, all ops of the
 * attachment and all ops of the NIC run there, but where "any thread" is said. None of them waits.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/io.h"
#include "net/watch.h"

#define VMC_FRAME_MIN 14u               /* an Ethernet header; short frames are not padded */
#define VMC_FRAME_MAX (14 + 4 + 65535u) /* with a VLAN tag and the longest IP packet */
#define VMC_MAC_BYTES 6u

/* What one side takes from the other unfinished. */
#define VMC_OFFLOAD_CSUM (1u << 0) /* the checksum of TCP or UDP (VMC_FRAME_NEEDS_CSUM) */
#define VMC_OFFLOAD_TSO4 (1u << 1) /* TCP over IPv4 of more than the MTU */
#define VMC_OFFLOAD_TSO6 (1u << 2)
#define VMC_OFFLOAD_ECN  (1u << 3) /* the same with CWR set, which only the first segment may have */
#define VMC_OFFLOAD_USO4 (1u << 4) /* several UDP datagrams of a size over IPv4 in one */
#define VMC_OFFLOAD_USO6 (1u << 5)
#define VMC_OFFLOAD_ALL  0x3fu

#define VMC_FRAME_NEEDS_CSUM (1u << 0) /* csum_start and csum_offset are good */
#define VMC_FRAME_DATA_VALID (1u << 1) /* to a NIC: the transport's checksum has been found right */

#define VMC_GSO_NONE  0u
#define VMC_GSO_TCPV4 1u
#define VMC_GSO_TCPV6 4u
#define VMC_GSO_UDP   5u    /* USO; UFO there is not */
#define VMC_GSO_ECN   0x80u /* with one of the TCP ones */

/* As struct virtio_net_hdr (VIRTIO 1.2 s5.1.6), in the host's byte order. Who gets one has to check it
 * against the frame: it may come from a guest. With a GSO type, NEEDS_CSUM is set as well. */
typedef struct VmcFrameInfo {
    uint8_t flags;        /* VMC_FRAME_... */
    uint8_t gso_type;     /* VMC_GSO_... */
    uint16_t hdr_len;     /* a hint, not to be relied on: bytes of all headers */
    uint16_t gso_size;    /* payload bytes of each segment */
    uint16_t csum_start;  /* where the sum begins (the TCP or UDP header) */
    uint16_t csum_offset; /* from there, where it is to be stored; that place holds the pseudo header's sum */
} VmcFrameInfo;

typedef struct VmcCable VmcCable;

/* What a NIC is to its cable. */
typedef struct VmcNicOps {
    /* A frame from the network; the vectors are good during the call. `info` is never NULL and asks for
     * nothing but what vmc_cable_set_offloads allowed. False: no room, not taken. A frame that is not for
     * this NIC, or too long for it, is taken and dropped. */
    bool (*receive)(void *nic, const struct iovec *iov, unsigned n_iov, const VmcFrameInfo *info);
    /* No more frames for now: a good time to interrupt the driver. After every run of receive. May be NULL.
     */
    void (*receive_done)(void *nic);
    /* After a refused vmc_cable_send: there is room again. */
    void (*room)(void *nic);
    /* vmc_cable_link has changed. May be NULL. */
    void (*link_changed)(void *nic);
} VmcNicOps;

/* What an attachment is to its cable. */
typedef struct VmcCableOps {
    const char *name;
    /* A frame to the network; its length and `info` have been checked, and `info` asks for nothing but
     * cable->takes. False: no room, not taken; vmc_cable_room is called when there is. */
    bool (*send)(VmcCable *cable, const struct iovec *iov, unsigned n_iov, const VmcFrameInfo *info);
    void (*send_done)(VmcCable *cable); /* after a run of send; may be NULL */
    void (*resume)(VmcCable *cable);    /* the NIC takes frames (again) */
    void (*stop)(VmcCable *cable); /* the NIC takes none until resume; may be NULL: its refusals will do */
    /* What the NIC takes unfinished from now on; may be NULL: vmc_cable_deliver finishes what it does not. */
    void (*set_offloads)(VmcCable *cable, uint32_t offloads);
    void (*free)(VmcCable *cable); /* frees the cable itself (g_free), after vmc_cable_clear */
} VmcCableOps;

typedef struct VmcCableCounters {
    uint64_t frames, bytes;
} VmcCableCounters;

/* An attachment embeds this as its first member. */
struct VmcCable {
    const VmcCableOps *ops;
    VmcIo *io;
    uint32_t takes; /* VMC_OFFLOAD_...: what send is given unfinished; constant */
    uint32_t gives; /* VMC_OFFLOAD_...: what the NIC may get unfinished if it wants; constant */
    uint16_t mtu;   /* the longest IP packet that gets through, or 0: not known; constant */

    /* The rest is cable.c's. */
    const VmcNicOps *nic_ops;
    void *nic;
    uint32_t nic_takes;
    atomic_bool link;
    _Atomic uint64_t sent_frames, sent_bytes, received_frames, received_bytes;
    struct VmcCableInner *inner;
};

/* ---- for NICs ---- */

/* Plugs the NIC in. Before the machine runs; any thread. */
void vmc_cable_plug(VmcCable *cable, const VmcNicOps *ops, void *nic);
/* Unplugs and frees. NULL is fine. Any thread but a vCPU's, while the I/O thread runs. After it returns, no
 * op of the NIC is called. */
void vmc_cable_free(VmcCable *cable);

/* Sends a frame. The vectors are used during the call only. A frame that is too short or too long, or whose
 * `info` (NULL: nothing to be done) does not fit it, is dropped, which is true. */
bool vmc_cable_send(VmcCable *cable, const struct iovec *iov, unsigned n_iov, const VmcFrameInfo *info);
/* After a run of vmc_cable_send. */
void vmc_cable_send_done(VmcCable *cable);
/* The NIC has room (again), or its driver is ready. May lead to nic->ops->receive during the call. */
void vmc_cable_resume(VmcCable *cable);
/* The NIC is reset: no frame until vmc_cable_resume; one that waited to be sent is dropped. */
void vmc_cable_stop(VmcCable *cable);
/* What the NIC takes unfinished (VMC_OFFLOAD_..., of cable->gives), from now until the next call; at first
 * nothing. */
void vmc_cable_set_offloads(VmcCable *cable, uint32_t offloads);
/* Whether there is a link at the other end. Any thread. */
bool vmc_cable_link(VmcCable *cable);

/* Frames given to the attachment and by it since the start; a frame that is cut up counts for each piece on
 * the side where it is in pieces. Any thread. */
void vmc_cable_counters(VmcCable *cable, VmcCableCounters *sent, VmcCableCounters *received);

/* The guest's addresses as seen passing by (watch.h), those of `mac` or, with NULL, all. Any thread. */
unsigned vmc_cable_addresses(VmcCable *cable, const uint8_t *mac, VmcNetAddress *addresses, unsigned max);

/* ---- for attachments ---- */

/* Sets up the base; the memory was zeroed. The link is up at first. */
void vmc_cable_init(VmcCable *cable, const VmcCableOps *ops, VmcIo *io);
/* Frees what the base owns. */
void vmc_cable_clear(VmcCable *cable);
/* A frame for the NIC, which may come with anything of VMC_OFFLOAD_ALL to be done: what the NIC does not take
 * is done here. False: not taken. A malformed one is dropped, which is true. */
bool vmc_cable_deliver(VmcCable *cable, const struct iovec *iov, unsigned n_iov, const VmcFrameInfo *info);
/* After a run of vmc_cable_deliver. */
void vmc_cable_deliver_done(VmcCable *cable);
/* There is room for vmc_cable_send again. */
void vmc_cable_room(VmcCable *cable);
void vmc_cable_set_link(VmcCable *cable, bool up);
