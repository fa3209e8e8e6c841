/* libpulse, loaded with the first sound device that uses it. */
#define VMC_PULSE_PLAIN
#include "sound/pulse_late.h"
#include "base/i18n.h"

struct vmc_pulse vmc_pulse;

bool vmc_pulse_load(GError **error)
{
    static const char *const libraries[] = {"libpulse.so.0", "libpulse-mainloop-glib.so.0", NULL};
    static const char *const names[] = {
#define X(function) #function,
        VMC_PULSE_FUNCTIONS(X)
#undef X
    };
    return vmc_late_load(_("the sound server"), libraries, names, G_N_ELEMENTS(names), (void **)&vmc_pulse,
                         error);
}
