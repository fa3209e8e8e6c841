/*
 * The ports of this computer that lead into the guest, as rows of protocol, port here and port there: an
 * editor for the setting "network.forward". What has an address in it, too, is kept and shown in the text of
 * the port.
 *
 * Signals:
 *   changed ()   by the user
 */
#pragma once

#include <gtk/gtk.h>

G_BEGIN_DECLS

#define ESP_TYPE_FORWARD_EDITOR (esp_forward_editor_get_type())
G_DECLARE_FINAL_TYPE(EspForwardEditor, esp_forward_editor, ESP, FORWARD_EDITOR, GtkBox)

GtkWidget *esp_forward_editor_new(void);
/* "tcp:8080-80,udp:127.0.0.1:53-53" */
void esp_forward_editor_set(EspForwardEditor *editor, const char *text);
/* Rows in which nothing is written yet do not count. Free with g_free. */
char *esp_forward_editor_get(EspForwardEditor *editor);

G_END_DECLS
