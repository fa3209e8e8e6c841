/* Keys by their names (see keys.h). */
#include "app/keys.h"

#include <glib/gi18n.h>
#include <linux/input-event-codes.h>
#include <string.h>

typedef struct Key {
    const char *name;
    unsigned code;
} Key;

/* By Linux's names. */
#define KEY(name) {#name, KEY_##name},
/* clang-format off */
static const Key keys[] = {
    KEY(ESC) KEY(1) KEY(2) KEY(3) KEY(4) KEY(5) KEY(6) KEY(7) KEY(8) KEY(9) KEY(0) KEY(MINUS) KEY(EQUAL)
    KEY(BACKSPACE) KEY(TAB) KEY(Q) KEY(W) KEY(E) KEY(R) KEY(T) KEY(Y) KEY(U) KEY(I) KEY(O) KEY(P)
    KEY(LEFTBRACE) KEY(RIGHTBRACE) KEY(ENTER) KEY(LEFTCTRL) KEY(A) KEY(S) KEY(D) KEY(F) KEY(G) KEY(H)
    KEY(J) KEY(K) KEY(L) KEY(SEMICOLON) KEY(APOSTROPHE) KEY(GRAVE) KEY(LEFTSHIFT) KEY(BACKSLASH) KEY(Z)
    KEY(X) KEY(C) KEY(V) KEY(B) KEY(N) KEY(M) KEY(COMMA) KEY(DOT) KEY(SLASH) KEY(RIGHTSHIFT)
    KEY(KPASTERISK) KEY(LEFTALT) KEY(SPACE) KEY(CAPSLOCK) KEY(F1) KEY(F2) KEY(F3) KEY(F4) KEY(F5) KEY(F6)
    KEY(F7) KEY(F8) KEY(F9) KEY(F10) KEY(NUMLOCK) KEY(SCROLLLOCK) KEY(KP7) KEY(KP8) KEY(KP9) KEY(KPMINUS)
    KEY(KP4) KEY(KP5) KEY(KP6) KEY(KPPLUS) KEY(KP1) KEY(KP2) KEY(KP3) KEY(KP0) KEY(KPDOT)
    KEY(ZENKAKUHANKAKU) KEY(102ND) KEY(F11) KEY(F12) KEY(RO) KEY(KATAKANA) KEY(HIRAGANA) KEY(HENKAN)
    KEY(KATAKANAHIRAGANA) KEY(MUHENKAN) KEY(KPJPCOMMA) KEY(KPENTER) KEY(RIGHTCTRL) KEY(KPSLASH) KEY(SYSRQ)
    KEY(RIGHTALT) KEY(HOME) KEY(UP) KEY(PAGEUP) KEY(LEFT) KEY(RIGHT) KEY(END) KEY(DOWN) KEY(PAGEDOWN)
    KEY(INSERT) KEY(DELETE) KEY(MUTE) KEY(VOLUMEDOWN) KEY(VOLUMEUP) KEY(POWER) KEY(KPEQUAL) KEY(PAUSE)
    KEY(KPCOMMA) KEY(HANGEUL) KEY(HANJA) KEY(YEN) KEY(LEFTMETA) KEY(RIGHTMETA) KEY(COMPOSE) KEY(STOP)
    KEY(UNDO) KEY(COPY) KEY(PASTE) KEY(CUT) KEY(FIND) KEY(HELP) KEY(MENU) KEY(SLEEP) KEY(WAKEUP) KEY(BACK)
    KEY(FORWARD) KEY(EJECTCD) KEY(NEXTSONG) KEY(PLAYPAUSE) KEY(PREVIOUSSONG) KEY(F13) KEY(F14) KEY(F15)
    KEY(F16) KEY(F17) KEY(F18) KEY(F19) KEY(F20) KEY(F21) KEY(F22) KEY(F23) KEY(F24)
};

/* By X's, where those are others, and by what people call them. */
static const Key aliases[] = {
    {"ctrl", KEY_LEFTCTRL}, {"control", KEY_LEFTCTRL}, {"Control_L", KEY_LEFTCTRL},
    {"Control_R", KEY_RIGHTCTRL}, {"alt", KEY_LEFTALT}, {"option", KEY_LEFTALT}, {"Alt_L", KEY_LEFTALT},
    {"Alt_R", KEY_RIGHTALT}, {"altgr", KEY_RIGHTALT}, {"ISO_Level3_Shift", KEY_RIGHTALT},
    {"shift", KEY_LEFTSHIFT}, {"Shift_L", KEY_LEFTSHIFT}, {"Shift_R", KEY_RIGHTSHIFT},
    {"super", KEY_LEFTMETA}, {"meta", KEY_LEFTMETA}, {"win", KEY_LEFTMETA}, {"cmd", KEY_LEFTMETA},
    {"Super_L", KEY_LEFTMETA}, {"Super_R", KEY_RIGHTMETA}, {"Meta_L", KEY_LEFTMETA},
    {"Meta_R", KEY_RIGHTMETA}, {"Escape", KEY_ESC}, {"Return", KEY_ENTER}, {"del", KEY_DELETE},
    {"ins", KEY_INSERT}, {"Page_Up", KEY_PAGEUP}, {"Prior", KEY_PAGEUP}, {"Page_Down", KEY_PAGEDOWN},
    {"Next", KEY_PAGEDOWN}, {"Caps_Lock", KEY_CAPSLOCK}, {"Num_Lock", KEY_NUMLOCK},
    {"Scroll_Lock", KEY_SCROLLLOCK}, {"Print", KEY_SYSRQ}, {"Sys_Req", KEY_SYSRQ}, {"Break", KEY_PAUSE},
    {"Multi_key", KEY_COMPOSE}, {"bracketleft", KEY_LEFTBRACE}, {"bracketright", KEY_RIGHTBRACE},
    {"period", KEY_DOT}, {"less", KEY_102ND}, {"KP_Multiply", KEY_KPASTERISK},
    {"KP_Subtract", KEY_KPMINUS}, {"KP_Add", KEY_KPPLUS}, {"KP_Decimal", KEY_KPDOT},
    {"KP_Divide", KEY_KPSLASH}, {"KP_Enter", KEY_KPENTER}, {"KP_Equal", KEY_KPEQUAL}, {"KP_0", KEY_KP0},
    {"KP_1", KEY_KP1}, {"KP_2", KEY_KP2}, {"KP_3", KEY_KP3}, {"KP_4", KEY_KP4}, {"KP_5", KEY_KP5},
    {"KP_6", KEY_KP6}, {"KP_7", KEY_KP7}, {"KP_8", KEY_KP8}, {"KP_9", KEY_KP9},
};
/* clang-format on */

/* 0: there is no such key. */
static unsigned find(const Key *table, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (g_ascii_strcasecmp(table[i].name, name) == 0)
            return table[i].code;
    return 0;
}

static unsigned find_key(const char *name)
{
    unsigned code = find(aliases, G_N_ELEMENTS(aliases), name);

    if (g_ascii_strncasecmp(name, "KEY_", strlen("KEY_")) == 0)
        name += strlen("KEY_");
    return code ? code : find(keys, G_N_ELEMENTS(keys), name);
}

bool esp_chord_parse(const char *text, EspChord *chord, GError **error)
{
    g_auto(GStrv) names = g_strsplit_set(text, "-+", (gint)ESP_CHORD_MAX + 1);
    guint n = g_strv_length(names);

    *chord = (EspChord){.n = 0};
    if (n == 0 || n > ESP_CHORD_MAX) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                    _("“%s” is no chord: it needs one to %u keys, such as ctrl-alt-del"), text,
                    ESP_CHORD_MAX);
        return false;
    }
    for (guint i = 0; i < n; i++) {
        unsigned code = find_key(names[i]);
        if (!code) {
            g_set_error(
                error, VMC_ERROR, VMC_ERROR_CONFIG,
                _("There is no key “%s”; names are as in Linux (KEY_A, leftctrl) or X (Return, Control_L), "
                  "joined by - where keys are pressed together"),
                names[i]);
            return false;
        }
        chord->codes[chord->n++] = code;
    }
    return true;
}

void esp_chord_send(const EspChord *chord, VmcMachine *machine)
{
    for (unsigned i = 0; i < chord->n; i++)
        vmc_machine_send_key(machine, chord->codes[i], true);
    for (unsigned i = chord->n; i-- > 0;)
        vmc_machine_send_key(machine, chord->codes[i], false);
}
