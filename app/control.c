/*
 * The control socket's server (see control.h).
 *
 * Every method is carried out at once on the owner's thread, but for Save, which takes its time; what fails
 * comes back as a D-Bus error with the sentence of the GError. Peers that connect are held until they close.
 */
#include "app/control.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "app/vfkit_device.h"
#include "app/vfkit_items.h"

#define PEERS_MAX  16u
#define ERROR_NAME ESP_CONTROL_INTERFACE ".Failed"

static const char introspection[] =
    "<node><interface name='" ESP_CONTROL_INTERFACE "'>"
    "<property name='State' type='s' access='read'/>"
    "<method name='Pause'/><method name='Resume'/>"
    /* All disks as they are now, under a name. */
    "<method name='Snapshot'><arg direction='in' type='s'/></method>"
    /* To a file of this name; whether it goes on then. */
    "<method name='Save'><arg direction='in' type='s'/><arg direction='in' type='b'/></method>"
    "<method name='RequestStop'/><method name='Stop'/>"
    /* Number, kind and settings of each device, and the actions it knows. */
    "<method name='Devices'><arg direction='out' type='a(ussas)'/></method>"
    "<method name='Act'><arg direction='in' type='u'/><arg direction='in' type='s'/>"
    "<arg direction='in' type='as'/><arg direction='out' type='s'/></method>"
    /* A device in vfkit's words, with an absolute path; its number. */
    "<method name='Attach'><arg direction='in' type='s'/><arg direction='out' type='u'/></method>"
    "<method name='Detach'><arg direction='in' type='u'/></method>"
    "<signal name='StateChanged'><arg type='s'/></signal>"
    "</interface></node>";

struct EspControl {
    VmcMachine *machine;
    char *path;
    GDBusServer *server;
    GDBusNodeInfo *node;
    GPtrArray *peers; /* of GDBusConnection */
};

/* ---- methods ---- */

/* Answers with nothing, or with the error, which it takes over. */
static void finish(GDBusMethodInvocation *invocation, GError *error)
{
    if (!error) {
        g_dbus_method_invocation_return_value(invocation, NULL);
        return;
    }
    g_dbus_method_invocation_return_dbus_error(invocation, ERROR_NAME, error->message);
    g_error_free(error);
}

static void call_pause(EspControl *control, GVariant *parameters, GDBusMethodInvocation *invocation)
{
    GError *error = NULL;
    vmc_machine_pause(control->machine, &error);

    finish(invocation, error);
}

static void call_resume(EspControl *control, GVariant *parameters, GDBusMethodInvocation *invocation)
{
    GError *error = NULL;
    vmc_machine_resume(control->machine, &error);

    finish(invocation, error);
}

static void call_snapshot(EspControl *control, GVariant *parameters, GDBusMethodInvocation *invocation)
{
    GError *error = NULL;
    const char *name;

    g_variant_get(parameters, "(&s)", &name);
    vmc_machine_take_snapshot(control->machine, name, &error);
    finish(invocation, error);
}

static void call_request_stop(EspControl *control, GVariant *parameters, GDBusMethodInvocation *invocation)
{
    GError *error = NULL;
    vmc_machine_request_stop(control->machine, &error);

    finish(invocation, error);
}

/* Answers first: stopping may end whoever owns the machine, and this with it. */
static void answer_and_stop(VmcMachine *machine, GDBusMethodInvocation *invocation)
{
    GDBusConnection *peer = g_object_ref(g_dbus_method_invocation_get_connection(invocation));

    g_object_ref(machine);
    finish(invocation, NULL);
    g_dbus_connection_flush_sync(peer, NULL, NULL);
    vmc_machine_stop(machine);
    g_object_unref(machine);
    g_object_unref(peer);
}

static void call_stop(EspControl *control, GVariant *parameters, GDBusMethodInvocation *invocation)
{
    answer_and_stop(control->machine, invocation);
}

typedef struct Save {
    GDBusMethodInvocation *invocation;
    bool ran, keep;
} Save;

/* What ran goes on if it is to, or could not be saved. The control may be gone by now. */
static void on_saved(GObject *source, GAsyncResult *result, gpointer data)
{
    VmcMachine *machine = VMC_MACHINE(source);
    Save *save = data;
    GError *error = NULL;

    if (vmc_machine_save_finish(machine, result, &error) && !save->keep) {
        answer_and_stop(machine, save->invocation);
    } else {
        if (save->ran && vmc_machine_get_state(machine) == VMC_MACHINE_PAUSED)
            vmc_machine_resume(machine, error ? NULL : &error);
        finish(save->invocation, error);
    }
    g_free(save);
}

static void call_save(EspControl *control, GVariant *parameters, GDBusMethodInvocation *invocation)
{
    bool runs = vmc_machine_get_state(control->machine) == VMC_MACHINE_RUNNING;
    GError *error = NULL;
    gboolean keep;
    const char *path;
    Save *save;

    g_variant_get(parameters, "(&sb)", &path, &keep);
    if (runs && !vmc_machine_pause(control->machine, &error)) {
        finish(invocation, error);
        return;
    }
    save = g_new(Save, 1);
    *save = (Save){invocation, runs, keep};
    vmc_machine_save(control->machine, path, NULL, on_saved, save);
}

static void call_devices(EspControl *control, GVariant *parameters, GDBusMethodInvocation *invocation)
{
    const VmcConfig *config = vmc_machine_get_config(control->machine);
    GVariantBuilder list;

    g_variant_builder_init(&list, G_VARIANT_TYPE("a(ussas)"));
    for (guint i = 0; i < config->devices->len; i++) {
        const VmcDeviceConfig *device = g_ptr_array_index(config->devices, i);
        const VmcDeviceInfo *info = vmc_device_info(device->kind);
        g_autofree char *text = esp_vfkit_device_text(device);

        g_variant_builder_open(&list, G_VARIANT_TYPE("(ussas)"));
        g_variant_builder_add(&list, "u", i);
        g_variant_builder_add(&list, "s", text);
        g_variant_builder_add(&list, "s", info->help);
        g_variant_builder_open(&list, G_VARIANT_TYPE("as"));
        for (unsigned n = 0; n < info->n_actions; n++) {
            const VmcAction *action = &info->actions[n];
            g_autofree char *line = g_strdup_printf("%s%s%s: %s", action->name, action->arguments ? " " : "",
                                                    action->arguments ? action->arguments : "", action->help);

            g_variant_builder_add(&list, "s", line);
        }
        g_variant_builder_close(&list);
        g_variant_builder_close(&list);
    }
    g_dbus_method_invocation_return_value(invocation, g_variant_new("(a(ussas))", &list));
}

static void call_act(EspControl *control, GVariant *parameters, GDBusMethodInvocation *invocation)
{
    g_autofree const char **arguments = NULL;
    g_autofree char *reply = NULL;
    GError *error = NULL;
    const char *action;
    unsigned index;

    g_variant_get(parameters, "(u&s^a&s)", &index, &action, &arguments);
    reply = vmc_machine_act(control->machine, index, action, arguments, &error);
    if (reply)
        g_dbus_method_invocation_return_value(invocation, g_variant_new("(s)", reply));
    else
        finish(invocation, error);
}

static void call_attach(EspControl *control, GVariant *parameters, GDBusMethodInvocation *invocation)
{
    VmcConfig *config = vmc_config_new();
    g_autoptr(GPtrArray) items = NULL;
    GError *error = NULL;
    const char *text;
    int index = -1;

    g_variant_get(parameters, "(&s)", &text);
    items = esp_items_split("attach", text, &error);
    if (items && esp_vfkit_add_device(config, items, &error))
        index = vmc_machine_attach(control->machine, g_ptr_array_index(config->devices, 0), &error);
    vmc_config_free(config);
    if (index >= 0)
        g_dbus_method_invocation_return_value(invocation, g_variant_new("(u)", (guint)index));
    else
        finish(invocation, error);
}

static void call_detach(EspControl *control, GVariant *parameters, GDBusMethodInvocation *invocation)
{
    GError *error = NULL;
    unsigned index;

    g_variant_get(parameters, "(u)", &index);
    vmc_machine_detach(control->machine, index, &error);
    finish(invocation, error);
}

static const struct {
    const char *name;
    void (*call)(EspControl *control, GVariant *parameters, GDBusMethodInvocation *invocation);
} methods[] = {
    {"Pause", call_pause},   {"Resume", call_resume},   {"RequestStop", call_request_stop},
    {"Stop", call_stop},     {"Devices", call_devices}, {"Act", call_act},
    {"Attach", call_attach}, {"Detach", call_detach},   {"Snapshot", call_snapshot},
    {"Save", call_save},
};

static void on_call(GDBusConnection *peer, const char *sender, const char *path, const char *interface,
                    const char *name, GVariant *parameters, GDBusMethodInvocation *invocation, gpointer data)
{
    for (size_t i = 0; i < G_N_ELEMENTS(methods); i++)
        if (strcmp(methods[i].name, name) == 0) {
            methods[i].call(data, parameters, invocation);
            return;
        }
}

static GVariant *on_get(GDBusConnection *peer, const char *sender, const char *path, const char *interface,
                        const char *name, GError **error, gpointer data)
{
    EspControl *control = data;

    return g_variant_new_string(vmc_machine_state_name(vmc_machine_get_state(control->machine)));
}

static const GDBusInterfaceVTable vtable = {.method_call = on_call, .get_property = on_get};

/* ---- peers ---- */

static void on_state_changed(VmcMachine *machine, int state, gpointer data)
{
    EspControl *control = data;

    for (guint i = 0; i < control->peers->len; i++)
        g_dbus_connection_emit_signal(
            g_ptr_array_index(control->peers, i), NULL, ESP_CONTROL_PATH, ESP_CONTROL_INTERFACE,
            "StateChanged", g_variant_new("(s)", vmc_machine_state_name((VmcMachineState)state)), NULL);
}

static void on_closed(GDBusConnection *peer, gboolean remote, GError *error, gpointer data)
{
    EspControl *control = data;

    g_signal_handlers_disconnect_by_data(peer, control);
    g_ptr_array_remove(control->peers, peer);
}

static gboolean on_new_peer(GDBusServer *server, GDBusConnection *peer, gpointer data)
{
    EspControl *control = data;

    if (control->peers->len >= PEERS_MAX ||
        !g_dbus_connection_register_object(peer, ESP_CONTROL_PATH, control->node->interfaces[0], &vtable,
                                           control, NULL, NULL))
        return FALSE;
    g_signal_connect(peer, "closed", G_CALLBACK(on_closed), control);
    g_ptr_array_add(control->peers, g_object_ref(peer));
    return TRUE;
}

static gboolean on_authorize(GDBusAuthObserver *observer, GIOStream *stream, GCredentials *credentials,
                             gpointer data)
{
    g_autoptr(GCredentials) own = g_credentials_new();

    return credentials && g_credentials_is_same_user(credentials, own, NULL);
}

/* ---- the socket ---- */

static bool fail(GError **error, const char *path, const char *why)
{
    g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE, "The control socket “%s” cannot be made: %s", path,
                why);
    return false;
}

/* Removes a socket that a process which is gone has left. */
static bool clear_stale(const char *path, GError **error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat st;
    bool alive;
    int fd;

    if (lstat(path, &st) < 0)
        return errno == ENOENT || fail(error, path, g_strerror(errno));
    if (!S_ISSOCK(st.st_mode))
        return fail(error, path, "there is a file of that name; give another name or remove it");
    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    alive = fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 || errno != ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    if (alive)
        return fail(error, path, "another machine uses it; give another name");
    return unlink(path) == 0 || fail(error, path, g_strerror(errno));
}

static bool open_server(EspControl *control, GError **error)
{
    g_autoptr(GDBusAuthObserver) observer = g_dbus_auth_observer_new();
    g_autofree char *escaped = g_dbus_address_escape_value(control->path);
    g_autofree char *address = g_strdup_printf("unix:path=%s", escaped);
    g_autofree char *guid = g_dbus_generate_guid();
    GError *cause = NULL;

    g_signal_connect(observer, "authorize-authenticated-peer", G_CALLBACK(on_authorize), NULL);
    control->server = g_dbus_server_new_sync(address, G_DBUS_SERVER_FLAGS_NONE, guid, observer, NULL, &cause);
    if (!control->server) {
        fail(error, control->path, cause->message);
        g_error_free(cause);
        return false;
    }
    /* Who may connect is asked of each peer, too; a process-wide umask is not ours to change. */
    if (chmod(control->path, 0600) < 0)
        return fail(error, control->path, g_strerror(errno));
    g_signal_connect(control->server, "new-connection", G_CALLBACK(on_new_peer), control);
    g_dbus_server_start(control->server);
    return true;
}

EspControl *esp_control_new(VmcMachine *machine, const char *path, GError **error)
{
    EspControl *control;

    if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
        fail(error, path, "the name is too long for a socket; give one of at most 107 bytes");
        return NULL;
    }
    if (!clear_stale(path, error))
        return NULL;
    control = g_new0(EspControl, 1);
    control->machine = machine;
    control->path = g_canonicalize_filename(path, NULL);
    control->peers = g_ptr_array_new_with_free_func(g_object_unref);
    control->node = g_dbus_node_info_new_for_xml(introspection, NULL);
    g_signal_connect(machine, "state-changed", G_CALLBACK(on_state_changed), control);
    if (open_server(control, error))
        return control;
    esp_control_free(control);
    return NULL;
}

void esp_control_free(EspControl *control)
{
    if (!control)
        return;
    g_signal_handlers_disconnect_by_data(control->machine, control);
    if (control->server) {
        g_dbus_server_stop(control->server);
        unlink(control->path);
        g_object_unref(control->server);
    }
    for (guint i = 0; i < control->peers->len; i++) {
        GDBusConnection *peer = g_ptr_array_index(control->peers, i);

        g_signal_handlers_disconnect_by_data(peer, control);
        g_dbus_connection_flush_sync(peer, NULL, NULL);
        g_dbus_connection_close_sync(peer, NULL, NULL);
    }
    g_ptr_array_unref(control->peers);
    g_dbus_node_info_unref(control->node);
    g_free(control->path);
    g_free(control);
}

/* A folder of this user's alone; NULL if it cannot be had. */
static char *runtime_folder(void)
{
    const char *base = g_getenv("XDG_RUNTIME_DIR");
    g_autofree char *folder = base && *base ? g_build_filename(base, "espalier", NULL)
                                            : g_strdup_printf("/tmp/espalier-%u", (unsigned)getuid());
    struct stat st;

    if (mkdir(folder, 0700) < 0 && errno != EEXIST)
        return NULL;
    if (lstat(folder, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != getuid() || (st.st_mode & 077))
        return NULL;
    return g_steal_pointer(&folder);
}

char *esp_control_path_of(const char *bundle)
{
    g_autofree char *folder = runtime_folder();
    g_autofree char *full = g_canonicalize_filename(bundle, NULL);
    g_autofree char *sum = g_compute_checksum_for_string(G_CHECKSUM_SHA256, full, -1);
    g_autofree char *name = g_strdup_printf("%.16s.control", sum);

    return folder ? g_build_filename(folder, name, NULL) : NULL;
}

GDBusConnection *esp_control_connect(const char *path, GError **error)
{
    g_autofree char *full = g_canonicalize_filename(path, NULL);
    g_autofree char *escaped = g_dbus_address_escape_value(full);
    g_autofree char *address = g_strdup_printf("unix:path=%s", escaped);

    return g_dbus_connection_new_for_address_sync(address, G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT,
                                                  NULL, NULL, error);
}
