/*
 * fw_cfg with a guest that does anything with it: ports in all widths, DMA commands well and badly made,
 * wherever they lie, while files change. Beside it runs a model of what is selected, which every byte and
 * every result has to agree with.
 *
 * covers: vmcore/pc/fw_cfg.c
 */
#include <stdlib.h>

#include "pc/fw_cfg.h"
#include "tests/fuzz/device.h"

#define SELECTOR 0x510u
#define DATA     0x511u
#define DMA      0x514u

#define READ   0x02u
#define SKIP   0x04u
#define SELECT 0x08u
#define WRITE  0x10u

#define DIRECTORY 0x19u
#define FILES     0x20u
#define N_FILES   6u
#define REFRESHED 2u /* the file that is made anew when it is selected */
#define FILE_MAX  80u
#define RAM       0x4000u
#define ROM       0x8000u
#define ROM_BYTE  0x5a
#define HIGH      0x100000000ull

typedef struct Item {
    uint8_t bytes[4 + N_FILES * 64];
    size_t size;
} Item;

typedef struct Model {
    VmcBus *pio;
    VmcMemory *memory;
    VmcFwCfg *fw;
    Item files[N_FILES];
    unsigned key;
    size_t offset;
    uint32_t dma_high;
    uint8_t refreshes;
} Model;

static VmcMemory *make_memory(void)
{
    VmcMemory *memory = vmc_memory_new();

    vmc_memory_add(memory, "ram", 0, RAM, false, NULL);
    vmc_memory_add(memory, "rom", ROM, VMC_PAGE_SIZE, true, NULL);
    vmc_memory_add(memory, "high", HIGH, RAM, false, NULL);
    return memory;
}

/* ---- the model ---- */

static void set_file(Model *m, unsigned n, const uint8_t *bytes, size_t size)
{
    char name[] = {'f', (char)('0' + n), '\0'};

    memcpy(m->files[n].bytes, bytes, size);
    m->files[n].size = size;
    vmc_fw_cfg_set_file(m->fw, name, g_bytes_new(bytes, size));
}

static void refresh(void *opaque)
{
    Model *m = opaque;
    uint8_t bytes[] = {'r', m->refreshes++};

    set_file(m, REFRESHED, bytes, sizeof(bytes));
}

static void fill_directory(const Model *m, Item *item)
{
    memset(item->bytes, 0, sizeof(item->bytes));
    item->size = sizeof(item->bytes);
    item->bytes[3] = N_FILES;
    for (unsigned n = 0; n < N_FILES; n++) {
        uint8_t *entry = item->bytes + 4 + (size_t)n * 64;
        entry[3] = (uint8_t)m->files[n].size;
        entry[5] = (uint8_t)(FILES + n);
        entry[8] = 'f';
        entry[9] = (uint8_t)('0' + n);
    }
}

static void selected(const Model *m, Item *item)
{
    unsigned key = m->key & 0xbfff;

    *item = (Item){.size = 0};
    if (key == 0)
        *item = (Item){.bytes = "QEMU", .size = 4};
    else if (key == 1)
        *item = (Item){.bytes = {3}, .size = 4};
    else if (key == DIRECTORY)
        fill_directory(m, item);
    else if (key >= FILES && key < FILES + N_FILES)
        *item = m->files[key - FILES];
}

/* The device refreshes by itself, which changes the model's file. */
static void model_select(Model *m, unsigned key)
{
    m->key = key;
    m->offset = 0;
}

/* The next `n` bytes; zeros behind the end. */
static void model_take(Model *m, uint8_t *bytes, size_t n)
{
    Item item;

    selected(m, &item);
    size_t there = MIN(n, item.size - m->offset);
    memset(bytes, 0, n);
    memcpy(bytes, item.bytes + m->offset, there);
    m->offset += there;
}

/* Whether `n` bytes from `at` on can be written. */
static bool is_ram(uint64_t at, uint64_t n)
{
    return !n || (at < RAM && n <= RAM - at) || (at >= HIGH && at - HIGH < RAM && n <= RAM - (at - HIGH));
}

/* ---- DMA ---- */

static uint64_t be(const uint8_t *bytes, unsigned n)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < n; i++)
        value = value << 8 | bytes[i];
    return value;
}

static void check_result(Model *m, uint64_t at, bool ok)
{
    uint8_t word[4];

    if (!is_ram(at, 4))
        return;
    vmc_memory_read(m->memory, at, word, 4);
    if (be(word, 4) != (ok ? 0 : 1))
        fuzz_finding("the command at %#lx says %#lx", (unsigned long)at, (unsigned long)be(word, 4));
}

static void check_data(Model *m, uint64_t command, uint64_t to, size_t n)
{
    g_autofree uint8_t *expected = g_malloc(n + 1), *seen = g_malloc(n + 1);

    model_take(m, expected, n);
    vmc_memory_read(m->memory, to, seen, n);
    if (to < command + 4 && command < to + n) /* the result has come over it */
        return;
    if (memcmp(expected, seen, n))
        fuzz_finding("%zu bytes of item %#x are not what they should be", n, m->key);
}

/* Writes the register as given and looks at what has come of it. */
static void run_dma(Model *m, uint64_t at, const uint8_t *halves)
{
    uint8_t command[16];
    bool there = vmc_memory_read(m->memory, at, command, sizeof(command));
    uint32_t control = there ? (uint32_t)be(command, 4) : 0,
             length = there ? (uint32_t)be(command + 4, 4) : 0;
    uint64_t to = there ? be(command + 8, 8) : 0;
    bool read = control & READ, write = !read && control & WRITE;

    m->dma_high = 0;
    if (control & SELECT)
        model_select(m, control >> 16);
    if (halves)
        vmc_bus_write(m->pio, DMA + 4, 4, GUINT32_SWAP_LE_BE((uint32_t)at));
    else
        vmc_bus_write(m->pio, DMA, 8, GUINT64_SWAP_LE_BE(at));
    bool ok = there && !write && (!read || is_ram(to, length));
    check_result(m, at, ok);
    if (read && ok) {
        check_data(m, at, to, length);
    } else if (read || (!write && control & SKIP)) {
        uint8_t skipped[sizeof(Item)];
        model_take(m, skipped, MIN(length, sizeof(skipped)));
    }
}

/* ---- steps ---- */

static uint64_t any_address(FuzzInput *in)
{
    static const uint64_t edges[] = {0,    RAM,        ROM,        ROM + VMC_PAGE_SIZE,
                                     HIGH, HIGH + RAM, UINT64_MAX, 0xc0000000};
    uint8_t choice = fuzz_u8(in);

    if (choice < 96)
        return fuzz_u16(in) % RAM;
    if (choice < 128)
        return HIGH + fuzz_u16(in) % RAM;
    if (choice < 250)
        return edges[choice % G_N_ELEMENTS(edges)] + (uint64_t)(int64_t)(int8_t)fuzz_u8(in);
    return fuzz_u64(in);
}

static unsigned any_key(FuzzInput *in)
{
    static const uint16_t keys[] = {0,         1,         DIRECTORY, FILES,  FILES + 1, FILES + REFRESHED,
                                    FILES + 5, FILES + 6, 0x4000,    0x8000, 0x60,      0x3fff};
    uint8_t choice = fuzz_u8(in);

    return choice < 240 ? keys[choice % G_N_ELEMENTS(keys)] : fuzz_u16(in);
}

static void step_select(Model *m, FuzzInput *in)
{
    unsigned key = any_key(in);

    model_select(m, key);
    vmc_bus_write(m->pio, SELECTOR, 2, key);
}

static void step_read(Model *m, FuzzInput *in)
{
    for (unsigned n = fuzz_below(in, 200); n; n--) {
        uint8_t expected, seen = (uint8_t)vmc_bus_read(m->pio, DATA, 1);
        model_take(m, &expected, 1);
        if (seen != expected)
            fuzz_finding("a byte of item %#x is %#x and not %#x", m->key, seen, expected);
    }
}

static void step_dma(Model *m, FuzzInput *in)
{
    static const uint8_t controls[] = {READ, READ | SELECT, SKIP, SKIP | SELECT, SELECT, WRITE, READ | WRITE};
    uint64_t at = any_address(in), to = any_address(in);
    uint8_t choice = fuzz_u8(in);
    uint32_t control = choice < 240 ? controls[choice % G_N_ELEMENTS(controls)] : fuzz_u8(in);
    uint32_t length = choice & 1 ? fuzz_u8(in) : fuzz_number(in, 1 + fuzz_below(in, 4)) & UINT32_MAX;
    uint32_t words[] = {GUINT32_TO_BE(control | any_key(in) << 16), GUINT32_TO_BE(length),
                        GUINT32_TO_BE((uint32_t)(to >> 32)), GUINT32_TO_BE((uint32_t)to)};

    vmc_memory_write(m->memory, at, words, sizeof(words));
    vmc_bus_write(m->pio, DMA, 4, GUINT32_SWAP_LE_BE((uint32_t)(at >> 32)));
    run_dma(m, at, (const uint8_t *)words);
}

/* Whatever lies there is a command, whole or in halves, the first of which may be from long ago. */
static void step_dma_anywhere(Model *m, FuzzInput *in)
{
    uint64_t at = any_address(in);
    uint8_t how = fuzz_u8(in);

    if (how & 1) {
        m->dma_high = (uint32_t)(at >> 32);
        vmc_bus_write(m->pio, DMA, 4, GUINT32_SWAP_LE_BE(m->dma_high));
    } else if (how & 2) {
        run_dma(m, (uint64_t)m->dma_high << 32 | (uint32_t)at, &how);
    } else {
        run_dma(m, at, NULL);
    }
}

/* Ports in widths that they do not have: nothing moves but what a byte of data takes. */
static void step_port(Model *m, FuzzInput *in)
{
    unsigned port = SELECTOR - 2 + fuzz_below(in, 16), size = 1u << fuzz_below(in, 4);
    uint64_t value = fuzz_u64(in);
    bool selects = port == SELECTOR && size == 2, runs = port <= DMA + 4 && port + size > DMA && size >= 4;

    if (value & 1 && !selects && !runs) {
        vmc_bus_write(m->pio, port, size, value);
    } else if (!(value & 1) && !(port <= DATA && port + size > DATA)) {
        vmc_bus_read(m->pio, port, size);
    }
}

static void step_file(Model *m, FuzzInput *in)
{
    uint8_t bytes[FILE_MAX];
    unsigned n = fuzz_below(in, N_FILES);
    size_t size = fuzz_below(in, FILE_MAX);

    /* What is read now does not become shorter. */
    if ((m->key & 0xbfff) == FILES + n)
        size = MAX(size, m->offset);
    memset(bytes, fuzz_u8(in), sizeof(bytes));
    set_file(m, n, bytes, size);
}

static void step_reset(Model *m, FuzzInput *in)
{
    model_select(m, 0);
    m->dma_high = 0;
    vmc_fw_cfg_reset(m->fw);
}

static void (*const steps[])(Model *m, FuzzInput *in) = {
    step_select, step_read, step_dma, step_dma, step_port, step_file, step_reset, step_dma_anywhere};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static VmcMemory *memory;
    Model *m = g_new0(Model, 1);
    FuzzInput in = {data, size, 0};

    if (!memory)
        memory = make_memory();
    for (unsigned i = 0; i < memory->n_slots; i++)
        memset(memory->slots[i].host, ROM_BYTE, memory->slots[i].size);
    m->memory = memory;
    m->pio = vmc_bus_new("pio");
    m->fw = vmc_fw_cfg_new(m->pio, memory);
    for (unsigned n = 0; n < N_FILES; n++)
        set_file(m, n, (const uint8_t *)"contents of a file", n * 3);
    vmc_fw_cfg_set_refresh(m->fw, "f2", refresh, m);
    while (fuzz_more(&in))
        steps[fuzz_below(&in, G_N_ELEMENTS(steps))](m, &in);
    for (unsigned i = 0; i < VMC_PAGE_SIZE; i++)
        if (memory->slots[1].host[i] != ROM_BYTE)
            fuzz_finding("ROM was written to");
    vmc_fw_cfg_free(m->fw);
    vmc_bus_free(m->pio);
    g_free(m);
    return 0;
}
