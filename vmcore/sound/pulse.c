/*
 * The user's sound server through libpulse (PulseAudio, or PipeWire in its place), asynchronous: libpulse's
 * GLib main loop runs on the context of the I/O thread, so every callback of it is on our home thread and
 * nothing waits.
 *
 * The server may be absent, go away and come back. A stream of ours therefore always has a paced stream
 * beside it, which keeps time whenever there is no connected stream of the server's; a timer tries the server
 * again.
 *
 * Delay: the server is asked to hold half of the guest's buffer, so that the guest has the other half to
 * fill, within bounds that keep a click near its sound and a busy computer from stuttering. What was written
 * when a stream is closed still plays: the server's stream is drained and goes by itself.
 */
#include "sound/pulse_late.h"

#include <string.h>

#include "base/i18n.h"
#include "sound/paced.h"

#define RETRY_NS     5000000000ull
#define WATCH_MIN_NS 5000000ull
#define TAIL_NS      500000000ull
#define TAIL_MAX_NS  10000000000ull
#define TARGET_MIN_S 0.02
#define TARGET_MAX_S 0.25

typedef struct PulseSound PulseSound;

typedef struct PulseStream {
    VmcSoundStream stream;
    VmcSoundStream *paced; /* keeps time while `pa` is NULL or not ready */
    pa_stream *pa;         /* or NULL */
    bool running, connected;
    VmcTimer *watch;       /* while it runs: is the server stalled? */
    uint64_t moved_at;     /* ns: when the server last moved */
    GByteArray *kept;      /* written while it did not */
    const uint8_t *record; /* what is left of the fragment that was peeked; NULL in a hole */
    size_t record_left;
    struct PulseStream *next;
} PulseStream;

struct PulseSound {
    VmcSound sound;
    char *name;
    void (*log)(void *opaque, const char *line);
    void *opaque;
    pa_glib_mainloop *loop;
    pa_context *context; /* or NULL: not even trying */
    VmcTimer *retry;
    bool said; /* that there is no server */
    PulseStream *streams;
    GPtrArray *tails; /* of Tail */
};

static PulseSound *pulse_of(VmcSoundStream *stream)
{
    return (PulseSound *)stream->sound;
}

/* ---- the server's streams ---- */

static pa_sample_spec sample_spec(const VmcSoundParams *params)
{
    static const pa_sample_format_t formats[] = {
        [VMC_SAMPLE_ALAW] = PA_SAMPLE_ALAW,   [VMC_SAMPLE_ULAW] = PA_SAMPLE_ULAW,
        [VMC_SAMPLE_U8] = PA_SAMPLE_U8,       [VMC_SAMPLE_S16] = PA_SAMPLE_S16LE,
        [VMC_SAMPLE_S24_3] = PA_SAMPLE_S24LE, [VMC_SAMPLE_S24] = PA_SAMPLE_S24_32LE,
        [VMC_SAMPLE_S32] = PA_SAMPLE_S32LE,   [VMC_SAMPLE_FLOAT] = PA_SAMPLE_FLOAT32LE,
    };

    return (pa_sample_spec){formats[params->format], params->rate, (uint8_t)params->channels};
}

static pa_buffer_attr buffer_attr(const VmcSoundParams *params)
{
    unsigned frame = vmc_sound_frame_bytes(params);
    double second = (double)params->rate * frame;
    uint32_t target =
        (uint32_t)CLAMP((double)params->buffer_bytes / 2, second * TARGET_MIN_S, second * TARGET_MAX_S);

    target = MAX(target / frame * frame, frame);
    return (pa_buffer_attr){
        .maxlength = (uint32_t)-1,
        .tlength = target,
        .prebuf = target / 2 / frame * frame,
        .minreq = (uint32_t)-1,
        .fragsize = MAX(target / 4 / frame * frame, frame),
    };
}

static uint64_t ns_of(const VmcSoundParams *params, uint32_t bytes)
{
    return bytes * 1000000000ull / vmc_sound_frame_bytes(params) / params->rate;
}

static bool is_stalled(const PulseStream *stream)
{
    const VmcSoundParams *params = &stream->stream.params;

    return vmc_now_ns() - stream->moved_at > ns_of(params, params->buffer_bytes) / 2;
}

static void arm_watch(PulseStream *stream)
{
    const VmcSoundParams *params = &stream->stream.params;

    vmc_timer_arm(stream->watch, vmc_now_ns() + MAX(ns_of(params, params->buffer_bytes) / 4, WATCH_MIN_NS));
}

static void on_watch(void *data)
{
    PulseStream *stream = data;

    if (!stream->running)
        return;
    arm_watch(stream);
    if (stream->connected && is_stalled(stream))
        stream->stream.ready(stream->stream.opaque);
}

/* Hands the server what was kept, as far as it has room; returns the room that is left. */
static size_t write_kept(PulseStream *stream)
{
    size_t room = pa_stream_writable_size(stream->pa), here;

    if (room == (size_t)-1)
        return 0;
    here = MIN(room, stream->kept->len);
    if (here) {
        pa_stream_write(stream->pa, stream->kept->data, here, NULL, 0, PA_SEEK_RELATIVE);
        g_byte_array_remove_range(stream->kept, 0, (guint)here);
    }
    return room - here;
}

static void drop_pa(PulseStream *stream)
{
    g_byte_array_set_size(stream->kept, 0);
    if (!stream->pa)
        return;
    pa_stream_set_state_callback(stream->pa, NULL, NULL);
    pa_stream_set_write_callback(stream->pa, NULL, NULL);
    pa_stream_set_read_callback(stream->pa, NULL, NULL);
    pa_stream_disconnect(stream->pa);
    pa_stream_unref(stream->pa);
    stream->pa = NULL;
    stream->record_left = 0;
}

static void use_paced(PulseStream *stream)
{
    stream->connected = false;
    if (stream->running)
        vmc_paced_start(stream->paced);
}

static void on_room(pa_stream *pa, size_t bytes, void *data)
{
    PulseStream *stream = data;

    stream->moved_at = vmc_now_ns();
    if (stream->connected && stream->running)
        stream->stream.ready(stream->stream.opaque);
}

static void on_stream_state(pa_stream *pa, void *data)
{
    PulseStream *stream = data;

    switch (pa_stream_get_state(pa)) {
    case PA_STREAM_READY:
        vmc_paced_stop(stream->paced);
        stream->connected = true;
        stream->moved_at = vmc_now_ns();
        if (stream->running)
            stream->stream.ready(stream->stream.opaque);
        break;
    case PA_STREAM_FAILED:
    case PA_STREAM_TERMINATED:
        drop_pa(stream);
        if (stream->connected)
            use_paced(stream);
        break;
    default:
        break;
    }
}

static void connect_stream(PulseStream *stream)
{
    PulseSound *pulse = pulse_of(&stream->stream);
    pa_stream_flags_t flags = PA_STREAM_INTERPOLATE_TIMING | PA_STREAM_AUTO_TIMING_UPDATE |
                              PA_STREAM_ADJUST_LATENCY | (stream->running ? 0 : PA_STREAM_START_CORKED);
    pa_sample_spec spec = sample_spec(&stream->stream.params);
    pa_buffer_attr attr = buffer_attr(&stream->stream.params);
    int err;

    stream->pa = pa_stream_new(pulse->context, stream->stream.capture ? "Microphone" : "Sound", &spec, NULL);
    if (!stream->pa)
        return;
    pa_stream_set_state_callback(stream->pa, on_stream_state, stream);
    pa_stream_set_write_callback(stream->pa, on_room, stream);
    pa_stream_set_read_callback(stream->pa, on_room, stream);
    err = stream->stream.capture ? pa_stream_connect_record(stream->pa, NULL, &attr, flags)
                                 : pa_stream_connect_playback(stream->pa, NULL, &attr, flags, NULL, NULL);
    if (err < 0)
        drop_pa(stream);
}

/* ---- the server ---- */

static void say(PulseSound *pulse, const char *format, const char *why)
{
    g_autofree char *line = g_strdup_printf(format, why);

    if (pulse->log)
        pulse->log(pulse->opaque, line);
}

static void lose_server(PulseSound *pulse, const char *why)
{
    if (!pulse->said)
        say(pulse,
            _("The sound server cannot be reached (%s); the guest's sound is not heard until it is back."),
            why);
    pulse->said = true;
    for (PulseStream *stream = pulse->streams; stream; stream = stream->next) {
        bool was = stream->connected;

        drop_pa(stream);
        if (was)
            use_paced(stream);
    }
    g_ptr_array_set_size(pulse->tails, 0);
    pa_context_set_state_callback(pulse->context, NULL, NULL);
    pa_context_disconnect(pulse->context);
    pa_context_unref(pulse->context);
    pulse->context = NULL;
    if (pulse->streams)
        vmc_timer_arm(pulse->retry, vmc_now_ns() + RETRY_NS);
}

static void on_context_state(pa_context *context, void *data)
{
    PulseSound *pulse = data;

    switch (pa_context_get_state(context)) {
    case PA_CONTEXT_READY:
        if (pulse->said)
            say(pulse, "%s", _("The sound server is there again."));
        pulse->said = false;
        for (PulseStream *stream = pulse->streams; stream; stream = stream->next)
            if (!stream->pa)
                connect_stream(stream);
        break;
    case PA_CONTEXT_FAILED:
    case PA_CONTEXT_TERMINATED:
        lose_server(pulse, pa_strerror(pa_context_errno(context)));
        break;
    default:
        break;
    }
}

static void connect_server(PulseSound *pulse)
{
    if (!pulse->loop)
        pulse->loop = pa_glib_mainloop_new(vmc_io_context(pulse->sound.io));
    pulse->context = pa_context_new(pa_glib_mainloop_get_api(pulse->loop), pulse->name);
    pa_context_set_state_callback(pulse->context, on_context_state, pulse);
    if (pa_context_connect(pulse->context, NULL, PA_CONTEXT_NOAUTOSPAWN, NULL) < 0 && pulse->context)
        lose_server(pulse, pa_strerror(pa_context_errno(pulse->context)));
}

static void try_again(void *data)
{
    PulseSound *pulse = data;

    if (!pulse->context && pulse->streams)
        connect_server(pulse);
}

/* ---- our streams ---- */

static void on_paced_ready(void *data)
{
    PulseStream *stream = data;

    if (!stream->connected)
        stream->stream.ready(stream->stream.opaque);
}

static VmcSoundStream *pulse_open(VmcSound *sound, bool capture, const VmcSoundParams *params,
                                  void (*ready)(void *opaque), void *opaque)
{
    PulseSound *pulse = (PulseSound *)sound;
    PulseStream *stream = g_new0(PulseStream, 1);

    stream->stream = (VmcSoundStream){sound, capture, *params, ready, opaque};
    stream->paced = vmc_paced_open(sound, capture, params, on_paced_ready, stream, NULL);
    stream->watch = vmc_timer_new(sound->io, on_watch, stream);
    stream->kept = g_byte_array_new();
    stream->next = pulse->streams;
    pulse->streams = stream;
    if (!pulse->context)
        connect_server(pulse);
    else if (pa_context_get_state(pulse->context) == PA_CONTEXT_READY)
        connect_stream(stream);
    return &stream->stream;
}

static void cork(PulseStream *stream, bool corked)
{
    pa_operation *operation = stream->pa ? pa_stream_cork(stream->pa, corked, NULL, NULL) : NULL;

    if (operation)
        pa_operation_unref(operation);
}

static void pulse_start(VmcSoundStream *base)
{
    PulseStream *stream = (PulseStream *)base;

    stream->running = true;
    stream->moved_at = vmc_now_ns();
    arm_watch(stream);
    cork(stream, false);
    if (stream->connected)
        base->ready(base->opaque);
    else
        vmc_paced_start(stream->paced);
}

/* What a guest has handed over it takes to be played: playback goes on until the server has run dry. */
static void pulse_stop(VmcSoundStream *base)
{
    PulseStream *stream = (PulseStream *)base;
    pa_operation *operation;

    stream->running = false;
    vmc_timer_disarm(stream->watch);
    if (!stream->connected) {
        vmc_paced_stop(stream->paced);
    } else if (base->capture) {
        cork(stream, true);
    } else {
        operation = pa_stream_trigger(stream->pa, NULL, NULL); /* less than the server waits for */
        if (operation)
            pa_operation_unref(operation);
    }
}

/* A closed stream that still plays. The server says that it has drained when the last of it is mixed, not
 * when it is heard, and takes back what is not heard of a stream that goes; so it stays a little longer. */
typedef struct Tail {
    PulseSound *pulse;
    pa_stream *pa;
    VmcTimer *timer;
} Tail;

static void tail_free(gpointer data)
{
    Tail *tail = data;

    pa_stream_set_state_callback(tail->pa, NULL, NULL);
    pa_stream_disconnect(tail->pa);
    pa_stream_unref(tail->pa);
    vmc_timer_free(tail->timer);
    g_free(tail);
}

static void end_of_tail(void *data)
{
    Tail *tail = data;

    g_ptr_array_remove_fast(tail->pulse->tails, tail);
}

static void on_drained(pa_stream *pa, int success, void *data)
{
    Tail *tail = data;

    vmc_timer_arm(tail->timer, vmc_now_ns() + TAIL_NS);
}

static void drain(PulseStream *stream)
{
    PulseSound *pulse = pulse_of(&stream->stream);
    Tail *tail = g_new0(Tail, 1);
    pa_operation *operation;

    pa_stream_set_state_callback(stream->pa, NULL, NULL);
    pa_stream_set_write_callback(stream->pa, NULL, NULL);
    if (stream->kept->len)
        pa_stream_write(stream->pa, stream->kept->data, stream->kept->len, NULL, 0, PA_SEEK_RELATIVE);
    *tail = (Tail){pulse, stream->pa, vmc_timer_new(pulse->sound.io, end_of_tail, tail)};
    stream->pa = NULL;
    g_ptr_array_add(pulse->tails, tail);
    operation = pa_stream_drain(tail->pa, on_drained, tail);
    if (operation)
        pa_operation_unref(operation);
    /* At the latest; the server may be gone and never answer. */
    vmc_timer_arm(tail->timer, vmc_now_ns() + TAIL_MAX_NS);
}

static void pulse_close(VmcSoundStream *base)
{
    PulseSound *pulse = pulse_of(base);
    PulseStream *stream = (PulseStream *)base, **at = &pulse->streams;

    while (*at != stream)
        at = &(*at)->next;
    *at = stream->next;
    if (stream->connected && !base->capture)
        drain(stream);
    else
        drop_pa(stream);
    vmc_paced_close(stream->paced);
    vmc_timer_free(stream->watch);
    g_byte_array_unref(stream->kept);
    g_free(stream);
}

/* Makes the next fragment the one that is read, if there is one. */
static void peek(PulseStream *stream)
{
    const void *data;
    size_t bytes;

    if (stream->record_left || pa_stream_peek(stream->pa, &data, &bytes) < 0)
        return;
    stream->record = data;
    stream->record_left = bytes;
}

static size_t pulse_room(VmcSoundStream *base)
{
    PulseStream *stream = (PulseStream *)base;
    size_t frame = vmc_sound_frame_bytes(&base->params), bytes;

    if (!stream->connected)
        return vmc_paced_room(stream->paced);
    if (base->capture) {
        peek(stream);
        bytes = stream->record_left;
    } else {
        bytes = write_kept(stream);
    }
    bytes = bytes / frame * frame;
    if (!bytes && is_stalled(stream) && stream->kept->len < base->params.buffer_bytes)
        bytes = base->params.period_bytes;
    return bytes;
}

static void pulse_write(VmcSoundStream *base, const void *data, size_t len)
{
    PulseStream *stream = (PulseStream *)base;

    if (!stream->connected) {
        vmc_paced_write(stream->paced, data, len);
        return;
    }
    stream->moved_at = vmc_now_ns();
    if (write_kept(stream) >= len)
        pa_stream_write(stream->pa, data, len, NULL, 0, PA_SEEK_RELATIVE);
    else
        g_byte_array_append(stream->kept, data, (guint)len);
}

static void pulse_read(VmcSoundStream *base, void *data, size_t len)
{
    PulseStream *stream = (PulseStream *)base;

    if (!stream->connected) {
        vmc_paced_read(stream->paced, data, len);
        return;
    }
    stream->moved_at = vmc_now_ns();
    if (!stream->record_left) { /* stalled */
        memset(data, vmc_sound_silence(base->params.format), len);
        return;
    }
    len = MIN(len, stream->record_left);
    if (stream->record) {
        memcpy(data, stream->record, len);
        stream->record += len;
    } else {
        memset(data, vmc_sound_silence(base->params.format), len);
    }
    stream->record_left -= len;
    if (!stream->record_left)
        pa_stream_drop(stream->pa);
}

static uint32_t pulse_latency(VmcSoundStream *base)
{
    PulseStream *stream = (PulseStream *)base;
    pa_sample_spec spec = sample_spec(&base->params);
    pa_usec_t usec;
    int negative;

    if (!stream->connected)
        return vmc_paced_latency(stream->paced);
    if (pa_stream_get_latency(stream->pa, &usec, &negative) < 0 || negative)
        return 0;
    return (uint32_t)MIN(pa_usec_to_bytes(usec, &spec), UINT32_MAX);
}

/* ---- the backend ---- */

static void free_on_thread(void *data)
{
    PulseSound *pulse = data;

    g_ptr_array_unref(pulse->tails);
    if (pulse->context) {
        pa_context_set_state_callback(pulse->context, NULL, NULL);
        pa_context_disconnect(pulse->context);
        pa_context_unref(pulse->context);
        pulse->context = NULL;
    }
    if (pulse->loop)
        pa_glib_mainloop_free(pulse->loop);
}

static void pulse_free(VmcSound *sound)
{
    PulseSound *pulse = (PulseSound *)sound;

    vmc_io_call_sync(sound->io, free_on_thread, pulse);
    vmc_timer_free(pulse->retry);
    g_free(pulse->name);
    g_free(pulse);
}

static const VmcSoundOps pulse_ops = {
    .name = "pulse",
    .open = pulse_open,
    .start = pulse_start,
    .stop = pulse_stop,
    .close = pulse_close,
    .room = pulse_room,
    .write = pulse_write,
    .read = pulse_read,
    .latency = pulse_latency,
    .free = pulse_free,
};

VmcSound *vmc_sound_pulse_new(VmcIo *io, const char *name, void (*log)(void *opaque, const char *line),
                              void *opaque)
{
    g_autoptr(GError) missing = NULL;
    PulseSound *pulse;

    if (!vmc_pulse_load(&missing)) {
        if (log)
            log(opaque, missing->message);
        return vmc_sound_silent_new(io);
    }
    pulse = g_new0(PulseSound, 1);
    pulse->sound = (VmcSound){&pulse_ops, io};
    pulse->name = g_strdup(name);
    pulse->log = log;
    pulse->opaque = opaque;
    pulse->tails = g_ptr_array_new_with_free_func(tail_free);
    pulse->retry = vmc_timer_new(io, try_again, pulse);
    return &pulse->sound;
}
