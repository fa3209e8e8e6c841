/*
 * virtio-fs without a guest: a driver of a few lines keeps FUSE requests in the ring of the real device,
 * through its real transport, as fast as they come back; and the same on the same file with plain system
 * calls of one thread, in turn.
 *
 *     ring_fs FOLDER SECONDS
 *
 * Prints a line for each pattern: requests a second by the device, by system calls, and the ratio; then how
 * many microseconds of processor a request took, the driver's included, and that ratio, which says more where
 * other programs run. "files" is making a file, asking for its attributes, closing, removing and forgetting
 * it: one of those a request.
 */
#define RIG_RAM (64u << 20)
#define RIG_ROM 0x10000000ull

#include "tests/unit/virtio_rig.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPTH     16u
#define SIZE      256u
#define SPINS_MAX 1000u
#define FILE_SIZE (256u << 20)
#define HEAD      512u /* bytes of a slot for what is said, and as many for answers */
#define ROUNDS    3u

typedef struct Pattern {
    const char *name;
    uint32_t opcode; /* 0: files */
    uint32_t bytes;
    bool random;
} Pattern;

static const Pattern patterns[] = {
    {"read-1m", FUSE_READ, 1 << 20, false},   {"randread-4k", FUSE_READ, 4096, true},
    {"write-1m", FUSE_WRITE, 1 << 20, false}, {"randwrite-4k", FUSE_WRITE, 4096, true},
    {"getattr", FUSE_GETATTR, 0, false},      {"files", 0, 0, false},
};

typedef struct Speed {
    double rate, processor; /* requests a second, microseconds a request */
} Speed;

/* What a slot of the pattern "files" does next. */
static const uint32_t file_steps[] = {FUSE_CREATE, FUSE_GETATTR, FUSE_RELEASE, FUSE_UNLINK, FUSE_FORGET};

typedef struct Slot {
    unsigned step;
    uint64_t nodeid, fh;
} Slot;

typedef struct Bench {
    Rig rig;
    RigQueue *q;
    struct vring_avail *avail;
    struct vring_used *used;
    uint16_t kicked;
    uint64_t heads, data, next, random, unique;
    uint64_t nodeid, fh;
    Slot slots[DEPTH];
    int fd, dir; /* the same for system calls */
    uint8_t *buffer;
} Bench;

static uint64_t next_offset(Bench *b, const Pattern *pattern)
{
    uint64_t n = FILE_SIZE / pattern->bytes;

    b->random = b->random * 6364136223846793005u + 1442695040888963407u;
    return (pattern->random ? (b->random >> 33) % n : b->next++ % n) * pattern->bytes;
}

/* ---- through the ring ---- */

/* What a request says behind its header; its length. */
static uint32_t arguments(Bench *b, const Pattern *pattern, unsigned n, uint32_t opcode, void *args)
{
    Slot *slot = &b->slots[n];

    switch (opcode) {
    case FUSE_READ:
        *(struct fuse_read_in *)args =
            (struct fuse_read_in){.fh = b->fh, .offset = next_offset(b, pattern), .size = pattern->bytes};
        return sizeof(struct fuse_read_in);
    case FUSE_WRITE:
        *(struct fuse_write_in *)args =
            (struct fuse_write_in){.fh = b->fh, .offset = next_offset(b, pattern), .size = pattern->bytes};
        return sizeof(struct fuse_write_in);
    case FUSE_GETATTR:
        *(struct fuse_getattr_in *)args = (struct fuse_getattr_in){0};
        return sizeof(struct fuse_getattr_in);
    case FUSE_CREATE:
        *(struct fuse_create_in *)args = (struct fuse_create_in){.flags = O_RDWR | O_EXCL, .mode = 0644};
        return (uint32_t)sizeof(struct fuse_create_in) +
               (uint32_t)sprintf((char *)args + sizeof(struct fuse_create_in), "file-%u", n) + 1;
    case FUSE_RELEASE:
        *(struct fuse_release_in *)args = (struct fuse_release_in){.fh = slot->fh};
        return sizeof(struct fuse_release_in);
    case FUSE_UNLINK:
        return (uint32_t)sprintf(args, "file-%u", n) + 1;
    default:
        *(struct fuse_forget_in *)args = (struct fuse_forget_in){.nlookup = 1};
        return sizeof(struct fuse_forget_in);
    }
}

static uint64_t node_of(const Bench *b, const Pattern *pattern, unsigned n, uint32_t opcode)
{
    if (pattern->opcode)
        return b->nodeid;
    return opcode == FUSE_CREATE || opcode == FUSE_UNLINK ? FUSE_ROOT_ID : b->slots[n].nodeid;
}

static void describe(Bench *b, unsigned n, unsigned which, uint64_t gpa, uint32_t len, uint16_t flags)
{
    *rig_desc(&b->rig, b->q, 4 * n + which) =
        (struct vring_desc){gpa, len, flags, (uint16_t)(4 * n + which + 1)};
}

static void send(Bench *b, const Pattern *pattern, unsigned n)
{
    uint32_t opcode = pattern->opcode ? pattern->opcode : file_steps[b->slots[n].step];
    uint64_t head = b->heads + 2 * HEAD * n, data = b->data + ((uint64_t)n << 20);
    struct fuse_in_header *header = rig_host(&b->rig, head, HEAD);
    unsigned which = 0;

    *header = (struct fuse_in_header){.opcode = opcode,
                                      .unique = ++b->unique,
                                      .uid = 1000,
                                      .gid = 1000,
                                      .nodeid = node_of(b, pattern, n, opcode)};
    uint32_t said = (uint32_t)sizeof(*header) + arguments(b, pattern, n, opcode, header + 1);
    header->len = said + (opcode == FUSE_WRITE ? pattern->bytes : 0);
    describe(b, n, which++, head, said, opcode == FUSE_FORGET ? 0 : VRING_DESC_F_NEXT);
    if (opcode == FUSE_WRITE)
        describe(b, n, which++, data, pattern->bytes, VRING_DESC_F_NEXT);
    if (opcode == FUSE_READ) {
        describe(b, n, which++, head + HEAD, 16, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE);
        describe(b, n, which++, data, pattern->bytes, VRING_DESC_F_WRITE);
    } else if (opcode != FUSE_FORGET) {
        describe(b, n, which++, head + HEAD, HEAD, VRING_DESC_F_WRITE);
    }
    b->avail->ring[b->q->next_avail++ % SIZE] = (uint16_t)(4 * n);
}

static void publish(Bench *b)
{
    __atomic_store_n(&b->avail->idx, b->q->next_avail, __ATOMIC_SEQ_CST);
    uint16_t event = __atomic_load_n((uint16_t *)&b->used->ring[SIZE], __ATOMIC_SEQ_CST);
    if (vring_need_event(event, b->q->next_avail, b->kicked))
        rig_kick(&b->rig, b->q);
    b->kicked = b->q->next_avail;
}

static bool something_used(Bench *b)
{
    return __atomic_load_n(&b->used->idx, __ATOMIC_ACQUIRE) != b->q->last_used;
}

static void await_used(Bench *b)
{
    for (unsigned i = 0; i < SPINS_MAX; i++) {
        if (something_used(b))
            return;
        __builtin_ia32_pause();
    }
    rig_want_interrupt(&b->rig, b->q);
    g_mutex_lock(&b->rig.lock);
    while (!something_used(b))
        if (!g_cond_wait_until(&b->rig.cond, &b->rig.lock, g_get_monotonic_time() + 60 * G_TIME_SPAN_SECOND))
            g_error("the device does not answer");
    g_mutex_unlock(&b->rig.lock);
}

/* Looks at an answer; for "files", goes on to the next step. */
static void take_answer(Bench *b, const Pattern *pattern, unsigned n, uint32_t len)
{
    const struct fuse_out_header *header = rig_host(&b->rig, b->heads + 2 * HEAD * n + HEAD, HEAD);
    Slot *slot = &b->slots[n];
    bool answered = pattern->opcode || file_steps[slot->step] != FUSE_FORGET;

    if (answered &&
        (header->error || header->len != len || (pattern->opcode == FUSE_READ && len != 16 + pattern->bytes)))
        g_error("%s came back with %u bytes and error %d", pattern->name, len, header->error);
    if (pattern->opcode)
        return;
    if (file_steps[slot->step] == FUSE_CREATE) {
        slot->nodeid = ((const struct fuse_entry_out *)(header + 1))->nodeid;
        slot->fh = ((const struct fuse_open_out *)((const struct fuse_entry_out *)(header + 1) + 1))->fh;
    }
    slot->step = (slot->step + 1) % G_N_ELEMENTS(file_steps);
}

static double processor_seconds(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static Speed speed_of(uint64_t done, double seconds, double processor_before)
{
    return (Speed){(double)done / seconds, (processor_seconds() - processor_before) * 1e6 / (double)done};
}

static Speed by_device(Bench *b, const Pattern *pattern, double seconds)
{
    double before = processor_seconds();
    gint64 end = g_get_monotonic_time() + (gint64)(seconds * G_TIME_SPAN_SECOND);
    unsigned out = DEPTH;
    uint64_t done = 0;

    for (unsigned i = 0; i < DEPTH; i++)
        send(b, pattern, i);
    publish(b);
    while (out) {
        await_used(b);
        bool go_on = g_get_monotonic_time() < end;
        while (something_used(b)) {
            struct vring_used_elem elem = b->used->ring[b->q->last_used++ % SIZE];
            unsigned n = elem.id / 4;
            take_answer(b, pattern, n, elem.len);
            done++;
            /* Files are not left behind. */
            if (go_on || (!pattern->opcode && b->slots[n].step))
                send(b, pattern, n);
            else
                out--;
        }
        publish(b);
    }
    return speed_of(done, seconds, before);
}

/* ---- by system calls ---- */

static void one_file(Bench *b)
{
    struct stat st;
    int fd = openat(b->dir, "plain", O_RDWR | O_CREAT | O_EXCL, 0644);

    if (fd < 0 || fstat(fd, &st) || close(fd) || unlinkat(b->dir, "plain", 0))
        g_error("no file");
}

static Speed by_system_calls(Bench *b, const Pattern *pattern, double seconds)
{
    double before = processor_seconds();
    gint64 end = g_get_monotonic_time() + (gint64)(seconds * G_TIME_SPAN_SECOND);
    struct iovec iov = {b->buffer, pattern->bytes};
    struct stat st;
    uint64_t done = 0;

    while (g_get_monotonic_time() < end) {
        ssize_t moved = pattern->bytes;
        if (pattern->opcode == FUSE_READ)
            moved = preadv(b->fd, &iov, 1, (off_t)next_offset(b, pattern));
        else if (pattern->opcode == FUSE_WRITE)
            moved = pwritev(b->fd, &iov, 1, (off_t)next_offset(b, pattern));
        else if (pattern->opcode)
            moved = fstat(b->fd, &st);
        else
            one_file(b);
        if (moved != (ssize_t)pattern->bytes)
            g_error("%s moved %zd bytes", pattern->name, moved);
        done += pattern->opcode ? 1 : G_N_ELEMENTS(file_steps);
    }
    return speed_of(done, seconds, before);
}

/* ---- both ---- */

/* One request before all else: its answer's payload. */
static const void *ask(Bench *b, uint32_t opcode, const void *args, uint32_t len)
{
    struct fuse_in_header *header = rig_host(&b->rig, b->heads, HEAD);

    *header = (struct fuse_in_header){
        .len = (uint32_t)sizeof(*header) + len, .opcode = opcode, .unique = 1, .nodeid = 1};
    memcpy(header + 1, args, len);
    describe(b, 0, 0, b->heads, header->len, VRING_DESC_F_NEXT);
    describe(b, 0, 1, b->heads + HEAD, HEAD, VRING_DESC_F_WRITE);
    b->avail->ring[b->q->next_avail++ % SIZE] = 0;
    publish(b);
    await_used(b);
    b->q->last_used++;
    const struct fuse_out_header *answer = rig_host(&b->rig, b->heads + HEAD, HEAD);
    if (answer->error)
        g_error("request %u: error %d", opcode, answer->error);
    return answer + 1;
}

static void open_session(Bench *b)
{
    struct fuse_init_in init = {.major = 7, .minor = 31, .flags = ~0u};
    struct {
        struct fuse_create_in in;
        char name[8];
    } create = {{.flags = O_RDWR, .mode = 0644}, "data"};

    ask(b, FUSE_INIT, &init, sizeof(init));
    const struct fuse_entry_out *entry = ask(b, FUSE_CREATE, &create, sizeof(create));
    b->nodeid = entry->nodeid;
    b->fh = ((const struct fuse_open_out *)(entry + 1))->fh;
}

static void open_plainly(Bench *b, const char *folder)
{
    b->dir = open(folder, O_RDONLY | O_DIRECTORY);
    b->fd = openat(b->dir, "data", O_RDWR | O_CREAT, 0644);
    b->buffer = g_aligned_alloc0(1 << 20, 1, 4096); /* as a guest's pages are */
    for (unsigned i = 0; i < FILE_SIZE >> 20; i++)
        if (pwrite(b->fd, b->buffer, 1 << 20, (off_t)i << 20) != 1 << 20)
            g_error("“%s” has no room for the test's file", folder);
}

static void keep_best(Speed *best, Speed now)
{
    best->rate = MAX(best->rate, now.rate);
    best->processor = best->processor > 0 ? MIN(best->processor, now.processor) : now.processor;
}

static void run(Bench *b, const Pattern *pattern, double seconds)
{
    Speed device = {0}, plain = {0};

    for (unsigned i = 0; i < ROUNDS; i++) {
        keep_best(&device, by_device(b, pattern, seconds));
        keep_best(&plain, by_system_calls(b, pattern, seconds));
    }
    printf("%-13s device %7.0f/s  system calls %7.0f/s  %5.2f    processor %6.1f us  %6.1f us  %5.2f\n",
           pattern->name, device.rate, plain.rate, device.rate / plain.rate, device.processor,
           plain.processor, plain.processor / device.processor);
}

int main(int argc, char **argv)
{
    static Bench b;
    GError *error = NULL;
    VmcShareOptions options = {.uid = 1000, .gid = 1000};

    if (argc != 3)
        g_error("ring_fs FOLDER SECONDS");
    VmcShare *share = vmc_share_new(argv[1], &options, &error);
    if (!share)
        g_error("%s", error->message);
    open_plainly(&b, argv[1]);
    rig_init(&b.rig);
    rig_plug(&b.rig, vmc_virtio_fs_new(&b.rig.host, share, "bench", VMC_SHARE_CACHE_AUTO, 1));
    rig_bring_up(&b.rig, RIG_FEATURES, 2, SIZE);
    b.q = &b.rig.queues[1];
    b.avail = rig_host(&b.rig, b.q->avail, 6 + 2 * SIZE);
    b.used = rig_host(&b.rig, b.q->used, 6 + 8 * SIZE);
    b.heads = rig_alloc(&b.rig, 2 * HEAD * DEPTH);
    b.data = rig_alloc(&b.rig, (uint64_t)DEPTH << 20);
    b.random = 1;
    open_session(&b);
    for (unsigned i = 0; i < G_N_ELEMENTS(patterns); i++)
        run(&b, &patterns[i], g_ascii_strtod(argv[2], NULL));
    rig_clear(&b.rig);
    close(b.fd);
    close(b.dir);
    g_aligned_free(b.buffer);
    return 0;
}
