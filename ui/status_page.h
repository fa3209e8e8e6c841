/* A page instead of a guest's screen: what is the matter, one thing to do about it, and details to copy. */
#pragma once

#include <gtk/gtk.h>
#include <stdbool.h>

G_BEGIN_DECLS

#define ESP_TYPE_STATUS_PAGE (esp_status_page_get_type())
G_DECLARE_FINAL_TYPE(EspStatusPage, esp_status_page, ESP, STATUS_PAGE, GtkScrolledWindow)

/* `body` may be NULL. Takes details and the button away. */
void esp_status_page_set(EspStatusPage *page, const char *icon_name, const char *title, const char *body);
/* Text for whoever helps, hidden behind an expander, with a button that copies it; NULL for none. */
void esp_status_page_set_details(EspStatusPage *page, const char *details);
/* The one thing to do: a label with a mnemonic and a detailed action name. Pressed by Enter, too. */
void esp_status_page_set_action(EspStatusPage *page, const char *label, const char *action);
/* Opens the details. */
void esp_status_page_expand(EspStatusPage *page);
/* Puts the keyboard focus on the button, if there is one. */
void esp_status_page_focus(EspStatusPage *page);

G_END_DECLS
