/*
 * virtio-input: keyboard and tablet, with events from outside, configuration selected and lights set at any
 * time.
 *
 * covers: vmcore/virtio/input.c
 */
#include "tests/fuzz/device.h"

#include <linux/input-event-codes.h>
#include <linux/virtio_input.h>

static VmcPciDevice *make(FuzzMachine *m, FuzzInput *in)
{
    return fuzz_u8(in) & 1 ? vmc_virtio_tablet_new(&m->host) : vmc_virtio_keyboard_new(&m->host);
}

static size_t status(FuzzMachine *m, FuzzInput *in, uint8_t *buf)
{
    uint8_t how = fuzz_u8(in);
    struct virtio_input_event event = {
        .type = how & 128 ? fuzz_u16(in)
                : how & 1 ? EV_SYN
                          : EV_LED,
        .code = how & 64 ? fuzz_u16(in) : (how >> 1) % 6,
        .value = how & 32 ? fuzz_u32(in) : how & 1,
    };

    memcpy(buf, &event, sizeof(event));
    return sizeof(event) - (how == 0x7f ? 3 : 0);
}

static const FuzzMessage messages[] = {{.queue = 1, .make = status}};

static void step_events(FuzzMachine *m, FuzzInput *in)
{
    static const uint16_t types[] = {EV_KEY, EV_ABS, EV_REL, EV_SYN};

    for (unsigned n = fuzz_u8(in) % 80; n; n--) {
        uint8_t how = fuzz_u8(in);
        vmc_virtio_input_event(m->dev, types[how & 3], (unsigned)(how >> 2) + (how & 1 ? BTN_LEFT - 4 : 0),
                               (int)n - 20);
        if (how & 32)
            vmc_virtio_input_sync(m->dev);
    }
    vmc_virtio_input_sync(m->dev);
    vmc_virtio_input_leds(m->dev);
    if (fuzz_u8(in) & 1)
        fuzz_settle(m);
}

static void step_config(FuzzMachine *m, FuzzInput *in)
{
    static const uint8_t selects[] = {VIRTIO_INPUT_CFG_ID_NAME,   VIRTIO_INPUT_CFG_ID_SERIAL,
                                      VIRTIO_INPUT_CFG_ID_DEVIDS, VIRTIO_INPUT_CFG_PROP_BITS,
                                      VIRTIO_INPUT_CFG_EV_BITS,   VIRTIO_INPUT_CFG_ABS_INFO};
    uint8_t how = fuzz_u8(in);
    uint64_t config = m->device;

    vmc_bus_write(m->mmio, config, 1, how & 128 ? fuzz_u8(in) : selects[how % G_N_ELEMENTS(selects)]);
    vmc_bus_write(m->mmio, config + 1, 1, fuzz_u8(in) & 0x3f);
    for (unsigned at = 2; at < sizeof(struct virtio_input_config); at += 7)
        vmc_bus_read(m->mmio, config + at, 8);
}

static void (*const steps[])(FuzzMachine *m, FuzzInput *in) = {step_events, step_config};

static const FuzzTarget target = {
    .make = make,
    .messages = messages,
    .n_messages = G_N_ELEMENTS(messages),
    .steps = steps,
    .n_steps = G_N_ELEMENTS(steps),
};

FUZZ_DEVICE(target)
