/*
 * Making a machine, step by step (see create.h).
 *
 * Each step's result is a file that appears whole, by a rename; so whether a step is done is seen by its
 * file, and one that was interrupted is begun anew, except for the download, which goes on where it was.
 */
#include "app/create/create.h"

#include <errno.h>
#include <glib/gi18n.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <vmcore/disk.h>

#include "app/create/image_kind.h"
#include "app/create/machine.h"
#include "app/create/seed.h"
#include "app/create/unpack.h"
#include "app/images/checksum.h"
#include "app/images/download.h"
#include "app/library.h"

#define DOWNLOAD_FILE "download"
#define CHECKED_FILE  "download.checked"
#define GIB           (1ull << 30)

typedef struct Making {
    EspJob *job;
    EspDraft *draft;
    const EspCreation *creation;
} Making;

static bool wrong_source(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

static bool wrong_source(GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *message = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(error, ESP_CREATION_ERROR, ESP_CREATION_ERROR_SOURCE, "%s", message);
    return false;
}

static void on_progress(guint64 done, guint64 total, gpointer data)
{
    esp_job_set_progress(((Making *)data)->job, done, total);
}

static bool has(Making *making, const char *name)
{
    g_autofree char *path = esp_draft_file(making->draft, name);

    return g_file_test(path, G_FILE_TEST_IS_REGULAR);
}

static GCancellable *cancellable(Making *making)
{
    return esp_job_get_cancellable(making->job);
}

/* ---- from the net ---- */

/* The name of the file in a link, as lists of sums have it. */
static char *name_in_link(const char *link)
{
    g_autoptr(GUri) uri = g_uri_parse(link, G_URI_FLAGS_PARSE_RELAXED, NULL);

    return uri ? g_path_get_basename(g_uri_get_path(uri)) : NULL;
}

static bool check_sum(Making *making, const char *path, GError **error)
{
    g_autofree char *list = esp_download_text(making->creation->sums, cancellable(making), error);
    g_autofree char *name = name_in_link(making->creation->source);

    if (!list)
        return false;
    g_autofree char *sum = name ? esp_checksum_find(list, name) : NULL;
    if (!sum)
        return wrong_source(
            error,
            _("The list of check sums does not have “%s”; so nobody knows whether the download "
              "is right."),
            name ? name : "");
    g_autoptr(GError) failure = NULL;
    if (esp_checksum_verify(path, sum, on_progress, making, cancellable(making), &failure))
        return true;
    if (g_error_matches(failure, ESP_DOWNLOAD_ERROR, ESP_DOWNLOAD_ERROR_DAMAGED)) {
        g_unlink(path); /* going on with it would never be right */
        wrong_source(
            error,
            _("“%s” was damaged on its way, or is not the file that its publisher offers. It was thrown "
              "away; please try again."),
            name);
        return false;
    }
    g_propagate_error(error, g_steal_pointer(&failure));
    return false;
}

static bool fetch(Making *making, GError **error)
{
    g_autofree char *path = esp_draft_file(making->draft, DOWNLOAD_FILE);
    g_autofree char *checked = esp_draft_file(making->draft, CHECKED_FILE);

    if (!esp_creation_is_download(making->creation) || g_file_test(checked, G_FILE_TEST_EXISTS))
        return true;
    if (!has(making, DOWNLOAD_FILE)) {
        const EspDownload download = {.link = making->creation->source,
                                      .path = path,
                                      .progress = on_progress,
                                      .data = making,
                                      .cancellable = cancellable(making)};
        esp_job_set_stage(making->job, _("Downloading"));
        if (!esp_download(&download, error))
            return false;
    }
    if (making->creation->sums) {
        esp_job_set_stage(making->job, _("Checking the download"));
        if (!check_sum(making, path, error))
            return false;
    }
    return g_file_set_contents_full(checked, "", 0, G_FILE_SET_CONTENTS_DURABLE, 0600, error);
}

/* Where the source lies on this computer; free with g_free. */
static char *source_path(Making *making)
{
    return esp_creation_is_download(making->creation) ? esp_draft_file(making->draft, DOWNLOAD_FILE)
                                                      : g_strdup(making->creation->source);
}

/* What people know the source by. */
static char *source_name(Making *making)
{
    g_autofree char *name = esp_creation_is_download(making->creation)
                                ? name_in_link(making->creation->source)
                                : g_path_get_basename(making->creation->source);

    return name ? g_filename_display_name(name) : g_strdup(making->creation->source);
}

/* ---- the disk ---- */

/* Puts the source into the file `name`: a download is moved if it is not packed, anything else copied. */
static bool bring(Making *making, EspImageKind kind, const char *name, GError **error)
{
    g_autofree char *from = source_path(making);
    g_autofree char *to = esp_draft_file(making->draft, name);

    if (esp_creation_is_download(making->creation) && kind != ESP_IMAGE_COMPRESSED) {
        if (!g_rename(from, to))
            return true;
        g_set_error(error, ESP_CREATION_ERROR, ESP_CREATION_ERROR_FILE, _("“%s” cannot be written: %s"), to,
                    g_strerror(errno));
        return false;
    }
    esp_job_set_stage(making->job,
                      kind == ESP_IMAGE_COMPRESSED ? _("Unpacking the image") : _("Copying the image"));
    if (!esp_unpack(from, to, on_progress, making, cancellable(making), error))
        return false;
    if (esp_creation_is_download(making->creation))
        g_unlink(from);
    return true;
}

/* What was downloaded is nothing to go on with; another try downloads it anew. */
static void throw_download_away(Making *making)
{
    g_autofree char *download = esp_draft_file(making->draft, DOWNLOAD_FILE);
    g_autofree char *checked = esp_draft_file(making->draft, CHECKED_FILE);

    if (!esp_creation_is_download(making->creation))
        return;
    g_unlink(checked);
    g_unlink(download);
}

static bool refuse(Making *making, EspImageKind kind, const char *what, GError **error)
{
    g_autofree char *name = source_name(making);

    throw_download_away(making);
    switch (kind) {
    case ESP_IMAGE_FOREIGN:
        return wrong_source(
            error,
            _("“%s” is a disk of the format %s, which Espalier does not read. Please convert it: "
              "qemu-img convert -O qcow2 FILE NEW."),
            name, what);
    case ESP_IMAGE_PAGE:
        return wrong_source(error, _("“%s” is a web page, not an image. Please check the link."), name);
    case ESP_IMAGE_ISO:
        return wrong_source(error, _("“%s” is an installer’s disc. Please choose it as such."), name);
    default:
        return wrong_source(
            error, _("“%s” is not an image of a disk: it begins neither as one does nor as a packed one."),
            name);
    }
}

static bool is_disk(EspImageKind kind)
{
    return kind == ESP_IMAGE_QCOW2 || kind == ESP_IMAGE_RAW;
}

/* An image that lies on a file of the host's choice would show that to the guest. */
static bool check_qcow2(Making *making, const char *path, GError **error)
{
    VmcDiskInfo info;

    if (!vmc_disk_info(path, "qcow2", &info, error))
        return false;
    bool good =
        !info.backing || wrong_source(error,
                                      _("The image lies on another one (“%s”), without which it is not "
                                        "whole. Please flatten it: qemu-img convert -O qcow2 FILE NEW."),
                                      info.backing);
    if (good && info.corrupt)
        good = wrong_source(
            error, _("The image is marked as damaged. Please repair it: qemu-img check -r all FILE."));
    vmc_disk_info_clear(&info);
    return good;
}

static uint64_t wanted_bytes(Making *making)
{
    return making->creation->disk_gib * GIB;
}

/* A raw image becomes the lower layer of a qcow2 disk, which can have snapshots and any size. */
static bool lay_disk_on(Making *making, GError **error)
{
    g_autofree char *image = esp_draft_file(making->draft, ESP_MACHINE_IMAGE);
    g_autofree char *disk = esp_draft_file(making->draft, ESP_MACHINE_DISK);
    GStatBuf st;

    if (g_stat(image, &st))
        return wrong_source(error, _("“%s” cannot be read: %s"), image, g_strerror(errno));
    uint64_t size = (uint64_t)st.st_size / VMC_DISK_SECTOR * VMC_DISK_SECTOR;
    const VmcDiskCreate params = {
        .size = MAX(size, wanted_bytes(making)), .backing = ESP_MACHINE_IMAGE, .backing_format = "raw"};
    g_chmod(image, 0400);
    return vmc_disk_create(disk, "qcow2", &params, error);
}

/* The unpacked or copied image, whatever it is, becomes the disk. */
static bool settle(Making *making, GError **error)
{
    g_autofree char *image = esp_draft_file(making->draft, ESP_MACHINE_IMAGE);
    g_autofree char *disk = esp_draft_file(making->draft, ESP_MACHINE_DISK);
    const char *what = NULL;
    EspImageKind kind;

    if (!esp_image_kind(image, &kind, &what, error))
        return false;
    if (!is_disk(kind)) {
        g_unlink(image);
        return refuse(making, kind, what, error);
    }
    if (kind == ESP_IMAGE_RAW)
        return lay_disk_on(making, error);
    if (!check_qcow2(making, image, error)) {
        g_unlink(image);
        return false;
    }
    if (g_rename(image, disk))
        return wrong_source(error, _("“%s” cannot be written: %s"), disk, g_strerror(errno));
    return true;
}

static bool make_disk_of_source(Making *making, GError **error)
{
    g_autofree char *from = source_path(making);
    const char *what = NULL;
    EspImageKind kind = ESP_IMAGE_UNKNOWN;

    if (has(making, ESP_MACHINE_DISK))
        return true;
    if (!has(making, ESP_MACHINE_IMAGE)) {
        if (!esp_image_kind(from, &kind, &what, error))
            return false;
        /* A hybrid disc can be written to a stick, and imported as one; a cloud image never is one. */
        if (!is_disk(kind) && kind != ESP_IMAGE_COMPRESSED)
            return refuse(making, kind, what, error);
        if (kind == ESP_IMAGE_QCOW2 && !check_qcow2(making, from, error))
            return false;
        if (!bring(making, kind, ESP_MACHINE_IMAGE, error))
            return false;
    }
    return settle(making, error);
}

static bool make_empty_disk(Making *making, GError **error)
{
    g_autofree char *disk = esp_draft_file(making->draft, ESP_MACHINE_DISK);
    const VmcDiskCreate params = {.size = wanted_bytes(making)};

    return has(making, ESP_MACHINE_DISK) || vmc_disk_create(disk, "qcow2", &params, error);
}

/* An installer's disc from the net becomes the machine's; one that is on this computer is used where it is.
 */
static bool take_disc(Making *making, GError **error)
{
    g_autofree char *from = source_path(making);
    g_autofree char *name = source_name(making);
    EspImageKind kind = ESP_IMAGE_UNKNOWN;

    if (has(making, ESP_MACHINE_IMAGE))
        return true;
    if (!esp_image_kind(from, &kind, NULL, error))
        return false;
    if (kind != ESP_IMAGE_ISO)
        return kind == ESP_IMAGE_PAGE
                   ? refuse(making, kind, NULL, error)
                   : wrong_source(error, _("“%s” is not the image of a disc (ISO 9660)."), name);
    return !esp_creation_is_download(making->creation) || bring(making, kind, ESP_MACHINE_IMAGE, error);
}

static bool make_disk(Making *making, GError **error)
{
    g_autofree char *disk = esp_draft_file(making->draft, ESP_MACHINE_DISK);

    switch (making->creation->kind) {
    case ESP_CREATION_DEMO:
        return has(making, "disk.img") || esp_bundle_add_disk(esp_draft_get_bundle(making->draft), "disk.img",
                                                              ESP_DEMO_DISK_SIZE, error);
    case ESP_CREATION_INSTALLER:
        return take_disc(making, error) && make_empty_disk(making, error);
    case ESP_CREATION_LINUX:
    case ESP_CREATION_IMPORT:
        return make_disk_of_source(making, error) &&
               (!making->creation->disk_gib || vmc_disk_enlarge(disk, "qcow2", wanted_bytes(making), error));
    case ESP_CREATION_MACOS:
        break;
    }
    return wrong_source(error, _("This version of Espalier cannot install macOS yet."));
}

/* ---- what makes a machine of it ---- */

static bool make_seed(Making *making, GError **error)
{
    if (!esp_creation_has_setup(making->creation))
        return true;
    g_autofree char *path = esp_draft_file(making->draft, ESP_MACHINE_SEED);
    g_autofree char *uuid = g_uuid_string_random();
    g_autofree char *instance = g_strconcat("espalier-", uuid, NULL);
    EspSeed seed;

    esp_seed_init(&seed, making->creation, instance);
    bool good = esp_seed_write(&seed, path, error);
    esp_seed_clear(&seed);
    return good;
}

static void set_info(EspBundle *bundle, const EspCreation *creation)
{
    EspMachineInfo info = {.system = creation->system, .os_id = g_strdup(creation->os_id)};
    const EspRegion *region = &creation->region;

    info.region.locale = g_strdup(region->locale);
    info.region.keyboard_layout = g_strdup(region->keyboard_layout);
    info.region.keyboard_variant = g_strdup(region->keyboard_variant);
    info.region.time_zone = g_strdup(region->time_zone);
    esp_bundle_set_info(bundle, &info);
    esp_machine_info_clear(&info);
}

static bool validate(const VmcConfig *config, GError **error)
{
    g_autoptr(GPtrArray) faults = vmc_config_validate(config);

    if (!faults->len)
        return true;
    const VmcFault *fault = faults->pdata[0];
    g_set_error(error, ESP_CREATION_ERROR, ESP_CREATION_ERROR_WANTED, _("The machine could not run: %s"),
                fault->message);
    return false;
}

static bool publish(Making *making, GError **error)
{
    EspBundle *bundle = esp_draft_get_bundle(making->draft);
    g_autofree char *checked = esp_draft_file(making->draft, CHECKED_FILE);
    VmcConfig *config = esp_machine_make(bundle, making->creation, error);
    bool good = config && validate(config, error);

    if (good) {
        esp_bundle_set_config(bundle, config);
        set_info(bundle, making->creation);
        esp_bundle_set_origin(
            bundle, making->creation->kind == ESP_CREATION_DEMO ? "demo" : making->creation->version);
        good = !g_cancellable_set_error_if_cancelled(cancellable(making), error) &&
               esp_bundle_publish(bundle, error);
    }
    vmc_config_free(config);
    if (!good)
        return false;
    esp_draft_published(making->draft);
    g_autofree char *leftover = esp_draft_file(making->draft, CHECKED_FILE);
    g_unlink(leftover);
    return true;
}

bool esp_create_run(EspJob *job, EspDraft *draft, GError **error)
{
    Making making = {job, draft, esp_draft_get_creation(draft)};

    esp_job_set_stage(job, _("Preparing"));
    if (!esp_creation_check(making.creation, esp_draft_get_library_dir(draft), error) ||
        !fetch(&making, error) || g_cancellable_set_error_if_cancelled(cancellable(&making), error) ||
        !make_disk(&making, error))
        return false;
    esp_job_set_stage(job, _("Finishing"));
    return make_seed(&making, error) && publish(&making, error);
}

static bool work(EspJob *job, gpointer data, GError **error)
{
    return esp_create_run(job, data, error);
}

EspJob *esp_create_job_new(EspDraft *draft)
{
    /* Translators: %s is a machine's name. */
    g_autofree char *title = g_strdup_printf(_("Creating “%s”"), esp_draft_get_creation(draft)->name);

    return esp_job_new(title);
}

void esp_create_start(EspJob *job, EspDraft *draft)
{
    esp_job_start(job, work, draft, (GDestroyNotify)esp_draft_free);
}

char *esp_create_path(EspDraft *draft)
{
    return esp_bundle_path_for(esp_draft_get_library_dir(draft), esp_draft_get_creation(draft)->name);
}
