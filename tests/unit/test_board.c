/* The whole board: what is where after a boot was prepared, and that no garbage written anywhere brings it
 * down. */
#include "tests/unit/pc_rig.h"

#include <unistd.h>

#include "pc/board.h"
#include "vmcore/error.h"

typedef struct Bench {
    Rig rig;
    VmcMemory *memory;
    VmcBoard *board;
    unsigned n_cpus;
    unsigned power_offs, resets;
    VmcBootConfig boot;
} Bench;

static void power_off(void *opaque)
{
    ((Bench *)opaque)->power_offs++;
}

static void reset(void *opaque)
{
    ((Bench *)opaque)->resets++;
}

static void prepare(Bench *b)
{
    GError *error = NULL;
    if (!vmc_board_prepare_boot(b->board, NULL, &error))
        fail_msg("%s", error->message);
}

static int setup(void **state)
{
    Bench *b = g_new0(Bench, 1);
    GError *error = NULL;
    rig_up(&b->rig);
    b->n_cpus = RIG_CPUS;
    b->memory = vmc_memory_new();
    assert_true(vmc_board_add_memory(b->memory, 64u << 20, &b->boot, &error));
    VmcBoardParams params = {
        .memory = b->memory,
        .pio = b->rig.pio,
        .mmio = b->rig.mmio,
        .io = b->rig.io,
        .backend = &rig_backend,
        .vm = &b->rig.vm,
        .n_cpus = b->n_cpus,
        .boot = &b->boot,
        .power_off = power_off,
        .reset = reset,
        .opaque = b,
    };
    b->board = vmc_board_new(&params, &error);
    assert_non_null(b->board);
    for (unsigned i = 0; i < b->n_cpus; i++)
        vmc_board_attach_cpu(b->board, i, &b->rig.vm.cpus[i]);
    assert_true(vmc_board_add_uart(b->board, -1, -1, &error));
    prepare(b);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    Bench *b = *state;
    vmc_board_free(b->board);
    vmc_memory_free(b->memory);
    rig_down(&b->rig);
    g_free(b);
    return 0;
}

static uint32_t config_read(Bench *b, unsigned devfn, unsigned offset)
{
    vmc_bus_write(b->rig.pio, 0xcf8, 4, 0x80000000 | devfn << 8 | (offset & 0xfc));
    return vmc_bus_read(b->rig.pio, 0xcfc, 4);
}

static void ram_is_split_around_the_hole(void **state)
{
    VmcMemory *memory = vmc_memory_new();
    VmcBootConfig none = {0};
    assert_true(vmc_board_add_memory(memory, 3ull << 30, &none, NULL));
    assert_int_equal(memory->n_slots, 2);
    assert_int_equal(memory->slots[0].size, VMC_PC_LOW_RAM_END);
    assert_int_equal(memory->slots[1].gpa, VMC_PC_HIGH_RAM);
    assert_int_equal(memory->slots[1].size, 1ull << 30);
    vmc_memory_free(memory);
}

static void bridges_are_where_q35_has_them(void **state)
{
    Bench *b = *state;
    assert_int_equal(config_read(b, 0, 0), 0x29c08086);
    assert_int_equal(config_read(b, 31 << 3, 0), 0x29188086);
    assert_int_equal(config_read(b, 5 << 3, 0), 0xffffffff);
    assert_int_equal(vmc_bus_read(b->rig.mmio, VMC_PC_ECAM_BASE, 4), 0xffffffff); /* no firmware has run */
    vmc_bus_write(b->rig.pio, 0xcf8, 4, 0x80000060);
    vmc_bus_write(b->rig.pio, 0xcfc, 4, (uint32_t)VMC_PC_ECAM_BASE | 1);
    assert_int_equal(vmc_bus_read(b->rig.mmio, VMC_PC_ECAM_BASE + (31 << 15), 4), 0x29188086);
    assert_int_equal(vmc_bus_read(b->rig.mmio, VMC_PC_ECAM_BASE + (31 << 15) + 2, 2), 0x2918);
    assert_int_equal(vmc_bus_read(b->rig.mmio, VMC_PC_ECAM_BASE + (1 << 20), 4), 0xffffffff); /* bus 1 */
    prepare(b);
    assert_int_equal(vmc_bus_read(b->rig.mmio, VMC_PC_ECAM_BASE, 4), 0xffffffff); /* back to power-on */
}

static void cpus_start_as_after_reset(void **state)
{
    Bench *b = *state;
    VmcCpu *cpus = b->rig.vm.cpus;
    assert_int_equal(cpus[0].state.rip, 0xfff0);
    assert_false(cpus[0].state.wait_for_sipi);
    for (unsigned i = 1; i < b->n_cpus; i++) {
        assert_true(cpus[i].state.wait_for_sipi);
        assert_int_equal(cpus[i].state.apic_base, 0xfee00800);
    }
}

static void every_way_to_reset_works(void **state)
{
    Bench *b = *state;
    out8(&b->rig, 0xcf9, 0x02);
    assert_int_equal(b->resets, 0);
    out8(&b->rig, 0xcf9, 0x06);
    assert_int_equal(b->resets, 1);
    out8(&b->rig, 0x64, 0xfe);
    assert_int_equal(b->resets, 2);
    out8(&b->rig, 0x92, 0x01);
    assert_int_equal(b->resets, 3);
    out8(&b->rig, 0x64, 0xd1);
    out8(&b->rig, 0x60, 0xdf); /* A20 */
    assert_int_equal(b->resets, 3);
    assert_int_equal(in8(&b->rig, 0x64) & 2, 0); /* ready for a command, so nobody waits */
    assert_int_equal(b->power_offs, 0);
}

/* RTC -> IRQ 8 -> both the 8259 and the IOAPIC -> CPU 0. */
static void interrupts_reach_a_cpu_both_ways(void **state)
{
    Bench *b = *state;
    const VmcLocalApic *face = vmc_board_lapic(b->board, 0);
    static const uint8_t master[] = {0x11, 0x20, 0x04, 0x01, 0xfb}, slave[] = {0x11, 0x28, 0x02, 0x01, 0xfe};
    for (unsigned i = 0; i < 5; i++) {
        out8(&b->rig, i ? 0x21 : 0x20, master[i]);
        out8(&b->rig, i ? 0xa1 : 0xa0, slave[i]);
    }
    face->ops->mmio_write(face->apic, 0xf0, 0x1ff);
    face->ops->mmio_write(face->apic, 0x350, 0x700); /* LINT0: ExtINT */
    vmc_bus_write(b->rig.mmio, 0xfec00000, 4, 0x20);
    vmc_bus_write(b->rig.mmio, 0xfec00010, 4, 0x38); /* pin 8: vector 38h */
    out8(&b->rig, 0x70, 0x0b);
    out8(&b->rig, 0x71, 0x42); /* periodic */
    assert_true(rig_wait(&b->rig.vm.cpus[0], &b->rig.vm.cpus[0].notified, 1));
    RIG_UNTIL(face->ops->pending(face->apic) == 0x28); /* the 8259 first */
    assert_int_equal(face->ops->acknowledge(face->apic), 0x28);
    RIG_UNTIL(face->ops->pending(face->apic) == 0x38);
    assert_int_equal(face->ops->acknowledge(face->apic), 0x38);
    prepare(b);
    assert_int_equal(face->ops->pending(face->apic), -1);
}

/* What firmware turns on and systems look into: the HPET's switch is on, all else is nothing. */
static void root_complex_is_where_firmware_puts_it(void **state)
{
    Bench *b = *state;
    const unsigned lpc = 0x1f << 3;
    assert_int_equal(vmc_bus_read(b->rig.mmio, 0xfed1f404, 4), 0xffffffff);
    vmc_pci_bus_config_write(vmc_board_pci(b->board), lpc, 0xf0, 4, 0xfed1c001);
    assert_int_equal(config_read(b, lpc, 0xf0), 0xfed1c001);
    assert_int_equal(vmc_bus_read(b->rig.mmio, 0xfed1f404, 4), 0x80);
    assert_int_equal(vmc_bus_read(b->rig.mmio, 0xfed1f404, 8), 0x80);
    assert_int_equal(vmc_bus_read(b->rig.mmio, 0xfed1f405, 1), 0);
    vmc_bus_write(b->rig.mmio, 0xfed1f418, 4, 0xffffffff);
    assert_int_equal(vmc_bus_read(b->rig.mmio, 0xfed1f418, 4), 0);
    vmc_pci_bus_config_write(vmc_board_pci(b->board), lpc, 0xf0, 4, 0xfed20000);
    assert_int_equal(vmc_bus_read(b->rig.mmio, 0xfed1f404, 4), 0xffffffff);
}

static void refuses_a_fifth_uart(void **state)
{
    Bench *b = *state;
    GError *error = NULL;
    for (unsigned i = 1; i < 4; i++)
        assert_true(vmc_board_add_uart(b->board, -1, -1, NULL));
    assert_false(vmc_board_add_uart(b->board, -1, -1, &error));
    assert_true(g_error_matches(error, VMC_ERROR, VMC_ERROR_CONFIG));
    g_error_free(error);
}

static void a_bad_kernel_is_an_error_and_no_more(void **state)
{
    Bench *b = *state;
    GError *error = NULL;
    b->boot = (VmcBootConfig){.kind = VMC_BOOT_LINUX, .kernel = (char *)"/dev/null"};
    assert_false(vmc_board_prepare_boot(b->board, NULL, &error));
    assert_true(g_error_matches(error, VMC_ERROR, VMC_ERROR_IMAGE));
    g_error_free(error);
    b->boot = (VmcBootConfig){0};
    prepare(b);
}

/* ---- garbage ---- */

static uint32_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return *seed >> 32;
}

static unsigned random_size(uint64_t *seed)
{
    return 1u << (next_random(seed) % 3);
}

/* Every port below 1000h, then ports of the chips more often: all sizes, all values, reads and writes. */
static void hammer_ports(Bench *b, uint64_t *seed, unsigned rounds)
{
    static const uint16_t favourites[] = {0x20, 0x40,  0x60,  0x70,  0x80,  0x90, 0xa0,
                                          0xb0, 0x3f8, 0x4d0, 0x600, 0x620, 0xcf8};
    for (unsigned i = 0; i < rounds; i++) {
        uint32_t r = next_random(seed);
        uint16_t port =
            r & 1 ? r >> 1 & 0xfff : favourites[(r >> 1) % G_N_ELEMENTS(favourites)] + (r >> 8 & 15);
        unsigned size = random_size(seed);
        if (r >> 31)
            vmc_bus_read(b->rig.pio, port, size);
        else
            vmc_bus_write(b->rig.pio, port, size, next_random(seed));
    }
}

static void hammer_memory(Bench *b, uint64_t *seed, unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++) {
        uint32_t r = next_random(seed);
        uint64_t base = r & 1 ? VMC_PC_ECAM_BASE + (r & 2 ? 31u << 15 : 0) : 0xfec00000;
        uint64_t address = base + (next_random(seed) & 0xfff);
        unsigned size = 1u << (next_random(seed) & 3);
        if (!(r & 1) && (r & 4))
            address = base + (r & 8 ? 0x10 : 0);
        if (r >> 31)
            vmc_bus_read(b->rig.mmio, address, size);
        else
            vmc_bus_write(b->rig.mmio, address, size, next_random(seed) | (uint64_t)next_random(seed) << 32);
    }
}

static void hammer_lapics(Bench *b, uint64_t *seed, unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++) {
        uint32_t r = next_random(seed);
        const VmcLocalApic *face = vmc_board_lapic(b->board, r % b->n_cpus);
        uint64_t value = next_random(seed) | (uint64_t)next_random(seed) << 32;
        switch (r >> 8 & 15) {
        case 0:
            face->ops->read_msr(face->apic, 0x800 + (r >> 16 & 0xff), &value);
            break;
        case 1:
            face->ops->write_msr(face->apic, 0x800 + (r >> 16 & 0x3f), r & 0x80 ? value : value & 0xff);
            break;
        case 2:
            face->ops->write_msr(face->apic, 0x6e0, value);
            break;
        case 3:
            face->ops->set_base(face->apic, 0xfee00000 | (r >> 16 & 0xc00));
            break;
        case 4:
            face->ops->set_cr8(face->apic, value & 15);
            break;
        case 5:
            face->ops->mmio_read(face->apic, r >> 16 & 0xfff);
            break;
        case 6:
        case 7:
            if (face->ops->pending(face->apic) >= 0)
                face->ops->acknowledge(face->apic);
            break;
        default:
            face->ops->mmio_write(face->apic, r >> 16 & 0xff0, value);
        }
    }
}

static gpointer hammer_all(gpointer data)
{
    Bench *b = data;
    uint64_t seed = 4711;
    for (unsigned i = 0; i < 40; i++) {
        hammer_lapics(b, &seed, 500);
        hammer_memory(b, &seed, 500);
        hammer_ports(b, &seed, 500);
    }
    return NULL;
}

static void survives_garbage_from_two_cpus(void **state)
{
    Bench *b = *state;
    uint64_t seed = 42;
    GThread *other = g_thread_new("hammer", hammer_all, b);
    for (unsigned i = 0; i < 40; i++) {
        hammer_ports(b, &seed, 1000);
        hammer_memory(b, &seed, 300);
    }
    g_thread_join(other);
    g_usleep(20000); /* timers that were set */
    prepare(b);
    /* And it still works: the boards's registers are as after power-on. */
    assert_int_equal(config_read(b, 0, 0), 0x29c08086);
    const VmcLocalApic *face = vmc_board_lapic(b->board, 0);
    assert_int_equal(face->ops->get_base(face->apic), 0xfee00900);
    assert_int_equal(face->ops->mmio_read(face->apic, 0xf0), 0xff);
    interrupts_reach_a_cpu_both_ways(state);
}

static unsigned read_counter(Bench *b)
{
    out8(&b->rig, 0x43, 0x00); /* latch */
    unsigned low = in8(&b->rig, 0x40);
    return low | in8(&b->rig, 0x40) << 8;
}

static void pausing_stops_its_clocks(void **state)
{
    Bench *b = *state;
    out8(&b->rig, 0x43, 0x34);
    out8(&b->rig, 0x40, 0xff);
    out8(&b->rig, 0x40, 0xff);
    vmc_board_pause(b->board);
    unsigned first = read_counter(b);
    g_usleep(3000);
    assert_int_equal(read_counter(b), first);
    vmc_board_resume(b->board);
    g_usleep(3000);
    assert_int_not_equal(read_counter(b), first);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ram_is_split_around_the_hole),
        T(bridges_are_where_q35_has_them),
        T(cpus_start_as_after_reset),
        T(every_way_to_reset_works),
        T(interrupts_reach_a_cpu_both_ways),
        T(root_complex_is_where_firmware_puts_it),
        T(refuses_a_fifth_uart),
        T(a_bad_kernel_is_an_error_and_no_more),
        T(survives_garbage_from_two_cpus),
        T(pausing_stops_its_clocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
