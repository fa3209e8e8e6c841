/*
 * Serial consoles in tabs (see vm_consoles.h). A terminal is VTE's, without a pseudo terminal: the guest has
 * its own at the other end of the line.
 */
#include "ui/vm_consoles.h"

#include <glib/gi18n.h>
#include <string.h>
#include <vte/vte.h>

#define SCROLLBACK 10000

typedef struct Console {
    EspVmConsoles *consoles;
    unsigned line;
    GtkWidget *page;
    VteTerminal *terminal;
} Console;

struct EspVmConsoles {
    EspVmWindow *window;
    GtkStack *views;
    GtkRevealer *tabs;
    EspSerialLines *lines; /* or NULL */
    VmcMachine *machine;
    gulong data_id;
    GPtrArray *list; /* of Console * */
};

/* ---- a terminal ---- */

static void on_commit(Console *console, const char *text, guint length)
{
    if (console->consoles->lines)
        esp_serial_lines_send(console->consoles->lines, console->line, text, length);
}

static void tell_size(Console *console)
{
    EspVmConsoles *consoles = console->consoles;
    int number = consoles->lines ? esp_serial_lines_get_console(consoles->lines, console->line) : -1;

    if (number >= 0 && consoles->machine && gtk_widget_get_mapped(GTK_WIDGET(console->terminal)))
        vmc_machine_set_console_size(consoles->machine, (unsigned)number,
                                     (unsigned)vte_terminal_get_column_count(console->terminal),
                                     (unsigned)vte_terminal_get_row_count(console->terminal));
}

/* Ctrl+C is the guest's; copying takes Shift as well, as in every terminal. */
static gboolean on_key(Console *console, GdkEventKey *event)
{
    guint modifiers = event->state & gtk_accelerator_get_default_mod_mask();

    if (modifiers != (GDK_CONTROL_MASK | GDK_SHIFT_MASK))
        return GDK_EVENT_PROPAGATE;
    switch (gdk_keyval_to_lower(event->keyval)) {
    case GDK_KEY_c:
        vte_terminal_copy_clipboard_format(console->terminal, VTE_FORMAT_TEXT);
        return GDK_EVENT_STOP;
    case GDK_KEY_v:
        vte_terminal_paste_clipboard(console->terminal);
        return GDK_EVENT_STOP;
    default:
        return GDK_EVENT_PROPAGATE;
    }
}

static void on_copy(VteTerminal *terminal)
{
    vte_terminal_copy_clipboard_format(terminal, VTE_FORMAT_TEXT);
}

static void add_menu_item(GtkWidget *menu, const char *label, GCallback func, Console *console,
                          bool sensitive)
{
    GtkWidget *item = gtk_menu_item_new_with_mnemonic(label);

    gtk_widget_set_sensitive(item, sensitive);
    g_signal_connect_object(item, "activate", func, console->terminal, G_CONNECT_SWAPPED);
    gtk_menu_shell_append(GTK_MENU_SHELL(menu), item);
    gtk_widget_show(item);
}

static void pop_up_menu(Console *console, const GdkEvent *event)
{
    GtkWidget *menu = gtk_menu_new();

    gtk_menu_attach_to_widget(GTK_MENU(menu), GTK_WIDGET(console->terminal), NULL);
    add_menu_item(menu, _("_Copy"), G_CALLBACK(on_copy), console,
                  vte_terminal_get_has_selection(console->terminal));
    add_menu_item(menu, _("_Paste"), G_CALLBACK(vte_terminal_paste_clipboard), console, true);
    add_menu_item(menu, _("Select _All"), G_CALLBACK(vte_terminal_select_all), console, true);
    g_signal_connect(menu, "selection-done", G_CALLBACK(gtk_widget_destroy), NULL);
    if (event)
        gtk_menu_popup_at_pointer(GTK_MENU(menu), event);
    else
        gtk_menu_popup_at_widget(GTK_MENU(menu), GTK_WIDGET(console->terminal), GDK_GRAVITY_CENTER,
                                 GDK_GRAVITY_CENTER, NULL);
}

static gboolean on_button(Console *console, GdkEventButton *event)
{
    if (!gdk_event_triggers_context_menu((GdkEvent *)event))
        return GDK_EVENT_PROPAGATE;
    pop_up_menu(console, (GdkEvent *)event);
    return GDK_EVENT_STOP;
}

static gboolean on_popup_menu(Console *console)
{
    pop_up_menu(console, NULL);
    return TRUE;
}

/* What a guest writes is not to be trusted: no links, no bell, no resizing. */
static VteTerminal *make_terminal(Console *console)
{
    VteTerminal *terminal = VTE_TERMINAL(vte_terminal_new());

    vte_terminal_set_scrollback_lines(terminal, SCROLLBACK);
    vte_terminal_set_audible_bell(terminal, FALSE);
    vte_terminal_set_allow_hyperlink(terminal, FALSE);
    vte_terminal_set_scroll_on_keystroke(terminal, TRUE);
    vte_terminal_set_scroll_on_output(terminal, FALSE);
    vte_terminal_set_mouse_autohide(terminal, TRUE);
    g_signal_connect_swapped(terminal, "commit", G_CALLBACK(on_commit), console);
    g_signal_connect_swapped(terminal, "key-press-event", G_CALLBACK(on_key), console);
    g_signal_connect_swapped(terminal, "button-press-event", G_CALLBACK(on_button), console);
    g_signal_connect_swapped(terminal, "popup-menu", G_CALLBACK(on_popup_menu), console);
    g_signal_connect_data(terminal, "size-allocate", G_CALLBACK(tell_size), console, NULL,
                          G_CONNECT_AFTER | G_CONNECT_SWAPPED);
    g_signal_connect_data(terminal, "map", G_CALLBACK(tell_size), console, NULL,
                          G_CONNECT_AFTER | G_CONNECT_SWAPPED);
    return terminal;
}

/* ---- the tabs ---- */

static void feed(VteTerminal *terminal, GBytes *bytes)
{
    gsize length = 0;
    const char *data = g_bytes_get_data(bytes, &length);

    vte_terminal_feed(terminal, data, (gssize)length);
}

static void add_console(EspVmConsoles *consoles, unsigned line)
{
    const char *name = esp_serial_lines_get_name(consoles->lines, line);
    bool serial = g_str_has_prefix(name, "ttyS");
    /* Translators: a tab with a serial port's terminal, and what the guest calls the port. */
    g_autofree char *title =
        serial ? g_strdup_printf(_("Serial Port (%s)"), name)
               /* Translators: a tab with a console's terminal, and what the guest calls it. */
               : g_strdup_printf(_("Console (%s)"), name);
    g_autoptr(GBytes) history = esp_serial_lines_get_history(consoles->lines, line);
    Console *console = g_new0(Console, 1);

    console->consoles = consoles;
    console->line = line;
    console->terminal = make_terminal(console);
    atk_object_set_name(gtk_widget_get_accessible(GTK_WIDGET(console->terminal)), title);
    console->page =
        gtk_scrolled_window_new(NULL, gtk_scrollable_get_vadjustment(GTK_SCROLLABLE(console->terminal)));
    gtk_scrolled_window_set_policy(GTK_SCROLLED_WINDOW(console->page), GTK_POLICY_NEVER, GTK_POLICY_ALWAYS);
    gtk_container_add(GTK_CONTAINER(console->page), GTK_WIDGET(console->terminal));
    gtk_widget_show_all(console->page);
    gtk_stack_add_titled(consoles->views, console->page, name, title);
    g_ptr_array_add(consoles->list, console);
    feed(console->terminal, history);
}

static void remove_console(gpointer data)
{
    Console *console = data;

    g_signal_handlers_disconnect_by_data(console->terminal, console);
    gtk_widget_destroy(console->page);
    g_free(console);
}

static void on_data(EspVmConsoles *consoles, guint line, GBytes *bytes)
{
    if (line < consoles->list->len)
        feed(((Console *)consoles->list->pdata[line])->terminal, bytes);
}

static GSimpleAction *action_of(EspVmConsoles *consoles)
{
    return G_SIMPLE_ACTION(g_action_map_lookup_action(G_ACTION_MAP(consoles->window), "consoles"));
}

static void show_tabs(EspVmConsoles *consoles, bool show)
{
    show = show && consoles->list->len;
    g_simple_action_set_state(action_of(consoles), g_variant_new_boolean(show));
    gtk_revealer_set_reveal_child(consoles->tabs, show);
    if (!show) {
        gtk_stack_set_visible_child_name(consoles->views, "screen");
        return;
    }
    Console *first = consoles->list->pdata[0];
    gtk_stack_set_visible_child(consoles->views, first->page);
    gtk_widget_grab_focus(GTK_WIDGET(first->terminal));
}

void esp_vm_consoles_set_lines(EspVmConsoles *consoles, EspSerialLines *lines, VmcMachine *machine)
{
    bool shown = gtk_revealer_get_reveal_child(consoles->tabs);

    if (consoles->lines)
        g_clear_signal_handler(&consoles->data_id, consoles->lines);
    g_set_object(&consoles->lines, lines);
    consoles->machine = machine;
    if (!lines)
        return; /* the last words stay to be read */
    gtk_stack_set_visible_child_name(consoles->views, "screen");
    g_ptr_array_set_size(consoles->list, 0);
    for (unsigned i = 0; i < esp_serial_lines_get_n(lines); i++)
        add_console(consoles, i);
    consoles->data_id = g_signal_connect_swapped(lines, "data", G_CALLBACK(on_data), consoles);
    g_simple_action_set_enabled(action_of(consoles), consoles->list->len > 0);
    show_tabs(consoles, shown);
}

static void on_consoles(GSimpleAction *action, GVariant *value, gpointer data)
{
    EspVmConsoles *consoles = data;

    show_tabs(consoles, g_variant_get_boolean(value));
    if (!g_variant_get_boolean(value))
        gtk_widget_grab_focus(GTK_WIDGET(esp_vm_window_get_view(consoles->window)));
}

static void on_visible_child(EspVmConsoles *consoles)
{
    GtkWidget *page = gtk_stack_get_visible_child(consoles->views);

    for (guint i = 0; i < consoles->list->len; i++) {
        Console *console = consoles->list->pdata[i];
        if (console->page == page)
            gtk_widget_grab_focus(GTK_WIDGET(console->terminal));
    }
}

bool esp_vm_consoles_has_focus(EspVmWindow *window)
{
    GtkWidget *focus = gtk_window_get_focus(GTK_WINDOW(window));

    return focus && VTE_IS_TERMINAL(focus);
}

void esp_vm_consoles_install(EspVmConsoles *consoles)
{
    static const GActionEntry actions[] = {
        {.name = "consoles", .state = "false", .change_state = on_consoles}};

    g_action_map_add_action_entries(G_ACTION_MAP(consoles->window), actions, G_N_ELEMENTS(actions), consoles);
    g_simple_action_set_enabled(action_of(consoles), FALSE);
}

EspVmConsoles *esp_vm_consoles_new(EspVmWindow *window, GtkStack *views, GtkRevealer *tabs)
{
    EspVmConsoles *consoles = g_new0(EspVmConsoles, 1);

    consoles->window = window;
    consoles->views = views;
    consoles->tabs = tabs;
    consoles->list = g_ptr_array_new_with_free_func(remove_console);
    g_signal_connect_swapped(views, "notify::visible-child", G_CALLBACK(on_visible_child), consoles);
    return consoles;
}

void esp_vm_consoles_free(EspVmConsoles *consoles)
{
    if (!consoles)
        return;
    g_signal_handlers_disconnect_by_data(consoles->views, consoles);
    esp_vm_consoles_set_lines(consoles, NULL, NULL);
    g_ptr_array_unref(consoles->list);
    g_free(consoles);
}
