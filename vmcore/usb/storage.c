/*
 * USB mass storage, Bulk-Only Transport 1.0: a command goes out (CBW), data goes one way or the other, a
 * status comes back (CSW). What a command means is in scsi.c.
 *
 * Bytes of the disk pass through one buffer. A worker of the thread pool fills or empties it, while transfers
 * on the endpoints are answered with NAK; when it is through it rings, and they get on. There is never more
 * than one job, so writes are in order, and a command after a reset waits for the job from before it. A job
 * owns nothing but the buffer: a transfer that is given up, a reset, an unplugged device wait for nobody.
 * Only free waits for the worker.
 *
 * A write for which the host has no room is kept in the buffer until the machine is resumed, and tried again;
 * meanwhile it is a job under way like any other, only that no worker is at it. Of other errors the guest
 * hears in the status, and the user too: see block/report.h.
 *
 * Where the driver's idea of a command's data differs from ours, s6.7 says what to do: less is sent with a
 * short packet, nothing at all with a stall, and the rest stands in the residue; the wrong direction, or more
 * than the driver has room for, is a phase error.
 *
 * Threads: all is the I/O thread's, but for the job while `busy` is set, which is the worker's.
 */
#include <errno.h>
#include <glib.h>

#include "base/i18n.h"
#include "block/report.h"
#include "usb/scsi.h"
#include "usb/storage.h"

#define ENDPOINT_IN  0x81u
#define ENDPOINT_OUT 0x02u
#define BUFFER_SIZE  (256u * 1024)

#define CBW_SIZE      31u
#define CBW_SIGNATURE 0x43425355u
#define CSW_SIZE      13u
#define CSW_SIGNATURE 0x53425355u

#define CSW_PASSED 0u
#define CSW_FAILED 1u
#define CSW_PHASE  2u

#define GET_MAX_LUN   0xfeu
#define STORAGE_RESET 0xffu

typedef enum Phase {
    PHASE_COMMAND,
    PHASE_IN,     /* `left` bytes to the driver */
    PHASE_OUT,    /* or from it */
    PHASE_STATUS, /* when no job is under way any more */
    PHASE_DEAD,   /* a CBW was no good: only a reset helps (s6.6.1) */
} Phase;

typedef struct Job {
    VmcScsiKind kind; /* READ, WRITE, VERIFY, FLUSH */
    uint64_t offset, length;
    bool flush;   /* behind a write */
    bool written; /* that write is done: what failed is the flush */
    int result;
} Job;

typedef struct Storage {
    VmcUsbDevice dev;
    VmcDisk *disk;
    VmcDiskReport report;
    VmcScsiTarget target;
    GThreadPool *workers;
    uint8_t *buffer;

    Phase phase;
    uint32_t tag, residue;
    uint8_t status;
    VmcScsiCommand command;
    uint64_t left;          /* bytes of data the driver is still to have or give */
    uint64_t disk_left;     /* bytes of the disk no job has been started for */
    uint32_t begin, filled; /* of the buffer (READ), or of the reply: what is still to be sent */

    bool started; /* a job whose result has not been looked at */
    bool stale;   /* and which is none of the present command's */
    bool kept;    /* and which waits for room on the host's disk */
    Job job;
    atomic_bool busy;   /* the worker is at it */
    atomic_bool cancel; /* it may as well stop */
    GMutex lock;        /* for drain */
    GCond idle;         /* with lock: busy has become false */
} Storage;

/* ---- worker ---- */

static int verify(Storage *s, const Job *job)
{
    int err = 0;

    for (uint64_t at = 0; at < job->length && !err; at += BUFFER_SIZE) {
        struct iovec iov = {s->buffer, MIN(BUFFER_SIZE, job->length - at)};
        if (atomic_load(&s->cancel))
            return -ECANCELED;
        err = vmc_disk_read(s->disk, job->offset + at, &iov, 1);
    }
    return err;
}

static int carry_out(Storage *s, Job *job)
{
    struct iovec iov = {s->buffer, job->length};
    int err;

    switch (job->kind) {
    case VMC_SCSI_READ:
        return vmc_disk_read(s->disk, job->offset, &iov, 1);
    case VMC_SCSI_WRITE:
        err = vmc_disk_write(s->disk, job->offset, &iov, 1);
        job->written = !err;
        return !err && job->flush ? vmc_disk_flush(s->disk) : err;
    case VMC_SCSI_VERIFY:
        return verify(s, job);
    default:
        return vmc_disk_flush(s->disk);
    }
}

static void work(gpointer data, gpointer user_data)
{
    Storage *s = user_data;

    s->job.result = carry_out(s, &s->job);
    g_mutex_lock(&s->lock);
    atomic_store(&s->busy, false);
    g_cond_broadcast(&s->idle);
    g_mutex_unlock(&s->lock);
    vmc_usb_ready(&s->dev, ENDPOINT_IN);
    vmc_usb_ready(&s->dev, ENDPOINT_OUT);
}

/* ---- jobs (I/O thread) ---- */

static void hand_over(Storage *s)
{
    s->kept = false;
    atomic_store(&s->busy, true);
    g_thread_pool_push(s->workers, s, NULL);
}

static void start_job(Storage *s, VmcScsiKind kind, uint64_t offset, uint64_t length, bool flush)
{
    s->job = (Job){.kind = kind, .offset = offset, .length = length, .flush = flush};
    s->started = true;
    s->stale = false;
    atomic_store(&s->cancel, false);
    hand_over(s);
}

/* The next piece of the disk, as much as the buffer takes. */
static void start_piece(Storage *s)
{
    VmcScsiCommand *cmd = &s->command;
    uint64_t len = MIN(s->disk_left, BUFFER_SIZE);

    start_job(s, cmd->kind, cmd->offset + (cmd->length - s->disk_left), len,
              cmd->flush && len == s->disk_left);
    s->disk_left -= len;
}

/* The rest of the data is not moved. The driver learns of it by a stall, or by a short packet if it has got
 * part of what it asked for; see serve_in and serve_out. */
static void give_up(Storage *s, uint8_t status)
{
    s->status = status;
    s->disk_left = 0;
    s->begin = s->filled = 0;
    s->command.kind = VMC_SCSI_FAILED;
}

static void job_failed(Storage *s)
{
    static const VmcBlockOp ops[] = {
        [VMC_SCSI_READ] = VMC_BLOCK_READ,
        [VMC_SCSI_WRITE] = VMC_BLOCK_WRITE,
        [VMC_SCSI_VERIFY] = VMC_BLOCK_READ,
        [VMC_SCSI_FLUSH] = VMC_BLOCK_FLUSH,
    };
    const Job *job = &s->job;

    vmc_disk_report_error(&s->report, job->written ? VMC_BLOCK_FLUSH : ops[job->kind], job->offset,
                          job->result);
    vmc_scsi_disk_failed(&s->target, job->kind, job->result);
    give_up(s, CSW_FAILED);
}

/* Looks at a job that is through. True: none is under way. */
static bool settle(Storage *s)
{
    const Job *job = &s->job;

    if (!s->started)
        return true;
    if (atomic_load(&s->busy) || s->kept)
        return false;
    s->kept = !s->stale && job->result && job->kind == VMC_SCSI_WRITE && !job->written &&
              vmc_disk_ask_for_room(&s->report, job->result);
    if (s->kept)
        return false;
    s->started = false;
    if (s->stale)
        return true;
    if (job->result) {
        job_failed(s);
    } else if (job->kind == VMC_SCSI_READ) {
        s->begin = 0;
        s->filled = (uint32_t)job->length;
    }
    return true;
}

static void forget_command(Storage *s)
{
    s->phase = PHASE_COMMAND;
    s->left = s->disk_left = 0;
    s->begin = s->filled = 0;
    s->stale = true;
    s->kept = false;
    s->report.asked = false;
    atomic_store(&s->cancel, true);
}

/* ---- commands ---- */

static uint32_t get32(const uint8_t *p)
{
    return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

static void put32(uint8_t *p, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++)
        p[i] = (uint8_t)(value >> 8 * i);
}

/* s6.7: what the driver expects (`left` bytes, in or out) against what the command does. */
static void begin_data(Storage *s, bool in)
{
    VmcScsiCommand *cmd = &s->command;
    bool to_driver = cmd->kind == VMC_SCSI_REPLY || cmd->kind == VMC_SCSI_READ;
    bool from_driver = cmd->kind == VMC_SCSI_WRITE || cmd->kind == VMC_SCSI_SINK;
    uint64_t length = cmd->kind == VMC_SCSI_REPLY ? cmd->reply_length : cmd->length;

    if (cmd->kind == VMC_SCSI_FAILED)
        give_up(s, CSW_FAILED);
    else if ((to_driver || from_driver) && length && s->left && to_driver != in)
        give_up(s, CSW_PHASE);
    else if ((cmd->kind == VMC_SCSI_READ || from_driver) && length > s->left)
        give_up(s, CSW_PHASE);
    else if (cmd->kind == VMC_SCSI_REPLY)
        s->filled = cmd->reply_length;
    else if (cmd->kind == VMC_SCSI_READ || cmd->kind == VMC_SCSI_WRITE)
        s->disk_left = cmd->length;
    else if (cmd->kind == VMC_SCSI_VERIFY || cmd->kind == VMC_SCSI_FLUSH)
        start_job(s, cmd->kind, cmd->offset, cmd->length, false);
    if (s->command.kind == VMC_SCSI_READ)
        start_piece(s);
    s->phase = !s->left ? PHASE_STATUS : in ? PHASE_IN : PHASE_OUT;
}

static VmcUsbStatus take_command(Storage *s, VmcUsbTransfer *t)
{
    uint8_t cbw[CBW_SIZE], cdb[VMC_SCSI_CDB_MAX] = {0};

    if (!settle(s))
        return VMC_USB_NAK;
    if (t->length != CBW_SIZE || vmc_usb_transfer_get(t, cbw, CBW_SIZE) != CBW_SIZE ||
        get32(cbw) != CBW_SIGNATURE || cbw[13] || !cbw[14] || cbw[14] > VMC_SCSI_CDB_MAX) {
        s->phase = PHASE_DEAD;
        s->dev.halted |= vmc_usb_endpoint_bit(ENDPOINT_IN);
        return VMC_USB_STALL;
    }
    s->tag = get32(cbw + 4);
    s->residue = get32(cbw + 8);
    s->left = s->residue;
    s->disk_left = 0;
    s->begin = s->filled = 0;
    s->status = CSW_PASSED;
    memcpy(cdb, cbw + 15, cbw[14]);
    vmc_scsi_begin(&s->target, cdb, &s->command);
    begin_data(s, cbw[12] & 0x80);
    /* A driver may have asked for data or status before we knew of the command. */
    vmc_usb_ready(&s->dev, ENDPOINT_IN);
    return VMC_USB_OK;
}

static VmcUsbStatus send_status(Storage *s, VmcUsbTransfer *t)
{
    uint8_t csw[CSW_SIZE] = {0};

    if (!settle(s))
        return VMC_USB_NAK;
    put32(csw, CSW_SIGNATURE);
    put32(csw + 4, s->tag);
    put32(csw + 8, s->residue);
    csw[12] = s->status;
    vmc_usb_transfer_put(t, csw, CSW_SIZE);
    s->phase = PHASE_COMMAND;
    vmc_usb_ready(&s->dev, ENDPOINT_OUT);
    return VMC_USB_OK;
}

/* ---- data ---- */

static VmcUsbStatus serve_in(Storage *s, VmcUsbTransfer *t)
{
    const uint8_t *from = s->command.kind == VMC_SCSI_REPLY ? s->command.reply : s->buffer;

    for (;;) {
        if (!settle(s))
            return VMC_USB_NAK;
        /* Less than the transfer asks for may be left of what the driver expects altogether. */
        uint32_t room = (uint32_t)MIN(s->filled - s->begin, s->left);
        uint32_t sent = vmc_usb_transfer_put(t, from + s->begin, room);
        s->begin += sent;
        s->left -= sent;
        s->residue -= sent;
        if (s->begin < s->filled && s->left)
            return VMC_USB_OK; /* the transfer is full, the next one goes on */
        if (!s->disk_left)
            break;
        start_piece(s);
        if (t->actual == t->length)
            return VMC_USB_OK;
    }
    /* That there is no more, the driver learns from this transfer if it has room to spare, or else from the
     * next. */
    if (s->left && t->actual && t->actual == t->length)
        return VMC_USB_OK;
    s->phase = PHASE_STATUS;
    return s->left && !t->actual ? VMC_USB_STALL : VMC_USB_OK;
}

static VmcUsbStatus serve_out(Storage *s, VmcUsbTransfer *t)
{
    for (;;) {
        if (!settle(s))
            return VMC_USB_NAK;
        if (s->command.kind == VMC_SCSI_SINK) {
            uint64_t len = MIN(s->command.length, t->length - t->actual);
            uint32_t got = vmc_usb_transfer_get(t, s->buffer, (uint32_t)MIN(len, BUFFER_SIZE));
            s->command.length -= got;
            s->left -= got;
            s->residue -= got;
            if (s->command.length)
                return t->actual == t->length ? VMC_USB_OK : VMC_USB_NAK;
            s->phase = PHASE_STATUS;
            return s->left ? VMC_USB_STALL : VMC_USB_OK;
        }
        if (!s->disk_left) { /* given up, or the driver has more than the command takes */
            s->phase = PHASE_STATUS;
            return s->left ? VMC_USB_STALL : VMC_USB_OK;
        }
        s->filled += vmc_usb_transfer_get(t, s->buffer + s->filled,
                                          (uint32_t)MIN(s->disk_left, BUFFER_SIZE) - s->filled);
        if (s->filled < MIN(s->disk_left, BUFFER_SIZE))
            return VMC_USB_OK; /* the transfer is used up, the next one goes on */
        s->left -= s->filled;
        s->residue -= s->filled;
        s->filled = 0;
        start_piece(s);
        if (!s->left)
            s->phase = PHASE_STATUS; /* which waits for the job */
        if (t->actual == t->length)
            return VMC_USB_OK;
    }
}

static VmcUsbStatus transfer(VmcUsbDevice *dev, VmcUsbTransfer *t)
{
    Storage *s = (Storage *)dev;

    if (t->endpoint == ENDPOINT_IN) {
        switch (s->phase) {
        case PHASE_IN:
            return serve_in(s, t);
        case PHASE_STATUS:
            return send_status(s, t);
        case PHASE_DEAD:
            return VMC_USB_STALL;
        default:
            return VMC_USB_NAK;
        }
    }
    switch (s->phase) {
    case PHASE_COMMAND:
        return take_command(s, t);
    case PHASE_OUT:
        return serve_out(s, t);
    case PHASE_DEAD:
        return VMC_USB_STALL;
    default: /* the next command waits until the status of this one has been fetched */
        return VMC_USB_NAK;
    }
}

/* ---- requests and lifecycle ---- */

static VmcUsbStatus control(VmcUsbDevice *dev, const VmcUsbSetup *setup, uint8_t *data, uint32_t *length)
{
    switch (VMC_USB_REQUEST(setup->type, setup->request)) {
    case VMC_USB_REQUEST(VMC_USB_IN | VMC_USB_CLASS | VMC_USB_INTERFACE, GET_MAX_LUN):
        data[0] = 0;
        *length = MIN(*length, 1);
        return VMC_USB_OK;
    case VMC_USB_REQUEST(VMC_USB_CLASS | VMC_USB_INTERFACE, STORAGE_RESET):
        forget_command((Storage *)dev);
        return VMC_USB_OK;
    default:
        return VMC_USB_STALL;
    }
}

static void reset(VmcUsbDevice *dev)
{
    Storage *s = (Storage *)dev;

    forget_command(s);
    s->target.locked = false;
}

static void machine_resumed(VmcUsbDevice *dev)
{
    Storage *s = (Storage *)dev;

    s->report.asked = false;
    if (s->kept)
        hand_over(s);
}

/* s5.3.4, s6.6.1: of a CBW that was no good, halts come back until there was a reset. */
static void halt_cleared(VmcUsbDevice *dev, uint8_t endpoint)
{
    if (((Storage *)dev)->phase == PHASE_DEAD)
        dev->halted |= vmc_usb_endpoint_bit(endpoint);
}

static void drain(VmcUsbDevice *dev)
{
    Storage *s = (Storage *)dev;

    g_mutex_lock(&s->lock);
    while (atomic_load(&s->busy))
        g_cond_wait(&s->idle, &s->lock);
    g_mutex_unlock(&s->lock);
}

/* ---- saving ---- */

static void save_command(const Storage *s, VmcStateWriter *w)
{
    const VmcScsiCommand *cmd = &s->command;

    vmc_state_put_u8(w, (uint8_t)cmd->kind);
    vmc_state_put_u64(w, cmd->offset);
    vmc_state_put_u64(w, cmd->length);
    vmc_state_put_bool(w, cmd->flush);
    vmc_state_put_u32(w, cmd->reply_length);
    vmc_state_put_bytes(w, cmd->reply, sizeof(cmd->reply));
}

/* The worker has stopped; what it has done is looked at first. */
static void save(VmcUsbDevice *dev, VmcStateWriter *w)
{
    Storage *s = (Storage *)dev;
    const VmcScsiTarget *target = &s->target;

    int err = settle(s) && !s->disk->readonly ? vmc_disk_flush(s->disk) : 0;

    if (s->kept)
        vmc_state_refuse(
            w, _("The machine cannot be saved while its disk “%s” waits for room on the host; make some"),
            vmc_disk_name(s->disk));
    if (err)
        vmc_state_refuse(w, _("The disk “%s” cannot be written: %s"), vmc_disk_name(s->disk),
                         g_strerror(-err));
    const bool flags[] = {target->ejected, target->locked, target->attention};
    for (unsigned i = 0; i < G_N_ELEMENTS(flags); i++)
        vmc_state_put_bool(w, flags[i]);
    vmc_state_put_u8(w, target->key);
    vmc_state_put_u8(w, target->asc);
    vmc_state_put_u8(w, target->ascq);
    vmc_state_put_u64(w, target->size);
    vmc_state_put_u8(w, (uint8_t)s->phase);
    vmc_state_put_u32(w, s->tag);
    vmc_state_put_u32(w, s->residue);
    vmc_state_put_u8(w, s->status);
    save_command(s, w);
    vmc_state_put_u64(w, s->left);
    vmc_state_put_u64(w, s->disk_left);
    vmc_state_put_u32(w, s->begin);
    vmc_state_put_u32(w, s->filled);
    if (s->command.kind != VMC_SCSI_REPLY)
        vmc_state_put_bytes(w, s->buffer, s->filled);
}

/* Whole sectors of the disk, if the command is about any. */
static bool command_fits(const Storage *s)
{
    const VmcScsiCommand *cmd = &s->command;
    bool of_disk = cmd->kind == VMC_SCSI_READ || cmd->kind == VMC_SCSI_WRITE || cmd->kind == VMC_SCSI_VERIFY;

    return cmd->kind <= VMC_SCSI_FLUSH && cmd->reply_length <= VMC_SCSI_REPLY_MAX &&
           (!of_disk || (cmd->length <= s->target.size && cmd->offset <= s->target.size - cmd->length &&
                         (cmd->length | cmd->offset | s->disk_left) % VMC_DISK_SECTOR == 0)) &&
           (cmd->kind != VMC_SCSI_WRITE || !s->target.readonly) &&
           s->disk_left <= (of_disk ? cmd->length : 0);
}

static bool buffer_fits(const Storage *s)
{
    uint64_t most = s->command.kind == VMC_SCSI_REPLY   ? s->command.reply_length
                    : s->command.kind == VMC_SCSI_WRITE ? MIN(s->disk_left, BUFFER_SIZE)
                                                        : BUFFER_SIZE;

    return s->begin <= s->filled && s->filled <= most;
}

static void load_command(Storage *s, VmcStateReader *r)
{
    VmcScsiCommand *cmd = &s->command;

    cmd->kind = (VmcScsiKind)vmc_state_get_u8(r);
    cmd->offset = vmc_state_get_u64(r);
    cmd->length = vmc_state_get_u64(r);
    cmd->flush = vmc_state_get_bool(r);
    cmd->reply_length = vmc_state_get_u32(r);
    vmc_state_get_bytes(r, cmd->reply, sizeof(cmd->reply));
    s->left = vmc_state_get_u64_max(r, UINT32_MAX);
    s->disk_left = vmc_state_get_u64(r);
    s->begin = vmc_state_get_u32(r);
    s->filled = vmc_state_get_u32(r);
    if (vmc_state_check(r, command_fits(s) && buffer_fits(s), "a command") && cmd->kind != VMC_SCSI_REPLY)
        vmc_state_get_bytes(r, s->buffer, s->filled);
}

static bool load(VmcUsbDevice *dev, VmcStateReader *r)
{
    Storage *s = (Storage *)dev;
    VmcScsiTarget *target = &s->target;
    bool *flags[] = {&target->ejected, &target->locked, &target->attention};

    for (unsigned i = 0; i < G_N_ELEMENTS(flags); i++)
        *flags[i] = vmc_state_get_bool(r);
    target->key = vmc_state_get_u8(r);
    target->asc = vmc_state_get_u8(r);
    target->ascq = vmc_state_get_u8(r);
    vmc_state_check(r, vmc_state_get_u64(r) == target->size, "the size of its disk");
    s->phase = (Phase)vmc_state_get_u8_max(r, PHASE_DEAD);
    s->tag = vmc_state_get_u32(r);
    s->residue = vmc_state_get_u32(r);
    s->status = vmc_state_get_u8_max(r, CSW_PHASE);
    load_command(s, r);
    return vmc_state_ok(r);
}

static void storage_free(VmcUsbDevice *dev)
{
    Storage *s = (Storage *)dev;

    atomic_store(&s->cancel, true);
    /* The worker of the last job may still be on its way out. */
    g_thread_pool_free(s->workers, FALSE, TRUE);
    g_mutex_clear(&s->lock);
    g_cond_clear(&s->idle);
    vmc_disk_close(s->disk);
    g_free(s->buffer);
    vmc_usb_device_clear(dev);
    g_free(s);
}

static const VmcUsbOps storage_ops = {
    .name = "USB storage device",
    .control = control,
    .transfer = transfer,
    .reset = reset,
    .halt_cleared = halt_cleared,
    .machine_resumed = machine_resumed,
    .drain = drain,
    .free = storage_free,
    .save = save,
    .load = load,
};

#define MODEL(id, name)                                                                                      \
    {                                                                                                        \
        .vendor = 0x1d6b, .product = (id), .release = 0x0100, .interface_class = 8, .interface_subclass = 6, \
        .interface_protocol = 0x50, .self_powered = true, .product_name = (name), .n_endpoints = 2,          \
        .endpoints = {                                                                                       \
            {.address = ENDPOINT_IN,                                                                         \
             .attributes = VMC_USB_TRANSFER_BULK,                                                            \
             .max_packet = 512,                                                                              \
             .max_packet_super = 1024,                                                                       \
             .burst = 15},                                                                                   \
            {.address = ENDPOINT_OUT,                                                                        \
             .attributes = VMC_USB_TRANSFER_BULK,                                                            \
             .max_packet = 512,                                                                              \
             .max_packet_super = 1024,                                                                       \
             .burst = 15},                                                                                   \
        },                                                                                                   \
    }

static const VmcUsbModel stick_model = MODEL(0x0107, "Stick");
static const VmcUsbModel cdrom_model = MODEL(0x0108, "CD-ROM");

/* s4.1.1: at least twelve digits; letters do no harm. */
static void fill_serial(char serial[33], const char *id)
{
    unsigned n = 0;

    for (; id && *id && n < 32; id++)
        if (g_ascii_isalnum(*id))
            serial[n++] = *id;
    while (n < 12)
        serial[n++] = '0';
    serial[n] = '\0';
}

VmcUsbDevice *vmc_usb_storage_new(VmcDisk *disk, bool cdrom, const char *id)
{
    Storage *s = g_new0(Storage, 1);

    fill_serial(s->target.serial, id);
    vmc_usb_device_init(&s->dev, &storage_ops, cdrom ? &cdrom_model : &stick_model, s->target.serial);
    s->dev.super = true;
    s->disk = disk;
    s->report.disk = disk;
    s->target.size = disk->size;
    s->target.cdrom = cdrom;
    s->target.readonly = cdrom || disk->readonly;
    s->buffer = g_malloc(BUFFER_SIZE);
    g_mutex_init(&s->lock);
    g_cond_init(&s->idle);
    s->workers = g_thread_pool_new(work, s, 1, FALSE, NULL);
    return &s->dev;
}

void vmc_usb_storage_set_hooks(VmcUsbDevice *storage, const VmcHostHooks *hooks)
{
    ((Storage *)storage)->report.hooks = hooks;
}
