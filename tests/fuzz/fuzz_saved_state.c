/*
 * The file of a saved machine that anybody may have made: opened, its state walked through, its memory
 * loaded. With the first byte odd, checksums and places of the chunks are put right first, since no fuzzer
 * finds those.
 *
 * covers: vmcore/machine/saved_state.c vmcore/base/state.c
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include "machine/saved_state.h"
#include "base/state.h"
#include "tests/fuzz/input.h"

#define PAGE        4096u
#define FILE_HEADER 24u
#define CHUNK       32u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put32(uint8_t *p, uint32_t value)
{
    memcpy(p, &value, sizeof(value));
}

/* Every chunk whose header says a length that fits. */
static void repair(uint8_t *bytes, size_t n)
{
    size_t at = FILE_HEADER;

    if (n < FILE_HEADER)
        return;
    memcpy(bytes, "Espalier state\r\n\1\0\0\0\0\0\0\0", FILE_HEADER);
    while (at + CHUNK <= n) {
        uint8_t *chunk = bytes + at;
        uint64_t place = at, length;
        memcpy(&length, chunk + 8, sizeof(length));
        length %= 3 * PAGE;
        length = MIN(length, n - at - CHUNK);
        put32(chunk, chunk[0] & 3);
        put32(chunk + 4, 0);
        memcpy(chunk + 8, &length, sizeof(length));
        memcpy(chunk + 16, &place, sizeof(place));
        put32(chunk + 24, (uint32_t)crc32_z(0, chunk + CHUNK, length));
        put32(chunk + 28, (uint32_t)crc32_z(0, chunk, 28));
        at += CHUNK + length;
    }
}

/* In and out of sections of names that the input has, and whatever else there is to get. */
static void walk(GBytes *state, FuzzInput *in)
{
    VmcStateReader r;
    gsize n;
    const void *bytes = g_bytes_get_data(state, &n);

    vmc_state_reader_init(&r, bytes, n);
    for (unsigned i = 0; i < 64 && fuzz_more(in); i++) {
        char name[3] = {(char)(fuzz_u8(in) | 1), (char)fuzz_u8(in), 0};
        uint8_t some[16];
        size_t length;
        switch (fuzz_u8(in) % 8) {
        case 0:
            vmc_state_enter(&r, name, 3);
            break;
        case 1:
            if (r.depth)
                vmc_state_leave(&r);
            break;
        case 2:
            g_free(vmc_state_get_string(&r, 300));
            break;
        case 3:
            vmc_state_get_blob(&r, 300, &length);
            break;
        case 4:
            vmc_state_get_bytes(&r, some, sizeof(some));
            break;
        case 5:
            vmc_state_get_u64_max(&r, 1000);
            break;
        case 6:
            vmc_state_get_bool(&r);
            break;
        default:
            vmc_state_next_is(&r, name);
        }
    }
    if (r.at > r.end || r.end > n)
        abort();
    vmc_state_reader_clear(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static VmcMemory *memory;
    g_autoptr(GError) error = NULL;
    char path[64];

    if (!memory) {
        memory = vmc_memory_new();
        if (!vmc_memory_add(memory, "low", 0, 4 * PAGE, false, NULL) ||
            !vmc_memory_add(memory, "high", 1ull << 32, 2 * PAGE, false, NULL))
            abort();
    }
    if (!size)
        return 0;
    g_autofree uint8_t *bytes = g_memdup2(data + 1, size - 1);
    if (data[0] & 1)
        repair(bytes, size - 1);
    int fd = memfd_create("saved state", MFD_CLOEXEC);
    if (fd < 0 || write(fd, bytes, size - 1) != (ssize_t)(size - 1))
        abort();
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    VmcSavedState *saved = vmc_saved_state_open(path, &error);
    if (saved) {
        FuzzInput in = {.data = data, .size = size};
        walk(vmc_saved_state_get(saved), &in);
        if (!vmc_saved_state_load_memory(saved, memory, NULL, &error) && !error)
            abort();
    } else if (!error || !error->message[0]) {
        abort();
    }
    vmc_saved_state_close(saved);
    close(fd);
    return 0;
}
