/*
 * What espalierctl does about a machine that was paused because the host lacks something, such as room on a
 * disk: it says so once, tries again every few seconds, and says when it worked. `espalierctl resume` on the
 * control socket, where there is one, tries at once.
 *
 * Threads: the machine's owner's.
 */
#pragma once

#include <vmcore/machine.h>

typedef struct EspAttention EspAttention;

EspAttention *esp_attention_new(VmcMachine *machine);
void esp_attention_free(EspAttention *attention); /* before the machine's last reference; NULL is fine */
