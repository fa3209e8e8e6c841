/*
 * Packets of GDB's remote protocol: bytes to packets and packets to bytes. Knows no socket and no command.
 *
 * Source: "Debugging with GDB", appendix E.1 and E.11.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* Bytes between $ and # at most; a debugger is told. */
#define VMC_GDB_PACKET_MAX 0x4000u

typedef enum VmcGdbInput {
    VMC_GDB_MORE,      /* nothing is complete yet */
    VMC_GDB_PACKET,    /* reader->data[0 .. len), followed by a zero byte */
    VMC_GDB_BAD,       /* a packet whose checksum is wrong */
    VMC_GDB_TOO_LONG,  /* a packet that was dropped for its length */
    VMC_GDB_INTERRUPT, /* Ctrl-C */
    VMC_GDB_ACK,
    VMC_GDB_NAK,
    VMC_GDB_JUNK, /* what no debugger sends between packets */
} VmcGdbInput;

/* Zero is a new one. */
typedef struct VmcGdbReader {
    enum { VMC_GDB_BETWEEN, VMC_GDB_INSIDE, VMC_GDB_SUM_HIGH, VMC_GDB_SUM_LOW } state;
    bool escaped, too_long;
    uint8_t sum, said; /* checksum as it comes out, and as the packet has it */
    size_t len;
    uint8_t data[VMC_GDB_PACKET_MAX + 1];
} VmcGdbReader;

/* Takes one byte and says what that completed. */
VmcGdbInput vmc_gdb_reader_put(VmcGdbReader *reader, uint8_t byte);

/* Appends a packet with this content, escaped where it has to be. */
void vmc_gdb_packet_append(GByteArray *out, const void *content, size_t len);
