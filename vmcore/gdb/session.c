/*
 * A debugger's session (session.h): packets in, the command each is for, packets out.
 *
 * What is not in the table is answered with an empty packet, which says so. What a debugger sends while CPUs
 * run, but for Ctrl-C, is acknowledged and dropped: in all-stop mode there is no answer but that they have
 * stopped.
 */
#include "gdb/internal.h"

#include <string.h>

#include "gdb/registers.h"

/* What waits to be sent before more is taken in. */
#define OUT_MAX (4 * VMC_GDB_PACKET_MAX)

enum { SIGNAL_INT = 2, SIGNAL_TRAP = 5 };

VmcGdbSession *vmc_gdb_session_new(const VmcGdbTargetOps *ops, void *opaque)
{
    VmcGdbSession *s = g_new0(VmcGdbSession, 1);

    s->ops = ops;
    s->opaque = opaque;
    s->out = g_byte_array_new();
    s->reply = g_byte_array_new();
    s->last = g_byte_array_new();
    s->description = vmc_gdb_registers_describe();
    s->resume_cpu = VMC_GDB_ALL_CPUS;
    s->stop.happened = true; /* as after a start, whatever the reason: SIGTRAP */
    return s;
}

void vmc_gdb_session_free(VmcGdbSession *session)
{
    if (!session)
        return;
    g_byte_array_unref(session->out);
    g_byte_array_unref(session->reply);
    g_byte_array_unref(session->last);
    g_free(session->description);
    g_free(session);
}

GByteArray *vmc_gdb_session_output(VmcGdbSession *session)
{
    return session->out;
}

VmcGdbEnd vmc_gdb_session_end(const VmcGdbSession *session)
{
    return session->end;
}

bool vmc_gdb_session_has_run(const VmcGdbSession *session)
{
    return session->has_run;
}

void vmc_gdb_send(VmcGdbSession *s)
{
    g_byte_array_set_size(s->last, 0);
    vmc_gdb_packet_append(s->last, s->reply->data, s->reply->len);
    g_byte_array_set_size(s->reply, 0);
    g_byte_array_append(s->out, s->last->data, s->last->len);
}

/* ---- stops ---- */

static void say_reason(VmcGdbSession *s)
{
    const VmcDebugEvent *event = &s->stop.event;

    if (event->reason == VMC_DEBUG_WATCHPOINT) {
        vmc_gdb_say(s, "%s:%" G_GINT64_MODIFIER "x;",
                    event->access == VMC_DEBUG_WRITE  ? "watch"
                    : event->access == VMC_DEBUG_READ ? "rwatch"
                                                      : "awatch",
                    event->address);
    } else if (event->reason == VMC_DEBUG_BREAKPOINT) {
        if (event->hardware && s->knows_hwbreak)
            vmc_gdb_say(s, "hwbreak:;");
        else if (!event->hardware && s->knows_swbreak)
            vmc_gdb_say(s, "swbreak:;");
    }
}

void vmc_gdb_say_stop(VmcGdbSession *s)
{
    vmc_gdb_say(s, "T%02x", s->stop.happened ? SIGNAL_TRAP : SIGNAL_INT);
    say_reason(s);
    vmc_gdb_say(s, "thread:%x;", s->cpu + 1);
}

void vmc_gdb_session_stopped(VmcGdbSession *session, const VmcDebugStop *stop)
{
    if (!session->running)
        return;
    session->running = false;
    session->stop = *stop;
    if (stop->happened && stop->cpu < session->ops->n_cpus(session->opaque))
        session->cpu = stop->cpu;
    vmc_gdb_say_stop(session);
    vmc_gdb_send(session);
}

void vmc_gdb_session_exited(VmcGdbSession *session, bool failed)
{
    if (!session->running || session->end != VMC_GDB_GOES_ON)
        return;
    vmc_gdb_say(session, failed ? "W01" : "W00");
    vmc_gdb_send(session);
}

static void interrupt(VmcGdbSession *s)
{
    VmcDebugStop stop;

    if (s->running && s->ops->interrupt(s->opaque, &stop))
        vmc_gdb_session_stopped(s, &stop);
}

/* ---- commands ---- */

static void why_stopped(VmcGdbSession *s, VmcGdbText *text)
{
    vmc_gdb_say_stop(s);
}

/* Hg and Hc. */
static void choose_thread(VmcGdbSession *s, VmcGdbText *text)
{
    bool general = vmc_gdb_take_char(text, 'g');
    int cpu;

    if ((!general && !vmc_gdb_take_char(text, 'c')) || !vmc_gdb_take_thread(s, text, (int)s->cpu, &cpu) ||
        !vmc_gdb_text_is_empty(text)) {
        vmc_gdb_say_error(s, VMC_GDB_EINVAL);
        return;
    }
    if (!general)
        s->resume_cpu = cpu;
    else if (cpu >= 0)
        s->cpu = (unsigned)cpu;
    vmc_gdb_say_ok(s);
}

static void is_alive(VmcGdbSession *s, VmcGdbText *text)
{
    int cpu;

    if (vmc_gdb_take_thread(s, text, 0, &cpu) && cpu >= 0 && vmc_gdb_text_is_empty(text))
        vmc_gdb_say_ok(s);
    else
        vmc_gdb_say_error(s, VMC_GDB_EINVAL);
}

static void detach(VmcGdbSession *s, VmcGdbText *text)
{
    s->end = VMC_GDB_DETACHED;
    vmc_gdb_say_ok(s);
}

static void kill_machine(VmcGdbSession *s, VmcGdbText *text)
{
    s->end = VMC_GDB_KILLED;
}

/* Commands whose names begin with v. */
static void long_command(VmcGdbSession *s, VmcGdbText *text)
{
    if (vmc_gdb_take_word(text, "Cont?")) {
        vmc_gdb_say(s, "vCont;c;C;s;S");
    } else if (vmc_gdb_take_word(text, "Cont")) {
        vmc_gdb_resume_each(s, text);
    } else if (vmc_gdb_take_word(text, "Kill;")) {
        s->end = VMC_GDB_KILLED;
        vmc_gdb_say_ok(s);
    }
}

static const struct {
    char letter;
    bool silent; /* there may be no answer, or only later */
    VmcGdbCommand command;
} commands[] = {
    {'?', false, why_stopped},
    {'C', true, vmc_gdb_continue_with_signal},
    {'D', false, detach},
    {'G', false, vmc_gdb_write_registers},
    {'H', false, choose_thread},
    {'M', false, vmc_gdb_write_memory},
    {'P', false, vmc_gdb_write_register},
    {'Q', false, vmc_gdb_set},
    {'S', true, vmc_gdb_step_with_signal},
    {'T', false, is_alive},
    {'X', false, vmc_gdb_write_memory_binary},
    {'Z', false, vmc_gdb_insert_point},
    {'c', true, vmc_gdb_continue},
    {'g', false, vmc_gdb_read_registers},
    {'k', true, kill_machine},
    {'m', false, vmc_gdb_read_memory},
    {'p', false, vmc_gdb_read_register},
    {'q', false, vmc_gdb_query},
    {'s', true, vmc_gdb_step},
    {'v', false, long_command},
    {'z', false, vmc_gdb_remove_point},
};

static void on_packet(VmcGdbSession *s)
{
    VmcGdbText text = {s->reader.data, s->reader.data + s->reader.len};
    bool answer = true;

    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
        if (vmc_gdb_take_char(&text, commands[i].letter)) {
            commands[i].command(s, &text);
            answer = !commands[i].silent;
            break;
        }
    if (s->reply->len || (answer && !s->running))
        vmc_gdb_send(s);
}

/* ---- bytes ---- */

static void acknowledge(VmcGdbSession *s, char how)
{
    if (!s->no_ack)
        g_byte_array_append(s->out, (const uint8_t *)&how, 1);
}

static void on_input(VmcGdbSession *s, VmcGdbInput input)
{
    switch (input) {
    case VMC_GDB_PACKET:
        acknowledge(s, '+');
        if (!s->running)
            on_packet(s);
        break;
    case VMC_GDB_BAD:
        acknowledge(s, '-');
        break;
    case VMC_GDB_TOO_LONG:
        acknowledge(s, '+');
        if (!s->running) {
            vmc_gdb_say_error(s, VMC_GDB_E2BIG);
            vmc_gdb_send(s);
        }
        break;
    case VMC_GDB_INTERRUPT:
        interrupt(s);
        break;
    case VMC_GDB_NAK:
        if (!s->no_ack)
            g_byte_array_append(s->out, s->last->data, s->last->len);
        break;
    case VMC_GDB_JUNK:
        /* A web page can have a browser send what looks like packets to a port here, behind a request's first
         * lines. */
        if (!s->met)
            s->end = VMC_GDB_STRANGER;
        break;
    case VMC_GDB_ACK:
    case VMC_GDB_MORE:
        break;
    }
    s->met = true;
}

size_t vmc_gdb_session_input(VmcGdbSession *session, const uint8_t *bytes, size_t len)
{
    size_t n = 0;

    while (n < len && session->end == VMC_GDB_GOES_ON && session->out->len < OUT_MAX)
        on_input(session, vmc_gdb_reader_put(&session->reader, bytes[n++]));
    return session->end == VMC_GDB_GOES_ON ? n : len;
}
