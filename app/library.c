/*
 * The library of virtual machines (see library.h).
 *
 * Who runs a machine is asked of its lock, never remembered: a process that crashed has let go of it. A file
 * monitor per bundle tells of changes at once; a slow clock runs only while something is running, because the
 * death of a process changes no file.
 */
#include "app/library.h"

#include <glib/gi18n.h>
#include <inttypes.h>
#include <string.h>

#include "app/bundle_config.h"
#include "app/machine_log.h"
#include "app/crash.h"

#define RESCAN_DELAY_MS 80
#define POLL_SECONDS    1
#define LOST_SECONDS    2

struct _EspLibraryItem {
    GObject parent_instance;
    char *path;
    char *name;
    char *summary;
    char *state;
    char *screenshot;
    bool crashed;
    gint64 config_mtime; /* us; what name and summary were read from */
    gint64 picture_mtime;
    gint64 last_used;
    bool broken;
    GFileMonitor *monitor;
};

enum { ITEM_NAME = 1, ITEM_SUMMARY, ITEM_STATE, ITEM_SCREENSHOT, ITEM_CRASHED, N_ITEM_PROPS };
static GParamSpec *item_props[N_ITEM_PROPS];

G_DEFINE_TYPE(EspLibraryItem, esp_library_item, G_TYPE_OBJECT)

struct _EspLibrary {
    GObject parent_instance;
    char *dir;
    GPtrArray *items;
    GFileMonitor *monitor;
    guint rescan_id;
    guint poll_id;
    guint lost_id; /* looks for a folder that has gone */
    bool seen, lost;
};

enum { LIBRARY_LOST = 1, N_LIBRARY_PROPS };
static GParamSpec *library_props[N_LIBRARY_PROPS];

static void esp_library_list_init(GListModelInterface *iface);
G_DEFINE_TYPE_WITH_CODE(EspLibrary, esp_library, G_TYPE_OBJECT,
                        G_IMPLEMENT_INTERFACE(G_TYPE_LIST_MODEL, esp_library_list_init))

/* --- Items -------------------------------------------------------------------------------------- */

const char *esp_library_item_get_path(EspLibraryItem *item)
{
    return item->path;
}

const char *esp_library_item_get_name(EspLibraryItem *item)
{
    return item->name;
}

const char *esp_library_item_get_summary(EspLibraryItem *item)
{
    return item->summary;
}

const char *esp_library_item_get_state(EspLibraryItem *item)
{
    return item->state;
}

const char *esp_library_item_get_screenshot(EspLibraryItem *item)
{
    return item->screenshot;
}

bool esp_library_item_is_broken(EspLibraryItem *item)
{
    return item->broken;
}

gint64 esp_library_item_get_last_used(EspLibraryItem *item)
{
    return item->last_used;
}

bool esp_library_item_get_crashed(EspLibraryItem *item)
{
    return item->crashed;
}

static void item_set(EspLibraryItem *item, char **field, char *value, int prop)
{
    if (!g_strcmp0(*field, value)) {
        g_free(value);
        return;
    }
    g_free(*field);
    *field = value;
    g_object_notify_by_pspec(G_OBJECT(item), item_props[prop]);
}

static char *summarise(EspBundle *bundle, bool *broken)
{
    g_autoptr(GError) error = NULL;
    VmcConfig *config = esp_bundle_get_config(bundle, &error);
    *broken = !config;
    if (!config)
        return g_strdup(error->message);
    uint64_t mib = config->memory >> 20;
    g_autofree char *memory = mib % 1024 ? g_strdup_printf(_("%" PRIu64 " MiB"), mib)
                                         : g_strdup_printf(_("%" PRIu64 " GiB"), mib / 1024);
    g_autofree char *cpus = g_strdup_printf(ngettext("%u CPU", "%u CPUs", config->cpus), config->cpus);
    /* Translators: what a machine has: "2 CPUs, 512 MiB of memory". */
    char *summary = g_strdup_printf(_("%s, %s of memory"), cpus, memory);
    vmc_config_free(config);
    return summary;
}

/* When a file was changed last, us; 0 when there is none. */
static gint64 file_mtime(const char *file)
{
    g_autoptr(GFile) gfile = g_file_new_for_path(file);
    g_autoptr(GFileInfo) info =
        g_file_query_info(gfile, G_FILE_ATTRIBUTE_TIME_MODIFIED "," G_FILE_ATTRIBUTE_TIME_MODIFIED_USEC,
                          G_FILE_QUERY_INFO_NONE, NULL, NULL);
    if (!info)
        return 0;
    return (gint64)g_file_info_get_attribute_uint64(info, G_FILE_ATTRIBUTE_TIME_MODIFIED) * G_USEC_PER_SEC +
           g_file_info_get_attribute_uint32(info, G_FILE_ATTRIBUTE_TIME_MODIFIED_USEC);
}

static void refresh_picture(EspLibraryItem *item)
{
    g_autofree char *file = g_build_filename(item->path, "screenshot.png", NULL);
    gint64 mtime = file_mtime(file);
    if (mtime == item->picture_mtime)
        return;
    item->picture_mtime = mtime;
    g_free(item->screenshot);
    item->screenshot = mtime ? g_steal_pointer(&file) : NULL;
    g_object_notify_by_pspec(G_OBJECT(item), item_props[ITEM_SCREENSHOT]);
}

static void item_refresh(EspLibraryItem *item)
{
    g_autofree char *log = g_build_filename(item->path, ESP_MACHINE_LOG, NULL);
    item->last_used = file_mtime(log);
    g_autofree char *config_file = g_build_filename(item->path, "config.plist", NULL);
    gint64 mtime = file_mtime(config_file);
    if (!item->name || mtime != item->config_mtime) {
        g_autoptr(GError) error = NULL;
        g_autoptr(EspBundle) bundle = esp_bundle_open(item->path, &error);
        item->config_mtime = mtime;
        if (bundle) {
            item_set(item, &item->name, g_strdup(esp_bundle_get_name(bundle)), ITEM_NAME);
            item_set(item, &item->summary, summarise(bundle, &item->broken), ITEM_SUMMARY);
        } else {
            item->broken = true;
            g_autofree char *basename = g_path_get_basename(item->path);
            basename[strlen(basename) - strlen(ESP_BUNDLE_SUFFIX)] = '\0';
            item_set(item, &item->name, g_filename_display_name(basename), ITEM_NAME);
            item_set(item, &item->summary, g_strdup(error->message), ITEM_SUMMARY);
        }
    }
    char *state = NULL;
    esp_bundle_get_runner(item->path, NULL, &state);
    bool crashed = !state && esp_crash_happened(item->path);
    item_set(item, &item->state, state, ITEM_STATE);
    if (crashed != item->crashed) {
        item->crashed = crashed;
        g_object_notify_by_pspec(G_OBJECT(item), item_props[ITEM_CRASHED]);
    }
    refresh_picture(item);
}

static void esp_library_item_get_property(GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
    EspLibraryItem *item = ESP_LIBRARY_ITEM(object);
    switch (id) {
    case ITEM_NAME:
        g_value_set_string(value, item->name);
        break;
    case ITEM_SUMMARY:
        g_value_set_string(value, item->summary);
        break;
    case ITEM_STATE:
        g_value_set_string(value, item->state);
        break;
    case ITEM_SCREENSHOT:
        g_value_set_string(value, item->screenshot);
        break;
    case ITEM_CRASHED:
        g_value_set_boolean(value, item->crashed);
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, pspec);
    }
}

static void esp_library_item_finalize(GObject *object)
{
    EspLibraryItem *item = ESP_LIBRARY_ITEM(object);
    g_clear_object(&item->monitor);
    g_free(item->path);
    g_free(item->name);
    g_free(item->summary);
    g_free(item->state);
    g_free(item->screenshot);
    G_OBJECT_CLASS(esp_library_item_parent_class)->finalize(object);
}

static void esp_library_item_class_init(EspLibraryItemClass *klass)
{
    GObjectClass *object_class = G_OBJECT_CLASS(klass);
    object_class->get_property = esp_library_item_get_property;
    object_class->finalize = esp_library_item_finalize;
    const GParamFlags flags = G_PARAM_READABLE | G_PARAM_STATIC_STRINGS;
    item_props[ITEM_NAME] = g_param_spec_string("name", NULL, NULL, NULL, flags);
    item_props[ITEM_SUMMARY] = g_param_spec_string("summary", NULL, NULL, NULL, flags);
    item_props[ITEM_STATE] = g_param_spec_string("state", NULL, NULL, NULL, flags);
    item_props[ITEM_SCREENSHOT] = g_param_spec_string("screenshot", NULL, NULL, NULL, flags);
    item_props[ITEM_CRASHED] = g_param_spec_boolean("crashed", NULL, NULL, FALSE, flags);
    g_object_class_install_properties(object_class, N_ITEM_PROPS, item_props);
}

static void esp_library_item_init(EspLibraryItem *item)
{
}

/* --- The folder --------------------------------------------------------------------------------- */

static gboolean on_rescan(gpointer data)
{
    EspLibrary *library = data;
    library->rescan_id = 0;
    esp_library_rescan(library);
    return G_SOURCE_REMOVE;
}

static void on_change(GFileMonitor *monitor, GFile *file, GFile *other, GFileMonitorEvent event,
                      gpointer data)
{
    EspLibrary *library = data;
    /* Opening and reading is our own doing; answering it with a look would never end. */
    if (event == G_FILE_MONITOR_EVENT_ATTRIBUTE_CHANGED || event == G_FILE_MONITOR_EVENT_CHANGES_DONE_HINT)
        return;
    if (!library->rescan_id)
        library->rescan_id = g_timeout_add(RESCAN_DELAY_MS, on_rescan, library);
}

static GFileMonitor *watch(EspLibrary *library, const char *path)
{
    g_autoptr(GFile) file = g_file_new_for_path(path);
    GFileMonitor *monitor = g_file_monitor_directory(file, G_FILE_MONITOR_WATCH_MOVES, NULL, NULL);
    if (monitor)
        g_signal_connect_object(monitor, "changed", G_CALLBACK(on_change), library, 0);
    return monitor;
}

static gboolean on_poll(gpointer data)
{
    EspLibrary *library = data;
    bool running = false;
    for (guint i = 0; i < library->items->len; i++) {
        EspLibraryItem *item = library->items->pdata[i];
        if (item->state)
            item_refresh(item);
        running = running || item->state;
    }
    if (!running)
        library->poll_id = 0;
    return running;
}

static int compare_names(const EspLibraryItem *a, const EspLibraryItem *b)
{
    int order = g_utf8_collate(a->name, b->name);
    return order ? order : strcmp(a->path, b->path);
}

static bool is_bundle(const char *entry)
{
    return entry[0] != '.' && g_str_has_suffix(entry, ESP_BUNDLE_SUFFIX);
}

static void add_item(EspLibrary *library, const char *path)
{
    EspLibraryItem *item = g_object_new(ESP_TYPE_LIBRARY_ITEM, NULL);
    item->path = g_strdup(path);
    item->monitor = watch(library, path);
    item_refresh(item);
    guint at = 0;
    while (at < library->items->len && compare_names(library->items->pdata[at], item) < 0)
        at++;
    g_ptr_array_insert(library->items, (int)at, item);
    g_list_model_items_changed(G_LIST_MODEL(library), at, 0, 1);
}

static gboolean on_look_for_lost(gpointer data)
{
    EspLibrary *library = data;
    esp_library_rescan(library);
    return library->lost;
}

/* A monitor of a folder that has gone watches nothing any more, even if another comes to its place. */
static void note_folder(EspLibrary *library, bool there)
{
    bool lost = library->seen && !there;
    library->seen = library->seen || there;
    if (!there)
        g_clear_object(&library->monitor);
    else if (!library->monitor)
        library->monitor = watch(library, library->dir);
    if (lost == library->lost)
        return;
    library->lost = lost;
    g_clear_handle_id(&library->lost_id, g_source_remove);
    if (lost)
        library->lost_id = g_timeout_add_seconds(LOST_SECONDS, on_look_for_lost, library);
    g_object_notify_by_pspec(G_OBJECT(library), library_props[LIBRARY_LOST]);
}

bool esp_library_is_lost(EspLibrary *library)
{
    return library->lost;
}

void esp_library_rescan(EspLibrary *library)
{
    g_autoptr(GHashTable) found = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    GDir *dir = g_dir_open(library->dir, 0, NULL);
    const char *entry;
    while (dir && (entry = g_dir_read_name(dir)))
        if (is_bundle(entry))
            g_hash_table_add(found, g_build_filename(library->dir, entry, NULL));
    if (dir)
        g_dir_close(dir);
    note_folder(library, dir != NULL);

    bool running = false;
    for (guint i = library->items->len; i-- > 0;) {
        EspLibraryItem *item = library->items->pdata[i];
        if (!g_hash_table_remove(found, item->path)) {
            g_ptr_array_remove_index(library->items, i);
            g_list_model_items_changed(G_LIST_MODEL(library), i, 1, 0);
            continue;
        }
        item_refresh(item);
    }
    GHashTableIter iter;
    gpointer path;
    g_hash_table_iter_init(&iter, found);
    while (g_hash_table_iter_next(&iter, &path, NULL))
        add_item(library, path);

    for (guint i = 0; i < library->items->len; i++)
        running = running || ((EspLibraryItem *)library->items->pdata[i])->state;
    if (running && !library->poll_id)
        library->poll_id = g_timeout_add_seconds(POLL_SECONDS, on_poll, library);
}

static GType list_item_type(GListModel *model)
{
    return ESP_TYPE_LIBRARY_ITEM;
}

static guint list_n_items(GListModel *model)
{
    return ESP_LIBRARY(model)->items->len;
}

static gpointer list_item(GListModel *model, guint position)
{
    EspLibrary *library = ESP_LIBRARY(model);
    return position < library->items->len ? g_object_ref(library->items->pdata[position]) : NULL;
}

static void esp_library_list_init(GListModelInterface *iface)
{
    iface->get_item_type = list_item_type;
    iface->get_n_items = list_n_items;
    iface->get_item = list_item;
}

static void esp_library_finalize(GObject *object)
{
    EspLibrary *library = ESP_LIBRARY(object);
    g_clear_handle_id(&library->rescan_id, g_source_remove);
    g_clear_handle_id(&library->poll_id, g_source_remove);
    g_clear_handle_id(&library->lost_id, g_source_remove);
    g_clear_object(&library->monitor);
    g_ptr_array_unref(library->items);
    g_free(library->dir);
    G_OBJECT_CLASS(esp_library_parent_class)->finalize(object);
}

static void esp_library_get_property(GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
    if (id == LIBRARY_LOST)
        g_value_set_boolean(value, ESP_LIBRARY(object)->lost);
    else
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, pspec);
}

static void esp_library_class_init(EspLibraryClass *klass)
{
    GObjectClass *object_class = G_OBJECT_CLASS(klass);
    object_class->get_property = esp_library_get_property;
    object_class->finalize = esp_library_finalize;
    library_props[LIBRARY_LOST] =
        g_param_spec_boolean("lost", NULL, NULL, FALSE, G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);
    g_object_class_install_properties(object_class, N_LIBRARY_PROPS, library_props);
}

static void esp_library_init(EspLibrary *library)
{
    library->items = g_ptr_array_new_with_free_func(g_object_unref);
}

char *esp_library_default_dir(void)
{
    return g_build_filename(g_get_user_data_dir(), "espalier", "machines", NULL);
}

EspLibrary *esp_library_new(const char *dir)
{
    EspLibrary *library = g_object_new(ESP_TYPE_LIBRARY, NULL);
    library->dir = g_strdup(dir);
    esp_library_rescan(library);
    return library;
}

const char *esp_library_get_dir(EspLibrary *library)
{
    return library->dir;
}
