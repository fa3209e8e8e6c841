/*
 * A USB tablet: an absolute pointer of eight buttons and two wheels (HID 1.11).
 *
 * To a guest it is a mouse whose x and y are absolute, 0 to 32767 over the display; Linux, macOS and Windows
 * take that without a driver of their own. The second wheel is AC Pan.
 *
 * Reports wait in a short queue until the guest asks. One that is nothing but a position replaces such a one
 * before it: a slow guest is late, not ever later. When the queue is full, clicks are dropped but what is
 * held down is known to each report, so no button stays down.
 *
 * Threads: events come from any thread and wait under `lock`; the rest is the I/O thread's.
 */
#include <glib.h>
#include <linux/input-event-codes.h>

#include "usb/hid.h"

#define ENDPOINT_IN 0x81u
#define QUEUE       64u
#define REPORT_SIZE 7u
#define WHEEL_MAX   127

static const uint8_t report_descriptor[] = {
    0x05, 0x01,                         /* usage page: generic desktop */
    0x09, 0x02,                         /* usage: mouse */
    0xa1, 0x01,                         /* collection: application */
    0x09, 0x01,                         /*   usage: pointer */
    0xa1, 0x00,                         /*   collection: physical */
    0x05, 0x09,                         /*     usage page: buttons */
    0x19, 0x01, 0x29, 0x08,             /*     eight, in the order of BTN_LEFT.. */
    0x15, 0x00, 0x25, 0x01,             /*     0 to 1 */
    0x95, 0x08, 0x75, 0x01, 0x81, 0x02, /*     input: variable, absolute */
    0x05, 0x01,                         /*     usage page: generic desktop */
    0x09, 0x30, 0x09, 0x31,             /*     x, y */
    0x15, 0x00, 0x26, 0xff, 0x7f,       /*     0 to 32767 */
    0x35, 0x00, 0x46, 0xff, 0x7f,       /*     physically too */
    0x75, 0x10, 0x95, 0x02, 0x81, 0x02, /*     input: variable, absolute */
    0x35, 0x00, 0x45, 0x00,             /*     no physical range */
    0x09, 0x38,                         /*     wheel */
    0x15, 0x81, 0x25, 0x7f,             /*     -127 to 127 */
    0x75, 0x08, 0x95, 0x01, 0x81, 0x06, /*     input: variable, relative */
    0x05, 0x0c,                         /*     usage page: consumer */
    0x0a, 0x38, 0x02,                   /*     AC Pan */
    0x81, 0x06,                         /*     input: variable, relative */
    0xc0, 0xc0,
};

static const uint8_t hid_descriptor[] = HID_DESCRIPTOR(0, sizeof(report_descriptor));

static const VmcUsbModel tablet_model = {
    .vendor = 0x1d6b,
    .product = 0x0106,
    .release = 0x0100,
    .interface_class = 3,
    .remote_wakeup = true,
    .product_name = "Tablet",
    .extra = hid_descriptor,
    .extra_len = sizeof(hid_descriptor),
    .n_endpoints = 1,
    .endpoints =
        {{.address = ENDPOINT_IN, .attributes = VMC_USB_TRANSFER_INTERRUPT, .max_packet = 8, .interval = 4}},
};

typedef struct Report {
    uint8_t buttons;
    uint16_t x, y;
    int wheel, pan; /* not yet sent; may be more than a report takes */
} Report;

typedef struct Tablet {
    VmcUsbDevice dev;
    VmcPointer input;
    uint8_t idle;
    atomic_bool listening; /* the driver has asked for a report since it configured us */

    GMutex lock;
    Report making; /* what the next sync sends */
    Report last;   /* as the guest knows it; its wheels are 0 */
    Report queue[QUEUE];
    unsigned first, count;
} Tablet;

static Tablet *tablet_of(VmcPointer *input)
{
    return (Tablet *)((char *)input - offsetof(Tablet, input));
}

/* ---- events (any thread) ---- */

static void move_to(VmcPointer *input, unsigned x, unsigned y)
{
    Tablet *tablet = tablet_of(input);

    g_mutex_lock(&tablet->lock);
    tablet->making.x = (uint16_t)MIN(x, VMC_POINTER_MAX);
    tablet->making.y = (uint16_t)MIN(y, VMC_POINTER_MAX);
    g_mutex_unlock(&tablet->lock);
}

static void button(VmcPointer *input, unsigned code, bool down)
{
    Tablet *tablet = tablet_of(input);
    unsigned n = code - BTN_LEFT;

    if (n >= 8)
        return;
    g_mutex_lock(&tablet->lock);
    if (down)
        tablet->making.buttons |= (uint8_t)(1u << n);
    else
        tablet->making.buttons &= (uint8_t) ~(1u << n);
    g_mutex_unlock(&tablet->lock);
}

static int clip(int value, int max)
{
    return CLAMP(value, -max, max);
}

static void wheel(VmcPointer *input, int vertical, int horizontal)
{
    Tablet *tablet = tablet_of(input);

    g_mutex_lock(&tablet->lock);
    tablet->making.wheel = clip(tablet->making.wheel + clip(vertical, 10 * WHEEL_MAX), 10 * WHEEL_MAX);
    tablet->making.pan = clip(tablet->making.pan + clip(horizontal, 10 * WHEEL_MAX), 10 * WHEEL_MAX);
    g_mutex_unlock(&tablet->lock);
}

static bool only_motion(const Report *report, uint8_t buttons_before)
{
    return report->buttons == buttons_before && !report->wheel && !report->pan;
}

/* With the lock. Full: the last one in the queue becomes what is now true. */
static void enqueue(Tablet *tablet, const Report *report)
{
    Report *last = &tablet->queue[(tablet->first + tablet->count + QUEUE - 1) % QUEUE];
    const Report *before = tablet->count > 1
                               ? &tablet->queue[(tablet->first + tablet->count + QUEUE - 2) % QUEUE]
                               : &tablet->last;

    if (tablet->count == QUEUE ||
        (tablet->count && only_motion(last, before->buttons) && only_motion(report, last->buttons)))
        *last = *report;
    else
        tablet->queue[(tablet->first + tablet->count++) % QUEUE] = *report;
}

static void sync_report(VmcPointer *input)
{
    Tablet *tablet = tablet_of(input);

    g_mutex_lock(&tablet->lock);
    enqueue(tablet, &tablet->making);
    tablet->making.wheel = tablet->making.pan = 0;
    g_mutex_unlock(&tablet->lock);
    vmc_usb_ready(&tablet->dev, ENDPOINT_IN);
    vmc_usb_wake(&tablet->dev);
}

static bool active(VmcPointer *input)
{
    return tablet_of(input)->listening;
}

static const VmcPointerOps tablet_input_ops = {
    .move = move_to,
    .button = button,
    .wheel = wheel,
    .sync = sync_report,
    .active = active,
};

/* ---- reports ---- */

static void encode(const Report *report, uint8_t data[REPORT_SIZE])
{
    data[0] = report->buttons;
    data[1] = (uint8_t)report->x;
    data[2] = (uint8_t)(report->x >> 8);
    data[3] = (uint8_t)report->y;
    data[4] = (uint8_t)(report->y >> 8);
    data[5] = (uint8_t)clip(report->wheel, WHEEL_MAX);
    data[6] = (uint8_t)clip(report->pan, WHEEL_MAX);
}

/* Takes the first report, or as much of its wheels as one report can say. */
static bool next_report(Tablet *tablet, uint8_t data[REPORT_SIZE])
{
    Report *report = &tablet->queue[tablet->first];

    if (!tablet->count)
        return false;
    encode(report, data);
    report->wheel -= clip(report->wheel, WHEEL_MAX);
    report->pan -= clip(report->pan, WHEEL_MAX);
    tablet->last = *report;
    tablet->last.wheel = tablet->last.pan = 0;
    if (!report->wheel && !report->pan) {
        tablet->first = (tablet->first + 1) % QUEUE;
        tablet->count--;
    }
    return true;
}

static VmcUsbStatus transfer(VmcUsbDevice *dev, VmcUsbTransfer *t)
{
    Tablet *tablet = (Tablet *)dev;
    uint8_t data[REPORT_SIZE];

    tablet->listening = true;
    g_mutex_lock(&tablet->lock);
    bool any = next_report(tablet, data);
    g_mutex_unlock(&tablet->lock);
    if (!any)
        return VMC_USB_NAK;
    vmc_usb_transfer_put(t, data, sizeof(data));
    return VMC_USB_OK;
}

static VmcUsbStatus get_report(Tablet *tablet, const VmcUsbSetup *setup, uint8_t *data, uint32_t *length)
{
    if (setup->value != 0x0100)
        return VMC_USB_STALL;
    g_mutex_lock(&tablet->lock);
    encode(&tablet->last, data);
    g_mutex_unlock(&tablet->lock);
    *length = MIN(*length, REPORT_SIZE);
    return VMC_USB_OK;
}

static VmcUsbStatus control(VmcUsbDevice *dev, const VmcUsbSetup *setup, uint8_t *data, uint32_t *length)
{
    Tablet *tablet = (Tablet *)dev;

    switch (VMC_USB_REQUEST(setup->type, setup->request)) {
    case VMC_USB_REQUEST(VMC_USB_IN | VMC_USB_INTERFACE, VMC_USB_GET_DESCRIPTOR):
        return vmc_hid_descriptor(dev, setup, report_descriptor, sizeof(report_descriptor), data, length);
    case VMC_USB_REQUEST(VMC_USB_IN | VMC_USB_CLASS | VMC_USB_INTERFACE, HID_GET_REPORT):
        return get_report(tablet, setup, data, length);
    case VMC_USB_REQUEST(VMC_USB_IN | VMC_USB_CLASS | VMC_USB_INTERFACE, HID_GET_IDLE):
        data[0] = tablet->idle;
        *length = MIN(*length, 1);
        return VMC_USB_OK;
    case VMC_USB_REQUEST(VMC_USB_CLASS | VMC_USB_INTERFACE, HID_SET_IDLE):
        /* Kept; a pointer that does not move has nothing to repeat (s7.2.4 leaves that to the device). */
        tablet->idle = (uint8_t)(setup->value >> 8);
        return VMC_USB_OK;
    default:
        return VMC_USB_STALL;
    }
}

/* ---- lifecycle ---- */

static void reset(VmcUsbDevice *dev)
{
    Tablet *tablet = (Tablet *)dev;

    tablet->idle = 0;
    tablet->listening = false;
    g_mutex_lock(&tablet->lock);
    tablet->first = tablet->count = 0;
    tablet->last = (Report){.x = tablet->making.x, .y = tablet->making.y};
    if (tablet->making.buttons)
        enqueue(tablet, &tablet->making);
    g_mutex_unlock(&tablet->lock);
}

/* Nobody holds a button down in the machine this becomes. */
static void save(VmcUsbDevice *dev, VmcStateWriter *w)
{
    Tablet *tablet = (Tablet *)dev;

    vmc_state_put_u8(w, tablet->idle);
    vmc_state_put_bool(w, tablet->listening);
    g_mutex_lock(&tablet->lock);
    vmc_state_put_u8(w, tablet->last.buttons);
    vmc_state_put_u16(w, tablet->last.x);
    vmc_state_put_u16(w, tablet->last.y);
    g_mutex_unlock(&tablet->lock);
}

static bool load(VmcUsbDevice *dev, VmcStateReader *r)
{
    Tablet *tablet = (Tablet *)dev;

    tablet->idle = vmc_state_get_u8(r);
    tablet->listening = vmc_state_get_bool(r);
    g_mutex_lock(&tablet->lock);
    tablet->last = (Report){0};
    tablet->last.buttons = vmc_state_get_u8(r);
    tablet->last.x = vmc_state_get_u16_max(r, VMC_POINTER_MAX);
    tablet->last.y = vmc_state_get_u16_max(r, VMC_POINTER_MAX);
    tablet->making = tablet->last;
    tablet->making.buttons = 0;
    if (tablet->last.buttons)
        enqueue(tablet, &tablet->making);
    g_mutex_unlock(&tablet->lock);
    return vmc_state_ok(r);
}

static void tablet_free(VmcUsbDevice *dev)
{
    vmc_usb_device_clear(dev);
    g_mutex_clear(&((Tablet *)dev)->lock);
    g_free(dev);
}

static const VmcUsbOps tablet_ops = {
    .name = "USB tablet",
    .control = control,
    .transfer = transfer,
    .reset = reset,
    .free = tablet_free,
    .save = save,
    .load = load,
};

VmcUsbDevice *vmc_usb_tablet_new(void)
{
    Tablet *tablet = g_new0(Tablet, 1);

    vmc_usb_device_init(&tablet->dev, &tablet_ops, &tablet_model, NULL);
    tablet->input.ops = &tablet_input_ops;
    g_mutex_init(&tablet->lock);
    return &tablet->dev;
}

VmcPointer *vmc_usb_tablet_input(VmcUsbDevice *dev)
{
    return &((Tablet *)dev)->input;
}
