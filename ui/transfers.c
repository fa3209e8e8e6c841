/*
 * Files on their way into the guest (see transfers.h). One at a time: agents put them side by side anyhow,
 * and a person sees what is going on.
 */
#include "ui/transfers.h"

#include <glib/gi18n.h>

#define SPEED_US (G_USEC_PER_SEC / 2) /* a speed said sooner would jump about */

struct _EspTransfers {
    GtkRevealer parent_instance;
    GtkLabel *label;
    GtkProgressBar *bar;
    VmcAgent *agent;
    GQueue waiting;  /* of GFile * */
    GFile *sending;  /* or NULL */
    unsigned id;     /* of what is being sent */
    unsigned n_sent; /* arrived since the bar came up */
    gint64 started_us;
    bool cancelled; /* by the user: nothing to complain of */
};

enum { TOLD, N_SIGNALS };
static guint signals[N_SIGNALS];

G_DEFINE_TYPE(EspTransfers, esp_transfers, GTK_TYPE_REVEALER)

static void tell(EspTransfers *transfers, const char *message)
{
    g_signal_emit(transfers, signals[TOLD], 0, message);
}

static char *name_of(GFile *file)
{
    g_autofree char *base = g_file_get_basename(file);
    return g_filename_display_name(base ? base : "");
}

static void say(EspTransfers *transfers, guint64 sent, guint64 total)
{
    g_autofree char *name = name_of(transfers->sending);
    g_autofree char *of = g_format_size(total);
    gint64 elapsed = g_get_monotonic_time() - transfers->started_us;
    g_autofree char *what = NULL, *text = NULL;

    if (transfers->waiting.length)
        what = g_strdup_printf(ngettext("Sending “%s” and %u more file", "Sending “%s” and %u more files",
                                        transfers->waiting.length),
                               name, transfers->waiting.length);
    else
        what = g_strdup_printf(_("Sending “%s”"), name);
    if (sent && elapsed > SPEED_US) {
        g_autofree char *speed = g_format_size((guint64)((double)sent * G_USEC_PER_SEC / (double)elapsed));
        /* Translators: "Sending “file”", the file's size, and how much of it goes over in a second. */
        text = g_strdup_printf(_("%s (%s, %s a second)"), what, of, speed);
    } else {
        /* Translators: "Sending “file”", and the file's size. */
        text = g_strdup_printf(_("%s (%s)"), what, of);
    }
    gtk_label_set_text(transfers->label, text);
    gtk_progress_bar_set_fraction(transfers->bar, total ? (double)sent / (double)total : 0.0);
}

static void finish(EspTransfers *transfers)
{
    if (transfers->n_sent) {
        g_autofree char *message = g_strdup_printf(
            ngettext("%u file is in the guest now.", "%u files are in the guest now.", transfers->n_sent),
            transfers->n_sent);
        tell(transfers, message);
    }
    transfers->n_sent = 0;
    gtk_revealer_set_reveal_child(GTK_REVEALER(transfers), FALSE);
}

static void send_next(EspTransfers *transfers)
{
    while (!transfers->sending && transfers->waiting.length) {
        g_autoptr(GFile) file = g_queue_pop_head(&transfers->waiting);
        g_autoptr(GError) error = NULL;
        const char *path = g_file_peek_path(file);

        if (!path) {
            g_autofree char *name = name_of(file);
            g_autofree char *message =
                g_strdup_printf(_("“%s” is not on this computer; copy it here first."), name);
            tell(transfers, message);
            continue;
        }
        transfers->id = transfers->agent ? vmc_agent_send_file(transfers->agent, path, &error) : 0;
        if (!transfers->id) {
            tell(transfers, error ? error->message : _("The guest takes no files; use a shared folder."));
            continue;
        }
        transfers->sending = g_steal_pointer(&file);
        transfers->started_us = g_get_monotonic_time();
        transfers->cancelled = false;
        say(transfers, 0, 0);
        gtk_revealer_set_reveal_child(GTK_REVEALER(transfers), TRUE);
    }
    if (!transfers->sending)
        finish(transfers);
}

static void forget_waiting(EspTransfers *transfers)
{
    g_queue_clear_full(&transfers->waiting, g_object_unref);
}

static void on_cancel(EspTransfers *transfers)
{
    forget_waiting(transfers);
    transfers->cancelled = true;
    if (transfers->agent && transfers->sending)
        vmc_agent_cancel_file(transfers->agent, transfers->id);
}

void esp_transfers_set_agent(EspTransfers *transfers, VmcAgent *agent)
{
    if (transfers->sending)
        tell(transfers, _("Not all files were sent: the guest’s agent has gone."));
    forget_waiting(transfers);
    g_clear_object(&transfers->sending);
    transfers->id = 0;
    transfers->n_sent = 0;
    gtk_revealer_set_reveal_child(GTK_REVEALER(transfers), FALSE);
    transfers->agent = agent;
}

void esp_transfers_send(EspTransfers *transfers, GSList *files)
{
    for (; files; files = files->next)
        g_queue_push_tail(&transfers->waiting, g_object_ref(files->data));
    send_next(transfers);
}

void esp_transfers_progress(EspTransfers *transfers, unsigned id, guint64 sent, guint64 total, bool done,
                            const GError *error)
{
    if (!transfers->sending || id != transfers->id)
        return; /* somebody else's, such as espalierctl's */
    if (!done) {
        say(transfers, sent, total);
        return;
    }
    if (!error)
        transfers->n_sent++;
    else if (!transfers->cancelled)
        tell(transfers, error->message);
    g_clear_object(&transfers->sending);
    transfers->id = 0;
    send_next(transfers);
}

static void esp_transfers_dispose(GObject *object)
{
    EspTransfers *transfers = ESP_TRANSFERS(object);

    forget_waiting(transfers);
    g_clear_object(&transfers->sending);
    G_OBJECT_CLASS(esp_transfers_parent_class)->dispose(object);
}

static void esp_transfers_class_init(EspTransfersClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);

    G_OBJECT_CLASS(klass)->dispose = esp_transfers_dispose;
    signals[TOLD] = g_signal_new("told", G_TYPE_FROM_CLASS(klass), G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL,
                                 G_TYPE_NONE, 1, G_TYPE_STRING);
    gtk_widget_class_set_template_from_resource(widget_class, "/org/espalier/Espalier/transfers.ui");
    gtk_widget_class_bind_template_child(widget_class, EspTransfers, label);
    gtk_widget_class_bind_template_child(widget_class, EspTransfers, bar);
    gtk_widget_class_bind_template_callback(widget_class, on_cancel);
}

static void esp_transfers_init(EspTransfers *transfers)
{
    gtk_widget_init_template(GTK_WIDGET(transfers));
}
