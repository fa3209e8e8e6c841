/*
 * Get and Set Features (s5.9, s5.21). Most are numbers that the driver may set to what there is, and read
 * again; those with more to them have functions. None is kept over a reset.
 *
 * What arbitration and interrupt coalescing ask for, the controller does in its own way: queues take turns,
 * and completions are told of together when they come together.
 */
#include "nvme/nvme_internal.h"

#include <string.h>

enum {
    FEATURE_ARBITRATION = 0x01,
    FEATURE_POWER = 0x02,
    FEATURE_TEMPERATURE = 0x04,
    FEATURE_ERROR_RECOVERY = 0x05,
    FEATURE_WRITE_CACHE = 0x06,
    FEATURE_QUEUES = 0x07,
    FEATURE_COALESCING = 0x08,
    FEATURE_VECTOR = 0x09,
    FEATURE_ATOMICITY = 0x0a,
    FEATURE_EVENTS = 0x0b,
};

#define VECTOR_DISABLE (1u << 16)
#define SAVE           (1u << 31)
#define SELECT         (7u << 8)

_Static_assert(FEATURE_EVENTS + 1 == NVME_FEATURES, "all have a place");

/* The bits of a feature that a driver may set; the others have to be zero. 0: not one of these. */
static uint32_t settable(unsigned feature)
{
    switch (feature) {
    case FEATURE_ARBITRATION:
        return 0xffffff07;
    case FEATURE_ERROR_RECOVERY:
        return 0x0000ffff;
    case FEATURE_WRITE_CACHE:
    case FEATURE_ATOMICITY:
        return 1;
    case FEATURE_COALESCING:
        return 0x0000ffff;
    case FEATURE_EVENTS:
        return 0x000001ff; /* SMART warnings, changed namespaces */
    default:
        return 0;
    }
}

void vmc_nvme_default_features(Nvme *nvme)
{
    memset(nvme->features, 0, sizeof(nvme->features));
    nvme->features[FEATURE_ARBITRATION] = 7; /* no limit to a burst */
    nvme->features[FEATURE_WRITE_CACHE] = nvme->cache != VMC_CACHE_WRITE_THROUGH;
    nvme->thresholds[0] = NVME_WARNING_TEMPERATURE;
    nvme->thresholds[1] = 0;
    memset(nvme->vector_coalescing, 0, sizeof(nvme->vector_coalescing));
}

bool vmc_nvme_writes_through(const Nvme *nvme)
{
    return !nvme->features[FEATURE_WRITE_CACHE];
}

bool vmc_nvme_is_hot(const Nvme *nvme)
{
    return NVME_TEMPERATURE >= nvme->thresholds[0] || NVME_TEMPERATURE <= nvme->thresholds[1];
}

/* s5.21.1.4: of the composite temperature, that over it or under it. NULL: there is no such sensor. */
static uint16_t *threshold(Nvme *nvme, uint32_t dw11)
{
    unsigned sensor = dw11 >> 16 & 15, kind = dw11 >> 20 & 3;

    return kind < 2 && (sensor == 0 || sensor == 15) ? &nvme->thresholds[kind] : NULL;
}

/* s5.21.1.7: as many of both as there are, less one. */
static uint32_t number_of_queues(const Nvme *nvme)
{
    return (nvme->pairs - 2) << 16 | (nvme->pairs - 2);
}

uint16_t vmc_nvme_get_features(Nvme *nvme, NvmeRequest *req)
{
    const NvmeCommand *cmd = &req->cmd;
    unsigned feature = cmd->dw10 & 0xff, vector = cmd->dw11 & 0xffff;
    const uint16_t *limit;

    if (cmd->dw10 & SELECT) /* there is nothing to choose from (ONCS bit 4) */
        return NVME_INVALID_FIELD;
    switch (feature) {
    case FEATURE_POWER:
        return NVME_SUCCESS;
    case FEATURE_TEMPERATURE:
        limit = threshold(nvme, cmd->dw11);
        req->result = limit ? *limit : 0;
        return limit ? NVME_SUCCESS : NVME_INVALID_FIELD;
    case FEATURE_QUEUES:
        req->result = number_of_queues(nvme);
        return NVME_SUCCESS;
    case FEATURE_VECTOR:
        if (vector >= nvme->pairs)
            return NVME_INVALID_FIELD;
        req->result = vector | nvme->vector_coalescing[vector];
        return NVME_SUCCESS;
    case FEATURE_WRITE_CACHE:
        if (nvme->cache == VMC_CACHE_WRITE_THROUGH)
            return NVME_INVALID_FIELD; /* s5.21.1.6: there is none */
        break;
    default:
        break;
    }
    if (!settable(feature))
        return NVME_INVALID_FIELD;
    req->result = nvme->features[feature];
    return NVME_SUCCESS;
}

static uint16_t set_threshold(Nvme *nvme, uint32_t dw11)
{
    uint16_t *limit = threshold(nvme, dw11);

    if (!limit)
        return NVME_INVALID_FIELD;
    *limit = dw11 & 0xffff;
    if (vmc_nvme_is_hot(nvme))
        vmc_nvme_raise(nvme, NVME_EVENT_TEMPERATURE);
    return NVME_SUCCESS;
}

/* The driver says how many it would like; it gets all there are, and not while it uses them. */
static uint16_t set_queues(Nvme *nvme, NvmeRequest *req)
{
    if ((req->cmd.dw11 & 0xffff) == 0xffff || req->cmd.dw11 >> 16 == 0xffff)
        return NVME_INVALID_FIELD;
    for (unsigned i = 1; i < nvme->pairs; i++)
        if (nvme->cqs[i].there || nvme->sqs[i].there)
            return NVME_SEQUENCE_ERROR;
    req->result = number_of_queues(nvme);
    return NVME_SUCCESS;
}

static uint16_t set_vector(Nvme *nvme, uint32_t dw11)
{
    unsigned vector = dw11 & 0xffff;

    if (vector >= nvme->pairs || (dw11 & ~(VECTOR_DISABLE | 0xffff)))
        return NVME_INVALID_FIELD;
    nvme->vector_coalescing[vector] = dw11 & VECTOR_DISABLE;
    return NVME_SUCCESS;
}

static uint16_t set_number(Nvme *nvme, unsigned feature, uint32_t value)
{
    if (!settable(feature))
        return NVME_INVALID_FIELD;
    if (feature == FEATURE_WRITE_CACHE && nvme->cache == VMC_CACHE_WRITE_THROUGH)
        return NVME_INVALID_FIELD;
    nvme->features[feature] = value & settable(feature);
    if (feature == FEATURE_EVENTS && vmc_nvme_is_hot(nvme))
        vmc_nvme_raise(nvme, NVME_EVENT_TEMPERATURE);
    return NVME_SUCCESS;
}

uint16_t vmc_nvme_set_features(Nvme *nvme, NvmeRequest *req)
{
    const NvmeCommand *cmd = &req->cmd;
    unsigned feature = cmd->dw10 & 0xff;

    if (cmd->dw10 & SAVE)
        return NVME_NOT_SAVEABLE;
    switch (feature) {
    case FEATURE_POWER:
        return cmd->dw11 & 31 ? NVME_INVALID_FIELD : NVME_SUCCESS; /* there is state 0 */
    case FEATURE_TEMPERATURE:
        return set_threshold(nvme, cmd->dw11);
    case FEATURE_QUEUES:
        return set_queues(nvme, req);
    case FEATURE_VECTOR:
        return set_vector(nvme, cmd->dw11);
    default:
        return set_number(nvme, feature, cmd->dw11);
    }
}
