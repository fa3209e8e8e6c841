/* espalier: the library window, or, with --run, the process of one machine. */
#include <glib/gi18n.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/library.h"
#include "app/locale.h"
#include "app/version.h"
#include "ui/application.h"
#include "ui/machine_process.h"

typedef struct Options {
    char *run;
    gboolean demo;
    gboolean no_window;
    gboolean service;
    gboolean version;
    char **rest;
} Options;

static bool parse(int *argc, char ***argv, Options *options, GError **error)
{
    const GOptionEntry entries[] = {
        {"run", 'r', 0, G_OPTION_ARG_FILENAME, &options->run, N_("Run the virtual machine in this folder"),
         N_("BUNDLE")},
        {"no-window", 0, 0, G_OPTION_ARG_NONE, &options->no_window,
         N_("Run it without a window, until the library or espalierctl asks for one"), NULL},
        {"gapplication-service", 0, G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_NONE, &options->service, NULL, NULL},
        {"demo", 'd', 0, G_OPTION_ARG_NONE, &options->demo, N_("Run the demo guest"), NULL},
        {"version", 'v', 0, G_OPTION_ARG_NONE, &options->version, N_("Print the version and exit"), NULL},
        {G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &options->rest, NULL, N_("[BUNDLE]")},
        {0},
    };
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_option_context_set_summary(context, _("Shows the library of virtual machines, or runs one of them."));
    g_option_context_add_main_entries(context, entries, NULL);
    /* What GTK does with its options it would do without a display, too, and complain that it has none. */
    if (!g_strv_contains((const char *const *)*argv, "--no-window"))
        g_option_context_add_group(context, gtk_get_option_group(FALSE));
    if (!g_option_context_parse(context, argc, argv, error))
        return false;
    if (options->rest && options->rest[0]) {
        if (options->run || options->demo || options->rest[1]) {
            g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                        _("“%s” is one argument too many: give at most one virtual machine"),
                        options->rest[options->rest[1] ? 1 : 0]);
            return false;
        }
        options->run = g_strdup(options->rest[0]);
    }
    if (options->run && options->demo) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    _("Give either --run or --demo, not both"));
        return false;
    }
    if (options->no_window && !options->run && !options->demo) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    _("--no-window needs a virtual machine: --run BUNDLE"));
        return false;
    }
    return true;
}

static char *demo_bundle(GError **error)
{
    g_autofree char *demo_dir = esp_library_find_demo(error);
    g_autofree char *dir = esp_library_default_dir();
    return demo_dir ? esp_library_ensure_demo(dir, demo_dir, error) : NULL;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); /* what cannot be written is an error, not the end of a machine */
    signal(SIGXFSZ, SIG_IGN);
    esp_locale_init();
    g_set_prgname("org.espalier.Espalier"); /* how the desktop finds our icon for a window */
    g_set_application_name("Espalier");

    Options options = {0};
    g_autoptr(GError) error = NULL;
    if (!parse(&argc, &argv, &options, &error)) {
        fprintf(stderr, "espalier: %s\n", error->message);
        return 2;
    }
    if (options.version) {
        printf("espalier %s\n", ESP_VERSION);
        return 0;
    }
    /* A machine is a folder; a file is one that is to become a machine. */
    g_autofree char *import = options.run && g_file_test(options.run, G_FILE_TEST_IS_REGULAR)
                                  ? g_canonicalize_filename(options.run, NULL)
                                  : NULL;
    if (import)
        g_clear_pointer(&options.run, g_free);
    g_autofree char *bundle = options.demo ? demo_bundle(&error) : g_steal_pointer(&options.run);
    g_strfreev(options.rest);
    if (error) {
        fprintf(stderr, "espalier: %s\n", error->message);
        return 1;
    }
    if (bundle)
        return esp_machine_process_run(bundle, !options.no_window);
    if (!gtk_init_check(NULL, NULL)) {
        fprintf(stderr,
                _("espalier: there is no display to open a window on; espalierctl works without one\n"));
        return 1;
    }
    g_autoptr(EspApplication) application = esp_application_new(options.service);
    if (import && g_application_register(G_APPLICATION(application), NULL, NULL))
        g_action_group_activate_action(G_ACTION_GROUP(application), "import", g_variant_new_string(import));
    return g_application_run(G_APPLICATION(application), 0, NULL);
}
