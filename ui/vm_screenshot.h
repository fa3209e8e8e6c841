/*
 * Pictures of a guest's screen: into a file of the user's pictures, and onto the clipboard.
 *
 *   win.screenshot, win.screenshot-copy
 */
#pragma once

#include "ui/vm_window.h"

G_BEGIN_DECLS

void esp_vm_screenshot_install(EspVmWindow *window);

G_END_DECLS
