/*
 * Overhearing addresses: frames both ways, in vectors of odd sizes that end where the frame does.
 *
 * covers: vmcore/net/watch.c
 */
#include <glib.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "net/watch.h"
#include "tests/fuzz/frames.h"

/* A DHCP message behind the headers, sometimes whole. */
static size_t dhcp(FuzzInput *in, uint8_t *buf, size_t transport)
{
    uint8_t how = fuzz_u8(in);
    size_t options = fuzz_below(in, 64), at = transport + 8;
    bool release = how & 1;

    buf[transport + 1] = release ? 68 : 67;
    buf[transport + 3] = release ? 67 : 68;
    memset(buf + at, 0, 240);
    buf[at] = 2;
    buf[at + 1] = 1;
    buf[at + 2] = 6;
    fuzz_take(in, buf + at + 12, 8);
    fuzz_mac(in, buf + at + 28);
    memcpy(buf + at + 236, "\x63\x82\x53\x63", 4);
    fuzz_take(in, buf + at + 240, options);
    if (how & 2)
        memcpy(buf + at + 240, release ? "\x35\1\7" : "\x35\1\5", 3);
    return at + 240 + options;
}

static void look(VmcWatch *watch, FuzzInput *in)
{
    uint8_t *buf = g_malloc0(2048);
    uint8_t how = fuzz_u8(in);
    size_t transport = 0, len = fuzz_frame(in, buf, 1024, &transport);

    if (how & 2)
        len = dhcp(in, buf, transport);
    if (how & 4)
        len = fuzz_below(in, (uint32_t)len + 1);
    size_t cut = fuzz_below(in, (uint32_t)len + 1);
    uint8_t *first = g_malloc(cut + 1), *second = g_malloc(len - cut + 1);
    struct iovec iov[2] = {{first + 1, cut}, {second + 1, len - cut}}; /* ending where they do */
    memcpy(first + 1, buf, cut);
    memcpy(second + 1, buf + cut, len - cut);
    if (how & 1)
        vmc_watch_sent(watch, iov, 2);
    else
        vmc_watch_received(watch, iov, 2);
    g_free(first);
    g_free(second);
    g_free(buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FuzzInput in = {data, size, 0};
    VmcNetAddress addresses[VMC_WATCH_ADDRESSES + 1];
    VmcWatch watch;

    memset(addresses, 0, sizeof(addresses));
    vmc_watch_init(&watch);
    for (unsigned n = 0; fuzz_more(&in) && n < 64; n++) {
        look(&watch, &in);
        unsigned known = vmc_watch_addresses(&watch, NULL, addresses, G_N_ELEMENTS(addresses));
        for (unsigned i = 0; i < known; i++)
            if ((addresses[i].family != AF_INET && addresses[i].family != AF_INET6) ||
                addresses[i].mac[0] & 1 || known > VMC_WATCH_ADDRESSES)
                abort();
        vmc_watch_addresses(&watch, addresses[0].mac, addresses, 1);
        if (fuzz_u8(&in) == 0xff)
            vmc_watch_reset(&watch);
    }
    vmc_watch_clear(&watch);
    return 0;
}
