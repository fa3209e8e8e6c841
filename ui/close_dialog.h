/*
 * Asks what is to become of a running machine whose window is closed: a GtkDialog with the responses
 * GTK_RESPONSE_ACCEPT and others.
 *
 * Threads: GTK's.
 */
#pragma once

#include <gtk/gtk.h>
#include <stdbool.h>

G_BEGIN_DECLS

#define ESP_TYPE_CLOSE_DIALOG (esp_close_dialog_get_type())
G_DECLARE_FINAL_TYPE(EspCloseDialog, esp_close_dialog, ESP, CLOSE_DIALOG, GtkDialog)

typedef enum EspCloseChoice {
    ESP_CHOICE_KEEP_RUNNING,
    ESP_CHOICE_SAVE,
    ESP_CHOICE_SHUT_DOWN,
    ESP_CHOICE_POWER_OFF /* is never remembered */
} EspCloseChoice;

GtkWidget *esp_close_dialog_new(GtkWindow *parent, const char *machine);
EspCloseChoice esp_close_dialog_get_choice(EspCloseDialog *dialog);
bool esp_close_dialog_get_remember(EspCloseDialog *dialog);

G_END_DECLS
