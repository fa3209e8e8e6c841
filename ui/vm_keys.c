/* The Send Key menu (see vm_keys.h). */
#include "ui/vm_keys.h"

#include <linux/input-event-codes.h>
#include <string.h>

typedef struct Chord {
    const char *name;
    unsigned keys[ESP_CHORD_MAX];
} Chord;

/* In the order of resources/vm-window.ui. */
static const Chord chords[] = {
    {"ctrl-alt-del", {KEY_LEFTCTRL, KEY_LEFTALT, KEY_DELETE}},
    {"ctrl-alt-backspace", {KEY_LEFTCTRL, KEY_LEFTALT, KEY_BACKSPACE}},
    {"ctrl-shift-esc", {KEY_LEFTCTRL, KEY_LEFTSHIFT, KEY_ESC}},
    {"alt-tab", {KEY_LEFTALT, KEY_TAB}},
    {"alt-f4", {KEY_LEFTALT, KEY_F4}},
    {"super", {KEY_LEFTMETA}},
    {"super-l", {KEY_LEFTMETA, KEY_L}},
    {"super-space", {KEY_LEFTMETA, KEY_SPACE}},
    {"print", {KEY_SYSRQ}},
    {"alt-print", {KEY_LEFTALT, KEY_SYSRQ}},
    {"f11", {KEY_F11}},
    {"ctrl-alt", {KEY_LEFTCTRL, KEY_LEFTALT}},
};

static const unsigned function_keys[] = {KEY_F1, KEY_F2, KEY_F3, KEY_F4,  KEY_F5,  KEY_F6,
                                         KEY_F7, KEY_F8, KEY_F9, KEY_F10, KEY_F11, KEY_F12};

unsigned esp_vm_keys_find(const char *name, unsigned keycodes[ESP_CHORD_MAX])
{
    for (size_t i = 0; i < G_N_ELEMENTS(chords); i++) {
        unsigned n = 0;
        if (strcmp(name, chords[i].name) != 0)
            continue;
        for (; n < ESP_CHORD_MAX && chords[i].keys[n]; n++)
            keycodes[n] = chords[i].keys[n];
        return n;
    }
    guint64 number;
    if (!g_str_has_prefix(name, "ctrl-alt-f") ||
        !g_ascii_string_to_unsigned(name + strlen("ctrl-alt-f"), 10, 1, G_N_ELEMENTS(function_keys), &number,
                                    NULL))
        return 0;
    keycodes[0] = KEY_LEFTCTRL;
    keycodes[1] = KEY_LEFTALT;
    keycodes[2] = function_keys[number - 1];
    return 3;
}

static void on_send_key(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    EspDisplayView *view = esp_vm_window_get_view(data);
    unsigned keycodes[ESP_CHORD_MAX];
    unsigned n = esp_vm_keys_find(g_variant_get_string(parameter, NULL), keycodes);

    if (!n)
        return;
    esp_display_view_send_chord(view, keycodes, n);
    gtk_widget_grab_focus(GTK_WIDGET(view));
}

void esp_vm_keys_install(EspVmWindow *window)
{
    static const GActionEntry actions[] = {
        {.name = "send-key", .parameter_type = "s", .activate = on_send_key}};

    g_action_map_add_action_entries(G_ACTION_MAP(window), actions, G_N_ELEMENTS(actions), window);
}
