/*
 * What UEFI firmware could boot from, and what is said of the rest: disks and discs as Debian's tools make
 * them, and some whose numbers are nonsense. Firmware that wants more than our board has.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <glib/gstdio.h>

#include "boot/medium.h"
#include "boot/smm.h"
#include "folder.h"

typedef struct Folder {
    char *path;
} Folder;

static int setup(void **state)
{
    Folder *f = g_new0(Folder, 1);

    f->path = g_dir_make_tmp("medium-XXXXXX", NULL);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Folder *f = *state;

    remove_folder(f->path);
    g_free(f->path);
    g_free(f);
    return 0;
}

/* Runs commands in the folder. */
static void shell(const Folder *f, const char *commands)
{
    g_autofree char *line =
        g_strdup_printf("set -e; export PATH=$PATH:/sbin:/usr/sbin; cd %s; %s", f->path, commands);
    const char *argv[] = {"sh", "-c", line, NULL};
    g_autofree char *out = NULL, *err = NULL;
    int status = 0;

    assert_true(
        g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &out, &err, &status, NULL));
    if (status)
        fail_msg("%s: %s%s", commands, out, err);
}

static VmcMedium look(const Folder *f, const char *name)
{
    g_autofree char *path = g_build_filename(f->path, name, NULL);
    GError *error = NULL;
    VmcDisk *disk = vmc_disk_open_raw(path, true, &error);

    if (!disk)
        fail_msg("%s", error->message);
    VmcMedium medium = vmc_medium_look(disk);
    vmc_disk_close(disk);
    return medium;
}

static VmcMedium look_at(const Folder *f, const uint8_t *bytes, size_t size)
{
    g_autofree char *path = g_build_filename(f->path, "made", NULL);

    assert_true(g_file_set_contents(path, (const char *)bytes, (gssize)size, NULL));
    return look(f, "made");
}

#define FAT "truncate -s 4M fat; mkfs.vfat -F 12 fat > /dev/null; "

static void disks_with_fat_boot(void **state)
{
    Folder *f = *state;

    shell(f,
          FAT "truncate -s 8M gpt mbr both;"
              "echo 'label: gpt\nstart=2048,size=2048,type=L\nstart=4096,size=8192,type=U' | sfdisk -q gpt;"
              "echo 'label: dos\nstart=2048,size=1024,type=83\nstart=4096,size=8192,type=c' | sfdisk -q mbr;"
              "dd if=fat of=gpt bs=512 seek=4096 conv=notrunc status=none;"
              "dd if=fat of=mbr bs=512 seek=4096 conv=notrunc status=none");
    assert_int_equal(look(f, "fat"), VMC_MEDIUM_BOOTS);
    assert_int_equal(look(f, "gpt"), VMC_MEDIUM_BOOTS);
    assert_int_equal(look(f, "mbr"), VMC_MEDIUM_BOOTS);
}

static void disks_without_do_not(void **state)
{
    Folder *f = *state;

    shell(f,
          "truncate -s 8M blank gpt mbr ext4 logical; mkfs.ext4 -q ext4;"
          "echo 'label: gpt\nstart=2048,size=2048,type=L\nstart=4096,size=8192,type=U' | sfdisk -q gpt;"
          "echo 'label: dos\nstart=2048,size=1024,type=83' | sfdisk -q mbr;"
          "echo 'label: dos\nstart=2048,size=4096,type=5\nstart=4096,size=1024,type=83' | sfdisk -q logical");
    assert_int_equal(look(f, "blank"), VMC_MEDIUM_BLANK);
    assert_int_equal(look(f, "ext4"), VMC_MEDIUM_BLANK);
    assert_int_equal(look(f, "gpt"), VMC_MEDIUM_DISK);
    assert_int_equal(look(f, "mbr"), VMC_MEDIUM_DISK);
    assert_int_equal(look(f, "logical"), VMC_MEDIUM_BOOTS); /* in doubt */
}

static void discs_are_known_by_their_catalog(void **state)
{
    Folder *f = *state;

    shell(f,
          FAT "mkdir tree; echo hello > tree/readme; truncate -s 16K tree/bios; cp fat tree/efi;"
              "x() { xorriso -as mkisofs -quiet -r -J -o \"$@\" tree; };"
              "x data.iso; x bios.iso -b bios -no-emul-boot -boot-load-size 4;"
              "x efi.iso -e efi -no-emul-boot;"
              "x both.iso -b bios -no-emul-boot -boot-load-size 4 -eltorito-alt-boot -e efi -no-emul-boot");
    assert_int_equal(look(f, "data.iso"), VMC_MEDIUM_DISC);
    assert_int_equal(look(f, "bios.iso"), VMC_MEDIUM_BIOS_DISC);
    assert_int_equal(look(f, "efi.iso"), VMC_MEDIUM_BOOTS);
    assert_int_equal(look(f, "both.iso"), VMC_MEDIUM_BOOTS);
    shell(f, "genisoimage -quiet -udf -o udf.iso tree");
    assert_int_equal(look(f, "udf.iso"), VMC_MEDIUM_BOOTS);
}

/* Places that are not there, and lists without an end. */
static void nonsense_ends(void **state)
{
    Folder *f = *state;
    size_t size = 1 << 20;
    g_autofree uint8_t *bytes = g_malloc0(size);

    for (unsigned i = 0; i < 4; i++) {
        bytes[446 + i * 16 + 4] = 0xee;
        memset(bytes + 446 + i * 16 + 8, 0xff, 4);
    }
    bytes[510] = 0x55;
    bytes[511] = 0xaa;
    assert_int_equal(look_at(f, bytes, size), VMC_MEDIUM_DISK);
    memcpy(bytes + 512, "EFI PART", 8);
    memset(bytes + 512 + 72, 0xff, 12);
    bytes[512 + 84] = 128;
    assert_int_equal(look_at(f, bytes, size), VMC_MEDIUM_DISK); /* entries behind the end */
    memset(bytes + 512 + 72, 0, 8);
    bytes[512 + 72] = 2;
    memset(bytes + 1024, 0xff, size - 1024);
    assert_int_equal(look_at(f, bytes, size),
                     VMC_MEDIUM_DISK); /* 4,294,967,295 of them, that begin far away */

    memset(bytes, 0, size);
    for (size_t at = 16 * 2048; at < size; at += 2048)
        memcpy(bytes + at, "\0CD001\1EL TORITO SPECIFICATION", 30);
    memset(bytes + 16 * 2048 + 71, 0xff, 4);
    assert_int_equal(look_at(f, bytes, size), VMC_MEDIUM_DISC); /* a catalog behind the end, and at 0 */
    bytes[17 * 2048 + 71] = 100;
    memset(bytes + 100 * 2048, 0x91, 2048);
    bytes[100 * 2048] = 1;
    bytes[100 * 2048 + 30] = 0x55;
    bytes[100 * 2048 + 31] = 0xaa;
    assert_int_equal(look_at(f, bytes, size), VMC_MEDIUM_DISC); /* headers only */
    memset(bytes + 100 * 2048 + 32, 0x88, 2048 - 32);
    assert_int_equal(look_at(f, bytes, size), VMC_MEDIUM_BIOS_DISC);
    for (size_t cut = 512; cut < 40 * 2048; cut += 512)
        look_at(f, bytes, cut);
}

/* Bytes anywhere in what is looked at. */
static void anything_may_be_in_it(void **state)
{
    Folder *f = *state;
    const char *names[] = {"gpt", "both.iso"};
    GRand *rand = g_rand_new_with_seed(1);

    shell(f, FAT
          "truncate -s 1M gpt; echo 'label: gpt\nstart=64,size=256,type=U' | sfdisk -q gpt;"
          "mkdir tree; truncate -s 16K tree/bios; truncate -s 64K tree/efi;"
          "xorriso -as mkisofs -quiet -o both.iso -b bios -no-emul-boot -boot-load-size 4 -eltorito-alt-boot "
          "-e efi -no-emul-boot tree");
    for (unsigned i = 0; i < 400; i++) {
        g_autofree char *path = g_build_filename(f->path, names[i % 2], NULL), *bytes = NULL;
        gsize size;

        assert_true(g_file_get_contents(path, &bytes, &size, NULL));
        for (unsigned n = 0; n < 1 + i / 20; n++) {
            gsize at = i % 2 ? 16 * 2048 + (gsize)g_rand_int_range(rand, 0, 12 * 2048)
                             : (gsize)g_rand_int_range(rand, 440, 2048);
            bytes[at] = g_rand_boolean(rand) ? (char)0xff : (char)g_rand_int(rand);
        }
        look_at(f, (const uint8_t *)bytes, MIN(size, 128u << 10));
    }
    g_rand_free(rand);
}

static void what_is_said_is_one_sentence(void **state)
{
    static const struct {
        VmcMedium medium;
        const char *word;
    } said[] = {{VMC_MEDIUM_DISK, "FAT"},
                {VMC_MEDIUM_DISC, "without any boot entry"},
                {VMC_MEDIUM_BIOS_DISC, "BIOS only"}};

    assert_null(vmc_medium_complaint(VMC_MEDIUM_BOOTS, "x"));
    assert_null(vmc_medium_complaint(VMC_MEDIUM_BLANK, "x"));
    for (unsigned i = 0; i < G_N_ELEMENTS(said); i++) {
        g_autofree char *line = vmc_medium_complaint(said[i].medium, "/a/b.iso");
        if (!strstr(line, "“/a/b.iso”") || !strstr(line, said[i].word) || strchr(line, '\n'))
            fail_msg("“%s” should say “%s”", line, said[i].word);
    }
}

static void firmware_with_smm_is_known_by_its_descriptor(void **state)
{
    Folder *f = *state;
    const char *folders[] = {"/nowhere", f->path, NULL};
    g_autofree char *secure = g_build_filename(f->path, "secure.fd", NULL);
    g_autofree char *alias = g_build_filename(f->path, "alias.fd", NULL);
    g_autofree char *plain = g_build_filename(f->path, "plain.fd", NULL);
    g_autofree char *commands =
        g_strdup_printf("echo code > secure.fd; echo code > plain.fd; ln -s secure.fd alias.fd;"
                        "echo '{\"filename\": \"%s\", \"features\": [\"requires-smm\"]}' > 1.json;"
                        "echo '{\"filename\": \"%s\", \"features\": []}' > 2.json; mkdir 3.json; echo '\"' > "
                        "4.json; mkfifo 5.json",
                        secure, plain);
    GError *error = NULL;

    shell(f, commands);
    assert_true(vmc_efi_check_smm(plain, folders, &error));
    assert_true(vmc_efi_check_smm("/nowhere/at/all", folders, &error));
    assert_false(vmc_efi_check_smm(secure, folders, &error));
    if (!strstr(error->message, secure) || !strstr(error->message, "System Management Mode"))
        fail_msg("%s", error->message);
    g_clear_error(&error);
    assert_false(vmc_efi_check_smm(alias, folders, &error));
    g_clear_error(&error);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(disks_with_fat_boot),
        T(disks_without_do_not),
        T(discs_are_known_by_their_catalog),
        T(nonsense_ends),
        T(anything_may_be_in_it),
        T(what_is_said_is_one_sentence),
        T(firmware_with_smm_is_known_by_its_descriptor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
