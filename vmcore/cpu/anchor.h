/*
 * An anchor of a time stamp counter: what it was at a moment that the host's clocks know too. After the host
 * has slept it tells how much the counter has lost meanwhile.
 *
 * Counters of today go on in a sleep, or stand still, or begin at 0 again, depending on the processor, the
 * firmware and how deep the sleep was (Intel SDM vol. 3 s18.17.1 promises the first for P, C and T states
 * only).
 */
#pragma once

#include "base/host_sleep.h"

typedef struct VmcAnchor {
    uint64_t tsc;
    VmcHostTime at;
} VmcAnchor;

/* Anchors are dropped so often, ns: what a counter's rate is wrong by does not add up to more than some
 * milliseconds in that time. */
#define VMC_ANCHOR_NS 60000000000u

/* By how many ticks a counter of `hz` that reads `tsc` is behind where it would be now if it had not stopped.
 * 0 if it is not, or by no more than its rate may be wrong. */
uint64_t vmc_anchor_lost(const VmcAnchor *anchor, uint64_t tsc, const VmcHostTime *now, uint64_t hz);
/* Where a clock of nanoseconds that read `then` at one moment should be at another. */
static inline uint64_t vmc_anchor_ahead(const VmcHostTime *then, const VmcHostTime *now)
{
    return now->boot_ns > then->boot_ns ? now->boot_ns - then->boot_ns : 0;
}
