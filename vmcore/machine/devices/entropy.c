/* The source of random numbers. */
#include "base/i18n.h"
#include "machine/devices/kind.h"

static bool make_rng(VmcGuest *guest, guint index, GError **error)
{
    VmcVirtioHost host = vmc_guest_virtio_host(guest);

    return vmc_guest_add_pci(guest, index, vmc_virtio_rng_new(&host), error);
}

const VmcDeviceKindOps vmc_kind_rng = {
    .info = {.name = "virtio-rng", .key = "VirtioEntropy", .help = N_("random numbers")},
    .pci = true,
    .make = make_rng,
};
