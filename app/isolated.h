/*
 * An isolated machine: for looking at what one does not trust.
 *
 * It runs as its bundle says, but without network, shared folders, clipboard, microphone and other ways to
 * this computer. Its disks are not written to: each has a layer on top, in a folder of the user's cache, and
 * so has the firmware's memory a copy. What is in there lasts until it is thrown away, which nobody does
 * without asking: a machine that is started again before goes on with it.
 *
 * Threads: any; all of them wait for the disk.
 */
#pragma once

#include <glib.h>
#include <vmcore/config.h>

G_BEGIN_DECLS

/* Makes `config`, of the bundle at `bundle`, that of an isolated machine; layers that are not there yet are
 * made. False with `error` set: `config` is not to be used then. */
bool esp_isolated_apply(VmcConfig *config, const char *bundle, GError **error);
/* Whether something is there that could be thrown away. */
bool esp_isolated_has_changes(const char *bundle);
/* Throws it away; the machine must not run. What is not there is fine. */
bool esp_isolated_throw_away(const char *bundle, GError **error);

G_END_DECLS
