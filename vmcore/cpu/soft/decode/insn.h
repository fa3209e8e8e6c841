/*
 * What the bytes of one instruction say, before anyone asks what it does.
 *
 * The decoder is a pure function: bytes and mode in, struct out. It knows lengths, prefixes, ModRM, SIB,
 * displacements and immediates of every opcode map, but neither execution nor privilege, so that the
 * interpreter (exec/, through bind.c) and a translator can share it. Whether an opcode exists is the binder's
 * question; the decoder only refuses what has no length: more than 15 bytes, or bytes that are not there.
 *
 * VEX forms are described by the same fields: R, X and B are in reg, rm, base and index, pp is in prefix66
 * and rep, so that an opcode is found by map, prefix and opcode byte whether it is VEX-encoded or not. What
 * only they have is in vvvv, vex_l and vex_w. EVEX and XOP forms, VEX forms of maps that do not exist and VEX
 * behind a prefix that it does not suffer are marked as refused and described no further.
 *
 * Source: Intel SDM vol. 2 chapter 2 (VEX: section 2.3) and appendix A.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum vmc_width { VMC_MODE_16, VMC_MODE_32, VMC_MODE_64 }; /* code size: CS.L and CS.D */

enum vmc_map { VMC_MAP_1, VMC_MAP_0F, VMC_MAP_0F38, VMC_MAP_0F3A };

#define VMC_NO_REG  0xff
#define VMC_RIP_REG 0xfe /* base of a RIP-relative operand */

struct vmc_insn {
    uint8_t mode;   /* enum vmc_width */
    uint8_t map;    /* enum vmc_map */
    uint8_t opcode; /* last opcode byte */
    uint8_t length; /* bytes, 1..15 */

    uint8_t opsize;   /* effective operand size in bytes: 2, 4, 8 (REX.W over 66). Default-64 instructions
                         (near branches, push, pop ...) are not adjusted here: see vmc_insn_stack_size.
                         Of VEX forms what their general registers have: 8 with W in 64-bit mode, else 4 */
    uint8_t addrsize; /* effective address size in bytes: 2, 4, 8 */
    bool prefix66;    /* a 66 prefix was present (mandatory prefix of SSE, whatever opsize became) */
    uint8_t rep;      /* 0, 0xf2 or 0xf3: the last of them */
    bool lock;
    uint8_t
        seg; /* VMC_ES.. of the last segment prefix that counts (FS/GS only in 64-bit mode), or VMC_NO_REG */
    uint8_t rex; /* 0, or 0x40..0x4f. Of VEX forms in 64-bit mode 0x40 | W R X B, as a REX would have them */

    bool vex;         /* a VEX form, or a refused one */
    bool vex_refused; /* EVEX, XOP, or VEX that cannot be: #UD. Map and opcode are those of the byte that said
                         so (62, 8F, C4, C5 in map 1), and `length` reaches only as far as that was to be told
                       */
    bool vex_w, vex_l; /* as encoded, in every mode; false without VEX */
    uint8_t
        vvvv;  /* VEX.vvvv, no longer inverted. As the register that it names read it by vmc_insn_vvvv; which
                  kind of register depends on the opcode: vector, or general (BMI). 0 if the field is unused,
                  as  1111 encoded must be: whoever binds a form without that operand refuses vvvv != 0 */
    bool vsib; /* gathers: the memory operand has a SIB byte (refused without), and its index is a vector
                  register, which may be 4 */
    bool has_modrm, is_mem; /* is_mem: ModRM.mod != 3 */
    uint8_t modrm;
    uint8_t reg; /* ModRM.reg with REX.R, 0..15 */
    uint8_t rm;  /* ModRM.rm with REX.B when !is_mem, 0..15; for opcodes with a register in their low bits
                    (no ModRM: 40-5F, 90-97, B0-BF, 0F C8-CF) that register with REX.B */
    uint8_t base, index; /* 0..15, VMC_NO_REG, or VMC_RIP_REG; 16-bit forms use BX/BP + SI/DI */
    uint8_t scale;       /* shift 0..3 */
    uint8_t disp_size;   /* bytes of displacement: 0, 1, 2, 4 */
    bool ss_default; /* the memory operand defaults to SS (base RSP or RBP; REX.B makes R12/R13, not these) */
    int32_t disp;    /* sign-extended */
    uint8_t imm_size; /* bytes of the immediate: 0, 1, 2, 4, 8 (moffs too) */
    int64_t imm;   /* sign-extended from imm_size; moffs zero-extended; far pointers: offset. VEX forms with a
                      fourth register have it in bits 7:4 (6:4 outside 64-bit mode): vmc_insn_is4 */
    uint16_t imm2; /* selector of a far pointer; ENTER's second immediate */
};

enum vmc_decode_status {
    VMC_DECODE_OK,
    VMC_DECODE_MORE,     /* `avail` bytes were too few: fetch further bytes (next page) and call again */
    VMC_DECODE_TOO_LONG, /* more than 15 bytes: #GP(0) */
};

/* Decodes one instruction from `bytes` (`avail` of them may be read, 1..15). Thread-safe, no state. */
enum vmc_decode_status vmc_decode(const uint8_t *bytes, unsigned avail, enum vmc_width mode,
                                  struct vmc_insn *insn);

/* Operand size of instructions that use the stack or branch near: 64 bits by default in 64-bit mode. */
static inline unsigned vmc_insn_stack_size(const struct vmc_insn *insn)
{
    return insn->mode == VMC_MODE_64 && insn->opsize == 4 ? 8 : insn->opsize;
}

/* The register VEX.vvvv names; outside 64-bit mode there are eight, whatever the field says. */
static inline unsigned vmc_insn_vvvv(const struct vmc_insn *insn)
{
    return insn->vvvv & (insn->mode == VMC_MODE_64 ? 15u : 7u);
}

/* The fourth register of a VEX form that has one (blends by a register), from its immediate. */
static inline unsigned vmc_insn_is4(const struct vmc_insn *insn)
{
    return (unsigned)insn->imm >> 4 & (insn->mode == VMC_MODE_64 ? 15u : 7u);
}

/* Bytes of the explicit memory operand (ModRM or moffs) that the instruction reads or writes, 0 if it touches
 * none, and whether it writes. Of instructions that do not exist, anything. For BT and its kin the bytes at
 * the address itself, for FXSAVE 512, for masked moves and gathers those of one element; 0 for XSAVE and
 * XRSTOR, whose area depends on more than the instruction. */
unsigned vmc_insn_access(const struct vmc_insn *insn, bool *write);
