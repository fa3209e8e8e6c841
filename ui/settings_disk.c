/*
 * A disk's size, and making it larger (see settings_disk.h). Of a machine that runs the disk grows where it
 * is and the guest is told; otherwise the image does.
 */
#include "ui/settings_disk.h"

#include <glib/gi18n.h>
#include <vmcore/disk.h>

#include "app/live.h"
#include "ui/settings_window.h"

#define GIB 30

struct _EspSettingsDisk {
    GtkBox parent_instance;
    EspSettingsModel *model;
    int index;
    uint64_t size;
    GtkLabel *size_label;
    GtkWidget *grow_button, *popover;
    GtkSpinButton *size_spin;
};

G_DEFINE_TYPE(EspSettingsDisk, esp_settings_disk, GTK_TYPE_BOX)

bool esp_settings_is_disk(VmcDeviceKind kind)
{
    return kind == VMC_DEVICE_VIRTIO_BLOCK || kind == VMC_DEVICE_NVME || kind == VMC_DEVICE_USB_STORAGE;
}

static const VmcDeviceConfig *device_of(EspSettingsDisk *disk)
{
    const EspMachineSettings *machine = esp_settings_model_get(disk->model);
    const VmcDeviceConfig *device = machine ? esp_machine_settings_device(machine, disk->index) : NULL;

    return device && esp_settings_is_disk(device->kind) ? device : NULL;
}

static const char *format_of(const VmcDeviceConfig *device)
{
    return device->block.format == VMC_DISK_QCOW2 ? "qcow2" : "raw";
}

/* ---- how large ---- */

/* On a thread, with a disk of its own to ask about. */
typedef struct Question {
    char *bundle;
    VmcDeviceConfig *device;
    uint64_t size;
    VmcDiskInfo info;
} Question;

static void question_free(gpointer data)
{
    Question *question = data;

    vmc_disk_info_clear(&question->info);
    esp_device_config_free(question->device);
    g_free(question->bundle);
    g_free(question);
}

static GTask *ask_task(EspSettingsDisk *disk, GAsyncReadyCallback done, uint64_t size)
{
    GTask *task = g_task_new(disk, NULL, done, NULL);
    Question *question = g_new0(Question, 1);

    question->bundle = g_strdup(esp_settings_model_get_path(disk->model));
    question->device = esp_device_config_copy(device_of(disk));
    question->size = size;
    g_task_set_task_data(task, question, question_free);
    return task;
}

static void info_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    Question *question = data;
    GError *error = NULL;

    if (vmc_disk_info(question->device->block.path, format_of(question->device), &question->info, &error))
        g_task_return_boolean(task, TRUE);
    else
        g_task_return_error(task, error);
}

static void on_info(GObject *source, GAsyncResult *result, gpointer data)
{
    EspSettingsDisk *disk = ESP_SETTINGS_DISK(source);
    const Question *question = g_task_get_task_data(G_TASK(result));
    bool known = g_task_propagate_boolean(G_TASK(result), NULL);
    g_autofree char *size = g_format_size_full(question->info.size, G_FORMAT_SIZE_IEC_UNITS);
    g_autofree char *taken = g_format_size_full(question->info.allocated, G_FORMAT_SIZE_IEC_UNITS);
    /* Translators: a disk's size, and how much of this computer's disk its file takes. */
    g_autofree char *text = known ? g_strdup_printf(_("%s, takes %s"), size, taken) : g_strdup("");

    disk->size = known ? question->info.size : 0;
    gtk_label_set_text(disk->size_label, text);
    gtk_widget_set_visible(disk->grow_button, known && question->device->kind != VMC_DEVICE_USB_STORAGE &&
                                                  !question->device->block.readonly);
}

static void update(EspSettingsDisk *disk)
{
    const VmcDeviceConfig *device = device_of(disk);

    if (!device || !device->block.path)
        return;
    g_autoptr(GTask) task = ask_task(disk, on_info, 0);
    g_task_run_in_thread(task, info_thread);
}

/* ---- larger ---- */

static void grow_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    Question *question = data;
    g_autofree char *mib = g_strdup_printf("%" G_GUINT64_FORMAT, question->size >> 20);
    GError *error = NULL;
    bool ok =
        esp_live_act(question->bundle, question->device, "resize", (const char *const[]){mib, NULL}, &error);

    if (!ok && g_error_matches(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND)) {
        g_clear_error(&error);
        ok = vmc_disk_enlarge(question->device->block.path, format_of(question->device), question->size,
                              &error);
    }
    if (ok)
        g_task_return_boolean(task, TRUE);
    else
        g_task_return_error(task, error);
}

static void on_grown(GObject *source, GAsyncResult *result, gpointer data)
{
    EspSettingsDisk *disk = ESP_SETTINGS_DISK(source);
    g_autoptr(GError) error = NULL;
    bool ok = g_task_propagate_boolean(G_TASK(result), &error);

    esp_settings_window_say(gtk_widget_get_toplevel(GTK_WIDGET(disk)),
                            ok ? _("The disk is larger now. The guest may have to enlarge its partition.")
                               : error->message,
                            NULL, NULL, NULL, NULL);
    update(disk);
}

static void on_grow(EspSettingsDisk *disk)
{
    uint64_t size;

    gtk_spin_button_update(disk->size_spin);
    size = (uint64_t)gtk_spin_button_get_value_as_int(disk->size_spin) << GIB;
    gtk_popover_popdown(GTK_POPOVER(disk->popover));
    if (!device_of(disk) || size <= disk->size)
        return;
    g_autoptr(GTask) task = ask_task(disk, on_grown, size);
    g_task_run_in_thread(task, grow_thread);
}

static void on_popover(EspSettingsDisk *disk)
{
    double least = (double)(disk->size >> GIB) + 1;

    gtk_spin_button_set_range(disk->size_spin, least, MAX(65536, least));
    gtk_spin_button_set_value(disk->size_spin, least + 15);
}

GtkWidget *esp_settings_disk_button_new(EspSettingsModel *model, int index)
{
    EspSettingsDisk *disk = g_object_new(ESP_TYPE_SETTINGS_DISK, NULL);

    disk->model = g_object_ref(model);
    disk->index = index;
    g_signal_connect_object(model, "changed", G_CALLBACK(update), disk, G_CONNECT_SWAPPED);
    update(disk);
    return GTK_WIDGET(disk);
}

static void esp_settings_disk_dispose(GObject *object)
{
    g_clear_object(&ESP_SETTINGS_DISK(object)->model);
    G_OBJECT_CLASS(esp_settings_disk_parent_class)->dispose(object);
}

static void esp_settings_disk_class_init(EspSettingsDiskClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);

    G_OBJECT_CLASS(klass)->dispose = esp_settings_disk_dispose;
    gtk_widget_class_set_template_from_resource(widget_class, "/org/espalier/Espalier/settings-disk.ui");
    gtk_widget_class_bind_template_child(widget_class, EspSettingsDisk, size_label);
    gtk_widget_class_bind_template_child(widget_class, EspSettingsDisk, grow_button);
    gtk_widget_class_bind_template_child(widget_class, EspSettingsDisk, popover);
    gtk_widget_class_bind_template_child(widget_class, EspSettingsDisk, size_spin);
    gtk_widget_class_bind_template_callback(widget_class, on_grow);
    gtk_widget_class_bind_template_callback(widget_class, on_popover);
}

static void esp_settings_disk_init(EspSettingsDisk *disk)
{
    gtk_widget_init_template(GTK_WIDGET(disk));
}
