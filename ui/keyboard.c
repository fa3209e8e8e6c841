/* From the keys of a GTK window to the keys of a guest (see keyboard.h). */
#include "ui/keyboard.h"

#include <linux/input-event-codes.h>
#include <string.h>

#define X11_OFFSET 8u

void esp_keyboard_init(EspKeyboard *keyboard, EspKeyFunc send, void *opaque)
{
    memset(keyboard, 0, sizeof(*keyboard));
    keyboard->send = send;
    keyboard->opaque = opaque;
}

bool esp_keyboard_is_held(const EspKeyboard *keyboard, unsigned keycode)
{
    return keycode < ESP_KEYS_MAX && (keyboard->held[keycode / 8] >> (keycode % 8) & 1);
}

static void set_held(EspKeyboard *keyboard, unsigned keycode, bool down)
{
    keyboard->held[keycode / 8] ^= (guint8)(1u << (keycode % 8));
    keyboard->n_held += down ? 1u : -1u;
    keyboard->send(keyboard->opaque, keycode, down);
}

/* AltGr is not part of the chord: people type with it. */
static bool chord_key(unsigned keycode)
{
    return keycode == KEY_LEFTCTRL || keycode == KEY_RIGHTCTRL || keycode == KEY_LEFTALT;
}

static bool chord_held(const EspKeyboard *keyboard)
{
    bool ctrl = esp_keyboard_is_held(keyboard, KEY_LEFTCTRL) || esp_keyboard_is_held(keyboard, KEY_RIGHTCTRL);
    return keyboard->n_held == 2 && ctrl && esp_keyboard_is_held(keyboard, KEY_LEFTALT);
}

bool esp_keyboard_event(EspKeyboard *keyboard, const GdkEventKey *event)
{
    if (event->hardware_keycode < X11_OFFSET || event->hardware_keycode - X11_OFFSET >= ESP_KEYS_MAX)
        return false;
    unsigned keycode = event->hardware_keycode - X11_OFFSET;
    bool down = event->type == GDK_KEY_PRESS;
    if (down == esp_keyboard_is_held(keyboard, keycode))
        return false;

    bool released = keyboard->chord && !down && chord_key(keycode);
    set_held(keyboard, keycode, down);
    keyboard->chord = down && chord_held(keyboard);
    return released;
}

void esp_keyboard_release_all(EspKeyboard *keyboard)
{
    for (unsigned keycode = 0; keycode < ESP_KEYS_MAX && keyboard->n_held; keycode++)
        if (esp_keyboard_is_held(keyboard, keycode))
            set_held(keyboard, keycode, false);
    keyboard->chord = false;
}
