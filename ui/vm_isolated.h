/* What an isolated machine changed is thrown away when it stops, once the user has been asked. */
#pragma once

#include "ui/vm_window.h"

G_BEGIN_DECLS

/* Asks in the window each time its machine has stopped with something to throw away. */
void esp_vm_isolated_watch(EspVmWindow *window);
/* "Isolated — Running" for an isolated machine, or the words as they are; free with g_free. */
char *esp_vm_isolated_title(EspVmSession *session, const char *words);

G_END_DECLS
