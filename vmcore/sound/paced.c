/*
 * Streams that keep time (see paced.h), and the silent backend, which is nothing else.
 *
 * A stream has a level: for playback the bytes written and not yet played, for recording the bytes recorded
 * and not yet read. Time moves it, up to what the buffer holds; when it is empty or full the clock stands, as
 * with a sound card that has run dry. A timer looks once a period whether there is room again.
 */
#include "sound/paced.h"

#include <string.h>

#define NS_PER_S    1000000000ull
#define WAKE_MIN_NS 1000000ull
#define WAKE_MAX_NS 100000000ull
#define LEVEL_MAX_S 2u /* of sound, whatever the guest calls its buffer */

typedef struct Paced {
    VmcSoundStream stream;
    const VmcPacedHooks *hooks;
    VmcTimer *timer;
    bool running;
    uint64_t then;     /* ns: up to when time has been counted */
    uint32_t capacity; /* bytes, whole frames, at least one */
    uint32_t level;    /* bytes */
} Paced;

static uint64_t bytes_per_second(const Paced *paced)
{
    return (uint64_t)paced->stream.params.rate * vmc_sound_frame_bytes(&paced->stream.params);
}

/* Counts the time since the last look; what does not make a whole frame is left for the next. */
static void advance(Paced *paced)
{
    uint64_t now = vmc_now_ns(), rate = paced->stream.params.rate;
    unsigned frame = vmc_sound_frame_bytes(&paced->stream.params);

    if (!paced->running)
        return;
    uint64_t elapsed = MIN(now - paced->then, LEVEL_MAX_S * NS_PER_S);
    uint64_t frames = elapsed * rate / NS_PER_S, bytes = frames * frame;
    uint32_t left = paced->stream.capture ? paced->capacity - paced->level : paced->level;
    if (bytes >= left) { /* run dry, or full */
        bytes = left;
        paced->then = now;
    } else {
        paced->then += frames * NS_PER_S / rate;
    }
    paced->level = paced->stream.capture ? paced->level + (uint32_t)bytes : paced->level - (uint32_t)bytes;
}

static void arm(Paced *paced)
{
    uint64_t period = paced->stream.params.period_bytes * NS_PER_S / bytes_per_second(paced);

    vmc_timer_arm(paced->timer, vmc_now_ns() + CLAMP(period / 2, WAKE_MIN_NS, WAKE_MAX_NS));
}

static void wake(void *data)
{
    Paced *paced = data;

    if (!paced->running)
        return;
    arm(paced);
    if (vmc_paced_room(&paced->stream))
        paced->stream.ready(paced->stream.opaque);
}

VmcSoundStream *vmc_paced_open(VmcSound *sound, bool capture, const VmcSoundParams *params,
                               void (*ready)(void *opaque), void *opaque, const VmcPacedHooks *hooks)
{
    Paced *paced = g_new0(Paced, 1);
    unsigned frame = vmc_sound_frame_bytes(params);
    uint64_t most = (uint64_t)params->rate * frame * LEVEL_MAX_S;

    paced->stream = (VmcSoundStream){sound, capture, *params, ready, opaque};
    paced->hooks = hooks;
    paced->timer = vmc_timer_new(sound->io, wake, paced);
    /* Half of the guest's buffer: the other half is what it fills meanwhile. */
    paced->capacity = (uint32_t)MIN(MAX(params->buffer_bytes / 2, params->period_bytes), most);
    paced->capacity = MAX(paced->capacity / frame * frame, frame);
    return &paced->stream;
}

void vmc_paced_start(VmcSoundStream *stream)
{
    Paced *paced = (Paced *)stream;

    paced->running = true;
    paced->then = vmc_now_ns();
    arm(paced);
}

void vmc_paced_stop(VmcSoundStream *stream)
{
    Paced *paced = (Paced *)stream;

    advance(paced);
    paced->running = false;
    vmc_timer_disarm(paced->timer);
}

void vmc_paced_close(VmcSoundStream *stream)
{
    Paced *paced = (Paced *)stream;

    if (paced->hooks && paced->hooks->closed)
        paced->hooks->closed(stream);
    vmc_timer_free(paced->timer);
    g_free(paced);
}

size_t vmc_paced_room(VmcSoundStream *stream)
{
    Paced *paced = (Paced *)stream;

    advance(paced);
    return stream->capture ? paced->level : paced->capacity - paced->level;
}

void vmc_paced_write(VmcSoundStream *stream, const void *data, size_t len)
{
    Paced *paced = (Paced *)stream;

    if (!paced->level)
        paced->then = vmc_now_ns(); /* it had run dry: time begins with the first byte */
    paced->level += (uint32_t)MIN(len, paced->capacity - paced->level);
    if (paced->hooks && paced->hooks->played)
        paced->hooks->played(stream, data, len);
}

void vmc_paced_read(VmcSoundStream *stream, void *data, size_t len)
{
    Paced *paced = (Paced *)stream;

    paced->level -= (uint32_t)MIN(len, paced->level);
    if (paced->hooks && paced->hooks->record)
        paced->hooks->record(stream, data, len);
    else
        memset(data, vmc_sound_silence(stream->params.format), len);
}

uint32_t vmc_paced_latency(VmcSoundStream *stream)
{
    Paced *paced = (Paced *)stream;

    advance(paced);
    return paced->level;
}

/* ---- the silent backend ---- */

static VmcSoundStream *silent_open(VmcSound *sound, bool capture, const VmcSoundParams *params,
                                   void (*ready)(void *opaque), void *opaque)
{
    return vmc_paced_open(sound, capture, params, ready, opaque, NULL);
}

static void silent_free(VmcSound *sound)
{
    g_free(sound);
}

static const VmcSoundOps silent_ops = {
    .name = "silent",
    .open = silent_open,
    .start = vmc_paced_start,
    .stop = vmc_paced_stop,
    .close = vmc_paced_close,
    .room = vmc_paced_room,
    .write = vmc_paced_write,
    .read = vmc_paced_read,
    .latency = vmc_paced_latency,
    .free = silent_free,
};

VmcSound *vmc_sound_silent_new(VmcIo *io)
{
    VmcSound *sound = g_new0(VmcSound, 1);

    *sound = (VmcSound){&silent_ops, io};
    return sound;
}

void vmc_sound_free(VmcSound *sound)
{
    if (sound)
        sound->ops->free(sound);
}
