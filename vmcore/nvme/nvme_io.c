/*
 * The commands of the NVM command set (s6): what may be done is checked here, against the disk as it is now,
 * and handed to the engine.
 *
 * Dataset Management and Compare are several requests of the engine's one after the other. A write for which
 * the host has no room is kept until the machine is resumed, and tried again; all other errors are the
 * guest's to know, and the user's: see block/report.h.
 */
#include "nvme/nvme_internal.h"

#include <errno.h>
#include <string.h>

#include "base/vectors.h"

#define COMPARE_BYTES (64u * 1024) /* at a time */

/* s6.9, s6.16 */
#define DW12_FUA        (1u << 30)
#define DW12_DEALLOCATE (1u << 25)
#define DW11_DEALLOCATE (1u << 2)

enum {
    OP_FLUSH = 0x00,
    OP_WRITE = 0x01,
    OP_READ = 0x02,
    OP_COMPARE = 0x05,
    OP_WRITE_ZEROES = 0x08,
    OP_DATASET_MANAGEMENT = 0x09,
};

/* ---- what a command asks for ---- */

static bool make_range(const Nvme *nvme, uint64_t block, uint64_t blocks, NvmeRange *range)
{
    uint64_t all = nvme->size / NVME_BLOCK;

    if (block > all || blocks > all - block)
        return false;
    *range = (NvmeRange){block * NVME_BLOCK, blocks * NVME_BLOCK};
    return true;
}

/* The blocks that Dwords 10 to 12 name, which are at least one. */
static bool command_range(const Nvme *nvme, const NvmeCommand *cmd, NvmeRange *range)
{
    return make_range(nvme, cmd->dw10 | (uint64_t)cmd->dw11 << 32, (cmd->dw12 & 0xffff) + 1u, range);
}

/* Whether a write has to last before it is done. */
static bool is_durable(const Nvme *nvme, const NvmeCommand *cmd)
{
    return nvme->cache != VMC_CACHE_UNSAFE && (vmc_nvme_writes_through(nvme) || (cmd->dw12 & DW12_FUA));
}

static uint16_t submit(Nvme *nvme, NvmeRequest *req)
{
    vmc_nvme_submit(nvme, &req->io);
    return NVME_PENDING;
}

static uint16_t transfer(Nvme *nvme, NvmeRequest *req, bool write)
{
    NvmeRange range;
    uint16_t status;

    if (write && nvme->disk->readonly)
        return NVME_WRITE_PROTECTED;
    if (!command_range(nvme, &req->cmd, &range))
        return NVME_LBA_OUT_OF_RANGE;
    if (range.length > NVME_BYTES_MAX)
        return NVME_INVALID_FIELD;
    status = vmc_nvme_map(nvme, req, range.length, !write);
    if (status)
        return status;
    req->io = (VmcBlockRequest){
        .op = write ? VMC_BLOCK_WRITE : VMC_BLOCK_READ,
        .offset = range.offset,
        .length = range.length,
        .iov = req->data.iov,
        .n_iov = req->data.n,
        .durable = write && is_durable(nvme, &req->cmd),
    };
    return submit(nvme, req);
}

static uint16_t flush(Nvme *nvme, NvmeRequest *req)
{
    if (nvme->cache == VMC_CACHE_UNSAFE)
        return NVME_SUCCESS;
    req->io.op = VMC_BLOCK_FLUSH;
    return submit(nvme, req);
}

static uint16_t write_zeroes(Nvme *nvme, NvmeRequest *req)
{
    NvmeRange range;

    if (nvme->disk->readonly)
        return NVME_WRITE_PROTECTED;
    if (!vmc_disk_can_write_zeroes(nvme->disk))
        return NVME_INVALID_OPCODE;
    if (!command_range(nvme, &req->cmd, &range))
        return NVME_LBA_OUT_OF_RANGE;
    req->io = (VmcBlockRequest){
        .op = VMC_BLOCK_WRITE_ZEROES,
        .offset = range.offset,
        .length = range.length,
        .unmap = (req->cmd.dw12 & DW12_DEALLOCATE) && vmc_disk_can_discard(nvme->disk),
        .durable = is_durable(nvme, &req->cmd),
    };
    return submit(nvme, req);
}

/* ---- Dataset Management (s6.7) ---- */

static bool next_range(NvmeRequest *req)
{
    while (req->range < req->n_ranges && !req->ranges[req->range].length)
        req->range++;
    if (req->range >= req->n_ranges)
        return false;
    const NvmeRange *range = &req->ranges[req->range++];
    req->io.op = VMC_BLOCK_DISCARD;
    req->io.offset = range->offset;
    req->io.length = range->length;
    return true;
}

/* All ranges are checked before the first is touched. What else than deallocating is asked for are hints. */
static uint16_t dataset_management(Nvme *nvme, NvmeRequest *req)
{
    struct {
        uint32_t attributes, blocks;
        uint64_t block;
    } entries[NVME_RANGES_MAX];
    unsigned n = (req->cmd.dw10 & 0xff) + 1;
    uint16_t status;

    if (!(req->cmd.dw11 & DW11_DEALLOCATE))
        return NVME_SUCCESS;
    if (nvme->disk->readonly)
        return NVME_WRITE_PROTECTED;
    if (!vmc_disk_can_discard(nvme->disk))
        return NVME_INVALID_OPCODE;
    status = vmc_nvme_map(nvme, req, n * sizeof(entries[0]), false);
    if (status)
        return status;
    vmc_iov_copy(req->data.iov, req->data.n, 0, entries, n * sizeof(entries[0]));
    req->ranges = g_new(NvmeRange, n);
    for (unsigned i = 0; i < n; i++)
        if (!make_range(nvme, GUINT64_FROM_LE(entries[i].block), GUINT32_FROM_LE(entries[i].blocks),
                        &req->ranges[i]))
            return NVME_LBA_OUT_OF_RANGE;
    req->n_ranges = n;
    req->range = 0;
    return next_range(req) ? submit(nvme, req) : NVME_SUCCESS;
}

/* ---- Compare (s6.6) ---- */

static bool next_piece(NvmeRequest *req, uint64_t offset)
{
    uint64_t here = MIN(req->to_compare - req->compared, COMPARE_BYTES);

    if (!here)
        return false;
    req->piece = (struct iovec){req->buffer, here};
    req->io = (VmcBlockRequest){
        .op = VMC_BLOCK_READ,
        .offset = offset,
        .length = here,
        .iov = &req->piece,
        .n_iov = 1,
    };
    return true;
}

static uint16_t compare(Nvme *nvme, NvmeRequest *req)
{
    NvmeRange range;
    uint16_t status;

    if (!command_range(nvme, &req->cmd, &range))
        return NVME_LBA_OUT_OF_RANGE;
    if (range.length > NVME_BYTES_MAX)
        return NVME_INVALID_FIELD;
    status = vmc_nvme_map(nvme, req, range.length, false);
    if (status)
        return status;
    req->buffer = g_malloc(2 * COMPARE_BYTES);
    req->compared = 0;
    req->to_compare = range.length;
    next_piece(req, range.offset);
    return submit(nvme, req);
}

/* A piece has been read. */
static uint16_t compare_piece(Nvme *nvme, NvmeRequest *req)
{
    uint64_t length = MIN(req->to_compare - req->compared, COMPARE_BYTES);
    uint8_t *other = req->buffer + COMPARE_BYTES;

    vmc_iov_copy(req->data.iov, req->data.n, req->compared, other, length);
    if (memcmp(req->buffer, other, length) != 0)
        return NVME_COMPARE_FAILURE;
    req->compared += length;
    return next_piece(req, req->io.offset) ? submit(nvme, req) : NVME_SUCCESS;
}

/* ---- what comes back ---- */

void vmc_nvme_submit(Nvme *nvme, VmcBlockRequest *io)
{
    nvme->in_engine++;
    vmc_block_engine_submit(nvme->engine, io);
}

/* Without a length it is the flush behind a write that failed, which is none to try again. */
static bool can_be_kept(const VmcBlockRequest *io)
{
    return (io->op == VMC_BLOCK_WRITE || io->op == VMC_BLOCK_WRITE_ZEROES) && io->length;
}

static void keep(Nvme *nvme, NvmeRequest *req)
{
    req->next = NULL;
    *nvme->kept_tail = req;
    nvme->kept_tail = &req->next;
}

void vmc_nvme_retry_kept(Nvme *nvme)
{
    NvmeRequest *req = nvme->kept, *next;

    nvme->kept = NULL;
    nvme->kept_tail = &nvme->kept;
    for (; req; req = next) {
        next = req->next;
        vmc_nvme_submit(nvme, &req->io);
    }
    vmc_block_engine_run(nvme->engine);
}

/* s4.6.1.2.3 */
static uint16_t error_status(const VmcBlockRequest *io)
{
    if (io->error == -ENOSPC || io->error == -EDQUOT)
        return NVME_CAPACITY_EXCEEDED;
    return io->op == VMC_BLOCK_READ ? NVME_READ_ERROR : NVME_WRITE_FAULT;
}

/* What a request without errors leaves to do. */
static uint16_t go_on(Nvme *nvme, NvmeRequest *req)
{
    switch (req->cmd.opcode) {
    case OP_DATASET_MANAGEMENT:
        return next_range(req) ? submit(nvme, req) : NVME_SUCCESS;
    case OP_COMPARE:
        return compare_piece(nvme, req);
    default:
        return NVME_SUCCESS;
    }
}

void vmc_nvme_io_done(void *opaque, VmcBlockRequest *io)
{
    Nvme *nvme = opaque;
    NvmeRequest *req = (NvmeRequest *)io;
    uint16_t status;

    if (vmc_disk_change_finish(&nvme->changes, io))
        return;
    nvme->in_engine--;
    if (io->error && can_be_kept(io) && !nvme->resetting && vmc_disk_ask_for_room(&nvme->report, io->error)) {
        keep(nvme, req);
        return;
    }
    if (io->error && io->error != -ECANCELED)
        vmc_disk_report_error(&nvme->report, io->op, io->offset, io->error);
    if (nvme->resetting)
        return; /* nobody waits for it, and all requests are taken back when the last has come */
    if (io == &nvme->last) {
        vmc_nvme_shutdown_done(nvme);
        return;
    }
    status = io->error ? error_status(io) : go_on(nvme, req);
    if (status != NVME_PENDING)
        vmc_nvme_complete(nvme, req, status);
}

/* ---- the table ---- */

/* Numbers for the SMART log: 512 bytes each, whatever becomes of them. */
static void count(Nvme *nvme, const NvmeCommand *cmd)
{
    uint64_t bytes = ((cmd->dw12 & 0xffff) + 1ull) * NVME_BLOCK;

    if (cmd->opcode == OP_READ || cmd->opcode == OP_COMPARE) {
        nvme->bytes_read += bytes;
        nvme->reads++;
    } else if (cmd->opcode == OP_WRITE) {
        nvme->bytes_written += bytes;
        nvme->writes++;
    }
}

uint16_t vmc_nvme_command(Nvme *nvme, NvmeRequest *req)
{
    const NvmeCommand *cmd = &req->cmd;

    if (cmd->flags) /* fused, or with SGLs */
        return NVME_INVALID_FIELD;
    if (cmd->nsid != NVME_NSID && !(cmd->nsid == NVME_NSID_ALL && cmd->opcode == OP_FLUSH))
        return NVME_INVALID_NAMESPACE;
    count(nvme, cmd);
    switch (cmd->opcode) {
    case OP_FLUSH:
        return flush(nvme, req);
    case OP_WRITE:
        return transfer(nvme, req, true);
    case OP_READ:
        return transfer(nvme, req, false);
    case OP_COMPARE:
        return compare(nvme, req);
    case OP_WRITE_ZEROES:
        return write_zeroes(nvme, req);
    case OP_DATASET_MANAGEMENT:
        return dataset_management(nvme, req);
    default:
        return NVME_INVALID_OPCODE;
    }
}
