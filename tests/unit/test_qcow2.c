/* qcow2 images: what qemu-img made is read as it was meant, and what we made and changed qemu-img finds good.
 */
#include "tests/unit/qcow2_rig.h"

#include <errno.h>

#define MIB (1u << 20)

/* ---- made by qemu-img ---- */

static const struct {
    const char *options, *flags;
} made[] = {
    {"compat=1.1", ""},
    {"compat=0.10", ""},
    {"compat=1.1,cluster_size=512", ""},
    {"compat=1.1,cluster_size=4096,refcount_bits=1", ""},
    {"compat=1.1,cluster_size=1024,refcount_bits=2", ""},
    {"compat=1.1,cluster_size=4096,refcount_bits=4", ""},
    {"compat=1.1,cluster_size=4096,refcount_bits=8", ""},
    {"compat=1.1,cluster_size=4096,refcount_bits=32", ""},
    {"compat=1.1,cluster_size=512,refcount_bits=64", ""},
    {"compat=1.1,cluster_size=2M", ""},
    {"compat=1.1,lazy_refcounts=on", ""},
    {"compat=1.1,preallocation=metadata", ""},
    {"compat=1.1", "-c"},
    {"compat=0.10,cluster_size=4096", "-c"},
    {"compat=1.1,cluster_size=2M", "-c"},
    {"compat=1.1,cluster_size=512", "-c"},
    {"compat=1.1,compression_type=zstd", "-c"},
    {"compat=1.1,compression_type=zstd,cluster_size=4096", "-c"},
};

/* Changes something everywhere, in the disk and in the model. */
static void scribble(VmcDisk *disk, uint8_t *model, size_t size, unsigned ops, uint32_t seed)
{
    GRand *rand = g_rand_new_with_seed(seed);
    g_autofree uint8_t *bytes = g_malloc(256 * 1024);

    for (unsigned i = 0; i < ops; i++) {
        size_t offset = (size_t)g_rand_int_range(rand, 0, (gint32)(size / 512)) * 512;
        size_t len = (size_t)g_rand_int_range(rand, 1, i % 8 ? 40 : 512) * 512;
        len = MIN(len, size - offset);
        int op = g_rand_int_range(rand, 0, 20), err = 0;
        if (op < 13) {
            rig_random(bytes, len, g_rand_int(rand));
            memcpy(model + offset, bytes, len);
            rig_write(disk, offset, bytes, len);
        } else if (op < 16) {
            memset(model + offset, 0, len);
            err = vmc_disk_write_zeroes(disk, offset, len, op == 13);
        } else if (op < 17) {
            rig_read(disk, offset, bytes, len);
            rig_same(bytes, model + offset, len, "read back");
            /* What is discarded may be one or the other: look. */
            err = vmc_disk_discard(disk, offset, len);
            rig_read(disk, offset, bytes, len);
            for (size_t at = 0; at < len; at += 512)
                if (memcmp(bytes + at, model + offset + at, 512) != 0) {
                    memset(model + offset + at, 0, 512);
                    rig_same(bytes + at, model + offset + at, 512, "discarded");
                }
        } else if (op < 18) {
            err = vmc_disk_flush(disk);
        } else {
            rig_read(disk, offset, bytes, len);
            rig_same(bytes, model + offset, len, "read back");
        }
        if (err)
            fail_msg("op %d at %zu: %s", op, offset, g_strerror(-err));
    }
    g_rand_free(rand);
}

static void test_reads_what_qemu_img_made(void **state)
{
    const Rig *rig = *state;
    size_t size = 3 * MIB + 5 * 512;
    g_autofree uint8_t *model = g_malloc(size), *changed = g_malloc(size);

    rig_mixed(model, size, 1);
    rig_save(rig_path(rig, "raw"), model, size);
    for (unsigned i = 0; i < G_N_ELEMENTS(made); i++) {
        char *path = rig_path(rig, "image");
        rig_run(rig, "qemu-img convert -f raw -O qcow2 -o %s %s raw image", made[i].options, made[i].flags);
        VmcDisk *disk = rig_open(path, "qcow2", true, false);
        rig_compare(disk, model, size);
        vmc_disk_close(disk);

        disk = rig_open(path, "qcow2", false, false);
        memcpy(changed, model, size);
        scribble(disk, changed, size, 150, i);
        rig_compare(disk, changed, size);
        vmc_disk_close(disk);
        rig_run(rig, "echo '%s %s'; qemu-img check -f qcow2 image", made[i].options, made[i].flags);
        disk = rig_open(path, "qcow2", true, false);
        rig_compare(disk, changed, size);
        vmc_disk_close(disk);
    }
}

static void test_image_below(void **state)
{
    const Rig *rig = *state;
    size_t size = 2 * MIB, below = 1 * MIB + 3 * 512;
    g_autofree uint8_t *model = g_malloc0(size);

    for (unsigned version = 0; version < 2; version++) {
        for (unsigned middle = 0; middle < 2; middle++) {
            memset(model, 0, size);
            rig_mixed(model, below, 3 + version);
            rig_save(rig_path(rig, "raw"), model, below);
            rig_run(rig, "rm -f image middle");
            if (middle)
                rig_run(rig, "qemu-img create -q -f qcow2 -o cluster_size=4k -b raw -F raw middle");
            rig_run(rig, "qemu-img create -q -f qcow2 -o compat=%s,cluster_size=4k -b %s -F %s image %zu",
                    version ? "1.1" : "0.10", middle ? "middle" : "raw", middle ? "qcow2" : "raw", size);
            rig_refused(rig_path(rig, "image"), false, false, middle ? "middle" : "raw");
            VmcDisk *disk = rig_open(rig_path(rig, "image"), "qcow2", false, true);
            rig_compare(disk, model, size);
            scribble(disk, model, size, 200, 5 + version);
            rig_compare(disk, model, size);
            vmc_disk_close(disk);
            rig_run(rig, "qemu-img check -f qcow2 image");
            rig_save(rig_path(rig, "model"), model, size);
            rig_run(rig, "qemu-img compare -f qcow2 -F raw image model");
        }
    }
}

static void test_internal_snapshots_are_kept(void **state)
{
    const Rig *rig = *state;
    size_t size = 2 * MIB;
    g_autofree uint8_t *model = g_malloc(size), *before = g_malloc(size);

    rig_mixed(model, size, 7);
    rig_save(rig_path(rig, "raw"), model, size);
    memcpy(before, model, size);
    rig_run(
        rig,
        "qemu-img convert -f raw -O qcow2 -o cluster_size=4k raw image && qemu-img snapshot -c one image");
    VmcDisk *disk = rig_open(rig_path(rig, "image"), "qcow2", false, false);
    scribble(disk, model, size, 300, 8);
    rig_compare(disk, model, size);
    vmc_disk_close(disk);
    rig_run(rig, "qemu-img check -f qcow2 image");
    rig_run(rig, "qemu-img snapshot -c two image && qemu-img snapshot -a one image");
    disk = rig_open(rig_path(rig, "image"), "qcow2", true, false);
    rig_compare(disk, before, size);
    vmc_disk_close(disk);
    rig_run(rig, "qemu-img snapshot -a two image && qemu-img check -f qcow2 image");
    disk = rig_open(rig_path(rig, "image"), "qcow2", true, false);
    rig_compare(disk, model, size);
    vmc_disk_close(disk);
}

/* ---- what is refused, and what is put right ---- */

/* Changes bytes of the file. */
static void poke(const char *path, off_t offset, const void *bytes, size_t len)
{
    int fd = open(path, O_WRONLY);

    assert_true(fd >= 0 && pwrite(fd, bytes, len, offset) == (ssize_t)len);
    close(fd);
}

static void test_refused_in_words(void **state)
{
    const Rig *rig = *state;
    char *path = rig_path(rig, "image");
    static const struct {
        const char *make, *what;
        bool backing;
    } cases[] = {
        /* It measures the computer, for which a busy one may leave it too little time. */
        {"for n in 1 2 3 4 5 6 7 8 9; do qemu-img create -q -f qcow2 --object secret,id=s,data=abc -o "
         "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 image 1M && break; rm -f image; "
         "done; "
         "[ -e image ]",
         "LUKS", false},
        {"qemu-img create -q -f qcow2 -o data_file=other image 1M", "another file", false},
        {"qemu-img create -q -f qcow2 -o extended_l2=on image 1M", "extended L2", false},
        {"truncate -s 1M image", "not a qcow2 image", false},
        {"truncate -s 1M raw; qemu-img create -q -f qcow2 -b raw -F raw image", "raw", false},
        {"qemu-img create -q -f qcow2 image 1M; qemu-img rebase -u -b image -F qcow2 image", "lies above",
         true},
        {"qemu-img create -q -f qcow2 -u -b gone -F raw image 1M", "gone", true},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        rig_run(rig, "rm -f image other; %s", cases[i].make);
        rig_refused(path, true, cases[i].backing, cases[i].what);
    }
    /* The format of what lies below is taken out: never guessed. */
    rig_run(rig, "rm -f image; truncate -s 1M raw; qemu-img create -q -f qcow2 -b raw -F raw image");
    poke(path, 112, "\0\0\0\0\0\0\0", 8);
    rig_refused(path, true, true, "qemu-img rebase");
    /* An unknown feature, with a name, in the table that qemu-img writes. */
    rig_run(rig, "rm -f image; qemu-img create -q -f qcow2 image 1M");
    poke(path, 77, "\x80", 1);
    rig_refused(path, true, false, "number 23");
    poke(path, 77, "\0", 1);
    poke(path, 79, "\2", 1); /* corrupt */
    rig_refused(path, false, false, "corrupt");
    VmcDisk *disk = rig_open(path, "qcow2", true, false);
    vmc_disk_close(disk);
    poke(path, 79, "\0", 1);
    poke(path, 0x30000, "\x80\0\0\0\0\0\0\0", 8); /* L1: nowhere */
    rig_refused(path, true, false, "outside the file");
    poke(path, 0x30000, "\x80\0\0\0\0\2\0\0", 8); /* L1: an L2 table where a refcount block is */
    rig_refused(path, false, false, "something else");
}

/* Refcounts that were never written, as lazy refcounts leave them; and a leak. */
static void test_refcounts_put_right(void **state)
{
    const Rig *rig = *state;
    char *path = rig_path(rig, "image");
    size_t size = MIB;
    g_autofree uint8_t *model = g_malloc(size), *nothing = g_malloc0(3000);
    uint8_t sector[512] = {9};

    rig_mixed(model, size, 80);
    rig_save(rig_path(rig, "raw"), model, size);
    rig_run(rig, "qemu-img convert -f raw -O qcow2 -o lazy_refcounts=on,cluster_size=4k raw image");
    poke(path, 2 * 4096 + 20, nothing, 3000); /* the refcount block, but for the first clusters */
    rig_refused(path, false, false, "than its refcounts say");
    poke(path, 79, "\1", 1);
    VmcDisk *disk = rig_open(path, "qcow2", false, false);
    rig_compare(disk, model, size);
    memcpy(model + 4096, sector, 512);
    rig_write(disk, 4096, sector, 512);
    vmc_disk_close(disk);
    rig_run(rig, "qemu-img check -f qcow2 image");
    disk = rig_open(path, "qcow2", true, false);
    rig_compare(disk, model, size);
    vmc_disk_close(disk);

    poke(path, 2 * 4096 + 1500, "\0\1\0\1", 4); /* two clusters that nobody uses */
    disk = rig_open(path, "qcow2", false, false);
    rig_write(disk, 4096, sector, 512);
    vmc_disk_close(disk);
    rig_run(rig, "qemu-img check -f qcow2 image");
}

/* ---- made by us ---- */

static void create(const char *path, const char *format, const VmcDiskCreate *params)
{
    GError *error = NULL;

    if (!vmc_disk_create(path, format, params, &error))
        fail_msg("%s", error->message);
}

static void test_what_we_make(void **state)
{
    static const struct {
        uint64_t size;
        uint32_t cluster;
    } cases[] = {{512, 0},           {MIB + 512, 512},   {3 * MIB, 4096},     {5 * MIB, 65536},
                 {5 * MIB, 2 * MIB}, {64ull << 30, 512}, {1ull << 40, 65536}, {1ull << 50, 2 * MIB}};
    const Rig *rig = *state;
    char *path = rig_path(rig, "image");

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        create(path, "qcow2", &(VmcDiskCreate){.size = cases[i].size, .cluster_size = cases[i].cluster});
        rig_run(rig, "qemu-img check -f qcow2 image");
        VmcDisk *disk = rig_open(path, "qcow2", false, false);
        assert_int_equal(disk->size, cases[i].size);
        size_t size = MIN(cases[i].size, 4 * MIB);
        g_autofree uint8_t *model = g_malloc0(size);
        if (size == cases[i].size)
            scribble(disk, model, size, 200, i);
        uint8_t end[512], back[512];
        memset(end, 0x5a, sizeof(end));
        rig_write(disk, cases[i].size - 512, end, 512);
        rig_read(disk, cases[i].size - 512, back, 512);
        rig_same(back, end, 512, "the last sector");
        vmc_disk_close(disk);
        rig_run(rig, "qemu-img check -f qcow2 image");
        assert_int_equal(rig_count(rig), 1);
        g_remove(path);
    }
}

static void test_making_is_all_or_nothing(void **state)
{
    const Rig *rig = *state;
    char *path = rig_path(rig, "image");
    VmcDiskCreate good = {.size = MIB};
    static const struct {
        VmcDiskCreate params;
        const char *format, *what;
    } bad[] = {
        {{.size = 0}, "qcow2", "at least"},
        {{.size = 1000}, "qcow2", "multiple of 512"},
        {{.size = MIB, .cluster_size = 256}, "qcow2", "power of two"},
        {{.size = MIB, .cluster_size = 5000}, "qcow2", "power of two"},
        {{.size = MIB, .cluster_size = 4 * MIB}, "qcow2", "power of two"},
        {{.size = 1ull << 50, .cluster_size = 512}, "qcow2", "too large"},
        {{.size = MIB}, "vmdk", "vmdk"},
        {{.size = MIB, .backing = "x"}, "qcow2", "format"},
        {{.size = MIB, .backing = "x", .backing_format = "raw"}, "raw", "only qcow2"},
        {{.backing = "missing", .backing_format = "raw"}, "qcow2", "missing"},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        GError *error = NULL;
        assert_false(vmc_disk_create(path, bad[i].format, &bad[i].params, &error));
        if (!strstr(error->message, bad[i].what) || strchr(error->message, '\n'))
            fail_msg("“%s” should say “%s”", error->message, bad[i].what);
        g_clear_error(&error);
        assert_int_equal(rig_count(rig), 0);
    }
    create(path, "raw", &good);
    GError *error = NULL;
    assert_false(vmc_disk_create(path, "qcow2", &good, &error));
    assert_non_null(strstr(error->message, "there already"));
    g_clear_error(&error);
    assert_int_equal(rig_count(rig), 1);
    VmcDiskInfo info;
    assert_true(vmc_disk_info(path, NULL, &info, NULL));
    assert_string_equal(info.format, "raw");
    assert_int_equal(info.size, MIB);
    assert_true(info.allocated < MIB);
    vmc_disk_info_clear(&info);
}

static void test_info(void **state)
{
    const Rig *rig = *state;
    VmcDiskInfo info;
    GError *error = NULL;

    rig_run(rig, "truncate -s 1M raw && qemu-img create -q -f qcow2 -b raw -F raw image 5M && qemu-img "
                 "snapshot -c s image");
    assert_true(vmc_disk_info(rig_path(rig, "image"), NULL, &info, NULL));
    assert_string_equal(info.format, "qcow2");
    assert_int_equal(info.size, 5 * MIB);
    assert_int_equal(info.version, 3);
    assert_int_equal(info.cluster_size, 65536);
    assert_int_equal(info.snapshots, 1);
    assert_string_equal(info.backing, "raw");
    assert_string_equal(info.backing_format, "raw");
    vmc_disk_info_clear(&info);
    assert_false(vmc_disk_info(rig_path(rig, "raw"), "qcow2", &info, &error));
    assert_non_null(strstr(error->message, "not a qcow2 image"));
    g_clear_error(&error);
}

static void test_growing(void **state)
{
    const Rig *rig = *state;
    char *path = rig_path(rig, "image");
    g_autofree uint8_t *model = g_malloc0(8 * MIB);
    uint8_t sector[512];

    create(path, "qcow2", &(VmcDiskCreate){.size = MIB + 512, .cluster_size = 512});
    VmcDisk *disk = rig_open(path, "qcow2", false, false);
    scribble(disk, model, MIB + 512, 100, 20);
    assert_int_equal(vmc_disk_grow(disk, 8 * MIB), 0); /* needs a larger L1 */
    rig_compare(disk, model, 8 * MIB);
    scribble(disk, model, 8 * MIB, 100, 21);
    rig_compare(disk, model, 8 * MIB);
    vmc_disk_close(disk);
    rig_run(rig, "qemu-img check -f qcow2 image");
    disk = rig_open(path, "qcow2", false, false);
    rig_compare(disk, model, 8 * MIB);
    assert_int_equal(vmc_disk_grow(disk, 32ull << 30), 0);
    memset(sector, 1, sizeof(sector));
    rig_write(disk, (32ull << 30) - 512, sector, 512);
    vmc_disk_close(disk);
    rig_run(rig, "qemu-img check -f qcow2 image");

    /* A larger image below does not show through. */
    rig_run(rig, "head -c 2M /dev/urandom > raw && qemu-img create -q -f qcow2 -b raw -F raw over 1M");
    disk = rig_open(rig_path(rig, "over"), "qcow2", false, true);
    assert_int_equal(vmc_disk_grow(disk, 3 * MIB), 0);
    memset(model, 0, 2 * MIB);
    g_autofree uint8_t *bytes = g_malloc(2 * MIB);
    rig_read(disk, MIB, bytes, 2 * MIB);
    rig_same(bytes, model, 2 * MIB, "what was added");
    vmc_disk_close(disk);
    rig_run(rig, "qemu-img check -f qcow2 over");
}

/* What is freed goes back to the host, and is used again. */
static void test_space_comes_back(void **state)
{
    const Rig *rig = *state;
    char *path = rig_path(rig, "image");
    g_autofree uint8_t *bytes = g_malloc(4 * MIB);
    VmcDiskInfo full, empty, again;

    memset(bytes, 7, 4 * MIB);
    create(path, "qcow2", &(VmcDiskCreate){.size = 64 * MIB});
    VmcDisk *disk = rig_open(path, "qcow2", false, false);
    for (unsigned i = 0; i < 16; i++)
        rig_write(disk, i * 4 * MIB, bytes, 4 * MIB);
    assert_int_equal(vmc_disk_flush(disk), 0);
    assert_true(vmc_disk_info(path, "qcow2", &full, NULL));
    assert_true(full.allocated >= 64 * MIB);
    assert_int_equal(vmc_disk_discard(disk, 0, 64 * MIB), 0);
    assert_int_equal(vmc_disk_flush(disk), 0);
    assert_true(vmc_disk_info(path, "qcow2", &empty, NULL));
    assert_true(empty.allocated < 2 * MIB);
    struct stat before, after;
    assert_int_equal(stat(path, &before), 0);
    for (unsigned i = 0; i < 16; i++)
        rig_write(disk, i * 4 * MIB, bytes, 4 * MIB);
    assert_int_equal(vmc_disk_flush(disk), 0);
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(before.st_size, after.st_size);
    assert_true(vmc_disk_info(path, "qcow2", &again, NULL));
    assert_int_equal(again.size, 64 * MIB);
    vmc_disk_close(disk);
    rig_run(rig, "qemu-img check -f qcow2 image");
}

/* ---- map ---- */

static void test_map(void **state)
{
    const Rig *rig = *state;
    char *path = rig_path(rig, "image");
    g_autofree uint8_t *bytes = g_malloc(MIB), *back = g_malloc(MIB);
    VmcDiskExtent extent, reading;

    create(path, "qcow2", &(VmcDiskCreate){.size = 16 * MIB});
    VmcDisk *disk = rig_open(path, "qcow2", false, false);
    assert_false(vmc_disk_map(disk, 0, 512, false, &extent));
    assert_false(vmc_disk_map(disk, 0, 512, true, &extent));
    rig_random(bytes, MIB, 30);
    rig_write(disk, 0, bytes, MIB);
    assert_true(vmc_disk_map(disk, 0, MIB, true, &extent)); /* allocated in one piece */
    assert_false(vmc_disk_map(disk, 512, MIB, true, &reading));
    rig_random(bytes, MIB, 31);
    assert_int_equal(pwrite(extent.fd, bytes, MIB, (off_t)extent.offset), MIB);
    rig_read(disk, 0, back, MIB);
    rig_same(back, bytes, MIB, "what was written through the map");

    /* As long as it is mapped, nobody else gets these clusters. */
    assert_int_equal(vmc_disk_discard(disk, 0, MIB), 0);
    assert_int_equal(vmc_disk_flush(disk), 0);
    memset(back, 0x11, MIB);
    for (unsigned i = 0; i < 4; i++) {
        rig_write(disk, (4 + i) * MIB, back, MIB);
        assert_int_equal(vmc_disk_flush(disk), 0);
    }
    assert_int_equal(pwrite(extent.fd, bytes, MIB, (off_t)extent.offset), MIB);
    for (unsigned i = 0; i < 4; i++) {
        uint8_t all[512];
        rig_read(disk, (4 + i) * MIB + 4096 * i, all, sizeof(all));
        rig_same(all, back, sizeof(all), "somebody else's bytes");
    }
    vmc_disk_unmap(disk, &extent);
    assert_int_equal(vmc_disk_flush(disk), 0);
    rig_write(disk, 8 * MIB, back, MIB);
    assert_int_equal(vmc_disk_flush(disk), 0);
    vmc_disk_close(disk);
    rig_run(rig, "qemu-img check -f qcow2 image");
    disk = rig_open(path, "qcow2", true, false);
    assert_false(vmc_disk_map(disk, 8 * MIB, MIB, false, &reading)); /* the table is not in memory yet */
    rig_read(disk, 8 * MIB, bytes, 512);
    assert_true(vmc_disk_map(disk, 8 * MIB, MIB, false, &reading));
    vmc_disk_unmap(disk, &reading);
    assert_false(vmc_disk_map(disk, 8 * MIB, MIB, true, &reading));
    vmc_disk_close(disk);
}

/* ---- several threads ---- */

typedef struct Worker {
    VmcDisk *disk;
    unsigned number, of;
    uint8_t *model;
    size_t size;
    int err;
} Worker;

/* Each worker has every `of`-th sector for itself, so that they share all clusters. */
static gpointer worker(gpointer data)
{
    Worker *w = data;
    GRand *rand = g_rand_new_with_seed(w->number);
    uint8_t sector[512], back[512];

    for (unsigned i = 0; i < 1500 && !w->err; i++) {
        size_t at =
            ((size_t)g_rand_int_range(rand, 0, (gint32)(w->size / 512 / w->of)) * w->of + w->number) * 512;
        struct iovec iov = {sector, 512}, iov_back = {back, 512};
        VmcDiskExtent extent;
        int what = g_rand_int_range(rand, 0, 10);
        rig_random(sector, 512, g_rand_int(rand));
        if (what == 0) {
            w->err = vmc_disk_flush(w->disk);
        } else if (what == 1) {
            memset(w->model + at, 0, 512);
            w->err = vmc_disk_write_zeroes(w->disk, at, 512, true);
        } else if (what < 7) {
            memcpy(w->model + at, sector, 512);
            if (vmc_disk_map(w->disk, at, 512, true, &extent)) {
                w->err = pwrite(extent.fd, sector, 512, (off_t)extent.offset) == 512 ? 0 : -EIO;
                vmc_disk_unmap(w->disk, &extent);
            } else {
                w->err = vmc_disk_write(w->disk, at, &iov, 1);
            }
        } else {
            w->err = vmc_disk_read(w->disk, at, &iov_back, 1);
            if (!w->err && memcmp(back, w->model + at, 512) != 0)
                w->err = -EBADMSG;
        }
    }
    g_rand_free(rand);
    return NULL;
}

static void test_threads(void **state)
{
    const Rig *rig = *state;
    size_t size = 4 * MIB;
    g_autofree uint8_t *model = g_malloc(size);
    Worker workers[4];
    GThread *threads[4];

    rig_mixed(model, size, 40);
    rig_save(rig_path(rig, "raw"), model, size);
    rig_run(rig, "qemu-img convert -c -f raw -O qcow2 -o cluster_size=8k raw below && "
                 "qemu-img create -q -f qcow2 -o cluster_size=4k -b below -F qcow2 image");
    VmcDisk *disk = rig_open(rig_path(rig, "image"), "qcow2", false, true);
    for (unsigned i = 0; i < 4; i++) {
        workers[i] = (Worker){disk, i, 4, model, size, 0};
        threads[i] = g_thread_new("worker", worker, &workers[i]);
    }
    for (unsigned i = 0; i < 4; i++) {
        g_thread_join(threads[i]);
        if (workers[i].err)
            fail_msg("worker %u: %s", i, g_strerror(-workers[i].err));
    }
    rig_compare(disk, model, size);
    vmc_disk_close(disk);
    rig_run(rig, "qemu-img check -f qcow2 image");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_reads_what_qemu_img_made, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_image_below, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_internal_snapshots_are_kept, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_refused_in_words, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_refcounts_put_right, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_what_we_make, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_making_is_all_or_nothing, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_info, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_growing, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_space_comes_back, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_map, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_threads, rig_setup, rig_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
