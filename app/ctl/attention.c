/*
 * Waiting for the user to make room (attention.h).
 *
 * Trying again is resuming the machine. If the host still lacks something, the machine is paused again within
 * an instant, with a second signal; if no signal has come a while after it went on, it was enough.
 */
#include "app/ctl/attention.h"

#include <glib/gi18n.h>

#include "app/ctl/run.h"

#define RETRY_SECONDS 3
#define ENOUGH_MS     1000

struct EspAttention {
    VmcMachine *machine;
    bool waiting; /* the user has been told, and not yet that it goes on */
    guint timer;
};

static gboolean went_on(gpointer data)
{
    EspAttention *attention = data;

    attention->timer = 0;
    attention->waiting = false;
    esp_ctl_say(_("there is room again, the machine goes on"));
    return G_SOURCE_REMOVE;
}

static gboolean try_again(gpointer data)
{
    EspAttention *attention = data;

    attention->timer = g_timeout_add(ENOUGH_MS, went_on, attention);
    if (vmc_machine_get_state(attention->machine) == VMC_MACHINE_PAUSED)
        vmc_machine_resume(attention->machine, NULL);
    return G_SOURCE_REMOVE;
}

static void on_attention(VmcMachine *machine, const char *why, gboolean paused, gpointer data)
{
    EspAttention *attention = data;

    if (!attention->waiting)
        esp_ctl_say(
            /* Translators: the first is a sentence: why the machine was paused. */
            ngettext("%s; trying again every %d second", "%s; trying again every %d seconds", RETRY_SECONDS),
            why, RETRY_SECONDS);
    attention->waiting = true;
    if (attention->timer)
        g_source_remove(attention->timer);
    attention->timer = 0;
    if (paused) /* not if the user has paused it: then it is the user who resumes it */
        attention->timer = g_timeout_add_seconds(RETRY_SECONDS, try_again, attention);
}

EspAttention *esp_attention_new(VmcMachine *machine)
{
    EspAttention *attention = g_new0(EspAttention, 1);

    attention->machine = machine;
    g_signal_connect(machine, "attention", G_CALLBACK(on_attention), attention);
    return attention;
}

void esp_attention_free(EspAttention *attention)
{
    if (!attention)
        return;
    g_signal_handlers_disconnect_by_data(attention->machine, attention);
    if (attention->timer)
        g_source_remove(attention->timer);
    g_free(attention);
}
