/*
 * A folder of the host on the port org.spice-space.webdav.0, for guests with spice-webdavd. Beside what is in
 * it the guest finds what the clipboard offers (exports.h).
 *
 * Threads: vmc_webdav_port_new on any but a vCPU's; the rest is the port's matter.
 */
#pragma once

#include <gio/gio.h>

#include "agent/exports.h"
#include "virtio/port.h"

#define VMC_WEBDAV_PORT_NAME "org.spice-space.webdav.0"

/* The host's side of a port that serves `folder`. NULL with `error` (VMC_ERROR) if it cannot be opened.
 * `exports`: the agent's, served by one port at a time, or NULL if the machine has no agent. */
VmcPort *vmc_webdav_port_new(VmcIo *io, const char *folder, bool readonly, VmcExports *exports,
                             GError **error);

/* What the port's server serves (webdav_file.c): the folder as a GFile below which nothing else is reachable,
 * but for the exports. NULL with `error`. */
GFile *vmc_webdav_folder_new(const char *folder, bool readonly, VmcExports *exports, GError **error);
