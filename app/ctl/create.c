/*
 * A new machine from the command line, by the same job that the assistant runs.
 *
 * Everything that is wrong with the words is said before anything is touched. SIGINT and SIGTERM end the
 * making; what has been done is kept, and --continue goes on with it.
 */
#include "app/ctl/create.h"

#include <glib/gi18n.h>
#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/create/create.h"
#include "app/create/credentials.h"
#include "app/create/host_limits.h"
#include "app/ctl/output.h"
#include "app/ctl/run.h"
#include "app/library.h"
#include "app/region.h"
#include "app/words.h"

/* Names stand as they are. */
static const char *const help_text[] = {
    N_("Usage: espalierctl create KIND --name NAME [OPTION]...\n"
       "       espalierctl create --continue|--discard [--name NAME]"),
    N_("Makes a virtual machine in the library."),
    "",
    N_("What it is to be, one of:"),
    N_("  --linux           Linux from a cloud image, set up without questions; needs --image, --user and "
       "one of\n"
       "                    --ssh-key and --password-file"),
    N_("  --iso FILE|LINK   an empty disk, and an installer's disc to boot from"),
    N_("  --import FILE     a disk that there is already (qcow2 or raw, also packed by gzip, xz or zstd)"),
    N_("  --demo            the demo guest"),
    N_("Options:"),
    N_("  --name NAME       its name"),
    N_("  --image IMAGE     --linux: a file, a link, or one of --list-images"),
    N_("  --sums LINK       a list of check sums that has the image's"),
    N_("  --system linux|other   --iso, --import: what will be in it (linux)"),
    N_("  --cpus N  --memory MIB  --disk GIB   what it gets"),
    N_("  --user NAME       the first user, with --full-name TEXT"),
    N_("  --ssh-key FILE|KEY     a public key that may log in as that user"),
    N_("  --password-file FILE   the user's password is the first line of FILE; - is standard input"),
    N_("  --locale LOCALE   such as de_CH.UTF-8 (as on this computer)"),
    N_("  --keyboard LAYOUT[:VARIANT]   as xkb calls them, such as ch:fr; --keyboard-type ansi|iso|jis"),
    N_("  --timezone ZONE   such as Europe/Zurich"),
    N_("  --share FOLDER    shared with the guest under the tag “shared”; --share-read-only"),
    N_("  --clipboard both|to-guest|to-host|off"),
    N_("  --dry-run         say what would be made, and make nothing"),
    N_("  --list-images     the images that --image knows by name"),
    N_("  --continue        go on with a machine whose making was cancelled or interrupted"),
    N_("  --discard         throw away what there is of such a machine"),
    N_("  -h, --help        this text"),
    "",
    N_("Exit status: 0 it is made (its folder is printed), 1 it is not, 2 wrong options, 128+N ended by "
       "signal N."),
};

typedef struct Words {
    gboolean linux_, demo, dry_run, list, go_on, discard, help, share_readonly;
    char *iso, *import, *name, *image, *sums, *system, *user, *full_name, *ssh_key, *password_file, *locale,
        *keyboard, *keyboard_type, *zone, *share, *clipboard;
    int cpus, memory, disk;
} Words;

static void words_clear(Words *words)
{
    char *all[] = {words->iso,           words->import,        words->name,   words->image,
                   words->sums,          words->system,        words->user,   words->full_name,
                   words->ssh_key,       words->password_file, words->locale, words->keyboard,
                   words->keyboard_type, words->zone,          words->share,  words->clipboard};

    for (size_t i = 0; i < G_N_ELEMENTS(all); i++)
        g_free(all[i]);
}

static bool parse(int argc, char **argv, Words *words, GError **error)
{
    const GOptionEntry entries[] = {
        {"linux", 0, 0, G_OPTION_ARG_NONE, &words->linux_, NULL, NULL},
        {"iso", 0, 0, G_OPTION_ARG_FILENAME, &words->iso, NULL, NULL},
        {"import", 0, 0, G_OPTION_ARG_FILENAME, &words->import, NULL, NULL},
        {"demo", 0, 0, G_OPTION_ARG_NONE, &words->demo, NULL, NULL},
        {"name", 0, 0, G_OPTION_ARG_STRING, &words->name, NULL, NULL},
        {"image", 0, 0, G_OPTION_ARG_FILENAME, &words->image, NULL, NULL},
        {"sums", 0, 0, G_OPTION_ARG_STRING, &words->sums, NULL, NULL},
        {"system", 0, 0, G_OPTION_ARG_STRING, &words->system, NULL, NULL},
        {"cpus", 0, 0, G_OPTION_ARG_INT, &words->cpus, NULL, NULL},
        {"memory", 0, 0, G_OPTION_ARG_INT, &words->memory, NULL, NULL},
        {"disk", 0, 0, G_OPTION_ARG_INT, &words->disk, NULL, NULL},
        {"user", 0, 0, G_OPTION_ARG_STRING, &words->user, NULL, NULL},
        {"full-name", 0, 0, G_OPTION_ARG_STRING, &words->full_name, NULL, NULL},
        {"ssh-key", 0, 0, G_OPTION_ARG_FILENAME, &words->ssh_key, NULL, NULL},
        {"password-file", 0, 0, G_OPTION_ARG_FILENAME, &words->password_file, NULL, NULL},
        {"locale", 0, 0, G_OPTION_ARG_STRING, &words->locale, NULL, NULL},
        {"keyboard", 0, 0, G_OPTION_ARG_STRING, &words->keyboard, NULL, NULL},
        {"keyboard-type", 0, 0, G_OPTION_ARG_STRING, &words->keyboard_type, NULL, NULL},
        {"timezone", 0, 0, G_OPTION_ARG_STRING, &words->zone, NULL, NULL},
        {"share", 0, 0, G_OPTION_ARG_FILENAME, &words->share, NULL, NULL},
        {"share-read-only", 0, 0, G_OPTION_ARG_NONE, &words->share_readonly, NULL, NULL},
        {"clipboard", 0, 0, G_OPTION_ARG_STRING, &words->clipboard, NULL, NULL},
        {"dry-run", 0, 0, G_OPTION_ARG_NONE, &words->dry_run, NULL, NULL},
        {"list-images", 0, 0, G_OPTION_ARG_NONE, &words->list, NULL, NULL},
        {"continue", 0, 0, G_OPTION_ARG_NONE, &words->go_on, NULL, NULL},
        {"discard", 0, 0, G_OPTION_ARG_NONE, &words->discard, NULL, NULL},
        {"help", 'h', 0, G_OPTION_ARG_NONE, &words->help, NULL, NULL},
        G_OPTION_ENTRY_NULL,
    };
    g_auto(GStrv) list = g_new0(char *, (gsize)argc + 2);
    GOptionContext *context = g_option_context_new(NULL);

    list[0] = g_strdup("espalierctl create"); /* where GOption expects the program */
    for (int i = 0; i < argc; i++)
        list[i + 1] = g_strdup(argv[i]);
    g_option_context_set_help_enabled(context, FALSE);
    g_option_context_add_main_entries(context, entries, NULL);
    bool good = g_option_context_parse_strv(context, &list, error);
    g_option_context_free(context);
    if (good && list[1]) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, _("“%s” is not an option"), list[1]);
        good = false;
    }
    return good;
}

/* ---- words into a creation ---- */

static bool wrong(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

static bool wrong(GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *message = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "%s", message);
    return false;
}

static void set(char **place, const char *value)
{
    g_free(*place);
    *place = g_strdup(value);
}

/* A file as it is named here, or a link. */
static void set_source(EspCreation *creation, const char *source)
{
    set(&creation->source, source);
    if (esp_creation_is_download(creation))
        return;
    g_free(creation->source);
    creation->source = g_canonicalize_filename(source, NULL);
}

static void set_image(EspCreation *creation, const char *image)
{
    g_autoptr(GPtrArray) entries = esp_catalogue_list(ESP_GUEST_LINUX, NULL, NULL);
    const EspCatalogueEntry *entry = esp_catalogue_find(entries, image);

    if (entry)
        esp_creation_set_entry(creation, entry);
    else
        set_source(creation, image);
}

static bool choose(const char *option, const char *word, const char *const *words, unsigned *value,
                   GError **error)
{
    g_autofree char *all = esp_words_either(words);

    for (unsigned i = 0; words[i]; i++)
        if (!strcmp(words[i], word)) {
            *value = i;
            return true;
        }
    return wrong(error, _("--%s is “%s”; it should be %s"), option, word, all);
}

static bool set_numbers(EspCreation *creation, const Words *words, GError **error)
{
    if (words->cpus < 0 || words->memory < 0 || words->disk < 0)
        return wrong(error, _("--cpus, --memory and --disk are numbers above zero"));
    if (words->cpus)
        creation->cpus = (unsigned)words->cpus;
    if (words->memory)
        creation->memory_mib = (unsigned)words->memory;
    if (words->disk)
        creation->disk_gib = (unsigned)words->disk;
    return true;
}

static bool set_id(const char *option, const char *text, char **place, GError **error)
{
    if (text && !esp_region_is_id(text))
        return wrong(error, _("--%s cannot be “%s”"), option, text);
    if (text)
        set(place, text);
    return true;
}

static bool set_region(EspCreation *creation, const Words *words, GError **error)
{
    static const char *const types[] = {"ansi", "iso", "jis", NULL};
    g_auto(GStrv) keyboard = words->keyboard ? g_strsplit(words->keyboard, ":", 2) : NULL;
    EspRegion *region = &creation->region;

    if (!set_id("locale", words->locale, &region->locale, error) ||
        !set_id("timezone", words->zone, &region->time_zone, error))
        return false;
    if (words->locale && !keyboard) {
        set(&region->keyboard_layout, esp_keyboard_for_locale(words->locale, &creation->keyboard_type));
        set(&region->keyboard_variant, NULL);
    }
    if (keyboard && keyboard[0]) {
        if (!set_id("keyboard", keyboard[0], &region->keyboard_layout, error))
            return false;
        set(&region->keyboard_variant, NULL);
        if (keyboard[1] && !set_id("keyboard", keyboard[1], &region->keyboard_variant, error))
            return false;
    }
    return !words->keyboard_type ||
           choose("keyboard-type", words->keyboard_type, types, (unsigned *)&creation->keyboard_type, error);
}

static bool set_password(EspFirstUser *user, const char *file, GError **error)
{
    g_autofree char *text = NULL;

    if (!strcmp(file, "-")) {
        char line[512] = "";
        if (!fgets(line, sizeof(line), stdin))
            return wrong(error, _("there is no password on standard input"));
        text = g_strdup(line);
        explicit_bzero(line, sizeof(line));
    } else if (!g_file_get_contents(file, &text, NULL, error)) {
        return false;
    }
    text[strcspn(text, "\r\n")] = '\0';
    user->password_hash = esp_password_hash(text, error);
    explicit_bzero(text, strlen(text));
    return user->password_hash != NULL;
}

static bool set_user(EspFirstUser *user, const Words *words, GError **error)
{
    set(&user->name, words->user);
    set(&user->full_name, words->full_name);
    if (words->ssh_key) {
        if (g_file_test(words->ssh_key, G_FILE_TEST_IS_REGULAR)) {
            if (!g_file_get_contents(words->ssh_key, &user->ssh_key, NULL, error))
                return false;
            g_strstrip(user->ssh_key);
        } else {
            set(&user->ssh_key, words->ssh_key);
        }
        if (!esp_ssh_key_check(user->ssh_key, error))
            return false;
    }
    return !words->password_file || set_password(user, words->password_file, error);
}

static bool kind_of(const Words *words, EspCreationKind *kind, GError **error)
{
    unsigned given = !!words->linux_ + !!words->iso + !!words->import + !!words->demo;

    if (given != 1)
        return wrong(error, _("give one of --linux, --iso FILE, --import FILE and --demo"));
    *kind = words->linux_   ? ESP_CREATION_LINUX
            : words->iso    ? ESP_CREATION_INSTALLER
            : words->import ? ESP_CREATION_IMPORT
                            : ESP_CREATION_DEMO;
    return true;
}

/* `creation` must be empty. */
static bool make_creation(const Words *words, EspCreation *creation, GError **error)
{
    static const char *const systems[] = {"other", "linux", NULL};
    static const char *const clipboards[] = {"both", "to-guest", "to-host", "off", NULL};
    EspCreationKind kind = ESP_CREATION_DEMO;

    if (!kind_of(words, &kind, error))
        return false;
    esp_creation_init(creation, kind);
    if (words->system && !choose("system", words->system, systems, (unsigned *)&creation->system, error))
        return false;
    set(&creation->name, words->name ? words->name : kind == ESP_CREATION_DEMO ? _("Demo") : NULL);
    if (!creation->name)
        return wrong(error, _("the machine needs a name: --name NAME"));
    if (words->image)
        set_image(creation, words->image);
    if (words->iso || words->import)
        set_source(creation, words->iso ? words->iso : words->import);
    if (words->sums)
        set(&creation->sums, words->sums);
    creation->share_path = words->share ? g_canonicalize_filename(words->share, NULL) : NULL;
    creation->share_readonly = words->share_readonly;
    return set_numbers(creation, words, error) && set_region(creation, words, error) &&
           set_user(&creation->user, words, error) &&
           (!words->clipboard ||
            choose("clipboard", words->clipboard, clipboards, (unsigned *)&creation->clipboard, error));
}

/* ---- telling ---- */

/* As wide as the widest of them. */
enum {
    NAME,
    KIND,
    FOLDER,
    SOURCE,
    SUMS,
    CPUS,
    MEMORY,
    DISK,
    USER,
    FULL_NAME,
    SSH_KEY,
    PASSWORD,
    LOCALE,
    KEYBOARD,
    VARIANT,
    ZONE,
    SHARES,
    HEADINGS
};
static const char *const headings[HEADINGS] = {
    [NAME] = N_("name:"),
    [KIND] = N_("kind:"),
    [FOLDER] = N_("folder:"),
    /* Translators: the file or link that the machine's disk is made of. */
    [SOURCE] = N_("source:"),
    [SUMS] = N_("check sums:"),
    [CPUS] = N_("CPUs:"),
    [MEMORY] = N_("memory:"),
    [DISK] = N_("disk:"),
    [USER] = N_("user:"),
    [FULL_NAME] = N_("full name:"),
    [SSH_KEY] = N_("SSH key:"),
    [PASSWORD] = N_("password:"),
    [LOCALE] = N_("locale:"),
    [KEYBOARD] = N_("keyboard:"),
    /* Translators: of the keyboard's layout. */
    [VARIANT] = N_("variant:"),
    [ZONE] = N_("time zone:"),
    /* Translators: the folder that the guest may use, too. */
    [SHARES] = N_("shares:"),
};

static void print_line(unsigned heading, const char *text)
{
    int width = 0;

    if (!text || !*text)
        return;
    for (unsigned i = 0; i < HEADINGS; i++)
        width = MAX(width, esp_text_width(_(headings[i])));
    esp_output_cell(_(headings[heading]), width);
    printf("  %s\n", text);
}

static void print_number(unsigned heading, const char *format, unsigned number) G_GNUC_PRINTF(2, 0);

static void print_number(unsigned heading, const char *format, unsigned number)
{
    g_autofree char *text = g_strdup_printf(format, number);

    print_line(heading, text);
}

static void print_creation(const EspCreation *creation, const char *dir)
{
    static const char *const kinds[] = {N_("Linux from a cloud image"), N_("from an installer's disc"),
                                        N_("imported disk"), N_("demo guest"), N_("macOS")};
    g_autofree char *path = esp_bundle_path_for(dir, creation->name);

    print_line(NAME, creation->name);
    print_line(KIND, _(kinds[creation->kind]));
    print_line(FOLDER, path);
    print_line(SOURCE, creation->source);
    print_line(SUMS, creation->sums);
    print_number(CPUS, "%u", creation->cpus);
    print_number(MEMORY, _("%u MiB"), creation->memory_mib);
    if (creation->disk_gib)
        print_number(DISK, _("%u GiB"), creation->disk_gib);
    if (esp_creation_has_setup(creation)) {
        print_line(USER, creation->user.name);
        print_line(FULL_NAME, creation->user.full_name);
        print_line(SSH_KEY, creation->user.ssh_key);
        /* Translators: whether the user has a password. */
        print_line(PASSWORD, creation->user.password_hash ? C_("password", "set") : C_("password", "none"));
        print_line(LOCALE, creation->region.locale);
        print_line(KEYBOARD, creation->region.keyboard_layout);
        print_line(VARIANT, creation->region.keyboard_variant);
        print_line(ZONE, creation->region.time_zone);
    }
    print_line(SHARES, creation->share_path);
}

static int list_images(void)
{
    g_autofree char *problem = NULL;
    g_autoptr(GPtrArray) entries = esp_catalogue_list(ESP_GUEST_LINUX, NULL, &problem);

    for (guint i = 0; i < entries->len; i++) {
        const EspCatalogueEntry *entry = entries->pdata[i];
        g_autofree char *size = g_format_size(entry->size);
        printf("%-14s ", entry->id);
        esp_output_cell(entry->name, 20);
        printf(" %*s%s  %s\n", MAX(8 - esp_text_width(size), 0), "", size, entry->link);
    }
    if (problem)
        esp_ctl_say("%s", problem);
    return problem ? ESP_EXIT_FAILED : ESP_EXIT_OK;
}

/* ---- the job ---- */

typedef struct Watch {
    GMainLoop *loop;
    EspJob *job;
    int signal;
    bool terminal;
} Watch;

static void on_changed(EspJob *job, Watch *watch)
{
    g_autofree char *words = esp_job_get_words(job);

    if (watch->terminal)
        fprintf(stderr, "\r\033[K%s%s%s", esp_job_get_stage(job), *words ? "  " : "", words);
}

static void on_finished(EspJob *job, Watch *watch)
{
    if (watch->terminal)
        fprintf(stderr, "\r\033[K");
    g_main_loop_quit(watch->loop);
}

static gboolean on_interrupt(gpointer data)
{
    Watch *watch = data;

    watch->signal = SIGINT;
    esp_job_cancel(watch->job);
    return G_SOURCE_CONTINUE;
}

static gboolean on_terminate(gpointer data)
{
    Watch *watch = data;

    watch->signal = SIGTERM;
    esp_job_cancel(watch->job);
    return G_SOURCE_CONTINUE;
}

static int make(EspDraft *draft)
{
    g_autofree char *path = esp_create_path(draft);
    g_autofree char *name = g_strdup(esp_draft_get_creation(draft)->name);
    g_autoptr(EspJob) job = esp_create_job_new(draft);
    Watch watch = {g_main_loop_new(NULL, FALSE), job, 0, isatty(STDERR_FILENO)};
    guint ids[] = {g_unix_signal_add(SIGINT, on_interrupt, &watch),
                   g_unix_signal_add(SIGTERM, on_terminate, &watch)};

    g_signal_connect(job, "changed", G_CALLBACK(on_changed), &watch);
    g_signal_connect(job, "finished", G_CALLBACK(on_finished), &watch);
    esp_create_start(job, draft);
    g_main_loop_run(watch.loop);
    g_main_loop_unref(watch.loop);
    for (size_t i = 0; i < G_N_ELEMENTS(ids); i++)
        g_source_remove(ids[i]);
    if (esp_job_get_state(job) == ESP_JOB_SUCCEEDED) {
        printf("%s\n", path);
        return ESP_EXIT_OK;
    }
    if (esp_job_get_error(job))
        esp_ctl_say("%s", esp_job_get_error(job)->message);
    esp_ctl_say(
        _("“%s” is not made yet; go on with espalierctl create --continue, or throw it away with --discard"),
        name);
    return esp_job_get_state(job) == ESP_JOB_CANCELLED ? 128 + watch.signal : ESP_EXIT_FAILED;
}

/* ---- drafts ---- */

/* The one of that name, or the newest; NULL with `error` set. */
static EspDraft *open_draft(const char *dir, const char *name, GError **error)
{
    g_autoptr(GPtrArray) drafts = esp_drafts_list(dir);

    for (guint i = 0; i < drafts->len; i++) {
        const EspDraftInfo *info = drafts->pdata[i];
        if (!name || !strcmp(info->creation.name, name))
            return esp_draft_open(info->path, error);
    }
    if (name)
        wrong(error, _("there is no machine “%s” whose making could be continued"), name);
    else
        wrong(error, _("there is no machine whose making could be continued"));
    return NULL;
}

static int say_error(GError *error, int status)
{
    esp_ctl_say("%s", error->message);
    g_error_free(error);
    return status;
}

static int go_on(const char *dir, const Words *words)
{
    GError *error = NULL;
    EspDraft *draft = open_draft(dir, words->name, &error);

    if (!draft)
        return say_error(error, ESP_EXIT_FAILED);
    return make(draft);
}

static int discard(const char *dir, const Words *words)
{
    GError *error = NULL;
    EspDraft *draft = open_draft(dir, words->name, &error);

    if (!draft || !esp_draft_discard(draft, &error))
        return say_error(error, ESP_EXIT_FAILED);
    return ESP_EXIT_OK;
}

static int create(const char *dir, const Words *words)
{
    EspCreation creation = {0};
    GError *error = NULL;
    int status = ESP_EXIT_OK;

    if (!make_creation(words, &creation, &error) || !esp_creation_check(&creation, dir, &error)) {
        esp_creation_clear(&creation);
        return say_error(error, ESP_EXIT_USAGE);
    }
    if (words->dry_run) {
        print_creation(&creation, dir);
    } else {
        EspDraft *draft = esp_draft_new(dir, &creation, &error);
        status = draft ? make(draft) : say_error(error, ESP_EXIT_FAILED);
    }
    esp_creation_clear(&creation);
    return status;
}

int esp_ctl_create(int argc, char **argv)
{
    g_autofree char *dir = esp_library_default_dir();
    Words words = {0};
    GError *error = NULL;
    int status = ESP_EXIT_OK;

    if (!parse(argc, argv, &words, &error)) {
        esp_ctl_say(_("%s; see espalierctl create --help"), error->message);
        g_error_free(error);
        status = ESP_EXIT_USAGE;
    } else if (words.help) {
        for (size_t i = 0; i < G_N_ELEMENTS(help_text); i++)
            printf("%s\n", *help_text[i] ? _(help_text[i]) : "");
    } else if (words.list) {
        status = list_images();
    } else if (words.go_on) {
        status = go_on(dir, &words);
    } else if (words.discard) {
        status = discard(dir, &words);
    } else {
        status = create(dir, &words);
    }
    words_clear(&words);
    return status;
}
