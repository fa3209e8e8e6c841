/*
 * The 82545EM's transmit ring (SDM s3.3, s3.4): descriptors are read one by one, packets put together from
 * them and sent when they end. Checksums and segmentation are described to the cable, which does them or
 * leaves them to the attachment; where that needs what a driver leaves out for this card (lengths in IP
 * headers and pseudo headers of segmented packets), it is filled in.
 *
 * The guest's numbers are checked against the packet before they are used: offsets of checksums, sizes, the
 * ring's head and length. A packet that the cable does not take waits, with its last descriptor, until it
 * does.
 */
#include "net/e1000_internal.h"

#include <string.h>

#include "net/offload.h"

#define TCTL_EN (1u << 1)

#define DESC_SIZE 16u
#define RUN_MAX   256u /* descriptors, then others have their turn */
#define TAG_AT    12u
#define TAG_BYTES 4u

#define CMD_EOP    (1u << 0)
#define CMD_IC     (1u << 2) /* legacy */
#define CMD_TSE    (1u << 2) /* extended */
#define CMD_RS     (1u << 3)
#define CMD_RPS    (1u << 4)
#define CMD_DEXT   (1u << 5)
#define CMD_VLE    (1u << 6)
#define POPTS_IXSM 1u
#define POPTS_TXSM 2u
#define TUCMD_TCP  (1u << 0)
#define TUCMD_IP   (1u << 1)
#define STA_DD     (1u << 0)

_Static_assert(sizeof(E1000TxDesc) == DESC_SIZE, "SDM s3.3.3");

static uint8_t command_of(const E1000TxDesc *desc)
{
    return (uint8_t)(desc->lower >> 24);
}

static bool is_extended(const E1000TxDesc *desc)
{
    return command_of(desc) & CMD_DEXT;
}

static bool is_context(const E1000TxDesc *desc)
{
    return is_extended(desc) && !(desc->lower >> 20 & 0xf);
}

/* SDM s3.3.6: the same 16 bytes with other meanings. */
static void take_context(E1000Tx *tx, const E1000TxDesc *desc)
{
    tx->ipcss = (uint8_t)desc->address;
    tx->ipcso = (uint8_t)(desc->address >> 8);
    tx->ipcse = (uint16_t)(desc->address >> 16);
    tx->tucss = (uint8_t)(desc->address >> 32);
    tx->tucso = (uint8_t)(desc->address >> 40);
    tx->hdrlen = (uint8_t)(desc->upper >> 8);
    tx->mss = (uint16_t)(desc->upper >> 16);
    tx->tcp = command_of(desc) & TUCMD_TCP;
    tx->ipv4 = command_of(desc) & TUCMD_IP;
}

/* ---- finishing a packet ---- */

static void put_be16(uint8_t *at, size_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

/* The sum of [from, to) goes to `at`; all inside the packet, or nothing happens. */
static void ip_checksum(E1000Tx *tx)
{
    size_t from = tx->ipcss, end = tx->ipcse ? tx->ipcse + 1u : tx->len;

    if (from >= end || end > tx->len || tx->ipcso + 2u > tx->len)
        return;
    put_be16(tx->packet + tx->ipcso, 0);
    uint16_t sum = vmc_checksum_fold(vmc_checksum_add(0, tx->packet + from, end - from));
    memcpy(tx->packet + tx->ipcso, &sum, sizeof(sum));
}

/* A driver leaves the length out of IP header and pseudo header, since each segment gets its own (SDM
 * s3.5.2). */
static void fill_in_lengths(E1000Tx *tx)
{
    size_t payload = tx->len - tx->tucss;
    uint8_t *sum = tx->packet + tx->tucso;
    uint32_t pseudo =
        (uint32_t)(sum[0] << 8 | sum[1]) + (uint32_t)(payload >> 16) + (uint32_t)(payload & 0xffff);

    if (tx->ipv4)
        put_be16(tx->packet + tx->ipcss + 2, tx->len - tx->ipcss);
    else
        put_be16(tx->packet + tx->ipcss + 4, tx->len - tx->ipcss - 40);
    while (pseudo >> 16)
        pseudo = (pseudo & 0xffff) + (pseudo >> 16);
    put_be16(sum, pseudo);
}

/* Room for the headers that are changed: 20 bytes of IPv4 or 40 of IPv6, and 20 of TCP. */
static bool can_segment(const E1000Tx *tx)
{
    size_t ip = tx->ipv4 ? 20 : 40;

    return tx->tcp && tx->mss && tx->ipcss + ip <= tx->tucss && tx->tucss + 20u <= tx->len &&
           tx->tucso >= tx->tucss && tx->tucso + 2u <= tx->len && tx->hdrlen < tx->len &&
           tx->len - tx->ipcss <= 65535;
}

static VmcFrameInfo finish(E1000Tx *tx)
{
    VmcFrameInfo info = {0};

    if (tx->tse && can_segment(tx) && tx->len - tx->hdrlen > tx->mss) {
        fill_in_lengths(tx);
        info.gso_type = tx->ipv4 ? VMC_GSO_TCPV4 : VMC_GSO_TCPV6;
        info.gso_size = tx->mss;
        info.hdr_len = tx->hdrlen;
        tx->popts |= POPTS_TXSM;
    } else if (tx->tse && can_segment(tx)) {
        fill_in_lengths(tx);
    }
    if (tx->popts & POPTS_IXSM)
        ip_checksum(tx);
    if ((tx->popts & POPTS_TXSM) && tx->tucso >= tx->tucss && tx->tucso + 2u <= tx->len) {
        info.flags = VMC_FRAME_NEEDS_CSUM;
        info.csum_start = tx->tucss;
        info.csum_offset = (uint16_t)(tx->tucso - tx->tucss);
    }
    return info;
}

/* With the tag in its place all offsets behind it are larger. */
static void insert_tag(E1000Tx *tx, VmcFrameInfo *info)
{
    if (!tx->vlan || tx->len < VMC_FRAME_MIN || tx->len + TAG_BYTES > sizeof(tx->packet))
        return;
    memmove(tx->packet + TAG_AT + TAG_BYTES, tx->packet + TAG_AT, tx->len - TAG_AT);
    put_be16(tx->packet + TAG_AT, 0x8100);
    put_be16(tx->packet + TAG_AT + 2, tx->tag);
    tx->len += TAG_BYTES;
    if (info->flags & VMC_FRAME_NEEDS_CSUM)
        info->csum_start = (uint16_t)(info->csum_start + TAG_BYTES);
    if (info->gso_type)
        info->hdr_len = (uint16_t)(info->hdr_len + TAG_BYTES);
}

/* False: the cable does not take it now. */
static bool send_packet(E1000 *card)
{
    E1000Tx *tx = &card->tx;

    return vmc_cable_send(card->cable, &(struct iovec){tx->packet, tx->len}, 1, &tx->info);
}

/* ---- descriptors ---- */

static void append(E1000 *card, uint64_t address, size_t len)
{
    E1000Tx *tx = &card->tx;

    if (len > sizeof(tx->packet) - tx->len) {
        tx->too_long = true;
        return;
    }
    /* What is not RAM is not read; the packet is dropped as a whole. */
    if (len && !vmc_memory_read(card->memory, address, tx->packet + tx->len, len))
        tx->too_long = true;
    else
        tx->len += len;
}

static void take_options(E1000Tx *tx, const E1000TxDesc *desc, bool vme)
{
    uint8_t command = command_of(desc);

    if (!tx->started) {
        tx->started = true;
        tx->tse = is_extended(desc) && (command & CMD_TSE);
        tx->popts = is_extended(desc) ? (uint8_t)(desc->upper >> 8) : 0;
    }
    if ((command & CMD_EOP) && (command & CMD_VLE) && vme) {
        tx->vlan = true;
        tx->tag = (uint16_t)(desc->upper >> 16);
    }
}

/* SDM s3.3.3.1: a legacy descriptor may ask for one sum, from CSS to the end, stored at CSO. */
static void legacy_checksum(E1000Tx *tx, const E1000TxDesc *desc)
{
    uint8_t cso = (uint8_t)(desc->lower >> 16), css = (uint8_t)(desc->upper >> 8);

    if (is_extended(desc) || !(command_of(desc) & CMD_IC) || cso + 2u > tx->len || css >= tx->len)
        return;
    uint16_t sum = vmc_checksum_fold(vmc_checksum_add(0, tx->packet + css, tx->len - css));
    memcpy(tx->packet + cso, &sum, sizeof(sum));
}

static void begin_packet(E1000Tx *tx)
{
    tx->len = 0;
    tx->too_long = tx->started = tx->tse = tx->vlan = tx->waiting = tx->refused = false;
    tx->popts = 0;
}

void vmc_e1000_tx_reset(E1000 *card)
{
    begin_packet(&card->tx);
}

/* Takes one descriptor in; a packet that it ends is finished. True: there is a packet to be sent. */
static bool take(E1000 *card, const E1000TxDesc *desc, bool vme)
{
    E1000Tx *tx = &card->tx;

    if (is_context(desc)) {
        take_context(tx, desc);
        return false;
    }
    take_options(tx, desc, vme);
    append(card, desc->address, desc->lower & (is_extended(desc) ? 0xfffff : 0xffff));
    if (!(command_of(desc) & CMD_EOP))
        return false;
    if (tx->too_long || tx->len < VMC_FRAME_MIN || !vmc_e1000_link_up(card)) {
        begin_packet(tx);
        return false;
    }
    legacy_checksum(tx, desc);
    tx->info = finish(tx);
    insert_tag(tx, &tx->info);
    return true;
}

/* ---- the ring ---- */

static uint64_t ring_base(E1000 *card, unsigned low)
{
    return ((uint64_t)*e1000_reg(card, low + 4) << 32 | *e1000_reg(card, low)) & ~(uint64_t)0xf;
}

static unsigned ring_entries(E1000 *card, unsigned len_reg)
{
    return (*e1000_reg(card, len_reg) & 0xfff80u) / DESC_SIZE;
}

/* Reads the descriptor at the head. False: there is nothing to do. */
static bool next_desc(E1000 *card, E1000TxDesc *desc, uint64_t *at)
{
    unsigned entries = ring_entries(card, E1000_TDLEN), head = *e1000_reg(card, E1000_TDH);

    if (!(*e1000_reg(card, E1000_TCTL) & TCTL_EN) || head == *e1000_reg(card, E1000_TDT) || head >= entries ||
        *e1000_reg(card, E1000_TDT) >= entries)
        return false;
    *at = ring_base(card, E1000_TDBAL) + (uint64_t)head * DESC_SIZE;
    if (!vmc_memory_read(card->memory, *at, desc, DESC_SIZE))
        return false;
    desc->address = GUINT64_FROM_LE(desc->address);
    desc->lower = GUINT32_FROM_LE(desc->lower);
    desc->upper = GUINT32_FROM_LE(desc->upper);
    return true;
}

static void complete(E1000 *card, const E1000TxDesc *desc, uint64_t at, size_t sent)
{
    unsigned entries = ring_entries(card, E1000_TDLEN);
    uint32_t causes = 0, upper;

    if (command_of(desc) & (CMD_RS | CMD_RPS)) {
        upper = GUINT32_TO_LE(desc->upper | STA_DD);
        vmc_memory_write(card->memory, at + 12, &upper, sizeof(upper));
        causes |= ICR_TXDW;
    }
    if (entries)
        *e1000_reg(card, E1000_TDH) = (*e1000_reg(card, E1000_TDH) + 1) % entries;
    if (*e1000_reg(card, E1000_TDH) == *e1000_reg(card, E1000_TDT))
        causes |= ICR_TXQE;
    if (sent) {
        vmc_e1000_count(card, E1000_TPT, 1);
        vmc_e1000_count(card, E1000_GPTC, 1);
        vmc_e1000_count64(card, E1000_TOTL, sent);
        vmc_e1000_count64(card, E1000_GOTCL, sent);
    }
    vmc_e1000_interrupt(card, causes);
}

/* The head descriptor is done with. With the lock held. */
static void sent(E1000 *card, const E1000TxDesc *desc, uint64_t at, size_t bytes)
{
    complete(card, desc, at, bytes);
    if (bytes)
        begin_packet(&card->tx);
}

/* One descriptor, or the packet that waits. False: there is nothing to do, or the cable has no room. The lock
 * is held before and after, not meanwhile: a reset may come in between. */
static bool step(E1000 *card)
{
    E1000Tx *tx = &card->tx;
    unsigned resets = card->resets;
    bool vme = *e1000_reg(card, E1000_CTRL) & CTRL_VME, whole, taken;
    E1000TxDesc desc = tx->last;
    uint64_t at = tx->last_at;

    if (!atomic_load(&card->dma) || card->stop || tx->refused ||
        (!tx->waiting && !next_desc(card, &desc, &at)))
        return false;
    g_mutex_unlock(&card->lock);
    whole = tx->waiting || take(card, &desc, vme);
    taken = !whole || send_packet(card);
    g_mutex_lock(&card->lock);
    if (card->resets != resets)
        return false;
    tx->waiting = tx->refused = !taken;
    tx->last = desc;
    tx->last_at = at;
    if (taken)
        sent(card, &desc, at, whole ? tx->len : 0);
    return taken;
}

void vmc_e1000_tx_run(E1000 *card)
{
    unsigned n = 0;

    g_mutex_lock(&card->lock);
    while (n < RUN_MAX && step(card))
        n++;
    g_mutex_unlock(&card->lock);
    if (n)
        vmc_cable_send_done(card->cable);
    if (n == RUN_MAX)
        vmc_doorbell_ring(card->bell);
}

/* ---- saving ---- */

void vmc_e1000_tx_save(const E1000 *card, VmcStateWriter *w)
{
    const E1000Tx *tx = &card->tx;
    const bool flags[] = {tx->too_long, tx->started, tx->tse, tx->vlan, tx->tcp, tx->ipv4, tx->waiting};
    const uint8_t bytes[] = {tx->popts, tx->ipcss,  tx->ipcso,      tx->tucss,
                             tx->tucso, tx->hdrlen, tx->info.flags, tx->info.gso_type};
    const uint16_t words[] = {tx->tag,
                              tx->ipcse,
                              tx->mss,
                              tx->info.hdr_len,
                              tx->info.gso_size,
                              tx->info.csum_start,
                              tx->info.csum_offset};

    vmc_state_put_blob(w, tx->packet, tx->len);
    for (unsigned i = 0; i < G_N_ELEMENTS(flags); i++)
        vmc_state_put_bool(w, flags[i]);
    vmc_state_put_bytes(w, bytes, sizeof(bytes));
    for (unsigned i = 0; i < G_N_ELEMENTS(words); i++)
        vmc_state_put_u16(w, words[i]);
    vmc_state_put_u64(w, tx->last.address);
    vmc_state_put_u32(w, tx->last.lower);
    vmc_state_put_u32(w, tx->last.upper);
    vmc_state_put_u64(w, tx->last_at);
}

void vmc_e1000_tx_load(E1000 *card, VmcStateReader *r)
{
    E1000Tx *tx = &card->tx;
    bool *flags[] = {&tx->too_long, &tx->started, &tx->tse, &tx->vlan, &tx->tcp, &tx->ipv4, &tx->waiting};
    uint8_t *bytes[] = {&tx->popts, &tx->ipcss,  &tx->ipcso,      &tx->tucss,
                        &tx->tucso, &tx->hdrlen, &tx->info.flags, &tx->info.gso_type};
    uint16_t *words[] = {&tx->tag,
                         &tx->ipcse,
                         &tx->mss,
                         &tx->info.hdr_len,
                         &tx->info.gso_size,
                         &tx->info.csum_start,
                         &tx->info.csum_offset};
    size_t n;
    const uint8_t *packet = vmc_state_get_blob(r, sizeof(tx->packet), &n);

    if (packet)
        memcpy(tx->packet, packet, n);
    tx->len = n;
    for (unsigned i = 0; i < G_N_ELEMENTS(flags); i++)
        *flags[i] = vmc_state_get_bool(r);
    for (unsigned i = 0; i < G_N_ELEMENTS(bytes); i++)
        *bytes[i] = vmc_state_get_u8(r);
    for (unsigned i = 0; i < G_N_ELEMENTS(words); i++)
        *words[i] = vmc_state_get_u16(r);
    tx->last.address = vmc_state_get_u64(r);
    tx->last.lower = vmc_state_get_u32(r);
    tx->last.upper = vmc_state_get_u32(r);
    tx->last_at = vmc_state_get_u64(r);
}
