/*
 * What peers of a control socket ask for (data/org.espalier.Machine1.xml says what each call is).
 *
 * Calls are carried out on the owner's thread, since that is the machine's; those that take their time (Save,
 * Screenshot) answer later. What fails comes back as a D-Bus error with the sentence of the GError. A control
 * may be freed while such a call is under way: what it still needs it holds itself.
 */
#include <glib/gi18n.h>

#include "app/control_private.h"
#include "app/keys.h"
#include "app/vfkit_device.h"
#include "app/vfkit_items.h"

#define ERROR_NAME  ESP_CONTROL_INTERFACE ".Failed"
#define CHORDS_MAX  64u
#define REPLY_BYTES (32u << 20) /* a picture; a message of D-Bus may have 128 MiB */

typedef GDBusMethodInvocation Call;

/* Takes the error over. */
static gboolean refuse(Call *call, GError *error)
{
    g_autofree char *valid = g_utf8_make_valid(error->message, -1);

    g_dbus_method_invocation_return_dbus_error(call, ERROR_NAME, valid);
    g_error_free(error);
    return TRUE;
}

/* Answers with nothing, or with the error, which it takes over. */
static gboolean finish(Call *call, GError *error)
{
    if (error)
        return refuse(call, error);
    g_dbus_method_invocation_return_value(call, NULL);
    return TRUE;
}

static GError *refusal(const char *sentence)
{
    return g_error_new_literal(VMC_ERROR, VMC_ERROR_STATE, sentence);
}

/* False, and the call was refused, if there is no machine. */
static bool need_machine(EspControl *control, Call *call)
{
    if (!control->machine)
        refuse(call, refusal(_("The machine is off; start it first")));
    return control->machine != NULL;
}

/* ---- on and off ---- */

static gboolean on_start(EspMachine1 *object, Call *call, EspControl *control)
{
    GError *error = NULL;

    if (!control->host || !control->host->start)
        return refuse(call, refusal(_("The machine was started in a terminal and ends with it; it cannot be "
                                      "started from elsewhere")));
    if (!control->host->start(control->opaque, &error) && !error)
        error = refusal(_("The machine cannot be started"));
    return finish(call, error);
}

static gboolean on_pause(EspMachine1 *object, Call *call, EspControl *control)
{
    GError *error = NULL;

    if (!need_machine(control, call))
        return TRUE;
    vmc_machine_pause(control->machine, &error);
    return finish(call, error);
}

static gboolean on_resume(EspMachine1 *object, Call *call, EspControl *control)
{
    GError *error = NULL;

    if (!need_machine(control, call))
        return TRUE;
    vmc_machine_resume(control->machine, &error);
    return finish(call, error);
}

static gboolean on_reset(EspMachine1 *object, Call *call, EspControl *control)
{
    GError *error = NULL;

    if (!need_machine(control, call))
        return TRUE;
    vmc_machine_reset(control->machine, &error);
    return finish(call, error);
}

static gboolean on_request_stop(EspMachine1 *object, Call *call, EspControl *control)
{
    GError *error = NULL;

    if (!need_machine(control, call))
        return TRUE;
    vmc_machine_request_stop(control->machine, &error);
    return finish(call, error);
}

/* Answers first: stopping may end whoever owns the machine, and the control with it. */
static void answer_and_stop(VmcMachine *machine, Call *call)
{
    GDBusConnection *peer = g_object_ref(g_dbus_method_invocation_get_connection(call));

    g_object_ref(machine);
    finish(call, NULL);
    g_dbus_connection_flush_sync(peer, NULL, NULL);
    vmc_machine_stop(machine);
    g_object_unref(machine);
    g_object_unref(peer);
}

static gboolean on_stop(EspMachine1 *object, Call *call, EspControl *control)
{
    if (need_machine(control, call))
        answer_and_stop(control->machine, call);
    return TRUE;
}

/* ---- keeping ---- */

typedef struct Save {
    Call *call;
    bool ran, keep;
} Save;

/* What ran goes on if it is to, or could not be saved. The control may be gone by now. */
static void on_saved(GObject *source, GAsyncResult *result, gpointer data)
{
    VmcMachine *machine = VMC_MACHINE(source);
    Save *save = data;
    GError *error = NULL;

    if (vmc_machine_save_finish(machine, result, &error) && !save->keep) {
        answer_and_stop(machine, save->call);
    } else {
        if (save->ran && vmc_machine_get_state(machine) == VMC_MACHINE_PAUSED)
            vmc_machine_resume(machine, error ? NULL : &error);
        finish(save->call, error);
    }
    g_free(save);
}

static gboolean on_save(EspMachine1 *object, Call *call, const char *path, gboolean keep, EspControl *control)
{
    GError *error = NULL;

    if (!need_machine(control, call))
        return TRUE;
    bool runs = vmc_machine_get_state(control->machine) == VMC_MACHINE_RUNNING;
    if (!g_path_is_absolute(path))
        return refuse(call, refusal(_("The file to save to needs an absolute path")));
    if (runs && !vmc_machine_pause(control->machine, &error))
        return refuse(call, error);
    Save *save = g_new(Save, 1);
    *save = (Save){call, runs, keep};
    vmc_machine_save(control->machine, path, NULL, on_saved, save);
    return TRUE;
}

static gboolean on_snapshot(EspMachine1 *object, Call *call, const char *name, EspControl *control)
{
    GError *error = NULL;

    if (!need_machine(control, call))
        return TRUE;
    vmc_machine_take_snapshot(control->machine, name, &error);
    return finish(call, error);
}

/* ---- seeing and typing ---- */

static gboolean on_present(EspMachine1 *object, Call *call, const char *display, const char *token,
                           EspControl *control)
{
    GError *error = NULL;

    if (!control->host || !control->host->present)
        return refuse(call, refusal(_("The machine runs in a terminal and has no window; start it from the "
                                      "library for one")));
    if (!control->host->present(control->opaque, display, token, &error) && !error)
        error = refusal(_("The machine's window cannot be shown"));
    return finish(call, error);
}

typedef struct Shot {
    VmcMachine *machine; /* whose display it is */
    VmcDisplay *display;
} Shot;

static void take_shot(GTask *task, gpointer source, gpointer data, GCancellable *cancel)
{
    Shot *shot = data;
    GError *error = NULL;
    VmcFrame frame;

    vmc_display_take_picture(shot->display, &frame);
    GBytes *png = vmc_frame_to_png(&frame, &error);
    vmc_picture_clear(&frame);
    if (png && g_bytes_get_size(png) > REPLY_BYTES) {
        g_clear_pointer(&png, g_bytes_unref);
        error = refusal(_("The picture is too large to be sent"));
    }
    if (png)
        g_task_return_pointer(task, png, (GDestroyNotify)g_bytes_unref);
    else
        g_task_return_error(task, error);
}

static void on_shot(GObject *source, GAsyncResult *result, gpointer data)
{
    Shot *shot = g_task_get_task_data(G_TASK(result));
    Call *call = data;
    GError *error = NULL;
    g_autoptr(GBytes) png = g_task_propagate_pointer(G_TASK(result), &error);

    if (png)
        g_dbus_method_invocation_return_value(
            call, g_variant_new("(@ay)", g_variant_new_from_bytes(G_VARIANT_TYPE_BYTESTRING, png, TRUE)));
    else
        refuse(call, error);
    g_clear_object(&shot->machine); /* here, as dropping the last one is for the machine's thread */
}

static gboolean on_screenshot(EspMachine1 *object, Call *call, guint number, EspControl *control)
{
    if (!need_machine(control, call))
        return TRUE;
    VmcDisplay *display = vmc_machine_get_display(control->machine, number);
    if (!display)
        return refuse(call, g_error_new(VMC_ERROR, VMC_ERROR_CONFIG,
                                        _("The machine has no display %u; they are counted from 0"), number));
    Shot *shot = g_new(Shot, 1);
    *shot = (Shot){g_object_ref(control->machine), display};
    g_autoptr(GTask) task = g_task_new(NULL, NULL, on_shot, call);
    g_task_set_task_data(task, shot, g_free);
    g_task_run_in_thread(task, take_shot);
    return TRUE;
}

static gboolean on_send_key(EspMachine1 *object, Call *call, const char *const *chords, EspControl *control)
{
    EspChord parsed[CHORDS_MAX];
    GError *error = NULL;
    unsigned n = 0;

    if (!need_machine(control, call))
        return TRUE;
    for (; chords[n]; n++) {
        if (n == CHORDS_MAX)
            return refuse(call, refusal(_("At most 64 chords can be sent at once")));
        if (!esp_chord_parse(chords[n], &parsed[n], &error))
            return refuse(call, error);
    }
    VmcMachineState state = vmc_machine_get_state(control->machine);
    if (state != VMC_MACHINE_RUNNING)
        return refuse(call, g_error_new(VMC_ERROR, VMC_ERROR_STATE,
                                        /* Translators: a state, such as “paused”. */
                                        _("Keys can be sent to a machine that runs; it is %s"),
                                        vmc_machine_state_text(state)));
    for (unsigned i = 0; i < n; i++)
        esp_chord_send(&parsed[i], control->machine);
    return finish(call, NULL);
}

static gboolean on_ip(EspMachine1 *object, Call *call, EspControl *control)
{
    static const char *const none[] = {NULL};
    g_auto(GStrv) addresses = control->machine ? vmc_machine_get_addresses(control->machine) : NULL;

    esp_machine1_complete_ip(object, call, addresses ? (const char *const *)addresses : none);
    return TRUE;
}

static gboolean on_log(EspMachine1 *object, Call *call, EspControl *control)
{
    g_autofree char *text =
        control->host && control->host->log ? control->host->log(control->opaque) : g_strdup("");
    g_autofree char *valid = g_utf8_make_valid(text, -1);

    esp_machine1_complete_log(object, call, valid);
    return TRUE;
}

/* ---- devices ---- */

static void add_actions(GVariantBuilder *list, const VmcDeviceInfo *info)
{
    g_variant_builder_open(list, G_VARIANT_TYPE("as"));
    for (unsigned n = 0; n < info->n_actions; n++) {
        const VmcAction *action = &info->actions[n];
        g_autofree char *line =
            g_strdup_printf("%s%s%s: %s", action->name, action->arguments && *action->arguments ? " " : "",
                            action->arguments ? action->arguments : "", action->help);

        g_variant_builder_add(list, "s", line);
    }
    g_variant_builder_close(list);
}

static gboolean on_devices(EspMachine1 *object, Call *call, EspControl *control)
{
    GVariantBuilder list;

    if (!need_machine(control, call))
        return TRUE;
    const VmcConfig *config = vmc_machine_get_config(control->machine);
    g_variant_builder_init(&list, G_VARIANT_TYPE("a(ussas)"));
    for (guint i = 0; i < config->devices->len; i++) {
        const VmcDeviceConfig *device = g_ptr_array_index(config->devices, i);
        const VmcDeviceInfo *info = vmc_device_info(device->kind);
        g_autofree char *text = esp_vfkit_device_text(device);
        g_autofree char *valid = g_utf8_make_valid(text, -1);

        g_variant_builder_open(&list, G_VARIANT_TYPE("(ussas)"));
        g_variant_builder_add(&list, "u", i);
        g_variant_builder_add(&list, "s", valid);
        g_variant_builder_add(&list, "s", info->help);
        add_actions(&list, info);
        g_variant_builder_close(&list);
    }
    esp_machine1_complete_devices(object, call, g_variant_builder_end(&list));
    return TRUE;
}

static gboolean on_act(EspMachine1 *object, Call *call, guint index, const char *action,
                       const char *const *arguments, EspControl *control)
{
    GError *error = NULL;

    if (!need_machine(control, call))
        return TRUE;
    g_autofree char *reply = vmc_machine_act(control->machine, index, action, arguments, &error);
    if (!reply)
        return refuse(call, error);
    g_autofree char *valid = g_utf8_make_valid(reply, -1);
    esp_machine1_complete_act(object, call, valid);
    return TRUE;
}

static gboolean on_attach(EspMachine1 *object, Call *call, const char *text, EspControl *control)
{
    GError *error = NULL;
    int index = -1;

    if (!need_machine(control, call))
        return TRUE;
    VmcConfig *config = vmc_config_new();
    g_autoptr(GPtrArray) items = esp_items_split("attach", text, &error);
    if (items && esp_vfkit_add_device(config, items, &error))
        index = vmc_machine_attach(control->machine, g_ptr_array_index(config->devices, 0), &error);
    vmc_config_free(config);
    if (index < 0)
        return refuse(call, error);
    esp_machine1_complete_attach(object, call, (guint)index);
    return TRUE;
}

static gboolean on_detach(EspMachine1 *object, Call *call, guint index, EspControl *control)
{
    GError *error = NULL;

    if (!need_machine(control, call))
        return TRUE;
    vmc_machine_detach(control->machine, index, &error);
    return finish(call, error);
}

void esp_control_connect_calls(EspControl *control)
{
    const struct {
        const char *signal;
        GCallback handler;
    } table[] = {
        {"handle-start", G_CALLBACK(on_start)},
        {"handle-pause", G_CALLBACK(on_pause)},
        {"handle-resume", G_CALLBACK(on_resume)},
        {"handle-reset", G_CALLBACK(on_reset)},
        {"handle-request-stop", G_CALLBACK(on_request_stop)},
        {"handle-stop", G_CALLBACK(on_stop)},
        {"handle-save", G_CALLBACK(on_save)},
        {"handle-snapshot", G_CALLBACK(on_snapshot)},
        {"handle-present", G_CALLBACK(on_present)},
        {"handle-screenshot", G_CALLBACK(on_screenshot)},
        {"handle-send-key", G_CALLBACK(on_send_key)},
        {"handle-ip", G_CALLBACK(on_ip)},
        {"handle-log", G_CALLBACK(on_log)},
        {"handle-devices", G_CALLBACK(on_devices)},
        {"handle-act", G_CALLBACK(on_act)},
        {"handle-attach", G_CALLBACK(on_attach)},
        {"handle-detach", G_CALLBACK(on_detach)},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(table); i++)
        g_signal_connect(control->object, table[i].signal, table[i].handler, control);
}
