/*
 * What goes between a guest's display and its window besides pixels: the guest's pointer becomes the shape of
 * the user's, and a window of another size becomes a wish for such a screen.
 *
 * Threads: GTK's.
 */
#pragma once

#include "ui/display_view.h"

typedef struct EspDisplayFollow EspDisplayFollow;

/* The view must outlive it. */
EspDisplayFollow *esp_display_follow_new(EspDisplayView *view);
void esp_display_follow_free(EspDisplayFollow *follow); /* NULL is fine */

/* Whose display the view shows now, or NULL; to be called with NULL before it goes away. */
void esp_display_follow_set_display(EspDisplayFollow *follow, VmcDisplay *display);
/* Whether the guest's screen follows the window's size; it does at first. */
void esp_display_follow_set_resize(EspDisplayFollow *follow, bool resize);
