/* What a running machine shows, and keys for it. */
#include <glib/gi18n.h>
#include <stdio.h>
#include <string.h>

#include "app/ctl/commands.h"
#include "app/ctl/run.h"
#include "app/ctl/target.h"

static bool write_picture(const char *file, GVariant *png, GError **error)
{
    gsize length;
    const char *bytes = g_variant_get_fixed_array(png, &length, 1);

    if (strcmp(file, "-") != 0)
        return g_file_set_contents(file, bytes, (gssize)length, error);
    if (fwrite(bytes, 1, length, stdout) == length && fflush(stdout) == 0)
        return true;
    g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_FAILED,
                        _("standard output took only a part of the picture"));
    return false;
}

int esp_ctl_screenshot(int argc, char **argv)
{
    static const EspCommand command = {
        "screenshot", N_("MACHINE FILE"),
        N_("Writes what a running machine shows to a PNG file, which is replaced "
           "if it is there; - is standard output."),
        2, 2};
    int display = 0;
    const GOptionEntry entries[] = {
        {"display", 0, 0, G_OPTION_ARG_INT, &display, N_("Which of its displays, from 0"), N_("N")}, {0}};
    g_autoptr(GVariant) png = NULL;
    GError *error = NULL;
    EspTarget target;
    int status;
    g_auto(GStrv) words = esp_command_on_running(&target, &command, entries, argc, argv, &status);

    if (!words)
        return status;
    bool good =
        esp_machine1_call_screenshot_sync(target.machine, (guint)MAX(display, 0), &png, NULL, &error) &&
        write_picture(words[2], png, &error);
    esp_target_clear(&target);
    return esp_target_status(good, error);
}

int esp_ctl_send_key(int argc, char **argv)
{
    static const EspCommand command = {
        "send-key", N_("MACHINE KEY..."),
        N_("Presses keys of a running machine's keyboard, one after the other; those that are joined by - "
           "together:\n"
           "ctrl-alt-del, super-l, a. Names are Linux's (KEY_LEFTCTRL, leftctrl) or X's (Control_L, "
           "Return)."),
        2, 1 + 64};
    GError *error = NULL;
    EspTarget target;
    int status;
    g_auto(GStrv) words = esp_command_on_running(&target, &command, NULL, argc, argv, &status);

    if (!words)
        return status;
    bool good = esp_machine1_call_send_key_sync(target.machine, (const char *const *)words + 2, NULL, &error);
    esp_target_clear(&target);
    return esp_target_status(good, error);
}
