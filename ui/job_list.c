/* Running jobs at the foot of a window (see job_list.h). */
#include "ui/job_list.h"

#include <glib/gi18n.h>

#include "ui/message.h"

#define PULSE_MS 100

/* --- One job ------------------------------------------------------------------------------------- */

#define ESP_TYPE_JOB_ROW (esp_job_row_get_type())
G_DECLARE_FINAL_TYPE(EspJobRow, esp_job_row, ESP, JOB_ROW, GtkBox)

struct _EspJobRow {
    GtkBox parent_instance;
    EspJob *job;
    GtkLabel *title;
    GtkLabel *words;
    GtkProgressBar *bar;
    GtkWidget *cancel_button;
    AtkObject *cancel_accessible;
    guint pulse_id;
};

G_DEFINE_TYPE(EspJobRow, esp_job_row, GTK_TYPE_BOX)

static gboolean on_pulse(gpointer data)
{
    gtk_progress_bar_pulse(((EspJobRow *)data)->bar);
    return G_SOURCE_CONTINUE;
}

static void on_changed(EspJobRow *row)
{
    g_autofree char *words = esp_job_get_words(row->job);
    double fraction = esp_job_get_fraction(row->job);

    gtk_label_set_text(row->words, *words ? words : esp_job_get_stage(row->job));
    if (fraction >= 0) {
        g_clear_handle_id(&row->pulse_id, g_source_remove);
        gtk_progress_bar_set_fraction(row->bar, fraction);
    } else if (!row->pulse_id) {
        row->pulse_id = g_timeout_add(PULSE_MS, on_pulse, row);
    }
}

static void on_cancel(EspJobRow *row)
{
    gtk_widget_set_sensitive(row->cancel_button, FALSE);
    esp_job_cancel(row->job);
}

static void esp_job_row_dispose(GObject *object)
{
    EspJobRow *row = ESP_JOB_ROW(object);

    g_clear_handle_id(&row->pulse_id, g_source_remove);
    g_clear_object(&row->job);
    G_OBJECT_CLASS(esp_job_row_parent_class)->dispose(object);
}

static void esp_job_row_class_init(EspJobRowClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);

    G_OBJECT_CLASS(klass)->dispose = esp_job_row_dispose;
    gtk_widget_class_set_template_from_resource(widget_class, "/org/espalier/Espalier/job-row.ui");
    gtk_widget_class_bind_template_child(widget_class, EspJobRow, title);
    gtk_widget_class_bind_template_child(widget_class, EspJobRow, words);
    gtk_widget_class_bind_template_child(widget_class, EspJobRow, bar);
    gtk_widget_class_bind_template_child(widget_class, EspJobRow, cancel_button);
    gtk_widget_class_bind_template_child(widget_class, EspJobRow, cancel_accessible);
    gtk_widget_class_bind_template_callback(widget_class, on_cancel);
}

static void esp_job_row_init(EspJobRow *row)
{
    gtk_widget_init_template(GTK_WIDGET(row));
}

static GtkWidget *row_new(EspJob *job)
{
    EspJobRow *row = g_object_new(ESP_TYPE_JOB_ROW, NULL);
    const char *title = esp_job_get_title(job);
    g_autofree char *cancel = g_strdup_printf(_("Cancel: %s"), title);

    row->job = g_object_ref(job);
    gtk_label_set_text(row->title, title);
    gtk_widget_set_tooltip_text(row->cancel_button, cancel);
    atk_object_set_name(row->cancel_accessible, cancel);
    atk_object_set_name(gtk_widget_get_accessible(GTK_WIDGET(row->bar)), title);
    g_signal_connect_object(job, "changed", G_CALLBACK(on_changed), row, G_CONNECT_SWAPPED);
    on_changed(row);
    return GTK_WIDGET(row);
}

/* --- All of them --------------------------------------------------------------------------------- */

struct _EspJobList {
    GtkRevealer parent_instance;
    GtkBox *box;
    GHashTable *rows; /* EspJob -> row */
};

G_DEFINE_TYPE(EspJobList, esp_job_list, GTK_TYPE_REVEALER)

static void on_finished(EspJobList *list, EspJob *job)
{
    GtkWidget *row = g_hash_table_lookup(list->rows, job);
    GtkWidget *window = gtk_widget_get_toplevel(GTK_WIDGET(list));
    g_autoptr(EspJob) hold = g_object_ref(job);

    g_hash_table_remove(list->rows, job);
    gtk_widget_destroy(row);
    gtk_revealer_set_reveal_child(GTK_REVEALER(list), g_hash_table_size(list->rows) != 0);
    if (esp_job_get_state(job) == ESP_JOB_FAILED && GTK_IS_WINDOW(window)) {
        /* Translators: %s is what was being done: "Did not work: Exporting “Debian”". */
        g_autofree char *title = g_strdup_printf(_("Did not work: %s"), esp_job_get_title(job));
        esp_message_show(GTK_WINDOW(window), title, esp_job_get_error(job)->message);
    }
}

void esp_job_list_add(EspJobList *list, EspJob *job)
{
    GtkWidget *row = row_new(job);

    g_hash_table_insert(list->rows, job, row);
    gtk_container_add(GTK_CONTAINER(list->box), row);
    gtk_revealer_set_reveal_child(GTK_REVEALER(list), TRUE);
    g_signal_connect_object(job, "finished", G_CALLBACK(on_finished), list, G_CONNECT_SWAPPED);
}

unsigned esp_job_list_count(EspJobList *list)
{
    return g_hash_table_size(list->rows);
}

static void esp_job_list_finalize(GObject *object)
{
    g_hash_table_unref(ESP_JOB_LIST(object)->rows);
    G_OBJECT_CLASS(esp_job_list_parent_class)->finalize(object);
}

static void esp_job_list_class_init(EspJobListClass *klass)
{
    G_OBJECT_CLASS(klass)->finalize = esp_job_list_finalize;
}

static void esp_job_list_init(EspJobList *list)
{
    list->rows = g_hash_table_new_full(NULL, NULL, g_object_unref, NULL);
    list->box = GTK_BOX(gtk_box_new(GTK_ORIENTATION_VERTICAL, 0));
    gtk_style_context_add_class(gtk_widget_get_style_context(GTK_WIDGET(list->box)), "jobs");
    gtk_widget_show(GTK_WIDGET(list->box));
    gtk_container_add(GTK_CONTAINER(list), GTK_WIDGET(list->box));
    gtk_revealer_set_transition_type(GTK_REVEALER(list), GTK_REVEALER_TRANSITION_TYPE_SLIDE_UP);
}
