/*
 * Doorbells: registers of a BAR that only ring an eventfd, which whoever runs the CPUs may be able to do
 * without coming here for it.
 *
 * They follow their BAR. Each has a lock of its own kind to do so, because a device starts on the I/O thread
 * while a CPU that holds the bus's access lock may wait for it.
 */
#include "pci/doorbell.h"

#define NOWHERE UINT64_MAX

typedef struct Bell {
    uint64_t offset;
    int fd;
    bool placed; /* the CPUs' backend has it, at bells_at + offset */
} Bell;

static void place(const VmcPciBells *bells, const VmcPciBar *bar, Bell *bell)
{
    if (!bell->placed && bells->ops.add && bar->bells_at != NOWHERE)
        bell->placed = bells->ops.add(bells->ops.opaque, bar->bells_at + bell->offset, bell->fd);
}

static void take_away(const VmcPciBells *bells, const VmcPciBar *bar, Bell *bell)
{
    if (bell->placed)
        bells->ops.remove(bells->ops.opaque, bar->bells_at + bell->offset, bell->fd);
    bell->placed = false;
}

void vmc_pci_bells_moved(VmcPciBar *bar, uint64_t to)
{
    VmcPciBells *bells = vmc_pci_bus_bells(bar->dev->bus);

    g_mutex_lock(&bells->lock);
    for (guint i = 0; bar->bells && i < bar->bells->len; i++)
        take_away(bells, bar, &g_array_index(bar->bells, Bell, i));
    bar->bells_at = to;
    for (guint i = 0; bar->bells && i < bar->bells->len; i++)
        place(bells, bar, &g_array_index(bar->bells, Bell, i));
    g_mutex_unlock(&bells->lock);
}

void vmc_pci_device_add_doorbell(VmcPciDevice *dev, unsigned number, uint64_t offset, int fd)
{
    VmcPciBells *bells = vmc_pci_bus_bells(dev->bus);
    VmcPciBar *bar = &dev->bars[number];
    Bell bell = {.offset = offset, .fd = fd};

    g_mutex_lock(&bells->lock);
    if (!bar->bells)
        bar->bells = g_array_new(FALSE, FALSE, sizeof(Bell));
    place(bells, bar, &bell);
    g_array_append_val(bar->bells, bell);
    g_mutex_unlock(&bells->lock);
}

void vmc_pci_device_remove_doorbells(VmcPciDevice *dev, unsigned number)
{
    VmcPciBar *bar = &dev->bars[number];

    if (!dev->bus)
        return;
    VmcPciBells *bells = vmc_pci_bus_bells(dev->bus);
    g_mutex_lock(&bells->lock);
    for (guint i = 0; bar->bells && i < bar->bells->len; i++)
        take_away(bells, bar, &g_array_index(bar->bells, Bell, i));
    vmc_pci_bells_clear(bar);
    g_mutex_unlock(&bells->lock);
}

void vmc_pci_bells_clear(VmcPciBar *bar)
{
    g_clear_pointer(&bar->bells, g_array_unref);
}
