/* The inside of the NVMe controller, shared by its files. Names are the specification's. */
#pragma once

#include <stdatomic.h>

#include "block/report.h"
#include "nvme/nvme.h"

#define NVME_PAGE                4096u /* the one memory page size there is (CAP.MPSMIN, MPSMAX) */
#define NVME_BLOCK               VMC_DISK_SECTOR
#define NVME_PAIRS_MAX           (VMC_NVME_QUEUES_MAX + 1) /* with the admin queues */
#define NVME_ENTRIES_MAX         1024u                     /* of a queue */
#define NVME_REQUESTS_MAX        128u                      /* commands being worked on, of all queues */
#define NVME_MDTS                8u                        /* a command moves at most 2^MDTS pages */
#define NVME_BYTES_MAX           (NVME_PAGE << NVME_MDTS)
#define NVME_RANGES_MAX          256u /* of a Dataset Management command */
#define NVME_AERS_MAX            4u   /* asynchronous event requests held */
#define NVME_ERRORS_MAX          16u  /* entries of the error log */
#define NVME_NSID                1u
#define NVME_TEMPERATURE         300u /* Kelvin; it never changes */
#define NVME_WARNING_TEMPERATURE 343u
#define NVME_NSID_ALL            UINT32_MAX

#define NVME_VENDOR    0x80eeu /* see nvme.c */
#define NVME_DEVICE    0x4e56u
#define NVME_FIRMWARE  "1.0"
#define NVME_VERSION   0x00010400u
#define NVME_SQE_BYTES 64u
#define NVME_CQE_BYTES 16u

/* s3.1.5, s3.1.6 */
#define CC_EN          (1u << 0)
#define CC_CSS(cc)     ((cc) >> 4 & 7)
#define CC_MPS(cc)     ((cc) >> 7 & 15)
#define CC_AMS(cc)     ((cc) >> 11 & 7)
#define CC_SHN(cc)     ((cc) >> 14 & 3)
#define CC_IOSQES(cc)  ((cc) >> 16 & 15)
#define CC_IOCQES(cc)  ((cc) >> 20 & 15)
#define CSTS_RDY       (1u << 0)
#define CSTS_CFS       (1u << 1)
#define CSTS_SHST_BUSY (1u << 2)
#define CSTS_SHST_DONE (2u << 2)

/* Status Code Type and Status Code (s4.6.1). A command that is wrong as it is will be so when it is retried.
 */
enum {
    NVME_SUCCESS = 0x000,
    NVME_INVALID_OPCODE = 0x001,
    NVME_INVALID_FIELD = 0x002,
    NVME_DATA_TRANSFER_ERROR = 0x004,
    NVME_INTERNAL_ERROR = 0x006,
    NVME_ABORT_REQUESTED = 0x007,
    NVME_INVALID_NAMESPACE = 0x00b,
    NVME_SEQUENCE_ERROR = 0x00c,
    NVME_INVALID_PRP_OFFSET = 0x013,
    NVME_WRITE_PROTECTED = 0x020,
    NVME_LBA_OUT_OF_RANGE = 0x080,
    NVME_CAPACITY_EXCEEDED = 0x081,
    NVME_INVALID_COMPLETION_QUEUE = 0x100,
    NVME_INVALID_QUEUE_ID = 0x101,
    NVME_INVALID_QUEUE_SIZE = 0x102,
    NVME_TOO_MANY_EVENT_REQUESTS = 0x105,
    NVME_INVALID_VECTOR = 0x108,
    NVME_INVALID_LOG_PAGE = 0x109,
    NVME_INVALID_QUEUE_DELETION = 0x10c,
    NVME_NOT_SAVEABLE = 0x10d,
    NVME_WRITE_FAULT = 0x280,
    NVME_READ_ERROR = 0x281,
    NVME_COMPARE_FAILURE = 0x285,
    NVME_PENDING = 0xffff, /* ours: an answer comes later */
};
#define NVME_DO_NOT_RETRY 0x4000u

/* The submission queue entry (s4.2), copied, in host order. */
typedef struct NvmeCommand {
    uint8_t opcode, flags; /* FUSE and PSDT */
    uint16_t cid;
    uint32_t nsid;
    uint32_t reserved[2];
    uint64_t mptr, prp1, prp2;
    uint32_t dw10, dw11, dw12, dw13;
    uint32_t unused[2];
} NvmeCommand;

_Static_assert(sizeof(NvmeCommand) == NVME_SQE_BYTES, "as in s4.2");

typedef struct NvmeSpan {
    uint64_t gpa, length;
} NvmeSpan;

/* Where the data of a command lies in guest memory. The engine changes the vectors on its way, the spans
 * stay.
 */
typedef struct NvmeData {
    struct iovec *iov;
    NvmeSpan *spans;
    unsigned n, capacity;
    bool to_guest;
} NvmeData;

/* s6.7.1, checked: bytes of the disk. */
typedef struct NvmeRange {
    uint64_t offset, length;
} NvmeRange;

typedef struct NvmeRequest NvmeRequest;

/* A command that is worked on. */
struct NvmeRequest {
    VmcBlockRequest io; /* first: the two are cast into one another */
    NvmeRequest *next;  /* in a list of the controller's */
    unsigned sq;
    NvmeCommand cmd;
    uint32_t result; /* Dword 0 of the completion */
    NvmeData data;
    NvmeRange *ranges; /* Dataset Management: n_ranges, of which `range` is the next */
    unsigned n_ranges, range;
    uint8_t *buffer; /* Compare: what was read, and what it is to be like */
    struct iovec piece;
    uint64_t compared, to_compare; /* bytes */
};

/* I/O thread, but for what the comments say. */
typedef struct NvmeSq {
    bool there;
    const uint8_t *entries; /* guest memory */
    uint64_t gpa;
    unsigned size, cq, head, tail;
    unsigned in_flight;    /* commands taken off it and not completed */
    NvmeRequest *deletion; /* waits for those */
    _Atomic uint32_t doorbell;
} NvmeSq;

typedef struct NvmeCq {
    uint8_t *entries;
    uint64_t gpa;
    unsigned vector, users; /* users: submission queues */
    unsigned reserved;      /* entries that commands under way will need */
    bool phase;
    /* Written with `irq_lock` and read by vCPUs with it: */
    bool there, interrupts;
    bool stalled; /* somebody waits for room */
    unsigned size, head, tail;
} NvmeCq;

/* Asynchronous events (s5.2), in the order in which they are told. */
typedef enum NvmeEvent {
    NVME_EVENT_DOORBELL_REGISTER, /* of a queue that is not there */
    NVME_EVENT_DOORBELL_VALUE,
    NVME_EVENT_TEMPERATURE,
    NVME_EVENT_NAMESPACE,
    NVME_EVENTS
} NvmeEvent;

/* What is kept of a command that failed, for the error log (s5.14.1.1). */
typedef struct NvmeError {
    uint64_t count, lba;
    uint32_t nsid;
    uint16_t sq, cid, status;
} NvmeError;

/* The features whose value is one number, by their identifier (s5.21.1). */
#define NVME_FEATURES 0x0cu

typedef struct Nvme {
    VmcPciDevice pci; /* first: the two are cast into one another */
    VmcMemory *memory;
    VmcIo *io;
    VmcDisk *disk;
    VmcBlockEngine *engine;
    VmcDiskReport report;
    VmcDiskChanges changes;
    VmcDiskCache cache;
    char serial[VMC_NVME_SERIAL_BYTES]; /* padded with spaces */
    uint8_t eui64[8];
    unsigned pairs; /* of queues, with the admin queues */

    /* vCPUs and the I/O thread. */
    VmcDoorbell *bell;
    _Atomic uint64_t rung; /* why: see nvme_queue.c */
    atomic_bool dma;       /* Bus Master Enable */
    _Atomic uint32_t csts; /* written by the I/O thread */
    GMutex lock;           /* the registers */
    uint32_t cc, aqa;
    uint64_t asq, acq;
    bool reset_asked;
    GMutex irq_lock; /* part of cqs, and the wire */
    uint32_t intms;
    bool wire;

    /* I/O thread. */
    bool resetting;       /* until nothing is in flight */
    bool shutdown_begun;  /* since the last reset */
    VmcBlockRequest last; /* the flush of a shutdown */
    NvmeSq sqs[NVME_PAIRS_MAX];
    NvmeCq cqs[NVME_PAIRS_MAX];
    unsigned pushed; /* completion queues with entries not interrupted for; a bit each */
    NvmeRequest requests[NVME_REQUESTS_MAX];
    NvmeRequest *unused;
    NvmeRequest *kept, **kept_tail; /* writes, until there is room on the host's disk */
    bool resumed;                   /* so the user may have seen to that */
    unsigned in_engine;
    uint64_t size; /* of the disk, bytes: what commands are held against */

    NvmeRequest *aers[NVME_AERS_MAX];
    unsigned n_aers;
    uint32_t events, masked_types; /* NvmeEvent that wait; types told and not acknowledged */
    bool namespace_changed;        /* for the log page */
    uint32_t features[NVME_FEATURES];
    uint16_t thresholds[2];                     /* Kelvin: over, under */
    uint32_t vector_coalescing[NVME_PAIRS_MAX]; /* a flag kept for the driver */
    NvmeError errors[NVME_ERRORS_MAX];
    uint64_t n_errors;
    uint64_t bytes_read, bytes_written, reads, writes, resets;
} Nvme;

/* ---- nvme.c (I/O thread) ---- */

/* Looks at what was written to the configuration register: enabling, reset, shutdown. */
void vmc_nvme_settle(Nvme *nvme);
/* What waited until nothing is in flight goes on if nothing is: a reset, a change to the disk. */
void vmc_nvme_if_idle(Nvme *nvme);
/* The flush of a shutdown has come back. */
void vmc_nvme_shutdown_done(Nvme *nvme);

/* ---- nvme_save.c: as in VmcPciDeviceOps ---- */

void vmc_nvme_hold(VmcPciDevice *pci);
void vmc_nvme_unhold(VmcPciDevice *pci);
void vmc_nvme_save(VmcPciDevice *pci, VmcStateWriter *w);
bool vmc_nvme_load(VmcPciDevice *pci, VmcStateReader *r);

/* ---- nvme_queue.c ---- */

/* vCPUs: a write to doorbell `index` (s3.1.24, s3.1.25). */
void vmc_nvme_doorbell(Nvme *nvme, unsigned index, uint32_t value);
/* vCPUs: has the I/O thread look at the registers. */
void vmc_nvme_ring_control(Nvme *nvme);
/* Any thread, with irq_lock held: the wire as it has to be. */
void vmc_nvme_update_wire(Nvme *nvme);

/* The rest on the I/O thread. Takes commands and works on them until there are none. */
void vmc_nvme_serve(void *nvme);
/* Makes a queue of guest memory. False: it is not all RAM. */
bool vmc_nvme_make_sq(Nvme *nvme, unsigned id, uint64_t gpa, unsigned size, unsigned cq);
bool vmc_nvme_make_cq(Nvme *nvme, unsigned id, uint64_t gpa, unsigned size, unsigned vector, bool interrupts);
void vmc_nvme_remove_cq(Nvme *nvme, unsigned id);
/* Removes the submission queue when its last command has come back; then completes `deletion`. */
void vmc_nvme_remove_sq(Nvme *nvme, unsigned id, NvmeRequest *deletion);
void vmc_nvme_remove_queues(Nvme *nvme);
/* Keeps one entry of a completion queue free, or notes that somebody waits for one. */
bool vmc_nvme_reserve(Nvme *nvme, unsigned cq);
/* Tells the driver and lets go of the request; an entry was reserved for it. */
void vmc_nvme_complete(Nvme *nvme, NvmeRequest *req, uint16_t status);
/* Lets go of it without a word. */
void vmc_nvme_release(Nvme *nvme, NvmeRequest *req);
/* Interrupts for what was completed. */
void vmc_nvme_notify(Nvme *nvme);

/* ---- nvme_prp.c ---- */

/* Finds the `length` bytes that PRP1 and PRP2 describe; a status. `req->data` has them then. */
uint16_t vmc_nvme_map(Nvme *nvme, NvmeRequest *req, uint64_t length, bool to_guest);
/* Answers with data: as much of it as the driver has asked for. A status. */
uint16_t vmc_nvme_reply(Nvme *nvme, NvmeRequest *req, const void *data, uint64_t length);

/* ---- commands: a status, or NVME_PENDING ---- */

uint16_t vmc_nvme_admin(Nvme *nvme, NvmeRequest *req);
uint16_t vmc_nvme_identify(Nvme *nvme, NvmeRequest *req);
uint16_t vmc_nvme_get_log_page(Nvme *nvme, NvmeRequest *req);
uint16_t vmc_nvme_get_features(Nvme *nvme, NvmeRequest *req);
uint16_t vmc_nvme_set_features(Nvme *nvme, NvmeRequest *req);
uint16_t vmc_nvme_command(Nvme *nvme, NvmeRequest *req);

/* A request of the engine's has come back. */
void vmc_nvme_io_done(void *nvme, VmcBlockRequest *io);
/* What waited for room on the host's disk is tried again. */
void vmc_nvme_retry_kept(Nvme *nvme);
/* Gives a request to the engine. */
void vmc_nvme_submit(Nvme *nvme, VmcBlockRequest *io);

void vmc_nvme_default_features(Nvme *nvme);
bool vmc_nvme_writes_through(const Nvme *nvme);
/* Whether the composite temperature is beyond a threshold of the driver's. */
bool vmc_nvme_is_hot(const Nvme *nvme);
void vmc_nvme_log_error(Nvme *nvme, const NvmeRequest *req, uint16_t status);

/* Asynchronous events (nvme_admin.c). */
#define NVME_OP_EVENT_REQUEST 0x0cu
void vmc_nvme_raise(Nvme *nvme, NvmeEvent event);
void vmc_nvme_deliver_events(Nvme *nvme);
/* A log page was read that tells of events. */
void vmc_nvme_acknowledge(Nvme *nvme, unsigned log_page);
