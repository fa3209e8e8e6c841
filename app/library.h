/*
 * The library of virtual machines: the bundles in one folder, watched.
 *
 * EspLibrary is a GListModel of EspLibraryItem, sorted by name. It follows what happens in the folder,
 * whoever does it: bundles that come and go, machines that start, stop or crash. Properties of an item
 * notify.
 *
 * Threads: the thread-default main context on which it was made.
 */
#pragma once

#include <gio/gio.h>

#include "app/bundle.h"

G_BEGIN_DECLS

#define ESP_TYPE_LIBRARY (esp_library_get_type())
G_DECLARE_FINAL_TYPE(EspLibrary, esp_library, ESP, LIBRARY, GObject)

#define ESP_TYPE_LIBRARY_ITEM (esp_library_item_get_type())
G_DECLARE_FINAL_TYPE(EspLibraryItem, esp_library_item, ESP, LIBRARY_ITEM, GObject)

/* $XDG_DATA_HOME/espalier/machines; free with g_free. */
char *esp_library_default_dir(void);

/* Opens the library in `dir` (which need not exist yet). */
EspLibrary *esp_library_new(const char *dir);
const char *esp_library_get_dir(EspLibrary *library);
/* Whether the folder was there and is not any more: its disk was pulled out, or somebody has moved it.
 * Property "lost" (boolean), which notifies; the machines come back with the folder. */
bool esp_library_is_lost(EspLibrary *library);
/* Looks again now; it does so by itself, a moment after each change. */
void esp_library_rescan(EspLibrary *library);

/* Items. Strings are the item's; they change only with a notify of the property of the same name. */
const char *esp_library_item_get_path(EspLibraryItem *item);
const char *esp_library_item_get_name(EspLibraryItem *item);
/* One line on what the machine is ("2 CPUs, 512 MiB"), or what is wrong with its configuration. */
const char *esp_library_item_get_summary(EspLibraryItem *item);
/* NULL while no process has it open; else the state's name as vmc_machine_state_name gives it. */
const char *esp_library_item_get_state(EspLibraryItem *item);
/* The file with the last picture of its screen (a PNG), or NULL; notifies when the picture is another, too.
 */
const char *esp_library_item_get_screenshot(EspLibraryItem *item);
/* Whether its configuration cannot be used; the summary says why. */
bool esp_library_item_is_broken(EspLibraryItem *item);
/* When it ran last, us since the Epoch; 0: never. */
gint64 esp_library_item_get_last_used(EspLibraryItem *item);
/* Whether its last process died while the machine was on (crash.h). */
bool esp_library_item_get_crashed(EspLibraryItem *item);

/* The demo machine. `demo_dir` holds vmlinuz and initrd.img; esp_library_find_demo looks for such a folder in
 * $ESPALIER_DEMO_DIR, or else in the installed data beside the program (../share/espalier/demo)
 * and in guest/ beside it in a source tree, and says where it looked.
 */
char *esp_library_find_demo(GError **error);
/* Makes the bundle "Demo" in `dir`, or points an existing one at the current kernel and initrd. Returns the
 * bundle's path. */
char *esp_library_ensure_demo(const char *dir, const char *demo_dir, GError **error);
/* What the demo machine is, for a bundle that has a raw disk.img of ESP_DEMO_DISK_SIZE bytes; the caller's.
 */
#define ESP_DEMO_DISK_SIZE (64ull << 20)
VmcConfig *esp_library_demo_config(EspBundle *bundle, const char *demo_dir);
/* Points the bundle at `path` at the kernel and initrd in `demo_dir`, if it is a demo machine. */
bool esp_library_update_demo(const char *path, const char *demo_dir, GError **error);

G_END_DECLS
