/*
 * Which addresses a guest has, as seen on its cable: what it says of itself in ARP and IPv6 neighbour
 * discovery, and what a DHCP server has given it. So an app can show the address of a guest without asking it
 * anything.
 *
 * It is hearsay: the guest may say what it likes. Good for display and for connecting to, not for deciding
 * who may do what.
 *
 * Threads: vmc_watch_sent and vmc_watch_received on the I/O thread, vmc_watch_addresses on any.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define VMC_WATCH_ADDRESSES 16u

typedef struct VmcNetAddress {
    uint8_t mac[6];
    int family;        /* AF_INET or AF_INET6 */
    uint8_t bytes[16]; /* in network order; 4 or 16 of them */
} VmcNetAddress;

typedef struct VmcWatch {
    GMutex lock;
    unsigned n;
    VmcNetAddress addresses[VMC_WATCH_ADDRESSES]; /* the latest first */
} VmcWatch;

void vmc_watch_init(VmcWatch *watch);
void vmc_watch_clear(VmcWatch *watch);
/* Forgets all, as when the cable has been somewhere else. */
void vmc_watch_reset(VmcWatch *watch);

/* A frame from the guest, and one to it. */
void vmc_watch_sent(VmcWatch *watch, const struct iovec *iov, unsigned n_iov);
void vmc_watch_received(VmcWatch *watch, const struct iovec *iov, unsigned n_iov);

/* Copies up to `max` addresses, the one heard of last first; returns how many. `mac` NULL: of all cards
 * behind this cable (a guest may have bridges of its own). */
unsigned vmc_watch_addresses(VmcWatch *watch, const uint8_t *mac, VmcNetAddress *addresses, unsigned max);
