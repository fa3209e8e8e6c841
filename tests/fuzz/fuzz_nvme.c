/*
 * The NVMe controller: commands of both sets with data in every form, queues made and taken away, doorbells,
 * registers in any order, and what the host does to the disk meanwhile.
 *
 * covers: vmcore/nvme/nvme.c vmcore/nvme/nvme_queue.c vmcore/nvme/nvme_prp.c vmcore/nvme/nvme_admin.c
 * vmcore/nvme/nvme_identify.c vmcore/nvme/nvme_features.c vmcore/nvme/nvme_log.c vmcore/nvme/nvme_io.c
 * vmcore/block/change.c
 */
#include "nvme/nvme_internal.h"
#include "tests/fuzz/disk.h"

#define QUEUES    3u /* that a driver here uses, with the admin queues */
#define ENTRIES   16u
#define DOORBELLS 0x1000u

/* Where the queues lie, and what the driver knows of them. */
typedef struct Queue {
    unsigned tail, head;
    bool phase;
} Queue;

typedef struct Driver {
    FuzzDisk *disk;
    Queue queues[QUEUES];
} Driver;

static uint64_t sq_at(unsigned id)
{
    return 0x1000 + id * 0x2000ull;
}

static uint64_t cq_at(unsigned id)
{
    return 0x2000 + id * 0x2000ull;
}

static VmcPciDevice *make(FuzzMachine *m, FuzzInput *in)
{
    Driver *driver = g_new0(Driver, 1);
    uint8_t how = fuzz_u8(in), what = fuzz_u8(in);

    m->own = driver;
    driver->disk = fuzz_disk_new(in, how, what);
    VmcNvmeParams params = {
        .memory = m->memory,
        .io = m->io,
        .hooks = what & 0x80 ? NULL : &driver->disk->hooks,
        .disk = &driver->disk->disk,
        .serial = "fuzz",
        .queues = 1 + (how >> 5) % 4,
        .cache = (VmcDiskCache)(what >> 3 & 3) % 3,
    };
    return vmc_nvme_new(&params);
}

static void unmake(FuzzMachine *m)
{
    Driver *driver = m->own;

    fuzz_disk_free(driver->disk);
    g_free(driver);
}

static void wait_for_disk(FuzzMachine *m)
{
    vmc_block_engine_drain(((Nvme *)m->dev)->engine);
}

/* ---- a driver ---- */

/* Sees what there is, so that there is room for more. */
static void see_completions(FuzzMachine *m, unsigned id)
{
    Queue *queue = &((Driver *)m->own)->queues[id];
    const uint8_t *entries = fuzz_ram(m, cq_at(id), ENTRIES * NVME_CQE_BYTES);
    unsigned before = queue->head;

    for (unsigned i = 0; i < ENTRIES; i++) {
        if ((entries[queue->head * NVME_CQE_BYTES + 14] & 1) != queue->phase)
            break;
        queue->head = (queue->head + 1) % ENTRIES;
        queue->phase ^= !queue->head;
    }
    if (queue->head != before)
        fuzz_bar_write(m, 0, DOORBELLS + 8 * id + 4, 4, queue->head);
}

static void send(FuzzMachine *m, unsigned id, const NvmeCommand *cmd)
{
    Queue *queue = &((Driver *)m->own)->queues[id];

    memcpy(fuzz_ram(m, sq_at(id) + queue->tail * NVME_SQE_BYTES, NVME_SQE_BYTES), cmd, NVME_SQE_BYTES);
    queue->tail = (queue->tail + 1) % ENTRIES;
    fuzz_bar_write(m, 0, DOORBELLS + 8 * id, 4, queue->tail);
}

static void forget_queue(FuzzMachine *m, unsigned id)
{
    ((Driver *)m->own)->queues[id] = (Queue){.phase = true};
    memset(fuzz_ram(m, cq_at(id), ENTRIES * NVME_CQE_BYTES), 0, ENTRIES * NVME_CQE_BYTES);
}

static void create_queue(FuzzMachine *m, unsigned id, unsigned vector)
{
    forget_queue(m, id);
    send(m, 0,
         &(NvmeCommand){
             .opcode = 5, .prp1 = cq_at(id), .dw10 = (ENTRIES - 1) << 16 | id, .dw11 = vector << 16 | 3});
    send(m, 0,
         &(NvmeCommand){
             .opcode = 1, .prp1 = sq_at(id), .dw10 = (ENTRIES - 1) << 16 | id, .dw11 = id << 16 | 1});
    fuzz_settle(m);
    see_completions(m, 0);
}

static void step_start(FuzzMachine *m, FuzzInput *in)
{
    uint8_t how = fuzz_u8(in);

    fuzz_bar_write(m, 0, 0x14, 4, 0);
    fuzz_settle(m);
    forget_queue(m, 0);
    fuzz_bar_write(m, 0, 0x24, 4, (ENTRIES - 1) << 16 | (ENTRIES - 1));
    fuzz_bar_write(m, 0, 0x28, 8, how == 0xfe ? fuzz_address(m, in) : sq_at(0));
    fuzz_bar_write(m, 0, 0x30, 8, how == 0xff ? fuzz_address(m, in) : cq_at(0));
    fuzz_bar_write(m, 0, 0x14, 4, 0x00460001);
    fuzz_settle(m);
    for (unsigned id = 1; id < QUEUES; id++)
        create_queue(m, id, how % 4);
}

/* ---- commands ---- */

/* Where data may lie: two pages, or a list, which may be wrong in each place. */
static void add_data(FuzzMachine *m, FuzzInput *in, NvmeCommand *cmd)
{
    uint8_t how = fuzz_u8(in);
    uint64_t list = 0x8000 + (how & 1 ? 0xff0 : 0);

    cmd->prp1 = 0x10000 + fuzz_below(in, 8) * 0x1000 + (how & 2 ? fuzz_below(in, 0x1000) & ~3u : 0);
    cmd->prp2 = how & 4 ? list : 0x18000;
    for (unsigned i = 0; i < 3 && how & 4; i++) {
        uint64_t *entry = (uint64_t *)fuzz_ram(m, list + 8 * i, 8);
        if (entry)
            *entry = how & 8 && fuzz_u8(in) > 200 ? fuzz_address(m, in) : 0x11000 + i * 0x1000;
    }
    if (how > 0xf0)
        *(how & 16 ? &cmd->prp1 : &cmd->prp2) = fuzz_address(m, in);
}

static void finish(FuzzMachine *m, FuzzInput *in, unsigned id, NvmeCommand *cmd)
{
    uint8_t how = fuzz_u8(in);

    cmd->cid = how;
    if (how > 0xf8)
        ((uint8_t *)cmd)[fuzz_below(in, NVME_SQE_BYTES)] = fuzz_u8(in);
    send(m, id, cmd);
    if (how & 1)
        fuzz_settle(m);
    if (how & 2)
        see_completions(m, id);
}

static void step_io(FuzzMachine *m, FuzzInput *in)
{
    static const uint8_t opcodes[] = {0, 1, 2, 5, 8, 9, 1, 2};
    uint8_t how = fuzz_u8(in);
    uint64_t sector = fuzz_sector(in);
    NvmeCommand cmd = {
        .opcode = how & 0x80 ? fuzz_u8(in) : opcodes[how % 8],
        .nsid = how == 0x7f ? fuzz_u32(in) : 1,
        .dw10 = (uint32_t)sector,
        .dw11 = (uint32_t)(sector >> 32),
        .dw12 = fuzz_below(in, 30) | (uint32_t)(how & 0x60) << 25,
    };

    add_data(m, in, &cmd);
    if (cmd.opcode == 9) { /* ranges */
        cmd.dw10 = fuzz_below(in, 6);
        cmd.dw11 = 4;
        for (unsigned i = 0; i <= cmd.dw10; i++) {
            uint32_t *range = (uint32_t *)fuzz_ram(m, (cmd.prp1 & ~15ull) + 16 * i, 16);
            if (!range)
                break;
            range[1] = fuzz_below(in, 30);
            range[2] = (uint32_t)fuzz_sector(in);
            range[3] = 0;
        }
    }
    finish(m, in, 1 + (how >> 3) % (QUEUES - 1), &cmd);
}

static void step_admin(FuzzMachine *m, FuzzInput *in)
{
    uint8_t how = fuzz_u8(in), what = fuzz_u8(in);
    static const uint8_t opcodes[] = {0, 1, 2, 4, 5, 6, 8, 9, 10, 12};
    NvmeCommand cmd = {
        .opcode = how & 0x80 ? fuzz_u8(in) : opcodes[how % 10],
        .nsid = how & 0x20 ? fuzz_u32(in) : 1,
        .dw10 = how & 0x40 ? fuzz_u32(in) : what & 15,
        .dw11 = fuzz_u32(in),
    };

    add_data(m, in, &cmd);
    switch (cmd.opcode) {
    case 0: /* queues, mostly those there are */
    case 4:
        cmd.dw10 = what % (QUEUES + 1);
        break;
    case 1:
    case 5:
        cmd.prp1 = cmd.opcode == 1 ? sq_at(1 + what % 2) : cq_at(1 + what % 2);
        cmd.dw10 = (how & 0x40 ? fuzz_u16(in) : ENTRIES - 1u) << 16 | (what % (QUEUES + 1));
        cmd.dw11 = (cmd.dw11 & 0x20000) | (1u + (what & 1)) << 16 | 3;
        break;
    case 2:
        cmd.dw10 = (how & 0x40 ? fuzz_u16(in) : 127u) << 16 | (what & 0x80) << 8 | (what % 6);
        cmd.dw11 = how == 0x42;
        cmd.dw12 = how & 0x40 ? fuzz_u16(in) : 0;
        break;
    default:
        break;
    }
    finish(m, in, 0, &cmd);
}

static void step_doorbell(FuzzMachine *m, FuzzInput *in)
{
    unsigned index = fuzz_below(in, 14);

    fuzz_bar_write(m, 0, DOORBELLS + 4 * index, 4,
                   fuzz_u8(in) > 200 ? fuzz_u32(in) : fuzz_below(in, ENTRIES));
    if (fuzz_u8(in) & 1)
        fuzz_settle(m);
}

/* Off, on, a shutdown, or anything. */
static void step_control(FuzzMachine *m, FuzzInput *in)
{
    static const uint32_t values[] = {0, 0x00460001, 0x00464001, 0x00008000};
    uint8_t how = fuzz_u8(in);

    fuzz_bar_write(m, 0, 0x14, 4, how & 0x80 ? fuzz_u32(in) : values[how % 4]);
    if (how & 0x40)
        fuzz_bar_write(m, 0, 0x0c + (how & 4), 4, fuzz_u32(in));
    for (unsigned offset = 0; how & 0x20 && offset < 0x40; offset += 4)
        fuzz_bar_read(m, 0, offset, 4);
    if (how & 0x10)
        fuzz_settle(m);
}

/* ---- what happens on the host ---- */

static void step_full(FuzzMachine *m, FuzzInput *in)
{
    ((Driver *)m->own)->disk->full = fuzz_u8(in) & 1;
}

static void step_resumed(FuzzMachine *m, FuzzInput *in)
{
    vmc_pci_bus_resumed(m->pci);
    if (fuzz_u8(in) & 1)
        fuzz_settle(m);
}

static void step_resize(FuzzMachine *m, FuzzInput *in)
{
    fuzz_disk_resize(m, in, vmc_nvme_changes(m->dev));
}

static void (*const steps[])(FuzzMachine *m, FuzzInput *in) = {
    step_start,    step_io,      step_io,   step_io,      step_admin,  step_admin,
    step_doorbell, step_control, step_full, step_resumed, step_resize, step_start,
};

static const FuzzTarget target = {
    .make = make,
    .unmake = unmake,
    .steps = steps,
    .n_steps = G_N_ELEMENTS(steps),
    .wait = wait_for_disk,
};

FUZZ_DEVICE(target)
