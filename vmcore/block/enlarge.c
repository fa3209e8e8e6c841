/* Making an image larger that no machine uses (vmcore/disk.h); for one in use see change.h. */
#include <errno.h>

#include "base/i18n.h"
#include "block/disk.h"
#include "vmcore/error.h"

static bool failed(GError **error, const char *path, VmcError code, const char *why)
{
    g_set_error(error, VMC_ERROR, code, _("Disk “%s” cannot be made larger: %s"), path, why);
    return false;
}

bool vmc_disk_enlarge(const char *path, const char *format, uint64_t size, GError **error)
{
    const VmcDiskOpen params = {.path = path, .format = format, .backing = true};

    if (!size || size % VMC_DISK_SECTOR || size > INT64_MAX)
        return failed(error, path, VMC_ERROR_CONFIG, _("its size must be a multiple of 512 bytes"));
    VmcDisk *disk = vmc_disk_open(&params, error);
    if (!disk)
        return false;
    bool good = true;
    if (size > disk->size) {
        int err = vmc_disk_can_grow(disk) ? vmc_disk_grow(disk, size) : -ENOTSUP;
        if (!err)
            err = vmc_disk_flush(disk);
        if (err)
            good = failed(error, path, VMC_ERROR_RESOURCE, g_strerror(-err));
    }
    vmc_disk_close(disk);
    return good;
}
