/*
 * What all kinds of network cards have in common: the fields that say what the cable is plugged into, and
 * what can be done and seen while they run.
 */
#pragma once

#include "machine/devices/kind.h"
#include "net/cable.h"

static inline bool vmc_is_network_card(VmcDeviceKind kind)
{
    return kind == VMC_DEVICE_VIRTIO_NET || kind == VMC_DEVICE_E1000;
}

#define VMC_NET_MTU_MIN       68u
#define VMC_NET_MTU_MAX       65535u
#define VMC_NET_BOOT_FILE_MAX 127u /* RFC 2131 s2: `file` */

#define VMC_NET_FIELDS                                                                                       \
    VMC_FIELD("nat", "NAT", FLAG, net.nat, .one_of = 1),                                                     \
        VMC_FIELD("forward", "Forwards", LIST, net.forwards, .value = "tcp:PORT-PORT"),                      \
        VMC_FIELD("tap", "Tap", STRING, net.tap, .value = "NAME", .one_of = 1),                              \
        VMC_FIELD("bridge", "Bridge", STRING, net.bridge, .value = "NAME", .one_of = 1),                     \
        VMC_FIELD("hostOnly", "HostOnly", STRING, net.host_only, .value = "NAME", .one_of = 1),              \
        VMC_FIELD("unixSocketPath", "UnixSocket", PATH, net.unix_socket, .value = "SOCKET", .one_of = 1),    \
        VMC_FIELD("fd", NULL, FD, net.fd, .value = "N", .one_of = 1),                                        \
        VMC_FIELD("mac", "MAC", STRING, net.mac, .value = "ADDRESS"),                                        \
        VMC_FIELD("mtu", "MTU", NUMBER, net.mtu, .value = "BYTES", .min = VMC_NET_MTU_MIN,                   \
                  .max = VMC_NET_MTU_MAX, .automatic = true),                                                \
        VMC_FIELD("tftp", "TFTP", PATH, net.tftp, .value = "FOLDER"),                                        \
        VMC_FIELD("bootFile", "BootFile", STRING, net.boot_file, .value = "NAME",                            \
                  .max = VMC_NET_BOOT_FILE_MAX),                                                             \
        VMC_FIELD("bootIndex", "BootIndex", NUMBER, net.boot_index, .value = "N", .min = 1,                  \
                  .max = VMC_BOOT_INDEX_MAX, .automatic = true)

#define VMC_NET_ACTIONS                                                                                      \
    {"link", "up|down", 1, 1, "puts the cable in, or pulls it out"},                                         \
    {                                                                                                        \
        "status", "", 0, 0, "says address, link and traffic"                                                 \
    }

/* Adds what is wrong with the fields above. */
void vmc_check_network(VmcCheck *check, const VmcDeviceConfig *device);
/* The cable that the configuration names. */
VmcCable *vmc_guest_make_cable(VmcGuest *guest, const VmcNetConfig *net, GError **error);
/* The argument of the action "link". */
bool vmc_act_link(const char *word, bool *up, GError **error);
/* The reply to the action "status". */
void vmc_act_describe(GString *reply, bool link, const uint8_t mac[VMC_MAC_BYTES],
                      const VmcNetAddress *addresses, unsigned n, const VmcCableCounters *sent,
                      const VmcCableCounters *received);
