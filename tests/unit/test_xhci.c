/* The xHCI as a driver uses it, and as none should: registers, rings, commands, events, ports. */
#include "tests/unit/xhci_rig.h"

#include "usb/hid.h"

static int setup(void **state)
{
    Xr *x = g_new0(Xr, 1);

    xr_init(x);
    xr_enable_msix(x);
    *state = x;
    return 0;
}

static int setup_wire(void **state)
{
    Xr *x = g_new0(Xr, 1);

    xr_init(x);
    *state = x;
    return 0;
}

static int teardown(void **state)
{
    xr_clear(*state);
    g_free(*state);
    return 0;
}

static VmcUsbDevice *plug_tablet(Xr *x)
{
    VmcUsbDevice *dev = vmc_usb_tablet_new();

    assert_true(vmc_xhci_attach(x->rig.dev, dev, NULL));
    return dev;
}

/* A running controller with a tablet that has an address, on port 1. */
static VmcUsbDevice *start_with_tablet(Xr *x, XrDevice *dev)
{
    VmcUsbDevice *tablet = plug_tablet(x);

    xr_start(x);
    xr_reset_port(x, 1);
    xr_address(x, dev, 1, 0);
    return tablet;
}

static void configure_tablet(Xr *x, XrDevice *dev)
{
    assert_int_equal(xr_add_endpoint(x, dev, 3, 7, 8), XR_SUCCESS);
    xr_request(x, dev, 0, 9, 1, 0, 0);
}

static void move_pointer(VmcUsbDevice *tablet, unsigned at)
{
    VmcPointer *pointer = vmc_usb_pointer_input(tablet);

    pointer->ops->move(pointer, at, at);
    pointer->ops->sync(pointer);
}

/* ---- registers ---- */

static void test_says_what_it_is(void **state)
{
    Xr *x = *state;
    unsigned protocols = 0;

    assert_int_equal(rig_config(&x->rig, PCI_CLASS_REVISION, 4) >> 8, 0x0c0330);
    assert_int_equal(xr_read(x, 0), 0x01000040);
    assert_int_equal(xr_read(x, 4) & 0xff, 64);
    assert_int_equal(xr_read(x, 4) >> 24, XR_PORTS);
    assert_true((xr_read(x, 4) >> 8 & 0x7ff) >= 4);
    assert_int_equal(xr_read(x, 0x14), XR_DB);
    assert_int_equal(xr_read(x, 0x18), XR_RT);
    assert_int_equal(xr_read(x, XR_OP + 4), 1);
    /* Narrow and wide reads see the same. */
    assert_int_equal(vmc_bus_read(x->rig.mmio, x->bar, 1), 0x40);
    assert_int_equal(vmc_bus_read(x->rig.mmio, x->bar + 2, 2), 0x0100);
    assert_int_equal(vmc_bus_read(x->rig.mmio, x->bar, 8) >> 32, xr_read(x, 4));
    for (unsigned at = xr_read(x, 0x10) >> 16 << 2, next = 1; next; at += next) {
        uint32_t cap = xr_read(x, at);
        next = (cap >> 8 & 0xff) << 2;
        if ((cap & 0xff) != 2)
            continue;
        protocols++;
        assert_int_equal(xr_read(x, at + 4), 0x20425355);
        assert_int_equal(xr_read(x, at + 8), cap >> 24 == 3 ? 0x405 : 0x401);
    }
    assert_int_equal(protocols, 2);
}

static void test_firmware_hands_it_over(void **state)
{
    Xr *x = *state;
    unsigned at = xr_read(x, 0x10) >> 16 << 2;

    assert_int_equal(xr_read(x, at) & 0xff, 1);
    xr_write(x, at, 1 << 16);
    assert_true(xr_read(x, at) & 1 << 16);
    vmc_bus_write(x->rig.mmio, x->bar + at + 3, 1, 1); /* as Linux asks for it: a byte */
    assert_int_equal(xr_read(x, at) & 0x01010000, 0x01000000);
    xr_write(x, at + 4, 0xffffffff);
    assert_int_equal(xr_read(x, at + 4), 0xe011);
}

static void test_frame_counter_runs(void **state)
{
    Xr *x = *state;
    uint32_t before;

    xr_start(x);
    before = xr_read(x, XR_RT);
    xr_await(x, XR_RT, 0, 0);
    for (int64_t end = g_get_monotonic_time() + XR_WAIT; xr_read(x, XR_RT) == before; g_usleep(500))
        assert_true(g_get_monotonic_time() < end);
}

static void test_state_that_was_not_saved_cannot_be_restored(void **state)
{
    Xr *x = *state;

    xr_write(x, XR_OP, 1 << 9);
    assert_true(xr_read(x, XR_OP + 4) & 1 << 10);
    xr_write(x, XR_OP + 4, 1 << 10);
    xr_write(x, XR_OP, 1 << 8);
    assert_false(xr_read(x, XR_OP + 4) & 3 << 8);
    xr_write(x, XR_OP, 1 << 9);
    assert_false(xr_read(x, XR_OP + 4) & 1 << 10);
}

/* ---- commands ---- */

static void test_commands_are_answered(void **state)
{
    Xr *x = *state;

    xr_start(x);
    /* More than the ring has, so through its link several times. */
    for (unsigned i = 0; i < 3 * XR_TRBS; i++)
        assert_int_equal(xr_command(x, 0, 23, 0, 0), XR_SUCCESS);
    assert_true(xr_read(x, XR_OP + 0x18) & 8);
    for (unsigned type = 18; type < 64; type++)
        if (type != 21 && type != 23)
            assert_int_equal(xr_command(x, 0, type, 0, 0), XR_TRB_ERROR);
    assert_int_equal(xr_command(x, 0, 1, 0, 0), XR_TRB_ERROR);
    assert_int_equal(xr_command(x, x->scratch, 21, 0, 0), XR_SUCCESS);
    assert_int_equal(((uint8_t *)xr_data(x, 16))[1], 80);
    assert_int_equal(xr_command(x, RIG_HOLE, 21, 0, 0), XR_PARAMETER);
}

static void test_slots_run_out(void **state)
{
    Xr *x = *state;

    xr_start(x);
    for (unsigned i = 1; i <= 64; i++)
        assert_int_equal(xr_command_event(x, 0, 9 << 10).control >> 24, i);
    assert_int_equal(xr_command(x, 0, 9, 0, 0), XR_NO_SLOTS);
    assert_int_equal(xr_command(x, 0, 10, 7, 0), XR_SUCCESS);
    assert_int_equal(xr_command_event(x, 0, 9 << 10).control >> 24, 7);
    /* Commands for slots there are not. */
    assert_int_equal(xr_command(x, 0, 10, 0, 0), XR_NOT_ENABLED);
    assert_int_equal(xr_command(x, 0, 15, 65, 1 << 16), XR_NOT_ENABLED);
    assert_int_equal(xr_command(x, 0, 11, 255, 0), XR_NOT_ENABLED);
}

static void test_stopping_the_command_ring(void **state)
{
    Xr *x = *state;

    xr_start(x);
    assert_int_equal(xr_command(x, 0, 23, 0, 0), XR_SUCCESS);
    xr_write64(x, XR_OP + 0x18, 2);
    XrTrb event = xr_event(x);
    assert_int_equal(xr_code(event), XR_RING_STOPPED);
    assert_int_equal(event.parameter, x->commands.base + 16);
    assert_false(xr_read(x, XR_OP + 0x18) & 8);
    /* It goes on where it was, or elsewhere when told. */
    assert_int_equal(xr_command(x, 0, 23, 0, 0), XR_SUCCESS);
    xr_write64(x, XR_OP + 0x18, 4);
    assert_int_equal(xr_code(xr_event(x)), XR_RING_STOPPED);
    x->commands = xr_ring(x);
    xr_write64(x, XR_OP + 0x18, x->commands.base | 1);
    assert_int_equal(xr_command(x, 0, 23, 0, 0), XR_SUCCESS);
}

static void expect_internal_error(Xr *x)
{
    xr_await(x, XR_OP + 4, 1 << 12, 1 << 12);
    assert_true(xr_read(x, XR_OP + 4) & 1);
    /* A reset helps. */
    xr_start(x);
    assert_int_equal(xr_command(x, 0, 23, 0, 0), XR_SUCCESS);
}

static void test_a_command_ring_nowhere(void **state)
{
    Xr *x = *state;

    xr_start(x);
    xr_write64(x, XR_OP + 0x18, RIG_HOLE | 1);
    xr_write(x, XR_DB, 0);
    expect_internal_error(x);
}

static void test_links_without_end(void **state)
{
    Xr *x = *state;

    xr_start(x);
    XrTrb *link = xr_trb(x, x->commands.base);
    link->parameter = x->commands.base;
    link->control = 6 << 10 | 1;
    xr_write(x, XR_DB, 0);
    expect_internal_error(x);
}

static void test_an_event_ring_nowhere(void **state)
{
    Xr *x = *state;
    uint32_t *table;

    xr_start(x);
    table = rig_host(&x->rig, x->events[0].table, 16);
    table[0] = (uint32_t)RIG_ROM; /* may be read, not written */
    xr_write64(x, XR_RT + 0x30, x->events[0].table);
    xr_put(x, &x->commands, 0, 0, 23 << 10);
    xr_write(x, XR_DB, 0);
    expect_internal_error(x);
    table = rig_host(&x->rig, x->events[0].table, 16);
    table[2] = 3; /* fewer TRBs than there may be */
    xr_write64(x, XR_RT + 0x30, x->events[0].table);
    xr_put(x, &x->commands, 0, 0, 23 << 10);
    xr_write(x, XR_DB, 0);
    expect_internal_error(x);
}

/* ---- events ---- */

static void test_a_full_event_ring_loses_nothing(void **state)
{
    Xr *x = *state;

    xr_start(x);
    xr_set_events(x, 0, 1, 16);
    /* Nobody looks, and the ring is full after 15. */
    for (unsigned i = 0; i < 4; i++)
        for (unsigned n = 0; n < XR_TRBS - 2; n++) {
            xr_put(x, &x->commands, 0, 0, 23 << 10);
            xr_write(x, XR_DB, 0);
            if (i)
                assert_int_equal(xr_code(xr_event(x)), XR_SUCCESS);
        }
    for (unsigned n = 0; n < XR_TRBS - 2; n++)
        assert_int_equal(xr_code(xr_event(x)), XR_SUCCESS);
    xr_expect_quiet(x, 0);
}

static void test_event_ring_of_segments(void **state)
{
    Xr *x = *state;

    xr_start(x);
    xr_set_events(x, 0, 3, 16);
    for (unsigned i = 0; i < 120; i++)
        assert_int_equal(xr_command(x, 0, 23, 0, 0), XR_SUCCESS);
}

static void test_messages(void **state)
{
    Xr *x = *state;

    xr_start(x);
    assert_int_equal(x->vectors, 8);
    assert_int_equal(xr_command(x, 0, 23, 0, 0), XR_SUCCESS);
    g_mutex_lock(&x->rig.lock);
    assert_true(x->rig.interrupts[0] >= 1);
    g_mutex_unlock(&x->rig.lock);
    assert_true(xr_read(x, XR_OP + 4) & 8);
    xr_write(x, XR_OP + 4, 8);
    assert_false(xr_read(x, XR_OP + 4) & 8);
    /* No more of them until the handler says it is through. */
    for (unsigned i = 0; i < 5; i++)
        xr_put(x, &x->commands, 0, 0, 23 << 10);
    unsigned before = x->rig.interrupts[0];
    xr_write(x, XR_DB, 0);
    xr_await(x, XR_RT + 0x20 + 0x18, 8, 8);
    g_usleep(20000);
    assert_int_equal(x->rig.interrupts[0], before + 1);
}

static void test_wire(void **state)
{
    Xr *x = *state;

    xr_start(x);
    xr_set_events(x, 1, 1, 16);
    xr_put(x, &x->commands, 0, 0, 23 << 10);
    xr_write(x, XR_DB, 0);
    for (int64_t end = g_get_monotonic_time() + XR_WAIT; !x->rig.intx; g_usleep(200))
        assert_true(g_get_monotonic_time() < end);
    assert_int_equal(xr_read(x, XR_RT + 0x20) & 3, 3);
    xr_event(x);
    xr_write(x, XR_RT + 0x20, 3);
    assert_false(x->rig.intx);
}

static void test_events_go_where_the_transfer_says(void **state)
{
    Xr *x = *state;
    XrDevice dev;
    VmcUsbDevice *tablet = start_with_tablet(x, &dev);

    configure_tablet(x, &dev);
    xr_set_events(x, 3, 1, 16);
    xr_put(x, &dev.rings[3], x->scratch, 3u << 22 | 8, 1 << 10 | 1 << 5);
    xr_ring_endpoint(x, &dev, 3);
    move_pointer(tablet, 100);
    XrTrb event = xr_event_at(x, 3);
    assert_int_equal(xr_type(event), 32);
    for (int64_t end = g_get_monotonic_time() + XR_WAIT; !x->rig.interrupts[3]; g_usleep(200))
        assert_true(g_get_monotonic_time() < end);
}

static void test_without_messages_all_events_go_to_the_first(void **state)
{
    Xr *x = *state;
    XrDevice dev;
    VmcUsbDevice *tablet = start_with_tablet(x, &dev);

    configure_tablet(x, &dev);
    xr_put(x, &dev.rings[3], x->scratch, 2u << 22 | 8, 1 << 10 | 1 << 5);
    xr_ring_endpoint(x, &dev, 3);
    move_pointer(tablet, 100);
    assert_int_equal(xr_type(xr_event(x)), 32);
}

/* ---- ports ---- */

static void test_a_port_is_reset(void **state)
{
    Xr *x = *state;

    plug_tablet(x);
    xr_start(x);
    assert_int_equal(xr_portsc(x, 1) & 0x3e00ff, 1 << 17 | 0xe1); /* there, changed, polling, not enabled */
    assert_int_equal(xr_portsc(x, 2) & 0x3e00ff, 0xa0);
    xr_reset_port(x, 1);
    assert_int_equal(xr_portsc(x, 1) >> 10 & 15, 3);
    assert_int_equal(xr_portsc(x, 1) & 0x1ef, 3); /* U0 */
    assert_int_equal(xr_command(x, 0, 23, 0, 0), XR_SUCCESS);
    assert_true(x->ports->len >= 1);
    assert_int_equal(g_array_index(x->ports, unsigned, 0), 1);
    xr_set_portsc(x, 1, 1 << 17);
    assert_false(xr_portsc(x, 1) & 1 << 17);
    /* Disabled by writing PED. An empty port does nothing on a reset. */
    xr_set_portsc(x, 1, 2);
    assert_false(xr_portsc(x, 1) & 2);
    xr_set_portsc(x, 2, 1 << 4);
    assert_false(xr_portsc(x, 2) & 0x200012);
}

static void expect_link(Xr *x, unsigned port, unsigned state)
{
    assert_int_equal(xr_portsc(x, port) >> 5 & 15, state);
}

static void set_link(Xr *x, unsigned port, unsigned state)
{
    xr_set_portsc(x, port, 1 << 16 | state << 5);
}

static void test_a_port_sleeps_and_is_woken_by_its_device(void **state)
{
    Xr *x = *state;
    XrDevice dev;
    VmcUsbDevice *tablet = start_with_tablet(x, &dev);

    configure_tablet(x, &dev);
    set_link(x, 1, 3);
    expect_link(x, 1, 3);
    /* The driver wakes it: resume, then U0. */
    set_link(x, 1, 15);
    expect_link(x, 1, 15);
    set_link(x, 1, 0);
    expect_link(x, 1, 0);
    assert_true(xr_portsc(x, 1) & 1 << 22);
    xr_set_portsc(x, 1, 1 << 22);
    /* The device may not, and then it may. */
    set_link(x, 1, 3);
    move_pointer(tablet, 1);
    g_usleep(20000);
    expect_link(x, 1, 3);
    set_link(x, 1, 0);
    xr_set_portsc(x, 1, 1 << 22);
    xr_request(x, &dev, 0, 3, 1, 0, 0);
    set_link(x, 1, 3);
    move_pointer(tablet, 2);
    xr_await(x, XR_PORTSC, 15 << 5 | 1 << 22, 15 << 5 | 1 << 22);
}

static void test_unplugged_while_waiting(void **state)
{
    Xr *x = *state;
    XrDevice dev;
    VmcUsbDevice *tablet = start_with_tablet(x, &dev);

    configure_tablet(x, &dev);
    uint64_t at = xr_queue(x, &dev, 3, x->scratch, 8);
    xr_expect_quiet(x, 0);
    vmc_xhci_detach(x->rig.dev, tablet);
    vmc_usb_device_free(tablet);
    XrTrb event = xr_event(x);
    assert_int_equal(event.parameter, at);
    assert_int_equal(xr_code(event), XR_TRANSACTION_ERROR);
    assert_int_equal(xr_portsc(x, 1) & (1 | 2 | 1 << 17), 1 << 17);
    assert_int_equal(xr_control(x, &dev, 0x80, 0, 0, 0, 2).code, XR_TRANSACTION_ERROR);
    assert_int_equal(xr_command(x, 0, 10, dev.slot, 0), XR_SUCCESS);
    /* Another takes its place. */
    plug_tablet(x);
    xr_reset_port(x, 1);
    xr_address(x, &dev, 1, 0);
}

/* ---- slots and endpoints ---- */

static void test_addresses(void **state)
{
    Xr *x = *state;
    XrDevice dev, other;

    start_with_tablet(x, &dev);
    assert_int_equal(xr_command(x, dev.input, 11, dev.slot, 0), XR_CONTEXT_STATE);
    /* Nobody there, a port there is not, a route to nowhere, a device that has a slot. */
    xr_enable_slot(x, &other, 3, 0);
    assert_int_equal(xr_command(x, other.input, 11, other.slot, 0), XR_TRANSACTION_ERROR);
    xr_context(x, other.input, 1)[1] = 200 << 16;
    assert_int_equal(xr_command(x, other.input, 11, other.slot, 0), XR_TRANSACTION_ERROR);
    xr_context(x, other.input, 1)[1] = 1 << 16;
    xr_context(x, other.input, 1)[0] |= 5;
    assert_int_equal(xr_command(x, other.input, 11, other.slot, 0), XR_TRANSACTION_ERROR);
    xr_context(x, other.input, 1)[0] &= ~0xfffffu;
    assert_int_equal(xr_command(x, other.input, 11, other.slot, 0), XR_TRANSACTION_ERROR);
    /* Contexts that are no good. */
    xr_context(x, other.input, 0)[1] = 1;
    assert_int_equal(xr_command(x, other.input, 11, other.slot, 0), XR_PARAMETER);
    assert_int_equal(xr_command(x, RIG_HOLE, 11, other.slot, 0), XR_PARAMETER);
    xr_context(x, other.input, 0)[1] = 3;
    ((uint64_t *)rig_host(&x->rig, x->dcbaa, 8 * 65))[other.slot] = RIG_HOLE;
    assert_int_equal(xr_command(x, other.input, 11, other.slot, 0), XR_PARAMETER);
    /* Given back and taken anew, in two steps this time. */
    assert_int_equal(xr_command(x, 0, 10, dev.slot, 0), XR_SUCCESS);
    xr_enable_slot(x, &dev, 1, 0);
    assert_int_equal(xr_command(x, dev.input, 11, dev.slot, 1 << 9), XR_SUCCESS);
    assert_int_equal(xr_context(x, dev.context, 0)[3], 1u << 27);
    xr_request(x, &dev, 0x80, 6, 0x100, 0, 8);
    xr_fill_endpoint(x, &dev, 1, 4, 64);
    assert_int_equal(xr_command(x, dev.input, 11, dev.slot, 0), XR_SUCCESS);
    xr_request(x, &dev, 0x80, 6, 0x100, 0, 18);
}

static void test_endpoints_come_and_go(void **state)
{
    Xr *x = *state;
    XrDevice dev;
    uint32_t *control;

    start_with_tablet(x, &dev);
    control = xr_context(x, dev.input, 0);
    assert_int_equal(xr_add_endpoint(x, &dev, 3, 7, 8), XR_SUCCESS);
    assert_int_equal(xr_endpoint_state(x, &dev, 3), 1);
    assert_int_equal(xr_context(x, dev.context, 0)[3] >> 27, 3);
    /* Types that do not go with the direction, isochronous ones, no packet size, streams. */
    assert_int_equal(xr_add_endpoint(x, &dev, 4, 7, 8), XR_PARAMETER);
    assert_int_equal(xr_add_endpoint(x, &dev, 5, 2, 8), XR_PARAMETER);
    assert_int_equal(xr_add_endpoint(x, &dev, 5, 5, 8), XR_PARAMETER);
    assert_int_equal(xr_add_endpoint(x, &dev, 5, 6, 0), XR_PARAMETER);
    control[0] = 2;
    assert_int_equal(xr_command(x, dev.input, 12, dev.slot, 0), XR_PARAMETER);
    control[0] = 1 << 3;
    control[1] = 1;
    assert_int_equal(xr_command(x, dev.input, 12, dev.slot, 0), XR_SUCCESS);
    assert_int_equal(xr_endpoint_state(x, &dev, 3), 0);
    assert_int_equal(xr_add_endpoint(x, &dev, 3, 7, 8), XR_SUCCESS);
    assert_int_equal(xr_command(x, 0, 12, dev.slot, 1 << 9), XR_SUCCESS);
    assert_int_equal(xr_endpoint_state(x, &dev, 3), 0);
    assert_int_equal(xr_context(x, dev.context, 0)[3] >> 27, 2);
    /* Evaluate Context: the packet size of endpoint 0, an interrupter. */
    control[0] = 0;
    control[1] = 3;
    xr_context(x, dev.input, 2)[1] = 8 << 16 | 4 << 3;
    xr_context(x, dev.input, 1)[2] = 5u << 22;
    assert_int_equal(xr_command(x, dev.input, 13, dev.slot, 0), XR_SUCCESS);
    assert_int_equal(xr_context(x, dev.context, 1)[1] >> 16, 8);
    assert_int_equal(xr_context(x, dev.context, 0)[2] >> 22, 5);
    control[1] = 4;
    assert_int_equal(xr_command(x, dev.input, 13, dev.slot, 0), XR_PARAMETER);
    /* Reset Device leaves endpoint 0. */
    assert_int_equal(xr_command(x, 0, 17, dev.slot, 0), XR_SUCCESS);
    assert_int_equal(xr_context(x, dev.context, 0)[3] >> 27, 1);
    assert_int_equal(xr_command(x, 0, 17, dev.slot, 0), XR_CONTEXT_STATE);
    assert_int_equal(xr_command(x, dev.input, 12, dev.slot, 0), XR_CONTEXT_STATE);
}

static void test_stopping_a_transfer_and_going_on(void **state)
{
    Xr *x = *state;
    XrDevice dev;
    VmcUsbDevice *tablet = start_with_tablet(x, &dev);

    configure_tablet(x, &dev);
    assert_int_equal(xr_command(x, 0, 14, dev.slot, 3 << 16), XR_CONTEXT_STATE);
    assert_int_equal(xr_command(x, 0, 16, dev.slot, 3 << 16), XR_CONTEXT_STATE);
    assert_int_equal(xr_command(x, 0, 15, dev.slot, 0), XR_TRB_ERROR);
    uint64_t first = xr_queue(x, &dev, 3, x->scratch, 8);
    xr_expect_quiet(x, 0);
    xr_put(x, &x->commands, 0, 0, 15u << 10 | dev.slot << 24 | 3 << 16);
    xr_write(x, XR_DB, 0);
    XrTrb event = xr_event(x);
    assert_int_equal(xr_code(event), XR_STOPPED);
    assert_int_equal(event.parameter, first);
    assert_int_equal(event.status & 0xffffff, 8);
    assert_int_equal(xr_code(xr_event(x)), XR_SUCCESS);
    assert_int_equal(xr_endpoint_state(x, &dev, 3), 3);
    assert_int_equal(xr_command(x, 0, 15, dev.slot, 3 << 16), XR_CONTEXT_STATE);
    /* What the device has to say waits for the doorbell; then the same transfer is begun anew. */
    move_pointer(tablet, 0x1234);
    xr_expect_quiet(x, 0);
    xr_ring_endpoint(x, &dev, 3);
    event = xr_event(x);
    assert_int_equal(event.parameter, first);
    assert_int_equal(xr_code(event), XR_SHORT);
    assert_int_equal(event.status & 0xffffff, 1);
    assert_int_equal(((uint8_t *)xr_data(x, 8))[2], 0x12);
}

/* ---- transfers ---- */

static void expect_trb_error(Xr *x, XrDevice *dev, unsigned index, uint64_t parameter, uint32_t status,
                             uint32_t control)
{
    XrRing *ring = &dev->rings[index];
    uint64_t at = xr_put(x, ring, parameter, status, control);

    xr_ring_endpoint(x, dev, index);
    XrTrb event = xr_event(x);
    assert_int_equal(xr_code(event), XR_TRB_ERROR);
    assert_int_equal(event.parameter, at);
    assert_int_equal(xr_endpoint_state(x, dev, index), 4);
    assert_int_equal(
        xr_command(x, (ring->base + 16ull * ring->next) | ring->cycle, 16, dev->slot, index << 16),
        XR_SUCCESS);
}

static void test_transfers_that_are_none(void **state)
{
    Xr *x = *state;
    XrDevice dev;

    start_with_tablet(x, &dev);
    configure_tablet(x, &dev);
    expect_trb_error(x, &dev, 3, RIG_HOLE, 8, 1 << 10);       /* no memory */
    expect_trb_error(x, &dev, 3, RIG_ROM, 8, 1 << 10);        /* read-only memory, to be written */
    expect_trb_error(x, &dev, 3, x->bar, 8, 1 << 10);         /* a device's registers */
    expect_trb_error(x, &dev, 3, RIG_RAM - 4, 8, 1 << 10);    /* beyond its end */
    expect_trb_error(x, &dev, 3, UINT64_MAX - 3, 8, 1 << 10); /* beyond the end of everything */
    expect_trb_error(x, &dev, 3, 0, 0x10001, 1 << 10);        /* longer than a TRB may be */
    expect_trb_error(x, &dev, 3, 0, 8, 1 << 10 | 1 << 6);     /* immediate data to the guest */
    expect_trb_error(x, &dev, 3, 0, 8, 5 << 10);              /* isochronous */
    expect_trb_error(x, &dev, 3, 0, 8, 9 << 10);              /* a command */
    expect_trb_error(x, &dev, 1, x->scratch, 8, 1 << 10);     /* data without a setup stage */
    expect_trb_error(x, &dev, 1, 0, 0, 4 << 10);              /* status without a setup stage */
    expect_trb_error(x, &dev, 1, 0, 9, 2 << 10 | 1 << 6);     /* a setup stage of nine bytes */
    expect_trb_error(x, &dev, 1, x->scratch, 8, 2 << 10);     /* or that is somewhere else */
    /* Nothing of that stays behind. */
    xr_request(x, &dev, 0x80, 6, 0x100, 0, 18);
}

static void test_a_transfer_in_many_pieces(void **state)
{
    Xr *x = *state;
    XrDevice dev;
    VmcUsbDevice *tablet = start_with_tablet(x, &dev);
    uint8_t *data = xr_data(x, 64);

    configure_tablet(x, &dev);
    memset(data, 0xee, 64);
    /* One byte in a TRB, with no-ops between; an event data TRB tells of all of it. */
    for (unsigned i = 0; i < 6; i++) {
        xr_put(x, &dev.rings[3], x->scratch + 2 * i, 1, 1 << 10 | 16);
        xr_put(x, &dev.rings[3], 0, 0, 8 << 10 | 16);
    }
    xr_put(x, &dev.rings[3], x->scratch + 40, 1, 1 << 10 | 16);
    xr_put_held(x, &dev.rings[3], 0xfeedface12345678, 0, 7 << 10 | 1 << 5, true);
    xr_ring_endpoint(x, &dev, 3);
    move_pointer(tablet, 0x0102);
    xr_expect_quiet(x, 0); /* the last TRB is still the driver's */
    dev.rings[3].next--;
    xr_put(x, &dev.rings[3], 0xfeedface12345678, 0, 7 << 10 | 1 << 5);
    xr_ring_endpoint(x, &dev, 3);
    XrTrb event = xr_event(x);
    assert_int_equal(event.parameter, 0xfeedface12345678);
    assert_int_equal(event.status, XR_SUCCESS << 24 | 7);
    assert_true(event.control & 4);
    assert_int_equal(data[2], 2);
    assert_int_equal(data[4], 1);
    assert_int_equal(data[1], 0xee);
}

static void test_a_chain_without_end(void **state)
{
    Xr *x = *state;
    XrDevice dev;

    start_with_tablet(x, &dev);
    configure_tablet(x, &dev);
    /* A ring that is its own continuation, with the same cycle bit for ever. */
    for (unsigned i = 0; i < XR_TRBS - 1; i++) {
        XrTrb *trb = xr_trb(x, dev.rings[3].base + 16 * i);
        trb->parameter = x->scratch;
        trb->status = 1;
        trb->control = 1 << 10 | 16 | 1;
    }
    XrTrb *link = xr_trb(x, dev.rings[3].base + 16 * (XR_TRBS - 1));
    link->parameter = dev.rings[3].base;
    link->control = 6 << 10 | 16 | 1;
    xr_ring_endpoint(x, &dev, 3);
    assert_int_equal(xr_code(xr_event(x)), XR_TRB_ERROR);
    assert_int_equal(xr_endpoint_state(x, &dev, 3), 4);
}

static void test_nothing_moves_without_bus_master(void **state)
{
    Xr *x = *state;
    XrDevice dev;
    VmcUsbDevice *tablet = start_with_tablet(x, &dev);

    configure_tablet(x, &dev);
    xr_queue(x, &dev, 3, x->scratch, 8);
    xr_expect_quiet(x, 0);
    rig_set_config(&x->rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    move_pointer(tablet, 5);
    xr_expect_quiet(x, 0);
    rig_set_config(&x->rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    xr_ring_endpoint(x, &dev, 3);
    assert_int_equal(xr_code(xr_event(x)), XR_SHORT);
}

static void test_reset_while_a_transfer_waits(void **state)
{
    Xr *x = *state;
    XrDevice dev;
    VmcUsbDevice *tablet = start_with_tablet(x, &dev);

    configure_tablet(x, &dev);
    xr_queue(x, &dev, 3, x->scratch, 8);
    xr_start(x);
    move_pointer(tablet, 5);
    xr_reset_port(x, 1);
    xr_address(x, &dev, 1, 0);
    assert_int_equal(xr_control(x, &dev, 0x80, 8, 0, 0, 1).code, XR_SUCCESS);
    assert_int_equal(*(uint8_t *)xr_data(x, 1), 0);
    vmc_pci_bus_reset(x->rig.pci);
    assert_int_equal(xr_read(x, XR_OP + 4), 0xffffffff); /* its BAR is gone with the rest */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_says_what_it_is, setup, teardown),
        cmocka_unit_test_setup_teardown(test_firmware_hands_it_over, setup, teardown),
        cmocka_unit_test_setup_teardown(test_frame_counter_runs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_state_that_was_not_saved_cannot_be_restored, setup, teardown),
        cmocka_unit_test_setup_teardown(test_commands_are_answered, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slots_run_out, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stopping_the_command_ring, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_command_ring_nowhere, setup, teardown),
        cmocka_unit_test_setup_teardown(test_links_without_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_event_ring_nowhere, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_full_event_ring_loses_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_event_ring_of_segments, setup, teardown),
        cmocka_unit_test_setup_teardown(test_messages, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wire, setup_wire, teardown),
        cmocka_unit_test_setup_teardown(test_events_go_where_the_transfer_says, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_messages_all_events_go_to_the_first, setup_wire,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_port_is_reset, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_port_sleeps_and_is_woken_by_its_device, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unplugged_while_waiting, setup, teardown),
        cmocka_unit_test_setup_teardown(test_addresses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_endpoints_come_and_go, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stopping_a_transfer_and_going_on, setup, teardown),
        cmocka_unit_test_setup_teardown(test_transfers_that_are_none, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_transfer_in_many_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_chain_without_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_moves_without_bus_master, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reset_while_a_transfer_waits, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
