/*
 * A USB keyboard (HID 1.11, appendix B and F).
 *
 * It begins in report protocol, with a report that has a bit for every key, so any number may be down at
 * once; a BIOS that asks for boot protocol gets the six keys of that. Lights are set by SET_REPORT or on the
 * OUT endpoint, as the driver likes.
 *
 * Reports say how things are, not what happened. So that a key pressed and released before the guest looked
 * is not lost, changes wait in a short queue and every report takes one of them. If the guest does not look
 * for long, the queue overflows into the state itself: then the guest misses strokes, but no key stays down.
 *
 * Threads: keys come from any thread and wait under `lock`; the rest is the I/O thread's.
 */
#include <glib.h>
#include <linux/input-event-codes.h>

#include "usb/hid.h"

#define ENDPOINT_IN  0x81u
#define ENDPOINT_OUT 0x02u

#define QUEUE       256u
#define KEYS_FIRST  0x04u /* of the bitmap: usages below are no keys */
#define KEYS_LAST   0xa3u
#define REPORT_SIZE (1 + (KEYS_LAST - KEYS_FIRST + 1) / 8)
#define BOOT_SIZE   8u
#define BOOT_KEYS   6u
#define ROLL_OVER   0x01u

#define PROTOCOL_BOOT   0u
#define PROTOCOL_REPORT 1u
#define IDLE_UNIT_NS    4000000ull

/* s6.2.2; the first modifier byte and the lights are where boot protocol has them. */
static const uint8_t report_descriptor[] = {
    0x05, 0x01,                   /* usage page: generic desktop */
    0x09, 0x06,                   /* usage: keyboard */
    0xa1, 0x01,                   /* collection: application */
    0x05, 0x07,                   /*   usage page: keyboard */
    0x19, 0xe0,       0x29, 0xe7, /*   modifiers */
    0x15, 0x00,       0x25, 0x01, /*   0 to 1 */
    0x75, 0x01,       0x95, 0x08, /*   eight of one bit */
    0x81, 0x02,                   /*   input: variable */
    0x19, KEYS_FIRST, 0x29, KEYS_LAST, 0x95, KEYS_LAST - KEYS_FIRST + 1, 0x81, 0x02, /*   input: variable */
    0x05, 0x08,                                                                      /*   usage page: LEDs */
    0x19, 0x01,       0x29, 0x05,                                                    /*   num lock to kana */
    0x95, 0x05,       0x91, 0x02,                                                    /*   output: variable */
    0x95, 0x03,       0x91, 0x01, /*   output: three bits of nothing */
    0xc0,
};

/* bCountryCode: US, international ISO, Japan. */
static const uint8_t hid_descriptors[][9] = {
    [VMC_USB_ANSI] = HID_DESCRIPTOR(33, sizeof(report_descriptor)),
    [VMC_USB_ISO] = HID_DESCRIPTOR(13, sizeof(report_descriptor)),
    [VMC_USB_JIS] = HID_DESCRIPTOR(15, sizeof(report_descriptor)),
};

#define MODEL(layout)                                                                                        \
    {                                                                                                        \
        .vendor = 0x1d6b, .product = 0x0104, .release = 0x0100, .interface_class = 3,                        \
        .interface_subclass = 1, .interface_protocol = 1, .remote_wakeup = true, .product_name = "Keyboard", \
        .extra = hid_descriptors[layout], .extra_len = 9, .n_endpoints = 2,                                  \
        .endpoints = {                                                                                       \
            {.address = ENDPOINT_IN,                                                                         \
             .attributes = VMC_USB_TRANSFER_INTERRUPT,                                                       \
             .max_packet = 32,                                                                               \
             .interval = 7},                                                                                 \
            {.address = ENDPOINT_OUT,                                                                        \
             .attributes = VMC_USB_TRANSFER_INTERRUPT,                                                       \
             .max_packet = 8,                                                                                \
             .interval = 7},                                                                                 \
        },                                                                                                   \
    }

static const VmcUsbModel models[] = {
    [VMC_USB_ANSI] = MODEL(VMC_USB_ANSI),
    [VMC_USB_ISO] = MODEL(VMC_USB_ISO),
    [VMC_USB_JIS] = MODEL(VMC_USB_JIS),
};

typedef struct Change {
    uint8_t usage;
    bool down;
} Change;

typedef struct Keyboard {
    VmcUsbDevice dev;
    VmcKeyboard input;
    VmcUsbLayout layout;
    bool swap;
    VmcTimer *timer; /* idle rate */

    uint8_t protocol, idle; /* idle in units of 4 ms */
    _Atomic uint8_t leds;   /* as in the output report */
    atomic_bool listening;  /* the driver has asked for a report since it configured us */

    GMutex lock;
    uint8_t down[256 / 8]; /* as the guest will know it with the next report */
    bool news;             /* a report is due */
    Change queue[QUEUE];
    unsigned first, count;
} Keyboard;

static Keyboard *keyboard_of(VmcKeyboard *input)
{
    return (Keyboard *)((char *)input - offsetof(Keyboard, input));
}

/* ---- keys (any thread) ---- */

static bool is_down(const Keyboard *kb, unsigned usage)
{
    return kb->down[usage / 8] & 1u << usage % 8;
}

static void apply(Keyboard *kb, const Change *change)
{
    uint8_t bit = (uint8_t)(1u << change->usage % 8);

    if (change->down)
        kb->down[change->usage / 8] |= bit;
    else
        kb->down[change->usage / 8] &= (uint8_t)~bit;
    kb->news = true;
}

static void take_one(Keyboard *kb)
{
    if (!kb->count)
        return;
    apply(kb, &kb->queue[kb->first]);
    kb->first = (kb->first + 1) % QUEUE;
    kb->count--;
}

static void key(VmcKeyboard *input, unsigned code, bool down)
{
    Keyboard *kb = keyboard_of(input);
    Change change = {vmc_hid_usage(code, kb->layout, kb->swap), down};

    if (!change.usage)
        return;
    g_mutex_lock(&kb->lock);
    if (kb->count == QUEUE)
        take_one(kb);
    kb->queue[(kb->first + kb->count++) % QUEUE] = change;
    g_mutex_unlock(&kb->lock);
    vmc_usb_ready(&kb->dev, ENDPOINT_IN);
    vmc_usb_wake(&kb->dev);
}

/* Num lock, caps lock, scroll lock: LED_NUML and so on are in the order of the usages. */
static uint32_t leds(VmcKeyboard *input)
{
    return keyboard_of(input)->leds & 7u;
}

static bool active(VmcKeyboard *input)
{
    return keyboard_of(input)->listening;
}

static const VmcKeyboardOps keyboard_input_ops = {.key = key, .leds = leds, .active = active};

/* ---- reports ---- */

/* Appendix B.1: modifiers, nothing, six usages; all of them “roll over” when there are more (C.1). */
static uint32_t boot_report(const Keyboard *kb, uint8_t *data)
{
    unsigned n = 0;

    memset(data, 0, BOOT_SIZE);
    data[0] = kb->down[HID_USAGE_MODIFIERS / 8];
    for (unsigned usage = KEYS_FIRST; usage <= KEYS_LAST; usage++) {
        if (!is_down(kb, usage))
            continue;
        if (n == BOOT_KEYS) {
            memset(data + 2, ROLL_OVER, BOOT_KEYS);
            break;
        }
        data[2 + n++] = (uint8_t)usage;
    }
    return BOOT_SIZE;
}

static uint32_t bitmap_report(const Keyboard *kb, uint8_t *data)
{
    memset(data, 0, REPORT_SIZE);
    data[0] = kb->down[HID_USAGE_MODIFIERS / 8];
    for (unsigned i = 0; i <= KEYS_LAST - KEYS_FIRST; i++)
        if (is_down(kb, KEYS_FIRST + i))
            data[1 + i / 8] |= (uint8_t)(1u << i % 8);
    return REPORT_SIZE;
}

static uint32_t make_report(const Keyboard *kb, uint8_t *data)
{
    return kb->protocol == PROTOCOL_BOOT ? boot_report(kb, data) : bitmap_report(kb, data);
}

/* s7.2.4: with an idle rate, a report that often even if nothing has changed. */
static void arm_idle(Keyboard *kb)
{
    if (kb->idle)
        vmc_timer_arm(kb->timer, vmc_now_ns() + kb->idle * IDLE_UNIT_NS);
    else
        vmc_timer_disarm(kb->timer);
}

static void idle_over(void *data)
{
    Keyboard *kb = data;

    g_mutex_lock(&kb->lock);
    kb->news = true;
    g_mutex_unlock(&kb->lock);
    vmc_usb_ready(&kb->dev, ENDPOINT_IN);
}

static VmcUsbStatus send_report(Keyboard *kb, VmcUsbTransfer *t)
{
    uint8_t data[REPORT_SIZE];
    uint32_t size = 0;

    kb->listening = true;
    g_mutex_lock(&kb->lock);
    take_one(kb);
    if (kb->news)
        size = make_report(kb, data);
    kb->news = false;
    g_mutex_unlock(&kb->lock);
    if (!size)
        return VMC_USB_NAK;
    vmc_usb_transfer_put(t, data, size);
    arm_idle(kb);
    return VMC_USB_OK;
}

static VmcUsbStatus transfer(VmcUsbDevice *dev, VmcUsbTransfer *t)
{
    Keyboard *kb = (Keyboard *)dev;
    uint8_t lights;

    if (t->endpoint == ENDPOINT_IN)
        return send_report(kb, t);
    if (vmc_usb_transfer_get(t, &lights, 1))
        kb->leds = lights;
    t->actual = t->length; /* the rest is nothing */
    return VMC_USB_OK;
}

/* ---- requests (s7.2) ---- */

static VmcUsbStatus get_report(Keyboard *kb, const VmcUsbSetup *setup, uint8_t *data, uint32_t *length)
{
    uint32_t size = 1;

    switch (setup->value) {
    case 0x0100: /* input, no report ID */
        g_mutex_lock(&kb->lock);
        size = make_report(kb, data);
        g_mutex_unlock(&kb->lock);
        break;
    case 0x0200: /* output */
        data[0] = kb->leds;
        break;
    default:
        return VMC_USB_STALL;
    }
    *length = MIN(*length, size);
    return VMC_USB_OK;
}

static VmcUsbStatus reply_byte(uint8_t *data, uint32_t *length, uint8_t value)
{
    data[0] = value;
    *length = MIN(*length, 1);
    return VMC_USB_OK;
}

static VmcUsbStatus control(VmcUsbDevice *dev, const VmcUsbSetup *setup, uint8_t *data, uint32_t *length)
{
    Keyboard *kb = (Keyboard *)dev;

    switch (VMC_USB_REQUEST(setup->type, setup->request)) {
    case VMC_USB_REQUEST(VMC_USB_IN | VMC_USB_INTERFACE, VMC_USB_GET_DESCRIPTOR):
        return vmc_hid_descriptor(dev, setup, report_descriptor, sizeof(report_descriptor), data, length);
    case VMC_USB_REQUEST(VMC_USB_IN | VMC_USB_CLASS | VMC_USB_INTERFACE, HID_GET_REPORT):
        return get_report(kb, setup, data, length);
    case VMC_USB_REQUEST(VMC_USB_IN | VMC_USB_CLASS | VMC_USB_INTERFACE, HID_GET_IDLE):
        return reply_byte(data, length, kb->idle);
    case VMC_USB_REQUEST(VMC_USB_IN | VMC_USB_CLASS | VMC_USB_INTERFACE, HID_GET_PROTOCOL):
        return reply_byte(data, length, kb->protocol);
    case VMC_USB_REQUEST(VMC_USB_CLASS | VMC_USB_INTERFACE, HID_SET_REPORT):
        if (setup->value != 0x0200 || !*length)
            return VMC_USB_STALL;
        kb->leds = data[0];
        return VMC_USB_OK;
    case VMC_USB_REQUEST(VMC_USB_CLASS | VMC_USB_INTERFACE, HID_SET_IDLE):
        kb->idle = (uint8_t)(setup->value >> 8);
        arm_idle(kb);
        return VMC_USB_OK;
    case VMC_USB_REQUEST(VMC_USB_CLASS | VMC_USB_INTERFACE, HID_SET_PROTOCOL):
        if (setup->value > PROTOCOL_REPORT)
            return VMC_USB_STALL;
        kb->protocol = (uint8_t)setup->value;
        return VMC_USB_OK;
    default:
        return VMC_USB_STALL;
    }
}

/* ---- lifecycle ---- */

/* What was typed at a driver that is gone is not for the next one; what is held down is. */
static void reset(VmcUsbDevice *dev)
{
    Keyboard *kb = (Keyboard *)dev;

    kb->protocol = PROTOCOL_REPORT;
    kb->idle = 0;
    kb->leds = 0;
    kb->listening = false;
    vmc_timer_disarm(kb->timer);
    g_mutex_lock(&kb->lock);
    while (kb->count)
        take_one(kb);
    kb->news = false;
    for (unsigned i = 0; i < sizeof(kb->down); i++)
        kb->news |= kb->down[i] != 0;
    g_mutex_unlock(&kb->lock);
}

/* Nobody holds a key down in the machine this becomes. */
static void save(VmcUsbDevice *dev, VmcStateWriter *w)
{
    Keyboard *kb = (Keyboard *)dev;
    bool any = false;

    vmc_state_put_u8(w, kb->protocol);
    vmc_state_put_u8(w, kb->idle);
    vmc_state_put_u8(w, kb->leds);
    vmc_state_put_bool(w, kb->listening);
    g_mutex_lock(&kb->lock);
    for (unsigned i = 0; i < sizeof(kb->down); i++)
        any |= kb->down[i] != 0;
    g_mutex_unlock(&kb->lock);
    vmc_state_put_bool(w, any);
}

static bool load(VmcUsbDevice *dev, VmcStateReader *r)
{
    Keyboard *kb = (Keyboard *)dev;

    kb->protocol = vmc_state_get_u8_max(r, PROTOCOL_REPORT);
    kb->idle = vmc_state_get_u8(r);
    kb->leds = vmc_state_get_u8(r);
    kb->listening = vmc_state_get_bool(r);
    g_mutex_lock(&kb->lock);
    kb->news = vmc_state_get_bool(r);
    g_mutex_unlock(&kb->lock);
    arm_idle(kb);
    return vmc_state_ok(r);
}

static void keyboard_free(VmcUsbDevice *dev)
{
    Keyboard *kb = (Keyboard *)dev;

    vmc_timer_free(kb->timer);
    vmc_usb_device_clear(dev);
    g_mutex_clear(&kb->lock);
    g_free(kb);
}

static const VmcUsbOps keyboard_ops = {
    .name = "USB keyboard",
    .control = control,
    .transfer = transfer,
    .reset = reset,
    .free = keyboard_free,
    .save = save,
    .load = load,
};

VmcUsbDevice *vmc_usb_keyboard_new(VmcIo *io, VmcUsbLayout layout, bool swap)
{
    Keyboard *kb = g_new0(Keyboard, 1);

    vmc_usb_device_init(&kb->dev, &keyboard_ops, &models[layout], NULL);
    kb->input.ops = &keyboard_input_ops;
    kb->layout = layout;
    kb->swap = swap;
    kb->protocol = PROTOCOL_REPORT;
    kb->timer = vmc_timer_new(io, idle_over, kb);
    g_mutex_init(&kb->lock);
    return &kb->dev;
}

VmcKeyboard *vmc_usb_keyboard_input(VmcUsbDevice *dev)
{
    return &((Keyboard *)dev)->input;
}
