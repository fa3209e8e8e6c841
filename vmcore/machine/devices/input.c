/* Keyboards and pointers over virtio, and what can be done with those of any kind. */
#include <linux/input-event-codes.h>

#include "base/i18n.h"
#include "machine/devices/kind.h"

/* ---- actions ---- */

#define MOUSE_MAX 10000 /* steps at once */

const VmcAction vmc_keyboard_actions[2] = {
    {"key", "CODE [down|up]", 1, 2, N_("presses a key, by its number in linux/input-event-codes.h")},
    {"leds", NULL, 0, 0, N_("says which lights are on")},
};

#define CLICK                                                                                                \
    {                                                                                                        \
        "click", "CODE [down|up]", 1, 2, N_("clicks a button; 272 is the left one")                          \
    }
#define WHEEL                                                                                                \
    {                                                                                                        \
        "wheel", "VERTICAL HORIZONTAL", 2, 2, N_("turns the wheels, up and right above 0")                   \
    }

const VmcAction vmc_pointer_actions[3] = {
    {"move", "X Y", 2, 2, N_("moves to a point, 0 to 32767 over the display")}, CLICK, WHEEL};

const VmcAction vmc_mouse_actions[3] = {
    {"move", "RIGHT DOWN", 2, 2, N_("moves by so much, to the left and up below 0")}, CLICK, WHEEL};

static bool number(const char *text, int min, int max, int *value, GError **error)
{
    char *end;
    long n = strtol(text, &end, 10);

    if (*text && !*end && n >= min && n <= max) {
        *value = (int)n;
        return true;
    }
    g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG, _("“%s” is not a number from %d to %d"), text, min, max);
    return false;
}

/* A code and which way, or both ways one after the other. */
static bool code_and_way(const char *const *arguments, int *code, bool *down, bool *up, GError **error)
{
    const char *way = arguments[1];

    *down = !way || strcmp(way, "down") == 0;
    *up = !way || strcmp(way, "up") == 0;
    if (*down || *up)
        return number(arguments[0], 1, KEY_MAX, code, error);
    g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG, _("“%s” is neither “down” nor “up”"), way);
    return false;
}

bool vmc_act_keyboard(VmcKeyboard *keyboard, unsigned action, const char *const *arguments, GString *reply,
                      GError **error)
{
    static const char *const names[] = {"num", "caps", "scroll"};
    bool down, up;
    int code;

    if (action == 1) {
        uint32_t leds = keyboard->ops->leds(keyboard);
        for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
            g_string_append_printf(reply, "%s %s\n", names[i], leds & 1u << i ? "on" : "off");
        return true;
    }
    if (!code_and_way(arguments, &code, &down, &up, error))
        return false;
    if (down)
        keyboard->ops->key(keyboard, (unsigned)code, true);
    if (up)
        keyboard->ops->key(keyboard, (unsigned)code, false);
    return true;
}

static void click(VmcPointer *pointer, unsigned code, bool down)
{
    pointer->ops->button(pointer, code, down);
    pointer->ops->sync(pointer);
}

static bool act_move(VmcPointer *pointer, const char *const *arguments, GError **error)
{
    bool relative = pointer->ops->move_by != NULL;
    int min = relative ? -MOUSE_MAX : 0, max = relative ? MOUSE_MAX : (int)VMC_POINTER_MAX, a, b;

    if (!number(arguments[0], min, max, &a, error) || !number(arguments[1], min, max, &b, error))
        return false;
    if (relative)
        pointer->ops->move_by(pointer, a, b);
    else
        pointer->ops->move(pointer, (unsigned)a, (unsigned)b);
    pointer->ops->sync(pointer);
    return true;
}

bool vmc_act_pointer(VmcPointer *pointer, unsigned action, const char *const *arguments, GError **error)
{
    bool down, up;
    int a, b;

    switch (action) {
    case 0:
        return act_move(pointer, arguments, error);
    case 1:
        if (!code_and_way(arguments, &a, &down, &up, error))
            return false;
        if (down)
            click(pointer, (unsigned)a, true);
        if (up)
            click(pointer, (unsigned)a, false);
        return true;
    default:
        if (!number(arguments[0], -1000, 1000, &a, error) || !number(arguments[1], -1000, 1000, &b, error))
            return false;
        pointer->ops->wheel(pointer, a, b);
        pointer->ops->sync(pointer);
        return true;
    }
}

/* ---- virtio-input ---- */

static bool make_keyboard(VmcGuest *guest, guint index, GError **error)
{
    VmcVirtioHost host = vmc_guest_virtio_host(guest);

    if (!vmc_guest_add_pci(guest, index, vmc_virtio_keyboard_new(&host), error))
        return false;
    g_ptr_array_add(guest->keyboards, vmc_virtio_keyboard_input(guest->pci_devices[index]));
    return true;
}

static bool make_tablet(VmcGuest *guest, guint index, GError **error)
{
    VmcVirtioHost host = vmc_guest_virtio_host(guest);

    if (!vmc_guest_add_pci(guest, index, vmc_virtio_tablet_new(&host), error))
        return false;
    g_ptr_array_add(guest->pointers, vmc_virtio_tablet_input(guest->pci_devices[index]));
    return true;
}

static bool act_keyboard(VmcGuest *guest, guint index, unsigned action, const char *const *arguments,
                         GString *reply, GError **error)
{
    return vmc_act_keyboard(vmc_virtio_keyboard_input(guest->pci_devices[index]), action, arguments, reply,
                            error);
}

static bool act_tablet(VmcGuest *guest, guint index, unsigned action, const char *const *arguments,
                       GString *reply, GError **error)
{
    return vmc_act_pointer(vmc_virtio_tablet_input(guest->pci_devices[index]), action, arguments, error);
}

const VmcDeviceKindOps vmc_kind_keyboard = {
    .info = {.name = "virtio-input,keyboard",
             .key = "VirtioKeyboard",
             .help = N_("keyboard"),
             VMC_ACTIONS(vmc_keyboard_actions)},
    .pci = true,
    .make = make_keyboard,
    .act = act_keyboard,
};

const VmcDeviceKindOps vmc_kind_tablet = {
    .info = {.name = "virtio-input,pointing",
             .key = "VirtioTablet",
             .help = N_("tablet, an absolute pointer"),
             VMC_ACTIONS(vmc_pointer_actions)},
    .pci = true,
    .make = make_tablet,
    .act = act_tablet,
};
