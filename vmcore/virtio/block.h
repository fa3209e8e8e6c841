/*
 * The inside of virtio-blk, shared by its two files: block.c, the device, and block_request.c, what a request
 * asks for and whether it may be done.
 */
#pragma once

#include "block/engine.h"
#include "virtio/device.h"

#define VMC_BLOCK_F_SEG_MAX      (1ull << 2)
#define VMC_BLOCK_F_RO           (1ull << 5)
#define VMC_BLOCK_F_BLK_SIZE     (1ull << 6)
#define VMC_BLOCK_F_FLUSH        (1ull << 9)
#define VMC_BLOCK_F_TOPOLOGY     (1ull << 10)
#define VMC_BLOCK_F_CONFIG_WCE   (1ull << 11)
#define VMC_BLOCK_F_MQ           (1ull << 12)
#define VMC_BLOCK_F_DISCARD      (1ull << 13)
#define VMC_BLOCK_F_WRITE_ZEROES (1ull << 14)

#define VMC_BLOCK_S_OK     0u
#define VMC_BLOCK_S_IOERR  1u
#define VMC_BLOCK_S_UNSUPP 2u

#define VMC_BLOCK_ID_BYTES     20u
#define VMC_BLOCK_SEGMENTS_MAX 16u        /* of a discard or write zeroes request */
#define VMC_BLOCK_SPACE_MAX    (1u << 21) /* sectors in each of them: 1 GiB */
#define VMC_BLOCK_NO_STATUS    0xffu

typedef struct VmcBlockSegment {
    uint64_t offset, length; /* bytes */
    bool unmap;
} VmcBlockSegment;

/* What a request is judged by. */
typedef struct VmcBlockRules {
    uint64_t features; /* negotiated */
    uint64_t size;     /* of the disk, bytes */
    bool readonly;
    bool durable; /* writes last before they are done */
    bool ignore_flush;
    const char *id; /* VMC_BLOCK_ID_BYTES */
} VmcBlockRules;

typedef struct VmcVirtioBlockRequest VmcVirtioBlockRequest;

struct VmcVirtioBlockRequest {
    VmcBlockRequest io;          /* first: the two are cast into one another */
    VmcVirtioBlockRequest *next; /* in a list of the device's */
    VmcVirtqElement elem;
    unsigned queue;
    uint32_t written; /* what the driver is told, the status byte included */
    uint8_t *status;  /* in guest memory */
    uint8_t result;
    unsigned n_segments, segment; /* DISCARD, WRITE_ZEROES: how many, and which is under way */
    VmcBlockSegment segments[VMC_BLOCK_SEGMENTS_MAX];
};

/* Reads the header of the chain in `elem`, checks it and what it asks for (s5.2.6), and fills in the rest.
 * False: the chain is no request at all and there is nowhere to say so. True: `result` is the status, or
 * VMC_BLOCK_NO_STATUS and `io` is to be submitted. Guest memory is read once. */
bool vmc_virtio_block_parse(const VmcBlockRules *rules, VmcVirtioBlockRequest *req);
/* Sets `io` to the next segment. False: there is none. */
bool vmc_virtio_block_next_segment(VmcVirtioBlockRequest *req);
