/* Guest memory: what is RAM and what is not, across slots, lazily, and the code words of its pages. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/memory.h"

#define GIB (1ull << 30)

static VmcMemory *memory_with(uint64_t gpa, uint64_t size)
{
    VmcMemory *mem = vmc_memory_new();

    assert_true(vmc_memory_add(mem, "test", gpa, size, false, NULL));
    return mem;
}

static void test_what_is_written_is_read(void **state)
{
    VmcMemory *mem = memory_with(0x10000, 0x4000);
    char out[8] = "";

    assert_true(vmc_memory_write(mem, 0x10ffd, "across", 7));
    assert_true(vmc_memory_read(mem, 0x10ffd, out, 7));
    assert_string_equal(out, "across");
    assert_string_equal(vmc_memory_host(mem, 0x10ffd, 7), "across");
    vmc_memory_free(mem);
}

static void test_fresh_memory_is_zero(void **state)
{
    VmcMemory *mem = memory_with(0, 0x2000);
    uint64_t word = ~0ull;

    assert_true(vmc_memory_read(mem, 0x1ff8, &word, 8));
    assert_int_equal(word, 0);
    vmc_memory_free(mem);
}

static void test_nothing_is_copied_unless_all_is_ram(void **state)
{
    VmcMemory *mem = memory_with(0x1000, 0x1000);
    char out[4] = "abc";

    assert_false(vmc_memory_write(mem, 0x1ffe, "wxyz", 4));
    assert_int_equal(*(uint16_t *)vmc_memory_host(mem, 0x1ffe, 2), 0);
    assert_false(vmc_memory_read(mem, 0xffe, out, 4));
    assert_string_equal(out, "abc");
    assert_false(vmc_memory_read(mem, UINT64_MAX - 1, out, 4));
    assert_null(vmc_memory_host(mem, 0x1ffe, 4));
    assert_null(vmc_memory_host(mem, 0x1000, UINT64_MAX));
    assert_null(vmc_memory_host(mem, 0x1000, 0));
    vmc_memory_free(mem);
}

static void test_copies_run_on_into_the_next_slot(void **state)
{
    VmcMemory *mem = memory_with(0x2000, 0x1000);
    char out[5] = "";

    assert_true(vmc_memory_add(mem, "before", 0x1000, 0x1000, false, NULL));
    assert_true(vmc_memory_write(mem, 0x1ffe, "seam", 5));
    assert_true(vmc_memory_read(mem, 0x1ffe, out, 5));
    assert_string_equal(out, "seam");
    assert_null(vmc_memory_host(mem, 0x1ffe, 4));
    vmc_memory_free(mem);
}

static void test_rom_is_not_written(void **state)
{
    VmcMemory *mem = memory_with(0x1000, 0x1000);

    assert_true(vmc_memory_add(mem, "rom", 0x2000, 0x1000, true, NULL));
    assert_false(vmc_memory_write(mem, 0x2000, "x", 1));
    assert_false(vmc_memory_write(mem, 0x1fff, "xy", 2));
    assert_int_equal(*(uint8_t *)vmc_memory_host(mem, 0x1fff, 1), 0);
    vmc_memory_free(mem);
}

static void test_slots_that_make_no_sense_are_refused(void **state)
{
    static const uint64_t bad[][2] = {
        {0x3000, 0},
        {0x3001, 0x1000},
        {0x3000, 0x800},
        {0x0, 0x2000},
        {0x1000, 0x1000},
        {0xfffffffffffff000, 0x2000},
        {0x800, ~0ull & ~0xfffull},
        {0x0, 1ull << 63},
    };
    VmcMemory *mem = memory_with(0x1000, 0x1000);

    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        GError *error = NULL;

        assert_false(vmc_memory_add(mem, "bad", bad[i][0], bad[i][1], false, &error));
        assert_non_null(error);
        assert_non_null(strstr(error->message, "bad"));
        g_error_free(error);
    }
    assert_int_equal(mem->n_slots, 1);
    vmc_memory_free(mem);
}

static unsigned long resident_kib(void)
{
    unsigned long size, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu %lu", &size, &resident), 2);
    fclose(file);
    return resident * 4;
}

static void test_memory_costs_what_is_touched(void **state)
{
    unsigned long before = resident_kib();
    VmcMemory *mem = memory_with(0, 16 * GIB);

    assert_true(vmc_memory_write(mem, 15 * GIB, "x", 1));
    assert_in_range(resident_kib() - before, 0, 4096);
    vmc_memory_free(mem);
}

static void test_a_write_kills_code_of_its_pages_only(void **state)
{
    VmcMemory *mem = memory_with(0x1000, 0x5000);
    _Atomic uint32_t *words = mem->slots[0].code_words;

    for (unsigned page = 0; page < 5; page++)
        atomic_store(&words[page], page == 2 ? 8 : 9); /* page 2 holds no code */
    assert_true(vmc_memory_write(mem, 0x2fff, "abcd", 4));
    vmc_memory_written(mem, 0x3000, 1);
    assert_int_equal(words[0], 9);
    assert_int_equal(words[1], 10);
    assert_int_equal(words[2], 8);
    assert_int_equal(words[3], 9);
    vmc_memory_written(mem, 0, UINT64_MAX); /* outside RAM is fine */
    assert_int_equal(words[0], 10);
    assert_int_equal(words[4], 10);
    vmc_memory_free(mem);
}

static void test_host_pointers_stay(void **state)
{
    VmcMemory *mem = memory_with(0x1000, 0x1000);
    void *before = vmc_memory_host(mem, 0x1000, 1);

    for (unsigned i = 1; i < VMC_MEM_SLOTS_MAX; i++)
        assert_true(vmc_memory_add(mem, "more", i * GIB, GIB, false, NULL));
    assert_ptr_equal(vmc_memory_host(mem, 0x1000, 1), before);
    assert_false(vmc_memory_add(mem, "one too many", 100 * GIB, GIB, false, NULL));
    vmc_memory_free(mem);
}

static void test_a_slot_stands_between_guard_pages(void **state)
{
    VmcMemory *mem = memory_with(0, 0x2000);
    const uint8_t *host = mem->slots[0].host;
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], host, 1), 1);
    assert_int_equal(write(ends[1], host + 0x1fff, 1), 1);
    assert_int_equal(write(ends[1], host - 1, 1), -1);
    assert_int_equal(errno, EFAULT);
    assert_int_equal(write(ends[1], host + 0x2000, 1), -1);
    assert_int_equal(errno, EFAULT);
    close(ends[0]);
    close(ends[1]);
    vmc_memory_free(mem);
}

/* A huge page of the host's can be one of the guest's only where the addresses of both agree in the bits
 * below. */
static void test_slots_lie_where_huge_pages_begin(void **state)
{
    VmcMemory *mem = vmc_memory_new();

    assert_true(vmc_memory_add(mem, "low", 0, 64u << 20, false, NULL));
    assert_true(vmc_memory_add(mem, "high", 1ull << 32, 3u << 20, false, NULL));
    assert_true(vmc_memory_add(mem, "small", 1ull << 33, VMC_PAGE_SIZE, true, NULL));
    for (unsigned i = 0; i < mem->n_slots; i++)
        assert_int_equal((uintptr_t)mem->slots[i].host % (2u << 20), 0);
    vmc_memory_free(mem);
}

static void test_a_slot_moves(void **state)
{
    VmcMemory *mem = memory_with(0x1000, 0x1000);
    unsigned slot;
    char c = 0;

    assert_true(vmc_memory_add_movable(mem, "video", 0x10000, &slot, NULL));
    assert_null(vmc_memory_slot(mem, 0)); /* what has no place is not at the ends of the address space */
    assert_null(vmc_memory_slot(mem, UINT64_MAX));
    assert_true(vmc_memory_move(mem, slot, GIB));
    assert_true(vmc_memory_write(mem, GIB + 5, "x", 1));
    assert_true(vmc_memory_move(mem, slot, 2 * GIB));
    assert_false(vmc_memory_read(mem, GIB + 5, &c, 1));
    assert_true(vmc_memory_read(mem, 2 * GIB + 5, &c, 1));
    assert_int_equal(c, 'x');
    assert_true(vmc_memory_move(mem, slot, VMC_MEM_UNMAPPED));
    assert_null(vmc_memory_host(mem, 2 * GIB, 1));
    vmc_memory_free(mem);
}

static void test_a_slot_moves_only_where_there_is_room(void **state)
{
    static const uint64_t bad[] = {0, 0x1000, 0x2000 - 1, GIB + 1, UINT64_MAX & VMC_PAGE_MASK};
    VmcMemory *mem = memory_with(0x1000, 0x1000);
    unsigned slot;

    assert_true(vmc_memory_add_movable(mem, "video", 0x10000, &slot, NULL));
    assert_false(vmc_memory_add_movable(mem, "none", 0, &slot, NULL));
    assert_false(vmc_memory_add_movable(mem, "huge", UINT64_MAX & VMC_PAGE_MASK, &slot, NULL));
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        assert_true(vmc_memory_move(mem, slot, GIB));
        assert_false(vmc_memory_move(mem, slot, bad[i]));
        assert_null(vmc_memory_slot(mem, GIB));
    }
    assert_true(vmc_memory_move(mem, slot, 0x2000));
    vmc_memory_free(mem);
}

static void test_devices_writes_are_logged(void **state)
{
    VmcMemory *mem = memory_with(0x1000, 0x1000);
    uint64_t pages[4] = {0};
    unsigned slot;

    assert_true(vmc_memory_add_movable(mem, "video", 200 * 4096, &slot, NULL));
    assert_true(vmc_memory_move(mem, slot, GIB));
    assert_true(vmc_memory_take_dirty(mem, slot, 0, 200, pages)); /* a place of its own is news */
    vmc_memory_take_dirty(mem, slot, 0, 200, pages);
    assert_false(vmc_memory_take_dirty(mem, slot, 0, 200, pages));
    assert_true(vmc_memory_write(mem, GIB + 70 * 4096 - 1, "ab", 2));
    assert_true(vmc_memory_write(mem, GIB + 130 * 4096, "a", 1));
    assert_true(vmc_memory_take_dirty(mem, slot, 64, 64, pages)); /* a part, as what is on the screen */
    assert_int_equal(pages[1], 3ull << 5);
    assert_true(vmc_memory_take_dirty(mem, slot, 128, 72, pages));
    assert_int_equal(pages[2], 1ull << 2);
    vmc_memory_free(mem);
}

static void test_a_file_is_loaded_as_far_as_it_goes(void **state)
{
    VmcMemory *mem = memory_with(0x10000, 0x4000);
    _Atomic uint32_t *word = &vmc_memory_slot(mem, 0x11000)->code_words[1];
    FILE *file = tmpfile();

    fputs("....kernel", file);
    fflush(file);
    atomic_store(word, 1);
    assert_int_equal(vmc_memory_load(mem, 0x11ffd, 6, fileno(file), 4), 6);
    assert_memory_equal(vmc_memory_host(mem, 0x11ffd, 7), "kernel", 7);
    assert_int_equal(atomic_load(word) & 1, 0);
    assert_int_equal(vmc_memory_load(mem, 0x10000, 100, fileno(file), 8), 2);
    assert_memory_equal(vmc_memory_host(mem, 0x10000, 3), "el", 3);
    assert_int_equal(vmc_memory_load(mem, 0x13fff, 2, fileno(file), 0), -1);
    assert_int_equal(errno, EFAULT);
    assert_int_equal(vmc_memory_load(mem, 0x10000, 2, -1, 0), -1);
    assert_int_equal(errno, EBADF);
    fclose(file);
    vmc_memory_free(mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_is_read),
        cmocka_unit_test(test_fresh_memory_is_zero),
        cmocka_unit_test(test_nothing_is_copied_unless_all_is_ram),
        cmocka_unit_test(test_copies_run_on_into_the_next_slot),
        cmocka_unit_test(test_rom_is_not_written),
        cmocka_unit_test(test_slots_that_make_no_sense_are_refused),
        cmocka_unit_test(test_memory_costs_what_is_touched),
        cmocka_unit_test(test_a_write_kills_code_of_its_pages_only),
        cmocka_unit_test(test_host_pointers_stay),
        cmocka_unit_test(test_a_slot_stands_between_guard_pages),
        cmocka_unit_test(test_slots_lie_where_huge_pages_begin),
        cmocka_unit_test(test_a_slot_moves),
        cmocka_unit_test(test_a_slot_moves_only_where_there_is_room),
        cmocka_unit_test(test_devices_writes_are_logged),
        cmocka_unit_test(test_a_file_is_loaded_as_far_as_it_goes),
    };

    return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
