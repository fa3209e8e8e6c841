/* Packets of GDB's remote protocol (packet.h). */
#include "gdb/packet.h"

#include <string.h>

#define ESCAPE     '}'
#define ESCAPE_XOR 0x20

static const char digits[] = "0123456789abcdef";

/* -1: not a digit; then the sum cannot be right. */
static int digit(uint8_t byte)
{
    return g_ascii_xdigit_value((char)byte);
}

static void begin(VmcGdbReader *r)
{
    r->state = VMC_GDB_INSIDE;
    r->escaped = r->too_long = false;
    r->sum = 0;
    r->len = 0;
}

static VmcGdbInput between(VmcGdbReader *r, uint8_t byte)
{
    switch (byte) {
    case '$':
        begin(r);
        return VMC_GDB_MORE;
    case '+':
        return VMC_GDB_ACK;
    case '-':
        return VMC_GDB_NAK;
    case 3:
        return VMC_GDB_INTERRUPT;
    }
    return VMC_GDB_JUNK;
}

/* A $ never stands inside a packet: what came before it is the torn beginning of another. */
static void inside(VmcGdbReader *r, uint8_t byte)
{
    if (byte == '$') {
        begin(r);
        return;
    }
    if (byte == '#') {
        r->state = VMC_GDB_SUM_HIGH;
        return;
    }
    r->sum = (uint8_t)(r->sum + byte);
    if (byte == ESCAPE && !r->escaped) {
        r->escaped = true;
        return;
    }
    if (r->escaped)
        byte ^= ESCAPE_XOR;
    r->escaped = false;
    if (r->len < VMC_GDB_PACKET_MAX)
        r->data[r->len++] = byte;
    else
        r->too_long = true;
}

static VmcGdbInput end(VmcGdbReader *r, uint8_t low)
{
    int high = digit(r->said), value = digit(low);

    r->state = VMC_GDB_BETWEEN;
    r->data[r->len] = 0;
    if (high < 0 || value < 0 || high * 16 + value != r->sum || r->escaped)
        return VMC_GDB_BAD;
    return r->too_long ? VMC_GDB_TOO_LONG : VMC_GDB_PACKET;
}

VmcGdbInput vmc_gdb_reader_put(VmcGdbReader *reader, uint8_t byte)
{
    switch (reader->state) {
    case VMC_GDB_BETWEEN:
        return between(reader, byte);
    case VMC_GDB_INSIDE:
        inside(reader, byte);
        return VMC_GDB_MORE;
    case VMC_GDB_SUM_HIGH:
        reader->said = byte;
        reader->state = VMC_GDB_SUM_LOW;
        return VMC_GDB_MORE;
    case VMC_GDB_SUM_LOW:
        break;
    }
    return end(reader, byte);
}

static void append(GByteArray *out, uint8_t byte, uint8_t *sum)
{
    *sum = (uint8_t)(*sum + byte);
    g_byte_array_append(out, &byte, 1);
}

void vmc_gdb_packet_append(GByteArray *out, const void *content, size_t len)
{
    const uint8_t *bytes = content;
    uint8_t sum = 0;

    g_byte_array_append(out, (const uint8_t *)"$", 1);
    for (size_t i = 0; i < len; i++) {
        if (strchr("#$}*", bytes[i]) && bytes[i]) {
            append(out, ESCAPE, &sum);
            append(out, bytes[i] ^ ESCAPE_XOR, &sum);
        } else {
            append(out, bytes[i], &sum);
        }
    }
    const uint8_t tail[3] = {'#', (uint8_t)digits[sum >> 4], (uint8_t)digits[sum & 15]};
    g_byte_array_append(out, tail, sizeof tail);
}
