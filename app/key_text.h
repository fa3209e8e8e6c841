/*
 * A text as keys: what a person with a certain keyboard layout would press to type it.
 *
 * The layout is the guest's, in the words of xkb ("ch", "fr"); its tables are those of the host's xkb-data. A
 * character is typed by a key of its own with Shift and AltGr, or by a dead key and its letter (or a space),
 * as ê is on a German keyboard.
 *
 * Threads: one at a time per EspKeyLayout; making one reads files.
 */
#pragma once

#include <gio/gio.h>
#include <stdbool.h>

G_BEGIN_DECLS

typedef struct EspKeyStroke {
    guint16 keycode; /* evdev: KEY_A = 30 */
    bool down;
} EspKeyStroke;

typedef struct EspKeyLayout EspKeyLayout;

/* `layout` NULL or "": the American one; `variant` may be NULL. NULL with an error of GIO's where xkb knows
 * no such layout. */
EspKeyLayout *esp_key_layout_new(const char *layout, const char *variant, GError **error);
void esp_key_layout_free(EspKeyLayout *layout); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(EspKeyLayout, esp_key_layout_free)

/* Whether the layout has a way of typing this character. Ends of lines and tabs are typed, too. */
bool esp_key_layout_has(EspKeyLayout *layout, gunichar character);

/* Appends the strokes (EspKeyStroke) of `text`, valid UTF-8, to `strokes`, each key let go before the next
 * one but for modifiers. Characters the layout has not are left out, and appended to `missing` (each once;
 * may be NULL). */
void esp_key_layout_type(EspKeyLayout *layout, const char *text, GArray *strokes, GString *missing);

G_END_DECLS
