/*
 * The harness of device.h: machine, virtio bring-up, and the steps that an input is made of.
 */
#include "tests/fuzz/device.h"

#include <inttypes.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "virtio/virtio_pci.h"

#define RING_SIZE   16u
#define RING_BYTES  0x400u
#define RINGS       0x0u
#define ROM_SIZE    0x2000u
#define ROM_BYTE    0x5a
#define STEPS_MAX   200
#define TURNS_MAX   50000
#define PAUSES_MAX  4
#define ALLOC_MAX   0x10000u
#define STATUS_LIVE (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK)
#define COMMON(f)   offsetof(struct virtio_pci_common_cfg, f)

void fuzz_finding(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fputs("finding: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    abort();
}

/* ---- the machine ---- */

static void no_message(void *opaque, uint64_t address, uint32_t data)
{
}

static void no_wire(void *opaque, unsigned line, bool level)
{
}

/* No thread of a pool ends. The sanitizer remembers threads that have, by the kernel's number, and a new one
 * that gets the same number, as happens within minutes where many processes are started, it takes for gone:
 * what only that thread knows (GLib's caches: g_malloc0, 2032 bytes) is a leak to it. */
static void keep_threads(void)
{
    g_thread_pool_set_max_unused_threads(-1);
    g_thread_pool_set_max_idle_time(0);
}

/* Once for the process: memory and the I/O thread. */
static void make_host(FuzzMachine *m)
{
    keep_threads();
    m->memory = vmc_memory_new();
    m->io = vmc_io_new(NULL);
    if (!m->io || !vmc_memory_add(m->memory, "low", 0, FUZZ_LOW, false, NULL) ||
        !vmc_memory_add(m->memory, "more", FUZZ_LOW, FUZZ_MORE, false, NULL) ||
        !vmc_memory_add(m->memory, "rom", FUZZ_ROM, ROM_SIZE, true, NULL) ||
        !vmc_memory_add(m->memory, "high", FUZZ_HIGH, FUZZ_HIGH_SZ, false, NULL))
        fuzz_finding("no memory for a machine");
    m->host = (VmcVirtioHost){.memory = m->memory, .io = m->io};
}

static void make_buses(FuzzMachine *m)
{
    VmcPciBusParams params = {.msi = {.send = no_message, .opaque = m}};

    m->pio = params.pio = vmc_bus_new("pio");
    m->mmio = params.mmio = vmc_bus_new("mmio");
    for (unsigned i = 0; i < 8; i++)
        params.intx[i] = (VmcIrq){no_wire, m, i};
    m->pci = vmc_pci_bus_new(&params);
}

static void fill_memory(FuzzMachine *m)
{
    for (unsigned i = 0; i < m->memory->n_slots; i++) {
        VmcMemSlot *slot = &m->memory->slots[i];
        memset(slot->host, slot->readonly ? ROM_BYTE : 0, slot->size);
    }
}

static void check_rom(FuzzMachine *m)
{
    const uint8_t *rom = fuzz_ram(m, FUZZ_ROM, ROM_SIZE);

    /* Each byte is like the one behind it, and the first is right. */
    if (rom[0] != ROM_BYTE || memcmp(rom, rom + 1, ROM_SIZE - 1) != 0)
        fuzz_finding("ROM was written to");
}

/* All of RAM in one number. Uninstrumented, because it is done often. */
__attribute__((no_sanitize("address", "undefined"))) static uint64_t sum_memory(const FuzzMachine *m)
{
    uint64_t sum[4] = {0};

    for (unsigned i = 0; i < m->memory->n_slots; i++) {
        const uint64_t *words = (const uint64_t *)m->memory->slots[i].host;
        for (uint64_t n = m->memory->slots[i].size / 8; n; n -= 4, words += 4)
            for (unsigned lane = 0; lane < 4; lane++)
                sum[lane] = (sum[lane] << 1 | sum[lane] >> 63) ^ words[lane];
    }
    return sum[0] ^ sum[1] << 16 ^ sum[2] << 32 ^ sum[3] << 48;
}

static uint32_t config_read(FuzzMachine *m, unsigned offset, unsigned size)
{
    return vmc_pci_bus_config_read(m->pci, m->dev->devfn, offset, size);
}

static void config_write(FuzzMachine *m, unsigned offset, unsigned size, uint32_t value)
{
    vmc_pci_bus_config_write(m->pci, m->dev->devfn, offset, size, value);
}

static uint64_t bar_base(FuzzMachine *m, unsigned bar)
{
    uint32_t low = config_read(m, PCI_BASE_ADDRESS_0 + 4 * bar, 4);

    if (low & PCI_BASE_ADDRESS_SPACE_IO)
        return low & PCI_BASE_ADDRESS_IO_MASK;
    uint64_t high = low & PCI_BASE_ADDRESS_MEM_TYPE_64 && bar < 5
                        ? config_read(m, PCI_BASE_ADDRESS_0 + 4 * (bar + 1), 4)
                        : 0;
    return high << 32 | (low & (uint32_t)PCI_BASE_ADDRESS_MEM_MASK);
}

uint64_t fuzz_bar_read(FuzzMachine *m, unsigned bar, uint64_t offset, unsigned size)
{
    const VmcPciBar *b = &m->dev->bars[bar % 6];

    return vmc_bus_read(b->io ? m->pio : m->mmio, bar_base(m, bar % 6) + offset, size);
}

void fuzz_bar_write(FuzzMachine *m, unsigned bar, uint64_t offset, unsigned size, uint64_t value)
{
    const VmcPciBar *b = &m->dev->bars[bar % 6];

    vmc_bus_write(b->io ? m->pio : m->mmio, bar_base(m, bar % 6) + offset, size, value);
}

uint8_t *fuzz_ram(FuzzMachine *m, uint64_t gpa, uint64_t len)
{
    return vmc_memory_host(m->memory, gpa, len);
}

uint64_t fuzz_alloc(FuzzMachine *m, uint32_t len)
{
    uint64_t at = m->next_free;

    len = MIN(len, ALLOC_MAX);
    if (at + len > FUZZ_LOW - RING_BYTES) /* one ring lies there */
        at = FUZZ_BUFFERS;
    m->next_free = (at + len + 15) & ~15ull;
    return at;
}

/* ---- waiting for the device ---- */

static uint8_t virtio_status(FuzzMachine *m)
{
    return (uint8_t)vmc_bus_read(m->mmio, m->common + COMMON(device_status), 1);
}

/* Whether the device has been told to leave memory alone, and nothing is on its way any more. */
static bool must_be_quiet(FuzzMachine *m)
{
    if (m->target->writes_late)
        return false;
    /* The negotiated features are gone when a reset is done. (Not the status: the BAR may have been moved.)
     */
    return !(m->dev->config[PCI_COMMAND] & PCI_COMMAND_MASTER) || (m->virtio && !m->virtio->features);
}

static bool turn(FuzzMachine *m, unsigned *turns)
{
    if (!g_main_context_iteration(vmc_io_context(m->io), FALSE))
        return false;
    if (++*turns > TURNS_MAX)
        fuzz_finding("the device does not come to rest");
    return true;
}

void fuzz_settle(FuzzMachine *m)
{
    bool threads = m->target->drain || m->target->wait;
    bool quiet = must_be_quiet(m) && (threads || g_main_context_pending(vmc_io_context(m->io)));
    uint64_t before = quiet ? sum_memory(m) : 0;
    unsigned turns = 0;

    do {
        while (turn(m, &turns))
            ;
        if (m->target->drain && m->virtio)
            m->virtio->ops->drain(m->virtio);
        if (m->target->wait && m->dev)
            m->target->wait(m);
    } while (turn(m, &turns));
    if (quiet && sum_memory(m) != before)
        fuzz_finding("memory was written to, though the device had been reset or may not be bus master");
}

static gboolean pause_over(gpointer data)
{
    *(bool *)data = true;
    return G_SOURCE_REMOVE;
}

void fuzz_pause(FuzzMachine *m)
{
    GSource *source;
    bool over = false;

    if (m->pauses++ >= PAUSES_MAX)
        return;
    source = g_timeout_source_new(2);
    g_source_set_callback(source, pause_over, &over, NULL);
    g_source_attach(source, vmc_io_context(m->io));
    while (!over)
        g_main_context_iteration(vmc_io_context(m->io), TRUE);
    g_source_unref(source);
    fuzz_settle(m);
}

/* ---- virtio ---- */

static uint64_t common_read(FuzzMachine *m, unsigned offset, unsigned size)
{
    return vmc_bus_read(m->mmio, m->common + offset, size);
}

static void common_write(FuzzMachine *m, unsigned offset, unsigned size, uint64_t value)
{
    vmc_bus_write(m->mmio, m->common + offset, size, value);
}

static void write_address(FuzzMachine *m, unsigned low, uint64_t gpa)
{
    common_write(m, low, 4, (uint32_t)gpa);
    common_write(m, low + 4, 4, gpa >> 32);
}

static void find_structure(FuzzMachine *m, unsigned at)
{
    uint64_t where = bar_base(m, config_read(m, at + VIRTIO_PCI_CAP_BAR, 1) % 6) +
                     config_read(m, at + VIRTIO_PCI_CAP_OFFSET, 4);

    switch (config_read(m, at + VIRTIO_PCI_CAP_CFG_TYPE, 1)) {
    case VIRTIO_PCI_CAP_COMMON_CFG:
        m->common = where;
        break;
    case VIRTIO_PCI_CAP_NOTIFY_CFG:
        m->notify = where;
        m->notify_multiplier = config_read(m, at + VIRTIO_PCI_NOTIFY_CAP_MULT, 4);
        break;
    case VIRTIO_PCI_CAP_ISR_CFG:
        m->isr = where;
        break;
    case VIRTIO_PCI_CAP_DEVICE_CFG:
        m->device = where;
        m->device_size = config_read(m, at + VIRTIO_PCI_CAP_LENGTH, 4);
        break;
    case VIRTIO_PCI_CAP_PCI_CFG:
        m->window = at;
        break;
    default:
        break;
    }
}

/* What firmware does: an address for each BAR. */
static void assign_bars(FuzzMachine *m)
{
    static const uint8_t lines[8] = {10, 11, 10, 11, 10, 11, 10, 11};

    vmc_pci_bus_assign(m->pci, FUZZ_WINDOW, FUZZ_WINDOW + FUZZ_WINSIZE, 0xc000, lines);
}

static void enable_pci(FuzzMachine *m)
{
    assign_bars(m);
    config_write(m, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static void find_structures(FuzzMachine *m)
{
    for (unsigned at = config_read(m, PCI_CAPABILITY_LIST, 1), n = 0; at && n < 48; n++) {
        if (config_read(m, at, 1) == PCI_CAP_ID_VNDR)
            find_structure(m, at);
        at = config_read(m, at + 1, 1);
    }
    if (!m->common || !m->notify || !m->isr)
        fuzz_finding("a virtio device without its structures");
}

/* Where the three parts of a queue lie: apart, and where there is room for it with a part at the very end of
 * a slot, so that the guard page is hit by an index that is one too many. */
static void place_queue(FuzzMachine *m, unsigned index)
{
    FuzzQueue *q = &m->queues[index];
    uint64_t at = RINGS + (uint64_t)index * RING_BYTES;

    q->desc = at;
    q->avail = at + 0x100;
    q->used = at + 0x200;
    if (index == 0)
        q->desc = FUZZ_HIGH + FUZZ_HIGH_SZ - 16 * q->size;
    else if (index == 1)
        q->avail = FUZZ_LOW + FUZZ_MORE - (6 + 2 * q->size);
    else if (index == 2)
        q->used = FUZZ_LOW - ((6 + 8 * q->size + 3) & ~3u);
    memset(fuzz_ram(m, q->desc, 16 * q->size), 0, 16 * q->size);
    memset(fuzz_ram(m, q->avail, 6 + 2 * q->size), 0, 6 + 2 * q->size);
    memset(fuzz_ram(m, q->used, 6 + 8 * q->size), 0, 6 + 8 * q->size);
}

static void set_up_queue(FuzzMachine *m, unsigned index)
{
    FuzzQueue *q = &m->queues[index];

    common_write(m, COMMON(queue_select), 2, index);
    *q = (FuzzQueue){.size = MIN(common_read(m, COMMON(queue_size), 2), RING_SIZE)};
    if (!q->size)
        return;
    place_queue(m, index);
    common_write(m, COMMON(queue_size), 2, q->size);
    write_address(m, COMMON(queue_desc_lo), q->desc);
    write_address(m, COMMON(queue_avail_lo), q->avail);
    write_address(m, COMMON(queue_used_lo), q->used);
    common_write(m, COMMON(queue_msix_vector), 2, index + 1);
    common_write(m, COMMON(queue_enable), 2, 1);
}

static void virtio_reset(FuzzMachine *m)
{
    common_write(m, COMMON(device_status), 1, 0);
    fuzz_settle(m);
    /* A device whose threads are still at it says so by its status (s4.1.4.3.2). */
    for (unsigned n = 0; virtio_status(m); n++) {
        if (m->virtio->ops->drain)
            m->virtio->ops->drain(m->virtio);
        fuzz_settle(m);
        if (n == 1000)
            fuzz_finding("a reset does not end; status %#x", virtio_status(m));
    }
}

static uint64_t offered_features(FuzzMachine *m)
{
    uint64_t features;

    common_write(m, COMMON(device_feature_select), 4, 0);
    features = common_read(m, COMMON(device_feature), 4);
    common_write(m, COMMON(device_feature_select), 4, 1);
    return features | common_read(m, COMMON(device_feature), 4) << 32;
}

static void negotiate(FuzzMachine *m, uint64_t features)
{
    common_write(m, COMMON(device_status), 1, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
    for (unsigned i = 0; i < 2; i++) {
        common_write(m, COMMON(guest_feature_select), 4, i);
        common_write(m, COMMON(guest_feature), 4, (uint32_t)(features >> (32 * i)));
    }
    common_write(m, COMMON(device_status), 1, STATUS_LIVE);
}

/* Reset, features, queues, DRIVER_OK. `without`: features not to take. */
static void bring_up(FuzzMachine *m, uint64_t without)
{
    enable_pci(m);
    if (!m->virtio)
        return;
    virtio_reset(m);
    memset(m->queues, 0, sizeof(m->queues));
    uint64_t features = offered_features(m) & ~(without & ~(1ull << VIRTIO_F_VERSION_1));
    negotiate(m, features);
    if (virtio_status(m) != STATUS_LIVE)
        fuzz_finding("features %#" PRIx64 " are offered and not accepted: status %#x", features,
                     virtio_status(m));
    m->n_queues = MIN(common_read(m, COMMON(num_queues), 2), VMC_VIRTIO_QUEUES_MAX);
    for (unsigned i = 0; i < m->n_queues; i++)
        set_up_queue(m, i);
    common_write(m, COMMON(device_status), 1, STATUS_LIVE | VIRTIO_CONFIG_S_DRIVER_OK);
    fuzz_settle(m);
}

void fuzz_kick(FuzzMachine *m, unsigned queue)
{
    vmc_bus_write(m->mmio, m->notify + (uint64_t)queue * m->notify_multiplier, 2, queue);
}

/* ---- chains ---- */

typedef struct Chain {
    struct vring_desc desc[RING_SIZE];
    unsigned n;
} Chain;

/* `len` bytes from `gpa` on as up to `parts` descriptors. */
static void add_parts(Chain *chain, uint64_t gpa, uint32_t len, unsigned parts, uint16_t flags)
{
    for (; len && chain->n < RING_SIZE; parts--) {
        uint32_t here = parts > 1 ? len / parts + len % parts : len;
        chain->desc[chain->n++] = (struct vring_desc){.addr = gpa, .len = here, .flags = flags};
        gpa += here;
        len -= here;
    }
}

static void link_chain(Chain *chain, unsigned first, unsigned size)
{
    for (unsigned i = 0; i + 1 < chain->n; i++) {
        chain->desc[i].flags |= VRING_DESC_F_NEXT;
        chain->desc[i].next = (uint16_t)((first + i + 1) % size);
    }
}

static void offer(FuzzMachine *m, FuzzQueue *q, uint16_t head)
{
    struct vring_avail *avail = (void *)fuzz_ram(m, q->avail, 6 + 2 * q->size);

    avail->ring[q->next_avail++ % q->size] = head;
    avail->idx = q->next_avail;
}

void fuzz_send(FuzzMachine *m, unsigned queue, const FuzzChain *chain)
{
    FuzzQueue *q = &m->queues[queue % VMC_VIRTIO_QUEUES_MAX];
    uint32_t len = MIN(chain->len, FUZZ_MESSAGE_MAX), in_len = MIN(chain->in_len, ALLOC_MAX);
    Chain c = {0};

    if (!q->size)
        return;
    if (len) {
        uint64_t at = fuzz_alloc(m, len);
        memcpy(fuzz_ram(m, at, len), chain->out, len);
        add_parts(&c, at, len, MAX(chain->n_out, 1), 0);
    }
    if (in_len)
        add_parts(&c, fuzz_alloc(m, in_len), in_len, MAX(chain->n_in, 1), VRING_DESC_F_WRITE);
    if (!c.n)
        return;

    struct vring_desc *ring = (void *)fuzz_ram(m, q->desc, sizeof(*ring) * q->size);
    uint16_t head = q->next_desc;
    if (chain->indirect) {
        uint64_t table = fuzz_alloc(m, sizeof(c.desc));
        link_chain(&c, 0, RING_SIZE);
        memcpy(fuzz_ram(m, table, sizeof(c.desc)), c.desc, sizeof(c.desc));
        ring[head] = (struct vring_desc){
            .addr = table, .len = c.n * (uint32_t)sizeof(c.desc[0]), .flags = VRING_DESC_F_INDIRECT};
        q->next_desc = (uint16_t)((head + 1) % q->size);
    } else {
        c.n = MIN(c.n, q->size);
        link_chain(&c, head, q->size);
        for (unsigned i = 0; i < c.n; i++)
            ring[(head + i) % q->size] = c.desc[i];
        q->next_desc = (uint16_t)((head + c.n) % q->size);
    }
    offer(m, q, head);
}

uint64_t fuzz_address(FuzzMachine *m, FuzzInput *in)
{
    uint8_t how = fuzz_u8(in);
    uint16_t at = fuzz_u16(in);

    switch (how & 15) {
    case 0:
        return FUZZ_ROM + at % ROM_SIZE;
    case 1:
        return FUZZ_ROM + 0x8000 + at; /* nothing there */
    case 2:
        return bar_base(m, how >> 4 & 1) + at % 0x4000;
    case 3:
        return FUZZ_HIGH + FUZZ_HIGH_SZ - 1 - (at & 31);
    case 4:
        return FUZZ_LOW + FUZZ_MORE - 1 - (at & 31);
    case 5:
        return FUZZ_LOW - 1 - (at & 31); /* runs on into the next slot */
    case 6:
        return UINT64_MAX - at % 64;
    case 7:
        return FUZZ_HIGH + at % FUZZ_HIGH_SZ;
    case 8:
        return (uint64_t)at << (how >> 4) * 4;
    default:
        return FUZZ_BUFFERS + at;
    }
}

/* ---- steps ---- */

typedef void Step(FuzzMachine *m, FuzzInput *in);

static uint32_t writable_length(FuzzInput *in, unsigned class)
{
    static const uint32_t lengths[] = {0, 1, 8, 64, 512, 4096, 32768};

    return class < 7 ? lengths[class] : fuzz_u16(in);
}

/* Raw bytes, or one of the target's messages for this queue. */
static size_t make_message(FuzzMachine *m, FuzzInput *in, unsigned queue, uint8_t *buf)
{
    const FuzzMessage *fitting[32];
    unsigned n = 0;

    for (unsigned i = 0; i < m->target->n_messages && n < G_N_ELEMENTS(fitting); i++) {
        const FuzzMessage *message = &m->target->messages[i];
        if (message->queue == queue || message->queue == FUZZ_ANY_QUEUE)
            fitting[n++] = message;
    }
    unsigned which = fuzz_below(in, n + 1);
    if (which < n) {
        size_t made = fitting[which]->make(m, in, buf); /* once: MIN would make it twice */
        return MIN(made, FUZZ_MESSAGE_MAX);
    }
    size_t len = fuzz_u8(in);
    fuzz_take(in, buf, len);
    return len;
}

/* A chain as a driver would make it. */
static void step_send(FuzzMachine *m, FuzzInput *in)
{
    uint8_t message[FUZZ_MESSAGE_MAX] = {0};
    unsigned queue = fuzz_below(in, m->n_queues);
    uint8_t shape = fuzz_u8(in), how = fuzz_u8(in);
    FuzzChain chain = {
        .out = message,
        .n_out = 1 + (shape & 3),
        .n_in = 1 + (shape >> 2 & 3),
        .indirect = (shape & 0x80) && m->virtio && m->virtio->features & VMC_VIRTIO_F_INDIRECT_DESC,
    };

    chain.in_len = writable_length(in, how & 7);
    chain.len = (uint32_t)make_message(m, in, queue, message);
    fuzz_send(m, queue, &chain);
    if (!(how & 0x40) && m->notify)
        fuzz_kick(m, queue);
    if (!(how & 0x80))
        fuzz_settle(m);
}

/* Buffers for the device to write to when it has something. */
static void step_fill(FuzzMachine *m, FuzzInput *in)
{
    unsigned queue = fuzz_below(in, m->n_queues);
    uint8_t how = fuzz_u8(in);
    uint32_t len = writable_length(in, how & 7);

    for (unsigned i = 0; i <= (how >> 4 & 7u); i++)
        fuzz_send(m, queue, &(FuzzChain){.in_len = len, .n_in = 1 + (how >> 3 & 1)});
    if (m->notify)
        fuzz_kick(m, queue);
    fuzz_settle(m);
}

static void step_kick(FuzzMachine *m, FuzzInput *in)
{
    if (m->notify)
        fuzz_kick(m, fuzz_below(in, m->n_queues + 1));
    fuzz_settle(m);
}

static void step_settle(FuzzMachine *m, FuzzInput *in)
{
    fuzz_settle(m);
}

/* A descriptor as no driver would make it: in the table and as the head of a chain, or either. */
static void step_bad_descriptor(FuzzMachine *m, FuzzInput *in)
{
    static const uint32_t lengths[] = {0, 1, 16, 4096, 0x10000, 0x7fffffff, 0xfffffff0, 0xffffffff};
    FuzzQueue *q = &m->queues[fuzz_below(in, MAX(m->n_queues, 1))];
    uint8_t how = fuzz_u8(in), flags = fuzz_u8(in), next = fuzz_u8(in);
    struct vring_desc desc = {
        .addr = fuzz_address(m, in),
        .len = flags & 8 ? fuzz_u32(in) : lengths[flags >> 4 & 7],
        .flags = flags & 7,
    };

    if (!q->size)
        return;
    uint16_t n = how % q->size;
    /* Somewhere else in the table, back to itself, or beyond the end. */
    desc.next = next & 0x80 ? next & 0x7f : next & 0x40 ? n : next % q->size;
    memcpy(fuzz_ram(m, q->desc + 16 * n, 16), &desc, 16);
    if (!(how & 0x40))
        return;
    offer(m, q, how & 0x20 ? desc.next : n);
    if (m->notify && how & 0x80)
        fuzz_kick(m, (unsigned)(q - m->queues));
    fuzz_settle(m);
}

/* A byte of a ring, or of a buffer, changes; perhaps between notification and completion. */
static void step_scribble(FuzzMachine *m, FuzzInput *in)
{
    uint8_t how = fuzz_u8(in);
    uint64_t gpa = FUZZ_BUFFERS + (uint64_t)(how & 1) * 0x10000;

    if (how & 2 && m->n_queues) {
        const FuzzQueue *q = &m->queues[fuzz_below(in, m->n_queues)];
        const uint64_t parts[4] = {q->desc, q->avail, q->used, q->avail};
        gpa = parts[how >> 2 & 3] + fuzz_u8(in);
    } else {
        gpa += fuzz_u16(in);
    }
    uint8_t *byte = fuzz_ram(m, gpa, 1);
    if (byte)
        *byte = fuzz_u8(in);
}

/* Bytes of RAM, where rings and tables of devices that are not virtio may lie. */
static void step_write_ram(FuzzMachine *m, FuzzInput *in)
{
    uint64_t gpa = FUZZ_BUFFERS + (fuzz_u16(in) & ~3u);
    unsigned len = 1u + fuzz_below(in, 64);

    fuzz_take(in, fuzz_ram(m, gpa, len), len);
}

static unsigned access_size(FuzzInput *in)
{
    return 1u << fuzz_below(in, 4);
}

/* Offsets in a BAR: the front of each 4 KiB is where the registers are. */
static uint64_t bar_offset(FuzzMachine *m, unsigned bar, FuzzInput *in)
{
    uint64_t size = MAX(m->dev->bars[bar].size, 1);

    return size <= 0x10000 ? fuzz_u16(in) % size : fuzz_u32(in) % size;
}

static void step_bar_read(FuzzMachine *m, FuzzInput *in)
{
    unsigned bar = fuzz_below(in, 6), size = access_size(in);

    fuzz_bar_read(m, bar, bar_offset(m, bar, in), size);
}

static void step_bar_write(FuzzMachine *m, FuzzInput *in)
{
    unsigned bar = fuzz_below(in, 6), size = access_size(in);
    uint64_t offset = bar_offset(m, bar, in);

    fuzz_bar_write(m, bar, offset, size, fuzz_number(in, size));
}

static void step_common(FuzzMachine *m, FuzzInput *in)
{
    unsigned offset = fuzz_below(in, sizeof(struct virtio_pci_common_cfg) + 8), size = access_size(in);

    if (!m->common)
        return;
    common_read(m, offset, size);
    common_write(m, offset, size, fuzz_number(in, size));
}

static void step_device_config(FuzzMachine *m, FuzzInput *in)
{
    uint8_t how = fuzz_u8(in);
    unsigned size = 1u << (how & 3);
    uint64_t at = m->device + fuzz_below(in, m->device_size + 8);

    if (!m->device)
        return;
    if (how & 4)
        vmc_bus_write(m->mmio, at, size, fuzz_number(in, size));
    else
        vmc_bus_read(m->mmio, at, size);
    vmc_bus_read(m->mmio, m->isr, 1);
}

static void step_pci_config(FuzzMachine *m, FuzzInput *in)
{
    unsigned size = 1u << fuzz_below(in, 3), offset = fuzz_u8(in);

    config_read(m, offset, size);
    config_write(m, offset, size, (uint32_t)fuzz_number(in, size));
}

/* Registers through the window in configuration space (s4.1.4.9). */
static void step_window(FuzzMachine *m, FuzzInput *in)
{
    uint8_t how = fuzz_u8(in);

    if (!m->window)
        return;
    config_write(m, m->window + VIRTIO_PCI_CAP_BAR, 1, how >> 4 & 1);
    config_write(m, m->window + VIRTIO_PCI_CAP_OFFSET, 4, fuzz_u16(in));
    config_write(m, m->window + VIRTIO_PCI_CAP_LENGTH, 4, how & 8 ? fuzz_u8(in) : 1u << (how & 3));
    if (how & 4)
        config_write(m, m->window + 16, 4, fuzz_u32(in));
    config_read(m, m->window + 16, 4);
}

typedef struct QueueRegisters {
    uint64_t size, enable, desc, avail, used;
} QueueRegisters;

static QueueRegisters queue_registers(FuzzMachine *m)
{
    return (QueueRegisters){
        .size = common_read(m, COMMON(queue_size), 2),
        .enable = common_read(m, COMMON(queue_enable), 2),
        .desc = common_read(m, COMMON(queue_desc_lo), 8),
        .avail = common_read(m, COMMON(queue_avail_lo), 8),
        .used = common_read(m, COMMON(queue_used_lo), 8),
    };
}

/* Other addresses for a queue. Once it is enabled, or the driver ready, nothing may come of that. */
static void step_rewrite_queue(FuzzMachine *m, FuzzInput *in)
{
    uint8_t which = fuzz_u8(in);

    if (!m->common)
        return;
    assign_bars(m); /* another BAR may have been put over the registers */
    common_write(m, COMMON(queue_select), 2, fuzz_below(in, m->n_queues + 1));
    QueueRegisters before = queue_registers(m);
    bool frozen = before.enable || virtio_status(m) & VIRTIO_CONFIG_S_DRIVER_OK;
    if (which & 1)
        common_write(m, COMMON(queue_size), 2, 1u << fuzz_below(in, 17));
    if (which & 2)
        write_address(m, COMMON(queue_desc_lo), fuzz_address(m, in));
    if (which & 4)
        write_address(m, COMMON(queue_avail_lo), fuzz_address(m, in));
    if (which & 8)
        write_address(m, COMMON(queue_used_lo), fuzz_address(m, in));
    if (which & 16)
        common_write(m, COMMON(queue_enable), 2, which >> 5);
    QueueRegisters after = queue_registers(m);
    if (frozen && memcmp(&before, &after, sizeof(before)) != 0)
        fuzz_finding("the registers of an active queue changed: size %" PRIu64 " and %" PRIu64, before.size,
                     after.size);
}

/* Resets without waiting, if so asked: requests are still on their way. */
static void step_reset(FuzzMachine *m, FuzzInput *in)
{
    if (m->common)
        common_write(m, COMMON(device_status), 1, 0);
    if (fuzz_u8(in) & 1)
        fuzz_settle(m);
}

static uint64_t features_without(FuzzInput *in)
{
    uint8_t how = fuzz_u8(in);

    return how & 1 ? fuzz_u64(in) : how & 2 ? UINT64_MAX : 0;
}

static void step_bring_up(FuzzMachine *m, FuzzInput *in)
{
    bring_up(m, features_without(in));
}

static void step_bus_master(FuzzMachine *m, FuzzInput *in)
{
    uint16_t command = (uint16_t)config_read(m, PCI_COMMAND, 2);

    fuzz_settle(m); /* what was on its way may still arrive */
    config_write(m, PCI_COMMAND, 2, command ^ PCI_COMMAND_MASTER);
    fuzz_settle(m);
}

/* Messages rather than a wire, with every vector pointing somewhere. */
static void step_msix(FuzzMachine *m, FuzzInput *in)
{
    for (unsigned at = config_read(m, PCI_CAPABILITY_LIST, 1), n = 0; at && n < 48; n++) {
        if (config_read(m, at, 1) == PCI_CAP_ID_MSIX) {
            uint32_t table = config_read(m, at + PCI_MSIX_TABLE, 4);
            config_write(m, at + PCI_MSIX_FLAGS, 2, (uint32_t)fuzz_u8(in) << 8);
            for (unsigned i = 0; i < 4; i++)
                fuzz_bar_write(m, table & 7, (table & ~7u) + 16 * i + 12, 4, fuzz_u8(in) & 1);
        }
        at = config_read(m, at + 1, 1);
    }
}

static void step_power(FuzzMachine *m, FuzzInput *in)
{
    vmc_pci_bus_reset(m->pci);
    fuzz_settle(m);
}

static void step_pause(FuzzMachine *m, FuzzInput *in)
{
    fuzz_pause(m);
}

/* The device is saved and what it has become of itself is loaded into it after a reset, with some bytes
 * changed if the input says so: as a machine that is restored from a file that anybody may have made. */
static void step_save(FuzzMachine *m, FuzzInput *in)
{
    VmcStateWriter *w = vmc_state_writer_new();
    unsigned spoilt = fuzz_u8(in) & 15;
    VmcStateReader r;

    fuzz_settle(m);
    vmc_pci_bus_hold(m->pci);
    vmc_pci_bus_save(m->pci, w);
    g_autoptr(GBytes) state = vmc_state_writer_take(w, NULL);
    vmc_state_writer_free(w);
    if (!state) {
        vmc_pci_bus_release(m->pci);
        fuzz_settle(m);
        return;
    }
    gsize n;
    const void *bytes = g_bytes_get_data(state, &n);
    g_autofree uint8_t *copy = g_memdup2(bytes, n);
    for (unsigned i = 0; i < spoilt; i++) {
        size_t at = fuzz_u32(in) % n;
        copy[at] = fuzz_u8(in);
    }
    vmc_pci_bus_reset(m->pci);
    fuzz_settle(m);
    vmc_state_reader_init(&r, copy, n);
    bool good = vmc_pci_bus_load(m->pci, &r);
    if (!good && !spoilt)
        fuzz_finding("the device does not take its own state: %s", r.failure);
    vmc_state_reader_clear(&r);
    if (good)
        vmc_pci_bus_release(m->pci);
    else
        vmc_pci_bus_reset(m->pci);
    fuzz_settle(m);
}

/* New ones go to the end of a row of their own, and the number of them stays: a saved input is read by it. */
static Step *const common_steps[] = {
    step_send,           step_send,     step_send,          step_send,   step_fill,      step_kick,
    step_settle,         step_scribble, step_write_ram,     step_common, step_bar_read,  step_bar_write,
    step_device_config,  step_window,   step_rewrite_queue, step_reset,  step_bring_up,  step_bus_master,
    step_bad_descriptor, step_msix,     step_pci_config,    step_power,  step_bar_write, step_pause,
};

/* A byte: from 80h on one of the target's steps, if it has any. */
static void take_step(FuzzMachine *m, FuzzInput *in)
{
    uint8_t n = fuzz_u8(in);

    if (n & 0x80 && m->target->n_steps)
        m->target->steps[(n & 0x7f) % m->target->n_steps](m, in);
    else if (n >= 5 * G_N_ELEMENTS(common_steps) && n < 0x80)
        step_save(m, in);
    else
        common_steps[(n & 0x7f) % G_N_ELEMENTS(common_steps)](m, in);
}

/* ---- one input ---- */

static void plug(FuzzMachine *m, FuzzInput *in)
{
    make_buses(m);
    m->own = NULL;
    m->common = m->isr = m->device = m->notify = 0;
    m->window = m->device_size = m->n_queues = m->pauses = 0;
    m->next_free = FUZZ_BUFFERS;
    m->dev = m->target->make(m, in);
    if (!m->dev || !vmc_pci_bus_add(m->pci, m->dev, -1, 0))
        fuzz_finding("the device could not be made");
    m->virtio = vmc_virtio_pci_device(m->dev, NULL);
    enable_pci(m);
    if (m->virtio)
        find_structures(m);
}

static void unplug(FuzzMachine *m)
{
    vmc_pci_bus_free(m->pci);
    m->dev = NULL;
    m->virtio = NULL;
    m->n_queues = 0;
    unsigned turns = 0;
    while (turn(m, &turns))
        ;
    if (m->target->unmake)
        m->target->unmake(m);
    while (turn(m, &turns))
        ;
    vmc_bus_free(m->pio);
    vmc_bus_free(m->mmio);
}

/* How inputs get to the I/O thread: by a bell that is there all the time. A call to it would still be freeing
 * what it is made of after the input is over, while the fuzzer counts what was allocated and what was freed,
 * and takes the difference for a leak that is worth a look. */
typedef struct Run {
    FuzzMachine machine;
    VmcDoorbell *bell;
    FuzzInput in;
    GMutex lock; /* `running` */
    GCond over;
    bool running;
} Run;

/* On the I/O thread. */
static void run(void *data)
{
    Run *r = data;
    FuzzMachine *m = &r->machine;

    fill_memory(m);
    plug(m, &r->in);
    uint8_t how = fuzz_u8(&r->in);
    if (!(how & 0x80))
        bring_up(m, how & 1 ? features_without(&r->in) : 0);
    for (unsigned i = 0; i < STEPS_MAX && fuzz_more(&r->in); i++)
        take_step(m, &r->in);
    fuzz_settle(m);
    check_rom(m);

    /* Whatever happened: a driver that starts anew finds a device that works. */
    bring_up(m, 0);
    if (m->virtio && virtio_status(m) != (STATUS_LIVE | VIRTIO_CONFIG_S_DRIVER_OK))
        fuzz_finding("the device does not work after a reset: status %#x", virtio_status(m));
    unplug(m);
    g_mutex_lock(&r->lock);
    r->running = false;
    g_cond_signal(&r->over);
    g_mutex_unlock(&r->lock);
}

int fuzz_device(const FuzzTarget *target, const uint8_t *data, size_t size)
{
    static Run r;

    if (!r.bell) {
        make_host(&r.machine);
        r.bell = vmc_doorbell_new(r.machine.io, run, &r);
        if (!r.bell)
            fuzz_finding("no bell for the I/O thread");
    }
    r.machine.target = target;
    r.in = (FuzzInput){.data = data, .size = size};
    g_mutex_lock(&r.lock);
    r.running = true;
    vmc_doorbell_ring(r.bell);
    while (r.running)
        g_cond_wait(&r.over, &r.lock);
    g_mutex_unlock(&r.lock);
    return 0;
}
