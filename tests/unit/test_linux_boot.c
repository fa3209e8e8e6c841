/* Direct Linux boot: what is put where, and which files are refused with which words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <sys/stat.h>

#include "boot/linux.h"
#include "vmcore/error.h"

#define MIB          (1ull << 20)
#define SETUP        (5 * 512u)
#define PAYLOAD      100000u
#define PREF_ADDRESS (16 * MIB)
#define INIT_SIZE    (20 * MIB)

typedef struct Bench {
    VmcMemory *memory;
    char *folder, *kernel, *initrd;
    GByteArray *image;
    VmcBootConfig boot;
    VmcLinuxParams params;
    VmcE820Entry map[2];
    VmcCpuState state;
} Bench;

static void put(uint8_t *bytes, uint64_t value, unsigned size)
{
    for (unsigned i = 0; i < size; i++)
        bytes[i] = value >> (8 * i);
}

static uint64_t get(const uint8_t *bytes, unsigned size)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

/* A bzImage of protocol 2.15 with a payload that counts. */
static GByteArray *make_image(void)
{
    GByteArray *image = g_byte_array_new();
    g_byte_array_set_size(image, SETUP + PAYLOAD);
    uint8_t *p = image->data;
    memset(p, 0, SETUP);
    for (unsigned i = 0; i < PAYLOAD; i++)
        p[SETUP + i] = i * 31 + (i >> 8);
    p[0x1f1] = SETUP / 512 - 1;
    put(p + 0x1f4, PAYLOAD / 16, 4);
    put(p + 0x1fe, 0xaa55, 2);
    p[0x200] = 0xeb;
    p[0x201] = 0x6a;
    memcpy(p + 0x202, "HdrS", 4);
    put(p + 0x206, 0x020f, 2);
    p[0x211] = 1;
    put(p + 0x22c, 0x7fffffff, 4);
    put(p + 0x236, 0x3f, 2);
    put(p + 0x238, 2047, 4);
    put(p + 0x248, 0x300, 4);
    put(p + 0x24c, PAYLOAD - 0x300, 4);
    put(p + 0x258, PREF_ADDRESS, 8);
    put(p + 0x260, INIT_SIZE, 4);
    return image;
}

static void save(const char *path, const void *bytes, gsize size)
{
    assert_true(g_file_set_contents(path, bytes, size, NULL));
}

static void save_image(Bench *b)
{
    save(b->kernel, b->image->data, b->image->len);
}

static void give_memory(Bench *b, uint64_t bytes)
{
    vmc_memory_free(b->memory);
    b->memory = vmc_memory_new();
    assert_true(vmc_memory_add(b->memory, "test-ram", 0, bytes, false, NULL));
    b->params.memory = b->memory;
    b->params.low_ram_end = bytes;
}

static int setup(void **state)
{
    Bench *b = g_new0(Bench, 1);
    b->folder = g_dir_make_tmp("boot-XXXXXX", NULL);
    b->kernel = g_build_filename(b->folder, "vmlinuz", NULL);
    b->initrd = g_build_filename(b->folder, "initrd", NULL);
    b->image = make_image();
    save_image(b);
    b->boot =
        (VmcBootConfig){.kind = VMC_BOOT_LINUX, .kernel = b->kernel, .cmdline = (char *)"console=ttyS0"};
    b->map[0] = (VmcE820Entry){0, 0x9fc00, VMC_E820_RAM};
    b->map[1] = (VmcE820Entry){MIB, 63 * MIB, VMC_E820_RAM};
    b->params = (VmcLinuxParams){.boot = &b->boot, .map = b->map, .n_map = 2, .rsdp = 0xe0000};
    give_memory(b, 64 * MIB);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    Bench *b = *state;
    vmc_memory_free(b->memory);
    g_byte_array_unref(b->image);
    g_unlink(b->kernel);
    g_unlink(b->initrd);
    g_rmdir(b->folder);
    g_free(b->folder);
    g_free(b->kernel);
    g_free(b->initrd);
    g_free(b);
    return 0;
}

static const uint8_t *ram(Bench *b, uint64_t gpa, uint64_t size)
{
    const uint8_t *bytes = vmc_memory_host(b->memory, gpa, size);
    assert_non_null(bytes);
    return bytes;
}

static const uint8_t *load(Bench *b)
{
    GError *error = NULL;
    if (!vmc_linux_load(&b->params, &b->state, &error))
        fail_msg("%s", error->message);
    return ram(b, b->state.gpr[VMC_RSI], 4096);
}

/* The load must fail with an error of this code that says all of these things. */
static void refuse(Bench *b, int code, const char *first, const char *second)
{
    GError *error = NULL;
    save_image(b);
    assert_false(vmc_linux_load(&b->params, &b->state, &error));
    assert_true(error && error->domain == VMC_ERROR);
    if (error->code != code || !strstr(error->message, first) || !strstr(error->message, second))
        fail_msg("error %d: “%s” lacks “%s” or “%s”", error->code, error->message, first, second);
    g_error_free(error);
}

static void enters_the_kernel_in_long_mode(void **state)
{
    Bench *b = *state;
    const uint8_t *bp = load(b);
    assert_int_equal(b->state.rip, PREF_ADDRESS + 0x200);
    assert_int_equal(b->state.efer, 0x500);
    assert_int_equal(b->state.cr0 & 0x80000001, 0x80000001);
    assert_int_equal(b->state.cr4 & 0x20, 0x20);
    assert_int_equal(b->state.rflags & 0x200, 0);
    assert_int_equal(b->state.seg[VMC_CS].selector, 0x10);
    assert_int_equal(b->state.seg[VMC_DS].selector, 0x18);
    assert_int_equal(b->state.seg[VMC_CS].attr, 0xa09b);
    assert_memory_equal(ram(b, PREF_ADDRESS, PAYLOAD), b->image->data + SETUP, PAYLOAD);
    assert_memory_equal(bp + 0x202, "HdrS", 4);
    assert_int_equal(get(bp + 0x214, 4), PREF_ADDRESS);
    assert_int_equal(bp[0x210], 0xff);
    assert_int_equal(bp[0x1ef], 0); /* sentinel */
    assert_int_equal(get(bp + 0x070, 8), 0xe0000);
    assert_string_equal((const char *)ram(b, get(bp + 0x228, 4), 14), "console=ttyS0");
    const uint8_t *gdt = ram(b, b->state.gdt.base, 32);
    assert_int_equal(get(gdt + 0x10, 8), 0x00af9b000000ffff);
}

/* Walks the page tables as the CPU does. */
static void maps_the_first_four_gib_to_themselves(void **state)
{
    Bench *b = *state;
    load(b);
    static const uint64_t addresses[] = {0, 0x7000, PREF_ADDRESS, 0x7fffffff, 0xfee00000, 0xffffffff};
    for (unsigned i = 0; i < G_N_ELEMENTS(addresses); i++) {
        uint64_t va = addresses[i];
        uint64_t e = get(ram(b, b->state.cr3 + 8 * (va >> 39 & 511), 8), 8);
        assert_int_equal(e & 3, 3);
        e = get(ram(b, (e & ~0xfffull) + 8 * (va >> 30 & 511), 8), 8);
        assert_int_equal(e & 3, 3);
        e = get(ram(b, (e & ~0xfffull) + 8 * (va >> 21 & 511), 8), 8);
        assert_int_equal(e & 0x83, 0x83);
        assert_int_equal((e & ~0x1fffffull) | (va & 0x1fffff), va);
    }
}

static void hands_over_the_memory_map(void **state)
{
    Bench *b = *state;
    const uint8_t *bp = load(b);
    assert_int_equal(bp[0x1e8], 2);
    assert_int_equal(get(bp + 0x2d0, 8), 0);
    assert_int_equal(get(bp + 0x2d8, 8), 0x9fc00);
    assert_int_equal(get(bp + 0x2e0, 4), 1);
    assert_int_equal(get(bp + 0x2e4, 8), MIB);
}

static void describes_the_framebuffer_as_efi(void **state)
{
    Bench *b = *state;
    assert_int_equal(load(b)[0x0f], 0); /* none */
    b->params.fb_gpa = 0x190000000;
    b->params.fb_width = 1280;
    b->params.fb_height = 800;
    b->params.fb_stride = 5120;
    const uint8_t *bp = load(b);
    assert_int_equal(bp[0x0f], 0x70);
    assert_int_equal(get(bp + 0x12, 2), 1280);
    assert_int_equal(get(bp + 0x14, 2), 800);
    assert_int_equal(get(bp + 0x16, 2), 32);
    assert_int_equal(get(bp + 0x18, 4) | get(bp + 0x3a, 4) << 32, 0x190000000);
    assert_int_equal(get(bp + 0x1c, 4), 5120 * 800);
    assert_int_equal(get(bp + 0x24, 2), 5120);
    static const uint8_t colours[] = {8, 16, 8, 8, 8, 0, 8, 24};
    assert_memory_equal(bp + 0x26, colours, sizeof colours);
    assert_int_equal(get(bp + 0x1c0, 4), 0); /* no EFI */
    b->params.fb_stride = 70000;
    refuse(b, VMC_ERROR_CONFIG, "too large", "1280");
}

static void puts_the_initrd_high_and_clear_of_the_kernel(void **state)
{
    Bench *b = *state;
    char *bytes = g_malloc(3 * MIB + 77);
    for (unsigned i = 0; i < 3 * MIB + 77; i++)
        bytes[i] = i * 13 + (i >> 11);
    save(b->initrd, bytes, 3 * MIB + 77);
    b->boot.initrd = b->initrd;
    const uint8_t *bp = load(b);
    uint64_t at = get(bp + 0x218, 4), size = get(bp + 0x21c, 4);
    assert_int_equal(size, 3 * MIB + 77);
    assert_int_equal(at & 0xfff, 0);
    assert_true(at >= PREF_ADDRESS + INIT_SIZE && at + size <= 64 * MIB);
    assert_memory_equal(ram(b, at, size), bytes, size);
    /* The kernel's own limit counts, too. */
    put(b->image->data + 0x22c, 50 * MIB - 1, 4);
    save_image(b);
    bp = load(b);
    assert_true(get(bp + 0x218, 4) + size <= 50 * MIB);
    put(b->image->data + 0x22c, 37 * MIB, 4);
    refuse(b, VMC_ERROR_CONFIG, b->initrd, "does not fit");
    g_free(bytes);
}

static void can_be_done_again(void **state)
{
    Bench *b = *state;
    load(b);
    VmcCpuState first = b->state;
    uint8_t *bytes = vmc_memory_host(b->memory, 0, 64 * MIB);
    memset(bytes, 0xcc, 64 * MIB); /* what a guest may have left behind */
    const uint8_t *bp = load(b);
    assert_memory_equal(&first, &b->state, sizeof first);
    assert_int_equal(bp[0x1ef], 0);
    assert_int_equal(get(bp + 0x218, 4), 0);
    assert_memory_equal(ram(b, PREF_ADDRESS, PAYLOAD), b->image->data + SETUP, PAYLOAD);
}

static void refuses_what_is_no_kernel(void **state)
{
    Bench *b = *state;
    uint8_t *p = b->image->data;
    memcpy(p, "\177ELF", 4);
    memcpy(p + 0x202, "xxxx", 4);
    refuse(b, VMC_ERROR_IMAGE, b->kernel, "ELF");
    memset(p, 0, 4);
    p[0] = 0x1f;
    p[1] = 0x8b;
    refuse(b, VMC_ERROR_IMAGE, b->kernel, "gzip");
    p[0] = 0;
    memcpy(p + 0x38, "ARM\x64", 4);
    refuse(b, VMC_ERROR_IMAGE, b->kernel, "arm64");
    memset(p + 0x38, 0, 4);
    refuse(b, VMC_ERROR_IMAGE, "no Linux setup header", "/boot/vmlinuz");
    g_byte_array_set_size(b->image, 100);
    refuse(b, VMC_ERROR_IMAGE, b->kernel, "too small");
    g_byte_array_set_size(b->image, 0);
    refuse(b, VMC_ERROR_IMAGE, b->kernel, "empty");
}

static void refuses_kernels_it_cannot_enter(void **state)
{
    Bench *b = *state;
    uint8_t *p = b->image->data;
    put(p + 0x206, 0x020a, 2);
    refuse(b, VMC_ERROR_IMAGE, b->kernel, "older than 2.12");
    put(p + 0x206, 0x020f, 2);
    put(p + 0x236, 0x3e, 2);
    refuse(b, VMC_ERROR_IMAGE, b->kernel, "64-bit entry");
    put(p + 0x236, 0x3f, 2);
    p[0x211] = 0;
    refuse(b, VMC_ERROR_IMAGE, b->kernel, "zImage");
    p[0x211] = 1;
    p[0x201] = 0x10;
    refuse(b, VMC_ERROR_IMAGE, b->kernel, "shorter");
    p[0x201] = 0x6a;
    put(p + 0x258, 0xffffffffffff0000, 8);
    refuse(b, VMC_ERROR_IMAGE, b->kernel, "preferred address");
    put(p + 0x258, PREF_ADDRESS, 8);
    put(p + 0x24c, 0xffffffff, 4);
    refuse(b, VMC_ERROR_IMAGE, b->kernel, "beyond the end");
    put(p + 0x24c, 0x1000, 4);
    put(p + 0x1f4, 0x20, 4);
    put(p + 0x248, 0, 4);
    put(p + 0x24c, 0, 4);
    refuse(b, VMC_ERROR_IMAGE, b->kernel, "before its 64-bit entry");
}

/* Cut anywhere, it is never taken, and never reads beyond. */
static void refuses_every_truncation(void **state)
{
    Bench *b = *state;
    for (unsigned length = SETUP + PAYLOAD - 16; length > 0; length = length * 9 / 10) {
        g_byte_array_set_size(b->image, length);
        refuse(b, VMC_ERROR_IMAGE, b->kernel, length >= 1024 ? "is not complete" : "too small");
    }
}

static void refuses_what_does_not_fit(void **state)
{
    Bench *b = *state;
    give_memory(b, 35 * MIB);
    refuse(b, VMC_ERROR_CONFIG, b->kernel, "36 MiB");
    give_memory(b, 64 * MIB);
    put(b->image->data + 0x260, 0xffffffff, 4);
    refuse(b, VMC_ERROR_CONFIG, b->kernel, "4112 MiB");
    put(b->image->data + 0x260, INIT_SIZE, 4);
    b->boot.cmdline = g_strnfill(2048, 'x');
    refuse(b, VMC_ERROR_CONFIG, "2048 bytes", "at most 2047");
    g_free(b->boot.cmdline);
}

static void refuses_odd_files(void **state)
{
    Bench *b = *state;
    char *fifo = g_build_filename(b->folder, "fifo", NULL);
    b->boot.kernel = b->folder;
    refuse(b, VMC_ERROR_IMAGE, b->folder, "directory");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    b->boot.kernel = fifo; /* must not wait for a writer */
    refuse(b, VMC_ERROR_IMAGE, fifo, "not a regular file");
    g_unlink(fifo);
    refuse(b, VMC_ERROR_IMAGE, fifo, "No such file");
    b->boot.kernel = b->kernel;
    b->boot.initrd = fifo;
    refuse(b, VMC_ERROR_IMAGE, "initrd", "No such file");
    save(b->initrd, "", 0);
    b->boot.initrd = b->initrd;
    refuse(b, VMC_ERROR_IMAGE, b->initrd, "empty");
    g_free(fifo);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(enters_the_kernel_in_long_mode),
        T(maps_the_first_four_gib_to_themselves),
        T(hands_over_the_memory_map),
        T(describes_the_framebuffer_as_efi),
        T(puts_the_initrd_high_and_clear_of_the_kernel),
        T(can_be_done_again),
        T(refuses_what_is_no_kernel),
        T(refuses_kernels_it_cannot_enter),
        T(refuses_every_truncation),
        T(refuses_what_does_not_fit),
        T(refuses_odd_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
