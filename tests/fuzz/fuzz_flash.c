/*
 * The flash chip with a guest that writes anything to it, in any width. What it may change is known: bytes
 * that were written to, and blocks that a confirmation was written to. What reads as its array in the end is
 * in the file when it is gone.
 *
 * covers: vmcore/pc/flash.c
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pc/flash.h"
#include "tests/fuzz/device.h"

#define BASE   0xffc00000ull
#define BLOCKS 2u
#define SIZE   (BLOCKS * VMC_FLASH_BLOCK)

#define CONFIRM    0xd0u
#define READ_ARRAY 0xffu

typedef struct World {
    VmcBus *mmio;
    VmcFlash *flash;
    int file;
    bool full; /* the file cannot be written */
    unsigned told;
    const uint8_t *before;
    bool may_change[SIZE];
} World;

static void on_log(void *opaque, const char *line)
{
    World *world = opaque;

    if (!world->full || world->told++)
        fuzz_finding("told: %s", line);
}

static void note(World *world, uint64_t offset, unsigned size, uint64_t value)
{
    for (unsigned i = 0; i < size && offset + i < SIZE; i++) {
        world->may_change[offset + i] = true;
        if ((uint8_t)(value >> (8 * i)) == CONFIRM)
            memset(world->may_change + (offset + i) / VMC_FLASH_BLOCK * VMC_FLASH_BLOCK, true,
                   VMC_FLASH_BLOCK);
    }
}

static void write_chip(World *world, uint64_t offset, unsigned size, uint64_t value)
{
    note(world, offset, size, value);
    vmc_bus_write(world->mmio, BASE + offset, size, value);
}

/* ---- steps ---- */

static uint64_t any_offset(FuzzInput *in)
{
    uint16_t n = fuzz_u16(in);

    return n >= 0xff00 ? SIZE - 1 - (n & 7) : n % SIZE;
}

static void step_write(World *world, FuzzInput *in)
{
    static const uint8_t values[] = {0x10, 0x20, 0x40,    0x50, 0x60,       0x70,
                                     0x90, 0x98, CONFIRM, 0xe8, READ_ARRAY, 0};
    uint64_t offset = any_offset(in);
    uint8_t choice = fuzz_u8(in);
    unsigned size = choice & 0x80 ? 1u << fuzz_below(in, 4) : 1;
    uint64_t value = size > 1 ? fuzz_u64(in) : fuzz_u8(in);

    choice &= 0x7f;
    write_chip(world, offset, size,
               choice < 96 ? (value & ~0xffull) | values[choice % G_N_ELEMENTS(values)] : value);
}

/* The sequences of a driver, cut off at times. */
static void step_program(World *world, FuzzInput *in)
{
    uint64_t offset = any_offset(in);
    unsigned size = 1u << fuzz_below(in, 4);

    write_chip(world, offset, 1, fuzz_u8(in) & 1 ? 0x10 : 0x40);
    write_chip(world, offset, size, fuzz_u64(in));
}

static void step_erase(World *world, FuzzInput *in)
{
    uint64_t offset = any_offset(in);

    write_chip(world, offset, 1, 0x20);
    write_chip(world, offset, 1, fuzz_u8(in) < 200 ? CONFIRM : fuzz_u8(in));
}

static void step_buffer(World *world, FuzzInput *in)
{
    uint64_t offset = any_offset(in);
    unsigned n = fuzz_below(in, 40), size = 1u << fuzz_below(in, 4);

    write_chip(world, offset, 1, 0xe8);
    write_chip(world, offset, 1, n ? n - 1 : fuzz_u8(in));
    for (unsigned i = 0; i < n; i += size)
        write_chip(world, MIN(offset + i, SIZE - 1), size, fuzz_u64(in));
    write_chip(world, offset, 1, fuzz_u8(in) < 200 ? CONFIRM : fuzz_u8(in));
}

static void step_read(World *world, FuzzInput *in)
{
    vmc_bus_read(world->mmio, BASE + any_offset(in), 1u << fuzz_below(in, 4));
}

static void step_reset(World *world, FuzzInput *in)
{
    vmc_flash_reset(world->flash);
}

static void (*const steps[])(World *world, FuzzInput *in) = {
    step_write, step_write, step_program, step_erase, step_buffer, step_read, step_read, step_reset};

/* ---- before and after ---- */

static const uint8_t *contents(void)
{
    static uint8_t bytes[SIZE];

    for (unsigned i = 0; !bytes[SIZE - 1] && i < SIZE; i++)
        bytes[i] = (uint8_t)(i * 7 + (i >> 8));
    return bytes;
}

static int make_file(World *world, FuzzInput *in)
{
    world->before = contents();
    if (pwrite(world->file, world->before, SIZE, 0) != SIZE)
        fuzz_finding("no room for the file");
    world->full = fuzz_u8(in) % 8 == 7;
    if (!world->full)
        return dup(world->file);
    /* One that can be read only: what is written to it fails. */
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", world->file);
    return open(path, O_RDONLY | O_CLOEXEC);
}

static void read_array(World *world, uint8_t *array)
{
    vmc_flash_reset(world->flash);
    for (unsigned i = 0; i < SIZE; i += 8) {
        uint64_t value = vmc_bus_read(world->mmio, BASE + i, 8);
        memcpy(array + i, &value, 8);
    }
}

static void check(World *world, const uint8_t *array)
{
    uint8_t *file = g_malloc(SIZE);

    bool changed = memcmp(array, world->before, SIZE);

    for (unsigned i = 0; changed && i < SIZE; i++)
        if (array[i] != world->before[i] && !world->may_change[i])
            fuzz_finding("byte %#x has changed, though nobody wrote to it", i);
    if (pread(world->file, file, SIZE, 0) != SIZE)
        fuzz_finding("the file has become shorter");
    if (memcmp(file, world->full ? world->before : array, SIZE))
        fuzz_finding("the file is not what the chip was");
    if (world->full && changed && !world->told)
        fuzz_finding("nobody was told that the file cannot be written");
    g_free(file);
}

typedef struct Run {
    FuzzInput in;
    VmcIo *io;
    int file;
} Run;

/* On the I/O thread, which has the chip's timer, so that nothing waits for a change of threads. */
static void run(void *opaque)
{
    Run *r = opaque;
    World *world = g_new0(World, 1);
    VmcHostHooks hooks = {.log = on_log, .opaque = world};
    uint8_t *array = g_malloc(SIZE);

    world->file = r->file;
    world->mmio = vmc_bus_new("mmio");
    VmcFlashParams params = {
        .mmio = world->mmio, .io = r->io, .base = BASE, .size = SIZE, .path = "nvram.fd", .hooks = &hooks};
    params.fd = make_file(world, &r->in);
    world->flash = vmc_flash_new(&params, NULL);
    if (!world->flash)
        fuzz_finding("there is no chip");
    while (fuzz_more(&r->in))
        steps[fuzz_below(&r->in, G_N_ELEMENTS(steps))](world, &r->in);
    read_array(world, array);
    vmc_flash_free(world->flash);
    check(world, array);
    vmc_bus_free(world->mmio);
    g_free(array);
    g_free(world);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static VmcIo *io;
    static int file = -1;

    if (!io) {
        io = vmc_io_new(NULL);
        file = memfd_create("fuzz-flash", MFD_CLOEXEC);
    }
    Run r = {.in = {data, size, 0}, .io = io, .file = file};
    vmc_io_call_sync(io, run, &r);
    return 0;
}
