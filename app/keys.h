/*
 * Keys by their names, for whoever has no keyboard to press them on: the Send Key call, espalierctl.
 *
 * A chord is keys held together, "ctrl-alt-del" or "Super_L+l". A key's name is Linux's (KEY_LEFTCTRL, with
 * or without KEY_) or that of X's keysym on a US keyboard (Control_L, Return, Page_Up); case does not matter.
 */
#pragma once

#include <vmcore/machine.h>

G_BEGIN_DECLS

#define ESP_CHORD_MAX 8u

typedef struct EspChord {
    unsigned codes[ESP_CHORD_MAX]; /* evdev's, in the order in which they are pressed */
    unsigned n;
} EspChord;

/* False with `error` set (VMC_ERROR), which names the key there is not. Any thread. */
bool esp_chord_parse(const char *text, EspChord *chord, GError **error);
/* Presses them one after the other and lets go in the opposite order. Any thread; as vmc_machine_send_key. */
void esp_chord_send(const EspChord *chord, VmcMachine *machine);

G_END_DECLS
