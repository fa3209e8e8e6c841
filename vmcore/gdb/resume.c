/* Letting CPUs go: c C s S and vCont. A guest takes no signals, so those are read and forgotten. Nothing is
 * answered before the CPUs have stopped again. */
#include "gdb/internal.h"

static void go(VmcGdbSession *s, const VmcDebugGo *what)
{
    s->running = s->has_run = true;
    if (s->ops->go(s->opaque, what, &s->points))
        return;
    s->running = false;
    vmc_gdb_say_error(s, VMC_GDB_EPERM);
}

/* An address to go on at may follow. */
static bool move(VmcGdbSession *s, VmcGdbText *text, unsigned cpu)
{
    VmcCpuState state;
    uint64_t address;

    if (vmc_gdb_text_is_empty(text))
        return true;
    if (!vmc_gdb_take_hex(text, &address) || !vmc_gdb_text_is_empty(text))
        return false;
    s->ops->get_state(s->opaque, cpu, &state);
    state.rip = address;
    state.halted = false;
    return s->ops->set_state(s->opaque, cpu, &state);
}

/* All go on, or one makes a step while the others stay. */
static void resume(VmcGdbSession *s, VmcGdbText *text, bool step)
{
    VmcDebugGo what[VMC_GDB_CPUS_MAX] = {VMC_GO_STAY};
    unsigned one = s->resume_cpu >= 0 ? (unsigned)s->resume_cpu : s->cpu;

    if (!move(s, text, one)) {
        vmc_gdb_say_error(s, VMC_GDB_EINVAL);
        return;
    }
    for (unsigned i = 0; i < s->ops->n_cpus(s->opaque) && !step; i++)
        what[i] = VMC_GO_RUN;
    if (step)
        what[one] = VMC_GO_STEP;
    go(s, what);
}

void vmc_gdb_continue(VmcGdbSession *s, VmcGdbText *text)
{
    resume(s, text, false);
}

void vmc_gdb_step(VmcGdbSession *s, VmcGdbText *text)
{
    resume(s, text, true);
}

static void resume_with_signal(VmcGdbSession *s, VmcGdbText *text, bool step)
{
    uint64_t number;

    if (vmc_gdb_take_hex(text, &number) && (vmc_gdb_text_is_empty(text) || vmc_gdb_take_char(text, ';')))
        resume(s, text, step);
    else
        vmc_gdb_say_error(s, VMC_GDB_EINVAL);
}

void vmc_gdb_continue_with_signal(VmcGdbSession *s, VmcGdbText *text)
{
    resume_with_signal(s, text, false);
}

void vmc_gdb_step_with_signal(VmcGdbSession *s, VmcGdbText *text)
{
    resume_with_signal(s, text, true);
}

/* "c", "s", or "C01", "S01". */
static bool take_action(VmcGdbText *text, VmcDebugGo *what)
{
    uint64_t number;

    if (vmc_gdb_take_char(text, 'c'))
        *what = VMC_GO_RUN;
    else if (vmc_gdb_take_char(text, 's'))
        *what = VMC_GO_STEP;
    else if (vmc_gdb_take_char(text, 'C') && vmc_gdb_take_hex(text, &number))
        *what = VMC_GO_RUN;
    else if (vmc_gdb_take_char(text, 'S') && vmc_gdb_take_hex(text, &number))
        *what = VMC_GO_STEP;
    else
        return false;
    return true;
}

/* ";ACTION[:THREAD]...": the leftmost that names a CPU counts; those that none names stay. */
static bool take_actions(VmcGdbSession *s, VmcGdbText *text, VmcDebugGo *what)
{
    bool named[VMC_GDB_CPUS_MAX] = {false}, any = false;

    while (vmc_gdb_take_char(text, ';')) {
        VmcDebugGo action;
        int cpu = VMC_GDB_ALL_CPUS;

        if (!take_action(text, &action) ||
            (vmc_gdb_take_char(text, ':') && !vmc_gdb_take_thread(s, text, (int)s->cpu, &cpu)))
            return false;
        for (unsigned i = 0; i < s->ops->n_cpus(s->opaque); i++)
            if ((cpu == VMC_GDB_ALL_CPUS || (int)i == cpu) && !named[i]) {
                named[i] = any = true;
                what[i] = action;
            }
    }
    return any && vmc_gdb_text_is_empty(text);
}

void vmc_gdb_resume_each(VmcGdbSession *s, VmcGdbText *text)
{
    VmcDebugGo what[VMC_GDB_CPUS_MAX] = {VMC_GO_STAY};

    if (take_actions(s, text, what))
        go(s, what);
    else
        vmc_gdb_say_error(s, VMC_GDB_EINVAL);
}
