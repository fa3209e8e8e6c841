/*
 * The Send Key menu of a machine's window: combinations that the desktop, or this program, would keep for
 * itself.
 *
 *   win.send-key (s)   one of the names in vm_keys.c, such as "ctrl-alt-del" or "ctrl-alt-f7"
 */
#pragma once

#include "ui/vm_window.h"

G_BEGIN_DECLS

/* Most keys of one combination. */
#define ESP_CHORD_MAX 4u

/* The keys (evdev codes) of a combination by its name; 0 if there is none of that name. */
unsigned esp_vm_keys_find(const char *name, unsigned keycodes[ESP_CHORD_MAX]);

void esp_vm_keys_install(EspVmWindow *window);

G_END_DECLS
