/* The names of engines, as command lines, bundles and the environment have them. */
#include <string.h>

#include "vmcore/cpu.h"

static const char *const names[] = {
    [VMC_ENGINE_INTERPRETER] = "interpreter",
    [VMC_ENGINE_TRANSLATOR] = "translator",
};

const char *vmc_cpu_engine_name(VmcCpuEngine engine)
{
    return (unsigned)engine < G_N_ELEMENTS(names) ? names[engine] : NULL;
}

bool vmc_cpu_engine_from_name(const char *name, VmcCpuEngine *engine)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
        if (names[i] && strcmp(names[i], name) == 0) {
            *engine = (VmcCpuEngine)i;
            return true;
        }
    return false;
}
