/* espalierctl: Espalier without a display. Its commands, and what every one of them needs. */
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
    {"list", esp_ctl_list, "list the machines of the library"},
    {"create", esp_ctl_create, "make a machine"},
    {"status", esp_ctl_status, "say how a machine is, and what it takes"},
    {"show", esp_ctl_show, "what a machine in the library is told"},
    {"set", esp_ctl_set, "change that"},
    {"start", esp_ctl_start, "start a machine of the library"},
    {"stop", esp_ctl_stop, "press the power button; with --force, pull the plug"},
    {"reset", esp_ctl_reset, "press the reset button"},
    {"pause", esp_ctl_pause, "pause a running machine"},
    {"resume", esp_ctl_resume, "let a paused machine go on"},
    {"save", esp_ctl_save, "save a running machine to a file and stop it"},
    {"snapshot", esp_ctl_snapshot, "keep a machine as it is now"},
    {"snapshots", esp_ctl_snapshots, "list what was kept of a machine"},
    {"go-back", esp_ctl_go_back, "make a machine what it was at a snapshot"},
    {"forget", esp_ctl_forget, "delete a snapshot of a machine"},
    {"clone", esp_ctl_clone, "make another machine like one there is"},
    {"rename", esp_ctl_rename, "give a machine another name"},
    {"export", esp_ctl_export, "put a machine into one file"},
    {"import", esp_ctl_import, "make a machine of such a file, a folder, a disk image or a disc"},
    {"trash", esp_ctl_trash, "move a machine to the trash"},
    {"ip", esp_ctl_ip, "print the addresses of a running machine"},
    {"screenshot", esp_ctl_screenshot, "write what a running machine shows to a picture"},
    {"send-key", esp_ctl_send_key, "press keys of a running machine"},
    {"log", esp_ctl_log, "print what happened to a machine"},
    {"run", esp_ctl_run, "run a machine described here, in this terminal"},
    {"devices", esp_ctl_devices, "list what a machine has; devices add and remove change that"},
    {"device", esp_ctl_device, "do something with a device of a running machine"},
    {"attach", esp_ctl_attach, "plug a device into a running machine"},
    {"detach", esp_ctl_detach, "pull a device out of a running machine"},
    {"check", esp_ctl_check, "say whether this computer is fit for virtual machines"},
    {"disk", esp_ctl_disk, "disk images, their snapshots and linked clones"},
};

static void print_help(void)
{
    printf("Usage: espalierctl COMMAND [OPTION]...\n"
           "Virtual machines from the command line.\n\n");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        printf("  %-12s %s\n", commands[i].name, commands[i].help);
    printf("\n  --help       this text; espalierctl COMMAND --help says more\n"
           "  --version    the version\n");
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
        esp_ctl_say("there is no command; give one, such as run, or --help");
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
    esp_ctl_say("there is no command “%s”; see espalierctl --help", argv[1]);
    return ESP_EXIT_USAGE;
}
