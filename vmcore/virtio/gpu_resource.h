/*
 * Resources of virtio-gpu: pictures of the host's, each with a list of guest memory behind it that it is
 * filled from (VIRTIO 1.2 s5.7.6.1).
 *
 * All numbers come from the guest and are checked here. What a guest can make us spend has a limit for all
 * resources together: pixels and lists.
 *
 * Threads: the I/O thread only.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/memory.h"
#include "display/pixels.h"
#include "virtio/gpu_protocol.h"
#include "virtio/queue.h"

#define GPU_MEMORY_MAX  (512ull << 20) /* bytes */
#define GPU_RESOURCES   4096u
#define GPU_SIDE_MAX    16384u
#define GPU_ENTRIES_MAX 16384u /* of one list; a driver gives a picture in pages at worst */

typedef struct GpuPiece {
    const uint8_t *host;
    uint64_t gpa;   /* where the guest has it */
    uint64_t start; /* of it in the whole list, bytes */
    uint64_t size;
} GpuPiece;

typedef struct GpuResource {
    uint32_t id, width, height;
    VmcPixelFormat format;
    uint8_t *pixels;  /* width * height * 4 */
    GpuPiece *pieces; /* NULL: no backing */
    unsigned n_pieces;
    uint64_t backing_size; /* bytes */
} GpuResource;

typedef struct GpuResources {
    VmcMemory *memory;
    GHashTable *by_id; /* of GpuResource */
    uint64_t used;     /* bytes, at most GPU_MEMORY_MAX */
} GpuResources;

void gpu_resources_init(GpuResources *resources, VmcMemory *memory);
void gpu_resources_clear(GpuResources *resources);
void gpu_resources_drop_all(GpuResources *resources);

/* All of these give GPU_OK or GPU_ERR_...; structs are in host order. */
uint32_t gpu_resource_create(GpuResources *resources, const GpuCreate2d *create);
uint32_t gpu_resource_unref(GpuResources *resources, uint32_t id);
/* The entries are read from the chain. */
uint32_t gpu_resource_attach(GpuResources *resources, const GpuAttach *attach, VmcVirtqElement *elem);
uint32_t gpu_resource_detach(GpuResources *resources, uint32_t id);
uint32_t gpu_resource_transfer(GpuResources *resources, const GpuTransfer *transfer);

/* All of them with their pixels, as bytes (base/state.h). */
void gpu_resources_save(const GpuResources *resources, VmcStateWriter *w);
void gpu_resources_load(GpuResources *resources, VmcStateReader *r);

GpuResource *gpu_resource_find(const GpuResources *resources, uint32_t id); /* or NULL */

static inline unsigned gpu_resource_stride(const GpuResource *resource)
{
    return resource->width * 4;
}

/* Whether a rectangle has pixels and all of them lie in the resource. */
static inline bool gpu_rect_fits(const GpuResource *resource, const GpuRect *rect)
{
    return rect->width && rect->height && rect->x < resource->width && rect->y < resource->height &&
           rect->width <= resource->width - rect->x && rect->height <= resource->height - rect->y;
}

static inline const uint8_t *gpu_resource_pixel(const GpuResource *resource, uint32_t x, uint32_t y)
{
    return resource->pixels + (size_t)y * gpu_resource_stride(resource) + (size_t)x * 4;
}
