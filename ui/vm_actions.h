/*
 * What can be done in a machine's window, as window actions ("win.start" and so on), and in one place when.
 *
 *   start, pause (state: paused), shut-down, force-off, send-key (s: "ctrl-alt-del", "ctrl-alt-f1".."f7"),
 *   screenshot, fullscreen (state), scaling (s: "fit", "one-to-one"), grab-on-click (state), details,
 *   open-folder, close
 */
#pragma once

#include "ui/vm_window.h"

G_BEGIN_DECLS

void esp_vm_actions_install(EspVmWindow *window);
/* Recomputes every action's sensitivity and state from the session and the window. */
void esp_vm_actions_update(EspVmWindow *window);

G_END_DECLS
