/*
 * Segments, descriptors and stacks of software CPU: what exception delivery, far transfers and segment loads
 * share.
 *
 * Everything that reads descriptor tables works on copies (struct vmc_desc, struct vmc_seg) and commits last,
 * so that a fault at any check leaves the CPU as it was.
 */
#pragma once

#include "cpu/soft/mmu.h"

/* Descriptor types with S = 0 (SDM vol. 3 table 3-2). */
enum {
    SYS_TSS16 = 1,
    SYS_LDT = 2,
    SYS_TSS16_BUSY = 3,
    SYS_CALL16 = 4,
    SYS_TASK_GATE = 5,
    SYS_INT16 = 6,
    SYS_TRAP16 = 7,
    SYS_TSS = 9,
    SYS_TSS_BUSY = 11,
    SYS_CALL = 12,
    SYS_INT = 14,
    SYS_TRAP = 15,
};

/* Type bits with S = 1. */
#define SEG_CODE       0x8u
#define SEG_CONFORMING 0x4u /* code */
#define SEG_EXPAND     0x4u /* data: expand-down */
#define SEG_RW         0x2u /* code: readable; data: writable */
#define SEG_ACCESSED   0x1u

/* A descriptor as it stands in its table. */
struct vmc_desc {
    uint32_t lo, hi;
    uint64_t address; /* linear */
    uint16_t selector;
};

static inline bool vmc_protected(const VmcCpu *c)
{
    return (c->cr0 & CR0_PE) != 0;
}
static inline bool vmc_v86(const VmcCpu *c)
{
    return (c->eflags & FL_VM) != 0;
}
/* Protected mode proper: selectors name descriptors. */
static inline bool vmc_selectors(const VmcCpu *c)
{
    return vmc_protected(c) && !vmc_v86(c);
}
static inline unsigned vmc_iopl(const VmcCpu *c)
{
    return (unsigned)(c->eflags >> 12) & 3u;
}
static inline bool vmc_canonical(uint64_t va)
{
    return (uint64_t)((int64_t)(va << 16) >> 16) == va;
}
static inline void vmc_request(VmcCpu *c, uint32_t bits)
{
    atomic_fetch_or_explicit(&c->request, bits, memory_order_relaxed);
}

static inline uint16_t vmc_desc_attr(const struct vmc_desc *d)
{
    return (uint16_t)((d->hi >> 8) & 0xf0ff);
}
static inline uint32_t vmc_desc_base(const struct vmc_desc *d)
{
    return (d->lo >> 16) | ((d->hi & 0xff) << 16) | (d->hi & 0xff000000u);
}
static inline uint32_t vmc_desc_limit(const struct vmc_desc *d)
{
    uint32_t limit = (d->lo & 0xffff) | (d->hi & 0xf0000);
    return d->hi & (SEG_G << 8) ? (limit << 12) | 0xfff : limit;
}
static inline bool vmc_is_null(uint16_t selector)
{
    return (selector & 0xfffc) == 0;
}
static inline bool vmc_is_code(unsigned attr)
{
    return (attr & (SEG_S | SEG_CODE)) == (SEG_S | SEG_CODE);
}
static inline bool vmc_is_writable_data(unsigned attr)
{
    return (attr & (SEG_S | SEG_CODE | SEG_RW)) == (SEG_S | SEG_RW);
}

/* Reads the descriptor `selector` names. False: beyond its table's limit, or no LDT. May fault (#PF). */
bool vmc_desc_read(VmcCpu *c, uint16_t selector, struct vmc_desc *d);
/* Bits 63:32 of the base of a 16-byte system descriptor (long mode); false: its upper type is not 0, or it is
 * cut off. */
bool vmc_desc_read_high(VmcCpu *c, const struct vmc_desc *d, uint32_t *base_high);
/* Sets `bits` in the type byte of a descriptor in memory (accessed, TSS busy). */
void vmc_desc_mark(VmcCpu *c, const struct vmc_desc *d, uint8_t bits);

/* A code or data descriptor made ready for a segment register, with `rpl` as the selector's RPL; marks it
 * accessed. */
void vmc_desc_to_seg(VmcCpu *c, const struct vmc_desc *d, unsigned rpl, struct vmc_seg *seg);

/* Whether [off, off+size) lies inside the limit. */
bool vmc_seg_inside(const struct vmc_seg *seg, uint64_t off, unsigned size);

/* MOV/POP/Lxx to a segment register other than CS, all modes and checks. The caller has set c->cur. Does not
 * call vmc_soft_update_mode: for SS in legacy modes the caller does. */
void vmc_load_seg(VmcCpu *c, unsigned seg, uint16_t selector);
/* Checks `selector` as a stack for `cpl` and loads it into *seg. Faults with `vector` (#TS when a TSS named
 * it, #GP otherwise; #SS if not present) and `ext` in bit 0 of the error code. Null selectors fault too. */
void vmc_check_stack(VmcCpu *c, uint16_t selector, unsigned cpl, unsigned vector, unsigned ext,
                     struct vmc_seg *seg);
/* Stores a segment register and its seg_base. */
void vmc_set_seg(VmcCpu *c, unsigned seg, const struct vmc_seg *value);
void vmc_null_seg(struct vmc_seg *seg, uint16_t selector);
/* Data segments a less privileged CPL may not keep become null (far returns outwards). */
void vmc_drop_segs(VmcCpu *c);
/* seg_base[] anew, then vmc_soft_update_mode: after changes of CS, CPL, EFER or CR0. */
void vmc_mode_changed(VmcCpu *c);

void vmc_load_ldt(VmcCpu *c, uint16_t selector);
void vmc_load_tr(VmcCpu *c, uint16_t selector);
/* Stack of privilege level `cpl` from the TSS. `ss` is 0 in long mode. Faults #TS. */
void vmc_tss_stack(VmcCpu *c, unsigned cpl, unsigned ext, uint64_t *sp, uint16_t *ss);
/* Entry `ist` (1..7) of the 64-bit TSS. */
uint64_t vmc_tss_ist(VmcCpu *c, unsigned ist, unsigned ext);

/* Gives up: what was asked for exists on hardware but not here (task switches). The run loop returns
 * VMC_EXIT_ERROR. `sentence`, N_(), has places for the CPU's number and CS:RIP. */
void vmc_refuse(VmcCpu *c, const char *sentence);

/* ---- a stack being pushed to or popped from, before anything is committed ---- */
struct vmc_stack {
    VmcCpu *c;
    struct vmc_seg seg;
    uint64_t sp, mask; /* mask: width of the stack pointer */
    bool flat;         /* 64-bit mode: no base, no limit */
    bool user;         /* accesses have the rights of CPL 3 */
    uint32_t error;    /* of the #SS a bad access raises */
};
/* The current stack, as the running code sees it. */
void vmc_stack_current(VmcCpu *c, struct vmc_stack *s);
/* A new one: `flat` as the code that will use it; `cpl` the privilege of its accesses. */
void vmc_stack_new(VmcCpu *c, struct vmc_stack *s, const struct vmc_seg *seg, uint64_t sp, bool flat,
                   unsigned cpl);
void vmc_push(struct vmc_stack *s, unsigned size, uint64_t value);
uint64_t vmc_pop(struct vmc_stack *s, unsigned size);
/* Writes sp back to RSP, ESP or SP. */
void vmc_stack_commit(const struct vmc_stack *s);

/* After RFLAGS came from memory or a register (IRET, POPF, SYSRET): what hangs on TF and RF. The caller
 * updates the mode. */
void vmc_flags_loaded(VmcCpu *c);

/* ---- exec/far.c, used by the binder in exec/system.c ---- */
enum vmc_bound vmc_bind_far(const struct vmc_insn *d, struct vmc_uop *u);
enum vmc_bound vmc_bind_io(const struct vmc_insn *d, struct vmc_uop *u);           /* exec/io.c */
enum vmc_bound vmc_bind_control_regs(const struct vmc_insn *d, struct vmc_uop *u); /* exec/system_cr.c */
enum vmc_bound vmc_bind_segments(const struct vmc_insn *d, struct vmc_uop *u);     /* exec/system_seg.c */

/* RIP of the instruction after `u`, in the width of the code. */
static inline uint64_t vmc_after(const VmcCpu *c, const struct vmc_uop *u)
{
    uint64_t rip = vmc_next_rip(c, u);
    return c->mode == VMC_MODE_64 ? rip : (uint32_t)rip;
}
static inline void vmc_need_cpl0(VmcCpu *c, const struct vmc_uop *u)
{
    c->cur = u;
    if (vmc_unlikely(c->cpl))
        vmc_gp0(c);
}
