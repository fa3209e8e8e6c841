/*
 * A debugger's way into a machine: GDB's remote protocol on a socket.
 *
 * A debugger that connects stops the machine, and sees each CPU as a thread; memory is that of the kernel of
 * the stopped CPU. It may detach or just go away: the machine goes on as if there had been none. One debugger
 * at a time.
 *
 * Threads: the machine's owner's.
 */
#pragma once

#include <vmcore/machine.h>

G_BEGIN_DECLS

typedef struct VmcGdb VmcGdb;

/* Whether `address` says where to listen: "unix:FILE", "tcp:PORT" on 127.0.0.1, or "tcp:HOST:PORT" with
 * another name of this computer for itself. False with `error` set. */
bool vmc_gdb_check_address(const char *address, GError **error);

/* Listens at once, for as long as it exists. The machine is any that is not running; with `wait` its CPUs
 * then do not run before a debugger lets them, whenever it is started. A socket file is for this user alone;
 * a TCP port can be reached by every user of this computer, who gets all that the guest has. The machine must
 * outlive it. */
VmcGdb *vmc_gdb_new(VmcMachine *machine, const char *address, bool wait, GError **error);
/* Tells a debugger that is there of the end. NULL is fine. */
void vmc_gdb_free(VmcGdb *gdb);

/* What to type behind "target remote" in GDB to get here. */
const char *vmc_gdb_target(const VmcGdb *gdb);

G_END_DECLS
