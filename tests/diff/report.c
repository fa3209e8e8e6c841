/*
 * Counts by form of instruction ("add r32, m32"), so that the end of a run says which were tried, which agree
 * and which were left out, by name and with the reason.
 */
#include "diff.h"

#include <glib.h>
#include <stdio.h>
#include <string.h>

struct tally {
    char *form;
    unsigned long tried, passed, excluded;
    const char *reason;
};

struct report {
    GHashTable *forms;
    unsigned long failures;
};

static void tally_free(gpointer data)
{
    struct tally *t = data;

    g_free(t->form);
    g_free(t);
}

struct report *report_new(void)
{
    struct report *r = g_new0(struct report, 1);

    r->forms = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, tally_free);
    return r;
}

void report_free(struct report *r)
{
    g_hash_table_destroy(r->forms);
    g_free(r);
}

void report_count(struct report *r, const char *form, bool passed, const char *reason)
{
    struct tally *t = g_hash_table_lookup(r->forms, form);

    if (!t) {
        t = g_new0(struct tally, 1);
        t->form = g_strdup(form);
        g_hash_table_insert(r->forms, t->form, t);
    }
    if (reason) {
        t->excluded++;
        t->reason = reason;
        return;
    }
    t->tried++;
    t->passed += passed;
    r->failures += !passed;
}

static int by_name(gconstpointer a, gconstpointer b)
{
    return strcmp((*(struct tally *const *)a)->form, (*(struct tally *const *)b)->form);
}

/* Forms left out altogether by name; of those left out now and then only how often. */
struct excluded {
    GString *names;
    unsigned long part_forms, part_cases;
};

/* "excluded, reads the time: rdtsc; rdtscp", one line a reason. */
static void print_excluded(GPtrArray *tallies)
{
    GHashTable *by_reason = g_hash_table_new(g_str_hash, g_str_equal);
    GHashTableIter iter;
    gpointer key, value;

    for (guint i = 0; i < tallies->len; i++) {
        struct tally *t = tallies->pdata[i];
        struct excluded *e;

        if (!t->reason)
            continue;
        e = g_hash_table_lookup(by_reason, t->reason);
        if (!e) {
            e = g_new0(struct excluded, 1);
            e->names = g_string_new(NULL);
            g_hash_table_insert(by_reason, (gpointer)t->reason, e);
        }
        if (t->tried) {
            e->part_forms++;
            e->part_cases += t->excluded;
        } else {
            g_string_append_printf(e->names, "%s%s", e->names->len ? "; " : "", t->form);
        }
    }
    g_hash_table_iter_init(&iter, by_reason);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        struct excluded *e = value;

        printf("excluded, %s: %s", (const char *)key, e->names->str);
        if (e->part_forms)
            printf("%s%lu cases of %lu forms", e->names->len ? "; and " : "", e->part_cases, e->part_forms);
        printf("\n");
        g_string_free(e->names, TRUE);
        g_free(e);
    }
    g_hash_table_destroy(by_reason);
}

void report_print(const struct report *r, bool all_forms)
{
    GPtrArray *tallies = g_ptr_array_new();
    unsigned long tried = 0, passed = 0, excluded = 0, cases = 0, failed_forms = 0;
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, r->forms);
    while (g_hash_table_iter_next(&iter, NULL, &value))
        g_ptr_array_add(tallies, value);
    g_ptr_array_sort(tallies, by_name);
    for (guint i = 0; i < tallies->len; i++) {
        struct tally *t = tallies->pdata[i];

        cases += t->tried;
        if (t->tried) {
            tried++;
            passed += t->passed == t->tried;
            failed_forms += t->passed != t->tried;
        } else {
            excluded++;
        }
        if (t->tried && (all_forms || t->passed != t->tried))
            printf("  %-44s %lu of %lu agree\n", t->form, t->passed, t->tried);
    }
    print_excluded(tallies);
    printf("forms: %lu tried, %lu passed, %lu failed, %lu excluded by name; %lu cases run\n", tried, passed,
           failed_forms, excluded, cases);
    g_ptr_array_free(tallies, TRUE);
}

unsigned long report_failures(const struct report *r)
{
    return r->failures;
}

unsigned long report_failures_of(const struct report *r, const char *form)
{
    const struct tally *t = g_hash_table_lookup(r->forms, form);

    return t ? t->tried - t->passed : 0;
}
