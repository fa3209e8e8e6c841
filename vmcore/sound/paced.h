/*
 * A stream that keeps time and nothing else: as long as it is started, bytes are played and recorded at the
 * rate its parameters say. What becomes of them is the hooks' affair.
 *
 * Threads: the I/O thread.
 */
#pragma once

#include "sound/sound.h"

typedef struct VmcPacedHooks {
    /* May be NULL: dropped, or silence. */
    void (*played)(VmcSoundStream *stream, const void *data, size_t len);
    void (*record)(VmcSoundStream *stream, void *data, size_t len);
    void (*closed)(VmcSoundStream *stream);
} VmcPacedHooks;

/* The stream functions of VmcSoundOps, for backends made of paced streams. */
VmcSoundStream *vmc_paced_open(VmcSound *sound, bool capture, const VmcSoundParams *params,
                               void (*ready)(void *opaque), void *opaque, const VmcPacedHooks *hooks);
void vmc_paced_start(VmcSoundStream *stream);
void vmc_paced_stop(VmcSoundStream *stream);
void vmc_paced_close(VmcSoundStream *stream);
size_t vmc_paced_room(VmcSoundStream *stream);
void vmc_paced_write(VmcSoundStream *stream, const void *data, size_t len);
void vmc_paced_read(VmcSoundStream *stream, void *data, size_t len);
uint32_t vmc_paced_latency(VmcSoundStream *stream);
