/*
 * What a network card of today does for its driver, in software: checksums, and cutting large TCP and UDP
 * segments into frames of the MTU (TSO, USO). For attachments and NICs that do not take frames unfinished.
 *
 * Frames and their VmcFrameInfo may come from a guest: every length is checked against the frame, and what
 * does not fit is refused as a whole. Any thread; nothing is kept between calls.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/vectors.h"
#include "net/cable.h"

/* A segment's payload, less than which is taken for an attack: each costs a frame (as Linux has it). */
#define VMC_GSO_SIZE_MIN 8u

/* Whether `info` makes sense for a frame of `len` bytes: known types, places inside the frame. */
bool vmc_offload_check(const VmcFrameInfo *info, size_t len);
/* What somebody has to take to be given a frame with this: VMC_OFFLOAD_... bits. */
uint32_t vmc_offload_needs(const VmcFrameInfo *info);

/* Fills in the checksum of a frame that vmc_offload_check found good; nothing without NEEDS_CSUM. A GSO frame
 * is summed as the one large segment it is. */
void vmc_offload_checksum(uint8_t *frame, size_t len, const VmcFrameInfo *info);

/* Takes one finished frame, good during the call; false ends it all. */
typedef bool (*VmcSegmentFunc)(void *data, const struct iovec *iov, unsigned n_iov);

/* Cuts up a frame with a GSO type that vmc_offload_check found good. False, with func not called, if its
 * headers are not those of such a frame; also false when func was. */
bool vmc_offload_segment(const uint8_t *frame, size_t len, const VmcFrameInfo *info, VmcSegmentFunc func,
                         void *data);

/* The Internet checksum's sum (RFC 1071) of `len` bytes, added to `sum` (0, or the result for an even number
 * of bytes before); fold turns it into what stands in a header. */
uint64_t vmc_checksum_add(uint64_t sum, const void *bytes, size_t len);
uint16_t vmc_checksum_fold(uint64_t sum);
