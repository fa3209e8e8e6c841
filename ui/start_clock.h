/* How long the program has been there: for numbers that it keeps about itself. */
#pragma once

#include <glib.h>

/* Milliseconds since this process was started, to a hundredth of a second; negative: the system does not say.
 */
double esp_ms_since_start(void);
/* Says a number on stderr, in one line "NAME VALUE", if ESPALIER_COUNTERS is in the environment. */
void esp_count(const char *name, double value);
/* Milliseconds of CPU time that this process took, all threads. */
double esp_cpu_ms(void);
