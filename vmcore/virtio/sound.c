/*
 * virtio-snd (VIRTIO 1.2 s5.14): PCM streams between the driver's buffers and a sound backend
 * (sound/sound.h).
 *
 * Two streams at most, playback and capture, each with a jack and a channel map, because drivers ask for
 * them. The driver configures and starts a stream through the control queue and hands over buffers through tx
 * and rx; buffers wait in the order they came until the backend has taken, or given, all their bytes. So the
 * pace of completions is the pace of the sound.
 *
 * A stream's states are those of s5.14.6.6.1. Its backend stream lives from PREPARE to RELEASE; RELEASE gives
 * all waiting buffers back before it is answered.
 *
 * Threads: everything on the I/O thread, the backend's callbacks as well.
 */
#include <linux/virtio_snd.h>

#include "base/seeded.h"
#include "virtio/devices.h"
#include "virtio/virtio_pci.h"

enum { QUEUE_CONTROL, QUEUE_EVENT, QUEUE_TX, QUEUE_RX, N_QUEUES };

#define QUEUE_SIZE    64u
#define STREAMS_MAX   2u
#define CHANNELS_MAX  2u
#define BUFFER_MAX    (4u << 20) /* bytes of a stream's buffer; several seconds of anything */
#define MESSAGE_MAX   64u        /* the longest control request has 24 bytes */
#define CHUNK         4096u
#define CONTROL_BATCH 64u

/* In the order of the specification's numbers; a format that is not here is not offered. */
static const struct {
    uint8_t virtio;
    VmcSampleFormat format;
} formats[] = {
    {VIRTIO_SND_PCM_FMT_MU_LAW, VMC_SAMPLE_ULAW}, {VIRTIO_SND_PCM_FMT_A_LAW, VMC_SAMPLE_ALAW},
    {VIRTIO_SND_PCM_FMT_U8, VMC_SAMPLE_U8},       {VIRTIO_SND_PCM_FMT_S16, VMC_SAMPLE_S16},
    {VIRTIO_SND_PCM_FMT_S24_3, VMC_SAMPLE_S24_3}, {VIRTIO_SND_PCM_FMT_S24, VMC_SAMPLE_S24},
    {VIRTIO_SND_PCM_FMT_S32, VMC_SAMPLE_S32},     {VIRTIO_SND_PCM_FMT_FLOAT, VMC_SAMPLE_FLOAT},
};

/* By number (s5.14.6.6.2.1). */
static const unsigned rates[] = {5512,  8000,  11025, 16000, 22050,  32000,  44100,
                                 48000, 64000, 88200, 96000, 176400, 192000, 384000};

typedef enum StreamState {
    STATE_NEW,
    STATE_PARAMS, /* set, or released */
    STATE_PREPARED,
    STATE_RUNNING,
    STATE_STOPPED,
} StreamState;

typedef struct Sound Sound;
typedef struct Buffer Buffer;

struct Buffer {
    Buffer *next;
    VmcVirtqElement elem;
    uint32_t in_len; /* bytes that are the device's to write, all of which it does */
};

typedef struct Stream {
    Sound *sound;
    bool capture;
    StreamState state;
    VmcSoundParams params;
    VmcSoundStream *backend; /* from PREPARE to RELEASE */
    Buffer *first, **last;   /* waiting, in order */
} Stream;

struct Sound {
    VmcVirtioDevice dev;
    VmcSound *backend;
    struct virtio_snd_config config;
    unsigned n_streams;
    Stream streams[STREAMS_MAX];
    Buffer buffers[2 * QUEUE_SIZE];
    Buffer *unused;
    VmcVirtqElement control;
};

static unsigned queue_of(const Stream *stream)
{
    return stream->capture ? QUEUE_RX : QUEUE_TX;
}

/* To be notified of the next chain, or called again for what has come meanwhile. */
static void expect_more(Sound *sound, unsigned queue)
{
    vmc_virtqueue_set_notification(&sound->dev.queues[queue], true);
    if (vmc_virtqueue_available(&sound->dev.queues[queue]))
        vmc_virtio_kick(&sound->dev, queue);
}

/* ---- buffers ---- */

/* The status stands at the end (s5.14.6.8.1), so it is written from there. */
static void give_back(Sound *sound, unsigned queue, Buffer *buffer, uint32_t status, uint32_t latency)
{
    struct virtio_snd_pcm_status answer = {GUINT32_TO_LE(status), GUINT32_TO_LE(latency)};
    const uint8_t *bytes = (const uint8_t *)&answer;

    for (size_t i = sizeof(answer); i; i--)
        *vmc_virtq_element_take_last(&buffer->elem) = bytes[i - 1];
    buffer->next = sound->unused;
    sound->unused = buffer;
    vmc_virtio_push(&sound->dev, queue, &buffer->elem, buffer->in_len);
}

static Buffer *take_first(Stream *stream)
{
    Buffer *buffer = stream->first;

    stream->first = buffer->next;
    if (!stream->first)
        stream->last = &stream->first;
    return buffer;
}

/* What of a buffer has not been recorded is silence. */
static void silence_rest(Stream *stream, Buffer *buffer)
{
    uint8_t silence[CHUNK];

    memset(silence, vmc_sound_silence(stream->params.format), sizeof(silence));
    while (buffer->elem.in_len > sizeof(struct virtio_snd_pcm_status))
        vmc_virtq_element_write(
            &buffer->elem, silence,
            MIN(sizeof(silence), buffer->elem.in_len - sizeof(struct virtio_snd_pcm_status)));
}

/* Gives all waiting buffers back as they are. */
static void flush_buffers(Stream *stream)
{
    bool any = stream->first;

    for (Buffer *buffer = stream->first; buffer; buffer = buffer->next)
        silence_rest(stream, buffer);
    while (stream->first)
        give_back(stream->sound, queue_of(stream), take_first(stream), VIRTIO_SND_S_OK, 0);
    if (any)
        vmc_virtio_notify(&stream->sound->dev, queue_of(stream));
}

/* Bytes of sound that a buffer still holds, or has room for. */
static uint64_t bytes_left(const Stream *stream, const Buffer *buffer)
{
    return stream->capture ? buffer->elem.in_len - sizeof(struct virtio_snd_pcm_status)
                           : buffer->elem.out_len;
}

static void move_bytes(Stream *stream, Buffer *buffer, size_t len)
{
    uint8_t chunk[CHUNK];

    while (len) {
        size_t here = MIN(len, sizeof(chunk));
        if (stream->capture) {
            stream->sound->backend->ops->read(stream->backend, chunk, here);
            vmc_virtq_element_write(&buffer->elem, chunk, here);
        } else {
            vmc_virtq_element_read(&buffer->elem, chunk, here);
            stream->sound->backend->ops->write(stream->backend, chunk, here);
        }
        len -= here;
    }
}

/* Moves what the backend has room for, and gives back the buffers that are done. */
static void pump(Stream *stream)
{
    const VmcSoundOps *ops = stream->sound->backend->ops;
    bool done = false;
    size_t room;

    while (stream->state == STATE_RUNNING && stream->first && (room = ops->room(stream->backend))) {
        Buffer *buffer = stream->first;
        move_bytes(stream, buffer, (size_t)MIN(bytes_left(stream, buffer), room));
        if (bytes_left(stream, buffer))
            continue;
        give_back(stream->sound, queue_of(stream), take_first(stream), VIRTIO_SND_S_OK,
                  ops->latency(stream->backend));
        done = true;
    }
    if (done)
        vmc_virtio_notify(&stream->sound->dev, queue_of(stream));
}

static void backend_ready(void *opaque)
{
    Stream *stream = opaque;

    if (stream->sound->dev.running)
        pump(stream);
}

/* What stands in the buffer's header: the stream it is for, or NULL. The buffer has to be of that stream's
 * direction, of whole frames and not larger than all the stream has on its way. */
static Stream *stream_of(Sound *sound, unsigned queue, Buffer *buffer)
{
    struct virtio_snd_pcm_xfer header;
    uint32_t id;

    if (vmc_virtq_element_read(&buffer->elem, &header, sizeof(header)) != sizeof(header))
        return NULL;
    id = GUINT32_FROM_LE(header.stream_id);
    if (id >= sound->n_streams || queue_of(&sound->streams[id]) != queue)
        return NULL;
    Stream *stream = &sound->streams[id];
    uint64_t bytes = bytes_left(stream, buffer);
    if (stream->state < STATE_PREPARED || !bytes || bytes > stream->params.buffer_bytes ||
        bytes % vmc_sound_frame_bytes(&stream->params))
        return NULL;
    return stream;
}

static void take_buffers(Sound *sound, unsigned queue)
{
    bool refused = false;

    for (unsigned n = 0; n < QUEUE_SIZE && vmc_virtio_pop(&sound->dev, queue, &sound->unused->elem); n++) {
        Buffer *buffer = sound->unused; /* there are as many as both queues can hold */
        sound->unused = buffer->next;
        buffer->in_len = (uint32_t)buffer->elem.in_len;
        if (buffer->elem.in_len < sizeof(struct virtio_snd_pcm_status)) {
            vmc_virtio_needs_reset(&sound->dev); /* nowhere to say what is wrong */
            buffer->next = sound->unused;
            sound->unused = buffer;
            vmc_virtio_push(&sound->dev, queue, &buffer->elem, 0);
            return;
        }
        Stream *stream = stream_of(sound, queue, buffer);
        if (!stream) {
            give_back(sound, queue, buffer, VIRTIO_SND_S_BAD_MSG, 0);
            refused = true;
            continue;
        }
        buffer->next = NULL;
        *stream->last = buffer;
        stream->last = &buffer->next;
    }
    if (refused)
        vmc_virtio_notify(&sound->dev, queue);
    expect_more(sound, queue);
    for (unsigned i = 0; i < sound->n_streams; i++)
        if (queue_of(&sound->streams[i]) == queue)
            pump(&sound->streams[i]);
}

/* ---- streams ---- */

static void close_backend(Stream *stream)
{
    if (!stream->backend)
        return;
    if (stream->state == STATE_RUNNING)
        stream->sound->backend->ops->stop(stream->backend);
    stream->sound->backend->ops->close(stream->backend);
    stream->backend = NULL;
}

static bool find_format(uint8_t number, VmcSampleFormat *format)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(formats); i++)
        if (formats[i].virtio == number) {
            *format = formats[i].format;
            return true;
        }
    return false;
}

static uint32_t set_params(Stream *stream, const struct virtio_snd_pcm_set_params *request)
{
    VmcSoundParams params = {
        .channels = request->channels,
        .buffer_bytes = GUINT32_FROM_LE(request->buffer_bytes),
        .period_bytes = GUINT32_FROM_LE(request->period_bytes),
    };

    if (stream->state == STATE_RUNNING || stream->state == STATE_STOPPED)
        return VIRTIO_SND_S_BAD_MSG;
    if (request->features || !find_format(request->format, &params.format) ||
        request->rate >= G_N_ELEMENTS(rates) || (!params.channels && !VMC_SEEDED(DIVISION)) ||
        params.channels > CHANNELS_MAX)
        return VIRTIO_SND_S_NOT_SUPP;
    params.rate = rates[request->rate];
    unsigned frame = vmc_sound_frame_bytes(&params);
    if (!params.period_bytes || params.period_bytes > params.buffer_bytes ||
        params.buffer_bytes > BUFFER_MAX || params.period_bytes % frame || params.buffer_bytes % frame)
        return VIRTIO_SND_S_BAD_MSG;
    flush_buffers(stream);
    close_backend(stream);
    stream->params = params;
    stream->state = STATE_PARAMS;
    return VIRTIO_SND_S_OK;
}

static uint32_t prepare(Stream *stream)
{
    if (stream->state == STATE_PREPARED)
        return VIRTIO_SND_S_OK;
    if (stream->state == STATE_NEW || stream->state == STATE_RUNNING)
        return VIRTIO_SND_S_BAD_MSG;
    if (!stream->backend)
        stream->backend = stream->sound->backend->ops->open(stream->sound->backend, stream->capture,
                                                            &stream->params, backend_ready, stream);
    stream->state = STATE_PREPARED;
    return VIRTIO_SND_S_OK;
}

static uint32_t start(Stream *stream)
{
    if (stream->state != STATE_PREPARED && stream->state != STATE_STOPPED)
        return VIRTIO_SND_S_BAD_MSG;
    stream->state = STATE_RUNNING;
    stream->sound->backend->ops->start(stream->backend);
    pump(stream);
    return VIRTIO_SND_S_OK;
}

static uint32_t stop(Stream *stream)
{
    if (stream->state != STATE_RUNNING)
        return VIRTIO_SND_S_BAD_MSG;
    stream->sound->backend->ops->stop(stream->backend);
    stream->state = STATE_STOPPED;
    return VIRTIO_SND_S_OK;
}

static uint32_t release(Stream *stream)
{
    if (stream->state != STATE_PREPARED && stream->state != STATE_STOPPED)
        return VIRTIO_SND_S_BAD_MSG;
    flush_buffers(stream);
    close_backend(stream);
    stream->state = STATE_PARAMS;
    return VIRTIO_SND_S_OK;
}

/* ---- what there is ---- */

/* s5.14.6.4.2: pin defaults and capabilities as High Definition Audio has them. */
static void jack_info(const Sound *sound, unsigned n, void *item)
{
    bool capture = sound->streams[n].capture;
    struct virtio_snd_jack_info info = {
        .hda_reg_defconf = GUINT32_TO_LE(capture ? 0x02a19020 + n : 0x01014010 + n), /* mic, line out */
        .hda_reg_caps = GUINT32_TO_LE(capture ? 0x20 : 0x10),                        /* input, output */
        .connected = 1,
    };

    info.hdr.hda_fn_nid = GUINT32_TO_LE(n);
    memcpy(item, &info, sizeof(info));
}

static void pcm_info(const Sound *sound, unsigned n, void *item)
{
    struct virtio_snd_pcm_info info = {
        .rates = GUINT64_TO_LE((1ull << G_N_ELEMENTS(rates)) - 1),
        .direction = sound->streams[n].capture ? VIRTIO_SND_D_INPUT : VIRTIO_SND_D_OUTPUT,
        .channels_min = 1,
        .channels_max = CHANNELS_MAX,
    };
    uint64_t bits = 0;

    for (unsigned i = 0; i < G_N_ELEMENTS(formats); i++)
        bits |= 1ull << formats[i].virtio;
    info.formats = GUINT64_TO_LE(bits);
    info.hdr.hda_fn_nid = GUINT32_TO_LE(n);
    memcpy(item, &info, sizeof(info));
}

static void chmap_info(const Sound *sound, unsigned n, void *item)
{
    struct virtio_snd_chmap_info info = {
        .direction = sound->streams[n].capture ? VIRTIO_SND_D_INPUT : VIRTIO_SND_D_OUTPUT,
        .channels = 2,
        .positions = {VIRTIO_SND_CHMAP_FL, VIRTIO_SND_CHMAP_FR},
    };

    info.hdr.hda_fn_nid = GUINT32_TO_LE(n);
    memcpy(item, &info, sizeof(info));
}

/* An answer in the making; what does not fit into the driver's buffer is an error, not cut off. */
typedef struct Answer {
    uint32_t status;
    uint8_t items[STREAMS_MAX * sizeof(struct virtio_snd_pcm_info)];
    size_t len;
} Answer;

/* The items start..start + count of a kind (s5.14.6.2). None at all is a question, too. */
static void query(Sound *sound, const struct virtio_snd_query_info *request, size_t item_size,
                  void (*info)(const Sound *sound, unsigned n, void *item), Answer *answer)
{
    uint32_t first = GUINT32_FROM_LE(request->start_id), count = GUINT32_FROM_LE(request->count);

    if (first > sound->n_streams || count > sound->n_streams - first ||
        (count && GUINT32_FROM_LE(request->size) != item_size)) {
        answer->status = VIRTIO_SND_S_BAD_MSG;
        return;
    }
    for (uint32_t i = 0; i < count; i++)
        info(sound, first + i, answer->items + i * item_size);
    answer->len = count * item_size;
    answer->status = VIRTIO_SND_S_OK;
}

/* ---- control requests ---- */

/* `len` bytes of `message` are the driver's, the rest is zero. */
static void query_request(Sound *sound, uint32_t code, const void *message, size_t len, Answer *answer)
{
    if (len < sizeof(struct virtio_snd_query_info))
        return;
    if (code == VIRTIO_SND_R_JACK_INFO)
        query(sound, message, sizeof(struct virtio_snd_jack_info), jack_info, answer);
    else if (code == VIRTIO_SND_R_PCM_INFO)
        query(sound, message, sizeof(struct virtio_snd_pcm_info), pcm_info, answer);
    else
        query(sound, message, sizeof(struct virtio_snd_chmap_info), chmap_info, answer);
}

static uint32_t pcm_request(Sound *sound, uint32_t code, const void *message, size_t len)
{
    const struct virtio_snd_pcm_hdr *header = message;
    uint32_t id = GUINT32_FROM_LE(header->stream_id);

    if (len < sizeof(*header) || id >= sound->n_streams)
        return VIRTIO_SND_S_BAD_MSG;
    Stream *stream = &sound->streams[id];
    switch (code) {
    case VIRTIO_SND_R_PCM_SET_PARAMS:
        return len < sizeof(struct virtio_snd_pcm_set_params) ? VIRTIO_SND_S_BAD_MSG
                                                              : set_params(stream, message);
    case VIRTIO_SND_R_PCM_PREPARE:
        return prepare(stream);
    case VIRTIO_SND_R_PCM_RELEASE:
        return release(stream);
    case VIRTIO_SND_R_PCM_START:
        return start(stream);
    default:
        return stop(stream);
    }
}

static void request(Sound *sound, const void *message, size_t len, Answer *answer)
{
    const struct virtio_snd_hdr *header = message;
    uint32_t code = len < sizeof(*header) ? 0 : GUINT32_FROM_LE(header->code);

    answer->status = VIRTIO_SND_S_BAD_MSG;
    switch (code) {
    case VIRTIO_SND_R_JACK_INFO:
    case VIRTIO_SND_R_PCM_INFO:
    case VIRTIO_SND_R_CHMAP_INFO:
        query_request(sound, code, message, len, answer);
        break;
    case VIRTIO_SND_R_PCM_SET_PARAMS:
    case VIRTIO_SND_R_PCM_PREPARE:
    case VIRTIO_SND_R_PCM_RELEASE:
    case VIRTIO_SND_R_PCM_START:
    case VIRTIO_SND_R_PCM_STOP:
        answer->status = pcm_request(sound, code, message, len);
        break;
    default:
        answer->status = VIRTIO_SND_S_NOT_SUPP;
    }
}

static void take_control(Sound *sound)
{
    VmcVirtqElement *elem = &sound->control;

    for (unsigned n = 0; n < CONTROL_BATCH && vmc_virtio_pop(&sound->dev, QUEUE_CONTROL, elem); n++) {
        _Alignas(8) uint8_t message[MESSAGE_MAX] = {0};
        size_t len = vmc_virtq_element_read(elem, message, sizeof(message));
        Answer answer = {0};

        request(sound, message, len, &answer);
        if (elem->in_len < sizeof(struct virtio_snd_hdr) + answer.len) {
            answer.status = VIRTIO_SND_S_BAD_MSG;
            answer.len = 0;
        }
        struct virtio_snd_hdr header = {GUINT32_TO_LE(answer.status)};
        size_t written = vmc_virtq_element_write(elem, &header, sizeof(header));
        written += vmc_virtq_element_write(elem, answer.items, answer.len);
        vmc_virtio_push(&sound->dev, QUEUE_CONTROL, elem, (uint32_t)written);
    }
    vmc_virtio_notify(&sound->dev, QUEUE_CONTROL);
    expect_more(sound, QUEUE_CONTROL);
}

/* ---- configuration and lifecycle ---- */

static void queue_notified(VmcVirtioDevice *dev, unsigned queue)
{
    if (queue == QUEUE_CONTROL)
        take_control((Sound *)dev);
    else if (queue != QUEUE_EVENT) /* its buffers wait for events, of which there are none */
        take_buffers((Sound *)dev, queue);
}

static void config_read(VmcVirtioDevice *dev, uint32_t offset, void *buf, size_t len)
{
    memcpy(buf, (const uint8_t *)&((Sound *)dev)->config + offset, len);
}

static bool reset(VmcVirtioDevice *dev)
{
    Sound *sound = (Sound *)dev;

    for (unsigned i = 0; i < sound->n_streams; i++) {
        Stream *stream = &sound->streams[i];
        close_backend(stream);
        while (stream->first) {
            Buffer *buffer = take_first(stream);
            /* Some of it may have been recorded into. */
            vmc_virtio_push(dev, queue_of(stream), &buffer->elem, buffer->in_len);
            buffer->next = sound->unused;
            sound->unused = buffer;
        }
        stream->state = STATE_NEW;
    }
    return true;
}

/* ---- saving ---- */

/* Buffers that wait are taken anew; what of the first one has been played is played again. */
static unsigned kept(VmcVirtioDevice *dev, unsigned queue)
{
    const Sound *sound = (Sound *)dev;
    unsigned n = 0;

    for (unsigned i = 0; i < sound->n_streams; i++)
        for (const Buffer *b = sound->streams[i].first; b && queue_of(&sound->streams[i]) == queue;
             b = b->next)
            n++;
    return n;
}

static void save_params(const VmcSoundParams *params, VmcStateWriter *w)
{
    uint8_t format = 0, rate = 0;

    for (unsigned i = 0; i < G_N_ELEMENTS(formats); i++)
        if (formats[i].format == params->format)
            format = formats[i].virtio;
    while (rate < G_N_ELEMENTS(rates) - 1 && rates[rate] != params->rate)
        rate++;
    vmc_state_put_u8(w, format);
    vmc_state_put_u8(w, rate);
    vmc_state_put_u8(w, (uint8_t)params->channels);
    vmc_state_put_u32(w, params->buffer_bytes);
    vmc_state_put_u32(w, params->period_bytes);
}

/* As the driver said them, so that they are checked as then. */
static void load_params(Stream *stream, VmcStateReader *r)
{
    struct virtio_snd_pcm_set_params request = {0};

    request.format = vmc_state_get_u8(r);
    request.rate = vmc_state_get_u8(r);
    request.channels = vmc_state_get_u8(r);
    request.buffer_bytes = GUINT32_TO_LE(vmc_state_get_u32(r));
    request.period_bytes = GUINT32_TO_LE(vmc_state_get_u32(r));
    if (vmc_state_ok(r))
        vmc_state_check(r, set_params(stream, &request) == VIRTIO_SND_S_OK, "what a stream sounds like");
}

static void save(VmcVirtioDevice *dev, VmcStateWriter *w)
{
    const Sound *sound = (Sound *)dev;

    vmc_state_put_u8(w, (uint8_t)sound->n_streams);
    for (unsigned i = 0; i < sound->n_streams; i++) {
        const Stream *stream = &sound->streams[i];
        vmc_state_put_u8(w, (uint8_t)stream->state);
        if (stream->state != STATE_NEW)
            save_params(&stream->params, w);
    }
}

static void load_stream(Stream *stream, VmcStateReader *r)
{
    StreamState state = (StreamState)vmc_state_get_u8_max(r, STATE_STOPPED);

    if (state != STATE_NEW)
        load_params(stream, r);
    if (!vmc_state_ok(r) || state < STATE_PREPARED)
        return;
    prepare(stream);
    if (state != STATE_PREPARED)
        start(stream);
    if (state == STATE_STOPPED)
        stop(stream);
}

static bool load(VmcVirtioDevice *dev, VmcStateReader *r)
{
    Sound *sound = (Sound *)dev;

    vmc_state_check(r, vmc_state_get_u8(r) == sound->n_streams, "how many streams it has");
    for (unsigned i = 0; i < sound->n_streams && vmc_state_ok(r); i++)
        load_stream(&sound->streams[i], r);
    return vmc_state_ok(r);
}

static void sound_free(VmcVirtioDevice *dev)
{
    Sound *sound = (Sound *)dev;

    for (unsigned i = 0; i < G_N_ELEMENTS(sound->buffers); i++)
        vmc_virtq_element_clear(&sound->buffers[i].elem);
    vmc_virtq_element_clear(&sound->control);
    vmc_sound_free(sound->backend);
    g_free(sound);
}

static const VmcVirtioOps sound_ops = {
    .name = "virtio-snd",
    .type = VMC_VIRTIO_ID_SOUND,
    .pci_class = 0x040100,
    .config_size = sizeof(struct virtio_snd_config),
    .n_queues = N_QUEUES,
    .queue_sizes = {QUEUE_SIZE, QUEUE_SIZE, QUEUE_SIZE, QUEUE_SIZE},
    .config_read = config_read,
    .queue_notified = queue_notified,
    .reset = reset,
    .free = sound_free,
    .kept = kept,
    .save = save,
    .load = load,
};

static void add_stream(Sound *sound, bool capture)
{
    Stream *stream = &sound->streams[sound->n_streams++];

    stream->sound = sound;
    stream->capture = capture;
    stream->last = &stream->first;
}

VmcPciDevice *vmc_virtio_sound_new(const VmcVirtioHost *host, VmcSound *backend, bool output, bool input)
{
    Sound *sound = g_new0(Sound, 1);

    vmc_virtio_device_init(&sound->dev, &sound_ops, host->memory, host->io);
    sound->backend = backend;
    if (output)
        add_stream(sound, false);
    if (input)
        add_stream(sound, true);
    sound->config.jacks = sound->config.streams = sound->config.chmaps = GUINT32_TO_LE(sound->n_streams);
    for (unsigned i = 0; i < G_N_ELEMENTS(sound->buffers); i++) {
        sound->buffers[i].next = sound->unused;
        sound->unused = &sound->buffers[i];
    }
    return vmc_virtio_pci_new(&sound->dev);
}
