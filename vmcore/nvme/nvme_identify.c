/* Identify (s5.15): what the controller and its one namespace are. */
#include "nvme/nvme_internal.h"

#include <string.h>

#define MODEL "Espalier NVMe"

/* s5.15.1: CNS */
enum {
    CNS_NAMESPACE = 0x00,
    CNS_CONTROLLER = 0x01,
    CNS_ACTIVE_NAMESPACES = 0x02,
    CNS_DESCRIPTORS = 0x03,
};

static void put16(uint8_t *p, uint16_t value)
{
    value = GUINT16_TO_LE(value);
    memcpy(p, &value, sizeof(value));
}

static void put32(uint8_t *p, uint32_t value)
{
    value = GUINT32_TO_LE(value);
    memcpy(p, &value, sizeof(value));
}

static void put64(uint8_t *p, uint64_t value)
{
    value = GUINT64_TO_LE(value);
    memcpy(p, &value, sizeof(value));
}

static void put_padded(uint8_t *p, const char *text, size_t size)
{
    memset(p, ' ', size);
    memcpy(p, text, strlen(text));
}

/* s5.15.2.2. What is not set is not there: one namespace on one port, no firmware updates, no sanitizing. */
static void identify_controller(const Nvme *nvme, uint8_t *p)
{
    const VmcDisk *disk = nvme->disk;
    g_autofree char *subsystem = g_strdup_printf("nqn.2014.08.org.nvmexpress:%04x%04x%.20s%-40s", NVME_VENDOR,
                                                 NVME_VENDOR, nvme->serial, MODEL);

    put16(p, NVME_VENDOR);
    put16(p + 2, NVME_VENDOR);
    memcpy(p + 4, nvme->serial, sizeof(nvme->serial));
    put_padded(p + 24, MODEL, 40);
    put_padded(p + 64, NVME_FIRMWARE, 8);
    memcpy(p + 73, (uint8_t[]){nvme->eui64[2], nvme->eui64[1], nvme->eui64[0]}, 3); /* IEEE */
    p[77] = NVME_MDTS;
    put32(p + 80, NVME_VERSION);
    put32(p + 92, 1u << 8);                   /* OAES: changed namespaces are told */
    p[111] = 1;                               /* CNTRLTYPE: an I/O controller */
    p[258] = 3;                               /* ACL, less one */
    p[259] = NVME_AERS_MAX - 1;               /* AERL, the same */
    p[260] = 1u << 1 | 1u;                    /* FRMW: one slot, read only */
    p[261] = 1u << 2;                         /* LPA: log pages from an offset */
    p[262] = NVME_ERRORS_MAX - 1;             /* ELPE */
    put16(p + 266, NVME_WARNING_TEMPERATURE); /* WCTEMP, CCTEMP */
    put16(p + 268, 373);
    p[512] = 0x66; /* SQES, CQES: the sizes there are */
    p[513] = 0x44;
    put32(p + 516, 1);                                                          /* NN */
    put16(p + 520, (uint16_t)(1u | (vmc_disk_can_discard(disk) ? 1u << 2 : 0) | /* ONCS */
                              (vmc_disk_can_write_zeroes(disk) ? 1u << 3 : 0)));
    p[525] = (nvme->cache != VMC_CACHE_WRITE_THROUGH) | 3u << 1; /* VWC: a cache, flushed as a whole, too */
    memcpy(p + 768, subsystem, strlen(subsystem)); /* SUBNQN, as in s7.9 without one of our own */
    put16(p + 2048, 2500);                         /* power state 0: 25 W */
}

/* s5.15.2.1 */
static void identify_namespace(const Nvme *nvme, uint8_t *p)
{
    uint64_t blocks = nvme->size / NVME_BLOCK;
    uint16_t physical = (uint16_t)(nvme->disk->block_size / NVME_BLOCK - 1);
    bool discard = vmc_disk_can_discard(nvme->disk);

    put64(p, blocks); /* NSZE, NCAP, NUSE */
    put64(p + 8, blocks);
    put64(p + 16, blocks);
    p[24] = 1u << 4; /* NSFEAT: NPWG to NOWS are there */
    p[33] =
        discard ? 1u << 3 | 1u : 0; /* DLFEAT: what is deallocated reads as zero; Write Zeroes can do it */
    put16(p + 64, physical);        /* NPWG, NPWA, NPDG, NPDA, NOWS, each less one */
    put16(p + 66, physical);
    put16(p + 68, discard ? physical : 0);
    put16(p + 70, discard ? physical : 0);
    put16(p + 72, physical);
    p[99] = nvme->disk->readonly; /* NSATTR: write protected */
    memcpy(p + 120, nvme->eui64, sizeof(nvme->eui64));
    p[130] = 9; /* LBAF0: 512 bytes, no metadata */
}

/* s5.15.2.3: a list of descriptors, ended by zeroes. */
static void identify_descriptors(const Nvme *nvme, uint8_t *p)
{
    p[0] = 1; /* EUI-64 */
    p[1] = sizeof(nvme->eui64);
    memcpy(p + 4, nvme->eui64, sizeof(nvme->eui64));
}

uint16_t vmc_nvme_identify(Nvme *nvme, NvmeRequest *req)
{
    uint8_t data[NVME_PAGE] = {0};
    uint32_t nsid = req->cmd.nsid;

    switch (req->cmd.dw10 & 0xff) {
    case CNS_NAMESPACE:
        if (nsid != NVME_NSID)
            return NVME_INVALID_NAMESPACE;
        identify_namespace(nvme, data);
        break;
    case CNS_CONTROLLER:
        identify_controller(nvme, data);
        break;
    case CNS_ACTIVE_NAMESPACES: /* those above the one given */
        if (nsid >= NVME_NSID_ALL - 1)
            return NVME_INVALID_NAMESPACE;
        put32(data, nsid < NVME_NSID ? NVME_NSID : 0);
        break;
    case CNS_DESCRIPTORS:
        if (nsid != NVME_NSID)
            return NVME_INVALID_NAMESPACE;
        identify_descriptors(nvme, data);
        break;
    default:
        return NVME_INVALID_FIELD;
    }
    return vmc_nvme_reply(nvme, req, data, sizeof(data));
}
