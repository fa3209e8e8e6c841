/* Code for instructions with an immediate (sse_stubs.c). */
#pragma once

#include "cpu/soft/exec/sse.h"

/* dst = insn(dst, src, imm): see vmc_kernel. */
extern const struct vmc_stubs vmc_stubs_pshuflw, vmc_stubs_pshufhw, vmc_stubs_shufpd, vmc_stubs_cmpps,
    vmc_stubs_cmppd, vmc_stubs_cmpss, vmc_stubs_cmpsd, vmc_stubs_roundps, vmc_stubs_roundpd,
    vmc_stubs_roundss, vmc_stubs_roundsd, vmc_stubs_blendps, vmc_stubs_blendpd, vmc_stubs_pblendw,
    vmc_stubs_palignr, vmc_stubs_insertps, vmc_stubs_dpps, vmc_stubs_dppd, vmc_stubs_mpsadbw,
    vmc_stubs_aeskeygenassist, vmc_stubs_pclmulqdq, vmc_stubs_sha1rnds4;

/* uint64_t f(__m128i, __m128i, int length1, int length2): EFLAGS low, ECX high; and __m128i f(...): XMM0. The
 * implicit-length forms take no lengths. */
extern const struct vmc_stubs vmc_stubs_pcmpestri, vmc_stubs_pcmpestrm, vmc_stubs_pcmpistri,
    vmc_stubs_pcmpistrm;

static inline int64_t vmc_stub(const struct vmc_stubs *s, unsigned imm)
{
    return (int64_t)(uintptr_t)(s->code + ((size_t)(imm & s->mask) << s->shift));
}
