/*
 * difftest: the software CPU against the host's. See diff.h for how.
 *
 *   difftest [--seconds N] [--seed N] [--mode 64|32|16] [--corpus FOLDER] [--case LINE] [--only TEXT]
 * [--sequences]
 *            [--engine interpreter|translator[,lockstep]] [--native-only] [--baseline] [--forms] [--show N]
 *
 * First the corpus, then every enumerated encoding, then random ones and sequences until the time is up. Exit
 * status 0 if all agree, 1 if not, 77 if the host cannot be an oracle.
 */
#include "diff.h"

#include <glib.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct run {
    struct judge judge;
    struct generator gen;
    struct native *native;
    struct soft *soft; /* NULL: the host against itself */
    struct report *report;
    struct diff_case *cases;
    struct diff_outcome *native_outcomes, *soft_outcomes;
    unsigned n_cases;
    unsigned long run_of_set[ZYDIS_ISA_SET_MAX_VALUE + 1];
    double until;
    /* options */
    double seconds;
    uint64_t seed;
    int mode; /* -1: all */
    const char *corpus, *only, *line;
    VmcCpuEngine engine;
    bool lockstep;
    bool no_oracle; /* built with sanitizers: their shadow memory lies where snippets expect nothing, so only
                       our side runs */
    bool native_only, baseline, forms, sequences_only, random_only;
    unsigned show;
};

static double now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void form_of(struct run *r, const struct diff_case *c, char *form, size_t size)
{
    struct judged i;

    judge_insn(&r->judge, (enum diff_mode)c->mode, c->code, c->length, &i);
    if (i.valid && i.insn.length < c->length)
        snprintf(form, size, "%ssequence", c->mode == MODE_64 ? "" : c->mode == MODE_32 ? "32: " : "16: ");
    else
        judge_form(&i, (enum diff_mode)c->mode, form, size);
}

static void run_soft(struct run *r, const struct diff_case *c, struct diff_outcome *o)
{
    if (r->soft)
        soft_run(r->soft, c, o);
    else
        native_run(r->native, c, o, 1);
}

static bool still_differs(struct run *r, struct diff_case *c)
{
    static char text[8192];
    const char *reason;

    if (judge_case(&r->judge, c, &reason) != VERDICT_RUN)
        return false;
    generate_finish(&r->judge, c);
    native_run(r->native, c, r->native_outcomes, 1);
    run_soft(r, c, r->soft_outcomes);
    return compare_outcomes(c, r->native_outcomes, r->soft_outcomes, text, sizeof(text)) > 0;
}

/* Leaves out one instruction after the other as long as the rest still differs. */
static void shrink(struct run *r, struct diff_case *c)
{
    unsigned at = 0;

    while (at < c->length) {
        struct diff_case smaller = *c;
        struct judged i;

        judge_insn(&r->judge, (enum diff_mode)c->mode, c->code + at, c->length - at, &i);
        if (!i.valid)
            return;
        memmove(smaller.code + at, c->code + at + i.insn.length, c->length - at - i.insn.length);
        smaller.length -= i.insn.length;
        if (smaller.length && still_differs(r, &smaller))
            *c = smaller;
        else
            at += i.insn.length;
    }
}

static void show(struct run *r, const struct diff_case *c, const char *form, const char *differences)
{
    static char line[8192], text[1024];

    judge_disassemble(&r->judge, c, text, sizeof(text));
    corpus_print(c, line, sizeof(line));
    printf("DIFFERS %s: %s\n%s  case: %s\n", form, text, differences, line);
    fflush(stdout);
}

static void count_sets(struct run *r, const struct diff_case *c)
{
    struct judged i;

    judge_insn(&r->judge, (enum diff_mode)c->mode, c->code, c->length, &i);
    if (i.valid)
        r->run_of_set[i.insn.meta.isa_set]++;
}

/* Asks the host once more about a case that differs: what it does not repeat is no difference. (One in a
 * million times a host under a hypervisor of its own takes the INT3 behind a snippet for #UD.) */
static bool host_agrees_now(struct run *r, const struct diff_case *c, const struct diff_outcome *soft)
{
    static struct diff_outcome again;
    static char text[8192];

    if (!r->native)
        return false;
    native_run(r->native, c, &again, 1);
    return compare_outcomes(c, &again, soft, text, sizeof(text)) == 0;
}

static void judge_outcome(struct run *r, const struct diff_case *c, const struct diff_outcome *native,
                          const struct diff_outcome *soft)
{
    static char text[8192];
    char form[192];
    unsigned differences = compare_outcomes(c, native, soft, text, sizeof(text));

    form_of(r, c, form, sizeof(form));
    count_sets(r, c);
    if (r->line)
        printf("%s: vector %u error %x cr2 %" PRIx64 " rip %" PRIx64 "\n", form, native->vector,
               native->error, native->cr2, native->out.rip);
    if (differences) {
        const char *known = compare_known(&r->judge, c, native, soft);

        if (!known && !c->expect_ud && host_agrees_now(r, c, soft))
            known = "the host answered otherwise when asked again";
        if (known) {
            report_count(r->report, form, false, known);
            return;
        }
    }
    report_count(r->report, form, differences == 0, NULL);
    if (!differences || report_failures_of(r->report, form) > r->show)
        return;
    if (strstr(form, "sequence")) {
        struct diff_case small = *c;

        shrink(r, &small);
        if (still_differs(r, &small)) {
            compare_outcomes(&small, r->native_outcomes, r->soft_outcomes, text, sizeof(text));
            show(r, &small, form, text);
            return;
        }
        compare_outcomes(c, native, soft, text, sizeof(text));
    }
    show(r, c, form, text);
}

static void flush(struct run *r)
{
    unsigned n = r->n_cases;
    struct diff_outcome soft;

    r->n_cases = 0;
    if (r->no_oracle) {
        for (unsigned i = 0; i < n; i++) {
            soft_run(r->soft, &r->cases[i], &soft);
            judge_outcome(r, &r->cases[i], &soft, &soft);
        }
        return;
    }
    native_run(r->native, r->cases, r->native_outcomes, n);
    if (!r->soft)
        native_run(r->native, r->cases, r->soft_outcomes, n);
    for (unsigned i = 0; i < n; i++) {
        static struct diff_outcome native;

        native = r->native_outcomes[i];
        if (r->soft)
            soft_run(r->soft, &r->cases[i], &soft);
        else
            soft = r->soft_outcomes[i];
        judge_outcome(r, &r->cases[i], &native, &soft);
    }
}

/* Takes a case in; it runs with the batch it belongs to. */
static void submit(struct run *r, struct diff_case *c)
{
    const char *reason;
    char form[192];
    enum verdict verdict = judge_case(&r->judge, c, &reason);

    form_of(r, c, form, sizeof(form));
    if (r->only && !strstr(form, r->only))
        return;
    if (verdict == VERDICT_EXCLUDED) {
        report_count(r->report, form, false, reason);
        return;
    }
    if (verdict == VERDICT_UD) {
        if (!r->soft || !c->expect_ud)
            return;
        soft_run(r->soft, c, &r->soft_outcomes[NATIVE_BATCH]);
        judge_outcome(r, c, &r->soft_outcomes[NATIVE_BATCH], &r->soft_outcomes[NATIVE_BATCH]);
        return;
    }
    r->cases[r->n_cases++] = *c;
    if (r->n_cases == NATIVE_BATCH)
        flush(r);
}

static bool run_line(struct run *r, const char *line, const char *where)
{
    struct diff_case c;
    const char *why;

    if (corpus_parse(&r->judge, line, &c, &why)) {
        submit(r, &c);
        return true;
    }
    if (!why)
        return true;
    printf("%s: %s\n", where, why);
    return false;
}

static bool run_corpus(struct run *r)
{
    GDir *dir = g_dir_open(r->corpus, 0, NULL);
    const char *name;
    unsigned n = 0;
    bool good = dir != NULL;

    while (dir && (name = g_dir_read_name(dir))) {
        char *path = g_build_filename(r->corpus, name, NULL), *text = NULL;
        char **lines;

        if (g_str_has_suffix(name, ".txt") && g_file_get_contents(path, &text, NULL, NULL)) {
            lines = g_strsplit(text, "\n", -1);
            for (unsigned i = 0; lines[i]; i++, n++)
                good &= run_line(r, lines[i], path);
            g_strfreev(lines);
        }
        g_free(text);
        g_free(path);
    }
    if (dir)
        g_dir_close(dir);
    flush(r);
    printf("corpus: %u lines\n", n);
    return good;
}

static bool wanted(const struct run *r, enum diff_mode mode)
{
    return (r->mode < 0 || r->mode == (int)mode) && (mode == MODE_64 || !r->judge.host_flat);
}

static void run_enumerated(struct run *r)
{
    struct diff_case c;

    for (unsigned mode = 0; mode < MODE_COUNT; mode++) {
        if (!wanted(r, (enum diff_mode)mode))
            continue;
        for (unsigned long n = 0; generate_enumerated(&r->gen, (enum diff_mode)mode, n, &c); n++)
            if (c.length)
                submit(r, &c);
        flush(r);
        printf("enumerated, %s: done, %.1f s left, %lu differ\n",
               mode == MODE_64   ? "64-bit"
               : mode == MODE_32 ? "32-bit"
                                 : "16-bit",
               r->until - now(), report_failures(r->report));
        fflush(stdout);
    }
}

static void run_random(struct run *r)
{
    struct diff_case c;

    for (unsigned long n = 0; now() < r->until; n++) {
        enum diff_mode mode = r->mode >= 0 ? (enum diff_mode)r->mode
                              : n % 8 == 7 ? MODE_16
                              : n % 4 == 3 ? MODE_32
                                           : MODE_64;

        if (!wanted(r, mode))
            mode = MODE_64;
        for (unsigned i = 0; i < NATIVE_BATCH; i++) {
            if (r->sequences_only || (i % 3 == 0 && !r->only))
                generate_sequence(&r->gen, mode, &c);
            else
                generate_random(&r->gen, mode, &c);
            submit(r, &c);
        }
    }
    flush(r);
}

/* CPUID as the software CPU answers it, asked by the instruction itself. */
static void ask_cpuid(struct run *r)
{
    static const uint32_t leaves[4][2] = {{1, 0}, {7, 0}, {13, 1}, {0x80000001, 0}};
    uint32_t answers[4][4];

    for (unsigned i = 0; i < 4; i++) {
        static struct diff_outcome o;
        struct diff_case c = {.mode = MODE_64, .offset = 0x100, .length = 2, .code = {0x0f, 0xa2}};

        generate_registers(&r->gen, &c);
        c.in.rflags = 0x202;
        c.in.gpr[0] = leaves[i][0];
        c.in.gpr[1] = leaves[i][1];
        soft_run(r->soft, &c, &o);
        if (o.vector != 3)
            g_error("CPUID itself does not run: vector %u at %" PRIx64, o.vector, o.out.rip);
        answers[i][0] = (uint32_t)o.out.gpr[0];
        answers[i][1] = (uint32_t)o.out.gpr[3];
        answers[i][2] = (uint32_t)o.out.gpr[1];
        answers[i][3] = (uint32_t)o.out.gpr[2];
    }
    judge_set_advertised(&r->judge, answers[0], answers[1], answers[2], answers[3]);
}

/* As --cpu soft:ENGINE says it. */
static bool parse_engine(struct run *r, const char *value)
{
    char **parts = g_strsplit(value, ",", 2);
    bool good = parts[0] && vmc_cpu_engine_from_name(parts[0], &r->engine) &&
                (!parts[1] || strcmp(parts[1], "lockstep") == 0);

    r->lockstep = good && parts[1];
    g_strfreev(parts);
    return good;
}

static bool parse_options(struct run *r, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";

        if (strcmp(argv[i], "--native-only") == 0) {
            r->native_only = true;
            continue;
        } else if (strcmp(argv[i], "--baseline") == 0) {
            r->baseline = true;
            continue;
        } else if (strcmp(argv[i], "--forms") == 0) {
            r->forms = true;
            continue;
        } else if (strcmp(argv[i], "--sequences") == 0) {
            r->sequences_only = true;
            continue;
        } else if (strcmp(argv[i], "--random") == 0) {
            r->random_only = true;
            continue;
        }
        if (strcmp(argv[i], "--seconds") == 0)
            r->seconds = atof(value);
        else if (strcmp(argv[i], "--seed") == 0)
            r->seed = strtoull(value, NULL, 0);
        else if (strcmp(argv[i], "--show") == 0)
            r->show = (unsigned)atoi(value);
        else if (strcmp(argv[i], "--engine") == 0 && !parse_engine(r, value))
            return false;
        else if (strcmp(argv[i], "--engine") == 0)
            ;
        else if (strcmp(argv[i], "--mode") == 0)
            r->mode = atoi(value) == 64 ? MODE_64 : atoi(value) == 32 ? MODE_32 : MODE_16;
        else if (strcmp(argv[i], "--corpus") == 0)
            r->corpus = value;
        else if (strcmp(argv[i], "--only") == 0)
            r->only = value;
        else if (strcmp(argv[i], "--case") == 0)
            r->line = value;
        else
            return false;
        i++;
    }
    return true;
}

static bool set_up(struct run *r)
{
    const char *why = NULL;

    judge_init(&r->judge);
    r->gen.judge = &r->judge;
    r->gen.random = r->seed;
#ifdef __SANITIZE_ADDRESS__
    r->no_oracle = true;
    printf("built with sanitizers: the software CPU runs, its results are not compared\n");
#endif
    if (!r->no_oracle) {
        r->judge.host_flat = native_is_flat();
        r->native = native_new(&why);
        if (!r->native) {
            printf("differential test left out: %s\n", why);
            return false;
        }
    }
    r->report = report_new();
    r->cases = g_new0(struct diff_case, NATIVE_BATCH);
    r->native_outcomes = g_new0(struct diff_outcome, NATIVE_BATCH);
    r->soft_outcomes = g_new0(struct diff_outcome, NATIVE_BATCH + 1);
    if (r->native_only) {
        memcpy(r->judge.advertised, r->judge.host, sizeof(r->judge.host));
    } else {
        r->soft = soft_new(r->native ? native_cpu_limit(r->native) : 0, native_has_avx() && !r->baseline,
                           r->engine, r->lockstep);
        ask_cpuid(r);
    }
    return true;
}

int main(int argc, char **argv)
{
    struct run r = {
        .seconds = 20, .seed = (uint64_t)time(NULL), .mode = -1, .show = 2, .engine = VMC_ENGINE_INTERPRETER};
    bool good = true, enumerated = false;
    char untested[1024];

    if (!parse_options(&r, argc, argv)) {
        fprintf(stderr, "see the head of tests/diff/main.c for the options\n");
        return 2;
    }
    if (!set_up(&r))
        return 77;
    printf("seed %" PRIu64 ", %s host, %.0f seconds\n", r.seed, r.judge.host_amd ? "AMD" : "Intel",
           r.seconds);
    r.until = now() + r.seconds;
    if (r.line) {
        good = run_line(&r, r.line, "--case");
        flush(&r);
    } else {
        if (r.corpus)
            good = run_corpus(&r);
        if (!r.sequences_only && !r.random_only) {
            r.gen.random = 1; /* the same every time */
            run_enumerated(&r);
            enumerated = true;
        }
        r.gen.random = r.seed;
        run_random(&r);
    }
    report_print(r.report, r.forms);
    good &= report_failures(r.report) == 0;
    if (enumerated && r.soft && !r.only && r.mode < 0 &&
        judge_untested(&r.judge, r.run_of_set, untested, sizeof(untested))) {
        printf("CPUID advertises what nothing here tests:%s\n", untested);
        good = false;
    }
    if (r.soft && r.engine == VMC_ENGINE_TRANSLATOR) {
        printf("%" PRIu64 " instructions were translated\n", soft_translated(r.soft));
        good &= r.mode > MODE_64 || soft_translated(r.soft) > 0;
    }
    printf("%s\n", good ? "all agree" : "DIFFERENCES");
    g_free(r.cases);
    g_free(r.native_outcomes);
    g_free(r.soft_outcomes);
    if (r.native)
        native_free(r.native);
    if (r.soft)
        soft_free(r.soft);
    report_free(r.report);
    return good ? 0 : 1;
}
