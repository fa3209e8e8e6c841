/* Everything public in vmcore. */
#pragma once

#include <vmcore/agent.h>
#include <vmcore/config.h>
#include <vmcore/cpu.h>
#include <vmcore/disk.h>
#include <vmcore/display.h>
#include <vmcore/error.h>
#include <vmcore/gdb.h>
#include <vmcore/machine.h>
