/* The table of CPU figures: what is in it, that it adds up, and that a terminal has room for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "app/cpu_figures.h"

static VmcCpuStats some(uint64_t scale)
{
    return (VmcCpuStats){.blocks_decoded = 1000 * scale,
                         .blocks_translated = 250 * scale,
                         .insns_translated = 2000 * scale,
                         .code_bytes_total = 50000 * scale,
                         .lookups = 300 * scale,
                         .lookup_misses = 100 * scale,
                         .exits = 1234567 * scale,
                         .requests = scale};
}

/* `cells` have a bar between two. */
static void assert_row(const char *table, const char *label, const char *cells)
{
    g_autoptr(GRegex) gap = g_regex_new(" {2,}", 0, 0, NULL);
    const char *row = strstr(table, label);
    g_autofree char *rest = NULL, *seen = NULL;

    if (!row)
        fail_msg("there is no “%s” in:\n%s", label, table);
    row += strlen(label);
    rest = g_strndup(row, strcspn(row, "\n"));
    seen = g_regex_replace_literal(gap, g_strchug(rest), -1, 0, " | ", 0, NULL);
    if (strcmp(seen, cells) != 0)
        fail_msg("“%s” has “%s”, not “%s”, in:\n%s", label, seen, cells, table);
}

static void test_sums_shares_and_ratios(void **state)
{
    const VmcCpuStats stats[] = {some(1), some(3)};
    g_autofree char *table = esp_cpu_figures("translator", stats, 2);

    assert_row(table, "blocks decoded ", "4,000 | 1,000 | 3,000");
    assert_row(table, "blocks translated ", "1,000 | 250 | 750");
    assert_row(table, "  of those decoded ", "25.0 % | 25.0 % | 25.0 %");
    assert_row(table, "  in a block ", "8.0 | 8.0 | 8.0");
    assert_row(table, "  for a guest instruction ", "25.0 | 25.0 | 25.0");
    assert_row(table, "returns to the run loop ", "4,938,268 | 1,234,567 | 3,703,701");
    assert_row(table, "requests served there ", "4 | 1 | 3");
    assert_row(table, "  found in the jump cache ", "66.7 % | 66.7 % | 66.7 %");
    assert_row(table, "TLB flushes ", "0 | 0 | 0");
    assert_null(strstr(table, "lockstep"));
}

static void test_what_the_engine_does_not_do_is_left_out(void **state)
{
    static const char *const engines[] = {"interpreter", NULL};
    const VmcCpuStats stats[] = {some(1), {.lockstep_blocks = 7}};

    for (size_t i = 0; i < G_N_ELEMENTS(engines); i++) {
        g_autofree char *table = esp_cpu_figures(engines[i], stats, 2);

        assert_non_null(strstr(table, "blocks decoded"));
        assert_null(strstr(table, "translated"));
        assert_null(strstr(table, "host code"));
        assert_null(strstr(table, "lockstep"));
        assert_row(table, "  found in the jump cache ", "66.7 % | 66.7 % | -");
    }
    g_autofree char *table = esp_cpu_figures("translator", stats, 2);
    assert_row(table, "blocks compared in lockstep ", "7 | 0 | 7");
}

/* However many CPUs and however large their figures. */
static void test_a_terminal_has_room_for_it(void **state)
{
    static const unsigned numbers[] = {1, 2, 3, 5, 64};
    static const uint64_t scales[] = {0, 1, 1000000, 1000000000000};
    VmcCpuStats stats[64];

    for (size_t s = 0; s < G_N_ELEMENTS(scales); s++) {
        for (unsigned i = 0; i < 64; i++)
            stats[i] = some(scales[s]);
        for (size_t n = 0; n < G_N_ELEMENTS(numbers); n++) {
            g_autofree char *table = esp_cpu_figures("translator", stats, numbers[n]);
            g_auto(GStrv) all = g_strsplit(table, "\n", -1);

            for (char **line = all; *line; line++)
                if (strlen(*line) > 80)
                    fail_msg("%zu columns: %s", strlen(*line), *line);
            for (unsigned cpu = 0; cpu < 65; cpu++) {
                g_autofree char *head = g_strdup_printf(" CPU %u", cpu);
                const char *found = strstr(table, head);
                bool whole = found && !g_ascii_isdigit(found[strlen(head)]);

                assert_int_equal(whole, cpu < numbers[n]);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums_shares_and_ratios),
        cmocka_unit_test(test_what_the_engine_does_not_do_is_left_out),
        cmocka_unit_test(test_a_terminal_has_room_for_it),
    };

    return cmocka_run_group_tests_name("CPU figures", tests, NULL, NULL);
}
