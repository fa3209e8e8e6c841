/*
 * What a sound backend is: it opens streams of PCM, each of one direction, which move bytes at the pace of
 * the sound. A device writes and reads as much as there is room for and is called when there is more.
 *
 * A backend never fails a stream: when there is nowhere for the sound to go it is dropped at the right pace
 * and silence is recorded, because a guest's programs hang on a sound card that stands still.
 *
 * Threads: all functions and callbacks on the I/O thread, but the constructors and vmc_sound_free: any one
 * thread, while no stream is open.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/io.h"

typedef enum VmcSampleFormat {
    VMC_SAMPLE_ALAW,
    VMC_SAMPLE_ULAW,
    VMC_SAMPLE_U8,
    VMC_SAMPLE_S16,   /* this and all below: little-endian */
    VMC_SAMPLE_S24_3, /* 3 bytes */
    VMC_SAMPLE_S24,   /* the low 3 of 4 bytes */
    VMC_SAMPLE_S32,
    VMC_SAMPLE_FLOAT,
} VmcSampleFormat;

typedef struct VmcSoundParams {
    VmcSampleFormat format;
    unsigned rate;         /* frames a second, not 0 */
    unsigned channels;     /* 1 or more */
    uint32_t buffer_bytes; /* what the guest has on its way: how much delay it expects; whole frames */
    uint32_t period_bytes; /* what it moves at a time */
} VmcSoundParams;

typedef struct VmcSound VmcSound;
typedef struct VmcSoundStream VmcSoundStream;

typedef struct VmcSoundOps {
    const char *name;
    /* Never NULL. The stream stands still until start. `ready` is called when there may be more room. */
    VmcSoundStream *(*open)(VmcSound *sound, bool capture, const VmcSoundParams *params,
                            void (*ready)(void *opaque), void *opaque);
    void (*start)(VmcSoundStream *stream);
    void (*stop)(VmcSoundStream *stream);
    /* What was written still plays. No callback comes after it. */
    void (*close)(VmcSoundStream *stream);
    /* Bytes, whole frames: what can be written without waiting, or read. */
    size_t (*room)(VmcSoundStream *stream);
    /* At most room() bytes. */
    void (*write)(VmcSoundStream *stream, const void *data, size_t len);
    void (*read)(VmcSoundStream *stream, void *data, size_t len);
    /* Bytes between what was written last and what is heard now, or between the microphone and what is read
     * next. */
    uint32_t (*latency)(VmcSoundStream *stream);
    void (*free)(VmcSound *sound);
} VmcSoundOps;

struct VmcSound {
    const VmcSoundOps *ops;
    VmcIo *io;
};

struct VmcSoundStream {
    VmcSound *sound;
    bool capture;
    VmcSoundParams params;
    void (*ready)(void *opaque);
    void *opaque;
};

static inline unsigned vmc_sound_sample_bytes(VmcSampleFormat format)
{
    static const uint8_t bytes[] = {1, 1, 1, 2, 3, 4, 4, 4};

    return bytes[format];
}

static inline unsigned vmc_sound_frame_bytes(const VmcSoundParams *params)
{
    return vmc_sound_sample_bytes(params->format) * params->channels;
}

/* What a byte of silence is. */
static inline uint8_t vmc_sound_silence(VmcSampleFormat format)
{
    return format == VMC_SAMPLE_U8     ? 0x80
           : format == VMC_SAMPLE_ALAW ? 0xd5
           : format == VMC_SAMPLE_ULAW ? 0xff
                                       : 0;
}

/* Nothing is heard and silence recorded. */
VmcSound *vmc_sound_silent_new(VmcIo *io);

/* What is played goes to `play` as WAV, which is created or emptied; what is recorded is the samples of the
 * WAV file `record`, then silence. Either may be NULL. The first stream of each direction says what format
 * the file has, or has to have; one with another format is played to nowhere, or records silence. NULL with
 * `error` set (VMC_ERROR_RESOURCE) if a file cannot be opened. */
VmcSound *vmc_sound_file_new(VmcIo *io, const char *play, const char *record, GError **error);

/* The user's sound server. `name` is what its mixer shows. `log` (or NULL) is told, on the I/O thread, when
 * the server cannot be reached, goes away or is there again. Without its library, which is loaded here, it is
 * told so and the sound is silent. */
VmcSound *vmc_sound_pulse_new(VmcIo *io, const char *name, void (*log)(void *opaque, const char *line),
                              void *opaque);

/* NULL is fine. */
void vmc_sound_free(VmcSound *sound);
