/* A page of the assistant for new machines (see new_page.h). */
#include "ui/new_page.h"

#include <glib/gi18n.h>

typedef struct EspNewPagePrivate {
    char *library_dir;
} EspNewPagePrivate;

G_DEFINE_ABSTRACT_TYPE_WITH_PRIVATE(EspNewPage, esp_new_page, GTK_TYPE_BOX)

enum { CHANGED, ADVANCE, N_SIGNALS };
static guint signals[N_SIGNALS];

const char *esp_new_page_get_title(EspNewPage *page)
{
    return _(ESP_NEW_PAGE_GET_CLASS(page)->title);
}

void esp_new_page_load(EspNewPage *page, const EspCreation *creation)
{
    if (ESP_NEW_PAGE_GET_CLASS(page)->load)
        ESP_NEW_PAGE_GET_CLASS(page)->load(page, creation);
}

void esp_new_page_store(EspNewPage *page, EspCreation *creation)
{
    if (ESP_NEW_PAGE_GET_CLASS(page)->store)
        ESP_NEW_PAGE_GET_CLASS(page)->store(page, creation);
}

bool esp_new_page_is_complete(EspNewPage *page)
{
    return !ESP_NEW_PAGE_GET_CLASS(page)->is_complete || ESP_NEW_PAGE_GET_CLASS(page)->is_complete(page);
}

void esp_new_page_set_library_dir(EspNewPage *page, const char *dir)
{
    EspNewPagePrivate *own = esp_new_page_get_instance_private(page);

    g_free(own->library_dir);
    own->library_dir = g_strdup(dir);
}

const char *esp_new_page_get_library_dir(EspNewPage *page)
{
    return ((EspNewPagePrivate *)esp_new_page_get_instance_private(page))->library_dir;
}

void esp_new_page_changed(EspNewPage *page)
{
    g_signal_emit(page, signals[CHANGED], 0);
}

void esp_new_page_advance(EspNewPage *page)
{
    g_signal_emit(page, signals[ADVANCE], 0);
}

void esp_new_page_hint(GtkLabel *label, const char *text, bool warning)
{
    GtkStyleContext *style = gtk_widget_get_style_context(GTK_WIDGET(label));

    gtk_label_set_text(label, text ? text : "");
    gtk_widget_set_visible(GTK_WIDGET(label), text != NULL);
    gtk_style_context_remove_class(style, warning ? "dim-label" : "warning-text");
    gtk_style_context_add_class(style, warning ? "warning-text" : "dim-label");
}

static void esp_new_page_finalize(GObject *object)
{
    g_free(((EspNewPagePrivate *)esp_new_page_get_instance_private(ESP_NEW_PAGE(object)))->library_dir);
    G_OBJECT_CLASS(esp_new_page_parent_class)->finalize(object);
}

static void esp_new_page_class_init(EspNewPageClass *klass)
{
    const GType type = G_TYPE_FROM_CLASS(klass);

    G_OBJECT_CLASS(klass)->finalize = esp_new_page_finalize;
    signals[CHANGED] = g_signal_new("changed", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 0);
    signals[ADVANCE] = g_signal_new("advance", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 0);
}

static void esp_new_page_init(EspNewPage *page)
{
}
