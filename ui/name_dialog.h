/*
 * A dialog that asks for a machine's name; to duplicate it, also how.
 */
#pragma once

#include <gtk/gtk.h>
#include <stdbool.h>

G_BEGIN_DECLS

#define ESP_TYPE_NAME_DIALOG (esp_name_dialog_get_type())
G_DECLARE_FINAL_TYPE(EspNameDialog, esp_name_dialog, ESP, NAME_DIALOG, GtkDialog)

/* Asks for another name. Answers GTK_RESPONSE_ACCEPT only when the name could be one. */
GtkWidget *esp_name_dialog_new_rename(GtkWindow *parent, const char *name);
/* Asks for the name of a duplicate and its kind; `why_not_linked` is NULL, or a sentence. */
GtkWidget *esp_name_dialog_new_duplicate(GtkWindow *parent, const char *original, const char *suggestion,
                                         const char *why_not_linked, bool has_saved_state);
const char *esp_name_dialog_get_name(EspNameDialog *dialog);
bool esp_name_dialog_get_linked(EspNameDialog *dialog);
bool esp_name_dialog_get_saved_state(EspNameDialog *dialog);

G_END_DECLS
