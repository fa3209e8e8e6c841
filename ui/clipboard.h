/*
 * The host's clipboard on one side, a guest's on the other: text, pictures and files, both ways.
 *
 * The policy of the configuration is vmcore's to keep (VmcAgent refuses what it is against). What is kept
 * here: the host's clipboard is looked at only while the machine's window has the focus, whatever the guest
 * asks for and when, and with `focus only` the guest's does not come out without it either.
 *
 * GTK wants a selection's content at the moment somebody pastes, and a guest may take half a minute to
 * answer. So what the guest announces is fetched then and there, within vmcore's limits, and pasted from
 * memory. What the host has is announced to the guest by its types only, and read when the guest asks.
 *
 * Threads: GTK's.
 */
#pragma once

#include <gtk/gtk.h>
#include <stdbool.h>
#include <vmcore/agent.h>

G_BEGIN_DECLS

typedef struct EspClipboard EspClipboard;

EspClipboard *esp_clipboard_new(GtkClipboard *clipboard);
void esp_clipboard_free(
    EspClipboard *clipboard); /* NULL is fine; what came from a guest can still be pasted */

/* Whose guest it is, or NULL; to be called with NULL before the agent goes away. */
void esp_clipboard_set_agent(EspClipboard *clipboard, VmcAgent *agent);
/* Whether the machine's window has the focus. */
void esp_clipboard_set_focused(EspClipboard *clipboard, bool focused);
void esp_clipboard_set_focus_only(EspClipboard *clipboard, bool only);

/* What the agent's front end is told (VmcAgentFrontend), to be passed on. */
void esp_clipboard_guest_has(EspClipboard *clipboard, unsigned types);
/* The guest has emptied its clipboard: the host's copy goes, too. */
void esp_clipboard_guest_released(EspClipboard *clipboard);
void esp_clipboard_guest_wants(EspClipboard *clipboard, VmcClipType type);
void esp_clipboard_guest_sent(EspClipboard *clipboard, VmcClipType type, GBytes *data);
void esp_clipboard_guest_sent_files(EspClipboard *clipboard, VmcFileAction action, const char *const *paths);

G_END_DECLS
