/* One machine in the library (see library_entry.h). */
#include "ui/library_entry.h"

#include <glib/gi18n.h>

#include "app/process_use.h"
#include "ui/machine_actions.h"
#include "ui/thumbnail.h"
#include "ui/words.h"

#define USE_SECONDS 2

/* As .thumbnail in style.css. */
static const EspThumbnailSize card_size = {200, 125, 7, 1}, row_size = {104, 78, 7, 1};

struct _EspLibraryEntry {
    GtkBox parent_instance;
    EspLibraryItem *item;
    GActionGroup *actions;
    bool card;
    GtkStack *thumbnail;
    GtkImage *picture;
    GtkBox *text;
    GtkBox *foot;
    GtkLabel *name;
    GtkLabel *summary;
    GtkLabel *state;
    GtkLabel *use;
    GtkWidget *open_button;
    AtkObject *open_accessible;
    GtkImage *open_image;
    GtkWidget *menu_button;
    AtkObject *menu_accessible;

    EspProcessUse used;
    guint use_id;
    guint load_id;
    bool wants_picture;
    GCancellable *loading;
};

G_DEFINE_TYPE(EspLibraryEntry, esp_library_entry, GTK_TYPE_BOX)

/* --- The picture -------------------------------------------------------------------------------- */

static void on_loaded(GObject *source, GAsyncResult *result, gpointer data)
{
    cairo_surface_t *surface = esp_thumbnail_finish(result);
    EspLibraryEntry *entry = data;

    if (!g_cancellable_is_cancelled(g_task_get_cancellable(G_TASK(result)))) {
        if (surface)
            gtk_image_set_from_surface(entry->picture, surface);
        gtk_stack_set_visible_child_name(entry->thumbnail, surface ? "picture" : "icon");
    }
    if (surface)
        cairo_surface_destroy(surface);
    g_object_unref(entry);
}

static gboolean on_load(gpointer data)
{
    EspLibraryEntry *entry = data;
    const char *file = esp_library_item_get_screenshot(entry->item);
    EspThumbnailSize size = entry->card ? card_size : row_size;

    entry->load_id = 0;
    size.scale = gtk_widget_get_scale_factor(GTK_WIDGET(entry));
    entry->loading = g_cancellable_new();
    esp_thumbnail_load(file, &size, entry->loading, on_loaded, g_object_ref(entry));
    return G_SOURCE_REMOVE;
}

static void update_picture(EspLibraryEntry *entry)
{
    if (entry->loading)
        g_cancellable_cancel(entry->loading);
    g_clear_object(&entry->loading);
    g_clear_handle_id(&entry->load_id, g_source_remove);
    entry->wants_picture = esp_library_item_get_screenshot(entry->item) != NULL;
    if (entry->wants_picture)
        gtk_widget_queue_draw(GTK_WIDGET(entry));
    else
        gtk_stack_set_visible_child_name(entry->thumbnail, "icon");
}

/* Only of what is seen, and after it was: with many machines the processors would have more to do for their
 * pictures than for the window. */
static gboolean esp_library_entry_draw(GtkWidget *widget, cairo_t *cr)
{
    EspLibraryEntry *entry = ESP_LIBRARY_ENTRY(widget);

    if (entry->wants_picture)
        entry->load_id = g_idle_add_full(G_PRIORITY_LOW, on_load, entry, NULL);
    entry->wants_picture = false;
    return GTK_WIDGET_CLASS(esp_library_entry_parent_class)->draw(widget, cr);
}

/* --- What it takes of this computer ------------------------------------------------------------- */

static void show_use(EspLibraryEntry *entry)
{
    g_autofree char *memory = g_format_size_full(entry->used.memory, G_FORMAT_SIZE_IEC_UNITS);
    /* Translators: what a running machine takes of this computer: "12 % CPU, 340.1 MiB". */
    g_autofree char *text = entry->used.cpu < 0
                                ? g_strdup(memory)
                                : g_strdup_printf(_("%.0f %% CPU, %s"), entry->used.cpu * 100, memory);

    gtk_label_set_text(entry->use, entry->used.memory ? text : "");
    gtk_widget_set_visible(GTK_WIDGET(entry->use), entry->used.memory != 0);
}

static gboolean on_use(gpointer data)
{
    EspLibraryEntry *entry = data;
    int pid = 0;

    esp_bundle_get_runner(esp_library_item_get_path(entry->item), &pid, NULL);
    esp_process_use_look(&entry->used, pid);
    show_use(entry);
    return G_SOURCE_CONTINUE;
}

static void watch_use(EspLibraryEntry *entry, bool on)
{
    if (on && !entry->use_id) {
        entry->use_id = g_timeout_add_seconds(USE_SECONDS, on_use, entry);
        on_use(entry);
    } else if (!on && entry->use_id) {
        g_clear_handle_id(&entry->use_id, g_source_remove);
        entry->used = (EspProcessUse){.cpu = -1};
        show_use(entry);
    }
}

/* --- Everything else ---------------------------------------------------------------------------- */

static void update_state(EspLibraryEntry *entry, VmcMachineState state, bool alive, bool crashed, bool held)
{
    GtkStyleContext *style = gtk_widget_get_style_context(GTK_WIDGET(entry->state));
    bool broken = esp_library_item_is_broken(entry->item);
    const char *words = alive     ? esp_state_words(state)
                        : held    ? _("In use")
                        : crashed ? _("Ended unexpectedly")
                        : broken  ? _("Cannot be used")
                                  : C_("state of a machine", "Off");

    gtk_label_set_text(entry->state, words);
    gtk_style_context_remove_class(style, "running");
    gtk_style_context_remove_class(style, "waiting");
    gtk_style_context_remove_class(style, "trouble");
    if (crashed || (broken && !alive) || (alive && state == VMC_MACHINE_ERROR))
        gtk_style_context_add_class(style, "trouble");
    else if (alive)
        gtk_style_context_add_class(style, state == VMC_MACHINE_RUNNING ? "running" : "waiting");
}

static void update_names(EspLibraryEntry *entry, bool alive, bool crashed)
{
    const char *name = esp_library_item_get_name(entry->item);
    const char *does = alive ? _("Show “%s”") : crashed ? _("See what happened to “%s”") : _("Start “%s”");
    g_autofree char *tip = g_strdup_printf(does, name);
    g_autofree char *more = g_strdup_printf(_("More for “%s”"), name);
    GtkWidget *child = gtk_widget_get_parent(GTK_WIDGET(entry));

    gtk_label_set_text(entry->name, name);
    gtk_widget_set_tooltip_text(GTK_WIDGET(entry->name), name);
    gtk_widget_set_tooltip_text(entry->open_button, tip);
    atk_object_set_name(entry->open_accessible, tip);
    atk_object_set_name(entry->menu_accessible, more);
    if (child)
        atk_object_set_name(gtk_widget_get_accessible(child), name);
}

static void update(EspLibraryEntry *entry, GParamSpec *pspec)
{
    const char *state_name = esp_library_item_get_state(entry->item);
    VmcMachineState state = esp_state_from_name(state_name);
    bool alive = state_name && state != VMC_MACHINE_STOPPED;
    bool crashed = esp_library_item_get_crashed(entry->item);
    bool held = !g_strcmp0(state_name, ESP_BUNDLE_STATE_HELD);

    update_names(entry, alive, crashed);
    gtk_label_set_text(entry->summary, esp_library_item_get_summary(entry->item));
    gtk_widget_set_tooltip_text(GTK_WIDGET(entry->summary), esp_library_item_get_summary(entry->item));
    update_state(entry, state, alive, crashed, held);
    gtk_image_set_from_icon_name(entry->open_image,
                                 alive || crashed ? "go-next-symbolic" : "media-playback-start-symbolic",
                                 GTK_ICON_SIZE_BUTTON);
    watch_use(entry, alive);
    if (!pspec || g_strcmp0(pspec->name, "screenshot") == 0)
        update_picture(entry);
}

static void on_open(EspLibraryEntry *entry)
{
    g_action_group_activate_action(entry->actions, "open", NULL);
}

static void on_menu(EspLibraryEntry *entry)
{
    esp_library_entry_popup(entry, NULL);
}

static gboolean on_menu_over(gpointer popover)
{
    gtk_widget_destroy(popover);
    return G_SOURCE_REMOVE;
}

/* The action that was chosen comes after this; and the machine may go, and its menu with it. */
static void on_menu_closed(GtkPopover *popover)
{
    g_idle_add_full(G_PRIORITY_LOW, on_menu_over, g_object_ref(popover), g_object_unref);
}

void esp_library_entry_popup(EspLibraryEntry *entry, const GdkRectangle *at)
{
    /* Made when it is wanted: fifty menus that nobody opens take their time. */
    g_autoptr(GMenuModel) model = esp_machine_actions_menu(entry->item);
    GtkWidget *menu = gtk_popover_new_from_model(at ? GTK_WIDGET(entry) : entry->menu_button, model);

    if (at)
        gtk_popover_set_pointing_to(GTK_POPOVER(menu), at);
    g_signal_connect(menu, "closed", G_CALLBACK(on_menu_closed), NULL);
    gtk_popover_popup(GTK_POPOVER(menu));
}

static void on_parent_set(EspLibraryEntry *entry)
{
    if (entry->item && gtk_widget_get_parent(GTK_WIDGET(entry)))
        update_names(entry,
                     esp_state_from_name(esp_library_item_get_state(entry->item)) != VMC_MACHINE_STOPPED,
                     esp_library_item_get_crashed(entry->item));
}

/* --- The widget --------------------------------------------------------------------------------- */

static void lay_out(EspLibraryEntry *entry)
{
    const EspThumbnailSize *size = entry->card ? &card_size : &row_size;

    gtk_orientable_set_orientation(GTK_ORIENTABLE(entry),
                                   entry->card ? GTK_ORIENTATION_VERTICAL : GTK_ORIENTATION_HORIZONTAL);
    gtk_box_set_spacing(GTK_BOX(entry), entry->card ? 6 : 18);
    gtk_widget_set_size_request(GTK_WIDGET(entry->thumbnail), size->width, size->height);
    gtk_widget_set_halign(GTK_WIDGET(entry->thumbnail), entry->card ? GTK_ALIGN_CENTER : GTK_ALIGN_START);
    gtk_label_set_lines(entry->summary, entry->card ? 2 : 3);
    gtk_widget_set_valign(GTK_WIDGET(entry->foot), entry->card ? GTK_ALIGN_END : GTK_ALIGN_CENTER);
    gtk_widget_set_valign(GTK_WIDGET(entry->text), entry->card ? GTK_ALIGN_START : GTK_ALIGN_CENTER);
    gtk_widget_set_vexpand(GTK_WIDGET(entry->text), entry->card);
    gtk_widget_set_hexpand(GTK_WIDGET(entry->state), entry->card);
    if (!entry->card)
        return;
    gtk_label_set_max_width_chars(entry->name, 20);
    gtk_label_set_max_width_chars(entry->summary, 20);
}

GtkWidget *esp_library_entry_new(EspLibraryItem *item, bool card, GActionGroup *actions)
{
    EspLibraryEntry *entry = g_object_new(ESP_TYPE_LIBRARY_ENTRY, NULL);

    entry->item = g_object_ref(item);
    entry->card = card;
    entry->actions = g_object_ref(actions);
    gtk_widget_insert_action_group(GTK_WIDGET(entry), "machine", actions);
    lay_out(entry);
    g_signal_connect_object(item, "notify", G_CALLBACK(update), entry, G_CONNECT_SWAPPED);
    g_signal_connect(entry, "parent-set", G_CALLBACK(on_parent_set), NULL);
    update(entry, NULL);
    return GTK_WIDGET(entry);
}

EspLibraryItem *esp_library_entry_get_item(EspLibraryEntry *entry)
{
    return entry->item;
}

GActionGroup *esp_library_entry_get_actions(EspLibraryEntry *entry)
{
    return entry->actions;
}

EspLibraryEntry *esp_library_entry_in(GtkWidget *child)
{
    GtkWidget *inside = child && GTK_IS_BIN(child) ? gtk_bin_get_child(GTK_BIN(child)) : NULL;

    return ESP_IS_LIBRARY_ENTRY(inside) ? ESP_LIBRARY_ENTRY(inside) : NULL;
}

static void esp_library_entry_dispose(GObject *object)
{
    EspLibraryEntry *entry = ESP_LIBRARY_ENTRY(object);

    if (entry->loading)
        g_cancellable_cancel(entry->loading);
    g_clear_object(&entry->loading);
    g_clear_handle_id(&entry->use_id, g_source_remove);
    g_clear_handle_id(&entry->load_id, g_source_remove);
    if (entry->item)
        g_signal_handlers_disconnect_by_data(entry->item, entry);
    g_clear_object(&entry->item);
    g_clear_object(&entry->actions);
    G_OBJECT_CLASS(esp_library_entry_parent_class)->dispose(object);
}

static void esp_library_entry_class_init(EspLibraryEntryClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);

    G_OBJECT_CLASS(klass)->dispose = esp_library_entry_dispose;
    widget_class->draw = esp_library_entry_draw;
    gtk_widget_class_set_template_from_resource(widget_class, "/org/espalier/Espalier/library-entry.ui");
    gtk_widget_class_bind_template_child(widget_class, EspLibraryEntry, thumbnail);
    gtk_widget_class_bind_template_child(widget_class, EspLibraryEntry, picture);
    gtk_widget_class_bind_template_child(widget_class, EspLibraryEntry, text);
    gtk_widget_class_bind_template_child(widget_class, EspLibraryEntry, foot);
    gtk_widget_class_bind_template_child(widget_class, EspLibraryEntry, name);
    gtk_widget_class_bind_template_child(widget_class, EspLibraryEntry, summary);
    gtk_widget_class_bind_template_child(widget_class, EspLibraryEntry, state);
    gtk_widget_class_bind_template_child(widget_class, EspLibraryEntry, use);
    gtk_widget_class_bind_template_child(widget_class, EspLibraryEntry, open_button);
    gtk_widget_class_bind_template_child(widget_class, EspLibraryEntry, open_accessible);
    gtk_widget_class_bind_template_child(widget_class, EspLibraryEntry, open_image);
    gtk_widget_class_bind_template_child(widget_class, EspLibraryEntry, menu_button);
    gtk_widget_class_bind_template_child(widget_class, EspLibraryEntry, menu_accessible);
    gtk_widget_class_bind_template_callback(widget_class, on_open);
    gtk_widget_class_bind_template_callback(widget_class, on_menu);
}

static void esp_library_entry_init(EspLibraryEntry *entry)
{
    entry->used.cpu = -1;
    gtk_widget_init_template(GTK_WIDGET(entry));
}
