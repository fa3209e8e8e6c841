/* USB devices as a driver sees them through the xHCI: standard requests, hub, keyboard, tablet, mouse. */
#include "tests/unit/xhci_rig.h"

#include <errno.h>
#include <linux/hid.h>
#include <linux/input-event-codes.h>
#include <linux/usb/ch11.h>
#include <linux/usb/ch9.h>

#include <unistd.h>

#include "usb/hid.h"
#include "usb/storage.h"

typedef struct Usb {
    Xr x;
    XrDevice dev;
    VmcUsbDevice *usb;
} Usb;

static Usb *usb_new(void)
{
    Usb *u = g_new0(Usb, 1);

    xr_init(&u->x);
    xr_enable_msix(&u->x);
    return u;
}

/* A device alone on port 1, configured, with its endpoint 1 IN. */
static void bring_up(Usb *u, VmcUsbDevice *dev)
{
    Xr *x = &u->x;

    u->usb = dev;
    assert_true(vmc_xhci_attach(x->rig.dev, dev, NULL));
    xr_start(x);
    xr_reset_port(x, 1);
    xr_address(x, &u->dev, 1, 0);
    assert_int_equal(xr_add_endpoint(x, &u->dev, 3, 7, 64), XR_SUCCESS);
    xr_request(x, &u->dev, 0, USB_REQ_SET_CONFIGURATION, 1, 0, 0);
}

static int setup_bare(void **state)
{
    *state = usb_new();
    return 0;
}

static int setup_keyboard(void **state)
{
    Usb *u = *state = usb_new();

    bring_up(u, vmc_usb_keyboard_new(u->x.rig.io, VMC_USB_ANSI, false));
    return 0;
}

static int setup_tablet(void **state)
{
    Usb *u = *state = usb_new();

    bring_up(u, vmc_usb_tablet_new());
    return 0;
}

static int setup_mouse(void **state)
{
    Usb *u = *state = usb_new();

    bring_up(u, vmc_usb_mouse_new());
    return 0;
}

static int teardown(void **state)
{
    xr_clear(&((Usb *)*state)->x);
    g_free(*state);
    return 0;
}

static unsigned code_of(Usb *u, uint8_t type, uint8_t request, uint16_t value, uint16_t index,
                        uint16_t length)
{
    unsigned code = xr_control(&u->x, &u->dev, type, request, value, index, length).code;

    if (code == XR_STALL)
        xr_recover(&u->x, &u->dev, 1);
    return code;
}

/* ---- standard requests ---- */

static void test_descriptors(void **state)
{
    Usb *u = *state;
    struct usb_device_descriptor *device = xr_data(&u->x, 1024);
    struct usb_config_descriptor *config = xr_data(&u->x, 1024);
    uint8_t *data = xr_data(&u->x, 1024);

    xr_request(&u->x, &u->dev, USB_DIR_IN, USB_REQ_GET_DESCRIPTOR, USB_DT_DEVICE << 8, 0, 18);
    assert_int_equal(device->bLength, 18);
    assert_int_equal(device->bcdUSB, 0x0200);
    assert_int_equal(device->bMaxPacketSize0, 64);
    /* No more than was asked for, no more than there is. */
    assert_int_equal(
        xr_control(&u->x, &u->dev, USB_DIR_IN, USB_REQ_GET_DESCRIPTOR, USB_DT_DEVICE << 8, 0, 8).moved, 8);
    assert_int_equal(
        xr_control(&u->x, &u->dev, USB_DIR_IN, USB_REQ_GET_DESCRIPTOR, USB_DT_DEVICE << 8, 0, 512).moved, 18);
    XrDone done =
        xr_control(&u->x, &u->dev, USB_DIR_IN, USB_REQ_GET_DESCRIPTOR, USB_DT_CONFIG << 8, 0, 65535);
    assert_int_equal(config->wTotalLength, done.moved);
    assert_int_equal(config->bNumInterfaces, 1);
    /* Each descriptor leads to the next, and the last ends where all ends. */
    unsigned at = 0, endpoints = 0;
    for (; at < done.moved; at += data[at]) {
        assert_true(data[at] >= 2);
        endpoints += data[at + 1] == USB_DT_ENDPOINT;
    }
    assert_int_equal(at, done.moved);
    assert_int_equal(endpoints, 2);
    assert_int_equal(
        xr_control(&u->x, &u->dev, USB_DIR_IN, USB_REQ_GET_DESCRIPTOR, USB_DT_STRING << 8, 0, 255).moved, 4);
    done = xr_control(&u->x, &u->dev, USB_DIR_IN, USB_REQ_GET_DESCRIPTOR, USB_DT_STRING << 8 | 2, 0x409, 255);
    assert_int_equal(done.moved, 2 + 2 * strlen("Keyboard"));
    assert_int_equal(data[2], 'K');
    assert_int_equal(code_of(u, USB_DIR_IN, USB_REQ_GET_DESCRIPTOR, USB_DT_DEVICE_QUALIFIER << 8, 0, 10),
                     XR_SUCCESS);
    assert_int_equal(code_of(u, USB_DIR_IN, USB_REQ_GET_DESCRIPTOR, USB_DT_STRING << 8 | 9, 0, 255),
                     XR_STALL);
    assert_int_equal(code_of(u, USB_DIR_IN, USB_REQ_GET_DESCRIPTOR, USB_DT_BOS << 8, 0, 255), XR_STALL);
    assert_int_equal(code_of(u, USB_DIR_IN, USB_REQ_GET_DESCRIPTOR, 0x4200, 0, 255), XR_STALL);
}

static void test_standard_requests(void **state)
{
    Usb *u = *state;
    uint8_t *data = xr_data(&u->x, 16);

    xr_request(&u->x, &u->dev, USB_DIR_IN, USB_REQ_GET_CONFIGURATION, 0, 0, 1);
    assert_int_equal(data[0], 1);
    xr_request(&u->x, &u->dev, USB_DIR_IN | USB_RECIP_INTERFACE, USB_REQ_GET_INTERFACE, 0, 0, 1);
    assert_int_equal(data[0], 0);
    xr_request(&u->x, &u->dev, USB_RECIP_INTERFACE, USB_REQ_SET_INTERFACE, 0, 0, 0);
    xr_request(&u->x, &u->dev, 0, USB_REQ_SET_FEATURE, USB_DEVICE_REMOTE_WAKEUP, 0, 0);
    xr_request(&u->x, &u->dev, USB_DIR_IN, USB_REQ_GET_STATUS, 0, 0, 2);
    assert_int_equal(data[0], 2);
    xr_request(&u->x, &u->dev, 0, USB_REQ_CLEAR_FEATURE, USB_DEVICE_REMOTE_WAKEUP, 0, 0);
    /* An endpoint that is halted stalls until it is told not to. */
    xr_request(&u->x, &u->dev, USB_RECIP_ENDPOINT, USB_REQ_SET_FEATURE, USB_ENDPOINT_HALT, 0x81, 0);
    xr_request(&u->x, &u->dev, USB_DIR_IN | USB_RECIP_ENDPOINT, USB_REQ_GET_STATUS, 0, 0x81, 2);
    assert_int_equal(data[0], 1);
    assert_int_equal(xr_transfer(&u->x, &u->dev, 3, u->x.scratch, 8).code, XR_STALL);
    xr_recover(&u->x, &u->dev, 3);
    xr_request(&u->x, &u->dev, USB_RECIP_ENDPOINT, USB_REQ_CLEAR_FEATURE, USB_ENDPOINT_HALT, 0x81, 0);
    xr_queue(&u->x, &u->dev, 3, u->x.scratch, 32);
    xr_expect_quiet(&u->x, 0);
    static const uint16_t refused[][5] = {
        {0, USB_REQ_SET_CONFIGURATION, 2, 0, 0},
        {0, USB_REQ_SET_ADDRESS, 5, 0, 0}, /* Address Device does that */
        {USB_RECIP_INTERFACE, USB_REQ_SET_INTERFACE, 1, 0, 0},
        {USB_RECIP_INTERFACE, USB_REQ_SET_INTERFACE, 0, 1, 0},
        {USB_RECIP_ENDPOINT, USB_REQ_SET_FEATURE, USB_ENDPOINT_HALT, 0x85, 0},
        {USB_RECIP_ENDPOINT, USB_REQ_SET_FEATURE, 7, 0x81, 0},
        {USB_DIR_IN | USB_RECIP_ENDPOINT, USB_REQ_GET_STATUS, 0, 9, 2},
        {USB_DIR_IN, USB_REQ_SET_CONFIGURATION, 1, 0, 1}, /* the wrong way round */
        {0, USB_REQ_SET_FEATURE, 48, 0, 0},               /* U1, at high speed */
        {0, USB_REQ_SYNCH_FRAME, 0, 0, 0},
        {USB_DIR_IN | USB_TYPE_VENDOR, 1, 0, 0, 8},
        {USB_TYPE_CLASS | USB_RECIP_INTERFACE, 0x77, 0, 0, 0},
        {USB_TYPE_CLASS | USB_RECIP_INTERFACE, 9, 0x200, 0, 60000}, /* more than a request may bring */
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(refused); i++)
        if (code_of(u, (uint8_t)refused[i][0], (uint8_t)refused[i][1], refused[i][2], refused[i][3],
                    refused[i][4]) != XR_STALL)
            fail_msg("request %u was not refused", i);
}

static void test_superspeed_descriptors(void **state)
{
    Usb *u = *state;
    Xr *x = &u->x;
    uint8_t *data = xr_data(x, 256);
    char path[] = "/tmp/vmcore-usb-XXXXXX";
    int fd = g_mkstemp(path);

    assert_return_code(ftruncate(fd, 1 << 20), errno);
    VmcDisk *disk = vmc_disk_open(&(VmcDiskOpen){.path = path, .format = "raw"}, NULL);
    assert_non_null(disk);
    assert_true(vmc_xhci_attach(x->rig.dev, vmc_usb_storage_new(disk, false, "A-1"), NULL));
    xr_start(x);
    /* A SuperSpeed port is enabled without a reset; it may have a warm one. */
    assert_int_equal(xr_portsc(x, 5) & 3, 3);
    assert_int_equal(xr_portsc(x, 5) >> 10 & 15, 4);
    xr_set_portsc(x, 5, 1u << 31);
    xr_await(x, XR_PORTSC + 16 * 4, 1 << 19 | 1 << 21, 1 << 19 | 1 << 21);
    xr_set_portsc(x, 5, 1 << 16 | 4 << 5);
    assert_int_equal(xr_portsc(x, 5) & 2, 0);
    xr_set_portsc(x, 5, 1 << 16 | 5 << 5);
    assert_int_equal(xr_portsc(x, 5) & 3, 3);
    xr_address(x, &u->dev, 5, 0);
    xr_request(x, &u->dev, USB_DIR_IN, USB_REQ_GET_DESCRIPTOR, USB_DT_DEVICE << 8, 0, 18);
    assert_int_equal(data[3] << 8 | data[2], 0x0320);
    assert_int_equal(data[7], 9);
    assert_int_equal(
        xr_control(x, &u->dev, USB_DIR_IN, USB_REQ_GET_DESCRIPTOR, USB_DT_BOS << 8, 0, 255).moved, 22);
    assert_int_equal(data[2], 22);
    XrDone done = xr_control(x, &u->dev, USB_DIR_IN, USB_REQ_GET_DESCRIPTOR, USB_DT_CONFIG << 8, 0, 255);
    assert_int_equal(done.moved, 9 + 9 + 2 * (7 + 6));
    done = xr_control(x, &u->dev, USB_DIR_IN, USB_REQ_GET_DESCRIPTOR, USB_DT_STRING << 8 | 3, 0, 255);
    assert_int_equal(done.moved, 2 + 2 * 12);
    assert_memory_equal(data + 2, "A\0001\0000", 5);
    memset(data, 0, 6);
    xr_request(x, &u->dev, 0, 48, 0, 0, 6);
    xr_request(x, &u->dev, 0, 49, 40, 0, 0);
    assert_int_equal(code_of(u, USB_DIR_IN, USB_REQ_GET_DESCRIPTOR, USB_DT_DEVICE_QUALIFIER << 8, 0, 10),
                     XR_STALL);
    close(fd);
    unlink(path);
}

/* ---- keyboard ---- */

static void press(Usb *u, unsigned code, bool down)
{
    VmcKeyboard *keyboard = vmc_usb_keyboard_input(u->usb);

    keyboard->ops->key(keyboard, code, down);
}

/* The next report; its length. */
static uint32_t next_report(Usb *u, uint8_t *report)
{
    XrDone done = xr_transfer(&u->x, &u->dev, 3, u->x.scratch, 64);

    assert_true(done.code == XR_SHORT);
    memcpy(report, xr_data(&u->x, 64), done.moved);
    return done.moved;
}

static bool has_usage(const uint8_t *report, unsigned usage)
{
    if (usage >= 0xe0)
        return report[0] & 1 << (usage - 0xe0);
    return report[1 + (usage - 4) / 8] & 1 << (usage - 4) % 8;
}

static void test_any_number_of_keys(void **state)
{
    Usb *u = *state;
    uint8_t report[64];

    for (unsigned code = KEY_1; code <= KEY_0; code++) {
        press(u, code, true);
        assert_int_equal(next_report(u, report), 21);
    }
    press(u, KEY_LEFTSHIFT, true);
    next_report(u, report);
    for (unsigned usage = 0x1e; usage <= 0x27; usage++)
        assert_true(has_usage(report, usage));
    assert_true(has_usage(report, 0xe1));
    assert_false(has_usage(report, 0x04));
    /* Quick strokes are all seen, one after the other. */
    for (unsigned i = 0; i < 50; i++) {
        press(u, KEY_A, true);
        press(u, KEY_A, false);
    }
    for (unsigned i = 0; i < 100; i++) {
        next_report(u, report);
        assert_int_equal(has_usage(report, 0x04), !(i & 1));
    }
    press(u, KEY_RESERVED, true);
    press(u, 700, true); /* no such key on a keyboard */
    xr_queue(&u->x, &u->dev, 3, u->x.scratch, 64);
    xr_expect_quiet(&u->x, 0);
}

static void test_boot_protocol(void **state)
{
    Usb *u = *state;
    uint8_t report[64];
    static const uint8_t three[8] = {2, 0, 0x04, 0x05, 0x06}, over[8] = {2, 0, 1, 1, 1, 1, 1, 1};

    xr_request(&u->x, &u->dev, 0xa1, HID_REQ_GET_PROTOCOL, 0, 0, 1);
    assert_int_equal(*(uint8_t *)xr_data(&u->x, 1), 1);
    xr_request(&u->x, &u->dev, 0x21, HID_REQ_SET_PROTOCOL, 0, 0, 0);
    press(u, KEY_LEFTSHIFT, true);
    press(u, KEY_C, true);
    press(u, KEY_B, true);
    press(u, KEY_A, true);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(next_report(u, report), 8);
    assert_memory_equal(report, three, 8);
    for (unsigned code = KEY_1; code <= KEY_4; code++) {
        press(u, code, true);
        next_report(u, report);
    }
    assert_memory_equal(report, over, 8);
    xr_request(&u->x, &u->dev, 0xa1, HID_REQ_GET_REPORT, 0x100, 0, 8);
    assert_memory_equal(xr_data(&u->x, 8), over, 8);
    assert_int_equal(code_of(u, 0x21, HID_REQ_SET_PROTOCOL, 2, 0, 0), XR_STALL);
}

static void test_lights(void **state)
{
    Usb *u = *state;
    VmcKeyboard *keyboard = vmc_usb_keyboard_input(u->usb);
    uint8_t *data = xr_data(&u->x, 8);

    data[0] = 3;
    xr_request(&u->x, &u->dev, 0x21, HID_REQ_SET_REPORT, 0x200, 0, 1);
    assert_int_equal(keyboard->ops->leds(keyboard), 1 << LED_NUML | 1 << LED_CAPSL);
    xr_request(&u->x, &u->dev, 0xa1, HID_REQ_GET_REPORT, 0x200, 0, 1);
    assert_int_equal(data[0], 3);
    assert_int_equal(xr_add_endpoint(&u->x, &u->dev, 4, 3, 8), XR_SUCCESS);
    data[0] = 4;
    assert_int_equal(xr_transfer(&u->x, &u->dev, 4, u->x.scratch, 1).code, XR_SUCCESS);
    assert_int_equal(keyboard->ops->leds(keyboard), 1 << LED_SCROLLL);
    assert_int_equal(code_of(u, 0x21, HID_REQ_SET_REPORT, 0x300, 0, 1), XR_STALL);
}

static void test_idle_rate_repeats_reports(void **state)
{
    Usb *u = *state;
    uint8_t report[64];

    press(u, KEY_A, true);
    next_report(u, report);
    xr_request(&u->x, &u->dev, 0x21, HID_REQ_SET_IDLE, 2 << 8, 0, 0);
    for (unsigned i = 0; i < 3; i++) {
        next_report(u, report);
        assert_true(has_usage(report, 0x04));
    }
    xr_request(&u->x, &u->dev, 0xa1, HID_REQ_GET_IDLE, 0, 0, 1);
    assert_int_equal(*(uint8_t *)xr_data(&u->x, 1), 2);
    xr_request(&u->x, &u->dev, 0x21, HID_REQ_SET_IDLE, 0, 0, 0);
}

static void test_a_flood_of_keys_leaves_none_down(void **state)
{
    Usb *u = *state;
    uint8_t report[64] = {0};

    for (unsigned i = 0; i < 2000; i++) {
        press(u, KEY_A + i % 5, true);
        press(u, KEY_A + i % 5, false);
    }
    xr_queue(&u->x, &u->dev, 3, u->x.scratch, 64);
    /* Until nothing more comes. */
    for (unsigned n = 0;; n++) {
        XrTrb event;
        int64_t end = g_get_monotonic_time() + 200000;
        while (!xr_event_there(&u->x, 0, &event) && g_get_monotonic_time() < end)
            g_usleep(100);
        if (!xr_event_there(&u->x, 0, &event))
            break;
        xr_event_done(&u->x, 0);
        memcpy(report, xr_data(&u->x, 64), 21);
        assert_true(n < 1000);
        xr_queue(&u->x, &u->dev, 3, u->x.scratch, 64);
    }
    for (unsigned i = 0; i < 21; i++)
        assert_int_equal(report[i], 0);
}

static void test_a_key_held_over_a_reset_is_told_again(void **state)
{
    Usb *u = *state;
    uint8_t report[64];
    VmcKeyboard *keyboard = vmc_usb_keyboard_input(u->usb);

    press(u, KEY_A, true);
    next_report(u, report);
    assert_true(keyboard->ops->active(keyboard));
    xr_request(&u->x, &u->dev, 0, USB_REQ_SET_CONFIGURATION, 1, 0, 0);
    assert_false(keyboard->ops->active(keyboard));
    next_report(u, report);
    assert_true(has_usage(report, 0x04));
}

static void test_layouts(void **state)
{
    Usb *u = *state;
    static const uint8_t countries[] = {33, 13, 15};
    uint8_t *data = xr_data(&u->x, 256);

    for (unsigned layout = VMC_USB_ANSI; layout <= VMC_USB_JIS; layout++) {
        Usb *other = usb_new();
        bring_up(other, vmc_usb_keyboard_new(other->x.rig.io, (VmcUsbLayout)layout, false));
        data = xr_data(&other->x, 256);
        xr_request(&other->x, &other->dev, 0x81, USB_REQ_GET_DESCRIPTOR, HID_DT_HID << 8, 0, 9);
        assert_int_equal(data[4], countries[layout]);
        unsigned size = data[7] | data[8] << 8;
        assert_int_equal(
            xr_control(&other->x, &other->dev, 0x81, USB_REQ_GET_DESCRIPTOR, HID_DT_REPORT << 8, 0, 255)
                .moved,
            size);
        assert_int_equal(data[size - 1], 0xc0);
        assert_int_equal(code_of(other, 0x81, USB_REQ_GET_DESCRIPTOR, HID_DT_PHYSICAL << 8, 0, 9), XR_STALL);
        xr_clear(&other->x);
        g_free(other);
    }
    assert_int_equal(vmc_hid_usage(KEY_BACKSLASH, VMC_USB_ANSI, false), 0x31);
    assert_int_equal(vmc_hid_usage(KEY_BACKSLASH, VMC_USB_ISO, false), 0x32);
    assert_int_equal(vmc_hid_usage(KEY_GRAVE, VMC_USB_ISO, false), 0x35);
    assert_int_equal(vmc_hid_usage(KEY_102ND, VMC_USB_ISO, false), 0x64);
    assert_int_equal(vmc_hid_usage(KEY_GRAVE, VMC_USB_ISO, true), 0x64);
    assert_int_equal(vmc_hid_usage(KEY_102ND, VMC_USB_ISO, true), 0x35);
    static const unsigned japanese[] = {KEY_RO, KEY_KATAKANAHIRAGANA, KEY_YEN, KEY_HENKAN, KEY_MUHENKAN};
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(vmc_hid_usage(japanese[i], VMC_USB_JIS, false), 0x87 + i);
    /* No two keys are the same one. */
    uint8_t seen[256] = {0};
    for (unsigned code = 1; code < KEY_MAX; code++) {
        uint8_t usage = vmc_hid_usage(code, VMC_USB_ANSI, false);
        assert_true(!usage || (usage >= 4 && (usage <= 0xa3 || usage >= 0xe0)));
        assert_false(usage && seen[usage]++);
    }
}

/* ---- tablet ---- */

static void test_pointer_reports(void **state)
{
    Usb *u = *state;
    VmcPointer *pointer = vmc_usb_pointer_input(u->usb);
    uint8_t report[64];
    static const uint8_t moved[7] = {0, 0x34, 0x12, 0xff, 0x7f, 0, 0},
                         pressed[7] = {4, 0x34, 0x12, 0xff, 0x7f, 0, 0};
    static const uint8_t turned[7] = {4, 0x34, 0x12, 0xff, 0x7f, 127, 0xfe},
                         rest[7] = {4, 0x34, 0x12, 0xff, 0x7f, 3, 0};

    pointer->ops->move(pointer, 1, 1);
    pointer->ops->sync(pointer);
    pointer->ops->move(pointer, 0x1234, 99999); /* which takes the place of the first */
    pointer->ops->sync(pointer);
    assert_int_equal(next_report(u, report), 7);
    assert_memory_equal(report, moved, 7);
    assert_true(pointer->ops->active(pointer));
    pointer->ops->button(pointer, BTN_MIDDLE, true);
    pointer->ops->button(pointer, KEY_A, true);
    pointer->ops->sync(pointer);
    /* More clicks of the wheel than a report has room for. */
    pointer->ops->wheel(pointer, 130, -2);
    pointer->ops->sync(pointer);
    next_report(u, report);
    assert_memory_equal(report, pressed, 7);
    next_report(u, report);
    assert_memory_equal(report, turned, 7);
    next_report(u, report);
    assert_memory_equal(report, rest, 7);
    xr_request(&u->x, &u->dev, 0xa1, HID_REQ_GET_REPORT, 0x100, 0, 7);
    assert_memory_equal(xr_data(&u->x, 7), pressed, 7);
    xr_request(&u->x, &u->dev, 0x21, HID_REQ_SET_IDLE, 5 << 8, 0, 0);
    xr_request(&u->x, &u->dev, 0xa1, HID_REQ_GET_IDLE, 0, 0, 1);
    assert_int_equal(*(uint8_t *)xr_data(&u->x, 1), 5);
    assert_int_equal(code_of(u, 0x21, HID_REQ_SET_PROTOCOL, 0, 0, 0), XR_STALL);
}

static void test_a_flood_of_clicks_leaves_no_button_down(void **state)
{
    Usb *u = *state;
    VmcPointer *pointer = vmc_usb_pointer_input(u->usb);
    uint8_t report[64];

    for (unsigned i = 0; i < 1001; i++) {
        pointer->ops->button(pointer, BTN_LEFT, i & 1);
        pointer->ops->move(pointer, i, i);
        pointer->ops->sync(pointer);
    }
    for (unsigned i = 0; i < 64; i++)
        next_report(u, report);
    assert_int_equal(report[0], 0);
    assert_int_equal(report[1] | report[2] << 8, 1000);
    xr_queue(&u->x, &u->dev, 3, u->x.scratch, 64);
    xr_expect_quiet(&u->x, 0);
}

/* ---- mouse ---- */

static void test_a_mouse_tells_how_far_it_moved(void **state)
{
    Usb *u = *state;
    VmcPointer *pointer = vmc_usb_pointer_input(u->usb);
    uint8_t report[64];
    static const uint8_t far_away[5] = {0, 127, 0x81, 0, 0}, rest[5] = {0, 24, 0xfd, 0, 0},
                         pressed[5] = {1, 0, 0, 0, 0}, dragged[5] = {1, 0xff, 0, 2, 0xff};

    assert_null(pointer->ops->move);
    pointer->ops->move_by(pointer, 100, -90);
    pointer->ops->sync(pointer);
    pointer->ops->move_by(pointer, 51, -40); /* which is added to the first: 151, -130 */
    pointer->ops->sync(pointer);
    pointer->ops->button(pointer, BTN_LEFT, true);
    pointer->ops->sync(pointer);
    pointer->ops->move_by(pointer, -1, 0);
    pointer->ops->wheel(pointer, 2, -1);
    pointer->ops->sync(pointer);
    assert_int_equal(next_report(u, report), 5);
    assert_memory_equal(report, far_away, 5);
    next_report(u, report);
    assert_memory_equal(report, rest, 5);
    next_report(u, report);
    assert_memory_equal(report, pressed, 5);
    next_report(u, report);
    assert_memory_equal(report, dragged, 5);
    xr_queue(&u->x, &u->dev, 3, u->x.scratch, 64);
    xr_expect_quiet(&u->x, 0);
}

static void test_a_firmware_gets_the_mouse_of_boot_protocol(void **state)
{
    Usb *u = *state;
    VmcPointer *pointer = vmc_usb_pointer_input(u->usb);
    uint8_t report[64];
    static const uint8_t moved[3] = {2, 5, 0xfb};

    xr_request(&u->x, &u->dev, 0xa1, HID_REQ_GET_PROTOCOL, 0, 0, 1);
    assert_int_equal(*(uint8_t *)xr_data(&u->x, 1), 1);
    assert_int_equal(code_of(u, 0x21, HID_REQ_SET_PROTOCOL, 2, 0, 0), XR_STALL);
    xr_request(&u->x, &u->dev, 0x21, HID_REQ_SET_PROTOCOL, 0, 0, 0);
    pointer->ops->move_by(pointer, 5, -5);
    pointer->ops->button(pointer, BTN_RIGHT, true);
    pointer->ops->wheel(pointer, 200, 0); /* there is none */
    pointer->ops->sync(pointer);
    assert_int_equal(next_report(u, report), 3);
    assert_memory_equal(report, moved, 3);
    xr_queue(&u->x, &u->dev, 3, u->x.scratch, 64);
    xr_expect_quiet(&u->x, 0);
}

/* ---- hub ---- */

static unsigned port_status(Usb *u, unsigned port)
{
    xr_request(&u->x, &u->dev, 0xa3, USB_REQ_GET_STATUS, 0, (uint16_t)port, 4);
    return *(uint32_t *)xr_data(&u->x, 4);
}

static void test_more_devices_than_ports(void **state)
{
    Usb *u = *state;
    Xr *x = &u->x;
    XrDevice child;
    VmcUsbDevice *last = NULL;
    uint8_t *data = xr_data(x, 64);
    uint8_t report[64];

    for (unsigned i = 0; i < 5; i++)
        assert_true(vmc_xhci_attach(x->rig.dev, last = vmc_usb_tablet_new(), NULL));
    xr_start(x);
    xr_reset_port(x, 4);
    xr_address(x, &u->dev, 4, 0);
    xr_request(x, &u->dev, USB_DIR_IN, USB_REQ_GET_DESCRIPTOR, USB_DT_DEVICE << 8, 0, 18);
    assert_int_equal(data[4], USB_CLASS_HUB);
    assert_int_equal(xr_control(x, &u->dev, 0xa0, USB_REQ_GET_DESCRIPTOR, USB_DT_HUB << 8, 0, 15).moved, 11);
    assert_int_equal(data[2], 8);
    assert_int_equal(xr_add_endpoint(x, &u->dev, 3, 7, 64), XR_SUCCESS);
    xr_request(x, &u->dev, 0, USB_REQ_SET_CONFIGURATION, 1, 0, 0);
    /* Two are there, and the hub says where. */
    assert_int_equal(next_report(u, report), 2);
    assert_int_equal(report[0], 1 << 1 | 1 << 2);
    assert_int_equal(port_status(u, 2), 0x10501);
    assert_int_equal(port_status(u, 3), 0x100);
    xr_request(x, &u->dev, 0x23, USB_REQ_CLEAR_FEATURE, USB_PORT_FEAT_C_CONNECTION, 1, 0);
    xr_request(x, &u->dev, 0x23, USB_REQ_CLEAR_FEATURE, USB_PORT_FEAT_C_CONNECTION, 2, 0);
    /* Nobody behind a port that is not enabled. */
    xr_enable_slot(x, &child, 4, 2);
    assert_int_equal(xr_command(x, child.input, 11, child.slot, 0), XR_TRANSACTION_ERROR);
    xr_request(x, &u->dev, 0x23, USB_REQ_SET_FEATURE, USB_PORT_FEAT_RESET, 2, 0);
    assert_int_equal(port_status(u, 2), 0x100503);
    assert_int_equal(xr_command(x, child.input, 11, child.slot, 0), XR_SUCCESS);
    xr_request(x, &child, USB_DIR_IN, USB_REQ_GET_DESCRIPTOR, USB_DT_DEVICE << 8, 0, 18);
    assert_int_equal(data[10] | data[11] << 8, 0x0106);
    xr_request(x, &u->dev, 0x23, USB_REQ_CLEAR_FEATURE, USB_PORT_FEAT_C_RESET, 2, 0);
    /* Sleep and waking up. */
    xr_request(x, &u->dev, 0x23, USB_REQ_SET_FEATURE, USB_PORT_FEAT_SUSPEND, 2, 0);
    assert_int_equal(port_status(u, 2), 0x507);
    xr_request(x, &u->dev, 0x23, USB_REQ_CLEAR_FEATURE, USB_PORT_FEAT_SUSPEND, 2, 0);
    assert_int_equal(port_status(u, 2), 0x40503);
    xr_request(x, &u->dev, 0x23, USB_REQ_CLEAR_FEATURE, USB_PORT_FEAT_C_SUSPEND, 2, 0);
    /* Unplugged: the hub tells. */
    xr_queue(x, &u->dev, 3, x->scratch, 64);
    xr_expect_quiet(x, 0);
    vmc_xhci_detach(x->rig.dev, last);
    vmc_usb_device_free(last);
    assert_int_equal(xr_code(xr_event(x)), XR_SHORT);
    assert_int_equal(data[0], 1 << 2);
    assert_int_equal(port_status(u, 2), 0x10100);
    assert_int_equal(xr_control(x, &child, USB_DIR_IN, USB_REQ_GET_STATUS, 0, 0, 2).code,
                     XR_TRANSACTION_ERROR);
    /* Requests that a hub does not know. */
    assert_int_equal(code_of(u, 0xa3, USB_REQ_GET_STATUS, 0, 0, 4), XR_STALL);
    assert_int_equal(code_of(u, 0xa3, USB_REQ_GET_STATUS, 0, 9, 4), XR_STALL);
    assert_int_equal(code_of(u, 0x23, USB_REQ_SET_FEATURE, 99, 1, 0), XR_STALL);
    assert_int_equal(code_of(u, 0x23, USB_REQ_CLEAR_FEATURE, 99, 1, 0), XR_STALL);
    assert_int_equal(code_of(u, 0x23, 77, 1, 1, 0), XR_STALL);
    assert_int_equal(code_of(u, 0x20, 77, 1, 1, 0), XR_STALL);
}

static void test_ports_run_out(void **state)
{
    Usb *u = *state;
    GError *error = NULL;
    unsigned n = 0;
    VmcUsbDevice *dev;

    while (vmc_xhci_attach(u->x.rig.dev, dev = vmc_usb_tablet_new(), &error))
        n++;
    assert_true(n >= 32);
    assert_non_null(strstr(error->message, "no USB port left"));
    g_error_free(error);
    vmc_usb_device_free(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_descriptors, setup_keyboard, teardown),
        cmocka_unit_test_setup_teardown(test_standard_requests, setup_keyboard, teardown),
        cmocka_unit_test_setup_teardown(test_superspeed_descriptors, setup_bare, teardown),
        cmocka_unit_test_setup_teardown(test_any_number_of_keys, setup_keyboard, teardown),
        cmocka_unit_test_setup_teardown(test_boot_protocol, setup_keyboard, teardown),
        cmocka_unit_test_setup_teardown(test_lights, setup_keyboard, teardown),
        cmocka_unit_test_setup_teardown(test_idle_rate_repeats_reports, setup_keyboard, teardown),
        cmocka_unit_test_setup_teardown(test_a_flood_of_keys_leaves_none_down, setup_keyboard, teardown),
        cmocka_unit_test_setup_teardown(test_a_key_held_over_a_reset_is_told_again, setup_keyboard, teardown),
        cmocka_unit_test_setup_teardown(test_layouts, setup_bare, teardown),
        cmocka_unit_test_setup_teardown(test_pointer_reports, setup_tablet, teardown),
        cmocka_unit_test_setup_teardown(test_a_flood_of_clicks_leaves_no_button_down, setup_tablet, teardown),
        cmocka_unit_test_setup_teardown(test_a_mouse_tells_how_far_it_moved, setup_mouse, teardown),
        cmocka_unit_test_setup_teardown(test_a_firmware_gets_the_mouse_of_boot_protocol, setup_mouse,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_more_devices_than_ports, setup_bare, teardown),
        cmocka_unit_test_setup_teardown(test_ports_run_out, setup_bare, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
