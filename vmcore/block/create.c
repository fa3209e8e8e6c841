/*
 * Making images, and saying what one is.
 *
 * A new image is made under another name in the same folder, synced, and linked to its own name, which fails
 * if there is something already; so whoever finds the name finds a whole image, and nothing is overwritten.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "block/create.h"
#include "base/i18n.h"
#include "block/format.h"
#include "vmcore/error.h"

static bool failed(GError **error, const char *path, int err)
{
    if (err == EEXIST)
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                    _("Disk “%s” is there already: choose another name, or move that one away"), path);
    else
        g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE, _("Disk “%s” cannot be made: %s"), path,
                    g_strerror(err));
    return false;
}

static bool no_format(GError **error, const char *path, const char *format)
{
    g_autofree char *names = vmc_disk_format_names();

    g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                _("Disk “%s” cannot be made: “%s” is not a format of disks; give %s"), path, format, names);
    return false;
}

bool vmc_sync_folder_of(const char *path)
{
    g_autofree char *folder = g_path_get_dirname(path);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = fd >= 0 && !fsync(fd);

    if (fd >= 0)
        close(fd);
    return good;
}

/* The size of the image below, which is opened to see that it is one. */
static bool measure_backing(const char *path, const VmcDiskCreate *params, uint64_t *size, GError **error)
{
    g_autofree char *folder = g_path_get_dirname(path);
    g_autofree char *below = g_path_is_absolute(params->backing)
                                 ? g_strdup(params->backing)
                                 : g_build_filename(folder, params->backing, NULL);
    VmcDiskInfo info;

    if (!vmc_disk_info(below, params->backing_format, &info, error))
        return false;
    *size = info.size / VMC_DISK_SECTOR * VMC_DISK_SECTOR;
    vmc_disk_info_clear(&info);
    return true;
}

static bool check(const char *path, const VmcDiskFormatOps *format, VmcDiskCreate *params, GError **error)
{
    const char *what = NULL;

    if (params->backing && (!params->backing_format || format != &vmc_disk_format_qcow2))
        what = params->backing_format ? _("only qcow2 can lie on top of another image")
                                      : _("say which format the image below it has");
    if (!what && params->backing && !params->size && !measure_backing(path, params, &params->size, error))
        return false;
    if (!what && (!params->size || params->size % VMC_DISK_SECTOR || params->size > INT64_MAX))
        what = _("its size must be a multiple of 512 bytes, and at least that");
    if (!what)
        return true;
    g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG, _("Disk “%s” cannot be made: %s"), path, what);
    return false;
}

bool vmc_disk_create_temporary(const char *path, const char *format_name, const VmcDiskCreate *params,
                               char **temporary, GError **error)
{
    const VmcDiskFormatOps *format = vmc_disk_find_format(format_name);
    VmcDiskCreate wanted = *params;

    if (!format)
        return no_format(error, path, format_name);
    if (!check(path, format, &wanted, error))
        return false;
    *temporary = g_strdup_printf("%s.XXXXXX", path);
    int fd = g_mkstemp_full(*temporary, O_RDWR | O_CLOEXEC, 0666);
    bool good = fd >= 0 || failed(error, path, errno);
    good = good && format->create(fd, path, &wanted, error);
    if (good && fsync(fd))
        good = failed(error, path, errno);
    if (fd >= 0) {
        close(fd);
        if (!good)
            unlink(*temporary);
    }
    if (!good)
        g_clear_pointer(temporary, g_free);
    return good;
}

/* Gives the file its name unless that is taken. */
static int name_it(const char *temporary, const char *path)
{
    if (!renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_NOREPLACE))
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return errno;
    if (link(temporary, path)) /* a file system or kernel without it */
        return errno;
    unlink(temporary);
    return 0;
}

bool vmc_disk_publish(const char *temporary, const char *path, GError **error)
{
    int err = name_it(temporary, path);

    if (err) {
        unlink(temporary);
        return failed(error, path, err);
    }
    return vmc_sync_folder_of(path) || failed(error, path, errno);
}

bool vmc_disk_create(const char *path, const char *format, const VmcDiskCreate *params, GError **error)
{
    g_autofree char *temporary = NULL;

    if (!access(path, F_OK))
        return failed(error, path, EEXIST);
    return vmc_disk_create_temporary(path, format, params, &temporary, error) &&
           vmc_disk_publish(temporary, path, error);
}

/* ---- what an image is ---- */

static const VmcDiskFormatOps *recognise(int fd)
{
    static const uint8_t qcow2[4] = {'Q', 'F', 'I', 0xfb};
    uint8_t magic[4];

    return pread(fd, magic, sizeof(magic), 0) == sizeof(magic) && memcmp(magic, qcow2, sizeof(magic)) == 0
               ? &vmc_disk_format_qcow2
               : &vmc_disk_format_raw;
}

bool vmc_disk_info(const char *path, const char *format_name, VmcDiskInfo *info, GError **error)
{
    const VmcDiskFormatOps *format = format_name ? vmc_disk_find_format(format_name) : NULL;
    struct stat st;

    memset(info, 0, sizeof(*info));
    if (format_name && !format)
        return no_format(error, path, format_name);
    int fd = vmc_disk_file_look(path, &st, error);
    if (fd < 0)
        return false;
    if (!format)
        format = recognise(fd);
    info->format = format->name;
    info->allocated = (uint64_t)st.st_blocks * 512;
    bool good = format->info(fd, path, info, error);
    close(fd);
    return good;
}

void vmc_disk_info_clear(VmcDiskInfo *info)
{
    g_free(info->backing);
    g_free(info->backing_format);
    memset(info, 0, sizeof(*info));
}
