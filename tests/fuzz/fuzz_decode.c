/*
 * The instruction decoder on any bytes, in every mode: it reads no byte it was not given, and what it says of
 * the length holds however many bytes follow.
 *
 * covers: vmcore/cpu/soft/decode/access.c vmcore/cpu/soft/decode/decode.c vmcore/cpu/soft/decode/tables.c
 */
#include <stdlib.h>
#include <string.h>

#include "cpu/soft/decode/insn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    enum vmc_width mode = data[0] % 3;
    unsigned avail = size - 1 > 15 ? 15 : (unsigned)(size - 1);
    struct vmc_insn insn, again;

    /* A block of exactly that size, so that ASan sees a read too far. */
    uint8_t *bytes = malloc(avail);
    if (!bytes)
        return 0;
    memcpy(bytes, data + 1, avail);
    enum vmc_decode_status status = vmc_decode(bytes, avail, mode, &insn);

    if (status == VMC_DECODE_OK) {
        if (insn.length < 1 || insn.length > avail)
            abort();
        /* The bytes it said it needs are enough, and one less is not. (What starts a VEX form only has to be
         * told from what does not, so there the length says less.) */
        if (insn.vex)
            goto out;
        if (vmc_decode(bytes, insn.length, mode, &again) != VMC_DECODE_OK || again.length != insn.length)
            abort();
        if (insn.length > 1 && vmc_decode(bytes, insn.length - 1u, mode, &again) == VMC_DECODE_OK)
            abort();
    } else if (status == VMC_DECODE_MORE && avail == 15) {
        abort(); /* no instruction needs more than 15 */
    }
out:
    free(bytes);
    return 0;
}
