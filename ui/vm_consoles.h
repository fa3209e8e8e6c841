/*
 * The serial consoles of a machine, each a terminal in a tab beside the screen.
 *
 *   win.consoles (state)   the tabs are shown
 *
 * Threads: GTK's.
 */
#pragma once

#include <vmcore/machine.h>

#include "app/serial_lines.h"
#include "ui/vm_window.h"

G_BEGIN_DECLS

typedef struct EspVmConsoles EspVmConsoles;

/* `views` gets a page for each line, beside the screen's, "screen"; `tabs` is shown or not. All outlive it.
 */
EspVmConsoles *esp_vm_consoles_new(EspVmWindow *window, GtkStack *views, GtkRevealer *tabs);
void esp_vm_consoles_free(EspVmConsoles *consoles); /* NULL is fine */

/* The lines of a machine that starts; `lines` and `machine` NULL: to be called before they go away. What is
 * on the terminals stays until then. */
void esp_vm_consoles_set_lines(EspVmConsoles *consoles, EspSerialLines *lines, VmcMachine *machine);

void esp_vm_consoles_install(EspVmConsoles *consoles);

/* Whether the keyboard is a terminal's now: it gets keys before the window's accelerators do. */
bool esp_vm_consoles_has_focus(EspVmWindow *window);

G_END_DECLS
