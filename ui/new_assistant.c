/*
 * The assistant for new machines (see new_assistant.h).
 *
 * What is chosen is an EspCreation, which each page shows a part of and takes back when it is left. Which
 * pages there are depends on the kind of machine. Whatever waits for the disk is done on threads; the job
 * itself goes on while its page is shown, and closing the window asks first.
 */
#include "ui/new_assistant.h"

#include <glib/gi18n.h>

#include "app/create/create.h"
#include "app/create/image_kind.h"
#include "ui/message.h"
#include "ui/new_kind_page.h"
#include "ui/new_progress_page.h"
#include "ui/new_region_page.h"
#include "ui/new_resources_page.h"
#include "ui/new_sharing_page.h"
#include "ui/new_source_page.h"
#include "ui/new_summary_page.h"
#include "ui/new_user_page.h"

#define PAGES_MAX 9

struct _EspNewAssistant {
    GtkWindow parent_instance;
    char *library_dir;
    EspCreation creation;
    unsigned at; /* in the way */
    EspJob *job;
    char *draft_path, *bundle_path; /* of the job */
    bool closing;                   /* once the job is over */
    bool closed;                    /* only what runs on threads still knows us */
    GtkHeaderBar *header;
    GtkWidget *back, *next;
    GtkStack *stack;
    EspNewPage *kind, *source, *resources, *region, *user, *sharing, *summary, *progress;
};

G_DEFINE_TYPE(EspNewAssistant, esp_new_assistant, GTK_TYPE_WINDOW)

enum { OPEN, N_SIGNALS };
static guint signals[N_SIGNALS];

static void refresh_drafts(EspNewAssistant *assistant);

/* ---- the way ---- */

/* The pages for what is chosen, in order; returns how many. */
static unsigned way(EspNewAssistant *assistant, EspNewPage *pages[PAGES_MAX])
{
    EspCreationKind kind = assistant->creation.kind;
    bool setup = kind == ESP_CREATION_LINUX;
    unsigned n = 0;

    pages[n++] = assistant->kind;
    if (kind != ESP_CREATION_DEMO)
        pages[n++] = assistant->source;
    if (kind == ESP_CREATION_MACOS)
        return n;
    pages[n++] = assistant->resources;
    if (setup) {
        pages[n++] = assistant->region;
        pages[n++] = assistant->user;
    }
    if (kind != ESP_CREATION_DEMO)
        pages[n++] = assistant->sharing;
    pages[n++] = assistant->summary;
    pages[n++] = assistant->progress;
    return n;
}

static void update(EspNewAssistant *assistant)
{
    EspNewPage *pages[PAGES_MAX];
    unsigned n = way(assistant, pages), at = MIN(assistant->at, n - 1);
    bool working = pages[at] == assistant->progress;

    gtk_window_set_title(GTK_WINDOW(assistant), esp_new_page_get_title(pages[at]));
    gtk_header_bar_set_title(assistant->header, esp_new_page_get_title(pages[at]));
    gtk_widget_set_visible(assistant->back, at > 0 && !working);
    gtk_widget_set_visible(assistant->next, !working);
    gtk_button_set_label(GTK_BUTTON(assistant->next),
                         pages[at] == assistant->summary ? _("_Create") : _("_Next"));
    gtk_widget_set_sensitive(assistant->next, esp_new_page_is_complete(pages[at]));
}

static void show_page(EspNewAssistant *assistant, unsigned at)
{
    EspNewPage *pages[PAGES_MAX];
    unsigned n = way(assistant, pages);
    bool forward = at >= assistant->at;

    g_return_if_fail(at < n);
    assistant->at = at;
    gtk_stack_set_transition_type(assistant->stack, forward ? GTK_STACK_TRANSITION_TYPE_SLIDE_LEFT
                                                            : GTK_STACK_TRANSITION_TYPE_SLIDE_RIGHT);
    gtk_stack_set_visible_child(assistant->stack,
                                gtk_widget_get_ancestor(GTK_WIDGET(pages[at]), GTK_TYPE_SCROLLED_WINDOW));
    gtk_widget_child_focus(GTK_WIDGET(pages[at]), GTK_DIR_TAB_FORWARD);
    esp_new_page_load(pages[at], &assistant->creation);
    update(assistant);
}

static void store_current(EspNewAssistant *assistant)
{
    EspNewPage *pages[PAGES_MAX];
    unsigned n = way(assistant, pages);

    if (assistant->at < n)
        esp_new_page_store(pages[assistant->at], &assistant->creation);
}

static void on_back(EspNewAssistant *assistant)
{
    if (!assistant->at)
        return;
    store_current(assistant);
    show_page(assistant, assistant->at - 1);
}

/* ---- making it ---- */

static void show_progress(EspNewAssistant *assistant)
{
    EspNewPage *pages[PAGES_MAX];

    show_page(assistant, way(assistant, pages) - 1);
}

static void on_finished(EspNewAssistant *assistant)
{
    if (!assistant->closed)
        refresh_drafts(assistant);
    g_clear_object(&assistant->job);
    if (assistant->closing && !assistant->closed)
        gtk_widget_destroy(GTK_WIDGET(assistant));
}

static void run(EspNewAssistant *assistant, EspDraft *draft)
{
    const char *name = esp_draft_get_creation(draft)->name;

    g_free(assistant->draft_path);
    g_free(assistant->bundle_path);
    assistant->draft_path = g_strdup(esp_draft_get_path(draft));
    assistant->bundle_path = esp_create_path(draft);
    g_clear_object(&assistant->job);
    assistant->job = esp_create_job_new(draft);
    show_progress(assistant);
    esp_new_progress_page_watch(ESP_NEW_PROGRESS_PAGE(assistant->progress), assistant->job, name);
    g_signal_connect_object(assistant->job, "finished", G_CALLBACK(on_finished), assistant,
                            G_CONNECT_SWAPPED);
    esp_create_start(assistant->job, draft);
}

/* What makes or opens a draft waits for the disk. */
typedef struct Opening {
    char *library_dir, *path; /* NULL: a new one */
    EspCreation creation;
} Opening;

static void opening_free(gpointer data)
{
    Opening *opening = data;

    g_free(opening->library_dir);
    g_free(opening->path);
    esp_creation_clear(&opening->creation);
    g_free(opening);
}

static void open_draft(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    const Opening *opening = data;
    GError *error = NULL;
    EspDraft *draft = NULL;

    if (opening->path)
        draft = esp_draft_open(opening->path, &error);
    else if (esp_creation_check(&opening->creation, opening->library_dir, &error))
        draft = esp_draft_new(opening->library_dir, &opening->creation, &error);
    if (draft)
        g_task_return_pointer(task, draft, (GDestroyNotify)esp_draft_free);
    else
        g_task_return_error(task, error);
}

static void on_opened(GObject *source, GAsyncResult *result, gpointer data)
{
    EspNewAssistant *assistant = ESP_NEW_ASSISTANT(source);
    const Opening *opening = g_task_get_task_data(G_TASK(result));
    g_autoptr(GError) error = NULL;
    EspDraft *draft = g_task_propagate_pointer(G_TASK(result), &error);

    if (assistant->closed) {
        esp_draft_free(draft);
        return;
    }
    gtk_widget_set_sensitive(GTK_WIDGET(assistant->stack), TRUE);
    if (!draft) {
        const char *name = opening->creation.name;
        g_autofree char *title = name ? g_strdup_printf(_("“%s” cannot be made"), name)
                                      : g_strdup(_("The machine cannot be continued"));
        update(assistant);
        esp_message_show(GTK_WINDOW(assistant), title, error->message);
        refresh_drafts(assistant);
        return;
    }
    if (opening->path) {
        esp_creation_clear(&assistant->creation);
        esp_creation_copy(&assistant->creation, esp_draft_get_creation(draft));
    }
    run(assistant, draft);
}

static void begin(EspNewAssistant *assistant, const char *path)
{
    g_autoptr(GTask) task = g_task_new(assistant, NULL, on_opened, NULL);
    Opening *opening = g_new0(Opening, 1);

    opening->library_dir = g_strdup(assistant->library_dir);
    opening->path = g_strdup(path);
    if (!path)
        esp_creation_copy(&opening->creation, &assistant->creation);
    g_task_set_task_data(task, opening, opening_free);
    gtk_widget_set_sensitive(assistant->next, FALSE);
    gtk_widget_set_sensitive(GTK_WIDGET(assistant->stack), FALSE);
    g_task_run_in_thread(task, open_draft);
}

static void on_next(EspNewAssistant *assistant)
{
    EspNewPage *pages[PAGES_MAX];
    unsigned n = way(assistant, pages);

    if (assistant->at >= n || !esp_new_page_is_complete(pages[assistant->at]))
        return;
    store_current(assistant);
    n = way(assistant, pages);
    if (pages[assistant->at] == assistant->summary)
        begin(assistant, NULL);
    else if (assistant->at + 1 < n)
        show_page(assistant, assistant->at + 1);
}

/* ---- drafts ---- */

static void list_drafts(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    g_task_return_pointer(task, esp_drafts_list(data), (GDestroyNotify)g_ptr_array_unref);
}

static void on_drafts(GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr(GPtrArray) drafts = g_task_propagate_pointer(G_TASK(result), NULL);

    if (drafts && !ESP_NEW_ASSISTANT(source)->closed)
        esp_new_kind_page_set_drafts(ESP_NEW_KIND_PAGE(ESP_NEW_ASSISTANT(source)->kind), drafts);
}

static void refresh_drafts(EspNewAssistant *assistant)
{
    g_autoptr(GTask) task = g_task_new(assistant, NULL, on_drafts, NULL);

    g_task_set_task_data(task, g_strdup(assistant->library_dir), g_free);
    g_task_run_in_thread(task, list_drafts);
}

static void on_continue(EspNewAssistant *assistant, const char *path)
{
    begin(assistant, path);
}

static void discard(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    GError *error = NULL;
    EspDraft *draft = esp_draft_open(data, &error);

    if (draft && esp_draft_discard(draft, &error))
        g_task_return_boolean(task, TRUE);
    else
        g_task_return_error(task, error);
}

static void on_discarded(GObject *source, GAsyncResult *result, gpointer data)
{
    EspNewAssistant *assistant = ESP_NEW_ASSISTANT(source);
    g_autoptr(GError) error = NULL;

    bool good = g_task_propagate_boolean(G_TASK(result), &error);
    if (assistant->closed)
        return;
    if (!good)
        esp_message_show(GTK_WINDOW(assistant), _("It cannot be discarded"), error->message);
    refresh_drafts(assistant);
}

typedef struct Discard {
    EspNewAssistant *assistant; /* of which there is a reference */
    char *path;
} Discard;

static void discard_free(gpointer data)
{
    Discard *wish = data;

    g_object_unref(wish->assistant);
    g_free(wish->path);
    g_free(wish);
}

static void do_discard(gpointer data)
{
    const Discard *wish = data;
    g_autoptr(GTask) task = g_task_new(wish->assistant, NULL, on_discarded, NULL);

    g_task_set_task_data(task, g_strdup(wish->path), g_free);
    g_task_run_in_thread(task, discard);
    if (wish->assistant->at && !wish->assistant->closed)
        show_page(wish->assistant, 0);
}

static void on_discard(EspNewAssistant *assistant, const char *path)
{
    Discard *wish = g_new0(Discard, 1);

    wish->assistant = g_object_ref(assistant);
    wish->path = g_strdup(path);
    esp_message_ask(GTK_WINDOW(assistant), _("Discard what has been done?"),
                    _("What was downloaded and copied for this machine is deleted. This cannot be undone."),
                    _("_Discard"), true, do_discard, wish, discard_free);
}

/* ---- the page of the job ---- */

static void on_progress_retry(EspNewAssistant *assistant)
{
    g_autofree char *path = g_strdup(assistant->draft_path);

    begin(assistant, path);
}

static void on_progress_discard(EspNewAssistant *assistant)
{
    on_discard(assistant, assistant->draft_path);
}

static void on_progress_start(EspNewAssistant *assistant)
{
    g_signal_emit(assistant, signals[OPEN], 0, assistant->bundle_path);
    gtk_widget_destroy(GTK_WIDGET(assistant));
}

static void on_progress_done(EspNewAssistant *assistant)
{
    gtk_widget_destroy(GTK_WIDGET(assistant));
}

/* ---- the window ---- */

static bool is_running(EspNewAssistant *assistant)
{
    return assistant->job && esp_job_get_state(assistant->job) == ESP_JOB_RUNNING;
}

static void do_close(gpointer data)
{
    EspNewAssistant *assistant = data;

    if (assistant->closed)
        return;
    if (!is_running(assistant)) {
        gtk_widget_destroy(GTK_WIDGET(assistant));
        return;
    }
    assistant->closing = true;
    esp_job_cancel(assistant->job);
}

static gboolean esp_new_assistant_delete_event(GtkWidget *widget, GdkEventAny *event)
{
    EspNewAssistant *assistant = ESP_NEW_ASSISTANT(widget);

    if (!is_running(assistant))
        return GDK_EVENT_PROPAGATE;
    esp_message_ask(GTK_WINDOW(assistant), _("Stop making the machine?"),
                    _("What has been done is kept, and you can continue it later."), _("_Stop"), false,
                    do_close, g_object_ref(assistant), g_object_unref);
    return GDK_EVENT_STOP;
}

static gboolean esp_new_assistant_key_press_event(GtkWidget *widget, GdkEventKey *event)
{
    EspNewAssistant *assistant = ESP_NEW_ASSISTANT(widget);

    if (GTK_WIDGET_CLASS(esp_new_assistant_parent_class)->key_press_event(widget, event))
        return GDK_EVENT_STOP;
    if (event->keyval == GDK_KEY_Escape) {
        gtk_window_close(GTK_WINDOW(widget));
        return GDK_EVENT_STOP;
    }
    if (event->keyval == GDK_KEY_Left &&
        (event->state & gtk_accelerator_get_default_mod_mask()) == GDK_MOD1_MASK &&
        gtk_widget_get_visible(assistant->back)) {
        on_back(assistant);
        return GDK_EVENT_STOP;
    }
    return GDK_EVENT_PROPAGATE;
}

/* Each page has a margin and scrolls where the screen is small. */
static EspNewPage *add_page(EspNewAssistant *assistant, GType type)
{
    EspNewPage *page = g_object_new(type, "margin", 24, NULL);
    GtkWidget *scroller = gtk_scrolled_window_new(NULL, NULL);

    gtk_scrolled_window_set_policy(GTK_SCROLLED_WINDOW(scroller), GTK_POLICY_NEVER, GTK_POLICY_AUTOMATIC);
    gtk_container_add(GTK_CONTAINER(scroller), GTK_WIDGET(page));
    gtk_widget_show_all(scroller);
    gtk_container_add(GTK_CONTAINER(assistant->stack), scroller);
    esp_new_page_set_library_dir(page, assistant->library_dir);
    g_signal_connect_object(page, "changed", G_CALLBACK(update), assistant, G_CONNECT_SWAPPED);
    g_signal_connect_object(page, "advance", G_CALLBACK(on_next), assistant, G_CONNECT_SWAPPED);
    return page;
}

static void add_pages(EspNewAssistant *assistant)
{
    assistant->kind = add_page(assistant, ESP_TYPE_NEW_KIND_PAGE);
    assistant->source = add_page(assistant, ESP_TYPE_NEW_SOURCE_PAGE);
    assistant->resources = add_page(assistant, ESP_TYPE_NEW_RESOURCES_PAGE);
    assistant->region = add_page(assistant, ESP_TYPE_NEW_REGION_PAGE);
    assistant->user = add_page(assistant, ESP_TYPE_NEW_USER_PAGE);
    assistant->sharing = add_page(assistant, ESP_TYPE_NEW_SHARING_PAGE);
    assistant->summary = add_page(assistant, ESP_TYPE_NEW_SUMMARY_PAGE);
    assistant->progress = add_page(assistant, ESP_TYPE_NEW_PROGRESS_PAGE);
    g_signal_connect_object(assistant->kind, "continue", G_CALLBACK(on_continue), assistant,
                            G_CONNECT_SWAPPED);
    g_signal_connect_object(assistant->kind, "discard", G_CALLBACK(on_discard), assistant, G_CONNECT_SWAPPED);
    const struct {
        const char *signal;
        GCallback handler;
    } wishes[] = {{"retry", G_CALLBACK(on_progress_retry)},
                  {"discard", G_CALLBACK(on_progress_discard)},
                  {"start", G_CALLBACK(on_progress_start)},
                  {"done", G_CALLBACK(on_progress_done)}};
    for (size_t i = 0; i < G_N_ELEMENTS(wishes); i++)
        g_signal_connect_object(assistant->progress, wishes[i].signal, wishes[i].handler, assistant,
                                G_CONNECT_SWAPPED);
}

GtkWidget *esp_new_assistant_new(GtkWindow *parent, const char *library_dir)
{
    EspNewAssistant *assistant =
        g_object_new(ESP_TYPE_NEW_ASSISTANT, "transient-for", parent, "modal", TRUE, NULL);

    assistant->library_dir = g_strdup(library_dir);
    esp_creation_init(&assistant->creation, ESP_CREATION_LINUX);
    add_pages(assistant);
    show_page(assistant, 0);
    refresh_drafts(assistant);
    return GTK_WIDGET(assistant);
}

/* ---- a file that was dropped ---- */

static void look_at(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    EspImageKind kind = ESP_IMAGE_UNKNOWN;
    GError *error = NULL;

    if (esp_image_kind(data, &kind, NULL, &error))
        g_task_return_int(task, kind);
    else
        g_task_return_error(task, error);
}

static void on_looked(GObject *source, GAsyncResult *result, gpointer data)
{
    EspNewAssistant *assistant = ESP_NEW_ASSISTANT(source);
    g_autoptr(GError) error = NULL;
    gssize kind = g_task_propagate_int(G_TASK(result), &error);

    if (assistant->closed)
        return;
    if (error) {
        esp_message_show(GTK_WINDOW(assistant), _("The file cannot be used"), error->message);
        return;
    }
    esp_creation_clear(&assistant->creation);
    esp_creation_init(&assistant->creation,
                      kind == ESP_IMAGE_ISO ? ESP_CREATION_INSTALLER : ESP_CREATION_IMPORT);
    assistant->creation.source = g_strdup(g_task_get_task_data(G_TASK(result)));
    show_page(assistant, 1);
}

void esp_new_assistant_offer(EspNewAssistant *assistant, const char *file)
{
    g_autoptr(GTask) task = g_task_new(assistant, NULL, on_looked, NULL);

    g_task_set_task_data(task, g_strdup(file), g_free);
    g_task_run_in_thread(task, look_at);
}

static void esp_new_assistant_destroy(GtkWidget *widget)
{
    ESP_NEW_ASSISTANT(widget)->closed = true;
    GTK_WIDGET_CLASS(esp_new_assistant_parent_class)->destroy(widget);
}

static void esp_new_assistant_finalize(GObject *object)
{
    EspNewAssistant *assistant = ESP_NEW_ASSISTANT(object);

    g_clear_object(&assistant->job);
    g_free(assistant->library_dir);
    g_free(assistant->draft_path);
    g_free(assistant->bundle_path);
    esp_creation_clear(&assistant->creation);
    G_OBJECT_CLASS(esp_new_assistant_parent_class)->finalize(object);
}

static void esp_new_assistant_class_init(EspNewAssistantClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);

    G_OBJECT_CLASS(klass)->finalize = esp_new_assistant_finalize;
    widget_class->destroy = esp_new_assistant_destroy;
    widget_class->delete_event = esp_new_assistant_delete_event;
    widget_class->key_press_event = esp_new_assistant_key_press_event;
    signals[OPEN] = g_signal_new("open", G_TYPE_FROM_CLASS(klass), G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL,
                                 G_TYPE_NONE, 1, G_TYPE_STRING);
    gtk_widget_class_set_template_from_resource(widget_class, "/org/espalier/Espalier/new-assistant.ui");
    gtk_widget_class_bind_template_child(widget_class, EspNewAssistant, header);
    gtk_widget_class_bind_template_child(widget_class, EspNewAssistant, back);
    gtk_widget_class_bind_template_child(widget_class, EspNewAssistant, next);
    gtk_widget_class_bind_template_child(widget_class, EspNewAssistant, stack);
    gtk_widget_class_bind_template_callback(widget_class, on_back);
    gtk_widget_class_bind_template_callback(widget_class, on_next);
}

static void esp_new_assistant_init(EspNewAssistant *assistant)
{
    gtk_widget_init_template(GTK_WIDGET(assistant));
    gtk_widget_grab_default(assistant->next);
}
