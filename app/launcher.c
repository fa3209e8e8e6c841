/* Starts the process of a machine (see launcher.h). */
#include "app/launcher.h"

#include <unistd.h>

static void on_child(gpointer data)
{
    setsid();
}

GSubprocess *esp_launch_machine(const char *bundle_path, const char *startup_id, GError **error)
{
    g_autofree char *program = g_file_read_link("/proc/self/exe", error);
    if (!program)
        return NULL;
    g_autoptr(GSubprocessLauncher) launcher = g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_NONE);
    g_subprocess_launcher_set_child_setup(launcher, on_child, NULL, NULL);
    if (startup_id)
        g_subprocess_launcher_setenv(launcher, "DESKTOP_STARTUP_ID", startup_id, TRUE);
    return g_subprocess_launcher_spawn(launcher, error, program, "--run", bundle_path, NULL);
}
