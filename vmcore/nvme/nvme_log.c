/* Get Log Page (s5.14): errors, SMART, the firmware, and whether the namespace has changed. */
#include "nvme/nvme_internal.h"

#include <string.h>

#define RETAIN_EVENT (1u << 15)

enum {
    LOG_ERRORS = 0x01,
    LOG_SMART = 0x02,
    LOG_FIRMWARE = 0x03,
    LOG_NAMESPACES = 0x04,
};

typedef struct ErrorEntry {
    uint64_t count;
    uint16_t sq, cid, status, parameter;
    uint64_t lba;
    uint32_t nsid, unused[9];
} ErrorEntry;

_Static_assert(sizeof(ErrorEntry) == 64 && offsetof(ErrorEntry, nsid) == 24, "as in s5.14.1.1");

void vmc_nvme_log_error(Nvme *nvme, const NvmeRequest *req, uint16_t status)
{
    NvmeError *error = &nvme->errors[nvme->n_errors++ % NVME_ERRORS_MAX];

    *error = (NvmeError){.count = nvme->n_errors, .sq = 0xffff, .cid = 0xffff};
    if (!req)
        return; /* not of a command */
    error->sq = (uint16_t)req->sq;
    error->cid = req->cmd.cid;
    error->status = status;
    error->nsid = req->cmd.nsid;
    error->lba = req->sq ? req->cmd.dw10 | (uint64_t)req->cmd.dw11 << 32 : 0;
}

/* The newest first; the functions return the length. */
static uint64_t error_log(const Nvme *nvme, uint8_t *p)
{
    for (unsigned i = 0; i < NVME_ERRORS_MAX && i < nvme->n_errors; i++) {
        const NvmeError *error = &nvme->errors[(nvme->n_errors - 1 - i) % NVME_ERRORS_MAX];
        ErrorEntry entry = {
            .count = GUINT64_TO_LE(error->count),
            .sq = GUINT16_TO_LE(error->sq),
            .cid = GUINT16_TO_LE(error->cid),
            .status = GUINT16_TO_LE((uint16_t)(error->status << 1)),
            .parameter = 0xffff, /* where in the command is not told */
            .lba = GUINT64_TO_LE(error->lba),
            .nsid = GUINT32_TO_LE(error->nsid),
        };
        memcpy(p + i * sizeof(entry), &entry, sizeof(entry));
    }
    return NVME_ERRORS_MAX * sizeof(ErrorEntry);
}

static void put64(uint8_t *p, uint64_t value)
{
    value = GUINT64_TO_LE(value);
    memcpy(p, &value, sizeof(value));
}

/* s5.14.1.2; a disk of thousands of 512 bytes, begun ones counted. */
static uint64_t smart_log(const Nvme *nvme, uint8_t *p)
{
    p[0] = vmc_nvme_is_hot(nvme) ? 1u << 1 : 0; /* critical warnings */
    p[1] = NVME_TEMPERATURE & 0xff;             /* composite */
    p[2] = NVME_TEMPERATURE >> 8;
    p[3] = 100; /* available spare, and from where on it is too little */
    p[4] = 10;
    put64(p + 32, (nvme->bytes_read + 511999) / 512000);
    put64(p + 48, (nvme->bytes_written + 511999) / 512000);
    put64(p + 64, nvme->reads);
    put64(p + 80, nvme->writes);
    put64(p + 112, 1); /* power cycles */
    put64(p + 176, nvme->n_errors);
    return 512;
}

/* s5.14.1.3: slot 1 is active. */
static uint64_t firmware_log(uint8_t *p)
{
    p[0] = 1;
    memset(p + 8, ' ', 8);
    memcpy(p + 8, NVME_FIRMWARE, strlen(NVME_FIRMWARE));
    return 512;
}

/* s5.14.1.4: a list. */
static uint64_t namespace_log(const Nvme *nvme, uint8_t *p)
{
    p[0] = nvme->namespace_changed ? NVME_NSID : 0;
    return NVME_PAGE;
}

/* It has been read. */
static void end_page(Nvme *nvme, unsigned page)
{
    if (page == LOG_NAMESPACES)
        nvme->namespace_changed = false;
    vmc_nvme_acknowledge(nvme, page);
}

uint16_t vmc_nvme_get_log_page(Nvme *nvme, NvmeRequest *req)
{
    const NvmeCommand *cmd = &req->cmd;
    unsigned page = cmd->dw10 & 0xff;
    uint64_t wanted = ((cmd->dw10 >> 16 | (uint64_t)(cmd->dw11 & 0xffff) << 16) + 1) * 4;
    uint64_t offset = cmd->dw12 | (uint64_t)cmd->dw13 << 32, size;
    bool retain = cmd->dw10 & RETAIN_EVENT;
    uint8_t data[NVME_PAGE] = {0};
    uint16_t status;

    switch (page) {
    case LOG_ERRORS:
        size = error_log(nvme, data);
        break;
    case LOG_SMART:
        size = smart_log(nvme, data);
        break;
    case LOG_FIRMWARE:
        size = firmware_log(data);
        break;
    case LOG_NAMESPACES:
        size = namespace_log(nvme, data);
        break;
    default:
        return NVME_INVALID_LOG_PAGE;
    }
    if (wanted > NVME_BYTES_MAX || offset % 4 || offset >= size)
        return NVME_INVALID_FIELD;
    /* What lies behind the page is not written at all. */
    status = vmc_nvme_reply(nvme, req, data + offset, MIN(wanted, size - offset));
    if (!status && !retain)
        end_page(nvme, page);
    return status;
}
