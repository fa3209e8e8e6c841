/* What machines there are, how they are, their addresses and logs. */
#include <glib/gi18n.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/crash.h"
#include "app/ctl/commands.h"
#include "app/ctl/output.h"
#include "app/ctl/run.h"
#include "app/ctl/target.h"
#include "app/library.h"
#include "app/machine_log.h"
#include "app/vfkit_device.h"
#include "app/words.h"

#define LOG_BYTES     (1u << 20)
#define WAIT_EVERY_MS 200

/* ---- one machine, as an object ---- */

static void add_config(JsonObject *object, const char *path, bool devices)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(EspBundle) bundle = esp_bundle_open(path, &error);
    VmcConfig *config = bundle ? esp_bundle_get_config(bundle, &error) : NULL;

    if (bundle)
        json_object_set_string_member(object, "name", esp_bundle_get_name(bundle));
    if (!config) {
        json_object_set_string_member(object, "error", error->message);
        return;
    }
    json_object_set_int_member(object, "cpus", config->cpus);
    json_object_set_int_member(object, "memory", (gint64)config->memory);
    if (devices) {
        JsonArray *array = json_array_new();
        for (guint i = 0; i < config->devices->len; i++) {
            g_autofree char *text = esp_vfkit_device_text(g_ptr_array_index(config->devices, i));
            g_autofree char *valid = g_utf8_make_valid(text, -1);
            json_array_add_string_element(array, valid);
        }
        json_object_set_array_member(object, "devices", array);
    }
    vmc_config_free(config);
}

/* What only its process knows. */
static void add_running(JsonObject *object, EspMachine1 *machine)
{
    const char *error = esp_machine1_get_error(machine);
    g_auto(GStrv) addresses = NULL;

    json_object_set_string_member(object, "state", esp_machine1_get_state(machine));
    json_object_set_int_member(object, "pid", esp_machine1_get_pid(machine));
    json_object_set_double_member(object, "cpuUse", esp_machine1_get_cpu_use(machine));
    json_object_set_int_member(object, "memoryUse", (gint64)esp_machine1_get_memory_use(machine));
    if (error && *error)
        json_object_set_string_member(object, "error", error);
    if (esp_machine1_call_ip_sync(machine, &addresses, NULL, NULL)) {
        JsonArray *array = json_array_new();
        for (char **address = addresses; *address; address++)
            json_array_add_string_element(array, *address);
        json_object_set_array_member(object, "addresses", array);
    }
}

static JsonObject *describe(EspTarget *target, bool devices)
{
    JsonObject *object = json_object_new();

    json_object_set_string_member(object, "name", target->name);
    if (target->bundle)
        json_object_set_string_member(object, "path", target->bundle);
    if (target->bundle)
        add_config(object, target->bundle, devices);
    if (target->machine) {
        add_running(object, target->machine);
    } else {
        json_object_set_string_member(object, "state", vmc_machine_state_name(VMC_MACHINE_STOPPED));
        json_object_set_boolean_member(object, "crashed",
                                       target->bundle && esp_crash_happened(target->bundle));
    }
    return object;
}

/* ---- list, status ---- */

static char *state_text(JsonObject *object, const char *member)
{
    bool crashed = json_object_get_boolean_member_with_default(object, "crashed", FALSE);

    return g_strdup(crashed ? _("stopped (ended unexpectedly)")
                            : esp_state_text(json_object_get_string_member(object, member)));
}

static char *joined_text(JsonObject *object, const char *member)
{
    JsonArray *array = json_object_get_array_member(object, member);
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < json_array_get_length(array); i++)
        g_string_append_printf(text, "%s%s", i ? ", " : "", json_array_get_string_element(array, i));
    return g_string_free(text, FALSE);
}

static int print_names(EspLibrary *library)
{
    for (guint i = 0; i < g_list_model_get_n_items(G_LIST_MODEL(library)); i++) {
        g_autoptr(EspLibraryItem) item = g_list_model_get_item(G_LIST_MODEL(library), i);

        printf("%s\n", esp_library_item_get_name(item));
    }
    return ESP_EXIT_OK;
}

int esp_ctl_list(int argc, char **argv)
{
    static const EspColumn columns[] = {
        {"name", N_("NAME"), NULL},
        {"state", N_("STATE"), state_text},
        {"cpus", N_("CPUS"), NULL},
        {"memory", N_("MEMORY"), esp_output_bytes},
        {"cpuUse", N_("CPU USE"), esp_output_percent},
        {"memoryUse", N_("MEMORY USE"), esp_output_bytes},
        {"addresses", N_("ADDRESSES"), joined_text},
        {"error", N_("ERROR"), NULL},
    };
    static const EspCommand command = {"list", "", N_("Lists the machines of the library."), 0, 0};
    gboolean json = FALSE, names = FALSE;
    const GOptionEntry entries[] = {
        {"json", 0, 0, G_OPTION_ARG_NONE, &json, N_("For programs"), NULL},
        {"names", 0, 0, G_OPTION_ARG_NONE, &names, N_("The names alone, for shells that complete them"),
         NULL},
        {0},
    };
    int status;
    g_auto(GStrv) words = esp_command_words(&command, entries, argc, argv, &status);

    if (!words)
        return status;
    g_autofree char *dir = esp_library_default_dir();
    g_autoptr(EspLibrary) library = esp_library_new(dir);
    if (names)
        return print_names(library);
    g_autoptr(JsonArray) array = json_array_new();
    bool troubled = false;
    for (guint i = 0; i < g_list_model_get_n_items(G_LIST_MODEL(library)); i++) {
        g_autoptr(EspLibraryItem) item = g_list_model_get_item(G_LIST_MODEL(library), i);
        EspTarget target = {.name = g_strdup(esp_library_item_get_name(item)),
                            .bundle = g_strdup(esp_library_item_get_path(item))};
        if (esp_library_item_get_state(item))
            esp_target_connect(&target);
        JsonObject *object = describe(&target, false);
        troubled = troubled || json_object_has_member(object, "error");
        json_array_add_object_element(array, object);
        esp_target_clear(&target);
    }
    if (json) {
        JsonNode *node = json_node_init_array(json_node_alloc(), array);
        esp_output_json(node);
    } else if (!json_array_get_length(array)) {
        esp_ctl_say(_("there is no machine in %s"), dir);
    } else {
        esp_output_table(array, columns, G_N_ELEMENTS(columns) - !troubled);
    }
    return ESP_EXIT_OK;
}

int esp_ctl_status(int argc, char **argv)
{
    static const EspColumn columns[] = {
        {"name", N_("Name"), NULL},
        {"state", N_("State"), state_text},
        {"error", N_("Error"), NULL},
        {"path", N_("Folder"), NULL},
        {"pid", N_("Process"), NULL},
        {"cpus", N_("CPUs"), NULL},
        {"cpuUse", N_("CPU use"), esp_output_percent},
        {"memory", N_("Memory"), esp_output_bytes},
        {"memoryUse", N_("Memory use"), esp_output_bytes},
        {"addresses", N_("Addresses"), joined_text},
    };
    static const EspCommand command = {
        "status", N_("MACHINE"), N_("Says how a machine is, and what it takes of this computer."), 1, 1};
    gboolean json = FALSE;
    const GOptionEntry entries[] = {{"json", 0, 0, G_OPTION_ARG_NONE, &json, N_("For programs"), NULL}, {0}};
    EspTarget target;
    int status;
    g_auto(GStrv) words = esp_command_on(&target, &command, entries, argc, argv, &status);

    if (!words)
        return status;
    g_autoptr(JsonObject) object = describe(&target, true);
    esp_target_clear(&target);
    if (json) {
        esp_output_json(json_node_init_object(json_node_alloc(), object));
        return ESP_EXIT_OK;
    }
    esp_output_lines(object, columns, G_N_ELEMENTS(columns));
    if (json_object_has_member(object, "devices")) {
        JsonArray *devices = json_object_get_array_member(object, "devices");
        for (guint i = 0; i < json_array_get_length(devices); i++)
            printf("%-10s  %s\n", i ? "" : "Devices", json_array_get_string_element(devices, i));
    }
    return ESP_EXIT_OK;
}

/* ---- ip ---- */

/* Looks until there is one, or the time is over. */
static bool wait_for_addresses(EspMachine1 *machine, int seconds, char ***addresses, GError **error)
{
    gint64 end = g_get_monotonic_time() + seconds * G_USEC_PER_SEC;

    for (;;) {
        if (!esp_machine1_call_ip_sync(machine, addresses, NULL, error))
            return false;
        if (**addresses || g_get_monotonic_time() >= end)
            return true;
        g_clear_pointer(addresses, g_strfreev);
        g_usleep(WAIT_EVERY_MS * 1000);
    }
}

int esp_ctl_ip(int argc, char **argv)
{
    static const EspCommand command = {
        "ip", N_("MACHINE"),
        N_("Prints the addresses of a running machine, as the network it is on "
           "has heard of them: one a line, the\n"
           "likeliest first. It is a failure if there is none."),
        1, 1};
    gboolean json = FALSE;
    int seconds = 0;
    const GOptionEntry entries[] = {
        {"wait", 0, 0, G_OPTION_ARG_INT, &seconds, N_("Wait that long for the first one"), N_("SECONDS")},
        {"json", 0, 0, G_OPTION_ARG_NONE, &json, N_("For programs"), NULL},
        {0}};
    g_auto(GStrv) addresses = NULL;
    GError *error = NULL;
    EspTarget target;
    int status;
    g_auto(GStrv) words = esp_command_on_running(&target, &command, entries, argc, argv, &status);

    if (!words)
        return status;
    bool good = wait_for_addresses(target.machine, MAX(seconds, 0), &addresses, &error);
    esp_target_clear(&target);
    if (!good)
        return esp_target_complain(error);
    JsonArray *array = json_array_new();
    for (char **address = addresses; *address; address++) {
        json_array_add_string_element(array, *address);
        if (!json)
            printf("%s\n", *address);
    }
    if (json)
        esp_output_json(json_node_init_array(json_node_alloc(), array));
    json_array_unref(array);
    if (*addresses)
        return ESP_EXIT_OK;
    if (!json)
        esp_ctl_say(_("“%s” has no address that was heard of; it may not have started its network yet"),
                    words[1]);
    return ESP_EXIT_FAILED;
}

/* ---- log ---- */

int esp_ctl_log(int argc, char **argv)
{
    static const EspCommand command = {
        "log", N_("MACHINE"),
        N_("Prints what happened to a machine, whether it runs or not; or what "
           "it said on its serial line or console."),
        1, 1};
    gboolean serial = FALSE, console = FALSE;
    const GOptionEntry entries[] = {
        {"serial", 0, 0, G_OPTION_ARG_NONE, &serial, N_("Its serial line, serial.log"), NULL},
        {"console", 0, 0, G_OPTION_ARG_NONE, &console, N_("Its console, console.log"), NULL},
        {0}};
    const char *file = ESP_MACHINE_LOG;
    g_autofree char *text = NULL;
    GError *error = NULL;
    EspTarget target;
    int status;
    g_auto(GStrv) words = esp_command_on(&target, &command, entries, argc, argv, &status);

    if (!words)
        return status;
    if (serial || console)
        file = serial ? "serial.log" : "console.log";
    if (target.bundle)
        text = esp_machine_log_read(target.bundle, file, LOG_BYTES, &error);
    else if (serial || console)
        error = g_error_new_literal(VMC_ERROR, VMC_ERROR_CONFIG,
                                    _("a machine that was described on a command line has no such file"));
    else
        esp_machine1_call_log_sync(target.machine, &text, NULL, &error);
    esp_target_clear(&target);
    if (!text)
        return esp_target_complain(error);
    fputs(text, stdout);
    return ESP_EXIT_OK;
}
