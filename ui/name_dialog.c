/* A dialog that asks for a machine's name (see name_dialog.h). */
#include "ui/name_dialog.h"

#include <glib/gi18n.h>

#include "app/bundle.h"

struct _EspNameDialog {
    GtkDialog parent_instance;
    GtkEntry *entry;
    GtkLabel *hint;
    GtkWidget *kinds;
    GtkToggleButton *full_button;
    GtkToggleButton *linked_button;
    GtkLabel *linked_hint;
    GtkToggleButton *state_button;
    GtkWidget *accept_button;
};

G_DEFINE_TYPE(EspNameDialog, esp_name_dialog, GTK_TYPE_DIALOG)

static void on_changed(EspNameDialog *dialog)
{
    g_autoptr(GError) error = NULL;
    const char *name = gtk_entry_get_text(dialog->entry);
    bool good = esp_bundle_check_name(name, &error);

    gtk_widget_set_sensitive(dialog->accept_button, good);
    gtk_label_set_text(dialog->hint, good || !*name ? "" : error->message);
    gtk_widget_set_visible(GTK_WIDGET(dialog->hint), !good && *name);
}

static void on_linked(EspNameDialog *dialog)
{
    gtk_widget_set_sensitive(GTK_WIDGET(dialog->state_button),
                             !gtk_toggle_button_get_active(dialog->linked_button));
}

static EspNameDialog *make(GtkWindow *parent, const char *title, const char *accept, const char *name)
{
    EspNameDialog *dialog = g_object_new(ESP_TYPE_NAME_DIALOG, "use-header-bar", TRUE, "transient-for",
                                         parent, "title", title, NULL);

    gtk_button_set_label(GTK_BUTTON(dialog->accept_button), accept);
    gtk_entry_set_text(dialog->entry, name);
    gtk_editable_select_region(GTK_EDITABLE(dialog->entry), 0, -1);
    on_changed(dialog);
    return dialog;
}

GtkWidget *esp_name_dialog_new_rename(GtkWindow *parent, const char *name)
{
    g_autofree char *title = g_strdup_printf(_("Rename “%s”"), name);

    return GTK_WIDGET(make(parent, title, _("_Rename"), name));
}

GtkWidget *esp_name_dialog_new_duplicate(GtkWindow *parent, const char *original, const char *suggestion,
                                         const char *why_not_linked, bool has_saved_state)
{
    g_autofree char *title = g_strdup_printf(_("Duplicate “%s”"), original);
    EspNameDialog *dialog = make(parent, title, _("_Duplicate"), suggestion);

    gtk_widget_show(dialog->kinds);
    gtk_widget_set_visible(GTK_WIDGET(dialog->state_button), has_saved_state);
    if (why_not_linked) {
        gtk_widget_set_sensitive(GTK_WIDGET(dialog->linked_button), FALSE);
        gtk_label_set_text(dialog->linked_hint, why_not_linked);
    }
    return GTK_WIDGET(dialog);
}

const char *esp_name_dialog_get_name(EspNameDialog *dialog)
{
    return gtk_entry_get_text(dialog->entry);
}

bool esp_name_dialog_get_linked(EspNameDialog *dialog)
{
    return gtk_toggle_button_get_active(dialog->linked_button);
}

bool esp_name_dialog_get_saved_state(EspNameDialog *dialog)
{
    return gtk_widget_get_visible(GTK_WIDGET(dialog->state_button)) && !esp_name_dialog_get_linked(dialog) &&
           gtk_toggle_button_get_active(dialog->state_button);
}

static void esp_name_dialog_class_init(EspNameDialogClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);

    gtk_widget_class_set_template_from_resource(widget_class, "/org/espalier/Espalier/name-dialog.ui");
    gtk_widget_class_bind_template_child(widget_class, EspNameDialog, entry);
    gtk_widget_class_bind_template_child(widget_class, EspNameDialog, hint);
    gtk_widget_class_bind_template_child(widget_class, EspNameDialog, kinds);
    gtk_widget_class_bind_template_child(widget_class, EspNameDialog, full_button);
    gtk_widget_class_bind_template_child(widget_class, EspNameDialog, linked_button);
    gtk_widget_class_bind_template_child(widget_class, EspNameDialog, linked_hint);
    gtk_widget_class_bind_template_child(widget_class, EspNameDialog, state_button);
    gtk_widget_class_bind_template_child(widget_class, EspNameDialog, accept_button);
    gtk_widget_class_bind_template_callback(widget_class, on_changed);
    gtk_widget_class_bind_template_callback(widget_class, on_linked);
}

static void esp_name_dialog_init(EspNameDialog *dialog)
{
    gtk_widget_init_template(GTK_WIDGET(dialog));
    gtk_dialog_set_default_response(GTK_DIALOG(dialog), GTK_RESPONSE_ACCEPT);
}
