/* A passing message over a window's content (see toast.h). */
#include "ui/toast.h"

#define SHOWN_SECONDS 6

struct _EspToast {
    GtkRevealer parent_instance;
    GtkLabel *label;
    GtkButton *action_button;
    guint timeout_id;
    GCallback func;
    gpointer data;
    GDestroyNotify free_data;
};

G_DEFINE_TYPE(EspToast, esp_toast, GTK_TYPE_REVEALER)

static void forget(EspToast *toast)
{
    g_clear_handle_id(&toast->timeout_id, g_source_remove);
    if (toast->free_data)
        toast->free_data(toast->data);
    toast->func = NULL;
    toast->data = NULL;
    toast->free_data = NULL;
}

static void hide(EspToast *toast)
{
    forget(toast);
    gtk_revealer_set_reveal_child(GTK_REVEALER(toast), FALSE);
}

static gboolean on_timeout(gpointer data)
{
    EspToast *toast = data;
    toast->timeout_id = 0;
    hide(toast);
    return G_SOURCE_REMOVE;
}

static void on_action(EspToast *toast)
{
    if (toast->func)
        ((void (*)(gpointer))toast->func)(toast->data);
    hide(toast);
}

static void on_close(EspToast *toast)
{
    hide(toast);
}

void esp_toast_show(EspToast *toast, const char *message, const char *button, GCallback func, gpointer data,
                    GDestroyNotify free_data)
{
    forget(toast);
    toast->func = func;
    toast->data = data;
    toast->free_data = free_data;
    gtk_label_set_text(toast->label, message);
    gtk_widget_set_visible(GTK_WIDGET(toast->action_button), button != NULL);
    if (button) {
        gtk_button_set_label(toast->action_button, button);
        gtk_button_set_use_underline(toast->action_button, TRUE);
    }
    gtk_revealer_set_reveal_child(GTK_REVEALER(toast), TRUE);
    toast->timeout_id = g_timeout_add_seconds(SHOWN_SECONDS, on_timeout, toast);
}

static void esp_toast_dispose(GObject *object)
{
    forget(ESP_TOAST(object));
    G_OBJECT_CLASS(esp_toast_parent_class)->dispose(object);
}

static void esp_toast_class_init(EspToastClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);
    G_OBJECT_CLASS(klass)->dispose = esp_toast_dispose;
    gtk_widget_class_set_template_from_resource(widget_class, "/org/espalier/Espalier/toast.ui");
    gtk_widget_class_bind_template_child(widget_class, EspToast, label);
    gtk_widget_class_bind_template_child(widget_class, EspToast, action_button);
    gtk_widget_class_bind_template_callback(widget_class, on_action);
    gtk_widget_class_bind_template_callback(widget_class, on_close);
}

static void esp_toast_init(EspToast *toast)
{
    gtk_widget_init_template(GTK_WIDGET(toast));
}
