/*
 * Resources of virtio-gpu (gpu_resource.h).
 *
 * The list of guest memory is resolved once, when it is attached: each entry is RAM in one slot, and slots
 * stay where they are in this process for as long as devices live. So a transfer touches guest memory with
 * plain reads, in whatever state the guest has it; what it reads is pixels and nothing else.
 */
#include "virtio/gpu_resource.h"

#include <string.h>

static void drop_backing(GpuResources *resources, GpuResource *resource)
{
    resources->used -= (uint64_t)resource->n_pieces * sizeof(GpuPiece);
    g_clear_pointer(&resource->pieces, g_free);
    resource->n_pieces = 0;
    resource->backing_size = 0;
}

static void resource_free(gpointer data)
{
    GpuResource *resource = data;

    g_free(resource->pixels);
    g_free(resource->pieces);
    g_free(resource);
}

void gpu_resources_init(GpuResources *resources, VmcMemory *memory)
{
    resources->memory = memory;
    resources->by_id = g_hash_table_new_full(NULL, NULL, NULL, resource_free);
    resources->used = 0;
}

void gpu_resources_drop_all(GpuResources *resources)
{
    g_hash_table_remove_all(resources->by_id);
    resources->used = 0;
}

void gpu_resources_clear(GpuResources *resources)
{
    g_clear_pointer(&resources->by_id, g_hash_table_unref);
}

GpuResource *gpu_resource_find(const GpuResources *resources, uint32_t id)
{
    return g_hash_table_lookup(resources->by_id, GUINT_TO_POINTER(id));
}

/* s5.7.6.8, enum virtio_gpu_formats. */
static const struct {
    uint32_t number;
    VmcPixelFormat format;
} formats[] = {
    {1, VMC_PIXELS_BGRA},  {2, VMC_PIXELS_BGRX},  {3, VMC_PIXELS_ARGB},   {4, VMC_PIXELS_XRGB},
    {67, VMC_PIXELS_RGBA}, {68, VMC_PIXELS_XBGR}, {121, VMC_PIXELS_ABGR}, {134, VMC_PIXELS_RGBX},
};

static uint32_t format_number(VmcPixelFormat format)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(formats); i++)
        if (formats[i].format == format)
            return formats[i].number;
    return 0;
}

static bool pixel_format(uint32_t number, VmcPixelFormat *format)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(formats); i++)
        if (formats[i].number == number) {
            *format = formats[i].format;
            return true;
        }
    return false;
}

uint32_t gpu_resource_create(GpuResources *resources, const GpuCreate2d *create)
{
    VmcPixelFormat format;
    uint64_t bytes;

    if (!create->resource_id || gpu_resource_find(resources, create->resource_id))
        return GPU_ERR_RESOURCE;
    if (!pixel_format(create->format, &format) || !create->width || !create->height ||
        create->width > GPU_SIDE_MAX || create->height > GPU_SIDE_MAX)
        return GPU_ERR_PARAMETER;
    bytes = (uint64_t)create->width * create->height * 4;
    if (bytes > GPU_MEMORY_MAX - resources->used || g_hash_table_size(resources->by_id) >= GPU_RESOURCES)
        return GPU_ERR_OUT_OF_MEMORY;
    uint8_t *pixels = g_try_malloc0(bytes);
    if (!pixels)
        return GPU_ERR_OUT_OF_MEMORY;
    GpuResource *resource = g_new0(GpuResource, 1);
    resource->id = create->resource_id;
    resource->width = create->width;
    resource->height = create->height;
    resource->format = format;
    resource->pixels = pixels;
    resources->used += bytes;
    g_hash_table_insert(resources->by_id, GUINT_TO_POINTER(resource->id), resource);
    return GPU_OK;
}

uint32_t gpu_resource_unref(GpuResources *resources, uint32_t id)
{
    GpuResource *resource = gpu_resource_find(resources, id);

    if (!resource)
        return GPU_ERR_RESOURCE;
    drop_backing(resources, resource);
    resources->used -= (uint64_t)resource->width * resource->height * 4;
    g_hash_table_remove(resources->by_id, GUINT_TO_POINTER(id));
    return GPU_OK;
}

/* Reads and resolves the list. False: an entry is not RAM, or the chain ends before it. */
static bool read_pieces(const GpuResources *resources, GpuPiece *pieces, unsigned n, VmcVirtqElement *elem,
                        uint64_t *size)
{
    *size = 0;
    for (unsigned i = 0; i < n; i++) {
        GpuEntry entry;

        if (vmc_virtq_element_read(elem, &entry, sizeof entry) < sizeof entry)
            return false;
        uint64_t address = GUINT64_FROM_LE(entry.address);
        uint32_t length = GUINT32_FROM_LE(entry.length);
        pieces[i] = (GpuPiece){vmc_memory_host(resources->memory, address, length), address, *size, length};
        if (!pieces[i].host)
            return false;
        *size += length; /* GPU_ENTRIES_MAX of 32 bits stay far below 64 */
    }
    return true;
}

uint32_t gpu_resource_attach(GpuResources *resources, const GpuAttach *attach, VmcVirtqElement *elem)
{
    GpuResource *resource = gpu_resource_find(resources, attach->resource_id);
    uint64_t size;

    if (!resource)
        return GPU_ERR_RESOURCE;
    if (resource->pieces)
        return GPU_ERR_UNSPEC;
    if (!attach->n_entries || attach->n_entries > GPU_ENTRIES_MAX ||
        elem->out_len / sizeof(GpuEntry) < attach->n_entries)
        return GPU_ERR_PARAMETER;
    if (attach->n_entries * sizeof(GpuPiece) > GPU_MEMORY_MAX - resources->used)
        return GPU_ERR_OUT_OF_MEMORY;
    GpuPiece *pieces = g_new(GpuPiece, attach->n_entries);
    if (!read_pieces(resources, pieces, attach->n_entries, elem, &size)) {
        g_free(pieces);
        return GPU_ERR_PARAMETER;
    }
    resource->pieces = pieces;
    resource->n_pieces = attach->n_entries;
    resource->backing_size = size;
    resources->used += resource->n_pieces * sizeof(GpuPiece);
    return GPU_OK;
}

uint32_t gpu_resource_detach(GpuResources *resources, uint32_t id)
{
    GpuResource *resource = gpu_resource_find(resources, id);

    if (!resource)
        return GPU_ERR_RESOURCE;
    if (!resource->pieces)
        return GPU_ERR_UNSPEC;
    drop_backing(resources, resource);
    return GPU_OK;
}

/* The piece that has byte `at` of the backing. */
static unsigned find_piece(const GpuResource *resource, uint64_t at)
{
    unsigned low = 0, high = resource->n_pieces;

    while (high - low > 1) {
        unsigned middle = low + (high - low) / 2;
        if (resource->pieces[middle].start <= at)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Copies from byte `at` on; all of it lies in the backing. `piece` is where the last copy ended, or before.
 */
static void copy_out(const GpuResource *resource, unsigned *piece, uint64_t at, uint8_t *to, uint64_t len)
{
    if (at < resource->pieces[*piece].start ||
        at - resource->pieces[*piece].start >= resource->pieces[*piece].size)
        *piece = find_piece(resource, at);
    while (len) {
        const GpuPiece *p = &resource->pieces[*piece];
        uint64_t here = MIN(len, p->size - (at - p->start));

        memcpy(to, p->host + (at - p->start), here);
        to += here;
        at += here;
        len -= here;
        if (len)
            (*piece)++;
    }
}

uint32_t gpu_resource_transfer(GpuResources *resources, const GpuTransfer *transfer)
{
    GpuResource *resource = gpu_resource_find(resources, transfer->resource_id);
    const GpuRect *rect = &transfer->rect;
    unsigned piece = 0;
    uint64_t end;

    if (!resource)
        return GPU_ERR_RESOURCE;
    if (!resource->pieces)
        return GPU_ERR_UNSPEC;
    if (!gpu_rect_fits(resource, rect))
        return GPU_ERR_PARAMETER;
    /* Rows in the backing are as long as the resource's, wherever the rectangle lies. */
    uint64_t stride = gpu_resource_stride(resource), row = (uint64_t)rect->width * 4;
    if (__builtin_add_overflow(transfer->offset, (rect->height - 1) * stride + row, &end) ||
        end > resource->backing_size)
        return GPU_ERR_PARAMETER;
    for (uint32_t y = 0; y < rect->height; y++)
        copy_out(resource, &piece, transfer->offset + y * stride,
                 (uint8_t *)gpu_resource_pixel(resource, rect->x, rect->y + y), row);
    return GPU_OK;
}

/* ---- saving ---- */

static void save_resource(const GpuResource *resource, VmcStateWriter *w)
{
    vmc_state_put_u32(w, resource->id);
    vmc_state_put_u32(w, format_number(resource->format));
    vmc_state_put_u32(w, resource->width);
    vmc_state_put_u32(w, resource->height);
    vmc_state_put_bytes(w, resource->pixels, (size_t)resource->height * gpu_resource_stride(resource));
    vmc_state_put_u32(w, resource->n_pieces);
    for (unsigned i = 0; i < resource->n_pieces; i++) {
        vmc_state_put_u64(w, resource->pieces[i].gpa);
        vmc_state_put_u32(w, (uint32_t)resource->pieces[i].size);
    }
}

void gpu_resources_save(const GpuResources *resources, VmcStateWriter *w)
{
    GHashTableIter iter;
    gpointer resource;

    vmc_state_put_u32(w, g_hash_table_size(resources->by_id));
    g_hash_table_iter_init(&iter, resources->by_id);
    while (g_hash_table_iter_next(&iter, NULL, &resource))
        save_resource(resource, w);
}

static void load_pieces(GpuResources *resources, GpuResource *resource, VmcStateReader *r)
{
    unsigned n = vmc_state_get_u32_max(r, GPU_ENTRIES_MAX);

    if (!n ||
        !vmc_state_check(r, n * sizeof(GpuPiece) <= GPU_MEMORY_MAX - resources->used, "the sum of all lists"))
        return;
    resource->pieces = g_new0(GpuPiece, n);
    resource->n_pieces = n;
    resources->used += n * sizeof(GpuPiece);
    for (unsigned i = 0; i < n && vmc_state_ok(r); i++) {
        uint64_t gpa = vmc_state_get_u64(r);
        uint32_t length = vmc_state_get_u32(r);
        resource->pieces[i] =
            (GpuPiece){vmc_memory_host(resources->memory, gpa, length), gpa, resource->backing_size, length};
        resource->backing_size += length;
        vmc_state_check(r, resource->pieces[i].host, "where a picture is in memory");
    }
}

/* The same limits as for what a guest makes. */
void gpu_resources_load(GpuResources *resources, VmcStateReader *r)
{
    unsigned n = vmc_state_get_u32_max(r, GPU_RESOURCES);

    for (unsigned i = 0; i < n && vmc_state_ok(r); i++) {
        GpuCreate2d create;
        create.resource_id = vmc_state_get_u32(r);
        create.format = vmc_state_get_u32(r);
        create.width = vmc_state_get_u32(r);
        create.height = vmc_state_get_u32(r);
        if (!vmc_state_ok(r) ||
            !vmc_state_check(r, gpu_resource_create(resources, &create) == GPU_OK, "a picture"))
            return;
        GpuResource *resource = gpu_resource_find(resources, create.resource_id);
        vmc_state_get_bytes(r, resource->pixels, (size_t)resource->height * gpu_resource_stride(resource));
        load_pieces(resources, resource, r);
    }
}
