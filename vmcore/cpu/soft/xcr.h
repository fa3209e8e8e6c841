/* XCR0 and the sizes of XSAVE's area (exec/xsave.c; SDM vol. 1 chapter 13). */
#pragma once

#include "cpu/soft/state.h"

#define VMC_XSAVE_MIN  576u /* legacy region and header */
#define VMC_XSAVE_AVX  576u /* offset of the upper halves of the YMM registers */
#define VMC_XSAVE_SIZE 832u /* with them */

/* The features XCR0 may enable. */
uint64_t vmc_xcr0_allowed(const VmcCpu *c);
/* Whether XSETBV accepts it. */
bool vmc_xcr0_valid(const VmcCpu *c, uint64_t value);
/* Bytes an area for these features takes. */
unsigned vmc_xsave_size(uint64_t features);
