/* A text as keys (see key_text.h). */
#include "app/key_text.h"

#include <glib/gi18n.h>
#include <linux/input-event-codes.h>
#include <string.h>
#include <xkbcommon/xkbcommon.h>

#define XKB_OFFSET 8u
#define MASKS_MAX  8u

enum { SHIFT = 1, ALTGR = 2 };

/* How a character or a dead key is pressed. */
typedef struct Press {
    guint16 keycode;
    guint8 modifiers;
} Press;

struct EspKeyLayout {
    GHashTable *presses; /* of keysyms (as pointers): Press * */
    xkb_mod_mask_t shift, altgr;
};

/* Combining marks of Unicode and the dead keys that make them. */
static const struct {
    gunichar mark;
    xkb_keysym_t dead;
} marks[] = {
    {0x0300, XKB_KEY_dead_grave},       {0x0301, XKB_KEY_dead_acute},     {0x0302, XKB_KEY_dead_circumflex},
    {0x0303, XKB_KEY_dead_tilde},       {0x0304, XKB_KEY_dead_macron},    {0x0306, XKB_KEY_dead_breve},
    {0x0307, XKB_KEY_dead_abovedot},    {0x0308, XKB_KEY_dead_diaeresis}, {0x030a, XKB_KEY_dead_abovering},
    {0x030b, XKB_KEY_dead_doubleacute}, {0x030c, XKB_KEY_dead_caron},     {0x0327, XKB_KEY_dead_cedilla},
    {0x0328, XKB_KEY_dead_ogonek},
};

/* What a dead key and a space give. */
static const struct {
    gunichar character;
    xkb_keysym_t dead;
} spacing[] = {
    {'`', XKB_KEY_dead_grave},     {0x00b4, XKB_KEY_dead_acute},     {'^', XKB_KEY_dead_circumflex},
    {'~', XKB_KEY_dead_tilde},     {0x00a8, XKB_KEY_dead_diaeresis}, {'\'', XKB_KEY_dead_acute},
    {'"', XKB_KEY_dead_diaeresis}, {0x00b8, XKB_KEY_dead_cedilla},   {0x00b0, XKB_KEY_dead_abovering},
};

/* ---- the layout's table ---- */

/* The simplest way to reach a level with Shift and AltGr alone; false: there is none. */
static bool modifiers_of(const EspKeyLayout *layout, struct xkb_keymap *keymap, xkb_keycode_t key,
                         xkb_level_index_t level, guint8 *modifiers)
{
    xkb_mod_mask_t masks[MASKS_MAX];
    size_t n = xkb_keymap_key_get_mods_for_level(keymap, key, 0, level, masks, MASKS_MAX);
    bool found = false;

    for (size_t i = 0; i < MIN(n, MASKS_MAX); i++) {
        if (masks[i] & ~(layout->shift | layout->altgr))
            continue;
        guint8 these = (masks[i] & layout->shift ? SHIFT : 0) | (masks[i] & layout->altgr ? ALTGR : 0);
        if (!found || these < *modifiers)
            *modifiers = these;
        found = true;
    }
    return found;
}

/* The keys with letters, digits and signs that keyboards have. xkb's tables know more, for parentheses and
 * the euro among them, which some laptops had once and no guest listens to. */
static bool is_for_typing(unsigned keycode)
{
    return (keycode >= KEY_1 && keycode <= KEY_SLASH) || keycode == KEY_SPACE || keycode == KEY_102ND ||
           keycode == KEY_RO || keycode == KEY_YEN;
}

static void add_key(struct xkb_keymap *keymap, xkb_keycode_t key, void *data)
{
    EspKeyLayout *layout = data;

    if (key < XKB_OFFSET || !is_for_typing(key - XKB_OFFSET) || !xkb_keymap_num_layouts_for_key(keymap, key))
        return;
    xkb_level_index_t levels = xkb_keymap_num_levels_for_key(keymap, key, 0);
    for (xkb_level_index_t level = 0; level < levels; level++) {
        const xkb_keysym_t *symbols = NULL;
        Press press = {.keycode = (guint16)(key - XKB_OFFSET)};
        if (xkb_keymap_key_get_syms_by_level(keymap, key, 0, level, &symbols) != 1 ||
            !modifiers_of(layout, keymap, key, level, &press.modifiers))
            continue;
        /* Characters by what they are, so that Cyrillic_a is found by its letter; the rest by name. */
        uint32_t character = xkb_keysym_to_utf32(symbols[0]);
        gpointer name = GUINT_TO_POINTER(character ? character : symbols[0]);
        const Press *before = g_hash_table_lookup(layout->presses, name);
        if (!before || press.modifiers < before->modifiers)
            g_hash_table_insert(layout->presses, name, g_memdup2(&press, sizeof(press)));
    }
}

static struct xkb_keymap *compile(struct xkb_context *context, const char *layout, const char *variant)
{
    struct xkb_rule_names names = {.rules = "evdev",
                                   .model = "pc105",
                                   .layout = layout && *layout ? layout : "us",
                                   .variant = variant ? variant : ""};

    return xkb_keymap_new_from_names(context, &names, XKB_KEYMAP_COMPILE_NO_FLAGS);
}

static xkb_mod_mask_t mask_of(struct xkb_keymap *keymap, const char *name)
{
    xkb_mod_index_t index = xkb_keymap_mod_get_index(keymap, name);

    return index == XKB_MOD_INVALID || index >= 32 ? 0 : 1u << index;
}

/* The library says on stderr what it dislikes; what counts is whether there is a keymap. */
static void be_silent(struct xkb_context *context, enum xkb_log_level level, const char *format, va_list args)
{
}

EspKeyLayout *esp_key_layout_new(const char *name, const char *variant, GError **error)
{
    struct xkb_context *context = xkb_context_new(XKB_CONTEXT_NO_ENVIRONMENT_NAMES);

    if (context)
        xkb_context_set_log_fn(context, be_silent);
    struct xkb_keymap *keymap = context ? compile(context, name, variant) : NULL;
    EspKeyLayout *layout = NULL;
    if (keymap) {
        layout = g_new0(EspKeyLayout, 1);
        layout->presses = g_hash_table_new_full(NULL, NULL, NULL, g_free);
        layout->shift = mask_of(keymap, XKB_MOD_NAME_SHIFT);
        layout->altgr = mask_of(keymap, "Mod5");
        xkb_keymap_key_for_each(keymap, add_key, layout);
    } else {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
                    _("There is no keyboard layout “%s%s%s”; choose one of those in the settings."),
                    name ? name : "us", variant && *variant ? " " : "", variant ? variant : "");
    }
    xkb_keymap_unref(keymap);
    xkb_context_unref(context);
    return layout;
}

void esp_key_layout_free(EspKeyLayout *layout)
{
    if (!layout)
        return;
    g_hash_table_unref(layout->presses);
    g_free(layout);
}

/* ---- characters ---- */

static const Press *find(EspKeyLayout *layout, guint32 name)
{
    return g_hash_table_lookup(layout->presses, GUINT_TO_POINTER(name));
}

/* One press, or two: a dead key first. Returns how many, 0: there is no way. */
static unsigned presses_of(EspKeyLayout *layout, gunichar character, const Press *presses[2])
{
    static const Press enter = {.keycode = KEY_ENTER}, tab = {.keycode = KEY_TAB};
    gunichar base, mark;

    if (character == '\n' || character == '\t') {
        presses[0] = character == '\n' ? &enter : &tab;
        return 1;
    }
    if (character < ' ')
        return 0;
    presses[0] = find(layout, character);
    if (presses[0])
        return 1;
    for (size_t i = 0; i < G_N_ELEMENTS(spacing); i++) {
        presses[0] = spacing[i].character == character ? find(layout, spacing[i].dead) : NULL;
        presses[1] = find(layout, ' ');
        if (presses[0] && presses[1])
            return 2;
    }
    if (!g_unichar_decompose(character, &base, &mark) || !mark)
        return 0;
    for (size_t i = 0; i < G_N_ELEMENTS(marks); i++) {
        presses[0] = marks[i].mark == mark ? find(layout, marks[i].dead) : NULL;
        presses[1] = find(layout, base);
        if (presses[0] && presses[1])
            return 2;
    }
    return 0;
}

bool esp_key_layout_has(EspKeyLayout *layout, gunichar character)
{
    const Press *presses[2];

    return presses_of(layout, character, presses) > 0;
}

/* ---- strokes ---- */

static void stroke(GArray *strokes, unsigned keycode, bool down)
{
    EspKeyStroke key = {.keycode = (guint16)keycode, .down = down};

    g_array_append_val(strokes, key);
}

static void press(GArray *strokes, const Press *key, guint8 *held)
{
    static const struct {
        guint8 bit;
        guint16 keycode;
    } modifiers[] = {{SHIFT, KEY_LEFTSHIFT}, {ALTGR, KEY_RIGHTALT}};

    for (size_t i = 0; i < G_N_ELEMENTS(modifiers); i++)
        if ((*held ^ key->modifiers) & modifiers[i].bit)
            stroke(strokes, modifiers[i].keycode, key->modifiers & modifiers[i].bit);
    *held = key->modifiers;
    stroke(strokes, key->keycode, true);
    stroke(strokes, key->keycode, false);
}

void esp_key_layout_type(EspKeyLayout *layout, const char *text, GArray *strokes, GString *missing)
{
    guint8 held = 0;

    for (; *text; text = g_utf8_next_char(text)) {
        const Press *presses[2];
        gunichar character = g_utf8_get_char(text);
        if (character == '\r') {
            if (text[1] == '\n')
                continue;
            character = '\n';
        }
        unsigned n = presses_of(layout, character, presses);
        for (unsigned i = 0; i < n; i++)
            press(strokes, presses[i], &held);
        if (!n && missing && !g_utf8_strchr(missing->str, (gssize)missing->len, character))
            g_string_append_unichar(missing, character);
    }
    if (held & SHIFT)
        stroke(strokes, KEY_LEFTSHIFT, false);
    if (held & ALTGR)
        stroke(strokes, KEY_RIGHTALT, false);
}
