/*
 * What of the debug stub needs no machine: packets, registers, where it listens, and page walks without
 * traces, which are compared with those of the software CPU.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cpu/cpu.h"
#include "gdb/packet.h"
#include "gdb/registers.h"
#include "vmcore/gdb.h"

/* ---- packets ---- */

/* Puts all bytes in; returns what the last one completed. Any before it must have completed nothing. */
static VmcGdbInput put(VmcGdbReader *reader, const void *bytes, size_t n)
{
    VmcGdbInput input = VMC_GDB_MORE;

    for (size_t i = 0; i < n; i++) {
        assert_int_equal(input, VMC_GDB_MORE);
        input = vmc_gdb_reader_put(reader, ((const uint8_t *)bytes)[i]);
    }
    return input;
}

#define PUT(reader, text) put(reader, text, strlen(text))

static void test_a_packet_is_read(void **state)
{
    g_autofree VmcGdbReader *reader = g_new0(VmcGdbReader, 1);

    assert_int_equal(PUT(reader, "$m1000,4#8e"), VMC_GDB_PACKET);
    assert_int_equal(reader->len, 7);
    assert_string_equal(reader->data, "m1000,4");
    assert_int_equal(PUT(reader, "$#00"), VMC_GDB_PACKET);
    assert_int_equal(reader->len, 0);
    /* Escaped: '#', '$', '}', '*', and a zero that need not be. */
    assert_int_equal(put(reader, "$X}\x03}\x04}\x5d}\x0a\0#ba", 14), VMC_GDB_PACKET);
    assert_int_equal(reader->len, 6);
    assert_memory_equal(reader->data, "X#$}*\0", 6);
}

static void test_what_stands_between_packets(void **state)
{
    g_autofree VmcGdbReader *reader = g_new0(VmcGdbReader, 1);

    assert_int_equal(PUT(reader, "+"), VMC_GDB_ACK);
    assert_int_equal(PUT(reader, "-"), VMC_GDB_NAK);
    assert_int_equal(PUT(reader, "\x03"), VMC_GDB_INTERRUPT);
    assert_int_equal(PUT(reader, "G"), VMC_GDB_JUNK);
}

static void test_bad_packets_are_told_apart(void **state)
{
    g_autofree VmcGdbReader *reader = g_new0(VmcGdbReader, 1);
    g_autoptr(GByteArray) out = g_byte_array_new();

    assert_int_equal(PUT(reader, "$g#68"), VMC_GDB_BAD);
    assert_int_equal(PUT(reader, "$g#6x"), VMC_GDB_BAD);
    assert_int_equal(PUT(reader, "$g}#e4"), VMC_GDB_BAD);        /* ends in the middle of an escape */
    assert_int_equal(PUT(reader, "$torn$g#67"), VMC_GDB_PACKET); /* another begins */
    assert_string_equal(reader->data, "g");

    g_autofree char *longest = g_strnfill(VMC_GDB_PACKET_MAX + 1, 'a');
    vmc_gdb_packet_append(out, longest, VMC_GDB_PACKET_MAX);
    assert_int_equal(put(reader, out->data, out->len), VMC_GDB_PACKET);
    assert_int_equal(reader->len, VMC_GDB_PACKET_MAX);
    g_byte_array_set_size(out, 0);
    vmc_gdb_packet_append(out, longest, VMC_GDB_PACKET_MAX + 1);
    assert_int_equal(put(reader, out->data, out->len), VMC_GDB_TOO_LONG);
    assert_int_equal(PUT(reader, "$g#67"), VMC_GDB_PACKET);
}

static void test_a_packet_that_is_written_can_be_read(void **state)
{
    g_autofree VmcGdbReader *reader = g_new0(VmcGdbReader, 1);
    g_autoptr(GByteArray) out = g_byte_array_new();
    uint8_t all[256];

    for (unsigned i = 0; i < sizeof all; i++)
        all[i] = (uint8_t)i;
    vmc_gdb_packet_append(out, all, sizeof all);
    assert_int_equal(put(reader, out->data, out->len), VMC_GDB_PACKET);
    assert_int_equal(reader->len, sizeof all);
    assert_memory_equal(reader->data, all, sizeof all);
    g_byte_array_set_size(out, 0);
    vmc_gdb_packet_append(out, "OK", 2);
    assert_int_equal(out->len, 6);
    assert_memory_equal(out->data, "$OK#9a", 6);
}

/* ---- registers ---- */

static unsigned number_of(const char *name)
{
    g_autofree char *xml = vmc_gdb_registers_describe();
    g_autofree char *wanted = g_strdup_printf("<reg name=\"%s\" ", name);
    unsigned n = 0;

    for (const char *at = xml; (at = strstr(at, "<reg ")); at++, n++)
        if (g_str_has_prefix(at, wanted))
            return n;
    fail_msg("there is no register %s", name);
    return 0;
}

static uint64_t get(const VmcCpuState *state, const char *name)
{
    uint8_t bytes[VMC_GDB_REGISTER_MAX] = {0};
    uint64_t value;

    vmc_gdb_register_get(state, number_of(name), bytes);
    memcpy(&value, bytes, 8);
    return value;
}

static bool set(VmcCpuState *state, const char *name, uint64_t value)
{
    uint8_t bytes[VMC_GDB_REGISTER_MAX] = {0};

    memcpy(bytes, &value, 8);
    return vmc_gdb_register_put(state, number_of(name), bytes);
}

/* The numbers that GDB and other stubs use, so that clients without a description are right, too. */
static void test_registers_have_the_numbers_gdb_expects(void **state)
{
    assert_int_equal(number_of("rax"), 0);
    assert_int_equal(number_of("rsp"), 7);
    assert_int_equal(number_of("rip"), 16);
    assert_int_equal(number_of("eflags"), 17);
    assert_int_equal(number_of("gs"), 23);
    assert_int_equal(number_of("st0"), 24);
    assert_int_equal(number_of("fctrl"), 32);
    assert_int_equal(number_of("xmm0"), 40);
    assert_int_equal(number_of("mxcsr"), 56);
}

static void test_every_register_can_be_read_and_most_can_be_written(void **state)
{
    VmcCpuState cpu;
    unsigned n = vmc_gdb_register_count(), bytes = 0;

    vmc_cpu_state_reset(&cpu);
    for (unsigned i = 0; i < n; i++) {
        uint8_t now[VMC_GDB_REGISTER_MAX], then[VMC_GDB_REGISTER_MAX], other[VMC_GDB_REGISTER_MAX];
        unsigned size = vmc_gdb_register_size(i);

        assert_in_range(size, 4, VMC_GDB_REGISTER_MAX);
        bytes += size;
        vmc_gdb_register_get(&cpu, i, now);
        assert_true(vmc_gdb_register_put(&cpu, i, now)); /* what it has may always be written */
        memcpy(other, now, size);
        other[0] ^= 0x55;
        bool selector = i >= number_of("cs") && i <= number_of("gs");
        assert_int_equal(vmc_gdb_register_put(&cpu, i, other), !selector);
        vmc_gdb_register_get(&cpu, i, then);
        if (i != number_of("ftag")) /* of which only empty or not is kept */
            assert_memory_equal(then, selector ? now : other, size);
    }
    assert_int_equal(vmc_gdb_register_size(n), 0);
    assert_true(bytes <= VMC_GDB_REGISTERS_MAX);
}

static void test_registers_go_to_their_places(void **state)
{
    VmcCpuState cpu;

    vmc_cpu_state_reset(&cpu);
    cpu.halted = true;
    assert_true(set(&cpu, "rbx", 0x1122334455667788));
    assert_int_equal(cpu.gpr[VMC_RBX], 0x1122334455667788);
    assert_true(set(&cpu, "r15", 15));
    assert_int_equal(cpu.gpr[15], 15);
    assert_true(set(&cpu, "gs_base", 0xffff888000000000));
    assert_int_equal(cpu.seg[VMC_GS].base, 0xffff888000000000);
    assert_true(set(&cpu, "efer", 0x500));
    assert_int_equal(cpu.efer, 0x500);
    assert_int_equal(get(&cpu, "cs"), 0xf000);
    assert_true(cpu.halted);
    assert_true(set(&cpu, "rip", 0x1234));
    assert_false(cpu.halted); /* it goes on there */
    assert_int_equal(cpu.rip, 0x1234);
}

/* TOP = 6: physical registers 6 and 7 are ST(0) and ST(1). */
static void test_x87_tags_are_worked_out(void **state)
{
    static const uint8_t one[10] = {0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f};
    static const uint8_t infinity[10] = {0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x7f};
    VmcCpuState cpu;

    vmc_cpu_state_reset(&cpu);
    assert_int_equal(get(&cpu, "ftag"), 0xffff);
    cpu.fxsave[3] = 6 << 3;
    cpu.fxsave[4] = 0xe0; /* 5, 6 and 7 are used; 5 is ST(7) and zero */
    memcpy(cpu.fxsave + 32, one, 10);
    memcpy(cpu.fxsave + 48, infinity, 10);
    assert_int_equal(get(&cpu, "ftag"), 0x87ff); /* special, valid, zero, five times empty */
    assert_true(set(&cpu, "ftag", 0x3fff));
    assert_int_equal(cpu.fxsave[4], 0x80);
}

/* ---- what CPUs can stop at ---- */

static void test_kvm_has_four_debug_registers(void **state)
{
    g_autofree VmcCpuDebug *debug = g_new0(VmcCpuDebug, 1);

    debug->n_breakpoints = 3;
    debug->breakpoints[0].hardware = debug->breakpoints[1].hardware = true;
    debug->n_watchpoints = 2;
    for (unsigned i = 0; i < 3; i++) {
        debug->watchpoints[i].address = 0x1000;
        debug->watchpoints[i].length = 8;
    }
    assert_true(
        vmc_cpu_debug_fits(&vmc_cpu_kvm, debug)); /* a breakpoint that need not be hardware counts for none */
    debug->watchpoints[1].address = 0x1004;       /* not a multiple of 8 */
    assert_false(vmc_cpu_debug_fits(&vmc_cpu_kvm, debug));
    assert_true(vmc_cpu_debug_fits(&vmc_cpu_soft, debug));
    debug->watchpoints[1].length = 3;
    assert_false(vmc_cpu_debug_fits(&vmc_cpu_kvm, debug));
    debug->watchpoints[1].length = 4;
    assert_true(vmc_cpu_debug_fits(&vmc_cpu_kvm, debug));
    debug->n_watchpoints = 3;
    assert_false(vmc_cpu_debug_fits(&vmc_cpu_kvm, debug));
    assert_true(vmc_cpu_debug_fits(&vmc_cpu_soft, debug));
}

/* ---- page walks ---- */

#define RAM (4u << 20)

typedef struct Paging {
    VmcMemory *memory;
    VmcBus *pio, *mmio;
    VmcCpuVm *vm;
    VmcCpu *cpu;
} Paging;

static void store(Paging *p, uint64_t at, uint64_t value, unsigned size)
{
    assert_true(vmc_memory_write(p->memory, at, &value, size));
}

static int set_up_paging(void **state)
{
    Paging *p = g_new0(Paging, 1);

    p->memory = vmc_memory_new();
    assert_true(vmc_memory_add(p->memory, "ram", 0, RAM, false, NULL));
    p->pio = vmc_bus_new("pio");
    p->mmio = vmc_bus_new("mmio");
    VmcCpuVmParams params = {.memory = p->memory, .pio = p->pio, .mmio = p->mmio, .n_cpus = 1};
    p->vm = vmc_cpu_soft.vm_new(&params, NULL);
    p->cpu = vmc_cpu_soft.cpu_new(p->vm, 0, NULL, NULL);
    assert_non_null(p->cpu);
    *state = p;
    return 0;
}

static int tear_down_paging(void **state)
{
    Paging *p = *state;

    vmc_cpu_soft.cpu_free(p->cpu);
    vmc_cpu_soft.vm_free(p->vm);
    vmc_bus_free(p->pio);
    vmc_bus_free(p->mmio);
    vmc_memory_free(p->memory);
    g_free(p);
    return 0;
}

/* Both ways say `pa`, or with UINT64_MAX that there is nothing. */
static void walks(Paging *p, const VmcCpuState *state, uint64_t va, uint64_t pa)
{
    GError *error = NULL;
    uint64_t by_walk = UINT64_MAX, by_cpu = UINT64_MAX;

    if (!vmc_cpu_soft.set_state(p->cpu, state, &error))
        fail_msg("%s", error->message);
    if (!vmc_cpu_walk(state, p->memory, va, &by_walk))
        by_walk = UINT64_MAX;
    if (!vmc_cpu_soft.translate(p->cpu, va, &by_cpu))
        by_cpu = UINT64_MAX;
    if (by_walk != pa || by_cpu != pa)
        fail_msg("%" G_GINT64_MODIFIER "x: expected %" G_GINT64_MODIFIER
                 "x, the walk says %" G_GINT64_MODIFIER "x, the software CPU %" G_GINT64_MODIFIER "x",
                 va, pa, by_walk, by_cpu);
}

#define NOWHERE UINT64_MAX

static void test_walks_in_long_mode(void **state)
{
    Paging *p = *state;
    VmcCpuState s;
    uint8_t before[0x4000], after[0x4000];

    vmc_cpu_state_reset(&s);
    s.cr0 = 0x80000031;
    s.cr3 = 0x1000;
    s.cr4 = 0x20;
    s.efer = 0xd00;
    s.seg[VMC_CS].attr = 0xa09b;
    store(p, 0x1000 + 511 * 8, 0x2001, 8);       /* kernel half; not writable, not for users */
    store(p, 0x2000 + 510 * 8, 0x3001, 8);       /* 1 GiB from ffffffff80000000 */
    store(p, 0x2000 + 511 * 8, 0x40000081, 8);   /* a large page of 1 GiB */
    store(p, 0x3000, 0x4001, 8);                 /* 2 MiB of small pages */
    store(p, 0x3000 + 8, 0x8000000000200081, 8); /* a large page, without execute */
    store(p, 0x4000 + 5 * 8, 0x8000000000123001, 8);
    vmc_memory_read(p->memory, 0x1000, before, sizeof before);
    walks(p, &s, 0xffffffff80005678, 0x123678);
    walks(p, &s, 0xffffffff80006678, NOWHERE);
    walks(p, &s, 0xffffffff80345678, 0x345678);
    walks(p, &s, 0xffffffffc1234567, 0x41234567);
    walks(p, &s, 0xffffffff00000000, NOWHERE);
    walks(p, &s, 0x0000ffff80005678, NOWHERE); /* not canonical */
    walks(p, &s, 0x1234, NOWHERE);
    s.cr3 = 0x7fff000; /* outside RAM */
    walks(p, &s, 0xffffffff80005678, NOWHERE);
    vmc_memory_read(p->memory, 0x1000, after, sizeof after);
    assert_memory_equal(before, after, sizeof before); /* nothing was marked as accessed */
}

static void test_walks_in_protected_mode(void **state)
{
    Paging *p = *state;
    VmcCpuState s;

    vmc_cpu_state_reset(&s);
    s.cr0 = 0x80000031;
    s.cr3 = 0x1000;
    s.cr4 = 0x10; /* PSE */
    store(p, 0x1000 + 0x300 * 4, 0x2001, 4);
    store(p, 0x1000 + 0x301 * 4, 0x00406081, 4); /* 4 MiB, address bits 39:32 are 3 */
    store(p, 0x2000 + 7 * 4, 0x9001, 4);
    walks(p, &s, 0xc0007abc, 0x9abc);
    walks(p, &s, 0xc0008abc, NOWHERE);
    walks(p, &s, 0xc0412345, 0x300412345);
    walks(p, &s, 0x100000000, NOWHERE); /* no such address in this mode */

    s.cr4 = 0x20; /* PAE */
    s.cr3 = 0x3020;
    store(p, 0x3020 + 3 * 8, 0x4001, 8);
    store(p, 0x4000, 0x5001, 8);
    store(p, 0x4000 + 8, 0x200081, 8);
    store(p, 0x5000 + 7 * 8, 0xa001, 8);
    walks(p, &s, 0xc0007abc, 0xaabc);
    walks(p, &s, 0xc0212345, 0x212345);
    walks(p, &s, 0x40000000, NOWHERE);

    s.cr0 = 0x31; /* no paging */
    walks(p, &s, 0xc0007abc, 0xc0007abc);
}

static void test_walks_with_five_levels(void **state)
{
    Paging *p = *state;
    uint64_t pa;
    VmcCpuState s = {.cr0 = 0x80000031, .cr3 = 0x1000, .cr4 = 0x1020, .efer = 0xd00};

    store(p, 0x1000 + 256 * 8, 0x2001, 8);
    store(p, 0x2000, 0x3001, 8);
    store(p, 0x3000, 0x83, 8);
    assert_true(vmc_cpu_walk(&s, p->memory, 0xff00000000012345, &pa));
    assert_int_equal(pa, 0x12345);
    assert_false(vmc_cpu_walk(&s, p->memory, 0xff01000000012345, &pa));
    assert_false(vmc_cpu_walk(&s, p->memory, 0x7f00000000012345, &pa));
}

/* ---- where it listens ---- */

static void refused(const char *address, const char *word)
{
    GError *error = NULL;

    assert_false(vmc_gdb_check_address(address, &error));
    if (!strstr(error->message, word) || strchr(error->message, '\n'))
        fail_msg("“%s” should say “%s”", error->message, word);
    g_error_free(error);
}

static void test_only_this_computer_is_listened_for(void **state)
{
    static const char *const good[] = {
        "unix:/tmp/x",         "unix:x",         "tcp:1234",       "tcp:127.0.0.1:1",
        "tcp:localhost:65535", "tcp:[::1]:1234", "tcp:127.1.2.3:9"};
    g_autofree char *endless = g_strnfill(108, 'x'), *path = g_strconcat("unix:", endless, NULL);

    for (unsigned i = 0; i < G_N_ELEMENTS(good); i++)
        assert_true(vmc_gdb_check_address(good[i], NULL));
    refused("1234", "unix:FILE or tcp:PORT");
    refused("", "unix:FILE or tcp:PORT");
    refused("tcp:", "1 to 65535");
    refused("tcp:0", "1 to 65535");
    refused("tcp:65536", "1 to 65535");
    refused("tcp:99999999999999999999", "1 to 65535");
    refused("tcp:-1", "1 to 65535");
    refused("tcp:0.0.0.0:1234", "0.0.0.0");
    refused("tcp::1234", "for itself");
    refused("tcp:192.168.1.1:1234", "192.168.1.1");
    refused("tcp:[::]:1234", "[::]");
    refused("tcp:example.org:1234", "example.org");
    refused("unix:", "1 to 107 bytes");
    refused(path, "1 to 107 bytes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_packet_is_read),
        cmocka_unit_test(test_what_stands_between_packets),
        cmocka_unit_test(test_bad_packets_are_told_apart),
        cmocka_unit_test(test_a_packet_that_is_written_can_be_read),
        cmocka_unit_test(test_registers_have_the_numbers_gdb_expects),
        cmocka_unit_test(test_every_register_can_be_read_and_most_can_be_written),
        cmocka_unit_test(test_registers_go_to_their_places),
        cmocka_unit_test(test_x87_tags_are_worked_out),
        cmocka_unit_test(test_kvm_has_four_debug_registers),
        cmocka_unit_test_setup_teardown(test_walks_in_long_mode, set_up_paging, tear_down_paging),
        cmocka_unit_test_setup_teardown(test_walks_in_protected_mode, set_up_paging, tear_down_paging),
        cmocka_unit_test_setup_teardown(test_walks_with_five_levels, set_up_paging, tear_down_paging),
        cmocka_unit_test(test_only_this_computer_is_listened_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
