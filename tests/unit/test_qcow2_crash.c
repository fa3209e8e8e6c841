/*
 * qcow2 images whose program, or whose computer, ends at any moment: afterwards qemu-img finds nothing but
 * leaked clusters, and every byte that was flushed is there.
 *
 * A killed program leaves the host's page cache, so all of its writes arrive. A computer that loses power
 * does not: of what was written since the last sync, any part may be in the file, in any order. The second
 * test sees every write and sync of the format (the linker's --wrap, see the Makefile), keeps what is
 * certain, and makes images with a random part of the rest.
 */
#include "tests/unit/qcow2_rig.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#define SECTORS 4096u /* of the disk */
#define LEAKS   3     /* qemu-img check's exit status */

/* What was done to each sector, by the number of the op. */
typedef struct Journal {
    uint32_t op;
    uint32_t issued[SECTORS];  /* the last one that was begun */
    uint32_t zeroed[SECTORS];  /* the last zeroing that was begun */
    uint32_t done[SECTORS];    /* the last one that returned */
    uint32_t flushed[SECTORS]; /* the last one that is safe */
} Journal;

/* A sector as op number `op` writes it. */
static void stamp(uint8_t *bytes, uint32_t sector, uint32_t op)
{
    uint32_t words[2] = {sector, op};

    for (unsigned i = 0; i < 512; i += 8)
        memcpy(bytes + i, words, 8);
}

static void one_op(VmcDisk *disk, Journal *j, GRand *rand)
{
    static uint8_t bytes[64 * 512];
    uint32_t sector = (uint32_t)g_rand_int_range(rand, 0, SECTORS);
    uint32_t n = (uint32_t)g_rand_int_range(rand, 1, 65);
    int kind = g_rand_int_range(rand, 0, 100), err;
    uint32_t op = ++j->op;

    n = MIN(n, SECTORS - sector);
    if (kind < 6) {
        uint32_t done[SECTORS];
        memcpy(done, j->done, sizeof(done));
        err = vmc_disk_flush(disk);
        if (!err)
            memcpy(j->flushed, done, sizeof(done));
    } else {
        bool zero = kind < 25;
        for (uint32_t i = 0; i < n; i++) {
            j->issued[sector + i] = op;
            if (zero)
                j->zeroed[sector + i] = op;
            stamp(bytes + i * 512, sector + i, op);
        }
        struct iovec iov = {bytes, n * 512};
        err = zero ? vmc_disk_write_zeroes(disk, sector * 512ull, n * 512ull, kind < 18)
                   : vmc_disk_write(disk, sector * 512ull, &iov, 1);
        for (uint32_t i = 0; i < n; i++)
            j->done[sector + i] = op;
    }
    if (err) {
        fprintf(stderr, "op %u: %s\n", op, g_strerror(-err));
        abort();
    }
}

/* Each sector is as an op left it that is not older than what was flushed. */
static void check_content(VmcDisk *disk, const Journal *j, const char *when)
{
    static const uint8_t zeroes[512];
    uint8_t bytes[512], expected[512];

    for (uint32_t s = 0; s < SECTORS; s++) {
        uint32_t op;
        rig_read(disk, s * 512ull, bytes, 512);
        if (memcmp(bytes, zeroes, 512) == 0) {
            if (j->flushed[s] && j->zeroed[s] < j->flushed[s])
                fail_msg("%s: sector %u has lost what op %u wrote and was flushed", when, s, j->flushed[s]);
            continue;
        }
        memcpy(&op, bytes + 4, 4);
        stamp(expected, s, op);
        rig_same(bytes, expected, 512, when);
        if (op < j->flushed[s] || op > j->issued[s])
            fail_msg("%s: sector %u is of op %u, flushed was %u, begun %u", when, s, op, j->flushed[s],
                     j->issued[s]);
    }
}

/* Sound, but for leaks; these are gone once we have written to it. */
static void check_image(const Rig *rig, const char *path, const Journal *j, const char *when)
{
    g_autofree char *output = NULL;
    /* A copy that stands alone: the image below is locked while we have it open. */
    g_autofree char *command = g_strdup_printf("cp '%s' alone && qemu-img rebase -u -f qcow2 -b '' alone && "
                                               "qemu-img check -f qcow2 alone",
                                               path);
    int status = rig_try(rig, &output, command);

    if (status && (!WIFEXITED(status) || WEXITSTATUS(status) != LEAKS))
        fail_msg("%s: %s", when, output);
    VmcDisk *disk = rig_open(path, "qcow2", false, true);
    check_content(disk, j, when);
    vmc_disk_close(disk);
}

static void make_images(const Rig *rig, unsigned round)
{
    rig_run(rig, "rm -f image below");
    if (round % 3 == 2)
        rig_run(
            rig,
            "qemu-img create -q -f qcow2 below %u && qemu-img create -q -f qcow2 -o cluster_size=4k -b below "
            "-F qcow2 image",
            SECTORS * 512);
    else
        rig_run(rig, "qemu-img create -q -f qcow2 -o cluster_size=%s image %u", round % 3 ? "512" : "8k",
                SECTORS * 512);
}

/* ---- killed ---- */

static void child(const char *path, Journal *j, uint32_t seed, unsigned microseconds)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL};
    struct itimerspec when = {.it_value = {microseconds / 1000000, microseconds % 1000000 * 1000}};
    GRand *rand = g_rand_new_with_seed(seed);
    timer_t timer;
    VmcDisk *disk = rig_open(path, "qcow2", false, true);

    if (timer_create(CLOCK_MONOTONIC, &event, &timer) || timer_settime(timer, 0, &when, NULL))
        abort();
    for (;;)
        one_op(disk, j, rand);
}

static void test_killed(void **state)
{
    const Rig *rig = *state;
    char *path = rig_path(rig, "image");
    Journal *j = mmap(NULL, sizeof(Journal), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    GRand *rand = g_rand_new_with_seed(50);
    uint32_t ops = 0;

    for (unsigned round = 0; round < 18; round++) {
        if (round % 4 == 0) { /* several times the same image, as it was left */
            make_images(rig, round / 4);
            memset(j, 0, sizeof(*j));
        }
        g_autofree char *when = g_strdup_printf("round %u", round);
        pid_t pid = fork();
        if (!pid)
            child(path, j, 100 + round, (unsigned)g_rand_int_range(rand, 300, 60000));
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
            fail_msg("%s: the writer ended by itself (%d)", when, status);
        ops += j->op;
        check_image(rig, path, j, when);
        memcpy(j->done, j->flushed, sizeof(j->done)); /* the rest has gone, or may have */
    }
    assert_true(ops > 100);
    g_rand_free(rand);
    munmap(j, sizeof(*j));
}

/* ---- without power ---- */

typedef struct Write {
    uint64_t offset;
    uint8_t *bytes;
    size_t length;
} Write;

/* What --wrap sees. */
static struct {
    bool on;
    GByteArray *certain; /* the file as it is since the last sync */
    GArray *pending;     /* of Write, since then */
    unsigned syncs, stop_at_sync;
} power;

static void resize_certain(uint64_t size)
{
    guint before = power.certain->len;

    if (size > before) {
        g_byte_array_set_size(power.certain, (guint)size);
        memset(power.certain->data + before, 0, (size_t)size - before);
    }
}

static void put(GByteArray *file, uint64_t offset, const uint8_t *bytes, size_t length)
{
    if (offset + length > file->len)
        resize_certain(offset + length);
    memcpy(file->data + offset, bytes, length);
}

static void note(uint64_t offset, const void *bytes, size_t length)
{
    Write w = {offset, g_memdup2(bytes, length), length};

    g_array_append_val(power.pending, w);
}

static void forget_pending(void)
{
    for (guint i = 0; i < power.pending->len; i++)
        g_free(g_array_index(power.pending, Write, i).bytes);
    g_array_set_size(power.pending, 0);
}

ssize_t __real_pwrite(int fd, const void *bytes, size_t length, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t length, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t length, off_t offset)
{
    ssize_t done = __real_pwrite(fd, bytes, length, offset);

    if (power.on && done > 0)
        note((uint64_t)offset, bytes, (size_t)done);
    return done;
}

ssize_t __real_pwritev(int fd, const struct iovec *iov, int n, off_t offset);
ssize_t __wrap_pwritev(int fd, const struct iovec *iov, int n, off_t offset);
ssize_t __wrap_pwritev(int fd, const struct iovec *iov, int n, off_t offset)
{
    ssize_t done = __real_pwritev(fd, iov, n, offset);
    uint64_t at = (uint64_t)offset;

    for (int i = 0; power.on && i < n; i++) {
        note(at, iov[i].iov_base, iov[i].iov_len);
        at += iov[i].iov_len;
    }
    return done;
}

/* Holes are made when their clusters are free: as certain as bytes are. */
int __real_fallocate(int fd, int mode, off_t offset, off_t length);
int __wrap_fallocate(int fd, int mode, off_t offset, off_t length);
int __wrap_fallocate(int fd, int mode, off_t offset, off_t length)
{
    int result = __real_fallocate(fd, mode, offset, length);

    if (power.on && !result) {
        g_autofree uint8_t *zeroes = g_malloc0((size_t)length);
        note((uint64_t)offset, zeroes, (size_t)length);
    }
    return result;
}

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
    struct stat st;

    if (power.on && !fstat(fd, &st)) {
        resize_certain((uint64_t)st.st_size);
        for (guint i = 0; i < power.pending->len; i++) {
            Write *w = &g_array_index(power.pending, Write, i);
            put(power.certain, w->offset, w->bytes, w->length);
        }
        forget_pending();
        power.syncs++;
    }
    return __real_fdatasync(fd);
}

/* The file as it may be after the power has gone. */
static void save_torn(const char *path, GRand *rand)
{
    GByteArray *file = g_byte_array_new();
    gint keep = g_rand_int_range(rand, 0, 11); /* of ten */

    g_byte_array_append(file, power.certain->data, power.certain->len);
    for (guint i = 0; i < power.pending->len; i++) {
        Write *w = &g_array_index(power.pending, Write, i);
        for (size_t at = 0; at < w->length;) {
            size_t here = MIN(w->length - at, 512 - (w->offset + at) % 512);
            uint64_t end = w->offset + at + here;
            if (g_rand_int_range(rand, 0, 10) < keep) {
                if (end > file->len) {
                    guint before = file->len;
                    g_byte_array_set_size(file, (guint)end);
                    memset(file->data + before, 0, (size_t)end - before);
                }
                memcpy(file->data + w->offset + at, w->bytes + at, here);
            }
            at += here;
        }
    }
    rig_save(path, file->data, file->len);
    g_byte_array_unref(file);
}

static void test_power_failure(void **state)
{
    const Rig *rig = *state;
    char *path = rig_path(rig, "image"), *torn = rig_path(rig, "torn");
    Journal *j = g_new0(Journal, 1);
    GRand *rand = g_rand_new_with_seed(60);

    power.certain = g_byte_array_new();
    power.pending = g_array_new(FALSE, FALSE, sizeof(Write));
    for (unsigned round = 0; round < 6; round++) {
        gchar *bytes;
        gsize length;
        make_images(rig, round);
        memset(j, 0, sizeof(*j));
        assert_true(g_file_get_contents(path, &bytes, &length, NULL));
        g_byte_array_set_size(power.certain, 0);
        g_byte_array_append(power.certain, (const guint8 *)bytes, (guint)length);
        g_free(bytes);
        power.on = true;
        VmcDisk *disk = rig_open(path, "qcow2", false, true);
        for (unsigned i = 0; i < 8; i++) {
            gint ops = g_rand_int_range(rand, 1, 40);
            for (gint k = 0; k < ops; k++)
                one_op(disk, j, rand);
            power.on = false;
            save_torn(torn, rand);
            g_autofree char *when =
                g_strdup_printf("round %u, image %u after %u syncs", round, i, power.syncs);
            check_image(rig, torn, j, when);
            power.on = true;
        }
        vmc_disk_close(disk);
        power.on = false;
        forget_pending();
    }
    assert_true(power.syncs > 30);
    g_array_unref(power.pending);
    g_byte_array_unref(power.certain);
    g_rand_free(rand);
    g_free(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_killed, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_power_failure, rig_setup, rig_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
