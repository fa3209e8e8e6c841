/* Two clipboards become one (see clipboard.h). */
#include "ui/clipboard.h"

#include <string.h>

#include "ui/clipboard_content.h"

struct EspClipboard {
    GtkClipboard *gtk;
    gulong changed_id;
    GObject *owner;  /* in whose name we have the host's clipboard */
    VmcAgent *agent; /* or NULL */
    bool focused, focus_only;

    /* From the guest. */
    unsigned announced; /* types that are still to be fetched */
    unsigned expected;  /* types that were asked for */
    EspClipContent *incoming;

    /* To the guest. */
    bool unseen;     /* the host's clipboard changed since it was last looked at */
    unsigned look;   /* number of the last look; answers to earlier ones count for nothing */
    bool png, gnome; /* which formats the host has for pictures and files */
};

#define IMAGES                                                                                               \
    (VMC_CLIP_BIT(VMC_CLIP_PNG) | VMC_CLIP_BIT(VMC_CLIP_BMP) | VMC_CLIP_BIT(VMC_CLIP_TIFF) |                 \
     VMC_CLIP_BIT(VMC_CLIP_JPEG))

static bool is_ours(EspClipboard *clipboard)
{
    return gtk_clipboard_get_owner(clipboard->gtk) == clipboard->owner;
}

/* ---- guest to host ---- */

static void drop_incoming(EspClipboard *clipboard)
{
    clipboard->announced = clipboard->expected = 0;
    g_clear_pointer(&clipboard->incoming, esp_clip_content_free);
}

static void publish(EspClipboard *clipboard)
{
    EspClipContent *content = g_steal_pointer(&clipboard->incoming);

    if (content && !esp_clip_content_is_empty(content))
        esp_clip_content_publish(content, clipboard->gtk, clipboard->owner);
    else
        esp_clip_content_free(content);
}

/* One picture is enough: the first of these that the guest has. */
static unsigned choose(unsigned types)
{
    static const VmcClipType order[] = {VMC_CLIP_PNG, VMC_CLIP_BMP, VMC_CLIP_TIFF, VMC_CLIP_JPEG};
    unsigned chosen = types & ~IMAGES;

    for (size_t i = 0; i < G_N_ELEMENTS(order) && !(chosen & IMAGES); i++)
        chosen |= types & VMC_CLIP_BIT(order[i]);
    return chosen;
}

static void fetch(EspClipboard *clipboard)
{
    unsigned types = choose(clipboard->announced);

    if (!clipboard->agent || !types || (clipboard->focus_only && !clipboard->focused))
        return;
    clipboard->announced = 0;
    clipboard->incoming = esp_clip_content_new();
    clipboard->expected = types;
    for (unsigned type = VMC_CLIP_TEXT; type < VMC_CLIP_TYPES; type++)
        if ((types & VMC_CLIP_BIT(type)) &&
            !vmc_agent_request(clipboard->agent, VMC_SELECTION_CLIPBOARD, (VmcClipType)type))
            clipboard->expected &= ~VMC_CLIP_BIT(type);
    if (!clipboard->expected)
        drop_incoming(clipboard);
}

void esp_clipboard_guest_has(EspClipboard *clipboard, unsigned types)
{
    drop_incoming(clipboard);
    clipboard->announced = types;
    clipboard->unseen = false; /* it is newer than what the host has */
    fetch(clipboard);
}

/* Takes a type off what is expected. False: nobody waits for it. */
static bool arrived(EspClipboard *clipboard, VmcClipType type)
{
    bool wanted = clipboard->expected & VMC_CLIP_BIT(type);

    clipboard->expected &= ~VMC_CLIP_BIT(type);
    return wanted && clipboard->incoming;
}

void esp_clipboard_guest_sent(EspClipboard *clipboard, VmcClipType type, GBytes *data)
{
    if (!arrived(clipboard, type))
        return;
    if (data)
        esp_clip_content_take(clipboard->incoming, type, data);
    if (!clipboard->expected)
        publish(clipboard);
}

void esp_clipboard_guest_sent_files(EspClipboard *clipboard, VmcFileAction action, const char *const *paths)
{
    if (!arrived(clipboard, VMC_CLIP_FILES))
        return;
    if (paths)
        esp_clip_content_take_files(clipboard->incoming, action, paths);
    if (!clipboard->expected)
        publish(clipboard);
}

void esp_clipboard_guest_released(EspClipboard *clipboard)
{
    drop_incoming(clipboard);
    if (is_ours(clipboard))
        gtk_clipboard_clear(clipboard->gtk);
}

/* ---- host to guest ---- */

/* A question to the host's clipboard that is on its way. */
typedef struct Question {
    EspClipboard *clipboard; /* a reference */
    unsigned look;
    VmcClipType type;
} Question;

static void clipboard_clear(void *data);

static Question *question_new(EspClipboard *clipboard, VmcClipType type)
{
    Question *question = g_new0(Question, 1);

    question->clipboard = g_rc_box_acquire(clipboard);
    question->look = clipboard->look;
    question->type = type;
    return question;
}

/* Whether the answer may still be used: the guest is there, and the window has the focus. */
static bool may_answer(const Question *question)
{
    return question->clipboard->agent && question->clipboard->focused;
}

static void question_free(Question *question)
{
    g_rc_box_release_full(question->clipboard, clipboard_clear);
    g_free(question);
}

static void send_bytes(EspClipboard *clipboard, VmcClipType type, GBytes *bytes)
{
    if (clipboard->agent)
        vmc_agent_send(clipboard->agent, VMC_SELECTION_CLIPBOARD, type, bytes);
}

static void on_targets(GtkClipboard *gtk, GdkAtom *targets, int n, gpointer data)
{
    Question *question = data;
    EspClipboard *clipboard = question->clipboard;

    if (may_answer(question) && question->look == clipboard->look && !is_ours(clipboard)) {
        unsigned types = targets && n > 0 ? esp_clip_types_of_targets(targets, n) : 0;
        clipboard->png = targets && esp_clip_has_target(targets, n, "image/png");
        clipboard->gnome = targets && esp_clip_has_target(targets, n, ESP_CLIP_GNOME_FILES);
        if (!types || !vmc_agent_grab(clipboard->agent, VMC_SELECTION_CLIPBOARD, types))
            vmc_agent_release(clipboard->agent, VMC_SELECTION_CLIPBOARD);
    }
    question_free(question);
}

static void look(EspClipboard *clipboard)
{
    if (!clipboard->unseen || !clipboard->focused || !clipboard->agent)
        return;
    clipboard->unseen = false;
    clipboard->look++;
    if (!is_ours(clipboard))
        gtk_clipboard_request_targets(clipboard->gtk, on_targets, question_new(clipboard, VMC_CLIP_NONE));
}

static void on_owner_change(EspClipboard *clipboard)
{
    if (is_ours(clipboard))
        return;
    drop_incoming(clipboard); /* what the host has now is newer */
    clipboard->unseen = true;
    look(clipboard);
}

static void on_text(GtkClipboard *gtk, const char *text, gpointer data)
{
    Question *question = data;
    g_autoptr(GBytes) bytes = text && may_answer(question) ? esp_clip_text_for_guest(text) : NULL;

    send_bytes(question->clipboard, VMC_CLIP_TEXT, bytes);
    question_free(question);
}

static void on_png(GtkClipboard *gtk, GtkSelectionData *selection, gpointer data)
{
    Question *question = data;
    int length = -1;
    const guchar *png = gtk_selection_data_get_data_with_length(selection, &length);
    g_autoptr(GBytes) bytes =
        png && length > 0 && may_answer(question) ? g_bytes_new(png, (gsize)length) : NULL;

    send_bytes(question->clipboard, VMC_CLIP_PNG, bytes);
    question_free(question);
}

static void on_encoded(GObject *source, GAsyncResult *result, gpointer data)
{
    Question *question = data;
    g_autoptr(GBytes) bytes = g_task_propagate_pointer(G_TASK(result), NULL);

    send_bytes(question->clipboard, VMC_CLIP_PNG, may_answer(question) ? bytes : NULL);
    question_free(question);
}

static void on_image(GtkClipboard *gtk, GdkPixbuf *picture, gpointer data)
{
    Question *question = data;

    if (picture && may_answer(question)) {
        esp_clip_encode_png(picture, on_encoded, question);
        return;
    }
    send_bytes(question->clipboard, VMC_CLIP_PNG, NULL);
    question_free(question);
}

static void on_files(GtkClipboard *gtk, GtkSelectionData *selection, gpointer data)
{
    Question *question = data;
    VmcFileAction action = VMC_FILES_COPY;
    g_auto(GStrv) paths = may_answer(question) ? esp_clip_paths_of_selection(selection, &action) : NULL;

    /* On errors the agent tells the guest by itself that there is nothing. */
    if (paths)
        vmc_agent_send_files(question->clipboard->agent, VMC_SELECTION_CLIPBOARD, action,
                             (const char *const *)paths, NULL);
    else
        send_bytes(question->clipboard, VMC_CLIP_FILES, NULL);
    question_free(question);
}

void esp_clipboard_guest_wants(EspClipboard *clipboard, VmcClipType type)
{
    GtkClipboard *gtk = clipboard->gtk;
    bool may = clipboard->agent && clipboard->focused && !is_ours(clipboard);

    if (may && type == VMC_CLIP_TEXT)
        gtk_clipboard_request_text(gtk, on_text, question_new(clipboard, type));
    else if (may && type == VMC_CLIP_PNG && clipboard->png)
        gtk_clipboard_request_contents(gtk, gdk_atom_intern_static_string("image/png"), on_png,
                                       question_new(clipboard, type));
    else if (may && type == VMC_CLIP_PNG)
        gtk_clipboard_request_image(gtk, on_image, question_new(clipboard, type));
    else if (may && type == VMC_CLIP_FILES)
        gtk_clipboard_request_contents(
            gtk, gdk_atom_intern_static_string(clipboard->gnome ? ESP_CLIP_GNOME_FILES : ESP_CLIP_URI_LIST),
            on_files, question_new(clipboard, type));
    else
        send_bytes(clipboard, type, NULL);
}

/* ---- lifecycle ---- */

EspClipboard *esp_clipboard_new(GtkClipboard *gtk)
{
    EspClipboard *clipboard = g_rc_box_new0(EspClipboard);

    clipboard->gtk = gtk;
    clipboard->owner = g_object_new(G_TYPE_OBJECT, NULL);
    clipboard->unseen = true;
    clipboard->changed_id =
        g_signal_connect_swapped(gtk, "owner-change", G_CALLBACK(on_owner_change), clipboard);
    return clipboard;
}

static void clipboard_clear(void *data)
{
    EspClipboard *clipboard = data;

    esp_clip_content_free(clipboard->incoming);
    g_object_unref(clipboard->owner);
}

void esp_clipboard_free(EspClipboard *clipboard)
{
    if (!clipboard)
        return;
    esp_clipboard_set_agent(clipboard, NULL);
    g_signal_handler_disconnect(clipboard->gtk, clipboard->changed_id);
    g_rc_box_release_full(clipboard, clipboard_clear);
}

void esp_clipboard_set_agent(EspClipboard *clipboard, VmcAgent *agent)
{
    drop_incoming(clipboard);
    clipboard->agent = agent;
    clipboard->unseen = true;
    look(clipboard);
}

void esp_clipboard_set_focused(EspClipboard *clipboard, bool focused)
{
    if (clipboard->focused == focused)
        return;
    clipboard->focused = focused;
    if (!focused)
        return;
    /* What the guest copied meanwhile is newer only if it is still wanted: it was announced after the host's.
     */
    if (clipboard->announced)
        fetch(clipboard);
    look(clipboard);
}

void esp_clipboard_set_focus_only(EspClipboard *clipboard, bool only)
{
    clipboard->focus_only = only;
    fetch(clipboard);
}
