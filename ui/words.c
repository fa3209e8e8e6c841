/* A machine's states in the user's language. */
#include "ui/words.h"

#include <glib/gi18n.h>

#include "app/words.h"

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
    VmcMachineState state;

    return esp_state_find(name, &state) ? state : VMC_MACHINE_STOPPED;
}
