/* espalierctl: Espalier without a display. Its commands, and what every one of them needs. */
#include <glib/gi18n.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/ctl/commands.h"
#include "app/ctl/create.h"
#include "app/ctl/disk.h"
#include "app/ctl/run.h"
#include "app/ctl/settings.h"
#include "app/locale.h"
#include "app/version.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"list", esp_ctl_list, N_("list the machines of the library")},
    {"create", esp_ctl_create, N_("make a machine")},
    {"status", esp_ctl_status, N_("say how a machine is, and what it takes")},
    {"show", esp_ctl_show, N_("what a machine in the library is told")},
    {"set", esp_ctl_set, N_("change that")},
    {"start", esp_ctl_start, N_("start a machine of the library")},
    {"stop", esp_ctl_stop, N_("press the power button; with --force, pull the plug")},
    {"reset", esp_ctl_reset, N_("press the reset button")},
    {"pause", esp_ctl_pause, N_("pause a running machine")},
    {"resume", esp_ctl_resume, N_("let a paused machine go on")},
    {"save", esp_ctl_save, N_("save a running machine to a file and stop it")},
    {"snapshot", esp_ctl_snapshot, N_("keep a machine as it is now")},
    {"snapshots", esp_ctl_snapshots, N_("list what was kept of a machine")},
    {"go-back", esp_ctl_go_back, N_("make a machine what it was at a snapshot")},
    {"forget", esp_ctl_forget, N_("delete a snapshot of a machine")},
    {"clone", esp_ctl_clone, N_("make another machine like one there is")},
    {"rename", esp_ctl_rename, N_("give a machine another name")},
    {"export", esp_ctl_export, N_("put a machine into one file")},
    {"import", esp_ctl_import, N_("make a machine of such a file, a folder, a disk image or a disc")},
    {"trash", esp_ctl_trash, N_("move a machine to the trash")},
    {"throw-away", esp_ctl_throw_away, N_("throw away what an isolated machine changed")},
    {"ip", esp_ctl_ip, N_("print the addresses of a running machine")},
    {"screenshot", esp_ctl_screenshot, N_("write what a running machine shows to a picture")},
    {"send-key", esp_ctl_send_key, N_("press keys of a running machine")},
    {"log", esp_ctl_log, N_("print what happened to a machine")},
    {"run", esp_ctl_run, N_("run a machine described here, in this terminal")},
    {"devices", esp_ctl_devices, N_("list what a machine has; devices add and remove change that")},
    {"device", esp_ctl_device, N_("do something with a device of a running machine")},
    {"attach", esp_ctl_attach, N_("plug a device into a running machine")},
    {"detach", esp_ctl_detach, N_("pull a device out of a running machine")},
    {"check", esp_ctl_check, N_("say whether this computer is fit for virtual machines")},
    {"disk", esp_ctl_disk, N_("disk images, their snapshots and linked clones")},
};

static void print_help(void)
{
    fputs(_("Usage: espalierctl COMMAND [OPTION]...\n"
            "Virtual machines from the command line.\n"),
          stdout);
    fputs("\n", stdout);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        printf("  %-12s %s\n", commands[i].name, _(commands[i].help)); /* data/completions read the names */
    fputs("\n", stdout);
    fputs(_("  --help       this text; espalierctl COMMAND --help says more\n"
            "  --version    the version\n"),
          stdout);
}

/* A file we open must not become standard output because the caller has closed that. */
static void fill_standard_descriptors(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

int main(int argc, char **argv)
{
    fill_standard_descriptors();
    esp_locale_init();
    if (argc < 2) {
        esp_ctl_say(_("there is no command; give one, such as run, or --help"));
        return ESP_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_help();
        return ESP_EXIT_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("espalierctl %s\n", ESP_VERSION);
        return ESP_EXIT_OK;
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 2, argv + 2);
    esp_ctl_say(_("there is no command “%s”; see espalierctl --help"), argv[1]);
    return ESP_EXIT_USAGE;
}
