/* A machine as the target of a session. */
#pragma once

#include "gdb/session.h"

/* `opaque` is the VmcMachine, which has a guest. */
extern const VmcGdbTargetOps vmc_gdb_machine_target;
