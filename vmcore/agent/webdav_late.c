/* libphodav and libsoup, loaded with the first WebDAV port. */
#define VMC_DAV_PLAIN
#include "agent/webdav_late.h"

struct vmc_dav vmc_dav;

bool vmc_dav_load(GError **error)
{
    static const char *const libraries[] = {"libphodav-3.0.so.0", "libsoup-3.0.so.0", NULL};
    static const char *const names[] = {
#define X(function) #function,
        VMC_DAV_FUNCTIONS(X)
#undef X
    };
    return vmc_late_load("the WebDAV port", libraries, names, G_N_ELEMENTS(names), (void **)&vmc_dav, error);
}
