/*
 * fw_cfg, read as OVMF's QemuFwCfgLib and Linux' qemu_fw_cfg read it: by port a byte at a time, and by DMA
 * with the command in guest memory; and as nobody should.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <glib.h>

#include "pc/fw_cfg.h"

#define SELECTOR 0x510
#define DATA     0x511
#define DMA_HIGH 0x514
#define DMA_LOW  0x518

#define KEY_DIRECTORY 0x19
#define KEY_FILES     0x20

/* Control bits. */
#define ERROR  0x01u
#define READ   0x02u
#define SKIP   0x04u
#define SELECT 0x08u
#define WRITE  0x10u

/* Two slots that touch, a ROM with a hole before it, and RAM above 4 GiB. */
#define RAM      0x10000u
#define ROM      0x80000u
#define ROM_SIZE 0x1000u
#define HIGH     0x100000000ull
#define COMMAND  0x1000u
#define BUFFER   0x2000u

#define UNTOUCHED 0xa5

typedef struct Bench {
    VmcBus *pio;
    VmcMemory *memory;
    VmcFwCfg *fw;
    unsigned refreshed;
} Bench;

static int setup(void **state)
{
    Bench *b = g_new0(Bench, 1);

    b->pio = vmc_bus_new("pio");
    b->memory = vmc_memory_new();
    assert_true(vmc_memory_add(b->memory, "ram", 0, RAM, false, NULL));
    assert_true(vmc_memory_add(b->memory, "more", RAM, RAM, false, NULL));
    assert_true(vmc_memory_add(b->memory, "rom", ROM, ROM_SIZE, true, NULL));
    assert_true(vmc_memory_add(b->memory, "high", HIGH, RAM, false, NULL));
    for (unsigned i = 0; i < b->memory->n_slots; i++)
        memset(b->memory->slots[i].host, UNTOUCHED, b->memory->slots[i].size);
    b->fw = vmc_fw_cfg_new(b->pio, b->memory);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    Bench *b = *state;

    vmc_fw_cfg_free(b->fw);
    vmc_memory_free(b->memory);
    vmc_bus_free(b->pio);
    g_free(b);
    return 0;
}

static void add_file(Bench *b, const char *name, const char *text)
{
    vmc_fw_cfg_set_file(b->fw, name, g_bytes_new(text, strlen(text)));
}

/* ---- the port, as a guest without DMA reads ---- */

static void select_key(Bench *b, unsigned key)
{
    vmc_bus_write(b->pio, SELECTOR, 2, key);
}

static void read_bytes(Bench *b, void *to, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)to)[i] = (uint8_t)vmc_bus_read(b->pio, DATA, 1);
}

static void assert_item(Bench *b, unsigned key, const void *expected, size_t n)
{
    g_autofree uint8_t *seen = g_malloc(n + 4);

    select_key(b, key);
    read_bytes(b, seen, n + 4);
    if (memcmp(seen, expected, n))
        fail_msg("item %#x does not begin as it should", key);
    if (memcmp(seen + n, "\0\0\0\0", 4))
        fail_msg("item %#x goes on behind its end", key);
}

/* As both of them find a file. 0: there is none. */
static unsigned find_file(Bench *b, const char *name, uint32_t *size)
{
    uint32_t count;

    select_key(b, KEY_DIRECTORY);
    read_bytes(b, &count, 4);
    for (unsigned i = GUINT32_FROM_BE(count); i > 0; i--) {
        struct {
            uint32_t size;
            uint16_t key, reserved;
            char name[56];
        } entry;
        read_bytes(b, &entry, sizeof(entry));
        assert_int_equal(entry.reserved, 0);
        if (strcmp(entry.name, name))
            continue;
        *size = GUINT32_FROM_BE(entry.size);
        return GUINT16_FROM_BE(entry.key);
    }
    return 0;
}

static void signature_and_features_are_what_guests_look_for(void **state)
{
    Bench *b = *state;

    assert_item(b, 0, "QEMU", 4);
    assert_item(b, 1, "\3\0\0\0", 4);
    /* Linux asks the DMA register in two halves, as bytes that read QEMU CFG. */
    assert_int_equal(vmc_bus_read(b->pio, DMA_HIGH, 4), GUINT32_FROM_LE(0x554d4551));
    assert_int_equal(vmc_bus_read(b->pio, DMA_LOW, 4), GUINT32_FROM_LE(0x47464320));
    assert_int_equal(vmc_bus_read(b->pio, DMA_HIGH + 1, 2), 0x4d45);
}

static void numbers_are_little_endian_and_as_long_as_said(void **state)
{
    Bench *b = *state;

    vmc_fw_cfg_set_number(b->fw, VMC_FW_CFG_RAM_SIZE, 0x1122334455667788, 8);
    vmc_fw_cfg_set_number(b->fw, VMC_FW_CFG_NB_CPUS, 0x0102, 2);
    assert_item(b, VMC_FW_CFG_RAM_SIZE, "\x88\x77\x66\x55\x44\x33\x22\x11", 8);
    assert_item(b, VMC_FW_CFG_NB_CPUS, "\2\1", 2);
    vmc_fw_cfg_set_number(b->fw, VMC_FW_CFG_NB_CPUS, 7, 2);
    assert_item(b, VMC_FW_CFG_NB_CPUS, "\7\0", 2);
}

static void the_directory_is_sorted_and_names_keys(void **state)
{
    Bench *b = *state;
    static const char *const names[] = {"opt/z", "etc/e820", "bootorder", "etc/acpi/tables", "etc/acpi/rsdp"};
    char last[56] = "", name[56];
    uint32_t count, size;

    assert_item(b, KEY_DIRECTORY, "\0\0\0\0", 4);
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
        add_file(b, names[i], names[i]);
    select_key(b, KEY_DIRECTORY);
    read_bytes(b, &count, 4);
    assert_int_equal(GUINT32_FROM_BE(count), G_N_ELEMENTS(names));
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        read_bytes(b, name, 8);
        read_bytes(b, name, sizeof(name));
        if (strcmp(last, name) >= 0)
            fail_msg("“%s” stands behind “%s”", name, last);
        memcpy(last, name, sizeof(last));
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        unsigned key = find_file(b, names[i], &size);
        assert_in_range(key, KEY_FILES, KEY_FILES + G_N_ELEMENTS(names) - 1);
        assert_int_equal(size, strlen(names[i]));
        assert_item(b, key, names[i], size);
    }
    assert_int_equal(find_file(b, "etc/acpi", &size), 0);
}

static void a_file_set_again_keeps_its_key(void **state)
{
    Bench *b = *state;
    uint32_t size;

    add_file(b, "b", "first");
    add_file(b, "a", "other");
    unsigned key = find_file(b, "b", &size);
    add_file(b, "b", "and the second");
    assert_int_equal(find_file(b, "b", &size), key);
    assert_int_equal(size, 14);
    assert_item(b, key, "and the second", 14);
}

static void as_many_files_as_there_is_room_for(void **state)
{
    Bench *b = *state;
    char name[VMC_FW_CFG_NAME_BYTES];
    uint32_t size, count;

    for (unsigned i = 0; i < VMC_FW_CFG_FILES_MAX; i++) {
        /* Names as long as they can be. */
        g_snprintf(name, sizeof(name), "%02u%s", i,
                   "-bottles-on-the-wall-and-one-of-them-is-of-this-name-55");
        assert_int_equal(strlen(name), VMC_FW_CFG_NAME_BYTES - 1);
        add_file(b, name, name);
    }
    select_key(b, KEY_DIRECTORY);
    read_bytes(b, &count, 4);
    assert_int_equal(GUINT32_FROM_BE(count), VMC_FW_CFG_FILES_MAX);
    assert_int_equal(find_file(b, name, &size), KEY_FILES + VMC_FW_CFG_FILES_MAX - 1);
    assert_item(b, KEY_FILES + VMC_FW_CFG_FILES_MAX - 1, name, size);
}

static void keys_without_an_item_read_as_zeros(void **state)
{
    Bench *b = *state;
    static const unsigned keys[] = {0x02,   0x18,   KEY_FILES,    KEY_FILES + VMC_FW_CFG_FILES_MAX,
                                    0x3fff, 0x8000, 0x8000 | 0x1, 0xffff};

    for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++)
        assert_item(b, keys[i], "", 0);
    assert_item(b, 0x4000, "QEMU", 4); /* the write channel of an item: reads are the item's */
}

static void only_the_widths_of_the_interface_count(void **state)
{
    Bench *b = *state;
    uint8_t two[2];

    select_key(b, 0);
    vmc_bus_write(b->pio, SELECTOR, 1, 1);
    vmc_bus_write(b->pio, DATA, 1, 'X');
    vmc_bus_write(b->pio, SELECTOR, 4, 1);
    read_bytes(b, two, 2);
    assert_memory_equal(two, "QE", 2);
    vmc_bus_read(b->pio, SELECTOR, 2); /* nothing is taken */
    read_bytes(b, two, 2);
    assert_memory_equal(two, "MU", 2);
    assert_int_equal(vmc_bus_read(b->pio, SELECTOR, 1), 0);
}

static void a_reset_selects_nothing_new_and_keeps_what_is_there(void **state)
{
    Bench *b = *state;
    uint8_t four[4];

    add_file(b, "etc/file", "text");
    select_key(b, KEY_FILES);
    vmc_bus_write(b->pio, DMA_HIGH, 4, 0x01000000);
    read_bytes(b, four, 2);
    vmc_fw_cfg_reset(b->fw);
    read_bytes(b, four, 4);
    assert_memory_equal(four, "QEMU", 4);
    assert_item(b, KEY_FILES, "text", 4);
    /* The half of an address from before is gone: this command is at COMMAND, not above 4 GiB. */
    uint32_t control = GUINT32_TO_BE(SELECT);
    assert_true(vmc_memory_write(b->memory, COMMAND, &control, 4));
    vmc_bus_write(b->pio, DMA_LOW, 4, GUINT32_SWAP_LE_BE(COMMAND));
    assert_true(vmc_memory_read(b->memory, COMMAND, &control, 4));
    assert_int_equal(control, 0);
}

/* ---- DMA ---- */

/* As both write it: the high half, then the low half, which starts it. Returns the control word. */
static uint32_t dma_at(Bench *b, uint64_t at, uint32_t control, uint32_t length, uint64_t address)
{
    uint32_t words[4] = {GUINT32_TO_BE(control), GUINT32_TO_BE(length),
                         GUINT32_TO_BE((uint32_t)(address >> 32)), GUINT32_TO_BE((uint32_t)address)};

    assert_true(vmc_memory_write(b->memory, at, words, sizeof(words)));
    vmc_bus_write(b->pio, DMA_HIGH, 4, GUINT32_SWAP_LE_BE((uint32_t)(at >> 32)));
    vmc_bus_write(b->pio, DMA_LOW, 4, GUINT32_SWAP_LE_BE((uint32_t)at));
    assert_true(vmc_memory_read(b->memory, at, words, sizeof(words)));
    assert_int_equal(GUINT32_FROM_BE(words[1]), length); /* the rest of a command stays */
    return GUINT32_FROM_BE(words[0]);
}

static uint32_t dma(Bench *b, uint32_t control, uint32_t length, uint64_t address)
{
    return dma_at(b, COMMAND, control, length, address);
}

static void assert_memory_is(Bench *b, uint64_t at, const void *expected, size_t n)
{
    g_autofree uint8_t *seen = g_malloc(n + 1);

    assert_true(vmc_memory_read(b->memory, at, seen, n + 1));
    if (memcmp(seen, expected, n))
        fail_msg("memory at %#lx is not what it should be", (unsigned long)at);
    if (seen[n] != UNTOUCHED)
        fail_msg("memory behind %#lx was written to", (unsigned long)(at + n));
}

static void dma_selects_and_reads_in_one(void **state)
{
    Bench *b = *state;

    add_file(b, "etc/file", "all the text");
    assert_int_equal(dma(b, KEY_FILES << 16 | SELECT | READ, 12, BUFFER), 0);
    assert_memory_is(b, BUFFER, "all the text", 12);
}

static void dma_reads_on_and_skips(void **state)
{
    Bench *b = *state;

    add_file(b, "etc/file", "0123456789");
    select_key(b, KEY_FILES); /* the two ways are one */
    assert_int_equal(dma(b, READ, 2, BUFFER), 0);
    assert_memory_is(b, BUFFER, "01", 2);
    assert_int_equal(dma(b, SKIP, 3, 0), 0);
    assert_int_equal(vmc_bus_read(b->pio, DATA, 1), '5');
    assert_int_equal(dma(b, READ, 4, BUFFER), 0);
    assert_memory_is(b, BUFFER, "6789", 4);
    assert_int_equal(dma(b, KEY_FILES << 16 | SELECT | SKIP, 9, 0), 0);
    assert_int_equal(vmc_bus_read(b->pio, DATA, 1), '9');
}

static void dma_beyond_the_end_gives_zeros(void **state)
{
    Bench *b = *state;
    g_autofree char *zeros = g_malloc0(3 * VMC_PAGE_SIZE);

    add_file(b, "etc/file", "short");
    assert_int_equal(dma(b, KEY_FILES << 16 | SELECT | READ, 9, BUFFER), 0);
    assert_memory_is(b, BUFFER, "short\0\0\0\0", 9);
    assert_int_equal(dma(b, SKIP, UINT32_MAX, 0), 0);
    assert_int_equal(dma(b, READ, 3 * VMC_PAGE_SIZE, BUFFER), 0);
    assert_memory_is(b, BUFFER, zeros, 3 * VMC_PAGE_SIZE);
    assert_int_equal(dma(b, 0x18u << 16 | SELECT | READ, 8, HIGH), 0); /* no such item */
    assert_memory_is(b, HIGH, zeros, 8);
}

static void dma_works_above_4_gib_and_across_slots(void **state)
{
    Bench *b = *state;

    add_file(b, "etc/file", "0123456789");
    assert_int_equal(dma_at(b, HIGH + 8, KEY_FILES << 16 | SELECT | READ, 10, RAM - 5), 0);
    assert_memory_is(b, RAM - 5, "0123456789", 10);
    assert_int_equal(dma_at(b, RAM - 8, KEY_FILES << 16 | SELECT | READ, 10, HIGH + RAM - 11), 0);
    assert_memory_is(b, HIGH + RAM - 11, "0123456789", 10);
}

/* Linux writes vmcoreinfo, if there is such a file. Here none is to be written. */
static void dma_writes_are_an_error(void **state)
{
    Bench *b = *state;

    add_file(b, "etc/vmcoreinfo", "untouched");
    assert_int_equal(dma(b, KEY_FILES << 16 | SELECT | WRITE, 9, BUFFER), ERROR);
    assert_item(b, KEY_FILES, "untouched", 9);
    assert_memory_is(b, BUFFER, "", 0);
    /* Reading wins over writing, and skipping is what is left. */
    assert_int_equal(dma(b, KEY_FILES << 16 | SELECT | READ | WRITE | SKIP, 2, BUFFER), 0);
    assert_memory_is(b, BUFFER, "un", 2);
    assert_int_equal(dma(b, SELECT, 9, 0), 0);
    assert_int_equal(dma(b, 0, UINT32_MAX, 0), 0);
}

static void addresses_that_are_no_memory_are_an_error(void **state)
{
    Bench *b = *state;
    static const struct {
        uint64_t address;
        uint32_t length;
    } bad[] = {
        {2 * RAM, 1},         {ROM, 1},        {ROM - 1, 4},         {2 * RAM - 1, 2},     {2 * RAM - 5, 11},
        {HIGH + RAM - 4, 10}, {UINT64_MAX, 1}, {UINT64_MAX - 2, 10}, {UINT64_MAX, 10},     {HIGH, UINT32_MAX},
        {0, UINT32_MAX},      {0xc0000000, 8}, {1ull << 63, 10},     {UINT64_MAX - 9, 11},
    };

    add_file(b, "etc/file", "0123456789");
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        uint64_t command = bad[i].address == HIGH ? COMMAND : HIGH + 0x8000; /* which is not written over */
        uint32_t said = dma_at(b, command, KEY_FILES << 16 | SELECT | READ, bad[i].length, bad[i].address);
        if (said != ERROR)
            fail_msg("%u bytes at %#lx: %#x", bad[i].length, (unsigned long)bad[i].address, said);
    }
    for (unsigned i = 0; i < ROM_SIZE; i++)
        assert_int_equal(b->memory->slots[2].host[i], UNTOUCHED);
    /* And it goes on. */
    memset(b->memory->slots[0].host, UNTOUCHED, RAM);
    assert_int_equal(dma(b, KEY_FILES << 16 | SELECT | READ, 10, BUFFER), 0);
    assert_memory_is(b, BUFFER, "0123456789", 10);
}

/* The command itself is where the guest says; it may be over itself. */
static void a_command_may_be_anywhere(void **state)
{
    Bench *b = *state;
    static const uint64_t nowhere[] = {0x50000, 0xc0000000, UINT64_MAX, UINT64_MAX - 15, 1ull << 63};
    uint32_t word = 0;

    add_file(b, "etc/file", "0123456789abcdef");
    for (unsigned i = 0; i < G_N_ELEMENTS(nowhere); i++) {
        vmc_bus_write(b->pio, DMA_HIGH, 4, GUINT32_SWAP_LE_BE((uint32_t)(nowhere[i] >> 32)));
        vmc_bus_write(b->pio, DMA_LOW, 4, GUINT32_SWAP_LE_BE((uint32_t)nowhere[i]));
    }
    /* Half of it in memory: the guest hears of it. */
    vmc_bus_write(b->pio, DMA_HIGH, 4, 0);
    vmc_bus_write(b->pio, DMA_LOW, 4, GUINT32_SWAP_LE_BE(2 * RAM - 8));
    assert_true(vmc_memory_read(b->memory, 2 * RAM - 8, &word, 4));
    assert_int_equal(GUINT32_FROM_BE(word), ERROR);
    /* One in ROM is obeyed, but cannot be answered. */
    uint32_t command[4] = {GUINT32_TO_BE(KEY_FILES << 16 | SELECT | READ), GUINT32_TO_BE(4), 0,
                           GUINT32_TO_BE(BUFFER)};
    memcpy(b->memory->slots[2].host, command, sizeof(command));
    vmc_bus_write(b->pio, DMA_LOW, 4, GUINT32_SWAP_LE_BE(ROM));
    assert_memory_is(b, BUFFER, "0123", 4);
    assert_memory_equal(b->memory->slots[2].host, command, sizeof(command));
    /* Read over itself: the result is the last word. */
    vmc_memory_write(b->memory, COMMAND, command, sizeof(command));
    command[3] = GUINT32_TO_BE(COMMAND);
    command[1] = GUINT32_TO_BE(16);
    vmc_memory_write(b->memory, COMMAND, command, sizeof(command));
    vmc_bus_write(b->pio, DMA_LOW, 4, GUINT32_SWAP_LE_BE(COMMAND));
    assert_memory_is(b, COMMAND, "\0\0\0\000456789abcdef", 16);
}

/* ---- files made when they are asked for ---- */

static void fill(void *opaque)
{
    Bench *b = opaque;
    g_autofree char *text = g_strdup_printf("made %u", ++b->refreshed);

    add_file(b, "etc/made", text);
    add_file(b, "etc/beside", text);
}

static void a_refresh_comes_with_every_selection(void **state)
{
    Bench *b = *state;
    uint32_t size;

    add_file(b, "etc/beside", "made 0");
    add_file(b, "etc/made", "made 0");
    vmc_fw_cfg_set_refresh(b->fw, "etc/made", fill, b);
    unsigned key = find_file(b, "etc/made", &size);
    assert_int_equal(b->refreshed, 0);
    assert_item(b, key, "made 1", 6);
    assert_int_equal(dma(b, key << 16 | SELECT | READ, 6, BUFFER), 0);
    assert_memory_is(b, BUFFER, "made 2", 6);
    assert_int_equal(dma(b, READ, 6, BUFFER), 0); /* no selection */
    assert_item(b, find_file(b, "etc/beside", &size), "made 2", 6);
    assert_item(b, 0x8000 | key, "", 0); /* another item, which is not there */
    assert_int_equal(b->refreshed, 2);
    assert_int_equal(find_file(b, "etc/made", &size), key);
}

static void nothing_is_left_on_the_bus(void **state)
{
    Bench *b = *state;

    vmc_fw_cfg_free(b->fw);
    b->fw = NULL;
    for (unsigned port = SELECTOR; port < SELECTOR + 12; port++)
        assert_int_equal(vmc_bus_read(b->pio, port, 1), 0xff);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(signature_and_features_are_what_guests_look_for),
        T(numbers_are_little_endian_and_as_long_as_said),
        T(the_directory_is_sorted_and_names_keys),
        T(a_file_set_again_keeps_its_key),
        T(as_many_files_as_there_is_room_for),
        T(keys_without_an_item_read_as_zeros),
        T(only_the_widths_of_the_interface_count),
        T(a_reset_selects_nothing_new_and_keeps_what_is_there),
        T(dma_selects_and_reads_in_one),
        T(dma_reads_on_and_skips),
        T(dma_beyond_the_end_gives_zeros),
        T(dma_works_above_4_gib_and_across_slots),
        T(dma_writes_are_an_error),
        T(addresses_that_are_no_memory_are_an_error),
        T(a_command_may_be_anywhere),
        T(a_refresh_comes_with_every_selection),
        T(nothing_is_left_on_the_bus),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
