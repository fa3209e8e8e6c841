/*
 * A descriptor is a small JSON text about one firmware. All that is asked of it is whether it has the string
 * "requires-smm", and a string that names our file; so strings are looked at, whatever they are in. A file is
 * known by its inode, for distributions have links under several names to the same code.
 */
#include "boot/smm.h"

#include <string.h>
#include <sys/stat.h>

#include "base/i18n.h"
#include "boot/efi.h"
#include "vmcore/error.h"

#define DESCRIPTOR_MAX (64u << 10)

static bool names_file(const char *text, const struct stat *code)
{
    g_auto(GStrv) parts = g_strsplit(text, "\"", -1);
    struct stat st;

    for (unsigned i = 0; parts[i]; i++)
        if (parts[i][0] == '/' && !stat(parts[i], &st) && st.st_dev == code->st_dev &&
            st.st_ino == code->st_ino)
            return true;
    return false;
}

static bool wants_smm(const char *path, const struct stat *code)
{
    g_autofree char *text = NULL;
    struct stat st;

    return !stat(path, &st) && S_ISREG(st.st_mode) && st.st_size <= DESCRIPTOR_MAX &&
           g_file_get_contents(path, &text, NULL, NULL) && strstr(text, "\"requires-smm\"") &&
           names_file(text, code);
}

static bool folder_wants_smm(const char *folder, const struct stat *code)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        if (g_str_has_suffix(name, ".json") && wants_smm(path, code))
            return true;
    }
    return false;
}

bool vmc_efi_check_smm(const char *code, const char *const *folders, GError **error)
{
    g_autofree char *own = g_build_filename(g_get_user_config_dir(), "qemu", "firmware", NULL);
    const char *usual[] = {own, "/etc/qemu/firmware", "/usr/share/qemu/firmware", NULL};
    g_autofree char *right = NULL, *variables = NULL;
    struct stat st;
    bool wanted = false;

    if (stat(code, &st))
        return true; /* whoever opens it says so */
    for (folders = folders ? folders : usual; *folders && !wanted; folders++)
        wanted = folder_wants_smm(*folders, &st);
    if (!wanted)
        return true;
    if (!vmc_efi_find(NULL, &right, &variables, NULL))
        g_set_error(
            error, VMC_ERROR, VMC_ERROR_IMAGE,
            _("the firmware “%s” cannot be used: it needs System Management Mode (for Secure Boot), which "
              "this machine does not have; give the build without Secure Boot"),
            code);
    else
        g_set_error(
            error, VMC_ERROR, VMC_ERROR_IMAGE,
            _("the firmware “%s” cannot be used: it needs System Management Mode (for Secure Boot), which "
              "this machine does not have; give %s"),
            code, right);
    return false;
}
