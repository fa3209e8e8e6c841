/*
 * The window of a machine (see vm_window.h).
 *
 * `update` is the one function that brings everything that is seen in line with the session; it is cheap and
 * called whenever anything changed.
 */
#include "ui/vm_window.h"

#include <glib/gi18n.h>

#include "ui/status_page.h"
#include "ui/vm_actions.h"
#include "ui/vm_agent.h"
#include "ui/vm_close.h"
#include "ui/vm_consoles.h"
#include "ui/vm_isolated.h"
#include "ui/vm_media.h"
#include "ui/vm_screens.h"
#include "ui/words.h"

#define BAR_HIDE_MS      1800
#define PICTURE_SECONDS  20
#define PICTURE_WIDTH    416 /* a thumbnail of the library at four times its size */
#define PICTURE_FIRST_MS 4000

struct _EspVmWindow {
    GtkApplicationWindow parent_instance;
    EspVmSession *session;
    GSettings *settings;

    GtkWidget *header;
    GtkLabel *title_label;
    GtkLabel *subtitle_label;
    GtkStack *stack;
    GtkScrolledWindow *scroller;
    EspDisplayView *view;
    EspVmScreens *screens;
    EspStatusPage *status;
    GtkWidget *start_button;
    GtkWidget *pause_button;
    GtkWidget *stop_button;
    GtkWidget *keys_button;
    GtkWidget *menu_button;
    GtkImage *fullscreen_button_image;
    GtkWidget *paused_veil;
    GtkRevealer *boot_revealer;
    GtkSpinner *boot_spinner;
    GtkLabel *boot_label;
    GtkRevealer *bar_revealer;
    GtkLabel *bar_label;
    GtkWidget *bar_keys_button;
    GtkWidget *bar_leave_button;
    EspToast *toast;
    EspTransfers *transfers;
    EspVmAgent *agent;
    EspVmConsoles *consoles;
    EspVmClose *close;
    EspVmMedia *media;
    GMenu *media_list;
    GMenu *shares_list;
    GtkStack *views;
    GtkRevealer *tabs;

    VmcMachine *shown; /* whose display the view has; not owned */
    bool fullscreen;
    bool closed; /* by the user, while the machine goes on */
    bool drawn;  /* the guest has shown something since it started */
    guint boot_id;
    guint bar_id;
    guint picture_id;
};

G_DEFINE_TYPE(EspVmWindow, esp_vm_window, GTK_TYPE_APPLICATION_WINDOW)

/* Whether there is something to be seen of a machine. */
static bool has_begun(VmcMachine *machine)
{
    VmcMachineState state = vmc_machine_get_state(machine);
    return state != VMC_MACHINE_STOPPED && state != VMC_MACHINE_ERROR && state != VMC_MACHINE_STARTING &&
           state != VMC_MACHINE_RESTORING;
}

static void on_machine_changed(EspVmWindow *window)
{
    VmcMachine *machine = esp_vm_session_get_machine(window->session);
    if (machine == window->shown || (machine && !has_begun(machine)))
        return;
    window->shown = machine;
    bool screens = esp_vm_screens_set_machine(window->screens, machine);
    window->drawn = machine && !screens; /* there is nothing to wait for */
    esp_vm_agent_set_machine(window->agent, machine);
    esp_vm_consoles_set_lines(window->consoles, esp_vm_session_get_serial(window->session), machine);
    esp_vm_media_set_machine(window->media, machine);
    if (machine && !screens)
        g_action_group_change_action_state(G_ACTION_GROUP(window), "consoles", g_variant_new_boolean(TRUE));
}

/* --- A machine that was paused for its host's sake ---------------------------------------------- */

static void on_attention_answer(GtkDialog *dialog, int response, EspVmWindow *window)
{
    gtk_widget_destroy(GTK_WIDGET(dialog));
    if (response == GTK_RESPONSE_ACCEPT && esp_vm_session_get_state(window->session) == VMC_MACHINE_PAUSED)
        esp_vm_session_resume(window->session, NULL);
}

/* If there is still no room after Resume, the machine is paused again and this comes anew. */
static void on_attention(EspVmWindow *window, const char *why)
{
    GtkWidget *dialog =
        gtk_message_dialog_new(GTK_WINDOW(window), GTK_DIALOG_MODAL | GTK_DIALOG_DESTROY_WITH_PARENT,
                               GTK_MESSAGE_WARNING, GTK_BUTTONS_NONE, _("The machine was paused"));
    gtk_message_dialog_format_secondary_text(GTK_MESSAGE_DIALOG(dialog), "%s", why);
    gtk_dialog_add_button(GTK_DIALOG(dialog), _("_Stay Paused"), GTK_RESPONSE_CANCEL);
    gtk_dialog_add_button(GTK_DIALOG(dialog), _("_Resume"), GTK_RESPONSE_ACCEPT);
    gtk_dialog_set_default_response(GTK_DIALOG(dialog), GTK_RESPONSE_ACCEPT);
    g_signal_connect_object(dialog, "response", G_CALLBACK(on_attention_answer), window, 0);
    gtk_widget_show(dialog);
}

/* --- The picture in the library ----------------------------------------------------------------- */

static void save_picture(EspVmWindow *window)
{
    EspBundle *bundle = esp_vm_session_get_bundle(window->session);
    g_autoptr(GdkPixbuf) picture =
        bundle && window->drawn ? esp_display_view_take_picture(window->view) : NULL;
    if (!picture)
        return;
    int width = gdk_pixbuf_get_width(picture), height = gdk_pixbuf_get_height(picture);
    int small_height = MAX(1, height * PICTURE_WIDTH / width);
    g_autoptr(GdkPixbuf) small =
        width > PICTURE_WIDTH
            ? gdk_pixbuf_scale_simple(picture, PICTURE_WIDTH, small_height, GDK_INTERP_BILINEAR)
            : g_object_ref(picture);
    g_autofree char *file = esp_bundle_file(bundle, "screenshot.png");
    g_autofree char *data = NULL;
    gsize length = 0;
    /* Written aside and renamed, so that the library never reads half of it. It need not survive a power cut.
     */
    if (gdk_pixbuf_save_to_buffer(small, &data, &length, "png", NULL, NULL))
        g_file_set_contents_full(file, data, (gssize)length, G_FILE_SET_CONTENTS_CONSISTENT, 0600, NULL);
}

static gboolean on_picture_time(gpointer data)
{
    EspVmWindow *window = data;
    save_picture(window);
    window->picture_id = g_timeout_add_seconds(PICTURE_SECONDS, on_picture_time, window);
    return G_SOURCE_REMOVE;
}

static void update_picture_clock(EspVmWindow *window, bool running)
{
    if (running && !window->picture_id) {
        window->picture_id = g_timeout_add(PICTURE_FIRST_MS, on_picture_time, window);
    } else if (!running && window->picture_id) {
        g_clear_handle_id(&window->picture_id, g_source_remove);
        save_picture(window);
    }
}

/* --- Boot status -------------------------------------------------------------------------------- */

/* The guest counts as there once it has drawn; a display's own black is nothing. */
static bool is_booting(EspVmWindow *window)
{
    VmcMachineState state = esp_vm_session_get_state(window->session);
    if (state == VMC_MACHINE_SAVING || state == VMC_MACHINE_RESTORING)
        return true;
    return (state == VMC_MACHINE_STARTING || state == VMC_MACHINE_RUNNING) && !window->drawn;
}

static void update_boot_label(EspVmWindow *window)
{
    VmcMachine *machine = esp_vm_session_get_machine(window->session);
    const char *backend = machine ? vmc_machine_get_cpu_backend(machine) : NULL;
    double seconds = esp_vm_session_get_uptime(window->session);
    VmcMachineState state = esp_vm_session_get_state(window->session);
    g_autofree char *text = NULL;
    if (state == VMC_MACHINE_SAVING)
        text = g_strdup(_("Saving the state…"));
    else if (state == VMC_MACHINE_RESTORING)
        text = g_strdup(_("Bringing the saved state back…"));
    else if (!g_strcmp0(backend, "soft"))
        text = g_strdup_printf(_("Starting on the software CPU… %.0f s"), seconds);
    else
        text = g_strdup_printf(_("Starting… %.0f s"), seconds);
    gtk_label_set_text(window->boot_label, text);
}

static gboolean on_boot_clock(gpointer data)
{
    update_boot_label(data);
    return G_SOURCE_CONTINUE;
}

static void update_boot(EspVmWindow *window)
{
    bool booting = is_booting(window);
    gtk_revealer_set_reveal_child(window->boot_revealer, booting);
    g_object_set(window->boot_spinner, "active", booting, NULL);
    if (booting)
        update_boot_label(window);
    if (booting && !window->boot_id) {
        window->boot_id = g_timeout_add_seconds(1, on_boot_clock, window);
    } else if (!booting) {
        g_clear_handle_id(&window->boot_id, g_source_remove);
    }
}

static void on_frame(EspVmWindow *window)
{
    if (window->drawn || !esp_display_view_has_content(window->view))
        return;
    window->drawn = true;
    update_boot(window);
}

static void on_guest_resized(EspVmWindow *window)
{
    esp_vm_actions_update(window);
}

/* --- Everything that is seen -------------------------------------------------------------------- */

static void update_title(EspVmWindow *window)
{
    VmcMachineState state = esp_vm_session_get_state(window->session);
    const char *name = esp_vm_session_get_name(window->session);
    bool grabbed = esp_display_view_is_grabbed(window->view);
    g_autofree char *subtitle = esp_vm_isolated_title(
        window->session,
        grabbed ? _("Press Ctrl+Alt to release the keyboard and pointer") : esp_state_words(state));

    gtk_label_set_text(window->title_label, name);
    gtk_label_set_text(window->subtitle_label, subtitle);
    g_autofree char *title = g_strdup_printf("%s — %s", name, subtitle);
    gtk_window_set_title(GTK_WINDOW(window), title);
    gtk_label_set_text(window->bar_label, title);
}

static void show_off_page(EspVmWindow *window)
{
    g_autofree char *title = g_strdup_printf(_("“%s” is off"), esp_vm_session_get_name(window->session));
    const char *body = NULL;
    if (esp_vm_session_has_saved(window->session)) {
        body = _("Its state is saved: the guest goes on where it was.");
    } else if (esp_vm_session_has_run(window->session)) {
        bool by_guest = esp_vm_session_get_stop_reason(window->session) == VMC_STOP_GUEST_POWER_OFF;
        body = by_guest ? _("The guest has shut itself down.") : _("The machine was forced off.");
    }
    esp_status_page_set(window->status, "system-shutdown-symbolic", title, body);
    esp_status_page_set_action(window->status,
                               esp_vm_session_has_saved(window->session) ? _("_Continue") : _("_Start"),
                               "win.start");
}

static void show_error_page(EspVmWindow *window)
{
    const GError *error = esp_vm_session_get_error(window->session);
    const char *name = esp_vm_session_get_name(window->session);
    g_autofree char *title = g_strdup_printf(
        esp_vm_session_has_run(window->session) ? _("“%s” had to stop") : _("“%s” cannot start"), name);
    g_autofree char *details = esp_vm_session_describe(window->session);
    esp_status_page_set(window->status, "dialog-warning-symbolic", title, error ? error->message : NULL);
    esp_status_page_set_details(window->status, details);
    if (esp_vm_session_is_misfit(window->session))
        esp_status_page_set_action(window->status, _("_Throw the Saved State Away…"), "win.discard-saved");
    else
        esp_status_page_set_action(window->status, _("_Try Again"), "win.start");
}

static void update_page(EspVmWindow *window)
{
    VmcMachineState state = esp_vm_session_get_state(window->session);
    bool was_screen = !g_strcmp0(gtk_stack_get_visible_child_name(window->stack), "screen");
    bool screen = esp_vm_session_is_active(window->session);
    if (state == VMC_MACHINE_ERROR)
        show_error_page(window);
    else if (!screen)
        show_off_page(window);
    gtk_stack_set_visible_child_name(window->stack, screen ? "screen" : "status");
    if (screen && !was_screen)
        gtk_widget_grab_focus(GTK_WIDGET(window->view));
    else if (!screen)
        esp_status_page_focus(window->status);
}

static void update(EspVmWindow *window)
{
    VmcMachineState state = esp_vm_session_get_state(window->session);
    bool active = esp_vm_session_is_active(window->session);
    bool paused = state == VMC_MACHINE_PAUSED;

    on_machine_changed(window);
    esp_vm_screens_set_active(window->screens, state == VMC_MACHINE_RUNNING);
    if (state != VMC_MACHINE_RUNNING)
        esp_display_view_ungrab(window->view);
    update_page(window);
    update_title(window);
    update_boot(window);
    update_picture_clock(window, state == VMC_MACHINE_RUNNING);

    gtk_widget_set_visible(window->paused_veil, paused);
    gtk_widget_set_visible(window->start_button, !active);
    gtk_widget_set_visible(window->pause_button, active);
    const char *tip = paused ? _("Let the machine go on") : _("Pause the machine");
    gtk_widget_set_tooltip_text(window->pause_button, tip);
    esp_vm_actions_update(window);
    if (!active && window->closed)
        gtk_widget_destroy(GTK_WIDGET(window)); /* nothing is left to come back to */
}

static void on_session_changed(EspVmWindow *window)
{
    g_object_ref(window);
    update(window);
    g_object_unref(window);
}

/* --- Size --------------------------------------------------------------------------------------- */

static bool configured_size(EspVmWindow *window, unsigned *width, unsigned *height)
{
    EspBundle *bundle = esp_vm_session_get_bundle(window->session);
    VmcConfig *config = bundle ? esp_bundle_get_config(bundle, NULL) : NULL;
    bool found = false;
    for (guint i = 0; config && i < config->devices->len && !found; i++) {
        const VmcDeviceConfig *device = config->devices->pdata[i];
        found = device->kind == VMC_DEVICE_VIRTIO_GPU || device->kind == VMC_DEVICE_VGA;
        *width = device->display.width;
        *height = device->display.height;
    }
    vmc_config_free(config);
    return found;
}

/* As large as the guest's screen with one pixel each, where the monitor has the room. */
static void set_first_size(EspVmWindow *window)
{
    unsigned guest_width = 1024, guest_height = 768;
    GdkDisplay *display = gtk_widget_get_display(GTK_WIDGET(window));
    GdkMonitor *monitor = gdk_display_get_primary_monitor(display);
    if (!monitor)
        monitor = gdk_display_get_monitor(display, 0);
    GdkRectangle room = {.width = 1024, .height = 768};
    if (monitor)
        gdk_monitor_get_workarea(monitor, &room);
    if (!configured_size(window, &guest_width, &guest_height)) {
        guest_width = 1024;
        guest_height = 768;
    }
    int width = (int)guest_width, height = (int)guest_height, bar = 0;
    gtk_widget_get_preferred_height(window->header, NULL, &bar);
    if (width > room.width || height + bar > room.height) {
        double scale = MIN(room.width * 0.9 / guest_width, (room.height * 0.9 - bar) / guest_height);
        width = (int)(guest_width * scale);
        height = (int)(guest_height * scale);
    }
    /* GTK adds the height of the header bar. */
    gtk_window_set_default_size(GTK_WINDOW(window), MAX(width, 480), MAX(height, 360));
}

void esp_vm_window_set_scaling(EspVmWindow *window, EspScaling scaling)
{
    GtkPolicyType policy = scaling == ESP_SCALING_FIT ? GTK_POLICY_NEVER : GTK_POLICY_AUTOMATIC;
    gtk_scrolled_window_set_policy(window->scroller, policy, policy);
    esp_display_view_set_scaling(window->view, scaling);
    esp_vm_screens_set_scaling(window->screens, scaling);
}

/* --- Full screen -------------------------------------------------------------------------------- */

/* Whether the user is at the bar, with the pointer, the keyboard or an open menu. */
static bool bar_in_use(EspVmWindow *window)
{
    GtkWidget *bar = GTK_WIDGET(window->bar_revealer);
    GtkWidget *focus = gtk_window_get_focus(GTK_WINDOW(window));
    if ((focus && gtk_widget_is_ancestor(focus, bar)) ||
        gtk_toggle_button_get_active(GTK_TOGGLE_BUTTON(window->bar_keys_button)))
        return true;
    GdkDisplay *display = gtk_widget_get_display(bar);
    GdkDevice *pointer = gdk_seat_get_pointer(gdk_display_get_default_seat(display));
    int x, y, bar_x = 0, bar_y = 0;
    gdk_window_get_device_position(gtk_widget_get_window(GTK_WIDGET(window)), pointer, &x, &y, NULL);
    gtk_widget_translate_coordinates(bar, GTK_WIDGET(window), 0, 0, &bar_x, &bar_y);
    /* From the upper edge on: the pointer that brought the bar is still above it. */
    return x >= bar_x && x < bar_x + gtk_widget_get_allocated_width(bar) && y >= 0 &&
           y < bar_y + gtk_widget_get_allocated_height(bar);
}

static gboolean on_bar_timeout(gpointer data)
{
    EspVmWindow *window = data;
    if (window->fullscreen && bar_in_use(window))
        return G_SOURCE_CONTINUE;
    window->bar_id = 0;
    gtk_revealer_set_reveal_child(window->bar_revealer, FALSE);
    return G_SOURCE_REMOVE;
}

static void show_bar(EspVmWindow *window)
{
    g_clear_handle_id(&window->bar_id, g_source_remove);
    gtk_revealer_set_reveal_child(window->bar_revealer, window->fullscreen);
    if (window->fullscreen)
        window->bar_id = g_timeout_add(BAR_HIDE_MS, on_bar_timeout, window);
}

static gboolean esp_vm_window_state_event(GtkWidget *widget, GdkEventWindowState *event)
{
    EspVmWindow *window = ESP_VM_WINDOW(widget);
    bool fullscreen = event->new_window_state & GDK_WINDOW_STATE_FULLSCREEN;
    if (fullscreen != window->fullscreen) {
        window->fullscreen = fullscreen;
        gtk_image_set_from_icon_name(window->fullscreen_button_image,
                                     fullscreen ? "view-restore-symbolic" : "view-fullscreen-symbolic",
                                     GTK_ICON_SIZE_BUTTON);
        show_bar(window);
        esp_vm_screens_set_fullscreen(window->screens, fullscreen);
        if (esp_vm_session_is_active(window->session))
            gtk_widget_grab_focus(GTK_WIDGET(window->view));
        esp_vm_actions_update(window);
    }
    return GTK_WIDGET_CLASS(esp_vm_window_parent_class)->window_state_event(widget, event);
}

/* The pointer at the upper edge brings the bar. */
static gboolean on_view_motion(EspVmWindow *window, GdkEventMotion *event)
{
    if (window->fullscreen && event->y < 2)
        show_bar(window);
    return GDK_EVENT_PROPAGATE;
}

/* --- Keyboard ----------------------------------------------------------------------------------- */

/* Before accelerators and mnemonics can see it. */
static gboolean esp_vm_window_key_event(GtkWidget *widget, GdkEventKey *event)
{
    EspVmWindow *window = ESP_VM_WINDOW(widget);
    bool press = event->type == GDK_KEY_PRESS;
    if (esp_vm_session_is_active(window->session) && esp_display_view_wants_key(window->view, event))
        return gtk_widget_event(GTK_WIDGET(window->view), (GdkEvent *)event);
    if (esp_vm_consoles_has_focus(window) && event->keyval != GDK_KEY_F11 &&
        gtk_window_propagate_key_event(GTK_WINDOW(window), event))
        return GDK_EVENT_STOP;
    GtkWidgetClass *parent = GTK_WIDGET_CLASS(esp_vm_window_parent_class);
    return press ? parent->key_press_event(widget, event) : parent->key_release_event(widget, event);
}

/* Ctrl+Alt: the keys are the window's again, so something of the window must have the focus. */
static void on_release(EspVmWindow *window)
{
    if (window->fullscreen)
        show_bar(window);
    gtk_widget_grab_focus(window->fullscreen ? window->bar_leave_button : window->menu_button);
}

/* --- Closing ------------------------------------------------------------------------------------ */

void esp_vm_window_hide_running(EspVmWindow *window)
{
    GApplication *application = G_APPLICATION(gtk_window_get_application(GTK_WINDOW(window)));
    save_picture(window);
    window->closed = true;
    gtk_widget_hide(GTK_WIDGET(window));
    esp_vm_screens_set_shown(window->screens, false);
    if (!g_application_get_dbus_connection(application))
        return;
    g_autofree char *title = g_strdup_printf(_("“%s” goes on"), esp_vm_session_get_name(window->session));
    g_autoptr(GNotification) note = g_notification_new(title);
    g_notification_set_body(note, _("Open it from the library to see its window again."));
    g_application_send_notification(application, "running", note);
}

static gboolean esp_vm_window_delete_event(GtkWidget *widget, GdkEventAny *event)
{
    return esp_vm_close_request(ESP_VM_WINDOW(widget)->close);
}

static void esp_vm_window_show(GtkWidget *widget)
{
    GApplication *application = G_APPLICATION(gtk_window_get_application(GTK_WINDOW(widget)));
    if (application && ESP_VM_WINDOW(widget)->closed)
        g_application_withdraw_notification(application, "running");
    ESP_VM_WINDOW(widget)->closed = false;
    GTK_WIDGET_CLASS(esp_vm_window_parent_class)->show(widget);
    esp_vm_screens_set_shown(ESP_VM_WINDOW(widget)->screens, true);
}

/* --- The window --------------------------------------------------------------------------------- */

bool esp_vm_window_is_alive(EspVmWindow *window)
{
    return window->view != NULL;
}

EspVmSession *esp_vm_window_get_session(EspVmWindow *window)
{
    return window->session;
}

EspDisplayView *esp_vm_window_get_view(EspVmWindow *window)
{
    return window->view;
}

GSettings *esp_vm_window_get_settings(EspVmWindow *window)
{
    return window->settings;
}

EspVmClose *esp_vm_window_get_close(EspVmWindow *window)
{
    return window->close;
}

EspVmMedia *esp_vm_window_get_media(EspVmWindow *window)
{
    return window->media;
}

EspToast *esp_vm_window_get_toast(EspVmWindow *window)
{
    return window->toast;
}

EspTransfers *esp_vm_window_get_transfers(EspVmWindow *window)
{
    return window->transfers;
}

bool esp_vm_window_takes_files(EspVmWindow *window)
{
    return esp_vm_agent_takes_files(window->agent);
}

bool esp_vm_window_is_fullscreen(EspVmWindow *window)
{
    return window->fullscreen;
}

void esp_vm_window_set_menus_sensitive(EspVmWindow *window, bool stop, bool keys)
{
    gtk_widget_set_sensitive(window->stop_button, stop);
    gtk_widget_set_sensitive(window->keys_button, keys);
    gtk_widget_set_sensitive(window->bar_keys_button, keys);
}

GtkWidget *esp_vm_window_new(GtkApplication *application, EspVmSession *session, GSettings *settings)
{
    EspVmWindow *window = g_object_new(ESP_TYPE_VM_WINDOW, "application", application, NULL);
    window->session = g_object_ref(session);
    window->settings = settings ? g_object_ref(settings) : NULL;
    window->agent = esp_vm_agent_new(window);
    window->consoles = esp_vm_consoles_new(window, window->views, window->tabs);
    esp_vm_screens_install(window->screens);
    esp_vm_consoles_install(window->consoles);
    window->close = esp_vm_close_new(window);
    esp_vm_close_install(window->close);
    window->media = esp_vm_media_new(window, window->media_list, window->shares_list);
    esp_vm_media_install(window->media);
    esp_vm_actions_install(window);
    esp_vm_isolated_watch(window);
    g_autofree char *scaling = settings ? g_settings_get_string(settings, "scaling") : NULL;
    esp_vm_window_set_scaling(window,
                              g_strcmp0(scaling, "one-to-one") ? ESP_SCALING_FIT : ESP_SCALING_ONE_TO_ONE);

    /* Translators: for screen readers: the area with the guest's screen. */
    g_autofree char *accessible = g_strdup_printf(_("Screen of “%s”"), esp_vm_session_get_name(session));
    atk_object_set_name(gtk_widget_get_accessible(GTK_WIDGET(window->view)), accessible);
    g_signal_connect_object(session, "changed", G_CALLBACK(on_session_changed), window, G_CONNECT_SWAPPED);
    g_signal_connect_object(session, "attention", G_CALLBACK(on_attention), window, G_CONNECT_SWAPPED);
    g_signal_connect_object(session, "machine-changed", G_CALLBACK(on_machine_changed), window,
                            G_CONNECT_SWAPPED);
    set_first_size(window);
    gtk_widget_show(window->header);
    on_session_changed(window);
    return GTK_WIDGET(window);
}

static void esp_vm_window_dispose(GObject *object)
{
    EspVmWindow *window = ESP_VM_WINDOW(object);
    g_clear_handle_id(&window->boot_id, g_source_remove);
    g_clear_handle_id(&window->bar_id, g_source_remove);
    g_clear_handle_id(&window->picture_id, g_source_remove);
    if (window->view) {
        g_clear_pointer(&window->screens, esp_vm_screens_free);
        g_clear_pointer(&window->agent, esp_vm_agent_free);
        g_clear_pointer(&window->consoles, esp_vm_consoles_free);
        g_clear_pointer(&window->close, esp_vm_close_free);
        g_clear_pointer(&window->media, esp_vm_media_free);
        window->view = NULL;
    }
    g_clear_object(&window->session);
    g_clear_object(&window->settings);
    G_OBJECT_CLASS(esp_vm_window_parent_class)->dispose(object);
}

static void bind_children(GtkWidgetClass *widget_class)
{
    gtk_widget_class_bind_template_child(widget_class, EspVmWindow, header);
    gtk_widget_class_bind_template_child(widget_class, EspVmWindow, title_label);
    gtk_widget_class_bind_template_child(widget_class, EspVmWindow, subtitle_label);
    gtk_widget_class_bind_template_child(widget_class, EspVmWindow, stack);
    gtk_widget_class_bind_template_child(widget_class, EspVmWindow, scroller);
    gtk_widget_class_bind_template_child(widget_class, EspVmWindow, view);
    gtk_widget_class_bind_template_child(widget_class, EspVmWindow, status);
    gtk_widget_class_bind_template_child(widget_class, EspVmWindow, start_button);
    gtk_widget_class_bind_template_child(widget_class, EspVmWindow, pause_button);
    gtk_widget_class_bind_template_child(widget_class, EspVmWindow, stop_button);
    gtk_widget_class_bind_template_child(widget_class, EspVmWindow, keys_button);
    gtk_widget_class_bind_template_child(widget_class, EspVmWindow, menu_button);
    gtk_widget_class_bind_template_child(widget_class, EspVmWindow, fullscreen_button_image);
    gtk_widget_class_bind_template_child(widget_class, EspVmWindow, paused_veil);
    gtk_widget_class_bind_template_child(widget_class, EspVmWindow, boot_revealer);
    gtk_widget_class_bind_template_child(widget_class, EspVmWindow, boot_spinner);
    gtk_widget_class_bind_template_child(widget_class, EspVmWindow, boot_label);
    gtk_widget_class_bind_template_child(widget_class, EspVmWindow, bar_revealer);
    gtk_widget_class_bind_template_child(widget_class, EspVmWindow, bar_label);
    gtk_widget_class_bind_template_child(widget_class, EspVmWindow, bar_keys_button);
    gtk_widget_class_bind_template_child(widget_class, EspVmWindow, bar_leave_button);
    gtk_widget_class_bind_template_child(widget_class, EspVmWindow, toast);
    gtk_widget_class_bind_template_child(widget_class, EspVmWindow, media_list);
    gtk_widget_class_bind_template_child(widget_class, EspVmWindow, shares_list);
    gtk_widget_class_bind_template_child(widget_class, EspVmWindow, views);
    gtk_widget_class_bind_template_child(widget_class, EspVmWindow, tabs);
    gtk_widget_class_bind_template_child(widget_class, EspVmWindow, transfers);
}

static void esp_vm_window_class_init(EspVmWindowClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);
    G_OBJECT_CLASS(klass)->dispose = esp_vm_window_dispose;
    widget_class->window_state_event = esp_vm_window_state_event;
    widget_class->key_press_event = esp_vm_window_key_event;
    widget_class->key_release_event = esp_vm_window_key_event;
    widget_class->delete_event = esp_vm_window_delete_event;
    widget_class->show = esp_vm_window_show;
    g_type_ensure(ESP_TYPE_DISPLAY_VIEW);
    g_type_ensure(ESP_TYPE_STATUS_PAGE);
    g_type_ensure(ESP_TYPE_TOAST);
    g_type_ensure(ESP_TYPE_TRANSFERS);
    gtk_widget_class_set_template_from_resource(widget_class, "/org/espalier/Espalier/vm-window.ui");
    bind_children(widget_class);
}

static void esp_vm_window_init(EspVmWindow *window)
{
    gtk_widget_init_template(GTK_WIDGET(window));
    window->screens = esp_vm_screens_new(window);
    g_signal_connect_swapped(window->view, "grab-changed", G_CALLBACK(update_title), window);
    g_signal_connect_swapped(window->view, "release", G_CALLBACK(on_release), window);
    g_signal_connect_swapped(window->view, "frame", G_CALLBACK(on_frame), window);
    g_signal_connect_swapped(window->view, "guest-resized", G_CALLBACK(on_guest_resized), window);
    g_signal_connect_swapped(window->view, "motion-notify-event", G_CALLBACK(on_view_motion), window);
}
