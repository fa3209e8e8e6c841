/* A machine's settings behind their window (see settings_model.h). */
#include "ui/settings_model.h"

#include <glib/gi18n.h>

#include "app/bundle.h"
#include "app/live.h"

#define REFRESH_MS 200

struct _EspSettingsModel {
    GObject parent_instance;
    char *path;
    EspMachineSettings *machine;
    GError *error;
    bool running;
    GFileMonitor *monitor;
    guint refresh_id;
    GQueue waiting; /* of Work; the first is under way if `busy` */
    bool busy;
};

enum { CHANGED, N_SIGNALS };
static guint signals[N_SIGNALS];

G_DEFINE_TYPE(EspSettingsModel, esp_settings_model, G_TYPE_OBJECT)

/* A change to be made, or, without one, the settings to be read. Belongs to the thread while that has it. */
typedef struct Work {
    char *path;
    EspSettingsChange what;
    EspSettingsDone done;
    GWeakRef owner;
    bool has_owner;
    EspMachineSettings *result;
    bool running;
} Work;

static void work_free(Work *work)
{
    if (work->what.free_data)
        work->what.free_data(work->what.data);
    esp_machine_settings_free(work->result);
    g_weak_ref_clear(&work->owner);
    g_free(work->path);
    g_free(work);
}

static void work_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    Work *work = data;
    g_autoptr(EspMachineSettings) before = NULL;
    GError *error = NULL;

    work->running = esp_machine_settings_is_running(work->path);
    if (work->running && work->what.live)
        before = esp_machine_settings_read(work->path, NULL);
    if (work->what.change)
        esp_machine_settings_change(work->path, work->what.change, work->what.data, &work->result, &error);
    else
        work->result = esp_machine_settings_read(work->path, &error);
    if (before && !error)
        work->what.live(before, work->what.data);
    if (error)
        g_task_return_error(task, error);
    else
        g_task_return_boolean(task, TRUE);
}

static void next(EspSettingsModel *model);

static void take_result(EspSettingsModel *model, Work *work, const GError *error)
{
    model->running = work->running;
    if (work->result) {
        esp_machine_settings_free(model->machine);
        model->machine = g_steal_pointer(&work->result);
        g_clear_error(&model->error);
    } else if (!work->what.change) {
        g_clear_pointer(&model->machine, esp_machine_settings_free);
        g_clear_error(&model->error);
        model->error = g_error_copy(error);
    }
}

static void on_done(GObject *source, GAsyncResult *result, gpointer data)
{
    EspSettingsModel *model = ESP_SETTINGS_MODEL(source);
    Work *work = g_queue_pop_head(&model->waiting);
    g_autoptr(GError) error = NULL;

    g_task_propagate_boolean(G_TASK(result), &error);
    model->busy = false;
    take_result(model, work, error);
    g_signal_emit(model, signals[CHANGED], 0);
    g_autoptr(GObject) owner = g_weak_ref_get(&work->owner);
    if (work->done && (owner || !work->has_owner))
        work->done(error, owner);
    work_free(work);
    next(model);
}

static void next(EspSettingsModel *model)
{
    Work *work = g_queue_peek_head(&model->waiting);

    if (!work || model->busy)
        return;
    model->busy = true;
    g_autoptr(GTask) task = g_task_new(model, NULL, on_done, NULL);
    g_task_set_task_data(task, work, NULL);
    g_task_run_in_thread(task, work_thread);
}

static void queue(EspSettingsModel *model, const EspSettingsChange *what, EspSettingsDone done,
                  GObject *owner)
{
    Work *work = g_new0(Work, 1);

    work->path = g_strdup(model->path);
    if (what)
        work->what = *what;
    work->done = done;
    work->has_owner = owner != NULL;
    g_weak_ref_init(&work->owner, owner);
    g_queue_push_tail(&model->waiting, work);
    next(model);
}

void esp_settings_model_change(EspSettingsModel *model, const EspSettingsChange *change, EspSettingsDone done,
                               GObject *owner)
{
    queue(model, change, done, owner);
}

/* ---- one setting ---- */

typedef struct SetOne {
    const EspSetting *setting;
    int index;
    VmcDeviceKind kind; /* of the device there, as the window knows it */
    char *text;
} SetOne;

static void set_one_free(gpointer data)
{
    SetOne *one = data;

    g_free(one->text);
    g_free(one);
}

static bool set_one(EspMachineSettings *machine, gpointer data, GError **error)
{
    const SetOne *one = data;
    VmcDeviceConfig *device = esp_machine_settings_device(machine, one->index);

    if (one->index >= 0 && (!device || device->kind != one->kind)) {
        g_set_error_literal(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_BUSY,
                            _("The machine was changed elsewhere meanwhile; please look again."));
        return false;
    }
    return esp_setting_set(one->setting, machine, device, one->text, error);
}

/* The screen's size of a machine that runs. What does not work now works at the next start. */
static void resize_live(const EspMachineSettings *before, gpointer data)
{
    const SetOne *one = data;
    const VmcDeviceConfig *device = esp_machine_settings_device(before, one->index);
    bool is_width = !g_strcmp0(one->setting->field, "width");
    g_autofree char *width = device ? g_strdup_printf("%u", device->display.width) : NULL;
    g_autofree char *height = device ? g_strdup_printf("%u", device->display.height) : NULL;

    if (device)
        esp_live_act(before->path, device, "resize",
                     (const char *const[]){is_width ? one->text : width, is_width ? height : one->text, NULL},
                     NULL);
}

void esp_settings_model_set(EspSettingsModel *model, const EspSetting *setting, int index, const char *text,
                            EspSettingsDone done, GObject *owner)
{
    const VmcDeviceConfig *device =
        model->machine ? esp_machine_settings_device(model->machine, index) : NULL;
    SetOne *one = g_new0(SetOne, 1);

    *one = (SetOne){setting, index, device ? device->kind : VMC_DEVICE_KINDS, g_strdup(text)};
    queue(model,
          &(EspSettingsChange){.change = set_one,
                               .live = setting->live == ESP_LIVE_RESIZE ? resize_live : NULL,
                               .data = one,
                               .free_data = set_one_free},
          done, owner);
}

/* ---- what others do ---- */

static gboolean on_refresh(gpointer data)
{
    EspSettingsModel *model = data;

    model->refresh_id = 0;
    queue(model, NULL, NULL, NULL);
    return G_SOURCE_REMOVE;
}

static void on_file(GFileMonitor *monitor, GFile *file, GFile *other, GFileMonitorEvent event, gpointer data)
{
    EspSettingsModel *model = data;
    g_autofree char *name = g_file_get_basename(file);
    g_autofree char *other_name = other ? g_file_get_basename(other) : NULL;
    bool ours = !g_strcmp0(name, "config.plist") || !g_strcmp0(other_name, "config.plist") ||
                !g_strcmp0(name, "lock");

    if (ours && event != G_FILE_MONITOR_EVENT_ATTRIBUTE_CHANGED && !model->refresh_id)
        model->refresh_id = g_timeout_add(REFRESH_MS, on_refresh, model);
}

const char *esp_settings_model_get_path(EspSettingsModel *model)
{
    return model->path;
}

const EspMachineSettings *esp_settings_model_get(EspSettingsModel *model)
{
    return model->machine;
}

const GError *esp_settings_model_get_error(EspSettingsModel *model)
{
    return model->error;
}

bool esp_settings_model_is_running(EspSettingsModel *model)
{
    return model->running;
}

EspSettingsModel *esp_settings_model_new(const char *path)
{
    EspSettingsModel *model = g_object_new(ESP_TYPE_SETTINGS_MODEL, NULL);
    g_autoptr(GFile) folder = NULL;

    model->path = g_canonicalize_filename(path, NULL);
    folder = g_file_new_for_path(model->path);
    model->monitor = g_file_monitor_directory(folder, G_FILE_MONITOR_WATCH_MOVES, NULL, NULL);
    if (model->monitor)
        g_signal_connect_object(model->monitor, "changed", G_CALLBACK(on_file), model, 0);
    queue(model, NULL, NULL, NULL);
    return model;
}

static void esp_settings_model_finalize(GObject *object)
{
    EspSettingsModel *model = ESP_SETTINGS_MODEL(object);

    /* A task under way holds a reference, so there is none. */
    g_queue_clear_full(&model->waiting, (GDestroyNotify)work_free);
    g_clear_handle_id(&model->refresh_id, g_source_remove);
    g_clear_object(&model->monitor);
    esp_machine_settings_free(model->machine);
    g_clear_error(&model->error);
    g_free(model->path);
    G_OBJECT_CLASS(esp_settings_model_parent_class)->finalize(object);
}

static void esp_settings_model_class_init(EspSettingsModelClass *klass)
{
    G_OBJECT_CLASS(klass)->finalize = esp_settings_model_finalize;
    signals[CHANGED] = g_signal_new("changed", G_TYPE_FROM_CLASS(klass), G_SIGNAL_RUN_LAST, 0, NULL, NULL,
                                    NULL, G_TYPE_NONE, 0);
}

static void esp_settings_model_init(EspSettingsModel *model)
{
    g_queue_init(&model->waiting);
}
