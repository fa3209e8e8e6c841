/*
 * Interrupt wires. A device holds a VmcIrq and sets its level; what is at the other end (our IOAPIC and PIC,
 * or KVM's) is the board's business. VmcMsi is the same for message-signalled interrupts.
 * Both may be used from any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef struct VmcIrq {
    void (*set)(void *opaque, unsigned line, bool level);
    void *opaque;
    unsigned line;
} VmcIrq;

static inline void vmc_irq_set(const VmcIrq *irq, bool level)
{
    if (irq->set)
        irq->set(irq->opaque, irq->line, level);
}

/* One rising and falling edge. */
static inline void vmc_irq_pulse(const VmcIrq *irq)
{
    vmc_irq_set(irq, true);
    vmc_irq_set(irq, false);
}

typedef struct VmcMsi {
    void (*send)(void *opaque, uint64_t address, uint32_t data);
    void *opaque;
    /* Optional, both or neither: an eventfd, every write to which sends this message, for one that is sent
     * again and again. `fd` is one that was returned before and gets a new message, or -1 for a new one.
     * Returns it, or -1: there is none, or no more, and messages go by `send`. It may take a while, and so
     * may unwire, which closes it; what was written before has arrived when it returns. */
    int (*wire)(void *opaque, int fd, uint64_t address, uint32_t data);
    void (*unwire)(void *opaque, int fd);
} VmcMsi;

static inline void vmc_msi_send(const VmcMsi *msi, uint64_t address, uint32_t data)
{
    if (msi->send)
        msi->send(msi->opaque, address, data);
}
