/* A page instead of a guest's screen (see status_page.h). */
#include "ui/status_page.h"

struct _EspStatusPage {
    GtkScrolledWindow parent_instance;
    GtkImage *icon;
    GtkLabel *title;
    GtkLabel *body;
    GtkButton *action_button;
    GtkWidget *copy_button;
    GtkExpander *expander;
    GtkTextView *details;
};

G_DEFINE_TYPE(EspStatusPage, esp_status_page, GTK_TYPE_SCROLLED_WINDOW)

static void on_copy(EspStatusPage *page)
{
    GtkTextBuffer *buffer = gtk_text_view_get_buffer(page->details);
    GtkTextIter start, end;
    gtk_text_buffer_get_bounds(buffer, &start, &end);
    g_autofree char *text = gtk_text_buffer_get_text(buffer, &start, &end, FALSE);
    GtkClipboard *clipboard = gtk_widget_get_clipboard(GTK_WIDGET(page), GDK_SELECTION_CLIPBOARD);
    gtk_clipboard_set_text(clipboard, text, -1);
    gtk_clipboard_store(clipboard);
}

void esp_status_page_set(EspStatusPage *page, const char *icon_name, const char *title, const char *body)
{
    gtk_image_set_from_icon_name(page->icon, icon_name, GTK_ICON_SIZE_DIALOG);
    gtk_label_set_text(page->title, title);
    gtk_label_set_text(page->body, body ? body : "");
    gtk_widget_set_visible(GTK_WIDGET(page->body), body && *body);
    esp_status_page_set_details(page, NULL);
    esp_status_page_set_action(page, NULL, NULL);
}

void esp_status_page_set_details(EspStatusPage *page, const char *details)
{
    gtk_text_buffer_set_text(gtk_text_view_get_buffer(page->details), details ? details : "", -1);
    gtk_widget_set_visible(page->copy_button, details != NULL);
    gtk_widget_set_visible(GTK_WIDGET(page->expander), details != NULL);
    if (!details)
        gtk_expander_set_expanded(page->expander, FALSE);
}

void esp_status_page_set_action(EspStatusPage *page, const char *label, const char *action)
{
    if (label) {
        gtk_button_set_label(page->action_button, label);
        gtk_button_set_use_underline(page->action_button, TRUE);
        gtk_actionable_set_detailed_action_name(GTK_ACTIONABLE(page->action_button), action);
    }
    gtk_widget_set_visible(GTK_WIDGET(page->action_button), label != NULL);
}

void esp_status_page_expand(EspStatusPage *page)
{
    gtk_expander_set_expanded(page->expander, TRUE);
}

void esp_status_page_focus(EspStatusPage *page)
{
    if (gtk_widget_get_visible(GTK_WIDGET(page->action_button)))
        gtk_widget_grab_focus(GTK_WIDGET(page->action_button));
}

static void esp_status_page_class_init(EspStatusPageClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);
    gtk_widget_class_set_template_from_resource(widget_class, "/org/espalier/Espalier/status-page.ui");
    gtk_widget_class_bind_template_child(widget_class, EspStatusPage, icon);
    gtk_widget_class_bind_template_child(widget_class, EspStatusPage, title);
    gtk_widget_class_bind_template_child(widget_class, EspStatusPage, body);
    gtk_widget_class_bind_template_child(widget_class, EspStatusPage, action_button);
    gtk_widget_class_bind_template_child(widget_class, EspStatusPage, copy_button);
    gtk_widget_class_bind_template_child(widget_class, EspStatusPage, expander);
    gtk_widget_class_bind_template_child(widget_class, EspStatusPage, details);
    gtk_widget_class_bind_template_callback(widget_class, on_copy);
}

static void esp_status_page_init(EspStatusPage *page)
{
    gtk_widget_init_template(GTK_WIDGET(page));
}
