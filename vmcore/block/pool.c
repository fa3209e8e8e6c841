/* The workers of a block engine (pool.h): a list of requests, a lock, a condition. */
#include "block/pool.h"

#include "base/thread.h"

#define THREADS_MAX 8u

struct VmcBlockPool {
    void (*work)(void *opaque, VmcBlockRequest *request);
    void *opaque;
    unsigned threads_max;

    GMutex lock;
    GCond wake;
    VmcBlockRequest *first, **last;
    unsigned waiting; /* in the list */
    unsigned idle;    /* threads that wait for one and have not been woken */
    bool quit;
    unsigned n_threads;
    GThread *threads[THREADS_MAX];
};

static gpointer worker(gpointer data)
{
    VmcBlockPool *pool = data;

    g_mutex_lock(&pool->lock);
    for (;;) {
        while (!pool->first && !pool->quit) {
            pool->idle++;
            g_cond_wait(&pool->wake, &pool->lock);
        }
        VmcBlockRequest *request = pool->first;
        if (!request)
            break;
        pool->first = request->next;
        if (!pool->first)
            pool->last = &pool->first;
        pool->waiting--;
        g_mutex_unlock(&pool->lock);
        pool->work(pool->opaque, request);
        g_mutex_lock(&pool->lock);
    }
    g_mutex_unlock(&pool->lock);
    return NULL;
}

/* Called locked, or before there is a second thread. */
static void start_thread(VmcBlockPool *pool)
{
    GThread *thread = vmc_thread_new("vmc-block", worker, pool, NULL);

    if (thread)
        pool->threads[pool->n_threads++] = thread;
}

VmcBlockPool *vmc_block_pool_new(unsigned threads_max, void (*work)(void *opaque, VmcBlockRequest *request),
                                 void *opaque)
{
    VmcBlockPool *pool = g_new0(VmcBlockPool, 1);

    pool->work = work;
    pool->opaque = opaque;
    pool->threads_max = MIN(threads_max, THREADS_MAX);
    pool->last = &pool->first;
    g_mutex_init(&pool->lock);
    g_cond_init(&pool->wake);
    start_thread(pool);
    if (pool->n_threads)
        return pool;
    vmc_block_pool_free(pool);
    return NULL;
}

void vmc_block_pool_push(VmcBlockPool *pool, VmcBlockRequest *request)
{
    request->next = NULL;
    g_mutex_lock(&pool->lock);
    *pool->last = request;
    pool->last = &request->next;
    pool->waiting++;
    if (pool->waiting > pool->idle && pool->n_threads < pool->threads_max)
        start_thread(pool);
    /* GLib asks the kernel each time; nobody waits while a batch is pushed to threads at work. */
    if (pool->idle) {
        pool->idle--;
        g_cond_signal(&pool->wake);
    }
    g_mutex_unlock(&pool->lock);
}

void vmc_block_pool_free(VmcBlockPool *pool)
{
    if (!pool)
        return;
    g_mutex_lock(&pool->lock);
    pool->quit = true;
    g_cond_broadcast(&pool->wake);
    g_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->n_threads; i++)
        g_thread_join(pool->threads[i]);
    g_mutex_clear(&pool->lock);
    g_cond_clear(&pool->wake);
    g_free(pool);
}
