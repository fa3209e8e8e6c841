/* The screens of a machine (see vm_screens.h). */
#include "ui/vm_screens.h"

#include "ui/display_follow.h"
#include "ui/screen_window.h"

#define POINTER_MAX 32767u

typedef struct Screen {
    EspVmScreens *screens;
    unsigned number; /* from 0 */
    VmcDisplay *display;
    GtkWidget *window; /* of its own, or NULL */
    EspDisplayView *view;
    EspDisplayFollow *follow;
} Screen;

struct EspVmScreens {
    EspVmWindow *window;
    VmcMachine *machine; /* or NULL */
    unsigned n;          /* screens the machine has */
    bool active, shown;
    EspScaling scaling;
    Screen screens[ESP_SCREENS_MAX];
};

static const char *const actions_of[ESP_SCREENS_MAX] = {NULL, "show-screen-2", "show-screen-3",
                                                        "show-screen-4"};

/* ---- source and sink of a view ---- */

static bool source_collect(void *opaque, VmcFrame *frame)
{
    return vmc_display_collect(((Screen *)opaque)->display, frame);
}

static void source_refresh(void *opaque)
{
    vmc_display_refresh(((Screen *)opaque)->display);
}

static const EspDisplaySource source = {.collect = source_collect, .refresh = source_refresh};

static void sink_key(void *opaque, unsigned keycode, bool down)
{
    vmc_machine_send_key(((Screen *)opaque)->screens->machine, keycode, down);
}

void esp_vm_screens_map(const VmcRect *sizes, unsigned n, unsigned screen, unsigned *x, unsigned *y)
{
    guint64 left = 0, width = 0, height = 0;

    for (unsigned i = 0; i < n; i++) {
        left += i < screen ? sizes[i].width : 0;
        width += sizes[i].width;
        height = MAX(height, sizes[i].height);
    }
    if (screen >= n || width < 2 || height < 2)
        return;
    guint64 across = *x * (guint64)(MAX(sizes[screen].width, 1u) - 1) + left * POINTER_MAX;
    guint64 down = *y * (guint64)(MAX(sizes[screen].height, 1u) - 1);
    *x = (unsigned)MIN(across / (width - 1), POINTER_MAX);
    *y = (unsigned)MIN(down / (height - 1), POINTER_MAX);
}

static void sink_pointer(void *opaque, unsigned x, unsigned y)
{
    Screen *screen = opaque;
    EspVmScreens *screens = screen->screens;
    VmcRect sizes[ESP_SCREENS_MAX] = {0};

    if (screens->n > 1) {
        for (unsigned i = 0; i < screens->n; i++)
            vmc_display_get_size(screens->screens[i].display, &sizes[i].width, &sizes[i].height);
        esp_vm_screens_map(sizes, screens->n, screen->number, &x, &y);
    }
    vmc_machine_send_pointer(screens->machine, x, y);
}

static void sink_button(void *opaque, unsigned button, bool down)
{
    vmc_machine_send_button(((Screen *)opaque)->screens->machine, button, down);
}

static void sink_wheel(void *opaque, int vertical, int horizontal)
{
    vmc_machine_send_wheel(((Screen *)opaque)->screens->machine, vertical, horizontal);
}

static bool sink_is_relative(void *opaque)
{
    return vmc_machine_is_pointer_relative(((Screen *)opaque)->screens->machine);
}

static void sink_motion(void *opaque, int right, int down)
{
    vmc_machine_send_motion(((Screen *)opaque)->screens->machine, right, down);
}

static const EspInputSink sink = {.key = sink_key,
                                  .pointer = sink_pointer,
                                  .button = sink_button,
                                  .wheel = sink_wheel,
                                  .is_relative = sink_is_relative,
                                  .motion = sink_motion};

/* ---- windows ---- */

static GAction *action_of(EspVmScreens *screens, const char *name)
{
    return g_action_map_lookup_action(G_ACTION_MAP(screens->window), name);
}

static void set_state(EspVmScreens *screens, const char *name, bool state)
{
    g_simple_action_set_state(G_SIMPLE_ACTION(action_of(screens, name)), g_variant_new_boolean(state));
}

static bool is_wanted(EspVmScreens *screens, unsigned i)
{
    g_autoptr(GVariant) state = g_action_get_state(action_of(screens, actions_of[i]));

    return i < screens->n && g_variant_get_boolean(state);
}

static void attach(Screen *screen, VmcDisplay *display)
{
    screen->display = display;
    if (!screen->view)
        return;
    esp_display_view_set_sink(screen->view, display ? &sink : NULL, screen);
    esp_display_view_set_source(screen->view, display ? &source : NULL, screen);
    esp_display_view_set_active(screen->view, display && screen->screens->active);
    esp_display_follow_set_display(screen->follow, display);
}

static bool resizes_guest(EspVmScreens *screens)
{
    g_autoptr(GVariant) state = g_action_get_state(action_of(screens, "resize-guest"));

    return g_variant_get_boolean(state);
}

static void make_window(Screen *screen)
{
    EspVmScreens *screens = screen->screens;
    const char *name = esp_vm_session_get_name(esp_vm_window_get_session(screens->window));
    unsigned width = 0, height = 0;

    screen->window = esp_screen_window_new(name, screen->number + 1);
    screen->view = esp_screen_window_get_view(ESP_SCREEN_WINDOW(screen->window));
    screen->follow = esp_display_follow_new(screen->view);
    esp_display_follow_set_resize(screen->follow, resizes_guest(screens));
    esp_screen_window_set_scaling(ESP_SCREEN_WINDOW(screen->window), screens->scaling);
    vmc_display_get_size(screen->display, &width, &height);
    gtk_window_set_default_size(GTK_WINDOW(screen->window), (int)CLAMP(width, 320, 1600),
                                (int)CLAMP(height, 240, 1000));
    attach(screen, screen->display);
}

static void on_closed(Screen *screen)
{
    set_state(screen->screens, actions_of[screen->number], false);
}

static void drop_window(Screen *screen)
{
    if (!screen->window)
        return;
    attach(screen, NULL);
    g_clear_pointer(&screen->follow, esp_display_follow_free);
    screen->view = NULL;
    g_clear_pointer(&screen->window, gtk_widget_destroy);
}

static void update_windows(EspVmScreens *screens)
{
    for (unsigned i = 1; i < ESP_SCREENS_MAX; i++) {
        Screen *screen = &screens->screens[i];
        g_simple_action_set_enabled(G_SIMPLE_ACTION(action_of(screens, actions_of[i])), i < screens->n);
        if (!is_wanted(screens, i) || !screens->shown) {
            if (screen->window)
                gtk_widget_hide(screen->window);
            if (i >= screens->n)
                drop_window(screen);
            continue;
        }
        if (!screen->window) {
            make_window(screen);
            g_signal_connect_swapped(screen->window, "closed-by-user", G_CALLBACK(on_closed), screen);
        }
        gtk_window_present(GTK_WINDOW(screen->window));
    }
}

/* ---- the machine ---- */

bool esp_vm_screens_set_machine(EspVmScreens *screens, VmcMachine *machine)
{
    VmcDisplay *displays[ESP_SCREENS_MAX] = {0};
    unsigned n = 0;

    while (machine && n < ESP_SCREENS_MAX && (displays[n] = vmc_machine_get_display(machine, n)))
        n++;
    for (unsigned i = 0; i < ESP_SCREENS_MAX; i++)
        if (screens->screens[i].display)
            attach(&screens->screens[i], NULL);
    screens->machine = n ? machine : NULL;
    screens->n = n;
    for (unsigned i = 0; i < n; i++)
        attach(&screens->screens[i], displays[i]);
    update_windows(screens);
    return n > 0;
}

void esp_vm_screens_set_active(EspVmScreens *screens, bool active)
{
    screens->active = active;
    for (unsigned i = 0; i < ESP_SCREENS_MAX; i++)
        if (screens->screens[i].view)
            esp_display_view_set_active(screens->screens[i].view, active);
}

void esp_vm_screens_set_scaling(EspVmScreens *screens, EspScaling scaling)
{
    screens->scaling = scaling;
    for (unsigned i = 1; i < ESP_SCREENS_MAX; i++)
        if (screens->screens[i].window)
            esp_screen_window_set_scaling(ESP_SCREEN_WINDOW(screens->screens[i].window), scaling);
}

void esp_vm_screens_set_shown(EspVmScreens *screens, bool shown)
{
    screens->shown = shown;
    update_windows(screens);
}

void esp_vm_screens_set_fullscreen(EspVmScreens *screens, bool fullscreen)
{
    GdkScreen *gdk = gtk_widget_get_screen(GTK_WIDGET(screens->window));
    GdkDisplay *display = gdk_screen_get_display(gdk);
    GdkMonitor *used =
        gdk_display_get_monitor_at_window(display, gtk_widget_get_window(GTK_WIDGET(screens->window)));
    int monitor = 0;

    for (unsigned i = 1; i < screens->n; i++) {
        GtkWindow *window = GTK_WINDOW(screens->screens[i].window);
        if (!window || !gtk_widget_get_visible(GTK_WIDGET(window)))
            continue;
        if (monitor < gdk_display_get_n_monitors(display) &&
            gdk_display_get_monitor(display, monitor) == used)
            monitor++;
        if (!fullscreen)
            gtk_window_unfullscreen(window);
        else if (monitor < gdk_display_get_n_monitors(display))
            gtk_window_fullscreen_on_monitor(window, gdk, monitor++);
    }
}

/* ---- actions ---- */

static void on_show(GSimpleAction *action, GVariant *value, gpointer data)
{
    g_simple_action_set_state(action, value);
    update_windows(data);
}

static void on_resize_guest(GSimpleAction *action, GVariant *value, gpointer data)
{
    EspVmScreens *screens = data;
    GSettings *settings = esp_vm_window_get_settings(screens->window);
    bool resize = g_variant_get_boolean(value);

    g_simple_action_set_state(action, value);
    for (unsigned i = 0; i < ESP_SCREENS_MAX; i++)
        if (screens->screens[i].follow)
            esp_display_follow_set_resize(screens->screens[i].follow, resize);
    if (settings)
        g_settings_set_boolean(settings, "resize-guest", resize);
}

void esp_vm_screens_install(EspVmScreens *screens)
{
    static const GActionEntry actions[] = {
        {.name = "show-screen-2", .state = "false", .change_state = on_show},
        {.name = "show-screen-3", .state = "false", .change_state = on_show},
        {.name = "show-screen-4", .state = "false", .change_state = on_show},
        {.name = "resize-guest", .state = "true", .change_state = on_resize_guest},
    };
    GSettings *settings = esp_vm_window_get_settings(screens->window);
    bool resize = !settings || g_settings_get_boolean(settings, "resize-guest");

    g_action_map_add_action_entries(G_ACTION_MAP(screens->window), actions, G_N_ELEMENTS(actions), screens);
    set_state(screens, "resize-guest", resize);
    esp_display_follow_set_resize(screens->screens[0].follow, resize);
    update_windows(screens);
}

/* ---- lifecycle ---- */

EspVmScreens *esp_vm_screens_new(EspVmWindow *window)
{
    EspVmScreens *screens = g_new0(EspVmScreens, 1);

    screens->window = window;
    for (unsigned i = 0; i < ESP_SCREENS_MAX; i++)
        screens->screens[i] = (Screen){.screens = screens, .number = i};
    screens->screens[0].view = esp_vm_window_get_view(window);
    screens->screens[0].follow = esp_display_follow_new(screens->screens[0].view);
    return screens;
}

void esp_vm_screens_free(EspVmScreens *screens)
{
    if (!screens)
        return;
    for (unsigned i = 0; i < ESP_SCREENS_MAX; i++) {
        attach(&screens->screens[i], NULL);
        drop_window(&screens->screens[i]);
    }
    esp_display_follow_free(screens->screens[0].follow);
    g_free(screens);
}
