/* A check of this computer (see check.h): one function for each thing that is looked at. */
#include "app/check.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gi18n.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <unistd.h>
#include <vmcore/cpu.h>

#define GIB         (1ull << 30)
#define MEMORY_GOOD (4 * GIB)
#define MEMORY_POOR (2 * GIB)
#define ROOM_GOOD   (40 * GIB)
#define ROOM_POOR   (5 * GIB)

static void line_free(gpointer data)
{
    EspCheckLine *line = data;

    g_free(line->finding);
    g_free(line->advice);
    g_free(line);
}

/* Takes the finding over. */
static void add(GPtrArray *lines, const char *id, const char *name, EspCheckLevel level, char *finding,
                const char *advice)
{
    EspCheckLine *line = g_new(EspCheckLine, 1);

    *line = (EspCheckLine){id, name, level, finding, g_strdup(advice)};
    g_ptr_array_add(lines, line);
}

/* ---- processor, KVM, memory ---- */

/* As /proc/cpuinfo has it, or NULL. */
static char *cpu_model(void)
{
    g_autofree char *text = NULL;

    if (!g_file_get_contents("/proc/cpuinfo", &text, NULL, NULL))
        return NULL;
    g_auto(GStrv) rows = g_strsplit(text, "\n", 100);
    for (guint i = 0; rows[i]; i++) {
        const char *colon = strchr(rows[i], ':');
        if (colon && g_str_has_prefix(rows[i], "model name"))
            return g_strstrip(g_strdup(colon + 1));
    }
    return NULL;
}

static void check_processor(GPtrArray *lines, const char *model)
{
    unsigned n = g_get_num_processors();
    char *finding =
        g_strdup_printf(ngettext("%s, with %u core or thread.", "%s, with %u cores or threads.", n),
                        model ? model : _("An unknown processor"), n);

    add(lines, "cpu", _("Processor"), n > 1 ? ESP_CHECK_GOOD : ESP_CHECK_WARNING, finding,
        n > 1 ? NULL : _("A virtual machine and this computer share one CPU, so both will be slow."));
}

/* What the probe says begins as the end of a sentence does, and already says what to do. */
static char *sentence(const char *text)
{
    gunichar first = g_unichar_toupper(g_utf8_get_char(text));
    char start[7] = "";

    g_unichar_to_utf8(first, start);
    return g_strdup_printf("%s%s%s", start, g_utf8_next_char(text), g_str_has_suffix(text, ".") ? "" : ".");
}

static void check_kvm(GPtrArray *lines)
{
    g_autofree char *reason = NULL;
    bool works = vmc_cpu_kvm_probe(&reason);

    add(lines, "kvm", _("Hardware virtualisation"), works ? ESP_CHECK_GOOD : ESP_CHECK_WARNING,
        sentence(reason && *reason ? reason : _("KVM cannot be used.")),
        works ? NULL : _("Until then machines run on Espalier’s own software CPU, which is slower."));
}

static guint64 memory_row(const char *text, const char *name)
{
    const char *row = strstr(text, name);

    return row ? g_ascii_strtoull(row + strlen(name), NULL, 10) * 1024 : 0;
}

static void check_memory(GPtrArray *lines)
{
    g_autofree char *text = NULL;

    g_file_get_contents("/proc/meminfo", &text, NULL, NULL);
    guint64 total = text ? memory_row(text, "MemTotal:") : 0,
            available = text ? memory_row(text, "MemAvailable:") : 0;
    g_autofree char *all = g_format_size_full(total, G_FORMAT_SIZE_IEC_UNITS);
    g_autofree char *free_now = g_format_size_full(available, G_FORMAT_SIZE_IEC_UNITS);

    add(lines, "memory", _("Memory"), available >= MEMORY_GOOD ? ESP_CHECK_GOOD : ESP_CHECK_WARNING,
        g_strdup_printf(_("%s, of which %s are available."), all, free_now),
        available >= MEMORY_GOOD ? NULL
        : available >= MEMORY_POOR
            ? _("That is enough for small machines; most systems want 4 GiB for themselves.")
            : _("That is little for a virtual machine: close other programs first."));
}

/* ---- disk ---- */

/* The folder itself, or the first above it that there is. */
static char *existing(const char *path)
{
    char *at = g_canonicalize_filename(path, NULL);

    while (!g_file_test(at, G_FILE_TEST_IS_DIR) && strcmp(at, "/") != 0) {
        char *parent = g_path_get_dirname(at);
        g_free(at);
        at = parent;
    }
    return at;
}

static void check_room(GPtrArray *lines, const char *library)
{
    g_autofree char *folder = existing(library), *shown = g_filename_display_name(folder);
    struct statvfs room;
    int err = statvfs(folder, &room) ? errno : 0;
    guint64 bytes = err ? 0 : (guint64)room.f_bavail * room.f_frsize;
    g_autofree char *size = g_format_size_full(bytes, G_FORMAT_SIZE_DEFAULT);

    if (err || access(folder, W_OK)) {
        if (!err)
            err = errno;
        add(lines, "disk", _("Disk"), ESP_CHECK_PROBLEM,
            g_strdup_printf(_("Nothing can be written to “%s”, where the machines are: %s."), shown,
                            g_strerror(err)),
            _("Machines cannot be made or run before that is mended: see whose folder it is, and whether the "
              "disk "
              "may only be read."));
        return;
    }
    add(lines, "disk", _("Disk"),
        bytes >= ROOM_GOOD   ? ESP_CHECK_GOOD
        : bytes >= ROOM_POOR ? ESP_CHECK_WARNING
                             : ESP_CHECK_PROBLEM,
        g_strdup_printf(_("%s are free where the machines are (%s)."), size, shown),
        bytes >= ROOM_GOOD
            ? NULL
            : _("A system takes 5 to 60 GB: make room before you install one, or the disk may be full "
                "in the middle of it."));
}

/* ---- sound, display, firmware ---- */

static bool answers(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd;
    bool good;

    if (g_strlcpy(address.sun_path, path, sizeof(address.sun_path)) >= sizeof(address.sun_path))
        return false;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    good = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    if (fd >= 0)
        close(fd);
    return good;
}

static void check_sound(GPtrArray *lines)
{
    const char *server = g_getenv("PULSE_SERVER");
    g_autofree char *native = g_build_filename(g_get_user_runtime_dir(), "pulse", "native", NULL);
    const char *path = server && g_str_has_prefix(server, "unix:") ? server + strlen("unix:") : native;
    bool remote = server && *server && !g_str_has_prefix(server, "unix:");
    bool works = remote || answers(path);

    add(lines, "sound", _("Sound"), works ? ESP_CHECK_GOOD : ESP_CHECK_WARNING,
        g_strdup(works ? _("There is a sound server.")
                       : _("There is no sound server (PulseAudio or PipeWire).")),
        works ? NULL : _("Machines are silent until there is one; everything else works."));
}

static bool has_render_node(void)
{
    GDir *dir = g_dir_open("/dev/dri", 0, NULL);
    bool found = false;
    const char *entry;

    while (dir && !found && (entry = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename("/dev/dri", entry, NULL);
        found = g_str_has_prefix(entry, "renderD") && access(path, R_OK | W_OK) == 0;
    }
    if (dir)
        g_dir_close(dir);
    return found;
}

static void check_display(GPtrArray *lines)
{
    const char *wayland = g_getenv("WAYLAND_DISPLAY"), *x11 = g_getenv("DISPLAY");
    bool display = (wayland && *wayland) || (x11 && *x11);

    if (!display)
        add(lines, "display", _("Display"), ESP_CHECK_WARNING, g_strdup(_("There is no display here.")),
            _("Machines run without one: espalierctl starts them, and a window can be opened later."));
    else if (has_render_node())
        add(lines, "display", _("Display"), ESP_CHECK_GOOD,
            g_strdup(_("There is a display, with a graphics card that draws for it.")), NULL);
    else
        add(lines, "display", _("Display"), ESP_CHECK_WARNING,
            g_strdup(_("There is a display, but no graphics card that may be used.")),
            _("The processor draws the screens of machines instead, which costs some of its time."));
}

static void check_firmware(GPtrArray *lines)
{
    static const char *const files[] = {
        "/usr/share/OVMF/OVMF_CODE_4M.fd",      "/usr/share/OVMF/OVMF_CODE.fd",
        "/usr/share/edk2/ovmf/OVMF_CODE.fd",    "/usr/share/edk2/x64/OVMF_CODE.4m.fd",
        "/usr/share/qemu/ovmf-x86_64-code.bin",
    };
    bool found = false;

    for (size_t i = 0; i < G_N_ELEMENTS(files); i++)
        found = found || access(files[i], R_OK) == 0;
    add(lines, "firmware", _("Firmware"), found ? ESP_CHECK_GOOD : ESP_CHECK_WARNING,
        g_strdup(found ? _("UEFI firmware for virtual machines is installed.")
                       : _("There is no UEFI firmware for virtual machines.")),
        found ? NULL : _("Install the package “ovmf” (“edk2-ovmf” elsewhere): most systems start by it."));
}

GPtrArray *esp_check_run(const char *library)
{
    GPtrArray *lines = g_ptr_array_new_with_free_func(line_free);
    g_autofree char *model = cpu_model();

    check_processor(lines, model);
    check_kvm(lines);
    check_memory(lines);
    check_room(lines, library);
    check_firmware(lines);
    check_display(lines);
    check_sound(lines);
    return lines;
}

EspCheckLevel esp_check_worst(GPtrArray *lines)
{
    EspCheckLevel worst = ESP_CHECK_GOOD;

    for (guint i = 0; i < lines->len; i++)
        worst = MAX(worst, ((EspCheckLine *)lines->pdata[i])->level);
    return worst;
}
