/*
 * The snapshots of one machine (see snapshots_window.h).
 *
 * Everything that touches a disk is done on a thread; meanwhile the window waits, and can be closed: what was
 * begun is done all the same, and fails into the log at worst.
 */
#include "ui/snapshots_window.h"

#include <glib/gi18n.h>

#include "app/machine_snapshots.h"
#include "ui/message.h"

struct _EspSnapshotsWindow {
    GtkWindow parent_instance;
    EspLibraryItem *item;
    GtkStack *stack;
    GtkListBox *list;
    GtkEntry *name_entry;
    GtkWidget *take_button;
    GtkWidget *back_button;
    GtkWidget *delete_button;
    GtkSpinner *spinner;
    GtkLabel *trouble;
    bool busy;
};

G_DEFINE_TYPE(EspSnapshotsWindow, esp_snapshots_window, GTK_TYPE_WINDOW)

/* --- Works on a thread --------------------------------------------------------------------------- */

typedef bool (*Change)(const char *path, const char *name, GError **error);

typedef struct Work {
    char *path, *name, *first; /* first: a snapshot to be taken before, or NULL */
    Change change;             /* NULL: only look */
    const char *title;         /* of what is said when it fails */
    bool changed;
} Work;

static void work_free(gpointer data)
{
    Work *work = data;

    g_free(work->path);
    g_free(work->name);
    g_free(work->first);
    g_free(work);
}

static void update_buttons(EspSnapshotsWindow *window);
static void show_list(EspSnapshotsWindow *window, GPtrArray *list);

static void do_work(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    Work *work = data;
    GError *error = NULL;
    GPtrArray *list = NULL;

    if (work->first && !esp_machine_snapshot_take(work->path, work->first, &error))
        return g_task_return_error(task, error);
    if (work->change && !work->change(work->path, work->name, &error))
        return g_task_return_error(task, error);
    work->changed = work->change != NULL;
    list = esp_machine_snapshots_list(work->path, &error);
    if (list)
        g_task_return_pointer(task, list, (GDestroyNotify)g_ptr_array_unref);
    else
        g_task_return_error(task, error);
}

static void start(EspSnapshotsWindow *window, const char *title, Change change, const char *name,
                  const char *first);

static void on_done(GObject *source, GAsyncResult *result, gpointer data)
{
    EspSnapshotsWindow *window = ESP_SNAPSHOTS_WINDOW(source);
    const Work *work = g_task_get_task_data(G_TASK(result));
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) list = g_task_propagate_pointer(G_TASK(result), &error);

    if (!window->item) /* closed */
        return;
    window->busy = false;
    gtk_spinner_stop(window->spinner);
    if (list)
        show_list(window, list);
    else if (work->change)
        esp_message_show(GTK_WINDOW(window), work->title, error->message);
    else
        gtk_label_set_text(window->trouble, error->message);
    if (!list && !work->change)
        gtk_stack_set_visible_child_name(window->stack, "trouble");
    if (list && work->change == esp_machine_snapshot_take) {
        g_autofree char *next = esp_machine_snapshot_new_name();
        gtk_entry_set_text(window->name_entry, next);
    }
    update_buttons(window);
    /* Something may have been done before it failed. */
    if (!list && work->change)
        start(window, "", NULL, NULL, NULL);
}

static void start(EspSnapshotsWindow *window, const char *title, Change change, const char *name,
                  const char *first)
{
    Work *work = g_new0(Work, 1);
    GTask *task = g_task_new(window, NULL, on_done, NULL);

    *work = (Work){.path = g_strdup(esp_library_item_get_path(window->item)),
                   .name = g_strdup(name),
                   .first = g_strdup(first),
                   .change = change,
                   .title = title};
    window->busy = true;
    gtk_spinner_start(window->spinner);
    update_buttons(window);
    g_task_set_task_data(task, work, work_free);
    g_task_run_in_thread(task, do_work);
    g_object_unref(task);
}

/* --- The list ------------------------------------------------------------------------------------ */

static const char *name_of(GtkListBoxRow *row)
{
    return row ? g_object_get_data(G_OBJECT(row), "name") : NULL;
}

static GtkWidget *make_row(const EspMachineSnapshot *snapshot)
{
    g_autoptr(GtkBuilder) builder = gtk_builder_new_from_resource("/org/espalier/Espalier/snapshot-row.ui");
    GtkWidget *row = GTK_WIDGET(gtk_builder_get_object(builder, "row"));
    g_autoptr(GDateTime) time = g_date_time_new_from_unix_local(snapshot->time);
    g_autofree char *when = time ? g_date_time_format(time, "%c") : g_strdup("");
    g_autoptr(GString) about = g_string_new(when);

    if (snapshot->parent)
        g_string_append_printf(about, _(" · after “%s”"), snapshot->parent);
    if (!snapshot->complete)
        g_string_append(about, _(" · only the disks"));
    for (char **clone = snapshot->clones; *clone; clone++)
        g_string_append_printf(about, _(" · needed by the linked duplicate “%s”"), *clone);
    gtk_label_set_text(GTK_LABEL(gtk_builder_get_object(builder, "name")), snapshot->name);
    gtk_label_set_text(GTK_LABEL(gtk_builder_get_object(builder, "about")), about->str);
    gtk_widget_set_visible(GTK_WIDGET(gtk_builder_get_object(builder, "current")), snapshot->current);
    g_object_set_data_full(G_OBJECT(row), "name", g_strdup(snapshot->name), g_free);
    g_object_set_data(G_OBJECT(row), "needed", GINT_TO_POINTER(snapshot->clones[0] != NULL));
    atk_object_set_name(gtk_widget_get_accessible(row), snapshot->name);
    return g_object_ref(row);
}

static void remove_child(GtkWidget *child, gpointer data)
{
    gtk_widget_destroy(child);
}

static void show_list(EspSnapshotsWindow *window, GPtrArray *list)
{
    gtk_container_foreach(GTK_CONTAINER(window->list), remove_child, NULL);
    for (guint i = list->len; i-- > 0;) { /* the latest on top */
        g_autoptr(GtkWidget) row = make_row(list->pdata[i]);
        gtk_container_add(GTK_CONTAINER(window->list), row);
    }
    gtk_stack_set_visible_child_name(window->stack, list->len ? "list" : "empty");
}

static void update_buttons(EspSnapshotsWindow *window)
{
    GtkListBoxRow *row = gtk_list_box_get_selected_row(window->list);
    bool off = !esp_library_item_get_state(window->item);
    bool needed = row && GPOINTER_TO_INT(g_object_get_data(G_OBJECT(row), "needed"));
    bool trouble = g_strcmp0(gtk_stack_get_visible_child_name(window->stack), "trouble") == 0;
    const char *why = off ? NULL : _("Only while the machine is off and its window is closed");

    gtk_widget_set_sensitive(window->take_button,
                             !window->busy && !trouble && *gtk_entry_get_text(window->name_entry));
    gtk_widget_set_sensitive(window->back_button, !window->busy && row && off);
    gtk_widget_set_sensitive(window->delete_button, !window->busy && row && off && !needed);
    gtk_widget_set_tooltip_text(window->back_button, why);
    gtk_widget_set_tooltip_text(window->delete_button,
                                needed ? _("A linked duplicate needs this snapshot") : why);
}

/* --- What can be done ---------------------------------------------------------------------------- */

static void on_take(EspSnapshotsWindow *window)
{
    if (gtk_widget_get_sensitive(window->take_button))
        start(window, _("The snapshot was not taken"), esp_machine_snapshot_take,
              gtk_entry_get_text(window->name_entry), NULL);
}

typedef struct Chosen {
    EspSnapshotsWindow *window;
    char *name;
} Chosen;

static void chosen_free(gpointer data)
{
    Chosen *chosen = data;

    g_object_unref(chosen->window);
    g_free(chosen->name);
    g_free(chosen);
}

static Chosen *choose(EspSnapshotsWindow *window)
{
    Chosen *chosen = g_new(Chosen, 1);

    *chosen = (Chosen){g_object_ref(window), g_strdup(name_of(gtk_list_box_get_selected_row(window->list)))};
    return chosen;
}

static void go_back(gpointer data)
{
    const Chosen *chosen = data;

    if (chosen->window->item)
        start(chosen->window, _("The machine did not go back"), esp_machine_snapshot_go_back, chosen->name,
              NULL);
}

static void delete_it(gpointer data)
{
    const Chosen *chosen = data;

    if (chosen->window->item)
        start(chosen->window, _("The snapshot was not deleted"), esp_machine_snapshot_delete, chosen->name,
              NULL);
}

static void on_back(EspSnapshotsWindow *window)
{
    Chosen *chosen = choose(window);
    g_autofree char *title = g_strdup_printf(_("Go back to “%s”?"), chosen->name);

    esp_message_ask(
        GTK_WINDOW(window), title,
        _("Disks, settings and firmware become what they were then. What was done since, and is in no "
          "snapshot, is lost: take one first if you may want it back."),
        _("_Go Back"), true, go_back, chosen, chosen_free);
}

static void on_delete(EspSnapshotsWindow *window)
{
    Chosen *chosen = choose(window);
    g_autofree char *title = g_strdup_printf(_("Delete the snapshot “%s”?"), chosen->name);

    esp_message_ask(
        GTK_WINDOW(window), title,
        _("You cannot go back to it any more. The machine and all other snapshots stay as they are."),
        _("_Delete"), true, delete_it, chosen, chosen_free);
}

/* --- The window ---------------------------------------------------------------------------------- */

GtkWidget *esp_snapshots_window_new(GtkWindow *parent, EspLibraryItem *item)
{
    EspSnapshotsWindow *window = g_object_new(ESP_TYPE_SNAPSHOTS_WINDOW, "transient-for", parent, NULL);
    g_autofree char *title = g_strdup_printf(_("Snapshots of “%s”"), esp_library_item_get_name(item));
    g_autofree char *name = esp_machine_snapshot_new_name();

    window->item = g_object_ref(item);
    gtk_window_set_title(GTK_WINDOW(window), title);
    gtk_entry_set_text(window->name_entry, name);
    g_signal_connect_object(item, "notify::state", G_CALLBACK(update_buttons), window, G_CONNECT_SWAPPED);
    start(window, "", NULL, NULL, NULL);
    return GTK_WIDGET(window);
}

static gboolean esp_snapshots_window_key_press_event(GtkWidget *widget, GdkEventKey *event)
{
    if (event->keyval == GDK_KEY_Escape) {
        gtk_window_close(GTK_WINDOW(widget));
        return GDK_EVENT_STOP;
    }
    return GTK_WIDGET_CLASS(esp_snapshots_window_parent_class)->key_press_event(widget, event);
}

static void esp_snapshots_window_dispose(GObject *object)
{
    EspSnapshotsWindow *window = ESP_SNAPSHOTS_WINDOW(object);

    if (window->item)
        g_signal_handlers_disconnect_by_data(window->item, window);
    g_clear_object(&window->item);
    G_OBJECT_CLASS(esp_snapshots_window_parent_class)->dispose(object);
}

static void on_selected(EspSnapshotsWindow *window)
{
    if (window->item)
        update_buttons(window);
}

static void esp_snapshots_window_class_init(EspSnapshotsWindowClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);

    G_OBJECT_CLASS(klass)->dispose = esp_snapshots_window_dispose;
    widget_class->key_press_event = esp_snapshots_window_key_press_event;
    gtk_widget_class_set_template_from_resource(widget_class, "/org/espalier/Espalier/snapshots-window.ui");
    gtk_widget_class_bind_template_child(widget_class, EspSnapshotsWindow, stack);
    gtk_widget_class_bind_template_child(widget_class, EspSnapshotsWindow, list);
    gtk_widget_class_bind_template_child(widget_class, EspSnapshotsWindow, name_entry);
    gtk_widget_class_bind_template_child(widget_class, EspSnapshotsWindow, take_button);
    gtk_widget_class_bind_template_child(widget_class, EspSnapshotsWindow, back_button);
    gtk_widget_class_bind_template_child(widget_class, EspSnapshotsWindow, delete_button);
    gtk_widget_class_bind_template_child(widget_class, EspSnapshotsWindow, spinner);
    gtk_widget_class_bind_template_child(widget_class, EspSnapshotsWindow, trouble);
    gtk_widget_class_bind_template_callback(widget_class, on_take);
    gtk_widget_class_bind_template_callback(widget_class, on_back);
    gtk_widget_class_bind_template_callback(widget_class, on_delete);
    gtk_widget_class_bind_template_callback(widget_class, on_selected);
}

static void esp_snapshots_window_init(EspSnapshotsWindow *window)
{
    gtk_widget_init_template(GTK_WIDGET(window));
}
