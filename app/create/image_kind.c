/* What a file is that shall become a disk (see image_kind.h). */
#include "app/create/image_kind.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gi18n.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/create/creation.h"

#define HEAD_BYTES 36864u /* up to the first descriptor of a disc, at 32 KiB */

static const struct {
    size_t at;
    const char *bytes;
    size_t n;
    EspImageKind kind;
    const char *what;
} magics[] = {
    {0, "QFI\xfb", 4, ESP_IMAGE_QCOW2, NULL},
    {0, "\x1f\x8b", 2, ESP_IMAGE_COMPRESSED, NULL},
    {0,
     "\xfd"
     "7zXZ",
     6, ESP_IMAGE_COMPRESSED, NULL},
    {0, "\x28\xb5\x2f\xfd", 4, ESP_IMAGE_COMPRESSED, NULL},
    {0, "BZh", 3, ESP_IMAGE_COMPRESSED, NULL},
    {0, "KDMV", 4, ESP_IMAGE_FOREIGN, "VMDK"},
    {0, "# Disk DescriptorFile", 21, ESP_IMAGE_FOREIGN, "VMDK"},
    {0, "vhdxfile", 8, ESP_IMAGE_FOREIGN, "VHDX"},
    {0, "conectix", 8, ESP_IMAGE_FOREIGN, "VHD"},
    {0x40, "\x7f\x10\xda\xbe", 4, ESP_IMAGE_FOREIGN, "VDI"},
    {32769, "CD001", 5, ESP_IMAGE_ISO, NULL},
    {512, "EFI PART", 8, ESP_IMAGE_RAW, NULL},
    {4096, "EFI PART", 8, ESP_IMAGE_RAW, NULL},
    {510, "\x55\xaa", 2, ESP_IMAGE_RAW, NULL},
};

/* How a text begins that is meant for a browser. */
static bool is_page(const char *head, size_t n)
{
    size_t at = n >= 3 && !memcmp(head, "\xef\xbb\xbf", 3) ? 3 : 0;

    while (at < n && g_ascii_isspace(head[at]))
        at++;
    static const char *const begins[] = {"<!doctype", "<html", "<?xml", "<head"};
    for (size_t i = 0; i < G_N_ELEMENTS(begins); i++)
        if (n - at >= strlen(begins[i]) && !g_ascii_strncasecmp(head + at, begins[i], strlen(begins[i])))
            return true;
    return false;
}

static EspImageKind judge(const char *head, size_t n, const char **what)
{
    for (size_t i = 0; i < G_N_ELEMENTS(magics); i++)
        if (magics[i].at + magics[i].n <= n && !memcmp(head + magics[i].at, magics[i].bytes, magics[i].n)) {
            *what = magics[i].what;
            return magics[i].kind;
        }
    return is_page(head, n) ? ESP_IMAGE_PAGE : ESP_IMAGE_UNKNOWN;
}

bool esp_image_kind(const char *path, EspImageKind *kind, const char **what, GError **error)
{
    g_autofree char *head = g_malloc0(HEAD_BYTES);
    const char *name = NULL;
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode) ? pread(fd, head, HEAD_BYTES, 0) : -1;

    if (n < 0) {
        g_autofree char *shown = g_filename_display_name(path);
        g_set_error(error, ESP_CREATION_ERROR, ESP_CREATION_ERROR_SOURCE, _("“%s” cannot be read: %s"), shown,
                    fd >= 0 ? _("it is not a file") : g_strerror(errno));
    } else {
        *kind = judge(head, (size_t)n, &name);
    }
    if (fd >= 0)
        close(fd);
    if (what)
        *what = name;
    return n >= 0;
}
