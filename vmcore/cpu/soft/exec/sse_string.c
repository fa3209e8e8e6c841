/*
 * SSE4.2 string comparison: PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM (SDM vol. 1 section 12.12.3 and vol.
 * 2).
 *
 * The host's instruction gives index, mask and flags (sse_stubs.c). Memory operands need no alignment. Flags
 * are the same for the index and the mask forms, so the mask forms ask the index code for them. u->imm is the
 * immediate itself.
 */
#include "cpu/soft/exec/avx.h"
#include "cpu/soft/exec/sse_stubs.h"

typedef uint64_t (*index_explicit)(__m128i, __m128i, int, int);
typedef __m128i (*mask_explicit)(__m128i, __m128i, int, int);
typedef uint64_t (*index_implicit)(__m128i, __m128i);
typedef __m128i (*mask_implicit)(__m128i, __m128i);

/* Lengths saturate at 8 or 16 elements; 64-bit ones have to before they are cut to 32. */
static inline int saturate(uint64_t length)
{
    int64_t n = (int64_t)length;
    return n > 16 || n < -16 ? 16 : (int)n;
}

VMC_ALWAYS_INLINE uint64_t compare_explicit(VmcCpu *c, const struct vmc_uop *u, __m128i s, int n1, int n2)
{
    index_explicit f = (index_explicit)vmc_stub(&vmc_stubs_pcmpestri, (unsigned)u->imm);
    uint64_t r = f(XMM(c, u->reg), s, n1, n2);
    vmc_set_arith(c, (uint32_t)r);
    return r >> 32;
}
VMC_ALWAYS_INLINE uint64_t compare_implicit(VmcCpu *c, const struct vmc_uop *u, __m128i s)
{
    index_implicit f = (index_implicit)vmc_stub(&vmc_stubs_pcmpistri, (unsigned)u->imm);
    uint64_t r = f(XMM(c, u->reg), s);
    vmc_set_arith(c, (uint32_t)r);
    return r >> 32;
}
VMC_ALWAYS_INLINE void mask_by_length(VmcCpu *c, const struct vmc_uop *u, __m128i s, int n1, int n2)
{
    mask_explicit f = (mask_explicit)vmc_stub(&vmc_stubs_pcmpestrm, (unsigned)u->imm);
    compare_explicit(c, u, s, n1, n2);
    XMM(c, 0) = f(XMM(c, u->reg), s, n1, n2);
}
VMC_ALWAYS_INLINE void mask_by_zero(VmcCpu *c, const struct vmc_uop *u, __m128i s)
{
    mask_implicit f = (mask_implicit)vmc_stub(&vmc_stubs_pcmpistrm, (unsigned)u->imm);
    compare_implicit(c, u, s);
    XMM(c, 0) = f(XMM(c, u->reg), s);
}

#define LEN32(r) ((int)(uint32_t)c->gpr[r])
#define LEN64(r) saturate(c->gpr[r])

SSE_BOTH(pcmpestri, U128, c->gpr[VMC_RCX] = compare_explicit(c, u, s_, LEN32(VMC_RAX), LEN32(VMC_RDX)))
SSE_BOTH(pcmpestri_q, U128, c->gpr[VMC_RCX] = compare_explicit(c, u, s_, LEN64(VMC_RAX), LEN64(VMC_RDX)))
SSE_BOTH(pcmpestrm, U128, mask_by_length(c, u, s_, LEN32(VMC_RAX), LEN32(VMC_RDX)))
SSE_BOTH(pcmpestrm_q, U128, mask_by_length(c, u, s_, LEN64(VMC_RAX), LEN64(VMC_RDX)))
SSE_BOTH(pcmpistri, U128, c->gpr[VMC_RCX] = compare_implicit(c, u, s_))
SSE_BOTH(pcmpistrm, U128, mask_by_zero(c, u, s_))

/* ---- VEX-encoded: the same, and a mask has nothing above its 128 bits ---- */

#define AVX_STRING(name, STMT)                                                                               \
    AVX_C_REGISTER(name##_rr, __m128i, XMM(c, u->rm), STMT)                                                  \
    AVX_C_LOAD(name##_rm, __m128i, U128, STMT)                                                               \
    const struct vmc_avx_insn vmc_avx_##name = {.rr = {op_avx_##name##_rr}, .rm = {op_avx_##name##_rm}};
#define CLEAR_HIGH HIGH(c, 0) = _mm_setzero_si128()

AVX_STRING(pcmpestri, c->gpr[VMC_RCX] = compare_explicit(c, u, s_, LEN32(VMC_RAX), LEN32(VMC_RDX)))
AVX_STRING(pcmpestri_q, c->gpr[VMC_RCX] = compare_explicit(c, u, s_, LEN64(VMC_RAX), LEN64(VMC_RDX)))
AVX_STRING(pcmpestrm, mask_by_length(c, u, s_, LEN32(VMC_RAX), LEN32(VMC_RDX)); CLEAR_HIGH)
AVX_STRING(pcmpestrm_q, mask_by_length(c, u, s_, LEN64(VMC_RAX), LEN64(VMC_RDX)); CLEAR_HIGH)
AVX_STRING(pcmpistri, c->gpr[VMC_RCX] = compare_implicit(c, u, s_))
AVX_STRING(pcmpistrm, mask_by_zero(c, u, s_); CLEAR_HIGH)
