/*
 * Commands to a running machine over its control socket, and the list of a machine's devices whether it runs
 * or not.
 *
 * A MACHINE is the socket of `espalierctl run --control`, a bundle's folder, or the name of a machine in the
 * library.
 */
#include "app/ctl/control.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "app/bundle.h"
#include "app/control.h"
#include "app/ctl/run.h"
#include "app/ctl/settings.h"
#include "app/library.h"
#include "app/vfkit_device.h"
#include "app/vfkit_items.h"

#define CALL_MS 60000

typedef struct Target {
    char *bundle;          /* its folder, or NULL */
    GDBusConnection *peer; /* or NULL: it does not run */
} Target;

static void target_clear(Target *target)
{
    g_clear_object(&target->peer);
    g_free(target->bundle);
}

static bool is_kind(const char *path, mode_t kind)
{
    struct stat st;

    return stat(path, &st) == 0 && (st.st_mode & S_IFMT) == kind;
}

char *esp_ctl_find_bundle(const char *name)
{
    g_autofree char *library = esp_library_default_dir();
    g_autofree char *file = g_strconcat(name, ".espalier", NULL);
    g_autofree char *path = g_build_filename(library, file, NULL);

    if (is_kind(name, S_IFDIR))
        return g_strdup(name);
    return !strchr(name, '/') && is_kind(path, S_IFDIR) ? g_steal_pointer(&path) : NULL;
}

static bool open_target(const char *name, Target *target)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = NULL;

    *target = (Target){0};
    if (is_kind(name, S_IFSOCK)) {
        path = g_strdup(name);
    } else {
        target->bundle = esp_ctl_find_bundle(name);
        path = target->bundle ? esp_control_path_of(target->bundle) : NULL;
    }
    if (!path && !target->bundle) {
        esp_ctl_say(
            "there is no machine “%s”; give the name of one in the library, its folder, or the socket "
            "it was given with --control",
            name);
        return false;
    }
    if (path && is_kind(path, S_IFSOCK))
        target->peer = esp_control_connect(path, &error);
    if (error && !target->bundle) {
        esp_ctl_say("nobody answers on “%s”: %s", name, error->message);
        return false;
    }
    return true;
}

static GVariant *call_for(Target *target, const char *method, GVariant *parameters, const char *reply, int ms)
{
    g_autoptr(GError) error = NULL;
    GVariant *result = g_dbus_connection_call_sync(
        target->peer, NULL, ESP_CONTROL_PATH, ESP_CONTROL_INTERFACE, method, parameters,
        reply ? G_VARIANT_TYPE(reply) : NULL, G_DBUS_CALL_FLAGS_NONE, ms, NULL, &error);

    if (!result) {
        g_dbus_error_strip_remote_error(error);
        esp_ctl_say("%s", error->message);
    }
    return result;
}

static GVariant *call(Target *target, const char *method, GVariant *parameters, const char *reply)
{
    return call_for(target, method, parameters, reply, CALL_MS);
}

/* Connects to the machine named by the first word, which has to run. */
static bool open_running(const char *command, int argc, char **argv, Target *target)
{
    *target = (Target){0};
    if (argc < 1) {
        esp_ctl_say("%s needs a machine: its name, folder or control socket", command);
        return false;
    }
    if (!open_target(argv[0], target))
        return false;
    if (target->peer)
        return true;
    esp_ctl_say("“%s” does not run", argv[0]);
    target_clear(target);
    return false;
}

/* ---- devices ---- */

static void list_running(GVariant *devices)
{
    GVariantIter *list, *actions;
    const char *text, *help, *action;
    guint index;

    g_variant_get(devices, "(a(ussas))", &list);
    while (g_variant_iter_next(list, "(u&s&sas)", &index, &text, &help, &actions)) {
        printf("%3u  %s\n     %s\n", index, text, help);
        while (g_variant_iter_next(actions, "&s", &action))
            printf("       %s\n", action);
        g_variant_iter_free(actions);
    }
    g_variant_iter_free(list);
}

static bool list_bundle(const char *path)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(EspBundle) bundle = esp_bundle_open(path, &error);
    VmcConfig *config = bundle ? esp_bundle_get_config(bundle, &error) : NULL;

    if (!config) {
        esp_ctl_say("%s", error->message);
        return false;
    }
    for (guint i = 0; i < config->devices->len; i++) {
        const VmcDeviceConfig *device = g_ptr_array_index(config->devices, i);
        g_autofree char *text = esp_vfkit_device_text(device);

        printf("%3u  %s\n     %s\n", i, text, vmc_device_info(device->kind)->help);
    }
    vmc_config_free(config);
    return true;
}

int esp_ctl_devices(int argc, char **argv)
{
    g_autoptr(GVariant) devices = NULL;
    Target target;
    bool ok;

    if (argc > 1 && strcmp(argv[0], "add") == 0)
        return esp_ctl_devices_add(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[0], "remove") == 0)
        return esp_ctl_devices_remove(argc - 1, argv + 1);
    if (argc != 1 || strcmp(argv[0], "--help") == 0) {
        printf("Usage: espalierctl devices MACHINE\n"
               "Lists what a machine has, and what can be done with it while it runs.\n\n"
               "       espalierctl devices add MACHINE KIND[,OPTION]...\n"
               "       espalierctl devices remove MACHINE NUMBER\n"
               "Change what a machine in the library has, from its next start on. Devices are described as "
               "after\n"
               "“espalierctl run --device”; the file of a disk that is removed stays.\n");
        return argc == 1 ? ESP_EXIT_OK : ESP_EXIT_USAGE;
    }
    if (!open_target(argv[0], &target))
        return ESP_EXIT_USAGE;
    if (target.peer) {
        devices = call(&target, "Devices", NULL, "(a(ussas))");
        if (devices)
            list_running(devices);
        ok = devices != NULL;
    } else {
        ok = list_bundle(target.bundle);
    }
    target_clear(&target);
    return ok ? ESP_EXIT_OK : ESP_EXIT_FAILED;
}

int esp_ctl_device(int argc, char **argv)
{
    g_autoptr(GVariant) result = NULL;
    Target target;
    const char *reply;
    char *end = NULL;
    unsigned long index = argc > 1 ? strtoul(argv[1], &end, 10) : 0;

    if (argc == 1 && strcmp(argv[0], "--help") == 0) {
        printf("Usage: espalierctl device MACHINE NUMBER ACTION [ARGUMENT]...\n"
               "Does something with a device of a running machine; espalierctl devices MACHINE says what.\n");
        return ESP_EXIT_OK;
    }
    if (argc < 3 || *end || index > G_MAXUINT32) {
        esp_ctl_say("device needs a machine, the number of a device and an action; see espalierctl devices");
        return ESP_EXIT_USAGE;
    }
    if (!open_running("device", argc, argv, &target))
        return ESP_EXIT_USAGE;
    result = call(&target, "Act",
                  g_variant_new("(us@as)", (guint)index, argv[2],
                                g_variant_new_strv((const char *const *)argv + 3, argc - 3)),
                  "(s)");
    if (result) {
        g_variant_get(result, "(&s)", &reply);
        printf("%s%s", reply, *reply && !g_str_has_suffix(reply, "\n") ? "\n" : "");
    }
    target_clear(&target);
    return result ? ESP_EXIT_OK : ESP_EXIT_FAILED;
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
    g_autoptr(GVariant) result = NULL;
    g_autofree char *text = NULL;
    Target target;
    guint index;

    if (argc != 2) {
        printf("Usage: espalierctl attach MACHINE DEVICE\n"
               "Plugs a device into a running machine and prints its number; such as\n"
               "usb-mass-storage,path=FILE,readonly.\n");
        return argc == 1 && strcmp(argv[0], "--help") == 0 ? ESP_EXIT_OK : ESP_EXIT_USAGE;
    }
    text = device_text(argv[1]);
    if (!text || !open_running("attach", argc, argv, &target))
        return ESP_EXIT_USAGE;
    result = call(&target, "Attach", g_variant_new("(s)", text), "(u)");
    if (result) {
        g_variant_get(result, "(u)", &index);
        printf("%u\n", index);
    }
    target_clear(&target);
    return result ? ESP_EXIT_OK : ESP_EXIT_FAILED;
}

int esp_ctl_detach(int argc, char **argv)
{
    g_autoptr(GVariant) result = NULL;
    Target target;
    char *end = NULL;
    unsigned long index = argc == 2 ? strtoul(argv[1], &end, 10) : 0;

    if (argc != 2 || end == argv[1] || *end || index > G_MAXUINT32) {
        printf("Usage: espalierctl detach MACHINE NUMBER\n"
               "Pulls a device out of a running machine; espalierctl devices MACHINE says its number.\n");
        return argc == 1 && strcmp(argv[0], "--help") == 0 ? ESP_EXIT_OK : ESP_EXIT_USAGE;
    }
    if (!open_running("detach", argc, argv, &target))
        return ESP_EXIT_USAGE;
    result = call(&target, "Detach", g_variant_new("(u)", (guint)index), NULL);
    target_clear(&target);
    return result ? ESP_EXIT_OK : ESP_EXIT_FAILED;
}

int esp_ctl_snapshot(int argc, char **argv)
{
    g_autoptr(GVariant) result = NULL;
    Target target;

    if (argc != 2) {
        printf("Usage: espalierctl snapshot MACHINE NAME\n"
               "Keeps all qcow2 disks that a running machine writes to as they are at this moment; "
               "espalierctl disk\n"
               "lists what was kept of each, goes back to it and forgets it.\n");
        return argc == 1 && strcmp(argv[0], "--help") == 0 ? ESP_EXIT_OK : ESP_EXIT_USAGE;
    }
    if (!open_running("snapshot", argc, argv, &target))
        return ESP_EXIT_USAGE;
    result = call(&target, "Snapshot", g_variant_new("(s)", argv[1]), NULL);
    target_clear(&target);
    return result ? ESP_EXIT_OK : ESP_EXIT_FAILED;
}

int esp_ctl_save(int argc, char **argv)
{
    bool keep = argc > 0 && strcmp(argv[0], "--keep-running") == 0;
    g_autoptr(GVariant) result = NULL;
    g_autofree char *path = NULL;
    Target target;

    if (argc - keep != 2) {
        printf("Usage: espalierctl save [--keep-running] MACHINE FILE\n"
               "Saves a running machine to a file and stops it; espalierctl run ... --restore FILE brings it "
               "back as it\n"
               "was, as long as its disks are as they were. With --keep-running it goes on after it was "
               "saved.\n");
        return argc == 1 && strcmp(argv[0], "--help") == 0 ? ESP_EXIT_OK : ESP_EXIT_USAGE;
    }
    if (!open_running("save", argc - keep, argv + keep, &target))
        return ESP_EXIT_USAGE;
    path = g_canonicalize_filename(argv[keep + 1], NULL);
    result = call_for(&target, "Save", g_variant_new("(sb)", path, keep), NULL, G_MAXINT);
    target_clear(&target);
    return result ? ESP_EXIT_OK : ESP_EXIT_FAILED;
}

/* ---- pause, resume, stop ---- */

static int simple(const char *command, const char *method, int argc, char **argv)
{
    g_autoptr(GVariant) result = NULL;
    Target target;

    if (!open_running(command, argc, argv, &target))
        return ESP_EXIT_USAGE;
    result = call(&target, method, NULL, NULL);
    target_clear(&target);
    return result ? ESP_EXIT_OK : ESP_EXIT_FAILED;
}

int esp_ctl_pause(int argc, char **argv)
{
    return simple("pause", "Pause", argc, argv);
}

int esp_ctl_resume(int argc, char **argv)
{
    return simple("resume", "Resume", argc, argv);
}

int esp_ctl_stop(int argc, char **argv)
{
    bool force = argc > 0 && strcmp(argv[0], "--force") == 0;

    return simple("stop", force ? "Stop" : "RequestStop", argc - force, argv + force);
}
