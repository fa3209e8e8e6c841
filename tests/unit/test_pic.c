/* The 8259s as a PC's software sees them. */
#include "tests/unit/pc_rig.h"

#include "pc/pic.h"

typedef struct Bench {
    Rig rig;
    VmcPic *pic;
    bool intr;
} Bench;

static void set_intr(void *opaque, bool level)
{
    ((Bench *)opaque)->intr = level;
}

/* As every operating system does it: vectors 20h and 28h, nothing masked. */
static void initialise(Bench *b, uint8_t icw4)
{
    static const uint16_t ports[] = {0x20, 0xa0};
    for (unsigned i = 0; i < 2; i++) {
        out8(&b->rig, ports[i], 0x11);
        out8(&b->rig, ports[i] + 1, 0x20 + 8 * i);
        out8(&b->rig, ports[i] + 1, i ? 2 : 4);
        out8(&b->rig, ports[i] + 1, icw4);
        out8(&b->rig, ports[i] + 1, 0);
    }
}

static int setup(void **state)
{
    Bench *b = g_new0(Bench, 1);
    rig_up(&b->rig);
    b->pic = vmc_pic_new(b->rig.pio, set_intr, b);
    initialise(b, 0x01);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    Bench *b = *state;
    vmc_pic_free(b->pic);
    rig_down(&b->rig);
    g_free(b);
    return 0;
}

static void edge_is_latched_until_acknowledged(void **state)
{
    Bench *b = *state;
    assert_int_equal(vmc_pic_peek(b->pic), -1);
    vmc_pic_set_irq(b->pic, 4, true);
    vmc_pic_set_irq(b->pic, 4, false);
    assert_true(b->intr);
    assert_int_equal(vmc_pic_peek(b->pic), 0x24);
    assert_int_equal(vmc_pic_acknowledge(b->pic), 0x24);
    assert_false(b->intr);
    out8(&b->rig, 0x20, 0x20);
    assert_int_equal(vmc_pic_peek(b->pic), -1);
}

static void higher_priority_interrupts_lower(void **state)
{
    Bench *b = *state;
    vmc_pic_set_irq(b->pic, 4, true);
    assert_int_equal(vmc_pic_acknowledge(b->pic), 0x24);
    vmc_pic_set_irq(b->pic, 7, true); /* waits */
    assert_false(b->intr);
    vmc_pic_set_irq(b->pic, 1, true); /* does not */
    assert_int_equal(vmc_pic_acknowledge(b->pic), 0x21);
    out8(&b->rig, 0x20, 0x20); /* ends 1 */
    assert_false(b->intr);
    out8(&b->rig, 0x20, 0x20); /* ends 4 */
    assert_int_equal(vmc_pic_acknowledge(b->pic), 0x27);
}

static void slave_goes_through_the_cascade(void **state)
{
    Bench *b = *state;
    vmc_pic_set_irq(b->pic, 12, true);
    assert_int_equal(vmc_pic_acknowledge(b->pic), 0x2c);
    out8(&b->rig, 0x20, 0x0b);
    assert_int_equal(in8(&b->rig, 0x20), 0x04);
    out8(&b->rig, 0xa0, 0x0b);
    assert_int_equal(in8(&b->rig, 0xa0), 0x10);
    /* A second one of the slave, of higher priority, is only let through once the master's level is ended. */
    vmc_pic_set_irq(b->pic, 8, true);
    out8(&b->rig, 0xa0, 0x20);
    out8(&b->rig, 0x20, 0x20);
    assert_int_equal(vmc_pic_acknowledge(b->pic), 0x28);
}

static void level_comes_again_while_it_is_high(void **state)
{
    Bench *b = *state;
    out8(&b->rig, 0x4d1, 0xff);
    assert_int_equal(in8(&b->rig, 0x4d1), 0xde); /* 8 and 13 stay edge triggered */
    vmc_pic_set_irq(b->pic, 10, true);
    assert_int_equal(vmc_pic_acknowledge(b->pic), 0x2a);
    out8(&b->rig, 0xa0, 0x20);
    out8(&b->rig, 0x20, 0x20);
    assert_int_equal(vmc_pic_acknowledge(b->pic), 0x2a);
    vmc_pic_set_irq(b->pic, 10, false);
    out8(&b->rig, 0xa0, 0x20);
    out8(&b->rig, 0x20, 0x20);
    assert_int_equal(vmc_pic_peek(b->pic), -1);
}

static void gone_interrupt_is_spurious(void **state)
{
    Bench *b = *state;
    out8(&b->rig, 0x21, 0xff);
    assert_int_equal(in8(&b->rig, 0x21), 0xff);
    assert_int_equal(vmc_pic_acknowledge(b->pic), 0x27);
    out8(&b->rig, 0x20, 0x0b);
    assert_int_equal(in8(&b->rig, 0x20), 0); /* and is not in service */
}

static void mask_holds_back_but_remembers(void **state)
{
    Bench *b = *state;
    out8(&b->rig, 0x21, 0x10);
    vmc_pic_set_irq(b->pic, 4, true);
    assert_false(b->intr);
    out8(&b->rig, 0x21, 0x00);
    assert_true(b->intr);
}

static void rotation_moves_the_lowest_priority(void **state)
{
    Bench *b = *state;
    vmc_pic_set_irq(b->pic, 3, true);
    assert_int_equal(vmc_pic_acknowledge(b->pic), 0x23);
    out8(&b->rig, 0x20, 0xa0); /* rotate on non-specific EOI: 3 is the lowest now */
    vmc_pic_set_irq(b->pic, 3, false);
    vmc_pic_set_irq(b->pic, 3, true);
    vmc_pic_set_irq(b->pic, 6, true);
    assert_int_equal(vmc_pic_acknowledge(b->pic), 0x26);
    out8(&b->rig, 0x20, 0x66); /* specific EOI */
    assert_int_equal(vmc_pic_acknowledge(b->pic), 0x23);
}

static void special_mask_lets_lower_through(void **state)
{
    Bench *b = *state;
    vmc_pic_set_irq(b->pic, 1, true);
    assert_int_equal(vmc_pic_acknowledge(b->pic), 0x21);
    vmc_pic_set_irq(b->pic, 5, true);
    assert_false(b->intr);
    out8(&b->rig, 0x21, 0x02);
    out8(&b->rig, 0x20, 0x68);
    assert_int_equal(vmc_pic_acknowledge(b->pic), 0x25);
}

static void poll_acknowledges(void **state)
{
    Bench *b = *state;
    vmc_pic_set_irq(b->pic, 6, true);
    out8(&b->rig, 0x20, 0x0c);
    assert_int_equal(in8(&b->rig, 0x20), 0x86);
    assert_false(b->intr);
    out8(&b->rig, 0x20, 0x0c);
    assert_int_equal(in8(&b->rig, 0x20), 0x00);
}

static void automatic_eoi_leaves_nothing_in_service(void **state)
{
    Bench *b = *state;
    initialise(b, 0x03);
    vmc_pic_set_irq(b->pic, 4, true);
    assert_int_equal(vmc_pic_acknowledge(b->pic), 0x24);
    out8(&b->rig, 0x20, 0x0b);
    assert_int_equal(in8(&b->rig, 0x20), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(edge_is_latched_until_acknowledged),
        T(higher_priority_interrupts_lower),
        T(slave_goes_through_the_cascade),
        T(level_comes_again_while_it_is_high),
        T(gone_interrupt_is_spurious),
        T(mask_holds_back_but_remembers),
        T(rotation_moves_the_lowest_priority),
        T(special_mask_lets_lower_through),
        T(poll_acknowledges),
        T(automatic_eoi_leaves_nothing_in_service),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
