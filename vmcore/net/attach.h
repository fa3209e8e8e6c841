/*
 * What a cable can be plugged into. Each constructor gives a cable for one NIC (vmc_cable_plug,
 * vmc_cable_free), or NULL with `error` set to one sentence that says what failed and what would be right
 * (VMC_ERROR_CONFIG: the user's to mend; VMC_ERROR_RESOURCE: the host has not got it).
 *
 * Threads: constructors on any thread but a vCPU's, while the I/O thread runs.
 */
#pragma once

#include <glib.h>
#include <netinet/in.h>
#include <stdbool.h>

#include "net/cable.h"

/* ---- NAT (nat.c) ---- */

/* The guest is at 10.0.2.15 (by DHCP; IPv6 by router advertisement in fec0::/64), the host at 10.0.2.2 and
 * fec0::2, a DNS relay at 10.0.2.3 and fec0::3. */
#define VMC_NAT_NETWORK "10.0.2.0"
#define VMC_NAT_NETMASK "255.255.255.0"
#define VMC_NAT_HOST    "10.0.2.2"
#define VMC_NAT_DNS     "10.0.2.3"
#define VMC_NAT_GUEST   "10.0.2.15"
#define VMC_NAT_PREFIX6 "fec0::"
#define VMC_NAT_HOST6   "fec0::2"
#define VMC_NAT_DNS6    "fec0::3"

/* A port of the host that leads to one of the guest. */
typedef struct VmcNatForward {
    bool udp;
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } host, guest; /* of the same family */
} VmcNatForward;

/* Reads "tcp:[ADDR:]PORT-[GUESTADDR:]PORT" (or "udp:"); IPv6 addresses stand in brackets. Without ADDR it is
 * 127.0.0.1, so nobody but this host gets in; without GUESTADDR VMC_NAT_GUEST. Any thread. */
bool vmc_nat_forward_parse(const char *text, VmcNatForward *forward, GError **error);

typedef struct VmcNatParams {
    const VmcNatForward *forwards;
    unsigned n_forwards;
    uint16_t mtu;          /* 0: 1500 */
    const char *tftp_path; /* a folder for the guest to read from at VMC_NAT_HOST, or NULL */
    const char *boot_file; /* told by DHCP, or NULL */
} VmcNatParams;

/* NULL for params: none. Nothing of them is kept. */
VmcCable *vmc_cable_nat_new(VmcIo *io, const VmcNatParams *params, GError **error);

/* ---- the host's network (tap.c) ---- */

/* A tap that is there and that the user may use, by name. */
VmcCable *vmc_cable_tap_new(VmcIo *io, const char *name, GError **error);
/* A bridge that qemu-bridge-helper gives out taps of. `helper`: its path; NULL: where Debian has it. */
VmcCable *vmc_cable_bridge_new(VmcIo *io, const char *bridge, const char *helper, GError **error);
/* A descriptor: of a tap, or a connected datagram socket of which each datagram is a frame. It stays the
 * caller's; a tap is put in non-blocking mode. */
VmcCable *vmc_cable_fd_new(VmcIo *io, int fd, GError **error);
/* A datagram socket at `path`, as gvproxy and the like listen on for vfkit. */
VmcCable *vmc_cable_unix_new(VmcIo *io, const char *path, GError **error);

/* ---- between machines (hostonly.c) ---- */

/* The network `name` of this user, of all machines that ask for it. */
VmcCable *vmc_cable_host_only_new(VmcIo *io, const char *name, GError **error);
/* Whether `name` is one for such a network; if not, `error` says what is. Any thread. */
bool vmc_host_only_check_name(const char *name, GError **error);
