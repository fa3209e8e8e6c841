/*
 * AES, carry-less multiplication and SHA on XMM registers, by the host's own instructions. Their VEX-encoded
 * forms are with the others (avx_int.c, avx_imm.c).
 *
 * Source: Intel SDM vol. 1 sections 12.13 (AES-NI, PCLMULQDQ) and 5.18 (SHA); vol. 2 the instructions.
 */
#include "cpu/soft/exec/extensions.h"
#include "cpu/soft/exec/sse_stubs.h"

SSE_INT2(aesimc, "aesimc")
SSE_INT2(aesenc, "aesenc")
SSE_INT2(aesenclast, "aesenclast")
SSE_INT2(aesdec, "aesdec")
SSE_INT2(aesdeclast, "aesdeclast")

SSE_INT2(sha1nexte, "sha1nexte")
SSE_INT2(sha1msg1, "sha1msg1")
SSE_INT2(sha1msg2, "sha1msg2")
SSE_INT2(sha256msg1, "sha256msg1")
SSE_INT2(sha256msg2, "sha256msg2")

/* XMM0 is the third operand. */
static inline __m128i sha256rnds2(__m128i d, __m128i s, __m128i keys)
{
    register __m128i xmm0 __asm__("xmm0") = keys;
    __asm__("sha256rnds2 %2, %1, %0" : "+x"(d) : "x"(s), "x"(xmm0));
    return d;
}
SSE_BOTH(sha256rnds2, A128, XMM(c, u->reg) = sha256rnds2(XMM(c, u->reg), s_, XMM(c, 0)))

struct row {
    vmc_op rr, rm;
};
#define ROW(name)                                                                                            \
    {                                                                                                        \
        vmc_sse_##name##_rr, vmc_sse_##name##_rm                                                             \
    }
/* 0F38 C8 to CD and DB to DF. */
static const struct row sha[] = {ROW(sha1nexte),   ROW(sha1msg1),   ROW(sha1msg2),
                                 ROW(sha256rnds2), ROW(sha256msg1), ROW(sha256msg2)};
static const struct row aes[] = {ROW(aesimc), ROW(aesenc), ROW(aesenclast), ROW(aesdec), ROW(aesdeclast)};

VMC_SSE_HANDLER(imm_rr);
VMC_SSE_HANDLER(imm_rm);
static const struct row with_immediate = ROW(imm);

static enum vmc_bound use(const struct vmc_insn *d, struct vmc_uop *u, const struct row *r,
                          const struct vmc_stubs *stubs)
{
    u->reg = (uint8_t)(d->reg * 16);
    if (!d->is_mem)
        u->rm = (uint8_t)(d->rm * 16);
    if (stubs)
        u->imm = vmc_stub(stubs, (unsigned)d->imm);
    u->fn = d->is_mem ? r->rm : r->rr;
    return VMC_BIND_OK;
}

enum vmc_bound vmc_bind_crypto(const struct vmc_insn *d, uint32_t features, struct vmc_uop *u)
{
    unsigned op = d->opcode;
    bool plain = !d->prefix66 && !d->rep, with_66 = d->prefix66 && !d->rep;

    if (d->vex)
        return VMC_BIND_NO;
    if (d->map == VMC_MAP_0F38 && op >= 0xc8 && op <= 0xcd && features & VMC_HAS_SHA)
        return plain ? use(d, u, &sha[op - 0xc8], NULL) : VMC_BIND_UD;
    if (d->map == VMC_MAP_0F38 && op >= 0xdb && op <= 0xdf && features & VMC_HAS_AES)
        return with_66 ? use(d, u, &aes[op - 0xdb], NULL) : VMC_BIND_UD;
    if (d->map != VMC_MAP_0F3A)
        return VMC_BIND_NO;
    if (op == 0xcc && features & VMC_HAS_SHA)
        return plain ? use(d, u, &with_immediate, &vmc_stubs_sha1rnds4) : VMC_BIND_UD;
    if (op == 0x44 && features & VMC_HAS_PCLMUL)
        return with_66 ? use(d, u, &with_immediate, &vmc_stubs_pclmulqdq) : VMC_BIND_UD;
    if (op == 0xdf && features & VMC_HAS_AES)
        return with_66 ? use(d, u, &with_immediate, &vmc_stubs_aeskeygenassist) : VMC_BIND_UD;
    return VMC_BIND_NO;
}
