/*
 * Adding devices (see settings_add.h).
 *
 * What a kind needs is asked for first, as a file or folder; the rest starts as the table of settings has it
 * and can be changed in the section that appears. The change is the validator's to refuse, in a toast.
 */
#include "ui/settings_add.h"

#include <glib/gi18n.h>
#include <string.h>
#include <vmcore/disk.h>

#include "app/live.h"
#include "ui/settings_window.h"

struct _EspSettingsAdd {
    GtkMenuButton parent_instance;
    EspSettingsModel *model;
    EspSettingGroup group;
    GtkWidget *menu;
};

G_DEFINE_TYPE(EspSettingsAdd, esp_settings_add, GTK_TYPE_MENU_BUTTON)

/* ---- the new disk's dialog ---- */

struct _EspNewDiskDialog {
    GtkDialog parent_instance;
    GtkSpinButton *size_spin;
    GtkComboBox *format_combo;
};

G_DEFINE_TYPE(EspNewDiskDialog, esp_new_disk_dialog, GTK_TYPE_DIALOG)

static void esp_new_disk_dialog_class_init(EspNewDiskDialogClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);

    gtk_widget_class_set_template_from_resource(widget_class, "/org/espalier/Espalier/new-disk-dialog.ui");
    gtk_widget_class_bind_template_child(widget_class, EspNewDiskDialog, size_spin);
    gtk_widget_class_bind_template_child(widget_class, EspNewDiskDialog, format_combo);
}

static void esp_new_disk_dialog_init(EspNewDiskDialog *dialog)
{
    gtk_widget_init_template(GTK_WIDGET(dialog));
}

/* ---- the change ---- */

/* What is added: of this kind, with this file or folder. */
typedef struct Addition {
    VmcDeviceKind kind;
    char *path;
    uint64_t new_size; /* a disk image of that size is made first; 0: there is one */
    VmcDiskFormat format;
    bool cdrom;
} Addition;

static void addition_free(gpointer data)
{
    Addition *addition = data;

    g_free(addition->path);
    g_free(addition);
}

static const char *format_word(VmcDiskFormat format)
{
    return format == VMC_DISK_QCOW2 ? "qcow2" : "raw";
}

/* A name in the bundle that is not taken: "disk-2.qcow2". */
static char *free_name(const EspMachineSettings *machine, const char *stem, const char *suffix)
{
    for (unsigned n = 1;; n++) {
        g_autofree char *name =
            n > 1 ? g_strdup_printf("%s-%u%s", stem, n, suffix) : g_strconcat(stem, suffix, NULL);
        char *path = g_build_filename(machine->path, name, NULL);

        if (!g_file_test(path, G_FILE_TEST_EXISTS) || n > 9999)
            return path;
        g_free(path);
    }
}

static bool fill_disk(const EspMachineSettings *machine, const Addition *addition, VmcDeviceConfig *device,
                      GError **error)
{
    VmcDiskCreate create = {.size = addition->new_size};
    VmcDiskInfo info = {0};

    device->block.format = addition->format;
    device->block.cdrom = addition->cdrom;
    device->block.readonly = addition->cdrom;
    if (addition->new_size) {
        g_free(device->block.path);
        device->block.path =
            free_name(machine, "disk", addition->format == VMC_DISK_QCOW2 ? ".qcow2" : ".img");
        device->block.backing = addition->format == VMC_DISK_QCOW2;
        return vmc_disk_create(device->block.path, format_word(addition->format), &create, error);
    }
    if (addition->cdrom || !vmc_disk_info(addition->path, NULL, &info, NULL))
        return true; /* the validator says what is wrong with it */
    device->block.format = g_strcmp0(info.format, "qcow2") ? VMC_DISK_RAW : VMC_DISK_QCOW2;
    device->block.backing = info.backing != NULL || device->block.format == VMC_DISK_QCOW2;
    vmc_disk_info_clear(&info);
    return true;
}

static bool has_tag(const EspMachineSettings *machine, const char *tag)
{
    for (int i = 0; esp_machine_settings_device(machine, i); i++) {
        const VmcDeviceConfig *device = esp_machine_settings_device(machine, i);
        if ((device->kind == VMC_DEVICE_VIRTIO_FS || device->kind == VMC_DEVICE_VIRTIO_9P) &&
            !g_strcmp0(device->share.tag, tag))
            return true;
    }
    return false;
}

/* The folder's name as far as a guest can type it. */
static char *tag_for(const EspMachineSettings *machine, const char *path)
{
    g_autofree char *basename = g_path_get_basename(path);
    g_autofree char *ascii = g_str_to_ascii(basename, "C");
    g_autoptr(GString) tag = g_string_new(NULL);

    for (const char *c = ascii; *c && tag->len < 28; c++)
        if (g_ascii_isalnum(*c) || strchr("-_.", *c))
            g_string_append_c(tag, *c);
    if (!tag->len)
        g_string_append(tag, "share");
    for (unsigned n = 2; has_tag(machine, tag->str) && n < 100; n++) {
        char *dash = strrchr(tag->str, '-');
        if (n > 2 && dash)
            g_string_truncate(tag, (gsize)(dash - tag->str));
        g_string_append_printf(tag, "-%u", n);
    }
    return g_strdup(tag->str);
}

static bool fill_in(EspMachineSettings *machine, const Addition *addition, VmcDeviceConfig *device,
                    GError **error)
{
    switch (device->kind) {
    case VMC_DEVICE_VIRTIO_BLOCK:
    case VMC_DEVICE_NVME:
    case VMC_DEVICE_USB_STORAGE:
        device->block.path = g_strdup(addition->path);
        return fill_disk(machine, addition, device, error);
    case VMC_DEVICE_VIRTIO_FS:
    case VMC_DEVICE_VIRTIO_9P:
        device->share.tag = tag_for(machine, addition->path);
        device->share.path = g_strdup(addition->path);
        return true;
    case VMC_DEVICE_SPICE_WEBDAV:
        device->share.path = g_strdup(addition->path);
        return true;
    case VMC_DEVICE_VIRTIO_NET:
    case VMC_DEVICE_E1000:
        device->net.nat = true;
        return true;
    case VMC_DEVICE_UART:
        device->serial.log_path = free_name(machine, "serial", ".log");
        return true;
    case VMC_DEVICE_VIRTIO_CONSOLE:
        device->serial.log_path = free_name(machine, "console", ".log");
        return true;
    case VMC_DEVICE_VIRTIO_VSOCK:
        device->vsock.port = 1024;
        device->vsock.path = free_name(machine, "vsock", ".sock");
        device->vsock.connect = true;
        return true;
    case VMC_DEVICE_APPLE_SMC:
        device->smc.key_file = g_strdup(addition->path);
        return true;
    default:
        return true;
    }
}

static bool add(EspMachineSettings *machine, gpointer data, GError **error)
{
    const Addition *addition = data;

    return fill_in(machine, addition, vmc_config_add_device(machine->config, addition->kind), error);
}

/* A USB drive is plugged in at once. If it cannot be it is there at the next start. */
static void attach(const EspMachineSettings *before, gpointer data)
{
    const Addition *addition = data;

    if (!esp_live_can_plug(addition->kind))
        return;
    VmcConfig *whole = vmc_config_new();
    VmcDeviceConfig *device = vmc_config_add_device(whole, addition->kind);
    device->block.path = g_strdup(addition->path);
    fill_disk(before, addition, device, NULL);
    esp_live_attach(before->path, device, NULL);
    vmc_config_free(whole);
}

static void on_added(const GError *error, gpointer owner)
{
    if (error)
        esp_settings_window_say(GTK_WIDGET(owner), error->message, NULL, NULL, NULL, NULL);
}

/* Takes the addition over. */
static void go(EspSettingsAdd *button, Addition *addition)
{
    EspSettingsChange change = {.change = add, .live = attach, .data = addition, .free_data = addition_free};

    esp_settings_model_change(button->model, &change, on_added,
                              G_OBJECT(gtk_widget_get_toplevel(GTK_WIDGET(button))));
}

/* ---- what is asked ---- */

static void on_new_disk(GtkDialog *dialog, int response, EspSettingsAdd *button)
{
    EspNewDiskDialog *asked = ESP_NEW_DISK_DIALOG(dialog);
    bool raw = !g_strcmp0(gtk_combo_box_get_active_id(asked->format_combo), "raw");
    Addition *addition = g_new0(Addition, 1);

    gtk_spin_button_update(asked->size_spin); /* Enter comes before what was typed is taken */
    addition->kind = VMC_DEVICE_VIRTIO_BLOCK;
    addition->new_size = (uint64_t)gtk_spin_button_get_value_as_int(asked->size_spin) << 30;
    addition->format = raw ? VMC_DISK_RAW : VMC_DISK_QCOW2;
    if (esp_device_words(addition->kind)->why_not(esp_settings_model_get(button->model), NULL))
        addition->kind = VMC_DEVICE_NVME;
    gtk_widget_destroy(GTK_WIDGET(dialog));
    if (response == GTK_RESPONSE_ACCEPT)
        go(button, addition);
    else
        addition_free(addition);
}

static void ask_new_disk(EspSettingsAdd *button)
{
    GtkWidget *window = gtk_widget_get_toplevel(GTK_WIDGET(button));
    GtkWidget *dialog =
        g_object_new(ESP_TYPE_NEW_DISK_DIALOG, "transient-for", window, "use-header-bar", TRUE, NULL);

    g_signal_connect_object(dialog, "response", G_CALLBACK(on_new_disk), button, 0);
    gtk_widget_show(dialog);
}

#define ADDITION "esp-addition"

static void on_path(GtkNativeDialog *dialog, int response, EspSettingsAdd *button)
{
    Addition *addition = g_object_steal_data(G_OBJECT(dialog), ADDITION);

    addition->path = gtk_file_chooser_get_filename(GTK_FILE_CHOOSER(dialog));
    if (response == GTK_RESPONSE_ACCEPT && addition->path)
        go(button, addition);
    else
        addition_free(addition);
    gtk_native_dialog_destroy(dialog);
    g_object_unref(dialog);
}

static void ask_path(EspSettingsAdd *button, Addition *addition, const char *title, bool folder)
{
    GtkWidget *window = gtk_widget_get_toplevel(GTK_WIDGET(button));
    GtkFileChooserNative *dialog = gtk_file_chooser_native_new(title, GTK_WINDOW(window),
                                                               folder ? GTK_FILE_CHOOSER_ACTION_SELECT_FOLDER
                                                                      : GTK_FILE_CHOOSER_ACTION_OPEN,
                                                               _("_Add"), _("_Cancel"));

    g_object_set_data_full(G_OBJECT(dialog), ADDITION, addition, addition_free);
    gtk_native_dialog_set_modal(GTK_NATIVE_DIALOG(dialog), TRUE);
    g_signal_connect_object(dialog, "response", G_CALLBACK(on_path), button, 0);
    gtk_native_dialog_show(GTK_NATIVE_DIALOG(dialog));
}

static void on_kind(GtkWidget *item, EspSettingsAdd *button)
{
    Addition *addition = g_new0(Addition, 1);

    addition->kind = (VmcDeviceKind)GPOINTER_TO_INT(g_object_get_data(G_OBJECT(item), "kind"));
    addition->cdrom = g_object_get_data(G_OBJECT(item), "cdrom") != NULL;
    gtk_popover_popdown(GTK_POPOVER(button->menu));
    switch (addition->kind) {
    case VMC_DEVICE_VIRTIO_BLOCK:
    case VMC_DEVICE_NVME:
    case VMC_DEVICE_USB_STORAGE:
        ask_path(button, addition, addition->cdrom ? _("Choose a CD Image") : _("Choose a Disk Image"),
                 false);
        break;
    case VMC_DEVICE_VIRTIO_FS:
    case VMC_DEVICE_VIRTIO_9P:
    case VMC_DEVICE_SPICE_WEBDAV:
        ask_path(button, addition, _("Choose a Folder to Share"), true);
        break;
    case VMC_DEVICE_APPLE_SMC:
        ask_path(button, addition, _("Choose the File with the Key"), false);
        break;
    default:
        go(button, addition);
    }
}

static void on_new(EspSettingsAdd *button)
{
    gtk_popover_popdown(GTK_POPOVER(button->menu));
    ask_new_disk(button);
}

/* ---- the menu ---- */

bool esp_settings_group_has_devices(EspSettingGroup group)
{
    for (unsigned kind = 0; kind < VMC_DEVICE_KINDS; kind++)
        if (esp_device_words((VmcDeviceKind)kind)->group == group)
            return true;
    return false;
}

static GtkWidget *add_item(GtkWidget *box, const char *label, const char *help, bool usable)
{
    GtkWidget *item = gtk_button_new();
    GtkWidget *lines = gtk_box_new(GTK_ORIENTATION_VERTICAL, 0);
    GtkWidget *first = gtk_label_new(label), *second = gtk_label_new(help);

    g_object_set(first, "xalign", 0.0, NULL);
    g_object_set(second, "xalign", 0.0, "wrap", TRUE, "max-width-chars", 44, NULL);
    gtk_style_context_add_class(gtk_widget_get_style_context(second), GTK_STYLE_CLASS_DIM_LABEL);
    gtk_style_context_add_class(gtk_widget_get_style_context(second), "setting-help");
    gtk_style_context_add_class(gtk_widget_get_style_context(item), GTK_STYLE_CLASS_FLAT);
    gtk_container_add(GTK_CONTAINER(lines), first);
    gtk_container_add(GTK_CONTAINER(lines), second);
    gtk_container_add(GTK_CONTAINER(item), lines);
    gtk_widget_set_sensitive(item, usable);
    atk_object_set_name(gtk_widget_get_accessible(item), label);
    atk_object_set_description(gtk_widget_get_accessible(item), help);
    gtk_container_add(GTK_CONTAINER(box), item);
    return item;
}

static void add_kind_item(EspSettingsAdd *button, GtkWidget *box, VmcDeviceKind kind, const char *label,
                          const char *help, bool cdrom)
{
    const EspDeviceWords *words = esp_device_words(kind);
    const char *why = words->why_not ? words->why_not(esp_settings_model_get(button->model), NULL) : NULL;
    GtkWidget *item = add_item(box, label, why ? why : help, !why);

    g_object_set_data(G_OBJECT(item), "kind", GINT_TO_POINTER(kind));
    g_object_set_data(G_OBJECT(item), "cdrom", cdrom ? item : NULL);
    g_signal_connect_object(item, "clicked", G_CALLBACK(on_kind), button, 0);
}

static void add_drive_items(EspSettingsAdd *button, GtkWidget *box)
{
    GtkWidget *item = add_item(box, _("New Disk…"), _("An empty one, in the machine’s folder."), true);

    g_signal_connect_object(item, "clicked", G_CALLBACK(on_new), button, G_CONNECT_SWAPPED);
    add_kind_item(button, box, VMC_DEVICE_VIRTIO_BLOCK, _("Disk Image…"), _("One that is there, by virtio."),
                  false);
    add_kind_item(button, box, VMC_DEVICE_NVME, _("Disk Image by NVMe…"), _("For guests without virtio."),
                  false);
    add_kind_item(button, box, VMC_DEVICE_USB_STORAGE, _("USB Stick…"),
                  _("A disk image that can come and go."), false);
    add_kind_item(button, box, VMC_DEVICE_USB_STORAGE, _("CD-ROM…"),
                  _("A CD image (ISO), such as an installer."), true);
}

static void fill_menu(EspSettingsAdd *button)
{
    GtkWidget *old = gtk_bin_get_child(GTK_BIN(button->menu));
    GtkWidget *box = gtk_box_new(GTK_ORIENTATION_VERTICAL, 0);

    if (!esp_settings_model_get(button->model))
        return;
    if (old)
        gtk_widget_destroy(old);
    g_object_set(box, "margin", 6, NULL);
    if (button->group == ESP_GROUP_DRIVES)
        add_drive_items(button, box);
    for (unsigned kind = 0; kind < VMC_DEVICE_KINDS && button->group != ESP_GROUP_DRIVES; kind++) {
        const EspDeviceWords *words = esp_device_words((VmcDeviceKind)kind);
        if (words->group == button->group)
            add_kind_item(button, box, (VmcDeviceKind)kind, _(words->label), _(words->help), false);
    }
    gtk_widget_show_all(box);
    gtk_container_add(GTK_CONTAINER(button->menu), box);
}

GtkWidget *esp_settings_add_new(EspSettingsModel *model, EspSettingGroup group)
{
    EspSettingsAdd *button =
        g_object_new(ESP_TYPE_SETTINGS_ADD, "visible", TRUE, "halign", GTK_ALIGN_START, NULL);

    button->model = g_object_ref(model);
    button->group = group;
    fill_menu(button);
    g_signal_connect_object(model, "changed", G_CALLBACK(fill_menu), button, G_CONNECT_SWAPPED);
    return GTK_WIDGET(button);
}

static void esp_settings_add_dispose(GObject *object)
{
    g_clear_object(&ESP_SETTINGS_ADD(object)->model);
    G_OBJECT_CLASS(esp_settings_add_parent_class)->dispose(object);
}

static void esp_settings_add_class_init(EspSettingsAddClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);

    G_OBJECT_CLASS(klass)->dispose = esp_settings_add_dispose;
    gtk_widget_class_set_template_from_resource(widget_class, "/org/espalier/Espalier/settings-add.ui");
    gtk_widget_class_bind_template_child(widget_class, EspSettingsAdd, menu);
}

static void esp_settings_add_init(EspSettingsAdd *button)
{
    gtk_widget_init_template(GTK_WIDGET(button));
}
