/* Raw disks on real files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "block/disk.h"
#include "vmcore/error.h"

typedef struct Place {
    char *folder, *path;
} Place;

static int setup(void **state)
{
    Place *place = g_new0(Place, 1);

    place->folder = g_dir_make_tmp("vmcore-block-XXXXXX", NULL);
    assert_non_null(place->folder);
    place->path = g_build_filename(place->folder, "disk.img", NULL);
    *state = place;
    return 0;
}

static int teardown(void **state)
{
    Place *place = *state;

    g_chmod(place->path, 0600);
    g_remove(place->path);
    g_rmdir(place->folder);
    g_free(place->path);
    g_free(place->folder);
    g_free(place);
    return 0;
}

static void make_file(const char *path, off_t size)
{
    int fd = open(path, O_CREAT | O_RDWR | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, size), 0);
    close(fd);
}

/* One sentence that names the file and says `what`. */
static void expect_refused(const char *path, bool readonly, int code, const char *what)
{
    GError *error = NULL;
    VmcDisk *disk = vmc_disk_open_raw(path, readonly, &error);

    assert_null(disk);
    assert_true(g_error_matches(error, VMC_ERROR, code));
    if (!strstr(error->message, path) || !strstr(error->message, what) || strchr(error->message, '\n'))
        fail_msg("“%s” should name “%s” and say “%s”", error->message, path, what);
    g_error_free(error);
}

static void test_read_write_flush(void **state)
{
    Place *place = *state;
    uint8_t out[3][1024], in[2048];
    GError *error = NULL;

    make_file(place->path, 1 << 20);
    VmcDisk *disk = vmc_disk_open_raw(place->path, false, &error);
    assert_null(error);
    assert_int_equal(disk->size, 1 << 20);
    assert_true(disk->block_size >= 512);
    memset(out[0], 'a', 1024);
    memset(out[1], 'b', 1024);
    struct iovec pieces[] = {{out[0], 1024}, {out[1], 0}, {out[1], 512}, {out[1], 512}};
    assert_int_equal(vmc_disk_write(disk, 4096, pieces, 4), 0);
    assert_int_equal(vmc_disk_flush(disk), 0);
    struct iovec whole = {in, sizeof(in)};
    assert_int_equal(vmc_disk_read(disk, 4096, &whole, 1), 0);
    assert_memory_equal(in, out[0], 1024);
    assert_memory_equal(in + 1024, out[1], 1024);
    whole = (struct iovec){in, 512};
    assert_int_equal(vmc_disk_read(disk, (1 << 20) - 512, &whole, 1), 0);
    assert_int_equal(in[0], 0);
    vmc_disk_close(disk);

    char *bytes;
    gsize length;
    assert_true(g_file_get_contents(place->path, &bytes, &length, NULL));
    assert_int_equal(length, 1 << 20);
    assert_memory_equal(bytes + 4096, out[0], 1024);
    g_free(bytes);
}

/* More vectors than the kernel takes in one call. */
static void test_many_vectors(void **state)
{
    Place *place = *state;
    unsigned n = IOV_MAX * 2 + 7;
    uint8_t *bytes = g_malloc(n * 512), *back = g_malloc(n * 512);
    struct iovec *iov = g_new(struct iovec, n);

    make_file(place->path, n * 512);
    VmcDisk *disk = vmc_disk_open_raw(place->path, false, NULL);
    for (unsigned i = 0; i < n; i++) {
        memset(bytes + i * 512, (int)i * 7, 512);
        iov[i] = (struct iovec){bytes + i * 512, 512};
    }
    assert_int_equal(vmc_disk_write(disk, 0, iov, n), 0);
    for (unsigned i = 0; i < n; i++)
        iov[i] = (struct iovec){back + i * 512, 512};
    assert_int_equal(vmc_disk_read(disk, 0, iov, n), 0);
    assert_memory_equal(bytes, back, n * 512);
    vmc_disk_close(disk);
    g_free(bytes);
    g_free(back);
    g_free(iov);
}

static void test_readonly(void **state)
{
    Place *place = *state;
    uint8_t sector[512] = "text";
    struct iovec iov = {sector, 512};

    make_file(place->path, 512);
    g_chmod(place->path, 0400);
    VmcDisk *disk = vmc_disk_open_raw(place->path, true, NULL);
    assert_non_null(disk);
    assert_true(disk->readonly);
    assert_int_equal(vmc_disk_write(disk, 0, &iov, 1), -EROFS);
    assert_int_equal(vmc_disk_flush(disk), 0);
    assert_int_equal(vmc_disk_read(disk, 0, &iov, 1), 0);
    vmc_disk_close(disk);
    if (geteuid()) /* root may write everywhere */
        expect_refused(place->path, false, VMC_ERROR_RESOURCE, "read-only");
}

static void test_odd_size(void **state)
{
    Place *place = *state;

    make_file(place->path, 512 * 3 + 511);
    VmcDisk *disk = vmc_disk_open_raw(place->path, false, NULL);
    assert_int_equal(disk->size, 512 * 3);
    vmc_disk_close(disk);
    struct stat st;
    assert_int_equal(stat(place->path, &st), 0);
    assert_int_equal(st.st_size, 512 * 3 + 511); /* left as it was */
}

static void test_not_a_disk(void **state)
{
    Place *place = *state;

    expect_refused(place->path, false, VMC_ERROR_CONFIG, "No such file");
    assert_false(g_file_test(place->path, G_FILE_TEST_EXISTS)); /* nothing created */
    expect_refused(place->folder, false, VMC_ERROR_CONFIG, "a directory");
    expect_refused(place->folder, true, VMC_ERROR_CONFIG, "a directory");
    expect_refused("/dev/null", false, VMC_ERROR_CONFIG, "not a disk");
    make_file(place->path, 0);
    expect_refused(place->path, false, VMC_ERROR_CONFIG, "0 bytes");
    make_file(place->path, 511);
    expect_refused(place->path, true, VMC_ERROR_CONFIG, "511 bytes");
    g_remove(place->path);
    /* Opening this one would wait for a writer. */
    assert_int_equal(mkfifo(place->path, 0600), 0);
    expect_refused(place->path, true, VMC_ERROR_CONFIG, "not a disk");
    expect_refused(place->path, false, VMC_ERROR_CONFIG, "not a disk");
}

static void test_locks(void **state)
{
    Place *place = *state;

    make_file(place->path, 4096);
    VmcDisk *one = vmc_disk_open_raw(place->path, false, NULL);
    assert_non_null(one);
    expect_refused(place->path, false, VMC_ERROR_RESOURCE, "another virtual machine");
    expect_refused(place->path, true, VMC_ERROR_RESOURCE, "another virtual machine");
    vmc_disk_close(one);

    one = vmc_disk_open_raw(place->path, true, NULL);
    VmcDisk *two = vmc_disk_open_raw(place->path, true, NULL);
    assert_true(one && two);
    expect_refused(place->path, false, VMC_ERROR_RESOURCE, "another virtual machine");
    vmc_disk_close(one);
    expect_refused(place->path, false, VMC_ERROR_RESOURCE, "another virtual machine");
    vmc_disk_close(two);
    one = vmc_disk_open_raw(place->path, false, NULL);
    assert_non_null(one);
    vmc_disk_close(one);
}

/* A lock held by another process, gone when that is killed. */
static void test_lock_of_another_process(void **state)
{
    Place *place = *state;
    int ready[2];

    make_file(place->path, 4096);
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (!child) {
        bool good = vmc_disk_open_raw(place->path, false, NULL);
        if (write(ready[1], good ? "y" : "n", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    char answer = 0;
    assert_int_equal(read(ready[0], &answer, 1), 1);
    assert_int_equal(answer, 'y');
    expect_refused(place->path, false, VMC_ERROR_RESOURCE, "another virtual machine");
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    VmcDisk *disk = vmc_disk_open_raw(place->path, false, NULL);
    assert_non_null(disk);
    vmc_disk_close(disk);
    close(ready[0]);
    close(ready[1]);
}

/* A file that was cut short while in use gives errors, not made-up bytes. */
static void test_truncated_while_open(void **state)
{
    Place *place = *state;
    uint8_t bytes[1024];
    struct iovec iov = {bytes, sizeof(bytes)};

    make_file(place->path, 8192);
    VmcDisk *disk = vmc_disk_open_raw(place->path, false, NULL);
    assert_int_equal(truncate(place->path, 4096 + 512), 0);
    assert_int_equal(vmc_disk_read(disk, 4096, &iov, 1), -EIO);
    vmc_disk_close(disk);
    vmc_disk_close(NULL);
}

/* The format is what the user says, and only that. */
static void test_format_by_name(void **state)
{
    Place *place = *state;
    GError *error = NULL;

    assert_true(g_file_set_contents(place->path, "QFI\xfb\0\0\0\3", 8, NULL)); /* as a qcow2 begins */
    assert_int_equal(truncate(place->path, 4096), 0);
    VmcDiskOpen params = {.path = place->path, .format = "raw"};
    VmcDisk *disk = vmc_disk_open(&params, &error);
    assert_null(error);
    assert_string_equal(disk->ops->name, "raw");
    assert_int_equal(disk->size, 4096);
    assert_string_equal(disk->path, place->path);
    vmc_disk_close(disk);

    params.format = "vhd";
    assert_null(vmc_disk_open(&params, &error));
    assert_true(g_error_matches(error, VMC_ERROR, VMC_ERROR_CONFIG));
    assert_non_null(strstr(error->message, place->path));
    assert_non_null(strstr(error->message, "“vhd”"));
    assert_non_null(strstr(error->message, "give raw"));
    g_clear_error(&error);
}

/* ---- space ---- */

static uint64_t space_used(const char *path)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

static void fill(VmcDisk *disk, uint64_t offset, size_t length, uint8_t what)
{
    uint8_t *bytes = g_malloc(length);
    struct iovec iov = {bytes, length};

    memset(bytes, what, length);
    assert_int_equal(vmc_disk_write(disk, offset, &iov, 1), 0);
    g_free(bytes);
}

static void expect_bytes(VmcDisk *disk, uint64_t offset, size_t length, uint8_t what)
{
    uint8_t *bytes = g_malloc(length);
    struct iovec iov = {bytes, length};

    assert_int_equal(vmc_disk_read(disk, offset, &iov, 1), 0);
    for (size_t i = 0; i < length; i++)
        if (bytes[i] != what)
            fail_msg("byte %zu behind %" G_GUINT64_FORMAT " is %#x, not %#x", i, offset, bytes[i], what);
    g_free(bytes);
}

static bool has_holes(const char *folder)
{
    g_autofree char *path = g_build_filename(folder, "probe", NULL);
    int fd = open(path, O_CREAT | O_RDWR, 0600);
    bool can = ftruncate(fd, 65536) == 0 && fallocate(fd, 0, 0, 65536) == 0 &&
               fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 65536) == 0;

    close(fd);
    g_remove(path);
    return can;
}

static void test_sparse(void **state)
{
    Place *place = *state;

    make_file(place->path, 64 << 20);
    VmcDisk *disk = vmc_disk_open_raw(place->path, false, NULL);
    fill(disk, 32 << 20, 4096, 'x');
    assert_int_equal(vmc_disk_flush(disk), 0);
    assert_true(space_used(place->path) < 1 << 20);
    expect_bytes(disk, (32 << 20) - 4096, 4096, 0);
    vmc_disk_close(disk);
}

/* What is discarded is given back to the host, to the byte what was asked and nothing beside it. */
static void test_discard(void **state)
{
    Place *place = *state;

    if (!has_holes(place->folder)) {
        print_message("this file system makes no holes\n");
        skip();
    }
    make_file(place->path, 8 << 20);
    VmcDisk *disk = vmc_disk_open_raw(place->path, false, NULL);
    assert_true(vmc_disk_can_discard(disk));
    fill(disk, 0, 8 << 20, 'y');
    assert_int_equal(vmc_disk_flush(disk), 0);
    uint64_t before = space_used(place->path);
    assert_int_equal(vmc_disk_discard(disk, (1 << 20) + 512, 6 << 20), 0);
    assert_true(space_used(place->path) + (5 << 20) < before);
    expect_bytes(disk, 0, (1 << 20) + 512, 'y');
    expect_bytes(disk, (1 << 20) + 512, 6 << 20, 0);
    expect_bytes(disk, (7 << 20) + 512, (1 << 20) - 512, 'y');
    vmc_disk_close(disk);
    struct stat st;
    assert_int_equal(stat(place->path, &st), 0);
    assert_int_equal(st.st_size, 8 << 20);
}

static void test_write_zeroes(void **state)
{
    Place *place = *state;

    make_file(place->path, 4 << 20);
    VmcDisk *disk = vmc_disk_open_raw(place->path, false, NULL);
    for (int unmap = 0; unmap < 2; unmap++) {
        fill(disk, 0, 4 << 20, 'z');
        assert_int_equal(vmc_disk_write_zeroes(disk, 512, (2 << 20) + 512, unmap), 0);
        expect_bytes(disk, 0, 512, 'z');
        expect_bytes(disk, 512, (2 << 20) + 512, 0);
        expect_bytes(disk, (2 << 20) + 1024, (2 << 20) - 1024, 'z');
    }
    vmc_disk_close(disk);
}

static void test_readonly_stays(void **state)
{
    Place *place = *state;

    make_file(place->path, 4096);
    VmcDisk *disk = vmc_disk_open_raw(place->path, true, NULL);
    VmcDiskExtent extent;
    assert_false(vmc_disk_can_discard(disk) || vmc_disk_can_write_zeroes(disk) || vmc_disk_can_grow(disk));
    assert_int_equal(vmc_disk_discard(disk, 0, 4096), -EROFS);
    assert_int_equal(vmc_disk_write_zeroes(disk, 0, 4096, true), -EROFS);
    assert_int_equal(vmc_disk_grow(disk, 8192), -EROFS);
    assert_false(vmc_disk_map(disk, 0, 4096, true, &extent));
    assert_true(vmc_disk_map(disk, 0, 4096, false, &extent));
    vmc_disk_close(disk);
}

static void test_grow(void **state)
{
    Place *place = *state;
    struct stat st;

    make_file(place->path, 1 << 20);
    VmcDisk *disk = vmc_disk_open_raw(place->path, false, NULL);
    fill(disk, 0, 1 << 20, 'g');
    assert_int_equal(vmc_disk_grow(disk, 3 << 20), 0);
    assert_int_equal(disk->size, 3 << 20);
    expect_bytes(disk, 0, 1 << 20, 'g');
    expect_bytes(disk, 1 << 20, 2 << 20, 0);
    fill(disk, (3 << 20) - 512, 512, 'h');
    /* Made longer by somebody else already: what is there stays. */
    assert_int_equal(truncate(place->path, 8 << 20), 0);
    assert_int_equal(vmc_disk_grow(disk, 4 << 20), 0);
    assert_int_equal(disk->size, 4 << 20);
    assert_int_equal(stat(place->path, &st), 0);
    assert_int_equal(st.st_size, 8 << 20);
    assert_int_equal(vmc_disk_grow(disk, UINT64_MAX & ~511ull), -EFBIG);
    assert_int_equal(disk->size, 4 << 20);
    vmc_disk_close(disk);
}

/* Where the bytes lie is where one finds them. */
static void test_map(void **state)
{
    Place *place = *state;
    VmcDiskExtent extent;
    char bytes[512];

    make_file(place->path, 1 << 20);
    VmcDisk *disk = vmc_disk_open_raw(place->path, false, NULL);
    fill(disk, 4096, 512, 'm');
    assert_true(vmc_disk_map(disk, 4096, 512, false, &extent));
    assert_int_equal(extent.length, 512);
    assert_false(extent.write);
    assert_int_equal(pread(extent.fd, bytes, 512, (off_t)extent.offset), 512);
    assert_int_equal(bytes[0], 'm');
    assert_int_equal(bytes[511], 'm');
    assert_false(fcntl(extent.fd, F_GETFL) & O_NONBLOCK); /* an io_uring would say EAGAIN */
    vmc_disk_unmap(disk, &extent);
    vmc_disk_close(disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_read_write_flush, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_vectors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_readonly, setup, teardown),
        cmocka_unit_test_setup_teardown(test_odd_size, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_a_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(test_locks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lock_of_another_process, setup, teardown),
        cmocka_unit_test_setup_teardown(test_truncated_while_open, setup, teardown),
        cmocka_unit_test_setup_teardown(test_format_by_name, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sparse, setup, teardown),
        cmocka_unit_test_setup_teardown(test_discard, setup, teardown),
        cmocka_unit_test_setup_teardown(test_write_zeroes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_readonly_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(test_grow, setup, teardown),
        cmocka_unit_test_setup_teardown(test_map, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
