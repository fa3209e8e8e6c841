/*
 * The standard VGA: modes of any size at any place in video memory, set by ports and by the page of
 * registers, BARs that move, and a front end that collects meanwhile.
 *
 * covers: vmcore/display/vga.c vmcore/display/vga_pci.c vmcore/display/display.c vmcore/display/damage.c
 * vmcore/display/pixels.c
 */
#include "tests/fuzz/device.h"
#include "display/headless.h"
#include "display/vga.h"

#define WIDTH  320u
#define HEIGHT 200u

typedef struct World {
    VmcDisplay *display;
    VmcHeadless *frontend;
    VmcMemory *video;
} World;

static VmcPciDevice *make(FuzzMachine *m, FuzzInput *in)
{
    World *world = g_new0(World, 1);

    m->own = world;
    world->display = vmc_display_new(WIDTH, HEIGHT);
    world->frontend = vmc_headless_new(world->display);
    world->video = vmc_memory_new();
    VmcVgaParams params = {
        .memory = world->video, .pio = m->pio, .display = world->display, .width = WIDTH, .height = HEIGHT};
    return vmc_vga_pci_new(vmc_vga_new(&params, NULL));
}

static void unmake(FuzzMachine *m)
{
    World *world = m->own;

    vmc_headless_free(world->frontend);
    vmc_display_free(world->display);
    vmc_memory_free(world->video);
    g_free(world);
}

static uint16_t any_value(FuzzInput *in)
{
    static const uint16_t values[] = {0,    1,    15,  16,  24,   32,    0x41, 0xc1,
                                      0x40, 0x42, 640, 480, 1024, 16384, 65535};
    uint8_t choice = fuzz_u8(in);

    return choice < 200 ? values[choice % G_N_ELEMENTS(values)] : fuzz_u16(in);
}

/* A DISPI register, by port or flat. */
static void step_dispi(FuzzMachine *m, FuzzInput *in)
{
    unsigned index = fuzz_below(in, 12);

    if (fuzz_u8(in) & 1) {
        vmc_bus_write(m->pio, 0x1ce, 2, index);
        vmc_bus_write(m->pio, 0x1cf + fuzz_below(in, 2), 2, any_value(in));
        vmc_bus_read(m->pio, 0x1cf, 2);
    } else {
        fuzz_bar_write(m, 2, 0x500 + 2 * index, 2, any_value(in));
        fuzz_bar_read(m, 2, 0x500 + 2 * index, 1u << fuzz_below(in, 4));
    }
}

/* A whole mode, as drivers set it. */
static void step_mode(FuzzMachine *m, FuzzInput *in)
{
    static const uint16_t depths[] = {15, 16, 24, 32, 8};
    uint16_t values[] = {(uint16_t)(1 + fuzz_below(in, 2000)), (uint16_t)(1 + fuzz_below(in, 2000)),
                         depths[fuzz_below(in, G_N_ELEMENTS(depths))], 0x41};

    fuzz_bar_write(m, 2, 0x508, 2, 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(values); i++)
        fuzz_bar_write(m, 2, 0x502 + 2 * i, 2, values[i]);
    fuzz_bar_write(m, 2, 0x50c + 2 * fuzz_below(in, 4), 2, any_value(in));
}

static void step_port(FuzzMachine *m, FuzzInput *in)
{
    unsigned port = 0x3c0 + fuzz_below(in, 0x20), size = 1u << fuzz_below(in, 3);

    if (fuzz_u8(in) & 1)
        vmc_bus_write(m->pio, port, size, fuzz_u32(in));
    else
        vmc_bus_read(m->pio, port, size);
}

static void step_registers(FuzzMachine *m, FuzzInput *in)
{
    unsigned offset = fuzz_u16(in) % 4096, size = 1u << fuzz_below(in, 4);

    if (fuzz_u8(in) & 1)
        fuzz_bar_write(m, 2, offset, size, fuzz_u64(in));
    else
        fuzz_bar_read(m, 2, offset, size);
}

/* The guest draws; and as memory does not care how a picture lies in it, anywhere. */
static void step_draw(FuzzMachine *m, FuzzInput *in)
{
    World *world = m->own;
    const VmcMemSlot *slot = &world->video->slots[0];
    uint64_t at = fuzz_u32(in) % (slot->size - 64);

    vmc_memory_note_dirty(slot, at);
    vmc_memory_note_dirty(slot, at + 63);
    fuzz_take(in, slot->host + at, 1 + fuzz_below(in, 64));
}

/* What the front end has put together from damage alone is what is there. */
static void step_collect(FuzzMachine *m, FuzzInput *in)
{
    World *world = m->own;
    VmcFrame whole;

    vmc_headless_update(world->frontend);
    if (fuzz_below(in, 4))
        return;
    vmc_display_take_picture(world->display, &whole);
    const VmcFrame *frame = vmc_headless_frame(world->frontend);
    if (frame->width != whole.width || frame->height != whole.height)
        fuzz_finding("the front end was given %u by %u pixels, but there are %u by %u", frame->width,
                     frame->height, whole.width, whole.height);
    for (size_t i = 0; i < (size_t)whole.width * whole.height; i++)
        if ((((const uint32_t *)frame->pixels)[i] ^ ((const uint32_t *)whole.pixels)[i]) & 0xffffff)
            fuzz_finding("pixel %zu of %u by %u has changed without damage", i, whole.width, whole.height);
    vmc_picture_clear(&whole);
}

static void (*const steps[])(FuzzMachine *m, FuzzInput *in) = {step_dispi,     step_mode, step_port,
                                                               step_registers, step_draw, step_collect};

static const FuzzTarget target = {
    .make = make,
    .unmake = unmake,
    .steps = steps,
    .n_steps = G_N_ELEMENTS(steps),
};

FUZZ_DEVICE(target)
