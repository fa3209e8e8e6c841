/* What is to become of a running machine (see close_dialog.h). */
#include "ui/close_dialog.h"

#include <glib/gi18n.h>

struct _EspCloseDialog {
    GtkDialog parent_instance;
    GtkLabel *title_label;
    GtkToggleButton *save_button;
    GtkToggleButton *shut_down_button;
    GtkToggleButton *power_off_button;
    GtkToggleButton *remember_button;
};

G_DEFINE_TYPE(EspCloseDialog, esp_close_dialog, GTK_TYPE_DIALOG)

static void on_power_off(EspCloseDialog *dialog)
{
    bool off = gtk_toggle_button_get_active(dialog->power_off_button);

    gtk_widget_set_sensitive(GTK_WIDGET(dialog->remember_button), !off);
}

static void esp_close_dialog_class_init(EspCloseDialogClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);

    gtk_widget_class_set_template_from_resource(widget_class, "/org/espalier/Espalier/close-dialog.ui");
    gtk_widget_class_bind_template_child(widget_class, EspCloseDialog, title_label);
    gtk_widget_class_bind_template_child(widget_class, EspCloseDialog, save_button);
    gtk_widget_class_bind_template_child(widget_class, EspCloseDialog, shut_down_button);
    gtk_widget_class_bind_template_child(widget_class, EspCloseDialog, power_off_button);
    gtk_widget_class_bind_template_child(widget_class, EspCloseDialog, remember_button);
    gtk_widget_class_bind_template_callback(widget_class, on_power_off);
}

static void esp_close_dialog_init(EspCloseDialog *dialog)
{
    gtk_widget_init_template(GTK_WIDGET(dialog));
}

GtkWidget *esp_close_dialog_new(GtkWindow *parent, const char *machine)
{
    EspCloseDialog *dialog =
        g_object_new(ESP_TYPE_CLOSE_DIALOG, "transient-for", parent, "use-header-bar", FALSE, NULL);
    g_autofree char *title = g_strdup_printf(_("“%s” is still running. What is to become of it?"), machine);

    gtk_label_set_text(dialog->title_label, title);
    gtk_window_set_title(GTK_WINDOW(dialog), _("Close the Window"));
    return GTK_WIDGET(dialog);
}

EspCloseChoice esp_close_dialog_get_choice(EspCloseDialog *dialog)
{
    if (gtk_toggle_button_get_active(dialog->save_button))
        return ESP_CHOICE_SAVE;
    if (gtk_toggle_button_get_active(dialog->shut_down_button))
        return ESP_CHOICE_SHUT_DOWN;
    if (gtk_toggle_button_get_active(dialog->power_off_button))
        return ESP_CHOICE_POWER_OFF;
    return ESP_CHOICE_KEEP_RUNNING;
}

bool esp_close_dialog_get_remember(EspCloseDialog *dialog)
{
    return gtk_toggle_button_get_active(dialog->remember_button) &&
           gtk_widget_get_sensitive(GTK_WIDGET(dialog->remember_button));
}
