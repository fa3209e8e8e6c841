/*
 * The board as UEFI firmware needs it, without a CPU that runs any: where code and variables lie, what fw_cfg
 * says, a kernel for the firmware to start, and its debug port.
 */
#include "pc_rig.h"

#include <glib/gstdio.h>
#include <unistd.h>

#include "folder.h"
#include "pc/board.h"
#include "pc/firmware.h"
#include "tiny_firmware.h"

#define FOUR_GIB 0x100000000ull
#define RAM      (1u << 20)
#define CODE_AT  (FOUR_GIB - TINY_CODE_SIZE)
#define STORE_AT (CODE_AT - TINY_VARIABLES_SIZE)

#define LINES_MAX 2000u

typedef struct Bench {
    Rig rig;
    char *folder;
    VmcMemory *memory;
    VmcBootConfig boot;
    VmcHostHooks hooks;
    GPtrArray *told;
    VmcFirmware *firmware;
} Bench;

static void on_log(void *opaque, const char *line)
{
    g_ptr_array_add(((Bench *)opaque)->told, g_strdup(line));
}

static VmcAcpiTables *build_acpi(void *opaque)
{
    VmcAcpiParams params = {.n_cpus = 1, .ecam_base = VMC_PC_ECAM_BASE, .pci_base = VMC_PC_LOW_RAM_END};

    return vmc_acpi_build(&params);
}

static bool start(Bench *b, GError **error)
{
    static const VmcE820Entry map[] = {{0, RAM, VMC_E820_RAM}, {FOUR_GIB, 0x7000, VMC_E820_RAM}};
    VmcFirmwareParams params = {
        .pio = b->rig.pio,
        .mmio = b->rig.mmio,
        .io = b->rig.io,
        .memory = b->memory,
        .boot = &b->boot,
        .hooks = &b->hooks,
        .n_cpus = 3,
        .ram = RAM,
        .map = map,
        .n_map = G_N_ELEMENTS(map),
        .acpi = build_acpi,
    };

    b->firmware = vmc_firmware_new(&params, error);
    return b->firmware != NULL;
}

static int setup(void **state)
{
    Bench *b = g_new0(Bench, 1);

    rig_up(&b->rig);
    b->folder = g_dir_make_tmp("firmware-XXXXXX", NULL);
    b->told = g_ptr_array_new_with_free_func(g_free);
    b->hooks = (VmcHostHooks){.log = on_log, .opaque = b};
    b->boot = (VmcBootConfig){
        .kind = VMC_BOOT_EFI,
        .firmware = g_build_filename(b->folder, "CODE.fd", NULL),
        .variable_store = g_build_filename(b->folder, "nvram.fd", NULL),
    };
    tiny_save_code(b->boot.firmware, TINY_CODE_SIZE);
    tiny_save_variables(b->boot.variable_store, TINY_VARIABLES_SIZE, 'M');
    b->memory = vmc_memory_new();
    assert_true(vmc_memory_add(b->memory, "ram", 0, RAM, false, NULL));
    assert_true(vmc_firmware_add_code(b->memory, &b->boot, NULL));
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    Bench *b = *state;

    vmc_firmware_free(b->firmware);
    vmc_memory_free(b->memory);
    rig_down(&b->rig);
    remove_folder(b->folder);
    g_ptr_array_unref(b->told);
    g_free(b->boot.firmware);
    g_free(b->boot.variable_store);
    g_free(b->boot.kernel);
    g_free(b->boot.initrd);
    g_free(b->folder);
    g_free(b);
    return 0;
}

static void assert_item(Bench *b, unsigned key, const void *bytes, size_t n)
{
    vmc_bus_write(b->rig.pio, 0x510, 2, key);
    for (size_t i = 0; i < n; i++)
        if (in8(&b->rig, 0x511) != ((const uint8_t *)bytes)[i])
            fail_msg("byte %zu of item %#x is wrong", i, key);
    assert_int_equal(in8(&b->rig, 0x511), 0);
}

static void assert_number(Bench *b, unsigned key, uint32_t number)
{
    number = GUINT32_TO_LE(number);
    assert_item(b, key, &number, 4);
}

static void code_and_variables_lie_below_4_gib(void **state)
{
    Bench *b = *state;
    g_autofree char *code = NULL;
    g_autofree uint8_t *seen = g_malloc(TINY_CODE_SIZE);
    gsize size;

    assert_true(start(b, NULL));
    assert_true(g_file_get_contents(b->boot.firmware, &code, &size, NULL));
    assert_true(vmc_memory_read(b->memory, CODE_AT, seen, size));
    assert_memory_equal(seen, code, size);
    assert_int_equal(seen[size - 16], 0xe9); /* where a CPU begins */
    assert_false(vmc_memory_write(b->memory, CODE_AT, code, 1));
    assert_int_equal(vmc_bus_read(b->rig.mmio, STORE_AT + 40, 4), GUINT32_FROM_LE(0x4856465f)); /* _FVH */
    assert_int_equal(vmc_bus_read(b->rig.mmio, STORE_AT + 100, 1), 'M');
    assert_int_equal(vmc_bus_read(b->rig.mmio, STORE_AT - 1, 1), 0xff);
}

static void fw_cfg_says_what_the_board_has(void **state)
{
    Bench *b = *state;

    assert_true(start(b, NULL));
    assert_item(b, VMC_FW_CFG_NB_CPUS, "\3", 2);
    assert_item(b, VMC_FW_CFG_MAX_CPUS, "\3", 2);
    assert_item(b, VMC_FW_CFG_RAM_SIZE, "\0\0\x10\0\0\0\0", 8);
    assert_item(b, 0x20, /* etc/e820, the first file */
                "\0\0\0\0\0\0\0\0\0\0\x10\0\0\0\0\0\1\0\0\0"
                "\0\0\0\0\1\0\0\0\0\x70\0\0\0\0\0\0\1\0\0\0",
                40);
    assert_number(b, VMC_FW_CFG_KERNEL_SIZE, 0); /* none: the disks are tried */
}

static void a_kernel_goes_in_two_parts(void **state)
{
    Bench *b = *state;
    uint8_t kernel[5000], initrd[777];

    for (unsigned i = 0; i < sizeof(kernel); i++)
        kernel[i] = (uint8_t)(i * 13 + (i >> 8));
    kernel[0x1f1] = 3;
    memset(initrd, 'i', sizeof(initrd));
    b->boot.kernel = g_build_filename(b->folder, "kernel", NULL);
    b->boot.initrd = g_build_filename(b->folder, "initrd", NULL);
    b->boot.cmdline = (char *)"quiet";
    tiny_save_file(b->boot.kernel, kernel, sizeof(kernel));
    tiny_save_file(b->boot.initrd, initrd, sizeof(initrd));
    assert_true(start(b, NULL));
    /* Nor does it matter what becomes of the files. */
    assert_int_equal(truncate(b->boot.kernel, 0), 0);
    assert_int_equal(truncate(b->boot.initrd, 0), 0);
    assert_number(b, VMC_FW_CFG_SETUP_SIZE, 2048);
    assert_item(b, VMC_FW_CFG_SETUP_DATA, kernel, 2048);
    assert_number(b, VMC_FW_CFG_KERNEL_SIZE, sizeof(kernel) - 2048);
    assert_item(b, VMC_FW_CFG_KERNEL_DATA, kernel + 2048, sizeof(kernel) - 2048);
    assert_number(b, VMC_FW_CFG_INITRD_SIZE, sizeof(initrd));
    assert_item(b, VMC_FW_CFG_INITRD_DATA, initrd, sizeof(initrd));
    assert_number(b, VMC_FW_CFG_CMDLINE_SIZE, 6);
    assert_item(b, VMC_FW_CFG_CMDLINE_DATA, "quiet", 6);
}

static void a_file_that_is_no_kernel_is_an_error(void **state)
{
    Bench *b = *state;
    g_autoptr(GError) error = NULL;
    unsigned before = open_descriptors();
    char bytes[0x300] = {[0x1f1] = 40}; /* speaks of more than there is */

    b->boot.kernel = g_build_filename(b->folder, "kernel", NULL);
    tiny_save_file(b->boot.kernel, bytes, sizeof(bytes));
    assert_false(start(b, &error));
    assert_non_null(strstr(error->message, "is no bzImage"));
    g_clear_error(&error);
    tiny_save_file(b->boot.kernel, "MZ", 2);
    assert_false(start(b, &error));
    assert_non_null(strstr(error->message, "is no bzImage"));
    assert_int_equal(open_descriptors(), before);
    assert_int_equal(in8(&b->rig, 0x402), 0xff); /* nothing is left on the bus */
}

/* ---- the debug port ---- */

static void say(Bench *b, const char *text)
{
    for (; *text; text++)
        out8(&b->rig, 0x402, (uint8_t)*text);
}

static void assert_told(Bench *b, unsigned n, const char *line)
{
    assert_int_equal(b->told->len, n);
    if (strcmp(g_ptr_array_index(b->told, n - 1), line))
        fail_msg("“%s” was told, and not “%s”", (char *)g_ptr_array_index(b->told, n - 1), line);
}

static void its_lines_are_told(void **state)
{
    Bench *b = *state;
    g_autofree char *longest = g_strnfill(300, 'x'), *cut = g_strnfill(255, 'x');
    g_autofree char *expected = g_strconcat("firmware: ", cut, NULL);

    assert_true(start(b, NULL));
    assert_int_equal(in8(&b->rig, 0x402), 0xe9); /* how OVMF knows that it is there */
    say(b, "SecCoreStartup");
    assert_int_equal(b->told->len, 0);
    say(b, "WithStack\r\n\n\n");
    assert_told(b, 1, "firmware: SecCoreStartupWithStack");
    say(b, "bell\a, \033[1mescape\x7f\n");
    assert_told(b, 2, "firmware: bell, [1mescape");
    say(b, "caf\xc3\xa9 \xff\n");
    assert_told(b, 3, "firmware: caf\xc3\xa9 \xef\xbf\xbd");
    say(b, longest);
    assert_told(b, 4, expected);
}

static void not_for_ever_but_anew_after_a_reset(void **state)
{
    Bench *b = *state;

    assert_true(start(b, NULL));
    for (unsigned i = 0; i < LINES_MAX + 100; i++)
        say(b, "again\n");
    assert_int_equal(b->told->len, LINES_MAX);
    say(b, "half a li");
    vmc_firmware_reset(b->firmware);
    say(b, "new\n");
    assert_told(b, LINES_MAX + 1, "firmware: new");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(code_and_variables_lie_below_4_gib),
        T(fw_cfg_says_what_the_board_has),
        T(a_kernel_goes_in_two_parts),
        T(a_file_that_is_no_kernel_is_an_error),
        T(its_lines_are_told),
        T(not_for_ever_but_anew_after_a_reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
