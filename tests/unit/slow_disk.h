/*
 * A disk in memory whose reads wait at a gate: a slow disk, made to order, to see what a controller does with
 * commands that are in flight. Reads give 0x77; writes go nowhere; flushes are counted.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <glib.h>

#include "block/disk.h"

typedef struct Gate {
    VmcDisk disk; /* first */
    GMutex lock;
    GCond cond;
    bool closed, disk_closed;
    unsigned inside, flushes;
} Gate;

static inline int slow_read(VmcDisk *disk, uint64_t offset, struct iovec *iov, unsigned n)
{
    Gate *gate = (Gate *)disk;

    g_mutex_lock(&gate->lock);
    gate->inside++;
    g_cond_broadcast(&gate->cond);
    while (gate->closed)
        g_cond_wait(&gate->cond, &gate->lock);
    gate->inside--;
    g_mutex_unlock(&gate->lock);
    for (unsigned i = 0; i < n; i++)
        memset(iov[i].iov_base, 0x77, iov[i].iov_len);
    return 0;
}

static inline int slow_write(VmcDisk *disk, uint64_t offset, struct iovec *iov, unsigned n)
{
    return 0;
}

static inline int slow_flush(VmcDisk *disk)
{
    Gate *gate = (Gate *)disk;

    g_mutex_lock(&gate->lock);
    gate->flushes++;
    g_mutex_unlock(&gate->lock);
    return 0;
}

static inline void slow_close(VmcDisk *disk)
{
    ((Gate *)disk)->disk_closed = true;
}

static const VmcDiskOps slow_ops = {
    .name = "slow",
    .read = slow_read,
    .write = slow_write,
    .flush = slow_flush,
    .close = slow_close,
};

static inline void gate_init(Gate *gate)
{
    *gate = (Gate){.disk = {.ops = &slow_ops, .size = 1 << 20, .block_size = 512}};
}

static inline void set_gate(Gate *gate, bool closed)
{
    g_mutex_lock(&gate->lock);
    gate->closed = closed;
    g_cond_broadcast(&gate->cond);
    g_mutex_unlock(&gate->lock);
}

/* A thread's function: opens the gate in a moment. */
static inline gpointer open_gate_later(gpointer gate)
{
    g_usleep(50000);
    set_gate(gate, false);
    return NULL;
}

/* Waits until at least one read is at the gate; `timeout` in microseconds. */
static inline void await_gate(Gate *gate, int64_t timeout)
{
    g_mutex_lock(&gate->lock);
    while (!gate->inside)
        assert_true(g_cond_wait_until(&gate->cond, &gate->lock, g_get_monotonic_time() + timeout));
    g_mutex_unlock(&gate->lock);
}
