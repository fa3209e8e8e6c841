/*
 * A machine's settings from the command line, by their table (app/settings.h).
 *
 * A change is made whole or not at all: with several NAME=VALUE a wrong one leaves all as it was.
 */
#include "app/ctl/settings.h"

#include <glib/gi18n.h>
#include <json-glib/json-glib.h>
#include <stdio.h>
#include <string.h>

#include "app/bundle.h"
#include "app/locale.h"
#include "app/ctl/run.h"
#include "app/ctl/target.h"
#include "app/settings.h"
#include "app/settings_manual.h"
#include "app/vfkit_device.h"
#include "app/vfkit_items.h"

static int say_error(GError *error, int status)
{
    esp_ctl_say("%s", error->message);
    g_error_free(error);
    return status;
}

/* The bundle that the first word names; NULL, and said so. Free with g_free. */
static char *find_machine(const char *command, int argc, char **argv)
{
    if (argc)
        return esp_ctl_need_bundle(argv[0]);
    /* Translators: a command of espalierctl, such as “set”. */
    esp_ctl_say(_("%s needs a machine: its name or its folder"), command);
    return NULL;
}

static bool is_help(int argc, char **argv)
{
    return argc == 1 && (!strcmp(argv[0], "--help") || !strcmp(argv[0], "-h"));
}

/* ---- show ---- */

static bool is_of(const EspSetting *setting, const VmcDeviceConfig *device)
{
    bool of_device = setting->scope == ESP_SCOPE_DEVICE || setting->scope == ESP_SCOPE_KIND;

    if (!device)
        return !of_device;
    return of_device && esp_setting_is_for(setting, device->kind) &&
           (setting->scope == ESP_SCOPE_KIND || esp_setting_field(setting, device->kind));
}

/* What few people need is shown once it is something. */
static bool is_worth_showing(const EspSetting *setting, const VmcDeviceConfig *device, const char *value)
{
    g_autofree char *preset = esp_setting_get_default(setting, device ? device->kind : VMC_DEVICE_KINDS);

    return *value && (!(setting->flags & ESP_SETTING_RARE) || strcmp(value, preset));
}

static void print_value(const char *name, const char *value)
{
    g_auto(GStrv) lines = g_strsplit(value, "\n", -1);

    for (unsigned i = 0; lines[i]; i++)
        printf("  %-24s %s\n", i ? "" : name, lines[i]);
}

static void print_settings(const EspMachineSettings *machine, int index)
{
    const VmcDeviceConfig *device = esp_machine_settings_device(machine, index);
    unsigned n;
    const EspSetting *table = esp_settings_table(&n);

    for (unsigned i = 0; i < n; i++) {
        if (!is_of(&table[i], device))
            continue;
        g_autofree char *value = esp_setting_get(&table[i], machine, device);
        g_autofree char *name = esp_setting_full_name(&table[i], machine, index);

        if (is_worth_showing(&table[i], device, value))
            print_value(name, value);
    }
}

static void show_text(const EspMachineSettings *machine)
{
    printf("%s\n", machine->path);
    print_settings(machine, -1);
    for (int i = 0; esp_machine_settings_device(machine, i); i++) {
        g_autofree char *title = esp_device_title(esp_machine_settings_device(machine, i));

        printf("\n%d: %s\n", i, title);
        print_settings(machine, i);
    }
}

/* Numbers as numbers, memory in bytes. */
static void add_value(JsonBuilder *builder, const EspSetting *setting, const EspMachineSettings *machine,
                      const VmcDeviceConfig *device)
{
    VmcDeviceKind kind = device ? device->kind : VMC_DEVICE_KINDS;
    g_autofree char *value = esp_setting_get(setting, machine, device);
    g_auto(GStrv) list = NULL;

    switch (esp_setting_type(setting, kind)) {
    case VMC_FIELD_FLAG:
        json_builder_add_boolean_value(builder, !strcmp(value, "yes"));
        break;
    case VMC_FIELD_NUMBER:
        json_builder_add_int_value(builder, g_ascii_strtoll(value, NULL, 10));
        break;
    case VMC_FIELD_SIZE:
        json_builder_add_int_value(builder, (gint64)machine->config->memory);
        break;
    case VMC_FIELD_LIST:
        list = g_strsplit(value, ",", -1);
        json_builder_begin_array(builder);
        for (unsigned i = 0; list[i]; i++)
            json_builder_add_string_value(builder, list[i]);
        json_builder_end_array(builder);
        break;
    default:
        if (*value)
            json_builder_add_string_value(builder, value);
        else
            json_builder_add_null_value(builder);
    }
}

static void add_settings(JsonBuilder *builder, const EspMachineSettings *machine, int index)
{
    const VmcDeviceConfig *device = esp_machine_settings_device(machine, index);
    unsigned n;
    const EspSetting *table = esp_settings_table(&n);

    json_builder_set_member_name(builder, "settings");
    json_builder_begin_object(builder);
    for (unsigned i = 0; i < n; i++)
        if (is_of(&table[i], device)) {
            json_builder_set_member_name(builder, table[i].name);
            add_value(builder, &table[i], machine, device);
        }
    json_builder_end_object(builder);
}

static JsonNode *to_json(const EspMachineSettings *machine)
{
    g_autoptr(JsonBuilder) builder = json_builder_new();
    g_autofree char *state = NULL;
    bool runs = esp_bundle_get_runner(machine->path, NULL, &state);

    json_builder_begin_object(builder);
    json_builder_set_member_name(builder, "path");
    json_builder_add_string_value(builder, machine->path);
    json_builder_set_member_name(builder, "state");
    json_builder_add_string_value(builder, runs && state && *state ? state : "stopped");
    add_settings(builder, machine, -1);
    json_builder_set_member_name(builder, "devices");
    json_builder_begin_array(builder);
    for (int i = 0; esp_machine_settings_device(machine, i); i++) {
        json_builder_begin_object(builder);
        json_builder_set_member_name(builder, "number");
        json_builder_add_int_value(builder, i);
        json_builder_set_member_name(builder, "kind");
        json_builder_add_string_value(builder,
                                      vmc_device_kind_name(esp_machine_settings_device(machine, i)->kind));
        add_settings(builder, machine, i);
        json_builder_end_object(builder);
    }
    json_builder_end_array(builder);
    json_builder_end_object(builder);
    return json_builder_get_root(builder);
}

static void show_json(const EspMachineSettings *machine)
{
    JsonNode *root = to_json(machine);
    g_autofree char *text = json_to_string(root, TRUE);

    printf("%s\n", text);
    json_node_unref(root);
}

int esp_ctl_show(int argc, char **argv)
{
    GError *error = NULL;
    bool json = false;

    if (is_help(argc, argv)) {
        fputs(_("Usage: espalierctl show MACHINE [--json]\n"
                "What a machine in the library is told: its settings and its devices.\n"),
              stdout);
        return ESP_EXIT_OK;
    }
    if (argc > 1 && (!strcmp(argv[0], "--json") || !strcmp(argv[1], "--json"))) {
        json = true;
        esp_locale_english();
        argv += !strcmp(argv[0], "--json");
        argc--;
    }
    if (argc > 1) {
        esp_ctl_say(_("“%s” is one word too many; show takes a machine and --json"), argv[1]);
        return ESP_EXIT_USAGE;
    }
    g_autofree char *bundle = find_machine("show", argc, argv);
    if (!bundle)
        return ESP_EXIT_USAGE;
    g_autoptr(EspMachineSettings) machine = esp_machine_settings_read(bundle, &error);
    if (!machine)
        return say_error(error, ESP_EXIT_FAILED);
    (json ? show_json : show_text)(machine);
    return ESP_EXIT_OK;
}

/* ---- set ---- */

/* Sets all of the words; those that cannot be used as things are get a warning, since a person may know
 * better. */
static bool set_all(EspMachineSettings *machine, gpointer data, GError **error)
{
    for (char **word = data; *word; word++) {
        const char *equals = strchr(*word, '=');
        g_autofree char *name = equals ? g_strndup(*word, (gsize)(equals - *word)) : NULL;
        const EspSetting *setting;
        VmcDeviceConfig *device;
        const char *why;
        int index;

        if (!equals) {
            g_set_error(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FORMAT,
                        _("“%s” has no value; write %s=VALUE"), *word, *word);
            return false;
        }
        setting = esp_setting_find(machine, name, &index, error);
        device = esp_machine_settings_device(machine, index);
        if (!setting || !esp_setting_set(setting, machine, device, equals + 1, error))
            return false;
        why = esp_setting_why_not(setting, machine, device);
        if (why && equals[1])
            esp_ctl_say("%s: %s", name, why);
    }
    return true;
}

static void print_set_help(void)
{
    g_autofree char *list = esp_settings_help();

    fputs(_("Usage: espalierctl set MACHINE NAME=VALUE...\n"
            "Changes settings of a machine in the library; all of them, or none if one is wrong. An empty "
            "value is\n"
            "that of a new machine. Of several devices of a kind say which, by the number that “espalierctl\n"
            "devices” shows: disk.3.cache=unsafe.\n"),
          stdout);
    fputs(list, stdout);
}

int esp_ctl_set(int argc, char **argv)
{
    GError *error = NULL;

    if (is_help(argc, argv)) {
        print_set_help();
        return ESP_EXIT_OK;
    }
    if (argc == 1 && !strcmp(argv[0], "--print-manual")) { /* for the build */
        esp_locale_english();
        g_autofree char *page = esp_settings_manual();
        fputs(page, stdout);
        return ESP_EXIT_OK;
    }
    g_autofree char *bundle = find_machine("set", argc, argv);
    if (!bundle)
        return ESP_EXIT_USAGE;
    if (argc < 2) {
        esp_ctl_say(_("there is nothing to set; give NAME=VALUE, such as memory=4G, or see set --help"));
        return ESP_EXIT_USAGE;
    }
    if (!esp_machine_settings_change(bundle, set_all, argv + 1, NULL, &error))
        return say_error(error, ESP_EXIT_USAGE);
    if (esp_machine_settings_is_running(bundle))
        esp_ctl_say(_("“%s” runs: what it does not look up each time takes effect at its next start"),
                    argv[0]);
    return ESP_EXIT_OK;
}

/* ---- devices ---- */

static bool add_device(EspMachineSettings *machine, gpointer data, GError **error)
{
    const EspDeviceWords *words;
    const VmcDeviceConfig *device;
    const char *why;

    if (!esp_vfkit_add_device(machine->config, data, error))
        return false;
    device = esp_machine_settings_device(machine, (int)machine->config->devices->len - 1);
    words = esp_device_words(device->kind);
    why = words && words->why_not ? words->why_not(machine, device) : NULL;
    if (why)
        esp_ctl_say("%s: %s", vmc_device_kind_name(device->kind), why);
    return true;
}

int esp_ctl_devices_add(int argc, char **argv)
{
    g_autofree char *bundle = find_machine("devices add", argc, argv);
    GError *error = NULL;

    if (!bundle)
        return ESP_EXIT_USAGE;
    if (argc != 2) {
        esp_ctl_say(_("devices add takes a machine and a device, such as virtio-blk,path=FILE"));
        return ESP_EXIT_USAGE;
    }
    g_autoptr(GPtrArray) items = esp_items_split("device", argv[1], &error);
    if (!items || !esp_machine_settings_change(bundle, add_device, items, NULL, &error))
        return say_error(error, ESP_EXIT_USAGE);
    return ESP_EXIT_OK;
}

static bool remove_device(EspMachineSettings *machine, gpointer data, GError **error)
{
    int index = *(int *)data;

    if (esp_machine_settings_remove(machine, index))
        return true;
    g_set_error(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FORMAT,
                ngettext("There is no device %d; the machine has %u, counted from 0.",
                         "There is no device %d; the machine has %u, counted from 0.",
                         machine->config->devices->len),
                index, machine->config->devices->len);
    return false;
}

int esp_ctl_devices_remove(int argc, char **argv)
{
    g_autofree char *bundle = find_machine("devices remove", argc, argv);
    GError *error = NULL;
    guint64 number;
    int index;

    if (!bundle)
        return ESP_EXIT_USAGE;
    if (argc != 2 || !g_ascii_string_to_unsigned(argv[1], 10, 0, G_MAXINT, &number, NULL)) {
        esp_ctl_say(
            _("devices remove takes a machine and the number of a device, as “espalierctl devices” lists "
              "them"));
        return ESP_EXIT_USAGE;
    }
    index = (int)number;
    if (!esp_machine_settings_change(bundle, remove_device, &index, NULL, &error))
        return say_error(error, ESP_EXIT_USAGE);
    return ESP_EXIT_OK;
}
