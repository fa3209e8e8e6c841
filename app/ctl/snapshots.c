/* Snapshots of whole machines (commands.h). */
#include <stdio.h>

#include "app/ctl/commands.h"
#include "app/ctl/run.h"
#include "app/ctl/target.h"
#include "app/machine_snapshots.h"

/* The bundle of a machine, or NULL, which has been said. */
static char *find(const char *name)
{
    char *bundle = esp_ctl_find_bundle(name);

    if (!bundle)
        esp_ctl_say("there is no machine “%s”; give the name of one in the library, or its folder", name);
    return bundle;
}

int esp_ctl_snapshots(int argc, char **argv)
{
    GError *error = NULL;
    int status;
    g_auto(GStrv) words = esp_command_words(
        &(const EspCommand){"snapshots", "MACHINE",
                            "Lists the snapshots of a machine, oldest first; * is what it goes on from.", 1,
                            1},
        NULL, argc, argv, &status);
    g_autofree char *bundle = words ? find(words[1]) : NULL;

    if (!bundle)
        return words ? ESP_EXIT_USAGE : status;
    g_autoptr(GPtrArray) list = esp_machine_snapshots_list(bundle, &error);
    for (guint i = 0; list && i < list->len; i++) {
        const EspMachineSnapshot *snapshot = list->pdata[i];
        g_autoptr(GDateTime) time = g_date_time_new_from_unix_local(snapshot->time);
        g_autofree char *when = time ? g_date_time_format(time, "%F %T") : g_strdup("");
        printf("%s %-19s  %s", snapshot->current ? "*" : " ", when, snapshot->name);
        if (snapshot->parent)
            printf(" (on %s)", snapshot->parent);
        for (char **clone = snapshot->clones; *clone; clone++)
            printf(", needed by %s", *clone);
        printf("%s%s\n", snapshot->complete ? "" : ", disks only",
               snapshot->whole ? "" : ", not of all disks");
    }
    return esp_target_status(list != NULL, error);
}

int esp_ctl_go_back(int argc, char **argv)
{
    GError *error = NULL;
    int status;
    g_auto(GStrv) words = esp_command_words(
        &(const EspCommand){
            "go-back", "MACHINE SNAPSHOT",
            "Makes a machine, which must not run, what it was then; what was done since, and is "
            "in no\nsnapshot, is lost.",
            2, 2},
        NULL, argc, argv, &status);
    g_autofree char *bundle = words ? find(words[1]) : NULL;

    if (!bundle)
        return words ? ESP_EXIT_USAGE : status;
    bool good = esp_machine_snapshot_go_back(bundle, words[2], &error);
    return esp_target_status(good, error);
}

int esp_ctl_forget(int argc, char **argv)
{
    GError *error = NULL;
    int status;
    g_auto(GStrv) words = esp_command_words(
        &(const EspCommand){"forget", "MACHINE SNAPSHOT",
                            "Deletes a snapshot of a machine, which must not run. The machine and all other "
                            "snapshots stay as\nthey are.",
                            2, 2},
        NULL, argc, argv, &status);
    g_autofree char *bundle = words ? find(words[1]) : NULL;

    if (!bundle)
        return words ? ESP_EXIT_USAGE : status;
    bool good = esp_machine_snapshot_delete(bundle, words[2], &error);
    return esp_target_status(good, error);
}
