/* The ACPI tables: found as an operating system finds them, and understood by Intel's own compiler. */
#include "acpi_tables.h"
#include "pc/ioapic.h"
#include "pc/lapic.h"
#include "pc/pm.h"

static void build(Tables *t, unsigned n_cpus, unsigned n_uarts)
{
    VmcAcpiParams params = {
        .n_cpus = n_cpus,
        .n_uarts = n_uarts,
        .smc = true,
        .irq_of_pirq = {10, 10, 11, 11, 10, 10, 11, 11},
        .ecam_base = VMC_PC_ECAM_BASE,
        .pci_base = VMC_PC_LOW_RAM_END,
        .pci64_first = 1ull << 40,
        .pci64_last = (1ull << 40) + (1ull << 30) - 1,
    };
    g_autoptr(VmcAcpiTables) tables = vmc_acpi_build(&params);
    if (t->blob)
        g_byte_array_unref(t->blob);
    t->blob = vmc_acpi_place(tables, VMC_ACPI_BASE);
    t->base = t->rsdp = VMC_ACPI_BASE;
}

static int setup(void **state)
{
    Tables *t = tables_new();
    build(t, 4, 2);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    tables_free(*state);
    return 0;
}

static void pointers_and_checksums_hold(void **state)
{
    Tables *t = *state;
    static const char *const signatures[] = {"FACP", "APIC", "MCFG", "HPET", "DSDT"};
    assert_memory_equal(at(t, VMC_ACPI_BASE), "RSD PTR ", 8);
    assert_int_equal(sum(t, VMC_ACPI_BASE, 20), 0);
    assert_int_equal(sum(t, VMC_ACPI_BASE, 36), 0);
    uint64_t xsdt = get(t, VMC_ACPI_BASE + 24, 8);
    assert_int_equal(sum(t, xsdt, get(t, xsdt + 4, 4)), 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(signatures); i++) {
        uint64_t table = find(t, signatures[i]);
        assert_true(table);
        assert_int_equal(sum(t, table, get(t, table + 4, 4)), 0);
    }
}

static void biggest_machine_fits(void **state)
{
    Tables *t = *state;
    build(t, VMC_CPUS_MAX, 4);
    assert_true(t->blob->len <= VMC_ACPI_SIZE);
    pointers_and_checksums_hold(state);
    uint64_t madt = find(t, "APIC");
    unsigned cpus = 0;
    for (uint64_t e = madt + 44; e < madt + get(t, madt + 4, 4); e += get(t, e + 1, 1))
        if (get(t, e, 1) == 0)
            assert_int_equal(get(t, e + 3, 1), cpus++);
    assert_int_equal(cpus, VMC_CPUS_MAX);
}

/* What Linux goes by: the timer on pin 2, the SCI level and active high. */
static void overrides_say_how_it_is_wired(void **state)
{
    Tables *t = *state;
    uint64_t madt = find(t, "APIC");
    unsigned seen = 0;
    for (uint64_t e = madt + 44; e < madt + get(t, madt + 4, 4); e += get(t, e + 1, 1)) {
        if (get(t, e, 1) != 2)
            continue;
        unsigned irq = get(t, e + 3, 1), gsi = get(t, e + 4, 4), flags = get(t, e + 8, 2);
        seen |= irq == 0 && gsi == 2 && flags == 0 ? 1 : 0;
        seen |= irq == 9 && gsi == 9 && flags == 0xd ? 2 : 0;
    }
    assert_int_equal(seen, 3);
    uint64_t mcfg = find(t, "MCFG");
    assert_int_equal(get(t, mcfg + 44, 8), VMC_PC_ECAM_BASE);
}

/* ---- what other tools (fwts) look at ---- */

/* A block of ports, which the FADT says twice: its 32-bit address, length in bytes, and extended address. */
static void fadt_says_the_same_twice(void **state)
{
    Tables *t = *state;
    static const struct {
        unsigned address, length, extended, port, bytes;
    } blocks[] = {
        {56, 88, 148, VMC_PM_BASE + VMC_PM_EVENT, 4},
        {64, 89, 172, VMC_PM_BASE + VMC_PM_CONTROL, 2},
        {76, 91, 208, VMC_PM_BASE + VMC_PM_TIMER, 4},
        {80, 92, 220, VMC_PM_BASE + VMC_PM_GPE0, 16},
        {60, 0, 160, 0, 0}, /* PM1b event, PM1b control, PM2, GPE1: there are none */
        {68, 0, 184, 0, 0},
        {72, 90, 196, 0, 0},
        {84, 93, 232, 0, 0},
    };
    uint64_t fadt = find(t, "FACP"), facs = get(t, fadt + 36, 4), dsdt = get(t, fadt + 40, 4);

    assert_int_equal(get(t, fadt + 4, 4), 276);
    for (unsigned i = 0; i < G_N_ELEMENTS(blocks); i++) {
        uint64_t extended = fadt + blocks[i].extended;
        assert_int_equal(get(t, fadt + blocks[i].address, 4), blocks[i].port);
        assert_int_equal(get(t, extended + 4, 8), blocks[i].port);
        assert_int_equal(get(t, extended + 1, 1), blocks[i].bytes * 8);
        assert_int_equal(get(t, extended, 1), blocks[i].port ? 1 : 0); /* I/O */
        if (blocks[i].length)
            assert_int_equal(get(t, fadt + blocks[i].length, 1), blocks[i].bytes);
        assert_true(!blocks[i].port || blocks[i].port + blocks[i].bytes <= VMC_PM_BASE + VMC_PM_SIZE);
        for (unsigned j = 0; j < i; j++)
            assert_true(!blocks[i].port || blocks[j].port + blocks[j].bytes <= blocks[i].port);
    }
    assert_int_equal(get(t, fadt + 140, 8), dsdt);
    assert_memory_equal(bytes_at(t, dsdt, 4), "DSDT", 4);
    assert_memory_equal(bytes_at(t, facs, 4), "FACS", 4);
    assert_int_equal(facs % 64, 0);
    assert_int_equal(get(t, facs + 4, 4), 64);
    assert_int_equal(get(t, fadt + 132, 8), 0); /* the FACS, said once */
    assert_int_equal(get(t, fadt + 44, 1), 0);  /* reserved */
    assert_int_equal(get(t, fadt + 111, 1), 0);
    /* Always in ACPI mode: no port to switch it on, and nothing to write there. */
    for (unsigned i = 48; i < 56; i++)
        assert_int_equal(get(t, fadt + i, 1), 0);
}

static void madt_has_each_once(void **state)
{
    static const uint8_t lengths[] = {[0] = 8, [1] = 12, [2] = 10, [4] = 6};
    Tables *t = *state;
    uint64_t madt = find(t, "APIC"), end = madt + get(t, madt + 4, 4), e;
    uint64_t ids = 0, uids = 0, irqs = 0, gsis = 0;
    unsigned io_apics = 0;

    assert_int_equal(get(t, madt + 36, 4), VMC_LAPIC_BASE);
    for (e = madt + 44; e < end; e += get(t, e + 1, 1)) {
        unsigned type = get(t, e, 1);
        assert_true(type < G_N_ELEMENTS(lengths) && get(t, e + 1, 1) == lengths[type]);
        if (type == 0) {
            assert_false(uids >> get(t, e + 2, 1) & 1 || ids >> get(t, e + 3, 1) & 1);
            uids |= 1ull << get(t, e + 2, 1);
            ids |= 1ull << get(t, e + 3, 1);
            assert_int_equal(get(t, e + 4, 4), 1);
        } else if (type == 1) {
            io_apics++;
            assert_int_equal(get(t, e + 3, 1), 0); /* reserved */
            assert_int_equal(get(t, e + 4, 4), VMC_IOAPIC_BASE);
        } else if (type == 2) {
            assert_int_equal(get(t, e + 2, 1), 0); /* ISA */
            assert_false(irqs >> get(t, e + 3, 1) & 1 || gsis >> get(t, e + 4, 4) & 1);
            irqs |= 1ull << get(t, e + 3, 1);
            gsis |= 1ull << get(t, e + 4, 4);
        }
    }
    assert_int_equal(e, end);
    assert_int_equal(io_apics, 1);
    assert_int_equal(ids, 0xf);
}

/* The number behind the next `label` from *at on; false: there is none. */
static bool next_number(const char **at, const char *label, uint64_t *number)
{
    const char *found = strstr(*at, label), *line = found;

    if (!found)
        return false;
    while (line > *at && line[-1] != '\n')
        line--;
    *number = g_ascii_strtoull(line, NULL, 0);
    *at = found + strlen(label);
    return true;
}

/* All memory of resources, windows of the PCI root among them, is apart, and apart from RAM. */
static void addresses_are_given_once(void **state)
{
    Tables *t = *state;
    uint64_t first[16], last[16], length;
    g_autofree char *dsdt = round_trip(t, "DSDT");
    unsigned n = 0;

    first[n] = 0;
    last[n++] = VMC_PC_LOW_RAM_END - 1;
    for (const char *at = dsdt; n < 16 && (at = strstr(at, "WordMemory (")); n++)
        assert_true(next_number(&at, "// Range Minimum", &first[n]) &&
                    next_number(&at, "// Range Maximum", &last[n]) &&
                    next_number(&at, "// Length", &length) && length == last[n] - first[n] + 1);
    assert_int_equal(n, 4); /* below ECAM, behind it, above 4 GiB */
    for (const char *at = dsdt; n < 16 && (at = strstr(at, "Memory32Fixed (")); n++) {
        assert_true(next_number(&at, "// Address Base", &first[n]) &&
                    next_number(&at, "// Address Length", &length));
        last[n] = first[n] + length - 1;
    }
    assert_int_equal(n, 8); /* ECAM, I/O APIC, local APICs, HPET */
    for (unsigned i = 0; i < n; i++) {
        assert_true(first[i] <= last[i]);
        for (unsigned j = 0; j < i; j++)
            if (first[i] <= last[j] && first[j] <= last[i])
                fail_msg("%#lx to %#lx and %#lx to %#lx", first[i], last[i], first[j], last[j]);
    }
    uint64_t mcfg = find(t, "MCFG");
    assert_int_equal(get(t, mcfg + 4, 4), 60); /* one range */
    assert_int_equal(get(t, mcfg + 36, 8), 0);
    assert_int_equal(get(t, mcfg + 56, 4), 0);
    unsigned buses = get(t, mcfg + 55, 1) - get(t, mcfg + 54, 1) + 1;
    assert_int_equal((uint64_t)buses << 20, VMC_PC_ECAM_SIZE);
}

/* Each pin of each slot, to the I/O APIC and to the 8259s. */
static void every_pin_is_routed(void **state)
{
    g_autofree char *dsdt = round_trip(*state, "DSDT");

    for (unsigned slot = 0; slot < 32; slot++) {
        g_autofree char *wanted = slot ? g_strdup_printf("0x%04XFFFF, \n", slot) : g_strdup("    0xFFFF, \n");
        unsigned pins = 0;
        for (const char *at = dsdt; (at = strstr(at, wanted)); at++)
            pins++;
        if (pins != 8)
            fail_msg("slot %u has %u pins", slot, pins);
    }
}

/* By Intel's own interpreter, which also looks whether what comes back is of the right kind. */
static void every_name_gives_what_it_should(void **state)
{
    Tables *t = *state;
    uint64_t dsdt = find(t, "DSDT");
    gsize size = get(t, dsdt + 4, 4);
    const char *argv[] = {"acpiexec", "-b", "execute \\_PIC 1;execute predefined", "dsdt.dat", NULL};
    g_autofree char *path = g_build_filename(t->folder, "dsdt.dat", NULL), *out = NULL, *err = NULL;
    unsigned evaluated = 0, good = 0;

    assert_true(
        g_file_set_contents(path, (const char *)bytes_at(t, dsdt, (unsigned)size), (gssize)size, NULL));
    assert_true(g_spawn_sync(t->folder, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &out, &err,
                             NULL, NULL));
    assert_non_null(strstr(out, "Evaluated"));
    for (const char *at = out; (at = strstr(at, " returned AE_")); at++) {
        evaluated++;
        good += g_str_has_prefix(at, " returned AE_OK");
    }
    /* It has no better arguments for _OSC than numbers, and says so. */
    for (const char *at = out; (at = strstr(at, "ACPI Warning: ")); at++)
        good -= !g_str_has_prefix(at, "ACPI Warning: \\_SB.PCI0._OSC: Argument #");
    if (evaluated < 30 || good != evaluated || strstr(out, "ACPI Error") || strstr(out, "ACPI BIOS"))
        fail_msg("%u of %u names gave what they should:\n%s%s", good, evaluated, out, err);
}

static void iasl_understands_them(void **state)
{
    Tables *t = *state;
    static const char *const signatures[] = {"FACP", "APIC", "MCFG", "HPET"};
    for (unsigned i = 0; i < G_N_ELEMENTS(signatures); i++)
        g_free(round_trip(t, signatures[i]));
    char *dsdt = round_trip(t, "DSDT");
    static const char *const expected[] = {
        "Name (\\_S5, Package (0x04)",
        "EisaId (\"PNP0A08\")",
        "EisaId (\"PNP0103\")",
        "EisaId (\"APP0001\")",
        "0x0300,             // Range Minimum",
        "0xFED00000,         // Address Base",
        "Method (_PRT,",
        "Method (_OSC,",
        "0xC0000000,         // Range Minimum",
        "Device (COM1)",
        "Device (COM2)",
        "0x0001FFFF",
        "Method (_PIC,",
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(expected); i++)
        if (!strstr(dsdt, expected[i]))
            fail_msg("the DSDT has no %s", expected[i]);
    assert_null(strstr(dsdt, "COM3"));
    g_free(dsdt);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(pointers_and_checksums_hold),
        T(biggest_machine_fits),
        T(overrides_say_how_it_is_wired),
        T(fadt_says_the_same_twice),
        T(madt_has_each_once),
        T(addresses_are_given_once),
        T(every_pin_is_routed),
        T(every_name_gives_what_it_should),
        T(iasl_understands_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
