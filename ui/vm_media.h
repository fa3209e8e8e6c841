/*
 * Removable media and shared folders of a running machine, as menus.
 *
 *   win.insert-stick, win.insert-disc   ask for an image file, which becomes a USB stick or a USB disc drive
 *   win.eject (i)                       pulls the device of that index out
 *   win.copy-mount (i)                  copies the command that mounts the shared folder of that index in the
 * guest
 *
 * What is put in here is there until the machine is switched off; drives that stay are in the settings.
 * Folders cannot be added to a machine that runs: vmcore plugs in USB storage only.
 *
 * Threads: GTK's.
 */
#pragma once

#include <vmcore/machine.h>

#include "ui/vm_window.h"

G_BEGIN_DECLS

typedef struct EspVmMedia EspVmMedia;

/* `media` and `shares` are sections of menus that are filled. All outlive it. */
EspVmMedia *esp_vm_media_new(EspVmWindow *window, GMenu *media, GMenu *shares);
void esp_vm_media_free(EspVmMedia *media); /* NULL is fine */

/* Whose media they are, or NULL; to be called with NULL before the machine goes away. */
void esp_vm_media_set_machine(EspVmMedia *media, VmcMachine *machine);

void esp_vm_media_install(EspVmMedia *media);

/* The command that mounts a share in a guest, for its shell; NULL if the device is none. Free with g_free. */
char *esp_vm_media_mount_command(const VmcDeviceConfig *device, EspGuestSystem system);

G_END_DECLS
