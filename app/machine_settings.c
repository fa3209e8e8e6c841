/* A machine's settings in memory, and changes of them on disk (see machine_settings.h). */
#include "app/machine_settings.h"

#include <fcntl.h>
#include <glib/gi18n.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include <vmcore/machine.h>

#include "app/bundle.h"
#include "app/settings.h"

/* ---- read ---- */

/* A sound card of which neither is said has both: then both are said, so that each can be seen and changed.
 */
static void spell_out(VmcConfig *config)
{
    for (guint i = 0; i < config->devices->len; i++) {
        VmcDeviceConfig *device = g_ptr_array_index(config->devices, i);

        if (device->kind == VMC_DEVICE_VIRTIO_SOUND && !device->sound.input && !device->sound.output)
            device->sound.input = device->sound.output = true;
    }
}

static EspMachineSettings *from_bundle(EspBundle *bundle, GError **error)
{
    g_autoptr(EspMachineSettings) machine = g_new0(EspMachineSettings, 1);

    machine->path = g_strdup(esp_bundle_get_path(bundle));
    machine->name = g_strdup(esp_bundle_get_name(bundle));
    machine->config = esp_bundle_get_config(bundle, error);
    if (!machine->config || !esp_bundle_get_info(bundle, &machine->info, error))
        return NULL;
    spell_out(machine->config);
    return g_steal_pointer(&machine);
}

EspMachineSettings *esp_machine_settings_read(const char *path, GError **error)
{
    g_autoptr(EspBundle) bundle = esp_bundle_open(path, error);

    return bundle ? from_bundle(bundle, error) : NULL;
}

void esp_machine_settings_free(EspMachineSettings *machine)
{
    if (!machine)
        return;
    esp_machine_info_clear(&machine->info);
    vmc_config_free(machine->config);
    g_free(machine->name);
    g_free(machine->path);
    g_free(machine);
}

VmcDeviceConfig *esp_machine_settings_device(const EspMachineSettings *machine, int index)
{
    bool there = index >= 0 && (guint)index < machine->config->devices->len;

    return there ? g_ptr_array_index(machine->config->devices, index) : NULL;
}

/* ---- change ---- */

static bool has_fault(GPtrArray *faults, const VmcFault *wanted)
{
    for (guint i = 0; i < faults->len; i++) {
        const VmcFault *fault = g_ptr_array_index(faults, i);
        if (!strcmp(fault->field, wanted->field) && !strcmp(fault->message, wanted->message))
            return true;
    }
    return false;
}

/* "devices[2].path" as the table calls it, for people. */
static const char *label_of(const EspMachineSettings *machine, const char *field)
{
    const char *dot = g_str_has_prefix(field, "devices[") ? strstr(field, "].") : NULL;
    const VmcDeviceConfig *device =
        dot ? esp_machine_settings_device(machine, (int)g_ascii_strtoll(field + strlen("devices["), NULL, 10))
            : NULL;
    unsigned n;
    const EspSetting *table = esp_settings_table(&n);

    for (unsigned i = 0; i < n; i++)
        if (device ? esp_setting_is_for(&table[i], device->kind) && !g_strcmp0(table[i].field, dot + 2)
                   : !strcmp(table[i].name, field))
            return _(table[i].label);
    return NULL;
}

/* The first fault that `before` did not have becomes the error. */
static bool check(const EspMachineSettings *before, const EspMachineSettings *after, GError **error)
{
    g_autoptr(GPtrArray) old = vmc_config_validate(before->config);
    g_autoptr(GPtrArray) new = vmc_config_validate(after->config);

    for (guint i = 0; i < new->len; i++) {
        const VmcFault *fault = g_ptr_array_index(new, i);
        const char *label = label_of(after, fault->field);
        const char *end = g_str_has_suffix(fault->message, ".") ? "" : ".";

        if (has_fault(old, fault))
            continue;
        if (label)
            g_set_error(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FORMAT, "%s: %s%s", label, fault->message,
                        end);
        else
            g_set_error(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FORMAT, "%s%s", fault->message, end);
        return false;
    }
    return true;
}

static bool change_bundle(EspBundle *bundle, EspChange change, gpointer data, EspMachineSettings **replaced,
                          GError **error)
{
    g_autoptr(EspMachineSettings) before = from_bundle(bundle, error);
    g_autoptr(EspMachineSettings) machine = before ? from_bundle(bundle, error) : NULL;
    bool fewer;

    if (!machine || !change(machine, data, error))
        return false;
    /* Numbers of devices in faults are others then, and what is less cannot be more wrong. */
    fewer = machine->config->devices->len < before->config->devices->len;
    if (!fewer && !check(before, machine, error))
        return false;
    if (strcmp(machine->name, before->name) && !esp_bundle_set_name(bundle, machine->name, error))
        return false;
    esp_bundle_set_config(bundle, machine->config);
    esp_bundle_set_info(bundle, &machine->info);
    if (!esp_bundle_save(bundle, error))
        return false;
    if (replaced)
        *replaced = g_steal_pointer(&machine);
    return true;
}

bool esp_machine_settings_change(const char *path, EspChange change, gpointer data,
                                 EspMachineSettings **replaced, GError **error)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok;

    /* One change at a time. Where folders cannot be locked nobody waits. */
    if (fd >= 0)
        flock(fd, LOCK_EX);
    g_autoptr(EspBundle) bundle = esp_bundle_open(path, error);
    ok = bundle && change_bundle(bundle, change, data, replaced, error);
    if (fd >= 0)
        close(fd);
    return ok;
}

bool esp_machine_settings_is_running(const char *path)
{
    const char *const off[] = {"", vmc_machine_state_name(VMC_MACHINE_STOPPED),
                               vmc_machine_state_name(VMC_MACHINE_ERROR), ESP_BUNDLE_STATE_HELD, NULL};
    g_autofree char *state = NULL;

    return esp_bundle_get_runner(path, NULL, &state) && state && !g_strv_contains(off, state);
}

/* ---- devices ---- */

/* A device alone is one of a configuration that has nothing else: its array frees it. */
VmcDeviceConfig *esp_device_config_copy(const VmcDeviceConfig *device)
{
    VmcConfig *whole = vmc_config_new();
    VmcDeviceConfig *copy = vmc_config_add_copy(whole, device);

    g_ptr_array_steal_index(whole->devices, 0);
    vmc_config_free(whole);
    return copy;
}

void esp_device_config_free(VmcDeviceConfig *device)
{
    VmcConfig *whole = device ? vmc_config_new() : NULL;

    if (!device)
        return;
    g_ptr_array_add(whole->devices, device);
    vmc_config_free(whole);
}

void esp_machine_settings_insert(EspMachineSettings *machine, const VmcDeviceConfig *device, int index)
{
    GPtrArray *devices = machine->config->devices;

    g_ptr_array_insert(devices, index < 0 || (guint)index > devices->len ? -1 : index,
                       esp_device_config_copy(device));
}

bool esp_machine_settings_remove(EspMachineSettings *machine, int index)
{
    if (!esp_machine_settings_device(machine, index))
        return false;
    g_ptr_array_remove_index(machine->config->devices, (guint)index);
    return true;
}

/* ---- the order of booting ---- */

static unsigned *boot_index_of(VmcDeviceConfig *device)
{
    const EspSetting *setting = esp_setting_by_name(
        device->kind == VMC_DEVICE_VIRTIO_NET || device->kind == VMC_DEVICE_E1000 ? "network.bootIndex"
                                                                                  : "disk.bootIndex");
    const VmcField *field =
        esp_setting_is_for(setting, device->kind) ? esp_setting_field(setting, device->kind) : NULL;

    return field ? vmc_field_in(field, device) : NULL;
}

typedef struct BootEntry {
    unsigned order; /* 0: last */
    int device;
} BootEntry;

static gint by_boot_index(gconstpointer a, gconstpointer b)
{
    const BootEntry *x = a, *y = b;
    unsigned first = x->order ? x->order : G_MAXUINT, second = y->order ? y->order : G_MAXUINT;

    if (first != second)
        return first < second ? -1 : 1;
    return x->device < y->device ? -1 : 1;
}

GArray *esp_machine_settings_boot_order(const EspMachineSettings *machine)
{
    g_autoptr(GArray) entries = g_array_new(FALSE, FALSE, sizeof(BootEntry));
    GArray *order = g_array_new(FALSE, FALSE, sizeof(int));

    for (int i = 0; esp_machine_settings_device(machine, i); i++) {
        const unsigned *at = boot_index_of(esp_machine_settings_device(machine, i));
        BootEntry entry = {at ? *at : 0, i};
        if (at)
            g_array_append_val(entries, entry);
    }
    g_array_sort(entries, by_boot_index);
    for (guint i = 0; i < entries->len; i++)
        g_array_append_val(order, g_array_index(entries, BootEntry, i).device);
    return order;
}

bool esp_machine_settings_move_boot(EspMachineSettings *machine, int index, int direction)
{
    g_autoptr(GArray) order = esp_machine_settings_boot_order(machine);
    int *devices = (int *)(void *)order->data;

    for (guint i = 0; i < order->len; i++) {
        guint other = i + (guint)direction;

        if (devices[i] != index || other >= order->len)
            continue;
        devices[i] = devices[other];
        devices[other] = index;
        for (guint n = 0; n < order->len; n++)
            *boot_index_of(esp_machine_settings_device(machine, devices[n])) = n + 1;
        return true;
    }
    return false;
}
