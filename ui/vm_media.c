/* Removable media and shared folders (see vm_media.h). */
#include "ui/vm_media.h"

#include <glib/gi18n.h>
#include <string.h>

#include "ui/vm_actions.h"

struct EspVmMedia {
    EspVmWindow *window;
    GMenu *media, *shares;
    VmcMachine *machine; /* or NULL */
    EspGuestSystem system;
};

/* ---- what there is ---- */

char *esp_vm_media_mount_command(const VmcDeviceConfig *device, EspGuestSystem system)
{
    bool tagged = device->kind == VMC_DEVICE_VIRTIO_FS || device->kind == VMC_DEVICE_VIRTIO_9P;
    g_autofree char *tag = tagged && device->share.tag ? g_shell_quote(device->share.tag) : NULL;
    bool mac = system == ESP_GUEST_MACOS;

    switch (device->kind) {
    case VMC_DEVICE_VIRTIO_FS:
        if (!tag)
            return NULL;
        return mac ? g_strdup_printf("mkdir -p ~/%s && mount_virtiofs %s ~/%s", tag, tag, tag)
                   : g_strdup_printf("sudo mount -t virtiofs %s /mnt", tag);
    case VMC_DEVICE_VIRTIO_9P:
        if (!tag)
            return NULL;
        return mac ? g_strdup_printf("mount_9p %s", tag)
                   : g_strdup_printf("sudo mount -t 9p -o trans=virtio,version=9p2000.L %s /mnt", tag);
    case VMC_DEVICE_SPICE_WEBDAV:
        return g_strdup("gio mount dav://localhost:9843/");
    default:
        return NULL;
    }
}

static char *name_of_path(const char *path)
{
    g_autofree char *base = path ? g_path_get_basename(path) : NULL;

    return g_filename_display_name(base ? base : "");
}

static void append(GMenu *menu, const char *label, const char *action, guint index)
{
    GMenuItem *item = g_menu_item_new(label, NULL);

    g_menu_item_set_action_and_target(item, action, "i", (gint32)index);
    g_menu_append_item(menu, item);
    g_object_unref(item);
}

/* A mnemonic in a file's name is none. */
static char *escape(const char *name)
{
    g_auto(GStrv) parts = g_strsplit(name, "_", -1);

    return g_strjoinv("__", parts);
}

static void add_medium(EspVmMedia *media, guint index, const VmcDiskConfig *disk)
{
    g_autofree char *name = name_of_path(disk->path), *escaped = escape(name);
    g_autofree char *label = disk->cdrom ? g_strdup_printf(_("Eject the Disc “%s”"), escaped)
                                         : g_strdup_printf(_("Eject the Stick “%s”"), escaped);

    append(media->media, label, "win.eject", index);
}

static void add_share(EspVmMedia *media, guint index, const VmcDeviceConfig *device)
{
    g_autofree char *name = name_of_path(device->share.path), *escaped = escape(name);
    g_autofree char *tag = device->share.tag ? escape(device->share.tag) : NULL;
    /* Translators: a menu item: a folder, and the tag by which the guest knows it. */
    g_autofree char *label = tag ? g_strdup_printf(_("Copy How to Mount “%s” (%s)"), escaped, tag)
                                 : g_strdup_printf(_("Copy How to Mount “%s”"), escaped);

    append(media->shares, label, "win.copy-mount", index);
}

static void update(EspVmMedia *media)
{
    const VmcConfig *config = media->machine ? vmc_machine_get_config(media->machine) : NULL;

    g_menu_remove_all(media->media);
    g_menu_remove_all(media->shares);
    for (guint i = 0; config && i < config->devices->len; i++) {
        const VmcDeviceConfig *device = config->devices->pdata[i];
        g_autofree char *command = esp_vm_media_mount_command(device, media->system);
        if (device->kind == VMC_DEVICE_USB_STORAGE)
            add_medium(media, i, &device->block);
        else if (command)
            add_share(media, i, device);
    }
}

/* ---- putting in and pulling out ---- */

/* By the name, never by the content: that is the guest's to write. */
static VmcDiskFormat format_of(const char *path)
{
    g_autofree char *lower = g_ascii_strdown(path, -1);

    return g_str_has_suffix(lower, ".qcow2") ? VMC_DISK_QCOW2 : VMC_DISK_RAW;
}

static void insert(EspVmMedia *media, const char *path, bool cdrom)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *name = name_of_path(path);

    if (!media->machine)
        return;
    if (vmc_machine_attach_usb_storage(media->machine, path, format_of(path), cdrom, cdrom, NULL, &error) <
        0) {
        esp_vm_complain(media->window, _("The image cannot be inserted"), error);
        return;
    }
    update(media);
    g_autofree char *message = g_strdup_printf(_("“%s” is in the machine now."), name);
    esp_toast_show(esp_vm_window_get_toast(media->window), message, NULL, NULL, NULL, NULL);
}

static void on_chosen(GtkNativeDialog *dialog, int response, gpointer data)
{
    EspVmMedia *media = esp_vm_window_get_media(data);
    bool cdrom = GPOINTER_TO_INT(g_object_get_data(G_OBJECT(dialog), "cdrom"));
    g_autofree char *path =
        response == GTK_RESPONSE_ACCEPT ? gtk_file_chooser_get_filename(GTK_FILE_CHOOSER(dialog)) : NULL;

    if (path && media)
        insert(media, path, cdrom);
    g_object_unref(dialog);
}

static void add_filter(GtkFileChooserNative *dialog, const char *name, const char *const *patterns)
{
    GtkFileFilter *filter = gtk_file_filter_new();

    gtk_file_filter_set_name(filter, name);
    for (; *patterns; patterns++)
        gtk_file_filter_add_pattern(filter, *patterns);
    gtk_file_chooser_add_filter(GTK_FILE_CHOOSER(dialog), filter);
}

static void ask(EspVmMedia *media, bool cdrom)
{
    static const char *const discs[] = {"*.iso", "*.ISO", "*.cdr", NULL};
    static const char *const disks[] = {"*.img", "*.raw", "*.qcow2", "*.iso", "*.dmg", NULL};
    static const char *const all[] = {"*", NULL};
    GtkFileChooserNative *dialog = gtk_file_chooser_native_new(
        cdrom ? _("Insert a Disc Image") : _("Insert an Image as a USB Stick"), GTK_WINDOW(media->window),
        GTK_FILE_CHOOSER_ACTION_OPEN, _("_Insert"), _("_Cancel"));

    gtk_native_dialog_set_modal(GTK_NATIVE_DIALOG(dialog), TRUE);
    add_filter(dialog, cdrom ? _("Disc images") : _("Disk images"), cdrom ? discs : disks);
    add_filter(dialog, _("All files"), all);
    g_object_set_data(G_OBJECT(dialog), "cdrom", GINT_TO_POINTER(cdrom));
    g_signal_connect_object(dialog, "response", G_CALLBACK(on_chosen), media->window, 0);
    gtk_native_dialog_show(GTK_NATIVE_DIALOG(dialog));
}

static void on_insert_stick(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    ask(data, false);
}

static void on_insert_disc(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    ask(data, true);
}

/* A device of the machine by the index of a menu item, which may have been overtaken. */
static const VmcDeviceConfig *device_at(EspVmMedia *media, gint32 index)
{
    const VmcConfig *config = media->machine ? vmc_machine_get_config(media->machine) : NULL;

    return config && index >= 0 && (guint)index < config->devices->len ? config->devices->pdata[index] : NULL;
}

static void on_eject(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    EspVmMedia *media = data;
    gint32 index = g_variant_get_int32(parameter);
    const VmcDeviceConfig *device = device_at(media, index);
    g_autoptr(GError) error = NULL;

    if (!device || device->kind != VMC_DEVICE_USB_STORAGE)
        return;
    g_autofree char *name = name_of_path(device->block.path);
    bool good = vmc_machine_detach(media->machine, (unsigned)index, &error);
    update(media);
    if (!good) {
        esp_vm_complain(media->window, _("The medium cannot be ejected"), error);
        return;
    }
    g_autofree char *message = g_strdup_printf(_("“%s” was ejected."), name);
    esp_toast_show(esp_vm_window_get_toast(media->window), message, NULL, NULL, NULL, NULL);
}

/* ---- shared folders ---- */

static void on_copy_mount(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    EspVmMedia *media = data;
    const VmcDeviceConfig *device = device_at(media, g_variant_get_int32(parameter));
    g_autofree char *command = device ? esp_vm_media_mount_command(device, media->system) : NULL;

    if (!command)
        return;
    gtk_clipboard_set_text(gtk_widget_get_clipboard(GTK_WIDGET(media->window), GDK_SELECTION_CLIPBOARD),
                           command, -1);
    g_autofree char *message = g_strdup_printf(_("Copied. In a terminal of the guest, type: %s"), command);
    esp_toast_show(esp_vm_window_get_toast(media->window), message, NULL, NULL, NULL, NULL);
}

/* ---- lifecycle ---- */

static bool has_usb(const VmcConfig *config)
{
    for (guint i = 0; config && i < config->devices->len; i++) {
        VmcDeviceKind kind = ((const VmcDeviceConfig *)config->devices->pdata[i])->kind;
        if (kind == VMC_DEVICE_USB_KEYBOARD || kind == VMC_DEVICE_USB_TABLET ||
            kind == VMC_DEVICE_USB_MOUSE || kind == VMC_DEVICE_USB_STORAGE)
            return true;
    }
    return false;
}

static void set_enabled(EspVmMedia *media, const char *name, bool enabled)
{
    GAction *action = g_action_map_lookup_action(G_ACTION_MAP(media->window), name);

    g_simple_action_set_enabled(G_SIMPLE_ACTION(action), enabled);
}

void esp_vm_media_set_machine(EspVmMedia *media, VmcMachine *machine)
{
    g_autoptr(EspBundle) bundle =
        machine ? esp_bundle_open(esp_vm_session_get_path(esp_vm_window_get_session(media->window)), NULL)
                : NULL;
    EspMachineInfo info = {0};

    if (bundle && esp_bundle_get_info(bundle, &info, NULL))
        media->system = info.system;
    esp_machine_info_clear(&info);
    media->machine = machine;
    bool usb = machine && has_usb(vmc_machine_get_config(machine));
    set_enabled(media, "insert-stick", usb);
    set_enabled(media, "insert-disc", usb);
    update(media);
}

void esp_vm_media_install(EspVmMedia *media)
{
    static const GActionEntry actions[] = {
        {.name = "insert-stick", .activate = on_insert_stick},
        {.name = "insert-disc", .activate = on_insert_disc},
        {.name = "eject", .parameter_type = "i", .activate = on_eject},
        {.name = "copy-mount", .parameter_type = "i", .activate = on_copy_mount},
    };

    g_action_map_add_action_entries(G_ACTION_MAP(media->window), actions, G_N_ELEMENTS(actions), media);
    set_enabled(media, "insert-stick", false);
    set_enabled(media, "insert-disc", false);
}

EspVmMedia *esp_vm_media_new(EspVmWindow *window, GMenu *media, GMenu *shares)
{
    EspVmMedia *self = g_new0(EspVmMedia, 1);

    self->window = window;
    self->media = media;
    self->shares = shares;
    return self;
}

void esp_vm_media_free(EspVmMedia *media)
{
    g_free(media);
}
