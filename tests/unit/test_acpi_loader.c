/*
 * The ACPI tables as firmware gets them: files and a script, obeyed here as OVMF and SeaBIOS obey it, with as
 * little trust. What comes out is looked at as test_acpi.c looks at the tables of a board without firmware.
 */
#include "acpi_tables.h"

#include "pc/acpi_loader.h"
#include "pc_rig.h"
#include "tiny_firmware.h"
#include "vmcore/machine.h"

#define COMMAND_BYTES 128u
#define NAME_BYTES    56u

#define KEY_DIRECTORY 0x19

/* ---- a loader ---- */

typedef struct Blob {
    const char *name; /* of the file */
    GBytes *file;
    GByteArray *bytes; /* in memory; NULL: not allocated */
    uint64_t address;
} Blob;

typedef struct Loader {
    Blob blobs[2];
    uint64_t high, low; /* where the next one goes in each zone */
} Loader;

static uint64_t field(const uint8_t *at, unsigned size)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

static Blob *blob_named(Loader *l, const uint8_t *name)
{
    if (!memchr(name, 0, NAME_BYTES))
        fail_msg("a name does not end");
    for (unsigned i = 0; i < G_N_ELEMENTS(l->blobs); i++)
        if (!strcmp(l->blobs[i].name, (const char *)name))
            return &l->blobs[i];
    fail_msg("there is no file “%s”", (const char *)name);
    return NULL;
}

static Blob *allocated(Loader *l, const uint8_t *name)
{
    Blob *blob = blob_named(l, name);

    if (!blob->bytes)
        fail_msg("“%s” has not been allocated", blob->name);
    return blob;
}

static void obey_allocate(Loader *l, const uint8_t *args)
{
    Blob *blob = blob_named(l, args);
    uint64_t align = field(args + NAME_BYTES, 4), zone = args[NAME_BYTES + 4];
    uint64_t *next = zone == 1 ? &l->high : &l->low;
    gsize size;
    const uint8_t *data = g_bytes_get_data(blob->file, &size);

    assert_null(blob->bytes);
    assert_in_range(zone, 1, 2);
    assert_in_range(align, 1, 4096); /* what OVMF takes */
    assert_int_equal(align & (align - 1), 0);
    blob->address = (*next + align - 1) & ~(align - 1);
    blob->bytes = g_byte_array_new();
    g_byte_array_append(blob->bytes, data, (guint)size);
    *next = blob->address + size;
}

static void obey_pointer(Loader *l, const uint8_t *args)
{
    Blob *in = allocated(l, args), *to = allocated(l, args + NAME_BYTES);
    uint64_t at = field(args + 2 * NAME_BYTES, 4), size = args[2 * NAME_BYTES + 4];

    assert_true(size == 1 || size == 2 || size == 4 || size == 8);
    assert_in_range(at, 0, in->bytes->len - size);
    uint64_t value = field(in->bytes->data + at, (unsigned)size);
    assert_in_range(value, 0, to->bytes->len - 1);
    value += to->address;
    if (size < 8 && value >> (8 * size))
        fail_msg("%#lx does not fit into a pointer of %u bytes", (unsigned long)value, (unsigned)size);
    for (unsigned i = 0; i < size; i++)
        in->bytes->data[at + i] = (uint8_t)(value >> (8 * i));
}

static void obey_checksum(Loader *l, const uint8_t *args)
{
    Blob *blob = allocated(l, args);
    uint64_t at = field(args + NAME_BYTES, 4), start = field(args + NAME_BYTES + 4, 4);
    uint64_t length = field(args + NAME_BYTES + 8, 4);
    uint8_t total = 0;

    assert_in_range(at, start, start + length - 1);
    assert_in_range(start + length, 1, blob->bytes->len);
    for (uint64_t i = start; i < start + length; i++)
        total += blob->bytes->data[i];
    blob->bytes->data[at] = (uint8_t)-total; /* with what was there in the sum, as they all do */
}

static void obey_script(Loader *l, GBytes *script)
{
    static void (*const commands[])(Loader * l, const uint8_t *args) = {NULL, obey_allocate, obey_pointer,
                                                                        obey_checksum};
    gsize size;
    const uint8_t *data = g_bytes_get_data(script, &size);

    assert_true(size > 0);
    assert_int_equal(size % COMMAND_BYTES, 0);
    for (gsize i = 0; i < size; i += COMMAND_BYTES) {
        uint64_t command = field(data + i, 4);
        assert_in_range(command, 1, G_N_ELEMENTS(commands) - 1);
        commands[command](l, data + i + 4);
    }
}

/* What the three files come to with the tables at `high` or behind and the RSDP at `low` or behind. */
static void load(Tables *t, const VmcAcpiFiles *files, uint64_t high, uint64_t low)
{
    Loader l = {
        .blobs = {{.name = VMC_ACPI_FILE_RSDP, .file = files->rsdp},
                  {.name = VMC_ACPI_FILE_TABLES, .file = files->tables}},
        .high = high,
        .low = low,
    };

    obey_script(&l, files->loader);
    assert_non_null(l.blobs[0].bytes);
    assert_non_null(l.blobs[1].bytes);
    g_clear_pointer(&t->rsdp_blob, g_byte_array_unref);
    g_clear_pointer(&t->blob, g_byte_array_unref);
    t->rsdp_blob = l.blobs[0].bytes;
    t->rsdp = l.blobs[0].address;
    t->blob = l.blobs[1].bytes;
    t->base = l.blobs[1].address;
}

static void files_free(VmcAcpiFiles *files)
{
    g_bytes_unref(files->rsdp);
    g_bytes_unref(files->tables);
    g_bytes_unref(files->loader);
}

/* ---- what has to hold of tables, whatever they are ---- */

static void assert_table_holds(const Tables *t, uint64_t table)
{
    if (sum(t, table, get(t, table + 4, 4)) != 0)
        fail_msg("the checksum of %.4s is wrong", (const char *)at(t, table));
}

static void assert_tables_hold(const Tables *t)
{
    static const char *const needed[] = {"FACP", "APIC", "MCFG", "DSDT"};
    uint64_t xsdt = get(t, t->rsdp + 24, 8);

    assert_memory_equal(bytes_at(t, t->rsdp, 8), "RSD PTR ", 8);
    assert_int_equal(t->rsdp % 16, 0);
    assert_int_equal(sum(t, t->rsdp, 20), 0);
    assert_int_equal(sum(t, t->rsdp, 36), 0);
    assert_table_holds(t, xsdt);
    for (uint64_t entry = xsdt + 36; entry < xsdt + get(t, xsdt + 4, 4); entry += 8)
        assert_table_holds(t, get(t, entry, 8));
    for (unsigned i = 0; i < G_N_ELEMENTS(needed); i++)
        assert_true(find(t, needed[i]));
    assert_table_holds(t, find(t, "DSDT"));
    uint64_t fadt = find(t, "FACP"), facs = get(t, fadt + 36, 4);
    assert_int_equal(get(t, fadt + 40, 4), find(t, "DSDT"));
    assert_memory_equal(bytes_at(t, facs, 4), "FACS", 4);
    assert_int_equal(facs % 64, 0);
}

/* ---- tables of their own ---- */

static VmcAcpiTables *build(unsigned n_cpus, uint64_t ecam)
{
    VmcAcpiParams params = {
        .n_cpus = n_cpus,
        .n_uarts = 2,
        .irq_of_pirq = {10, 10, 11, 11, 10, 10, 11, 11},
        .ecam_base = ecam,
        .pci_base = VMC_PC_LOW_RAM_END,
        .pci64_first = 1ull << 40,
        .pci64_last = (1ull << 40) + (1ull << 30) - 1,
    };

    return vmc_acpi_build(&params);
}

static int setup(void **state)
{
    *state = tables_new();
    return 0;
}

static int teardown(void **state)
{
    tables_free(*state);
    return 0;
}

static void the_script_puts_them_anywhere(void **state)
{
    Tables *t = *state;
    static const struct {
        unsigned n_cpus;
        uint64_t high, low;
    } places[] = {
        {1, 0x7ffd0000, 0xf0000},
        {4, 0x00100001, 0xfffd0 - 0xf}, /* neither is aligned */
        {2, 0xfff00000, 0xe0000},
        {VMC_CPUS_MAX, 0x3f000040, 0xf5a90},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(places); i++) {
        g_autoptr(VmcAcpiTables) tables = build(places[i].n_cpus, VMC_PC_ECAM_BASE);
        VmcAcpiFiles files;
        vmc_acpi_loader_files(tables, &files);
        load(t, &files, places[i].high, places[i].low);
        assert_tables_hold(t);
        files_free(&files);
    }
}

/* Two ways to the same bytes. */
static void they_are_what_a_board_without_firmware_has(void **state)
{
    Tables *t = *state;
    g_autoptr(VmcAcpiTables) tables = build(3, VMC_PC_ECAM_BASE);
    GByteArray *placed = vmc_acpi_place(tables, VMC_ACPI_BASE);
    VmcAcpiFiles files;

    vmc_acpi_loader_files(tables, &files);
    load(t, &files, VMC_ACPI_BASE + VMC_ACPI_RSDP_SIZE, VMC_ACPI_BASE);
    assert_int_equal(t->rsdp, VMC_ACPI_BASE);
    assert_int_equal(t->base, VMC_ACPI_BASE + VMC_ACPI_ALIGN);
    assert_memory_equal(t->rsdp_blob->data, placed->data, VMC_ACPI_RSDP_SIZE);
    assert_int_equal(t->blob->len, placed->len - VMC_ACPI_ALIGN);
    assert_memory_equal(t->blob->data, placed->data + VMC_ACPI_ALIGN, t->blob->len);
    files_free(&files);
    g_byte_array_unref(placed);
}

static void assert_said(const char *dsdt, const char *const *words)
{
    for (; *words; words++)
        if (!strstr(dsdt, *words))
            fail_msg("the DSDT has no %s", *words);
}

static const char *const windows_around_e0000000[] = {
    "0x80000000,         // Range Minimum",
    "0xDFFFFFFF,         // Range Maximum",
    "0x60000000,         // Length",
    "0xF0000000,         // Range Minimum",
    "0xFEBFFFFF,         // Range Maximum",
    "0x0EC00000,         // Length",
    "0xE0000000,         // Address Base",
    "0x10000000,         // Address Length",
    NULL,
};

/* OVMF since 2022 has ECAM there, so that there is room for devices below and above. */
static void ecam_at_e0000000_leaves_two_windows(void **state)
{
    Tables *t = *state;
    static const char *const window64[] = {"0x0000010000000000, // Range Minimum",
                                           "0x000001003FFFFFFF, // Range Maximum", NULL};
    g_autoptr(VmcAcpiTables) tables = build(2, 0xe0000000);
    VmcAcpiFiles files;

    vmc_acpi_loader_files(tables, &files);
    load(t, &files, 0x7fb7b000, 0xf0000);
    files_free(&files);
    assert_tables_hold(t);
    assert_int_equal(get(t, find(t, "MCFG") + 44, 8), 0xe0000000);
    g_free(round_trip(t, "MCFG"));
    g_autofree char *dsdt = round_trip(t, "DSDT");
    assert_said(dsdt, windows_around_e0000000);
    assert_said(dsdt, window64);
}

/* ---- of a board, through fw_cfg ---- */

typedef struct Bench {
    Rig rig;
    char *folder;
    VmcMemory *memory;
    VmcBootConfig boot;
    VmcHostHooks hooks;
    VmcBoard *board;
    Tables *tables;
} Bench;

static void ignore(void *opaque)
{
}

static void on_log(void *opaque, const char *line)
{
}

static int setup_board(void **state)
{
    Bench *b = g_new0(Bench, 1);
    GError *error = NULL;

    rig_up(&b->rig);
    b->folder = g_dir_make_tmp("efi-board-XXXXXX", NULL);
    b->boot = (VmcBootConfig){
        .kind = VMC_BOOT_EFI,
        .firmware = g_build_filename(b->folder, "CODE.fd", NULL),
        .variable_store = g_build_filename(b->folder, "VARS.fd", NULL), /* its own template */
    };
    tiny_save_code(b->boot.firmware, TINY_CODE_SIZE);
    tiny_save_variables(b->boot.variable_store, TINY_VARIABLES_SIZE, 0);
    b->memory = vmc_memory_new();
    b->hooks = (VmcHostHooks){.log = on_log};
    assert_true(vmc_board_add_memory(b->memory, 64u << 20, &b->boot, &error));
    VmcBoardParams params = {
        .memory = b->memory,
        .pio = b->rig.pio,
        .mmio = b->rig.mmio,
        .io = b->rig.io,
        .backend = &rig_backend,
        .vm = &b->rig.vm,
        .n_cpus = RIG_CPUS,
        .boot = &b->boot,
        .hooks = &b->hooks,
        .power_off = ignore,
        .reset = ignore,
        .opaque = b,
    };
    b->board = vmc_board_new(&params, &error);
    if (!b->board)
        fail_msg("%s", error->message);
    for (unsigned i = 0; i < RIG_CPUS; i++)
        vmc_board_attach_cpu(b->board, i, &b->rig.vm.cpus[i]);
    assert_true(vmc_board_prepare_boot(b->board, NULL, &error));
    b->tables = tables_new();
    *state = b;
    return 0;
}

static int teardown_board(void **state)
{
    Bench *b = *state;

    vmc_board_free(b->board);
    vmc_memory_free(b->memory);
    rig_down(&b->rig);
    remove_folder(b->folder);
    tables_free(b->tables);
    g_free(b->boot.firmware);
    g_free(b->boot.variable_store);
    g_free(b->folder);
    g_free(b);
    return 0;
}

static void read_fw_cfg(Bench *b, void *to, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)to)[i] = in8(&b->rig, 0x511);
}

/* What the directory says of a file. */
static unsigned look_up(Bench *b, const char *name, uint32_t *size)
{
    uint32_t count;

    vmc_bus_write(b->rig.pio, 0x510, 2, KEY_DIRECTORY);
    read_fw_cfg(b, &count, 4);
    for (unsigned i = GUINT32_FROM_BE(count); i > 0; i--) {
        uint8_t entry[64];
        read_fw_cfg(b, entry, sizeof(entry));
        if (strcmp((char *)entry + 8, name))
            continue;
        *size = (uint32_t)entry[0] << 24 | (uint32_t)entry[1] << 16 | (uint32_t)entry[2] << 8 | entry[3];
        return (unsigned)entry[4] << 8 | entry[5];
    }
    fail_msg("there is no file “%s”", name);
    return 0;
}

static GBytes *read_file(Bench *b, unsigned key, uint32_t size)
{
    uint8_t *bytes = g_malloc(size);

    vmc_bus_write(b->rig.pio, 0x510, 2, key);
    read_fw_cfg(b, bytes, size);
    assert_int_equal(in8(&b->rig, 0x511), 0); /* that was all */
    return g_bytes_new_take(bytes, size);
}

/* As SeaBIOS does, which reads the directory once, at first; then ECAM gets its place. */
static void load_from_board(Bench *b, uint32_t ecam)
{
    static const char *const names[] = {VMC_ACPI_FILE_LOADER, VMC_ACPI_FILE_RSDP, VMC_ACPI_FILE_TABLES};
    unsigned keys[3];
    uint32_t sizes[3];
    VmcAcpiFiles files;

    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
        keys[i] = look_up(b, names[i], &sizes[i]);
    if (ecam) {
        vmc_bus_write(b->rig.pio, 0xcf8, 4, 0x80000064);
        vmc_bus_write(b->rig.pio, 0xcfc, 4, 0);
        vmc_bus_write(b->rig.pio, 0xcf8, 4, 0x80000060);
        vmc_bus_write(b->rig.pio, 0xcfc, 4, ecam | 1);
    }
    files.loader = read_file(b, keys[0], sizes[0]);
    files.rsdp = read_file(b, keys[1], sizes[1]);
    files.tables = read_file(b, keys[2], sizes[2]);
    load(b->tables, &files, 0x3f00000, 0xf0000);
    files_free(&files);
}

static void a_board_says_where_firmware_has_put_things(void **state)
{
    Bench *b = *state;

    load_from_board(b, 0);
    assert_tables_hold(b->tables);
    assert_int_equal(get(b->tables, find(b->tables, "MCFG") + 44, 8), VMC_PC_ECAM_BASE);
    load_from_board(b, 0xe0000000);
    assert_tables_hold(b->tables);
    assert_int_equal(get(b->tables, find(b->tables, "MCFG") + 44, 8), 0xe0000000);
    g_autofree char *dsdt = round_trip(b->tables, "DSDT");
    assert_said(dsdt, windows_around_e0000000);
}

/* Where it cannot be: over RAM, and over the I/O APIC. The tables stay sound. */
static void ecam_in_the_way_makes_no_nonsense(void **state)
{
    Bench *b = *state;
    static const uint32_t bad[] = {0x10000000, 0x40000000, 0xf0000000};

    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        load_from_board(b, bad[i]);
        assert_tables_hold(b->tables);
        g_free(round_trip(b->tables, "DSDT"));
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define B(f) cmocka_unit_test_setup_teardown(f, setup_board, teardown_board)
    const struct CMUnitTest tests[] = {
        T(the_script_puts_them_anywhere),       T(they_are_what_a_board_without_firmware_has),
        T(ecam_at_e0000000_leaves_two_windows), B(a_board_says_where_firmware_has_put_things),
        B(ecam_in_the_way_makes_no_nonsense),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
