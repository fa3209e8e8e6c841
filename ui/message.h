/* Dialogs with a sentence: something went wrong, or: shall it be done? */
#pragma once

#include <gtk/gtk.h>
#include <stdbool.h>

G_BEGIN_DECLS

/* Says `title`, and `text` below it. */
void esp_message_show(GtkWindow *parent, const char *title, const char *text);
/* Asks, with the buttons Cancel and `yes` (may have a mnemonic), which is marked as one that takes something
 * away if `destructive`. Calls `func(data)` if the answer was yes; `destroy` is called for `data` in the end,
 * whatever it was (may be NULL). */
void esp_message_ask(GtkWindow *parent, const char *title, const char *text, const char *yes,
                     bool destructive, void (*func)(gpointer data), gpointer data, GDestroyNotify destroy);

G_END_DECLS
