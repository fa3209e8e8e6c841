/*
 * Queues (s4.1): commands are taken off the submission queues in turn, and completions put into theirs.
 *
 * A vCPU that writes to a doorbell leaves the value, or moves the head of a completion queue, and rings; it
 * rings only if the I/O thread has something to do. All else is the I/O thread's: it takes a few commands off
 * each queue, hands what they ask of the disk to the engine, and gives back those that are done already with
 * one interrupt for all.
 *
 * What keeps a driver from harm: a queue is RAM, and slots of RAM never move or go. An entry is copied once.
 * A command is taken only if a request is free for it, of which there are NVME_REQUESTS_MAX, and if there is
 * an entry for its completion, which is then kept for it; so completions never wait, and a driver that reads
 * none gets none of its commands done. A doorbell value is an index into the queue, and no more entries are
 * given back than were there.
 *
 * The wire: while MSI-X is off it is up as long as there are completions that the driver has not seen in a
 * queue whose interrupts are on and not masked (s7.5.1.1). It falls when the driver moves the head, before
 * that write returns; so it follows from state that `irq_lock` guards.
 */
#include "nvme/nvme_internal.h"

#include <string.h>

#define BATCH       32u        /* commands of a queue until the next has its turn */
#define BATCH_BYTES (1u << 20) /* or so many bytes */
#define TURNS       32u        /* of all queues until other sources of the I/O thread have theirs */

/* Bits of `rung`: one for each submission queue, and these. */
#define RUNG_CONTROL      (1ull << 32)
#define RUNG_ROOM         (1ull << 33) /* in a completion queue somebody waits for */
#define RUNG_BAD_REGISTER (1ull << 34)
#define RUNG_BAD_VALUE    (1ull << 35)

_Static_assert(NVME_PAIRS_MAX <= 32, "a bit for each");

/* ---- doorbells (vCPUs) ---- */

static void ring(Nvme *nvme, uint64_t why)
{
    if (!atomic_fetch_or(&nvme->rung, why))
        vmc_doorbell_ring(nvme->bell);
}

void vmc_nvme_ring_control(Nvme *nvme)
{
    ring(nvme, RUNG_CONTROL);
}

static unsigned entries_in(const NvmeCq *cq)
{
    return (cq->tail + cq->size - cq->head) % cq->size;
}

void vmc_nvme_update_wire(Nvme *nvme)
{
    bool level = false;

    for (unsigned i = 0; i < nvme->pairs && !level; i++) {
        const NvmeCq *cq = &nvme->cqs[i];
        level = cq->there && cq->interrupts && cq->head != cq->tail && !(nvme->intms & 1u << cq->vector);
    }
    if (level == nvme->wire)
        return;
    nvme->wire = level;
    vmc_pci_intx(&nvme->pci, level);
}

/* Why the I/O thread should know, or 0. */
static uint64_t move_head(Nvme *nvme, NvmeCq *cq, uint32_t head)
{
    if (!cq->there)
        return RUNG_BAD_REGISTER;
    if (head >= cq->size || (head + cq->size - cq->head) % cq->size > entries_in(cq))
        return RUNG_BAD_VALUE;
    cq->head = head;
    vmc_nvme_update_wire(nvme);
    bool stalled = cq->stalled;
    cq->stalled = false;
    return stalled ? RUNG_ROOM : 0;
}

void vmc_nvme_doorbell(Nvme *nvme, unsigned index, uint32_t value)
{
    unsigned queue = index / 2;
    uint64_t why;

    if (!(atomic_load(&nvme->csts) & CSTS_RDY))
        return; /* s3.1.24: not before it is ready */
    if (queue >= nvme->pairs) {
        why = RUNG_BAD_REGISTER;
    } else if (index & 1) {
        g_mutex_lock(&nvme->irq_lock);
        why = move_head(nvme, &nvme->cqs[queue], value);
        g_mutex_unlock(&nvme->irq_lock);
    } else {
        atomic_store(&nvme->sqs[queue].doorbell, value);
        why = 1ull << queue;
    }
    if (why)
        ring(nvme, why);
}

/* ---- queues come and go (I/O thread) ---- */

/* s4.1: contiguous, from a page's beginning. */
static uint8_t *queue_memory(const Nvme *nvme, uint64_t gpa, uint64_t length, bool write)
{
    const VmcMemSlot *slot = vmc_memory_slot(nvme->memory, gpa);

    if (gpa % NVME_PAGE || !slot || (write && slot->readonly))
        return NULL;
    return vmc_memory_host(nvme->memory, gpa, length);
}

bool vmc_nvme_make_cq(Nvme *nvme, unsigned id, uint64_t gpa, unsigned size, unsigned vector, bool interrupts)
{
    uint8_t *entries = queue_memory(nvme, gpa, (uint64_t)size * NVME_CQE_BYTES, true);

    if (!entries)
        return false;
    g_mutex_lock(&nvme->irq_lock);
    nvme->cqs[id] = (NvmeCq){
        .entries = entries,
        .gpa = gpa,
        .vector = vector,
        .phase = true,
        .there = true,
        .interrupts = interrupts,
        .size = size,
    };
    g_mutex_unlock(&nvme->irq_lock);
    return true;
}

bool vmc_nvme_make_sq(Nvme *nvme, unsigned id, uint64_t gpa, unsigned size, unsigned cq)
{
    const uint8_t *entries = queue_memory(nvme, gpa, (uint64_t)size * NVME_SQE_BYTES, false);
    NvmeSq *sq = &nvme->sqs[id];

    if (!entries)
        return false;
    sq->there = true;
    sq->entries = entries;
    sq->gpa = gpa;
    sq->size = size;
    sq->cq = cq;
    sq->head = sq->tail = 0;
    sq->in_flight = 0;
    sq->deletion = NULL;
    nvme->cqs[cq].users++;
    return true;
}

void vmc_nvme_remove_cq(Nvme *nvme, unsigned id)
{
    g_mutex_lock(&nvme->irq_lock);
    nvme->cqs[id] = (NvmeCq){0};
    vmc_nvme_update_wire(nvme);
    g_mutex_unlock(&nvme->irq_lock);
    nvme->pushed &= ~(1u << id);
}

static void finish_removal(Nvme *nvme, NvmeSq *sq)
{
    NvmeRequest *deletion = sq->deletion;

    sq->there = false;
    sq->deletion = NULL;
    nvme->cqs[sq->cq].users--;
    vmc_nvme_complete(nvme, deletion, NVME_SUCCESS);
}

void vmc_nvme_remove_sq(Nvme *nvme, unsigned id, NvmeRequest *deletion)
{
    NvmeSq *sq = &nvme->sqs[id];

    sq->deletion = deletion;
    if (!sq->in_flight)
        finish_removal(nvme, sq);
}

void vmc_nvme_remove_queues(Nvme *nvme)
{
    for (unsigned i = 0; i < nvme->pairs; i++) {
        nvme->sqs[i].there = false;
        nvme->sqs[i].deletion = NULL;
        vmc_nvme_remove_cq(nvme, i);
    }
    g_mutex_lock(&nvme->irq_lock);
    nvme->intms = 0;
    g_mutex_unlock(&nvme->irq_lock);
}

/* ---- completions (I/O thread) ---- */

bool vmc_nvme_reserve(Nvme *nvme, unsigned id)
{
    NvmeCq *cq = &nvme->cqs[id];

    g_mutex_lock(&nvme->irq_lock);
    bool room = entries_in(cq) + cq->reserved + 1 < cq->size;
    cq->stalled |= !room;
    g_mutex_unlock(&nvme->irq_lock);
    cq->reserved += room;
    return room;
}

/* s4.6. The phase is what the driver looks at, so it is written behind all else. */
static void put_entry(Nvme *nvme, NvmeCq *cq, const uint32_t dwords[4])
{
    unsigned offset = cq->tail * NVME_CQE_BYTES;
    uint32_t *entry = (uint32_t *)(cq->entries + offset);

    for (unsigned i = 0; i < 3; i++)
        entry[i] = GUINT32_TO_LE(dwords[i]);
    __atomic_store_n(&entry[3], GUINT32_TO_LE(dwords[3]), __ATOMIC_RELEASE);
    vmc_memory_written(nvme->memory, cq->gpa + offset, NVME_CQE_BYTES);
    g_mutex_lock(&nvme->irq_lock);
    cq->tail = (cq->tail + 1) % cq->size;
    g_mutex_unlock(&nvme->irq_lock);
    if (!cq->tail)
        cq->phase = !cq->phase;
}

/* What a command read arrived in guest memory. */
static void note_written(Nvme *nvme, const NvmeData *data)
{
    for (unsigned i = 0; data->to_guest && i < data->n; i++)
        vmc_memory_written(nvme->memory, data->spans[i].gpa, data->spans[i].length);
}

void vmc_nvme_release(Nvme *nvme, NvmeRequest *req)
{
    note_written(nvme, &req->data);
    req->data.n = 0;
    g_clear_pointer(&req->ranges, g_free);
    g_clear_pointer(&req->buffer, g_free);
    req->next = nvme->unused;
    nvme->unused = req;
}

void vmc_nvme_complete(Nvme *nvme, NvmeRequest *req, uint16_t status)
{
    unsigned id = req->sq;
    NvmeSq *sq = &nvme->sqs[id];
    NvmeCq *cq = &nvme->cqs[sq->cq];
    uint32_t dwords[4] = {req->result, 0, sq->head | id << 16, req->cmd.cid | (uint32_t)cq->phase << 16};

    if (status && status != NVME_ABORT_REQUESTED) {
        vmc_nvme_log_error(nvme, req, status);
        status |= NVME_DO_NOT_RETRY;
    }
    dwords[3] |= (uint32_t)status << 17;
    vmc_nvme_release(nvme, req);
    put_entry(nvme, cq, dwords);
    nvme->pushed |= 1u << sq->cq;
    cq->reserved--;
    if (!--sq->in_flight && sq->deletion)
        finish_removal(nvme, sq);
}

void vmc_nvme_notify(Nvme *nvme)
{
    unsigned pushed = nvme->pushed;

    if (!pushed)
        return;
    nvme->pushed = 0;
    for (unsigned i = 0; i < nvme->pairs; i++)
        if ((pushed & 1u << i) && nvme->cqs[i].interrupts)
            vmc_pci_msix_notify(&nvme->pci, nvme->cqs[i].vector);
    g_mutex_lock(&nvme->irq_lock);
    vmc_nvme_update_wire(nvme);
    g_mutex_unlock(&nvme->irq_lock);
}

/* ---- taking commands (I/O thread) ---- */

static NvmeCommand read_command(const NvmeSq *sq)
{
    NvmeCommand cmd;

    memcpy(&cmd, sq->entries + sq->head * NVME_SQE_BYTES, sizeof(cmd));
    cmd.cid = GUINT16_FROM_LE(cmd.cid);
    cmd.nsid = GUINT32_FROM_LE(cmd.nsid);
    cmd.prp1 = GUINT64_FROM_LE(cmd.prp1);
    cmd.prp2 = GUINT64_FROM_LE(cmd.prp2);
    cmd.dw10 = GUINT32_FROM_LE(cmd.dw10);
    cmd.dw11 = GUINT32_FROM_LE(cmd.dw11);
    cmd.dw12 = GUINT32_FROM_LE(cmd.dw12);
    cmd.dw13 = GUINT32_FROM_LE(cmd.dw13);
    return cmd;
}

/* Takes a command and begins it, or is done with it. False: none can be taken. */
static bool take_command(Nvme *nvme, unsigned id, uint64_t *bytes)
{
    NvmeSq *sq = &nvme->sqs[id];
    NvmeRequest *req = nvme->unused;

    if (!sq->there || sq->deletion || sq->head == sq->tail || !req || !vmc_nvme_reserve(nvme, sq->cq))
        return false;
    nvme->unused = req->next;
    req->sq = id;
    req->cmd = read_command(sq);
    req->result = 0;
    req->io = (VmcBlockRequest){0};
    sq->head = (sq->head + 1) % sq->size;
    sq->in_flight++;
    uint16_t status = id ? vmc_nvme_command(nvme, req) : vmc_nvme_admin(nvme, req);
    if (status == NVME_PENDING)
        *bytes += req->io.length;
    else
        vmc_nvme_complete(nvme, req, status);
    return true;
}

static bool serve_queue(Nvme *nvme, unsigned id)
{
    uint64_t bytes = 0;
    unsigned n = 0;

    while (n < BATCH && bytes < BATCH_BYTES && take_command(nvme, id, &bytes))
        n++;
    if (!n)
        return false;
    vmc_block_engine_run(nvme->engine);
    vmc_nvme_notify(nvme);
    return true;
}

static void take_doorbells(Nvme *nvme, uint64_t rung)
{
    for (unsigned id = 0; id < nvme->pairs; id++) {
        NvmeSq *sq = &nvme->sqs[id];
        if (!(rung & 1ull << id))
            continue;
        uint32_t tail = atomic_load(&sq->doorbell);
        if (!sq->there)
            vmc_nvme_raise(nvme, NVME_EVENT_DOORBELL_REGISTER);
        else if (tail >= sq->size)
            vmc_nvme_raise(nvme, NVME_EVENT_DOORBELL_VALUE);
        else
            sq->tail = tail;
    }
    if (rung & RUNG_BAD_REGISTER)
        vmc_nvme_raise(nvme, NVME_EVENT_DOORBELL_REGISTER);
    if (rung & RUNG_BAD_VALUE)
        vmc_nvme_raise(nvme, NVME_EVENT_DOORBELL_VALUE);
}

/* Whether commands may be taken: a change to the disk wants none, and memory is not ours without Bus Master
 * Enable. */
static bool may_take(Nvme *nvme)
{
    return atomic_load(&nvme->dma) && !vmc_disk_change_pending(&nvme->changes);
}

void vmc_nvme_serve(void *data)
{
    Nvme *nvme = data;
    uint64_t rung = atomic_exchange(&nvme->rung, 0), resets = nvme->resets;
    bool any = true;

    vmc_nvme_settle(nvme);
    if (nvme->resetting || !(atomic_load(&nvme->csts) & CSTS_RDY))
        return;
    if (nvme->resets == resets) /* else those were of other queues */
        take_doorbells(nvme, rung);
    if (!may_take(nvme))
        return;
    if (nvme->resumed)
        vmc_nvme_retry_kept(nvme);
    nvme->resumed = false;
    for (unsigned turn = 0; any && turn < TURNS; turn++) {
        any = false;
        for (unsigned id = 0; id < nvme->pairs; id++)
            any |= serve_queue(nvme, id);
    }
    vmc_nvme_deliver_events(nvme);
    vmc_nvme_notify(nvme);
    if (any)
        vmc_nvme_ring_control(nvme);
}
