/* The inside of the 82545EM, shared by its files. Names of registers and bits are the manual's. */
#pragma once

#include <stdatomic.h>

#include "net/e1000.h"

#define E1000_REGS_SIZE 0x8000u

/* SDM s13.2, register summary. */
enum {
    E1000_CTRL = 0x0000,
    E1000_STATUS = 0x0008,
    E1000_EECD = 0x0010,
    E1000_EERD = 0x0014,
    E1000_MDIC = 0x0020,
    E1000_ICR = 0x00c0,
    E1000_ICS = 0x00c8,
    E1000_IMS = 0x00d0,
    E1000_IMC = 0x00d8,
    E1000_RCTL = 0x0100,
    E1000_TCTL = 0x0400,
    E1000_PBA = 0x1000,
    E1000_RDBAL = 0x2800,
    E1000_RDBAH = 0x2804,
    E1000_RDLEN = 0x2808,
    E1000_RDH = 0x2810,
    E1000_RDT = 0x2818,
    E1000_TDBAL = 0x3800,
    E1000_TDBAH = 0x3804,
    E1000_TDLEN = 0x3808,
    E1000_TDH = 0x3810,
    E1000_TDT = 0x3818,
    E1000_STATS = 0x4000, /* up to E1000_STATS_END, cleared by reading */
    E1000_MPC = 0x4010,
    E1000_GPRC = 0x4074,
    E1000_GPTC = 0x4080,
    E1000_GORCL = 0x4088,
    E1000_GOTCL = 0x4090,
    E1000_TORL = 0x40c0,
    E1000_TOTL = 0x40c8,
    E1000_TPR = 0x40d0,
    E1000_TPT = 0x40d4,
    E1000_STATS_END = 0x4128,
    E1000_MTA = 0x5200, /* 128 words */
    E1000_RAL0 = 0x5400,
    E1000_RAH0 = 0x5404, /* 16 pairs */
    E1000_VFTA = 0x5600, /* 128 words */
};

#define CTRL_SLU (1u << 6)
#define CTRL_RST (1u << 26)
#define CTRL_VME (1u << 30)

#define STATUS_FD   (1u << 0)
#define STATUS_LU   (1u << 1)
#define STATUS_1000 (2u << 6)

#define ICR_TXDW   (1u << 0)
#define ICR_TXQE   (1u << 1)
#define ICR_LSC    (1u << 2)
#define ICR_RXDMT0 (1u << 4)
#define ICR_RXO    (1u << 6)
#define ICR_RXT0   (1u << 7)
#define ICR_MDAC   (1u << 9)

/* A transmit descriptor of any of the three forms (SDM s3.3.3), in host order. */
typedef struct E1000TxDesc {
    uint64_t address;
    uint32_t lower, upper;
} E1000TxDesc;

/* The part of the card that assembles a packet from descriptors (e1000_tx.c). I/O thread only. */
typedef struct E1000Tx {
    uint8_t packet[VMC_FRAME_MAX];
    size_t len;
    bool too_long; /* what comes up to the end of the packet is dropped */
    bool started;  /* the options below are those of its first descriptor */
    bool tse;      /* to be segmented */
    uint8_t popts; /* which checksums */
    bool vlan;     /* a tag is to be inserted */
    uint16_t tag;
    /* The last context descriptor (SDM s3.3.6). */
    uint8_t ipcss, ipcso, tucss, tucso, hdrlen;
    uint16_t ipcse, mss;
    bool tcp, ipv4;
    /* A whole packet that the cable has not taken yet, and the descriptor that ended it. */
    bool waiting;
    bool refused; /* until the cable says that it has room */
    VmcFrameInfo info;
    E1000TxDesc last;
    uint64_t last_at;
} E1000Tx;

typedef struct E1000 {
    VmcPciDevice pci; /* first: the two are cast into one another */
    VmcMemory *memory;
    VmcIo *io;
    VmcCable *cable;
    VmcDoorbell *bell; /* a ring or what stops it has changed */
    uint8_t mac[VMC_MAC_BYTES];
    atomic_bool dma;     /* Bus Master Enable */
    atomic_bool plugged; /* the user's */

    GMutex lock; /* all below but tx */
    uint32_t regs[E1000_REGS_SIZE / 4];
    uint32_t io_address; /* of the window in the port BAR */
    unsigned resets;     /* grows with each, so that work on the rings notices */
    bool stop;           /* a reset that the I/O thread has not heard of */

    uint16_t eeprom[64];
    struct {
        unsigned bits_in, bits_out;
        uint16_t shifted, data;
        bool out;
    } microwire;
    uint16_t phy[32];

    E1000Tx tx;
} E1000;

static inline uint32_t *e1000_reg(E1000 *card, unsigned reg)
{
    return &card->regs[reg / 4];
}

/* With the lock held: more causes, and the line as it has to be. */
void vmc_e1000_interrupt(E1000 *card, uint32_t causes);
/* With the lock held: counts `n` in a statistics register that sticks at its top. */
void vmc_e1000_count(E1000 *card, unsigned reg, uint32_t n);
void vmc_e1000_count64(E1000 *card, unsigned reg, uint64_t n);
/* Link of cable and user together. */
bool vmc_e1000_link_up(E1000 *card);

/* EEPROM and PHY (e1000_phy.c); with the lock held. */
void vmc_e1000_eeprom_init(E1000 *card);
uint32_t vmc_e1000_read_eecd(E1000 *card);
void vmc_e1000_write_eecd(E1000 *card, uint32_t value);
void vmc_e1000_write_eerd(E1000 *card, uint32_t value);
void vmc_e1000_write_mdic(E1000 *card, uint32_t value);
void vmc_e1000_phy_reset(E1000 *card);
void vmc_e1000_phy_link(E1000 *card, bool up);

/* The rings, on the I/O thread, without the lock. */
void vmc_e1000_tx_run(E1000 *card);
void vmc_e1000_tx_reset(E1000 *card);
/* The packet in the making, as bytes (base/state.h). */
void vmc_e1000_tx_save(const E1000 *card, VmcStateWriter *w);
void vmc_e1000_tx_load(E1000 *card, VmcStateReader *r);
bool vmc_e1000_receive(void *nic, const struct iovec *iov, unsigned n_iov, const VmcFrameInfo *info);
/* Whether a receive descriptor is there to be filled. */
bool vmc_e1000_can_receive(E1000 *card);
