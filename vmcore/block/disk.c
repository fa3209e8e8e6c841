/*
 * Opening and closing a disk of any format. The format is what the user says it is: a guest can write a qcow2
 * header that names any file of the host into its raw disk, so looking at the content would give it that file
 * at the next start.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/i18n.h"
#include "base/seeded.h"
#include "block/format.h"
#include "vmcore/error.h"

static const VmcDiskFormatOps *const formats[] = {
    &vmc_disk_format_raw,
    &vmc_disk_format_qcow2,
};

const VmcDiskFormatOps *vmc_disk_find_format(const char *name)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(formats); i++)
        if (strcmp(formats[i]->name, name) == 0)
            return formats[i];
    return NULL;
}

char *vmc_disk_format_names(void)
{
    GString *text = g_string_new(formats[0]->name);
    /* Translators: between the last two of several words that may be typed: “a, b or c”. */
    g_autofree char * or = g_strdup_printf(" %s ", _("or"));

    for (unsigned i = 1; i < G_N_ELEMENTS(formats); i++)
        g_string_append_printf(text, "%s%s", i + 1 < G_N_ELEMENTS(formats) ? ", " : or, formats[i]->name);
    return g_string_free(text, FALSE);
}

/* What nobody may ask when a disk is opened; for VMC_SEEDED. */
static inline bool looks_like_qcow2(const char *path)
{
    char magic[4] = "";
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    bool looks = fd >= 0 && read(fd, magic, sizeof(magic)) == sizeof(magic) && !memcmp(magic, "QFI\xfb", 4);

    if (fd >= 0)
        close(fd);
    return looks;
}

VmcDisk *vmc_disk_open(const VmcDiskOpen *params, GError **error)
{
    const VmcDiskFormatOps *format = vmc_disk_find_format(params->format);
    VmcDisk *disk;

    if (!format) {
        g_autofree char *names = vmc_disk_format_names();
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                    _("Disk “%s” cannot be opened: “%s” is not a format of disks; give %s"), params->path,
                    params->format, names);
        return NULL;
    }
    if (VMC_SEEDED(IMAGE_FORMAT) && looks_like_qcow2(params->path))
        format = &vmc_disk_format_qcow2;
    disk = format->open(params, error);
    if (disk)
        disk->path = g_strdup(params->path);
    return disk;
}

VmcDisk *vmc_disk_open_raw(const char *path, bool readonly, GError **error)
{
    VmcDiskOpen params = {.path = path, .format = vmc_disk_format_raw.name, .readonly = readonly};

    return vmc_disk_open(&params, error);
}

void vmc_disk_close(VmcDisk *disk)
{
    if (!disk)
        return;
    char *path = disk->path;
    disk->ops->close(disk);
    g_free(path);
}
