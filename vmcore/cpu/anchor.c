/* What a time stamp counter has lost while the host slept (anchor.h). */
#include "cpu/anchor.h"

#define NS_PER_S 1000000000u

/* Less than this was not lost in a sleep: 0.1 s, and what a rate that is wrong by 200 in a million makes of
 * the time since. */
#define NOTHING_NS 100000000u
#define WRONG_BY   5000u

uint64_t vmc_anchor_lost(const VmcAnchor *anchor, uint64_t tsc, const VmcHostTime *now, uint64_t hz)
{
    uint64_t passed = vmc_anchor_ahead(&anchor->at, now), nothing = NOTHING_NS + passed / WRONG_BY;
    __int128 should = (__int128)passed * hz / NS_PER_S, did = (__int128)tsc - anchor->tsc,
             lost = should - did;

    return lost > (__int128)nothing * hz / NS_PER_S ? (uint64_t)lost : 0;
}
