/*
 * The inside of virtio-vsock (VIRTIO 1.2 s5.10): what its two files share.
 *
 *   vsock.c              the device: its queues, packets to and from connections, sockets of ours
 *   vsock_connection.c   one connection between a port of the guest and a Unix socket
 *
 * Threads: all of it on the I/O thread.
 */
#pragma once

#include "base/unix_socket.h"
#include "virtio/device.h"
#include "virtio/devices.h"

#define VMC_VSOCK_CONNECTIONS_MAX 512u
#define VMC_VSOCK_BUFFER          (128 * 1024u) /* what the guest may send ahead of the socket, for each */
#define VMC_VSOCK_PACKET_MAX      (64 * 1024u)
#define VMC_VSOCK_REPLIES_MAX     64u

#define VMC_VSOCK_CID_HOST 2u

enum {
    VMC_VSOCK_OP_REQUEST = 1,
    VMC_VSOCK_OP_RESPONSE,
    VMC_VSOCK_OP_RST,
    VMC_VSOCK_OP_SHUTDOWN,
    VMC_VSOCK_OP_RW,
    VMC_VSOCK_OP_CREDIT_UPDATE,
    VMC_VSOCK_OP_CREDIT_REQUEST,
};

#define VMC_VSOCK_TYPE_STREAM 1u

/* s5.10.6.6: whoever says it will not receive any more, or not send. */
#define VMC_VSOCK_SHUT_RCV  1u
#define VMC_VSOCK_SHUT_SEND 2u
#define VMC_VSOCK_SHUT_BOTH 3u

/* s5.10.6; in host byte order, as vsock.c makes it on the way in and out. */
typedef struct __attribute__((packed)) VmcVsockHeader {
    uint64_t src_cid, dst_cid;
    uint32_t src_port, dst_port, len;
    uint16_t type, op;
    uint32_t flags, buf_alloc, fwd_cnt;
} VmcVsockHeader;

_Static_assert(sizeof(VmcVsockHeader) == 44, "as in s5.10.6");

typedef struct VmcVsock VmcVsock;
typedef struct VmcVsockConnection VmcVsockConnection;

/* A port and what is behind it. */
typedef struct VmcVsockEntry {
    VmcVsock *vsock;
    VmcVsockPort config;       /* path is ours */
    VmcUnixListener *listener; /* of one that connects to the guest */
    GSource *watch;
} VmcVsockEntry;

struct VmcVsock {
    VmcVirtioDevice dev; /* first */
    uint64_t cid;        /* the guest's */
    VmcVsockEntry *entries;
    unsigned n_entries;

    GHashTable *by_ports; /* VmcVsockConnection.key -> connection */
    GQueue all;           /* of connections: those, and those that are only being written out */
    GQueue starved; /* of those that wait for room in the guest's receive queue, first come first served */
    uint32_t next_port; /* for connections of ours */
    bool sweeping;
    VmcTimer *sweep; /* for those the guest does not answer, and listeners without descriptors */

    VmcVirtqElement tx, rx, event;
    VmcVsockHeader replies[VMC_VSOCK_REPLIES_MAX]; /* to packets that belong to no connection */
    unsigned n_replies;
    bool tx_stopped;    /* until there is room for replies */
    bool event_pending; /* the transport was reset */
    uint8_t bounce[VMC_VSOCK_PACKET_MAX];
};

/* ---- vsock.c, for connections ---- */

/* Sends one packet of a connection to the guest. False: the guest has no room, and nothing was done. */
bool vmc_vsock_send(VmcVsock *vsock, const VmcVsockHeader *header);
/* Reads up to `max` bytes from `fd` into a packet, whose header is sent with the length filled in. Returns
 * what recv returned, with errno, or VMC_VSOCK_NO_ROOM. */
#define VMC_VSOCK_NO_ROOM (-2)
ssize_t vmc_vsock_send_from(VmcVsock *vsock, VmcVsockHeader *header, int fd, size_t max);
/* Interrupts the guest for what was sent. */
void vmc_vsock_flush(VmcVsock *vsock);

/* ---- vsock_connection.c ---- */

/* A connection the guest has asked for, to a socket `fd` (taken over). Answers it. */
void vmc_vsock_connection_accept(VmcVsock *vsock, const VmcVsockHeader *request, int fd);
/* A connection of the client `fd` (taken over) to a port of the guest. False: there are too many. */
bool vmc_vsock_connection_request(VmcVsock *vsock, uint32_t guest_port, int fd);
VmcVsockConnection *vmc_vsock_connection_find(VmcVsock *vsock, uint32_t host_port, uint32_t guest_port);
/* A packet from the guest for a connection there is; `body` is behind its header, `header->len` bytes at
 * least. */
void vmc_vsock_connection_packet(VmcVsockConnection *connection, const VmcVsockHeader *header,
                                 VmcVirtqElement *body);
/* There is room in the receive queue again. False: it has been used up. */
bool vmc_vsock_connection_fed(VmcVsockConnection *connection);
/* Ends those that wait for an answer since before `before_ns`. True: there are others that wait. */
bool vmc_vsock_connections_sweep(VmcVsock *vsock, uint64_t before_ns);
/* Closes them all, without a word to the guest. */
void vmc_vsock_connections_clear(VmcVsock *vsock);
/* Whether there can be one more. */
bool vmc_vsock_connections_left(VmcVsock *vsock);
