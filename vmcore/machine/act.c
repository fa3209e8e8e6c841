/* What can be done with the devices of a running machine: finds the kind's action and checks the words. */
#include <string.h>

#include "base/i18n.h"
#include "machine/devices/kind.h"

bool vmc_machine_refuse(GError **error, VmcError code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_propagate_error(error, g_error_new_valist(VMC_ERROR, (int)code, format, args));
    va_end(args);
    return false;
}

const VmcConfig *vmc_machine_get_config(VmcMachine *machine)
{
    return machine->config;
}

static bool unknown_action(const VmcDeviceInfo *info, unsigned index, const char *name, GError **error)
{
    g_autoptr(GString) list = g_string_new(NULL);

    for (unsigned i = 0; i < info->n_actions; i++)
        g_string_append_printf(list, "%s%s", i ? ", " : "", info->actions[i].name);
    if (!list->len)
        return vmc_machine_refuse(error, VMC_ERROR_CONFIG,
                                  _("Nothing can be done with device %u, %s, while it runs"), index,
                                  info->name);
    return vmc_machine_refuse(error, VMC_ERROR_CONFIG, _("Device %u, %s, does not know “%s”; it can do %s"),
                              index, info->name, name, list->str);
}

/* The number of the action, or -1 with `error` set. */
static int find_action(const VmcDeviceInfo *info, unsigned index, const char *name,
                       const char *const *arguments, GError **error)
{
    unsigned n = g_strv_length((char **)arguments);

    for (unsigned i = 0; i < info->n_actions; i++) {
        const VmcAction *action = &info->actions[i];

        if (strcmp(action->name, name) != 0)
            continue;
        if (n >= action->min && n <= action->max)
            return (int)i;
        if (action->max)
            vmc_machine_refuse(error, VMC_ERROR_CONFIG, _("“%s” of device %u, %s, takes %s"), name, index,
                               info->name, action->arguments);
        else
            vmc_machine_refuse(error, VMC_ERROR_CONFIG, _("“%s” of device %u, %s, takes no arguments"), name,
                               index, info->name);
        return -1;
    }
    unknown_action(info, index, name, error);
    return -1;
}

char *vmc_machine_act(VmcMachine *machine, unsigned index, const char *name, const char *const *arguments,
                      GError **error)
{
    VmcMachineState state = vmc_machine_get_state(machine);
    g_autoptr(GString) reply = g_string_new(NULL);
    const VmcDeviceKindOps *ops;
    int action;

    if (!machine->guest || (state != VMC_MACHINE_RUNNING && state != VMC_MACHINE_PAUSED)) {
        vmc_machine_refuse(error, VMC_ERROR_STATE,
                           _("Nothing can be done with a device: the machine is %s, not running"),
                           vmc_machine_state_text(state));
        return NULL;
    }
    if (index >= machine->config->devices->len) {
        vmc_machine_refuse(error, VMC_ERROR_CONFIG,
                           ngettext("There is no device %u; the machine has %u, counted from 0",
                                    "There is no device %u; the machine has %u, counted from 0",
                                    machine->config->devices->len),
                           index, machine->config->devices->len);
        return NULL;
    }
    ops = vmc_device_kind_ops(vmc_guest_config(machine->guest, index)->kind);
    action = find_action(&ops->info, index, name, arguments, error);
    if (action < 0 || !ops->act(machine->guest, index, (unsigned)action, arguments, reply, error))
        return NULL;
    return g_string_free(g_steal_pointer(&reply), FALSE);
}
