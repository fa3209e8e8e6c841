/* The parts of what x86-64-v2 lacks; vmc_bind_extension (extensions.c) asks them in turn. */
#pragma once

#include "cpu/soft/exec/fx.h"
#include "cpu/soft/features.h"

/* VMC_BIND_NO also for what is not among `features` (VMC_HAS_*): the opcode then means what it meant before.
 */
enum vmc_bound vmc_bind_bmi(const struct vmc_insn *d, uint32_t features, struct vmc_uop *u);    /* bmi.c */
enum vmc_bound vmc_bind_xsave(const struct vmc_insn *d, uint32_t features, struct vmc_uop *u);  /* xsave.c */
enum vmc_bound vmc_bind_avx(const struct vmc_insn *d, uint32_t features, struct vmc_uop *u);    /* avx_*.c */
enum vmc_bound vmc_bind_crypto(const struct vmc_insn *d, uint32_t features, struct vmc_uop *u); /* crypto.c */
enum vmc_bound vmc_bind_random(const struct vmc_insn *d, uint32_t features, struct vmc_uop *u); /* random.c */
