/* What a machine's CPUs are and have counted, in words for people. */
#pragma once

#include <vmcore/machine.h>

G_BEGIN_DECLS

/* "soft, interpreter" or "kvm", of a machine that was started. Free with g_free. */
char *esp_cpu_name(VmcMachine *machine);

/* Lines of at most 80 columns: a row for each figure and for ratios of two, a column for the sum and for each
 * of the `n` CPUs, of which those that do not fit follow in a table below. `engine` is
 * vmc_machine_get_cpu_engine's and may be NULL; rows of the translator are there only if it ran. Free with
 * g_free. */
char *esp_cpu_figures(const char *engine, const VmcCpuStats *stats, unsigned n);

G_END_DECLS
