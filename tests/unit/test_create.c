/* Machines in the making: whatever happens on the way, in the library there is a whole machine or none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vmcore/disk.h>

#include "app/create/create.h"
#include "app/create/credentials.h"
#include "app/create/image_kind.h"
#include "app/create/unpack.h"
#include "app/images/download.h"
#include "full_disk.h"
#include "folder.h"
#include "http_server.h"

#define IMAGE_BYTES (1u << 20)

typedef struct Rig {
    char *folder, *library, *image;
    EspCreation creation;
} Rig;

/* A raw disk: a boot sector's mark, something in the middle, and holes. */
static void write_image(const char *path, unsigned bytes)
{
    g_autofree char *image = g_malloc0(bytes);

    image[510] = '\x55';
    image[511] = '\xaa';
    for (unsigned i = bytes / 2; i < bytes / 2 + 200000 && i < bytes; i++)
        image[i] = (char)(i * 2654435761u >> 15);
    assert_true(g_file_set_contents(path, image, bytes, NULL));
}

static int set_up_in(Rig *rig, const char *parent)
{
    rig->folder =
        parent ? g_build_filename(parent, "make", NULL) : g_dir_make_tmp("espalier-create-XXXXXX", NULL);
    g_mkdir_with_parents(rig->folder, 0700);
    rig->library = g_build_filename(rig->folder, "machines", NULL);
    rig->image = g_build_filename(rig->folder, "image.raw", NULL);
    esp_creation_init(&rig->creation, ESP_CREATION_LINUX);
    rig->creation.name = g_strdup("Quince tree");
    rig->creation.source = g_strdup(rig->image);
    rig->creation.disk_gib = 1;
    rig->creation.user.name = g_strdup("ada");
    rig->creation.user.ssh_key =
        g_strdup("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFYAvHBw3pg7NXQxhnYoCBh0ek ada");
    return 0;
}

static int set_up(void **state)
{
    Rig *rig = g_new0(Rig, 1);

    set_up_in(rig, NULL);
    write_image(rig->image, IMAGE_BYTES);
    *state = rig;
    return 0;
}

static int tear_down(void **state)
{
    Rig *rig = *state;

    remove_folder(rig->folder);
    esp_creation_clear(&rig->creation);
    g_free(rig->folder);
    g_free(rig->library);
    g_free(rig->image);
    g_free(rig);
    return 0;
}

/* ---- running the steps ---- */

static bool run_draft(EspDraft *draft, GError **error)
{
    g_autoptr(EspJob) job = esp_create_job_new(draft);
    bool good = esp_create_run(job, draft, error);

    esp_draft_free(draft);
    return good;
}

static bool make(Rig *rig, GError **error)
{
    EspDraft *draft = esp_draft_new(rig->library, &rig->creation, error);

    return draft && run_draft(draft, error);
}

static void expect_made(Rig *rig)
{
    GError *error = NULL;

    if (!make(rig, &error))
        fail_msg("it was not made: %s", error->message);
}

/* It fails with `words`, nothing is in the library, and the draft is kept. */
static void expect_failure(Rig *rig, const char *words)
{
    GError *error = NULL;
    g_autofree char *path = esp_bundle_path_for(rig->library, rig->creation.name);

    assert_false(make(rig, &error));
    if (!strstr(error->message, words))
        fail_msg("it said: %s", error->message);
    g_error_free(error);
    assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
    g_autoptr(GPtrArray) drafts = esp_drafts_list(rig->library);
    assert_int_equal(drafts->len, 1);
}

static bool go_on(Rig *rig, GError **error)
{
    g_autoptr(GPtrArray) drafts = esp_drafts_list(rig->library);

    assert_int_equal(drafts->len, 1);
    const EspDraftInfo *info = drafts->pdata[0];
    EspDraft *draft = esp_draft_open(info->path, error);
    return draft && run_draft(draft, error);
}

static char *in_bundle(Rig *rig, const char *name)
{
    g_autofree char *path = esp_bundle_path_for(rig->library, rig->creation.name);

    return g_build_filename(path, name, NULL);
}

static void expect_entries(const char *folder, unsigned wanted)
{
    GDir *dir = g_dir_open(folder, 0, NULL);
    unsigned n = 0;

    while (dir && g_dir_read_name(dir))
        n++;
    if (dir)
        g_dir_close(dir);
    assert_int_equal(n, wanted);
}

static void expect_disk(Rig *rig, guint64 size)
{
    g_autofree char *disk = in_bundle(rig, "disk.qcow2");
    VmcDiskInfo info;
    GError *error = NULL;

    if (!vmc_disk_info(disk, "qcow2", &info, &error))
        fail_msg("%s", error->message);
    assert_int_equal(info.size, size);
    vmc_disk_info_clear(&info);
}

/* ---- what is made ---- */

static const VmcDeviceConfig *find(const VmcConfig *config, VmcDeviceKind kind)
{
    for (guint i = 0; i < config->devices->len; i++)
        if (((VmcDeviceConfig *)config->devices->pdata[i])->kind == kind)
            return config->devices->pdata[i];
    fail_msg("there is no %s", vmc_device_kind_name(kind));
    return NULL;
}

static void test_a_raw_image_becomes_a_machine(void **state)
{
    Rig *rig = *state;
    static const VmcDeviceKind wanted[] = {
        VMC_DEVICE_VIRTIO_GPU,  VMC_DEVICE_USB_KEYBOARD, VMC_DEVICE_USB_TABLET, VMC_DEVICE_VIRTIO_BLOCK,
        VMC_DEVICE_VIRTIO_NET,  VMC_DEVICE_VIRTIO_SOUND, VMC_DEVICE_VIRTIO_RNG, VMC_DEVICE_VIRTIO_BALLOON,
        VMC_DEVICE_SPICE_AGENT, VMC_DEVICE_VIRTIO_FS};

    rig->creation.share_path = g_strdup(rig->folder);
    rig->creation.keyboard_type = VMC_KEYBOARD_JIS;
    expect_made(rig);
    expect_disk(rig, 1ull << 30);
    g_autofree char *path = esp_bundle_path_for(rig->library, rig->creation.name);
    g_autoptr(EspBundle) bundle = esp_bundle_open(path, NULL);
    VmcConfig *config = esp_bundle_get_config(bundle, NULL);
    assert_int_equal(config->boot.kind, VMC_BOOT_EFI);
    for (size_t i = 0; i < G_N_ELEMENTS(wanted); i++)
        find(config, wanted[i]);
    assert_true(find(config, VMC_DEVICE_VIRTIO_BLOCK)->block.backing);
    assert_int_equal(find(config, VMC_DEVICE_USB_KEYBOARD)->keyboard.layout, VMC_KEYBOARD_JIS);
    assert_string_equal(find(config, VMC_DEVICE_VIRTIO_FS)->share.tag, "shared");
    g_autoptr(GPtrArray) faults = vmc_config_validate(config);
    assert_int_equal(faults->len, 0);
    vmc_config_free(config);
    expect_entries(rig->library, 1); /* no draft is left */
    expect_entries(path, 5);         /* config.plist, disk, image, seed, lock */
}

static void test_the_original_is_not_touched(void **state)
{
    Rig *rig = *state;
    g_autofree char *image = in_bundle(rig, "image.img");
    g_autofree char *a = NULL, *b = NULL;
    gsize n, m;

    expect_made(rig);
    assert_true(g_file_get_contents(rig->image, &a, &n, NULL));
    assert_true(g_file_get_contents(image, &b, &m, NULL));
    assert_int_equal(n, m);
    assert_memory_equal(a, b, n);
    GStatBuf st;
    g_stat(image, &st);
    assert_true((guint64)st.st_blocks * 512 < IMAGE_BYTES); /* holes stay holes */
}

static void test_packed_images_are_unpacked(void **state)
{
    Rig *rig = *state;
    static const char *const tools[] = {"gzip", "xz", "zstd"};

    for (size_t i = 0; i < G_N_ELEMENTS(tools); i++) {
        g_autofree char *packed = g_strdup_printf("%s.packed", rig->image);
        g_autofree char *command = g_strdup_printf("%s -c '%s' > '%s'", tools[i], rig->image, packed);
        g_autofree char *to = g_strdup_printf("%s.out", rig->image);
        g_autofree char *a = NULL, *b = NULL;
        gsize n, m;
        GError *error = NULL;
        assert_int_equal(system(command), 0);
        if (!esp_unpack(packed, to, NULL, NULL, NULL, &error))
            fail_msg("%s: %s", tools[i], error->message);
        assert_true(g_file_get_contents(rig->image, &a, &n, NULL));
        assert_true(g_file_get_contents(to, &b, &m, NULL));
        assert_int_equal(n, m);
        assert_memory_equal(a, b, n);
        g_unlink(to);
        /* The end is missing. */
        GStatBuf st;
        g_stat(packed, &st);
        assert_int_equal(truncate(packed, st.st_size / 2), 0);
        assert_false(esp_unpack(packed, to, NULL, NULL, NULL, NULL));
        assert_false(g_file_test(to, G_FILE_TEST_EXISTS));
    }
}

static void test_a_qcow2_image_is_made_larger(void **state)
{
    Rig *rig = *state;
    const VmcDiskCreate params = {.size = 10 << 20};

    g_unlink(rig->image);
    assert_true(vmc_disk_create(rig->image, "qcow2", &params, NULL));
    expect_made(rig);
    expect_disk(rig, 1ull << 30);
}

static void test_an_image_on_another_one_is_refused(void **state)
{
    Rig *rig = *state;
    g_autofree char *above = g_build_filename(rig->folder, "above.qcow2", NULL);
    const VmcDiskCreate params = {.backing = rig->image, .backing_format = "raw"};

    assert_true(vmc_disk_create(above, "qcow2", &params, NULL));
    g_free(rig->creation.source);
    rig->creation.source = g_strdup(above);
    expect_failure(rig, "lies on another one");
}

static void test_what_is_no_image_is_named(void **state)
{
    Rig *rig = *state;
    static const struct {
        const char *bytes, *words;
    } files[] = {{"<!DOCTYPE html><html>", "web page"},
                 {"certainly not a disk", "not an image"},
                 {"KDMV\x01", "VMDK"},
                 {"", "not an image"}};

    for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
        assert_true(g_file_set_contents(rig->image, files[i].bytes, -1, NULL));
        expect_failure(rig, files[i].words);
        remove_folder(rig->library);
    }
}

static void test_wishes_that_cannot_be_are_refused_before_anything_is_made(void **state)
{
    Rig *rig = *state;
    GError *error = NULL;

    assert_true(esp_creation_check(&rig->creation, rig->library, &error));
    static const char *const names[] = {
        "", "Root", "root", "1a", "a:b", "a b", "über", "-a", "abcdefghijklmnopqrstuvwxyzabcdefghi"};
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_free(rig->creation.user.name);
        rig->creation.user.name = g_strdup(names[i]);
        if (esp_creation_check(&rig->creation, rig->library, NULL))
            fail_msg("“%s” was taken for a user's name", names[i]);
    }
    g_free(rig->creation.user.name);
    rig->creation.user.name = g_strdup("ada");
    rig->creation.memory_mib = 1;
    assert_false(esp_creation_check(&rig->creation, rig->library, NULL));
    rig->creation.memory_mib = 256;
    rig->creation.cpus = 1000;
    assert_false(esp_creation_check(&rig->creation, rig->library, NULL));
    rig->creation.cpus = 1;
    g_clear_pointer(&rig->creation.user.ssh_key, g_free);
    assert_false(esp_creation_check(&rig->creation, rig->library, NULL));
    assert_false(g_file_test(rig->library, G_FILE_TEST_EXISTS));
}

static void test_a_machine_is_never_put_over_another(void **state)
{
    Rig *rig = *state;
    GError *error = NULL;

    expect_made(rig);
    assert_false(make(rig, &error));
    assert_non_null(strstr(error->message, "already"));
    g_error_free(error);
    expect_disk(rig, 1ull << 30);
    g_autofree char *name = esp_creation_free_name("Quince tree", rig->library);
    assert_string_equal(name, "Quince tree (2)");
}

static void test_a_creation_survives_its_property_list(void **state)
{
    Rig *rig = *state;
    EspCreation back;
    GError *error = NULL;

    rig->creation.clipboard = VMC_CLIPBOARD_OFF;
    rig->creation.share_readonly = true;
    plist_t dict = esp_creation_to_plist(&rig->creation);
    assert_true(esp_creation_from_plist(dict, &back, &error));
    assert_string_equal(back.name, "Quince tree");
    assert_string_equal(back.user.ssh_key, rig->creation.user.ssh_key);
    assert_int_equal(back.clipboard, VMC_CLIPBOARD_OFF);
    assert_true(back.share_readonly);
    assert_int_equal(back.memory_mib, rig->creation.memory_mib);
    esp_creation_clear(&back);
    plist_dict_set_item(dict, "Kind", plist_new_string("toaster"));
    assert_false(esp_creation_from_plist(dict, &back, &error));
    g_error_free(error);
    plist_free(dict);
}

/* ---- interrupted ---- */

static void test_cancelled_it_can_be_continued_by_another_program(void **state)
{
    Rig *rig = *state;
    GError *error = NULL;
    EspDraft *draft = esp_draft_new(rig->library, &rig->creation, NULL);
    g_autoptr(EspJob) job = esp_create_job_new(draft);

    esp_job_cancel(job);
    assert_false(esp_create_run(job, draft, &error));
    assert_true(g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED));
    g_clear_error(&error);
    /* While we have it nobody else can go on. */
    g_autoptr(GPtrArray) drafts = esp_drafts_list(rig->library);
    const EspDraftInfo *info = drafts->pdata[0];
    assert_true(info->busy);
    assert_null(esp_draft_open(info->path, &error));
    assert_true(g_error_matches(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_BUSY));
    g_clear_error(&error);
    esp_draft_free(draft);
    if (!go_on(rig, &error))
        fail_msg("%s", error->message);
    expect_disk(rig, 1ull << 30);
}

static void test_killed_at_any_moment_it_can_be_continued(void **state)
{
    Rig *rig = *state;
    unsigned killed = 0;

    write_image(rig->image, 8 << 20);
    for (unsigned i = 0; i < 24; i++) {
        GError *error = NULL;
        pid_t child = fork();
        if (!child) {
            make(rig, NULL);
            _exit(0);
        }
        g_usleep(i * 2500);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        g_autofree char *path = esp_bundle_path_for(rig->library, rig->creation.name);
        if (!g_file_test(path, G_FILE_TEST_EXISTS)) {
            g_autoptr(GPtrArray) drafts = esp_drafts_list(rig->library);
            if (!drafts->len)
                continue; /* it had not begun */
            killed++;
            if (!go_on(rig, &error))
                fail_msg("after %u us: %s", i * 2500, error->message);
        }
        expect_disk(rig, 1ull << 30);
        g_autoptr(EspBundle) bundle = esp_bundle_open(path, &error);
        assert_non_null(bundle);
        remove_folder(rig->library);
    }
    assert_true(killed > 0);
}

static void test_a_draft_that_is_discarded_leaves_nothing(void **state)
{
    Rig *rig = *state;
    EspDraft *draft = esp_draft_new(rig->library, &rig->creation, NULL);

    assert_true(esp_draft_discard(draft, NULL));
    expect_entries(rig->library, 0);
}

static void test_a_broken_draft_is_not_offered(void **state)
{
    Rig *rig = *state;
    EspDraft *draft = esp_draft_new(rig->library, &rig->creation, NULL);
    g_autofree char *file = esp_draft_file(draft, "creation.plist");

    esp_draft_free(draft);
    assert_true(g_file_set_contents(file, "junk", 4, NULL));
    g_autoptr(GPtrArray) drafts = esp_drafts_list(rig->library);
    assert_int_equal(drafts->len, 0);
}

static void test_a_full_disk_loses_nothing(void **state)
{
    if (!mount_small())
        skip();
    Rig rig = {0};
    GError *error = NULL;
    set_up_in(&rig, small_folder);
    resize_small_disk(3 << 20);
    write_image(rig.image, IMAGE_BYTES);
    fill_small_disk();
    GError *first = NULL;
    assert_false(make(&rig, &first)); /* not even the draft has room, or its copy of the image */
    assert_true(first->message[0] != '\0');
    g_error_free(first);
    g_autofree char *path = esp_bundle_path_for(rig.library, rig.creation.name);
    assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
    make_room();
    g_autoptr(GPtrArray) drafts = esp_drafts_list(rig.library);
    bool good = drafts->len ? go_on(&rig, &error) : make(&rig, &error);
    if (!good)
        fail_msg("%s", error->message);
    expect_disk(&rig, 1ull << 30);
    unmount_small();
    esp_creation_clear(&rig.creation);
    g_free(rig.folder);
    g_free(rig.library);
    g_free(rig.image);
}

/* ---- from the net ---- */

static HttpServer *serve(Rig *rig)
{
    g_autofree char *bytes = NULL;
    gsize n;

    assert_true(g_file_get_contents(rig->image, &bytes, &n, NULL));
    HttpServer *server = http_server_new(bytes, n);
    g_free(rig->creation.source);
    rig->creation.source = http_link(server, "image.raw");
    return server;
}

static void test_an_image_from_the_net(void **state)
{
    Rig *rig = *state;
    HttpServer *server = serve(rig);

    expect_made(rig);
    expect_disk(rig, 1ull << 30);
    g_autofree char *left = in_bundle(rig, "download");
    assert_false(g_file_test(left, G_FILE_TEST_EXISTS));
    http_server_free(server);
}

static void test_a_page_from_the_net_that_says_it_is_a_file(void **state)
{
    Rig *rig = *state;
    HttpServer *server = serve(rig);

    http_server_change(server, "<html>Please log in to the hotel's network</html>", 49, "\"x\"");
    expect_failure(rig, "web page");
    http_server_free(server);
}

static void test_a_download_with_another_sum_is_thrown_away(void **state)
{
    Rig *rig = *state;
    HttpServer *server = serve(rig);
    g_autofree char *list =
        g_strdup("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  image.raw\n");
    HttpServer *sums = http_server_new(list, strlen(list));

    rig->creation.sums = http_link(sums, "SHA256SUMS");
    expect_failure(rig, "damaged");
    g_autoptr(GPtrArray) drafts = esp_drafts_list(rig->library);
    const EspDraftInfo *info = drafts->pdata[0];
    g_autofree char *download = g_build_filename(info->path, "download", NULL);
    assert_false(g_file_test(download, G_FILE_TEST_EXISTS));
    /* With the right one it goes on. */
    g_autofree char *bytes = NULL;
    gsize n;
    assert_true(g_file_get_contents(rig->image, &bytes, &n, NULL));
    g_autofree char *sum = g_compute_checksum_for_data(G_CHECKSUM_SHA256, (guchar *)bytes, n);
    g_autofree char *right = g_strdup_printf("%s *image.raw\n", sum);
    http_server_change(sums, right, strlen(right), "\"y\"");
    GError *error = NULL;
    if (!go_on(rig, &error))
        fail_msg("%s", error->message);
    http_server_free(server);
    http_server_free(sums);
}

static void test_a_download_that_was_killed_is_continued(void **state)
{
    Rig *rig = *state;

    write_image(rig->image, 4 << 20);
    HttpServer *server = serve(rig);
    server->slow_us = 1000; /* one second in all */
    pid_t child = fork();
    if (!child) {
        make(rig, NULL);
        _exit(0);
    }
    g_usleep(400000);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    server->slow_us = 0;
    GError *error = NULL;
    if (!go_on(rig, &error))
        fail_msg("%s", error->message);
    expect_disk(rig, 1ull << 30);
    http_server_free(server);
}

/* ---- other kinds ---- */

static void test_an_installer_has_an_empty_disk_and_its_disc(void **state)
{
    Rig *rig = *state;
    g_autofree char *bytes = g_malloc0(40000);

    memcpy(bytes + 32769, "CD001", 5);
    assert_true(g_file_set_contents(rig->image, bytes, 40000, NULL));
    rig->creation.kind = ESP_CREATION_INSTALLER;
    rig->creation.system = ESP_GUEST_OTHER;
    expect_made(rig);
    expect_disk(rig, 1ull << 30);
    g_autofree char *path = esp_bundle_path_for(rig->library, rig->creation.name);
    g_autoptr(EspBundle) bundle = esp_bundle_open(path, NULL);
    VmcConfig *config = esp_bundle_get_config(bundle, NULL);
    const VmcDeviceConfig *disc = find(config, VMC_DEVICE_USB_STORAGE), *disk = find(config, VMC_DEVICE_NVME);
    assert_true(disc->block.cdrom && disc->block.readonly);
    assert_string_equal(disc->block.path, rig->image);
    assert_true(disk->block.boot_index < disc->block.boot_index);
    vmc_config_free(config);
}

static void test_passwords_and_keys(void **state)
{
    g_autofree char *a = esp_password_hash("geheim", NULL), *b = esp_password_hash("geheim", NULL);

    assert_true(g_str_has_prefix(a, "$6$"));
    assert_string_not_equal(a, b);
    assert_null(esp_password_hash("", NULL));
    assert_null(esp_password_hash("two\nlines", NULL));
    assert_true(esp_ssh_key_check("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFYAvHBw3pg7NXQxhnYoCBh0ek me", NULL));
    assert_false(
        esp_ssh_key_check("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFYAvHBw3pg7NXQxhnYoCBh0ek me\n- evil", NULL));
    assert_false(esp_ssh_key_check("-----BEGIN OPENSSH PRIVATE KEY-----", NULL));
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_killed_at_any_moment_it_can_be_continued),
        IN_FOLDER(test_a_raw_image_becomes_a_machine),
        IN_FOLDER(test_the_original_is_not_touched),
        IN_FOLDER(test_packed_images_are_unpacked),
        IN_FOLDER(test_a_qcow2_image_is_made_larger),
        IN_FOLDER(test_an_image_on_another_one_is_refused),
        IN_FOLDER(test_what_is_no_image_is_named),
        IN_FOLDER(test_wishes_that_cannot_be_are_refused_before_anything_is_made),
        IN_FOLDER(test_a_machine_is_never_put_over_another),
        IN_FOLDER(test_a_creation_survives_its_property_list),
        IN_FOLDER(test_cancelled_it_can_be_continued_by_another_program),
        IN_FOLDER(test_a_draft_that_is_discarded_leaves_nothing),
        IN_FOLDER(test_a_broken_draft_is_not_offered),
        IN_FOLDER(test_an_image_from_the_net),
        IN_FOLDER(test_a_page_from_the_net_that_says_it_is_a_file),
        IN_FOLDER(test_a_download_with_another_sum_is_thrown_away),
        IN_FOLDER(test_a_download_that_was_killed_is_continued),
        IN_FOLDER(test_an_installer_has_an_empty_disk_and_its_disc),
        cmocka_unit_test(test_passwords_and_keys),
        cmocka_unit_test(test_a_full_disk_loses_nothing), /* last: it changes the mounts */
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
