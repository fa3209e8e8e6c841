/*
 * Words in the user's language that sentences and tables take in.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <vmcore/machine.h>

G_BEGIN_DECLS

/* The state that vmc_machine_state_name calls `name`; false for a name nobody knows, or NULL. */
bool esp_state_find(const char *name, VmcMachineState *state);
/* Such a state in words; an unknown name as it is. Not to be freed. */
const char *esp_state_text(const char *name);

/* How many columns of a terminal a text takes: none for what is put over a letter, two for the wide ones. */
int esp_text_width(const char *text);

/* "a, b or c", of words that may be typed and are no language's. `words` ends in NULL. Free with g_free. */
char *esp_words_either(const char *const *words);

G_END_DECLS
