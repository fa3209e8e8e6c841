/* The machine a command is about (see target.h). */
#include "app/ctl/target.h"

#include <glib/gi18n.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "app/ctl/run.h"
#include "app/library.h"
#include "app/locale.h"

#define CALL_MS 60000

static bool is_kind(const char *path, mode_t kind)
{
    struct stat st;

    return stat(path, &st) == 0 && (st.st_mode & S_IFMT) == kind;
}

/* In the library, by the name that the user gave it there; two of one name are none. */
static char *find_by_title(const char *name)
{
    g_autofree char *dir = esp_library_default_dir();
    g_autoptr(EspLibrary) library = esp_library_new(dir);
    char *found = NULL;

    for (guint i = 0; i < g_list_model_get_n_items(G_LIST_MODEL(library)); i++) {
        g_autoptr(EspLibraryItem) item = g_list_model_get_item(G_LIST_MODEL(library), i);
        if (strcmp(esp_library_item_get_name(item), name) != 0)
            continue;
        if (found) {
            g_free(found);
            return NULL;
        }
        found = g_strdup(esp_library_item_get_path(item));
    }
    return found;
}

char *esp_ctl_find_bundle(const char *name)
{
    g_autofree char *library = esp_library_default_dir();
    g_autofree char *file = g_strconcat(name, ESP_BUNDLE_SUFFIX, NULL);
    g_autofree char *path = g_build_filename(library, file, NULL);

    if (!strchr(name, '/') && is_kind(path, S_IFDIR))
        return g_steal_pointer(&path);
    if (is_kind(name, S_IFDIR))
        return g_canonicalize_filename(name, NULL);
    return find_by_title(name);
}

char *esp_ctl_need_bundle(const char *name)
{
    char *bundle = esp_ctl_find_bundle(name);

    if (!bundle)
        esp_ctl_say(_("there is no machine “%s”; give the name of one in the library, or its folder"), name);
    return bundle;
}

static bool connect_to(EspTarget *target, const char *path, GError **error)
{
    if (!path || !is_kind(path, S_IFSOCK))
        return false;
    target->peer = esp_control_connect(path, error);
    target->machine = target->peer ? esp_control_proxy(target->peer, error) : NULL;
    if (!target->machine) {
        g_clear_object(&target->peer);
        return false;
    }
    g_dbus_proxy_set_default_timeout(G_DBUS_PROXY(target->machine), CALL_MS);
    return true;
}

bool esp_target_connect(EspTarget *target)
{
    g_autofree char *path = target->bundle ? esp_control_path_of(target->bundle) : NULL;

    return target->machine || connect_to(target, path, NULL);
}

bool esp_target_open(EspTarget *target, const char *name)
{
    g_autoptr(GError) error = NULL;

    *target = (EspTarget){.name = g_strdup(name)};
    if (is_kind(name, S_IFSOCK)) {
        if (connect_to(target, name, &error))
            return true;
        if (error)
            esp_ctl_say(_("nobody answers on “%s”: %s"), name, error->message);
        else
            esp_ctl_say(_("nobody answers on “%s”: it has gone"), name);
    } else if ((target->bundle = esp_ctl_find_bundle(name))) {
        esp_target_connect(target);
        return true;
    } else {
        esp_ctl_say(
            _("there is no machine “%s”; give the name of one in the library, its folder, or the socket "
              "it was given with --control"),
            name);
    }
    esp_target_clear(target);
    return false;
}

bool esp_target_open_running(EspTarget *target, const char *name)
{
    if (!esp_target_open(target, name))
        return false;
    if (target->machine)
        return true;
    esp_ctl_say(_("“%s” does not run"), name);
    esp_target_clear(target);
    return false;
}

void esp_target_clear(EspTarget *target)
{
    g_clear_object(&target->machine);
    g_clear_object(&target->peer);
    g_clear_pointer(&target->bundle, g_free);
    g_clear_pointer(&target->name, g_free);
}

int esp_target_complain(GError *error)
{
    g_dbus_error_strip_remote_error(error);
    esp_ctl_say("%s", error->message);
    g_error_free(error);
    return ESP_EXIT_FAILED;
}

int esp_target_status(bool good, GError *error)
{
    return good ? ESP_EXIT_OK : esp_target_complain(error);
}

/* ---- words ---- */

static bool is_json(const GOptionEntry *entry)
{
    return strcmp(entry->long_name, "json") == 0 && *(const gboolean *)entry->arg_data;
}

static GOptionContext *describe(const EspCommand *command, const GOptionEntry *entries, gboolean *help)
{
    const GOptionEntry help_entries[] = {
        {"help", 'h', 0, G_OPTION_ARG_NONE, help, N_("This text"), NULL},
        {0},
    };
    GOptionContext *context = g_option_context_new(*command->words ? _(command->words) : NULL);

    g_option_context_set_help_enabled(context, FALSE);
    g_option_context_set_summary(context, _(command->help));
    if (entries)
        g_option_context_add_main_entries(context, entries, ESP_DOMAIN);
    g_option_context_add_main_entries(context, help_entries, ESP_DOMAIN);
    return context;
}

static bool check_count(const EspCommand *command, int n)
{
    if (n >= command->min && n <= command->max)
        return true;
    if (!command->max)
        esp_ctl_say(_("%s takes no words; see espalierctl %s --help"), command->command, command->command);
    else
        /* Translators: a command, and the words it needs, such as MACHINE NAME. */
        esp_ctl_say(_("%s needs %s; see espalierctl %s --help"), command->command, _(command->words),
                    command->command);
    return false;
}

char **esp_command_words(const EspCommand *command, const GOptionEntry *entries, int argc, char **argv,
                         int *status)
{
    g_autofree char *program = g_strdup_printf("espalierctl %s", command->command);
    gboolean help = FALSE;
    g_autoptr(GOptionContext) context = describe(command, entries, &help);
    g_autoptr(GStrvBuilder) builder = g_strv_builder_new();
    g_autoptr(GError) error = NULL;

    g_strv_builder_add(builder, program);
    for (int i = 0; i < argc; i++)
        g_strv_builder_add(builder, argv[i]);
    char **words = g_strv_builder_end(builder);
    g_set_prgname(program);
    *status = ESP_EXIT_USAGE;
    if (!g_option_context_parse_strv(context, &words, &error)) {
        esp_ctl_say(_("%s: %s; see espalierctl %s --help"), command->command, error->message,
                    command->command);
    } else if (help) {
        g_autofree char *text = g_option_context_get_help(context, TRUE, NULL);
        fputs(text, stdout);
        *status = ESP_EXIT_OK;
    } else if (check_count(command, (int)g_strv_length(words) - 1)) {
        for (; entries && entries->long_name; entries++)
            if (is_json(entries))
                esp_locale_english();
        return words;
    }
    g_strfreev(words);
    return NULL;
}

char **esp_command_on_bundle(char **bundle, const EspCommand *command, const GOptionEntry *entries, int argc,
                             char **argv, int *status)
{
    char **words = esp_command_words(command, entries, argc, argv, status);

    *bundle = words ? esp_ctl_need_bundle(words[1]) : NULL;
    if (words && !*bundle) {
        *status = ESP_EXIT_USAGE;
        g_clear_pointer(&words, g_strfreev);
    }
    return words;
}

static char **command_on(EspTarget *target, bool (*open)(EspTarget *target, const char *name),
                         const EspCommand *command, const GOptionEntry *entries, int argc, char **argv,
                         int *status)
{
    char **words = esp_command_words(command, entries, argc, argv, status);

    if (words && !open(target, words[1])) {
        *status = ESP_EXIT_USAGE;
        g_clear_pointer(&words, g_strfreev);
    }
    return words;
}

char **esp_command_on(EspTarget *target, const EspCommand *command, const GOptionEntry *entries, int argc,
                      char **argv, int *status)
{
    return command_on(target, esp_target_open, command, entries, argc, argv, status);
}

char **esp_command_on_running(EspTarget *target, const EspCommand *command, const GOptionEntry *entries,
                              int argc, char **argv, int *status)
{
    return command_on(target, esp_target_open_running, command, entries, argc, argv, status);
}
