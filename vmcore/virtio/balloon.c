/*
 * virtio-balloon (VIRTIO 1.2 s5.5): memory that the guest does not need, given back to the host.
 *
 * In two ways. The balloon proper: we say how much memory the guest shall do without, its driver takes pages
 * from its own use and names them (inflate), and may take them back (deflate). And free page reporting: the
 * guest names ranges that are free just now. Either way the pages' contents are dropped at once
 * (vmc_memory_discard), and whoever touches one again finds a page of zeroes there; so a guest that lies
 * harms only itself, and nothing has to be done at deflating.
 *
 * Pages that the guest wants to find filled with something else than zeroes (page poisoning) stay as they are
 * when they are reported, which s5.5.6.6 leaves to us.
 *
 * Statistics (s5.5.6.3): the driver leaves a buffer with us; giving it back is asking for new numbers.
 *
 * Queues: s5.5.2 counts the queue of free page hints, which we do not offer, and Linux does not; so queues 3
 * and 4 both take reports.
 *
 * Threads: queues and the timer on the I/O thread; what is told and asked from outside is atomic or has the
 * lock.
 */
#include <glib.h>

#include "virtio/devices.h"
#include "virtio/virtio_pci.h"

#define F_MUST_TELL_HOST (1ull << 0)
#define F_STATS_VQ       (1ull << 1)
#define F_DEFLATE_ON_OOM (1ull << 2)
#define F_PAGE_POISON    (1ull << 4)
#define F_PAGE_REPORTING (1ull << 5)

enum { QUEUE_INFLATE, QUEUE_DEFLATE, QUEUE_STATS, QUEUE_REPORTING, QUEUE_REPORTING_AS_COUNTED };

#define PFN_SHIFT     12u   /* s5.5.6: always 4 KiB */
#define PFNS_AT_ONCE  256u  /* read from a request at a time */
#define RUN_PFNS      8192u /* in one go, then others have their turn */
#define RUN_CHAINS    64u
#define REPORT_MAX    (64ull << 20) /* bytes of reports in one go */
#define STAT_ENTRIES  64u           /* of which one request is read */
#define STAT_ENTRY_SZ 10u

/* s5.5.4, little-endian. */
typedef struct BalloonConfig {
    uint32_t num_pages, actual, free_page_hint_cmd_id, poison_val;
} BalloonConfig;

_Static_assert(sizeof(BalloonConfig) == 16, "as in s5.5.4");

typedef struct Balloon {
    VmcVirtioDevice dev;
    uint64_t memory; /* bytes the guest has without a balloon */
    VmcVirtqElement elem;

    _Atomic uint32_t num_pages;          /* that the guest shall do without */
    _Atomic uint32_t actual, poison_val; /* as the driver writes them */
    _Atomic uint64_t discarded;          /* bytes, ever */

    VmcVirtqElement stats; /* the driver's buffer */
    bool stats_held;
    _Atomic unsigned poll_seconds; /* 0: not */
    VmcTimer *poll;
    GMutex lock; /* guards `statistics` */
    VmcBalloonStatistics statistics;
} Balloon;

static void discard(Balloon *balloon, uint64_t gpa, uint64_t len)
{
    atomic_fetch_add(&balloon->discarded, vmc_memory_discard(balloon->dev.memory, gpa, len));
}

/* ---- the balloon ---- */

/* Drops the pages, runs of them in one piece; drivers name them upwards or downwards. */
static void discard_pages(Balloon *balloon, const uint32_t *pfns, unsigned n)
{
    for (unsigned i = 0; i < n;) {
        uint64_t first = GUINT32_FROM_LE(pfns[i]), last = first;
        for (i++; i < n; i++) {
            uint64_t pfn = GUINT32_FROM_LE(pfns[i]);
            if (pfn == last + 1)
                last = pfn;
            else if (pfn + 1 == first)
                first = pfn;
            else
                break;
        }
        discard(balloon, first << PFN_SHIFT, (last - first + 1) << PFN_SHIFT);
    }
}

/* Looks at up to PFNS_AT_ONCE page numbers at the front of a request. False: it has no more. */
static bool take_pages(Balloon *balloon, bool inflate)
{
    uint32_t pfns[PFNS_AT_ONCE];
    size_t len = vmc_virtq_element_read(&balloon->elem, pfns, sizeof(pfns));

    if (inflate)
        discard_pages(balloon, pfns, (unsigned)(len / sizeof(*pfns)));
    return balloon->elem.out_len >= sizeof(*pfns);
}

/* A request may name any number of pages. One that names more than Linux ever does keeps the thread for them,
 * no longer than `RUN_PFNS` of them take; what it has beyond is not looked at. */
static void handle_pages(Balloon *balloon, unsigned queue)
{
    VmcVirtioDevice *dev = &balloon->dev;
    VmcVirtqueue *vq = &dev->queues[queue];
    unsigned pages = 0;

    while (pages < RUN_PFNS && vmc_virtio_pop(dev, queue, &balloon->elem)) {
        unsigned of_this = 0;
        do
            of_this += PFNS_AT_ONCE;
        while (take_pages(balloon, queue == QUEUE_INFLATE) && of_this < RUN_PFNS);
        pages += of_this;
        vmc_virtio_push(dev, queue, &balloon->elem, 0);
    }
    vmc_virtqueue_set_notification(vq, true);
    vmc_virtio_notify(dev, queue);
    if (vmc_virtqueue_available(vq))
        vmc_virtio_kick(dev, queue);
}

/* ---- free page reporting (s5.5.6.7) ---- */

/* A reported range, of which we know the host's address. */
static void discard_reported(Balloon *balloon, const struct iovec *range)
{
    const VmcMemory *memory = balloon->dev.memory;
    const uint8_t *host = range->iov_base;

    for (unsigned i = 0; i < memory->n_slots; i++) {
        const VmcMemSlot *slot = &memory->slots[i];
        if (!slot->movable && host >= slot->host && host < slot->host + slot->size)
            discard(balloon, slot->gpa + (uint64_t)(host - slot->host), range->iov_len);
    }
}

static void handle_reports(Balloon *balloon, unsigned queue)
{
    VmcVirtioDevice *dev = &balloon->dev;
    VmcVirtqueue *vq = &dev->queues[queue];
    uint64_t bytes = 0;

    for (unsigned i = 0; i < RUN_CHAINS && bytes < REPORT_MAX; i++) {
        if (!vmc_virtio_pop(dev, queue, &balloon->elem))
            break;
        bytes += balloon->elem.in_len;
        bool as_it_is = (dev->features & F_PAGE_POISON) && balloon->poison_val;
        for (unsigned n = 0; !as_it_is && n < balloon->elem.n_in; n++)
            discard_reported(balloon, &balloon->elem.in[n]);
        vmc_virtio_push(dev, queue, &balloon->elem, 0);
    }
    vmc_virtqueue_set_notification(vq, true);
    vmc_virtio_notify(dev, queue);
    if (vmc_virtqueue_available(vq))
        vmc_virtio_kick(dev, queue);
}

/* ---- statistics ---- */

static void give_back_stats(Balloon *balloon)
{
    vmc_virtio_push(&balloon->dev, QUEUE_STATS, &balloon->stats, 0);
    balloon->stats_held = false;
    vmc_virtio_notify(&balloon->dev, QUEUE_STATS);
}

/* Tag and value, 2 and 8 bytes each, without padding. Tags we do not know are passed over. */
static void read_stats(Balloon *balloon)
{
    uint8_t bytes[STAT_ENTRIES * STAT_ENTRY_SZ];
    size_t len = vmc_virtq_element_read(&balloon->stats, bytes, sizeof(bytes));
    VmcBalloonStatistics statistics = {.updated_ns = vmc_now_ns()};

    for (size_t at = 0; at + STAT_ENTRY_SZ <= len; at += STAT_ENTRY_SZ) {
        uint16_t tag;
        uint64_t value;
        memcpy(&tag, bytes + at, sizeof(tag));
        memcpy(&value, bytes + at + sizeof(tag), sizeof(value));
        tag = GUINT16_FROM_LE(tag);
        if (tag >= VMC_BALLOON_STATS)
            continue;
        statistics.known |= 1u << tag;
        statistics.values[tag] = GUINT64_FROM_LE(value);
    }
    g_mutex_lock(&balloon->lock);
    balloon->statistics = statistics;
    g_mutex_unlock(&balloon->lock);
}

/* Keeps the last buffer: there should be but one. */
static void handle_stats(Balloon *balloon)
{
    VmcVirtioDevice *dev = &balloon->dev;
    VmcVirtqueue *vq = &dev->queues[QUEUE_STATS];

    for (unsigned i = 0; i < RUN_CHAINS && vmc_virtqueue_available(vq); i++) {
        if (balloon->stats_held)
            give_back_stats(balloon);
        balloon->stats_held = vmc_virtio_pop(dev, QUEUE_STATS, &balloon->stats);
        if (!balloon->stats_held)
            break;
        read_stats(balloon);
    }
    vmc_virtqueue_set_notification(vq, true);
    if (dev->running && vmc_virtqueue_available(vq))
        vmc_virtio_kick(dev, QUEUE_STATS);
}

static void arm_poll(Balloon *balloon)
{
    unsigned seconds = balloon->poll_seconds;

    if (seconds)
        vmc_timer_arm(balloon->poll, vmc_now_ns() + seconds * 1000000000ull);
    else
        vmc_timer_disarm(balloon->poll);
}

static void poll_stats(void *data)
{
    Balloon *balloon = data;

    if (balloon->dev.running && balloon->stats_held && atomic_load(&balloon->dev.dma))
        give_back_stats(balloon);
    arm_poll(balloon);
}

/* ---- configuration and lifecycle ---- */

static void config_read(VmcVirtioDevice *dev, uint32_t offset, void *buf, size_t len)
{
    const Balloon *balloon = (Balloon *)dev;
    BalloonConfig config = {
        .num_pages = GUINT32_TO_LE(balloon->num_pages),
        .actual = GUINT32_TO_LE(balloon->actual),
        .poison_val = GUINT32_TO_LE(balloon->poison_val),
    };

    memcpy(buf, (uint8_t *)&config + offset, len);
}

/* The two fields the driver writes, in one access each (s4.1.3.1). */
static void config_write(VmcVirtioDevice *dev, uint32_t offset, const void *buf, size_t len)
{
    Balloon *balloon = (Balloon *)dev;
    uint32_t value;

    if (len != sizeof(value))
        return;
    memcpy(&value, buf, sizeof(value));
    if (offset == offsetof(BalloonConfig, actual))
        balloon->actual = GUINT32_FROM_LE(value);
    else if (offset == offsetof(BalloonConfig, poison_val))
        balloon->poison_val = GUINT32_FROM_LE(value);
}

static void queue_notified(VmcVirtioDevice *dev, unsigned queue)
{
    Balloon *balloon = (Balloon *)dev;

    if (queue == QUEUE_INFLATE || queue == QUEUE_DEFLATE)
        handle_pages(balloon, queue);
    else if (queue == QUEUE_STATS && (dev->features & F_STATS_VQ))
        handle_stats(balloon);
    else if (dev->features & F_PAGE_REPORTING)
        handle_reports(balloon, queue);
}

static bool reset(VmcVirtioDevice *dev)
{
    Balloon *balloon = (Balloon *)dev;

    balloon->stats_held = false;
    balloon->actual = balloon->poison_val = 0;
    g_mutex_lock(&balloon->lock);
    balloon->statistics = (VmcBalloonStatistics){0};
    g_mutex_unlock(&balloon->lock);
    return true;
}

/* The buffer for statistics is taken anew, and read. */
static unsigned kept(VmcVirtioDevice *dev, unsigned queue)
{
    return queue == QUEUE_STATS && ((Balloon *)dev)->stats_held;
}

static void save(VmcVirtioDevice *dev, VmcStateWriter *w)
{
    const Balloon *balloon = (Balloon *)dev;

    vmc_state_put_u32(w, balloon->num_pages);
    vmc_state_put_u32(w, balloon->actual);
    vmc_state_put_u32(w, balloon->poison_val);
}

static bool load(VmcVirtioDevice *dev, VmcStateReader *r)
{
    Balloon *balloon = (Balloon *)dev;

    balloon->num_pages = vmc_state_get_u32_max(r, (uint32_t)MIN(balloon->memory >> PFN_SHIFT, UINT32_MAX));
    balloon->actual = vmc_state_get_u32(r);
    balloon->poison_val = vmc_state_get_u32(r);
    return vmc_state_ok(r);
}

static void balloon_free(VmcVirtioDevice *dev)
{
    Balloon *balloon = (Balloon *)dev;

    vmc_timer_free(balloon->poll);
    vmc_virtq_element_clear(&balloon->elem);
    vmc_virtq_element_clear(&balloon->stats);
    g_mutex_clear(&balloon->lock);
    g_free(balloon);
}

static const VmcVirtioOps balloon_ops = {
    .name = "virtio-balloon",
    .type = VMC_VIRTIO_ID_BALLOON,
    .pci_class = 0xff0000,
    .config_size = sizeof(BalloonConfig),
    .n_queues = 5,
    .queue_sizes = {128, 128, 16, 64, 64},
    .config_read = config_read,
    .config_write = config_write,
    .queue_notified = queue_notified,
    .reset = reset,
    .free = balloon_free,
    .kept = kept,
    .save = save,
    .load = load,
};

VmcPciDevice *vmc_virtio_balloon_new(const VmcVirtioHost *host, uint64_t memory)
{
    Balloon *balloon = g_new0(Balloon, 1);

    vmc_virtio_device_init(&balloon->dev, &balloon_ops, host->memory, host->io);
    balloon->dev.offered =
        F_MUST_TELL_HOST | F_STATS_VQ | F_DEFLATE_ON_OOM | F_PAGE_POISON | F_PAGE_REPORTING;
    balloon->memory = memory;
    balloon->poll = vmc_timer_new(host->io, poll_stats, balloon);
    g_mutex_init(&balloon->lock);
    return vmc_virtio_pci_new(&balloon->dev);
}

/* ---- from outside ---- */

static Balloon *balloon_of(VmcPciDevice *pci)
{
    return (Balloon *)vmc_virtio_pci_device(pci, &balloon_ops);
}

void vmc_virtio_balloon_set_target(VmcPciDevice *pci, uint64_t bytes)
{
    Balloon *balloon = balloon_of(pci);

    if (!balloon)
        return;
    uint64_t pages = (balloon->memory - MIN(bytes, balloon->memory)) >> PFN_SHIFT;
    balloon->num_pages = (uint32_t)MIN(pages, UINT32_MAX);
    vmc_virtio_config_changed(&balloon->dev);
}

uint64_t vmc_virtio_balloon_get_target(VmcPciDevice *pci)
{
    const Balloon *balloon = balloon_of(pci);

    return balloon ? balloon->memory - ((uint64_t)balloon->num_pages << PFN_SHIFT) : 0;
}

uint64_t vmc_virtio_balloon_get_actual(VmcPciDevice *pci)
{
    const Balloon *balloon = balloon_of(pci);

    if (!balloon)
        return 0;
    uint64_t taken = (uint64_t)balloon->actual << PFN_SHIFT;
    return balloon->memory - MIN(taken, balloon->memory);
}

uint64_t vmc_virtio_balloon_get_discarded(VmcPciDevice *pci)
{
    const Balloon *balloon = balloon_of(pci);

    return balloon ? balloon->discarded : 0;
}

static void poll_now(void *data)
{
    poll_stats(data);
}

void vmc_virtio_balloon_poll(VmcPciDevice *pci, unsigned seconds)
{
    Balloon *balloon = balloon_of(pci);

    if (!balloon)
        return;
    balloon->poll_seconds = seconds;
    vmc_io_call(balloon->dev.io, poll_now, balloon);
}

void vmc_virtio_balloon_get_statistics(VmcPciDevice *pci, VmcBalloonStatistics *statistics)
{
    Balloon *balloon = balloon_of(pci);

    *statistics = (VmcBalloonStatistics){0};
    if (!balloon)
        return;
    g_mutex_lock(&balloon->lock);
    *statistics = balloon->statistics;
    g_mutex_unlock(&balloon->lock);
}
