/*
 * Disk images from the command line: made, looked at, kept as snapshots, cloned.
 *
 * The work is vmcore's (vmcore/disk.h); here are words in and sentences out. A disk that a machine uses is
 * refused; the snapshot of a running machine's disk is an action of that device.
 */
#include "app/ctl/disk.h"

#include <glib/gi18n.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <vmcore/disk.h>

#include "app/ctl/output.h"
#include "app/ctl/run.h"
#include "app/words.h"

typedef struct Options {
    char *format, *backing, *backing_format, *snapshot, *cluster_size;
} Options;

static int say_error(GError *error)
{
    esp_ctl_say("%s", error->message);
    g_error_free(error);
    return ESP_EXIT_FAILED;
}

/* "20G": bytes, or with K, M, G, T behind it that many of these. False: it is none. */
static bool parse_size(const char *text, guint64 *bytes)
{
    static const char units[] = "KMGT";
    char *end;
    guint64 number = g_ascii_strtoull(text, &end, 10);
    unsigned shift = 0;

    if (end == text || !g_ascii_isdigit(*text))
        return false;
    if (*end) {
        const char *unit = strchr(units, g_ascii_toupper(*end));
        if (!unit || end[1])
            return false;
        shift = 10 * (unsigned)(unit - units + 1);
    }
    *bytes = number << shift;
    return *bytes >> shift == number;
}

/* ---- commands: each has its words, and returns the exit status ---- */

static int create(char **words, const Options *options)
{
    VmcDiskCreate params = {.backing = options->backing, .backing_format = options->backing_format};
    guint64 cluster = 0;
    GError *error = NULL;

    if (words[1] ? !parse_size(words[1], &params.size) : !options->backing) {
        esp_ctl_say(_("“%s” is no size of a disk; give bytes, or a number with K, M, G or T, such as 64G"),
                    words[1] ? words[1] : "");
        return ESP_EXIT_USAGE;
    }
    if (options->cluster_size && (!parse_size(options->cluster_size, &cluster) || cluster > G_MAXUINT32)) {
        esp_ctl_say(_("“%s” is no size of a cluster; give a power of two, such as 64K"),
                    options->cluster_size);
        return ESP_EXIT_USAGE;
    }
    params.cluster_size = (uint32_t)cluster;
    if (!vmc_disk_create(words[0], options->format ? options->format : "qcow2", &params, &error))
        return say_error(error);
    return ESP_EXIT_OK;
}

/* The headings of what is known of an image, as wide as the widest of them. */
enum { FORMAT, SIZE, TAKES, LIES_ON, CLUSTERS, INSIDE, DIRTY, CORRUPT, HEADINGS };
static const char *const headings[HEADINGS] = {
    [FORMAT] = N_("format:"),
    [SIZE] = N_("size:"),
    /* Translators: how much room the image takes on this computer. */
    [TAKES] = N_("takes:"),
    /* Translators: the image below, of which this one holds what has changed. */
    [LIES_ON] = N_("lies on:"),
    [CLUSTERS] = N_("clusters:"),
    /* Translators: snapshots inside of the image. */
    [INSIDE] = N_("inside:"),
    [DIRTY] = N_("dirty:"),
    [CORRUPT] = N_("corrupt:"),
};

static void print_about(unsigned heading, const char *text)
{
    int width = 0;

    for (unsigned i = 0; i < HEADINGS; i++)
        width = MAX(width, esp_text_width(_(headings[i])));
    esp_output_cell(_(headings[heading]), width);
    printf("   %s\n", text);
}

static char *bytes_text(uint64_t bytes)
{
    g_autofree char *text = g_format_size_full(bytes, G_FORMAT_SIZE_IEC_UNITS);

    return g_strdup_printf(ngettext("%s (%" PRIu64 " byte)", "%s (%" PRIu64 " bytes)", bytes), text, bytes);
}

static void print_bytes(unsigned heading, uint64_t bytes)
{
    g_autofree char *text = bytes_text(bytes);

    print_about(heading, text);
}

static int info(char **words, const Options *options)
{
    VmcDiskInfo about;
    GError *error = NULL;

    if (!vmc_disk_info(words[0], options->format, &about, &error))
        return say_error(error);
    print_about(FORMAT, about.format);
    print_bytes(SIZE, about.size);
    print_bytes(TAKES, about.allocated);
    if (about.backing) {
        g_autofree char *text = g_strdup_printf(
            "%s (%s)", about.backing, about.backing_format ? about.backing_format : _("format not said"));
        print_about(LIES_ON, text);
    }
    if (about.cluster_size) {
        /* Translators: of how many bytes, and the version of the qcow2 format. */
        g_autofree char *text =
            g_strdup_printf(_("%" PRIu64 " bytes, version %u"), about.cluster_size, about.version);
        print_about(CLUSTERS, text);
    }
    if (about.snapshots) {
        g_autofree char *text = g_strdup_printf(
            ngettext("%u snapshot of another program", "%u snapshots of another program", about.snapshots),
            about.snapshots);
        print_about(INSIDE, text);
    }
    if (about.dirty)
        print_about(DIRTY, _("its refcounts are put right when it is used next"));
    if (about.corrupt)
        print_about(CORRUPT, _("it can only be read; repair it with qemu-img check -r all"));
    vmc_disk_info_clear(&about);
    return ESP_EXIT_OK;
}

static const char *name_of(GPtrArray *list, unsigned number)
{
    for (guint i = 0; i < list->len; i++) {
        const VmcSnapshot *snapshot = g_ptr_array_index(list, i);
        if (snapshot->number == number)
            return snapshot->name;
    }
    return NULL;
}

static int snapshots(char **words, const Options *options)
{
    GError *error = NULL;
    GPtrArray *list = vmc_snapshots_list(words[0], &error);

    if (!list)
        return say_error(error);
    for (guint i = 0; i < list->len; i++) {
        const VmcSnapshot *snapshot = g_ptr_array_index(list, i);
        g_autoptr(GDateTime) time = g_date_time_new_from_unix_local(snapshot->time);
        g_autofree char *when = time ? g_date_time_format(time, "%F %T") : g_strdup("");
        const char *parent = name_of(list, snapshot->parent);
        printf("%s %-19s  ", snapshot->current ? "*" : " ", when);
        if (parent) /* Translators: a snapshot, and the one on which it lies. */
            printf(_("%s (on %s)"), snapshot->name, parent);
        else
            fputs(snapshot->name, stdout);
        fputs("\n", stdout);
    }
    g_ptr_array_unref(list);
    return ESP_EXIT_OK;
}

static int snapshot(char **words, const Options *options)
{
    GError *error = NULL;

    return vmc_snapshot_take(words[0], words[1], &error) ? ESP_EXIT_OK : say_error(error);
}

static int go_back(char **words, const Options *options)
{
    GError *error = NULL;

    return vmc_snapshot_go_back(words[0], words[1], &error) ? ESP_EXIT_OK : say_error(error);
}

static int delete (char **words, const Options *options)
{
    GError *error = NULL;

    return vmc_snapshot_delete(words[0], words[1], &error) ? ESP_EXIT_OK : say_error(error);
}

static int clone_disk(char **words, const Options *options)
{
    GError *error = NULL;

    return vmc_disk_clone(words[0], options->format ? options->format : "qcow2", options->snapshot, words[1],
                          &error)
               ? ESP_EXIT_OK
               : say_error(error);
}

static const struct {
    const char *name, *words, *help;
    int min, max; /* words */
    int (*run)(char **words, const Options *options);
} commands[] = {
    {"create", N_("FILE SIZE"),
     N_("make an image: qcow2, or --format raw; --backing FILE --backing-format F lays it on another"), 1, 2,
     create},
    {"info", N_("FILE"), N_("say what an image is"), 1, 1, info},
    {"snapshot", N_("FILE NAME"), N_("keep the disk as it is"), 2, 2, snapshot},
    {"snapshots", N_("FILE"), N_("list what was kept; * is what the disk lies on"), 1, 1, snapshots},
    {"go-back", N_("FILE NAME"), N_("make the disk what it was then; what was done since is lost"), 2, 2,
     go_back},
    {"delete-snapshot", N_("FILE NAME"), N_("forget a snapshot; the disk and all others stay as they are"), 2,
     2, delete},
    {"clone", N_("FILE NEW"),
     N_("make a disk that shares with this one what neither changes; --snapshot NAME"), 2, 2, clone_disk},
};

static void print_help(void)
{
    int width = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
        width = MAX(width, esp_text_width(_(commands[i].words)));
    fputs(_("Usage: espalierctl disk COMMAND FILE [WORD]... [OPTION]...\n"
            "Disk images, none of which a machine uses at the moment.\n"),
          stdout);
    fputs("\n", stdout);
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        printf("  %-15s ", commands[i].name);
        esp_output_cell(_(commands[i].words), width);
        printf("  %s\n", _(commands[i].help));
    }
    fputs("\n", stdout);
    fputs(_("  --format raw|qcow2          what the image is, or is to be (qcow2)\n"
            "  --backing FILE              create: the image below; as it is to be named in the new one\n"
            "  --backing-format raw|qcow2  create: what that is\n"
            "  --cluster-size SIZE         create: of a qcow2 image (64K)\n"
            "  --snapshot NAME             clone: as the disk was then\n"),
          stdout);
}

static int parse(int *argc, char ***argv, Options *options)
{
    gboolean help = FALSE;
    const GOptionEntry entries[] = {
        {"format", 0, 0, G_OPTION_ARG_STRING, &options->format, NULL, NULL},
        {"backing", 0, 0, G_OPTION_ARG_FILENAME, &options->backing, NULL, NULL},
        {"backing-format", 0, 0, G_OPTION_ARG_STRING, &options->backing_format, NULL, NULL},
        {"cluster-size", 0, 0, G_OPTION_ARG_STRING, &options->cluster_size, NULL, NULL},
        {"snapshot", 0, 0, G_OPTION_ARG_STRING, &options->snapshot, NULL, NULL},
        {"help", 'h', 0, G_OPTION_ARG_NONE, &help, NULL, NULL},
        G_OPTION_ENTRY_NULL,
    };
    GOptionContext *context = g_option_context_new(NULL);
    GError *error = NULL;

    g_option_context_set_help_enabled(context, FALSE);
    g_option_context_add_main_entries(context, entries, NULL);
    bool good = g_option_context_parse_strv(context, argv, &error);
    g_option_context_free(context);
    *argc = (int)g_strv_length(*argv);
    if (!good) {
        esp_ctl_say(_("%s; see espalierctl disk --help"), error->message);
        g_error_free(error);
        return ESP_EXIT_USAGE;
    }
    if (help) {
        print_help();
        return -1;
    }
    return ESP_EXIT_OK;
}

static int dispatch(int argc, char **argv, const Options *options)
{
    if (argc < 2) {
        esp_ctl_say(_("there is no command for the disk; give one, such as info, or --help"));
        return ESP_EXIT_USAGE;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        int words = argc - 2;
        if (strcmp(argv[1], commands[i].name) != 0)
            continue;
        if (words >= commands[i].min && words <= commands[i].max)
            return commands[i].run(argv + 2, options);
        /* Translators: a number, a command, and the words it needs, such as FILE NAME. */
        esp_ctl_say(ngettext("%d word cannot follow “%s”; give %s", "%d words cannot follow “%s”; give %s",
                             (gulong)words),
                    words, commands[i].name, _(commands[i].words));
        return ESP_EXIT_USAGE;
    }
    esp_ctl_say(_("there is no command “%s” for disks; see espalierctl disk --help"), argv[1]);
    return ESP_EXIT_USAGE;
}

int esp_ctl_disk(int argc, char **argv)
{
    Options options = {0};
    char **words = g_new0(char *, (gsize)argc + 2);

    words[0] = g_strdup("espalierctl disk"); /* where GOption expects the program */
    for (int i = 0; i < argc; i++)
        words[i + 1] = g_strdup(argv[i]);
    int status = parse(&argc, &words, &options);
    if (status == ESP_EXIT_OK)
        status = dispatch(argc, words, &options);
    g_strfreev(words);
    g_free(options.format);
    g_free(options.backing);
    g_free(options.backing_format);
    g_free(options.cluster_size);
    g_free(options.snapshot);
    return status < 0 ? ESP_EXIT_OK : status;
}
