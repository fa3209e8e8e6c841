/*
 * The NVMe controller as bytes (base/state.h).
 *
 * Held, it takes no commands, and what it had taken has come back. Left are registers, queues with their
 * indices, requests for events, and numbers. Completions that the driver has not seen are in guest memory.
 */
#include "base/i18n.h"
#include "nvme/nvme_internal.h"

/* ---- standing still ---- */

static void hold(void *data)
{
    Nvme *nvme = data;

    atomic_store(&nvme->dma, false);
    do {
        vmc_block_engine_run(nvme->engine);
        while (nvme->in_engine) {
            vmc_block_engine_drain(nvme->engine);
            vmc_block_engine_run(nvme->engine);
        }
        vmc_nvme_if_idle(nvme);
        vmc_nvme_notify(nvme);
        vmc_nvme_serve(nvme);
    } while (nvme->in_engine);
}

void vmc_nvme_hold(VmcPciDevice *pci)
{
    Nvme *nvme = (Nvme *)pci;

    vmc_block_engine_drain(nvme->engine);
    vmc_io_call_sync(nvme->io, hold, nvme);
}

void vmc_nvme_unhold(VmcPciDevice *pci)
{
    Nvme *nvme = (Nvme *)pci;

    atomic_store(&nvme->dma, pci->config[4] & 4);
    vmc_doorbell_ring(nvme->bell); /* what waits, whether anything was rung for or not */
}

/* ---- saving ---- */

static void save_disk(const Nvme *nvme, VmcStateWriter *w)
{
    int err = nvme->disk->readonly ? 0 : vmc_disk_flush(nvme->disk);

    if (nvme->kept)
        vmc_state_refuse(
            w, _("The machine cannot be saved while its disk “%s” waits for room on the host; make some"),
            vmc_disk_name(nvme->disk));
    if (err)
        vmc_state_refuse(w, _("The disk “%s” cannot be written: %s"), vmc_disk_name(nvme->disk),
                         g_strerror(-err));
    vmc_state_put_u64(w, nvme->size);
}

static void save_registers(Nvme *nvme, VmcStateWriter *w)
{
    vmc_state_put_u32(w, nvme->cc);
    vmc_state_put_u32(w, nvme->aqa);
    vmc_state_put_u64(w, nvme->asq);
    vmc_state_put_u64(w, nvme->acq);
    vmc_state_put_u32(w, atomic_load(&nvme->csts));
    vmc_state_put_u32(w, nvme->intms);
    vmc_state_put_bool(w, nvme->wire);
    vmc_state_put_bool(w, nvme->reset_asked);
    vmc_state_put_bool(w, nvme->shutdown_begun);
    vmc_state_put_u64(w, atomic_load(&nvme->rung));
}

static void save_cq(const NvmeCq *cq, VmcStateWriter *w)
{
    vmc_state_put_bool(w, cq->there);
    if (cq->there) {
        vmc_state_put_u64(w, cq->gpa);
        vmc_state_put_u32(w, cq->size);
        vmc_state_put_u32(w, cq->vector);
        vmc_state_put_bool(w, cq->interrupts);
        vmc_state_put_bool(w, cq->phase);
        vmc_state_put_bool(w, cq->stalled);
        vmc_state_put_u32(w, cq->head);
        vmc_state_put_u32(w, cq->tail);
    }
}

static void save_sq(NvmeSq *sq, VmcStateWriter *w)
{
    vmc_state_put_bool(w, sq->there);
    vmc_state_put_u32(w, atomic_load(&sq->doorbell));
    if (sq->there) {
        vmc_state_put_u64(w, sq->gpa);
        vmc_state_put_u32(w, sq->size);
        vmc_state_put_u32(w, sq->cq);
        vmc_state_put_u32(w, sq->head);
        vmc_state_put_u32(w, sq->tail);
    }
}

static void save_events(const Nvme *nvme, VmcStateWriter *w)
{
    vmc_state_put_u32(w, nvme->n_aers);
    for (unsigned i = 0; i < nvme->n_aers; i++)
        vmc_state_put_u16(w, nvme->aers[i]->cmd.cid);
    vmc_state_put_u32(w, nvme->events);
    vmc_state_put_u32(w, nvme->masked_types);
    vmc_state_put_bool(w, nvme->namespace_changed);
}

static void save_numbers(const Nvme *nvme, VmcStateWriter *w)
{
    for (unsigned i = 0; i < NVME_FEATURES; i++)
        vmc_state_put_u32(w, nvme->features[i]);
    vmc_state_put_u16(w, nvme->thresholds[0]);
    vmc_state_put_u16(w, nvme->thresholds[1]);
    for (unsigned i = 0; i < nvme->pairs; i++)
        vmc_state_put_u32(w, nvme->vector_coalescing[i]);
    vmc_state_put_u64(w, nvme->n_errors);
    for (unsigned i = 0; i < NVME_ERRORS_MAX; i++) {
        const NvmeError *error = &nvme->errors[i];
        vmc_state_put_u64(w, error->count);
        vmc_state_put_u64(w, error->lba);
        vmc_state_put_u32(w, error->nsid);
        vmc_state_put_u16(w, error->sq);
        vmc_state_put_u16(w, error->cid);
        vmc_state_put_u16(w, error->status);
    }
    vmc_state_put_u64(w, nvme->bytes_read);
    vmc_state_put_u64(w, nvme->bytes_written);
    vmc_state_put_u64(w, nvme->reads);
    vmc_state_put_u64(w, nvme->writes);
}

void vmc_nvme_save(VmcPciDevice *pci, VmcStateWriter *w)
{
    Nvme *nvme = (Nvme *)pci;

    vmc_state_begin(w, "nvme", 1);
    save_disk(nvme, w);
    save_registers(nvme, w);
    vmc_state_put_u32(w, nvme->pairs);
    for (unsigned i = 0; i < nvme->pairs; i++)
        save_cq(&nvme->cqs[i], w);
    for (unsigned i = 0; i < nvme->pairs; i++)
        save_sq(&nvme->sqs[i], w);
    save_events(nvme, w);
    save_numbers(nvme, w);
    vmc_state_end(w);
}

/* ---- loading ---- */

static void load_registers(Nvme *nvme, VmcStateReader *r)
{
    nvme->cc = vmc_state_get_u32(r);
    nvme->aqa = vmc_state_get_u32(r);
    nvme->asq = vmc_state_get_u64(r);
    nvme->acq = vmc_state_get_u64(r);
    uint32_t csts = vmc_state_get_u32(r);
    vmc_state_check(r, !(csts & ~(CSTS_RDY | CSTS_CFS | CSTS_SHST_DONE)), "its status");
    atomic_store(&nvme->csts, csts);
    nvme->intms = vmc_state_get_u32(r);
    nvme->wire = vmc_state_get_bool(r);
    nvme->reset_asked = vmc_state_get_bool(r);
    nvme->shutdown_begun = vmc_state_get_bool(r);
    atomic_store(&nvme->rung, vmc_state_get_u64(r));
}

static unsigned get_index(VmcStateReader *r, unsigned size)
{
    return vmc_state_get_u32_max(r, size - 1);
}

static void load_cq(Nvme *nvme, unsigned id, VmcStateReader *r)
{
    NvmeCq *cq = &nvme->cqs[id];

    if (!vmc_state_get_bool(r))
        return;
    uint64_t gpa = vmc_state_get_u64(r);
    uint32_t size = vmc_state_get_u32_max(r, NVME_ENTRIES_MAX),
             vector = vmc_state_get_u32_max(r, nvme->pairs - 1);
    bool interrupts = vmc_state_get_bool(r);
    if (!vmc_state_check(r, size > 1 && vmc_nvme_make_cq(nvme, id, gpa, size, vector, interrupts), "a queue"))
        return;
    cq->phase = vmc_state_get_bool(r);
    cq->stalled = vmc_state_get_bool(r);
    cq->head = get_index(r, size);
    cq->tail = get_index(r, size);
}

/* Behind all completion queues, one of which it needs. */
static void load_sq(Nvme *nvme, unsigned id, VmcStateReader *r)
{
    NvmeSq *sq = &nvme->sqs[id];
    bool there = vmc_state_get_bool(r);

    atomic_store(&sq->doorbell, vmc_state_get_u32(r));
    if (!there)
        return;
    uint64_t gpa = vmc_state_get_u64(r);
    uint32_t size = vmc_state_get_u32_max(r, NVME_ENTRIES_MAX),
             cq = vmc_state_get_u32_max(r, nvme->pairs - 1);
    if (!vmc_state_check(r, size > 1 && nvme->cqs[cq].there && vmc_nvme_make_sq(nvme, id, gpa, size, cq),
                         "a queue"))
        return;
    sq->head = get_index(r, size);
    sq->tail = get_index(r, size);
}

/* A controller that is ready has its admin queues. */
static bool queues_fit(const Nvme *nvme)
{
    return !(atomic_load(&nvme->csts) & CSTS_RDY) ||
           (nvme->cqs[0].there && nvme->sqs[0].there && !nvme->sqs[0].cq);
}

static void load_events(Nvme *nvme, VmcStateReader *r)
{
    uint32_t n = vmc_state_get_u32_max(r, NVME_AERS_MAX);

    for (uint32_t i = 0; i < n && vmc_state_ok(r); i++) {
        NvmeRequest *req = nvme->unused;
        nvme->unused = req->next;
        req->sq = 0;
        req->cmd = (NvmeCommand){.opcode = NVME_OP_EVENT_REQUEST, .cid = vmc_state_get_u16(r)};
        req->io = (VmcBlockRequest){0};
        nvme->aers[nvme->n_aers++] = req;
    }
    vmc_state_check(r, !n || nvme->sqs[0].there, "its requests for events");
    nvme->events = vmc_state_get_u32_max(r, (1u << NVME_EVENTS) - 1);
    nvme->masked_types = vmc_state_get_u32_max(r, 0xff);
    nvme->namespace_changed = vmc_state_get_bool(r);
}

static void load_numbers(Nvme *nvme, VmcStateReader *r)
{
    for (unsigned i = 0; i < NVME_FEATURES; i++)
        nvme->features[i] = vmc_state_get_u32(r);
    nvme->thresholds[0] = vmc_state_get_u16(r);
    nvme->thresholds[1] = vmc_state_get_u16(r);
    for (unsigned i = 0; i < nvme->pairs; i++)
        nvme->vector_coalescing[i] = vmc_state_get_u32(r);
    nvme->n_errors = vmc_state_get_u64(r);
    for (unsigned i = 0; i < NVME_ERRORS_MAX; i++) {
        NvmeError *error = &nvme->errors[i];
        error->count = vmc_state_get_u64(r);
        error->lba = vmc_state_get_u64(r);
        error->nsid = vmc_state_get_u32(r);
        error->sq = vmc_state_get_u16(r);
        error->cid = vmc_state_get_u16(r);
        error->status = vmc_state_get_u16(r);
    }
    nvme->bytes_read = vmc_state_get_u64(r);
    nvme->bytes_written = vmc_state_get_u64(r);
    nvme->reads = vmc_state_get_u64(r);
    nvme->writes = vmc_state_get_u64(r);
}

bool vmc_nvme_load(VmcPciDevice *pci, VmcStateReader *r)
{
    Nvme *nvme = (Nvme *)pci;

    if (!vmc_state_enter(r, "nvme", 1))
        return false;
    vmc_state_check(r, vmc_state_get_u64(r) == nvme->size, "the size of its disk");
    load_registers(nvme, r);
    vmc_state_check(r, vmc_state_get_u32(r) == nvme->pairs, "how many queues it has");
    for (unsigned i = 0; i < nvme->pairs && vmc_state_ok(r); i++)
        load_cq(nvme, i, r);
    for (unsigned i = 0; i < nvme->pairs && vmc_state_ok(r); i++)
        load_sq(nvme, i, r);
    if (!vmc_state_check(r, queues_fit(nvme), "its queues"))
        return false;
    load_events(nvme, r);
    load_numbers(nvme, r);
    return vmc_state_leave(r);
}
