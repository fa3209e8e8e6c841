/*
 * The state of devices as bytes, for saving a whole machine and bringing it back.
 *
 * A VmcStateWriter is a buffer that grows; a VmcStateReader walks over bytes that may come from anywhere.
 * Numbers are little-endian. Sections have a short name and a version, may lie within one another, and know
 * their length, so that one which was read to another end than it was written to is noticed at once. A
 * device writes one section and reads it back the same way:
 *
 *     vmc_state_begin(w, "pit", 1);                    if (!vmc_state_enter(r, "pit", 1))
 *     vmc_state_put_u8(w, pit->port61);                    return false;
 *     vmc_state_put_u32(w, pit->count);                uint8_t port61 = vmc_state_get_u8(r);
 *     vmc_state_end(w);                                uint32_t count = vmc_state_get_u32_max(r, 65536);
 *                                                      if (!vmc_state_leave(r))
 *                                                          return false;
 *
 * The reader is sticky: after the first thing that is wrong every get returns zero and every check fails, and
 * one sentence says which section it was and what. So a load function is a list of gets with one look at the
 * end, and it changes its device only after that look, or leaves one behind that its caller throws away.
 * What a file says is as hostile as what a guest says: indices, lengths and whatever else is later used
 * without a look are checked when they are read.
 *
 * Threads: each object is for one thread at a time.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VMC_STATE_NAME_MAX  63u /* bytes of a section's name */
#define VMC_STATE_DEPTH_MAX 8u  /* sections within one another */

/* ---- writing ---- */

typedef struct VmcStateWriter VmcStateWriter;

VmcStateWriter *vmc_state_writer_new(void);
void vmc_state_writer_free(VmcStateWriter *w); /* NULL is fine */
/* All that was written, which is the caller's; the writer is empty afterwards. NULL with `error` set
 * (VMC_ERROR_STATE) after vmc_state_refuse. All sections are ended. */
GBytes *vmc_state_writer_take(VmcStateWriter *w, GError **error);

/* Sections. `version` counts from 1 and goes up when what follows the name changes. */
void vmc_state_begin(VmcStateWriter *w, const char *name, unsigned version);
void vmc_state_end(VmcStateWriter *w);

void vmc_state_put_u8(VmcStateWriter *w, uint8_t value);
void vmc_state_put_u16(VmcStateWriter *w, uint16_t value);
void vmc_state_put_u32(VmcStateWriter *w, uint32_t value);
void vmc_state_put_u64(VmcStateWriter *w, uint64_t value);
void vmc_state_put_bool(VmcStateWriter *w, bool value);
/* Exactly `n` bytes, which the reader has to know. */
void vmc_state_put_bytes(VmcStateWriter *w, const void *bytes, size_t n);
/* With their number, less than 4 GiB. */
void vmc_state_put_blob(VmcStateWriter *w, const void *bytes, size_t n);
/* NULL is told from "". */
void vmc_state_put_string(VmcStateWriter *w, const char *text);

/* This cannot be saved: one sentence why, naming the thing. The first one counts. */
void vmc_state_refuse(VmcStateWriter *w, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* ---- reading ---- */

typedef struct VmcStateReader {
    /* Private. */
    const uint8_t *data;
    size_t at, end; /* of the innermost section */
    unsigned depth;
    struct {
        char name[VMC_STATE_NAME_MAX + 1];
        size_t outer_end;
    } sections[VMC_STATE_DEPTH_MAX];
    char *failure; /* the sentence, or NULL */
} VmcStateReader;

/* The bytes must outlive the reader. */
void vmc_state_reader_init(VmcStateReader *r, const void *data, size_t n);
void vmc_state_reader_clear(VmcStateReader *r);

/* Goes into the section that comes next, which has to be of that name and of a version up to `newest`.
 * Returns its version, 0 if it is not there. */
unsigned vmc_state_enter(VmcStateReader *r, const char *name, unsigned newest);
/* Leaves the section, which has to be read to its end. Returns vmc_state_ok. */
bool vmc_state_leave(VmcStateReader *r);
/* Whether a section of that name comes next. */
bool vmc_state_next_is(const VmcStateReader *r, const char *name);

/* 0, false, zeros or NULL once something was wrong. */
uint8_t vmc_state_get_u8(VmcStateReader *r);
uint16_t vmc_state_get_u16(VmcStateReader *r);
uint32_t vmc_state_get_u32(VmcStateReader *r);
uint64_t vmc_state_get_u64(VmcStateReader *r);
bool vmc_state_get_bool(VmcStateReader *r); /* 0 or 1, nothing else */
/* The same, but more than `max` is wrong. */
uint8_t vmc_state_get_u8_max(VmcStateReader *r, uint8_t max);
uint16_t vmc_state_get_u16_max(VmcStateReader *r, uint16_t max);
uint32_t vmc_state_get_u32_max(VmcStateReader *r, uint32_t max);
uint64_t vmc_state_get_u64_max(VmcStateReader *r, uint64_t max);
void vmc_state_get_bytes(VmcStateReader *r, void *bytes, size_t n);
/* At most `max` bytes; where they lie in the reader's data, and how many there are. */
const uint8_t *vmc_state_get_blob(VmcStateReader *r, size_t max, size_t *n);
/* At most `max` bytes, valid UTF-8 without a zero in it; the caller frees it. May be NULL. */
char *vmc_state_get_string(VmcStateReader *r, size_t max);

/* `good` has to be true of what was read; `what` is wrong otherwise, as in "the counter's mode". Returns
 * vmc_state_ok. */
bool vmc_state_check(VmcStateReader *r, bool good, const char *what);
/* The same for what needs a sentence of its own; it follows a colon. Returns false. */
bool vmc_state_fail(VmcStateReader *r, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* Nothing was wrong so far. */
bool vmc_state_ok(const VmcStateReader *r);
/* The same, as an error (VMC_ERROR_IMAGE). */
bool vmc_state_reader_finish(const VmcStateReader *r, GError **error);
