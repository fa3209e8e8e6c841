/* What the files of a session share: its struct, reading a packet's text, writing a reply. */
#pragma once

#include "gdb/packet.h"
#include "gdb/session.h"

/* Numbers of errors, as a debugger shows them. */
enum { VMC_GDB_EPERM = 1, VMC_GDB_E2BIG = 7, VMC_GDB_EFAULT = 14, VMC_GDB_EINVAL = 22, VMC_GDB_ENOSPC = 28 };

#define VMC_GDB_ALL_CPUS -1

struct VmcGdbSession {
    const VmcGdbTargetOps *ops;
    void *opaque;
    VmcGdbReader reader;
    GByteArray *out;
    GByteArray *reply; /* content of the packet that is being made */
    GByteArray *last;  /* the last packet sent, in case it has to be sent again */
    char *description; /* target.xml */

    bool met;     /* the first byte has come */
    bool no_ack;  /* QStartNoAckMode */
    bool running; /* CPUs were let go */
    bool has_run;
    bool knows_swbreak, knows_hwbreak; /* the debugger takes these reasons */
    VmcGdbEnd end;

    unsigned cpu;   /* Hg: whose registers and memory */
    int resume_cpu; /* Hc, or ALL_CPUS */
    VmcDebugStop stop;
    VmcCpuDebug points;
};

/* The rest of a packet. */
typedef struct VmcGdbText {
    const uint8_t *at, *end;
} VmcGdbText;

bool vmc_gdb_text_is_empty(const VmcGdbText *text);
/* Each takes what it names off the front, or nothing and says false. */
bool vmc_gdb_take_char(VmcGdbText *text, char c);
bool vmc_gdb_take_word(VmcGdbText *text, const char *word);
bool vmc_gdb_take_hex(VmcGdbText *text, uint64_t *value);            /* 1 to 16 digits */
bool vmc_gdb_take_bytes(VmcGdbText *text, uint8_t *bytes, size_t n); /* two digits each */

/* A thread's number: -1 for all, 0 for any (then `any`), else a CPU's number plus one. */
bool vmc_gdb_take_thread(VmcGdbSession *s, VmcGdbText *text, int any, int *cpu);

void vmc_gdb_say(VmcGdbSession *s, const char *format, ...) G_GNUC_PRINTF(2, 3);
void vmc_gdb_say_bytes(VmcGdbSession *s, const uint8_t *bytes, size_t n); /* as hexadecimal digits */
void vmc_gdb_say_ok(VmcGdbSession *s);
void vmc_gdb_say_error(VmcGdbSession *s, unsigned number);
/* Why the CPUs stand, as c, s and ? are answered. */
void vmc_gdb_say_stop(VmcGdbSession *s);
/* Sends what was said as a packet. */
void vmc_gdb_send(VmcGdbSession *s);

/* Commands: `text` is what follows the letter; each says what is to be answered, nothing where there is no
 * answer yet. */
typedef void (*VmcGdbCommand)(VmcGdbSession *s, VmcGdbText *text);

/* state.c: g G p P m M X */
void vmc_gdb_read_registers(VmcGdbSession *s, VmcGdbText *text);
void vmc_gdb_write_registers(VmcGdbSession *s, VmcGdbText *text);
void vmc_gdb_read_register(VmcGdbSession *s, VmcGdbText *text);
void vmc_gdb_write_register(VmcGdbSession *s, VmcGdbText *text);
void vmc_gdb_read_memory(VmcGdbSession *s, VmcGdbText *text);
void vmc_gdb_write_memory(VmcGdbSession *s, VmcGdbText *text);
void vmc_gdb_write_memory_binary(VmcGdbSession *s, VmcGdbText *text);
/* points.c: Z z */
void vmc_gdb_insert_point(VmcGdbSession *s, VmcGdbText *text);
void vmc_gdb_remove_point(VmcGdbSession *s, VmcGdbText *text);
/* resume.c: c C s S vCont */
void vmc_gdb_continue(VmcGdbSession *s, VmcGdbText *text);
void vmc_gdb_continue_with_signal(VmcGdbSession *s, VmcGdbText *text);
void vmc_gdb_step(VmcGdbSession *s, VmcGdbText *text);
void vmc_gdb_step_with_signal(VmcGdbSession *s, VmcGdbText *text);
void vmc_gdb_resume_each(VmcGdbSession *s, VmcGdbText *text);
/* query.c: q Q */
void vmc_gdb_query(VmcGdbSession *s, VmcGdbText *text);
void vmc_gdb_set(VmcGdbSession *s, VmcGdbText *text);
