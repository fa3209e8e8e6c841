/* A passing message over a window's content, with at most one button. A newer message replaces an older one.
 */
#pragma once

#include <gtk/gtk.h>

G_BEGIN_DECLS

#define ESP_TYPE_TOAST (esp_toast_get_type())
G_DECLARE_FINAL_TYPE(EspToast, esp_toast, ESP, TOAST, GtkRevealer)

/* Shows `message` for a few seconds. With `button` (may have a mnemonic; NULL for none) a click calls
 * func(data) once; `free_data` is called when the message is gone, clicked or not. */
void esp_toast_show(EspToast *toast, const char *message, const char *button, GCallback func, gpointer data,
                    GDestroyNotify free_data);

G_END_DECLS
