/* Lists that the program has in itself: data/data.gresource.xml, compiled in. */
#pragma once

#include <gio/gio.h>

/* For g_resource_lookup_data; the program's. Any thread. */
GResource *esp_data_get_resource(void);
