/* Shared folders: virtio-fs, and virtio-9p for guests that know only that. */
#include <string.h>

#include "base/i18n.h"
#include "machine/devices/kind.h"

static bool is_share(const VmcDeviceConfig *device)
{
    return device->kind == VMC_DEVICE_VIRTIO_FS || device->kind == VMC_DEVICE_VIRTIO_9P;
}

/* How many shares the machine has, which divide the process's descriptors among them. */
static unsigned count_shares(const VmcConfig *config)
{
    unsigned n = 0;

    for (guint i = 0; i < config->devices->len; i++)
        n += is_share(g_ptr_array_index(config->devices, i));
    return n;
}

static VmcShare *open_share(const VmcConfig *machine, const VmcShareConfig *config, GError **error)
{
    VmcShareOptions options = {
        .readonly = config->readonly,
        .uid = config->uid,
        .gid = config->gid,
        .shares = count_shares(machine),
    };

    return vmc_share_new(config->path, &options, error);
}

static void check_tag(VmcCheck *check, const VmcDeviceConfig *device)
{
    const char *tag = device->share.tag;

    if (!tag || !*tag) {
        vmc_check_fault(check, "mountTag",
                        _("no tag is given; give the name under which the guest mounts the folder"));
        return;
    }
    for (guint i = 0; i < check->index; i++) {
        const VmcDeviceConfig *before = vmc_check_device(check, i);
        if (before->kind == device->kind && !g_strcmp0(before->share.tag, tag))
            vmc_check_fault(check, "mountTag",
                            _("“%s” is already the tag of devices[%u]; give each folder its own"), tag, i);
    }
}

static void check_share(VmcCheck *check, const VmcDeviceConfig *device)
{
    GError *error = NULL;
    VmcShare *share;

    if (!device->share.path || !*device->share.path) {
        vmc_check_fault(check, "sharedDir", _("no folder is given; give the path of the folder to share"));
    } else {
        share = open_share(check->config, &device->share, &error);
        if (!share)
            vmc_check_error(check, "sharedDir", error);
        vmc_share_free(share);
    }
    check_tag(check, device);
}

static bool make_fs(VmcGuest *guest, guint index, GError **error)
{
    const VmcShareConfig *config = &vmc_guest_config(guest, index)->share;
    VmcVirtioHost host = vmc_guest_virtio_host(guest);
    unsigned queues = config->queues ? config->queues : guest->config->cpus;
    VmcShare *share = open_share(guest->config, config, error);

    return share && vmc_guest_add_pci(guest, index,
                                      vmc_virtio_fs_new(&host, share, config->tag, config->cache,
                                                        MIN(queues, VMC_VIRTIO_FS_QUEUES_MAX)),
                                      error);
}

static bool make_9p(VmcGuest *guest, guint index, GError **error)
{
    const VmcShareConfig *config = &vmc_guest_config(guest, index)->share;
    VmcVirtioHost host = vmc_guest_virtio_host(guest);
    VmcShare *share = open_share(guest->config, config, error);
    VmcShareCaller owner = {config->uid, config->gid};

    return share &&
           vmc_guest_add_pci(guest, index, vmc_virtio_p9_new(&host, share, config->tag, owner), error);
}

static const char *const cache_words[] = {"auto", "none", "always", NULL};

/* What both take. */
#define SHARE_FIELDS                                                                                         \
    VMC_FIELD("sharedDir", "Path", PATH, share.path, .value = "FOLDER", .required = true),                   \
        VMC_FIELD("mountTag", "Tag", STRING, share.tag, .value = "TAG", .required = true,                    \
                  .max = VMC_VIRTIO_FS_TAG_MAX),                                                             \
        VMC_FIELD("readonly", "ReadOnly", FLAG, share.readonly),                                             \
        VMC_FIELD("uid", "User", NUMBER, share.uid, .value = "N", .preset = 1000),                           \
        VMC_FIELD("gid", "Group", NUMBER, share.gid, .value = "N", .preset = 1000)

static const VmcField fs_fields[] = {
    SHARE_FIELDS,
    VMC_FIELD("cache", "Cache", CHOICE, share.cache, .choices = cache_words),
    VMC_FIELD("queues", "Queues", NUMBER, share.queues, .value = "N", .min = 1,
              .max = VMC_VIRTIO_FS_QUEUES_MAX, .automatic = true),
};

static const VmcField p9_fields[] = {SHARE_FIELDS};

const VmcDeviceKindOps vmc_kind_fs = {
    .info = {.name = "virtio-fs",
             .key = "VirtioFileSystem",
             .help = N_("shared folder"),
             VMC_FIELDS(fs_fields)},
    .pci = true,
    .check = check_share,
    .make = make_fs,
};

const VmcDeviceKindOps vmc_kind_9p = {
    .info = {.name = "virtio-9p",
             .key = "Virtio9P",
             .help = N_("shared folder, for guests that know only 9P"),
             VMC_FIELDS(p9_fields)},
    .pci = true,
    .check = check_share,
    .make = make_9p,
};
