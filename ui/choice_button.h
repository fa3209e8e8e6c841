/*
 * A button that shows what is chosen of a long list, and opens the list with a search in it.
 *
 * Signal: changed (), when the user has chosen another.
 */
#pragma once

#include <gtk/gtk.h>

#include "app/region.h"

G_BEGIN_DECLS

#define ESP_TYPE_CHOICE_BUTTON (esp_choice_button_get_type())
G_DECLARE_FINAL_TYPE(EspChoiceButton, esp_choice_button, ESP, CHOICE_BUTTON, GtkMenuButton)

/* An array of EspChoice, of which a reference is taken. What was active stays so if it is among them. */
void esp_choice_button_set_choices(EspChoiceButton *button, GPtrArray *choices);
/* Something that is not among the choices (yet) is shown as it is. */
void esp_choice_button_set_active(EspChoiceButton *button, const char *id);
/* NULL: nothing is chosen. The button's. */
const char *esp_choice_button_get_active(EspChoiceButton *button);

G_END_DECLS
