/*
 * virtio-snd: control requests in any order, buffers for any stream, and a backend that has room when it
 * likes.
 *
 * covers: vmcore/virtio/sound.c
 */
#include <linux/virtio_snd.h>

#include "tests/fuzz/device.h"

#define STREAMS 2u

/* The backend: streams whose room the input decides. */
typedef struct FuzzSound {
    VmcSound sound;
    VmcSoundStream *open[STREAMS];
    size_t room[STREAMS];
} FuzzSound;

static size_t *room_of(VmcSoundStream *stream)
{
    FuzzSound *own = (FuzzSound *)stream->sound;

    return &own->room[own->open[1] == stream];
}

static VmcSoundStream *backend_open(VmcSound *sound, bool capture, const VmcSoundParams *params,
                                    void (*ready)(void *opaque), void *opaque)
{
    FuzzSound *own = (FuzzSound *)sound;
    VmcSoundStream *stream = g_new0(VmcSoundStream, 1);

    if (!params->rate || !params->channels || !params->period_bytes || own->open[capture])
        fuzz_finding("a stream with a rate of %u, %u channels and a period of %u bytes, or a second one",
                     params->rate, params->channels, params->period_bytes);
    *stream = (VmcSoundStream){sound, capture, *params, ready, opaque};
    own->open[capture] = stream;
    return stream;
}

static void backend_nothing(VmcSoundStream *stream)
{
}

static void backend_close(VmcSoundStream *stream)
{
    FuzzSound *own = (FuzzSound *)stream->sound;

    own->open[stream->capture] = NULL;
    g_free(stream);
}

static size_t backend_room(VmcSoundStream *stream)
{
    unsigned frame = vmc_sound_frame_bytes(&stream->params);

    return *room_of(stream) / frame * frame;
}

static void use_room(VmcSoundStream *stream, size_t len)
{
    if (len > *room_of(stream))
        fuzz_finding("%zu bytes moved where there is room for %zu", len, *room_of(stream));
    *room_of(stream) -= len;
}

static void backend_write(VmcSoundStream *stream, const void *data, size_t len)
{
    use_room(stream, len);
}

static void backend_read(VmcSoundStream *stream, void *data, size_t len)
{
    use_room(stream, len);
    memset(data, 0x55, len);
}

static uint32_t backend_latency(VmcSoundStream *stream)
{
    return 7;
}

static void backend_free(VmcSound *sound)
{
    FuzzSound *own = (FuzzSound *)sound;

    if (own->open[0] || own->open[1])
        fuzz_finding("a stream is left open");
    g_free(own);
}

static const VmcSoundOps backend_ops = {
    .name = "fuzz",
    .open = backend_open,
    .start = backend_nothing,
    .stop = backend_nothing,
    .close = backend_close,
    .room = backend_room,
    .write = backend_write,
    .read = backend_read,
    .latency = backend_latency,
    .free = backend_free,
};

static VmcPciDevice *make(FuzzMachine *m, FuzzInput *in)
{
    FuzzSound *own = g_new0(FuzzSound, 1);
    uint8_t streams = fuzz_u8(in) & 3;

    own->sound = (VmcSound){&backend_ops, m->io};
    m->own = own;
    return vmc_virtio_sound_new(&m->host, &own->sound, streams != 1, streams != 2);
}

/* ---- what a driver sends ---- */

static const uint32_t codes[] = {
    VIRTIO_SND_R_JACK_INFO,   VIRTIO_SND_R_JACK_REMAP, VIRTIO_SND_R_PCM_INFO,    VIRTIO_SND_R_PCM_SET_PARAMS,
    VIRTIO_SND_R_PCM_PREPARE, VIRTIO_SND_R_PCM_START,  VIRTIO_SND_R_PCM_STOP,    VIRTIO_SND_R_PCM_RELEASE,
    VIRTIO_SND_R_CHMAP_INFO,  VIRTIO_SND_R_PCM_START,  VIRTIO_SND_R_PCM_PREPARE, 0x123,
};

static size_t query(FuzzMachine *m, FuzzInput *in, uint8_t *buf)
{
    static const uint32_t sizes[] = {sizeof(struct virtio_snd_jack_info), sizeof(struct virtio_snd_pcm_info),
                                     sizeof(struct virtio_snd_chmap_info), 0xffffffff};
    struct virtio_snd_query_info info = {
        .hdr.code = codes[fuzz_below(in, G_N_ELEMENTS(codes))],
        .start_id = fuzz_below(in, 4),
        .count = fuzz_below(in, 4),
        .size = sizes[fuzz_below(in, G_N_ELEMENTS(sizes))],
    };

    if (fuzz_u8(in) > 250)
        info.count = fuzz_u32(in);
    memcpy(buf, &info, sizeof(info));
    return sizeof(info) - (fuzz_u8(in) > 240 ? 1 : 0);
}

static size_t set_params(FuzzMachine *m, FuzzInput *in, uint8_t *buf)
{
    struct virtio_snd_pcm_set_params params = {
        .hdr.hdr.code = VIRTIO_SND_R_PCM_SET_PARAMS,
        .hdr.stream_id = fuzz_below(in, 3),
        .buffer_bytes = fuzz_u16(in) & ~7u,
        .period_bytes = fuzz_u8(in) & ~7u,
        .channels = (uint8_t)fuzz_below(in, 4),
        .format = fuzz_below(in, 26),
        .rate = fuzz_below(in, 16),
    };

    if (fuzz_u8(in) > 230)
        params.buffer_bytes = fuzz_u32(in);
    memcpy(buf, &params, sizeof(params));
    return sizeof(params);
}

/* What a driver does with a stream from its beginning, whole, so that buffers can be taken. */
static void step_begin(FuzzMachine *m, FuzzInput *in)
{
    uint32_t id = fuzz_below(in, STREAMS);
    struct virtio_snd_pcm_set_params params = {
        .hdr.hdr.code = VIRTIO_SND_R_PCM_SET_PARAMS,
        .hdr.stream_id = id,
        .buffer_bytes = 4096,
        .period_bytes = 1024,
        .channels = 2,
        .format = VIRTIO_SND_PCM_FMT_S16,
        .rate = VIRTIO_SND_PCM_RATE_48000,
    };
    struct virtio_snd_pcm_hdr header = {.hdr.code = VIRTIO_SND_R_PCM_PREPARE, .stream_id = id};

    fuzz_send(m, 0, &(FuzzChain){&params, sizeof(params), 4, 1, 1, false});
    fuzz_send(m, 0, &(FuzzChain){&header, sizeof(header), 4, 1, 1, false});
    header.hdr.code = fuzz_u8(in) & 1 ? VIRTIO_SND_R_PCM_START : VIRTIO_SND_R_PCM_PREPARE;
    fuzz_send(m, 0, &(FuzzChain){&header, sizeof(header), 4, 1, 1, false});
    fuzz_kick(m, 0);
    fuzz_settle(m);
}

static size_t pcm(FuzzMachine *m, FuzzInput *in, uint8_t *buf)
{
    struct virtio_snd_pcm_hdr header = {.hdr.code = codes[fuzz_below(in, G_N_ELEMENTS(codes))],
                                        .stream_id = fuzz_below(in, 3)};

    memcpy(buf, &header, sizeof(header));
    return sizeof(header);
}

static size_t buffer(FuzzMachine *m, FuzzInput *in, uint8_t *buf)
{
    struct virtio_snd_pcm_xfer xfer = {.stream_id = fuzz_below(in, 3)};

    memcpy(buf, &xfer, sizeof(xfer));
    return sizeof(xfer) + 4 * fuzz_below(in, 400) + (fuzz_u8(in) > 240);
}

static void step_buffers(FuzzMachine *m, FuzzInput *in)
{
    uint8_t bytes[4 + 1024] = {0};
    unsigned capture = fuzz_u8(in) & 1;
    struct virtio_snd_pcm_xfer xfer = {.stream_id = fuzz_below(in, STREAMS)};

    memcpy(bytes, &xfer, sizeof(xfer));
    for (unsigned n = fuzz_below(in, 4) + 1; n; n--)
        fuzz_send(m, capture ? 3 : 2,
                  &(FuzzChain){bytes, capture ? 4 : sizeof(bytes), capture ? 1024 + 8 : 8, 2, 2, false});
    fuzz_kick(m, capture ? 3 : 2);
    fuzz_settle(m);
}

static const FuzzMessage messages[] = {
    {0, query}, {0, set_params}, {0, pcm}, {2, buffer}, {3, buffer},
};

static void step_room(FuzzMachine *m, FuzzInput *in)
{
    FuzzSound *own = m->own;
    unsigned n = fuzz_u8(in) & 1;

    own->room[n] = fuzz_u16(in);
    if (own->open[n])
        own->open[n]->ready(own->open[n]->opaque);
    fuzz_settle(m);
}

static void (*const steps[])(FuzzMachine *m, FuzzInput *in) = {step_room, step_begin, step_buffers};

static const FuzzTarget target = {
    .make = make,
    .messages = messages,
    .n_messages = G_N_ELEMENTS(messages),
    .steps = steps,
    .n_steps = G_N_ELEMENTS(steps),
};

FUZZ_DEVICE(target)
