/* Snapshots of whole machines (commands.h). */
#include <glib/gi18n.h>
#include <stdio.h>

#include "app/ctl/commands.h"
#include "app/ctl/run.h"
#include "app/ctl/target.h"
#include "app/machine_snapshots.h"

int esp_ctl_snapshots(int argc, char **argv)
{
    GError *error = NULL;
    int status;
    g_autofree char *bundle = NULL;
    g_auto(GStrv) words = esp_command_on_bundle(
        &bundle,
        &(const EspCommand){"snapshots", N_("MACHINE"),
                            N_("Lists the snapshots of a machine, oldest first; * is what it goes on from."),
                            1, 1},
        NULL, argc, argv, &status);

    if (!words)
        return status;
    g_autoptr(GPtrArray) list = esp_machine_snapshots_list(bundle, &error);
    for (guint i = 0; list && i < list->len; i++) {
        const EspMachineSnapshot *snapshot = list->pdata[i];
        g_autoptr(GDateTime) time = g_date_time_new_from_unix_local(snapshot->time);
        g_autofree char *when = time ? g_date_time_format(time, "%F %T") : g_strdup("");
        printf("%s %-19s  ", snapshot->current ? "*" : " ", when);
        if (snapshot->parent) /* Translators: a snapshot, and the one on which it lies. */
            printf(_("%s (on %s)"), snapshot->name, snapshot->parent);
        else
            fputs(snapshot->name, stdout);
        for (char **clone = snapshot->clones; *clone; clone++) /* Translators: behind a snapshot's name. */
            printf(_(", needed by %s"), *clone);
        fputs(snapshot->complete ? "" : _(", disks only"), stdout);
        fputs(snapshot->whole ? "" : _(", not of all disks"), stdout);
        fputs("\n", stdout);
    }
    return esp_target_status(list != NULL, error);
}

int esp_ctl_go_back(int argc, char **argv)
{
    GError *error = NULL;
    int status;
    g_autofree char *bundle = NULL;
    g_auto(GStrv) words = esp_command_on_bundle(
        &bundle,
        &(const EspCommand){
            "go-back", N_("MACHINE SNAPSHOT"),
            N_("Makes a machine, which must not run, what it was then; what was done since, and is "
               "in no\nsnapshot, is lost."),
            2, 2},
        NULL, argc, argv, &status);

    if (!words)
        return status;
    bool good = esp_machine_snapshot_go_back(bundle, words[2], &error);
    return esp_target_status(good, error);
}

int esp_ctl_forget(int argc, char **argv)
{
    GError *error = NULL;
    int status;
    g_autofree char *bundle = NULL;
    g_auto(GStrv) words = esp_command_on_bundle(
        &bundle,
        &(const EspCommand){
            "forget", N_("MACHINE SNAPSHOT"),
            N_("Deletes a snapshot of a machine, which must not run. The machine and all other "
               "snapshots stay as\nthey are."),
            2, 2},
        NULL, argc, argv, &status);

    if (!words)
        return status;
    bool good = esp_machine_snapshot_delete(bundle, words[2], &error);
    return esp_target_status(good, error);
}
