/* A machine's states in the user's language. */
#pragma once

#include <vmcore/machine.h>

/* "Running", "Paused", ...; static, translated. */
const char *esp_state_words(VmcMachineState state);
/* The state that vmc_machine_state_name calls `name`; VMC_MACHINE_STOPPED for a name nobody knows. */
VmcMachineState esp_state_from_name(const char *name);
