/*
 * What a machine's window has to do with the guest's agent: the clipboard, files that are dropped on the
 * screen or picked from a dialog.
 *
 *   win.send-files   asks which, and sends them
 *
 * Threads: GTK's.
 */
#pragma once

#include <vmcore/machine.h>

#include "ui/vm_window.h"

G_BEGIN_DECLS

typedef struct EspVmAgent EspVmAgent;

/* For a window that outlives it. */
EspVmAgent *esp_vm_agent_new(EspVmWindow *window);
void esp_vm_agent_free(EspVmAgent *agent); /* NULL is fine */

/* Whose agent it is, or NULL; to be called with NULL before the machine goes away. */
void esp_vm_agent_set_machine(EspVmAgent *agent, VmcMachine *machine);
bool esp_vm_agent_takes_files(EspVmAgent *agent);

void esp_vm_agent_install(EspVmWindow *window);

G_END_DECLS
