/*
 * The control socket's server (see control.h): the socket, who may connect, and what those who did are told
 * of the machine. What they ask for is in control_calls.c.
 */
#include "app/control_private.h"

#include <glib/gi18n.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define PEERS_MAX 16u

/* ---- the machine ---- */

/* Brings the object's properties in line; peers are told of those that have changed. */
static void update(EspControl *control)
{
    VmcMachineState state = control->machine ? vmc_machine_get_state(control->machine) : VMC_MACHINE_STOPPED;
    const GError *error = control->machine ? vmc_machine_get_error(control->machine) : NULL;
    const char *name, *why = control->error ? control->error : error ? error->message : "";

    name = vmc_machine_state_name(control->error ? VMC_MACHINE_ERROR : state);
    esp_machine1_set_error(control->object, why);
    if (g_strcmp0(esp_machine1_get_state(control->object), name) == 0)
        return;
    esp_machine1_set_state(control->object, name);
    esp_machine1_emit_state_changed(control->object, name);
}

static void on_state_changed(VmcMachine *machine, int state, gpointer data)
{
    update(data);
}

void esp_control_set_machine(EspControl *control, VmcMachine *machine)
{
    if (control->machine) {
        g_signal_handlers_disconnect_by_data(control->machine, control);
        g_object_unref(control->machine);
    }
    control->machine = machine ? g_object_ref(machine) : NULL;
    if (machine)
        g_signal_connect(machine, "state-changed", G_CALLBACK(on_state_changed), control);
    update(control);
}

void esp_control_set_error(EspControl *control, const GError *error)
{
    g_free(control->error);
    control->error = error ? g_utf8_make_valid(error->message, -1) : NULL;
    update(control);
}

/* ---- peers ---- */

static void on_closed(GDBusConnection *peer, gboolean remote, GError *error, gpointer data)
{
    EspControl *control = data;

    g_signal_handlers_disconnect_by_data(peer, control);
    g_dbus_interface_skeleton_unexport_from_connection(G_DBUS_INTERFACE_SKELETON(control->object), peer);
    g_ptr_array_remove(control->peers, peer);
}

static gboolean on_new_peer(GDBusServer *server, GDBusConnection *peer, gpointer data)
{
    EspControl *control = data;

    if (control->peers->len >= PEERS_MAX ||
        !g_dbus_interface_skeleton_export(G_DBUS_INTERFACE_SKELETON(control->object), peer, ESP_CONTROL_PATH,
                                          NULL))
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
    /* Translators: the name of a file, and why. */
    g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE, _("The control socket “%s” cannot be made: %s"), path,
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
        return fail(error, path, _("there is a file of that name; give another name or remove it"));
    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    alive = fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 || errno != ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    if (alive)
        return fail(error, path, _("another machine uses it; give another name"));
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

EspControl *esp_control_new(const char *path, const EspControlHost *host, void *opaque, GError **error)
{
    EspControl *control;

    if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
        fail(error, path, _("the name is too long for a socket; give one of at most 107 bytes"));
        return NULL;
    }
    if (!clear_stale(path, error))
        return NULL;
    control = g_new0(EspControl, 1);
    control->host = host;
    control->opaque = opaque;
    control->path = g_canonicalize_filename(path, NULL);
    control->peers = g_ptr_array_new_with_free_func(g_object_unref);
    control->object = esp_control_object_new();
    esp_machine1_set_name(control->object, host && host->name ? host->name : "");
    esp_control_connect_calls(control);
    update(control);
    if (open_server(control, error))
        return control;
    esp_control_free(control);
    return NULL;
}

void esp_control_free(EspControl *control)
{
    if (!control)
        return;
    esp_control_set_machine(control, NULL);
    g_dbus_interface_skeleton_flush(G_DBUS_INTERFACE_SKELETON(control->object));
    if (control->server) {
        g_dbus_server_stop(control->server);
        unlink(control->path);
        g_signal_handlers_disconnect_by_data(control->server, control);
        g_object_unref(control->server);
    }
    for (guint i = 0; i < control->peers->len; i++) {
        GDBusConnection *peer = g_ptr_array_index(control->peers, i);

        g_signal_handlers_disconnect_by_data(peer, control);
        g_dbus_connection_flush_sync(peer, NULL, NULL);
        g_dbus_interface_skeleton_unexport_from_connection(G_DBUS_INTERFACE_SKELETON(control->object), peer);
        g_dbus_connection_close_sync(peer, NULL, NULL);
    }
    g_signal_handlers_disconnect_by_data(control->object, control);
    g_object_unref(control->object);
    g_ptr_array_unref(control->peers);
    g_free(control->error);
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

EspMachine1 *esp_control_proxy(GDBusConnection *peer, GError **error)
{
    return esp_machine1_proxy_new_sync(peer, G_DBUS_PROXY_FLAGS_NONE, NULL, ESP_CONTROL_PATH, NULL, error);
}
