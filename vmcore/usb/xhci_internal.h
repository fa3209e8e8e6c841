/*
 * The inside of the xHCI, shared by its files; xhci.c says how they fit together.
 *
 * Threads: `lock` guards everything. vCPUs hold it while they read or write a register, which never starts
 * work but notes it and rings the bell; the I/O thread holds it for one command or one transfer at a time.
 * Functions of this file are called with the lock held unless they say otherwise; those marked "I/O thread"
 * also only there.
 */
#pragma once

#include <glib.h>

#include "usb/xhci.h"

#define XHCI_SLOTS        64u
#define XHCI_INTERRUPTERS 8u
#define XHCI_PORTS_USB2   4u
#define XHCI_PORTS_USB3   4u
#define XHCI_PORTS        (XHCI_PORTS_USB2 + XHCI_PORTS_USB3)
#define XHCI_ENDPOINTS    32u /* device context indexes; 0 is the slot's own */
#define XHCI_ERST_SHIFT   4u  /* up to 16 event ring segments */

/* Loops: how many link TRBs in a row, TRBs in a transfer, and things done before others have their turn. */
#define XHCI_LINKS_MAX   16u
#define XHCI_TD_TRBS_MAX 1024u
#define XHCI_TURN        16u
#define XHCI_CREDIT      16384u /* transfers for one doorbell: a ring may be a circle without end */

/* s6.4.6 */
enum {
    TRB_NORMAL = 1,
    TRB_SETUP = 2,
    TRB_DATA = 3,
    TRB_STATUS = 4,
    TRB_ISOCH = 5,
    TRB_LINK = 6,
    TRB_EVENT_DATA = 7,
    TRB_NOOP = 8,
    TRB_ENABLE_SLOT = 9,
    TRB_DISABLE_SLOT = 10,
    TRB_ADDRESS_DEVICE = 11,
    TRB_CONFIGURE_ENDPOINT = 12,
    TRB_EVALUATE_CONTEXT = 13,
    TRB_RESET_ENDPOINT = 14,
    TRB_STOP_ENDPOINT = 15,
    TRB_SET_DEQUEUE = 16,
    TRB_RESET_DEVICE = 17,
    TRB_GET_BANDWIDTH = 21,
    TRB_NOOP_COMMAND = 23,
    TRB_TRANSFER_EVENT = 32,
    TRB_COMMAND_EVENT = 33,
    TRB_PORT_EVENT = 34,
    TRB_WRAP_EVENT = 39,
};

#define TRB_CYCLE     (1u << 0)
#define TRB_TOGGLE    (1u << 1) /* link */
#define TRB_EVENT_ED  (1u << 2) /* transfer event */
#define TRB_ISP       (1u << 2)
#define TRB_CHAIN     (1u << 4)
#define TRB_IOC       (1u << 5)
#define TRB_IMMEDIATE (1u << 6)
#define TRB_BSR       (1u << 9) /* Address Device */
#define TRB_DC        (1u << 9) /* Configure Endpoint */
#define TRB_BEI       (1u << 9)
#define TRB_DIR_IN    (1u << 16)
#define TRB_TYPE(c)   (((c) >> 10) & 63u)
#define TRB_LENGTH(s) ((s)&0x1ffffu)
#define TRB_TARGET(s) ((s) >> 22)
#define TRB_BYTES_MAX 0x10000u
#define TRB_SIZE      16u

/* s6.4.5 */
enum {
    CC_SUCCESS = 1,
    CC_USB_TRANSACTION_ERROR = 4,
    CC_TRB_ERROR = 5,
    CC_STALL = 6,
    CC_NO_SLOTS = 9,
    CC_SLOT_NOT_ENABLED = 11,
    CC_SHORT_PACKET = 13,
    CC_PARAMETER_ERROR = 17,
    CC_CONTEXT_STATE_ERROR = 19,
    CC_COMMAND_RING_STOPPED = 24,
    CC_STOPPED = 26,
};

#define CMD_RUN      (1u << 0)
#define CMD_RESET    (1u << 1)
#define CMD_INTE     (1u << 2)
#define CMD_CSS      (1u << 8)
#define CMD_CRS      (1u << 9)
#define CMD_EWE      (1u << 10)
#define CMD_KEPT     (CMD_RUN | CMD_INTE | (1u << 3) | CMD_EWE)
#define STS_HALTED   (1u << 0)
#define STS_HSE      (1u << 2)
#define STS_EINT     (1u << 3)
#define STS_PCD      (1u << 4)
#define STS_SRE      (1u << 10)
#define STS_CNR      (1u << 11)
#define STS_HCE      (1u << 12)
#define STS_CLEARED  (STS_HSE | STS_EINT | STS_PCD | STS_SRE)
#define IMAN_IP      1u
#define IMAN_IE      2u
#define ERDP_EHB     8u
#define CRCR_RUNNING 8u

/* Table 5-27 */
#define PORT_CCS        (1u << 0)
#define PORT_PED        (1u << 1)
#define PORT_PR         (1u << 4)
#define PORT_PLS_SHIFT  5
#define PORT_PLS_MASK   (15u << PORT_PLS_SHIFT)
#define PORT_PP         (1u << 9)
#define PORT_SPEED_MASK (15u << 10)
#define PORT_LWS        (1u << 16)
#define PORT_CSC        (1u << 17)
#define PORT_PEC        (1u << 18)
#define PORT_WRC        (1u << 19)
#define PORT_PRC        (1u << 21)
#define PORT_PLC        (1u << 22)
#define PORT_CHANGES    (0x7fu << 17)
#define PORT_WAKES      (7u << 25)
#define PORT_WPR        (1u << 31)

enum { PLS_U0 = 0, PLS_U3 = 3, PLS_DISABLED = 4, PLS_RX_DETECT = 5, PLS_POLLING = 7, PLS_RESUME = 15 };

/* s6.2.2, s6.2.3 */
enum { SLOT_DISABLED_OR_ENABLED = 0, SLOT_DEFAULT = 1, SLOT_ADDRESSED = 2, SLOT_CONFIGURED = 3 };
enum { EP_DISABLED = 0, EP_RUNNING = 1, EP_HALTED = 2, EP_STOPPED = 3, EP_ERROR = 4 };
enum {
    EP_TYPE_BULK_OUT = 2,
    EP_TYPE_INT_OUT = 3,
    EP_TYPE_CONTROL = 4,
    EP_TYPE_BULK_IN = 6,
    EP_TYPE_INT_IN = 7
};

#define XHCI_CONTEXT 32u /* bytes; HCCPARAMS1.CSZ is 0 */

typedef struct Xhci Xhci;

/* As in guest memory but for `at`, its address; host byte order. */
typedef struct XhciTrb {
    uint64_t at, parameter;
    uint32_t status, control;
} XhciTrb;

/* Where a ring's consumer stands. */
typedef struct XhciRing {
    uint64_t dequeue;
    bool cycle;
} XhciRing;

typedef enum XhciFetch { XHCI_FETCH_EMPTY, XHCI_FETCH_TRB, XHCI_FETCH_BAD } XhciFetch;

/* What a transfer ring asks for next, copied and checked; of a control endpoint all three stages. */
typedef struct XhciTd {
    VmcUsbTransfer transfer; /* first: the two are cast into one another */
    Xhci *xhci;
    bool pending; /* taken off the ring and not done */
    bool setup;   /* it begins with a setup stage */
    unsigned n, room;
    XhciTrb *trbs;
    XhciRing after;       /* where the ring goes on when it is done */
    unsigned move_trb;    /* the next byte to move: in which TRB, */
    uint32_t move_offset; /* and where in it */
} XhciTd;

typedef struct XhciEndpoint {
    unsigned state, type;
    unsigned credit; /* transfers it may still do before the next doorbell */
    XhciRing ring;
    XhciTd td;
} XhciEndpoint;

typedef struct XhciSlot {
    bool enabled;
    unsigned state;
    VmcUsbDevice *dev; /* NULL: none yet, or it is gone */
    uint32_t rung;     /* doorbells, by device context index */
    uint32_t more;     /* endpoints that had their turn and are to go on */
    XhciEndpoint endpoints[XHCI_ENDPOINTS];
} XhciSlot;

typedef struct XhciEvent {
    uint64_t parameter;
    uint32_t status, control;
    bool quiet; /* Block Event Interrupt */
} XhciEvent;

/* Events wait here while the guest's ring is full; beyond the limit nothing is done that could make more. */
#define XHCI_WAITING_LIMIT 64u
#define XHCI_WAITING_MAX   128u

typedef struct XhciInterrupter {
    uint32_t iman, imod, erstsz;
    uint64_t erstba, erdp;  /* erdp with ERDP_EHB */
    bool fresh;             /* erstba was written: begin with the first segment */
    bool ready;             /* the three below are good */
    unsigned segment, left; /* of the segment: TRBs */
    uint64_t enqueue;
    bool cycle;
    unsigned first, count;
    XhciEvent waiting[XHCI_WAITING_MAX];
} XhciInterrupter;

typedef struct XhciPort {
    uint32_t portsc, portpmsc;
    bool usb3;
    bool reset, warm; /* asked for, and not done yet */
    VmcUsbDevice *dev;
} XhciPort;

struct Xhci {
    VmcPciDevice pci; /* first: the two are cast into one another */
    VmcMemory *memory;
    VmcIo *io;
    VmcDoorbell *bell;
    VmcTimer *wrap;  /* of MFINDEX, while the driver wants to know */
    GPtrArray *hubs; /* of VmcUsbDevice, as they were made; each is on a port. I/O thread */

    GMutex lock;
    bool dma; /* Bus Master Enable */
    bool reset_wanted;
    bool saved; /* state was saved and nothing has been lost since */
    uint32_t usbcmd, usbsts, dnctrl, config, legacy, legacy_control;
    uint64_t dcbaap;
    uint64_t started; /* when MFINDEX was 0, ns */

    bool command_running; /* CRCR.CRR */
    XhciRing commands;    /* CRCR moves it while it stands still */

    XhciInterrupter interrupters[XHCI_INTERRUPTERS];
    XhciPort ports[XHCI_PORTS];
    XhciSlot slots[XHCI_SLOTS + 1]; /* from 1 on */
};

static inline bool xhci_running(const Xhci *xhci)
{
    return (xhci->usbcmd & CMD_RUN) && !(xhci->usbsts & (STS_HSE | STS_HCE | STS_CNR)) && xhci->dma &&
           !xhci->reset_wanted;
}

/* ---- xhci.c ---- */

/* Something is wrong that no completion code can say (HCE): everything stops until a reset. */
void xhci_die(Xhci *xhci);

/* The wrap timer, after RUN or EWE has changed. */
void xhci_arm_wrap(Xhci *xhci);

/* ---- xhci_save.c: of the PCI device, without the lock ---- */

void xhci_hold(VmcPciDevice *pci);
void xhci_release(VmcPciDevice *pci);
void xhci_save(VmcPciDevice *pci, VmcStateWriter *w);
bool xhci_load(VmcPciDevice *pci, VmcStateReader *r);

/* ---- xhci_rings.c ---- */

/* Takes the TRB at the ring's dequeue pointer and moves that on, through links. BAD: not RAM, or links
 * without end. */
XhciFetch xhci_fetch(Xhci *xhci, XhciRing *ring, XhciTrb *trb);
/* Puts an event on an interrupter's ring, or lets it wait for room there. `target` is what a TRB says. */
void xhci_post(Xhci *xhci, unsigned target, const XhciEvent *event);
/* Whether there is room for the events of one more command or transfer. */
bool xhci_can_post(const Xhci *xhci);
/* After ERDP has moved: what waited goes on. True if work had to wait for it. */
bool xhci_drain(Xhci *xhci, unsigned n);
/* Interrupts for what has happened, or not any more, after a change of iman or usbcmd. */
void xhci_update_interrupts(Xhci *xhci);
/* After ERDP was written without EHB: the next interrupt if there are events that were not taken. */
void xhci_handler_done(Xhci *xhci, unsigned n);

/* ---- xhci_commands.c, I/O thread ---- */

/* Carries out commands. True: there may be more. */
bool xhci_run_commands(Xhci *xhci);
/* CRCR with Command Stop or Command Abort (any thread). */
void xhci_stop_commands(Xhci *xhci);

/* ---- xhci_contexts.c, I/O thread but for the first two ---- */

bool xhci_read_dwords(Xhci *xhci, uint64_t gpa, uint32_t *dwords, unsigned n);
bool xhci_write_dwords(Xhci *xhci, uint64_t gpa, const uint32_t *dwords, unsigned n);
/* Where the output context of a slot is, from the guest's array; an index as in XHCI_ENDPOINTS. False: it
 * names no RAM. */
bool xhci_context(Xhci *xhci, unsigned slot, unsigned index, uint64_t *gpa);
/* Writes state and dequeue pointer of an endpoint, or the state and address of a slot, for the guest. */
void xhci_write_endpoint(Xhci *xhci, unsigned slot, unsigned index);
void xhci_write_slot(Xhci *xhci, unsigned slot);
/* Address Device, Configure Endpoint, Evaluate Context: return a completion code. */
unsigned xhci_address_device(Xhci *xhci, unsigned slot, uint64_t input, bool block);
unsigned xhci_configure_endpoint(Xhci *xhci, unsigned slot, uint64_t input, bool deconfigure);
unsigned xhci_evaluate_context(Xhci *xhci, unsigned slot, uint64_t input);
/* No transfers any more, as if the endpoint had never been configured. */
void xhci_drop_endpoint(Xhci *xhci, unsigned slot, unsigned index);

/* ---- xhci_transfers.c, I/O thread ---- */

/* Does what the transfer ring has. True: there may be more. */
bool xhci_run_endpoint(Xhci *xhci, unsigned slot, unsigned index, bool rung);
/* Stop Endpoint: tells the driver how far the transfer under way has come. */
void xhci_stop_endpoint(Xhci *xhci, unsigned slot, unsigned index);

/* Takes the transfer at the ring's dequeue pointer again, of which so many bytes have been moved. False:
 * there is none that long. */
bool xhci_take_again(Xhci *xhci, unsigned slot, unsigned index, uint32_t moved);

/* ---- xhci_ports.c ---- */

void xhci_init_ports(Xhci *xhci);
/* Controller reset: what is plugged in is found anew. I/O thread. */
void xhci_reset_ports(Xhci *xhci);
void xhci_write_port(Xhci *xhci, unsigned n, uint32_t value);
/* Resets that were asked for, and wake-ups. I/O thread. */
void xhci_serve_ports(Xhci *xhci);
/* The device at a root port (1..) and a route below it (s8.9 of USB 3.2: a nibble for each hub), or NULL. */
VmcUsbDevice *xhci_find_device(Xhci *xhci, unsigned root_port, uint32_t route);
/* I/O thread. */
bool xhci_plug(Xhci *xhci, VmcUsbDevice *dev);
void xhci_unplug(Xhci *xhci, VmcUsbDevice *dev);
