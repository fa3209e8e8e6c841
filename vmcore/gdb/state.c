/* Registers and memory: g G p P, m M X. Memory is that of the kernel of the chosen CPU's guest, whatever a
 * page's rights are; devices are not touched, as reading one may change it. */
#include <string.h>

#include "gdb/internal.h"
#include "gdb/registers.h"

/* Of memory in one reply: each byte is two digits. */
#define READ_MAX (VMC_GDB_PACKET_MAX / 2)

/* ---- registers ---- */

void vmc_gdb_read_registers(VmcGdbSession *s, VmcGdbText *text)
{
    VmcCpuState state;

    s->ops->get_state(s->opaque, s->cpu, &state);
    for (unsigned n = 0; n < vmc_gdb_register_count(); n++) {
        uint8_t bytes[VMC_GDB_REGISTER_MAX];

        vmc_gdb_register_get(&state, n, bytes);
        vmc_gdb_say_bytes(s, bytes, vmc_gdb_register_size(n));
    }
}

static void put_state(VmcGdbSession *s, const VmcCpuState *state)
{
    if (s->ops->set_state(s->opaque, s->cpu, state))
        vmc_gdb_say_ok(s);
    else
        vmc_gdb_say_error(s, VMC_GDB_EINVAL);
}

/* All of them or, cut off between two registers, those that are there. */
void vmc_gdb_write_registers(VmcGdbSession *s, VmcGdbText *text)
{
    VmcCpuState state;

    s->ops->get_state(s->opaque, s->cpu, &state);
    for (unsigned n = 0; n < vmc_gdb_register_count() && !vmc_gdb_text_is_empty(text); n++) {
        uint8_t bytes[VMC_GDB_REGISTER_MAX];

        if (!vmc_gdb_take_bytes(text, bytes, vmc_gdb_register_size(n))) {
            vmc_gdb_say_error(s, VMC_GDB_EINVAL);
            return;
        }
        if (!vmc_gdb_register_put(&state, n, bytes)) {
            vmc_gdb_say_error(s, VMC_GDB_EPERM);
            return;
        }
    }
    put_state(s, &state);
}

static bool take_register(VmcGdbText *text, unsigned *number)
{
    uint64_t value;

    if (!vmc_gdb_take_hex(text, &value) || value >= vmc_gdb_register_count())
        return false;
    *number = (unsigned)value;
    return true;
}

void vmc_gdb_read_register(VmcGdbSession *s, VmcGdbText *text)
{
    uint8_t bytes[VMC_GDB_REGISTER_MAX];
    VmcCpuState state;
    unsigned number;

    if (!take_register(text, &number) || !vmc_gdb_text_is_empty(text)) {
        vmc_gdb_say_error(s, VMC_GDB_EINVAL);
        return;
    }
    s->ops->get_state(s->opaque, s->cpu, &state);
    vmc_gdb_register_get(&state, number, bytes);
    vmc_gdb_say_bytes(s, bytes, vmc_gdb_register_size(number));
}

void vmc_gdb_write_register(VmcGdbSession *s, VmcGdbText *text)
{
    uint8_t bytes[VMC_GDB_REGISTER_MAX];
    VmcCpuState state;
    unsigned number;

    if (!take_register(text, &number) || !vmc_gdb_take_char(text, '=') ||
        !vmc_gdb_take_bytes(text, bytes, vmc_gdb_register_size(number)) || !vmc_gdb_text_is_empty(text)) {
        vmc_gdb_say_error(s, VMC_GDB_EINVAL);
        return;
    }
    s->ops->get_state(s->opaque, s->cpu, &state);
    if (vmc_gdb_register_put(&state, number, bytes))
        put_state(s, &state);
    else
        vmc_gdb_say_error(s, VMC_GDB_EPERM);
}

/* ---- memory ---- */

/* Goes through [va, va + len) page by page; returns how much of it could be accessed. */
static size_t access_memory(VmcGdbSession *s, uint64_t va, uint8_t *bytes, size_t len, bool write)
{
    size_t done = 0;

    while (done < len) {
        size_t n = MIN(len - done, VMC_PAGE_SIZE - (va & ~VMC_PAGE_MASK));
        uint64_t pa;

        if (!s->ops->translate(s->opaque, s->cpu, va, &pa) ||
            !(write ? s->ops->write(s->opaque, pa, bytes + done, n)
                    : s->ops->read(s->opaque, pa, bytes + done, n)))
            break;
        done += n;
        va += n; /* from the last page it goes on at 0, where it is translated as any other */
    }
    return done;
}

static bool take_range(VmcGdbText *text, uint64_t *va, uint64_t *len)
{
    return vmc_gdb_take_hex(text, va) && vmc_gdb_take_char(text, ',') && vmc_gdb_take_hex(text, len);
}

/* A reply may be shorter than what was asked for. */
void vmc_gdb_read_memory(VmcGdbSession *s, VmcGdbText *text)
{
    uint8_t bytes[READ_MAX];
    uint64_t va, len;

    if (!take_range(text, &va, &len) || !vmc_gdb_text_is_empty(text)) {
        vmc_gdb_say_error(s, VMC_GDB_EINVAL);
        return;
    }
    size_t done = access_memory(s, va, bytes, MIN(len, sizeof bytes), false);
    if (done || !len)
        vmc_gdb_say_bytes(s, bytes, done);
    else
        vmc_gdb_say_error(s, VMC_GDB_EFAULT);
}

static void write_memory(VmcGdbSession *s, uint64_t va, uint8_t *bytes, size_t len)
{
    if (access_memory(s, va, bytes, len, true) == len)
        vmc_gdb_say_ok(s);
    else
        vmc_gdb_say_error(s, VMC_GDB_EFAULT);
}

void vmc_gdb_write_memory(VmcGdbSession *s, VmcGdbText *text)
{
    uint8_t bytes[VMC_GDB_PACKET_MAX / 2];
    uint64_t va, len;

    if (!take_range(text, &va, &len) || !vmc_gdb_take_char(text, ':') || len > sizeof bytes ||
        !vmc_gdb_take_bytes(text, bytes, (size_t)len) || !vmc_gdb_text_is_empty(text))
        vmc_gdb_say_error(s, VMC_GDB_EINVAL);
    else
        write_memory(s, va, bytes, (size_t)len);
}

void vmc_gdb_write_memory_binary(VmcGdbSession *s, VmcGdbText *text)
{
    uint8_t bytes[VMC_GDB_PACKET_MAX];
    uint64_t va, len;

    if (!take_range(text, &va, &len) || !vmc_gdb_take_char(text, ':') ||
        len != (uint64_t)(text->end - text->at)) {
        vmc_gdb_say_error(s, VMC_GDB_EINVAL);
        return;
    }
    memcpy(bytes, text->at, (size_t)len);
    write_memory(s, va, bytes, (size_t)len);
}
