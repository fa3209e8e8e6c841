/*
 * The table of a machine's CPU figures.
 *
 * Figures and ratios are rows of one table of field offsets, so that what VmcCpuStats gains needs a line here
 * and nothing else. Ratios are worked out of each column's own figures; in the sum's column, of the sums.
 */
#include "app/cpu_figures.h"

#include <glib/gi18n.h>
#include <stddef.h>
#include <string.h>

#include "app/words.h"

#define WIDTH       80
#define LABEL_WIDTH 32
#define FIELDS      (sizeof(VmcCpuStats) / sizeof(uint64_t))

typedef enum RowKind {
    ROW_COUNT,
    ROW_SHARE, /* field of `of`, in per cent */
    ROW_REST,  /* what of `of` is not field, in per cent */
    ROW_RATIO, /* field to `of` */
} RowKind;

typedef struct Row {
    const char *label;
    RowKind kind;
    size_t field, of; /* in VmcCpuStats */
    bool translator;  /* only if that ran */
    bool soft;        /* only of software CPUs, which count blocks */
    bool rare;        /* only if it is not zero */
} Row;

#define COUNT(name) .kind = ROW_COUNT, .field = offsetof(VmcCpuStats, name)
#define OF(row, name, whole)                                                                                 \
    .kind = row, .field = offsetof(VmcCpuStats, name), .of = offsetof(VmcCpuStats, whole)

static const Row rows[] = {
    {.label = N_("blocks decoded"), COUNT(blocks_decoded), .soft = true},
    {.label = N_("blocks translated"), COUNT(blocks_translated), .translator = true},
    {.label = N_("  of those decoded"), OF(ROW_SHARE, blocks_translated, blocks_decoded), .translator = true},
    {.label = N_("guest instructions translated"), COUNT(insns_translated), .translator = true},
    {.label = N_("  in a block"), OF(ROW_RATIO, insns_translated, blocks_translated), .translator = true},
    {.label = N_("bytes of host code now"), COUNT(code_bytes), .translator = true},
    {.label = N_("bytes of host code ever made"), COUNT(code_bytes_total), .translator = true},
    {.label = N_("  for a guest instruction"),
     OF(ROW_RATIO, code_bytes_total, insns_translated),
     .translator = true},
    {.label = N_("times old code made room"), COUNT(evictions), .soft = true},
    {.label = N_("returns to the run loop"), COUNT(exits), .soft = true},
    {.label = N_("requests served there"), COUNT(requests), .soft = true},
    {.label = N_("blocks looked up there"), COUNT(lookups), .soft = true},
    {.label = N_("  found in the jump cache"), OF(ROW_REST, lookup_misses, lookups), .soft = true},
    {.label = N_("blocks left to the interpreter"), COUNT(blocks_interpreted), .translator = true},
    {.label = N_("instructions left to it"), COUNT(bails), .translator = true},
    {.label = N_("TLB flushes"), COUNT(flushes), .soft = true},
    {.label = N_("accesses the TLB did not serve"), COUNT(tlb_slow), .soft = true},
    {.label = N_("blocks compared in lockstep"), COUNT(lockstep_blocks), .translator = true, .rare = true},
    {.label = N_("entries into KVM"), COUNT(kernel_entries), .rare = true},
    {.label = N_("exits from the guest"), COUNT(kernel_exits), .rare = true},
    {.label = N_("  of those, halts"), OF(ROW_SHARE, halts, kernel_exits), .rare = true},
    {.label = N_("interrupts taken"), COUNT(interrupts), .rare = true},
    {.label = N_("accesses to ports"), COUNT(port_exits), .rare = true},
    {.label = N_("accesses to devices in memory"), COUNT(memory_exits), .rare = true},
    {.label = N_("accesses to MSRs of ours or unknown"), COUNT(msr_exits), .rare = true},
};

static uint64_t get(const VmcCpuStats *stats, size_t field)
{
    uint64_t value;

    memcpy(&value, (const char *)stats + field, sizeof value);
    return value;
}

static VmcCpuStats sum_up(const VmcCpuStats *stats, unsigned n)
{
    uint64_t sum[FIELDS] = {0};
    VmcCpuStats result;

    for (unsigned i = 0; i < n; i++)
        for (size_t field = 0; field < FIELDS; field++)
            sum[field] += get(&stats[i], field * sizeof *sum);
    memcpy(&result, sum, sizeof result);
    return result;
}

/* "1,234,567" */
static char *group_digits(uint64_t value)
{
    g_autofree char *digits = g_strdup_printf("%" G_GUINT64_FORMAT, value);
    size_t n = strlen(digits);
    GString *text = g_string_new(NULL);

    for (size_t i = 0; i < n; i++) {
        if (i && (n - i) % 3 == 0)
            g_string_append_c(text, ',');
        g_string_append_c(text, digits[i]);
    }
    return g_string_free(text, FALSE);
}

static char *cell(const Row *row, const VmcCpuStats *stats)
{
    uint64_t value = get(stats, row->field), of = get(stats, row->of);

    if (row->kind == ROW_COUNT)
        return group_digits(value);
    if (of == 0)
        return g_strdup("-");
    if (row->kind == ROW_RATIO)
        return g_strdup_printf("%.1f", (double)value / (double)of);
    if (row->kind == ROW_REST)
        value = of - MIN(value, of);
    return g_strdup_printf("%.1f %%", 100 * (double)value / (double)of);
}

static bool is_shown(const Row *row, const char *engine, const VmcCpuStats *sum)
{
    if (row->translator && g_strcmp0(engine, vmc_cpu_engine_name(VMC_ENGINE_TRANSLATOR)) != 0)
        return false;
    if (row->soft && sum->kernel_entries)
        return false;
    return !row->rare || get(sum, row->field) != 0;
}

/* That of the widest cell, which one of the sums has. */
static int column_width(const VmcCpuStats *sum)
{
    size_t width = strlen("100.0 %");

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *text = cell(&rows[i], sum);

        width = MAX(width, strlen(text));
    }
    return (int)width + 2;
}

/* A label, indented, and blanks until it is as wide; a longer one has one behind it. */
static void pad(GString *text, const char *label, int width)
{
    int used = esp_text_width(label) + 2;

    g_string_append_printf(text, "  %s%*s", label, MAX(width - used, 0), "");
}

static void add_table(GString *text, const char *engine, const VmcCpuStats *sum, int width,
                      const VmcCpuStats *const *columns, char *const *heads, unsigned n)
{
    g_string_append_printf(text, "%-*s", LABEL_WIDTH, "");
    for (unsigned i = 0; i < n; i++)
        g_string_append_printf(text, "%*s%s", MAX(width - esp_text_width(heads[i]), 1), "", heads[i]);
    g_string_append_c(text, '\n');
    for (size_t r = 0; r < G_N_ELEMENTS(rows); r++) {
        if (!is_shown(&rows[r], engine, sum))
            continue;
        pad(text, _(rows[r].label), LABEL_WIDTH);
        for (unsigned i = 0; i < n; i++) {
            g_autofree char *value = cell(&rows[r], columns[i]);

            g_string_append_printf(text, "%*s", width, value);
        }
        g_string_append_c(text, '\n');
    }
}

char *esp_cpu_name(VmcMachine *machine)
{
    const char *engine = vmc_machine_get_cpu_engine(machine);

    return g_strconcat(vmc_machine_get_cpu_backend(machine), engine ? ", " : NULL, engine, NULL);
}

char *esp_cpu_figures(const char *engine, const VmcCpuStats *stats, unsigned n)
{
    VmcCpuStats sum = sum_up(stats, n);
    GString *text = g_string_new(NULL);
    int width = column_width(&sum);
    unsigned at_once = (unsigned)((WIDTH - LABEL_WIDTH) / width);
    g_autofree const VmcCpuStats **columns = g_new0(const VmcCpuStats *, n + 1);
    g_auto(GStrv) heads = g_new0(char *, n + 2);

    columns[0] = &sum;
    heads[0] = g_strdup(_("sum"));
    for (unsigned i = 0; i < n; i++) {
        columns[i + 1] = &stats[i];
        heads[i + 1] = g_strdup_printf(_("CPU %u"), i);
    }
    for (unsigned i = 0; i < n + 1; i += at_once) {
        if (i)
            g_string_append_c(text, '\n');
        add_table(text, engine, &sum, width, columns + i, heads + i, MIN(at_once, n + 1 - i));
    }
    return g_string_free(text, FALSE);
}
