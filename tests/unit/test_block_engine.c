/*
 * What moves a disk's bytes without the I/O thread waiting: on io_uring, and the same on worker threads where
 * that is denied, as a container's seccomp filter denies it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <seccomp.h>
#include <string.h>
#include <unistd.h>

#include "block/engine.h"

#define TIMEOUT (10 * G_TIME_SPAN_SECOND)
#define DEPTH   32u
#define BYTES   (24u << 20)

typedef struct Bench {
    char *path;
    VmcIo *io;
    VmcDisk *disk;
    VmcBlockEngine *engine;
    GMutex lock;
    GCond cond;
    unsigned done, batches;
} Bench;

static int deny_with; /* the errno value io_uring_setup fails with; 0: it is left alone */

static void on_done(void *opaque, VmcBlockRequest *req)
{
    Bench *bench = opaque;

    g_mutex_lock(&bench->lock);
    bench->done++;
    g_cond_broadcast(&bench->cond);
    g_mutex_unlock(&bench->lock);
}

static void on_batch(void *opaque)
{
    ((Bench *)opaque)->batches++;
}

static gpointer make_engine(gpointer data)
{
    Bench *bench = data;
    VmcBlockEngineParams params = {
        .io = bench->io,
        .disk = bench->disk,
        .depth = DEPTH,
        .done = on_done,
        .batch = on_batch,
        .opaque = bench,
    };

    if (deny_with) {
        scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
        if (!filter ||
            seccomp_rule_add(filter, SCMP_ACT_ERRNO((uint32_t)deny_with), SCMP_SYS(io_uring_setup), 0) ||
            seccomp_load(filter))
            return NULL;
        seccomp_release(filter);
    }
    return vmc_block_engine_new(&params);
}

static uint8_t byte_at(uint64_t offset)
{
    return (uint8_t)(offset * 31 >> 9 ^ offset >> 3);
}

static char *make_file(void)
{
    uint8_t *bytes = g_malloc(BYTES);
    char *path;
    int fd = g_file_open_tmp("vmcore-engine-XXXXXX", &path, NULL);

    for (uint64_t i = 0; i < BYTES; i++)
        bytes[i] = byte_at(i);
    assert_int_equal(write(fd, bytes, BYTES), BYTES);
    close(fd);
    g_free(bytes);
    return path;
}

/* The filter is for the thread that makes the engine, and nobody else. */
static Bench *bench_new(VmcDisk *disk)
{
    Bench *bench = g_new0(Bench, 1);

    g_mutex_init(&bench->lock);
    g_cond_init(&bench->cond);
    if (!disk)
        bench->path = make_file();
    bench->disk = disk ? disk : vmc_disk_open_raw(bench->path, false, NULL);
    bench->io = vmc_io_new(NULL);
    bench->engine = g_thread_join(g_thread_new("make", make_engine, bench));
    if (!bench->engine) {
        print_message("system calls cannot be denied here\n");
        skip();
    }
    return bench;
}

static void bench_free(Bench *bench)
{
    vmc_block_engine_free(bench->engine);
    vmc_io_free(bench->io);
    vmc_disk_close(bench->disk);
    if (bench->path)
        g_remove(bench->path);
    g_free(bench->path);
    g_mutex_clear(&bench->lock);
    g_cond_clear(&bench->cond);
    g_free(bench);
}

static int setup(void **state)
{
    *state = bench_new(NULL);
    return 0;
}

static int teardown(void **state)
{
    bench_free(*state);
    return 0;
}

/* ---- requests, on the I/O thread ---- */

typedef struct Submission {
    Bench *bench;
    VmcBlockRequest *requests;
    unsigned n;
    bool run;
} Submission;

static void submit_now(void *data)
{
    Submission *s = data;

    for (unsigned i = 0; i < s->n; i++)
        vmc_block_engine_submit(s->bench->engine, &s->requests[i]);
    if (s->run)
        vmc_block_engine_run(s->bench->engine);
}

static void submit(Bench *bench, VmcBlockRequest *requests, unsigned n)
{
    Submission s = {bench, requests, n, true};

    vmc_io_call_sync(bench->io, submit_now, &s);
}

static void await_done(Bench *bench, unsigned wanted)
{
    gint64 end = g_get_monotonic_time() + TIMEOUT;

    g_mutex_lock(&bench->lock);
    while (bench->done < wanted)
        if (!g_cond_wait_until(&bench->cond, &bench->lock, end))
            fail_msg("%u of %u requests are done", bench->done, wanted);
    g_mutex_unlock(&bench->lock);
}

/* One request on one piece of memory; returns its error. */
static int move(Bench *bench, VmcBlockOp op, uint64_t offset, void *bytes, size_t length)
{
    struct iovec iov = {bytes, length};
    VmcBlockRequest req = {.op = op, .offset = offset, .length = length, .iov = &iov, .n_iov = 1};
    unsigned before = bench->done;

    submit(bench, &req, 1);
    await_done(bench, before + 1);
    return req.error;
}

static void expect_file(const uint8_t *bytes, uint64_t offset, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (bytes[i] != byte_at(offset + i))
            fail_msg("byte %zu behind %" G_GUINT64_FORMAT " is %#x, not %#x", i, offset, bytes[i],
                     byte_at(offset + i));
}

static void test_way(void **state)
{
    Bench *bench = *state;

    if (deny_with)
        assert_string_equal(vmc_block_engine_way(bench->engine), "threads");
    else if (strcmp(vmc_block_engine_way(bench->engine), "io_uring") != 0)
        print_message("this host has no io_uring for us: the tests below are on threads\n");
}

static void test_read_write_flush(void **state)
{
    Bench *bench = *state;
    uint8_t bytes[8192];

    assert_int_equal(move(bench, VMC_BLOCK_READ, 4096, bytes, sizeof(bytes)), 0);
    expect_file(bytes, 4096, sizeof(bytes));
    memset(bytes, 0x5a, sizeof(bytes));
    assert_int_equal(move(bench, VMC_BLOCK_WRITE, 12288, bytes, 4096), 0);
    assert_int_equal(move(bench, VMC_BLOCK_FLUSH, 0, NULL, 0), 0);
    assert_int_equal(move(bench, VMC_BLOCK_READ, 8192, bytes, 8192), 0);
    expect_file(bytes, 8192, 4096);
    for (unsigned i = 4096; i < 8192; i++)
        assert_int_equal(bytes[i], 0x5a);
}

/* More bytes and more vectors than one slice takes, of all lengths. */
static void test_large_requests(void **state)
{
    Bench *bench = *state;
    size_t length = 17u << 20, at = 0;
    uint8_t *bytes = g_malloc(length);
    GArray *vectors = g_array_new(FALSE, FALSE, sizeof(struct iovec));

    assert_int_equal(move(bench, VMC_BLOCK_READ, 512, bytes, length), 0);
    expect_file(bytes, 512, length);
    memset(bytes, 0, length);
    for (size_t piece = 1; at < length; piece = piece * 7 % 40961 + 1) {
        struct iovec iov = {bytes + at, MIN(piece, length - at)};
        g_array_append_val(vectors, iov);
        at += iov.iov_len;
    }
    assert_true(vectors->len > 600);
    VmcBlockRequest req = {.op = VMC_BLOCK_READ,
                           .offset = 1024,
                           .length = length,
                           .iov = (struct iovec *)vectors->data,
                           .n_iov = vectors->len};
    unsigned before = bench->done;
    submit(bench, &req, 1);
    await_done(bench, before + 1);
    assert_int_equal(req.error, 0);
    expect_file(bytes, 1024, length);
    g_array_unref(vectors);
    g_free(bytes);
}

static void test_full_depth(void **state)
{
    Bench *bench = *state;
    static uint8_t bytes[DEPTH][4096];
    VmcBlockRequest requests[DEPTH];
    struct iovec iov[DEPTH];

    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < DEPTH; i++) {
            iov[i] = (struct iovec){bytes[i], 4096};
            requests[i] = (VmcBlockRequest){.op = VMC_BLOCK_READ,
                                            .offset = (i * 37 + round * 101) % 5000 * 4096ull,
                                            .length = 4096,
                                            .iov = &iov[i],
                                            .n_iov = 1};
        }
        submit(bench, requests, DEPTH);
        await_done(bench, DEPTH * (round + 1));
        for (unsigned i = 0; i < DEPTH; i++) {
            assert_int_equal(requests[i].error, 0);
            expect_file(bytes[i], (i * 37 + round * 101) % 5000 * 4096ull, 4096);
        }
    }
}

/* A file that was cut short gives errors, not made-up bytes; what was there before the cut is not said to be
 * missing. */
static void test_short_file(void **state)
{
    Bench *bench = *state;
    uint8_t bytes[8192];
    struct iovec iov = {bytes, sizeof(bytes)};

    assert_int_equal(truncate(bench->path, 6144), 0);
    VmcBlockRequest req = {
        .op = VMC_BLOCK_READ, .offset = 0, .length = sizeof(bytes), .iov = &iov, .n_iov = 1};
    submit(bench, &req, 1);
    await_done(bench, 1);
    assert_int_equal(req.error, -EIO);
    assert_true(req.length >= 2048);
    assert_int_equal(move(bench, VMC_BLOCK_READ, 8192, bytes, 512), -EIO);
    assert_int_equal(move(bench, VMC_BLOCK_READ, 0, bytes, 4096), 0);
    expect_file(bytes, 0, 4096);
}

static void cancel_now(void *data)
{
    Bench *bench = data;

    vmc_block_engine_cancel(bench->engine, true);
}

/* New requests end at once, those that were started are all given back; a flush is done all the same. */
static void test_cancel(void **state)
{
    Bench *bench = *state;
    size_t length = 16u << 20;
    uint8_t *bytes = g_malloc0(length);
    struct iovec iov = {bytes, length};
    VmcBlockRequest req = {.op = VMC_BLOCK_READ, .length = length, .iov = &iov, .n_iov = 1};

    submit(bench, &req, 1);
    vmc_io_call_sync(bench->io, cancel_now, bench);
    await_done(bench, 1);
    assert_true(req.error == -ECANCELED || req.error == 0);
    assert_int_equal(move(bench, VMC_BLOCK_READ, 0, bytes, 4096), -ECANCELED);
    assert_int_equal(move(bench, VMC_BLOCK_FLUSH, 0, NULL, 0), 0);
    g_free(bytes);
}

typedef struct OnThread {
    Bench *bench;
    VmcBlockRequest requests[DEPTH];
    struct iovec iov[DEPTH];
    uint8_t *bytes;
    bool all_done;
} OnThread;

/* Submits without running, so that nobody but drain can have seen to it. */
static void drain_on_io_thread(void *data)
{
    OnThread *t = data;

    for (unsigned i = 0; i < DEPTH; i++) {
        t->iov[i] = (struct iovec){t->bytes + i * 65536, 65536};
        t->requests[i] = (VmcBlockRequest){
            .op = VMC_BLOCK_READ, .offset = i * 65536, .length = 65536, .iov = &t->iov[i], .n_iov = 1};
        vmc_block_engine_submit(t->bench->engine, &t->requests[i]);
    }
    vmc_block_engine_drain(t->bench->engine);
    vmc_block_engine_run(t->bench->engine);
    t->all_done = t->bench->done == DEPTH;
}

static void test_drain_on_the_io_thread(void **state)
{
    OnThread t = {.bench = *state, .bytes = g_malloc0(DEPTH * 65536)};

    vmc_io_call_sync(t.bench->io, drain_on_io_thread, &t);
    assert_true(t.all_done);
    expect_file(t.bytes, 0, DEPTH * 65536);
    g_free(t.bytes);
}

/* From another thread, while the I/O thread goes on: afterwards nobody writes to the memory. */
static void test_drain_from_outside(void **state)
{
    Bench *bench = *state;
    size_t length = 1u << 20;
    uint8_t *bytes = g_malloc0(8 * length);
    VmcBlockRequest requests[8];
    struct iovec iov[8];

    for (unsigned round = 0; round < 10; round++) {
        for (unsigned i = 0; i < 8; i++) {
            iov[i] = (struct iovec){bytes + i * length, length};
            requests[i] = (VmcBlockRequest){
                .op = VMC_BLOCK_READ, .offset = i * length, .length = length, .iov = &iov[i], .n_iov = 1};
        }
        submit(bench, requests, 8);
        vmc_block_engine_drain(bench->engine);
        memset(bytes, 0xee, 8 * length);
        await_done(bench, 8 * (round + 1));
        for (size_t i = 0; i < 8 * length; i += 4096)
            assert_int_equal(bytes[i], 0xee);
    }
    g_free(bytes);
}

/* ---- a disk that answers as it is told ---- */

typedef struct Script {
    VmcDisk disk;
    int fd;
    bool mappable, refuse;
    _Atomic int mapped, reads, flushes;
} Script;

static int script_read(VmcDisk *disk, uint64_t offset, struct iovec *iov, unsigned n)
{
    ((Script *)disk)->reads++;
    for (unsigned i = 0; i < n; i++) {
        memset(iov[i].iov_base, 0x33, iov[i].iov_len);
        iov[i] = (struct iovec){0}; /* which a disk may do */
    }
    return ((Script *)disk)->refuse ? -ENOSPC : 0;
}

static int script_flush(VmcDisk *disk)
{
    ((Script *)disk)->flushes++;
    return 0;
}

static bool script_map(VmcDisk *disk, uint64_t offset, uint64_t length, bool write, VmcDiskExtent *extent)
{
    Script *script = (Script *)disk;

    if (!script->mappable)
        return false;
    *extent = (VmcDiskExtent){.fd = script->fd, .offset = offset, .length = length, .write = write};
    script->mapped++;
    return true;
}

static void script_unmap(VmcDisk *disk, const VmcDiskExtent *extent)
{
    ((Script *)disk)->mapped--;
}

static void script_close(VmcDisk *disk)
{
}

static const VmcDiskOps script_ops = {
    .name = "script",
    .read = script_read,
    .write = script_read,
    .flush = script_flush,
    .map = script_map,
    .unmap = script_unmap,
    .close = script_close,
};

static Script script_new(void)
{
    return (Script){.disk = {.ops = &script_ops, .size = BYTES, .block_size = 512}, .fd = -1};
}

/* Where the ring cannot go on, a worker does; what was mapped is given back. */
static void test_ring_refuses(void **state)
{
    Script script = script_new();
    uint8_t bytes[4096];

    script.mappable = true;
    Bench *bench = bench_new(&script.disk);
    bool ring = strcmp(vmc_block_engine_way(bench->engine), "io_uring") == 0;
    script.fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC); /* cannot be read at 0: EIO */
    int error = move(bench, VMC_BLOCK_READ, 0, bytes, sizeof(bytes));
    assert_int_equal(error, ring ? -EIO : 0);
    assert_int_equal(script.mapped, 0);
    close(script.fd);
    script.fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC); /* offsets in eights: EINVAL */
    int before = script.reads;
    assert_int_equal(move(bench, VMC_BLOCK_READ, 3, bytes, sizeof(bytes)), 0);
    assert_int_equal(script.reads, before + 1);
    assert_int_equal(bytes[0], 0x33);
    assert_int_equal(script.mapped, 0);
    bench_free(bench);
    close(script.fd);
}

/* What cannot be mapped goes to the workers, and a failed request can be sent again as it is. */
static void test_try_again(void **state)
{
    Script script = script_new();
    Bench *bench = bench_new(&script.disk);
    uint8_t bytes[4096] = {0};
    struct iovec iov = {bytes, sizeof(bytes)};
    VmcBlockRequest req = {
        .op = VMC_BLOCK_WRITE, .durable = true, .length = sizeof(bytes), .iov = &iov, .n_iov = 1};

    script.refuse = true;
    submit(bench, &req, 1);
    await_done(bench, 1);
    assert_int_equal(req.error, -ENOSPC);
    assert_int_equal(req.length, sizeof(bytes));
    assert_int_equal(iov.iov_len, sizeof(bytes));
    assert_int_equal(script.flushes, 0);
    script.refuse = false;
    submit(bench, &req, 1);
    await_done(bench, 2);
    assert_int_equal(req.error, 0);
    assert_int_equal(script.flushes, 1);
    bench_free(bench);
}

/* A durable write on the ring is flushed by a worker. */
static void test_durable(void **state)
{
    Bench *bench = *state;
    Script script = script_new();
    uint8_t bytes[4096] = {7};
    struct iovec iov = {bytes, sizeof(bytes)};
    VmcBlockRequest req = {
        .op = VMC_BLOCK_WRITE, .durable = true, .length = sizeof(bytes), .iov = &iov, .n_iov = 1};

    script.mappable = true;
    script.fd = open(bench->path, O_RDWR | O_CLOEXEC);
    Bench *own = bench_new(&script.disk);
    submit(own, &req, 1);
    await_done(own, 1);
    assert_int_equal(req.error, 0);
    assert_int_equal(script.flushes, 1);
    assert_int_equal(script.mapped, 0);
    bench_free(own);
    close(script.fd);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(test_way, setup, teardown),
    cmocka_unit_test_setup_teardown(test_read_write_flush, setup, teardown),
    cmocka_unit_test_setup_teardown(test_large_requests, setup, teardown),
    cmocka_unit_test_setup_teardown(test_full_depth, setup, teardown),
    cmocka_unit_test_setup_teardown(test_short_file, setup, teardown),
    cmocka_unit_test_setup_teardown(test_cancel, setup, teardown),
    cmocka_unit_test_setup_teardown(test_drain_on_the_io_thread, setup, teardown),
    cmocka_unit_test_setup_teardown(test_drain_from_outside, setup, teardown),
    cmocka_unit_test(test_ring_refuses),
    cmocka_unit_test(test_try_again),
    cmocka_unit_test_setup_teardown(test_durable, setup, teardown),
};

int main(void)
{
    int failed = cmocka_run_group_tests_name("with what the host has", tests, NULL, NULL);

    deny_with = EPERM;
    failed += cmocka_run_group_tests_name("io_uring denied", tests, NULL, NULL);
    deny_with = ENOSYS;
    failed += cmocka_run_group_tests_name("no io_uring", tests, NULL, NULL);
    return failed;
}
