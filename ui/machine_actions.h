/* What can be done with a machine of the library, as actions, and in one function, when. */
#pragma once

#include <gtk/gtk.h>

#include "app/library.h"
#include "ui/job_list.h"
#include "ui/machine_opener.h"
#include "ui/toast.h"

G_BEGIN_DECLS

/* What the library's window has for them; its own, and there as long as it. */
typedef struct EspMachineHost {
    GtkWindow *window;
    EspLibrary *library;
    EspMachineOpener *opener;
    EspJobList *jobs;
    EspToast *toast;
} EspMachineHost;

/* The actions of one machine: open, pause, shut-down, rename, duplicate, snapshots, export, show-files,
 * trash. They hold nothing of the window and do nothing once it has gone. */
GActionGroup *esp_machine_actions_new(const EspMachineHost *host, EspLibraryItem *item);
/* The menu of these actions as the machine is now; unref it. */
GMenuModel *esp_machine_actions_menu(EspLibraryItem *item);

G_END_DECLS
