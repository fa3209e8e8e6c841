/* The ACPI tables: found as an operating system finds them, and understood by Intel's own compiler. */
#include "acpi_tables.h"

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
        T(iasl_understands_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
