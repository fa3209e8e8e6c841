/*
 * The machine a command is about, and what the user said of it.
 *
 * A MACHINE is the socket of `espalierctl run --control`, a bundle's folder, or the name of a machine in the
 * library.
 */
#pragma once

#include <gio/gio.h>
#include <stdbool.h>

#include "app/control.h"

/* The folder of a machine that is given as one, or by its name in the library; NULL: there is none. Free with
 * g_free. */
char *esp_ctl_find_bundle(const char *name);
/* The same, and the user is told if there is none. */
char *esp_ctl_need_bundle(const char *name);

typedef struct EspTarget {
    char *name;            /* as the user calls it */
    char *bundle;          /* its folder, or NULL: it has none, only a socket */
    GDBusConnection *peer; /* to the process that has it open, or NULL: there is none */
    EspMachine1 *machine;  /* at the other end of it, or NULL */
} EspTarget;

/* Finds the machine and connects to it, if it has a process. False, and the user was told: there is none of
 * that name. */
bool esp_target_open(EspTarget *target, const char *name);
/* The same, and the user is told if it has no process. */
bool esp_target_open_running(EspTarget *target, const char *name);
/* Connects to its process if there is one now. */
bool esp_target_connect(EspTarget *target);
void esp_target_clear(EspTarget *target);

/* Tells the user what a call came back with, takes the error over, and is the exit status: failed. */
int esp_target_complain(GError *error);
/* Of a call that was good, or not. */
int esp_target_status(bool good, GError *error);

/* The options and words of a command. */
typedef struct EspCommand {
    const char *command; /* "stop" */
    const char *words;   /* N_("MACHINE"), or "" */
    const char *help;    /* what it does, a sentence or more; N_() */
    int min, max;        /* how many words */
} EspCommand;

/* Takes the options (GOption's; NULL: none) out of `argv`. Returns the words, which the caller frees with
 * g_strfreev, or NULL with *status set: help was printed, or the user was told what is wrong. With --json all
 * that is said from then on is in English, since a program reads it. */
char **esp_command_words(const EspCommand *command, const GOptionEntry *entries, int argc, char **argv,
                         int *status);
/* The same for commands whose first word is a machine, of which they want the folder; free *bundle with
 * g_free. */
char **esp_command_on_bundle(char **bundle, const EspCommand *command, const GOptionEntry *entries, int argc,
                             char **argv, int *status);
/* The same for commands whose first word is a machine, which is opened; and for those that need it to run.
 * The caller clears `target` as well if there are words. */
char **esp_command_on(EspTarget *target, const EspCommand *command, const GOptionEntry *entries, int argc,
                      char **argv, int *status);
char **esp_command_on_running(EspTarget *target, const EspCommand *command, const GOptionEntry *entries,
                              int argc, char **argv, int *status);
