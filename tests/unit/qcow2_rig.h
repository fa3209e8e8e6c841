/* What tests of images share: a folder, qemu-img, and a model of what a disk holds. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block/disk.h"
#include "vmcore/error.h"

typedef struct Rig {
    char *folder;
} Rig;

static inline int rig_setup(void **state)
{
    Rig *rig = g_new0(Rig, 1);

    rig->folder = g_dir_make_tmp("vmcore-qcow2-XXXXXX", NULL);
    assert_non_null(rig->folder);
    *state = rig;
    return 0;
}

static inline unsigned rig_count(const Rig *rig)
{
    GDir *dir = g_dir_open(rig->folder, 0, NULL);
    unsigned n = 0;

    while (g_dir_read_name(dir))
        n++;
    g_dir_close(dir);
    return n;
}

static inline int rig_teardown(void **state)
{
    Rig *rig = *state;
    GDir *dir = g_dir_open(rig->folder, 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(rig->folder, name, NULL);
        g_remove(path);
    }
    g_dir_close(dir);
    g_rmdir(rig->folder);
    g_free(rig->folder);
    g_free(rig);
    return 0;
}

/* A path in the folder; lives until the test ends. */
static inline char *rig_path(const Rig *rig, const char *name)
{
    static char paths[16][256];
    static unsigned next;
    char *path = paths[next++ % 16];

    g_snprintf(path, sizeof(paths[0]), "%s/%s", rig->folder, name);
    return path;
}

/* Runs a program in the folder; its exit status, and what it printed. */
static inline int rig_try(const Rig *rig, char **output, const char *command)
{
    g_autofree char *shell = g_strdup_printf("cd '%s' && { %s; } 2>&1", rig->folder, command);
    const char *argv[] = {"sh", "-c", shell, NULL};
    int status = -1;

    if (!g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, output, NULL, &status,
                      NULL))
        fail_msg("sh cannot be run");
    return status;
}

G_GNUC_PRINTF(2, 3) static inline void rig_run(const Rig *rig, const char *format, ...)
{
    g_autofree char *output = NULL;
    va_list args;

    va_start(args, format);
    g_autofree char *command = g_strdup_vprintf(format, args);
    va_end(args);
    if (rig_try(rig, &output, command))
        fail_msg("%s: %s", command, output);
}

static inline VmcDisk *rig_open(const char *path, const char *format, bool readonly, bool backing)
{
    VmcDiskOpen params = {path, format, readonly, backing};
    GError *error = NULL;
    VmcDisk *disk = vmc_disk_open(&params, &error);

    if (!disk)
        fail_msg("%s", error->message);
    return disk;
}

/* One sentence that names the image and says `what`. */
static inline void rig_refused(const char *path, bool readonly, bool backing, const char *what)
{
    VmcDiskOpen params = {path, "qcow2", readonly, backing};
    GError *error = NULL;
    VmcDisk *disk = vmc_disk_open(&params, &error);

    if (disk)
        fail_msg("%s is opened, but should not be (%s)", path, what);
    if (!strstr(error->message, path) || !strstr(error->message, what) || strchr(error->message, '\n'))
        fail_msg("“%s” should name “%s” and say “%s”", error->message, path, what);
    g_error_free(error);
}

static inline void rig_read(VmcDisk *disk, uint64_t offset, void *buf, size_t len)
{
    struct iovec iov = {buf, len};
    int err = vmc_disk_read(disk, offset, &iov, 1);

    if (err)
        fail_msg("reading %zu bytes at %" G_GUINT64_FORMAT ": %s", len, offset, g_strerror(-err));
}

static inline void rig_write(VmcDisk *disk, uint64_t offset, const void *buf, size_t len)
{
    struct iovec iov = {(void *)(uintptr_t)buf, len};
    int err = vmc_disk_write(disk, offset, &iov, 1);

    if (err)
        fail_msg("writing %zu bytes at %" G_GUINT64_FORMAT ": %s", len, offset, g_strerror(-err));
}

static inline void rig_same(const void *a, const void *b, size_t len, const char *what)
{
    const uint8_t *p = a, *q = b;

    if (memcmp(a, b, len) == 0)
        return;
    for (size_t i = 0; i < len; i++)
        if (p[i] != q[i])
            fail_msg("%s: byte %zu is %02x and should be %02x", what, i, p[i], q[i]);
}

/* The whole disk is what the model says, read in steps that do not agree with clusters. */
static inline void rig_compare(VmcDisk *disk, const uint8_t *model, size_t size)
{
    g_autofree uint8_t *bytes = g_malloc(size);

    assert_int_equal(disk->size, size);
    for (size_t at = 0; at < size;) {
        size_t here = MIN(size - at, 512 * (1 + at / 512 % 301));
        rig_read(disk, at, bytes + at, here);
        at += here;
    }
    rig_same(bytes, model, size, "the disk");
}

static inline void rig_random(uint8_t *bytes, size_t len, uint32_t seed)
{
    GRand *rand = g_rand_new_with_seed(seed);

    for (size_t i = 0; i + 4 <= len; i += 4) {
        uint32_t word = g_rand_int(rand);
        memcpy(bytes + i, &word, 4);
    }
    g_rand_free(rand);
}

/* Data with runs of zeroes and repetitions, so that there is something to leave out and to compress. */
static inline void rig_mixed(uint8_t *bytes, size_t len, uint32_t seed)
{
    GRand *rand = g_rand_new_with_seed(seed);

    memset(bytes, 0, len);
    for (size_t at = 0; at < len;) {
        size_t run = (size_t)g_rand_int_range(rand, 1, 200) * 512;
        int kind = g_rand_int_range(rand, 0, 3);
        run = MIN(run, len - at);
        if (kind == 1)
            memset(bytes + at, g_rand_int_range(rand, 1, 256), run);
        else if (kind == 2)
            rig_random(bytes + at, run, g_rand_int(rand));
        at += run;
    }
    g_rand_free(rand);
}

static inline void rig_save(const char *path, const void *bytes, size_t len)
{
    if (!g_file_set_contents(path, bytes, (gssize)len, NULL))
        fail_msg("%s cannot be written", path);
}
