/* The assistant's page while a machine is being made (see new_progress_page.h). */
#include "ui/new_progress_page.h"

#include <glib/gi18n.h>

struct _EspNewProgressPage {
    EspNewPage parent_instance;
    EspJob *job;
    char *name;
    GtkImage *icon;
    GtkLabel *title, *stage, *words, *body;
    GtkProgressBar *bar;
    GtkWidget *running_box, *cancel, *retry, *discard, *start, *done;
};

G_DEFINE_TYPE(EspNewProgressPage, esp_new_progress_page, ESP_TYPE_NEW_PAGE)

enum { RETRY, DISCARD, START, DONE, N_SIGNALS };
static guint signals[N_SIGNALS];

static void show_buttons(EspNewProgressPage *page, bool running, bool over, bool good)
{
    gtk_widget_set_visible(page->running_box, running);
    gtk_widget_set_visible(page->cancel, running);
    gtk_widget_set_visible(page->retry, over && !good);
    gtk_widget_set_visible(page->discard, over && !good);
    gtk_widget_set_visible(page->start, over && good);
    gtk_widget_set_visible(page->done, over);
}

static void say(EspNewProgressPage *page, const char *icon, const char *title, const char *body)
{
    gtk_image_set_from_icon_name(page->icon, icon, GTK_ICON_SIZE_DIALOG);
    gtk_label_set_text(page->title, title);
    gtk_label_set_text(page->body, body ? body : "");
    gtk_widget_set_visible(GTK_WIDGET(page->body), body != NULL);
}

static void on_changed(EspNewProgressPage *page)
{
    double fraction = esp_job_get_fraction(page->job);
    g_autofree char *words = esp_job_get_words(page->job);

    if (esp_job_get_state(page->job) != ESP_JOB_RUNNING)
        return;
    gtk_label_set_text(page->stage, esp_job_get_stage(page->job));
    gtk_label_set_text(page->words, words);
    if (fraction >= 0)
        gtk_progress_bar_set_fraction(page->bar, fraction);
    else
        gtk_progress_bar_pulse(page->bar);
}

static void on_finished(EspNewProgressPage *page)
{
    g_autofree char *title = NULL;
    EspJobState state = esp_job_get_state(page->job);

    show_buttons(page, false, true, state == ESP_JOB_SUCCEEDED);
    if (state == ESP_JOB_SUCCEEDED) {
        title = g_strdup_printf(_("“%s” is ready"), page->name);
        say(page, "emblem-ok-symbolic", title, NULL);
        gtk_widget_grab_focus(page->start);
    } else if (state == ESP_JOB_CANCELLED) {
        title = g_strdup_printf(_("“%s” is not finished"), page->name);
        say(page, "media-playback-pause-symbolic", title,
            _("What has been done is kept. You can continue now or later, also after Espalier was closed."));
        gtk_widget_grab_focus(page->retry);
    } else {
        title = g_strdup_printf(_("“%s” could not be made"), page->name);
        say(page, "dialog-warning-symbolic", title, esp_job_get_error(page->job)->message);
        gtk_widget_grab_focus(page->retry);
    }
    gtk_button_set_label(GTK_BUTTON(page->retry),
                         state == ESP_JOB_CANCELLED ? _("_Continue") : _("_Try Again"));
}

static void drop_job(EspNewProgressPage *page)
{
    if (page->job)
        g_signal_handlers_disconnect_by_data(page->job, page);
    g_clear_object(&page->job);
}

void esp_new_progress_page_watch(EspNewProgressPage *page, EspJob *job, const char *name)
{
    drop_job(page);
    g_free(page->name);
    page->name = g_strdup(name);
    page->job = g_object_ref(job);
    g_signal_connect_swapped(job, "changed", G_CALLBACK(on_changed), page);
    g_signal_connect_swapped(job, "finished", G_CALLBACK(on_finished), page);
    say(page, "document-save-symbolic", esp_job_get_title(job), NULL);
    show_buttons(page, true, false, false);
    gtk_progress_bar_set_fraction(page->bar, 0);
    on_changed(page);
    gtk_widget_grab_focus(page->cancel);
}

void esp_new_progress_page_fail(EspNewProgressPage *page, const char *name, const char *why)
{
    g_autofree char *title = g_strdup_printf(_("“%s” could not be made"), name);

    drop_job(page);
    say(page, "dialog-warning-symbolic", title, why);
    show_buttons(page, false, true, false);
    gtk_widget_hide(page->discard);
    gtk_widget_hide(page->retry);
}

static void on_cancel(EspNewProgressPage *page)
{
    if (page->job)
        esp_job_cancel(page->job);
}

static void on_retry(EspNewProgressPage *page)
{
    g_signal_emit(page, signals[RETRY], 0);
}

static void on_discard(EspNewProgressPage *page)
{
    g_signal_emit(page, signals[DISCARD], 0);
}

static void on_start(EspNewProgressPage *page)
{
    g_signal_emit(page, signals[START], 0);
}

static void on_done(EspNewProgressPage *page)
{
    g_signal_emit(page, signals[DONE], 0);
}

static void esp_new_progress_page_dispose(GObject *object)
{
    drop_job(ESP_NEW_PROGRESS_PAGE(object));
    G_OBJECT_CLASS(esp_new_progress_page_parent_class)->dispose(object);
}

static void esp_new_progress_page_finalize(GObject *object)
{
    g_free(ESP_NEW_PROGRESS_PAGE(object)->name);
    G_OBJECT_CLASS(esp_new_progress_page_parent_class)->finalize(object);
}

static void bind(GtkWidgetClass *widget_class)
{
    gtk_widget_class_bind_template_child(widget_class, EspNewProgressPage, icon);
    gtk_widget_class_bind_template_child(widget_class, EspNewProgressPage, title);
    gtk_widget_class_bind_template_child(widget_class, EspNewProgressPage, stage);
    gtk_widget_class_bind_template_child(widget_class, EspNewProgressPage, words);
    gtk_widget_class_bind_template_child(widget_class, EspNewProgressPage, body);
    gtk_widget_class_bind_template_child(widget_class, EspNewProgressPage, bar);
    gtk_widget_class_bind_template_child(widget_class, EspNewProgressPage, running_box);
    gtk_widget_class_bind_template_child(widget_class, EspNewProgressPage, cancel);
    gtk_widget_class_bind_template_child(widget_class, EspNewProgressPage, retry);
    gtk_widget_class_bind_template_child(widget_class, EspNewProgressPage, discard);
    gtk_widget_class_bind_template_child(widget_class, EspNewProgressPage, start);
    gtk_widget_class_bind_template_child(widget_class, EspNewProgressPage, done);
    gtk_widget_class_bind_template_callback(widget_class, on_cancel);
    gtk_widget_class_bind_template_callback(widget_class, on_retry);
    gtk_widget_class_bind_template_callback(widget_class, on_discard);
    gtk_widget_class_bind_template_callback(widget_class, on_start);
    gtk_widget_class_bind_template_callback(widget_class, on_done);
}

static void esp_new_progress_page_class_init(EspNewProgressPageClass *klass)
{
    static const char *const names[N_SIGNALS] = {"retry", "discard", "start", "done"};
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);

    ESP_NEW_PAGE_CLASS(klass)->title = N_("Creating");
    G_OBJECT_CLASS(klass)->dispose = esp_new_progress_page_dispose;
    G_OBJECT_CLASS(klass)->finalize = esp_new_progress_page_finalize;
    for (unsigned i = 0; i < N_SIGNALS; i++)
        signals[i] = g_signal_new(names[i], G_TYPE_FROM_CLASS(klass), G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL,
                                  G_TYPE_NONE, 0);
    gtk_widget_class_set_template_from_resource(widget_class, "/org/espalier/Espalier/new-progress-page.ui");
    bind(widget_class);
}

static void esp_new_progress_page_init(EspNewProgressPage *page)
{
    gtk_widget_init_template(GTK_WIDGET(page));
}
