/*
 * From the keys of a GTK window to the keys of a guest: which are held, when to let go, and the chord that
 * releases the guest.
 *
 * Keys go by their place on the keyboard, not by what is printed on them: X11 and Wayland hardware keycodes
 * are evdev codes plus 8, and the guest has its own layout.
 */
#pragma once

#include <gdk/gdk.h>
#include <stdbool.h>

G_BEGIN_DECLS

typedef void (*EspKeyFunc)(void *opaque, unsigned keycode, bool down);

#define ESP_KEYS_MAX 768u /* evdev's KEY_MAX + 1 */

typedef struct EspKeyboard {
    EspKeyFunc send;
    void *opaque;
    guint8 held[ESP_KEYS_MAX / 8];
    unsigned n_held;
    bool chord; /* Ctrl and Alt are held and no other key was touched since */
} EspKeyboard;

void esp_keyboard_init(EspKeyboard *keyboard, EspKeyFunc send, void *opaque);

/* Takes a key event. The guest sees each press and release once; the host's auto-repeat is dropped, the guest
 * repeats by itself. Returns true when Ctrl+Alt were pressed and let go alone: the user wants the keyboard
 * back. */
bool esp_keyboard_event(EspKeyboard *keyboard, const GdkEventKey *event);

/* Lets go of every key the guest believes held: on focus-out, pause, and at the end. */
void esp_keyboard_release_all(EspKeyboard *keyboard);

bool esp_keyboard_is_held(const EspKeyboard *keyboard, unsigned keycode);

G_END_DECLS
