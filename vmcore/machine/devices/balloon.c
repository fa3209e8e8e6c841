/* The balloon, by which a guest gives memory back. */
#include "base/i18n.h"
#include "machine/devices/kind.h"

enum { ACTION_TARGET, ACTION_STATISTICS };

static void check_balloon(VmcCheck *check, const VmcDeviceConfig *device)
{
    for (guint i = 0; i < check->index; i++)
        if (vmc_check_device(check, i)->kind == VMC_DEVICE_VIRTIO_BALLOON)
            vmc_check_fault(check, NULL, _("the machine has a balloon already, devices[%u]; one is enough"),
                            i);
}

static bool make_balloon(VmcGuest *guest, guint index, GError **error)
{
    VmcVirtioHost host = vmc_guest_virtio_host(guest);

    return vmc_guest_add_pci(guest, index, vmc_virtio_balloon_new(&host, guest->config->memory), error);
}

static bool set_target(VmcGuest *guest, VmcPciDevice *device, const char *word, GError **error)
{
    guint64 megabytes, most = guest->config->memory >> 20;

    if (!g_ascii_string_to_unsigned(word, 10, 1, most, &megabytes, NULL)) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                    _("“%s” is no amount of memory for this machine; give 1 to %" PRIu64 " MiB"), word, most);
        return false;
    }
    vmc_virtio_balloon_set_target(device, megabytes << 20);
    return true;
}

static bool set_poll(VmcPciDevice *device, const char *word, GError **error)
{
    guint64 seconds;

    if (!g_ascii_string_to_unsigned(word, 10, 0, 86400, &seconds, NULL)) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                    _("“%s” is no interval for statistics; give 0 to 86400 seconds"), word);
        return false;
    }
    vmc_virtio_balloon_poll(device, (unsigned)seconds);
    return true;
}

/* A line for each value, numbers as the guest gave them. */
static void say_statistics(VmcPciDevice *device, GString *reply)
{
    static const char *const names[VMC_BALLOON_STATS] = {
        [VMC_BALLOON_SWAP_IN] = "swap-in",
        [VMC_BALLOON_SWAP_OUT] = "swap-out",
        [VMC_BALLOON_MAJOR_FAULTS] = "major-faults",
        [VMC_BALLOON_MINOR_FAULTS] = "minor-faults",
        [VMC_BALLOON_FREE] = "free",
        [VMC_BALLOON_TOTAL] = "total",
        [VMC_BALLOON_AVAILABLE] = "available",
        [VMC_BALLOON_CACHES] = "caches",
        [VMC_BALLOON_HUGE_PAGES_MADE] = "huge-pages-made",
        [VMC_BALLOON_HUGE_PAGES_FAILED] = "huge-pages-failed",
    };
    char age[G_ASCII_DTOSTR_BUF_SIZE];
    VmcBalloonStatistics statistics;

    g_string_append_printf(reply, "target %" G_GUINT64_FORMAT "\n", vmc_virtio_balloon_get_target(device));
    g_string_append_printf(reply, "actual %" G_GUINT64_FORMAT "\n", vmc_virtio_balloon_get_actual(device));
    g_string_append_printf(reply, "given-back %" G_GUINT64_FORMAT "\n",
                           vmc_virtio_balloon_get_discarded(device));
    vmc_virtio_balloon_get_statistics(device, &statistics);
    if (statistics.updated_ns)
        g_string_append_printf(
            reply, "age %s\n",
            g_ascii_formatd(age, sizeof(age), "%.1f", (double)(vmc_now_ns() - statistics.updated_ns) / 1e9));
    for (unsigned i = 0; i < VMC_BALLOON_STATS; i++)
        if (statistics.known & 1u << i)
            g_string_append_printf(reply, "%s %" G_GUINT64_FORMAT "\n", names[i], statistics.values[i]);
}

static bool act_on_balloon(VmcGuest *guest, guint index, unsigned action, const char *const *arguments,
                           GString *reply, GError **error)
{
    VmcPciDevice *device = guest->pci_devices[index];

    if (action == ACTION_TARGET)
        return set_target(guest, device, arguments[0], error);
    if (arguments[0] && !set_poll(device, arguments[0], error))
        return false;
    say_statistics(device, reply);
    return true;
}

static const VmcAction actions[] = {
    [ACTION_TARGET] = {"target", "MIB", 1, 1, N_("has the guest make do with so much memory")},
    [ACTION_STATISTICS] =
        {"statistics", "[SECONDS]", 0, 1,
         N_("says how much memory the guest has and uses, in bytes, as of when it was last asked; "
            "asks it now and every so many seconds (0: only now)")},
};

const VmcDeviceKindOps vmc_kind_balloon = {
    .info = {.name = "virtio-balloon",
             .key = "VirtioBalloon",
             .help = N_("gives memory the guest does not need back to the host"),
             VMC_ACTIONS(actions)},
    .pci = true,
    .check = check_balloon,
    .make = make_balloon,
    .act = act_on_balloon,
};
