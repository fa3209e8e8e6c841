/*
 * The host's clipboard and a guest's: another program of the desktop (xclip) on one side, an agent that
 * speaks the protocol on the other, and what is between them. Run by test_clipboard.py, which gives it a
 * display.
 */
#include "agent_guest.h"

#include <gtk/gtk.h>
#include <unistd.h>

#include "ui/clipboard.h"
#include "ui/clipboard_content.h"
#include "ui/transfers.h"

typedef struct Fixture {
    AgentGuest guest;
    EspClipboard *clipboard;
    GtkWidget *window;
    EspTransfers *transfers;
    char *told;
} Fixture;

/* ---- the front end, as vm_agent.c has it ---- */

static void on_grabbed(void *opaque, VmcSelection selection, unsigned types)
{
    esp_clipboard_guest_has(((Fixture *)opaque)->clipboard, types);
}

static void on_released(void *opaque, VmcSelection selection)
{
    esp_clipboard_guest_released(((Fixture *)opaque)->clipboard);
}

static void on_requested(void *opaque, VmcSelection selection, VmcClipType type)
{
    esp_clipboard_guest_wants(((Fixture *)opaque)->clipboard, type);
}

static void on_received(void *opaque, VmcSelection selection, VmcClipType type, GBytes *data)
{
    esp_clipboard_guest_sent(((Fixture *)opaque)->clipboard, type, data);
}

static void on_progress(void *opaque, unsigned id, uint64_t sent, uint64_t total, bool done,
                        const GError *error)
{
    esp_transfers_progress(((Fixture *)opaque)->transfers, id, sent, total, done, error);
}

static const VmcAgentFrontend frontend = {.size = sizeof(VmcAgentFrontend),
                                          .grabbed = on_grabbed,
                                          .released = on_released,
                                          .requested = on_requested,
                                          .received = on_received,
                                          .file_progress = on_progress};

static void on_told(Fixture *f, const char *message)
{
    g_free(f->told);
    f->told = g_strdup(message);
}

static void start(Fixture *f, VmcClipboard policy)
{
    guest_start(&f->guest, policy);
    vmc_agent_set_frontend(f->guest.agent, &frontend, f);
    esp_clipboard_set_agent(f->clipboard, f->guest.agent);
    esp_transfers_set_agent(f->transfers, f->guest.agent);
}

static int setup(void **state)
{
    Fixture *f = g_new0(Fixture, 1);

    gtk_clipboard_clear(gtk_clipboard_get(GDK_SELECTION_CLIPBOARD));
    f->clipboard = esp_clipboard_new(gtk_clipboard_get(GDK_SELECTION_CLIPBOARD));
    f->window = gtk_window_new(GTK_WINDOW_POPUP);
    f->transfers = g_object_new(ESP_TYPE_TRANSFERS, NULL);
    gtk_container_add(GTK_CONTAINER(f->window), GTK_WIDGET(f->transfers));
    gtk_widget_show(f->window);
    g_signal_connect_swapped(f->transfers, "told", G_CALLBACK(on_told), f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;

    esp_clipboard_free(f->clipboard);
    gtk_widget_destroy(f->window);
    if (f->guest.agent)
        guest_end(&f->guest);
    g_free(f->told);
    g_free(f);
    return 0;
}

/* ---- the other program ---- */

static void on_output(GObject *source, GAsyncResult *result, gpointer data)
{
    GBytes *bytes = NULL;

    g_subprocess_communicate_finish(G_SUBPROCESS(source), result, &bytes, NULL, NULL);
    *(GBytes **)data = bytes ? bytes : g_bytes_new(NULL, 0);
}

/* Pastes: what xclip gets of a target, as text with a NUL behind it; "" if that is nothing. */
static char *paste(const char *target)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GSubprocess) xclip =
        g_subprocess_new(G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_SILENCE, &error,
                         "timeout", "20", "xclip", "-selection", "clipboard", "-t", target, "-o", NULL);
    GBytes *bytes = NULL;
    gsize length = 0;

    assert_null(error);
    g_subprocess_communicate_async(xclip, NULL, NULL, on_output, &bytes);
    while (!bytes)
        guest_spin(5);
    const char *data = g_bytes_get_data(bytes, &length);
    char *text = g_strndup(data ? data : "", length);
    g_bytes_unref(bytes);
    return text;
}

static void assert_pasted(const char *target, const char *wanted)
{
    g_autofree char *text = paste(target);

    assert_string_equal(text, wanted);
}

/* Copies: xclip stays in the background as the clipboard's owner, and ends when it is that no more. */
static void copy(const char *target, const char *data)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *name = NULL;
    int fd = g_file_open_tmp("espalier-clip-XXXXXX", &name, &error);

    assert_true(fd >= 0);
    close(fd);
    assert_true(g_file_set_contents(name, data, -1, NULL));
    const char *argv[] = {"xclip", "-selection", "clipboard", "-t", target, "-i", name, NULL};
    int status = -1;
    assert_true(g_spawn_sync(NULL, (char **)argv, NULL,
                             G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL | G_SPAWN_STDERR_TO_DEV_NULL,
                             NULL, NULL, NULL, NULL, &status, &error));
    assert_int_equal(status, 0);
    guest_spin(200);
    unlink(name);
}

/* ---- guest to host ---- */

static void what_the_guest_copies_can_be_pasted(void **state)
{
    Fixture *f = *state;

    start(f, VMC_CLIPBOARD_BOTH);
    GUEST_WORDS(&f->guest, VD_AGENT_CLIPBOARD_GRAB, 0, VD_AGENT_CLIPBOARD_UTF8_TEXT,
                VD_AGENT_CLIPBOARD_IMAGE_PNG, VD_AGENT_CLIPBOARD_IMAGE_BMP);
    GUEST_EXPECTS_WORDS(&f->guest, VD_AGENT_CLIPBOARD_REQUEST, 0, VD_AGENT_CLIPBOARD_UTF8_TEXT);
    GUEST_EXPECTS_WORDS(&f->guest, VD_AGENT_CLIPBOARD_REQUEST, 0, VD_AGENT_CLIPBOARD_IMAGE_PNG);
    guest_gives(&f->guest, VD_AGENT_CLIPBOARD_UTF8_TEXT, "Grüße", strlen("Grüße"));
    guest_gives(&f->guest, VD_AGENT_CLIPBOARD_IMAGE_PNG, "\x89PNG\r\n\x1a\nrest", 12);
    guest_spin(200);
    assert_pasted("UTF8_STRING", "Grüße");
    assert_pasted("image/png", "\x89PNG\r\n\x1a\nrest");
    guest_expects_silence(&f->guest); /* our own is not announced back */

    /* It copies anew, and again from then on. */
    GUEST_WORDS(&f->guest, VD_AGENT_CLIPBOARD_GRAB, 0, VD_AGENT_CLIPBOARD_UTF8_TEXT);
    GUEST_EXPECTS_WORDS(&f->guest, VD_AGENT_CLIPBOARD_REQUEST, 0, VD_AGENT_CLIPBOARD_UTF8_TEXT);
    guest_gives(&f->guest, VD_AGENT_CLIPBOARD_UTF8_TEXT, "second", 6);
    guest_spin(200);
    assert_pasted("UTF8_STRING", "second");
    assert_pasted("image/png", "");
}

static void what_the_guest_takes_back_is_gone(void **state)
{
    Fixture *f = *state;

    start(f, VMC_CLIPBOARD_BOTH);
    GUEST_WORDS(&f->guest, VD_AGENT_CLIPBOARD_GRAB, 0, VD_AGENT_CLIPBOARD_UTF8_TEXT);
    GUEST_EXPECTS_WORDS(&f->guest, VD_AGENT_CLIPBOARD_REQUEST, 0, VD_AGENT_CLIPBOARD_UTF8_TEXT);
    guest_gives(&f->guest, VD_AGENT_CLIPBOARD_UTF8_TEXT, "password", 8);
    guest_spin(200);
    assert_pasted("UTF8_STRING", "password");
    GUEST_WORDS(&f->guest, VD_AGENT_CLIPBOARD_RELEASE, 0);
    guest_spin(200);
    assert_pasted("UTF8_STRING", "");
}

static void a_guest_that_only_answers_nothing_takes_nothing_away(void **state)
{
    Fixture *f = *state;

    start(f, VMC_CLIPBOARD_BOTH);
    copy("UTF8_STRING", "mine");
    GUEST_WORDS(&f->guest, VD_AGENT_CLIPBOARD_GRAB, 0, VD_AGENT_CLIPBOARD_UTF8_TEXT);
    GUEST_EXPECTS_WORDS(&f->guest, VD_AGENT_CLIPBOARD_REQUEST, 0, VD_AGENT_CLIPBOARD_UTF8_TEXT);
    guest_gives(&f->guest, VD_AGENT_CLIPBOARD_NONE, "", 0);
    guest_spin(200);
    assert_pasted("UTF8_STRING", "mine");
}

static void focus_only_holds_it_back_until_there_is_focus(void **state)
{
    Fixture *f = *state;

    esp_clipboard_set_focus_only(f->clipboard, true);
    start(f, VMC_CLIPBOARD_BOTH);
    copy("UTF8_STRING", "the host's");
    GUEST_WORDS(&f->guest, VD_AGENT_CLIPBOARD_GRAB, 0, VD_AGENT_CLIPBOARD_UTF8_TEXT);
    guest_expects_silence(&f->guest);
    assert_pasted("UTF8_STRING", "the host's");
    esp_clipboard_set_focused(f->clipboard, true);
    GUEST_EXPECTS_WORDS(&f->guest, VD_AGENT_CLIPBOARD_REQUEST, 0, VD_AGENT_CLIPBOARD_UTF8_TEXT);
    guest_gives(&f->guest, VD_AGENT_CLIPBOARD_UTF8_TEXT, "the guest's", 11);
    guest_spin(200);
    assert_pasted("UTF8_STRING", "the guest's");
}

static void the_newer_of_both_is_what_counts(void **state)
{
    Fixture *f = *state;

    esp_clipboard_set_focus_only(f->clipboard, true);
    start(f, VMC_CLIPBOARD_BOTH);
    GUEST_WORDS(&f->guest, VD_AGENT_CLIPBOARD_GRAB, 0, VD_AGENT_CLIPBOARD_UTF8_TEXT);
    guest_spin(100);
    copy("UTF8_STRING", "newer");
    esp_clipboard_set_focused(f->clipboard, true);
    GUEST_EXPECTS_WORDS(&f->guest, VD_AGENT_CLIPBOARD_GRAB, 0, VD_AGENT_CLIPBOARD_UTF8_TEXT);
    guest_expects_silence(&f->guest);
    assert_pasted("UTF8_STRING", "newer");
}

static void links_among_files_are_left_out(void **state)
{
    g_autofree char *dir = g_dir_make_tmp("espalier-clip-XXXXXX", NULL);
    g_autofree char *file = g_build_filename(dir, "a file", NULL);
    g_autofree char *link = g_build_filename(dir, "link", NULL);
    const char *paths[] = {file, link, "/nowhere/at/all", NULL};
    g_autoptr(GObject) owner = g_object_new(G_TYPE_OBJECT, NULL);

    assert_true(g_file_set_contents(file, "x", 1, NULL));
    assert_int_equal(symlink("/etc/passwd", link), 0);
    EspClipContent *content = esp_clip_content_new();
    esp_clip_content_take_files(content, VMC_FILES_CUT, paths);
    esp_clip_content_publish(content, gtk_clipboard_get(GDK_SELECTION_CLIPBOARD), owner);
    g_autofree char *wanted = g_strdup_printf("cut\nfile://%s/a%%20file", dir);
    assert_pasted(ESP_CLIP_GNOME_FILES, wanted);
    unlink(file);
    unlink(link);
    rmdir(dir);
}

/* ---- host to guest ---- */

static void what_the_host_copies_is_announced_and_given_when_asked(void **state)
{
    Fixture *f = *state;

    start(f, VMC_CLIPBOARD_BOTH);
    esp_clipboard_set_focused(f->clipboard, true);
    guest_spin(100);
    copy("UTF8_STRING", "two\r\nlines");
    GUEST_EXPECTS_WORDS(&f->guest, VD_AGENT_CLIPBOARD_GRAB, 0, VD_AGENT_CLIPBOARD_UTF8_TEXT);
    GUEST_WORDS(&f->guest, VD_AGENT_CLIPBOARD_REQUEST, 0, VD_AGENT_CLIPBOARD_UTF8_TEXT);
    guest_expects_bytes(&f->guest, VD_AGENT_CLIPBOARD, "\0\0\0\0\1\0\0\0two\nlines", 17);

    copy("image/png", "no picture, but bytes");
    GUEST_EXPECTS_WORDS(&f->guest, VD_AGENT_CLIPBOARD_GRAB, 0, VD_AGENT_CLIPBOARD_IMAGE_PNG);
    GUEST_WORDS(&f->guest, VD_AGENT_CLIPBOARD_REQUEST, 0, VD_AGENT_CLIPBOARD_IMAGE_PNG);
    guest_expects_bytes(&f->guest, VD_AGENT_CLIPBOARD, "\0\0\0\0\2\0\0\0no picture, but bytes", 29);
}

static void without_focus_nothing_is_looked_at(void **state)
{
    Fixture *f = *state;

    start(f, VMC_CLIPBOARD_BOTH);
    copy("UTF8_STRING", "secret");
    guest_expects_silence(&f->guest);
    esp_clipboard_set_focused(f->clipboard, true);
    GUEST_EXPECTS_WORDS(&f->guest, VD_AGENT_CLIPBOARD_GRAB, 0, VD_AGENT_CLIPBOARD_UTF8_TEXT);
    esp_clipboard_set_focused(f->clipboard, false);
    GUEST_WORDS(&f->guest, VD_AGENT_CLIPBOARD_REQUEST, 0, VD_AGENT_CLIPBOARD_UTF8_TEXT);
    GUEST_EXPECTS_WORDS(&f->guest, VD_AGENT_CLIPBOARD, 0, VD_AGENT_CLIPBOARD_NONE);
    copy("UTF8_STRING", "another secret");
    guest_expects_silence(&f->guest);
    esp_clipboard_set_focused(f->clipboard, true);
    GUEST_EXPECTS_WORDS(&f->guest, VD_AGENT_CLIPBOARD_GRAB, 0, VD_AGENT_CLIPBOARD_UTF8_TEXT);
    GUEST_WORDS(&f->guest, VD_AGENT_CLIPBOARD_REQUEST, 0, VD_AGENT_CLIPBOARD_UTF8_TEXT);
    guest_expects_bytes(&f->guest, VD_AGENT_CLIPBOARD, "\0\0\0\0\1\0\0\0another secret", 22);
}

static void a_policy_is_kept(void **state)
{
    Fixture *f = *state;

    start(f, VMC_CLIPBOARD_TO_GUEST);
    esp_clipboard_set_focused(f->clipboard, true);
    guest_spin(100);
    copy("UTF8_STRING", "down");
    GUEST_EXPECTS_WORDS(&f->guest, VD_AGENT_CLIPBOARD_GRAB, 0, VD_AGENT_CLIPBOARD_UTF8_TEXT);
    GUEST_WORDS(&f->guest, VD_AGENT_CLIPBOARD_GRAB, 0, VD_AGENT_CLIPBOARD_UTF8_TEXT);
    guest_expects_silence(&f->guest);
    assert_pasted("UTF8_STRING", "down");
}

static void nor_does_one_to_the_host_let_anything_in(void **state)
{
    Fixture *f = *state;

    start(f, VMC_CLIPBOARD_TO_HOST);
    esp_clipboard_set_focused(f->clipboard, true);
    copy("UTF8_STRING", "secret");
    guest_expects_silence(&f->guest);
    GUEST_WORDS(&f->guest, VD_AGENT_CLIPBOARD_REQUEST, 0, VD_AGENT_CLIPBOARD_UTF8_TEXT);
    guest_spin(100);
    uint32_t type = 0;
    g_autoptr(GByteArray) body = guest_hears(&f->guest, &type, 300);
    assert_true(!body || body->len == 8); /* nothing, or the word that there is nothing */
}

/* ---- files ---- */

static char *make_file(const char *name, size_t size)
{
    g_autofree char *dir = g_dir_make_tmp("espalier-send-XXXXXX", NULL);
    g_autofree char *data = g_malloc(size);

    memset(data, 'x', size);
    char *path = g_build_filename(dir, name, NULL);
    assert_true(g_file_set_contents(path, data, (gssize)size, NULL));
    return path;
}

static void send_file(Fixture *f, const char *path)
{
    g_autoptr(GFile) file = g_file_new_for_path(path);
    GSList list = {.data = file};

    esp_transfers_send(f->transfers, &list);
}

static void remove_file(const char *path)
{
    g_autofree char *dir = g_path_get_dirname(path);

    unlink(path);
    rmdir(dir);
}

static void a_file_is_sent_with_progress(void **state)
{
    Fixture *f = *state;
    g_autofree char *path = make_file("a file.bin", 200000);
    size_t got = 0;

    start(f, VMC_CLIPBOARD_BOTH);
    send_file(f, path);
    g_autoptr(GByteArray) begin = guest_expects(&f->guest, VD_AGENT_FILE_XFER_START);
    assert_non_null(strstr((char *)begin->data + 4, "name=a file.bin"));
    assert_true(gtk_revealer_get_reveal_child(GTK_REVEALER(f->transfers)));
    uint32_t id;
    memcpy(&id, begin->data, 4);
    GUEST_WORDS(&f->guest, VD_AGENT_FILE_XFER_STATUS, id, VD_AGENT_FILE_XFER_STATUS_CAN_SEND_DATA);
    while (got < 200000) {
        g_autoptr(GByteArray) data = guest_expects(&f->guest, VD_AGENT_FILE_XFER_DATA);
        got += data->len - 12;
    }
    assert_int_equal(got, 200000);
    GUEST_WORDS(&f->guest, VD_AGENT_FILE_XFER_STATUS, id, VD_AGENT_FILE_XFER_STATUS_SUCCESS);
    guest_spin(200);
    assert_string_equal(f->told, "1 file is in the guest now.");
    assert_false(gtk_revealer_get_reveal_child(GTK_REVEALER(f->transfers)));
    remove_file(path);
}

static void a_file_that_cannot_be_sent_is_named(void **state)
{
    Fixture *f = *state;

    start(f, VMC_CLIPBOARD_BOTH);
    send_file(f, "/etc");
    assert_non_null(strstr(f->told, "/etc"));
    assert_false(gtk_revealer_get_reveal_child(GTK_REVEALER(f->transfers)));
}

static void a_guest_that_refuses_is_told_of(void **state)
{
    Fixture *f = *state;
    g_autofree char *path = make_file("refused", 10);

    start(f, VMC_CLIPBOARD_BOTH);
    send_file(f, path);
    g_autoptr(GByteArray) begin = guest_expects(&f->guest, VD_AGENT_FILE_XFER_START);
    uint32_t id;
    memcpy(&id, begin->data, 4);
    GUEST_WORDS(&f->guest, VD_AGENT_FILE_XFER_STATUS, id, VD_AGENT_FILE_XFER_STATUS_ERROR);
    guest_spin(200);
    assert_non_null(f->told);
    assert_non_null(strstr(f->told, "refused"));
    assert_false(gtk_revealer_get_reveal_child(GTK_REVEALER(f->transfers)));
    remove_file(path);
}

#define CLIP_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
    gtk_init(&argc, &argv);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        CLIP_TEST(what_the_guest_copies_can_be_pasted),
        CLIP_TEST(what_the_guest_takes_back_is_gone),
        CLIP_TEST(a_guest_that_only_answers_nothing_takes_nothing_away),
        CLIP_TEST(focus_only_holds_it_back_until_there_is_focus),
        CLIP_TEST(the_newer_of_both_is_what_counts),
        CLIP_TEST(links_among_files_are_left_out),
        CLIP_TEST(what_the_host_copies_is_announced_and_given_when_asked),
        CLIP_TEST(without_focus_nothing_is_looked_at),
        CLIP_TEST(a_policy_is_kept),
        CLIP_TEST(nor_does_one_to_the_host_let_anything_in),
        CLIP_TEST(a_file_is_sent_with_progress),
        CLIP_TEST(a_file_that_cannot_be_sent_is_named),
        CLIP_TEST(a_guest_that_refuses_is_told_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
