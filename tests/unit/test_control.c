/*
 * The control socket with a real machine behind it: what a client in another thread asks for happens, and
 * what cannot be done is said in a sentence.
 */
#include "app/control.h"
#include "app/keys.h"
#include "tests/unit/tiny_kernel.h"

#define SECONDS_MAX 60

typedef struct Rig {
    char *dir, *path;
    GMainLoop *loop;
    EspControl *control;
    VmcMachine *machine;
    EspControlHost host;
    unsigned resets;
    char *display, *token; /* that the host was asked to present on */
} Rig;

/* ---- the host's side, on the main thread ---- */

static bool host_start(void *opaque, GError **error)
{
    Rig *rig = opaque;

    esp_control_set_machine(rig->control, rig->machine);
    return vmc_machine_start(rig->machine, error);
}

static bool host_present(void *opaque, const char *display, const char *token, GError **error)
{
    Rig *rig = opaque;

    rig->display = g_strdup(display);
    rig->token = g_strdup(token);
    if (*display)
        return true;
    g_set_error_literal(error, VMC_ERROR, VMC_ERROR_STATE, "there is no display here");
    return false;
}

static char *host_log(void *opaque)
{
    return g_strdup("first\nsecond \xff\n");
}

static void on_reset(VmcMachine *machine, gpointer data)
{
    ((Rig *)data)->resets++;
}

static VmcMachine *make_machine(Rig *rig)
{
    VmcConfig *config = vmc_config_new();
    TinyCode code = {.n = 0};
    GError *error = NULL;

    tiny_count(&code);
    config->boot.kind = VMC_BOOT_LINUX;
    config->boot.kernel = tiny_kernel(rig->dir, "kernel", &code);
    config->memory = 64u << 20;
    config->cpu = VMC_CPU_SOFT;
    vmc_config_add_device(config, VMC_DEVICE_VGA)->display.width = 640;
    vmc_config_add_device(config, VMC_DEVICE_VIRTIO_KEYBOARD);
    VmcMachine *machine = vmc_machine_new(config, &error);
    if (!machine)
        fail_msg("%s", error->message);
    vmc_config_free(config);
    return machine;
}

static int set_up(void **state)
{
    Rig *rig = g_new0(Rig, 1);
    GError *error = NULL;

    rig->dir = tiny_dir();
    rig->path = g_build_filename(rig->dir, "control", NULL);
    rig->loop = g_main_loop_new(NULL, FALSE);
    rig->machine = make_machine(rig);
    g_signal_connect(rig->machine, "guest-reset", G_CALLBACK(on_reset), rig);
    rig->host = (EspControlHost){"Apple", host_start, host_present, host_log};
    rig->control = esp_control_new(rig->path, &rig->host, rig, &error);
    if (!rig->control)
        fail_msg("%s", error->message);
    *state = rig;
    return 0;
}

static int tear_down(void **state)
{
    Rig *rig = *state;

    esp_control_free(rig->control);
    g_signal_handlers_disconnect_by_data(rig->machine, rig);
    vmc_machine_stop(rig->machine);
    g_object_unref(rig->machine);
    g_main_loop_unref(rig->loop);
    g_free(rig->display);
    g_free(rig->token);
    g_free(rig->path);
    tiny_dir_remove(rig->dir);
    g_free(rig);
    return 0;
}

/* ---- a client, on a thread of its own ---- */

typedef struct Client {
    Rig *rig;
    void (*ask)(Rig *rig, EspMachine1 *machine);
    char *failure; /* cmocka is the main thread's */
} Client;

static _Thread_local Client *this_client;

#define EXPECT(condition, ...)                                                                               \
    do {                                                                                                     \
        if (!(condition) && !this_client->failure)                                                           \
            this_client->failure = g_strdup_printf(__VA_ARGS__);                                             \
    } while (0)

static void *run_client(void *data)
{
    Client *client = this_client = data;
    g_autoptr(GMainContext) context = g_main_context_new();
    g_autoptr(GError) error = NULL;

    g_main_context_push_thread_default(context);
    g_autoptr(GDBusConnection) peer = esp_control_connect(client->rig->path, &error);
    g_autoptr(EspMachine1) machine = peer ? esp_control_proxy(peer, &error) : NULL;
    EXPECT(machine, "there is no connection: %s", error->message);
    if (machine)
        client->ask(client->rig, machine);
    if (peer)
        g_dbus_connection_close_sync(peer, NULL, NULL);
    g_main_context_pop_thread_default(context);
    g_main_loop_quit(client->rig->loop);
    return NULL;
}

static void with_client(Rig *rig, void (*ask)(Rig *rig, EspMachine1 *machine))
{
    Client client = {.rig = rig, .ask = ask};
    GThread *thread = g_thread_new("client", run_client, &client);

    g_main_loop_run(rig->loop);
    g_thread_join(thread);
    if (client.failure)
        fail_msg("%s", client.failure);
}

/* The error is looked at, and cleared, behind the call that may set it. */
static void expect_good(bool good, GError **error, const char *what)
{
    EXPECT(good, "%s failed: %s", what, *error ? (*error)->message : "without a word");
    g_clear_error(error);
}

static void expect_refusal(bool good, GError **error, const char *word)
{
    EXPECT(!good, "what should mention “%s” was done", word);
    EXPECT(good || strstr((*error)->message, word), "“%s” is not in: %s", word, (*error)->message);
    g_clear_error(error);
}

/* The state that the client has been told of, after a while. */
static void expect_state(EspMachine1 *machine, const char *state)
{
    gint64 end = g_get_monotonic_time() + SECONDS_MAX * G_USEC_PER_SEC;

    while (g_strcmp0(esp_machine1_get_state(machine), state) != 0 && g_get_monotonic_time() < end)
        if (!g_main_context_iteration(g_main_context_get_thread_default(), FALSE))
            g_usleep(1000);
    EXPECT(g_strcmp0(esp_machine1_get_state(machine), state) == 0, "it is %s, not %s",
           esp_machine1_get_state(machine), state);
}

/* ---- tests ---- */

static void ask_for_its_life(Rig *rig, EspMachine1 *machine)
{
    GError *error = NULL;

    EXPECT(g_strcmp0(esp_machine1_get_name(machine), "Apple") == 0, "it is named %s",
           esp_machine1_get_name(machine));
    EXPECT(esp_machine1_get_pid(machine) == (guint)getpid(), "its process is %u",
           esp_machine1_get_pid(machine));
    expect_state(machine, "stopped");
    expect_refusal(esp_machine1_call_pause_sync(machine, NULL, &error), &error, "start it first");
    expect_good(esp_machine1_call_start_sync(machine, NULL, &error), &error, "Start");
    expect_state(machine, "running");
    expect_refusal(esp_machine1_call_start_sync(machine, NULL, &error), &error, "running");
    expect_good(esp_machine1_call_pause_sync(machine, NULL, &error), &error, "Pause");
    expect_state(machine, "paused");
    expect_refusal(esp_machine1_call_reset_sync(machine, NULL, &error), &error, "paused");
    expect_good(esp_machine1_call_resume_sync(machine, NULL, &error), &error, "Resume");
    expect_state(machine, "running");
    expect_good(esp_machine1_call_reset_sync(machine, NULL, &error), &error, "Reset");
    for (int i = 0; i < SECONDS_MAX * 100 && !*(volatile unsigned *)&rig->resets; i++)
        g_usleep(10000);
    EXPECT(rig->resets == 1, "the guest was reset %u times", rig->resets);
    expect_good(esp_machine1_call_stop_sync(machine, NULL, &error), &error, "Stop");
    expect_state(machine, "stopped");
}

static void test_a_client_starts_holds_resets_and_stops_it(void **state)
{
    with_client(*state, ask_for_its_life);
}

static void ask_what_it_takes(Rig *rig, EspMachine1 *machine)
{
    GError *error = NULL;

    expect_good(esp_machine1_call_start_sync(machine, NULL, &error), &error, "Start");
    g_usleep(300000);
    g_autoptr(EspMachine1) fresh =
        esp_control_proxy(g_dbus_proxy_get_connection(G_DBUS_PROXY(machine)), NULL);
    EXPECT(esp_machine1_get_cpu_use(fresh) > 0.01, "a guest that counts keeps %.3f CPUs busy",
           esp_machine1_get_cpu_use(fresh));
    EXPECT(esp_machine1_get_memory_use(fresh) > 1u << 20, "it takes %" G_GUINT64_FORMAT " bytes",
           esp_machine1_get_memory_use(fresh));
}

static void test_what_it_takes_is_measured_when_it_is_read(void **state)
{
    with_client(*state, ask_what_it_takes);
}

static void ask_for_pictures_and_keys(Rig *rig, EspMachine1 *machine)
{
    static const char *const good_keys[] = {"ctrl-alt-del", "KEY_A", "Return", "super_l+L", NULL};
    static const char *const bad_keys[] = {"a", "ctrl-alt-any", NULL};
    g_autoptr(GVariant) png = NULL;
    g_auto(GStrv) addresses = NULL;
    g_autofree char *log = NULL;
    GError *error = NULL;
    gsize length = 0;

    expect_refusal(esp_machine1_call_send_key_sync(machine, good_keys, NULL, &error), &error, "start it");
    expect_good(esp_machine1_call_start_sync(machine, NULL, &error), &error, "Start");
    expect_good(esp_machine1_call_screenshot_sync(machine, 0, &png, NULL, &error), &error, "Screenshot");
    const guint8 *bytes = png ? g_variant_get_fixed_array(png, &length, 1) : NULL;
    EXPECT(length > 24 && memcmp(bytes, "\x89PNG\r\n\x1a\n", 8) == 0, "%zu bytes, and no PNG", length);
    expect_refusal(esp_machine1_call_screenshot_sync(machine, 3, &png, NULL, &error), &error, "no display 3");
    expect_good(esp_machine1_call_send_key_sync(machine, good_keys, NULL, &error), &error, "SendKey");
    expect_refusal(esp_machine1_call_send_key_sync(machine, bad_keys, NULL, &error), &error, "any");
    expect_good(esp_machine1_call_ip_sync(machine, &addresses, NULL, &error), &error, "Ip");
    EXPECT(addresses && !*addresses, "a machine without a network has an address");
    expect_good(esp_machine1_call_log_sync(machine, &log, NULL, &error), &error, "Log");
    EXPECT(log && g_str_has_prefix(log, "first\nsecond "), "the log is %s", log);
}

static void test_pictures_keys_addresses_and_the_log(void **state)
{
    with_client(*state, ask_for_pictures_and_keys);
}

static void ask_for_a_window(Rig *rig, EspMachine1 *machine)
{
    GError *error = NULL;

    expect_good(esp_machine1_call_present_sync(machine, ":7", "token", NULL, &error), &error, "Present");
    expect_refusal(esp_machine1_call_present_sync(machine, "", "", NULL, &error), &error, "no display here");
}

static void test_its_host_is_asked_for_a_window(void **state)
{
    Rig *rig = *state;

    with_client(rig, ask_for_a_window);
    assert_string_equal(rig->display, "");
}

static void ask_in_vain(Rig *rig, EspMachine1 *machine)
{
    GError *error = NULL;

    expect_refusal(esp_machine1_call_present_sync(machine, ":7", "", NULL, &error), &error, "terminal");
    expect_refusal(esp_machine1_call_start_sync(machine, NULL, &error), &error, "terminal");
    expect_refusal(esp_machine1_call_save_sync(machine, "/x", FALSE, NULL, &error), &error, "off");
}

static void test_what_a_host_cannot_do_is_refused(void **state)
{
    Rig *rig = *state;

    rig->host = (EspControlHost){.name = "Pear"};
    with_client(rig, ask_in_vain);
}

static void ask_why(Rig *rig, EspMachine1 *machine)
{
    expect_state(machine, "in error");
    EXPECT(g_strcmp0(esp_machine1_get_error(machine), "the disk is gone") == 0, "the error is “%s”",
           esp_machine1_get_error(machine));
}

static void test_what_is_wrong_is_told(void **state)
{
    Rig *rig = *state;
    g_autoptr(GError) error = g_error_new_literal(VMC_ERROR, VMC_ERROR_STATE, "the disk is gone");

    esp_control_set_error(rig->control, error);
    with_client(rig, ask_why);
}

static void test_chords(void **state)
{
    EspChord chord;
    GError *error = NULL;

    assert_true(esp_chord_parse("Ctrl+ALT-KEY_F12", &chord, NULL));
    assert_int_equal(chord.n, 3);
    assert_int_equal(chord.codes[0], 29);
    assert_int_equal(chord.codes[1], 56);
    assert_int_equal(chord.codes[2], 88);
    assert_true(esp_chord_parse("Page_Up", &chord, NULL));
    assert_int_equal(chord.codes[0], 104);
    assert_false(esp_chord_parse("", &chord, NULL));
    assert_false(esp_chord_parse("a--b", &chord, NULL));
    assert_false(esp_chord_parse("a-a-a-a-a-a-a-a-a", &chord, &error));
    assert_non_null(strstr(error->message, "8 keys"));
    g_clear_error(&error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_client_starts_holds_resets_and_stops_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_it_takes_is_measured_when_it_is_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_pictures_keys_addresses_and_the_log, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_its_host_is_asked_for_a_window, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_a_host_cannot_do_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_wrong_is_told, set_up, tear_down),
        cmocka_unit_test(test_chords),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
