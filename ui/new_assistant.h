/*
 * The assistant for new machines: a window with one page after the other, the last of which makes the
 * machine.
 *
 * Signal: open (path of a bundle): the user wants to start the machine that was made.
 */
#pragma once

#include <gtk/gtk.h>

G_BEGIN_DECLS

#define ESP_TYPE_NEW_ASSISTANT (esp_new_assistant_get_type())
G_DECLARE_FINAL_TYPE(EspNewAssistant, esp_new_assistant, ESP, NEW_ASSISTANT, GtkWindow)

/* For a machine in `library_dir`; shown by the caller. */
GtkWidget *esp_new_assistant_new(GtkWindow *parent, const char *library_dir);
/* Begins with a file that was dropped somewhere: an installer's disc, or a disk to import. */
void esp_new_assistant_offer(EspNewAssistant *assistant, const char *file);

G_END_DECLS
