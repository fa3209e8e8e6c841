/*
 * Changes that a machine which runs can take part in at once: a USB drive plugged in or out, another size of
 * the screen, a disk that has grown. It is reached through its control socket.
 *
 * All functions wait for the machine's process, a few seconds at most; any thread. FALSE with `error` set
 * (and the settings untouched) if the machine does not do it; G_IO_ERROR_NOT_FOUND if it does not run or its
 * device is not that one, so that there is nothing to be done before its next start.
 */
#pragma once

#include <gio/gio.h>
#include <stdbool.h>
#include <vmcore/config.h>

G_BEGIN_DECLS

/* Whether a device of that kind can come and go while a machine runs. */
bool esp_live_can_plug(VmcDeviceKind kind);
bool esp_live_attach(const char *bundle, const VmcDeviceConfig *device, GError **error);
bool esp_live_detach(const char *bundle, const VmcDeviceConfig *device, GError **error);
/* Does an action of the device's kind with it; `arguments` end with NULL. */
bool esp_live_act(const char *bundle, const VmcDeviceConfig *device, const char *action,
                  const char *const *arguments, GError **error);

G_END_DECLS
