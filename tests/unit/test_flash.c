/*
 * The flash chip for variables, on real files: as OVMF's QemuFlashFvbServices drives it, as the data sheet
 * says a driver may, and as nobody should; and what is in the file then, also when that cannot be written.
 */
#include "full_disk.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "folder.h"
#include "pc/flash.h"
#include "vmcore/error.h"

#define BASE   0xffc00000ull
#define BLOCKS 132u /* as in OVMF_VARS_4M.fd */
#define SIZE   ((uint64_t)BLOCKS * VMC_FLASH_BLOCK)

/* Commands, and bits of the status register. */
#define PROGRAM      0x10u
#define ERASE        0x20u
#define PROGRAM_TOO  0x40u
#define CLEAR_STATUS 0x50u
#define READ_STATUS  0x70u
#define READ_ID      0x90u
#define QUERY        0x98u
#define CONFIRM      0xd0u
#define BUFFER       0xe8u
#define READ_ARRAY   0xffu

#define READY       0x80u
#define ERASE_FAULT 0x20u
#define WRITE_FAULT 0x10u

typedef struct Bench {
    VmcBus *mmio;
    VmcIo *io;
    char *folder, *path;
    Heard *heard;
    VmcFlash *flash;
} Bench;

static uint8_t pattern(uint64_t offset)
{
    return (uint8_t)(offset * 7 + (offset >> 12) + 1);
}

static void plug(Bench *b, uint64_t size)
{
    VmcFlashParams params = {
        .mmio = b->mmio,
        .io = b->io,
        .base = BASE,
        .size = size,
        .fd = open(b->path, O_RDWR | O_CLOEXEC),
        .path = b->path,
        .hooks = &b->heard->hooks,
    };
    GError *error = NULL;

    assert_true(params.fd >= 0);
    b->flash = vmc_flash_new(&params, &error);
    if (!b->flash)
        fail_msg("%s", error->message);
}

static void unplug(Bench *b)
{
    g_clear_pointer(&b->flash, vmc_flash_free);
}

static void write_pattern(const char *path, uint64_t size)
{
    g_autofree char *bytes = g_malloc(size);

    for (uint64_t i = 0; i < size; i++)
        bytes[i] = (char)pattern(i);
    assert_true(g_file_set_contents(path, bytes, (gssize)size, NULL));
}

static int setup_in(void **state, const char *folder)
{
    Bench *b = g_new0(Bench, 1);

    b->mmio = vmc_bus_new("mmio");
    b->io = vmc_io_new(NULL);
    b->folder = folder ? g_strdup(folder) : g_dir_make_tmp("flash-XXXXXX", NULL);
    b->path = g_build_filename(b->folder, "nvram.fd", NULL);
    b->heard = heard_new();
    write_pattern(b->path, SIZE);
    plug(b, SIZE);
    *state = b;
    return 0;
}

static int setup(void **state)
{
    return setup_in(state, NULL);
}

static int teardown(void **state)
{
    Bench *b = *state;

    unplug(b);
    vmc_io_free(b->io);
    vmc_bus_free(b->mmio);
    g_remove(b->path);
    if (b->folder != small_folder)
        g_rmdir(b->folder);
    g_free(b->path);
    g_free(b->folder);
    heard_free(b->heard);
    g_free(b);
    return 0;
}

static void put(Bench *b, uint64_t offset, uint8_t value)
{
    vmc_bus_write(b->mmio, BASE + offset, 1, value);
}

static uint8_t get(Bench *b, uint64_t offset)
{
    return (uint8_t)vmc_bus_read(b->mmio, BASE + offset, 1);
}

static uint8_t status(Bench *b)
{
    put(b, 0, READ_STATUS);
    return get(b, 0);
}

static void assert_array(Bench *b, uint64_t offset, const void *expected, size_t n)
{
    put(b, offset, READ_ARRAY);
    for (size_t i = 0; i < n; i++)
        if (get(b, offset + i) != ((const uint8_t *)expected)[i])
            fail_msg("byte %#lx reads as %#x", (unsigned long)(offset + i), get(b, offset + i));
}

static void assert_untouched(Bench *b, uint64_t from, uint64_t to)
{
    put(b, from, READ_ARRAY);
    for (uint64_t i = from; i < to; i++)
        if (get(b, i) != pattern(i))
            fail_msg("byte %#lx has changed to %#x", (unsigned long)i, get(b, i));
}

static uint8_t in_file(const Bench *b, uint64_t offset)
{
    int fd = open(b->path, O_RDONLY | O_CLOEXEC);
    uint8_t byte;

    assert_int_equal(pread(fd, &byte, 1, (off_t)offset), 1);
    close(fd);
    return byte;
}

static void await_in_file(const Bench *b, uint64_t offset, uint8_t value)
{
    gint64 end = g_get_monotonic_time() + HEARD_TIMEOUT;

    while (in_file(b, offset) != value) {
        if (g_get_monotonic_time() > end)
            fail_msg("byte %#lx of the file is still %#x", (unsigned long)offset, in_file(b, offset));
        g_usleep(2000);
    }
}

/* ---- as OVMF does ---- */

/* What OVMF's QemuFlashWrite does: a command for each byte, and back to the array behind the last. */
static void firmware_writes(Bench *b, uint64_t offset, const void *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        put(b, offset + i, PROGRAM);
        put(b, offset + i, ((const uint8_t *)bytes)[i]);
    }
    put(b, offset + n - 1, READ_ARRAY);
}

/* Its QemuFlashDetected: a byte that reads as none of the commands is probed. RAM would hold the command
 * then, ROM what it held before, and only the chip has a status register that can be cleared. */
static void firmware_finds_a_chip_that_can_be_written(void **state)
{
    Bench *b = *state;
    uint64_t at = 0;
    uint8_t original;

    while (get(b, at) == CLEAR_STATUS || get(b, at) == READ_STATUS || get(b, at) == 0)
        at++;
    original = get(b, at);
    put(b, at, CLEAR_STATUS);
    if (get(b, at) == CLEAR_STATUS)
        fail_msg("it behaves as RAM");
    put(b, at, READ_STATUS);
    if (get(b, at) == original)
        fail_msg("it behaves as ROM");
    if (get(b, at) != 0)
        fail_msg("its status is not clear, but %#x", get(b, at));
    put(b, at, PROGRAM);
    put(b, at, original);
    put(b, at, READ_STATUS);
    if (get(b, at) & WRITE_FAULT)
        fail_msg("it behaves as if it were write-protected");
    put(b, at, READ_ARRAY);
    assert_untouched(b, 0, SIZE);
}

static void firmware_writes_and_reads(void **state)
{
    Bench *b = *state;

    firmware_writes(b, 0x1ffe, "over a block's end", 18);
    for (unsigned i = 0; i < 18; i++)
        assert_int_equal(get(b, 0x1ffe + i), "over a block's end"[i]);
    assert_untouched(b, 0, 0x1ffe);
    assert_untouched(b, 0x1ffe + 18, SIZE);
    firmware_writes(b, SIZE - 1, "!", 1);
    firmware_writes(b, 0, "?", 1);
    assert_array(b, SIZE - 1, "!", 1);
    assert_array(b, 0, "?", 1);
}

static void firmware_erases_blocks(void **state)
{
    Bench *b = *state;
    static const unsigned blocks[] = {0, 5, BLOCKS - 1};
    g_autofree uint8_t *erased = g_malloc(VMC_FLASH_BLOCK);

    memset(erased, 0xff, VMC_FLASH_BLOCK);
    for (unsigned i = 0; i < G_N_ELEMENTS(blocks); i++) {
        uint64_t at = (uint64_t)blocks[i] * VMC_FLASH_BLOCK;
        put(b, at, ERASE);
        put(b, at, CONFIRM);
        assert_int_equal(get(b, at), READY); /* without a word, it shows how that went */
        assert_array(b, at, erased, VMC_FLASH_BLOCK);
    }
    assert_untouched(b, VMC_FLASH_BLOCK, 5 * VMC_FLASH_BLOCK);
    assert_untouched(b, 6 * VMC_FLASH_BLOCK, (BLOCKS - 1) * VMC_FLASH_BLOCK);
}

/* ---- as the data sheet says ---- */

static void an_erase_is_of_the_whole_block_and_needs_its_confirmation(void **state)
{
    Bench *b = *state;

    put(b, 0x3123, ERASE);
    put(b, 0x3123, READ_ARRAY);
    assert_int_equal(status(b), READY | ERASE_FAULT | WRITE_FAULT); /* the sequence was wrong */
    assert_untouched(b, 0, SIZE);
    put(b, 0, CLEAR_STATUS);
    assert_int_equal(status(b), 0);
    put(b, 0x3123, ERASE);
    put(b, 0x3fff, CONFIRM);
    assert_int_equal(status(b), READY);
    assert_array(b, 0x3000, "\xff", 1);
    assert_array(b, 0x3fff, "\xff", 1);
    assert_untouched(b, 0, 0x3000);
    assert_untouched(b, 0x4000, SIZE);
}

static void faults_stay_until_they_are_cleared(void **state)
{
    Bench *b = *state;

    put(b, 0, ERASE);
    put(b, 0, 0);
    put(b, 0, PROGRAM);
    put(b, 0, 0x42);
    assert_int_equal(status(b), READY | ERASE_FAULT | WRITE_FAULT);
    put(b, 0, CLEAR_STATUS);
    put(b, 0, PROGRAM_TOO);
    put(b, 0, 0x43);
    assert_int_equal(status(b), READY);
    assert_array(b, 0, "\x43", 1);
}

static void a_buffer_is_written_when_it_is_confirmed(void **state)
{
    Bench *b = *state;
    uint8_t bytes[32];

    put(b, 0x2000, BUFFER);
    assert_int_equal(get(b, 0x2000) & READY, READY); /* there is one free */
    put(b, 0x2000, sizeof(bytes) - 1);
    for (unsigned i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)(i + 0x60);
        put(b, 0x2000 + i, bytes[i]);
    }
    put(b, 0x2000, CONFIRM);
    assert_int_equal(status(b), READY);
    assert_array(b, 0x2000, bytes, sizeof(bytes));
    assert_untouched(b, 0x2020, SIZE);
    put(b, 0x10, BUFFER); /* one byte */
    put(b, 0x10, 0);
    put(b, 0x10, 'x');
    put(b, 0x10, CONFIRM);
    assert_array(b, 0x10, "x", 1);
}

static void a_buffer_that_is_not_confirmed_changes_nothing(void **state)
{
    Bench *b = *state;

    put(b, 0x2000, BUFFER);
    put(b, 0x2000, 1);
    put(b, 0x2000, 0);
    put(b, 0x2001, 0);
    put(b, 0x2000, READ_ARRAY);
    assert_int_equal(status(b), READY | WRITE_FAULT);
    assert_untouched(b, 0, SIZE);
    put(b, 0, CLEAR_STATUS);
    for (unsigned count = 32; count < 256; count += 31) { /* more bytes than it has */
        put(b, 0x2000, BUFFER);
        put(b, 0x2000, (uint8_t)count);
        assert_int_equal(get(b, 0), READY | WRITE_FAULT);
        put(b, 0x2000, READ_ARRAY); /* a command again */
        assert_untouched(b, 0x1ff0, 0x2100);
        put(b, 0, CLEAR_STATUS);
    }
}

static void the_query_table_describes_the_chip(void **state)
{
    Bench *b = *state;

    put(b, 0x55, QUERY);
    assert_int_equal(get(b, 0x10), 'Q');
    assert_int_equal(get(b, 0x11), 'R');
    assert_int_equal(get(b, 0x12), 'Y');
    assert_int_equal(get(b, 0x13) | get(b, 0x14) << 8, 1); /* Intel's extended command set */
    assert_in_range(SIZE, (1u << get(b, 0x27)) / 2 + 1, 1u << get(b, 0x27));
    assert_int_equal(1u << get(b, 0x2a), 32);
    assert_int_equal(get(b, 0x2c), 1);
    assert_int_equal((get(b, 0x2d) | get(b, 0x2e) << 8) + 1, BLOCKS);
    assert_int_equal((get(b, 0x2f) | get(b, 0x30) << 8) * 256, VMC_FLASH_BLOCK);
    for (unsigned i = 0x31; i < 0x100; i++)
        assert_int_equal(get(b, i), 0);
    put(b, 0, READ_ID);
    assert_int_equal(get(b, 0), 0x89);
    assert_int_equal(get(b, 1), 0x18);
    assert_int_equal(get(b, 2), 0);
    assert_untouched(b, 0, SIZE);
}

static void wide_accesses_are_as_many_bytes(void **state)
{
    Bench *b = *state;
    uint64_t expected = 0;

    for (unsigned i = 0; i < 8; i++)
        expected |= (uint64_t)pattern(0x100 + i) << (8 * i);
    assert_int_equal(vmc_bus_read(b->mmio, BASE + 0x100, 8), expected);
    assert_int_equal(vmc_bus_read(b->mmio, BASE + 0x102, 2), expected >> 16 & 0xffff);
    /* A command is one, however wide; data is all of it. */
    vmc_bus_write(b->mmio, BASE + 0x100, 4, 0x10101010);
    vmc_bus_write(b->mmio, BASE + 0x100, 4, 0x44434241);
    assert_int_equal(vmc_bus_read(b->mmio, BASE + 0x100, 4), 0x80808080);
    assert_array(b, 0x100, "ABCD", 4);
    assert_untouched(b, 0x104, 0x200);
    vmc_bus_write(b->mmio, BASE + 0x200, 2, BUFFER);
    vmc_bus_write(b->mmio, BASE + 0x200, 2, 5 - 1);
    vmc_bus_write(b->mmio, BASE + 0x200, 8, 0x4847464544434241); /* three more than announced */
    vmc_bus_write(b->mmio, BASE + 0x200, 8, CONFIRM);
    assert_array(b, 0x200, "ABCDE", 5);
    assert_untouched(b, 0x205, SIZE);
}

static void accesses_over_the_ends_stay_inside(void **state)
{
    Bench *b = *state;

    assert_int_equal(vmc_bus_read(b->mmio, BASE + SIZE - 1, 8), 0xffffffffffffff00 | pattern(SIZE - 1));
    assert_int_equal(vmc_bus_read(b->mmio, BASE - 7, 8), (uint64_t)pattern(0) << 56 | 0xffffffffffffff);
    put(b, SIZE - 1, PROGRAM);
    vmc_bus_write(b->mmio, BASE + SIZE - 1, 8, 0x6867666564636261);
    assert_array(b, SIZE - 1, "a", 1);
    put(b, SIZE - 1, ERASE);
    vmc_bus_write(b->mmio, BASE + SIZE - 1, 4, CONFIRM);
    assert_array(b, SIZE - 1, "\xff", 1);
    assert_untouched(b, 0, SIZE - VMC_FLASH_BLOCK);
}

static void a_reset_is_in_the_middle_of_anything(void **state)
{
    Bench *b = *state;
    static const uint8_t begun[] = {PROGRAM, ERASE, BUFFER, READ_STATUS, READ_ID, QUERY, CLEAR_STATUS};

    for (unsigned i = 0; i < G_N_ELEMENTS(begun); i++) {
        put(b, 0x1000, begun[i]);
        vmc_flash_reset(b->flash);
        assert_int_equal(get(b, 0x1000), pattern(0x1000));
        put(b, 0x1000, READ_ARRAY);
        assert_int_equal(get(b, 0x1000), pattern(0x1000));
    }
    put(b, 0x1000, BUFFER);
    put(b, 0x1000, 31);
    put(b, 0x1000, 'x');
    vmc_flash_reset(b->flash);
    put(b, 0x1000, CONFIRM);
    assert_untouched(b, 0, SIZE);
}

/* ---- the file ---- */

static void what_is_programmed_is_in_the_file_soon(void **state)
{
    Bench *b = *state;

    firmware_writes(b, 0x5000, "soon", 4);
    await_in_file(b, 0x5003, 'n');
    assert_int_equal(in_file(b, 0x5000), 's');
    firmware_writes(b, 0x5000, "also", 4); /* and not only once */
    await_in_file(b, 0x5000, 'a');
    assert_int_equal(b->heard->logs, 0);
}

static void what_is_programmed_is_in_the_file_at_the_latest_when_freed(void **state)
{
    Bench *b = *state;
    unsigned before = open_descriptors();

    firmware_writes(b, 0x7000, "first", 5);
    put(b, 0x9000, ERASE);
    put(b, 0x9000, CONFIRM);
    firmware_writes(b, SIZE - 4, "last", 4);
    unplug(b);
    assert_int_equal(open_descriptors(), before - 1);
    assert_int_equal(in_file(b, 0x7000), 'f');
    assert_int_equal(in_file(b, 0x9fff), 0xff);
    assert_int_equal(in_file(b, SIZE - 1), 't');
    assert_int_equal(in_file(b, 0x6fff), pattern(0x6fff));
    assert_int_equal(in_file(b, 0xa000), pattern(0xa000));
    assert_int_equal(vmc_bus_read(b->mmio, BASE, 1), 0xff); /* it has left the bus */
    plug(b, SIZE);
    assert_array(b, 0x7000, "first", 5);
}

static void a_file_that_is_only_read_is_not_written(void **state)
{
    Bench *b = *state;
    struct stat before, after;

    assert_int_equal(stat(b->path, &before), 0);
    g_usleep(20000);
    assert_untouched(b, 0, SIZE);
    put(b, 0, PROGRAM); /* what is there already */
    put(b, 0, pattern(0));
    unplug(b);
    assert_int_equal(stat(b->path, &after), 0);
    assert_memory_equal(&before.st_mtim, &after.st_mtim, sizeof(before.st_mtim));
}

static void a_file_that_is_too_short_is_an_error(void **state)
{
    Bench *b = *state;
    unsigned before = open_descriptors();
    VmcFlashParams params = {.mmio = b->mmio,
                             .io = b->io,
                             .base = BASE,
                             .size = SIZE + VMC_FLASH_BLOCK,
                             .fd = open(b->path, O_RDWR | O_CLOEXEC),
                             .path = b->path,
                             .hooks = &b->heard->hooks};
    g_autoptr(GError) error = NULL;

    assert_null(vmc_flash_new(&params, &error));
    assert_true(g_error_matches(error, VMC_ERROR, VMC_ERROR_IMAGE));
    assert_non_null(strstr(error->message, b->path));
    assert_non_null(strstr(error->message, "shorter"));
    assert_int_equal(open_descriptors(), before); /* the descriptor was taken over */
}

/* A limit on the size of files: what lies below it can be kept, the rest comes when it is lifted. */
static void a_file_that_cannot_be_written_is_told_once_and_kept(void **state)
{
    Bench *b = *state;
    struct rlimit old, low;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    low = (struct rlimit){0x8000, old.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    firmware_writes(b, 0x9000, "beyond", 6);
    await_heard(b->heard, &b->heard->logs, 1);
    expect_sentence(b->heard, b->path, "cannot be written: File too large");
    firmware_writes(b, 0x1000, "below", 5); /* together with it now */
    await_in_file(b, 0x1004, 'w');
    assert_int_equal(in_file(b, 0x9000), pattern(0x9000));
    assert_array(b, 0x9000, "beyond", 6); /* the guest notices nothing */
    assert_int_equal(b->heard->logs, 1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    await_in_file(b, 0x9000, 'b'); /* by itself */
    signal(SIGXFSZ, SIG_DFL);
    firmware_writes(b, 0x9000, "B", 1);
    unplug(b);
    assert_int_equal(in_file(b, 0x9000), 'B');
    assert_int_equal(b->heard->logs, 1);
    assert_int_equal(b->heard->attentions, 0);
}

/* ---- a disk that is full ---- */

static int setup_on_small_disk(void **state)
{
    Bench *b;

    if (!small_folder)
        return 0;
    resize_small_disk(1u << 20);
    setup_in(state, small_folder);
    b = *state;
    unplug(b);
    /* A file with a hole: the blocks for it are got when they are written. */
    assert_int_equal(g_remove(b->path), 0);
    int fd = open(b->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(ftruncate(fd, SIZE), 0);
    close(fd);
    plug(b, SIZE);
    fill_small_disk();
    return 0;
}

static int teardown_on_small_disk(void **state)
{
    return small_folder ? teardown(state) : 0;
}

static void a_full_disk_loses_nothing_once_there_is_room(void **state)
{
    Bench *b = *state;

    if (!small_folder) {
        print_message("no file system of our own can be mounted here\n");
        skip();
    }
    firmware_writes(b, 0x3000, "kept", 4);
    await_heard(b->heard, &b->heard->logs, 1);
    expect_sentence(b->heard, b->path, "No space left");
    assert_int_equal(in_file(b, 0x3000), 0);
    make_room();
    await_in_file(b, 0x3000, 'k');
    assert_int_equal(b->heard->logs, 1);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(firmware_finds_a_chip_that_can_be_written),
        T(firmware_writes_and_reads),
        T(firmware_erases_blocks),
        T(an_erase_is_of_the_whole_block_and_needs_its_confirmation),
        T(faults_stay_until_they_are_cleared),
        T(a_buffer_is_written_when_it_is_confirmed),
        T(a_buffer_that_is_not_confirmed_changes_nothing),
        T(the_query_table_describes_the_chip),
        T(wide_accesses_are_as_many_bytes),
        T(accesses_over_the_ends_stay_inside),
        T(a_reset_is_in_the_middle_of_anything),
        T(what_is_programmed_is_in_the_file_soon),
        T(what_is_programmed_is_in_the_file_at_the_latest_when_freed),
        T(a_file_that_is_only_read_is_not_written),
        T(a_file_that_is_too_short_is_an_error),
        T(a_file_that_cannot_be_written_is_told_once_and_kept),
        cmocka_unit_test_setup_teardown(a_full_disk_loses_nothing_once_there_is_room, setup_on_small_disk,
                                        teardown_on_small_disk),
    };

    mount_small();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (small_folder)
        unmount_small();
    return failed;
}
