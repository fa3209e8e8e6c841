/* Texts as keys, on the layouts of the host's xkb-data. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "app/key_text.h"

/* The strokes of a text as "+42 +30 -30 -42", and what the layout has not behind a "!". */
static char *typed(const char *name, const char *variant, const char *text)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(EspKeyLayout) layout = esp_key_layout_new(name, variant, &error);
    g_autoptr(GArray) strokes = g_array_new(FALSE, FALSE, sizeof(EspKeyStroke));
    g_autoptr(GString) missing = g_string_new(NULL);
    GString *words = g_string_new(NULL);

    assert_null(error);
    esp_key_layout_type(layout, text, strokes, missing);
    for (guint i = 0; i < strokes->len; i++) {
        EspKeyStroke stroke = g_array_index(strokes, EspKeyStroke, i);
        g_string_append_printf(words, "%s%c%u", i ? " " : "", stroke.down ? '+' : '-', stroke.keycode);
    }
    if (missing->len)
        g_string_append_printf(words, " !%s", missing->str);
    return g_string_free(words, FALSE);
}

static void assert_typed(const char *layout, const char *variant, const char *text, const char *wanted)
{
    g_autofree char *words = typed(layout, variant, text);

    assert_string_equal(words, wanted);
}

static void test_letters_are_where_the_layout_has_them(void **state)
{
    assert_typed(NULL, NULL, "yz", "+21 -21 +44 -44");
    assert_typed("de", NULL, "yz", "+44 -44 +21 -21");
    assert_typed("fr", NULL, "aq", "+16 -16 +30 -30");
    assert_typed("ru", NULL, "й", "+16 -16");
}

static void test_shift_is_held_for_as_long_as_it_takes(void **state)
{
    assert_typed("us", NULL, "aBCd", "+30 -30 +42 +48 -48 +46 -46 -42 +32 -32");
    assert_typed("us", NULL, "A", "+42 +30 -30 -42");
    assert_typed("fr", NULL, "1", "+42 +2 -2 -42");
}

static void test_altgr_is_the_right_alt_key(void **state)
{
    assert_typed("de", NULL, "@", "+100 +16 -16 -100");
    assert_typed("de", NULL, "€{", "+100 +18 -18 +8 -8 -100");
}

static void test_dead_keys_come_before_their_letters(void **state)
{
    assert_typed("de", NULL, "^", "+41 -41 +57 -57");
    assert_typed("de", NULL, "ê", "+41 -41 +18 -18");
    assert_typed("es", NULL, "á", "+40 -40 +30 -30");
    assert_typed("ch", "fr", "é", "+39 -39");
}

static void test_lines_and_tabs_are_keys_too(void **state)
{
    assert_typed("us", NULL, "a\r\n\tb\rc", "+30 -30 +28 -28 +15 -15 +48 -48 +28 -28 +46 -46");
}

static void test_only_keys_that_keyboards_have_are_pressed(void **state)
{
    assert_typed("us", NULL, "($)", "+42 +10 -10 +5 -5 +11 -11 -42");
    assert_typed("us", NULL, "2*3.4=", "+3 -3 +42 +9 -9 -42 +4 -4 +52 -52 +5 -5 +13 -13");
}

static void test_what_there_is_no_key_for_is_named_once(void **state)
{
    assert_typed("us", NULL, "a€b€日", "+30 -30 +48 -48 !€日");
    assert_typed("us", NULL, "\033a", "+30 -30 !\033");
}

static void test_a_layout_nobody_knows_is_an_error(void **state)
{
    g_autoptr(GError) error = NULL;

    assert_null(esp_key_layout_new("xx-nonsense", "really", &error));
    assert_non_null(strstr(error->message, "xx-nonsense really"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_letters_are_where_the_layout_has_them),
        cmocka_unit_test(test_shift_is_held_for_as_long_as_it_takes),
        cmocka_unit_test(test_altgr_is_the_right_alt_key),
        cmocka_unit_test(test_dead_keys_come_before_their_letters),
        cmocka_unit_test(test_lines_and_tabs_are_keys_too),
        cmocka_unit_test(test_only_keys_that_keyboards_have_are_pressed),
        cmocka_unit_test(test_what_there_is_no_key_for_is_named_once),
        cmocka_unit_test(test_a_layout_nobody_knows_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
