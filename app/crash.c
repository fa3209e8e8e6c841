/* Machines whose process died (see crash.h). */
#include "app/crash.h"

#include <glib/gi18n.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <vmcore/machine.h>

#include "app/bundle.h"
#include "app/machine_log.h"
#include "app/version.h"

#define SERIAL_SHOWN_BYTES (8u << 10)

/* A process that had nothing to run lost nothing, nor did one that held the bundle for something else. */
static bool was_on(const char *state)
{
    for (int on = VMC_MACHINE_STARTING; on < VMC_MACHINE_ERROR; on++)
        if (g_strcmp0(vmc_machine_state_name((VmcMachineState)on), state) == 0)
            return true;
    return false;
}

bool esp_crash_happened(const char *path)
{
    g_autofree char *state = NULL;

    return esp_bundle_get_last_words(path, NULL, &state) && was_on(state);
}

EspCrash *esp_crash_new(const char *path, int wait_status)
{
    g_autofree char *state = NULL;
    int pid;

    if (!esp_bundle_get_last_words(path, &pid, &state) || !was_on(state))
        return NULL;
    g_autoptr(EspBundle) bundle = esp_bundle_open(path, NULL);
    g_autofree char *basename = g_path_get_basename(path);
    EspCrash *crash = g_new0(EspCrash, 1);
    crash->path = g_strdup(path);
    crash->name = bundle ? g_strdup(esp_bundle_get_name(bundle)) : g_filename_display_name(basename);
    crash->pid = pid;
    crash->state = g_steal_pointer(&state);
    crash->wait_status = wait_status;
    return crash;
}

void esp_crash_free(EspCrash *crash)
{
    if (!crash)
        return;
    g_free(crash->path);
    g_free(crash->name);
    g_free(crash->state);
    g_free(crash);
}

char *esp_crash_explain(const EspCrash *crash)
{
    int status = crash->wait_status;

    if (status == ESP_STATUS_UNKNOWN)
        return g_strdup(_("Its process is gone without having stopped it."));
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        return g_strdup(
            _("Its process was killed (signal 9): by somebody, or by the system because memory ran "
              "out."));
    if (WIFSIGNALED(status))
        /* Translators: the number of a signal, and the system's name for it: "Segmentation fault". */
        return g_strdup_printf(_("Its process was ended by signal %d (%s)."), WTERMSIG(status),
                               g_strsignal(WTERMSIG(status)));
    return g_strdup_printf(_("Its process ended with status %d without having stopped it."),
                           WIFEXITED(status) ? WEXITSTATUS(status) : status);
}

static void add_log(GString *text, const EspCrash *crash, const char *basename, gsize max)
{
    g_autofree char *log = esp_machine_log_read(crash->path, basename, max, NULL);

    if (log && *log)
        g_string_append_printf(text, "\n%s:\n%s", basename, log);
}

char *esp_crash_describe(const EspCrash *crash)
{
    /* For whoever helps, not for the eye: English, as programs print it. */
    GString *text = g_string_new(NULL);
    struct utsname host;

    g_string_append_printf(text, "Machine: %s\nFolder: %s\nProcess: %d, gone while the machine was %s\n",
                           crash->name, crash->path, crash->pid, crash->state);
    if (crash->wait_status == ESP_STATUS_UNKNOWN)
        g_string_append(text, "Status: not known\n");
    else if (WIFSIGNALED(crash->wait_status))
        g_string_append_printf(text, "Status: signal %d, %s%s\n", WTERMSIG(crash->wait_status),
                               g_strsignal(WTERMSIG(crash->wait_status)),
                               WCOREDUMP(crash->wait_status) ? ", core dumped" : "");
    else
        g_string_append_printf(text, "Status: %d\n", WEXITSTATUS(crash->wait_status));
    g_string_append_printf(text, "Espalier: %s\n", ESP_VERSION);
    if (uname(&host) == 0)
        g_string_append_printf(text, "Host: %s %s %s\n", host.sysname, host.release, host.machine);
    add_log(text, crash, ESP_MACHINE_LOG, ESP_LOG_SHOWN_BYTES);
    add_log(text, crash, "serial.log", SERIAL_SHOWN_BYTES);
    return g_string_free(text, FALSE);
}

bool esp_crash_dismiss(const char *path)
{
    g_autoptr(EspBundle) bundle = esp_bundle_open(path, NULL);

    /* Whoever gives the lock back in order empties the file. */
    return bundle && esp_bundle_lock(bundle, NULL);
}
