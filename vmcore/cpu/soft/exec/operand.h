/*
 * Operand helpers for handler templates: one spelling for four operand sizes, read-modify-write on memory
 * plain and locked.
 *
 * Templates are macros instantiated for 8, 16, 32 and 64 bits. In them T is the operand type, BITS its width;
 * 32-bit register writes clear the upper half as the architecture wants.
 */
#pragma once

#include "cpu/soft/block.h"
#include "cpu/soft/flags.h"

#define T8   uint8_t
#define T16  uint16_t
#define T32  uint32_t
#define T64  uint64_t
#define S8   int8_t
#define S16  int16_t
#define S32  int32_t
#define S64  int64_t
#define LG8  0
#define LG16 1
#define LG32 2
#define LG64 3

#define GET8(c, o)     R8(c, o)
#define GET16(c, o)    R16(c, o)
#define GET32(c, o)    R32(c, o)
#define GET64(c, o)    R64(c, o)
#define PUT8(c, o, v)  (R8(c, o) = (uint8_t)(v))
#define PUT16(c, o, v) (R16(c, o) = (uint16_t)(v))
#define PUT32(c, o, v) (R64(c, o) = (uint32_t)(v))
#define PUT64(c, o, v) (R64(c, o) = (uint64_t)(v))

#define FOR_WIDTHS(M) M(8) M(16) M(32) M(64)
#define FOR_WIDE(M)   M(16) M(32) M(64)

/* Index 0..3 of the effective operand size into a table of handlers by width. */
static inline unsigned vmc_width_index(const struct vmc_insn *d, bool byte)
{
    return byte ? 0 : d->opsize == 2 ? 1 : d->opsize == 4 ? 2 : 3;
}

/* Host pointer for read-modify-write of `size` bytes at va, or NULL (device, page crossing, watched), in
 * which case the access is known to be allowed. Faults are write faults, as on hardware. */
static inline void *vmc_rmw(VmcCpu *c, const struct vmc_uop *u, uint64_t va, unsigned size)
{
    void *p = vmc_host_w(c, va, size);
    return vmc_likely(p) ? p : vmc_host_slow(c, u, va, size, VMC_WRITE);
}

/* Around a locked access that is no single host atomic. The run loop lets go of it when a fault jumps out. */
static inline void vmc_split_lock(VmcCpu *c)
{
    g_mutex_lock(&c->vm->split_lock);
    c->split_held = true;
}
static inline void vmc_split_unlock(VmcCpu *c)
{
    c->split_held = false;
    g_mutex_unlock(&c->vm->split_lock);
}

/*
 * Runs STMT with `a` the old value at va (type T) and `r` to be set; stores r. STMT may not fault. LOCKED:
 * with a compare-and-swap, STMT then runs until it wins, so it must be free of side effects; flags are set
 * after.
 */
#define RMW(BITS, va, STMT)                                                                                  \
    do {                                                                                                     \
        T##BITS *p_ = vmc_rmw(c, u, (va), BITS / 8);                                                         \
        if (vmc_likely(p_)) {                                                                                \
            a = *p_;                                                                                         \
            STMT;                                                                                            \
            *p_ = r;                                                                                         \
        } else {                                                                                             \
            a = (T##BITS)vmc_ld_slow(c, u, (va), BITS / 8);                                                  \
            STMT;                                                                                            \
            vmc_st_slow(c, u, (va), BITS / 8, r);                                                            \
        }                                                                                                    \
    } while (0)

#define RMW_LOCKED(BITS, va, STMT)                                                                           \
    do {                                                                                                     \
        T##BITS *p_ = vmc_rmw(c, u, (va), BITS / 8);                                                         \
        if (vmc_likely(p_)) {                                                                                \
            a = __atomic_load_n(p_, __ATOMIC_RELAXED);                                                       \
            for (;;) {                                                                                       \
                STMT;                                                                                        \
                T##BITS seen_ = vmc_cas##BITS(p_, a, r);                                                     \
                if (vmc_likely(seen_ == a))                                                                  \
                    break;                                                                                   \
                a = seen_;                                                                                   \
            }                                                                                                \
        } else {                                                                                             \
            vmc_split_lock(c);                                                                               \
            a = (T##BITS)vmc_ld_slow(c, u, (va), BITS / 8);                                                  \
            STMT;                                                                                            \
            vmc_st_slow(c, u, (va), BITS / 8, r);                                                            \
            vmc_split_unlock(c);                                                                             \
        }                                                                                                    \
    } while (0)

/* Compare-and-swap that returns what was there; no local's address is taken (uop.h). */
#define DEFINE_CAS(BITS)                                                                                     \
    static inline T##BITS vmc_cas##BITS(T##BITS *p, T##BITS expected, T##BITS desired)                       \
    {                                                                                                        \
        return __sync_val_compare_and_swap(p, expected, desired);                                            \
    }
FOR_WIDTHS(DEFINE_CAS)

/*
 * Two versions of a handler with memory operands. The fast one has no call in it but the tail call, so it
 * needs no stack frame: whatever is not a TLB hit leaves for the slow one, which starts again from nothing (a
 * body commits nothing before its last memory access). A body is a macro BODY(P, S, ...): P is FAST or SLOW
 * and chooses EA, LD, ST and RW below, S names the slow handler. EB is EA for the commonest address of all:
 * base and displacement, 64 bits, no segment.
 */
static inline bool vmc_has_plain_base(const struct vmc_uop *u)
{
    return !(u->flags & UF_EA_SLOW) && u->index == VMC_SLOT_ZERO && u->seg == VMC_SEG_FLAT;
}
static inline uint64_t vmc_ea_base(const VmcCpu *c, const struct vmc_uop *u)
{
    return R64(c, u->base) + (uint64_t)(int64_t)u->disp;
}

#define MEM_OP(NAME, BODY, ...)                                                                              \
    VMC_NOINLINE static void slow_##NAME(VmcCpu *c, const struct vmc_uop *u)                                 \
    {                                                                                                        \
        BODY(SLOW, unused, __VA_ARGS__)                                                                      \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    static void op_##NAME(VmcCpu *c, const struct vmc_uop *u)                                                \
    {                                                                                                        \
        BODY(FAST, slow_##NAME, __VA_ARGS__)                                                                 \
        VMC_NEXT(c, u);                                                                                      \
    }

#define SLOW_EA(S)                 vmc_ea(c, u)
#define SLOW_EB(S)                 vmc_ea_base(c, u)
#define SLOW_LD(BITS, S, va)       vmc_ld##BITS(c, u, va)
#define SLOW_ST(BITS, S, va, v)    vmc_st##BITS(c, u, va, v)
#define SLOW_RW(BITS, S, va, STMT) RMW(BITS, va, STMT)

#define FAST_LEAVE(S)                                                                                        \
    {                                                                                                        \
        S(c, u);                                                                                             \
        return;                                                                                              \
    }
#define FAST_EA(S)                                                                                           \
    ({                                                                                                       \
        if (vmc_unlikely(u->flags & UF_EA_SLOW))                                                             \
            FAST_LEAVE(S)                                                                                    \
        R64(c, u->base) + (R64(c, u->index) << u->scale) + (uint64_t)(int64_t)u->disp + c->seg_base[u->seg]; \
    })
#define FAST_EB(S) vmc_ea_base(c, u)
#define FAST_CELL(BITS, S, va, TAG)                                                                          \
    ({                                                                                                       \
        uint64_t va_ = (va);                                                                                 \
        const struct vmc_tlb_entry *tlb_ = vmc_tlb_at(c, va_);                                               \
        if (vmc_unlikely(tlb_->TAG != vmc_tlb_want(va_, BITS / 8)))                                          \
            FAST_LEAVE(S)                                                                                    \
        (T##BITS *)(va_ + tlb_->addend);                                                                     \
    })
#define FAST_LD(BITS, S, va)    (*FAST_CELL(BITS, S, va, tag_read))
#define FAST_ST(BITS, S, va, v) (*FAST_CELL(BITS, S, va, tag_write) = (v))
#define FAST_RW(BITS, S, va, STMT)                                                                           \
    do {                                                                                                     \
        T##BITS *p_ = FAST_CELL(BITS, S, va, tag_write);                                                     \
        a = *p_;                                                                                             \
        STMT;                                                                                                \
        *p_ = r;                                                                                             \
    } while (0)

/* Flags after an operation of width BITS. */
#define SET_CC(op, BITS, d, s)                                                                               \
    do {                                                                                                     \
        c->cc_op = (op) | LG##BITS;                                                                          \
        c->cc_dst = (T##BITS)(d);                                                                            \
        c->cc_src = (T##BITS)(s);                                                                            \
    } while (0)
