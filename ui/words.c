/* A machine's states in the user's language. */
#include "ui/words.h"

#include <glib/gi18n.h>

const char *esp_state_words(VmcMachineState state)
{
    switch (state) {
    case VMC_MACHINE_STOPPED:
        /* Translators: a machine. */
        return C_("state of a machine", "Off");
    case VMC_MACHINE_STARTING:
        return _("Starting");
    case VMC_MACHINE_RUNNING:
        return _("Running");
    case VMC_MACHINE_PAUSING:
    case VMC_MACHINE_PAUSED:
        return _("Paused");
    case VMC_MACHINE_RESUMING:
        return _("Resuming");
    case VMC_MACHINE_STOPPING:
        return _("Stopping");
    case VMC_MACHINE_SAVING:
        return _("Saving");
    case VMC_MACHINE_RESTORING:
        return _("Restoring");
    case VMC_MACHINE_ERROR:
        return _("Needs attention");
    }
    return "";
}

VmcMachineState esp_state_from_name(const char *name)
{
    for (int state = VMC_MACHINE_STOPPED; state <= VMC_MACHINE_ERROR; state++)
        if (!g_strcmp0(vmc_machine_state_name((VmcMachineState)state), name))
            return (VmcMachineState)state;
    return VMC_MACHINE_STOPPED;
}
