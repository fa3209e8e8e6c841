/*
 * What a running machine takes part in (see live.h).
 *
 * A machine that was started before its settings were changed numbers its devices in another way than its
 * bundle; so a device is found by what it is, in words, as both have it.
 */
#include "app/live.h"

#include <glib/gi18n.h>
#include <string.h>

#include "app/control.h"
#include "app/vfkit_device.h"

static EspMachine1 *connect_to(const char *bundle, GError **error)
{
    g_autofree char *path = esp_control_path_of(bundle);
    g_autoptr(GDBusConnection) peer = NULL;

    if (path && g_file_test(path, G_FILE_TEST_EXISTS))
        peer = esp_control_connect(path, NULL);
    if (peer)
        return esp_control_proxy(peer, error);
    g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND, _("The machine does not run."));
    return NULL;
}

/* The sentence alone, without D-Bus's words about it. */
static bool finish(bool ok, GError **error)
{
    if (!ok && error && *error)
        g_dbus_error_strip_remote_error(*error);
    return ok;
}

/* The machine's number of the device; -1: it has none like it, or several. */
static int find_device(EspMachine1 *machine, const VmcDeviceConfig *device, GError **error)
{
    g_autofree char *wanted = esp_vfkit_device_text(device);
    g_autoptr(GVariant) devices = NULL;
    GVariantIter iter;
    const char *text;
    int found = -1;
    guint index;

    if (!finish(esp_machine1_call_devices_sync(machine, &devices, NULL, error), error))
        return -1;
    g_variant_iter_init(&iter, devices);
    while (g_variant_iter_loop(&iter, "(u&s@s@as)", &index, &text, NULL, NULL))
        if (!strcmp(text, wanted))
            found = found < 0 ? (int)index : G_MAXINT;
    if (found >= 0 && found < G_MAXINT)
        return found;
    g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
                        _("The running machine does not have this device yet."));
    return -1;
}

bool esp_live_can_plug(VmcDeviceKind kind)
{
    return kind == VMC_DEVICE_USB_STORAGE;
}

bool esp_live_attach(const char *bundle, const VmcDeviceConfig *device, GError **error)
{
    g_autoptr(EspMachine1) machine = connect_to(bundle, error);
    g_autofree char *text = esp_vfkit_device_text(device);

    return machine && finish(esp_machine1_call_attach_sync(machine, text, NULL, NULL, error), error);
}

bool esp_live_detach(const char *bundle, const VmcDeviceConfig *device, GError **error)
{
    g_autoptr(EspMachine1) machine = connect_to(bundle, error);
    int index = machine ? find_device(machine, device, error) : -1;

    return index >= 0 && finish(esp_machine1_call_detach_sync(machine, (guint)index, NULL, error), error);
}

bool esp_live_act(const char *bundle, const VmcDeviceConfig *device, const char *action,
                  const char *const *arguments, GError **error)
{
    g_autoptr(EspMachine1) machine = connect_to(bundle, error);
    int index = machine ? find_device(machine, device, error) : -1;

    return index >= 0 &&
           finish(esp_machine1_call_act_sync(machine, (guint)index, action, arguments, NULL, NULL, error),
                  error);
}
