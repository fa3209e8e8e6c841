/* Whole machines that do not run (commands.h). */
#include <glib/gi18n.h>
#include <stdio.h>

#include "app/ctl/commands.h"
#include "app/ctl/run.h"
#include "app/ctl/target.h"
#include "app/ctl/watch_job.h"
#include "app/duplicate.h"
#include "app/export.h"
#include "app/import.h"
#include "app/isolated.h"
#include "app/library.h"
#include "app/trash.h"

int esp_ctl_clone(int argc, char **argv)
{
    gboolean linked = FALSE, saved_state = FALSE;
    const GOptionEntry entries[] = {
        {"linked", 'l', 0, G_OPTION_ARG_NONE, &linked, N_("share with the original what neither changes"),
         NULL},
        {"saved-state", 0, 0, G_OPTION_ARG_NONE, &saved_state, N_("with what it has in memory"), NULL},
        G_OPTION_ENTRY_NULL,
    };
    int status;
    g_autofree char *bundle = NULL;
    g_auto(GStrv) words = esp_command_on_bundle(
        &bundle,
        &(const EspCommand){
            "clone", N_("MACHINE NAME"),
            N_("Makes another machine like one there is, which must not run: with a copy of all, or linked.\n"
               "A linked one needs the original, which then cannot be thrown away; each changes its own."),
            2, 2},
        entries, argc, argv, &status);

    if (!words)
        return status;
    const EspDuplicateOptions options = {.name = words[2], .linked = linked, .saved_state = saved_state};
    return esp_ctl_watch_job(esp_duplicate_start(bundle, &options));
}

int esp_ctl_rename(int argc, char **argv)
{
    GError *error = NULL;
    int status;
    g_autofree char *path = NULL;
    g_auto(GStrv) words = esp_command_on_bundle(
        &path,
        &(const EspCommand){"rename", N_("MACHINE NAME"),
                            N_("Gives a machine another name; its folder keeps its own."), 2, 2},
        NULL, argc, argv, &status);

    if (!words)
        return status;
    g_autoptr(EspBundle) bundle = esp_bundle_open(path, &error);
    bool good = bundle && esp_bundle_set_name(bundle, words[2], &error) && esp_bundle_save(bundle, &error);
    return esp_target_status(good, error);
}

int esp_ctl_export(int argc, char **argv)
{
    gboolean replace = FALSE, saved_state = FALSE;
    const GOptionEntry entries[] = {
        {"force", 'f', 0, G_OPTION_ARG_NONE, &replace, N_("replace a file of that name"), NULL},
        {"saved-state", 0, 0, G_OPTION_ARG_NONE, &saved_state, N_("with what it has in memory"), NULL},
        G_OPTION_ENTRY_NULL,
    };
    int status;
    g_autofree char *bundle = NULL;
    g_auto(GStrv) words = esp_command_on_bundle(
        &bundle,
        &(const EspCommand){"export", N_("MACHINE FILE"),
                            N_("Puts a machine, which must not run, into one file: a tar archive, compressed "
                               "with zstd.\nNAME.espalier.tar.zst is a good name for it."),
                            2, 2},
        entries, argc, argv, &status);

    if (!words)
        return status;
    const EspExportOptions options = {.replace = replace, .saved_state = saved_state};
    return esp_ctl_watch_job(esp_export_start(bundle, words[2], &options));
}

int esp_ctl_import(int argc, char **argv)
{
    g_autofree char *name = NULL, *library = esp_library_default_dir();
    gboolean renew = FALSE, move = FALSE;
    const GOptionEntry entries[] = {
        {"name", 'n', 0, G_OPTION_ARG_STRING, &name, N_("what it is called"), N_("NAME")},
        {"new-identity", 0, 0, G_OPTION_ARG_NONE, &renew,
         N_("another machine than the one it was, with other addresses"), NULL},
        {"move", 0, 0, G_OPTION_ARG_NONE, &move, N_("a folder is moved instead of copied, if it can be"),
         NULL},
        G_OPTION_ENTRY_NULL,
    };
    int status;
    g_auto(GStrv) words = esp_command_words(
        &(const EspCommand){
            "import", N_("FILE"),
            N_("Makes a machine in the library of what espalierctl export wrote, of a machine’s "
               "folder,\nof a raw or qcow2 image of a disk, or of a disc to install from."),
            1, 1},
        entries, argc, argv, &status);

    if (!words)
        return status;
    const EspImportOptions options = {.name = name, .renew_identity = renew, .move = move};
    EspJob *job = g_object_ref(esp_import_start(words[1], library, &options));
    status = esp_ctl_watch_job(job);
    if (status == ESP_EXIT_OK) {
        printf("%s\n", esp_import_get_path(job));
        if (esp_import_get_left_out(job))
            esp_ctl_say(_("what pointed at files of this computer was left out:\n%s"),
                        esp_import_get_left_out(job));
    }
    g_object_unref(job);
    return status;
}

int esp_ctl_trash(int argc, char **argv)
{
    GError *error = NULL;
    int status;
    g_autofree char *bundle = NULL;
    g_auto(GStrv) words = esp_command_on_bundle(
        &bundle,
        &(const EspCommand){"trash", N_("MACHINE"), N_("Moves a machine, which must not run, to the trash."),
                            1, 1},
        NULL, argc, argv, &status);

    if (!words)
        return status;
    bool good = esp_machine_trash(bundle, &error);
    return esp_target_status(good, error);
}

int esp_ctl_throw_away(int argc, char **argv)
{
    GError *error = NULL;
    int status;
    g_autofree char *path = NULL;
    g_auto(GStrv) words = esp_command_on_bundle(
        &path,
        &(const EspCommand){
            "throw-away", N_("MACHINE"),
            N_("Throws away what a machine, which must not run, changed while it ran isolated."), 1, 1},
        NULL, argc, argv, &status);

    if (!words)
        return status;
    g_autoptr(EspBundle) bundle = esp_bundle_hold(path, &error);
    bool good = bundle && esp_isolated_throw_away(path, &error);
    return esp_target_status(good, error);
}
