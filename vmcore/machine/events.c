/*
 * The mailbox: how the guest's threads tell the owner what happened.
 *
 * Events queue up under a lock and are delivered by a source on the owner's context, which is attached when
 * the first one arrives. The mailbox outlives the machine as long as such a source is pending; a closed one
 * delivers nothing. A guest can make the machine log as fast as it likes, so only so many lines wait at a
 * time.
 */
#include "base/i18n.h"
#include "machine/private.h"

#define LOG_LINES_WAITING_MAX 256u

typedef struct Event {
    VmcEventKind kind;
    unsigned run;
    char *text;
    GError *error;
} Event;

struct VmcMailbox {
    gatomicrefcount refs;
    GMainContext *context;
    GMutex lock;
    VmcMachine *machine; /* NULL: closed */
    GQueue events;
    unsigned log_lines;
    unsigned lost_lines;
    bool scheduled;
};

static void event_free(Event *event)
{
    g_free(event->text);
    g_clear_error(&event->error);
    g_free(event);
}

static void mailbox_unref(gpointer data)
{
    VmcMailbox *mailbox = data;
    Event *event;

    if (!g_atomic_ref_count_dec(&mailbox->refs))
        return;
    while ((event = g_queue_pop_head(&mailbox->events)))
        event_free(event);
    g_main_context_unref(mailbox->context);
    g_mutex_clear(&mailbox->lock);
    g_free(mailbox);
}

VmcMailbox *vmc_mailbox_new(VmcMachine *machine, GMainContext *context)
{
    VmcMailbox *mailbox = g_new0(VmcMailbox, 1);

    g_atomic_ref_count_init(&mailbox->refs);
    mailbox->context = g_main_context_ref(context);
    mailbox->machine = machine;
    g_mutex_init(&mailbox->lock);
    g_queue_init(&mailbox->events);
    return mailbox;
}

void vmc_mailbox_close(VmcMailbox *mailbox)
{
    g_mutex_lock(&mailbox->lock);
    mailbox->machine = NULL;
    g_mutex_unlock(&mailbox->lock);
    mailbox_unref(mailbox);
}

static gboolean deliver(gpointer data)
{
    VmcMailbox *mailbox = data;
    VmcMachine *machine;
    Event *event;

    g_mutex_lock(&mailbox->lock);
    mailbox->scheduled = false;
    /* Closing happens on this very thread, so the machine is there as long as the mailbox says so. */
    while (mailbox->machine && (event = g_queue_pop_head(&mailbox->events))) {
        if (event->kind == VMC_EVENT_LOG)
            mailbox->log_lines--;
        machine = g_object_ref(mailbox->machine);
        g_mutex_unlock(&mailbox->lock);
        vmc_machine_on_event(machine, event->kind, event->run, event->text, event->error);
        event_free(event);
        g_object_unref(machine);
        g_mutex_lock(&mailbox->lock);
    }
    g_mutex_unlock(&mailbox->lock);
    return G_SOURCE_REMOVE;
}

static void schedule(VmcMailbox *mailbox)
{
    GSource *source = g_idle_source_new();

    g_source_set_priority(source, G_PRIORITY_DEFAULT);
    g_atomic_ref_count_inc(&mailbox->refs);
    g_source_set_callback(source, deliver, mailbox, mailbox_unref);
    g_source_attach(source, mailbox->context);
    g_source_unref(source);
    mailbox->scheduled = true;
}

static Event *event_new(VmcEventKind kind, unsigned run, const char *text, GError *error)
{
    Event *event = g_new0(Event, 1);

    event->kind = kind;
    event->run = run;
    event->text = g_strdup(text);
    event->error = error;
    return event;
}

/* Whether there is room for a line; says how many were lost once there is again. Called locked. */
static bool admit_log_line(VmcMailbox *mailbox, unsigned run)
{
    if (mailbox->log_lines >= LOG_LINES_WAITING_MAX) {
        mailbox->lost_lines++;
        return false;
    }
    if (mailbox->lost_lines) {
        g_autofree char *text = g_strdup_printf(
            ngettext("(%u more line was lost)", "(%u more lines were lost)", mailbox->lost_lines),
            mailbox->lost_lines);

        g_queue_push_tail(&mailbox->events, event_new(VMC_EVENT_LOG, run, text, NULL));
        mailbox->log_lines++;
        mailbox->lost_lines = 0;
    }
    mailbox->log_lines++;
    return true;
}

void vmc_mailbox_post(VmcMailbox *mailbox, VmcEventKind kind, unsigned run, const char *text, GError *error)
{
    g_mutex_lock(&mailbox->lock);
    if (!mailbox->machine || (kind == VMC_EVENT_LOG && !admit_log_line(mailbox, run))) {
        g_clear_error(&error);
    } else {
        g_queue_push_tail(&mailbox->events, event_new(kind, run, text, error));
        if (!mailbox->scheduled)
            schedule(mailbox);
    }
    g_mutex_unlock(&mailbox->lock);
}
