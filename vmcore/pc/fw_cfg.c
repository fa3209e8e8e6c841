/*
 * An item is bytes behind a 16-bit key. Files have keys from 20h on, in the order they were added; item 19h
 * lists them, sorted by name as firmware that searches expects.
 *
 * What is selected lives in two words, offset and key. Two CPUs that use the interface at once get nonsense,
 * as on any machine that has it, but never anything outside an item: each access takes the lock.
 */
#include "pc/fw_cfg.h"

#include <string.h>

#define PORT_SELECTOR 0x510u /* 16 bits; data in the byte above it */
#define PORT_DMA      0x514u /* 64 bits, big-endian: high half, low half starts */

#define KEY_SIGNATURE 0x00u
#define KEY_ID        0x01u
#define KEY_DIRECTORY 0x19u
#define KEY_FILES     0x20u
#define KEY_MASK      0x3fffu /* above: write, architecture-local */
#define KEY_LOCAL     0x8000u

#define ID_TRADITIONAL 1u
#define ID_DMA         2u

#define DMA_ERROR  0x01u
#define DMA_READ   0x02u
#define DMA_SKIP   0x04u
#define DMA_SELECT 0x08u
#define DMA_WRITE  0x10u

#define DMA_SIGNATURE 0x51454d5520434647ull /* "QEMU CFG": what the DMA register reads as */

/* In guest memory, big-endian. */
typedef struct DmaCommand {
    uint32_t control, length;
    uint64_t address;
} DmaCommand;

_Static_assert(sizeof(DmaCommand) == 16, "as in fw_cfg.rst");

/* As the directory has it, big-endian. */
typedef struct DirectoryEntry {
    uint32_t size;
    uint16_t key, reserved;
    char name[VMC_FW_CFG_NAME_BYTES];
} DirectoryEntry;

_Static_assert(sizeof(DirectoryEntry) == 64, "as in fw_cfg.rst");

typedef struct File {
    char name[VMC_FW_CFG_NAME_BYTES];
    void (*refresh)(void *opaque);
    void *opaque;
} File;

struct VmcFwCfg {
    VmcBus *pio;
    VmcMemory *memory;
    GRecMutex lock; /* a refresh sets files */
    GBytes *items[KEY_FILES + VMC_FW_CFG_FILES_MAX];
    File files[VMC_FW_CFG_FILES_MAX];
    unsigned n_files;
    uint16_t key;
    size_t offset;
    uint32_t dma_high;
};

/* ---- items ---- */

static GBytes *selected(VmcFwCfg *fw)
{
    unsigned key = fw->key & KEY_MASK;

    return !(fw->key & KEY_LOCAL) && key < G_N_ELEMENTS(fw->items) ? fw->items[key] : NULL;
}

static void select_item(VmcFwCfg *fw, uint16_t key)
{
    unsigned file = (key & KEY_MASK) - KEY_FILES;

    fw->key = key;
    fw->offset = 0;
    if (!(key & KEY_LOCAL) && file < fw->n_files && fw->files[file].refresh)
        fw->files[file].refresh(fw->files[file].opaque);
}

/* The next bytes of what is selected, at most `len`, in place. The offset moves on by those, so never beyond
 * the end. */
static const uint8_t *take(VmcFwCfg *fw, size_t len, size_t *there)
{
    GBytes *bytes = selected(fw);
    size_t size = 0;
    const uint8_t *data = bytes ? g_bytes_get_data(bytes, &size) : NULL;
    size_t at = MIN(fw->offset, size);

    *there = MIN(len, size - at);
    fw->offset = at + *there;
    return data ? data + at : NULL;
}

static uint8_t next_byte(VmcFwCfg *fw)
{
    size_t there;
    const uint8_t *data = take(fw, 1, &there);

    return there ? *data : 0;
}

/* ---- DMA ---- */

/* What is beyond the item's end reads as zeros. */
static bool dma_read(VmcFwCfg *fw, uint64_t to, uint32_t len)
{
    static const uint8_t zeros[VMC_PAGE_SIZE];
    size_t there;
    const uint8_t *data = take(fw, len, &there);
    bool ok = !there || vmc_memory_write(fw->memory, to, data, there);

    for (size_t at = there, n; ok && at < len; at += n) {
        n = MIN(len - at, sizeof(zeros));
        ok = to + at >= to && vmc_memory_write(fw->memory, to + at, zeros, n);
    }
    return ok;
}

static bool dma_obey(VmcFwCfg *fw, const DmaCommand *command)
{
    uint32_t control = command->control;
    size_t there;

    if (control & DMA_SELECT)
        select_item(fw, (uint16_t)(control >> 16));
    if (control & DMA_READ)
        return dma_read(fw, command->address, command->length);
    if (control & DMA_WRITE)
        return false; /* nothing here is to be written */
    if (control & DMA_SKIP)
        take(fw, command->length, &there);
    return true;
}

static void dma_run(VmcFwCfg *fw, uint64_t at)
{
    DmaCommand command = {0};

    bool ok = vmc_memory_read(fw->memory, at, &command, sizeof(command));
    command.control = GUINT32_FROM_BE(command.control);
    command.length = GUINT32_FROM_BE(command.length);
    command.address = GUINT64_FROM_BE(command.address);
    uint32_t result = GUINT32_TO_BE(ok && dma_obey(fw, &command) ? 0 : DMA_ERROR);
    /* Of a command that is not all in memory the control word may be. */
    vmc_memory_write(fw->memory, at, &result, sizeof(result));
}

/* ---- ports ---- */

static uint64_t selector_read(void *opaque, uint64_t offset, unsigned size)
{
    VmcFwCfg *fw = opaque;

    if (offset != 1) /* the selector is not read */
        return 0;
    g_rec_mutex_lock(&fw->lock);
    uint8_t byte = next_byte(fw);
    g_rec_mutex_unlock(&fw->lock);
    return byte;
}

static void selector_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    VmcFwCfg *fw = opaque;

    if (offset != 0 || size != 2)
        return;
    g_rec_mutex_lock(&fw->lock);
    select_item(fw, (uint16_t)value);
    g_rec_mutex_unlock(&fw->lock);
}

static uint64_t dma_port_read(void *opaque, uint64_t offset, unsigned size)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < size && offset + i < 8; i++)
        value |= (DMA_SIGNATURE >> (8 * (7 - (offset + i))) & 0xff) << (8 * i);
    return value;
}

static void dma_port_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    VmcFwCfg *fw = opaque;

    g_rec_mutex_lock(&fw->lock);
    if (size == 8 && offset == 0) {
        fw->dma_high = 0;
        dma_run(fw, GUINT64_SWAP_LE_BE(value));
    } else if (size == 4 && offset == 0) {
        fw->dma_high = GUINT32_SWAP_LE_BE((uint32_t)value);
    } else if (size == 4 && offset == 4) {
        uint64_t at = (uint64_t)fw->dma_high << 32 | GUINT32_SWAP_LE_BE((uint32_t)value);
        fw->dma_high = 0;
        dma_run(fw, at);
    }
    g_rec_mutex_unlock(&fw->lock);
}

static const VmcRegionOps selector_ops = {selector_read, selector_write};
static const VmcRegionOps dma_ops = {dma_port_read, dma_port_write};

/* ---- what is in it ---- */

static gint by_name(gconstpointer a, gconstpointer b)
{
    return strcmp(((const DirectoryEntry *)a)->name, ((const DirectoryEntry *)b)->name);
}

/* Lock held. */
static void write_directory(VmcFwCfg *fw)
{
    g_autoptr(GArray) entries = g_array_new(FALSE, FALSE, sizeof(DirectoryEntry));
    GByteArray *directory = g_byte_array_new();
    uint32_t count = GUINT32_TO_BE(fw->n_files);

    for (unsigned i = 0; i < fw->n_files; i++) {
        uint16_t key = (uint16_t)(KEY_FILES + i);
        DirectoryEntry entry = {
            .size = GUINT32_TO_BE((uint32_t)g_bytes_get_size(fw->items[key])),
            .key = GUINT16_TO_BE(key),
        };
        memcpy(entry.name, fw->files[i].name, VMC_FW_CFG_NAME_BYTES);
        g_array_append_val(entries, entry);
    }
    g_array_sort(entries, by_name);
    g_byte_array_append(directory, (const uint8_t *)&count, sizeof(count));
    if (entries->len)
        g_byte_array_append(directory, (const uint8_t *)entries->data,
                            entries->len * (guint)sizeof(DirectoryEntry));
    vmc_fw_cfg_set(fw, KEY_DIRECTORY, g_byte_array_free_to_bytes(directory));
}

void vmc_fw_cfg_set(VmcFwCfg *fw, uint16_t key, GBytes *bytes)
{
    g_return_if_fail(key < G_N_ELEMENTS(fw->items));
    g_rec_mutex_lock(&fw->lock);
    g_clear_pointer(&fw->items[key], g_bytes_unref);
    fw->items[key] = bytes;
    g_rec_mutex_unlock(&fw->lock);
}

void vmc_fw_cfg_set_number(VmcFwCfg *fw, uint16_t key, uint64_t value, unsigned size)
{
    uint64_t le = GUINT64_TO_LE(value);

    vmc_fw_cfg_set(fw, key, g_bytes_new(&le, MIN(size, sizeof(le))));
}

/* The place of a file, n_files if there is none of the name. */
static unsigned file_index(const VmcFwCfg *fw, const char *name)
{
    unsigned i = 0;

    while (i < fw->n_files && strcmp(fw->files[i].name, name))
        i++;
    return i;
}

void vmc_fw_cfg_set_file(VmcFwCfg *fw, const char *name, GBytes *bytes)
{
    g_return_if_fail(strlen(name) < VMC_FW_CFG_NAME_BYTES);
    g_rec_mutex_lock(&fw->lock);
    unsigned i = file_index(fw, name);
    if (i < VMC_FW_CFG_FILES_MAX) {
        if (i == fw->n_files)
            g_strlcpy(fw->files[fw->n_files++].name, name, VMC_FW_CFG_NAME_BYTES);
        vmc_fw_cfg_set(fw, (uint16_t)(KEY_FILES + i), bytes);
        write_directory(fw);
    } else {
        g_critical("there is no room for the fw_cfg file “%s”", name);
        g_bytes_unref(bytes);
    }
    g_rec_mutex_unlock(&fw->lock);
}

void vmc_fw_cfg_set_refresh(VmcFwCfg *fw, const char *name, void (*fill)(void *opaque), void *opaque)
{
    g_rec_mutex_lock(&fw->lock);
    unsigned i = file_index(fw, name);
    if (i < fw->n_files) {
        fw->files[i].refresh = fill;
        fw->files[i].opaque = opaque;
    } else {
        g_critical("there is no fw_cfg file “%s” to refresh", name);
    }
    g_rec_mutex_unlock(&fw->lock);
}

void vmc_fw_cfg_reset(VmcFwCfg *fw)
{
    g_rec_mutex_lock(&fw->lock);
    fw->key = 0;
    fw->offset = 0;
    fw->dma_high = 0;
    g_rec_mutex_unlock(&fw->lock);
}

VmcFwCfg *vmc_fw_cfg_new(VmcBus *pio, VmcMemory *memory)
{
    VmcFwCfg *fw = g_new0(VmcFwCfg, 1);

    fw->pio = pio;
    fw->memory = memory;
    g_rec_mutex_init(&fw->lock);
    vmc_fw_cfg_set(fw, KEY_SIGNATURE, g_bytes_new_static("QEMU", 4));
    vmc_fw_cfg_set_number(fw, KEY_ID, ID_TRADITIONAL | ID_DMA, 4);
    write_directory(fw);
    vmc_bus_add(pio, "fw_cfg", PORT_SELECTOR, 2, &selector_ops, fw);
    vmc_bus_add(pio, "fw_cfg dma", PORT_DMA, 8, &dma_ops, fw);
    return fw;
}

void vmc_fw_cfg_free(VmcFwCfg *fw)
{
    if (!fw)
        return;
    vmc_bus_remove(fw->pio, PORT_SELECTOR, &selector_ops, fw);
    vmc_bus_remove(fw->pio, PORT_DMA, &dma_ops, fw);
    for (unsigned i = 0; i < G_N_ELEMENTS(fw->items); i++)
        g_clear_pointer(&fw->items[i], g_bytes_unref);
    g_rec_mutex_clear(&fw->lock);
    g_free(fw);
}

/* What is selected and how much of it has been read; items are made anew. */
void vmc_fw_cfg_save(VmcFwCfg *fw, VmcStateWriter *w)
{
    g_rec_mutex_lock(&fw->lock);
    vmc_state_begin(w, "fw_cfg", 1);
    vmc_state_put_u16(w, fw->key);
    vmc_state_put_u64(w, fw->offset);
    vmc_state_put_u32(w, fw->dma_high);
    vmc_state_end(w);
    g_rec_mutex_unlock(&fw->lock);
}

bool vmc_fw_cfg_load(VmcFwCfg *fw, VmcStateReader *r)
{
    if (!vmc_state_enter(r, "fw_cfg", 1))
        return false;
    g_rec_mutex_lock(&fw->lock);
    select_item(fw, vmc_state_get_u16(r));
    fw->offset = vmc_state_get_u64(r); /* one beyond the end reads as the end */
    fw->dma_high = vmc_state_get_u32(r);
    g_rec_mutex_unlock(&fw->lock);
    return vmc_state_leave(r);
}
