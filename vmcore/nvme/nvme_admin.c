/*
 * The admin commands (s5): queues are made and removed here, asynchronous events told; what the controller
 * says of itself is in nvme_identify.c, nvme_features.c and nvme_log.c.
 *
 * Asynchronous events (s5.2). A request for them is held, up to NVME_AERS_MAX, until there is one to tell. An
 * event waits until there is a request, and an entry in the completion queue; while it waits it is the same
 * however often it happens, and after one is told its type is silent until the driver has read the log page
 * that belongs to it. So a driver that provokes them costs nothing.
 */
#include "nvme/nvme_internal.h"

enum {
    OP_DELETE_SQ = 0x00,
    OP_CREATE_SQ = 0x01,
    OP_GET_LOG_PAGE = 0x02,
    OP_DELETE_CQ = 0x04,
    OP_CREATE_CQ = 0x05,
    OP_IDENTIFY = 0x06,
    OP_ABORT = 0x08,
    OP_SET_FEATURES = 0x09,
    OP_GET_FEATURES = 0x0a,
    OP_EVENT_REQUEST = NVME_OP_EVENT_REQUEST,
};

#define QUEUE_CONTIGUOUS 1u /* s5.3, s5.4: PC and IEN in Dword 11 */
#define QUEUE_INTERRUPTS 2u

/* ---- queues ---- */

typedef struct QueueAttributes {
    unsigned id, size;
} QueueAttributes;

/* What both kinds have in common: Dword 10. `entry` is the size of an entry as the driver has set it. */
static uint16_t check_queue(const Nvme *nvme, const NvmeCommand *cmd, bool right_entry,
                            QueueAttributes *queue)
{
    *queue = (QueueAttributes){cmd->dw10 & 0xffff, (cmd->dw10 >> 16) + 1};
    if (!queue->id || queue->id >= nvme->pairs)
        return NVME_INVALID_QUEUE_ID;
    if (queue->size < 2 || queue->size > NVME_ENTRIES_MAX || !right_entry)
        return NVME_INVALID_QUEUE_SIZE;
    if (!(cmd->dw11 & QUEUE_CONTIGUOUS))
        return NVME_INVALID_FIELD;
    return cmd->prp1 % NVME_PAGE ? NVME_INVALID_PRP_OFFSET : NVME_SUCCESS;
}

static uint32_t configuration(Nvme *nvme)
{
    g_mutex_lock(&nvme->lock);
    uint32_t cc = nvme->cc;
    g_mutex_unlock(&nvme->lock);
    return cc;
}

/* s5.3. Without MSI-X there is vector 0 only, but it may be switched on later. */
static uint16_t create_cq(Nvme *nvme, const NvmeCommand *cmd)
{
    unsigned vector = cmd->dw11 >> 16;
    QueueAttributes queue;
    uint16_t status = check_queue(nvme, cmd, 1u << CC_IOCQES(configuration(nvme)) == NVME_CQE_BYTES, &queue);

    if (status)
        return status;
    if (nvme->cqs[queue.id].there)
        return NVME_INVALID_QUEUE_ID;
    if (vector >= nvme->pairs)
        return NVME_INVALID_VECTOR;
    return vmc_nvme_make_cq(nvme, queue.id, cmd->prp1, queue.size, vector, cmd->dw11 & QUEUE_INTERRUPTS)
               ? NVME_SUCCESS
               : NVME_INVALID_FIELD;
}

/* s5.4 */
static uint16_t create_sq(Nvme *nvme, const NvmeCommand *cmd)
{
    unsigned cq = cmd->dw11 >> 16;
    QueueAttributes queue;
    uint16_t status = check_queue(nvme, cmd, 1u << CC_IOSQES(configuration(nvme)) == NVME_SQE_BYTES, &queue);

    if (status)
        return status;
    if (nvme->sqs[queue.id].there)
        return NVME_INVALID_QUEUE_ID;
    if (!cq || cq >= nvme->pairs || !nvme->cqs[cq].there)
        return NVME_INVALID_COMPLETION_QUEUE;
    return vmc_nvme_make_sq(nvme, queue.id, cmd->prp1, queue.size, cq) ? NVME_SUCCESS : NVME_INVALID_FIELD;
}

/* s5.5: only when nobody uses it any more. */
static uint16_t delete_cq(Nvme *nvme, const NvmeCommand *cmd)
{
    unsigned id = cmd->dw10 & 0xffff;

    if (!id || id >= nvme->pairs || !nvme->cqs[id].there)
        return NVME_INVALID_QUEUE_ID;
    if (nvme->cqs[id].users)
        return NVME_INVALID_QUEUE_DELETION;
    vmc_nvme_remove_cq(nvme, id);
    return NVME_SUCCESS;
}

/* s5.6: what was taken off it comes back first. */
static uint16_t delete_sq(Nvme *nvme, NvmeRequest *req)
{
    unsigned id = req->cmd.dw10 & 0xffff;

    if (!id || id >= nvme->pairs || !nvme->sqs[id].there || nvme->sqs[id].deletion)
        return NVME_INVALID_QUEUE_ID;
    vmc_nvme_remove_sq(nvme, id, req);
    return NVME_PENDING;
}

/* ---- asynchronous events ---- */

static const struct {
    uint8_t type, information, log_page;
} events[NVME_EVENTS] = {
    [NVME_EVENT_DOORBELL_REGISTER] = {0, 0, 0x01},
    [NVME_EVENT_DOORBELL_VALUE] = {0, 1, 0x01},
    [NVME_EVENT_TEMPERATURE] = {1, 1, 0x02},
    [NVME_EVENT_NAMESPACE] = {2, 0, 0x04},
};

/* Asynchronous Event Configuration (s5.21.1.11): errors are always told. */
static bool is_wanted(const Nvme *nvme, NvmeEvent event)
{
    uint32_t configuration = nvme->features[0x0b];

    if (event == NVME_EVENT_TEMPERATURE)
        return configuration & 1u << 1;
    return event != NVME_EVENT_NAMESPACE || (configuration & 1u << 8);
}

void vmc_nvme_raise(Nvme *nvme, NvmeEvent event)
{
    if (!is_wanted(nvme, event))
        return;
    if (events[event].type == 0 && !(nvme->events & 1u << event))
        vmc_nvme_log_error(nvme, NULL, 0);
    nvme->events |= 1u << event;
}

/* The first that waits and is not silenced, or NVME_EVENTS. */
static NvmeEvent next_event(const Nvme *nvme)
{
    NvmeEvent event = 0;

    while (event < NVME_EVENTS &&
           (!(nvme->events & 1u << event) || (nvme->masked_types & 1u << events[event].type)))
        event++;
    return event;
}

void vmc_nvme_deliver_events(Nvme *nvme)
{
    NvmeEvent event;

    while (nvme->n_aers && (event = next_event(nvme)) < NVME_EVENTS && vmc_nvme_reserve(nvme, 0)) {
        NvmeRequest *req = nvme->aers[--nvme->n_aers];
        nvme->events &= ~(1u << event);
        nvme->masked_types |= 1u << events[event].type;
        req->result = events[event].type | (uint32_t)events[event].information << 8 |
                      (uint32_t)events[event].log_page << 16;
        nvme->sqs[0].in_flight++;
        vmc_nvme_complete(nvme, req, NVME_SUCCESS);
    }
}

void vmc_nvme_acknowledge(Nvme *nvme, unsigned log_page)
{
    for (NvmeEvent event = 0; event < NVME_EVENTS; event++)
        if (events[event].log_page == log_page) {
            nvme->masked_types &= ~(1u << events[event].type);
            nvme->events &= ~(1u << event); /* the page has told of it */
        }
}

/* Held, it takes up neither an entry nor anything else that is waited for. */
static uint16_t event_request(Nvme *nvme, NvmeRequest *req)
{
    if (nvme->n_aers == NVME_AERS_MAX)
        return NVME_TOO_MANY_EVENT_REQUESTS;
    nvme->aers[nvme->n_aers++] = req;
    nvme->cqs[0].reserved--;
    nvme->sqs[0].in_flight--;
    vmc_nvme_deliver_events(nvme);
    return NVME_PENDING;
}

/* s5.1: Dword 0 says that it was not aborted. Requests for events can be; all others are done with soon, and
 * what they do to the disk cannot be taken back. */
static uint16_t abort_command(Nvme *nvme, NvmeRequest *req)
{
    unsigned sq = req->cmd.dw10 & 0xffff, cid = req->cmd.dw10 >> 16;

    req->result = 1;
    for (unsigned i = 0; i < nvme->n_aers && sq == 0; i++) {
        NvmeRequest *aer = nvme->aers[i];
        if (aer->cmd.cid != cid || !vmc_nvme_reserve(nvme, 0))
            continue;
        nvme->aers[i] = nvme->aers[--nvme->n_aers];
        nvme->sqs[0].in_flight++;
        vmc_nvme_complete(nvme, aer, NVME_ABORT_REQUESTED);
        req->result = 0;
        break;
    }
    return NVME_SUCCESS;
}

/* ---- the table ---- */

uint16_t vmc_nvme_admin(Nvme *nvme, NvmeRequest *req)
{
    const NvmeCommand *cmd = &req->cmd;

    if (cmd->flags) /* fused, or with SGLs */
        return NVME_INVALID_FIELD;
    switch (cmd->opcode) {
    case OP_DELETE_SQ:
        return delete_sq(nvme, req);
    case OP_CREATE_SQ:
        return create_sq(nvme, cmd);
    case OP_GET_LOG_PAGE:
        return vmc_nvme_get_log_page(nvme, req);
    case OP_DELETE_CQ:
        return delete_cq(nvme, cmd);
    case OP_CREATE_CQ:
        return create_cq(nvme, cmd);
    case OP_IDENTIFY:
        return vmc_nvme_identify(nvme, req);
    case OP_ABORT:
        return abort_command(nvme, req);
    case OP_SET_FEATURES:
        return vmc_nvme_set_features(nvme, req);
    case OP_GET_FEATURES:
        return vmc_nvme_get_features(nvme, req);
    case OP_EVENT_REQUEST:
        return event_request(nvme, req);
    default:
        return NVME_INVALID_OPCODE;
    }
}
