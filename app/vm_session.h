/*
 * One machine of the user's: its bundle, the running VmcMachine, and what happened to it. No widgets.
 *
 * A session outlives its window: closing the window does not stop the machine. Each start reads the bundle
 * anew and makes a new VmcMachine, so what was changed in the bundle counts from the next start. From when
 * the bundle is locked until the session ends other processes reach it through its control socket
 * (control.h), and what happens is written to machine.log in the bundle (machine_log.h).
 *
 * Signals:
 *   changed ()               state or error
 *   machine-changed ()       another VmcMachine: displays taken from the old one are about to go
 *   log (const char *line)   a new line for the details
 *   attention (const char *why)   the machine was paused because the host lacks something: one sentence
 *
 * Threads: the thread that made it.
 */
#pragma once

#include <gio/gio.h>
#include <vmcore/vmcore.h>

#include "app/bundle.h"
#include "app/serial_lines.h"

G_BEGIN_DECLS

#define ESP_TYPE_VM_SESSION (esp_vm_session_get_type())
G_DECLARE_FINAL_TYPE(EspVmSession, esp_vm_session, ESP, VM_SESSION, GObject)

/* Opens and locks the bundle at `path`. Never NULL: when that fails the session is in the error state and
 * says why. */
EspVmSession *esp_vm_session_new(const char *path);

const char *esp_vm_session_get_name(EspVmSession *session);
const char *esp_vm_session_get_path(EspVmSession *session);
EspBundle *esp_vm_session_get_bundle(EspVmSession *session); /* NULL when it could not be opened */

VmcMachineState esp_vm_session_get_state(EspVmSession *session);
/* Why it is in the error state, or the last stop that was not asked for; NULL when all is well. */
const GError *esp_vm_session_get_error(EspVmSession *session);
/* True from start to stop: a guest is there, be it paused. */
bool esp_vm_session_is_active(EspVmSession *session);
/* Why the guest went off last; only meaningful when stopped after a run. */
VmcStopReason esp_vm_session_get_stop_reason(EspVmSession *session);
bool esp_vm_session_has_run(EspVmSession *session);
/* Seconds since the start of the machine; 0 when it is off. */
double esp_vm_session_get_uptime(EspVmSession *session);

/* The machine, or NULL before the first start. */
VmcMachine *esp_vm_session_get_machine(EspVmSession *session);

/* The serial lines of the machine that have a log file; NULL before the first start. Valid until
 * machine-changed. */
EspSerialLines *esp_vm_session_get_serial(EspVmSession *session);

/* Whether it was started as an isolated machine (app/isolated.h). */
bool esp_vm_session_is_isolated(EspVmSession *session);

/* What the buttons do. A failure puts the session in the error state or, for those that leave the guest as it
 * is (pause, resume, request_stop), is given back. */
void esp_vm_session_start(EspVmSession *session);
bool esp_vm_session_pause(EspVmSession *session, GError **error);
bool esp_vm_session_resume(EspVmSession *session, GError **error);
bool esp_vm_session_request_stop(EspVmSession *session, GError **error);
bool esp_vm_session_reset(EspVmSession *session, GError **error);
void esp_vm_session_stop(EspVmSession *session);

/* Shows the machine's window on the display of that name (GDK's, or empty: where the process was started);
 * `token` lets it come to the front and may be empty. False with `error` set. */
typedef bool (*EspVmPresenter)(EspVmSession *session, const char *display, const char *token, gpointer data,
                               GError **error);
/* Who opens the window when another process asks for it; NULL: nobody can. */
void esp_vm_session_set_presenter(EspVmSession *session, EspVmPresenter presenter, gpointer data);

/* A line for the log, of what happened around the machine. */
void esp_vm_session_add_log(EspVmSession *session, const char *line);
/* What libraries print, too, if it would be lost otherwise (esp_machine_log_take_stderr). */
void esp_vm_session_log_stderr(EspVmSession *session);
/* The log's lines since the session began, the oldest first; free with g_free. */
char *esp_vm_session_get_log(EspVmSession *session);

/* Saves the state of a machine that runs or is paused in the bundle, and then stops it; the next start goes
 * on from there, and removes the file once the guest runs. When it fails the machine goes on as it was.
 * `cancellable` may be NULL; `callback` is called on the session's context. */
void esp_vm_session_save(EspVmSession *session, GCancellable *cancellable, GAsyncReadyCallback callback,
                         gpointer data);
bool esp_vm_session_save_finish(EspVmSession *session, GAsyncResult *result, GError **error);
/* Whether the next start goes on from a saved state. */
bool esp_vm_session_has_saved(EspVmSession *session);
/* Whether the error is that the saved state could not be brought back, such as since the configuration is
 * another one now. It is kept until it is thrown away. */
bool esp_vm_session_is_misfit(EspVmSession *session);
bool esp_vm_session_discard_saved(EspVmSession *session, GError **error);

/* All a helper would ask for: the error, the machine, the log. Plain text for the clipboard; free with
 * g_free. */
char *esp_vm_session_describe(EspVmSession *session);

G_END_DECLS
