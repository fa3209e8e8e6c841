/*
 * The engine (engine.h): which request goes which way, in which pieces, and what becomes of those that came
 * back.
 *
 * A request is worked off in slices, between which a cancel is noticed, so that the reset of a device is not
 * held up by what nobody waits for any more. In the ring a slice is the first few vectors of the request, the
 * last of them cut to fit for the time being; a worker copies them, because a disk's functions may change
 * them and a slice that failed has to be there again for another try. A short transfer is gone on with, and
 * what the ring cannot do (EAGAIN, EINVAL) a worker is asked to.
 *
 * `active` counts requests from submit until `done` has been called or, for those that come from a worker,
 * until they are on the `finished` list; drain waits until it is 0. It is lowered last of all.
 */
#include "block/engine.h"

#include <errno.h>
#include <stdatomic.h>

#include "block/pool.h"
#include "block/ring.h"

#define WORKERS          4u
#define RING_SLICE_IOV   512u
#define RING_SLICE_BYTES (4u << 20)
#define POOL_SLICE_IOV   64u
#define POOL_SLICE_BYTES (1u << 20)
#define SPACE_SLICE      (64ull << 20) /* of a discard, or of zeroes */
#define RETRY_NS         1000000u

struct VmcBlockEngine {
    VmcIo *io;
    VmcDisk *disk;
    VmcBlockEngineParams params;
    atomic_bool cancel;
    _Atomic unsigned active;

    VmcBlockRing *ring; /* I/O thread only; NULL: none to be had */
    GSource *ring_watch;
    VmcTimer *retry; /* for what the kernel would not take */

    VmcBlockPool *pool;
    VmcDoorbell *bell; /* something is on `finished` */
    GMutex lock;
    GCond idle;
    VmcBlockRequest *finished, **finished_tail; /* with lock */
};

/* ---- slices ---- */

/* Takes what was done off the front of a request. */
static void advance(VmcBlockRequest *req, size_t done)
{
    req->offset += done;
    req->length -= done;
    while (req->n_iov && done >= req->iov->iov_len) {
        done -= req->iov->iov_len;
        req->iov++;
        req->n_iov--;
    }
    if (done) {
        req->iov->iov_base = (uint8_t *)req->iov->iov_base + done;
        req->iov->iov_len -= done;
    }
}

static bool is_canceled(VmcBlockEngine *engine, const VmcBlockRequest *req)
{
    return req->op != VMC_BLOCK_FLUSH && req->op != VMC_BLOCK_GROW && req->op != VMC_BLOCK_CALL &&
           atomic_load_explicit(&engine->cancel, memory_order_relaxed);
}

/* ---- worker threads ---- */

static int work_transfer(VmcBlockEngine *engine, VmcBlockRequest *req)
{
    struct iovec slice[POOL_SLICE_IOV];

    while (req->length) {
        size_t bytes = 0;
        unsigned n = 0;
        if (is_canceled(engine, req))
            return -ECANCELED;
        for (; n < POOL_SLICE_IOV && n < req->n_iov && bytes < POOL_SLICE_BYTES; n++) {
            slice[n] = req->iov[n];
            slice[n].iov_len = MIN(slice[n].iov_len, POOL_SLICE_BYTES - bytes);
            bytes += slice[n].iov_len;
        }
        int err = req->op == VMC_BLOCK_READ ? vmc_disk_read(engine->disk, req->offset, slice, n)
                                            : vmc_disk_write(engine->disk, req->offset, slice, n);
        if (err)
            return err;
        advance(req, bytes);
    }
    return 0;
}

static int work_space(VmcBlockEngine *engine, VmcBlockRequest *req)
{
    while (req->length) {
        uint64_t here = MIN(req->length, SPACE_SLICE);
        if (is_canceled(engine, req))
            return -ECANCELED;
        int err = req->op == VMC_BLOCK_DISCARD
                      ? vmc_disk_discard(engine->disk, req->offset, here)
                      : vmc_disk_write_zeroes(engine->disk, req->offset, here, req->unmap);
        if (err)
            return err;
        req->offset += here;
        req->length -= here;
    }
    return 0;
}

static int work_on(VmcBlockEngine *engine, VmcBlockRequest *req)
{
    int err = 0;

    switch (req->op) {
    case VMC_BLOCK_READ:
    case VMC_BLOCK_WRITE:
        err = work_transfer(engine, req);
        break;
    case VMC_BLOCK_DISCARD:
    case VMC_BLOCK_WRITE_ZEROES:
        err = work_space(engine, req);
        break;
    case VMC_BLOCK_GROW:
        return vmc_disk_grow(engine->disk, req->length);
    case VMC_BLOCK_CALL:
        return req->call(engine->disk, req->call_data);
    case VMC_BLOCK_FLUSH:
        break;
    }
    if (!err && (req->op == VMC_BLOCK_FLUSH || req->durable))
        err = vmc_disk_flush(engine->disk);
    return err;
}

/* Called last for a request; `engine` may go as soon as it returns. */
static void leave(VmcBlockEngine *engine)
{
    if (atomic_fetch_sub(&engine->active, 1) != 1)
        return;
    g_mutex_lock(&engine->lock);
    g_cond_broadcast(&engine->idle);
    g_mutex_unlock(&engine->lock);
}

static void work(void *opaque, VmcBlockRequest *req)
{
    VmcBlockEngine *engine = opaque;

    req->error = work_on(engine, req);
    g_mutex_lock(&engine->lock);
    req->next = NULL;
    if (!engine->finished)
        vmc_doorbell_ring(engine->bell);
    *engine->finished_tail = req;
    engine->finished_tail = &req->next;
    g_mutex_unlock(&engine->lock);
    leave(engine);
}

/* ---- the ring (I/O thread) ---- */

/* Puts the next slice into the ring. False: it is full. */
static bool put_slice(VmcBlockEngine *engine, VmcBlockRequest *req)
{
    size_t bytes = 0, cut;
    unsigned n = 0;

    while (n < RING_SLICE_IOV && n < req->n_iov && bytes < RING_SLICE_BYTES)
        bytes += req->iov[n++].iov_len;
    cut = bytes > RING_SLICE_BYTES ? bytes - RING_SLICE_BYTES : 0;
    req->iov[n - 1].iov_len -= cut;
    req->slice = n;
    req->slice_cut = cut;
    if (vmc_block_ring_move(engine->ring, req->op == VMC_BLOCK_WRITE, req->extent.fd,
                            req->extent.offset + (req->extent.length - req->length), req->iov, n, req))
        return true;
    req->iov[n - 1].iov_len += cut;
    return false;
}

static void unmap(VmcBlockEngine *engine, VmcBlockRequest *req)
{
    if (req->mapped)
        vmc_disk_unmap(engine->disk, &req->extent);
    req->mapped = false;
}

static void use_pool(VmcBlockEngine *engine, VmcBlockRequest *req)
{
    unmap(engine, req);
    vmc_block_pool_push(engine->pool, req);
}

static void ring_finished(VmcBlockEngine *engine, VmcBlockRequest *req, int err)
{
    unmap(engine, req);
    req->error = err;
    engine->params.done(engine->params.opaque, req);
    leave(engine);
}

/* A slice has come back. True: `done` has been called. */
static bool slice_done(VmcBlockEngine *engine, VmcBlockRequest *req, int result)
{
    req->iov[req->slice - 1].iov_len += req->slice_cut;
    if (result > 0)
        advance(req, (size_t)result);
    if (result == -EAGAIN || result == -EINTR || result == -EINVAL || result == -EOPNOTSUPP ||
        (!req->length && req->durable)) {
        use_pool(engine, req); /* for the rest, or for the flush */
        return false;
    }
    if (result > 0 && req->length && !is_canceled(engine, req)) {
        if (!put_slice(engine, req))
            use_pool(engine, req);
        return false;
    }
    if (result > 0)
        ring_finished(engine, req, req->length ? -ECANCELED : 0);
    else
        ring_finished(engine, req, result ? result : -EIO); /* 0: the file has become shorter than it was */
    return true;
}

/* ---- finished requests (I/O thread) ---- */

static bool reap_ring(VmcBlockEngine *engine)
{
    bool any = false;
    void *tag;
    int result;

    while (engine->ring && vmc_block_ring_next(engine->ring, &tag, &result))
        any |= slice_done(engine, tag, result);
    return any;
}

static bool reap_pool(VmcBlockEngine *engine)
{
    g_mutex_lock(&engine->lock);
    VmcBlockRequest *req = engine->finished;
    engine->finished = NULL;
    engine->finished_tail = &engine->finished;
    g_mutex_unlock(&engine->lock);

    bool any = req;
    while (req) {
        VmcBlockRequest *next = req->next;
        engine->params.done(engine->params.opaque, req);
        req = next;
    }
    return any;
}

static void start_prepared(VmcBlockEngine *engine)
{
    if (engine->ring && !vmc_block_ring_submit(engine->ring))
        vmc_timer_arm(engine->retry, vmc_now_ns() + RETRY_NS);
}

bool vmc_block_engine_run(VmcBlockEngine *engine)
{
    start_prepared(engine);
    bool any = reap_ring(engine);
    any |= reap_pool(engine);
    start_prepared(engine); /* rests of slices, and what `done` has submitted */
    return any;
}

static void something_finished(void *data)
{
    VmcBlockEngine *engine = data;

    if (vmc_block_engine_run(engine))
        engine->params.batch(engine->params.opaque);
}

static gboolean ring_readable(int fd, GIOCondition condition, gpointer data)
{
    something_finished(data);
    return G_SOURCE_CONTINUE;
}

/* ---- submitting (I/O thread) ---- */

void vmc_block_engine_submit(VmcBlockEngine *engine, VmcBlockRequest *req)
{
    bool transfer =
        req->op == VMC_BLOCK_READ || (req->op == VMC_BLOCK_WRITE && !engine->disk->buffered_writes);

    atomic_fetch_add(&engine->active, 1);
    req->error = 0;
    req->mapped =
        engine->ring && transfer && req->length && !is_canceled(engine, req) &&
        vmc_disk_map(engine->disk, req->offset, req->length, req->op == VMC_BLOCK_WRITE, &req->extent);
    if (!req->mapped || !put_slice(engine, req))
        use_pool(engine, req);
}

void vmc_block_engine_cancel(VmcBlockEngine *engine, bool cancel)
{
    atomic_store(&engine->cancel, cancel);
}

/* ---- lifecycle ---- */

void vmc_block_engine_drain(VmcBlockEngine *engine)
{
    /* On the I/O thread nobody else looks after the ring. */
    if (engine->ring && vmc_io_on_thread(engine->io))
        while (vmc_block_ring_out(engine->ring)) {
            vmc_block_ring_wait(engine->ring);
            reap_ring(engine);
        }
    g_mutex_lock(&engine->lock);
    while (atomic_load(&engine->active))
        g_cond_wait(&engine->idle, &engine->lock);
    g_mutex_unlock(&engine->lock);
}

const char *vmc_block_engine_way(const VmcBlockEngine *engine)
{
    return engine->ring ? "io_uring" : "threads";
}

static void watch_ring(VmcBlockEngine *engine)
{
    vmc_io_watch(engine->io, &engine->ring_watch, vmc_block_ring_fd(engine->ring), G_IO_IN, ring_readable,
                 engine);
}

VmcBlockEngine *vmc_block_engine_new(const VmcBlockEngineParams *params)
{
    VmcBlockEngine *engine = g_new0(VmcBlockEngine, 1);

    engine->io = params->io;
    engine->disk = params->disk;
    engine->params = *params;
    g_mutex_init(&engine->lock);
    g_cond_init(&engine->idle);
    engine->finished_tail = &engine->finished;
    engine->retry = vmc_timer_new(params->io, something_finished, engine);
    engine->bell = vmc_doorbell_new(params->io, something_finished, engine);
    engine->pool = engine->bell ? vmc_block_pool_new(WORKERS, work, engine) : NULL;
    if (!engine->pool) {
        vmc_block_engine_free(engine);
        return NULL;
    }
    engine->ring = params->disk->ops->map ? vmc_block_ring_new(params->depth) : NULL;
    if (engine->ring)
        watch_ring(engine);
    return engine;
}

/* On the I/O thread, so that no callback runs any more. */
static void free_ring(void *data)
{
    VmcBlockEngine *engine = data;

    vmc_io_unwatch(&engine->ring_watch);
    vmc_block_ring_free(engine->ring);
    vmc_timer_free(engine->retry);
}

void vmc_block_engine_free(VmcBlockEngine *engine)
{
    if (!engine)
        return;
    vmc_block_pool_free(engine->pool);
    vmc_io_call_sync(engine->io, free_ring, engine);
    vmc_doorbell_free(engine->bell);
    g_mutex_clear(&engine->lock);
    g_cond_clear(&engine->idle);
    g_free(engine);
}
