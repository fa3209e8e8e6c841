/*
 * Runs one machine until its guest powers off, it fails, or the user has had enough.
 *
 * Faults of the command line are found before anything is touched, all of a configuration's at once. SIGINT,
 * SIGTERM and SIGHUP stop the machine in order, disks flushed, and make the exit status 128 plus the signal.
 */
#include "app/ctl/run.h"

#include <glib/gi18n.h>
#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <vmcore/gdb.h>

#include "app/control.h"
#include "app/cpu_figures.h"
#include "app/ctl/attention.h"
#include "app/ctl/terminal.h"
#include "app/vfkit.h"
#include "app/vfkit_device.h"

typedef struct Run {
    EspVfkit vfkit;
    bool help, verbose, cpu_stats;
    const char *control_path; /* or NULL */
    const char *restore_path; /* or NULL */
    EspControl *control;
    char *gdb_address; /* or NULL */
    bool gdb_wait;
    VmcGdb *gdb;
    GMainLoop *loop;
    VmcMachine *machine;
    EspAttention *attention;
    int status;
} Run;

typedef struct SignalHandler {
    Run *run;
    int number;
} SignalHandler;

/* Names stand as they are; NULL is the list of devices. */
static const char *const help_text[] = {
    N_("Usage: espalierctl run [OPTION]...\n"
       "Runs a virtual machine in this terminal."),
    "",
    N_("  --cpus N          number of CPUs (1)"),
    N_("  --memory MIB      memory in MiB (512)"),
    N_("  --cpu KIND        auto, kvm or soft (auto); of soft also the engine, and what it takes:\n"
       "                    soft[:interpreter|:translator][,lockstep][,code-cache=64M]"),
    N_("  --cpu-model MODEL  what CPU the guest sees: host, x86-64-v2, x86-64-v3 or macos (host)"),
    N_("  --cpu-stats       print what the CPUs counted when the machine has stopped"),
    N_("  --bootloader linux,kernel=FILE[,initrd=FILE][,cmdline=\"TEXT\"]\n"
       "                    the Linux kernel (bzImage) to boot"),
    N_("  --bootloader efi,variable-store=FILE[,create][,firmware=FILE]\n"
       "                    UEFI firmware, which finds what to boot on the disks; the store keeps its "
       "variables, and\n"
       "                    create makes it if it is not there. kernel=, initrd= and cmdline= may stand "
       "here, too"),
    N_("  --device KIND[,OPTION]...   any number of:"),
    NULL,
    N_("  --restore FILE    goes on where espalierctl save has left it, instead of booting"),
    N_("  --control SOCKET  a Unix socket through which other espalierctl commands reach the machine"),
    N_("  --gdb unix:FILE|tcp:PORT[,wait]\n"
       "                    lets GDB in, by a Unix socket or a port of this computer for itself: target "
       "remote FILE"),
    N_("  --gdb-wait        the machine does not run before a debugger lets it, as with ,wait"),
    N_("  -v, --verbose     say which CPU was chosen and why, and how long the start took"),
    N_("  -h, --help        this text"),
    "",
    N_("With stdio in a terminal, Ctrl-A x ends the machine and Ctrl-A Ctrl-A sends Ctrl-A.\n"
       "Exit status: 0 the guest powered off, 1 the machine failed, 2 wrong options, 128+N ended by signal "
       "N."),
};

static void print_help(void)
{
    g_autofree char *devices = esp_vfkit_device_help("      ");

    for (size_t i = 0; i < G_N_ELEMENTS(help_text); i++)
        if (!help_text[i])
            fputs(devices, stdout);
        else
            printf("%s\n", *help_text[i] ? _(help_text[i]) : "");
}

void esp_ctl_say(const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    fprintf(stderr, "espalierctl: %s\n", text);
}

/* "unix:FILE" or "tcp:PORT", perhaps with ",wait" behind it. */
static bool take_gdb(Run *run, const char *value, GError **error)
{
    bool wait = g_str_has_suffix(value, ",wait");

    g_free(run->gdb_address);
    run->gdb_address = g_strndup(value, strlen(value) - (wait ? strlen(",wait") : 0));
    run->gdb_wait |= wait;
    if (vmc_gdb_check_address(run->gdb_address, error))
        return true;
    g_prefix_error(error, "--gdb: ");
    return false;
}

static bool take_option(Run *run, const char *name, const char *value, GError **error)
{
    if (strcmp(name, "control") == 0) {
        run->control_path = value;
        return true;
    }
    if (strcmp(name, "restore") == 0) {
        run->restore_path = value;
        return true;
    }
    if (strcmp(name, "gdb") == 0)
        return take_gdb(run, value, error);
    return esp_vfkit_option(&run->vfkit, name, value, error);
}

/* What the first `n` bytes of a word switch on, or NULL. */
static bool *find_flag(Run *run, const char *word, size_t n)
{
    const struct {
        const char *name, *letter;
        bool *flag;
    } flags[] = {
        {"--help", "-h", &run->help},
        {"--verbose", "-v", &run->verbose},
        {"--cpu-stats", "", &run->cpu_stats},
        {"--gdb-wait", "", &run->gdb_wait},
    };

    for (size_t i = 0; n && i < G_N_ELEMENTS(flags); i++)
        if ((strncmp(word, flags[i].name, n) == 0 && !flags[i].name[n]) ||
            (strncmp(word, flags[i].letter, n) == 0 && !flags[i].letter[n]))
            return flags[i].flag;
    return NULL;
}

/* "--name=value" or "--name value"; *index ends at the last word used. */
static bool parse_option(Run *run, int argc, char **argv, int *index, GError **error)
{
    const char *word = argv[*index] + 2;
    const char *equals = strchr(word, '=');
    g_autofree char *name = equals ? g_strndup(word, (gsize)(equals - word)) : g_strdup(word);
    const char *value = equals ? equals + 1 : NULL;

    if (value && find_flag(run, argv[*index], strlen("--") + strlen(name))) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG, _("--%s takes no value; leave “=%s” out"), name,
                    value);
        return false;
    }
    if (!esp_vfkit_knows(name) && strcmp(name, "control") != 0 && strcmp(name, "gdb") != 0 &&
        strcmp(name, "restore") != 0) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                    _("there is no option --%s; see espalierctl run --help"), name);
        return false;
    }
    if (!value && *index + 1 < argc)
        value = argv[++*index];
    if (!value) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG, _("--%s needs a value; see espalierctl run --help"),
                    name);
        return false;
    }
    return take_option(run, name, value, error);
}

static bool parse(Run *run, int argc, char **argv, GError **error)
{
    for (int i = 0; i < argc; i++) {
        bool *flag = find_flag(run, argv[i], strlen(argv[i]));

        if (flag) {
            *flag = true;
        } else if (!g_str_has_prefix(argv[i], "--")) {
            g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                        _("“%s” is not an option; see espalierctl run --help for what there is"), argv[i]);
            return false;
        } else if (!parse_option(run, argc, argv, &i, error)) {
            return false;
        }
    }
    if (!run->help && run->vfkit.config->boot.kind == VMC_BOOT_NONE) {
        g_set_error_literal(error, VMC_ERROR, VMC_ERROR_CONFIG,
                            _("there is nothing to boot; give --bootloader linux,kernel=FILE or "
                              "efi,variable-store=FILE,create"));
        return false;
    }
    if (!run->help && run->gdb_wait && !run->gdb_address) {
        g_set_error_literal(
            error, VMC_ERROR, VMC_ERROR_CONFIG,
            _("--gdb-wait waits for a debugger that cannot come; give --gdb unix:FILE or --gdb tcp:PORT"));
        return false;
    }
    return true;
}

static bool report_faults(const VmcConfig *config)
{
    g_autoptr(GPtrArray) faults = vmc_config_validate(config);

    for (guint i = 0; i < faults->len; i++) {
        const VmcFault *fault = g_ptr_array_index(faults, i);
        g_autofree char *option = esp_vfkit_field(config, fault->field);

        esp_ctl_say("%s: %s", option, fault->message);
    }
    return faults->len > 0;
}

static void quit_with(Run *run, int status)
{
    run->status = status;
    g_main_loop_quit(run->loop);
}

static void on_stopped(VmcMachine *machine, int reason, gpointer data)
{
    Run *run = data;

    if (reason == VMC_STOP_ERROR)
        esp_ctl_say("%s", vmc_machine_get_error(machine)->message);
    quit_with(run, reason == VMC_STOP_ERROR ? ESP_EXIT_FAILED : ESP_EXIT_OK);
}

static void on_log(VmcMachine *machine, const char *line, gpointer data)
{
    esp_ctl_say("%s", line);
}

static void on_guest_reset(VmcMachine *machine, gpointer data)
{
    Run *run = data;

    if (run->verbose)
        esp_ctl_say(_("the guest restarts"));
}

static gboolean on_signal(gpointer data)
{
    SignalHandler *handler = data;

    quit_with(handler->run, 128 + handler->number);
    return G_SOURCE_CONTINUE;
}

/* The number, among the virtio consoles, of the one on our standard output; -1: none is. */
static int stdio_console(const Run *run)
{
    GPtrArray *devices = run->vfkit.config->devices;
    int number = 0;

    for (guint i = 0; i < devices->len; i++) {
        const VmcDeviceConfig *device = g_ptr_array_index(devices, i);

        if (device->kind != VMC_DEVICE_VIRTIO_CONSOLE || device->serial.name)
            continue;
        if (device->serial.fd_out == STDOUT_FILENO)
            return number;
        number++;
    }
    return -1;
}

/* SIGWINCH: the terminal has another size, and the guest's console with it. */
static gboolean on_terminal_resized(gpointer data)
{
    Run *run = data;
    struct winsize size;
    int number = stdio_console(run);

    if (run->machine && number >= 0 && !ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_col && size.ws_row)
        vmc_machine_set_console_size(run->machine, (unsigned)number, size.ws_col, size.ws_row);
    return G_SOURCE_CONTINUE;
}

static void on_quit_key(void *data)
{
    quit_with(data, ESP_EXIT_OK);
}

static void handle_signals(Run *run, SignalHandler handlers[3], guint sources[3])
{
    static const int numbers[3] = {SIGINT, SIGTERM, SIGHUP};

    for (unsigned i = 0; i < 3; i++) {
        handlers[i] = (SignalHandler){run, numbers[i]};
        sources[i] = g_unix_signal_add(numbers[i], on_signal, &handlers[i]);
    }
}

/* The terminal's keys go through us, anything else straight to the device. */
static bool connect_stdio(Run *run, bool is_terminal)
{
    GPtrArray *devices = run->vfkit.config->devices;
    int fd;

    if (!run->vfkit.stdio_used || !is_terminal)
        return true;
    fd = esp_terminal_relay(on_quit_key, run);
    if (fd < 0)
        return false;
    for (guint i = 0; i < devices->len; i++) {
        VmcDeviceConfig *device = g_ptr_array_index(devices, i);

        if ((device->kind == VMC_DEVICE_UART || device->kind == VMC_DEVICE_VIRTIO_CONSOLE) &&
            device->serial.fd_in == STDIN_FILENO)
            device->serial.fd_in = fd;
    }
    return true;
}

static int exit_status_of(const GError *error)
{
    bool users = g_error_matches(error, VMC_ERROR, VMC_ERROR_CONFIG) ||
                 g_error_matches(error, VMC_ERROR, VMC_ERROR_IMAGE);

    return users ? ESP_EXIT_USAGE : ESP_EXIT_FAILED;
}

typedef struct Outcome {
    GMainLoop *loop;
    bool done, good;
    GError *error;
} Outcome;

static void on_restored(GObject *machine, GAsyncResult *result, gpointer data)
{
    Outcome *outcome = data;

    outcome->good = vmc_machine_restore_finish(VMC_MACHINE(machine), result, &outcome->error);
    outcome->done = true;
    g_main_loop_quit(outcome->loop);
}

/* A signal that comes meanwhile ends it: run->loop is not run yet, so its quit is for us to look at. */
static bool restore_machine(Run *run, GError **error)
{
    Outcome outcome = {.loop = run->loop};
    g_autoptr(GCancellable) cancel = g_cancellable_new();

    vmc_machine_restore(run->machine, run->restore_path, cancel, on_restored, &outcome);
    while (!outcome.done) {
        g_main_loop_run(run->loop);
        if (!outcome.done)
            g_cancellable_cancel(cancel);
    }
    if (outcome.good && !g_cancellable_set_error_if_cancelled(cancel, error))
        return vmc_machine_resume(run->machine, error);
    if (outcome.error)
        g_propagate_error(error, outcome.error);
    return false;
}

static bool start(Run *run)
{
    g_autoptr(GError) error = NULL;

    run->machine = vmc_machine_new(run->vfkit.config, &error);
    if (run->machine) {
        g_signal_connect(run->machine, "stopped", G_CALLBACK(on_stopped), run);
        g_signal_connect(run->machine, "log", G_CALLBACK(on_log), run);
        g_signal_connect(run->machine, "guest-reset", G_CALLBACK(on_guest_reset), run);
        run->attention = esp_attention_new(run->machine);
        if (run->control_path)
            run->control = esp_control_new(run->control_path, NULL, NULL, &error);
        if (run->control)
            esp_control_set_machine(run->control, run->machine);
        if (!error && run->gdb_address)
            run->gdb = vmc_gdb_new(run->machine, run->gdb_address, run->gdb_wait, &error);
        if (!error &&
            (run->restore_path ? restore_machine(run, &error) : vmc_machine_start(run->machine, &error)))
            return true;
    }
    esp_terminal_restore();
    if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED)) /* by a signal, which says how it ends */
        return false;
    esp_ctl_say("%s", error->message);
    run->status = exit_status_of(error);
    return false;
}

/* Once the machine has stopped, and if it ever started. */
static void print_cpu_stats(VmcMachine *machine)
{
    g_autofree char *cpu = esp_cpu_name(machine);
    g_autofree char *table = NULL;
    unsigned n;
    const VmcCpuStats *stats = vmc_machine_get_cpu_stats(machine, &n);

    if (!stats) {
        esp_ctl_say(_("there are no CPU figures (%s)"), cpu);
        return;
    }
    table = esp_cpu_figures(vmc_machine_get_cpu_engine(machine), stats, n);
    esp_ctl_say(_("CPU figures (%s):"), cpu);
    fputs(table, stderr);
}

/* Runs the machine; everything about it has been checked. */
static void run_machine(Run *run)
{
    bool is_terminal = esp_terminal_guard();
    bool started = false;
    SignalHandler handlers[3];
    guint sources[3];

    signal(SIGPIPE, SIG_IGN); /* a closed output is a write that fails */
    signal(SIGXFSZ, SIG_IGN); /* a file at its limit, too */
    run->loop = g_main_loop_new(NULL, FALSE);
    handle_signals(run, handlers, sources);
    guint resized = g_unix_signal_add(SIGWINCH, on_terminal_resized, run);
    if (!connect_stdio(run, is_terminal)) {
        esp_ctl_say(_("the terminal cannot be connected to the guest"));
        run->status = ESP_EXIT_FAILED;
    } else {
        if (is_terminal && run->vfkit.stdio_used)
            esp_terminal_raw();
        if (start(run)) {
            g_autofree char *cpu = esp_cpu_name(run->machine);

            started = true;
            if (run->verbose)
                /* Translators: what the guest’s CPU is, such as “soft, translator”, and a sentence why. */
                esp_ctl_say(_("CPU: %s (%s)"), cpu, vmc_machine_get_cpu_reason(run->machine));
            if (run->gdb_wait)
                esp_ctl_say(_("the machine waits for a debugger: gdb -ex 'target remote %s'"),
                            vmc_gdb_target(run->gdb));
            g_main_loop_run(run->loop);
            if (run->verbose)
                esp_ctl_say(_("the first instruction ran %.1f ms after the start"),
                            (double)vmc_machine_get_start_latency_ns(run->machine) / 1e6);
        }
    }
    esp_terminal_restore();
    for (unsigned i = 0; i < 3; i++) /* from here on a second Ctrl-C ends it at once */
        g_source_remove(sources[i]);
    g_source_remove(resized);
    esp_control_free(run->control);
    if (run->machine) {
        g_signal_handlers_disconnect_by_data(run->machine, run);
        esp_attention_free(run->attention);
        vmc_gdb_free(run->gdb);
        vmc_machine_stop(run->machine);
        if (run->cpu_stats && started)
            print_cpu_stats(run->machine);
        g_object_unref(run->machine);
    }
    g_main_loop_unref(run->loop);
}

int esp_ctl_run(int argc, char **argv)
{
    Run run = {0};
    g_autoptr(GError) error = NULL;

    esp_vfkit_init(&run.vfkit);
    if (!parse(&run, argc, argv, &error)) {
        esp_ctl_say("%s", error->message);
        run.status = ESP_EXIT_USAGE;
    } else if (run.help) {
        print_help();
    } else if (report_faults(run.vfkit.config)) {
        run.status = ESP_EXIT_USAGE;
    } else {
        run_machine(&run);
    }
    esp_vfkit_clear(&run.vfkit);
    g_free(run.gdb_address);
    return run.status;
}
