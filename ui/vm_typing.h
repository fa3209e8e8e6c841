/*
 * Paste as typing: the text on the host's clipboard as keys of the guest, for guests without an agent, such
 * as installers and log-in prompts.
 *
 *   win.paste-typing
 */
#pragma once

#include "ui/vm_window.h"

G_BEGIN_DECLS

void esp_vm_typing_install(EspVmWindow *window);

G_END_DECLS
