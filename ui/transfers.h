/*
 * Files on their way into the guest: sent one after the other through its agent, with a bar over the screen
 * that says how far they are and can end it.
 *
 * Signal:
 *   told (const char *message)   all of them have arrived, or one has not: a sentence for a toast
 *
 * Threads: GTK's.
 */
#pragma once

#include <gtk/gtk.h>
#include <vmcore/agent.h>

G_BEGIN_DECLS

#define ESP_TYPE_TRANSFERS (esp_transfers_get_type())
G_DECLARE_FINAL_TYPE(EspTransfers, esp_transfers, ESP, TRANSFERS, GtkRevealer)

/* Whose guest gets the files, or NULL: what is under way has ended with it. To be called with NULL before the
 * agent goes away. */
void esp_transfers_set_agent(EspTransfers *transfers, VmcAgent *agent);

/* Sends these files (GFile) after those that are under way. Those it cannot send are told of. */
void esp_transfers_send(EspTransfers *transfers, GSList *files);

/* What the agent's front end is told, to be passed on. */
void esp_transfers_progress(EspTransfers *transfers, unsigned id, guint64 sent, guint64 total, bool done,
                            const GError *error);

G_END_DECLS
