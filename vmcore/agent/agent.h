/*
 * The inner side of a VmcAgent (vmcore/agent.h): made with its machine, given a port for each run of a guest.
 *
 * Threads: one lock; functions on any thread, where they do not say otherwise.
 */
#pragma once

#include "agent/exports.h"
#include "virtio/port.h"
#include "vmcore/agent.h"
#include "vmcore/config.h"

/* What the port must be called so that agents find it. */
#define VMC_AGENT_PORT_NAME "com.redhat.spice.0"

/* `context`: the owner's, on which front ends are called. */
VmcAgent *vmc_agent_new(GMainContext *context, VmcClipboard policy);
/* On the owner's thread, when no port exists any more: the front end is not called again. NULL is fine. */
void vmc_agent_free(VmcAgent *agent);

/* The host's side of a port, for the run of a guest whose I/O thread is `io`; at most one at a time. The
 * agent must outlive it. */
VmcPort *vmc_agent_port_new(VmcAgent *agent, VmcIo *io);

/* The guest's clipboard for whoever can only ask now and then: the bytes if they are there. If not, they are
 * asked for; NULL with VMC_ERROR_STATE. What a front end asks for comes here as well. */
GBytes *vmc_agent_peek(VmcAgent *agent, VmcSelection selection, VmcClipType type, GError **error);

/* The same for VMC_CLIP_FILES: absolute paths, NULL-ended. NULL with `error` also if what the guest has named
 * is not to be had. */
char **vmc_agent_peek_files(VmcAgent *agent, VmcSelection selection, VmcFileAction *action, GError **error);

/* What the WebDAV port of the same machine is to serve beside its folder; the agent's. */
VmcExports *vmc_agent_exports(VmcAgent *agent);

/* One line each on the agent and its transfers, those that have ended too. */
void vmc_agent_describe(VmcAgent *agent, GString *text);
