/*
 * The xHCI and everything that can be plugged into it: a driver that brings the controller up, gives devices
 * addresses and endpoints and talks to them, and makes mistakes at each step; keys and pointer from outside,
 * sticks that come and go.
 *
 * covers: vmcore/usb/xhci.c vmcore/usb/xhci_rings.c vmcore/usb/xhci_commands.c vmcore/usb/xhci_contexts.c
 * vmcore/usb/xhci_transfers.c vmcore/usb/xhci_ports.c vmcore/usb/usb_standard.c vmcore/usb/hub.c
 * vmcore/usb/hid_keyboard.c vmcore/usb/hid_usages.c vmcore/usb/hid_pointer.c vmcore/usb/storage.c
 * vmcore/usb/scsi.c
 *
 * The driver's structures lie below FUZZ_BUFFERS at fixed places; what a command or transfer says of them is
 * mostly true.
 */
#include <errno.h>

#include "tests/fuzz/device.h"
#include "usb/hid.h"
#include "usb/storage.h"
#include "usb/xhci.h"

#define PORTSC    0x440u
#define RUNTIME   0x1000u
#define DOORBELLS 0x2000u

#define DCBAA      0x0u
#define COMMANDS   0x400u
#define SEGMENTS   0x800u  /* event ring segment tables, 64 bytes each */
#define CONTEXTS   0x1000u /* 1 KiB for each slot */
#define INPUT      0x4000u
#define RINGS      0x5000u /* transfer rings of 256 bytes */
#define EVENTS     0x8000u /* 1 KiB for each interrupter */
#define STRUCTURES 0xa000u /* the end of all that */
#define SLOTS      8u
#define RING_TRBS  16u
#define EVENT_TRBS 32u
#define DEVICES    4u
#define DISK_SIZE  0x21000u

typedef struct Ring {
    unsigned next;
    bool cycle;
} Ring;

typedef struct Disk {
    VmcDisk disk;
    bool sick; /* every second operation fails */
    unsigned n;
    uint8_t data[DISK_SIZE];
} Disk;

typedef struct Driver {
    VmcUsbDevice *keyboard, *tablet;
    VmcUsbDevice *storage[DEVICES]; /* or NULL */
    Ring commands, rings[SLOTS][8];
    uint32_t tag;
} Driver;

/* ---- disks ---- */

static int disk_move(Disk *disk, uint64_t offset, struct iovec *iov, unsigned n, bool write)
{
    if (disk->sick && disk->n++ & 1)
        return disk->n & 2 ? -ENOSPC : -EIO;
    for (unsigned i = 0; i < n; i++) {
        if (offset > DISK_SIZE || iov[i].iov_len > DISK_SIZE - offset)
            fuzz_finding("the disk is asked for %zu bytes at %llu", iov[i].iov_len,
                         (unsigned long long)offset);
        if (write)
            memcpy(disk->data + offset, iov[i].iov_base, iov[i].iov_len);
        else
            memcpy(iov[i].iov_base, disk->data + offset, iov[i].iov_len);
        offset += iov[i].iov_len;
    }
    return 0;
}

static int disk_read(VmcDisk *disk, uint64_t offset, struct iovec *iov, unsigned n)
{
    return disk_move((Disk *)disk, offset, iov, n, false);
}

static int disk_write(VmcDisk *disk, uint64_t offset, struct iovec *iov, unsigned n)
{
    if (disk->readonly)
        fuzz_finding("a read-only disk is written to");
    return disk_move((Disk *)disk, offset, iov, n, true);
}

static int disk_flush(VmcDisk *disk)
{
    return ((Disk *)disk)->sick ? -EIO : 0;
}

static void disk_close(VmcDisk *disk)
{
    g_free(disk);
}

static const VmcDiskOps disk_ops = {
    .name = "fuzz", .read = disk_read, .write = disk_write, .flush = disk_flush, .close = disk_close};

static VmcUsbDevice *new_storage(uint8_t how)
{
    Disk *disk = g_new0(Disk, 1);

    disk->disk = (VmcDisk){.ops = &disk_ops, .size = DISK_SIZE, .block_size = 512, .readonly = how & 1};
    disk->sick = how & 2;
    return vmc_usb_storage_new(&disk->disk, how & 4,
                               how & 8 ? "fuzz 0123456789abcdef-0123456789abcdef" : NULL);
}

/* ---- the machine ---- */

static void plug(FuzzMachine *m, VmcPciDevice *xhci, unsigned n, uint8_t how)
{
    Driver *d = m->own;
    VmcUsbDevice *dev = new_storage(how);

    if (vmc_xhci_attach(xhci, dev, NULL))
        d->storage[n] = dev;
    else
        vmc_usb_device_free(dev);
}

static VmcPciDevice *make(FuzzMachine *m, FuzzInput *in)
{
    VmcPciDevice *xhci = vmc_xhci_new(m->memory, m->io);
    uint8_t how = fuzz_u8(in);
    Driver *d = m->own = g_new0(Driver, 1);

    d->keyboard = vmc_usb_keyboard_new(m->io, (VmcUsbLayout)((how & 3) % 3), how & 4);
    d->tablet = vmc_usb_tablet_new();
    vmc_xhci_attach(xhci, d->keyboard, NULL);
    vmc_xhci_attach(xhci, d->tablet, NULL);
    /* With so many, there is a hub. */
    for (unsigned i = 0; how & 8 && i < 3; i++)
        vmc_xhci_attach(xhci, vmc_usb_tablet_new(), NULL);
    plug(m, xhci, 0, how >> 4);
    return xhci;
}

static void unmake(FuzzMachine *m)
{
    g_free(m->own);
}

static void wait_for_workers(FuzzMachine *m)
{
    Driver *d = m->own;

    for (unsigned i = 0; i < DEVICES; i++)
        if (d->storage[i])
            d->storage[i]->ops->drain(d->storage[i]);
}

/* ---- driver ---- */

static void put32(FuzzMachine *m, uint64_t gpa, uint32_t value)
{
    memcpy(fuzz_ram(m, gpa, 4), &value, 4);
}

static void reg(FuzzMachine *m, unsigned offset, uint32_t value)
{
    fuzz_bar_write(m, 0, offset, 4, value);
}

static void reg64(FuzzMachine *m, unsigned offset, uint64_t value)
{
    fuzz_bar_write(m, 0, offset, 8, value);
}

/* Writes a TRB where the ring goes on; at its end there is a link back. */
static void put_trb(FuzzMachine *m, uint64_t base, Ring *ring, uint64_t parameter, uint32_t status,
                    uint32_t control)
{
    uint64_t at = base + 16 * ring->next;

    put32(m, at, (uint32_t)parameter);
    put32(m, at + 4, (uint32_t)(parameter >> 32));
    put32(m, at + 8, status);
    put32(m, at + 12, (control & ~1u) | ring->cycle);
    if (++ring->next < RING_TRBS - 1)
        return;
    put32(m, base + 16 * ring->next, (uint32_t)base);
    put32(m, base + 16 * ring->next + 4, 0);
    put32(m, base + 16 * ring->next + 12, 6 << 10 | 2 | (control & 16) | ring->cycle);
    ring->next = 0;
    ring->cycle = !ring->cycle;
}

/* Mostly one that has a device. */
static unsigned any_slot(FuzzInput *in)
{
    uint8_t n = fuzz_u8(in);

    return n & 0xe0 ? 1u + n % 4u : n % SLOTS;
}

static uint64_t ring_base(unsigned slot, unsigned index)
{
    return RINGS + ((slot % SLOTS) * 8 + index % 8) * 0x100ull;
}

/* Interrupter n: one segment, or two halves of it. */
static void set_events(FuzzMachine *m, unsigned n, bool two)
{
    uint64_t events = EVENTS + n * 0x400, table = SEGMENTS + 64 * n;

    memset(fuzz_ram(m, events, 0x400), 0, 0x400);
    for (unsigned i = 0; i < 1u + two; i++) {
        put32(m, table + 16 * i, (uint32_t)(events + 0x200 * i));
        put32(m, table + 16 * i + 4, 0);
        put32(m, table + 16 * i + 8, EVENT_TRBS >> two);
    }
    reg(m, RUNTIME + 0x28 + 32 * n, 1u + two);
    reg64(m, RUNTIME + 0x38 + 32 * n, events);
    reg64(m, RUNTIME + 0x30 + 32 * n, table);
    reg(m, RUNTIME + 0x20 + 32 * n, 2);
}

static void step_start(FuzzMachine *m, FuzzInput *in)
{
    Driver *d = m->own;
    uint8_t how = fuzz_u8(in);

    if (how & 1) {
        reg(m, 0x40, 2);
        if (how & 2)
            fuzz_settle(m);
    }
    reg(m, 0x78, SLOTS - 1);
    reg64(m, 0x70, DCBAA);
    for (unsigned i = 1; i < SLOTS; i++) {
        put32(m, DCBAA + 8 * i, CONTEXTS + 0x400 * i);
        put32(m, DCBAA + 8 * i + 4, 0);
    }
    memset(fuzz_ram(m, COMMANDS, 0x100), 0, 0x100);
    d->commands = (Ring){.cycle = true};
    reg64(m, 0x58, COMMANDS | 1);
    for (unsigned i = 0; i < 1u + (how >> 2 & 3); i++)
        set_events(m, i, how & 16);
    reg(m, 0x40, 1 | (how & 32 ? 4 : 0) | (how & 64 ? 0x400 : 0) | (how & 128 ? 0x300 : 0));
    fuzz_settle(m);
}

/* The driver has seen what there is, or says so. */
static void step_events(FuzzMachine *m, FuzzInput *in)
{
    uint8_t how = fuzz_u8(in);
    unsigned n = how & 3;

    reg64(m, RUNTIME + 0x38 + 32 * n,
          (EVENTS + n * 0x400 + 16ull * (fuzz_u8(in) % (2 * EVENT_TRBS))) | (how & 8));
    fuzz_settle(m);
}

static void command(FuzzMachine *m, uint64_t parameter, unsigned type, unsigned slot, uint32_t more)
{
    Driver *d = m->own;

    put_trb(m, COMMANDS, &d->commands, parameter, 0, type << 10 | slot << 24 | more);
    reg(m, DOORBELLS, 0);
    fuzz_settle(m);
}

/* Nothing fills the event ring up for good: the driver has taken all of it. */
static void take_events(FuzzMachine *m)
{
    uint64_t at = fuzz_bar_read(m, 0, RUNTIME + 0x38, 8) & ~15ull;
    uint8_t *control;

    for (unsigned i = 0; i < EVENT_TRBS && (control = fuzz_ram(m, at + 12, 4)); i++) {
        if (!(control[1] | control[2] | control[3]))
            break;
        memset(control, 0, 4);
        at += 16;
        if (at >= EVENTS + 0x400)
            at = EVENTS;
    }
    reg64(m, RUNTIME + 0x38, at | 8);
    fuzz_settle(m);
}

static void step_command(FuzzMachine *m, FuzzInput *in)
{
    unsigned type = 9u + fuzz_below(in, 16), slot = fuzz_u8(in) % (SLOTS + 1);
    uint8_t how = fuzz_u8(in);
    uint32_t more = (how & 7) << 16 | (how & 8 ? 1u << 9 : 0) | (how & 16 ? 0x80000 : 0);
    uint64_t parameter = how & 32     ? fuzz_address(m, in)
                         : type == 16 ? ring_base(slot, how & 7) | (how >> 6 & 1)
                                      : INPUT;

    if (type == 16 && !(how & 32)) {
        Driver *d = m->own;
        Ring *ring = &d->rings[slot % SLOTS][how & 7];
        memset(fuzz_ram(m, ring_base(slot, how & 7), 0x100), 0, 0x100);
        *ring = (Ring){.cycle = how >> 6 & 1};
    }
    command(m, parameter, type, slot, more);
    take_events(m);
}

static void endpoint_context(FuzzMachine *m, unsigned slot, unsigned index, unsigned type, unsigned packet)
{
    Driver *d = m->own;
    uint64_t at = INPUT + 32ull * (index + 1);

    memset(fuzz_ram(m, ring_base(slot, index), 0x100), 0, 0x100);
    d->rings[slot % SLOTS][index % 8] = (Ring){.cycle = true};
    put32(m, at, 0);
    put32(m, at + 4, packet << 16 | type << 3);
    put32(m, at + 8, (uint32_t)ring_base(slot, index) | 1);
    put32(m, at + 12, 0);
}

/* A device gets a slot, an address and the endpoints that ours have. */
static void step_address(FuzzMachine *m, FuzzInput *in)
{
    unsigned slot = 1 + fuzz_below(in, SLOTS - 1), port = fuzz_u8(in) % 10;
    uint8_t how = fuzz_u8(in);

    reg(m, PORTSC + 16 * ((port - 1) & 7), 0x10);
    fuzz_settle(m);
    command(m, 0, 10, slot, 0);
    command(m, 0, 9, 0, 0); /* the lowest that is free: mostly this one */
    put32(m, INPUT, 0);
    put32(m, INPUT + 4, 3);
    put32(m, INPUT + 32, 1u << 27 | (how & 1 ? fuzz_u32(in) & 0xfffff : 0));
    put32(m, INPUT + 36, port << 16);
    endpoint_context(m, slot, 1, 4, 64);
    command(m, INPUT, 11, slot, how & 2 ? 1u << 9 : 0);
    if (how & 4)
        return;
    endpoint_context(m, slot, 3, how & 8 ? 7 : 6, 512);
    endpoint_context(m, slot, 4, how & 16 ? 3 : 2, 512);
    put32(m, INPUT, 0);
    put32(m, INPUT + 4, 1 | 1 << 3 | 1 << 4);
    command(m, INPUT, 12, slot, 0);
    take_events(m);
}

static void transfer_trb(FuzzMachine *m, unsigned slot, unsigned index, uint64_t parameter, uint32_t status,
                         uint32_t control)
{
    Driver *d = m->own;

    put_trb(m, ring_base(slot, index), &d->rings[slot % SLOTS][index % 8], parameter, status, control);
}

static void doorbell(FuzzMachine *m, unsigned slot, unsigned index)
{
    reg(m, DOORBELLS + 4 * slot, index);
    fuzz_settle(m);
}

/* After an error, back to where a driver begins. */
static void recover(FuzzMachine *m, unsigned slot, unsigned index)
{
    Driver *d = m->own;
    Ring *ring = &d->rings[slot % SLOTS][index % 8];

    command(m, 0, 14, slot, index << 16);
    command(m, (ring_base(slot, index) + 16 * ring->next) | ring->cycle, 16, slot, index << 16);
    take_events(m);
}

static void control_request(FuzzMachine *m, unsigned slot, uint64_t setup, uint64_t data, uint32_t room,
                            uint8_t how)
{
    bool in = setup & 0x80;
    uint32_t length = (uint32_t)(setup >> 48);

    transfer_trb(m, slot, 1, setup, 8, 2 << 10 | 1 << 6 | (how & 1 ? 0 : 3 << 16));
    if (length || how & 2)
        transfer_trb(m, slot, 1, data, room,
                     3 << 10 | (uint32_t)in << 16 | (how & 4 ? 1 << 2 : 0) | (how & 8 ? 1 << 5 : 0));
    transfer_trb(m, slot, 1, 0, 0, 4 << 10 | (uint32_t)!in << 16 | 1 << 5 | (how & 16 ? 16 : 0));
    if (how & 16)
        transfer_trb(m, slot, 1, 0x123456789a, 0, 7 << 10 | 1 << 5);
    doorbell(m, slot, 1);
    take_events(m);
}

static void step_control(FuzzMachine *m, FuzzInput *in)
{
    /* bmRequestType and bRequest of all that somebody knows. */
    static const uint16_t requests[] = {
        0x8006, 0x8106, 0x0009, 0x000b, 0x8000, 0x8100, 0x8200, 0x0001, 0x0201, 0x0003, 0x0203,
        0x8008, 0x810a, 0x010b, 0x0030, 0x0031, 0x0005, 0xa006, 0xa000, 0xa300, 0x2301, 0x2303,
        0x2003, 0xa101, 0xa102, 0xa103, 0x2109, 0x210a, 0x210b, 0xa1fe, 0x21ff, 0xc000,
    };
    unsigned slot = any_slot(in);
    uint8_t which = fuzz_u8(in), how = fuzz_u8(in);
    uint16_t request = which & 0x80 ? fuzz_u16(in) : requests[which % G_N_ELEMENTS(requests)];
    uint16_t value = fuzz_u16(in), index = fuzz_u8(in), length = how & 0x80 ? fuzz_u16(in) : fuzz_u8(in);
    uint64_t data = how & 0x40 ? fuzz_address(m, in) : fuzz_alloc(m, length);

    control_request(m, slot,
                    request >> 8 | (request & 0xffu) << 8 | (uint64_t)value << 16 | (uint64_t)index << 32 |
                        (uint64_t)length << 48,
                    data, how & 0x20 ? fuzz_u16(in) : length, how);
    recover(m, slot, 1);
}

static void step_set_configuration(FuzzMachine *m, FuzzInput *in)
{
    control_request(m, any_slot(in), 0x10900, 0, 0, 0);
}

/* Commands of disks, with what goes before and after them. */
static void step_scsi(FuzzMachine *m, FuzzInput *in)
{
    static const uint8_t codes[] = {0x00, 0x03, 0x08, 0x0a, 0x12, 0x15, 0x1a, 0x1b, 0x1e, 0x23, 0x25,
                                    0x28, 0x2a, 0x2b, 0x2f, 0x35, 0x43, 0x46, 0x4a, 0x51, 0x55, 0x5a,
                                    0x88, 0x8a, 0x8f, 0x91, 0x9e, 0xa0, 0xa8, 0xaa, 0x42, 0xff};
    Driver *d = m->own;
    uint8_t which = fuzz_u8(in), how = fuzz_u8(in);
    unsigned slot = which & 0x40 ? any_slot(in) : 3;
    uint32_t length = how & 1 ? fuzz_u32(in) & 0x3ffff : fuzz_u8(in) * 512u;
    uint64_t cbw = fuzz_alloc(m, 31);
    uint8_t *p = fuzz_ram(m, cbw, 31);

    if (!p)
        return;
    memset(p, 0, 31);
    memcpy(p, "USBC", 4);
    p[4] = (uint8_t)d->tag++;
    memcpy(p + 8, &length, 4);
    p[12] = how & 2 ? 0x80 : 0;
    p[14] = how & 4 ? fuzz_u8(in) : 16;
    p[15] = which & 0x80 ? fuzz_u8(in) : codes[which % G_N_ELEMENTS(codes)];
    fuzz_take(in, p + 16, how & 8 ? 15 : 5);
    if (!(how & 8)) { /* few blocks, near the front */
        p[22] = 0;
        p[23] = fuzz_u8(in) & 15;
    }
    transfer_trb(m, slot, 4, cbw, how & 16 ? fuzz_u8(in) : 31, 1 << 10 | 1 << 5);
    doorbell(m, slot, 4);
    for (unsigned n = 0; n < 3 && length; n++) {
        uint32_t piece = MIN(length, 0x8000);
        uint64_t data = fuzz_alloc(m, piece);
        transfer_trb(m, slot, how & 2 ? 3 : 4, data, piece, 1 << 10 | 1 << 5 | (how & 32 ? 1 << 2 : 0));
        doorbell(m, slot, how & 2 ? 3 : 4);
        length -= piece;
    }
    if (how & 64) {
        recover(m, slot, how & 2 ? 3 : 4);
        control_request(m, slot, 0x0102 | (uint64_t)(how & 2 ? 0x81 : 2) << 32, 0, 0, 0);
    }
    if (how & 128)
        return;
    transfer_trb(m, slot, 3, fuzz_alloc(m, 13), 13, 1 << 10 | 1 << 5);
    doorbell(m, slot, 3);
    take_events(m);
}

/* A buffer for what a keyboard, a tablet or a hub has to say; or for lights. */
static void step_transfer(FuzzMachine *m, FuzzInput *in)
{
    unsigned slot = any_slot(in);
    uint8_t how = fuzz_u8(in);
    unsigned index = how & 1 ? 3 : 4, len = fuzz_u8(in);

    transfer_trb(m, slot, index, fuzz_alloc(m, len), len | (uint32_t)(how >> 4) << 22,
                 1 << 10 | (how & 2 ? 1 << 5 : 0) | (how & 4 ? 1 << 2 : 0) | (how & 8 ? 16 : 0));
    if (!(how & 8))
        doorbell(m, slot, index);
    take_events(m);
}

/* Any TRB. */
static void step_trb(FuzzMachine *m, FuzzInput *in)
{
    unsigned slot = any_slot(in), index = fuzz_u8(in) % 8;
    uint8_t how = fuzz_u8(in);
    uint64_t parameter = how & 1 ? fuzz_u64(in) : how & 2 ? ring_base(slot, index) : fuzz_address(m, in);
    uint32_t status = how & 4 ? fuzz_u32(in) : fuzz_u8(in);

    transfer_trb(m, slot, index, parameter, status,
                 (how & 8 ? fuzz_u8(in) % 10u : 1u) << 10 | (fuzz_u16(in) & 0x3ff) |
                     (how & 16 ? 1 << 16 : 0));
    if (how & 32)
        doorbell(m, slot, index);
    if (how & 64)
        recover(m, slot, index);
}

static void step_port(FuzzMachine *m, FuzzInput *in)
{
    static const uint32_t bits[] = {0x10,     0x80000000,       2,
                                    1 << 16,  1 << 16 | 3 << 5, 1 << 16 | 15 << 5,
                                    0xfe0000, 1 << 16 | 4 << 5, 1 << 16 | 5 << 5,
                                    7 << 25};
    uint8_t port = fuzz_u8(in);

    reg(m, PORTSC + 16 * (port & 7), port & 0x80 ? fuzz_u32(in) : bits[fuzz_below(in, G_N_ELEMENTS(bits))]);
    fuzz_settle(m);
}

static void step_input(FuzzMachine *m, FuzzInput *in)
{
    Driver *d = m->own;
    VmcKeyboard *keyboard = vmc_usb_keyboard_input(d->keyboard);
    VmcPointer *pointer = vmc_usb_pointer_input(d->tablet);
    uint8_t how = fuzz_u8(in);

    for (unsigned i = 0; i < 1u + (how >> 4); i++) {
        keyboard->ops->key(keyboard, fuzz_u8(in), how & 1);
        if (how & 2)
            pointer->ops->move(pointer, fuzz_u16(in), fuzz_u16(in));
        if (how & 4)
            pointer->ops->button(pointer, 0x110u + fuzz_u8(in) % 12, how & 1);
        if (how & 8)
            pointer->ops->wheel(pointer, (int8_t)fuzz_u8(in) * 3, (int8_t)fuzz_u8(in));
        pointer->ops->sync(pointer);
    }
    keyboard->ops->leds(keyboard);
    fuzz_settle(m);
}

static void step_plug(FuzzMachine *m, FuzzInput *in)
{
    Driver *d = m->own;
    uint8_t how = fuzz_u8(in);
    unsigned n = how % DEVICES;

    if (how & 0x40)
        fuzz_settle(m);
    if (d->storage[n]) {
        vmc_xhci_detach(m->dev, d->storage[n]);
        vmc_usb_device_free(d->storage[n]);
        d->storage[n] = NULL;
    } else {
        plug(m, m->dev, n, how >> 2);
    }
    fuzz_settle(m);
}

/* The driver's structures change under the controller. */
static void step_spoil(FuzzMachine *m, FuzzInput *in)
{
    uint64_t at = fuzz_u16(in) % (STRUCTURES - 8);

    fuzz_take(in, fuzz_ram(m, at, 8), 1 + (fuzz_u8(in) & 7));
}

/* All that a good driver does before anything is used: keyboard, tablet, stick and hub in slots 1 to 4. */
static void step_bring_up_all(FuzzMachine *m, FuzzInput *in)
{
    static const struct {
        unsigned port, in_type, out_type;
    } devices[] = {{1, 7, 3}, {2, 7, 3}, {5, 6, 2}, {4, 7, 3}};
    FuzzInput how = {.data = (const uint8_t *)"\x23", .size = 1}; /* a reset that is waited for, interrupts */

    step_start(m, &how);
    for (unsigned i = 0; i < G_N_ELEMENTS(devices); i++) {
        unsigned slot = i + 1;
        reg(m, PORTSC + 16 * (devices[i].port - 1), 0x10);
        fuzz_settle(m);
        command(m, 0, 9, 0, 0);
        put32(m, INPUT, 0);
        put32(m, INPUT + 4, 3);
        put32(m, INPUT + 32, 1u << 27);
        put32(m, INPUT + 36, devices[i].port << 16);
        endpoint_context(m, slot, 1, 4, 64);
        command(m, INPUT, 11, slot, 0);
        endpoint_context(m, slot, 3, devices[i].in_type, 512);
        endpoint_context(m, slot, 4, devices[i].out_type, 512);
        put32(m, INPUT + 4, 1 | 1 << 3 | 1 << 4);
        command(m, INPUT, 12, slot, 0);
        control_request(m, slot, 0x10900, 0, 0, 0);
        take_events(m);
    }
}

static void (*const steps[])(FuzzMachine *m, FuzzInput *in) = {
    step_bring_up_all, step_scsi,     step_control,  step_transfer, step_trb,   step_command,
    step_events,       step_port,     step_input,    step_plug,     step_spoil, step_start,
    step_address,      step_transfer, step_scsi,     step_control,  step_scsi,  step_set_configuration,
    step_input,        step_control,  step_transfer,
};

static const FuzzTarget target = {
    .make = make,
    .unmake = unmake,
    .steps = steps,
    .n_steps = G_N_ELEMENTS(steps),
    .wait = wait_for_workers,
};

FUZZ_DEVICE(target)
