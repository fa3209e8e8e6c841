/*
 * The 82545EM's receive ring (SDM s3.2): frames that pass the filters are written over as many descriptors as
 * they need, all of which have to be there; otherwise the frame is not taken and the attachment keeps it
 * until the driver has given more.
 */
#include "net/e1000_internal.h"

#include <string.h>

#include "net/offload.h"

#define RCTL_EN    (1u << 1)
#define RCTL_UPE   (1u << 3)
#define RCTL_MPE   (1u << 4)
#define RCTL_LPE   (1u << 5)
#define RCTL_BAM   (1u << 15)
#define RCTL_VFE   (1u << 18)
#define RCTL_BSEX  (1u << 25)
#define RCTL_SECRC (1u << 26)

#define DESC_SIZE 16u
#define FRAME_MIN 60u   /* without FCS; shorter ones are padded by who sends them */
#define FRAME_STD 1522u /* with FCS and a tag */
#define FCS_BYTES 4u
#define TAG_AT    12u
#define TAG_BYTES 4u
#define RAH_AV    (1u << 31)
#define ADDRESSES 16u

#define STA_DD    (1u << 0)
#define STA_EOP   (1u << 1)
#define STA_IXSM  (1u << 2) /* no checksum was looked at */
#define STA_VP    (1u << 3)
#define STA_TCPCS (1u << 5)

typedef struct RxDesc {
    uint64_t address;
    uint16_t length, checksum;
    uint8_t status, errors;
    uint16_t special;
} RxDesc;

_Static_assert(sizeof(RxDesc) == DESC_SIZE, "SDM s3.2.3");

/* ---- filters (SDM s13.4.22, s13.5) ---- */

static bool is_own_address(E1000 *card, const uint8_t *destination)
{
    for (unsigned i = 0; i < ADDRESSES; i++) {
        uint32_t low = *e1000_reg(card, E1000_RAL0 + 8 * i), high = *e1000_reg(card, E1000_RAH0 + 8 * i);
        uint8_t mac[6] = {(uint8_t)low,         (uint8_t)(low >> 8), (uint8_t)(low >> 16),
                          (uint8_t)(low >> 24), (uint8_t)high,       (uint8_t)(high >> 8)};
        if ((high & RAH_AV) && memcmp(mac, destination, sizeof(mac)) == 0)
            return true;
    }
    return false;
}

/* 12 bits of the last two bytes; RCTL.MO says which. */
static bool is_in_multicast_table(E1000 *card, const uint8_t *destination)
{
    static const uint8_t shifts[] = {4, 3, 2, 0};
    unsigned bits = destination[4] | destination[5] << 8;
    unsigned hash = bits >> shifts[*e1000_reg(card, E1000_RCTL) >> 12 & 3] & 0xfff;

    return *e1000_reg(card, E1000_MTA + 4 * (hash >> 5)) >> (hash & 31) & 1;
}

static bool passes(E1000 *card, const uint8_t *header, size_t len)
{
    static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    uint32_t rctl = *e1000_reg(card, E1000_RCTL);
    unsigned type = (unsigned)(header[12] << 8 | header[13]);

    if (len + FCS_BYTES > FRAME_STD && !(rctl & RCTL_LPE))
        return false;
    if (type == 0x8100 && (rctl & RCTL_VFE)) {
        unsigned vlan = (unsigned)(header[14] << 8 | header[15]) & 0xfff;
        if (!(*e1000_reg(card, E1000_VFTA + 4 * (vlan >> 5)) >> (vlan & 31) & 1))
            return false;
    }
    if (is_own_address(card, header))
        return true;
    if (memcmp(header, broadcast, 6) == 0)
        return rctl & (RCTL_BAM | RCTL_MPE);
    if (header[0] & 1)
        return (rctl & RCTL_MPE) || is_in_multicast_table(card, header);
    return rctl & RCTL_UPE;
}

/* ---- the ring ---- */

static uint32_t buffer_size(uint32_t rctl)
{
    static const uint32_t sizes[2][4] = {{2048, 1024, 512, 256}, {0, 16384, 8192, 4096}};

    return sizes[!!(rctl & RCTL_BSEX)][rctl >> 16 & 3];
}

/* Descriptors that are the card's; 0 when the ring makes no sense. With the lock held. */
static unsigned descriptors(E1000 *card, unsigned *entries)
{
    unsigned head = *e1000_reg(card, E1000_RDH), tail = *e1000_reg(card, E1000_RDT);

    *entries = (*e1000_reg(card, E1000_RDLEN) & 0xfff80u) / DESC_SIZE;
    if (head >= *entries || tail >= *entries)
        return 0;
    return (tail + *entries - head) % *entries;
}

static bool is_ready(E1000 *card)
{
    return atomic_load(&card->dma) && !card->stop && (*e1000_reg(card, E1000_RCTL) & RCTL_EN) &&
           buffer_size(*e1000_reg(card, E1000_RCTL));
}

bool vmc_e1000_can_receive(E1000 *card)
{
    unsigned entries;

    g_mutex_lock(&card->lock);
    bool can = is_ready(card) && descriptors(card, &entries);
    g_mutex_unlock(&card->lock);
    return can;
}

/* A frame as it goes to the guest: the tag may have been taken out, the end padded. */
typedef struct RxFrame {
    uint8_t *bytes;
    size_t len;
    uint8_t status;
    uint16_t tag;
} RxFrame;

static void strip_tag(E1000 *card, RxFrame *frame)
{
    if (!(*e1000_reg(card, E1000_CTRL) & CTRL_VME) || frame->bytes[12] != 0x81 || frame->bytes[13] != 0x00)
        return;
    frame->tag = (uint16_t)(frame->bytes[14] << 8 | frame->bytes[15]);
    frame->status |= STA_VP;
    memmove(frame->bytes + TAG_AT, frame->bytes + TAG_AT + TAG_BYTES, frame->len - TAG_AT - TAG_BYTES);
    frame->len -= TAG_BYTES;
}

static void write_descriptor(E1000 *card, unsigned entries, const RxFrame *frame, size_t offset, size_t here)
{
    unsigned head = *e1000_reg(card, E1000_RDH);
    uint64_t base = (uint64_t)*e1000_reg(card, E1000_RDBAH) << 32 | *e1000_reg(card, E1000_RDBAL);
    uint64_t at = (base & ~(uint64_t)0xf) + (uint64_t)head * DESC_SIZE;
    bool last = offset + here == frame->len;
    RxDesc desc;

    if (vmc_memory_read(card->memory, at, &desc, DESC_SIZE)) {
        uint64_t address = GUINT64_FROM_LE(desc.address);
        if (address) /* a null descriptor is used up all the same (SDM s3.2.6.1) */
            vmc_memory_write(card->memory, address, frame->bytes + offset, here);
        desc.length = GUINT16_TO_LE((uint16_t)here);
        desc.checksum = 0;
        desc.status = (uint8_t)(STA_DD | frame->status | (last ? STA_EOP : 0));
        desc.errors = 0;
        desc.special = GUINT16_TO_LE(frame->tag);
        vmc_memory_write(card->memory, at, &desc, DESC_SIZE);
    }
    *e1000_reg(card, E1000_RDH) = (head + 1) % entries;
}

static void count_received(E1000 *card, size_t len)
{
    vmc_e1000_count(card, E1000_TPR, 1);
    vmc_e1000_count(card, E1000_GPRC, 1);
    vmc_e1000_count64(card, E1000_TORL, len);
    vmc_e1000_count64(card, E1000_GORCL, len);
}

/* With the lock held. False: not enough descriptors. */
static bool deliver(E1000 *card, RxFrame *frame)
{
    uint32_t size = buffer_size(*e1000_reg(card, E1000_RCTL));
    unsigned entries, there = descriptors(card, &entries);
    uint32_t causes = ICR_RXT0;

    if (!(*e1000_reg(card, E1000_RCTL) & RCTL_SECRC)) {
        memset(frame->bytes + frame->len, 0, FCS_BYTES); /* nobody looks at its value */
        frame->len += FCS_BYTES;
    }
    if (there < (frame->len + size - 1) / size) {
        vmc_e1000_interrupt(card, ICR_RXO);
        return false;
    }
    for (size_t offset = 0, here; offset < frame->len; offset += here) {
        here = MIN(size, frame->len - offset);
        write_descriptor(card, entries, frame, offset, here);
    }
    count_received(card, frame->len);
    /* RDMTS: a half, a quarter or an eighth of the ring is left. */
    if (descriptors(card, &entries) <= entries >> ((*e1000_reg(card, E1000_RCTL) >> 8 & 3) + 1))
        causes |= ICR_RXDMT0;
    vmc_e1000_interrupt(card, causes);
    return true;
}

bool vmc_e1000_receive(void *nic, const struct iovec *iov, unsigned n_iov, const VmcFrameInfo *info)
{
    E1000 *card = nic;
    size_t len = vmc_iov_length(iov, n_iov);
    uint8_t bytes[VMC_FRAME_MAX + FCS_BYTES];
    RxFrame frame = {.bytes = bytes, .len = MAX(len, FRAME_MIN)};
    bool taken = true;

    if (len < VMC_FRAME_MIN || len > VMC_FRAME_MAX || !vmc_e1000_link_up(card))
        return true;
    vmc_iov_copy(iov, n_iov, 0, bytes, len);
    if (len < FRAME_MIN)
        memset(bytes + len, 0, FRAME_MIN - len);
    frame.status = info->flags & VMC_FRAME_DATA_VALID ? STA_TCPCS : STA_IXSM;

    g_mutex_lock(&card->lock);
    if (!is_ready(card))
        taken = false;
    else if (passes(card, bytes, frame.len)) {
        strip_tag(card, &frame);
        taken = deliver(card, &frame);
    }
    g_mutex_unlock(&card->lock);
    return taken;
}
