/*
 * VEX-encoded data movement: loads, stores, moves between halves and to and from general registers, tests,
 * and VZEROUPPER.
 *
 * A move computes nothing, so these are C on two 128-bit halves. Where ModRM.rm is the destination, the
 * binder has exchanged u->reg and u->rm of the register form, so that the source is u->rm; with memory it is
 * u->reg.
 */
#include "cpu/soft/exec/avx.h"

/* ---- whole registers ---- */

AVX_C_REGISTER(mov_rr_x, __m128i, XMM(c, u->rm), SET_X(c, u->reg, s_))
AVX_OP(mov_rr_y)
{
    AVX_GUARD(c, u);
    XMM(c, u->reg) = XMM(c, u->rm);
    HIGH(c, u->reg) = HIGH(c, u->rm);
    VMC_NEXT(c, u);
}

/* #GP before the page is looked at, and before the segment's limit. */
static uint64_t aligned(VmcCpu *c, const struct vmc_uop *u, unsigned odd)
{
    if ((vmc_ea_offset(c, u) + c->seg_base[u->seg]) & odd)
        vmc_sse_unaligned(c, u);
    return vmc_ea(c, u);
}

static VMC_NOINLINE void load(VmcCpu *c, const struct vmc_uop *u, unsigned size, unsigned odd)
{
    AVX_GUARD(c, u);
    uint64_t va = aligned(c, u, odd);
    if (size == 16) {
        __m128i v = vmc_ld128(c, u, va);
        SET_X(c, u->reg, v);
        return;
    }
    vmc_read_bytes(c, u, va, c->vector_operand, 32);
    memcpy(&XMM(c, u->reg), c->vector_operand, 16);
    memcpy(&HIGH(c, u->reg), c->vector_operand + 16, 16);
}

static VMC_NOINLINE void store(VmcCpu *c, const struct vmc_uop *u, unsigned size, unsigned odd)
{
    AVX_GUARD(c, u);
    uint64_t va = aligned(c, u, odd);
    if (size == 16) {
        vmc_st128(c, u, va, XMM(c, u->reg));
        return;
    }
    memcpy(c->vector_operand, &XMM(c, u->reg), 16);
    memcpy(c->vector_operand + 16, &HIGH(c, u->reg), 16);
    vmc_write_bytes(c, u, va, c->vector_operand, 32);
}

#define DO_LOAD_16(p) SET_X(c, u->reg, _mm_loadu_si128(p))
#define DO_LOAD_32(p)                                                                                        \
    XMM(c, u->reg) = _mm_loadu_si128(p);                                                                     \
    HIGH(c, u->reg) = _mm_loadu_si128((const __m128i *)(p) + 1)
#define DO_STORE_16(p) _mm_storeu_si128(p, XMM(c, u->reg))
#define DO_STORE_32(p)                                                                                       \
    _mm_storeu_si128(p, XMM(c, u->reg));                                                                     \
    _mm_storeu_si128((__m128i *)(p) + 1, HIGH(c, u->reg))

#define WHOLE(name, slow, size, odd, TAG, DO)                                                                \
    static VMC_NOINLINE void slow_avx_##name(VmcCpu *c, const struct vmc_uop *u)                             \
    {                                                                                                        \
        slow(c, u, size, odd);                                                                               \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    AVX_OP(name)                                                                                             \
    {                                                                                                        \
        FAST_HOST_ALIGNED(FXG_NO_AVX, size, odd, TAG, slow_avx_##name);                                      \
        DO(p_);                                                                                              \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    AVX_OP(name##_base)                                                                                      \
    {                                                                                                        \
        uint64_t va_ = R64(c, u->base) + (uint64_t)(int64_t)u->disp;                                         \
        FAST_HOST_AT(va_, FXG_NO_AVX, size, odd, TAG, slow_avx_##name);                                      \
        DO(p_);                                                                                              \
        VMC_NEXT(c, u);                                                                                      \
    }
WHOLE(movu_x, load, 16, 0u, tag_read, DO_LOAD_16)
WHOLE(movu_y, load, 32, 0u, tag_read, DO_LOAD_32)
WHOLE(mova_x, load, 16, 15u, tag_read, DO_LOAD_16)
WHOLE(mova_y, load, 32, 31u, tag_read, DO_LOAD_32)
WHOLE(movu_st_x, store, 16, 0u, tag_write, DO_STORE_16)
WHOLE(movu_st_y, store, 32, 0u, tag_write, DO_STORE_32)
WHOLE(mova_st_x, store, 16, 15u, tag_write, DO_STORE_16)
WHOLE(mova_st_y, store, 32, 31u, tag_write, DO_STORE_32)

#define WHOLE_INSN(name, ...)                                                                                \
    const struct vmc_avx_insn vmc_avx_##name = {.rm = {op_avx_##name##_x, op_avx_##name##_y},                \
                                                .base = {op_avx_##name##_x_base, op_avx_##name##_y_base},    \
                                                __VA_ARGS__};
#define BETWEEN_REGISTERS .rr = {op_avx_mov_rr_x, op_avx_mov_rr_y}
WHOLE_INSN(movu, BETWEEN_REGISTERS)
WHOLE_INSN(mova, BETWEEN_REGISTERS)
WHOLE_INSN(movu_st, BETWEEN_REGISTERS)
WHOLE_INSN(mova_st, BETWEEN_REGISTERS)
/* Hints do not matter here: memory forms alone. */
const struct vmc_avx_insn vmc_avx_lddqu = {.rm = {op_avx_movu_x, op_avx_movu_y}};
const struct vmc_avx_insn vmc_avx_movntdqa = {.rm = {op_avx_mova_x, op_avx_mova_y}};
const struct vmc_avx_insn vmc_avx_movnt = {.rm = {op_avx_mova_st_x, op_avx_mova_st_y}};

/* ---- parts: what is not moved comes from the register VEX.vvvv names, or is zero ---- */

#define STORE(name, TYPE, KIND, VALUE)                                                                       \
    static VMC_NOINLINE void slow_avx_##name(VmcCpu *c, const struct vmc_uop *u)                             \
    {                                                                                                        \
        AVX_GUARD(c, u);                                                                                     \
        vmc_st##KIND(c, u, vmc_ea(c, u), VALUE);                                                             \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    AVX_OP(name)                                                                                             \
    {                                                                                                        \
        FAST_HOST(FXG_NO_AVX, (KIND) / 8, tag_write, slow_avx_##name);                                       \
        *(TYPE *)p_ = VALUE;                                                                                 \
        VMC_NEXT(c, u);                                                                                      \
    }
#define A XMM(c, VVVV(u))

AVX_C_REGISTER(movss_rr, __m128i, XMM(c, u->rm), SET_X(c, u->reg, _mm_blend_epi16(A, s_, 0x03)))
AVX_C_REGISTER(movsd_rr, __m128i, XMM(c, u->rm), SET_X(c, u->reg, _mm_blend_epi16(A, s_, 0x0f)))
AVX_C_REGISTER(movq_rr, __m128i, XMM(c, u->rm), SET_X(c, u->reg, _mm_move_epi64(s_)))
AVX_C_LOAD(mov_32, __m128i, 32, SET_X(c, u->reg, s_))
AVX_C_LOAD(mov_64, __m128i, 64, SET_X(c, u->reg, s_))
STORE(store_32, uint32_t, 32, XMM32(c, u->reg))
STORE(store_64, uint64_t, 64, XMM64(c, u->reg))
STORE(store_high, uint64_t, 64, XMM64(c, u->reg + 8u))

const struct vmc_avx_insn vmc_avx_movss = {.rr = {op_avx_movss_rr}, .rm = {op_avx_mov_32}};
const struct vmc_avx_insn vmc_avx_movss_st = {.rr = {op_avx_movss_rr}, .rm = {op_avx_store_32}};
const struct vmc_avx_insn vmc_avx_movsd = {.rr = {op_avx_movsd_rr}, .rm = {op_avx_mov_64}};
const struct vmc_avx_insn vmc_avx_movsd_st = {.rr = {op_avx_movsd_rr}, .rm = {op_avx_store_64}};
const struct vmc_avx_insn vmc_avx_movq = {.rr = {op_avx_movq_rr}, .rm = {op_avx_mov_64}};
const struct vmc_avx_insn vmc_avx_movq_st = {.rr = {op_avx_movq_rr}, .rm = {op_avx_store_64}};

/* The register forms are VMOVHLPS and VMOVLHPS. */
AVX_C_REGISTER(movlp_rr, __m128i, XMM(c, u->rm), SET_X(c, u->reg, _mm_unpackhi_epi64(s_, A)))
AVX_C_REGISTER(movhp_rr, __m128i, XMM(c, u->rm), SET_X(c, u->reg, _mm_unpacklo_epi64(A, s_)))
AVX_C_LOAD(movlp_rm, __m128i, 64, SET_X(c, u->reg, _mm_blend_epi16(A, s_, 0x0f)))
AVX_C_LOAD(movhp_rm, __m128i, 64, SET_X(c, u->reg, _mm_unpacklo_epi64(A, s_)))
const struct vmc_avx_insn vmc_avx_movhlps = {.rr = {op_avx_movlp_rr}, .rm = {op_avx_movlp_rm}};
const struct vmc_avx_insn vmc_avx_movlhps = {.rr = {op_avx_movhp_rr}, .rm = {op_avx_movhp_rm}};
const struct vmc_avx_insn vmc_avx_movlp = {.rm = {op_avx_movlp_rm}};
const struct vmc_avx_insn vmc_avx_movhp = {.rm = {op_avx_movhp_rm}};
const struct vmc_avx_insn vmc_avx_movlp_st = {.rm = {op_avx_store_64}};
const struct vmc_avx_insn vmc_avx_movhp_st = {.rm = {op_avx_store_high}};

AVX_2(movsldup, "vmovsldup", FXG_NO_AVX)
AVX_2(movshdup, "vmovshdup", FXG_NO_AVX)
/* 8 bytes of memory become 16; 32 stay 32. */
AVX_CODE(movddup_x, "vmovddup %xmm2, %xmm0")
AVX_CODE(movddup_y, "vmovddup %ymm2, %ymm0")
AVX_REGISTER(movddup_rr_x, FXG_NO_AVX, 8, "vmovddup %[b], %%xmm0\n\t" STORE_X, IN_B)
AVX_MEMORY(movddup_rm_x, FXG_NO_AVX, 8, "vmovddup %[b], %%xmm0\n\t" STORE_X, IN_P)
AVX_REGISTER(movddup_rr_y, FXG_NO_AVX, 32, LOAD_B_Y "vmovddup %%ymm2, %%ymm0\n\t" STORE_Y, IN_B)
AVX_MEMORY(movddup_rm_y, FXG_NO_AVX, 32, "vmovddup %[b], %%ymm0\n\t" STORE_Y, IN_P)
AVX_INSN(movddup)

/* ---- general registers ---- */

AVX_C_REGISTER(movd_rr, uint32_t, R32(c, u->rm), SET_X(c, u->reg, _mm_cvtsi32_si128((int)s_)))
AVX_C_REGISTER(movd_q_rr, uint64_t, R64(c, u->rm), SET_X(c, u->reg, VEC64(s_)))
AVX_C_REGISTER(movd_st_rr, uint32_t, XMM32(c, u->reg), R64(c, u->rm) = s_)
AVX_C_REGISTER(movd_q_st_rr, uint64_t, XMM64(c, u->reg), R64(c, u->rm) = s_)
const struct vmc_avx_insn vmc_avx_movd = {.rr = {op_avx_movd_rr}, .rm = {op_avx_mov_32}};
const struct vmc_avx_insn vmc_avx_movd_q = {.rr = {op_avx_movd_q_rr}, .rm = {op_avx_mov_64}};
const struct vmc_avx_insn vmc_avx_movd_st = {.rr = {op_avx_movd_st_rr}, .rm = {op_avx_store_32}};
const struct vmc_avx_insn vmc_avx_movd_q_st = {.rr = {op_avx_movd_q_st_rr}, .rm = {op_avx_store_64}};

/* Sign bits: `n` of each half. */
#define SIGNS(name, insn, n)                                                                                 \
    static inline uint32_t signs_##name(__m128i v)                                                           \
    {                                                                                                        \
        uint32_t r;                                                                                          \
        __asm__(insn " %1, %0" : "=r"(r) : "x"(v));                                                          \
        return r;                                                                                            \
    }                                                                                                        \
    AVX_C_REGISTER(name##_x, __m128i, XMM(c, u->rm), R64(c, u->reg) = signs_##name(s_))                      \
    AVX_C_REGISTER(name##_y, __m128i, XMM(c, u->rm),                                                         \
                   R64(c, u->reg) = signs_##name(s_) | signs_##name(HIGH(c, u->rm)) << (n))                  \
    const struct vmc_avx_insn vmc_avx_##name = {.rr = {op_avx_##name##_x, op_avx_##name##_y}};
SIGNS(movmskps, "movmskps", 4)
SIGNS(movmskpd, "movmskpd", 2)
SIGNS(pmovmskb, "pmovmskb", 16)

/* VPEXTRx, VPINSRx: the element is chosen by the immediate's low bits. */
#define ELEMENT(bits) (((unsigned)u->imm & (128u / (bits)-1)) * ((bits) / 8))
#define EXTRACT(name, bits)                                                                                  \
    AVX_C_REGISTER(name##_rr, uint64_t, XMM##bits(c, u->reg + ELEMENT(bits)), R64(c, u->rm) = s_)            \
    STORE(name##_rm, uint##bits##_t, bits, XMM##bits(c, u->reg + ELEMENT(bits)))                             \
    const struct vmc_avx_insn vmc_avx_##name = {.rr = {op_avx_##name##_rr}, .rm = {op_avx_##name##_rm}};
EXTRACT(pextrb, 8)
EXTRACT(pextrw, 16)
EXTRACT(pextrd, 32)
EXTRACT(pextrq, 64)
/* 0F C5: the general register is in ModRM.reg. */
AVX_C_REGISTER(pextrw_reg_rr, uint64_t, XMM16(c, u->rm + ELEMENT(16)), R64(c, u->reg) = s_)
const struct vmc_avx_insn vmc_avx_pextrw_reg = {.rr = {op_avx_pextrw_reg_rr}};

#define INSERT(name, bits)                                                                                   \
    static inline void put_##name(VmcCpu *c, const struct vmc_uop *u, uint##bits##_t v)                      \
    {                                                                                                        \
        SET_X(c, u->reg, A);                                                                                 \
        XMM##bits(c, u->reg + ELEMENT(bits)) = v;                                                            \
    }                                                                                                        \
    AVX_C_REGISTER(name##_rr, uint##bits##_t, R##bits(c, u->rm), put_##name(c, u, s_))                       \
    AVX_OP(name##_rm)                                                                                        \
    {                                                                                                        \
        AVX_GUARD(c, u);                                                                                     \
        put_##name(c, u, vmc_ld##bits(c, u, vmc_ea(c, u)));                                                  \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    const struct vmc_avx_insn vmc_avx_##name = {.rr = {op_avx_##name##_rr}, .rm = {op_avx_##name##_rm}};
INSERT(pinsrb, 8)
INSERT(pinsrw, 16)
INSERT(pinsrd, 32)
INSERT(pinsrq, 64)

/* ---- VPTEST, VTESTPS, VTESTPD: ZF if a & b is zero, CF if ~a & b is; of the whole or of the sign bits ----
 */

#define ALL_BITS(v)   (!_mm_testz_si128(v, v))
#define FLOAT_SIGN(v) (_mm_movemask_ps(_mm_castsi128_ps(v)) != 0)
#define REAL_SIGN(v)  (_mm_movemask_pd(_mm_castsi128_pd(v)) != 0)
#define TEST(name, BITS)                                                                                     \
    static inline void do_##name(VmcCpu *c, const struct vmc_uop *u, __m128i b, __m128i high, bool wide)     \
    {                                                                                                        \
        __m128i a = XMM(c, u->reg), ah = HIGH(c, u->reg);                                                    \
        bool and = BITS(_mm_and_si128(a, b)) || (wide && BITS(_mm_and_si128(ah, high)));                     \
        bool andn = BITS(_mm_andnot_si128(a, b)) || (wide && BITS(_mm_andnot_si128(ah, high)));              \
        vmc_set_arith(c, (and? 0 : FL_ZF) | (andn ? 0 : FL_CF));                                             \
    }                                                                                                        \
    static VMC_NOINLINE void slow_avx_##name(VmcCpu *c, const struct vmc_uop *u)                             \
    {                                                                                                        \
        AVX_GUARD(c, u);                                                                                     \
        vmc_avx_fetch(c, u, 32);                                                                             \
        do_##name(c, u, HOST_U128(c->vector_operand), HOST_U128(c->vector_operand + 16), true);              \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    AVX_C_REGISTER(name##_rr_x, __m128i, XMM(c, u->rm), do_##name(c, u, s_, s_, false))                      \
    AVX_C_LOAD(name##_rm_x, __m128i, U128, do_##name(c, u, s_, s_, false))                                   \
    AVX_C_REGISTER(name##_rr_y, __m128i, XMM(c, u->rm), do_##name(c, u, s_, HIGH(c, u->rm), true))           \
    AVX_OP(name##_rm_y)                                                                                      \
    {                                                                                                        \
        FAST_HOST(FXG_NO_AVX, 32, tag_read, slow_avx_##name);                                                \
        do_##name(c, u, HOST_U128(p_), HOST_U128((const char *)p_ + 16), true);                              \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    const struct vmc_avx_insn vmc_avx_##name = {                                                             \
        .rr = {op_avx_##name##_rr_x, op_avx_##name##_rr_y},                                                  \
        .rm = {op_avx_##name##_rm_x, op_avx_##name##_rm_y},                                                  \
    };
TEST(ptest, ALL_BITS)
TEST(testps, FLOAT_SIGN)
TEST(testpd, REAL_SIGN)

/* ---- VZEROUPPER, VZEROALL: 16- and 32-bit code reaches eight registers (u->x bytes) ---- */

AVX_OP(zeroupper)
{
    AVX_GUARD(c, u);
    for (unsigned i = 0; i < u->x; i += 16)
        HIGH(c, i) = _mm_setzero_si128();
    VMC_NEXT(c, u);
}
AVX_OP(zeroall)
{
    AVX_GUARD(c, u);
    for (unsigned i = 0; i < u->x; i += 16)
        SET_X(c, i, _mm_setzero_si128());
    VMC_NEXT(c, u);
}
const struct vmc_avx_insn vmc_avx_zero = {.rr = {op_avx_zeroupper, op_avx_zeroall}};
