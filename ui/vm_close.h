/*
 * Closing the window of a machine that runs: asks once what is to become of it, does that, and remembers it
 * for the machine where the user wants so (OnClose in the bundle). And what is about saved states otherwise:
 *
 *   win.save-state      saves the state and closes the window
 *   win.discard-saved   asks, throws a state away that cannot be brought back, and starts
 *
 * Threads: GTK's.
 */
#pragma once

#include "ui/vm_window.h"

G_BEGIN_DECLS

typedef struct EspVmClose EspVmClose;

/* For a window that outlives it. */
EspVmClose *esp_vm_close_new(EspVmWindow *window);
void esp_vm_close_free(EspVmClose *close); /* NULL is fine */

/* The user wants to close the window. True: not now, or it was hidden and the machine goes on; false: it may
 * go. */
bool esp_vm_close_request(EspVmClose *close);

void esp_vm_close_install(EspVmClose *close);

G_END_DECLS
