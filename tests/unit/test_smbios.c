/* The SMBIOS structures: taken apart as the specification says, and understood by dmidecode. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <glib.h>
#include <glib/gstdio.h>

#include "pc/smbios.h"

#define GIB (1ull << 30)

static VmcSmbiosParams describe(void)
{
    return (VmcSmbiosParams){
        .manufacturer = "A Maker",
        .product = "A Machine",
        .version = "2.5",
        .serial = "S3R1AL",
        .family = "Machines",
        .uuid = {0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0x4d, 0xef, 0x81, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd,
                 0xef},
        .firmware_vendor = "A Vendor",
        .firmware_version = "7.1",
        .firmware_date = "11/30/2026",
        .memory = 40 * GIB,
        .cpus = 6,
        .sockets = 2,
        .cpu_manufacturer = "A Foundry",
        .cpu_version = "A Processor",
        .cpu_signature = 0x000206c2,
        .cpu_features = 0x0f8bfbff,
        .cpu_mhz = 2500,
    };
}

static uint64_t get(const uint8_t *at, unsigned size)
{
    uint64_t value = 0;
    memcpy(&value, at, size);
    return value;
}

/* The string that the byte at `offset` names, "" for none. */
static const char *text(const uint8_t *structure, unsigned offset)
{
    const char *string = (const char *)structure + structure[1];
    unsigned n = structure[offset];
    if (!n)
        return "";
    while (--n)
        string += strlen(string) + 1;
    return string;
}

/* Behind a structure; fails if it does not end inside the table. */
static guint next(const GByteArray *table, guint at)
{
    assert_in_range(table->data[at + 1], 4, table->len - at);
    guint strings = at + table->data[at + 1];
    while (strings + 1 < table->len && (table->data[strings] || table->data[strings + 1]))
        strings++;
    assert_true(strings + 2 <= table->len);
    return strings + 2;
}

/* The n-th structure of a type, or NULL. */
static const uint8_t *find(const GByteArray *table, unsigned type, unsigned n)
{
    for (guint at = 0; at < table->len; at = next(table, at))
        if (table->data[at] == type && n-- == 0)
            return table->data + at;
    return NULL;
}

static unsigned count(const GByteArray *table, unsigned type)
{
    unsigned n = 0;
    while (find(table, type, n))
        n++;
    return n;
}

static void every_structure_is_there(void **state)
{
    static const struct {
        uint8_t type, length, count;
    } expected[] = {{0, 0x18, 1},  {1, 0x1b, 1},  {2, 0x0f, 1},  {3, 0x16, 1},  {4, 0x30, 2},
                    {16, 0x17, 1}, {17, 0x28, 3}, {19, 0x1f, 2}, {32, 0x0b, 1}, {127, 4, 1}};
    VmcSmbiosParams params = describe();
    GByteArray *table = vmc_smbios_build(&params);
    unsigned total = 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(expected); i++) {
        assert_int_equal(count(table, expected[i].type), expected[i].count);
        for (unsigned n = 0; n < expected[i].count; n++)
            assert_int_equal(find(table, expected[i].type, n)[1], expected[i].length);
        total += expected[i].count;
    }
    guint at = 0, seen = 0, last = 0;
    for (; at < table->len; at = next(table, at), seen++)
        last = at;
    assert_int_equal(seen, total);
    assert_int_equal(at, table->len);
    assert_int_equal(table->data[last], 127); /* the end is at the end */
    g_byte_array_unref(table);
}

static void handles_differ_and_references_lead_somewhere(void **state)
{
    VmcSmbiosParams params = describe();
    params.cpus = params.sockets = 64;
    params.memory = 4096 * GIB;
    GByteArray *table = vmc_smbios_build(&params);
    GHashTable *handles = g_hash_table_new(NULL, NULL);
    for (guint at = 0; at < table->len; at = next(table, at))
        assert_true(g_hash_table_add(handles, GUINT_TO_POINTER(get(table->data + at + 2, 2) + 1)));
    unsigned chassis = get(find(table, 3, 0) + 2, 2), array = get(find(table, 16, 0) + 2, 2);
    assert_int_equal(get(find(table, 2, 0) + 0x0b, 2), chassis);
    assert_int_equal(get(find(table, 17, 0) + 4, 2), array);
    assert_int_equal(get(find(table, 19, 1) + 0x0c, 2), array);
    g_hash_table_unref(handles);
    g_byte_array_unref(table);
}

static void processors_share_out_the_cpus(void **state)
{
    VmcSmbiosParams params = describe();
    params.cpus = 7;
    params.sockets = 3;
    GByteArray *table = vmc_smbios_build(&params);
    static const unsigned cores[] = {3, 3, 1};
    assert_int_equal(count(table, 4), 3);
    for (unsigned i = 0; i < 3; i++) {
        const uint8_t *cpu = find(table, 4, i);
        assert_int_equal(cpu[0x23], cores[i]);
        assert_int_equal(get(cpu + 0x2e, 2), cores[i]);
        assert_int_equal(get(cpu + 8, 8), 0x0f8bfbff000206c2);
        assert_int_equal(get(cpu + 0x16, 2), 2500);
    }
    assert_string_equal(text(find(table, 4, 2), 4), "CPU 2");
    g_byte_array_unref(table);
}

static void memory_adds_up(void **state)
{
    static const uint64_t sizes[] = {128ull << 20, 2 * GIB,  2 * GIB + (1ull << 20),
                                     16 * GIB,     17 * GIB, 3 * 1024 * GIB};
    for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
        VmcSmbiosParams params = describe();
        params.memory = sizes[i];
        GByteArray *table = vmc_smbios_build(&params);
        uint64_t modules = 0, ranges = 0;
        for (unsigned n = 0; n < count(table, 17); n++)
            modules += get(find(table, 17, n) + 0x0c, 2) << 20;
        for (unsigned n = 0; n < count(table, 19); n++) {
            const uint8_t *range = find(table, 19, n);
            bool wide = get(range + 4, 4) == UINT32_MAX;
            uint64_t first = wide ? get(range + 0x0f, 8) : get(range + 4, 4) << 10;
            ranges += wide ? get(range + 0x17, 8) + 1 - first : ((get(range + 8, 4) + 1) << 10) - first;
        }
        assert_int_equal(modules, sizes[i]);
        assert_int_equal(ranges, sizes[i]);
        const uint8_t *array = find(table, 16, 0);
        uint64_t capacity = get(array + 7, 4);
        assert_int_equal(capacity == 0x80000000 ? get(array + 0x0f, 8) : capacity << 10, sizes[i]);
        assert_int_equal(get(array + 0x0d, 2), count(table, 17));
        g_byte_array_unref(table);
    }
}

static uint8_t sum(const uint8_t *bytes, guint length)
{
    uint8_t total = 0;
    while (length--)
        total += *bytes++;
    return total;
}

static void entry_points_hold(void **state)
{
    VmcSmbiosParams params = describe();
    GByteArray *table = vmc_smbios_build(&params);
    GByteArray *two = vmc_smbios_anchor(VMC_SMBIOS_ANCHOR_2, table, 0xf0040);
    GByteArray *three = vmc_smbios_anchor(VMC_SMBIOS_ANCHOR_3, table, 0x123456780);
    guint largest = 0, structures = 0;
    for (guint at = 0; at < table->len; at = next(table, at), structures++)
        largest = MAX(largest, next(table, at) - at);
    assert_int_equal(two->len, 31);
    assert_memory_equal(two->data, "_SM_", 4);
    assert_memory_equal(two->data + 16, "_DMI_", 5);
    assert_int_equal(sum(two->data, 31), 0);
    assert_int_equal(sum(two->data + 16, 15), 0);
    assert_int_equal(get(two->data + 8, 2), largest);
    assert_int_equal(get(two->data + 22, 2), table->len);
    assert_int_equal(get(two->data + 24, 4), 0xf0040);
    assert_int_equal(get(two->data + 28, 2), structures);
    assert_int_equal(three->len, 24);
    assert_memory_equal(three->data, "_SM3_", 5);
    assert_int_equal(sum(three->data, 24), 0);
    assert_int_equal(get(three->data + 12, 4), table->len);
    assert_int_equal(get(three->data + 16, 8), 0x123456780);
    g_byte_array_unref(table);
    g_byte_array_unref(two);
    g_byte_array_unref(three);
}

static void bios_area_has_both_and_fits(void **state)
{
    VmcSmbiosParams params = describe();
    params.cpus = params.sockets = 64;
    params.memory = 4096 * GIB;
    GByteArray *area = vmc_smbios_area(&params);
    assert_in_range(area->len, 1, VMC_SMBIOS_SIZE);
    assert_memory_equal(area->data, "_SM_", 4);
    assert_memory_equal(area->data + 0x20, "_SM3_", 5);
    uint64_t at = get(area->data + 24, 4) - VMC_SMBIOS_BASE;
    assert_int_equal(get(area->data + 0x20 + 16, 8) - VMC_SMBIOS_BASE, at);
    assert_int_equal(area->len - at, get(area->data + 22, 2));
    assert_int_equal(area->data[at], 0);
    g_byte_array_unref(area);
}

/* dmidecode reads a dump in which the entry point is followed by the table at offset 32. */
static char *dmidecode(const VmcSmbiosParams *params, VmcSmbiosAnchor kind)
{
    GByteArray *table = vmc_smbios_build(params), *dump = vmc_smbios_anchor(kind, table, 32);
    char *path = g_build_filename(g_get_tmp_dir(), "test-smbios-XXXXXX", NULL), *out = NULL, *err = NULL;
    g_close(g_mkstemp(path), NULL);
    g_byte_array_set_size(dump, 32);
    g_byte_array_append(dump, table->data, table->len);
    assert_true(g_file_set_contents(path, (const char *)dump->data, dump->len, NULL));
    const char *argv[] = {"dmidecode", "--from-dump", path, NULL};
    char **environment = g_environ_setenv(g_get_environ(), "PATH", "/usr/sbin:/sbin:/usr/bin:/bin", TRUE);
    int status = -1;
    GError *error = NULL;
    g_spawn_sync(NULL, (char **)argv, environment, G_SPAWN_SEARCH_PATH_FROM_ENVP, NULL, NULL, &out, &err,
                 &status, &error);
    if (error)
        fail_msg("%s", error->message);
    if (status || *err)
        fail_msg("dmidecode: %s%s", out, err);
    g_unlink(path);
    g_strfreev(environment);
    g_free(path);
    g_free(err);
    g_byte_array_unref(table);
    g_byte_array_unref(dump);
    return out;
}

static void dmidecode_understands_them(void **state)
{
    static const char *const expected[] = {
        "Vendor: A Vendor",
        "Release Date: 11/30/2026",
        "PCI is supported",
        "System is a virtual machine",
        "UUID: 12345678-9abc-4def-8123-456789abcdef",
        "Serial Number: S3R1AL",
        "Product Name: A Machine",
        "Type: Motherboard",
        "Socket Designation: CPU 1",
        "Current Speed: 2500 MHz",
        "Core Count: 3",
        "Maximum Capacity: 40 GB",
        "Size: 16 GB",
        "Size: 8 GB",
        "Ending Address: 0x0007FFFFFFF",
        "Range Size: 38 GB",
        "Status: No errors detected",
        "End Of Table",
    };
    for (VmcSmbiosAnchor kind = VMC_SMBIOS_ANCHOR_2; kind <= VMC_SMBIOS_ANCHOR_3; kind++) {
        VmcSmbiosParams params = describe();
        char *said = dmidecode(&params, kind);
        for (unsigned i = 0; i < G_N_ELEMENTS(expected); i++)
            if (!strstr(said, expected[i]))
                fail_msg("dmidecode does not say “%s”:\n%s", expected[i], said);
        assert_non_null(
            strstr(said, kind == VMC_SMBIOS_ANCHOR_2 ? "SMBIOS 2.8 present" : "SMBIOS 3.0.0 present"));
        static const char *const bad[] = {"OUT OF SPEC", "BAD INDEX", "truncated",
                                          "broken",      "wrong",     "Invalid"};
        for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++)
            if (strcasestr(said, bad[i]))
                fail_msg("dmidecode complains:\n%s", said);
        g_free(said);
    }
}

static void a_machine_without_names_is_fine(void **state)
{
    VmcSmbiosParams params = {.memory = 128ull << 20, .cpus = 1, .sockets = 1};
    char *said = dmidecode(&params, VMC_SMBIOS_ANCHOR_2);
    assert_non_null(strstr(said, "Product Name: Not Specified"));
    assert_non_null(strstr(said, "UUID: Not Settable"));
    g_free(said);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_structure_is_there),
        cmocka_unit_test(handles_differ_and_references_lead_somewhere),
        cmocka_unit_test(processors_share_out_the_cpus),
        cmocka_unit_test(memory_adds_up),
        cmocka_unit_test(entry_points_hold),
        cmocka_unit_test(bios_area_has_both_and_fits),
        cmocka_unit_test(dmidecode_understands_them),
        cmocka_unit_test(a_machine_without_names_is_fine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
