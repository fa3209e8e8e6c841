/*
 * SCSI commands of disks and CD-ROM drives; see scsi.h.
 *
 * A table says for each operation code which kind of drive knows it, whether it needs a medium, and who
 * answers it. Numbers in commands and replies are big-endian.
 */
#include <errno.h>
#include <glib.h>
#include <string.h>

#include "usb/scsi.h"

#define DISK_BLOCK 512u
#define CD_BLOCK   2048u
#define CD_MAX     (360000u) /* blocks; what is larger is a DVD */

/* Sense keys, SPC-4 s4.5.6, and additional codes, with their qualifiers. */
#define NOT_READY       2u
#define MEDIUM_ERROR    3u
#define ILLEGAL_REQUEST 5u
#define UNIT_ATTENTION  6u
#define DATA_PROTECT    7u

#define ASC_WRITE_ERROR      0x0c00u
#define ASC_READ_ERROR       0x1100u
#define ASC_INVALID_OPCODE   0x2000u
#define ASC_LBA_OUT_OF_RANGE 0x2100u
#define ASC_INVALID_FIELD    0x2400u
#define ASC_WRITE_PROTECTED  0x2700u
#define ASC_SPACE_FAILED     0x2707u
#define ASC_MEDIUM_CHANGED   0x2800u
#define ASC_NO_MEDIUM        0x3a02u
#define ASC_REMOVAL_LOCKED   0x5302u

typedef VmcScsiTarget Target;
typedef VmcScsiCommand Command;

static void fail(Target *target, Command *cmd, unsigned key, unsigned asc)
{
    target->key = (uint8_t)key;
    target->asc = (uint8_t)(asc >> 8);
    target->ascq = (uint8_t)asc;
    if (cmd)
        cmd->kind = VMC_SCSI_FAILED;
}

static void invalid_field(Target *target, Command *cmd)
{
    fail(target, cmd, ILLEGAL_REQUEST, ASC_INVALID_FIELD);
}

static uint32_t get16(const uint8_t *p)
{
    return (uint32_t)p[0] << 8 | p[1];
}

static uint32_t get32(const uint8_t *p)
{
    return get16(p) << 16 | get16(p + 2);
}

static void put16(uint8_t *p, uint32_t value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

static void put32(uint8_t *p, uint32_t value)
{
    put16(p, value >> 16);
    put16(p + 2, value);
}

static unsigned block_size(const Target *target)
{
    return target->cdrom ? CD_BLOCK : DISK_BLOCK;
}

static uint64_t blocks(const Target *target)
{
    return target->size / block_size(target);
}

/* The reply stands in cmd->reply, `size` bytes of it; the initiator has room for `room`. */
static void reply(Command *cmd, uint32_t size, uint32_t room)
{
    cmd->kind = VMC_SCSI_REPLY;
    cmd->reply_length = MIN(size, room);
}

/* ---- SPC-4: any drive ---- */

static void test_unit_ready(Target *target, const uint8_t *cdb, Command *cmd)
{
    cmd->kind = VMC_SCSI_DONE;
}

static void request_sense(Target *target, const uint8_t *cdb, Command *cmd)
{
    uint8_t *p = cmd->reply;

    p[0] = 0x70;
    p[2] = target->key;
    p[7] = 10;
    p[12] = target->asc;
    p[13] = target->ascq;
    reply(cmd, 18, cdb[4]);
    target->key = target->asc = target->ascq = 0;
}

static void put_padded(uint8_t *p, const char *text, unsigned size)
{
    size_t len = strlen(text);

    memset(p, ' ', size);
    memcpy(p, text, MIN(len, size));
}

static uint8_t device_type(const Target *target)
{
    return target->cdrom ? 5 : 0;
}

/* s7.8: vital product data. The first four bytes are filled in below. 0: no such page. */
static unsigned vital_page(const Target *target, unsigned page, uint8_t *p)
{
    static const uint8_t pages[] = {0x00, 0x80, 0x83, 0xb0, 0xb1};
    unsigned len = (unsigned)strlen(target->serial);

    switch (page) {
    case 0x00: /* those there are; the last two for disks only */
        memcpy(p + 4, pages, sizeof(pages));
        return target->cdrom ? 3 : 5;
    case 0x80:
        memcpy(p + 4, target->serial, len);
        return len;
    case 0x83: /* a designator of the T10 vendor ID kind, ASCII */
        p[4] = 2;
        p[5] = 1;
        p[7] = (uint8_t)(8 + len);
        put_padded(p + 8, "ESPALIER", 8);
        memcpy(p + 16, target->serial, len);
        return 12 + len;
    case 0xb0: /* block limits: none */
        return target->cdrom ? 0 : 60;
    case 0xb1: /* it does not turn */
        put16(p + 4, 1);
        return target->cdrom ? 0 : 60;
    default:
        return 0;
    }
}

static void inquiry(Target *target, const uint8_t *cdb, Command *cmd)
{
    uint8_t *p = cmd->reply;
    unsigned len;

    p[0] = device_type(target);
    if (cdb[1] & 1) {
        len = vital_page(target, cdb[2], p);
        p[1] = cdb[2];
        put16(p + 2, len);
        if (len)
            reply(cmd, 4 + len, get16(cdb + 3));
        else
            invalid_field(target, cmd);
        return;
    }
    if (cdb[2]) {
        invalid_field(target, cmd);
        return;
    }
    p[1] = 0x80; /* the medium can be taken out */
    p[2] = 5;    /* SPC-3 */
    p[3] = 2;
    p[4] = 31;
    put_padded(p + 8, "ESPALIER", 8);
    put_padded(p + 16, target->cdrom ? "USB CD-ROM" : "USB Stick", 16);
    put_padded(p + 32, "1.0", 4);
    reply(cmd, 36, get16(cdb + 3));
}

static void report_luns(Target *target, const uint8_t *cdb, Command *cmd)
{
    put32(cmd->reply, 8);
    reply(cmd, 16, get32(cdb + 6));
}

static void prevent_removal(Target *target, const uint8_t *cdb, Command *cmd)
{
    target->locked = cdb[4] & 1;
    cmd->kind = VMC_SCSI_DONE;
}

/* Ejecting leaves the disk where it is, but the drive says there is none until it is loaded again. What was
 * written is flushed first. */
static void start_stop(Target *target, const uint8_t *cdb, Command *cmd)
{
    bool start = cdb[4] & 1, load_eject = cdb[4] & 2;

    cmd->kind = VMC_SCSI_DONE;
    if (start) {
        target->attention |= load_eject && target->ejected;
        target->ejected = target->ejected && !load_eject;
        return;
    }
    if (load_eject && target->locked) {
        fail(target, cmd, ILLEGAL_REQUEST, ASC_REMOVAL_LOCKED);
        return;
    }
    target->ejected |= load_eject;
    if (!target->readonly)
        cmd->kind = VMC_SCSI_FLUSH;
}

/* ---- mode pages (SPC-4 s7.5, SBC-3 s6.4, MMC-6 appendix E) ---- */

typedef struct ModePage {
    uint8_t code;
    bool disk, cdrom;
    uint8_t size;
    uint8_t data[22];
} ModePage;

static const ModePage mode_pages[] = {
    {0x01, true, true, 12, {0x01, 10}},                          /* errors: nothing is retried */
    {0x08, true, false, 20, {0x08, 18, 0x04}},                   /* caching: a write cache, so please flush */
    {0x1c, true, false, 12, {0x1c, 10}},                         /* informational exceptions: none */
    {0x2a, false, true, 22, {0x2a, 20, 0x08, 0, 0x60, 0, 0x29}}, /* reads CD and DVD, lock, eject, tray */
};

static unsigned put_mode_pages(const Target *target, unsigned code, unsigned control, uint8_t *p)
{
    unsigned len = 0;

    for (unsigned i = 0; i < G_N_ELEMENTS(mode_pages); i++) {
        const ModePage *page = &mode_pages[i];
        if (!(target->cdrom ? page->cdrom : page->disk) || (code != 0x3f && code != page->code))
            continue;
        memcpy(p + len, page->data, page->size);
        if (control == 1) /* changeable values: none are */
            memset(p + len + 2, 0, page->size - 2u);
        len += page->size;
    }
    return len;
}

static void mode_sense(Target *target, const uint8_t *cdb, Command *cmd)
{
    bool ten = cdb[0] == 0x5a;
    unsigned header = ten ? 8 : 4, code = cdb[2] & 0x3f, control = cdb[2] >> 6, len;
    uint8_t specific = target->cdrom ? 0 : (target->readonly ? 0x80 : 0) | 0x10; /* protected, DPO and FUA */

    if (control == 3 || (cdb[3] && cdb[3] != 0xff)) { /* saved values, subpages */
        invalid_field(target, cmd);
        return;
    }
    len = put_mode_pages(target, code, control, cmd->reply + header);
    if (!len && code != 0x3f && code) {
        invalid_field(target, cmd);
        return;
    }
    if (ten) {
        put16(cmd->reply, header + len - 2);
        cmd->reply[3] = specific;
    } else {
        cmd->reply[0] = (uint8_t)(header + len - 1);
        cmd->reply[2] = specific;
    }
    reply(cmd, header + len, ten ? get16(cdb + 7) : cdb[4]);
}

/* Nothing can be changed; a driver that sets what is set already shall not stumble. */
static void mode_select(Target *target, const uint8_t *cdb, Command *cmd)
{
    cmd->length = cdb[0] == 0x55 ? get16(cdb + 7) : cdb[4];
    cmd->kind = cmd->length ? VMC_SCSI_SINK : VMC_SCSI_DONE;
}

/* ---- SBC-3: what lies on the medium ---- */

static void read_capacity_10(Target *target, const uint8_t *cdb, Command *cmd)
{
    put32(cmd->reply, (uint32_t)MIN(blocks(target) - 1, UINT32_MAX));
    put32(cmd->reply + 4, block_size(target));
    reply(cmd, 8, 8);
}

static void read_capacity_16(Target *target, const uint8_t *cdb, Command *cmd)
{
    uint64_t last = blocks(target) - 1;

    if ((cdb[1] & 31) != 0x10) { /* other services of this operation code */
        invalid_field(target, cmd);
        return;
    }
    put32(cmd->reply, (uint32_t)(last >> 32));
    put32(cmd->reply + 4, (uint32_t)last);
    put32(cmd->reply + 8, block_size(target));
    reply(cmd, 32, get32(cdb + 10));
}

/* MMC-6 s6.24: the current capacity, formatted. */
static void read_format_capacities(Target *target, const uint8_t *cdb, Command *cmd)
{
    cmd->reply[3] = 8;
    put32(cmd->reply + 4, (uint32_t)MIN(blocks(target), UINT32_MAX));
    put32(cmd->reply + 8, 2u << 24 | block_size(target));
    reply(cmd, 12, get16(cdb + 7));
}

/* Address and count by the length of the command, of which the group code tells (SPC-4 s4.3.4.1). */
static void block_range(const uint8_t *cdb, uint64_t *lba, uint64_t *count)
{
    switch (cdb[0] >> 5) {
    case 0:
        *lba = (cdb[1] & 31u) << 16 | get16(cdb + 2);
        *count = cdb[4] ? cdb[4] : 256;
        break;
    case 4:
        *lba = (uint64_t)get32(cdb + 2) << 32 | get32(cdb + 6);
        *count = get32(cdb + 10);
        break;
    case 5:
        *lba = get32(cdb + 2);
        *count = get32(cdb + 6);
        break;
    default:
        *lba = get32(cdb + 2);
        *count = get16(cdb + 7);
        break;
    }
}

static void transfer(Target *target, const uint8_t *cdb, Command *cmd, VmcScsiKind kind)
{
    uint64_t lba, count;

    block_range(cdb, &lba, &count);
    if (lba > blocks(target) || count > blocks(target) - lba) {
        fail(target, cmd, ILLEGAL_REQUEST, ASC_LBA_OUT_OF_RANGE);
        return;
    }
    if (kind == VMC_SCSI_WRITE && target->readonly) {
        fail(target, cmd, DATA_PROTECT, ASC_WRITE_PROTECTED);
        return;
    }
    cmd->kind = count ? kind : VMC_SCSI_DONE;
    cmd->offset = lba * block_size(target);
    cmd->length = count * block_size(target);
    cmd->flush = kind == VMC_SCSI_WRITE && cdb[0] >> 5 && (cdb[1] & 8);
}

static void do_read(Target *target, const uint8_t *cdb, Command *cmd)
{
    transfer(target, cdb, cmd, VMC_SCSI_READ);
}

static void do_write(Target *target, const uint8_t *cdb, Command *cmd)
{
    transfer(target, cdb, cmd, VMC_SCSI_WRITE);
}

/* Comparing with data from the initiator (BYTCHK) is not there. */
static void verify(Target *target, const uint8_t *cdb, Command *cmd)
{
    if (cdb[1] & 6)
        invalid_field(target, cmd);
    else
        transfer(target, cdb, cmd, VMC_SCSI_VERIFY);
}

static void synchronize_cache(Target *target, const uint8_t *cdb, Command *cmd)
{
    cmd->kind = target->readonly ? VMC_SCSI_DONE : VMC_SCSI_FLUSH;
}

static void seek(Target *target, const uint8_t *cdb, Command *cmd)
{
    cmd->kind = VMC_SCSI_DONE;
}

/* ---- MMC-6: CD-ROM ---- */

/* s3.1.55: minutes, seconds and frames, from two seconds on. */
static void put_address(uint8_t *p, uint32_t lba, bool msf)
{
    uint32_t frames = lba + 150;

    if (!msf) {
        put32(p, lba);
        return;
    }
    p[0] = 0;
    p[1] = (uint8_t)MIN(frames / 75 / 60, 255);
    p[2] = (uint8_t)(frames / 75 % 60);
    p[3] = (uint8_t)(frames % 75);
}

/* s6.26: one track with data and the lead-out; or one session. */
static void read_toc(Target *target, const uint8_t *cdb, Command *cmd)
{
    uint8_t *p = cmd->reply;
    bool msf = cdb[1] & 2;
    unsigned format = cdb[2] & 15, track = cdb[6], len = 4;

    if (!format)
        format = cdb[9] >> 6;
    p[2] = p[3] = 1;
    if (format > 1 || (format == 0 && track > 1 && track != 0xaa)) {
        invalid_field(target, cmd);
        return;
    }
    if (format == 1 || track <= 1) {
        p[5] = 0x14;
        p[6] = 1;
        put_address(p + 8, 0, msf);
        len += 8;
    }
    if (format == 0) {
        p[len + 1] = 0x14;
        p[len + 2] = 0xaa;
        put_address(p + len + 4, (uint32_t)MIN(blocks(target), UINT32_MAX / 2), msf);
        len += 8;
    }
    put16(p, len - 2);
    reply(cmd, len, get16(cdb + 7));
}

/* s5: features, each with its code, flags (persistent, current) and data. */
static void get_configuration(Target *target, const uint8_t *cdb, Command *cmd)
{
    static const struct {
        uint8_t code, flags, size, data[8];
    } features[] = {
        {0x00, 0x03, 8, {0x00, 0x10, 0, 0, 0x00, 0x08, 0, 0}}, /* profiles: DVD-ROM, CD-ROM */
        {0x01, 0x0b, 8, {0, 0, 0, 8, 1}},                      /* core: USB is interface 8 */
        {0x03, 0x03, 4, {0x29}},                               /* a tray, eject, lock */
        {0x10, 0x01, 8, {0, 0, 8, 0, 0, 1}},                   /* blocks of 2048 bytes at random */
        {0x1e, 0x09, 4, {0}},                                  /* reads CDs */
        {0x1f, 0x09, 4, {0}},                                  /* reads DVDs */
    };
    unsigned type = cdb[1] & 3, first = get16(cdb + 2), len = 8;
    bool dvd = blocks(target) > CD_MAX;

    for (unsigned i = 0; i < G_N_ELEMENTS(features); i++) {
        if (type == 2 ? features[i].code != first : features[i].code < first)
            continue;
        uint8_t *p = cmd->reply + len;
        p[1] = features[i].code;
        p[2] = features[i].flags;
        p[3] = features[i].size;
        memcpy(p + 4, features[i].data, features[i].size);
        if (!features[i].code && !target->ejected) /* which profile is current */
            p[dvd ? 6 : 10] = 1;
        len += 4u + features[i].size;
    }
    put32(cmd->reply, len - 4);
    put16(cmd->reply + 6, target->ejected ? 0 : dvd ? 0x10 : 0x08);
    reply(cmd, len, get16(cdb + 7));
}

/* s6.6: asked, not told; of classes only media is there. */
static void get_event_status(Target *target, const uint8_t *cdb, Command *cmd)
{
    uint8_t *p = cmd->reply;

    if (!(cdb[1] & 1)) {
        invalid_field(target, cmd);
        return;
    }
    p[3] = 0x10;
    if (!(cdb[4] & 0x10)) {
        p[2] = 0x80; /* no such event */
        put16(p, 2);
        reply(cmd, 4, get16(cdb + 7));
        return;
    }
    put16(p, 6);
    p[2] = 4;
    p[5] = target->ejected ? 1 : 2; /* tray open, medium there */
    reply(cmd, 8, get16(cdb + 7));
}

/* s6.22: one session, complete and final. */
static void read_disc_information(Target *target, const uint8_t *cdb, Command *cmd)
{
    uint8_t *p = cmd->reply;

    if (cdb[1] & 7) {
        invalid_field(target, cmd);
        return;
    }
    put16(p, 32);
    p[2] = 0x0e;
    p[3] = p[4] = p[5] = p[6] = 1;
    p[7] = 0x20;
    put32(p + 16, UINT32_MAX);
    put32(p + 20, UINT32_MAX);
    reply(cmd, 34, get16(cdb + 7));
}

/* ---- the table ---- */

#define DISK   1u
#define CDROM  2u
#define BOTH   (DISK | CDROM)
#define MEDIUM 4u /* needs one */
#define ALWAYS 8u /* and does not wait for a unit attention to be told (SPC-4 s5.14) */

static const struct {
    uint8_t code, flags;
    void (*handle)(Target *target, const uint8_t *cdb, Command *cmd);
} operations[] = {
    {0x00, BOTH | MEDIUM, test_unit_ready},
    {0x03, BOTH | ALWAYS, request_sense},
    {0x08, BOTH | MEDIUM, do_read},
    {0x0a, DISK | MEDIUM, do_write},
    {0x12, BOTH | ALWAYS, inquiry},
    {0x15, BOTH, mode_select},
    {0x1a, BOTH, mode_sense},
    {0x1b, BOTH, start_stop},
    {0x1e, BOTH, prevent_removal},
    {0x23, BOTH | MEDIUM, read_format_capacities},
    {0x25, BOTH | MEDIUM, read_capacity_10},
    {0x28, BOTH | MEDIUM, do_read},
    {0x2a, DISK | MEDIUM, do_write},
    {0x2b, BOTH | MEDIUM, seek},
    {0x2f, BOTH | MEDIUM, verify},
    {0x35, BOTH | MEDIUM, synchronize_cache},
    {0x43, CDROM | MEDIUM, read_toc},
    {0x46, CDROM | ALWAYS, get_configuration},
    {0x4a, CDROM | ALWAYS, get_event_status},
    {0x51, CDROM | MEDIUM, read_disc_information},
    {0x55, BOTH, mode_select},
    {0x5a, BOTH, mode_sense},
    {0x88, DISK | MEDIUM, do_read},
    {0x8a, DISK | MEDIUM, do_write},
    {0x8f, DISK | MEDIUM, verify},
    {0x91, DISK | MEDIUM, synchronize_cache},
    {0x9e, DISK | MEDIUM, read_capacity_16},
    {0xa0, BOTH | ALWAYS, report_luns},
    {0xa8, BOTH | MEDIUM, do_read},
    {0xaa, DISK | MEDIUM, do_write},
};

void vmc_scsi_begin(Target *target, const uint8_t *cdb, Command *cmd)
{
    unsigned n = 0;

    memset(cmd, 0, sizeof(*cmd));
    while (n < G_N_ELEMENTS(operations) &&
           (operations[n].code != cdb[0] || !(operations[n].flags & (target->cdrom ? CDROM : DISK))))
        n++;
    if (n == G_N_ELEMENTS(operations)) {
        fail(target, cmd, ILLEGAL_REQUEST, ASC_INVALID_OPCODE);
    } else if (target->attention && !(operations[n].flags & ALWAYS)) {
        target->attention = false;
        fail(target, cmd, UNIT_ATTENTION, ASC_MEDIUM_CHANGED);
    } else if ((operations[n].flags & MEDIUM) && target->ejected) {
        fail(target, cmd, NOT_READY, ASC_NO_MEDIUM);
    } else {
        operations[n].handle(target, cdb, cmd);
    }
}

void vmc_scsi_disk_failed(Target *target, VmcScsiKind kind, int err)
{
    if (err == -ENOSPC)
        fail(target, NULL, DATA_PROTECT, ASC_SPACE_FAILED);
    else if (err == -EROFS)
        fail(target, NULL, DATA_PROTECT, ASC_WRITE_PROTECTED);
    else
        fail(target, NULL, MEDIUM_ERROR,
             kind == VMC_SCSI_READ || kind == VMC_SCSI_VERIFY ? ASC_READ_ERROR : ASC_WRITE_ERROR);
}
