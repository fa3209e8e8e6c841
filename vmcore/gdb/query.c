/* What a debugger asks and sets: q and Q. */
#include <string.h>

#include "gdb/internal.h"

#define CHUNK_MAX 0x1000u /* of a document, before escaping */

static void query_supported(VmcGdbSession *s, VmcGdbText *text)
{
    while (!vmc_gdb_text_is_empty(text)) {
        const uint8_t *end = memchr(text->at, ';', (size_t)(text->end - text->at));
        VmcGdbText item = {text->at, end ? end : text->end};

        s->knows_swbreak |= vmc_gdb_take_word(&item, "swbreak+");
        s->knows_hwbreak |= vmc_gdb_take_word(&item, "hwbreak+");
        text->at = end ? end + 1 : text->end;
    }
    vmc_gdb_say(s, "PacketSize=%x;QStartNoAckMode+;qXfer:features:read+;vContSupported+;swbreak+;hwbreak+",
                VMC_GDB_PACKET_MAX);
}

/* "target.xml:OFFSET,LENGTH" */
static void query_features(VmcGdbSession *s, VmcGdbText *text)
{
    uint64_t offset, length, whole = strlen(s->description);

    if (!vmc_gdb_take_word(text, "target.xml:")) {
        vmc_gdb_say(s, "E00"); /* no such document */
        return;
    }
    if (!vmc_gdb_take_hex(text, &offset) || !vmc_gdb_take_char(text, ',') ||
        !vmc_gdb_take_hex(text, &length) || !vmc_gdb_text_is_empty(text)) {
        vmc_gdb_say_error(s, VMC_GDB_EINVAL);
        return;
    }
    offset = MIN(offset, whole);
    length = MIN(MIN(length, CHUNK_MAX), whole - offset);
    vmc_gdb_say(s, "%c%.*s", offset + length < whole ? 'm' : 'l', (int)length, s->description + offset);
}

static void query_threads(VmcGdbSession *s, VmcGdbText *text)
{
    for (unsigned i = 0; i < s->ops->n_cpus(s->opaque); i++)
        vmc_gdb_say(s, "%c%x", i ? ',' : 'm', i + 1);
}

static void query_more_threads(VmcGdbSession *s, VmcGdbText *text)
{
    vmc_gdb_say(s, "l");
}

/* What is shown beside a thread. */
static void query_thread_text(VmcGdbSession *s, VmcGdbText *text)
{
    VmcCpuState state;
    int cpu;

    if (!vmc_gdb_take_thread(s, text, (int)s->cpu, &cpu) || cpu < 0) {
        vmc_gdb_say_error(s, VMC_GDB_EINVAL);
        return;
    }
    s->ops->get_state(s->opaque, (unsigned)cpu, &state);
    g_autofree char *line = g_strdup_printf("CPU %d [%s]", cpu,
                                            state.wait_for_sipi ? "not started"
                                            : state.halted      ? "halted"
                                                                : "running");
    vmc_gdb_say_bytes(s, (const uint8_t *)line, strlen(line));
}

static void query_current(VmcGdbSession *s, VmcGdbText *text)
{
    vmc_gdb_say(s, "QC%x", s->cpu + 1);
}

/* The machine was there before: leaving it is detaching, not killing. */
static void query_attached(VmcGdbSession *s, VmcGdbText *text)
{
    vmc_gdb_say(s, "1");
}

static const struct {
    const char *name;
    VmcGdbCommand command;
} queries[] = {
    {"Supported:", query_supported},
    {"Supported", query_supported},
    {"Xfer:features:read:", query_features},
    {"fThreadInfo", query_threads},
    {"sThreadInfo", query_more_threads},
    {"ThreadExtraInfo,", query_thread_text},
    {"Attached", query_attached},
    {"C", query_current},
};

void vmc_gdb_query(VmcGdbSession *s, VmcGdbText *text)
{
    for (size_t i = 0; i < G_N_ELEMENTS(queries); i++) {
        VmcGdbText rest = *text;

        /* "C" alone is one of them; there are others that begin with it. */
        if (vmc_gdb_take_word(&rest, queries[i].name) &&
            (queries[i].command != query_current || vmc_gdb_text_is_empty(&rest))) {
            queries[i].command(s, &rest);
            return;
        }
    }
}

void vmc_gdb_set(VmcGdbSession *s, VmcGdbText *text)
{
    if (!vmc_gdb_take_word(text, "StartNoAckMode"))
        return;
    s->no_ack = true; /* this packet has been acknowledged */
    vmc_gdb_say_ok(s);
}
