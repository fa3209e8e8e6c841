/* The assistant's page for what guest and computer share (see new_sharing_page.h). */
#include "ui/new_sharing_page.h"

#include <glib/gi18n.h>

#include "app/create/seed.h"

struct _EspNewSharingPage {
    EspNewPage parent_instance;
    GtkToggleButton *share, *readonly;
    GtkFileChooser *folder;
    GtkWidget *share_box;
    GtkLabel *share_hint;
    GtkComboBox *clipboard;
};

G_DEFINE_TYPE(EspNewSharingPage, esp_new_sharing_page, ESP_TYPE_NEW_PAGE)

static void on_changed(EspNewSharingPage *page)
{
    gtk_widget_set_sensitive(page->share_box, gtk_toggle_button_get_active(page->share));
    esp_new_page_changed(ESP_NEW_PAGE(page));
}

static void load(EspNewPage *base, const EspCreation *creation)
{
    EspNewSharingPage *page = ESP_NEW_SHARING_PAGE(base);
    const char *public = g_get_user_special_dir(G_USER_DIRECTORY_PUBLIC_SHARE);
    bool setup = esp_creation_has_setup(creation);
    g_autofree char *where =
        g_strdup_printf(setup ? "/mnt/%s" : "mount -t virtiofs %s /mnt", ESP_SEED_SHARE_TAG);
    /* Translators: %s is a folder, then a command. */
    g_autofree char *hint = g_strdup_printf(
        setup ? _("The guest finds it in %s.") : _("A Linux guest mounts it with “%s”."), where);

    gtk_file_chooser_set_filename(page->folder, creation->share_path ? creation->share_path
                                                : public             ? public
                                                                     : g_get_home_dir());
    gtk_toggle_button_set_active(page->share, creation->share_path != NULL);
    gtk_toggle_button_set_active(page->readonly, creation->share_readonly);
    gtk_combo_box_set_active(page->clipboard, (int)creation->clipboard);
    gtk_label_set_text(page->share_hint, hint);
    on_changed(page);
}

static void store(EspNewPage *base, EspCreation *creation)
{
    EspNewSharingPage *page = ESP_NEW_SHARING_PAGE(base);

    g_free(creation->share_path);
    creation->share_path =
        gtk_toggle_button_get_active(page->share) ? gtk_file_chooser_get_filename(page->folder) : NULL;
    creation->share_readonly = gtk_toggle_button_get_active(page->readonly);
    creation->clipboard = (VmcClipboard)MAX(gtk_combo_box_get_active(page->clipboard), 0);
}

static bool is_complete(EspNewPage *base)
{
    EspNewSharingPage *page = ESP_NEW_SHARING_PAGE(base);

    if (!gtk_toggle_button_get_active(page->share))
        return true;
    /* The chooser knows its folder a moment after it was set; what is shared is asked for when the page is
     * left. */
    g_autofree char *path = gtk_file_chooser_get_filename(page->folder);
    return path != NULL;
}

static void esp_new_sharing_page_class_init(EspNewSharingPageClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);
    EspNewPageClass *page_class = ESP_NEW_PAGE_CLASS(klass);

    page_class->title = N_("Sharing");
    page_class->load = load;
    page_class->store = store;
    page_class->is_complete = is_complete;
    gtk_widget_class_set_template_from_resource(widget_class, "/org/espalier/Espalier/new-sharing-page.ui");
    gtk_widget_class_bind_template_child(widget_class, EspNewSharingPage, share);
    gtk_widget_class_bind_template_child(widget_class, EspNewSharingPage, readonly);
    gtk_widget_class_bind_template_child(widget_class, EspNewSharingPage, folder);
    gtk_widget_class_bind_template_child(widget_class, EspNewSharingPage, share_box);
    gtk_widget_class_bind_template_child(widget_class, EspNewSharingPage, share_hint);
    gtk_widget_class_bind_template_child(widget_class, EspNewSharingPage, clipboard);
    gtk_widget_class_bind_template_callback(widget_class, on_changed);
}

static void esp_new_sharing_page_init(EspNewSharingPage *page)
{
    gtk_widget_init_template(GTK_WIDGET(page));
}
