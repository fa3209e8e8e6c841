/* A machine in the making (see draft.h). */
#include "app/create/draft.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gi18n.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PREFIX     ".creating-"
#define STATE_FILE "creation.plist"
#define STATE_MAX  (1u << 20)
#define SLUG_BYTES 40u
#define BUSY_STATE "creating"

struct EspDraft {
    char *path;
    char *library_dir;
    EspCreation creation;
    EspBundle *bundle; /* holds the lock */
};

static bool fail(GError **error, const char *format, const char *path)
{
    int err = errno;
    g_autofree char *shown = g_filename_display_name(path);
    g_autofree char *what = g_strdup_printf(format, shown);

    g_set_error(error, ESP_CREATION_ERROR, ESP_CREATION_ERROR_FILE, "%s: %s", what, g_strerror(err));
    return false;
}

/* ---- its state ---- */

static bool save(EspDraft *draft, GError **error)
{
    g_autofree char *file = esp_draft_file(draft, STATE_FILE);
    plist_t root = esp_creation_to_plist(&draft->creation);
    char *xml = NULL;
    uint32_t length = 0;

    plist_to_xml(root, &xml, &length);
    plist_free(root);
    bool good = g_file_set_contents_full(
        file, xml, length, G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE, 0600, error);
    plist_to_xml_free(xml);
    return good;
}

static bool load(const char *path, EspCreation *creation, GError **error)
{
    g_autofree char *file = g_build_filename(path, STATE_FILE, NULL);
    g_autofree char *text = NULL;
    gsize length = 0;
    plist_t root = NULL;
    GStatBuf st;

    if (g_lstat(file, &st))
        return fail(error, _("“%s” cannot be read"), file);
    if (!S_ISREG(st.st_mode) || st.st_size > STATE_MAX) {
        errno = EINVAL;
        return fail(error, _("“%s” cannot be read"), file);
    }
    if (!g_file_get_contents(file, &text, &length, error))
        return false;
    plist_from_xml(text, (uint32_t)length, &root);
    bool good = root && plist_get_node_type(root) == PLIST_DICT;
    if (!good) {
        errno = EINVAL;
        fail(error, _("“%s” cannot be read"), file);
    }
    good = good && esp_creation_from_plist(root, creation, error);
    if (root)
        plist_free(root);
    return good;
}

/* ---- making and opening ---- */

static bool take(EspDraft *draft, GError **error)
{
    draft->bundle = esp_bundle_new_in(draft->path, draft->library_dir, draft->creation.name, error);
    if (!draft->bundle || !esp_bundle_lock(draft->bundle, error))
        return false;
    esp_bundle_announce(draft->bundle, BUSY_STATE);
    return true;
}

EspDraft *esp_draft_new(const char *library_dir, const EspCreation *creation, GError **error)
{
    g_autoptr(EspDraft) draft = g_new0(EspDraft, 1);
    g_autofree char *slug = g_str_to_ascii(creation->name, "C");

    g_strcanon(slug, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS, '-');
    draft->library_dir = g_canonicalize_filename(library_dir, NULL);
    esp_creation_copy(&draft->creation, creation);
    if (g_mkdir_with_parents(draft->library_dir, 0700)) {
        fail(error, _("The folder “%s” cannot be made"), draft->library_dir);
        return NULL;
    }
    g_autofree char *name = g_strdup_printf(PREFIX "%.*s-XXXXXX", (int)SLUG_BYTES, slug);
    draft->path = g_build_filename(draft->library_dir, name, NULL);
    if (!g_mkdtemp_full(draft->path, 0700)) {
        fail(error, _("Nothing can be created in “%s”"), draft->library_dir);
        return NULL;
    }
    if (!save(draft, error) || !take(draft, error)) {
        g_autofree char *file = esp_draft_file(draft, STATE_FILE);
        g_unlink(file);
        g_rmdir(draft->path);
        return NULL;
    }
    return g_steal_pointer(&draft);
}

static bool rename_if_taken(EspDraft *draft, GError **error)
{
    g_autofree char *name = esp_creation_free_name(draft->creation.name, draft->library_dir);
    EspCreation other;

    if (!strcmp(name, draft->creation.name))
        return true;
    esp_creation_copy(&other, &draft->creation);
    g_free(other.name);
    other.name = g_steal_pointer(&name);
    bool good = esp_draft_set_creation(draft, &other, error);
    esp_creation_clear(&other);
    return good;
}

EspDraft *esp_draft_open(const char *path, GError **error)
{
    g_autoptr(EspDraft) draft = g_new0(EspDraft, 1);

    draft->path = g_canonicalize_filename(path, NULL);
    draft->library_dir = g_path_get_dirname(draft->path);
    if (!load(draft->path, &draft->creation, error) ||
        !esp_bundle_check_name(draft->creation.name ? draft->creation.name : "", error) ||
        !take(draft, error) || !rename_if_taken(draft, error))
        return NULL;
    return g_steal_pointer(&draft);
}

void esp_draft_free(EspDraft *draft)
{
    if (!draft)
        return;
    esp_bundle_free(draft->bundle);
    esp_creation_clear(&draft->creation);
    g_free(draft->path);
    g_free(draft->library_dir);
    g_free(draft);
}

const char *esp_draft_get_path(EspDraft *draft)
{
    return draft->path;
}

const char *esp_draft_get_library_dir(EspDraft *draft)
{
    return draft->library_dir;
}

const EspCreation *esp_draft_get_creation(EspDraft *draft)
{
    return &draft->creation;
}

bool esp_draft_set_creation(EspDraft *draft, const EspCreation *creation, GError **error)
{
    EspCreation copy;

    esp_creation_copy(&copy, creation);
    esp_creation_clear(&draft->creation);
    draft->creation = copy;
    if (!save(draft, error))
        return false;
    g_clear_pointer(&draft->bundle, esp_bundle_free); /* it knows the place the machine goes to */
    return take(draft, error);
}

char *esp_draft_file(EspDraft *draft, const char *name)
{
    return g_build_filename(draft->path, name, NULL);
}

EspBundle *esp_draft_get_bundle(EspDraft *draft)
{
    return draft->bundle;
}

/* ---- its end ---- */

void esp_draft_published(EspDraft *draft)
{
    g_free(draft->path);
    draft->path = g_strdup(esp_bundle_get_path(draft->bundle));
    g_autofree char *file = esp_draft_file(draft, STATE_FILE);
    g_unlink(file);
}

/* It holds plain files only, all of our making. */
static bool empty(const char *path)
{
    GDir *dir = g_dir_open(path, 0, NULL);
    const char *entry;
    bool good = dir != NULL;

    while (dir && (entry = g_dir_read_name(dir))) {
        g_autofree char *file = g_build_filename(path, entry, NULL);
        /* The state goes last: without it nobody could go on, or discard it. */
        if (strcmp(entry, STATE_FILE) && g_unlink(file))
            good = false;
    }
    if (dir)
        g_dir_close(dir);
    return good;
}

bool esp_draft_discard(EspDraft *draft, GError **error)
{
    g_autofree char *state = esp_draft_file(draft, STATE_FILE);
    bool good = (empty(draft->path) && !g_unlink(state) && !g_rmdir(draft->path)) ||
                fail(error, _("“%s” cannot be removed"), draft->path);

    esp_draft_free(draft);
    return good;
}

/* ---- all of them ---- */

static void info_free(gpointer data)
{
    EspDraftInfo *info = data;

    g_free(info->path);
    esp_creation_clear(&info->creation);
    g_free(info);
}

static guint64 bytes_in(const char *path)
{
    GDir *dir = g_dir_open(path, 0, NULL);
    const char *entry;
    guint64 bytes = 0;
    GStatBuf st;

    while (dir && (entry = g_dir_read_name(dir))) {
        g_autofree char *file = g_build_filename(path, entry, NULL);
        if (!g_lstat(file, &st) && S_ISREG(st.st_mode))
            bytes += (guint64)st.st_blocks * 512;
    }
    if (dir)
        g_dir_close(dir);
    return bytes;
}

static EspDraftInfo *look(const char *path)
{
    EspDraftInfo *info = g_new0(EspDraftInfo, 1);
    g_autofree char *file = g_build_filename(path, STATE_FILE, NULL);
    GStatBuf st;

    info->path = g_strdup(path);
    if (!load(path, &info->creation, NULL) || !info->creation.name ||
        !esp_bundle_check_name(info->creation.name, NULL)) {
        info_free(info);
        return NULL;
    }
    info->time = g_stat(file, &st) ? 0 : (gint64)st.st_mtime;
    info->bytes = bytes_in(path);
    info->busy = esp_bundle_get_runner(path, NULL, NULL);
    return info;
}

static int newest_first(gconstpointer a, gconstpointer b)
{
    const EspDraftInfo *x = *(EspDraftInfo *const *)a, *y = *(EspDraftInfo *const *)b;

    return x->time < y->time ? 1 : x->time > y->time ? -1 : strcmp(x->path, y->path);
}

GPtrArray *esp_drafts_list(const char *library_dir)
{
    GPtrArray *list = g_ptr_array_new_with_free_func(info_free);
    GDir *dir = g_dir_open(library_dir, 0, NULL);
    const char *entry;

    while (dir && (entry = g_dir_read_name(dir))) {
        if (!g_str_has_prefix(entry, PREFIX))
            continue;
        g_autofree char *path = g_build_filename(library_dir, entry, NULL);
        EspDraftInfo *info = look(path);
        if (info)
            g_ptr_array_add(list, info);
    }
    if (dir)
        g_dir_close(dir);
    g_ptr_array_sort(list, newest_first);
    return list;
}
