/*
 * libpulse, loaded with the first sound device that uses it (base/late.h): after vmc_pulse_load its functions
 * are there under their own names.
 */
#pragma once

#include <pulse/glib-mainloop.h>
#include <pulse/pulseaudio.h>

#include "base/late.h"

/* clang-format off */
#define VMC_PULSE_FUNCTIONS(X) \
    X(pa_context_connect) \
    X(pa_context_disconnect) \
    X(pa_context_errno) \
    X(pa_context_get_state) \
    X(pa_context_new) \
    X(pa_context_set_state_callback) \
    X(pa_context_unref) \
    X(pa_glib_mainloop_free) \
    X(pa_glib_mainloop_get_api) \
    X(pa_glib_mainloop_new) \
    X(pa_operation_unref) \
    X(pa_stream_connect_playback) \
    X(pa_stream_connect_record) \
    X(pa_stream_cork) \
    X(pa_stream_disconnect) \
    X(pa_stream_drain) \
    X(pa_stream_drop) \
    X(pa_stream_get_latency) \
    X(pa_stream_get_state) \
    X(pa_stream_new) \
    X(pa_stream_peek) \
    X(pa_stream_set_read_callback) \
    X(pa_stream_set_state_callback) \
    X(pa_stream_set_write_callback) \
    X(pa_stream_trigger) \
    X(pa_stream_unref) \
    X(pa_stream_writable_size) \
    X(pa_stream_write) \
    X(pa_strerror) \
    X(pa_usec_to_bytes)

struct vmc_pulse {
#define X(function) __typeof__(function) *function;
    VMC_PULSE_FUNCTIONS(X)
#undef X
};

extern struct vmc_pulse vmc_pulse;

/* False with `error`: the library is not installed. From any thread, as often as one likes. */
bool vmc_pulse_load(GError **error);

#ifndef VMC_PULSE_PLAIN
#define pa_context_connect            vmc_pulse.pa_context_connect
#define pa_context_disconnect         vmc_pulse.pa_context_disconnect
#define pa_context_errno              vmc_pulse.pa_context_errno
#define pa_context_get_state          vmc_pulse.pa_context_get_state
#define pa_context_new                vmc_pulse.pa_context_new
#define pa_context_set_state_callback vmc_pulse.pa_context_set_state_callback
#define pa_context_unref              vmc_pulse.pa_context_unref
#define pa_glib_mainloop_free         vmc_pulse.pa_glib_mainloop_free
#define pa_glib_mainloop_get_api      vmc_pulse.pa_glib_mainloop_get_api
#define pa_glib_mainloop_new          vmc_pulse.pa_glib_mainloop_new
#define pa_operation_unref            vmc_pulse.pa_operation_unref
#define pa_stream_connect_playback    vmc_pulse.pa_stream_connect_playback
#define pa_stream_connect_record      vmc_pulse.pa_stream_connect_record
#define pa_stream_cork                vmc_pulse.pa_stream_cork
#define pa_stream_disconnect          vmc_pulse.pa_stream_disconnect
#define pa_stream_drain               vmc_pulse.pa_stream_drain
#define pa_stream_drop                vmc_pulse.pa_stream_drop
#define pa_stream_get_latency         vmc_pulse.pa_stream_get_latency
#define pa_stream_get_state           vmc_pulse.pa_stream_get_state
#define pa_stream_new                 vmc_pulse.pa_stream_new
#define pa_stream_peek                vmc_pulse.pa_stream_peek
#define pa_stream_set_read_callback   vmc_pulse.pa_stream_set_read_callback
#define pa_stream_set_state_callback  vmc_pulse.pa_stream_set_state_callback
#define pa_stream_set_write_callback  vmc_pulse.pa_stream_set_write_callback
#define pa_stream_trigger             vmc_pulse.pa_stream_trigger
#define pa_stream_unref               vmc_pulse.pa_stream_unref
#define pa_stream_writable_size       vmc_pulse.pa_stream_writable_size
#define pa_stream_write               vmc_pulse.pa_stream_write
#define pa_strerror                   vmc_pulse.pa_strerror
#define pa_usec_to_bytes              vmc_pulse.pa_usec_to_bytes
#endif
/* clang-format on */
