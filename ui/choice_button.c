/* A button that opens a long list with a search (see choice_button.h). Rows are made when it first opens. */
#include "ui/choice_button.h"

#include <glib/gi18n.h>
#include <string.h>

#include "ui/container.h"

struct _EspChoiceButton {
    GtkMenuButton parent_instance;
    GPtrArray *choices;
    char *active;
    char *words; /* searched for, folded */
    bool filled;
    GtkLabel *label;
    GtkPopover *popover;
    GtkSearchEntry *search;
    GtkScrolledWindow *scroller;
    GtkListBox *list;
};

G_DEFINE_TYPE(EspChoiceButton, esp_choice_button, GTK_TYPE_MENU_BUTTON)

enum { CHANGED, N_SIGNALS };
static guint signals[N_SIGNALS];

static const EspChoice *choice_of(GtkListBoxRow *row)
{
    return g_object_get_data(G_OBJECT(row), "choice");
}

/* Folded without accents, so that "zurich" finds Zürich. */
static char *fold(const char *text)
{
    g_autofree char *normal = g_utf8_normalize(text, -1, G_NORMALIZE_ALL);
    g_autofree char *folded = g_utf8_casefold(normal ? normal : text, -1);
    GString *plain = g_string_new(NULL);

    for (const char *p = folded; *p; p = g_utf8_next_char(p))
        if (!g_unichar_ismark(g_utf8_get_char(p)))
            g_string_append_unichar(plain, g_utf8_get_char(p));
    return g_string_free(plain, FALSE);
}

static gboolean is_wanted(GtkListBoxRow *row, gpointer data)
{
    EspChoiceButton *button = data;
    const EspChoice *choice = choice_of(row);

    if (!button->words || !*button->words)
        return TRUE;
    g_autofree char *name = fold(choice->name);
    g_autofree char *id = fold(choice->id);
    return strstr(name, button->words) || strstr(id, button->words);
}

static void show_active(EspChoiceButton *button)
{
    const EspChoice *choice = button->choices ? esp_choices_find(button->choices, button->active) : NULL;
    const char *text;

    /* Translators: on a button that opens a list, while nothing of it is chosen. */
    text = choice ? choice->name : button->active ? button->active : _("Choose…");
    gtk_label_set_text(button->label, text);
    /* As of a combo box: what is chosen is its name, and the label beside it says of what. */
    atk_object_set_name(gtk_widget_get_accessible(GTK_WIDGET(button)), text);
}

static void fill(EspChoiceButton *button)
{
    if (button->filled || !button->choices)
        return;
    button->filled = true;
    for (guint i = 0; i < button->choices->len; i++) {
        EspChoice *choice = button->choices->pdata[i];
        GtkWidget *row = gtk_list_box_row_new(), *label = gtk_label_new(choice->name);
        gtk_label_set_xalign(GTK_LABEL(label), 0);
        gtk_label_set_ellipsize(GTK_LABEL(label), PANGO_ELLIPSIZE_END);
        gtk_container_add(GTK_CONTAINER(row), label);
        g_object_set_data(G_OBJECT(row), "choice", choice);
        atk_object_set_name(gtk_widget_get_accessible(row), choice->name);
        gtk_widget_show_all(row);
        gtk_list_box_insert(button->list, row, -1);
    }
}

static GtkListBoxRow *find_row(EspChoiceButton *button, gboolean (*wanted)(GtkListBoxRow *, gpointer))
{
    GtkListBoxRow *row;

    for (int i = 0; (row = gtk_list_box_get_row_at_index(button->list, i)); i++)
        if (wanted(row, button))
            return row;
    return NULL;
}

static gboolean is_active(GtkListBoxRow *row, gpointer data)
{
    return !g_strcmp0(choice_of(row)->id, ((EspChoiceButton *)data)->active);
}

/* The chosen row is brought into view once the list has its size. */
static gboolean reveal(gpointer data)
{
    EspChoiceButton *button = data;
    GtkListBoxRow *row = gtk_list_box_get_selected_row(button->list);
    GtkAdjustment *adjustment = gtk_scrolled_window_get_vadjustment(button->scroller);
    int y;

    if (row && gtk_widget_translate_coordinates(GTK_WIDGET(row), GTK_WIDGET(button->list), 0, 0, NULL, &y))
        gtk_adjustment_set_value(adjustment, y - gtk_adjustment_get_page_size(adjustment) / 2);
    return G_SOURCE_REMOVE;
}

static void on_open(EspChoiceButton *button)
{
    if (!gtk_toggle_button_get_active(GTK_TOGGLE_BUTTON(button)))
        return;
    fill(button);
    gtk_entry_set_text(GTK_ENTRY(button->search), "");
    gtk_list_box_select_row(button->list, find_row(button, is_active));
    gtk_widget_grab_focus(GTK_WIDGET(button->search));
    g_idle_add_full(G_PRIORITY_LOW, reveal, g_object_ref(button), g_object_unref);
}

static void on_search(EspChoiceButton *button)
{
    g_free(button->words);
    button->words = fold(gtk_entry_get_text(GTK_ENTRY(button->search)));
    gtk_list_box_invalidate_filter(button->list);
}

static void choose(EspChoiceButton *button, GtkListBoxRow *row)
{
    g_autofree char *id = g_strdup(choice_of(row)->id);
    bool other = g_strcmp0(id, button->active) != 0;

    gtk_popover_popdown(button->popover);
    esp_choice_button_set_active(button, id);
    if (other)
        g_signal_emit(button, signals[CHANGED], 0);
}

/* Enter takes the first that was found. */
static void on_enter(EspChoiceButton *button)
{
    GtkListBoxRow *row = find_row(button, is_wanted);

    if (row)
        choose(button, row);
}

void esp_choice_button_set_choices(EspChoiceButton *button, GPtrArray *choices)
{
    esp_container_empty(GTK_CONTAINER(button->list));
    if (button->choices)
        g_ptr_array_unref(button->choices);
    button->choices = g_ptr_array_ref(choices);
    button->filled = false;
    show_active(button);
}

void esp_choice_button_set_active(EspChoiceButton *button, const char *id)
{
    char *copy = g_strdup(id);

    g_free(button->active);
    button->active = copy;
    show_active(button);
}

const char *esp_choice_button_get_active(EspChoiceButton *button)
{
    return button->active;
}

static void esp_choice_button_finalize(GObject *object)
{
    EspChoiceButton *button = ESP_CHOICE_BUTTON(object);

    g_clear_pointer(&button->choices, g_ptr_array_unref);
    g_free(button->active);
    g_free(button->words);
    G_OBJECT_CLASS(esp_choice_button_parent_class)->finalize(object);
}

static void esp_choice_button_class_init(EspChoiceButtonClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);

    G_OBJECT_CLASS(klass)->finalize = esp_choice_button_finalize;
    signals[CHANGED] = g_signal_new("changed", G_TYPE_FROM_CLASS(klass), G_SIGNAL_RUN_LAST, 0, NULL, NULL,
                                    NULL, G_TYPE_NONE, 0);
    gtk_widget_class_set_template_from_resource(widget_class, "/org/espalier/Espalier/choice-button.ui");
    gtk_widget_class_bind_template_child(widget_class, EspChoiceButton, label);
    gtk_widget_class_bind_template_child(widget_class, EspChoiceButton, popover);
    gtk_widget_class_bind_template_child(widget_class, EspChoiceButton, search);
    gtk_widget_class_bind_template_child(widget_class, EspChoiceButton, scroller);
    gtk_widget_class_bind_template_child(widget_class, EspChoiceButton, list);
    gtk_widget_class_bind_template_callback(widget_class, on_open);
    gtk_widget_class_bind_template_callback(widget_class, on_search);
    gtk_widget_class_bind_template_callback(widget_class, on_enter);
    gtk_widget_class_bind_template_callback(widget_class, choose);
}

static void esp_choice_button_init(EspChoiceButton *button)
{
    gtk_widget_init_template(GTK_WIDGET(button));
    gtk_list_box_set_filter_func(button->list, is_wanted, button, NULL);
    show_active(button);
}
