/*
 * A USB stick or CD-ROM on a real file for tests, behind the xHCI, with one-command-at-a-time helpers for its
 * Bulk-Only Transport. Page n of the file is full of bytes n.
 */
#pragma once

#include "tests/unit/xhci_rig.h"

#include <glib/gstdio.h>
#include <scsi/scsi.h>
#include <unistd.h>

#include "usb/storage.h"

/* What glibc's header does not have. */
#define READ_16              0x88
#define WRITE_16             0x8a
#define SERVICE_ACTION_IN_16 0x9e
#define REPORT_LUNS          0xa0

#define SIZE   (1u << 20)
#define BLOCKS (SIZE / 512)

/* A disk in front of another, whose operations can be held back or fail. */
typedef struct Gate {
    VmcDisk disk;
    VmcDisk *below;
    GMutex lock;
    GCond cond;
    bool closed;
    unsigned waiting, flushes;
    int error, flush_error;
    bool *gone;
} Gate;

typedef struct Storage {
    Xr x;
    XrDevice dev;
    VmcUsbDevice *usb;
    Gate *gate;
    char *path;
    int fd;
    bool gone; /* the disk was closed */
    const VmcHostHooks *hooks;
    uint64_t cbw, csw, data;
    uint32_t tag;
} Storage;

static inline int through(Gate *gate)
{
    g_mutex_lock(&gate->lock);
    gate->waiting++;
    g_cond_broadcast(&gate->cond);
    while (gate->closed)
        g_cond_wait(&gate->cond, &gate->lock);
    gate->waiting--;
    int error = gate->error;
    g_mutex_unlock(&gate->lock);
    return error;
}

static inline int gate_read(VmcDisk *disk, uint64_t offset, struct iovec *iov, unsigned n)
{
    int error = through((Gate *)disk);

    return error ? error : vmc_disk_read(((Gate *)disk)->below, offset, iov, n);
}

static inline int gate_write(VmcDisk *disk, uint64_t offset, struct iovec *iov, unsigned n)
{
    int error = through((Gate *)disk);

    return error ? error : vmc_disk_write(((Gate *)disk)->below, offset, iov, n);
}

static inline int gate_flush(VmcDisk *disk)
{
    Gate *gate = (Gate *)disk;
    int error = through(gate);

    gate->flushes++;
    error = error ? error : gate->flush_error;
    return error ? error : vmc_disk_flush(gate->below);
}

static inline void gate_close(VmcDisk *disk)
{
    Gate *gate = (Gate *)disk;

    *gate->gone = true;
    vmc_disk_close(gate->below);
    g_mutex_clear(&gate->lock);
    g_cond_clear(&gate->cond);
    g_free(gate);
}

static const VmcDiskOps gate_ops = {
    .name = "gate", .read = gate_read, .write = gate_write, .flush = gate_flush, .close = gate_close};

static inline void set_gate(Gate *gate, bool closed)
{
    g_mutex_lock(&gate->lock);
    gate->closed = closed;
    g_cond_broadcast(&gate->cond);
    g_mutex_unlock(&gate->lock);
}

static inline void await_waiting(Gate *gate)
{
    g_mutex_lock(&gate->lock);
    while (!gate->waiting)
        g_cond_wait(&gate->cond, &gate->lock);
    g_mutex_unlock(&gate->lock);
}

static inline VmcUsbDevice *new_device(Storage *s, bool cdrom, bool readonly)
{
    Gate *gate = g_new0(Gate, 1);

    gate->below = vmc_disk_open_raw(s->path, readonly, NULL);
    assert_non_null(gate->below);
    gate->disk = *gate->below;
    gate->disk.ops = &gate_ops;
    gate->disk.path = g_strdup(s->path);
    g_mutex_init(&gate->lock);
    g_cond_init(&gate->cond);
    gate->gone = &s->gone;
    s->gate = gate;
    VmcUsbDevice *dev = vmc_usb_storage_new(&gate->disk, cdrom, NULL);
    vmc_usb_storage_set_hooks(dev, s->hooks);
    return dev;
}

static inline void bring_up_at(Storage *s, unsigned port, uint32_t route)
{
    Xr *x = &s->x;

    xr_address(x, &s->dev, port, route);
    assert_int_equal(xr_add_endpoint(x, &s->dev, 3, 6, 1024), XR_SUCCESS);
    assert_int_equal(xr_add_endpoint(x, &s->dev, 4, 2, 1024), XR_SUCCESS);
    xr_request(x, &s->dev, 0, 9, 1, 0, 0);
}

static inline void bring_up(Storage *s)
{
    bring_up_at(s, 5, 0);
}

typedef struct StorageOptions {
    bool cdrom, readonly;
    bool sparse;        /* all zeroes and takes no space */
    const char *folder; /* where the file shall be; NULL: where temporary files are */
    const VmcHostHooks *hooks;
} StorageOptions;

static inline void make_pages(Storage *s, const StorageOptions *options)
{
    s->path =
        g_build_filename(options->folder ? options->folder : g_get_tmp_dir(), "vmcore-usb-XXXXXX", NULL);
    s->fd = g_mkstemp(s->path);
    assert_int_equal(ftruncate(s->fd, SIZE), 0);
    for (unsigned i = 0; i < SIZE && !options->sparse; i += 4096) {
        char page[4096];
        memset(page, (int)(i >> 12), sizeof(page));
        assert_int_equal(pwrite(s->fd, page, sizeof(page), i), sizeof(page));
    }
}

static inline Storage *storage_new(const StorageOptions *options)
{
    Storage *s = g_new0(Storage, 1);

    xr_init(&s->x);
    xr_enable_msix(&s->x);
    make_pages(s, options);
    s->hooks = options->hooks;
    s->cbw = rig_alloc(&s->x.rig, 31);
    s->csw = rig_alloc(&s->x.rig, 13);
    s->data = rig_alloc(&s->x.rig, SIZE);
    s->usb = new_device(s, options->cdrom, options->readonly);
    assert_true(vmc_xhci_attach(s->x.rig.dev, s->usb, NULL));
    xr_start(&s->x);
    bring_up(s);
    return s;
}

static inline int teardown(void **state)
{
    Storage *s = *state;

    xr_clear(&s->x);
    assert_true(s->gone);
    close(s->fd);
    unlink(s->path);
    g_free(s->path);
    g_free(s);
    return 0;
}

static inline uint8_t *data_of(Storage *s)
{
    return rig_host(&s->x.rig, s->data, SIZE);
}

/* ---- Bulk-Only Transport ---- */

typedef struct Result {
    unsigned status;  /* of the CSW */
    unsigned code;    /* of the data transfer */
    uint32_t residue; /* of the CSW */
    uint32_t moved;
} Result;

static inline void queue_cbw(Storage *s, const uint8_t *cdb, unsigned cdb_len, uint32_t length, bool in)
{
    uint8_t *p = rig_host(&s->x.rig, s->cbw, 31);

    memset(p, 0, 31);
    memcpy(p, "USBC", 4);
    s->tag++;
    memcpy(p + 4, &s->tag, 4);
    memcpy(p + 8, &length, 4);
    p[12] = in ? 0x80 : 0;
    p[14] = (uint8_t)cdb_len;
    memcpy(p + 15, cdb, cdb_len);
    xr_queue(&s->x, &s->dev, 4, s->cbw, 31);
}

static inline void send_cbw(Storage *s, const uint8_t *cdb, unsigned cdb_len, uint32_t length, bool in)
{
    queue_cbw(s, cdb, cdb_len, length, in);
    assert_int_equal(xr_code(xr_event(&s->x)), XR_SUCCESS);
}

static inline void clear_halt(Storage *s, unsigned index)
{
    xr_recover(&s->x, &s->dev, index);
    xr_request(&s->x, &s->dev, 2, 1, 0, index == 3 ? 0x81 : 2, 0);
}

static inline void take_csw(Storage *s, Result *result)
{
    uint8_t *p = rig_host(&s->x.rig, s->csw, 13);

    XrDone done = xr_transfer(&s->x, &s->dev, 3, s->csw, 13);
    assert_int_equal(done.code, XR_SUCCESS);
    assert_memory_equal(p, "USBS", 4);
    assert_memory_equal(p + 4, &s->tag, 4);
    memcpy(&result->residue, p + 8, 4);
    result->status = p[12];
}

/* The data goes in one TRB for each 64 KiB. */
static inline Result command(Storage *s, const uint8_t *cdb, unsigned cdb_len, uint32_t length, bool in)
{
    unsigned index = in ? 3 : 4;
    Result result = {0};

    send_cbw(s, cdb, cdb_len, length, in);
    for (uint32_t at = 0; at < length; at += 65536) {
        XrDone done = xr_transfer(&s->x, &s->dev, index, s->data + at, MIN(65536, length - at));
        result.code = done.code;
        result.moved += done.moved;
        if (done.code == XR_STALL)
            clear_halt(s, index);
        if (done.code != XR_SUCCESS)
            break;
    }
    take_csw(s, &result);
    return result;
}

static inline Result read_blocks(Storage *s, uint32_t lba, unsigned count, unsigned block)
{
    uint8_t cdb[10] = {READ_10, 0, lba >> 24, lba >> 16, lba >> 8, lba, 0, count >> 8, count};

    return command(s, cdb, 10, count * block, true);
}

static inline Result write_blocks(Storage *s, uint32_t lba, unsigned count)
{
    uint8_t cdb[10] = {WRITE_10, 0, lba >> 24, lba >> 16, lba >> 8, lba, 0, count >> 8, count};

    return command(s, cdb, 10, count * 512, false);
}

static inline Result short_command(Storage *s, uint8_t code, uint8_t fourth, uint32_t length, bool in)
{
    uint8_t cdb[6] = {code, 0, 0, 0, fourth};

    return command(s, cdb, 6, length, in);
}

/* Key and code of the last failure. */
static inline unsigned sense(Storage *s)
{
    assert_int_equal(short_command(s, REQUEST_SENSE, 18, 18, true).status, 0);
    uint8_t *p = data_of(s);
    return (unsigned)p[2] << 16 | p[12] << 8 | p[13];
}
