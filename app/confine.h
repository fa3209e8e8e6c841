/*
 * A configuration that came from elsewhere, in an archive or on a stick, is kept to its own files: whoever
 * made it may have written into it paths of this computer that its guest is to see.
 */
#pragma once

#include <vmcore/config.h>

G_BEGIN_DECLS

/* Takes away what leads out of the folder `dir`: devices that cannot be without it, and settings of others.
 * Returns one line on each, to be shown; empty: there was nothing. Free with g_ptr_array_unref. */
GPtrArray *esp_confine(VmcConfig *config, const char *dir);

/* Whether all qcow2 images in the folder `dir` lie only on images in it; else `error` names one. Waits for
 * the disk. */
bool esp_confine_images(const char *dir, GError **error);

G_END_DECLS
