/*
 * The SMC's ports, accessed in any order and width; a reset brings back what there was.
 *
 * covers: vmcore/pc/smc.c
 */
#include <stdlib.h>

#include "pc/smc.h"
#include "tests/fuzz/input.h"

static const char osk[VMC_SMC_OSK_SIZE + 1] =
    "This string of sixty-four characters is not the one of Apple's. ";

/* OSK0 by the book. */
static void check_key(VmcBus *pio)
{
    static const char key[] = "OSK0 ";

    vmc_bus_write(pio, 0x304, 1, 0x10);
    for (unsigned i = 0; i < 5; i++)
        vmc_bus_write(pio, 0x300, 1, (uint8_t)key[i]);
    for (unsigned i = 0; i < 32; i++)
        if (vmc_bus_read(pio, 0x304, 1) != 0x05 || vmc_bus_read(pio, 0x300, 1) != (uint8_t)osk[i])
            abort();
    if (vmc_bus_read(pio, 0x304, 1) || vmc_bus_read(pio, 0x31e, 1))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t offsets[] = {0, 0, 0, 4, 4, 0x1e};
    FuzzInput in = {data, size, 0};
    VmcBus *pio = vmc_bus_new("pio");
    VmcSmc *smc = vmc_smc_new(pio, osk);

    while (fuzz_more(&in)) {
        uint8_t how = fuzz_u8(&in);
        unsigned width = 1u << (how >> 6 == 3 ? 0 : how >> 6);
        unsigned which = how & 7;
        uint64_t port =
            VMC_SMC_BASE + (which < sizeof(offsets) ? offsets[which] : fuzz_below(&in, VMC_SMC_SIZE));

        if (how & 8)
            vmc_bus_read(pio, port, width);
        else
            vmc_bus_write(pio, port, width, fuzz_number(&in, width));
    }
    vmc_smc_reset(smc);
    check_key(pio);
    vmc_smc_free(smc);
    vmc_bus_free(pio);
    return 0;
}
