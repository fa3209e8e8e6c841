/*
 * What can be done in a machine's window, as window actions ("win.start" and so on), and in one place when.
 *
 *   start, pause (state: paused), shut-down, force-off, fullscreen (state), scaling (s: "fit", "one-to-one"),
 *   grab-on-click (state), details, open-folder, close
 *
 * and those of the files that have a subject of their own: vm_agent.h, vm_close.h, vm_consoles.h, vm_keys.h,
 * vm_media.h, vm_screens.h, vm_screenshot.h, vm_typing.h.
 */
#pragma once

#include "ui/vm_window.h"

G_BEGIN_DECLS

void esp_vm_actions_install(EspVmWindow *window);
/* Recomputes every action's sensitivity and state from the session and the window. */
void esp_vm_actions_update(EspVmWindow *window);

/* Says in a dialog of `window` what went wrong. */
void esp_vm_complain(EspVmWindow *window, const char *title, const GError *error);

G_END_DECLS
