/*
 * Requests of virtio-blk (VIRTIO 1.2 s5.2.6): a header that says what and where, data, a status byte. How the
 * chain is cut into buffers is the driver's business (s2.7.4), so all three are found by counting bytes.
 *
 * Everything is checked here, against the disk as it is now, before anything is done; what is wrong with a
 * request is answered in its status byte. For s5.2.6.2: no byte of a read-only disk is written; a flag that
 * we do not know, and unmap on a discard, are S_UNSUPP; a range beyond the disk or beyond the limits in our
 * configuration is S_IOERR, for all segments before the first is touched.
 */
#include "virtio/block.h"

#define T_IN           0u
#define T_OUT          1u
#define T_FLUSH        4u
#define T_GET_ID       8u
#define T_DISCARD      11u
#define T_WRITE_ZEROES 13u

#define SEGMENT_UNMAP 1u

typedef struct Header {
    uint32_t type, reserved;
    uint64_t sector;
} Header;

typedef struct Segment {
    uint64_t sector;
    uint32_t sectors, flags;
} Segment;

_Static_assert(sizeof(Header) == 16 && sizeof(Segment) == 16, "as in s5.2.6");

/* Whole sectors, within the disk. `length` in bytes. */
static bool range_lies_within(const VmcBlockRules *rules, uint64_t sector, uint64_t length, uint64_t *offset)
{
    uint64_t end;

    return length % VMC_DISK_SECTOR == 0 &&
           !__builtin_mul_overflow(sector, (uint64_t)VMC_DISK_SECTOR, offset) &&
           !__builtin_add_overflow(*offset, length, &end) && end <= rules->size;
}

/* The functions below return a status, or VMC_BLOCK_NO_STATUS with `io` filled in. */

static uint8_t transfer(const VmcBlockRules *rules, VmcVirtioBlockRequest *req, bool to_guest,
                        uint64_t sector)
{
    VmcBlockRequest *io = &req->io;

    io->op = to_guest ? VMC_BLOCK_READ : VMC_BLOCK_WRITE;
    io->iov = to_guest ? req->elem.in : req->elem.out;
    io->n_iov = to_guest ? req->elem.n_in : req->elem.n_out;
    io->length = to_guest ? req->elem.in_len : req->elem.out_len;
    io->durable = !to_guest && rules->durable;
    if ((!to_guest && rules->readonly) || !range_lies_within(rules, sector, io->length, &io->offset))
        return VMC_BLOCK_S_IOERR;
    return io->length ? VMC_BLOCK_NO_STATUS : VMC_BLOCK_S_OK;
}

static uint8_t check_segment(const VmcBlockRules *rules, const Segment *from, bool discard,
                             VmcBlockSegment *to)
{
    uint32_t flags = GUINT32_FROM_LE(from->flags), sectors = GUINT32_FROM_LE(from->sectors);

    if (flags & (discard ? ~0u : ~SEGMENT_UNMAP))
        return VMC_BLOCK_S_UNSUPP;
    to->unmap = flags & SEGMENT_UNMAP;
    to->length = (uint64_t)sectors * VMC_DISK_SECTOR;
    if (sectors > VMC_BLOCK_SPACE_MAX ||
        !range_lies_within(rules, GUINT64_FROM_LE(from->sector), to->length, &to->offset))
        return VMC_BLOCK_S_IOERR;
    return VMC_BLOCK_S_OK;
}

/* A discard or write zeroes: an array of segments. */
static uint8_t space(const VmcBlockRules *rules, VmcVirtioBlockRequest *req, bool discard)
{
    Segment segments[VMC_BLOCK_SEGMENTS_MAX];
    uint64_t length = req->elem.out_len;
    uint8_t result = VMC_BLOCK_S_OK;

    if (!(rules->features & (discard ? VMC_BLOCK_F_DISCARD : VMC_BLOCK_F_WRITE_ZEROES)))
        return VMC_BLOCK_S_UNSUPP;
    if (rules->readonly || !length || length % sizeof(Segment) || length > sizeof(segments))
        return VMC_BLOCK_S_IOERR;
    vmc_virtq_element_read(&req->elem, segments, length);
    req->n_segments = (unsigned)(length / sizeof(Segment));
    for (unsigned i = 0; i < req->n_segments && result == VMC_BLOCK_S_OK; i++)
        result = check_segment(rules, &segments[i], discard, &req->segments[i]);
    if (result != VMC_BLOCK_S_OK)
        return result;
    req->segment = 0;
    req->io.op = discard ? VMC_BLOCK_DISCARD : VMC_BLOCK_WRITE_ZEROES;
    req->io.durable = !discard && rules->durable;
    return vmc_virtio_block_next_segment(req) ? VMC_BLOCK_NO_STATUS : VMC_BLOCK_S_OK;
}

bool vmc_virtio_block_next_segment(VmcVirtioBlockRequest *req)
{
    while (req->segment < req->n_segments && !req->segments[req->segment].length)
        req->segment++;
    if (req->segment >= req->n_segments)
        return false;
    const VmcBlockSegment *segment = &req->segments[req->segment++];
    req->io.offset = segment->offset;
    req->io.length = segment->length;
    req->io.unmap = segment->unmap;
    return true;
}

static uint8_t judge(const VmcBlockRules *rules, VmcVirtioBlockRequest *req, const Header *header)
{
    switch (GUINT32_FROM_LE(header->type)) {
    case T_IN:
        return transfer(rules, req, true, GUINT64_FROM_LE(header->sector));
    case T_OUT:
        return transfer(rules, req, false, GUINT64_FROM_LE(header->sector));
    case T_FLUSH:
        req->io.op = VMC_BLOCK_FLUSH;
        return rules->ignore_flush ? VMC_BLOCK_S_OK : VMC_BLOCK_NO_STATUS;
    case T_GET_ID:
        vmc_virtq_element_write(&req->elem, rules->id, VMC_BLOCK_ID_BYTES);
        return VMC_BLOCK_S_OK;
    case T_DISCARD:
        return space(rules, req, true);
    case T_WRITE_ZEROES:
        return space(rules, req, false);
    default:
        return VMC_BLOCK_S_UNSUPP;
    }
}

bool vmc_virtio_block_parse(const VmcBlockRules *rules, VmcVirtioBlockRequest *req)
{
    uint64_t in_len = req->elem.in_len;
    Header header;

    req->io = (VmcBlockRequest){0};
    req->n_segments = req->segment = 0;
    req->written = 0;
    req->result = VMC_BLOCK_S_IOERR;
    req->status = vmc_virtq_element_take_last(&req->elem);
    if (!req->status || vmc_virtq_element_read(&req->elem, &header, sizeof(header)) != sizeof(header))
        return false;
    req->written = (uint32_t)in_len;
    req->result = judge(rules, req, &header);
    return true;
}
