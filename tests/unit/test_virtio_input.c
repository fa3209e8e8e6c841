/* virtio-input as a guest uses it: what a keyboard and a tablet say of themselves, and reports on their way.
 */
#include "tests/unit/virtio_rig.h"

#include <linux/input.h>
#include <linux/virtio_input.h>

#define EVENTS 0u
#define STATUS 1u
#define SIZE   64u
#define BUFFER sizeof(struct virtio_input_event)

typedef struct Input {
    Rig rig;
    uint64_t buffers;
} Input;

static void bring_up(Input *in)
{
    rig_bring_up(&in->rig, RIG_FEATURES, 2, SIZE);
    in->buffers = rig_alloc(&in->rig, SIZE * BUFFER);
}

static Input *input_new(VmcPciDevice *(*make)(const VmcVirtioHost *))
{
    Input *in = g_new0(Input, 1);

    rig_init(&in->rig);
    rig_plug(&in->rig, make(&in->rig.host));
    bring_up(in);
    return in;
}

static int setup_keyboard(void **state)
{
    *state = input_new(vmc_virtio_keyboard_new);
    return 0;
}

static int setup_tablet(void **state)
{
    *state = input_new(vmc_virtio_tablet_new);
    return 0;
}

static int teardown(void **state)
{
    rig_clear(&((Input *)*state)->rig);
    g_free(*state);
    return 0;
}

/* ---- configuration ---- */

static unsigned query(Input *in, uint8_t select, uint8_t subsel, uint8_t payload[128])
{
    Rig *rig = &in->rig;

    vmc_bus_write(rig->mmio, rig->device + offsetof(struct virtio_input_config, select), 1, select);
    vmc_bus_write(rig->mmio, rig->device + offsetof(struct virtio_input_config, subsel), 1, subsel);
    for (unsigned i = 0; i < 128; i++)
        payload[i] =
            (uint8_t)vmc_bus_read(rig->mmio, rig->device + offsetof(struct virtio_input_config, u) + i, 1);
    return (unsigned)vmc_bus_read(rig->mmio, rig->device + offsetof(struct virtio_input_config, size), 1);
}

static bool announces(Input *in, uint8_t type, unsigned code)
{
    uint8_t bits[128];
    unsigned size = query(in, VIRTIO_INPUT_CFG_EV_BITS, type, bits);

    return code / 8 < size && bits[code / 8] & 1 << code % 8;
}

static void expect_identity(Input *in, const char *name)
{
    uint8_t payload[128];

    assert_int_equal(query(in, VIRTIO_INPUT_CFG_ID_NAME, 0, payload), strlen(name));
    assert_memory_equal(payload, name, strlen(name));
    assert_int_equal(query(in, VIRTIO_INPUT_CFG_ID_DEVIDS, 0, payload), sizeof(struct virtio_input_devids));
    assert_int_equal(payload[0], BUS_VIRTUAL);
    /* Nothing selected, nothing there: size 0. */
    assert_int_equal(query(in, VIRTIO_INPUT_CFG_UNSET, 0, payload), 0);
    assert_int_equal(query(in, VIRTIO_INPUT_CFG_ID_SERIAL, 0, payload), 0);
    assert_int_equal(query(in, VIRTIO_INPUT_CFG_PROP_BITS, 0, payload), 0);
    for (unsigned i = 0; i < 128; i++)
        assert_int_equal(payload[i], 0);
    for (unsigned select = 0; select < 256; select++)
        for (unsigned subsel = 0; subsel < 256; subsel += 5)
            assert_true(query(in, (uint8_t)select, (uint8_t)subsel, payload) <= 128);
}

static void test_keyboard_config(void **state)
{
    Input *in = *state;
    uint8_t payload[128];

    assert_int_equal(rig_config(&in->rig, PCI_DEVICE_ID, 2), 0x1052);
    expect_identity(in, "Espalier Keyboard");
    for (unsigned key = KEY_ESC; key <= KEY_F12; key++)
        assert_true(announces(in, EV_KEY, key));
    assert_true(announces(in, EV_KEY, KEY_RIGHTMETA));
    assert_false(announces(in, EV_KEY, KEY_RESERVED));
    assert_false(announces(in, EV_KEY, BTN_LEFT));
    assert_true(announces(in, EV_LED, LED_CAPSL));
    assert_true(query(in, VIRTIO_INPUT_CFG_EV_BITS, EV_REP, payload) > 0);
    assert_int_equal(query(in, VIRTIO_INPUT_CFG_EV_BITS, EV_ABS, payload), 0);
    assert_int_equal(query(in, VIRTIO_INPUT_CFG_ABS_INFO, ABS_X, payload), 0);
}

static void test_tablet_config(void **state)
{
    Input *in = *state;
    struct virtio_input_absinfo abs;
    uint8_t payload[128];

    expect_identity(in, "Espalier Tablet");
    for (unsigned button = BTN_LEFT; button <= BTN_EXTRA; button++)
        assert_true(announces(in, EV_KEY, button));
    assert_false(announces(in, EV_KEY, KEY_A));
    assert_true(announces(in, EV_REL, REL_WHEEL));
    assert_true(announces(in, EV_REL, REL_HWHEEL));
    assert_false(announces(in, EV_REL, REL_X)); /* it is absolute */
    assert_true(announces(in, EV_ABS, ABS_X));
    assert_true(announces(in, EV_ABS, ABS_Y));
    for (unsigned axis = ABS_X; axis <= ABS_Y; axis++) {
        assert_int_equal(query(in, VIRTIO_INPUT_CFG_ABS_INFO, (uint8_t)axis, payload), sizeof(abs));
        memcpy(&abs, payload, sizeof(abs));
        assert_int_equal(abs.min, 0);
        assert_int_equal(abs.max, 32767);
    }
    assert_int_equal(query(in, VIRTIO_INPUT_CFG_ABS_INFO, ABS_Z, payload), 0);
}

/* ---- events ---- */

static void offer_buffers(Input *in, unsigned n)
{
    RigQueue *q = &in->rig.queues[EVENTS];

    for (unsigned i = 0; i < n; i++)
        rig_add(&in->rig, q, &(RigBuffer){in->buffers + q->next_desc * BUFFER, BUFFER}, 0, 1);
    rig_kick(&in->rig, q);
}

static void expect_event(Input *in, unsigned type, unsigned code, int value)
{
    struct vring_used_elem used = rig_used(&in->rig, &in->rig.queues[EVENTS]);

    assert_int_equal(used.len, BUFFER);
    struct virtio_input_event *event = rig_host(&in->rig, in->buffers + used.id * BUFFER, BUFFER);
    if (event->type != type || event->code != code || (int)event->value != value)
        fail_msg("event %u %u %d, not %u %u %d", event->type, event->code, (int)event->value, type, code,
                 value);
}

static void expect_nothing(Input *in)
{
    struct vring_used_elem used;

    if (rig_wait_used(&in->rig, &in->rig.queues[EVENTS], &used, 30000))
        fail_msg("an event that should not be");
}

static void send(Input *in, unsigned type, unsigned code, int value)
{
    vmc_virtio_input_event(in->rig.dev, type, code, value);
}

static void send_key(Input *in, unsigned key, bool down)
{
    send(in, EV_KEY, key, down);
    vmc_virtio_input_sync(in->rig.dev);
}

static void expect_key(Input *in, unsigned key, bool down)
{
    expect_event(in, EV_KEY, key, down);
    expect_event(in, EV_SYN, SYN_REPORT, 0);
}

static void test_keys(void **state)
{
    Input *in = *state;

    offer_buffers(in, 32);
    for (unsigned i = 0; i < 100; i++) {
        send_key(in, KEY_A, true);
        send_key(in, KEY_A, false);
        expect_key(in, KEY_A, true);
        expect_key(in, KEY_A, false);
        offer_buffers(in, 4);
    }
    /* What a keyboard has not got is not sent, nor an empty report. */
    send(in, EV_KEY, BTN_LEFT, 1);
    send(in, EV_ABS, ABS_X, 1);
    send(in, EV_KEY, 0xffffffff, 1);
    send(in, 0xffffffff, 0, 1);
    vmc_virtio_input_sync(in->rig.dev);
    expect_nothing(in);
}

static void test_pointer(void **state)
{
    Input *in = *state;

    offer_buffers(in, SIZE);
    send(in, EV_ABS, ABS_X, 100);
    send(in, EV_ABS, ABS_Y, 40000); /* beyond the edge */
    send(in, EV_KEY, BTN_LEFT, 1);
    expect_nothing(in); /* not before the sync */
    vmc_virtio_input_sync(in->rig.dev);
    expect_event(in, EV_ABS, ABS_X, 100);
    expect_event(in, EV_ABS, ABS_Y, 32767);
    expect_event(in, EV_KEY, BTN_LEFT, 1);
    expect_event(in, EV_SYN, SYN_REPORT, 0);
    send(in, EV_REL, REL_WHEEL, -1);
    vmc_virtio_input_sync(in->rig.dev);
    expect_event(in, EV_REL, REL_WHEEL, -1);
    expect_event(in, EV_SYN, SYN_REPORT, 0);
}

/* A report comes whole or not at all. */
static void test_no_half_reports(void **state)
{
    Input *in = *state;

    offer_buffers(in, 2);
    send(in, EV_ABS, ABS_X, 1);
    send(in, EV_ABS, ABS_Y, 2);
    vmc_virtio_input_sync(in->rig.dev);
    expect_nothing(in);
    offer_buffers(in, 1);
    expect_event(in, EV_ABS, ABS_X, 1);
    expect_event(in, EV_ABS, ABS_Y, 2);
    expect_event(in, EV_SYN, SYN_REPORT, 0);
}

/* A guest that is slow gets the latest position, not a thousand old ones; clicks stay in their places. */
static void test_motion_is_merged(void **state)
{
    Input *in = *state;

    for (int click = 0; click < 2; click++) {
        for (int i = 0; i < 1000; i++) {
            send(in, EV_ABS, ABS_X, i);
            send(in, EV_ABS, ABS_Y, i + click);
            vmc_virtio_input_sync(in->rig.dev);
        }
        send(in, EV_KEY, BTN_LEFT, !click);
        vmc_virtio_input_sync(in->rig.dev);
    }
    offer_buffers(in, SIZE);
    for (int click = 0; click < 2; click++) {
        expect_event(in, EV_ABS, ABS_X, 999);
        expect_event(in, EV_ABS, ABS_Y, 999 + click);
        expect_event(in, EV_SYN, SYN_REPORT, 0);
        expect_event(in, EV_KEY, BTN_LEFT, !click);
        expect_event(in, EV_SYN, SYN_REPORT, 0);
    }
    expect_nothing(in);
}

/* More than there is room for: the rest is dropped, but no key is left down. */
static void test_no_key_stays_down(void **state)
{
    Input *in = *state;
    bool down[KEY_CNT] = {false};

    for (unsigned i = 0; i < 500; i++)
        send_key(in, KEY_Q + i % 10, i / 10 % 2 == 0);
    send_key(in, KEY_Z, true);
    send_key(in, KEY_X, true);
    send_key(in, KEY_X, false);
    /* The guest reads all it can get. */
    for (unsigned quiet = 0; quiet < 2;) {
        struct vring_used_elem used;
        offer_buffers(in, 8);
        for (quiet++; rig_wait_used(&in->rig, &in->rig.queues[EVENTS], &used, 20000); quiet = 0) {
            struct virtio_input_event *event = rig_host(&in->rig, in->buffers + used.id * BUFFER, BUFFER);
            if (event->type == EV_KEY)
                down[event->code] = event->value;
        }
    }
    for (unsigned key = 0; key < KEY_CNT; key++)
        assert_int_equal(down[key], key == KEY_Z);
}

static void test_overlong_report(void **state)
{
    Input *in = *state;

    offer_buffers(in, SIZE);
    for (unsigned i = 0; i < 1000; i++)
        send(in, EV_KEY, KEY_B, i % 2 == 0);
    vmc_virtio_input_sync(in->rig.dev);
    expect_nothing(in);
    send_key(in, KEY_C, true);
    expect_key(in, KEY_C, true);
}

/* Before there is a driver, and after a reset, events go nowhere and are not kept for later. */
static void test_nobody_listens(void **state)
{
    Input *in = *state;

    rig_reset(&in->rig);
    send_key(in, KEY_A, true);
    send_key(in, KEY_A, false);
    bring_up(in);
    offer_buffers(in, 8);
    expect_nothing(in);
    send_key(in, KEY_B, true);
    expect_key(in, KEY_B, true);
}

static void set_led(Input *in, unsigned led, bool on)
{
    Rig *rig = &in->rig;
    uint64_t at = rig_alloc(rig, BUFFER);

    *(struct virtio_input_event *)rig_host(rig, at, BUFFER) =
        (struct virtio_input_event){.type = EV_LED, .code = (uint16_t)led, .value = on};
    rig_add(rig, &rig->queues[STATUS], &(RigBuffer){at, BUFFER}, 1, 0);
    rig_kick(rig, &rig->queues[STATUS]);
    assert_int_equal(rig_used(rig, &rig->queues[STATUS]).len, 0);
}

static void test_leds(void **state)
{
    Input *in = *state;

    set_led(in, LED_CAPSL, true);
    assert_int_equal(vmc_virtio_input_leds(in->rig.dev), 1 << LED_CAPSL);
    set_led(in, LED_NUML, true);
    set_led(in, LED_CAPSL, false);
    assert_int_equal(vmc_virtio_input_leds(in->rig.dev), 1 << LED_NUML);
    set_led(in, 31, true); /* no such light */
    set_led(in, 0xffff, true);
    assert_int_equal(vmc_virtio_input_leds(in->rig.dev), 1 << LED_NUML);
    rig_reset(&in->rig);
    assert_int_equal(vmc_virtio_input_leds(in->rig.dev), 0);
}

static void test_buffers_too_small(void **state)
{
    Input *in = *state;
    Rig *rig = &in->rig;

    for (unsigned i = 0; i < 2; i++)
        rig_add(rig, &rig->queues[EVENTS], &(RigBuffer){in->buffers, 7}, 0, 1);
    rig_kick(rig, &rig->queues[EVENTS]);
    send_key(in, KEY_A, true);
    rig_expect_needs_reset(rig);
    bring_up(in);
    offer_buffers(in, 4);
    send_key(in, KEY_B, true);
    expect_key(in, KEY_B, true);
}

/* Front end threads press keys while the guest resets the device again and again. */
static gpointer hammer(gpointer data)
{
    for (unsigned i = 0; i < 20000; i++)
        send_key(data, KEY_Q + i % 10, i / 10 % 2 == 0);
    return NULL;
}

static void test_events_during_reset(void **state)
{
    Input *in = *state;
    GThread *thread = g_thread_new("window", hammer, in);

    for (unsigned i = 0; i < 50; i++) {
        bring_up(in);
        offer_buffers(in, SIZE);
    }
    g_thread_join(thread);
    bring_up(in);
    offer_buffers(in, 8);
    send_key(in, KEY_B, true);
    expect_key(in, KEY_B, true);
    vmc_virtio_input_event(NULL, EV_KEY, KEY_A, 1);
    vmc_virtio_input_sync(NULL);
}

#define KEYBOARD(test) cmocka_unit_test_setup_teardown(test, setup_keyboard, teardown)
#define TABLET(test)   cmocka_unit_test_setup_teardown(test, setup_tablet, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        KEYBOARD(test_keyboard_config),
        TABLET(test_tablet_config),
        KEYBOARD(test_keys),
        TABLET(test_pointer),
        TABLET(test_no_half_reports),
        TABLET(test_motion_is_merged),
        KEYBOARD(test_no_key_stays_down),
        KEYBOARD(test_overlong_report),
        KEYBOARD(test_nobody_listens),
        KEYBOARD(test_leds),
        KEYBOARD(test_buffers_too_small),
        KEYBOARD(test_events_during_reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
