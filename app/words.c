/* Words that sentences take in (see words.h). */
#include "app/words.h"

#include <glib/gi18n.h>
#include <vmcore/machine.h>

const char *esp_state_text(const char *name)
{
    for (int state = VMC_MACHINE_STOPPED; state <= VMC_MACHINE_ERROR; state++)
        if (!g_strcmp0(vmc_machine_state_name((VmcMachineState)state), name))
            return vmc_machine_state_text((VmcMachineState)state);
    return name;
}

char *esp_words_either(const char *const *words)
{
    GString *text = g_string_new(NULL);

    for (unsigned i = 0; words[i]; i++) {
        if (i && !words[i + 1])
            /* Translators: between the last two of several words that may be typed: “a, b or c”. */
            g_string_append_printf(text, " %s ", _("or"));
        else if (i)
            g_string_append(text, ", ");
        g_string_append(text, words[i]);
    }
    return g_string_free(text, FALSE);
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
