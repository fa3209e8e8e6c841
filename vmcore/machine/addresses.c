/* Which addresses the guest has, as overheard on its network cards (net/watch.h). */
#include <arpa/inet.h>

#include "machine/devices/kind.h"

static void add_addresses(VmcGuest *guest, guint index, GPtrArray *list)
{
    const VmcDeviceKindOps *ops = vmc_device_kind_ops(vmc_guest_config(guest, index)->kind);
    VmcNetAddress addresses[VMC_WATCH_ADDRESSES];
    unsigned n = ops->addresses ? ops->addresses(guest, index, addresses, G_N_ELEMENTS(addresses)) : 0;

    for (unsigned i = 0; i < n; i++) {
        char text[INET6_ADDRSTRLEN];
        if (inet_ntop(addresses[i].family, addresses[i].bytes, text, sizeof(text)))
            g_ptr_array_add(list, g_strdup(text));
    }
}

char **vmc_machine_get_addresses(VmcMachine *machine)
{
    VmcGuest *guest = vmc_machine_lock_guest(machine);
    GPtrArray *list = g_ptr_array_new();

    if (guest) {
        for (guint i = 0; i < guest->config->devices->len; i++)
            add_addresses(guest, i, list);
        vmc_machine_unlock_guest(machine);
    }
    g_ptr_array_add(list, NULL);
    return (char **)g_ptr_array_free(list, FALSE);
}
