/* Memory slots that move, and dirty logs, on the software CPU. */
#pragma once

#include "cpu/soft/state.h"

/* Has the VM told of what happens to its memory's slots. Before its CPUs run. */
void vmc_soft_watch_slots(VmcCpuVm *vm);
/* Serves REQ_DIRTY and REQ_MOVED, on the CPU's own thread between two blocks. */
void vmc_soft_serve_slot_requests(VmcCpu *c);
