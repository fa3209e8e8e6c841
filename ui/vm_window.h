/*
 * The window of a machine: its screen, or a status page when there is no screen to show.
 *
 * vm_actions.c has what the buttons and menus do and when they can be used; this is what is seen.
 */
#pragma once

#include <gtk/gtk.h>

#include "app/vm_session.h"
#include "ui/display_view.h"
#include "ui/toast.h"
#include "ui/transfers.h"

G_BEGIN_DECLS

#define ESP_TYPE_VM_WINDOW (esp_vm_window_get_type())
G_DECLARE_FINAL_TYPE(EspVmWindow, esp_vm_window, ESP, VM_WINDOW, GtkApplicationWindow)

/* `settings` may be NULL. Closing the window of an active machine hides it; the machine goes on. */
GtkWidget *esp_vm_window_new(GtkApplication *application, EspVmSession *session, GSettings *settings);

/* False once it has been destroyed: for answers that come late. */
bool esp_vm_window_is_alive(EspVmWindow *window);
EspVmSession *esp_vm_window_get_session(EspVmWindow *window);
EspDisplayView *esp_vm_window_get_view(EspVmWindow *window);
GSettings *esp_vm_window_get_settings(EspVmWindow *window);
/* The window's own, for answers that come late; NULL once it has been destroyed. */
struct EspVmClose *esp_vm_window_get_close(EspVmWindow *window);
struct EspVmMedia *esp_vm_window_get_media(EspVmWindow *window);
EspToast *esp_vm_window_get_toast(EspVmWindow *window);
EspTransfers *esp_vm_window_get_transfers(EspVmWindow *window);
/* Whether the guest's agent is there and takes files. */
bool esp_vm_window_takes_files(EspVmWindow *window);
bool esp_vm_window_is_fullscreen(EspVmWindow *window);
/* Closes the window while the machine goes on, and says so. */
void esp_vm_window_hide_running(EspVmWindow *window);

/* Shows the scaling in the view and in what surrounds it. */
void esp_vm_window_set_scaling(EspVmWindow *window, EspScaling scaling);
/* A menu button has no action that could make it insensitive: vm_actions.c says when there is nothing in it.
 */
void esp_vm_window_set_menus_sensitive(EspVmWindow *window, bool stop, bool keys);

G_END_DECLS
