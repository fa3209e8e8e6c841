/* The state of devices as bytes: what was written is read back, and nothing else is taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/state.h"
#include "vmcore/error.h"

static GBytes *a_device(void)
{
    VmcStateWriter *w = vmc_state_writer_new();
    vmc_state_begin(w, "board", 2);
    vmc_state_begin(w, "chip", 1);
    vmc_state_put_u8(w, 200);
    vmc_state_put_u16(w, 0xbeef);
    vmc_state_put_u32(w, 0xdeadbeef);
    vmc_state_put_u64(w, 0x0123456789abcdef);
    vmc_state_put_bool(w, true);
    vmc_state_end(w);
    vmc_state_begin(w, "empty", 1);
    vmc_state_end(w);
    vmc_state_put_bytes(w, "12345", 5);
    vmc_state_put_blob(w, "abc", 3);
    vmc_state_put_string(w, "größe");
    vmc_state_put_string(w, NULL);
    vmc_state_end(w);
    GBytes *bytes = vmc_state_writer_take(w, NULL);
    vmc_state_writer_free(w);
    return bytes;
}

/* Reads a_device(), and whether that went well. */
static bool read_device(VmcStateReader *r, unsigned *version)
{
    char five[5];
    size_t n;

    *version = vmc_state_enter(r, "board", 2);
    vmc_state_enter(r, "chip", 1);
    bool same = vmc_state_get_u8_max(r, 200) == 200;
    same &= vmc_state_get_u16_max(r, 0xbeef) == 0xbeef;
    same &= vmc_state_get_u32_max(r, 0xdeadbeef) == 0xdeadbeef;
    same &= vmc_state_get_u64_max(r, 0x0123456789abcdef) == 0x0123456789abcdef;
    same &= vmc_state_get_bool(r);
    vmc_state_leave(r);
    vmc_state_enter(r, "empty", 1);
    vmc_state_leave(r);
    vmc_state_get_bytes(r, five, sizeof(five));
    same &= memcmp(five, "12345", 5) == 0;
    const uint8_t *blob = vmc_state_get_blob(r, 3, &n);
    same &= n == 3 && memcmp(blob, "abc", 3) == 0;
    g_autofree char *text = vmc_state_get_string(r, 7);
    same &= g_strcmp0(text, "größe") == 0;
    g_autofree char *none = vmc_state_get_string(r, 7);
    same &= !none;
    return vmc_state_leave(r) && same;
}

static void what_was_written_is_read(void **state)
{
    g_autoptr(GBytes) bytes = a_device();
    VmcStateReader r;
    gsize n;
    unsigned version;

    vmc_state_reader_init(&r, g_bytes_get_data(bytes, &n), g_bytes_get_size(bytes));
    assert_true(read_device(&r, &version));
    assert_int_equal(version, 2);
    assert_true(vmc_state_reader_finish(&r, NULL));
    vmc_state_reader_clear(&r);
}

/* From a buffer of that very size, so that a read beyond it is seen by the sanitizers. */
static void every_shortened_state_is_refused(void **state)
{
    g_autoptr(GBytes) bytes = a_device();
    gsize n;
    const uint8_t *data = g_bytes_get_data(bytes, &n);

    for (gsize length = 0; length < n; length++) {
        g_autofree uint8_t *part = g_memdup2(data, length);
        g_autoptr(GError) error = NULL;
        VmcStateReader r;
        unsigned version;
        vmc_state_reader_init(&r, part, length);
        assert_false(read_device(&r, &version));
        assert_false(vmc_state_reader_finish(&r, &error));
        assert_true(g_error_matches(error, VMC_ERROR, VMC_ERROR_IMAGE));
        vmc_state_reader_clear(&r);
    }
}

static VmcStateReader reader_of(const void *data, size_t n)
{
    VmcStateReader r;
    vmc_state_reader_init(&r, data, n);
    return r;
}

static void assert_failure(VmcStateReader *r, const char *message)
{
    g_autoptr(GError) error = NULL;
    assert_false(vmc_state_reader_finish(r, &error));
    assert_string_equal(error->message, message);
    vmc_state_reader_clear(r);
}

static void the_first_fault_is_told_with_its_section(void **state)
{
    VmcStateWriter *w = vmc_state_writer_new();
    vmc_state_begin(w, "board", 1);
    vmc_state_begin(w, "pit", 3);
    vmc_state_put_u8(w, 7);
    vmc_state_end(w);
    vmc_state_end(w);
    g_autoptr(GBytes) bytes = vmc_state_writer_take(w, NULL);
    vmc_state_writer_free(w);
    gsize n;
    const void *data = g_bytes_get_data(bytes, &n);

    VmcStateReader r = reader_of(data, n);
    vmc_state_enter(&r, "board", 1);
    vmc_state_enter(&r, "pit", 3);
    assert_int_equal(vmc_state_get_u8_max(&r, 6), 0);
    assert_false(vmc_state_check(&r, false, "the second fault"));
    assert_int_equal(vmc_state_get_u64(&r), 0);
    assert_false(vmc_state_leave(&r));
    assert_failure(&r, "In the saved state, section “board/pit”: a number is 7 and can be 6 at most");

    r = reader_of(data, n);
    vmc_state_enter(&r, "board", 1);
    vmc_state_enter(&r, "pit", 3);
    vmc_state_check(&r, vmc_state_get_u8(&r) == 6, "the mode of counter 0");
    assert_failure(&r,
                   "In the saved state, section “board/pit”: the mode of counter 0 is not one there can be");

    r = reader_of(data, n);
    vmc_state_enter(&r, "board", 1);
    assert_int_equal(vmc_state_enter(&r, "pit", 2), 0);
    assert_failure(&r,
                   "In the saved state, section “board”: “pit” is of version 3, and only versions up to 2 "
                   "can be read");

    r = reader_of(data, n);
    vmc_state_enter(&r, "board", 1);
    assert_int_equal(vmc_state_enter(&r, "pic", 1), 0);
    assert_failure(&r, "In the saved state, section “board”: “pic” is missing where it should be");

    r = reader_of(data, n);
    vmc_state_enter(&r, "board", 1);
    vmc_state_enter(&r, "pit", 3);
    assert_false(vmc_state_leave(&r));
    assert_failure(&r, "In the saved state, section “board/pit”: it has 1 bytes too many");

    r = reader_of(data, n);
    vmc_state_enter(&r, "board", 1);
    vmc_state_enter(&r, "pit", 3);
    vmc_state_get_u16(&r); /* there is more in the section around it */
    assert_failure(&r, "In the saved state, section “board/pit”: it ends too early");
}

static void a_section_cannot_reach_out_of_the_one_around_it(void **state)
{
    static const uint8_t bytes[] = {1, 'a', 1, 0, 8, 0, 0, 0, 1, 'b', 1, 0, 1, 0, 0, 0, 99};
    VmcStateReader r = reader_of(bytes, sizeof(bytes));

    assert_int_equal(vmc_state_enter(&r, "a", 1), 1);
    assert_int_equal(vmc_state_enter(&r, "b", 1), 0);
    assert_failure(&r, "In the saved state, section “a”: “b” is longer than what it is in");
}

static void odd_values_are_refused(void **state)
{
    static const uint8_t two[] = {2};
    static const uint8_t not_utf8[] = {2, 0, 0, 0, 0xc3, 0x28};
    static const uint8_t with_zero[] = {2, 0, 0, 0, 'a', 0};
    static const uint8_t too_long[] = {3, 0, 0, 0, 'a', 'b', 'c'};
    static const uint8_t version_0[] = {1, 'a', 0, 0, 0, 0, 0, 0};
    VmcStateReader r = reader_of(two, sizeof(two));
    size_t n;

    assert_false(vmc_state_get_bool(&r));
    assert_false(vmc_state_ok(&r));
    vmc_state_reader_clear(&r);
    r = reader_of(not_utf8, sizeof(not_utf8));
    assert_null(vmc_state_get_string(&r, 2));
    assert_false(vmc_state_ok(&r));
    vmc_state_reader_clear(&r);
    r = reader_of(with_zero, sizeof(with_zero));
    assert_null(vmc_state_get_string(&r, 2));
    assert_false(vmc_state_ok(&r));
    vmc_state_reader_clear(&r);
    r = reader_of(too_long, sizeof(too_long));
    assert_null(vmc_state_get_string(&r, 2));
    assert_false(vmc_state_ok(&r));
    vmc_state_reader_clear(&r);
    r = reader_of(too_long, sizeof(too_long));
    assert_null(vmc_state_get_blob(&r, 2, &n));
    assert_int_equal(n, 0);
    vmc_state_reader_clear(&r);
    r = reader_of(version_0, sizeof(version_0));
    assert_int_equal(vmc_state_enter(&r, "a", 1), 0);
    assert_false(vmc_state_ok(&r));
    vmc_state_reader_clear(&r);
}

static void the_next_section_can_be_asked_for(void **state)
{
    g_autoptr(GBytes) bytes = a_device();
    gsize n;
    const void *data = g_bytes_get_data(bytes, &n);
    VmcStateReader r = reader_of(data, n);

    assert_true(vmc_state_next_is(&r, "board"));
    assert_false(vmc_state_next_is(&r, "boar"));
    assert_false(vmc_state_next_is(&r, "boards"));
    vmc_state_enter(&r, "board", 2);
    assert_true(vmc_state_next_is(&r, "chip"));
    vmc_state_reader_clear(&r);
}

static void a_refusal_to_save_is_the_outcome(void **state)
{
    VmcStateWriter *w = vmc_state_writer_new();
    g_autoptr(GError) error = NULL;

    vmc_state_begin(w, "board", 1);
    vmc_state_refuse(w, "The machine cannot be saved with a “%s” device", "flux capacitor");
    vmc_state_refuse(w, "never told");
    vmc_state_end(w);
    assert_null(vmc_state_writer_take(w, &error));
    assert_true(g_error_matches(error, VMC_ERROR, VMC_ERROR_STATE));
    assert_string_equal(error->message, "The machine cannot be saved with a “flux capacitor” device");
    vmc_state_writer_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(every_shortened_state_is_refused),
        cmocka_unit_test(the_first_fault_is_told_with_its_section),
        cmocka_unit_test(a_section_cannot_reach_out_of_the_one_around_it),
        cmocka_unit_test(odd_values_are_refused),
        cmocka_unit_test(the_next_section_can_be_asked_for),
        cmocka_unit_test(a_refusal_to_save_is_the_outcome),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
