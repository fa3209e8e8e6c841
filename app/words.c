/* Words that sentences take in (see words.h). */
#include "app/words.h"

#include <glib/gi18n.h>

bool esp_state_find(const char *name, VmcMachineState *state)
{
    for (int known = VMC_MACHINE_STOPPED; known <= VMC_MACHINE_ERROR; known++)
        if (!g_strcmp0(vmc_machine_state_name((VmcMachineState)known), name)) {
            *state = (VmcMachineState)known;
            return true;
        }
    return false;
}

const char *esp_state_text(const char *name)
{
    VmcMachineState state;

    return esp_state_find(name, &state) ? vmc_machine_state_text(state) : name;
}

char *esp_words_either(const char *const *words)
{
    char *text = g_strdup(words[0] ? words[0] : "");

    for (unsigned i = 1; words[0] && words[i]; i++) {
        /* Translators: how several words that may be typed are joined, “a, b or c”: the last one to those
         * before it, and each of the others. */
        const char *format = words[i + 1] ? C_("list of words", "%s, %s") : C_("list of words", "%s or %s");
        char *longer = g_strdup_printf(format, text, words[i]);
        g_free(text);
        text = longer;
    }
    return text;
}

int esp_text_width(const char *text)
{
    int width = 0;

    for (; *text; text = g_utf8_next_char(text)) {
        gunichar c = g_utf8_get_char(text);
        width += g_unichar_iszerowidth(c) ? 0 : g_unichar_iswide(c) ? 2 : 1;
    }
    return width;
}
