/* The machines of the library as cards or as a list (see library_view.h). */
#include "ui/library_view.h"

#include <glib/gi18n.h>

#include "ui/library_entry.h"

struct _EspLibraryView {
    GtkStack parent_instance;
    GtkFlowBox *cards;
    GtkListBox *list;
    const EspMachineHost *host;
    GListModel *model;
    bool as_cards;
};

G_DEFINE_TYPE(EspLibraryView, esp_library_view, GTK_TYPE_STACK)

static GtkWidget *make_entry(EspLibraryView *view, EspLibraryItem *item, bool card)
{
    GActionGroup *actions = esp_machine_actions_new(view->host, item);
    GtkWidget *entry = esp_library_entry_new(item, card, actions);

    g_object_unref(actions);
    return entry;
}

static GtkWidget *make_card(gpointer item, gpointer data)
{
    return make_entry(data, item, true);
}

static GtkWidget *make_row(gpointer item, gpointer data)
{
    return make_entry(data, item, false);
}

/* Only what is seen is made. */
static void bind(EspLibraryView *view)
{
    if (!view->model)
        return;
    gtk_flow_box_bind_model(view->cards, view->as_cards ? view->model : NULL, make_card, view, NULL);
    gtk_list_box_bind_model(view->list, view->as_cards ? NULL : view->model, make_row, view, NULL);
    gtk_stack_set_visible_child_name(GTK_STACK(view), view->as_cards ? "cards" : "list");
}

void esp_library_view_show(EspLibraryView *view, const EspMachineHost *host, GListModel *model)
{
    view->host = host;
    g_set_object(&view->model, model);
    bind(view);
}

void esp_library_view_set_cards(EspLibraryView *view, bool cards)
{
    if (view->as_cards == cards)
        return;
    view->as_cards = cards;
    bind(view);
}

/* --- What the user does --------------------------------------------------------------------------- */

static void act(GtkWidget *child, const char *action)
{
    EspLibraryEntry *entry = esp_library_entry_in(child);

    if (entry)
        g_action_group_activate_action(esp_library_entry_get_actions(entry), action, NULL);
}

static void on_card_activated(EspLibraryView *view, GtkFlowBoxChild *child)
{
    act(GTK_WIDGET(child), "open");
}

static void on_row_activated(EspLibraryView *view, GtkListBoxRow *row)
{
    act(GTK_WIDGET(row), "open");
}

/* The child with the focus in it, or NULL. */
static GtkWidget *focused(EspLibraryView *view)
{
    GtkWidget *box = view->as_cards ? GTK_WIDGET(view->cards) : GTK_WIDGET(view->list);
    GtkWidget *window = gtk_widget_get_toplevel(box);
    GtkWidget *at = GTK_IS_WINDOW(window) ? gtk_window_get_focus(GTK_WINDOW(window)) : NULL;

    while (at && gtk_widget_get_parent(at) != box)
        at = gtk_widget_get_parent(at);
    return at;
}

static gboolean on_popup_menu(GtkWidget *widget)
{
    EspLibraryEntry *entry = esp_library_entry_in(focused(ESP_LIBRARY_VIEW(widget)));

    if (entry)
        esp_library_entry_popup(entry, NULL);
    return entry != NULL;
}

static gboolean on_key_press(GtkWidget *widget, GdkEventKey *event)
{
    GtkWidget *child = focused(ESP_LIBRARY_VIEW(widget));
    const char *action = event->keyval == GDK_KEY_Delete || event->keyval == GDK_KEY_KP_Delete ? "trash"
                         : event->keyval == GDK_KEY_F2                                         ? "rename"
                                                                                               : NULL;

    if (!child || !action || (event->state & gtk_accelerator_get_default_mod_mask()))
        return GTK_WIDGET_CLASS(esp_library_view_parent_class)->key_press_event(widget, event);
    act(child, action);
    return GDK_EVENT_STOP;
}

static GtkWidget *child_at(EspLibraryView *view, int x, int y)
{
    return view->as_cards ? GTK_WIDGET(gtk_flow_box_get_child_at_pos(view->cards, x, y))
                          : GTK_WIDGET(gtk_list_box_get_row_at_y(view->list, y));
}

static gboolean on_button_press(EspLibraryView *view, GdkEventButton *event, GtkWidget *box)
{
    GtkWidget *child = NULL;
    EspLibraryEntry *entry;
    GdkRectangle at = {.width = 1, .height = 1};

    /* Coordinates of buttons within are their own. */
    if (gdk_event_triggers_context_menu((GdkEvent *)event) && event->window == gtk_widget_get_window(box))
        child = child_at(view, (int)event->x, (int)event->y);
    else if (gdk_event_triggers_context_menu((GdkEvent *)event)) {
        GtkWidget *under = gtk_get_event_widget((GdkEvent *)event);
        while (under && gtk_widget_get_parent(under) != box)
            under = gtk_widget_get_parent(under);
        child = under;
    }
    entry = esp_library_entry_in(child);
    if (!entry)
        return GDK_EVENT_PROPAGATE;
    gtk_widget_grab_focus(child);
    if (event->window == gtk_widget_get_window(box))
        gtk_widget_translate_coordinates(box, GTK_WIDGET(entry), (int)event->x, (int)event->y, &at.x, &at.y);
    else
        gtk_widget_translate_coordinates(child, GTK_WIDGET(entry), (int)event->x, (int)event->y, &at.x,
                                         &at.y);
    esp_library_entry_popup(entry, &at);
    return GDK_EVENT_STOP;
}

/* --- The widget ----------------------------------------------------------------------------------- */

static void esp_library_view_dispose(GObject *object)
{
    EspLibraryView *view = ESP_LIBRARY_VIEW(object);

    if (view->model && view->cards) {
        gtk_flow_box_bind_model(view->cards, NULL, NULL, NULL, NULL);
        gtk_list_box_bind_model(view->list, NULL, NULL, NULL, NULL);
        view->cards = NULL;
    }
    g_clear_object(&view->model);
    G_OBJECT_CLASS(esp_library_view_parent_class)->dispose(object);
}

static void esp_library_view_class_init(EspLibraryViewClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);

    G_OBJECT_CLASS(klass)->dispose = esp_library_view_dispose;
    widget_class->popup_menu = on_popup_menu;
    widget_class->key_press_event = on_key_press;
    gtk_widget_class_set_template_from_resource(widget_class, "/org/espalier/Espalier/library-view.ui");
    gtk_widget_class_bind_template_child(widget_class, EspLibraryView, cards);
    gtk_widget_class_bind_template_child(widget_class, EspLibraryView, list);
    gtk_widget_class_bind_template_callback(widget_class, on_card_activated);
    gtk_widget_class_bind_template_callback(widget_class, on_row_activated);
    gtk_widget_class_bind_template_callback(widget_class, on_button_press);
}

static void esp_library_view_init(EspLibraryView *view)
{
    view->as_cards = true;
    gtk_widget_init_template(GTK_WIDGET(view));
}
