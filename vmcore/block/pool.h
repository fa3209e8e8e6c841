/*
 * A few worker threads that take block requests one after the other. Threads are started when there is work
 * that no idle one can take, and stay.
 */
#pragma once

#include "block/engine.h"

typedef struct VmcBlockPool VmcBlockPool;

/* `work` is called on the worker threads. NULL: not even one thread can be started. */
VmcBlockPool *vmc_block_pool_new(unsigned threads_max, void (*work)(void *opaque, VmcBlockRequest *request),
                                 void *opaque);
/* Any thread, never waits. */
void vmc_block_pool_push(VmcBlockPool *pool, VmcBlockRequest *request);
/* Waits until everything pushed has been worked off and the threads are gone. NULL is fine. */
void vmc_block_pool_free(VmcBlockPool *pool);
