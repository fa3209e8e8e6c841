/* The devices of a machine: what there is, whether it runs or not, and what is done with them while it does.
 */
#include <glib/gi18n.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/bundle.h"
#include "app/ctl/commands.h"
#include "app/ctl/output.h"
#include "app/ctl/run.h"
#include "app/ctl/settings.h"
#include "app/ctl/target.h"
#include "app/vfkit_device.h"
#include "app/vfkit_items.h"

/* Number, settings, help and actions of each. */
static JsonArray *list_running(GVariant *devices)
{
    JsonArray *array = json_array_new();
    GVariantIter list;
    const char *text, *help;
    GVariantIter *actions;
    guint index;

    g_variant_iter_init(&list, devices);
    while (g_variant_iter_next(&list, "(u&s&sas)", &index, &text, &help, &actions)) {
        JsonObject *object = json_object_new();
        JsonArray *known = json_array_new();
        const char *action;
        json_object_set_int_member(object, "number", index);
        json_object_set_string_member(object, "device", text);
        json_object_set_string_member(object, "help", help);
        while (g_variant_iter_next(actions, "&s", &action))
            json_array_add_string_element(known, action);
        g_variant_iter_free(actions);
        json_object_set_array_member(object, "actions", known);
        json_array_add_object_element(array, object);
    }
    return array;
}

static JsonArray *list_bundle(const char *path, GError **error)
{
    g_autoptr(EspBundle) bundle = esp_bundle_open(path, error);
    VmcConfig *config = bundle ? esp_bundle_get_config(bundle, error) : NULL;
    JsonArray *array;

    if (!config)
        return NULL;
    array = json_array_new();
    for (guint i = 0; i < config->devices->len; i++) {
        const VmcDeviceConfig *device = g_ptr_array_index(config->devices, i);
        g_autofree char *text = esp_vfkit_device_text(device);
        g_autofree char *valid = g_utf8_make_valid(text, -1);
        JsonObject *object = json_object_new();
        json_object_set_int_member(object, "number", i);
        json_object_set_string_member(object, "device", valid);
        json_object_set_string_member(object, "help", vmc_device_info(device->kind)->help);
        json_array_add_object_element(array, object);
    }
    vmc_config_free(config);
    return array;
}

/* "resize MIB: makes the disk larger and tells the guest", in English as its process and JSON have it. */
static void print_action(const char *action)
{
    const char *help = strstr(action, ": ");

    if (help && help[2])
        printf("       %.*s: %s\n", (int)(help - action), action, _(help + 2));
    else
        printf("       %s\n", action);
}

static void print_devices(JsonArray *array)
{
    for (guint i = 0; i < json_array_get_length(array); i++) {
        JsonObject *object = json_array_get_object_element(array, i);
        printf("%3" G_GINT64_FORMAT "  %s\n     %s\n", json_object_get_int_member(object, "number"),
               json_object_get_string_member(object, "device"),
               _(json_object_get_string_member(object, "help")));
        JsonArray *actions = json_object_has_member(object, "actions")
                                 ? json_object_get_array_member(object, "actions")
                                 : NULL;
        for (guint n = 0; actions && n < json_array_get_length(actions); n++)
            print_action(json_array_get_string_element(actions, n));
    }
}

int esp_ctl_devices(int argc, char **argv)
{
    static const EspCommand command = {
        "devices", N_("MACHINE"),
        N_("Lists what a machine has, and what can be done with it while it runs.\n\n"
           "  espalierctl devices add MACHINE KIND[,OPTION]...\n"
           "  espalierctl devices remove MACHINE NUMBER\n"
           "change what a machine in the library has, from its next start on. Devices are described as "
           "after\n"
           "“espalierctl run --device”; the file of a disk that is removed stays."),
        1, 1};
    gboolean json = FALSE;
    const GOptionEntry entries[] = {{"json", 0, 0, G_OPTION_ARG_NONE, &json, N_("For programs"), NULL}, {0}};
    g_autoptr(GVariant) devices = NULL;
    g_autoptr(JsonArray) array = NULL;
    GError *error = NULL;
    EspTarget target;
    int status;

    if (argc > 1 && strcmp(argv[0], "add") == 0)
        return esp_ctl_devices_add(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[0], "remove") == 0)
        return esp_ctl_devices_remove(argc - 1, argv + 1);
    g_auto(GStrv) words = esp_command_on(&target, &command, entries, argc, argv, &status);

    if (!words)
        return status;
    /* A process whose machine is off knows no more than the bundle. */
    if (target.machine && esp_machine1_call_devices_sync(target.machine, &devices, NULL, NULL))
        array = list_running(devices);
    else if (target.bundle)
        array = list_bundle(target.bundle, &error);
    else
        error = g_error_new_literal(VMC_ERROR, VMC_ERROR_STATE, _("the machine has ended"));
    esp_target_clear(&target);
    if (!array)
        return esp_target_complain(error);
    if (json)
        esp_output_json(json_node_init_array(json_node_alloc(), array));
    else
        print_devices(array);
    return ESP_EXIT_OK;
}

/* The number of a device; false, and the user was told: it is none. */
static bool parse_number(const char *text, guint *number)
{
    guint64 value;

    if (!g_ascii_string_to_unsigned(text, 10, 0, G_MAXUINT32, &value, NULL)) {
        esp_ctl_say(_("“%s” is no number of a device; espalierctl devices MACHINE lists them"), text);
        return false;
    }
    *number = (guint)value;
    return true;
}

int esp_ctl_device(int argc, char **argv)
{
    g_autofree char *reply = NULL;
    GError *error = NULL;
    EspTarget target;
    guint index;

    if (argc == 1 && strcmp(argv[0], "--help") == 0) {
        fputs(
            _("Usage: espalierctl device MACHINE NUMBER ACTION [ARGUMENT]...\n"
              "Does something with a device of a running machine; espalierctl devices MACHINE says what.\n"),
            stdout);
        return ESP_EXIT_OK;
    }
    if (argc < 3) {
        esp_ctl_say(
            _("device needs a machine, the number of a device and an action; see espalierctl devices"));
        return ESP_EXIT_USAGE;
    }
    if (!parse_number(argv[1], &index) || !esp_target_open_running(&target, argv[0]))
        return ESP_EXIT_USAGE;
    g_autofree const char **arguments = g_new0(const char *, (gsize)argc - 2);
    for (int i = 3; i < argc; i++)
        arguments[i - 3] = argv[i];
    bool good = esp_machine1_call_act_sync(target.machine, index, argv[2], arguments, &reply, NULL, &error);
    esp_target_clear(&target);
    if (good)
        printf("%s%s", reply, *reply && !g_str_has_suffix(reply, "\n") ? "\n" : "");
    return esp_target_status(good, error);
}

/* A device as it was typed, with a path that holds in another folder, too. NULL: it was no good. */
static char *device_text(const char *typed)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) items = esp_items_split("attach", typed, &error);
    VmcConfig *config = vmc_config_new();
    char *text = NULL;

    if (items && esp_vfkit_add_device(config, items, &error)) {
        VmcDeviceConfig *device = g_ptr_array_index(config->devices, 0);
        const VmcDeviceInfo *info = vmc_device_info(device->kind);

        for (unsigned i = 0; i < info->n_fields; i++) {
            char **value = vmc_field_in(&info->fields[i], device);
            if (info->fields[i].type != VMC_FIELD_PATH || !*value)
                continue;
            char *full = g_canonicalize_filename(*value, NULL);
            g_free(*value);
            *value = full;
        }
        text = esp_vfkit_device_text(device);
    } else {
        esp_ctl_say("%s", error->message);
    }
    vmc_config_free(config);
    return text;
}

int esp_ctl_attach(int argc, char **argv)
{
    static const EspCommand command = {
        "attach", N_("MACHINE DEVICE"),
        N_("Plugs a device into a running machine and prints its number; such as\n"
           "usb-mass-storage,path=FILE,readonly."),
        2, 2};
    GError *error = NULL;
    EspTarget target;
    guint index;
    int status;
    g_auto(GStrv) words = esp_command_words(&command, NULL, argc, argv, &status);

    if (!words)
        return status;
    g_autofree char *text = device_text(words[2]);
    if (!text || !esp_target_open_running(&target, words[1]))
        return ESP_EXIT_USAGE;
    bool good = esp_machine1_call_attach_sync(target.machine, text, &index, NULL, &error);
    esp_target_clear(&target);
    if (good)
        printf("%u\n", index);
    return esp_target_status(good, error);
}

int esp_ctl_detach(int argc, char **argv)
{
    static const EspCommand command = {
        "detach", N_("MACHINE NUMBER"),
        N_("Pulls a device out of a running machine; espalierctl devices MACHINE says its number."), 2, 2};
    GError *error = NULL;
    EspTarget target;
    guint index;
    int status;
    g_auto(GStrv) words = esp_command_words(&command, NULL, argc, argv, &status);

    if (!words)
        return status;
    if (!parse_number(words[2], &index) || !esp_target_open_running(&target, words[1]))
        return ESP_EXIT_USAGE;
    bool good = esp_machine1_call_detach_sync(target.machine, index, NULL, &error);
    esp_target_clear(&target);
    return esp_target_status(good, error);
}
