/* FMA: every order of the three operands, of which the destination is one. */
#include "cpu/soft/exec/avx.h"

#define ORDERS(M, op) M(op##132, "v" #op "132") M(op##213, "v" #op "213") M(op##231, "v" #op "231")
#define PACKED(name, insn)                                                                                   \
    AVX_FMA(name##ps, insn "ps")                                                                             \
    AVX_FMA(name##pd, insn "pd")
#define SCALAR(name, insn)                                                                                   \
    AVX_FMA_X(name##ss, insn "ss", 4)                                                                        \
    AVX_FMA_X(name##sd, insn "sd", 8)

ORDERS(PACKED, fmadd)
ORDERS(PACKED, fmsub)
ORDERS(PACKED, fnmadd)
ORDERS(PACKED, fnmsub)
ORDERS(PACKED, fmaddsub)
ORDERS(PACKED, fmsubadd)
ORDERS(SCALAR, fmadd)
ORDERS(SCALAR, fmsub)
ORDERS(SCALAR, fnmadd)
ORDERS(SCALAR, fnmsub)
