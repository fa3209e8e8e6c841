/*
 * WAV files as loudspeaker and microphone, for tests and for people without a sound server.
 *
 * A written file gets a header with lengths of 0 first and the right ones with each close of a stream, so
 * that it is whole after every sound. Only PCM and float of the "fmt " chunk are known; other chunks are
 * passed over.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/i18n.h"
#include "sound/paced.h"
#include "vmcore/error.h"

#define WAV_PCM      1u
#define WAV_FLOAT    3u
#define WAV_DATA_MAX (UINT32_MAX - 64u)

/* A RIFF header with one "fmt " and one "data" chunk; little-endian. */
typedef struct __attribute__((packed)) WavHeader {
    char riff[4];
    uint32_t riff_size;
    char wave[4];
    char fmt[4];
    uint32_t fmt_size;
    uint16_t tag, channels;
    uint32_t rate, byte_rate;
    uint16_t frame_bytes, bits;
    char data[4];
    uint32_t data_size;
} WavHeader;

_Static_assert(sizeof(WavHeader) == 44, "the usual header");

typedef struct WavFile {
    FILE *file; /* or NULL */
    bool known; /* the format is */
    VmcSoundParams params;
    uint32_t bytes; /* written, or left to read */
} WavFile;

typedef struct FileSound {
    VmcSound sound;
    WavFile play, record;
} FileSound;

static bool same_format(const VmcSoundParams *a, const VmcSoundParams *b)
{
    return a->format == b->format && a->rate == b->rate && a->channels == b->channels;
}

/* ---- playing ---- */

static void write_header(WavFile *wav)
{
    const VmcSoundParams *params = &wav->params;
    unsigned frame = vmc_sound_frame_bytes(params);
    WavHeader header = {
        .riff = "RIFF",
        .riff_size = GUINT32_TO_LE(wav->bytes + (uint32_t)sizeof(header) - 8),
        .wave = "WAVE",
        .fmt = "fmt ",
        .fmt_size = GUINT32_TO_LE(16),
        .tag = GUINT16_TO_LE(params->format == VMC_SAMPLE_FLOAT ? WAV_FLOAT : WAV_PCM),
        .channels = GUINT16_TO_LE(params->channels),
        .rate = GUINT32_TO_LE(params->rate),
        .byte_rate = GUINT32_TO_LE(params->rate * frame),
        .frame_bytes = GUINT16_TO_LE(frame),
        .bits = GUINT16_TO_LE(8 * vmc_sound_sample_bytes(params->format)),
        .data = "data",
        .data_size = GUINT32_TO_LE(wav->bytes),
    };

    if (fseek(wav->file, 0, SEEK_SET) == 0)
        fwrite(&header, sizeof(header), 1, wav->file);
    fseek(wav->file, 0, SEEK_END);
    fflush(wav->file);
}

static bool is_wav_format(VmcSampleFormat format)
{
    return format == VMC_SAMPLE_U8 || format == VMC_SAMPLE_S16 || format == VMC_SAMPLE_S24_3 ||
           format == VMC_SAMPLE_S32 || format == VMC_SAMPLE_FLOAT;
}

static void played(VmcSoundStream *stream, const void *data, size_t len)
{
    WavFile *wav = &((FileSound *)stream->sound)->play;

    if (!wav->file || !is_wav_format(stream->params.format))
        return;
    if (!wav->known) {
        wav->known = true;
        wav->params = stream->params;
        write_header(wav);
    }
    if (!same_format(&wav->params, &stream->params) || len > WAV_DATA_MAX - wav->bytes)
        return;
    wav->bytes += (uint32_t)fwrite(data, 1, len, wav->file);
}

static void closed(VmcSoundStream *stream)
{
    WavFile *wav = &((FileSound *)stream->sound)->play;

    if (!stream->capture && wav->known)
        write_header(wav);
}

/* ---- recording ---- */

static void record(VmcSoundStream *stream, void *data, size_t len)
{
    WavFile *wav = &((FileSound *)stream->sound)->record;
    size_t done = 0;

    if (wav->file && same_format(&wav->params, &stream->params))
        done = fread(data, 1, MIN(len, wav->bytes), wav->file);
    wav->bytes -= (uint32_t)done;
    memset((uint8_t *)data + done, vmc_sound_silence(stream->params.format), len - done);
}

static bool wav_format(uint16_t tag, uint16_t bits, VmcSampleFormat *format)
{
    if (tag == WAV_FLOAT && bits == 32)
        *format = VMC_SAMPLE_FLOAT;
    else if (tag == WAV_PCM && (bits == 8 || bits == 16 || bits == 24 || bits == 32))
        *format = bits == 8    ? VMC_SAMPLE_U8
                  : bits == 16 ? VMC_SAMPLE_S16
                  : bits == 24 ? VMC_SAMPLE_S24_3
                               : VMC_SAMPLE_S32;
    else
        return false;
    return true;
}

/* Leaves the file at the first sample. */
static bool read_header(WavFile *wav)
{
    struct __attribute__((packed)) {
        char id[4];
        uint32_t size;
    } chunk;
    struct __attribute__((packed)) {
        uint16_t tag, channels;
        uint32_t rate, byte_rate;
        uint16_t frame_bytes, bits;
    } fmt;
    char wave[4];
    bool known = false;

    if (fread(&chunk, sizeof(chunk), 1, wav->file) != 1 || memcmp(chunk.id, "RIFF", 4) != 0 ||
        fread(wave, sizeof(wave), 1, wav->file) != 1 || memcmp(wave, "WAVE", 4) != 0)
        return false;
    while (fread(&chunk, sizeof(chunk), 1, wav->file) == 1) {
        uint32_t size = GUINT32_FROM_LE(chunk.size);

        if (memcmp(chunk.id, "data", 4) == 0) {
            wav->bytes = size;
            return known;
        }
        if (memcmp(chunk.id, "fmt ", 4) == 0 && !known) {
            if (size < sizeof(fmt) || fread(&fmt, sizeof(fmt), 1, wav->file) != 1)
                return false;
            wav->params.channels = GUINT16_FROM_LE(fmt.channels);
            wav->params.rate = GUINT32_FROM_LE(fmt.rate);
            known = wav_format(GUINT16_FROM_LE(fmt.tag), GUINT16_FROM_LE(fmt.bits), &wav->params.format);
            size -= (uint32_t)sizeof(fmt);
        }
        if (fseek(wav->file, (long)size + (size & 1), SEEK_CUR) != 0)
            return false;
    }
    return false;
}

/* ---- the backend ---- */

static const VmcPacedHooks hooks = {.played = played, .record = record, .closed = closed};

static VmcSoundStream *file_open(VmcSound *sound, bool capture, const VmcSoundParams *params,
                                 void (*ready)(void *opaque), void *opaque)
{
    return vmc_paced_open(sound, capture, params, ready, opaque, &hooks);
}

static void file_free(VmcSound *sound)
{
    FileSound *file = (FileSound *)sound;

    if (file->play.file)
        fclose(file->play.file);
    if (file->record.file)
        fclose(file->record.file);
    g_free(file);
}

static const VmcSoundOps file_ops = {
    .name = "file",
    .open = file_open,
    .start = vmc_paced_start,
    .stop = vmc_paced_stop,
    .close = vmc_paced_close,
    .room = vmc_paced_room,
    .write = vmc_paced_write,
    .read = vmc_paced_read,
    .latency = vmc_paced_latency,
    .free = file_free,
};

static bool open_wav(WavFile *wav, const char *path, const char *mode, GError **error)
{
    wav->file = fopen(path, mode);
    if (!wav->file)
        g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE, _("The sound file “%s” cannot be opened: %s"), path,
                    g_strerror(errno));
    return wav->file != NULL;
}

VmcSound *vmc_sound_file_new(VmcIo *io, const char *play, const char *record_path, GError **error)
{
    FileSound *file = g_new0(FileSound, 1);
    bool ok = true;

    file->sound = (VmcSound){&file_ops, io};
    if (record_path) {
        ok = open_wav(&file->record, record_path, "rbe", error);
        if (ok && !read_header(&file->record)) {
            g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE,
                        _("“%s” is not a WAV file with PCM or float samples; convert it to one"),
                        record_path);
            ok = false;
        }
    }
    if (ok && play)
        ok = open_wav(&file->play, play, "wbe", error);
    if (ok)
        return &file->sound;
    file_free(&file->sound);
    return NULL;
}
