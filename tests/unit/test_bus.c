/* The bus: who answers where, what nobody answers, accesses that straddle, and changes while CPUs run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/bus.h"

/* A device that answers with its name in the top byte and where it was read below, and notes writes. */
typedef struct Device {
    uint8_t name;
    unsigned writes;
    uint64_t offset, value;
    unsigned size;
} Device;

static uint64_t device_read(void *opaque, uint64_t offset, unsigned size)
{
    Device *device = opaque;

    if (size == 1)
        return device->name + offset;
    return 0x1111111111111111ull * (device->name & 0xf);
}

static void device_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    Device *device = opaque;

    device->writes++;
    device->offset = offset;
    device->size = size;
    device->value = value;
}

static const VmcRegionOps ops = {device_read, device_write};

static void test_unclaimed_reads_as_ones(void **state)
{
    VmcBus *bus = vmc_bus_new("test");

    assert_true(vmc_bus_read(bus, 0x80, 1) == 0xff);
    assert_true(vmc_bus_read(bus, 0x80, 2) == 0xffff);
    assert_true(vmc_bus_read(bus, 0x80, 4) == 0xffffffffu);
    assert_true(vmc_bus_read(bus, 0x80, 8) == UINT64_MAX);
    vmc_bus_write(bus, 0x80, 8, 1);
    vmc_bus_free(bus);
}

static void test_a_region_gets_offset_size_and_masked_value(void **state)
{
    VmcBus *bus = vmc_bus_new("test");
    Device device = {.name = 3};

    vmc_bus_add(bus, "d", 0x1000, 0x100, &ops, &device);
    vmc_bus_write(bus, 0x10fe, 2, 0xabcd1234);
    assert_int_equal(device.writes, 1);
    assert_int_equal(device.offset, 0xfe);
    assert_int_equal(device.size, 2);
    assert_int_equal(device.value, 0x1234);
    assert_true(vmc_bus_read(bus, 0x1000, 4) == 0x33333333);
    assert_true(vmc_bus_read(bus, 0xfff, 1) == 0xff);
    assert_true(vmc_bus_read(bus, 0x1100, 1) == 0xff);
    vmc_bus_free(bus);
}

static void test_the_region_added_last_wins_until_it_is_removed(void **state)
{
    VmcBus *bus = vmc_bus_new("test");
    Device below = {.name = 0x10}, above = {.name = 0x80};

    vmc_bus_add(bus, "below", 0x100, 0x10, &ops, &below);
    vmc_bus_add(bus, "above", 0x104, 4, &ops, &above);
    assert_true(vmc_bus_read(bus, 0x103, 1) == 0x13);
    assert_true(vmc_bus_read(bus, 0x104, 1) == 0x80);
    assert_true(vmc_bus_read(bus, 0x107, 1) == 0x83);
    assert_true(vmc_bus_read(bus, 0x108, 1) == 0x18);
    vmc_bus_remove(bus, 0x104, &ops, &above);
    assert_true(vmc_bus_read(bus, 0x104, 1) == 0x14);
    vmc_bus_remove(bus, 0x100, &ops, &above); /* another opaque: not this one */
    assert_true(vmc_bus_read(bus, 0x100, 1) == 0x10);
    vmc_bus_remove(bus, 0x100, &ops, &below);
    assert_true(vmc_bus_read(bus, 0x100, 1) == 0xff);
    vmc_bus_free(bus);
}

static void test_straddling_accesses_are_split_into_bytes(void **state)
{
    VmcBus *bus = vmc_bus_new("test");
    Device left = {.name = 0x10}, right = {.name = 0x80};

    vmc_bus_add(bus, "left", 0x100, 4, &ops, &left);
    vmc_bus_add(bus, "right", 0x104, 2, &ops, &right);
    assert_true(vmc_bus_read(bus, 0x102, 4) == 0x81801312);
    assert_true(vmc_bus_read(bus, 0x104, 4) == 0xffff8180);
    assert_true(vmc_bus_read(bus, 0xfe, 4) == 0x1110ffff);
    vmc_bus_write(bus, 0x102, 4, 0x44332211);
    assert_int_equal(left.writes, 2);
    assert_int_equal(left.value, 0x22);
    assert_int_equal(right.writes, 2);
    assert_int_equal(right.size, 1);
    assert_int_equal(right.value, 0x44);
    vmc_bus_free(bus);
}

static void test_the_top_of_the_address_space(void **state)
{
    VmcBus *bus = vmc_bus_new("test");
    Device all = {.name = 5}, top = {.name = 0x20};

    vmc_bus_add(bus, "top", UINT64_MAX - 3, 100, &ops, &top);
    assert_true(vmc_bus_read(bus, UINT64_MAX, 1) == 0x23);
    assert_true(vmc_bus_read(bus, UINT64_MAX - 1, 4) == 0xffff2322); /* wraps to 0, where nobody is */
    vmc_bus_add(bus, "all", 0, UINT64_MAX, &ops, &all);
    assert_true(vmc_bus_read(bus, 0x1234, 2) == 0x5555);
    assert_true(vmc_bus_read(bus, UINT64_MAX, 1) == 0x23);
    vmc_bus_free(bus);
}

static void test_a_region_of_no_size_answers_nothing(void **state)
{
    VmcBus *bus = vmc_bus_new("test");
    Device device = {.name = 1};

    vmc_bus_add(bus, "empty", 0x10, 0, &ops, &device);
    assert_true(vmc_bus_read(bus, 0x10, 1) == 0xff);
    vmc_bus_free(bus);
}

/* A device whose write handler moves the device itself, as a PCI BAR does. */
typedef struct Mover {
    VmcBus *bus;
    uint64_t base;
} Mover;

static void mover_write(void *opaque, uint64_t offset, unsigned size, uint64_t value);
static const VmcRegionOps mover_ops = {.write = mover_write};

static void mover_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    Mover *mover = opaque;

    vmc_bus_remove(mover->bus, mover->base, &mover_ops, mover);
    mover->base = value;
    vmc_bus_add(mover->bus, "mover", mover->base, 16, &mover_ops, mover);
}

static void test_a_handler_may_change_the_map(void **state)
{
    VmcBus *bus = vmc_bus_new("test");
    Mover mover = {bus, 0x100};

    vmc_bus_add(bus, "mover", 0x100, 16, &mover_ops, &mover);
    vmc_bus_write(bus, 0x104, 4, 0x900);
    assert_true(mover.base == 0x900);
    vmc_bus_write(bus, 0x100, 4, 0x500); /* nobody there any more */
    assert_true(mover.base == 0x900);
    vmc_bus_write(bus, 0x900, 4, 0x500);
    assert_true(mover.base == 0x500);
    vmc_bus_free(bus);
}

typedef struct Reader {
    VmcBus *bus;
    gint *stop;
    unsigned wrong;
} Reader;

/* The fixed device always answers; the moving one answers or is not there. */
static gpointer read_on(gpointer data)
{
    Reader *reader = data;

    while (!g_atomic_int_get(reader->stop)) {
        uint64_t fixed = vmc_bus_read(reader->bus, 0x1000, 1);
        uint64_t moving = vmc_bus_read(reader->bus, 0x2000, 1);

        if (fixed != 0x10 || (moving != 0x40 && moving != 0xff))
            reader->wrong++;
    }
    return NULL;
}

static void test_the_map_changes_while_cpus_read(void **state)
{
    VmcBus *bus = vmc_bus_new("test");
    Device fixed = {.name = 0x10}, moving = {.name = 0x40};
    Reader readers[2];
    GThread *threads[2];
    gint stop = 0;

    vmc_bus_add(bus, "fixed", 0x1000, 16, &ops, &fixed);
    for (unsigned i = 0; i < 2; i++) {
        readers[i] = (Reader){bus, &stop, 0};
        threads[i] = g_thread_new("reader", read_on, &readers[i]);
    }
    for (unsigned i = 0; i < 2000; i++) {
        vmc_bus_add(bus, "moving", 0x2000, 16, &ops, &moving);
        vmc_bus_remove(bus, 0x2000, &ops, &moving);
    }
    g_atomic_int_set(&stop, 1);
    for (unsigned i = 0; i < 2; i++) {
        g_thread_join(threads[i]);
        assert_int_equal(readers[i].wrong, 0);
    }
    vmc_bus_free(bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unclaimed_reads_as_ones),
        cmocka_unit_test(test_a_region_gets_offset_size_and_masked_value),
        cmocka_unit_test(test_the_region_added_last_wins_until_it_is_removed),
        cmocka_unit_test(test_straddling_accesses_are_split_into_bytes),
        cmocka_unit_test(test_the_top_of_the_address_space),
        cmocka_unit_test(test_a_region_of_no_size_answers_nothing),
        cmocka_unit_test(test_a_handler_may_change_the_map),
        cmocka_unit_test(test_the_map_changes_while_cpus_read),
    };

    return cmocka_run_group_tests_name("bus", tests, NULL, NULL);
}
