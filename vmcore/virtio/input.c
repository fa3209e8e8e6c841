/*
 * virtio-input (VIRTIO 1.2 s5.8): a keyboard, and a tablet that is an absolute pointer with buttons and
 * wheels.
 *
 * Events come from any thread, one report at a time, and go into a bounded outbox; the I/O thread moves whole
 * reports into the guest's buffers when there are enough of them. A report that is nothing but a position
 * replaces the one before it if that is as yet unsent: a slow guest is late, not ever later. What finds no
 * room in the outbox is dropped whole. So that no key stays down for ever because its release was dropped,
 * the keys as they are and as the guest knows them are both kept, and when the outbox has drained, the guest
 * is told the difference.
 */
#include <linux/input.h>

#include "base/input.h"
#include "virtio/devices.h"
#include "virtio/virtio_pci.h"

#define QUEUE_EVENTS 0u
#define QUEUE_STATUS 1u

#define REPORT_MAX 32u   /* events, EV_SYN included */
#define OUTBOX     128u  /* reports */
#define ABS_LAST   32767 /* x and y run from 0 to this */

/* s5.8.2 */
#define CFG_ID_NAME    0x01u
#define CFG_ID_SERIAL  0x02u
#define CFG_ID_DEVIDS  0x03u
#define CFG_PROP_BITS  0x10u
#define CFG_EV_BITS    0x11u
#define CFG_ABS_INFO   0x12u
#define CFG_PAYLOAD    128u
#define CFG_SELECTABLE 2u

#define EVENT_SIZE 8u

typedef struct InputConfig {
    uint8_t select, subsel, size, reserved[5];
    uint8_t payload[CFG_PAYLOAD];
} InputConfig;

_Static_assert(sizeof(InputConfig) == 136, "as in s5.8.4");

typedef struct InputEvent {
    uint16_t type, code;
    uint32_t value;
} InputEvent;

_Static_assert(sizeof(InputEvent) == EVENT_SIZE, "as in s5.8.6");

/* All codes from first to last of one event type. */
typedef struct CodeRange {
    uint16_t type, first, last;
} CodeRange;

/* What a kind of input device says of itself. */
typedef struct InputModel {
    const char *name;
    uint16_t product;
    const CodeRange *codes;
    unsigned n_codes;
} InputModel;

typedef struct Report {
    unsigned n;
    InputEvent events[REPORT_MAX];
} Report;

#define KEY_WORDS ((KEY_CNT + 63) / 64)

typedef struct Input {
    VmcVirtioDevice dev;
    VmcPciDevice *pci;
    VmcKeyboard keyboard; /* how front ends see it; one of the two */
    VmcPointer pointer;
    const InputModel *model;
    VmcDoorbell *bell; /* there is something in the outbox */

    uint8_t select, subsel; /* vCPUs, under the transport's lock */
    _Atomic uint32_t leds;

    GMutex lock; /* all of this */
    bool open;   /* a driver is there to have events */
    bool lost;   /* a report was dropped since the guest last knew all */
    bool overlong;
    Report making;
    Report outbox[OUTBOX];
    unsigned first, count;
    uint64_t keys[KEY_WORDS], keys_sent[KEY_WORDS];

    VmcVirtqElement elems[REPORT_MAX]; /* I/O thread */
} Input;

static const CodeRange keyboard_codes[] = {
    {EV_KEY, KEY_ESC, KEY_MICMUTE},
    {EV_LED, LED_NUML, LED_SCROLLL},
    {EV_REP, REP_DELAY, REP_PERIOD}, /* the guest's kernel repeats held keys */
};

static const CodeRange tablet_codes[] = {
    {EV_KEY, BTN_LEFT, BTN_TASK},
    {EV_REL, REL_HWHEEL, REL_HWHEEL},
    {EV_REL, REL_WHEEL, REL_WHEEL},
    {EV_ABS, ABS_X, ABS_Y},
};

static const InputModel keyboard = {
    .name = "Espalier Keyboard",
    .product = 1,
    .codes = keyboard_codes,
    .n_codes = G_N_ELEMENTS(keyboard_codes),
};

static const InputModel tablet = {
    .name = "Espalier Tablet",
    .product = 2,
    .codes = tablet_codes,
    .n_codes = G_N_ELEMENTS(tablet_codes),
};

/* ---- configuration (vCPUs) ---- */

static unsigned event_bits(const InputModel *model, unsigned type, uint8_t payload[CFG_PAYLOAD])
{
    unsigned size = 0;

    for (unsigned i = 0; i < model->n_codes; i++) {
        const CodeRange *range = &model->codes[i];
        if (range->type != type)
            continue;
        for (unsigned code = range->first; code <= range->last; code++)
            payload[code / 8] |= (uint8_t)(1 << code % 8);
        size = MAX(size, range->last / 8 + 1u);
    }
    return size;
}

static void put_le(uint8_t *p, uint32_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        p[i] = (uint8_t)(value >> (8 * i));
}

static bool has_code(const InputModel *model, unsigned type, unsigned code)
{
    for (unsigned i = 0; i < model->n_codes; i++)
        if (model->codes[i].type == type && code >= model->codes[i].first && code <= model->codes[i].last)
            return true;
    return false;
}

/* Fills in what is selected; returns its size, 0 for what there is not. */
static unsigned selected(const Input *input, uint8_t payload[CFG_PAYLOAD])
{
    const InputModel *model = input->model;

    switch (input->select) {
    case CFG_ID_NAME:
        if (input->subsel)
            return 0;
        memcpy(payload, model->name, strlen(model->name));
        return (unsigned)strlen(model->name);
    case CFG_ID_DEVIDS:
        if (input->subsel)
            return 0;
        put_le(payload, BUS_VIRTUAL, 2);
        put_le(payload + 2, 0x1af4, 2);
        put_le(payload + 4, model->product, 2);
        put_le(payload + 6, 1, 2);
        return 8;
    case CFG_EV_BITS:
        return event_bits(model, input->subsel, payload);
    case CFG_ABS_INFO: /* min, max, fuzz, flat, res */
        if (!has_code(model, EV_ABS, input->subsel))
            return 0;
        put_le(payload + 4, ABS_LAST, 4);
        return 20;
    case CFG_ID_SERIAL: /* none; nor any property */
    case CFG_PROP_BITS:
    default:
        return 0;
    }
}

static void config_read(VmcVirtioDevice *dev, uint32_t offset, void *buf, size_t len)
{
    const Input *input = (const Input *)dev;
    InputConfig config = {.select = input->select, .subsel = input->subsel};

    config.size = (uint8_t)selected(input, config.payload);
    memcpy(buf, (uint8_t *)&config + offset, len);
}

static void config_write(VmcVirtioDevice *dev, uint32_t offset, const void *buf, size_t len)
{
    Input *input = (Input *)dev;
    const uint8_t *bytes = buf;

    for (size_t i = 0; i < len && offset + i < CFG_SELECTABLE; i++) {
        if (offset + i == 0)
            input->select = bytes[i];
        else
            input->subsel = bytes[i];
    }
}

/* ---- the outbox (with `lock` held) ---- */

static void set_key(uint64_t *keys, unsigned code, bool down)
{
    uint64_t bit = 1ull << (code % 64);

    keys[code / 64] = down ? keys[code / 64] | bit : keys[code / 64] & ~bit;
}

static bool only_motion(const Report *report)
{
    for (unsigned i = 0; i < report->n; i++)
        if (report->events[i].type != EV_ABS && report->events[i].type != EV_SYN)
            return false;
    return true;
}

/* Whether `newer` gives every axis that `older` does, so that nothing is missed without the latter. */
static bool supersedes(const Report *newer, const Report *older)
{
    if (!only_motion(newer) || !only_motion(older))
        return false;
    for (unsigned i = 0; i < older->n; i++) {
        bool found = false;
        for (unsigned j = 0; j < newer->n && !found; j++)
            found = newer->events[j].type == older->events[i].type &&
                    newer->events[j].code == older->events[i].code;
        if (!found)
            return false;
    }
    return true;
}

static void enqueue(Input *input, const Report *report)
{
    Report *last = &input->outbox[(input->first + input->count - 1) % OUTBOX];

    if (input->count && supersedes(report, last)) {
        *last = *report;
    } else if (input->count == OUTBOX) {
        input->lost = true;
    } else {
        input->outbox[(input->first + input->count++) % OUTBOX] = *report;
    }
}

/* One report of key changes the guest has missed. False: it has missed none. */
static bool enqueue_difference(Input *input)
{
    Report report = {.n = 0};

    for (unsigned code = 0; code < KEY_CNT && report.n < REPORT_MAX - 1; code++) {
        uint64_t bit = 1ull << (code % 64);
        bool down = input->keys[code / 64] & bit;
        if (down != !!(input->keys_sent[code / 64] & bit))
            report.events[report.n++] = (InputEvent){EV_KEY, (uint16_t)code, down};
    }
    if (!report.n)
        return false;
    report.events[report.n++] = (InputEvent){EV_SYN, SYN_REPORT, 0};
    enqueue(input, &report);
    return true;
}

static const Report *next_report(Input *input)
{
    if (!input->count && input->lost)
        input->lost = enqueue_difference(input);
    return input->count ? &input->outbox[input->first] : NULL;
}

static void forget_all(Input *input)
{
    input->making.n = 0;
    input->first = input->count = 0;
    input->lost = input->overlong = false;
    memset(input->keys, 0, sizeof(input->keys));
    memset(input->keys_sent, 0, sizeof(input->keys_sent));
}

/* ---- the queues (I/O thread) ---- */

/* Puts a report into as many of the guest's buffers. False: the ring or a buffer was no good. */
static bool send_report(Input *input, const Report *report)
{
    VmcVirtioDevice *dev = &input->dev;

    for (unsigned i = 0; i < report->n; i++) {
        if (!vmc_virtio_pop(dev, QUEUE_EVENTS, &input->elems[i]))
            return false;
        if (input->elems[i].in_len < EVENT_SIZE) {
            vmc_virtio_needs_reset(dev);
            return false;
        }
    }
    for (unsigned i = 0; i < report->n; i++) {
        const InputEvent *event = &report->events[i];
        InputEvent le = {GUINT16_TO_LE(event->type), GUINT16_TO_LE(event->code), GUINT32_TO_LE(event->value)};
        vmc_virtq_element_write(&input->elems[i], &le, sizeof(le));
        vmc_virtio_push(dev, QUEUE_EVENTS, &input->elems[i], sizeof(le));
        if (event->type == EV_KEY)
            set_key(input->keys_sent, event->code, event->value);
    }
    return true;
}

static void send_reports(Input *input)
{
    VmcVirtioDevice *dev = &input->dev;
    VmcVirtqueue *vq = &dev->queues[QUEUE_EVENTS];
    const Report *report;

    /* A device that may not use memory must not even say there that it wants no notifications. */
    if (!dev->running || !atomic_load(&dev->dma))
        return;
    g_mutex_lock(&input->lock);
    vmc_virtqueue_set_notification(vq, false);
    while (dev->running && atomic_load(&dev->dma) && (report = next_report(input))) {
        if (vmc_virtqueue_available(vq) < report->n) {
            /* The driver shall say when there are more buffers, unless there just are. */
            vmc_virtqueue_set_notification(vq, true);
            if (vmc_virtqueue_available(vq) < report->n)
                break;
        }
        if (!send_report(input, report))
            break;
        input->first = (input->first + 1) % OUTBOX;
        input->count--;
    }
    g_mutex_unlock(&input->lock);
    vmc_virtio_notify(dev, QUEUE_EVENTS);
}

static void take_status(Input *input, VmcVirtqElement *elem)
{
    InputEvent event;

    while (vmc_virtq_element_read(elem, &event, sizeof(event)) == sizeof(event)) {
        uint16_t code = GUINT16_FROM_LE(event.code);
        if (GUINT16_FROM_LE(event.type) != EV_LED || !has_code(input->model, EV_LED, code))
            continue;
        if (event.value)
            atomic_fetch_or(&input->leds, 1u << code);
        else
            atomic_fetch_and(&input->leds, ~(1u << code));
    }
}

static void receive_status(Input *input)
{
    VmcVirtioDevice *dev = &input->dev;
    VmcVirtqElement *elem = &input->elems[0];

    for (unsigned n = 0; n < dev->queues[QUEUE_STATUS].max_size; n++) {
        if (!vmc_virtio_pop(dev, QUEUE_STATUS, elem))
            break;
        /* A driver sends one event in a chain; more than a report would be time for nothing. */
        if (elem->out_len <= REPORT_MAX * EVENT_SIZE)
            take_status(input, elem);
        vmc_virtio_push(dev, QUEUE_STATUS, elem, 0);
    }
    vmc_virtqueue_set_notification(&dev->queues[QUEUE_STATUS], true);
    vmc_virtio_notify(dev, QUEUE_STATUS);
    if (vmc_virtqueue_available(&dev->queues[QUEUE_STATUS]))
        vmc_virtio_kick(dev, QUEUE_STATUS);
}

static void queue_notified(VmcVirtioDevice *dev, unsigned queue)
{
    if (queue == QUEUE_EVENTS)
        send_reports((Input *)dev);
    else
        receive_status((Input *)dev);
}

static void outbox_filled(void *data)
{
    send_reports(data);
}

/* ---- lifecycle ---- */

static void set_open(Input *input, bool open)
{
    g_mutex_lock(&input->lock);
    input->open = open;
    forget_all(input);
    g_mutex_unlock(&input->lock);
}

static void driver_ok(VmcVirtioDevice *dev)
{
    set_open((Input *)dev, true);
}

static bool reset(VmcVirtioDevice *dev)
{
    Input *input = (Input *)dev;

    set_open(input, false);
    input->leds = 0;
    return true;
}

/* What has not been sent is of the past. What the guest takes for held down is not in the machine this
 * becomes: it is told so. */
static void save(VmcVirtioDevice *dev, VmcStateWriter *w)
{
    Input *input = (Input *)dev;

    vmc_state_put_u8(w, input->select);
    vmc_state_put_u8(w, input->subsel);
    vmc_state_put_u32(w, input->leds);
    g_mutex_lock(&input->lock);
    for (unsigned i = 0; i < KEY_WORDS; i++)
        vmc_state_put_u64(w, input->keys_sent[i]);
    g_mutex_unlock(&input->lock);
}

static bool load(VmcVirtioDevice *dev, VmcStateReader *r)
{
    Input *input = (Input *)dev;

    input->select = vmc_state_get_u8(r);
    input->subsel = vmc_state_get_u8(r);
    input->leds = vmc_state_get_u32(r);
    set_open(input, dev->running);
    g_mutex_lock(&input->lock);
    for (unsigned i = 0; i < KEY_WORDS; i++)
        input->keys_sent[i] = vmc_state_get_u64(r);
    input->lost = true;
    g_mutex_unlock(&input->lock);
    return vmc_state_ok(r);
}

static void input_free(VmcVirtioDevice *dev)
{
    Input *input = (Input *)dev;

    vmc_doorbell_free(input->bell);
    for (unsigned i = 0; i < REPORT_MAX; i++)
        vmc_virtq_element_clear(&input->elems[i]);
    g_mutex_clear(&input->lock);
    g_free(input);
}

#define INPUT_OPS(cls)                                                                                       \
    {                                                                                                        \
        .name = "virtio-input", .type = VMC_VIRTIO_ID_INPUT, .pci_class = (cls),                             \
        .config_size = sizeof(InputConfig), .n_queues = 2, .queue_sizes = {64, 64},                          \
        .config_read = config_read, .config_write = config_write, .driver_ok = driver_ok,                    \
        .queue_notified = queue_notified, .reset = reset, .free = input_free, .save = save, .load = load,    \
    }

static const VmcVirtioOps keyboard_ops = INPUT_OPS(0x090000);
static const VmcVirtioOps tablet_ops = INPUT_OPS(0x090200);

/* ---- as front ends see it (base/input.h; any thread) ---- */

static Input *input_of_keyboard(VmcKeyboard *keyboard_seen)
{
    return (Input *)((char *)keyboard_seen - offsetof(Input, keyboard));
}

static Input *input_of_pointer(VmcPointer *pointer)
{
    return (Input *)((char *)pointer - offsetof(Input, pointer));
}

static bool is_open(Input *input)
{
    g_mutex_lock(&input->lock);
    bool open = input->open;
    g_mutex_unlock(&input->lock);
    return open;
}

static void press(VmcKeyboard *to, unsigned code, bool down)
{
    VmcPciDevice *pci = input_of_keyboard(to)->pci;

    vmc_virtio_input_event(pci, EV_KEY, code, down);
    vmc_virtio_input_sync(pci);
}

static uint32_t lights(VmcKeyboard *of)
{
    return vmc_virtio_input_leds(input_of_keyboard(of)->pci);
}

static bool keyboard_active(VmcKeyboard *of)
{
    return is_open(input_of_keyboard(of));
}

static void move(VmcPointer *pointer, unsigned x, unsigned y)
{
    VmcPciDevice *pci = input_of_pointer(pointer)->pci;

    vmc_virtio_input_event(pci, EV_ABS, ABS_X, (int)MIN(x, VMC_POINTER_MAX));
    vmc_virtio_input_event(pci, EV_ABS, ABS_Y, (int)MIN(y, VMC_POINTER_MAX));
}

static void click(VmcPointer *pointer, unsigned code, bool down)
{
    vmc_virtio_input_event(input_of_pointer(pointer)->pci, EV_KEY, code, down);
}

static void wheel(VmcPointer *pointer, int vertical, int horizontal)
{
    VmcPciDevice *pci = input_of_pointer(pointer)->pci;

    if (vertical)
        vmc_virtio_input_event(pci, EV_REL, REL_WHEEL, vertical);
    if (horizontal)
        vmc_virtio_input_event(pci, EV_REL, REL_HWHEEL, horizontal);
}

static void sync_pointer(VmcPointer *pointer)
{
    vmc_virtio_input_sync(input_of_pointer(pointer)->pci);
}

static bool pointer_active(VmcPointer *pointer)
{
    return is_open(input_of_pointer(pointer));
}

static const VmcKeyboardOps keyboard_input_ops = {
    .key = press,
    .leds = lights,
    .active = keyboard_active,
};

static const VmcPointerOps pointer_input_ops = {
    .move = move,
    .button = click,
    .wheel = wheel,
    .sync = sync_pointer,
    .active = pointer_active,
};

static VmcPciDevice *input_new(const VmcVirtioHost *host, const VmcVirtioOps *ops, const InputModel *model)
{
    Input *input = g_new0(Input, 1);

    vmc_virtio_device_init(&input->dev, ops, host->memory, host->io);
    input->model = model;
    g_mutex_init(&input->lock);
    input->bell = vmc_doorbell_new(host->io, outbox_filled, input);
    if (!input->bell) {
        input_free(&input->dev);
        return NULL;
    }
    input->keyboard.ops = &keyboard_input_ops;
    input->pointer.ops = &pointer_input_ops;
    input->pci = vmc_virtio_pci_new(&input->dev);
    return input->pci;
}

VmcPciDevice *vmc_virtio_keyboard_new(const VmcVirtioHost *host)
{
    return input_new(host, &keyboard_ops, &keyboard);
}

VmcPciDevice *vmc_virtio_tablet_new(const VmcVirtioHost *host)
{
    return input_new(host, &tablet_ops, &tablet);
}

/* ---- what a front end calls (any thread) ---- */

static Input *input_of(VmcPciDevice *pci)
{
    VmcVirtioDevice *dev = vmc_virtio_pci_device(pci, &keyboard_ops);

    return (Input *)(dev ? dev : vmc_virtio_pci_device(pci, &tablet_ops));
}

void vmc_virtio_input_event(VmcPciDevice *pci, unsigned type, unsigned code, int value)
{
    Input *input = input_of(pci);

    if (!input || type == EV_LED || type == EV_REP || !has_code(input->model, type, code))
        return;
    if (type == EV_ABS)
        value = CLAMP(value, 0, ABS_LAST);
    g_mutex_lock(&input->lock);
    if (type == EV_KEY)
        set_key(input->keys, code, value);
    if (input->making.n < REPORT_MAX - 1)
        input->making.events[input->making.n++] =
            (InputEvent){(uint16_t)type, (uint16_t)code, (uint32_t)value};
    else
        input->overlong = true;
    g_mutex_unlock(&input->lock);
}

void vmc_virtio_input_sync(VmcPciDevice *pci)
{
    Input *input = input_of(pci);

    if (!input)
        return;
    g_mutex_lock(&input->lock);
    Report *making = &input->making;
    if (!input->open) {
        forget_all(input);
    } else if (input->overlong) {
        input->lost = true;
    } else if (making->n) {
        making->events[making->n++] = (InputEvent){EV_SYN, SYN_REPORT, 0};
        enqueue(input, making);
    }
    making->n = 0;
    input->overlong = false;
    g_mutex_unlock(&input->lock);
    vmc_doorbell_ring(input->bell);
}

uint32_t vmc_virtio_input_leds(VmcPciDevice *pci)
{
    Input *input = input_of(pci);

    return input ? input->leds : 0;
}

VmcKeyboard *vmc_virtio_keyboard_input(VmcPciDevice *pci)
{
    return &input_of(pci)->keyboard;
}

VmcPointer *vmc_virtio_tablet_input(VmcPciDevice *pci)
{
    return &input_of(pci)->pointer;
}
