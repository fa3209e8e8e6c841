/*
 * A small NVMe driver for tests: it brings a controller on a real PCI bus up as a guest does, through its
 * registers and queues in guest memory, and waits for interrupts. Numbers are written down here again, from
 * the specification (NVMe 1.4), not taken from the controller's own header.
 *
 * Built on virtio_rig.h's machine: memory, bus, I/O thread, interrupts. The disk is a real file, of which
 * sector n is full of bytes n.
 */
#pragma once

#include "tests/unit/virtio_rig.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <unistd.h>

#include "nvme/nvme.h"
#include "vmcore/error.h"

#define NR_SECTORS 4096u
#define NR_WAIT    (20 * G_TIME_SPAN_SECOND)
#define NR_PAGE    4096u
#define NR_PAIRS   5u /* of queues that are used here, with the admin queues */

/* s3.1 */
enum {
    NR_CAP = 0x00,
    NR_VS = 0x08,
    NR_INTMS = 0x0c,
    NR_INTMC = 0x10,
    NR_CC = 0x14,
    NR_CSTS = 0x1c,
    NR_AQA = 0x24,
    NR_ASQ = 0x28,
    NR_ACQ = 0x30,
    NR_DOORBELLS = 0x1000,
};

#define NR_ENABLE 0x00460001u /* entries of 64 and 16 bytes, pages of 4 KiB */

enum { NR_FLUSH, NR_WRITE, NR_READ, NR_COMPARE = 5, NR_ZEROES = 8, NR_DSM = 9 };
enum {
    NR_DELETE_SQ,
    NR_CREATE_SQ,
    NR_GET_LOG,
    NR_DELETE_CQ = 4,
    NR_CREATE_CQ,
    NR_IDENTIFY,
    NR_ABORT = 8,
    NR_SET_FEATURES,
    NR_GET_FEATURES,
    NR_EVENT = 12,
};

typedef struct NrCommand {
    uint8_t opcode, flags;
    uint16_t cid;
    uint32_t nsid;
    uint64_t reserved, mptr, prp1, prp2;
    uint32_t dw10, dw11, dw12, dw13, dw14, dw15;
} NrCommand;

typedef struct NrCompletion {
    uint32_t result, reserved;
    uint16_t sq_head, sq;
    uint16_t cid, status; /* status without the phase here */
} NrCompletion;

typedef struct NrQueue {
    unsigned id, size, tail, head;
    uint64_t sq, cq;
    bool phase;
} NrQueue;

typedef struct Nr {
    Rig rig;
    uint64_t bar, data; /* data: a mebibyte and a page of guest memory */
    char *path;
    NrQueue queues[NR_PAIRS];
    uint16_t next_cid;
} Nr;

typedef struct NrOptions {
    bool readonly, sparse;
    unsigned queues;    /* 0: four */
    const char *folder; /* where the file shall be; NULL: where temporary files are */
    const char *serial; /* NULL: some */
    VmcDiskCache cache;
    VmcDisk *disk; /* not a file but this */
    const VmcHostHooks *hooks;
} NrOptions;

/* ---- registers ---- */

static inline uint32_t nr_read(Nr *n, unsigned offset)
{
    return (uint32_t)vmc_bus_read(n->rig.mmio, n->bar + offset, 4);
}

static inline void nr_write(Nr *n, unsigned offset, uint32_t value)
{
    vmc_bus_write(n->rig.mmio, n->bar + offset, 4, value);
}

static inline void nr_write64(Nr *n, unsigned offset, uint64_t value)
{
    nr_write(n, offset, (uint32_t)value);
    nr_write(n, offset + 4, (uint32_t)(value >> 32));
}

/* Polls a register, as drivers do. */
static inline void nr_await_register(Nr *n, unsigned offset, uint32_t mask, uint32_t value)
{
    for (int64_t end = g_get_monotonic_time() + NR_WAIT; (nr_read(n, offset) & mask) != value; g_usleep(200))
        if (g_get_monotonic_time() > end)
            fail_msg("register %#x is %#x; its bits %#x should become %#x", offset, nr_read(n, offset), mask,
                     value);
}

static inline void nr_doorbell(Nr *n, unsigned queue, bool completion, uint32_t value)
{
    nr_write(n, NR_DOORBELLS + 4 * (2 * queue + completion), value);
}

/* ---- the machine ---- */

static inline char *nr_make_file(const char *folder, bool sparse)
{
    char *path = g_build_filename(folder ? folder : g_get_tmp_dir(), "vmcore-nvme-XXXXXX", NULL);
    char sector[512];
    int fd = g_mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, NR_SECTORS * 512), 0);
    for (unsigned i = 0; i < NR_SECTORS && !sparse; i++) {
        memset(sector, (int)i, 512);
        assert_int_equal(write(fd, sector, 512), 512);
    }
    close(fd);
    return path;
}

static inline Nr *nr_new_with(const NrOptions *options)
{
    static const uint8_t lines[8] = {10, 11, 10, 11, 10, 11, 10, 11};
    Nr *n = g_new0(Nr, 1);
    VmcNvmeParams params = {
        .hooks = options->hooks,
        .disk = options->disk,
        .serial = options->serial ? options->serial : "pear-tree",
        .queues = options->queues ? options->queues : 4,
        .cache = options->cache,
    };

    rig_init(&n->rig);
    if (!params.disk) {
        n->path = nr_make_file(options->folder, options->sparse);
        params.disk = vmc_disk_open_raw(n->path, options->readonly, NULL);
    }
    assert_non_null(params.disk);
    params.memory = n->rig.memory;
    params.io = n->rig.io;
    n->rig.dev = vmc_nvme_new(&params);
    assert_non_null(n->rig.dev);
    assert_true(vmc_pci_bus_add(n->rig.pci, n->rig.dev, -1, 0));
    vmc_pci_bus_assign(n->rig.pci, RIG_WINDOW, RIG_WINDOW + 0x1000000, 0xc000, lines);
    rig_set_config(&n->rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    n->bar = rig_bar(&n->rig, 0);
    n->data = rig_alloc(&n->rig, (1 << 20) + NR_PAGE);
    return n;
}

static inline void nr_free(Nr *n)
{
    rig_clear(&n->rig);
    if (n->path)
        g_remove(n->path);
    g_free(n->path);
    g_free(n);
}

static inline unsigned nr_msix(Nr *n)
{
    unsigned cap = rig_config(&n->rig, PCI_CAPABILITY_LIST, 1);

    while (rig_config(&n->rig, cap, 1) != PCI_CAP_ID_MSIX)
        cap = rig_config(&n->rig, cap + 1, 1);
    return cap;
}

/* Vector n sends data n. */
static inline void nr_enable_msix(Nr *n)
{
    Rig *rig = &n->rig;
    unsigned cap = nr_msix(n);
    uint32_t where = rig_config(rig, cap + PCI_MSIX_TABLE, 4);
    uint64_t table = rig_bar(rig, where & 7) + (where & ~7u);
    unsigned vectors = (rig_config(rig, cap + PCI_MSIX_FLAGS, 2) & PCI_MSIX_FLAGS_QSIZE) + 1;

    rig_set_config(rig, cap + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
    for (unsigned i = 0; i < vectors; i++) {
        vmc_bus_write(rig->mmio, table + 16 * i, 4, RIG_MSI);
        vmc_bus_write(rig->mmio, table + 16 * i + 8, 4, i);
        vmc_bus_write(rig->mmio, table + 16 * i + 12, 4, 0);
    }
}

static inline NrQueue *nr_queue(Nr *n, unsigned id, unsigned size)
{
    NrQueue *q = &n->queues[id];

    *q = (NrQueue){.id = id, .size = size, .phase = true};
    q->sq = rig_alloc(&n->rig, 64 * size);
    q->cq = rig_alloc(&n->rig, 16 * size);
    memset(rig_host(&n->rig, q->cq, 16 * size), 0, 16 * size);
    return q;
}

/* ---- commands ---- */

/* Puts a command into the queue; the doorbell is another matter. Returns its identifier. */
static inline uint16_t nr_put(Nr *n, NrQueue *q, const NrCommand *cmd)
{
    NrCommand *at = (NrCommand *)rig_host(&n->rig, q->sq, 64ull * q->size) + q->tail;

    *at = *cmd;
    at->cid = n->next_cid++;
    q->tail = (q->tail + 1) % q->size;
    return at->cid;
}

static inline uint16_t nr_send(Nr *n, NrQueue *q, const NrCommand *cmd)
{
    uint16_t cid = nr_put(n, q, cmd);

    nr_doorbell(n, q->id, false, q->tail);
    return cid;
}

/* Whether there is a completion; it stays where it is. */
static inline bool nr_peek(Nr *n, NrQueue *q, NrCompletion *done)
{
    NrCompletion *at = (NrCompletion *)rig_host(&n->rig, q->cq, 16ull * q->size) + q->head;
    uint16_t status = __atomic_load_n(&at->status, __ATOMIC_ACQUIRE);

    if ((status & 1) != q->phase)
        return false;
    *done = *at;
    done->status = status >> 1;
    return true;
}

static inline void nr_seen(Nr *n, NrQueue *q)
{
    q->head = (q->head + 1) % q->size;
    q->phase ^= !q->head;
    nr_doorbell(n, q->id, true, q->head);
}

/* Waits, as a driver would, for an interrupt that brings a completion. */
static inline bool nr_wait(Nr *n, NrQueue *q, NrCompletion *done, int64_t timeout)
{
    int64_t end = g_get_monotonic_time() + timeout;
    bool there;

    g_mutex_lock(&n->rig.lock);
    while (!(there = nr_peek(n, q, done)))
        if (!g_cond_wait_until(&n->rig.cond, &n->rig.lock, end))
            break;
    g_mutex_unlock(&n->rig.lock);
    if (there)
        nr_seen(n, q);
    return there;
}

static inline NrCompletion nr_await(Nr *n, NrQueue *q)
{
    NrCompletion done = {0};

    if (!nr_wait(n, q, &done, NR_WAIT))
        fail_msg("queue %u: no completion and interrupt in time; CSTS %#x", q->id, nr_read(n, NR_CSTS));
    assert_int_equal(done.sq, q->id);
    return done;
}

/* One command on an otherwise idle queue. */
static inline NrCompletion nr_command(Nr *n, unsigned queue, const NrCommand *cmd)
{
    NrQueue *q = &n->queues[queue];
    uint16_t cid = nr_send(n, q, cmd);
    NrCompletion done = nr_await(n, q);

    assert_int_equal(done.cid, cid);
    assert_int_equal(done.sq_head, q->tail);
    return done;
}

/* The status without Do Not Retry. */
static inline unsigned nr_status(NrCompletion done)
{
    return done.status & 0x3fff;
}

static inline unsigned nr_admin(Nr *n, const NrCommand *cmd)
{
    return nr_status(nr_command(n, 0, cmd));
}

/* ---- bringing it up ---- */

static inline void nr_disable(Nr *n)
{
    nr_write(n, NR_CC, 0);
    nr_await_register(n, NR_CSTS, 1, 0);
}

static inline void nr_enable(Nr *n, unsigned size)
{
    NrQueue *q = nr_queue(n, 0, size);

    nr_write(n, NR_AQA, (size - 1) << 16 | (size - 1));
    nr_write64(n, NR_ASQ, q->sq);
    nr_write64(n, NR_ACQ, q->cq);
    nr_write(n, NR_CC, NR_ENABLE);
    nr_await_register(n, NR_CSTS, 3, 1);
}

static inline unsigned nr_create_cq(Nr *n, const NrQueue *q, unsigned vector)
{
    return nr_admin(n, &(NrCommand){.opcode = NR_CREATE_CQ,
                                    .prp1 = q->cq,
                                    .dw10 = (q->size - 1) << 16 | q->id,
                                    .dw11 = vector << 16 | 3});
}

static inline unsigned nr_create_sq(Nr *n, const NrQueue *q, unsigned cq)
{
    return nr_admin(n, &(NrCommand){.opcode = NR_CREATE_SQ,
                                    .prp1 = q->sq,
                                    .dw10 = (q->size - 1) << 16 | q->id,
                                    .dw11 = cq << 16 | 1});
}

/* A pair of queues; with MSI-X, of a vector of its own. */
static inline NrQueue *nr_create(Nr *n, unsigned id, unsigned size, bool msix)
{
    NrQueue *q = nr_queue(n, id, size);

    assert_int_equal(nr_create_cq(n, q, msix ? id : 0), 0);
    assert_int_equal(nr_create_sq(n, q, id), 0);
    return q;
}

/* All of it, with MSI-X and one I/O queue. */
static inline void nr_bring_up(Nr *n, unsigned size)
{
    nr_enable_msix(n);
    nr_enable(n, 32);
    nr_create(n, 1, size, true);
}

static inline Nr *nr_new(void)
{
    Nr *n = nr_new_with(&(NrOptions){0});

    nr_bring_up(n, 64);
    return n;
}

static inline int nr_setup(void **state)
{
    *state = nr_new();
    return 0;
}

static inline int nr_teardown(void **state)
{
    nr_free(*state);
    return 0;
}

/* ---- data ---- */

static inline void *nr_host(Nr *n, uint64_t gpa, uint64_t length)
{
    return rig_host(&n->rig, gpa, length);
}

static inline NrCommand nr_io(uint8_t opcode, uint64_t sector, unsigned sectors, uint64_t prp1, uint64_t prp2)
{
    return (NrCommand){.opcode = opcode,
                       .nsid = 1,
                       .prp1 = prp1,
                       .prp2 = prp2,
                       .dw10 = (uint32_t)sector,
                       .dw11 = (uint32_t)(sector >> 32),
                       .dw12 = sectors - 1};
}

/* Up to two pages from n->data on. */
static inline unsigned nr_transfer(Nr *n, uint8_t opcode, uint64_t sector, unsigned sectors)
{
    NrCommand cmd = nr_io(opcode, sector, sectors, n->data, n->data + NR_PAGE);

    return nr_status(nr_command(n, 1, &cmd));
}

static inline void nr_expect_all(const uint8_t *bytes, uint8_t what, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (bytes[i] != what)
            fail_msg("byte %zu is %#x, not %#x", i, bytes[i], what);
}

/* Sectors as they are at first. */
static inline void nr_expect_sectors(const uint8_t *bytes, uint64_t sector, unsigned sectors)
{
    for (unsigned i = 0; i < sectors; i++)
        nr_expect_all(bytes + i * 512, (uint8_t)(sector + i), 512);
}

static inline void nr_expect_file(Nr *n, uint64_t sector, uint8_t what, size_t sectors)
{
    g_autofree uint8_t *bytes = g_malloc(sectors * 512);
    int fd = open(n->path, O_RDONLY);

    assert_int_equal(pread(fd, bytes, sectors * 512, (off_t)sector * 512), sectors * 512);
    close(fd);
    nr_expect_all(bytes, what, sectors * 512);
}
