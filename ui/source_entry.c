/* Where something comes from (see source_entry.h). */
#include "ui/source_entry.h"

#include <glib/gi18n.h>
#include <string.h>

#include "app/images/download.h"

struct _EspSourceEntry {
    GtkBox parent_instance;
    GtkEntry *entry;
    char *title, *patterns;
    GtkFileChooserNative *chooser; /* while it is open */
};

G_DEFINE_TYPE(EspSourceEntry, esp_source_entry, GTK_TYPE_BOX)

enum { CHANGED, N_SIGNALS };
static guint signals[N_SIGNALS];

/* "file:" links are files, "~" is home, and a name without a folder is taken from there as well. */
char *esp_source_entry_get(EspSourceEntry *entry)
{
    g_autofree char *text = g_strstrip(g_strdup(gtk_entry_get_text(entry->entry)));

    if (!*text || esp_download_is_link(text))
        return g_steal_pointer(&text);
    if (g_str_has_prefix(text, "file:")) {
        g_autofree char *path = g_filename_from_uri(text, NULL, NULL);
        return path ? g_steal_pointer(&path) : g_steal_pointer(&text);
    }
    if (strstr(text, "://"))
        return g_steal_pointer(&text);
    if (g_str_has_prefix(text, "~/"))
        return g_build_filename(g_get_home_dir(), text + 2, NULL);
    g_autofree char *name = g_filename_from_utf8(text, -1, NULL, NULL, NULL);
    return g_canonicalize_filename(name ? name : text, g_get_home_dir());
}

void esp_source_entry_set(EspSourceEntry *entry, const char *source)
{
    g_autofree char *shown =
        source && !esp_download_is_link(source) ? g_filename_to_utf8(source, -1, NULL, NULL, NULL) : NULL;

    gtk_entry_set_text(entry->entry, shown ? shown : source ? source : "");
    gtk_editable_set_position(GTK_EDITABLE(entry->entry), -1);
}

void esp_source_entry_set_files(EspSourceEntry *entry, const char *title, const char *patterns)
{
    g_free(entry->title);
    g_free(entry->patterns);
    entry->title = g_strdup(title);
    entry->patterns = g_strdup(patterns);
}

GtkWidget *esp_source_entry_get_entry(EspSourceEntry *entry)
{
    return GTK_WIDGET(entry->entry);
}

static void on_changed(EspSourceEntry *entry)
{
    g_signal_emit(entry, signals[CHANGED], 0);
}

/* ---- choosing ---- */

static void add_filters(EspSourceEntry *entry, GtkFileChooser *chooser)
{
    g_auto(GStrv) patterns = g_strsplit(entry->patterns ? entry->patterns : "*", ";", -1);
    GtkFileFilter *some = gtk_file_filter_new(), *all = gtk_file_filter_new();

    for (char **pattern = patterns; *pattern; pattern++)
        gtk_file_filter_add_pattern(some, *pattern);
    gtk_file_filter_set_name(some, _("Images"));
    gtk_file_filter_add_pattern(all, "*");
    gtk_file_filter_set_name(all, _("All files"));
    gtk_file_chooser_add_filter(chooser, some);
    gtk_file_chooser_add_filter(chooser, all);
}

static void on_chosen(EspSourceEntry *entry, int response)
{
    if (response == GTK_RESPONSE_ACCEPT) {
        g_autofree char *path = gtk_file_chooser_get_filename(GTK_FILE_CHOOSER(entry->chooser));
        if (path)
            esp_source_entry_set(entry, path);
    }
    g_clear_object(&entry->chooser);
}

static void on_browse(EspSourceEntry *entry)
{
    GtkWidget *window = gtk_widget_get_toplevel(GTK_WIDGET(entry));

    if (entry->chooser)
        return;
    entry->chooser = gtk_file_chooser_native_new(entry->title, GTK_WINDOW(window),
                                                 GTK_FILE_CHOOSER_ACTION_OPEN, _("_Choose"), _("_Cancel"));
    gtk_native_dialog_set_modal(GTK_NATIVE_DIALOG(entry->chooser), TRUE);
    add_filters(entry, GTK_FILE_CHOOSER(entry->chooser));
    g_signal_connect_object(entry->chooser, "response", G_CALLBACK(on_chosen), entry, G_CONNECT_SWAPPED);
    gtk_native_dialog_show(GTK_NATIVE_DIALOG(entry->chooser));
}

/* ---- dropping ---- */

static void on_drop(EspSourceEntry *entry, GdkDragContext *context, int x, int y, GtkSelectionData *selection,
                    guint info, guint time)
{
    g_auto(GStrv) uris = gtk_selection_data_get_uris(selection);
    g_autofree char *text = uris ? NULL : (char *)gtk_selection_data_get_text(selection);
    const char *first = uris && *uris ? *uris : text;
    g_autofree char *path =
        first && g_str_has_prefix(first, "file:") ? g_filename_from_uri(first, NULL, NULL) : NULL;

    if (path || first)
        esp_source_entry_set(entry, path ? path : first);
    gtk_drag_finish(context, first != NULL, FALSE, time);
    g_signal_stop_emission_by_name(entry->entry,
                                   "drag-data-received"); /* the line itself would insert the text */
}

static void set_up_drop(EspSourceEntry *entry)
{
    gtk_drag_dest_set(GTK_WIDGET(entry->entry), GTK_DEST_DEFAULT_ALL, NULL, 0, GDK_ACTION_COPY);
    gtk_drag_dest_add_uri_targets(GTK_WIDGET(entry->entry));
    gtk_drag_dest_add_text_targets(GTK_WIDGET(entry->entry));
    g_signal_connect_swapped(entry->entry, "drag-data-received", G_CALLBACK(on_drop), entry);
}

static void esp_source_entry_finalize(GObject *object)
{
    EspSourceEntry *entry = ESP_SOURCE_ENTRY(object);

    g_clear_object(&entry->chooser);
    g_free(entry->title);
    g_free(entry->patterns);
    G_OBJECT_CLASS(esp_source_entry_parent_class)->finalize(object);
}

static void esp_source_entry_class_init(EspSourceEntryClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);

    G_OBJECT_CLASS(klass)->finalize = esp_source_entry_finalize;
    signals[CHANGED] = g_signal_new("changed", G_TYPE_FROM_CLASS(klass), G_SIGNAL_RUN_LAST, 0, NULL, NULL,
                                    NULL, G_TYPE_NONE, 0);
    gtk_widget_class_set_template_from_resource(widget_class, "/org/espalier/Espalier/source-entry.ui");
    gtk_widget_class_bind_template_child(widget_class, EspSourceEntry, entry);
    gtk_widget_class_bind_template_callback(widget_class, on_changed);
    gtk_widget_class_bind_template_callback(widget_class, on_browse);
}

static void esp_source_entry_init(EspSourceEntry *entry)
{
    gtk_widget_init_template(GTK_WIDGET(entry));
    set_up_drop(entry);
}
