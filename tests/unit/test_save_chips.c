/*
 * The board's chips in odd states: saved, loaded into a chip that was just made, and the same again; with
 * time that has stood still meanwhile. And whatever else is loaded is refused or does no harm.
 */
#include "tests/unit/pc_rig.h"

#include "pc/hpet.h"
#include "pc/ioapic.h"
#include "pc/lapic.h"
#include "pc/legacy.h"
#include "pc/pic.h"
#include "pc/pit.h"
#include "pc/pm.h"
#include "pc/rtc.h"
#include "pc/smc.h"
#include "pc/wires.h"

/* A chip on a bench of its own. */
typedef struct Bench {
    Rig rig;
    VmcLapics *lapics; /* of the chips that need them */
    VmcWires *wires;
    void *chip;
} Bench;

typedef struct Kind {
    const char *name;
    void (*make)(Bench *b);
    void (*unsettle)(Bench *b); /* into an odd state */
    void (*use)(Bench *b);      /* a little of everything, whatever its state */
    void (*save)(Bench *b, VmcStateWriter *w);
    bool (*load)(Bench *b, VmcStateReader *r);
    void (*free)(Bench *b);
} Kind;

static void ignore(void *opaque)
{
}

static void ignore_level(void *opaque, bool level)
{
}

static void ignore_gsi(void *opaque, unsigned gsi, bool level)
{
}

#define CHIP(name, type)                                                                                     \
    static void name##_save(Bench *b, VmcStateWriter *w)                                                     \
    {                                                                                                        \
        vmc_##name##_save(b->chip, w);                                                                       \
    }                                                                                                        \
    static bool name##_load(Bench *b, VmcStateReader *r)                                                     \
    {                                                                                                        \
        return vmc_##name##_load(b->chip, r);                                                                \
    }                                                                                                        \
    static void name##_free(Bench *b)                                                                        \
    {                                                                                                        \
        vmc_##name##_free(b->chip);                                                                          \
    }
#define KIND(name)                                                                                           \
    {                                                                                                        \
#name, name##_make, name##_unsettle, name##_use, name##_save, name##_load, name##_free               \
    }

/* Every port of a range, read and written. */
static void poke_ports(Bench *b, uint16_t first, unsigned n)
{
    for (unsigned value = 0; value < 256; value += 51)
        for (unsigned i = 0; i < n; i++) {
            in8(&b->rig, (uint16_t)(first + i));
            out8(&b->rig, (uint16_t)(first + i), (uint8_t)value);
        }
}

/* ---- PIT ---- */

CHIP(pit, VmcPit)

static void pit_make(Bench *b)
{
    VmcIrq irq = rig_wire(&b->rig);
    b->chip = vmc_pit_new(b->rig.pio, b->rig.clock, &irq);
}

/* Counter 0 runs, 1 has half a count and a latch, 2 is held by its gate. */
static void pit_unsettle(Bench *b)
{
    out8(&b->rig, 0x43, 0x34);
    out8(&b->rig, 0x40, 0x9c);
    out8(&b->rig, 0x40, 0x2e);
    out8(&b->rig, 0x43, 0x70);
    out8(&b->rig, 0x41, 0x11);
    out8(&b->rig, 0x43, 0x40);
    out8(&b->rig, 0x61, 1);
    out8(&b->rig, 0x43, 0xb1);
    out8(&b->rig, 0x42, 0x34);
    out8(&b->rig, 0x42, 0x12);
    out8(&b->rig, 0x61, 2);
    in8(&b->rig, 0x41);
}

static void pit_use(Bench *b)
{
    poke_ports(b, 0x40, 4);
    poke_ports(b, 0x61, 1);
}

/* ---- PIC ---- */

CHIP(pic, VmcPic)

static void pic_make(Bench *b)
{
    b->chip = vmc_pic_new(b->rig.pio, ignore_level, NULL);
}

/* The slave is half initialised; on the master one interrupt is in service and others wait. */
static void pic_unsettle(Bench *b)
{
    out8(&b->rig, 0x20, 0x11);
    out8(&b->rig, 0x21, 0x30);
    out8(&b->rig, 0x21, 0x04);
    out8(&b->rig, 0x21, 0x01);
    out8(&b->rig, 0x21, 0x80);
    vmc_pic_set_elcr(b->chip, 0x0a00);
    vmc_pic_set_irq(b->chip, 1, true);
    assert_int_equal(vmc_pic_acknowledge(b->chip), 0x31);
    vmc_pic_set_irq(b->chip, 4, true);
    vmc_pic_set_irq(b->chip, 0, true);
    out8(&b->rig, 0x20, 0xc3);
    out8(&b->rig, 0xa0, 0x11);
    out8(&b->rig, 0xa1, 0x38);
    vmc_pic_set_irq(b->chip, 11, true);
}

static void pic_use(Bench *b)
{
    for (unsigned irq = 0; irq < 16; irq++)
        vmc_pic_set_irq(b->chip, irq, irq % 3);
    vmc_pic_peek(b->chip);
    vmc_pic_acknowledge(b->chip);
    poke_ports(b, 0x20, 2);
    poke_ports(b, 0xa0, 2);
    poke_ports(b, 0x4d0, 2);
}

/* ---- RTC ---- */

CHIP(rtc, VmcRtc)

static void rtc_make(Bench *b)
{
    VmcIrq irq = rig_wire(&b->rig);
    b->chip = vmc_rtc_new(b->rig.pio, b->rig.clock, &irq);
}

static void rtc_write(Bench *b, uint8_t index, uint8_t value)
{
    out8(&b->rig, 0x70, index);
    out8(&b->rig, 0x71, value);
}

/* Another year, periodic interrupts and an alarm. */
static void rtc_unsettle(Bench *b)
{
    rtc_write(b, 9, 0x99);
    rtc_write(b, 0x0a, 0x2c);
    rtc_write(b, 0x0b, 0x72);
    rtc_write(b, 0x40, 0xa5);
    out8(&b->rig, 0x70, 0x8b);
}

static void rtc_use(Bench *b)
{
    for (unsigned i = 0; i < 256; i++) {
        out8(&b->rig, 0x70, (uint8_t)i);
        in8(&b->rig, 0x71);
        out8(&b->rig, 0x71, (uint8_t)(i * 7));
    }
}

/* ---- PM ---- */

CHIP(pm, VmcPm)

static void pm_make(Bench *b)
{
    VmcPmParams params = {
        .pio = b->rig.pio, .clock = b->rig.clock, .sci = rig_wire(&b->rig), .power_off = ignore};
    b->chip = vmc_pm_new(&params);
    vmc_pm_map(b->chip, VMC_PM_BASE, true);
}

static void pm_unsettle(Bench *b)
{
    vmc_bus_write(b->rig.pio, VMC_PM_BASE + 2, 2, 0x0101);
    vmc_bus_write(b->rig.pio, VMC_PM_BASE + 4, 4, 0x0c01);
    vmc_bus_write(b->rig.pio, VMC_PM_BASE + 0x28, 4, 0x12345678);
    vmc_bus_write(b->rig.pio, VMC_PM_BASE + 0x30, 4, 0x21);
    vmc_pm_power_button(b->chip);
}

static void pm_use(Bench *b)
{
    poke_ports(b, VMC_PM_BASE, VMC_PM_SIZE);
}

/* ---- legacy ---- */

CHIP(legacy, VmcLegacy)

static void legacy_make(Bench *b)
{
    b->chip = vmc_legacy_new(b->rig.pio, ignore, NULL);
}

static void legacy_unsettle(Bench *b)
{
    out8(&b->rig, 0x80, 0x55);
    out8(&b->rig, 0x9f, 0xaa);
    out8(&b->rig, 0x92, 0);
    out8(&b->rig, 0xb3, 7);
    out8(&b->rig, 0x64, 0xd1);
    vmc_legacy_write_cf9(b->chip, 2);
}

static void legacy_use(Bench *b)
{
    poke_ports(b, 0x60, 5);
    poke_ports(b, 0x80, 32);
    poke_ports(b, 0xb2, 2);
}

/* ---- wires ---- */

CHIP(wires, VmcWires)

static void wires_make(Bench *b)
{
    b->chip = vmc_wires_new(ignore_gsi, NULL);
    for (unsigned i = 0; i < 3; i++)
        vmc_wires_add(b->chip, 9);
    for (unsigned i = 0; i < 32; i++)
        vmc_wires_add(b->chip, 20);
}

static void wires_use(Bench *b)
{
    for (unsigned i = 0; i < 32; i++) {
        VmcIrq irq = vmc_wires_add(b->chip, i % 8);
        vmc_irq_pulse(&irq);
    }
}

static void wires_unsettle(Bench *b)
{
    VmcIrq ninth = vmc_wires_add(b->chip, 5);
    vmc_irq_set(&ninth, true);
}

/* ---- HPET ---- */

CHIP(hpet, VmcHpet)

static void ignore_message(void *opaque, uint64_t address, uint32_t data)
{
}

static void hpet_make(Bench *b)
{
    b->wires = vmc_wires_new(ignore_gsi, NULL);
    VmcHpetParams params = {.mmio = b->rig.mmio, .clock = b->rig.clock, .wires = b->wires};
    params.msi = (VmcMsi){.send = ignore_message, .opaque = b};
    b->chip = vmc_hpet_new(&params);
    VmcIrq wire = vmc_wires_add(b->wires, 8);
    vmc_hpet_gate(b->chip, VMC_HPET_GATE_RTC, &wire);
    vmc_hpet_gate(b->chip, VMC_HPET_GATE_PIT, &wire);
}

static void hpet_write(Bench *b, unsigned reg, uint64_t value)
{
    vmc_bus_write(b->rig.mmio, VMC_HPET_BASE + reg, 8, value);
}

/* Timer 0 is periodic and far away, 1 keeps its wire high, 2 is a message half programmed. */
static void hpet_unsettle(Bench *b)
{
    hpet_write(b, 0xf0, 1ull << 40);
    hpet_write(b, 0x100, 0x4c);
    hpet_write(b, 0x108, (1ull << 40) + 10000000000);
    hpet_write(b, 0x108, 5000000);
    hpet_write(b, 0x120, 21 << 9 | 6);
    hpet_write(b, 0x128, (1ull << 40) - 5);
    hpet_write(b, 0x140, 0x4104);
    hpet_write(b, 0x150, 0xfee0000000004031);
    hpet_write(b, 0x10, 1);
    vmc_bus_read(b->rig.mmio, VMC_HPET_BASE + 0x20, 8);
}

static void hpet_use(Bench *b)
{
    for (unsigned value = 0; value < 0x10000; value += 0x1111)
        for (unsigned reg = 0; reg < 0x160; reg += 8) {
            vmc_bus_read(b->rig.mmio, VMC_HPET_BASE + reg, 8);
            hpet_write(b, reg, value);
        }
}

/* ---- SMC ---- */

CHIP(smc, VmcSmc)

static void smc_make(Bench *b)
{
    static const char osk[VMC_SMC_OSK_SIZE] =
        "sixty-four letters that are nobody's, and of no use to anybody";
    b->chip = vmc_smc_new(b->rig.pio, osk);
}

/* Half way through an answer, with a key that has been written. */
static void smc_unsettle(Bench *b)
{
    static const uint8_t bytes[] = "NATJ\1\7";
    out8(&b->rig, VMC_SMC_BASE + 4, 0x11);
    for (unsigned i = 0; i < 6; i++)
        out8(&b->rig, VMC_SMC_BASE, bytes[i]);
    out8(&b->rig, VMC_SMC_BASE + 4, 0x10);
    for (unsigned i = 0; i < 5; i++)
        out8(&b->rig, VMC_SMC_BASE, (uint8_t) "REV \6"[i]);
    in8(&b->rig, VMC_SMC_BASE);
    assert_int_equal(in8(&b->rig, VMC_SMC_BASE), 0x13);
}

static void smc_use(Bench *b)
{
    for (unsigned i = 0; i < 40; i++)
        in8(&b->rig, VMC_SMC_BASE);
    poke_ports(b, VMC_SMC_BASE, VMC_SMC_SIZE);
}

/* ---- APICs ---- */

static void make_lapics(Bench *b)
{
    VmcLapicsParams params = {2, &rig_backend, &b->rig.vm, b->rig.clock};
    b->lapics = vmc_lapics_new(&params);
}

CHIP(ioapic, VmcIoapic)

static void ioapic_make(Bench *b)
{
    make_lapics(b);
    b->chip = vmc_ioapic_new(b->rig.mmio, b->lapics);
}

static void ioapic_write(Bench *b, uint8_t index, uint32_t value)
{
    vmc_bus_write(b->rig.mmio, VMC_IOAPIC_BASE, 4, index);
    vmc_bus_write(b->rig.mmio, VMC_IOAPIC_BASE + 0x10, 4, value);
}

static void ioapic_unsettle(Bench *b)
{
    ioapic_write(b, 0x00, 0x0f000000);
    ioapic_write(b, 0x20, 0x0000a940);
    ioapic_write(b, 0x21, 0x01000000);
    vmc_ioapic_set_pin(b->chip, 8, true);
    vmc_ioapic_set_pin(b->chip, 23, true);
}

static void ioapic_use(Bench *b)
{
    for (unsigned i = 0; i < 0x50; i++)
        ioapic_write(b, (uint8_t)i, 0x8000 | i * 3);
    for (unsigned pin = 0; pin < VMC_IOAPIC_PINS; pin++)
        vmc_ioapic_set_pin(b->chip, pin, pin % 2);
    for (unsigned vector = 0; vector < 256; vector++)
        vmc_ioapic_eoi(b->chip, (uint8_t)vector);
}

static void lapics_make(Bench *b)
{
    make_lapics(b);
    b->chip = b->lapics;
}

static void lapic_write(Bench *b, unsigned cpu, uint32_t offset, uint32_t value)
{
    const VmcLocalApic *face = vmc_lapics_get(b->lapics, cpu);
    face->ops->mmio_write(face->apic, offset, value);
}

/* One in xAPIC mode with a periodic timer, one interrupt in service and one waiting; one in x2APIC mode with
 * a TSC deadline. */
static void lapics_unsettle(Bench *b)
{
    VmcApicMessage m = {.dest = 0, .vector = 0x55};
    const VmcLocalApic *first = vmc_lapics_get(b->lapics, 0), *second = vmc_lapics_get(b->lapics, 1);

    lapic_write(b, 0, 0xf0, 0x1ff);
    lapic_write(b, 0, 0xd0, 0x05000000);
    lapic_write(b, 0, 0x3e0, 3);
    lapic_write(b, 0, 0x320, 0x200ef);
    lapic_write(b, 0, 0x380, 1000000000);
    assert_true(vmc_lapics_deliver(b->lapics, &m));
    assert_int_equal(first->ops->acknowledge(first->apic), 0x55);
    m.vector = 0x41;
    assert_true(vmc_lapics_deliver(b->lapics, &m));
    lapic_write(b, 0, 0x350, 0x10700);
    lapic_write(b, 0, 0x30, 0);
    vmc_lapics_set_extint(b->lapics, true);
    assert_true(second->ops->set_base(second->apic, VMC_LAPIC_BASE | 0xc00));
    assert_true(second->ops->write_msr(second->apic, 0x80f, 0x1ff));
    assert_true(second->ops->write_msr(second->apic, 0x832, 0x400ec));
    assert_true(second->ops->write_msr(second->apic, 0x6e0, vmc_now_ns() + 3600 * VMC_NS_PER_S));
}

static void lapics_use(Bench *b)
{
    for (unsigned cpu = 0; cpu < 2; cpu++) {
        const VmcLocalApic *face = vmc_lapics_get(b->lapics, cpu);
        face->ops->pending(face->apic);
        face->ops->acknowledge(face->apic);
        for (uint32_t offset = 0; offset < 0x1000; offset += 16) {
            uint64_t value;
            face->ops->mmio_read(face->apic, offset);
            face->ops->mmio_write(face->apic, offset, offset * 5);
            face->ops->read_msr(face->apic, 0x800 + offset / 16, &value);
            face->ops->write_msr(face->apic, 0x800 + offset / 16, offset % 256);
        }
        face->ops->write_msr(face->apic, 0x6e0, 1);
        face->ops->set_base(face->apic, VMC_LAPIC_BASE);
    }
}

static void lapics_save(Bench *b, VmcStateWriter *w)
{
    vmc_lapics_save(b->lapics, w);
}

static bool lapics_load(Bench *b, VmcStateReader *r)
{
    return vmc_lapics_load(b->lapics, r);
}

static void lapics_free(Bench *b)
{
}

static const Kind kinds[] = {
    KIND(pit),   KIND(pic),    KIND(rtc),    KIND(pm),   KIND(legacy),
    KIND(wires), KIND(ioapic), KIND(lapics), KIND(hpet), KIND(smc),
};

/* ---- what is asked of all of them ---- */

static void begin(Bench *b, const Kind *kind)
{
    memset(b, 0, sizeof(*b));
    rig_up(&b->rig);
    kind->make(b);
}

static void end(Bench *b, const Kind *kind)
{
    kind->free(b);
    vmc_lapics_free(b->lapics);
    if (b->wires)
        vmc_wires_free(b->wires);
    rig_down(&b->rig);
}

/* With the time, as a board does. */
static GBytes *save(Bench *b, const Kind *kind)
{
    VmcStateWriter *w = vmc_state_writer_new();

    vmc_clock_save(b->rig.clock, w);
    kind->save(b, w);
    GBytes *bytes = vmc_state_writer_take(w, NULL);
    vmc_state_writer_free(w);
    return bytes;
}

static bool load(Bench *b, const Kind *kind, const void *bytes, size_t n)
{
    VmcStateReader r;

    vmc_clock_pause(b->rig.clock);
    vmc_state_reader_init(&r, bytes, n);
    vmc_clock_load(b->rig.clock, &r);
    bool good = kind->load(b, &r);
    assert_int_equal(good, vmc_state_ok(&r));
    vmc_state_reader_clear(&r);
    return good;
}

static GBytes *odd_state(const Kind *kind)
{
    Bench b;

    begin(&b, kind);
    kind->unsettle(&b);
    vmc_clock_pause(b.rig.clock);
    g_usleep(3000); /* a timer that was on its way is through */
    GBytes *bytes = save(&b, kind);
    end(&b, kind);
    return bytes;
}

static void a_loaded_chip_is_the_one_that_was_saved(void **state)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
        const Kind *kind = &kinds[i];
        g_autoptr(GBytes) before = odd_state(kind);
        gsize n;
        const void *bytes = g_bytes_get_data(before, &n);
        Bench b;

        begin(&b, kind);
        if (strcmp(kind->name, "wires") == 0)
            vmc_wires_add(b.chip, 5); /* the one that is high */
        if (!load(&b, kind, bytes, n))
            fail_msg("the %s does not take its own state", kind->name);
        g_autoptr(GBytes) after = save(&b, kind);
        if (!g_bytes_equal(before, after))
            fail_msg("the %s saves something else than it has loaded", kind->name);
        vmc_clock_resume(b.rig.clock);
        kind->use(&b);
        end(&b, kind);
    }
}

/* Taken or refused, but nothing goes wrong, then or when it is used. */
static void a_flipped_bit_does_no_harm(void **state)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
        const Kind *kind = &kinds[i];
        g_autoptr(GBytes) before = odd_state(kind);
        gsize n;
        const uint8_t *bytes = g_bytes_get_data(before, &n);

        for (gsize at = 0; at < n; at++) {
            g_autofree uint8_t *copy = g_memdup2(bytes, n);
            Bench b;
            begin(&b, kind);
            copy[at] ^= (uint8_t)(at % 3 ? 0x80 : 0x01);
            if (load(&b, kind, copy, n)) {
                vmc_clock_resume(b.rig.clock);
                kind->use(&b);
            }
            end(&b, kind);
        }
    }
}

static void time_goes_on_where_it_stood(void **state)
{
    const Kind *pit = &kinds[0];
    g_autoptr(GBytes) before = odd_state(pit);
    gsize n;
    const void *bytes = g_bytes_get_data(before, &n);
    VmcStateReader r;
    Bench b;

    vmc_state_reader_init(&r, bytes, n);
    uint64_t then = vmc_state_get_u64(&r);
    g_usleep(20000);
    begin(&b, pit);
    assert_true(load(&b, pit, bytes, n));
    assert_int_equal(vmc_clock_now(b.rig.clock), then);
    unsigned edges = b.rig.edges;
    vmc_clock_resume(b.rig.clock);
    assert_true(vmc_clock_now(b.rig.clock) - then < VMC_NS_PER_S);
    RIG_UNTIL(b.rig.edges >= edges + 3); /* counter 0 of 100 Hz */
    end(&b, pit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loaded_chip_is_the_one_that_was_saved),
        cmocka_unit_test(a_flipped_bit_does_no_harm),
        cmocka_unit_test(time_goes_on_where_it_stood),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
