/* The assistant's first page (see new_kind_page.h). */
#include "ui/new_kind_page.h"

#include <glib/gi18n.h>

#include "app/create/draft.h"
#include "ui/container.h"
#include "ui/new_row.h"

struct _EspNewKindPage {
    EspNewPage parent_instance;
    GtkWidget *drafts_box;
    GtkListBox *drafts, *kinds;
    int kind; /* -1: none yet */
};

G_DEFINE_TYPE(EspNewKindPage, esp_new_kind_page, ESP_TYPE_NEW_PAGE)

enum { CONTINUE, DISCARD, N_SIGNALS };
static guint signals[N_SIGNALS];

static const struct {
    EspCreationKind kind;
    const char *icon, *title, *subtitle;
} kinds[] = {
    {ESP_CREATION_LINUX, "utilities-terminal-symbolic", N_("Linux, ready to use"),
     N_("An image of Debian, Ubuntu, Fedora or another distribution, set up with your user, language and "
        "keyboard.")},
    {ESP_CREATION_MACOS, "computer-symbolic", N_("macOS"),
     N_("A version of macOS that runs on this computer.")},
    {ESP_CREATION_INSTALLER, "media-optical-symbolic", N_("From an installer’s disc"),
     N_("Linux or another system for computers with UEFI, installed from an ISO image.")},
    {ESP_CREATION_IMPORT, "drive-harddisk-symbolic", N_("Import a disk"),
     N_("A machine around a disk that you have already: qcow2 or raw, also compressed.")},
    {ESP_CREATION_DEMO, "starred-symbolic", N_("Demo guest"),
     N_("A small Linux that comes with Espalier and starts in seconds. Nothing is downloaded.")},
};

static void fill(EspNewKindPage *page)
{
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        GtkWidget *row = esp_new_row_new(NULL, kinds[i].icon, _(kinds[i].title), _(kinds[i].subtitle));
        g_object_set_data(G_OBJECT(row), "kind", GINT_TO_POINTER(kinds[i].kind));
        gtk_list_box_insert(page->kinds, row, -1);
    }
}

static void on_kind(EspNewKindPage *page, GtkListBoxRow *row)
{
    page->kind = GPOINTER_TO_INT(g_object_get_data(G_OBJECT(row), "kind"));
    esp_new_page_changed(ESP_NEW_PAGE(page));
    esp_new_page_advance(ESP_NEW_PAGE(page));
}

static void on_selected(EspNewKindPage *page)
{
    GtkListBoxRow *row = gtk_list_box_get_selected_row(page->kinds);

    page->kind = row ? GPOINTER_TO_INT(g_object_get_data(G_OBJECT(row), "kind")) : -1;
    esp_new_page_changed(ESP_NEW_PAGE(page));
}

/* ---- drafts ---- */

static void on_draft(EspNewKindPage *page, GtkListBoxRow *row)
{
    g_signal_emit(page, signals[CONTINUE], 0, esp_new_row_get_id(ESP_NEW_ROW(row)));
}

static void on_discard(GtkWidget *button, EspNewKindPage *page)
{
    GtkWidget *row = gtk_widget_get_ancestor(button, ESP_TYPE_NEW_ROW);

    g_signal_emit(page, signals[DISCARD], 0, esp_new_row_get_id(ESP_NEW_ROW(row)));
}

static void add_draft(EspNewKindPage *page, const EspDraftInfo *info)
{
    g_autofree char *size = g_format_size(info->bytes);
    /* Translators: %s is the name of a machine whose making was interrupted. */
    g_autofree char *title = g_strdup_printf(_("Continue with “%s”"), info->creation.name);
    g_autofree char *subtitle = info->busy ? g_strdup(_("It is being made at this moment."))
                                           /* Translators: %s is a size, "1.2 GB". */
                                           : g_strdup_printf(_("Not finished yet; %s are done."), size);
    /* Translators: %s is the name of a machine whose making was interrupted. */
    g_autofree char *discard = g_strdup_printf(_("Discard “%s”"), info->creation.name);
    GtkWidget *row = esp_new_row_new(info->path, "media-playback-start-symbolic", title, subtitle);
    GtkWidget *button = esp_new_row_add_button(ESP_NEW_ROW(row), "user-trash-symbolic", discard);

    g_signal_connect(button, "clicked", G_CALLBACK(on_discard), page);
    gtk_widget_set_sensitive(row, !info->busy);
    gtk_list_box_insert(page->drafts, row, -1);
}

void esp_new_kind_page_set_drafts(EspNewKindPage *page, GPtrArray *drafts)
{
    esp_container_empty(GTK_CONTAINER(page->drafts));
    for (guint i = 0; i < drafts->len; i++)
        add_draft(page, drafts->pdata[i]);
    gtk_widget_set_visible(page->drafts_box, drafts->len > 0);
}

/* ---- the page ---- */

static void load(EspNewPage *base, const EspCreation *creation)
{
    gtk_widget_grab_focus(GTK_WIDGET(ESP_NEW_KIND_PAGE(base)->kinds));
}

static void store(EspNewPage *base, EspCreation *creation)
{
    EspNewKindPage *page = ESP_NEW_KIND_PAGE(base);

    if (page->kind >= 0 && (int)creation->kind != page->kind) {
        esp_creation_clear(creation);
        esp_creation_init(creation, (EspCreationKind)page->kind);
    }
}

static bool is_complete(EspNewPage *base)
{
    return ESP_NEW_KIND_PAGE(base)->kind >= 0;
}

static void esp_new_kind_page_class_init(EspNewKindPageClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);
    EspNewPageClass *page_class = ESP_NEW_PAGE_CLASS(klass);

    page_class->title = N_("New Virtual Machine");
    page_class->load = load;
    page_class->store = store;
    page_class->is_complete = is_complete;
    signals[CONTINUE] = g_signal_new("continue", G_TYPE_FROM_CLASS(klass), G_SIGNAL_RUN_LAST, 0, NULL, NULL,
                                     NULL, G_TYPE_NONE, 1, G_TYPE_STRING);
    signals[DISCARD] = g_signal_new("discard", G_TYPE_FROM_CLASS(klass), G_SIGNAL_RUN_LAST, 0, NULL, NULL,
                                    NULL, G_TYPE_NONE, 1, G_TYPE_STRING);
    gtk_widget_class_set_template_from_resource(widget_class, "/org/espalier/Espalier/new-kind-page.ui");
    gtk_widget_class_bind_template_child(widget_class, EspNewKindPage, drafts_box);
    gtk_widget_class_bind_template_child(widget_class, EspNewKindPage, drafts);
    gtk_widget_class_bind_template_child(widget_class, EspNewKindPage, kinds);
    gtk_widget_class_bind_template_callback(widget_class, on_kind);
    gtk_widget_class_bind_template_callback(widget_class, on_selected);
    gtk_widget_class_bind_template_callback(widget_class, on_draft);
}

static void esp_new_kind_page_init(EspNewKindPage *page)
{
    page->kind = -1;
    gtk_widget_init_template(GTK_WIDGET(page));
    fill(page);
}
