/*
 * Paste as typing (see vm_typing.h). The layout is that of the machine's region; making its table reads
 * files, so that and the strokes are made on a thread. What the layout has no keys for is said before
 * anything is typed.
 */
#include "ui/vm_typing.h"

#include <glib/gi18n.h>

#include "app/key_text.h"
#include "ui/vm_actions.h"

#define TEXT_MAX 20000 /* characters: beyond that typing takes a quarter of an hour */

typedef struct Typing {
    char *text;
    char *bundle;
    bool cut; /* the text was longer */
    GArray *strokes;
    GString *missing;
} Typing;

static void typing_free(gpointer data)
{
    Typing *typing = data;

    g_free(typing->text);
    g_free(typing->bundle);
    g_array_unref(typing->strokes);
    g_string_free(typing->missing, TRUE);
    g_free(typing);
}

static void make_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    Typing *typing = data;
    EspMachineInfo info = {0};
    GError *error = NULL;
    g_autoptr(EspBundle) bundle = esp_bundle_open(typing->bundle, NULL);

    if (bundle)
        esp_bundle_get_info(bundle, &info, NULL);
    g_autoptr(EspKeyLayout) layout =
        esp_key_layout_new(info.region.keyboard_layout, info.region.keyboard_variant, &error);
    if (layout)
        esp_key_layout_type(layout, typing->text, typing->strokes, typing->missing);
    esp_machine_info_clear(&info);
    if (layout)
        g_task_return_boolean(task, TRUE);
    else
        g_task_return_error(task, error);
}

static void stop(gpointer data)
{
    esp_display_view_type(esp_vm_window_get_view(data), NULL, 0);
}

static void begin(EspVmWindow *window, const Typing *typing)
{
    EspDisplayView *view = esp_vm_window_get_view(window);

    if (!typing->strokes->len)
        return;
    esp_display_view_type(view, (const EspKeyStroke *)typing->strokes->data, typing->strokes->len);
    esp_toast_show(esp_vm_window_get_toast(window), _("The text on the clipboard is being typed."),
                   _("_Stop"), G_CALLBACK(stop), g_object_ref(window), g_object_unref);
    gtk_widget_grab_focus(GTK_WIDGET(view));
}

static void on_answer(GtkDialog *dialog, int response, gpointer data)
{
    EspVmWindow *window = data;
    g_autoptr(GTask) task = g_object_ref(g_object_get_data(G_OBJECT(dialog), "task"));

    gtk_widget_destroy(GTK_WIDGET(dialog));
    if (response == GTK_RESPONSE_ACCEPT && esp_vm_session_is_active(esp_vm_window_get_session(window)))
        begin(window, g_task_get_task_data(task));
}

/* The characters with spaces between them, and not too many of them. */
static char *list_characters(const char *characters)
{
    GString *list = g_string_new(NULL);
    unsigned n = 0;

    for (const char *at = characters; *at; at = g_utf8_next_char(at), n++) {
        gunichar character = g_utf8_get_char(at);
        if (n == 20)
            break;
        if (g_unichar_isgraph(character))
            g_string_append_printf(list, "%s%.*s", n ? " " : "", (int)(g_utf8_next_char(at) - at), at);
        else
            g_string_append_printf(list, "%sU+%04X", n ? " " : "", character);
    }
    if (n == 20)
        g_string_append(list, " …");
    return g_string_free(list, FALSE);
}

static void ask(EspVmWindow *window, GTask *task, const Typing *typing)
{
    GtkWidget *dialog = gtk_message_dialog_new(
        GTK_WINDOW(window), GTK_DIALOG_MODAL | GTK_DIALOG_DESTROY_WITH_PARENT, GTK_MESSAGE_WARNING,
        GTK_BUTTONS_NONE, "%s",
        typing->missing->len ? _("Not all of the text can be typed") : _("The text is too long to type"));
    g_autofree char *list = list_characters(typing->missing->str);
    g_autofree char *characters =
        typing->missing->len
            ? g_strdup_printf(_("The guest’s keyboard layout has no keys for these characters, which "
                                "would be left out: %s"),
                              list)
            : NULL;
    g_autofree char *length =
        typing->cut ? g_strdup_printf(ngettext("Only the first %d character would be typed.",
                                               "Only the first %d characters would be typed.", TEXT_MAX),
                                      TEXT_MAX)
                    : NULL;
    gtk_message_dialog_format_secondary_text(GTK_MESSAGE_DIALOG(dialog), "%s%s%s",
                                             characters ? characters : "", characters && length ? "\n" : "",
                                             length ? length : "");
    gtk_dialog_add_button(GTK_DIALOG(dialog), _("_Cancel"), GTK_RESPONSE_CANCEL);
    gtk_dialog_add_button(GTK_DIALOG(dialog), _("_Type the Rest"), GTK_RESPONSE_ACCEPT);
    gtk_dialog_set_default_response(GTK_DIALOG(dialog), GTK_RESPONSE_CANCEL);
    g_object_set_data_full(G_OBJECT(dialog), "task", g_object_ref(task), g_object_unref);
    g_signal_connect_object(dialog, "response", G_CALLBACK(on_answer), window, 0);
    gtk_widget_show(dialog);
}

static void on_made(GObject *source, GAsyncResult *result, gpointer data)
{
    EspVmWindow *window = ESP_VM_WINDOW(source);
    GTask *task = G_TASK(result);
    const Typing *typing = g_task_get_task_data(task);
    g_autoptr(GError) error = NULL;
    bool good = g_task_propagate_boolean(task, &error);

    if (!esp_vm_window_is_alive(window) ||
        esp_vm_session_get_state(esp_vm_window_get_session(window)) != VMC_MACHINE_RUNNING)
        return;
    if (!good)
        esp_vm_complain(window, _("The text cannot be typed"), error);
    else if (typing->missing->len || typing->cut)
        ask(window, task, typing);
    else
        begin(window, typing);
}

static void on_text(GtkClipboard *clipboard, const char *text, gpointer data)
{
    g_autoptr(EspVmWindow) window = data;

    if (!esp_vm_window_is_alive(window))
        return;
    if (!text || !*text) {
        esp_toast_show(esp_vm_window_get_toast(window), _("There is no text on the clipboard."), NULL, NULL,
                       NULL, NULL);
        return;
    }
    Typing *typing = g_new0(Typing, 1);
    typing->cut = g_utf8_strlen(text, -1) > TEXT_MAX;
    typing->text = typing->cut ? g_utf8_substring(text, 0, TEXT_MAX) : g_strdup(text);
    typing->bundle = g_strdup(esp_vm_session_get_path(esp_vm_window_get_session(window)));
    typing->strokes = g_array_new(FALSE, FALSE, sizeof(EspKeyStroke));
    typing->missing = g_string_new(NULL);
    g_autoptr(GTask) task = g_task_new(window, NULL, on_made, NULL);
    g_task_set_task_data(task, typing, typing_free);
    g_task_run_in_thread(task, make_thread);
}

static void on_paste(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    gtk_clipboard_request_text(gtk_widget_get_clipboard(data, GDK_SELECTION_CLIPBOARD), on_text,
                               g_object_ref(data));
}

void esp_vm_typing_install(EspVmWindow *window)
{
    static const GActionEntry actions[] = {{.name = "paste-typing", .activate = on_paste}};

    g_action_map_add_action_entries(G_ACTION_MAP(window), actions, G_N_ELEMENTS(actions), window);
}
