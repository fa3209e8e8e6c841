/*
 * A debugger that sends anything: packets well and badly made, to a session with two software CPUs behind it,
 * which it may let go a few instructions at a time. Whatever comes back has to be acknowledgements and whole
 * packets.
 *
 * covers: vmcore/gdb/packet.c vmcore/gdb/text.c vmcore/gdb/session.c vmcore/gdb/state.c vmcore/gdb/points.c
 *     vmcore/gdb/resume.c vmcore/gdb/query.c vmcore/gdb/registers.c vmcore/cpu/debug.c vmcore/cpu/walk.c
 *     vmcore/cpu/soft/debug.c
 */
#include <stdlib.h>

#include "gdb/packet.h"
#include "gdb/session.h"
#include "tests/fuzz/input.h"

#define CPUS  2
#define RAM   0x10000u
#define STEPS 12

/* Made once: a CPU takes its time to be made. */
typedef struct Machine {
    VmcMemory *memory;
    VmcBus *pio, *mmio;
    VmcCpuVm *vm;
    VmcCpu *cpus[CPUS];
    bool went; /* CPUs were let go and have stopped again */
    VmcDebugStop stop;
} Machine;

static unsigned n_cpus(void *opaque)
{
    return CPUS;
}

static void get_state(void *opaque, unsigned cpu, VmcCpuState *state)
{
    vmc_cpu_soft.get_state(((Machine *)opaque)->cpus[cpu], state);
}

static bool set_state(void *opaque, unsigned cpu, const VmcCpuState *state)
{
    return vmc_cpu_soft.set_state(((Machine *)opaque)->cpus[cpu], state, NULL);
}

/* Two ways that have to agree where there is a page; but PAE has its first table in registers, and only the
 * CPU minds reserved bits. */
static bool translate(void *opaque, unsigned cpu, uint64_t va, uint64_t *pa)
{
    Machine *m = opaque;
    VmcCpuState state;
    uint64_t walked = 0;

    get_state(m, cpu, &state);
    bool good = vmc_cpu_soft.translate(m->cpus[cpu], va, pa);
    bool found = vmc_cpu_walk(&state, m->memory, va, &walked);
    bool pae = (state.cr4 & 0x20) && !(state.efer & 0x400);
    if (good && !pae && (!found || walked != *pa))
        abort();
    return good;
}

static bool read_memory(void *opaque, uint64_t pa, void *bytes, size_t len)
{
    return vmc_memory_read(((Machine *)opaque)->memory, pa, bytes, len);
}

static bool write_memory(void *opaque, uint64_t pa, const void *bytes, size_t len)
{
    return vmc_memory_write(((Machine *)opaque)->memory, pa, bytes, len);
}

/* As few as KVM has, so that there is a limit to meet. */
static bool fits(void *opaque, const VmcCpuDebug *points)
{
    return vmc_cpu_debug_fits(&vmc_cpu_kvm, points);
}

/* One that waits for an interrupt would wait for ever. */
static bool can_run(Machine *m, unsigned cpu)
{
    VmcCpuState state;

    get_state(m, cpu, &state);
    return !state.halted && !state.wait_for_sipi;
}

/* Guest code may be an endless loop, so it is always stepped. */
static bool go(void *opaque, const VmcDebugGo *what, const VmcCpuDebug *points)
{
    Machine *m = opaque;
    VmcCpuDebug debug = *points;

    debug.single_step = true;
    m->went = true;
    m->stop = (VmcDebugStop){.happened = false};
    for (unsigned n = 0; n < STEPS * CPUS; n++) {
        unsigned cpu = n % CPUS;
        GError *error = NULL;

        if (what[cpu] == VMC_GO_STAY || !can_run(m, cpu))
            continue;
        vmc_cpu_soft.set_debug(m->cpus[cpu], &debug, NULL);
        VmcCpuExit exit = vmc_cpu_soft.run(m->cpus[cpu], &error);
        m->stop.cpu = cpu;
        vmc_cpu_soft.get_debug_event(m->cpus[cpu], &m->stop.event);
        if (exit != VMC_EXIT_DEBUG) { /* a triple fault, or what the software CPU does not do */
            g_clear_error(&error);
            vmc_cpu_soft.reset(m->cpus[cpu]);
            return true;
        }
        m->stop.happened = true;
        if (what[cpu] == VMC_GO_STEP || m->stop.event.reason != VMC_DEBUG_STEP)
            return true;
    }
    return true;
}

static bool interrupt(void *opaque, VmcDebugStop *stop)
{
    *stop = (VmcDebugStop){.happened = false};
    return true;
}

static const VmcGdbTargetOps ops = {
    .n_cpus = n_cpus,
    .get_state = get_state,
    .set_state = set_state,
    .translate = translate,
    .read = read_memory,
    .write = write_memory,
    .fits = fits,
    .go = go,
    .interrupt = interrupt,
};

static Machine *make_machine(void)
{
    Machine *m = g_new0(Machine, 1);

    m->memory = vmc_memory_new();
    vmc_memory_add(m->memory, "ram", 0, RAM, false, NULL);
    m->pio = vmc_bus_new("pio");
    m->mmio = vmc_bus_new("mmio");
    VmcCpuVmParams params = {.memory = m->memory, .pio = m->pio, .mmio = m->mmio, .n_cpus = CPUS};
    m->vm = vmc_cpu_soft.vm_new(&params, NULL);
    for (unsigned i = 0; i < CPUS; i++)
        m->cpus[i] = vmc_cpu_soft.cpu_new(m->vm, i, NULL, NULL);
    return m;
}

/* Without paging, or with each kind of it and tables in the first pages; there is code at 0x8000. */
enum mode { REAL, LONG, PROTECTED, PAE, MODES };

static void set_mode(VmcCpuState *state, enum mode mode)
{
    static const uint64_t cr4[MODES] = {0, 0x620, 0x610, 0x620};

    if (mode == REAL)
        return;
    state->cr0 = 0x80000031;
    state->cr3 = 0x1000;
    state->cr4 = cr4[mode];
    state->efer = mode == LONG ? 0x500 : 0;
    state->seg[VMC_CS].attr = mode == LONG ? 0xa09b : 0xc09b;
}

static void reset_machine(Machine *m, enum mode mode)
{
    static const uint8_t code[] = {0x90, 0x40, 0xfe, 0xc0, 0xf3, 0xaa, 0xcc, 0xf4, 0xeb, 0xf6};
    /* 2 MiB, 4 KiB, 4 MiB. */
    static const uint64_t tables[MODES][3] = {
        {0}, {0x2003, 0x3003, 0x83}, {0x0008300002003, 0x8003, 0}, {0x2001, 0x83, 0}};
    VmcCpuState state;

    memset(m->memory->slots[0].host, 0, RAM);
    vmc_memory_written(m->memory, 0, RAM);
    for (unsigned i = 0; i < 3; i++)
        vmc_memory_write(m->memory, 0x1000 * (i + 1), &tables[mode][i], 8);
    if (mode == PROTECTED)
        for (uint32_t i = 0; i < RAM / VMC_PAGE_SIZE; i++)
            vmc_memory_write(m->memory, 0x2000 + i * 4, &(uint32_t){i << 12 | 3}, 4);
    vmc_memory_write(m->memory, 0x8000, code, sizeof code);
    vmc_cpu_state_reset(&state);
    state.seg[VMC_CS].base = state.seg[VMC_CS].selector = 0;
    state.rip = 0x8000;
    state.gpr[VMC_RSP] = 0x9000;
    set_mode(&state, mode);
    for (unsigned i = 0; i < CPUS; i++) {
        vmc_cpu_soft.reset(m->cpus[i]);
        if (!vmc_cpu_soft.set_state(m->cpus[i], &state, NULL))
            abort();
        vmc_cpu_soft.set_debug(m->cpus[i], NULL, NULL);
    }
}

/* What comes back is read by the same reader, which has its own tests. */
static void check_output(VmcGdbSession *session, VmcGdbReader *reader)
{
    GByteArray *out = vmc_gdb_session_output(session);

    for (guint i = 0; i < out->len; i++) {
        VmcGdbInput input = vmc_gdb_reader_put(reader, out->data[i]);

        if (input != VMC_GDB_MORE && input != VMC_GDB_PACKET && input != VMC_GDB_ACK && input != VMC_GDB_NAK)
            abort();
    }
    if (reader->state != VMC_GDB_BETWEEN)
        abort();
    g_byte_array_set_size(out, 0);
}

static void send_bytes(Machine *m, VmcGdbSession *session, VmcGdbReader *reader, const uint8_t *bytes,
                       size_t len)
{
    while (len) {
        size_t n = vmc_gdb_session_input(session, bytes, len);

        if (n > len || (n < len && !vmc_gdb_session_output(session)->len))
            abort();
        check_output(session, reader);
        bytes += n;
        len -= n;
        if (m->went) {
            m->went = false;
            vmc_gdb_session_stopped(session, &m->stop);
            check_output(session, reader);
        }
    }
}

/* A line of the input is a packet's content; one that begins with '!' is sent as it is. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static Machine *machine;
    VmcGdbReader *reader = g_new0(VmcGdbReader, 1);
    g_autoptr(GByteArray) packet = g_byte_array_new();
    FuzzInput in = {data, size, 0};

    if (!machine)
        machine = make_machine();
    reset_machine(machine, (enum mode)(fuzz_u8(&in) % MODES));
    machine->went = false;
    VmcGdbSession *session = vmc_gdb_session_new(&ops, machine);
    while (fuzz_more(&in) && vmc_gdb_session_end(session) == VMC_GDB_GOES_ON) {
        const uint8_t *line = data + in.at, *end = memchr(line, '\n', size - in.at);
        size_t len = end ? (size_t)(end - line) : size - in.at;

        in.at += len + (end ? 1 : 0);
        g_byte_array_set_size(packet, 0);
        if (len && *line == '!')
            g_byte_array_append(packet, line + 1, (guint)len - 1);
        else
            vmc_gdb_packet_append(packet, line, len);
        send_bytes(machine, session, reader, packet->data, packet->len);
    }
    vmc_gdb_session_exited(session, false);
    check_output(session, reader);
    vmc_gdb_session_free(session);
    g_free(reader);
    return 0;
}
