/*
 * USB pointers of eight buttons and two wheels (HID 1.11): a tablet and a mouse.
 *
 * To a guest the tablet is a mouse whose x and y are absolute, 0 to 32767 over the display; Linux, macOS and
 * Windows take that without a driver of their own. The second wheel is AC Pan. The mouse is for guests that
 * want to know how far it moved, and for firmware, which asks for boot protocol (appendix B.2) and gets the
 * first three bytes of a report.
 *
 * Reports wait in a short queue until the guest asks. One that is nothing but a motion is joined with such a
 * one before it: a slow guest is late, not ever later. When the queue is full, clicks are dropped but what is
 * held down is known to each report, so no button stays down.
 *
 * Threads: events come from any thread and wait under `lock`; the rest is the I/O thread's.
 */
#include <glib.h>
#include <linux/input-event-codes.h>

#include "usb/hid.h"

#define ENDPOINT_IN 0x81u
#define QUEUE       64u
#define REPORT_MAX  7u
#define STEP_MAX    127              /* of a mouse or a wheel, in one report */
#define STEPS_MAX   (100 * STEP_MAX) /* that wait */
#define BOOT_SIZE   3u

#define PROTOCOL_BOOT   0u
#define PROTOCOL_REPORT 1u

static const uint8_t tablet_report[] = {
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

static const uint8_t mouse_report[] = {
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
    0x09, 0x30, 0x09, 0x31, 0x09, 0x38, /*     x, y, wheel */
    0x15, 0x81, 0x25, 0x7f,             /*     -127 to 127 */
    0x75, 0x08, 0x95, 0x03, 0x81, 0x06, /*     input: variable, relative */
    0x05, 0x0c,                         /*     usage page: consumer */
    0x0a, 0x38, 0x02,                   /*     AC Pan */
    0x95, 0x01, 0x81, 0x06,             /*     input: variable, relative */
    0xc0, 0xc0,
};

static const uint8_t tablet_hid[] = HID_DESCRIPTOR(0, sizeof(tablet_report));
static const uint8_t mouse_hid[] = HID_DESCRIPTOR(0, sizeof(mouse_report));

#define ENDPOINT_OF_POINTER                                                                                  \
    {                                                                                                        \
        .address = ENDPOINT_IN, .attributes = VMC_USB_TRANSFER_INTERRUPT, .max_packet = 8, .interval = 4     \
    }

static const VmcUsbModel mouse_model = {
    .vendor = 0x1d6b,
    .product = 0x0107,
    .release = 0x0100,
    .interface_class = 3,
    .interface_subclass = 1, /* of boot protocol, a mouse */
    .interface_protocol = 2,
    .remote_wakeup = true,
    .product_name = "Mouse",
    .extra = mouse_hid,
    .extra_len = sizeof(mouse_hid),
    .n_endpoints = 1,
    .endpoints = {ENDPOINT_OF_POINTER},
};

static const VmcUsbModel tablet_model = {
    .vendor = 0x1d6b,
    .product = 0x0106,
    .release = 0x0100,
    .interface_class = 3,
    .remote_wakeup = true,
    .product_name = "Tablet",
    .extra = tablet_hid,
    .extra_len = sizeof(tablet_hid),
    .n_endpoints = 1,
    .endpoints = {ENDPOINT_OF_POINTER},
};

typedef struct Report {
    uint8_t buttons;
    uint16_t x, y;               /* of a tablet */
    int right, down, wheel, pan; /* not yet sent; may be more than a report takes */
} Report;

typedef struct HidPointer {
    VmcUsbDevice dev;
    VmcPointer input;
    bool relative; /* a mouse */
    uint8_t idle, protocol;
    atomic_bool listening; /* the driver has asked for a report since it configured us */

    GMutex lock;
    Report making; /* what the next sync sends */
    Report last;   /* as the guest knows it; its wheels are 0 */
    Report queue[QUEUE];
    unsigned first, count;
} HidPointer;

static HidPointer *hid_of(VmcPointer *input)
{
    return (HidPointer *)((char *)input - offsetof(HidPointer, input));
}

/* ---- events (any thread) ---- */

static void move_to(VmcPointer *input, unsigned x, unsigned y)
{
    HidPointer *hid = hid_of(input);

    g_mutex_lock(&hid->lock);
    hid->making.x = (uint16_t)MIN(x, VMC_POINTER_MAX);
    hid->making.y = (uint16_t)MIN(y, VMC_POINTER_MAX);
    g_mutex_unlock(&hid->lock);
}

static int clip(int value, int max)
{
    return CLAMP(value, -max, max);
}

static void add_steps(int *steps, int more)
{
    *steps = clip(*steps + clip(more, STEPS_MAX), STEPS_MAX);
}

static void move_by(VmcPointer *input, int right, int down)
{
    HidPointer *hid = hid_of(input);

    g_mutex_lock(&hid->lock);
    add_steps(&hid->making.right, right);
    add_steps(&hid->making.down, down);
    g_mutex_unlock(&hid->lock);
}

static void button(VmcPointer *input, unsigned code, bool down)
{
    HidPointer *hid = hid_of(input);
    unsigned n = code - BTN_LEFT;

    if (n >= 8)
        return;
    g_mutex_lock(&hid->lock);
    if (down)
        hid->making.buttons |= (uint8_t)(1u << n);
    else
        hid->making.buttons &= (uint8_t) ~(1u << n);
    g_mutex_unlock(&hid->lock);
}

static void wheel(VmcPointer *input, int vertical, int horizontal)
{
    HidPointer *hid = hid_of(input);

    g_mutex_lock(&hid->lock);
    add_steps(&hid->making.wheel, vertical);
    add_steps(&hid->making.pan, horizontal);
    g_mutex_unlock(&hid->lock);
}

static bool only_motion(const Report *report, uint8_t buttons_before)
{
    return report->buttons == buttons_before && !report->wheel && !report->pan;
}

/* `last` becomes what is true after `report`, and how far it is from what was before. */
static void join(Report *last, const Report *report)
{
    int right = last->right, down = last->down;

    *last = *report;
    add_steps(&last->right, right);
    add_steps(&last->down, down);
}

/* With the lock. Full: the last one in the queue becomes what is now true. */
static void enqueue(HidPointer *hid, const Report *report)
{
    Report *last = &hid->queue[(hid->first + hid->count + QUEUE - 1) % QUEUE];
    const Report *before =
        hid->count > 1 ? &hid->queue[(hid->first + hid->count + QUEUE - 2) % QUEUE] : &hid->last;

    if (hid->count == QUEUE ||
        (hid->count && only_motion(last, before->buttons) && only_motion(report, last->buttons)))
        join(last, report);
    else
        hid->queue[(hid->first + hid->count++) % QUEUE] = *report;
}

static void forget_steps(Report *report)
{
    report->right = report->down = report->wheel = report->pan = 0;
}

static void sync_report(VmcPointer *input)
{
    HidPointer *hid = hid_of(input);

    g_mutex_lock(&hid->lock);
    enqueue(hid, &hid->making);
    forget_steps(&hid->making);
    g_mutex_unlock(&hid->lock);
    vmc_usb_ready(&hid->dev, ENDPOINT_IN);
    vmc_usb_wake(&hid->dev);
}

static bool active(VmcPointer *input)
{
    return hid_of(input)->listening;
}

static const VmcPointerOps mouse_input_ops = {
    .move_by = move_by,
    .button = button,
    .wheel = wheel,
    .sync = sync_report,
    .active = active,
};

static const VmcPointerOps tablet_input_ops = {
    .move = move_to,
    .button = button,
    .wheel = wheel,
    .sync = sync_report,
    .active = active,
};

/* ---- reports ---- */

/* Returns its length; the steps that it has no room for stay in `report`. */
static uint32_t encode(const HidPointer *hid, Report *report, uint8_t data[REPORT_MAX])
{
    int right = clip(report->right, STEP_MAX), down = clip(report->down, STEP_MAX);
    int wheel = clip(report->wheel, STEP_MAX), pan = clip(report->pan, STEP_MAX);
    const uint8_t mouse[] = {report->buttons, (uint8_t)right, (uint8_t)down, (uint8_t)wheel, (uint8_t)pan};
    const uint8_t tablet[] = {report->buttons,    (uint8_t)report->x,        (uint8_t)(report->x >> 8),
                              (uint8_t)report->y, (uint8_t)(report->y >> 8), (uint8_t)wheel,
                              (uint8_t)pan};

    report->right -= right;
    report->down -= down;
    report->wheel -= wheel;
    report->pan -= pan;
    if (!hid->relative) {
        memcpy(data, tablet, sizeof tablet);
        return sizeof tablet;
    }
    memcpy(data, mouse, sizeof mouse);
    if (hid->protocol == PROTOCOL_REPORT)
        return sizeof mouse;
    report->wheel = report->pan = 0; /* which boot protocol does not know */
    return BOOT_SIZE;
}

/* Takes the first report, or as much of its steps as one report can say. Returns its length, 0: there is
 * none. */
static uint32_t next_report(HidPointer *hid, uint8_t data[REPORT_MAX])
{
    Report *report = &hid->queue[hid->first];

    if (!hid->count)
        return 0;
    uint32_t length = encode(hid, report, data);
    hid->last = *report;
    forget_steps(&hid->last);
    if (!report->right && !report->down && !report->wheel && !report->pan) {
        hid->first = (hid->first + 1) % QUEUE;
        hid->count--;
    }
    return length;
}

static VmcUsbStatus transfer(VmcUsbDevice *dev, VmcUsbTransfer *t)
{
    HidPointer *hid = (HidPointer *)dev;
    uint8_t data[REPORT_MAX];

    hid->listening = true;
    g_mutex_lock(&hid->lock);
    uint32_t length = next_report(hid, data);
    g_mutex_unlock(&hid->lock);
    if (!length)
        return VMC_USB_NAK;
    vmc_usb_transfer_put(t, data, length);
    return VMC_USB_OK;
}

static VmcUsbStatus get_report(HidPointer *hid, const VmcUsbSetup *setup, uint8_t *data, uint32_t *length)
{
    if (setup->value != 0x0100)
        return VMC_USB_STALL;
    g_mutex_lock(&hid->lock);
    uint32_t size = encode(hid, &hid->last, data);
    g_mutex_unlock(&hid->lock);
    *length = MIN(*length, size);
    return VMC_USB_OK;
}

static VmcUsbStatus control(VmcUsbDevice *dev, const VmcUsbSetup *setup, uint8_t *data, uint32_t *length)
{
    HidPointer *hid = (HidPointer *)dev;

    switch (VMC_USB_REQUEST(setup->type, setup->request)) {
    case VMC_USB_REQUEST(VMC_USB_IN | VMC_USB_INTERFACE, VMC_USB_GET_DESCRIPTOR):
        return hid->relative
                   ? vmc_hid_descriptor(dev, setup, mouse_report, sizeof mouse_report, data, length)
                   : vmc_hid_descriptor(dev, setup, tablet_report, sizeof tablet_report, data, length);
    case VMC_USB_REQUEST(VMC_USB_IN | VMC_USB_CLASS | VMC_USB_INTERFACE, HID_GET_REPORT):
        return get_report(hid, setup, data, length);
    case VMC_USB_REQUEST(VMC_USB_IN | VMC_USB_CLASS | VMC_USB_INTERFACE, HID_GET_IDLE):
        data[0] = hid->idle;
        *length = MIN(*length, 1);
        return VMC_USB_OK;
    case VMC_USB_REQUEST(VMC_USB_CLASS | VMC_USB_INTERFACE, HID_SET_IDLE):
        /* Kept; a pointer that does not move has nothing to repeat (s7.2.4 leaves that to the device). */
        hid->idle = (uint8_t)(setup->value >> 8);
        return VMC_USB_OK;
    case VMC_USB_REQUEST(VMC_USB_IN | VMC_USB_CLASS | VMC_USB_INTERFACE, HID_GET_PROTOCOL):
        if (!hid->relative)
            return VMC_USB_STALL;
        data[0] = hid->protocol;
        *length = MIN(*length, 1);
        return VMC_USB_OK;
    case VMC_USB_REQUEST(VMC_USB_CLASS | VMC_USB_INTERFACE, HID_SET_PROTOCOL):
        if (!hid->relative || setup->value > PROTOCOL_REPORT)
            return VMC_USB_STALL;
        hid->protocol = (uint8_t)setup->value;
        return VMC_USB_OK;
    default:
        return VMC_USB_STALL;
    }
}

/* ---- lifecycle ---- */

static void reset(VmcUsbDevice *dev)
{
    HidPointer *hid = (HidPointer *)dev;

    hid->idle = 0;
    hid->protocol = PROTOCOL_REPORT;
    hid->listening = false;
    g_mutex_lock(&hid->lock);
    hid->first = hid->count = 0;
    hid->last = (Report){.x = hid->making.x, .y = hid->making.y};
    if (hid->making.buttons)
        enqueue(hid, &hid->making);
    g_mutex_unlock(&hid->lock);
}

/* Nobody holds a button down in the machine this becomes. */
static void save(VmcUsbDevice *dev, VmcStateWriter *w)
{
    HidPointer *hid = (HidPointer *)dev;

    vmc_state_put_u8(w, hid->idle);
    if (hid->relative)
        vmc_state_put_u8(w, hid->protocol);
    vmc_state_put_bool(w, hid->listening);
    g_mutex_lock(&hid->lock);
    vmc_state_put_u8(w, hid->last.buttons);
    vmc_state_put_u16(w, hid->last.x);
    vmc_state_put_u16(w, hid->last.y);
    g_mutex_unlock(&hid->lock);
}

static bool load(VmcUsbDevice *dev, VmcStateReader *r)
{
    HidPointer *hid = (HidPointer *)dev;

    hid->idle = vmc_state_get_u8(r);
    if (hid->relative)
        hid->protocol = vmc_state_get_u8_max(r, PROTOCOL_REPORT);
    hid->listening = vmc_state_get_bool(r);
    g_mutex_lock(&hid->lock);
    hid->last = (Report){0};
    hid->last.buttons = vmc_state_get_u8(r);
    hid->last.x = vmc_state_get_u16_max(r, VMC_POINTER_MAX);
    hid->last.y = vmc_state_get_u16_max(r, VMC_POINTER_MAX);
    hid->making = hid->last;
    hid->making.buttons = 0;
    if (hid->last.buttons)
        enqueue(hid, &hid->making);
    g_mutex_unlock(&hid->lock);
    return vmc_state_ok(r);
}

static void pointer_free(VmcUsbDevice *dev)
{
    vmc_usb_device_clear(dev);
    g_mutex_clear(&((HidPointer *)dev)->lock);
    g_free(dev);
}

#define POINTER_OPS(words)                                                                                   \
    {                                                                                                        \
        .name = (words), .control = control, .transfer = transfer, .reset = reset, .free = pointer_free,     \
        .save = save, .load = load                                                                           \
    }

static const VmcUsbOps tablet_ops = POINTER_OPS("USB tablet");
static const VmcUsbOps mouse_ops = POINTER_OPS("USB mouse");

static VmcUsbDevice *pointer_new(const VmcUsbOps *ops, const VmcUsbModel *model, const VmcPointerOps *input)
{
    HidPointer *hid = g_new0(HidPointer, 1);

    vmc_usb_device_init(&hid->dev, ops, model, NULL);
    hid->input.ops = input;
    hid->relative = input->move_by != NULL;
    hid->protocol = PROTOCOL_REPORT;
    g_mutex_init(&hid->lock);
    return &hid->dev;
}

VmcUsbDevice *vmc_usb_tablet_new(void)
{
    return pointer_new(&tablet_ops, &tablet_model, &tablet_input_ops);
}

VmcUsbDevice *vmc_usb_mouse_new(void)
{
    return pointer_new(&mouse_ops, &mouse_model, &mouse_input_ops);
}

VmcPointer *vmc_usb_pointer_input(VmcUsbDevice *dev)
{
    return &((HidPointer *)dev)->input;
}
