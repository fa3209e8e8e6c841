/*
 * The standard VGA's registers (vga.h).
 *
 * Of the old VGA there are ports that remember what is written to them and a retrace that comes and goes;
 * text and planar modes are not drawn, there is no video BIOS, and the window at A0000 is plain memory. Every
 * system that draws sets a mode through DISPI: a linear framebuffer of 15, 16, 24 or 32 bits a pixel from any
 * place in video memory on. A mode that does not fit is shown as far as it does.
 */
#include "display/vga.h"

#include <string.h>

#include "display/edid.h"

#define PORT_VGA    0x3c0u
#define PORTS_VGA   0x20u
#define PORT_DISPI  0x1ceu /* index; data at 1CF and, as elsewhere than on a PC, 1D0 */
#define PORTS_DISPI 3u
#define MMIO_EDID   0x000u
#define MMIO_VGA    0x400u
#define MMIO_DISPI  0x500u
#define MMIO_QEMU   0x600u
#define QEMU_SIZE   8u
#define LITTLE      0x1e1e1e1eu

enum {
    DISPI_ID,
    DISPI_XRES,
    DISPI_YRES,
    DISPI_BPP,
    DISPI_ENABLE,
    DISPI_BANK,
    DISPI_VIRT_WIDTH,
    DISPI_VIRT_HEIGHT,
    DISPI_X_OFFSET,
    DISPI_Y_OFFSET,
    DISPI_MEMORY, /* in 64 KiB */
    DISPI_REGISTERS
};

#define DISPI_VERSION 0xb0c5u
#define DISPI_OLDEST  0xb0c0u
#define ENABLED       0x01u
#define GET_CAPS      0x02u
#define NO_CLEAR      0x80u
#define ENABLE_BITS   0xe3u /* with 8-bit DAC and linear framebuffer, which is always on */
#define MAX_XRES      VMC_DISPLAY_SIDE_MAX
#define MAX_YRES      VMC_DISPLAY_SIDE_MAX
#define MAX_BPP       32u

/* An index register and what it selects from. */
typedef struct Indexed {
    uint8_t index, registers[256];
} Indexed;

struct VmcVga {
    VmcVgaParams params;
    unsigned slot;
    uint64_t vram_size;
    uint8_t *vram;
    uint8_t edid[VMC_EDID_MAX];

    GMutex lock; /* all below */
    bool hidden;
    uint16_t dispi_index, dispi[DISPI_REGISTERS];

    Indexed attribute, sequencer, graphics, crtc;
    bool attribute_data; /* the next write to 3C0 is data */
    uint8_t misc, feature, dac_mask, retrace;
    uint16_t dac_read, dac_write; /* in bytes */
    bool dac_reading;
    uint8_t dac[768];
};

/* ---- what is shown (with `lock` held) ---- */

static bool pixel_format(unsigned bpp, VmcPixelFormat *format)
{
    switch (bpp) {
    case 15:
        *format = VMC_PIXELS_X1R5G5B5;
        return true;
    case 16:
        *format = VMC_PIXELS_R5G6B5;
        return true;
    case 24:
        *format = VMC_PIXELS_BGR;
        return true;
    case 32:
        *format = VMC_PIXELS_BGRX;
        return true;
    default:
        return false;
    }
}

/* The picture the registers describe; false: none. */
static bool picture(const VmcVga *vga, VmcLinear *linear)
{
    const uint16_t *r = vga->dispi;
    uint64_t offset;

    if (!(r[DISPI_ENABLE] & ENABLED) || !r[DISPI_XRES] || !r[DISPI_YRES] || r[DISPI_XRES] > MAX_XRES ||
        !pixel_format(r[DISPI_BPP], &linear->format))
        return false;
    unsigned bytes = vmc_pixels_bytes(linear->format);
    linear->memory = vga->params.memory;
    linear->slot = vga->slot;
    linear->width = r[DISPI_XRES];
    linear->stride = MAX(r[DISPI_XRES], r[DISPI_VIRT_WIDTH]) * bytes;
    offset = (uint64_t)r[DISPI_Y_OFFSET] * linear->stride + (uint64_t)r[DISPI_X_OFFSET] * bytes;
    if (offset >= vga->vram_size)
        return false;
    linear->offset = offset;
    linear->height = (unsigned)MIN(MIN(r[DISPI_YRES], MAX_YRES), (vga->vram_size - offset) / linear->stride);
    return linear->height > 0;
}

static void update(VmcVga *vga)
{
    VmcLinear linear;

    if (vga->hidden)
        return;
    if (picture(vga, &linear))
        vmc_display_show_memory(vga->params.display, &linear);
    else
        vmc_display_blank(vga->params.display);
}

void vmc_vga_hide(VmcVga *vga, bool hidden)
{
    g_mutex_lock(&vga->lock);
    if (vga->hidden != hidden) {
        vga->hidden = hidden;
        update(vga);
    }
    g_mutex_unlock(&vga->lock);
}

/* ---- DISPI (with `lock` held) ---- */

static void enable(VmcVga *vga, unsigned value)
{
    bool was = vga->dispi[DISPI_ENABLE] & ENABLED;
    VmcLinear linear;

    vga->dispi[DISPI_ENABLE] = value & ENABLE_BITS;
    if (was == (value & ENABLED))
        return;
    if (!was) {
        vga->dispi[DISPI_VIRT_WIDTH] = vga->dispi[DISPI_XRES];
        vga->dispi[DISPI_X_OFFSET] = vga->dispi[DISPI_Y_OFFSET] = 0;
        if (!(value & NO_CLEAR) && picture(vga, &linear))
            memset(vga->vram, 0, (size_t)linear.stride * linear.height);
    }
    update(vga);
}

static unsigned dispi_read(VmcVga *vga, unsigned index)
{
    bool caps = vga->dispi[DISPI_ENABLE] & GET_CAPS;
    VmcLinear linear;

    switch (index) {
    case DISPI_XRES:
        return caps ? MAX_XRES : vga->dispi[index];
    case DISPI_YRES:
        return caps ? MAX_YRES : vga->dispi[index];
    case DISPI_BPP:
        return caps ? MAX_BPP : vga->dispi[index];
    case DISPI_VIRT_HEIGHT: /* follows from the width */
        return picture(vga, &linear) ? (unsigned)MIN(vga->vram_size / linear.stride, 0xffff) : 0;
    case DISPI_MEMORY:
        return (unsigned)MIN(vga->vram_size >> 16, 0xffff);
    default:
        return index < DISPI_REGISTERS ? vga->dispi[index] : 0;
    }
}

static void dispi_write(VmcVga *vga, unsigned index, uint16_t value)
{
    switch (index) {
    case DISPI_ID:
        if (value >= DISPI_OLDEST && value <= DISPI_VERSION)
            vga->dispi[index] = value;
        break;
    case DISPI_ENABLE:
        enable(vga, value);
        break;
    case DISPI_XRES:
    case DISPI_YRES:
    case DISPI_BPP:
    case DISPI_VIRT_WIDTH:
    case DISPI_X_OFFSET:
    case DISPI_Y_OFFSET:
        if (vga->dispi[index] == value)
            break;
        vga->dispi[index] = value;
        if (vga->dispi[DISPI_ENABLE] & ENABLED)
            update(vga);
        break;
    case DISPI_BANK:
        vga->dispi[index] = value;
        break;
    default:
        break;
    }
}

/* ---- the old ports (with `lock` held), one byte at a time ---- */

static uint8_t dac_data_read(VmcVga *vga)
{
    uint8_t value = vga->dac[vga->dac_read];

    vga->dac_read = (uint16_t)((vga->dac_read + 1) % sizeof vga->dac);
    return value;
}

static void dac_data_write(VmcVga *vga, uint8_t value)
{
    vga->dac[vga->dac_write] = value;
    vga->dac_write = (uint16_t)((vga->dac_write + 1) % sizeof vga->dac);
}

static uint8_t vga_read(VmcVga *vga, unsigned port)
{
    switch (port) {
    case 0x0:
        return vga->attribute.index;
    case 0x1:
        return vga->attribute.registers[vga->attribute.index & 0x1f];
    case 0x4:
        return vga->sequencer.index;
    case 0x5:
        return vga->sequencer.registers[vga->sequencer.index];
    case 0x6:
        return vga->dac_mask;
    case 0x7: /* whether data was last to be read or written */
        return vga->dac_reading ? 3 : 0;
    case 0x8:
        return (uint8_t)(vga->dac_write / 3);
    case 0x9:
        return dac_data_read(vga);
    case 0xa:
        return vga->feature;
    case 0xc:
        return vga->misc;
    case 0xe:
        return vga->graphics.index;
    case 0xf:
        return vga->graphics.registers[vga->graphics.index];
    case 0x14:
        return vga->crtc.index;
    case 0x15:
        return vga->crtc.registers[vga->crtc.index];
    case 0x1a: /* whoever waits for a retrace, or its end, does not wait long */
        vga->attribute_data = false;
        return vga->retrace ^= 0x09;
    default:
        return 0;
    }
}

static void vga_write(VmcVga *vga, unsigned port, uint8_t value)
{
    switch (port) {
    case 0x0:
        if (vga->attribute_data)
            vga->attribute.registers[vga->attribute.index & 0x1f] = value;
        else
            vga->attribute.index = value & 0x3f;
        vga->attribute_data = !vga->attribute_data;
        break;
    case 0x2:
        vga->misc = value;
        break;
    case 0x4:
        vga->sequencer.index = value;
        break;
    case 0x5:
        vga->sequencer.registers[vga->sequencer.index] = value;
        break;
    case 0x6:
        vga->dac_mask = value;
        break;
    case 0x7:
        vga->dac_read = value * 3u;
        vga->dac_reading = true;
        break;
    case 0x8:
        vga->dac_write = value * 3u;
        vga->dac_reading = false;
        break;
    case 0x9:
        dac_data_write(vga, value);
        break;
    case 0xe:
        vga->graphics.index = value;
        break;
    case 0xf:
        vga->graphics.registers[vga->graphics.index] = value;
        break;
    case 0x14:
        vga->crtc.index = value;
        break;
    case 0x15:
        vga->crtc.registers[vga->crtc.index] = value;
        break;
    case 0x1a:
        vga->feature = value;
        break;
    default:
        break;
    }
}

/* ---- accesses (vCPUs) ---- */

static uint64_t vga_port_read(void *opaque, uint64_t offset, unsigned size)
{
    VmcVga *vga = opaque;
    uint64_t value = 0;

    g_mutex_lock(&vga->lock);
    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)vga_read(vga, (unsigned)offset + i) << (8 * i);
    g_mutex_unlock(&vga->lock);
    return value;
}

/* A word goes to an index register and its data, in this order. */
static void vga_port_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    VmcVga *vga = opaque;

    g_mutex_lock(&vga->lock);
    for (unsigned i = 0; i < size; i++)
        vga_write(vga, (unsigned)offset + i, (uint8_t)(value >> (8 * i)));
    g_mutex_unlock(&vga->lock);
}

static uint64_t dispi_port_read(void *opaque, uint64_t offset, unsigned size)
{
    VmcVga *vga = opaque;

    g_mutex_lock(&vga->lock);
    unsigned value = offset == 0 ? vga->dispi_index : dispi_read(vga, vga->dispi_index);
    g_mutex_unlock(&vga->lock);
    return value;
}

static void dispi_port_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    VmcVga *vga = opaque;

    g_mutex_lock(&vga->lock);
    if (offset == 0)
        vga->dispi_index = (uint16_t)value;
    else
        dispi_write(vga, vga->dispi_index, (uint16_t)value);
    g_mutex_unlock(&vga->lock);
}

static const VmcRegionOps vga_ports = {.read = vga_port_read, .write = vga_port_write};
static const VmcRegionOps dispi_ports = {.read = dispi_port_read, .write = dispi_port_write};

static uint8_t mmio_byte(VmcVga *vga, unsigned offset)
{
    static const uint8_t qemu[8] = {QEMU_SIZE,    0, 0, 0, LITTLE & 0xff, LITTLE & 0xff, LITTLE & 0xff,
                                    LITTLE & 0xff};

    if (offset < VMC_EDID_MAX)
        return vga->edid[offset];
    if (offset >= MMIO_VGA && offset < MMIO_VGA + PORTS_VGA)
        return vga_read(vga, offset - MMIO_VGA);
    if (offset >= MMIO_DISPI && offset < MMIO_DISPI + 2 * DISPI_REGISTERS)
        return (uint8_t)(dispi_read(vga, (offset - MMIO_DISPI) / 2) >> (8 * (offset & 1)));
    if (offset >= MMIO_QEMU && offset < MMIO_QEMU + QEMU_SIZE)
        return qemu[offset - MMIO_QEMU];
    return offset < MMIO_VGA ? 0 : 0xff;
}

uint64_t vmc_vga_mmio_read(VmcVga *vga, uint64_t offset, unsigned size)
{
    uint64_t value = 0;

    g_mutex_lock(&vga->lock);
    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)mmio_byte(vga, (unsigned)offset + i) << (8 * i);
    g_mutex_unlock(&vga->lock);
    return value;
}

void vmc_vga_mmio_write(VmcVga *vga, uint64_t offset, unsigned size, uint64_t value)
{
    unsigned end = (unsigned)offset + size;

    g_mutex_lock(&vga->lock);
    if (offset >= MMIO_VGA && end <= MMIO_VGA + PORTS_VGA)
        for (unsigned i = 0; i < size; i++)
            vga_write(vga, (unsigned)offset - MMIO_VGA + i, (uint8_t)(value >> (8 * i)));
    else if (offset >= MMIO_DISPI && end <= MMIO_DISPI + 2 * DISPI_REGISTERS && !(offset & 1))
        for (unsigned i = 0; i < size / 2; i++)
            dispi_write(vga, ((unsigned)offset - MMIO_DISPI) / 2 + i, (uint16_t)(value >> (16 * i)));
    g_mutex_unlock(&vga->lock);
}

/* ---- lifecycle ---- */

static void power_on(VmcVga *vga)
{
    memset(vga->dispi, 0, sizeof vga->dispi);
    vga->dispi[DISPI_ID] = DISPI_VERSION;
    vga->dispi_index = 0;
    memset(&vga->attribute, 0, sizeof vga->attribute);
    memset(&vga->sequencer, 0, sizeof vga->sequencer);
    memset(&vga->graphics, 0, sizeof vga->graphics);
    memset(&vga->crtc, 0, sizeof vga->crtc);
    memset(vga->dac, 0, sizeof vga->dac);
    vga->attribute_data = vga->dac_reading = false;
    vga->misc = 0x67; /* colour, memory enabled */
    vga->feature = 0;
    vga->dac_mask = 0xff;
    vga->dac_read = vga->dac_write = 0;
    vga->hidden = false;
}

void vmc_vga_reset(VmcVga *vga)
{
    g_mutex_lock(&vga->lock);
    power_on(vga);
    update(vga);
    g_mutex_unlock(&vga->lock);
}

void vmc_vga_set_mode(VmcVga *vga)
{
    g_mutex_lock(&vga->lock);
    enable(vga, 0);
    vga->dispi[DISPI_XRES] = (uint16_t)vga->params.width;
    vga->dispi[DISPI_YRES] = (uint16_t)vga->params.height;
    vga->dispi[DISPI_BPP] = 32;
    enable(vga, ENABLED | 0x40);
    g_mutex_unlock(&vga->lock);
}

void vmc_vga_get_mode(VmcVga *vga, unsigned *width, unsigned *height)
{
    *width = vga->params.width;
    *height = vga->params.height;
}

void vmc_vga_set_bar(VmcVga *vga, VmcPciDevice *pci, unsigned bar)
{
    vmc_pci_device_add_bar(pci, bar, vga->vram_size, false, false, true);
    vmc_pci_device_set_bar_memory(pci, bar, vga->params.memory, vga->slot);
}

VmcVga *vmc_vga_new(const VmcVgaParams *params, GError **error)
{
    VmcVga *vga = g_new0(VmcVga, 1);

    vga->params = *params;
    vga->vram_size = VMC_VGA_VRAM_MIN;
    while (vga->vram_size < (uint64_t)params->width * params->height * 4)
        vga->vram_size *= 2;
    if (!vmc_memory_add_movable(params->memory, "vmc-vram", vga->vram_size, &vga->slot, error)) {
        g_free(vga);
        return NULL;
    }
    vga->vram = params->memory->slots[vga->slot].host;
    g_mutex_init(&vga->lock);
    vmc_edid_make(vga->edid, params->width, params->height, 0);
    power_on(vga);
    vmc_display_adopt(params->display);
    if (params->pio) {
        vmc_bus_add(params->pio, "vga", PORT_VGA, PORTS_VGA, &vga_ports, vga);
        vmc_bus_add(params->pio, "dispi", PORT_DISPI, PORTS_DISPI, &dispi_ports, vga);
    }
    return vga;
}

void vmc_vga_free(VmcVga *vga)
{
    if (!vga)
        return;
    if (vga->params.pio) {
        vmc_bus_remove(vga->params.pio, PORT_VGA, &vga_ports, vga);
        vmc_bus_remove(vga->params.pio, PORT_DISPI, &dispi_ports, vga);
    }
    vmc_display_release(vga->params.display);
    g_mutex_clear(&vga->lock);
    g_free(vga);
}

/* ---- saving ---- */

static void save_indexed(const Indexed *indexed, VmcStateWriter *w)
{
    vmc_state_put_u8(w, indexed->index);
    vmc_state_put_bytes(w, indexed->registers, sizeof indexed->registers);
}

static void load_indexed(Indexed *indexed, VmcStateReader *r)
{
    indexed->index = vmc_state_get_u8(r);
    vmc_state_get_bytes(r, indexed->registers, sizeof indexed->registers);
}

void vmc_vga_save(VmcVga *vga, VmcStateWriter *w)
{
    g_mutex_lock(&vga->lock);
    vmc_state_begin(w, "vga", 1);
    vmc_state_put_bool(w, vga->hidden);
    vmc_state_put_u16(w, vga->dispi_index);
    for (unsigned i = 0; i < DISPI_REGISTERS; i++)
        vmc_state_put_u16(w, vga->dispi[i]);
    save_indexed(&vga->attribute, w);
    save_indexed(&vga->sequencer, w);
    save_indexed(&vga->graphics, w);
    save_indexed(&vga->crtc, w);
    vmc_state_put_bool(w, vga->attribute_data);
    vmc_state_put_u8(w, vga->misc);
    vmc_state_put_u8(w, vga->feature);
    vmc_state_put_u8(w, vga->dac_mask);
    vmc_state_put_u8(w, vga->retrace);
    vmc_state_put_u16(w, vga->dac_read);
    vmc_state_put_u16(w, vga->dac_write);
    vmc_state_put_bool(w, vga->dac_reading);
    vmc_state_put_bytes(w, vga->dac, sizeof vga->dac);
    vmc_state_end(w);
    g_mutex_unlock(&vga->lock);
}

static bool load_registers(VmcVga *vga, VmcStateReader *r)
{
    vga->hidden = vmc_state_get_bool(r);
    vga->dispi_index = vmc_state_get_u16(r);
    for (unsigned i = 0; i < DISPI_REGISTERS; i++)
        vga->dispi[i] = vmc_state_get_u16(r);
    load_indexed(&vga->attribute, r);
    load_indexed(&vga->sequencer, r);
    load_indexed(&vga->graphics, r);
    load_indexed(&vga->crtc, r);
    vga->attribute_data = vmc_state_get_bool(r);
    vga->misc = vmc_state_get_u8(r);
    vga->feature = vmc_state_get_u8(r);
    vga->dac_mask = vmc_state_get_u8(r);
    vga->retrace = vmc_state_get_u8(r);
    vga->dac_read = vmc_state_get_u16_max(r, sizeof vga->dac - 1);
    vga->dac_write = vmc_state_get_u16_max(r, sizeof vga->dac - 1);
    vga->dac_reading = vmc_state_get_bool(r);
    vmc_state_get_bytes(r, vga->dac, sizeof vga->dac);
    return vmc_state_leave(r);
}

bool vmc_vga_load(VmcVga *vga, VmcStateReader *r)
{
    if (!vmc_state_enter(r, "vga", 1))
        return false;
    g_mutex_lock(&vga->lock);
    bool good = load_registers(vga, r);
    if (good)
        update(vga);
    g_mutex_unlock(&vga->lock);
    return good;
}
