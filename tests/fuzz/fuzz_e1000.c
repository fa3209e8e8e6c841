/*
 * The 82545EM on a cable that gives everything back: registers in any order, rings of descriptors of all
 * three forms, frames from the network, EEPROM and PHY.
 *
 * covers: vmcore/net/e1000.c vmcore/net/e1000_tx.c vmcore/net/e1000_rx.c vmcore/net/e1000_phy.c
 */
#include "net/e1000_internal.h"
#include "tests/fuzz/frames.h"
#include "tests/fuzz/loop_cable.h"

#define ENTRIES 64u /* of each ring */
#define TX_RING 0x1000u
#define RX_RING 0x2000u

static VmcPciDevice *make(FuzzMachine *m, FuzzInput *in)
{
    static const uint8_t mac[6] = {0x52, 0x54, 0, 1, 2, 3};
    uint8_t how = fuzz_u8(in);
    Loop *loop = loop_new(m, how, fuzz_u8(in));

    m->own = loop; /* the card's, with which it goes */
    return vmc_e1000_new(m->memory, m->io, &loop->cable, mac);
}

static void write_reg(FuzzMachine *m, unsigned reg, uint32_t value)
{
    fuzz_bar_write(m, 0, reg, 4, value);
}

/* What a driver does at first: rings, filters, both directions on. */
static void step_start(FuzzMachine *m, FuzzInput *in)
{
    uint32_t rctl = 1u << 1 | fuzz_u32(in);

    write_reg(m, E1000_TDBAL, TX_RING);
    write_reg(m, E1000_TDBAH, 0);
    write_reg(m, E1000_TDLEN, ENTRIES * 16);
    write_reg(m, E1000_TDH, 0);
    write_reg(m, E1000_TDT, 0);
    write_reg(m, E1000_RDBAL, RX_RING);
    write_reg(m, E1000_RDBAH, 0);
    write_reg(m, E1000_RDLEN, ENTRIES * 16);
    write_reg(m, E1000_RDH, 0);
    for (unsigned i = 0; i < ENTRIES; i++) {
        uint64_t *desc = (uint64_t *)fuzz_ram(m, RX_RING + 16 * i, 16);
        desc[0] = fuzz_u8(in) > 250 ? fuzz_address(m, in) : fuzz_alloc(m, 2048);
        desc[1] = 0;
    }
    write_reg(m, E1000_RDT, fuzz_below(in, ENTRIES));
    write_reg(m, E1000_IMS, fuzz_u8(in));
    write_reg(m, E1000_CTRL, fuzz_u8(in) & 1 ? 1u << 30 : 0);
    write_reg(m, E1000_RCTL, rctl);
    write_reg(m, E1000_TCTL, 1u << 1);
    fuzz_settle(m);
}

/* Puts a descriptor at the tail. */
static void put_desc(FuzzMachine *m, uint64_t low, uint64_t high)
{
    unsigned tail = (unsigned)fuzz_bar_read(m, 0, E1000_TDT, 4) % ENTRIES;
    uint64_t *desc = (uint64_t *)fuzz_ram(m, TX_RING + 16 * tail, 16);

    desc[0] = low;
    desc[1] = high;
    write_reg(m, E1000_TDT, (tail + 1) % ENTRIES);
}

/* A frame as Linux sends it: perhaps a context, then its bytes in one or two pieces. */
static void step_send(FuzzMachine *m, FuzzInput *in)
{
    uint8_t frame[1600] = {0}, how = fuzz_u8(in), command = 0x20 | 0x08 | 0x02;
    size_t transport = 0, len = fuzz_frame(in, frame, sizeof(frame), &transport);
    uint64_t at = fuzz_alloc(m, sizeof(frame)), options = 0;
    bool legacy = how & 1;

    if (!len)
        return;
    memcpy(fuzz_ram(m, at, sizeof(frame)), frame, sizeof(frame));
    if (how & 2) {
        uint64_t start = transport & 0xff, mss = fuzz_u16(in), header = fuzz_u8(in),
                 kind = fuzz_u8(in) & 0x03;
        put_desc(m, 14ull | 24ull << 8 | 33ull << 16 | start << 32 | (start + (how & 4 ? 16 : 6)) << 40,
                 (uint64_t)len | (0x20 | kind | 4) << 24 | header << 40 | mss << 48);
        options = (uint64_t)(fuzz_u8(in) & 3) << 40;
        command |= how & 8 ? 0x04 : 0;
    }
    if (how & 16) {
        command |= 0x40;
        options |= (uint64_t)fuzz_u16(in) << 48;
    }
    if (legacy) {
        command &= (uint8_t)~0x20;
        options |= (uint64_t)fuzz_u8(in) << 40;
    }
    size_t first = how & 32 ? fuzz_below(in, (uint32_t)len) : 0;
    uint64_t type = legacy ? 0 : 1ull << 20;
    if (first)
        put_desc(m, at, first | type | (uint64_t)command << 24 | options);
    put_desc(m, how & 64 ? fuzz_address(m, in) : at + first,
             (len - first) | type | (legacy ? (uint64_t)fuzz_u8(in) << 16 : 0) |
                 (uint64_t)(command | 1) << 24 | options);
    fuzz_settle(m);
}

static void step_receive(FuzzMachine *m, FuzzInput *in)
{
    Loop *loop = m->own;
    uint8_t frame[9000] = {0};
    size_t transport, len = fuzz_frame(in, frame, sizeof(frame), &transport);

    if (fuzz_u8(in) & 1)
        len = 14 + fuzz_below(in, sizeof(frame) - 14);
    if (loop->open && len >= VMC_FRAME_MIN) {
        VmcFrameInfo info = {0};
        loop->open = vmc_cable_deliver(&loop->cable, &(struct iovec){frame, len}, 1, &info);
        vmc_cable_deliver_done(&loop->cable);
    }
    write_reg(m, E1000_RDT, fuzz_below(in, ENTRIES));
    fuzz_settle(m);
}

static void step_room(FuzzMachine *m, FuzzInput *in)
{
    Loop *loop = m->own;

    loop->refusals = fuzz_u8(in);
    if (loop->refused) {
        loop->refused = false;
        vmc_cable_room(&loop->cable);
    }
    if (fuzz_u8(in) > 200)
        vmc_e1000_set_link(m->dev, fuzz_u8(in) & 1);
    if (fuzz_u8(in) > 200)
        vmc_cable_set_link(&loop->cable, fuzz_u8(in) & 1);
    fuzz_settle(m);
}

/* The wires of EEPROM and PHY, and the ports. */
static void step_wires(FuzzMachine *m, FuzzInput *in)
{
    unsigned address = fuzz_u8(in) % 64, command = 6u << 6 | address;

    write_reg(m, E1000_EERD, 1u | address << 8);
    write_reg(m, E1000_MDIC, fuzz_u32(in));
    write_reg(m, E1000_MDIC,
              (1u + (fuzz_u8(in) & 1)) << 26 | 1u << 21 | fuzz_below(in, 32) << 16 | fuzz_u16(in));
    write_reg(m, E1000_EECD, 0x42);
    for (unsigned bit = 9; bit--;) {
        write_reg(m, E1000_EECD, 0x42 | (command >> bit & 1) << 2);
        write_reg(m, E1000_EECD, 0x43 | (command >> bit & 1) << 2);
    }
    for (unsigned i = 0; i < 16; i++) {
        write_reg(m, E1000_EECD, 0x42);
        write_reg(m, E1000_EECD, 0x43);
        fuzz_bar_read(m, 0, E1000_EECD, 4);
    }
    fuzz_bar_write(m, 1, 0, 4, fuzz_u16(in));
    fuzz_bar_read(m, 1, 4, 4);
    fuzz_bar_write(m, 1, 4, 4, fuzz_u32(in));
    fuzz_settle(m);
}

static void step_register(FuzzMachine *m, FuzzInput *in)
{
    static const unsigned regs[] = {E1000_CTRL,  E1000_RCTL,  E1000_TCTL,  E1000_RDLEN, E1000_TDLEN,
                                    E1000_RDH,   E1000_RDT,   E1000_TDH,   E1000_TDT,   E1000_ICS,
                                    E1000_IMS,   E1000_IMC,   E1000_ICR,   E1000_MTA,   E1000_RAL0,
                                    E1000_RAH0,  E1000_VFTA,  E1000_STATS, E1000_RDBAL, E1000_RDBAH,
                                    E1000_TDBAL, E1000_TDBAH, E1000_GORCL, E1000_STATUS};
    unsigned reg = regs[fuzz_below(in, G_N_ELEMENTS(regs))];

    write_reg(m, reg, fuzz_u32(in) >> fuzz_below(in, 32));
    fuzz_bar_read(m, 0, reg, 4);
    fuzz_settle(m);
}

static void (*const steps[])(FuzzMachine *m, FuzzInput *in) = {
    step_start, step_send, step_send, step_receive, step_room, step_wires, step_register};

static const FuzzTarget target = {
    .make = make,
    .steps = steps,
    .n_steps = G_N_ELEMENTS(steps),
};

FUZZ_DEVICE(target)
