/*
 * The harness that all fuzzers of devices share: a machine of a few slots of memory, an I/O thread and a PCI
 * bus with one device in it, and a language of bytes for what a hostile guest does with them. A target says
 * how the device is made and, where random bytes would not get far, how its messages look; see README.md.
 *
 * An input starts with what the target's `make` takes from it, then a byte for the bring-up, then steps until
 * it ends. Steps send well-formed chains (so that coverage gets deep), spoil descriptors and rings, write
 * registers in any order, rewrite queues, reset, take Bus Master Enable away, and do what the target adds.
 *
 * All of it runs on the I/O thread: what a vCPU would do is called from a function there, and the thread's
 * sources get their turn where fuzz_settle says so. So a run is deterministic and costs no change of thread.
 * Memory and I/O thread are made once for the process, bus and device for each input.
 *
 * What is noticed, besides what the sanitizers see (there is a guard page on both sides of each slot):
 *  - a write to ROM;
 *  - a write to memory while Bus Master Enable is off, or after a reset was done;
 *  - queue registers that change after the queue was enabled or the driver was ready (s4.1.4.3.2);
 *  - a device that does not come to rest, or that cannot be reset and brought up again in the end.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bus.h"
#include "base/io.h"
#include "base/memory.h"
#include "tests/fuzz/input.h"
#include "pci/pci.h"
#include "virtio/device.h"
#include "virtio/devices.h"

/* Guest memory: two slots that touch, a ROM, and RAM above 4 GiB; all between them is a hole. BARs lie from
 * FUZZ_WINDOW on. */
#define FUZZ_LOW     0x30000u
#define FUZZ_MORE    0x4000u
#define FUZZ_ROM     0x80000ull
#define FUZZ_HIGH    0x100000000ull
#define FUZZ_HIGH_SZ 0x8000u
#define FUZZ_WINDOW  0xc0000000ull
#define FUZZ_WINSIZE 0x20000000ull
/* What fuzz_alloc gives out lies here; rings below. */
#define FUZZ_BUFFERS 0x10000u

#define FUZZ_MESSAGE_MAX 2048u
#define FUZZ_ANY_QUEUE   (~0u)

typedef struct FuzzQueue {
    unsigned size; /* 0: not there */
    uint64_t desc, avail, used;
    uint16_t next_desc, next_avail;
} FuzzQueue;

typedef struct FuzzTarget FuzzTarget;

typedef struct FuzzMachine {
    VmcMemory *memory;
    VmcIo *io;
    VmcBus *pio, *mmio;
    VmcPciBus *pci;
    VmcVirtioHost host;
    VmcPciDevice *dev;
    VmcVirtioDevice *virtio; /* NULL: not a virtio device */
    const FuzzTarget *target;
    void *own; /* the target's */

    /* Where the virtio structures are, found as a driver finds them. */
    uint64_t common, isr, device, notify;
    unsigned notify_multiplier, device_size, window;
    unsigned n_queues;
    FuzzQueue queues[VMC_VIRTIO_QUEUES_MAX];
    uint64_t next_free;
    unsigned pauses;
} FuzzMachine;

/* How the part of a request that the device reads is made from the input. Returns its length, at most
 * FUZZ_MESSAGE_MAX; `buf` has that many bytes, all zero. */
typedef struct FuzzMessage {
    unsigned queue; /* for which queue; FUZZ_ANY_QUEUE: all */
    size_t (*make)(FuzzMachine *m, FuzzInput *in, uint8_t *buf);
} FuzzMessage;

struct FuzzTarget {
    /* Makes the device, with as much of the input as its configuration takes. Not on a bus yet. */
    VmcPciDevice *(*make)(FuzzMachine *m, FuzzInput *in);
    /* After the device has been freed: gives back what `make` made beside it. May be NULL. */
    void (*unmake)(FuzzMachine *m);
    const FuzzMessage *messages;
    unsigned n_messages;
    /* More kinds of steps: what the world outside does (a key, a packet from a peer), or what a driver of
     * this device does (a command ring). */
    void (*const *steps)(FuzzMachine *m, FuzzInput *in);
    unsigned n_steps;
    /* The device has threads of its own: its drain is called whenever the harness waits for it. */
    bool drain;
    /* Waits until the device's threads are through, of a device that is not virtio. May be NULL. */
    void (*wait)(FuzzMachine *m);
    /* Held buffers are written to at times of the device's own (a thread, a timer): no look at whether memory
     * changes while it must not. */
    bool writes_late;
};

/* Runs one input; 0. */
int fuzz_device(const FuzzTarget *target, const uint8_t *data, size_t size);

#define FUZZ_DEVICE(target)                                                                                  \
    int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);                                            \
    int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)                                             \
    {                                                                                                        \
        return fuzz_device(&(target), data, size);                                                           \
    }

/* ---- for steps ---- */

/* Ends the process with a sentence: a finding. */
void fuzz_finding(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* Lets the I/O thread's sources run until none has anything to do; with `drain` also the device's threads. */
void fuzz_settle(FuzzMachine *m);
/* Lets some milliseconds pass, for timers; a few times for each input. */
void fuzz_pause(FuzzMachine *m);

/* `len` bytes of RAM for buffers, handed out in a circle. At most 64 KiB. */
uint64_t fuzz_alloc(FuzzMachine *m, uint32_t len);
/* Their host address; NULL if they are not in one slot. */
uint8_t *fuzz_ram(FuzzMachine *m, uint64_t gpa, uint64_t len);

/* Puts a well-formed chain into a queue that was set up: `len` bytes for the device to read, spread over up
 * to `n_out` descriptors, then `in_len` for it to write over `n_in`. */
typedef struct FuzzChain {
    const void *out;
    uint32_t len, in_len;
    unsigned n_out, n_in;
    bool indirect;
} FuzzChain;
void fuzz_send(FuzzMachine *m, unsigned queue, const FuzzChain *chain);
void fuzz_kick(FuzzMachine *m, unsigned queue);

uint64_t fuzz_bar_read(FuzzMachine *m, unsigned bar, uint64_t offset, unsigned size);
void fuzz_bar_write(FuzzMachine *m, unsigned bar, uint64_t offset, unsigned size, uint64_t value);
/* An address for DMA: mostly in RAM, sometimes in ROM, a hole, a BAR, or at the very end of something. */
uint64_t fuzz_address(FuzzMachine *m, FuzzInput *in);
