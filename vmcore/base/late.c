/* Shared libraries that are loaded late (late.h). */
#include "base/late.h"

#include <dlfcn.h>

#include "base/i18n.h"
#include "vmcore/error.h"

#define LIBRARIES_MAX 4

bool vmc_late_load(const char *what, const char *const *libraries, const char *const *names, unsigned n,
                   void **table, GError **error)
{
    void *handles[LIBRARIES_MAX];
    unsigned have = 0;

    for (; libraries[have]; have++) {
        g_assert(have < LIBRARIES_MAX);
        handles[have] = dlopen(libraries[have], RTLD_LAZY | RTLD_LOCAL | RTLD_NODELETE);
        if (!handles[have]) {
            /* Translators: “the sound server”, and why. */
            g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE, _("%s cannot be used: %s"), what, dlerror());
            return false;
        }
    }
    for (unsigned i = 0; i < n; i++) {
        void *function = NULL;

        for (unsigned k = 0; k < have && !function; k++)
            function = dlsym(handles[k], names[i]);
        if (function && table[i] != function) /* not again: others may be using it */
            table[i] = function;
        if (!function) {
            g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE,
                        _("%s cannot be used: its library %s is too old and has no %s"), what, libraries[0],
                        names[i]);
            return false;
        }
    }
    return true;
}
