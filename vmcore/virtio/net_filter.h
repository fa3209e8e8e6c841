/*
 * Which frames a virtio-net driver wants to have (VIRTIO 1.2 s5.1.6.5.1 to s5.1.6.5.3), and to which of its
 * pairs of queues a flow belongs (s5.1.6.5.5). Threads: the I/O thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/cable.h"
#include "virtio/queue.h"

/* Classes of commands. */
#define VMC_NET_CTRL_RX             0u
#define VMC_NET_CTRL_MAC            1u
#define VMC_NET_CTRL_VLAN           2u
#define VMC_NET_CTRL_ANNOUNCE       3u
#define VMC_NET_CTRL_MQ             4u
#define VMC_NET_CTRL_GUEST_OFFLOADS 5u

/* A driver with more than so many addresses of a kind gets all frames of that kind. */
#define VMC_NET_FILTER_MACS 64u

typedef struct VmcNetMacs {
    bool overflow;
    unsigned n;
    uint8_t macs[VMC_NET_FILTER_MACS][VMC_MAC_BYTES];
} VmcNetMacs;

typedef struct VmcNetFilter {
    bool promiscuous, all_multicast, all_unicast, no_multicast, no_unicast, no_broadcast;
    uint8_t mac[VMC_MAC_BYTES];
    VmcNetMacs unicast, multicast;
    bool vlans_filtered;
    uint32_t vlans[4096 / 32];
} VmcNetFilter;

/* As after a reset: all frames, until the driver says something else. `vlans_filtered`:
 * VIRTIO_NET_F_CTRL_VLAN was negotiated, so no VLAN until the driver adds it. */
void vmc_net_filter_reset(VmcNetFilter *filter, const uint8_t mac[VMC_MAC_BYTES], bool vlans_filtered);
/* Does a command of the classes RX, MAC and VLAN, whose data is what is left of `elem`. False: it is wrong,
 * and nothing has changed. MAC_ADDR_SET changes filter->mac. */
bool vmc_net_filter_command(VmcNetFilter *filter, uint8_t class, uint8_t command, VmcVirtqElement *elem);
/* As bytes (base/state.h). */
void vmc_net_filter_save(const VmcNetFilter *filter, VmcStateWriter *w);
void vmc_net_filter_load(VmcNetFilter *filter, VmcStateReader *r);
/* Whether the driver wants the frame that begins with these bytes (at least VMC_FRAME_MIN, at most the first
 * 18 are looked at). */
bool vmc_net_filter_wants(const VmcNetFilter *filter, const uint8_t *head, size_t len);

/* A number below 256 for the TCP or UDP flow that the frame beginning with these bytes belongs to, the same
 * in both directions; 0 for others. */
unsigned vmc_net_flow(const uint8_t *head, size_t len);
#define VMC_NET_FLOW_BYTES 64u /* how many bytes it may look at */
#define VMC_NET_FLOWS      256u
