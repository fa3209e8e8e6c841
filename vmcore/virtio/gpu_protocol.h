/* What virtio-gpu and its driver say to one another (VIRTIO 1.2 s5.7.4 to s5.7.6); all little-endian. */
#pragma once

#include <stdint.h>

#define GPU_F_EDID (1ull << 1)

#define GPU_EVENT_DISPLAY  1u
#define GPU_FLAG_FENCE     1u
#define GPU_FLAG_RING      2u
#define GPU_SCANOUTS_SPACE 16u /* in a reply, whatever the device has */
#define GPU_EDID_SPACE     1024u
#define GPU_CURSOR_SIDE    64u

enum {
    GPU_GET_DISPLAY_INFO = 0x100,
    GPU_RESOURCE_CREATE_2D,
    GPU_RESOURCE_UNREF,
    GPU_SET_SCANOUT,
    GPU_RESOURCE_FLUSH,
    GPU_TRANSFER_TO_HOST_2D,
    GPU_ATTACH_BACKING,
    GPU_DETACH_BACKING,
    GPU_GET_CAPSET_INFO,
    GPU_GET_CAPSET,
    GPU_GET_EDID,

    GPU_UPDATE_CURSOR = 0x300,
    GPU_MOVE_CURSOR,

    GPU_OK = 0x1100,
    GPU_OK_DISPLAY_INFO,
    GPU_OK_EDID = 0x1104,

    GPU_ERR_UNSPEC = 0x1200,
    GPU_ERR_OUT_OF_MEMORY,
    GPU_ERR_SCANOUT,
    GPU_ERR_RESOURCE,
    GPU_ERR_CONTEXT,
    GPU_ERR_PARAMETER,
};

typedef struct GpuConfig {
    uint32_t events_read, events_clear, num_scanouts, num_capsets;
} GpuConfig;

typedef struct GpuHeader {
    uint32_t type, flags;
    uint64_t fence_id;
    uint32_t ctx_id;
    uint8_t ring_idx, padding[3];
} GpuHeader;

typedef struct GpuRect {
    uint32_t x, y, width, height;
} GpuRect;

/* Requests, without their header. */

typedef struct GpuCreate2d {
    uint32_t resource_id, format, width, height;
} GpuCreate2d;

typedef struct GpuResourceId {
    uint32_t resource_id, padding;
} GpuResourceId;

typedef struct GpuSetScanout {
    GpuRect rect;
    uint32_t scanout_id, resource_id;
} GpuSetScanout;

typedef struct GpuFlush {
    GpuRect rect;
    uint32_t resource_id, padding;
} GpuFlush;

typedef struct GpuTransfer {
    GpuRect rect;
    uint64_t offset;
    uint32_t resource_id, padding;
} GpuTransfer;

typedef struct GpuAttach {
    uint32_t resource_id, n_entries; /* GpuEntry behind it */
} GpuAttach;

typedef struct GpuEntry {
    uint64_t address;
    uint32_t length, padding;
} GpuEntry;

typedef struct GpuGetEdid {
    uint32_t scanout, padding;
} GpuGetEdid;

typedef struct GpuCursor {
    uint32_t scanout_id, x, y, padding; /* position */
    uint32_t resource_id, hot_x, hot_y, padding2;
} GpuCursor;

/* Replies, without their header. */

typedef struct GpuDisplayInfo {
    struct {
        GpuRect rect;
        uint32_t enabled, flags;
    } modes[GPU_SCANOUTS_SPACE];
} GpuDisplayInfo;

typedef struct GpuEdid {
    uint32_t size, padding;
    uint8_t edid[GPU_EDID_SPACE];
} GpuEdid;

_Static_assert(sizeof(GpuHeader) == 24 && sizeof(GpuTransfer) == 32 && sizeof(GpuCursor) == 32,
               "as in s5.7.6");
