/*
 * A GTK module for tests/ui/languages.py: what the labels on the screen look like, from inside the program.
 *
 * On SIGUSR2 it writes $ESPALIER_SPY anew: a line for each window ("window", direction, smallest width and
 * height, title) and for each label that can be seen ("label", direction, glyphs that no font has, what is
 * wrong with its size, text), with tabs between. Loaded by GTK_MODULES; the program knows nothing of it.
 */
#include <glib-unix.h>
#include <glib/gstdio.h>
#include <gmodule.h>
#include <gtk/gtk.h>
#include <signal.h>

static GHashTable *labels; /* of those that have ever been seen; the rest of a test's process is short */

static void forget(gpointer data, GObject *label)
{
    g_hash_table_remove(labels, label);
}

static gboolean on_map(GSignalInvocationHint *hint, guint n, const GValue *values, gpointer data)
{
    GObject *widget = g_value_get_object(&values[0]);

    if (GTK_IS_LABEL(widget) && g_hash_table_add(labels, widget))
        g_object_weak_ref(widget, forget, NULL);
    return TRUE;
}

static const char *direction(GtkWidget *widget)
{
    return gtk_widget_get_direction(widget) == GTK_TEXT_DIR_RTL ? "rtl" : "ltr";
}

/* What is shortened can be read there. */
static gboolean has_tooltip(GtkWidget *widget)
{
    GtkWidget *parent = gtk_widget_get_parent(widget);

    return gtk_widget_get_has_tooltip(widget) || (parent && gtk_widget_get_has_tooltip(parent));
}

static const char *fault(GtkLabel *label)
{
    PangoLayout *layout = gtk_label_get_layout(label);
    int width, height;

    pango_layout_get_pixel_size(layout, &width, &height);
    if (pango_layout_is_ellipsized(layout) && !has_tooltip(GTK_WIDGET(label)))
        return "ellipsized";
    if (gtk_label_get_ellipsize(label) == PANGO_ELLIPSIZE_NONE &&
        (width > gtk_widget_get_allocated_width(GTK_WIDGET(label)) + 1 ||
         height > gtk_widget_get_allocated_height(GTK_WIDGET(label)) + 1))
        return "cut";
    return "-";
}

/* Mapped is also what a closed revealer has in it; and the names of keys are GTK's. */
static gboolean is_not_ours(GtkWidget *widget)
{
    for (; widget; widget = gtk_widget_get_parent(widget))
        if (GTK_IS_SHORTCUT_LABEL(widget) ||
            (GTK_IS_REVEALER(widget) && !gtk_revealer_get_child_revealed(GTK_REVEALER(widget))) ||
            (GTK_IS_EXPANDER(widget) && !gtk_expander_get_expanded(GTK_EXPANDER(widget))))
            return TRUE;
    return FALSE;
}

static void tell_label(GString *text, GtkLabel *label)
{
    GtkWidget *widget = GTK_WIDGET(label);

    if (!gtk_widget_get_mapped(widget) || !*gtk_label_get_text(label) ||
        is_not_ours(gtk_widget_get_parent(widget)))
        return;
    g_autofree char *words = g_strescape(gtk_label_get_text(label), NULL), *plain = g_strcompress(words);
    g_strdelimit(plain, "\n\t", ' ');
    g_string_append_printf(text, "label\t%s\t%d\t%s\t%s\n", direction(widget),
                           pango_layout_get_unknown_glyphs_count(gtk_label_get_layout(label)), fault(label),
                           plain);
}

static void tell_window(GString *text, GtkWidget *window)
{
    int width, height;

    if (!gtk_widget_get_mapped(window) ||
        gtk_window_get_window_type(GTK_WINDOW(window)) != GTK_WINDOW_TOPLEVEL)
        return;
    gtk_widget_get_preferred_width(window, &width, NULL);
    gtk_widget_get_preferred_height(window, &height, NULL);
    const char *title = gtk_window_get_title(GTK_WINDOW(window));
    g_string_append_printf(text, "window\t%s\t%d\t%d\t%s\n", direction(window), width, height,
                           title ? title : "");
}

static gboolean on_ask(gpointer data)
{
    g_autoptr(GString) text = g_string_new(NULL);
    GHashTableIter iter;
    gpointer label;
    GList *windows = gtk_window_list_toplevels();

    for (GList *at = windows; at; at = at->next)
        tell_window(text, at->data);
    g_list_free(windows);
    g_hash_table_iter_init(&iter, labels);
    while (g_hash_table_iter_next(&iter, &label, NULL))
        tell_label(text, label);
    g_file_set_contents(g_getenv("ESPALIER_SPY"), text->str, (gssize)text->len, NULL); /* whole at once */
    return G_SOURCE_CONTINUE;
}

G_MODULE_EXPORT void gtk_module_init(int *argc, char ***argv)
{
    gpointer klass = g_type_class_ref(GTK_TYPE_WIDGET);

    labels = g_hash_table_new(NULL, NULL);
    g_signal_add_emission_hook(g_signal_lookup("map", GTK_TYPE_WIDGET), 0, on_map, NULL, NULL);
    g_type_class_unref(klass);
    if (g_getenv("ESPALIER_SPY"))
        g_unix_signal_add(SIGUSR2, on_ask, NULL);
}
