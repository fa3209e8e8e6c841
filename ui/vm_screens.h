/*
 * The screens of a machine: the first in the machine's window, each further one in a window of its own that
 * can be shown and hidden.
 *
 *   win.show-screen-2, -3, -4 (state)   the window of that screen
 *   win.resize-guest (state)            the guest's screens follow the size of their windows
 *
 * A guest has one pointer for all of its screens, which lie side by side in their order, their upper edges
 * level: a point of one screen is told as a point of all of them together.
 *
 * Threads: GTK's.
 */
#pragma once

#include <vmcore/machine.h>

#include "ui/vm_window.h"

G_BEGIN_DECLS

#define ESP_SCREENS_MAX 4u

typedef struct EspVmScreens EspVmScreens;

/* For a window that outlives it, whose view is the first screen. */
EspVmScreens *esp_vm_screens_new(EspVmWindow *window);
void esp_vm_screens_free(EspVmScreens *screens); /* NULL is fine */

/* Whose screens they are, or NULL; to be called with NULL before the machine goes away. False, and nothing is
 * shown, if it has none yet. */
bool esp_vm_screens_set_machine(EspVmScreens *screens, VmcMachine *machine);
/* As esp_display_view_set_active, for all. */
void esp_vm_screens_set_active(EspVmScreens *screens, bool active);
void esp_vm_screens_set_scaling(EspVmScreens *screens, EspScaling scaling);
/* The machine's window was shown or hidden: the others go with it. */
void esp_vm_screens_set_shown(EspVmScreens *screens, bool shown);
/* It went to full screen or back: so do the others, on monitors of their own, where there are such. */
void esp_vm_screens_set_fullscreen(EspVmScreens *screens, bool fullscreen);

void esp_vm_screens_install(EspVmScreens *screens);

/* Where a point of one of `n` screens is among all of them; all in 0..32767. Sizes are in pixels. */
void esp_vm_screens_map(const VmcRect *sizes, unsigned n, unsigned screen, unsigned *x, unsigned *y);

G_END_DECLS
