/* Checksums and segmentation in software, on frames that are taken apart here without them; the watch for
 * addresses. */
#include "tests/unit/net_frames.h"

#include "net/mac.h"
#include "net/offload.h"
#include "net/watch.h"
#include "vmcore/error.h"

#define TCP 6u
#define UDP 17u

/* ---- sums ---- */

static void test_known_sums(void **state)
{
    static const uint8_t rfc1071[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
    static const uint8_t header[] = {0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11,
                                     0x00, 0x00, 0xc0, 0xa8, 0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7};

    assert_int_equal(vmc_checksum_fold(vmc_checksum_add(0, rfc1071, sizeof(rfc1071))), 0x220d);
    assert_int_equal(vmc_checksum_fold(vmc_checksum_add(0, header, sizeof(header))), 0xb861);
    assert_int_equal(vmc_checksum_fold(0), 0xffff);
}

/* Every length and alignment, in one go and in two. */
static void test_sums_of_all_lengths(void **state)
{
    uint8_t bytes[300];

    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 89 + 13 + (i >> 3));
    for (unsigned at = 0; at < 9; at++)
        for (unsigned len = 0; at + len <= sizeof(bytes); len++) {
            unsigned wanted = ~plain_sum(0, bytes + at, len) & 0xffff;
            unsigned half = len / 4 * 2;
            assert_int_equal(vmc_checksum_fold(vmc_checksum_add(0, bytes + at, len)), wanted);
            uint64_t sum =
                vmc_checksum_add(vmc_checksum_add(0, bytes + at, half), bytes + at + half, len - half);
            assert_int_equal(vmc_checksum_fold(sum), wanted);
        }
}

static VmcFrameInfo sum_info(const TestFrame *f, uint8_t protocol)
{
    return (VmcFrameInfo){.flags = VMC_FRAME_NEEDS_CSUM,
                          .csum_start = (uint16_t)f->transport,
                          .csum_offset = protocol == UDP ? 6 : 16};
}

static void test_checksum_is_filled_in(void **state)
{
    TestFrame *f = g_new0(TestFrame, 1);

    for (unsigned six = 0; six < 2; six++)
        for (unsigned udp = 0; udp < 2; udp++)
            for (size_t payload = 0; payload < 1460; payload += 291) {
                uint8_t protocol = udp ? UDP : TCP;
                make_frame(f, six, protocol, six, udp, payload);
                leave_sum(f, protocol);
                VmcFrameInfo info = sum_info(f, protocol);
                assert_true(vmc_offload_check(&info, f->len));
                vmc_offload_checksum(f->bytes, f->len, &info);
                assert_int_equal(transport_sum(f->bytes, f->len, f->ip, f->transport, protocol), 0xffff);
            }
    g_free(f);
}

/* A UDP sum that comes out as zero would mean that there is none. */
static void test_zero_sum_is_stored_as_ones(void **state)
{
    TestFrame *f = g_new0(TestFrame, 1);

    make_frame(f, false, UDP, 0, false, 2);
    leave_sum(f, UDP);
    VmcFrameInfo info = sum_info(f, UDP);
    put16(f->bytes + f->payload, 0);
    unsigned sum = plain_sum(0, f->bytes + f->transport, f->len - f->transport);
    put16(f->bytes + f->payload, 0xffff - sum);
    vmc_offload_checksum(f->bytes, f->len, &info);
    assert_int_equal(get16(f->bytes + f->transport + 6), 0xffff);
    g_free(f);
}

/* ---- segments ---- */

typedef struct Expect {
    const TestFrame *whole;
    const VmcFrameInfo *info;
    uint8_t protocol;
    bool last_seen;
    unsigned count, stop_after;
    size_t offset;
} Expect;

static bool take_segment(void *data, const struct iovec *iov, unsigned n_iov)
{
    static uint8_t piece[FRAME_MAX];
    Expect *e = data;
    const TestFrame *f = e->whole;
    size_t len = vmc_iov_copy(iov, n_iov, 0, piece, sizeof(piece)), payload = len - f->payload;
    bool last = e->offset + payload == f->len - f->payload, six = piece[f->ip] >> 4 == 6;

    assert_false(e->last_seen);
    assert_int_equal(len, vmc_iov_length(iov, n_iov));
    assert_int_equal(payload, last ? f->len - f->payload - e->offset : e->info->gso_size);
    assert_memory_equal(piece + f->payload, f->bytes + f->payload + e->offset, payload);
    assert_memory_equal(piece, f->bytes, f->ip);
    assert_int_equal(transport_sum(piece, len, f->ip, f->transport, e->protocol), 0xffff);
    if (six) {
        assert_int_equal(get16(piece + f->ip + 4), len - f->ip - 40);
    } else {
        assert_int_equal(get16(piece + f->ip + 2), len - f->ip);
        assert_int_equal(get16(piece + f->ip + 4), (0xfffe + e->count) & 0xffff);
        assert_int_equal(plain_sum(0, piece + f->ip, f->transport - f->ip), 0xffff);
    }
    if (e->protocol == UDP) {
        assert_int_equal(get16(piece + f->transport + 4), 8 + payload);
    } else {
        uint8_t flags = f->bytes[f->transport + 13];
        flags &= (uint8_t) ~(last ? 0 : 0x09) & (uint8_t) ~(e->count ? 0x80 : 0);
        assert_int_equal(get32(piece + f->transport + 4), 0xfffffff0u + (uint32_t)e->offset);
        assert_int_equal(piece[f->transport + 13], flags);
    }
    e->offset += payload;
    e->last_seen = last;
    return ++e->count != e->stop_after;
}

static VmcFrameInfo gso_info(const TestFrame *f, bool six, uint8_t protocol, uint16_t size)
{
    VmcFrameInfo info = sum_info(f, protocol);

    info.gso_type = protocol == UDP ? VMC_GSO_UDP : six ? VMC_GSO_TCPV6 : VMC_GSO_TCPV4;
    info.gso_size = size;
    return info;
}

static void expect_segments(TestFrame *f, bool six, uint8_t protocol, uint16_t size)
{
    VmcFrameInfo info = gso_info(f, six, protocol, size);
    Expect e = {.whole = f, .info = &info, .protocol = protocol};
    size_t payload = f->len - f->payload;

    assert_true(vmc_offload_check(&info, f->len));
    assert_true(vmc_offload_segment(f->bytes, f->len, &info, take_segment, &e));
    assert_true(e.last_seen);
    assert_int_equal(e.count, payload ? (payload + size - 1) / size : 1);
}

static void test_segments(void **state)
{
    static const size_t payloads[] = {0, 1, 1459, 1460, 1461, 2920, 30001, 65400};
    TestFrame *f = g_new0(TestFrame, 1);

    for (unsigned six = 0; six < 2; six++)
        for (unsigned udp = 0; udp < 2; udp++)
            for (unsigned shape = 0; shape < 4; shape++)
                for (unsigned i = 0; i < G_N_ELEMENTS(payloads); i++) {
                    make_frame(f, six, udp ? UDP : TCP, shape & 1, shape & 2, payloads[i]);
                    if (!udp)
                        f->bytes[f->transport + 13] = 0x99; /* CWR, ACK, PSH, FIN */
                    expect_segments(f, six, udp ? UDP : TCP, 1460);
                }
    make_frame(f, false, TCP, 0, false, 8000);
    expect_segments(f, false, TCP, 8);
    g_free(f);
}

static void test_segments_end_when_nobody_takes_them(void **state)
{
    TestFrame *f = g_new0(TestFrame, 1);

    make_frame(f, false, TCP, 0, false, 5000);
    VmcFrameInfo info = gso_info(f, false, TCP, 1000);
    Expect e = {.whole = f, .info = &info, .protocol = TCP, .stop_after = 2};
    assert_false(vmc_offload_segment(f->bytes, f->len, &info, take_segment, &e));
    assert_int_equal(e.count, 2);
    g_free(f);
}

/* ---- what does not fit ---- */

static void test_info_has_to_fit(void **state)
{
    static const struct {
        VmcFrameInfo info;
        size_t len;
        bool good;
    } cases[] = {
        {{0}, 14, true},
        {{0}, 13, false},
        {{0}, VMC_FRAME_MAX, true},
        {{0}, VMC_FRAME_MAX + 1, false},
        {{.flags = 1, .csum_start = 14, .csum_offset = 4}, 20, true},
        {{.flags = 1, .csum_start = 14, .csum_offset = 5}, 20, false},
        {{.flags = 1, .csum_start = 13, .csum_offset = 4}, 20, false},
        {{.flags = 1, .csum_start = 65535, .csum_offset = 65535}, 2000, false},
        {{.gso_type = 1, .gso_size = 100, .csum_start = 34, .csum_offset = 16},
         2000,
         false}, /* no sum asked for */
        {{.flags = 1, .gso_type = 1, .gso_size = 100, .csum_start = 34, .csum_offset = 16}, 2000, true},
        {{.flags = 1, .gso_type = 1, .gso_size = 100, .csum_start = 34, .csum_offset = 6}, 2000, false},
        {{.flags = 1, .gso_type = 1, .gso_size = 0, .csum_start = 34, .csum_offset = 16}, 2000, false},
        {{.flags = 1, .gso_type = 1, .gso_size = 7, .csum_start = 34, .csum_offset = 16}, 2000, false},
        {{.flags = 1, .gso_type = 0x81, .gso_size = 8, .csum_start = 34, .csum_offset = 16}, 2000, true},
        {{.flags = 1, .gso_type = 5, .gso_size = 8, .csum_start = 34, .csum_offset = 6}, 2000, true},
        {{.flags = 1, .gso_type = 0x85, .gso_size = 8, .csum_start = 34, .csum_offset = 6}, 2000, false},
        {{.flags = 1, .gso_type = 3, .gso_size = 8, .csum_start = 34, .csum_offset = 6},
         2000,
         false}, /* UFO */
        {{.flags = 1, .gso_type = 0x80, .gso_size = 8, .csum_start = 34, .csum_offset = 16}, 2000, false},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++)
        if (vmc_offload_check(&cases[i].info, cases[i].len) != cases[i].good)
            fail_msg("case %u: not %d", i, cases[i].good);
}

static bool never(void *data, const struct iovec *iov, unsigned n_iov)
{
    fail_msg("a segment of a malformed frame");
    return false;
}

/* One byte of the headers made wrong, or the frame cut, and nothing comes out. */
static void test_malformed_headers_give_nothing(void **state)
{
    static const struct {
        bool six;
        size_t at; /* from the IP header; of the frame's type: -1 */
        uint8_t value;
    } cases[] = {
        {false, 0, 0x65}, {false, 0, 0x44},       {false, 0, 0x46},      {false, 6, 0x20}, {false, 7, 1},
        {false, 9, 17},   {false, 20 + 12, 0x40}, {false, 20 + 12, 0},   {true, 0, 0x45},  {true, 6, 17},
        {true, 6, 43},    {true, 6, 0},           {true, 40 + 12, 0x40},
    };
    TestFrame *f = g_new0(TestFrame, 1);

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        make_frame(f, cases[i].six, TCP, 0, false, 3000);
        VmcFrameInfo info = gso_info(f, cases[i].six, TCP, 1000);
        f->bytes[f->ip + cases[i].at] = cases[i].value;
        assert_false(vmc_offload_segment(f->bytes, f->len, &info, never, NULL));
    }
    for (unsigned six = 0; six < 2; six++) {
        make_frame(f, six, TCP, 1, true, 0);
        VmcFrameInfo info = gso_info(f, six, TCP, 1000);
        for (size_t len = VMC_FRAME_MIN; len < f->len; len++)
            assert_false(vmc_offload_segment(f->bytes, len, &info, never, NULL));
        info.gso_type = six ? VMC_GSO_TCPV4 : VMC_GSO_TCPV6;
        assert_false(vmc_offload_segment(f->bytes, f->len, &info, never, NULL));
        info = gso_info(f, six, TCP, 1000);
        info.csum_start = (uint16_t)(info.csum_start + 4);
        assert_false(vmc_offload_segment(f->bytes, f->len, &info, never, NULL));
    }
    /* A segment that would be longer than an IP packet can be. */
    make_frame(f, false, TCP, 0, false, 65535 - 20 - 20);
    expect_segments(f, false, TCP, 65535);
    make_frame(f, false, TCP, 0, false, 65535 - 20 - 20 + 1);
    VmcFrameInfo info = gso_info(f, false, TCP, 65535);
    assert_false(vmc_offload_segment(f->bytes, f->len, &info, never, NULL));
    g_free(f);
}

/* ---- the watch ---- */

typedef struct Watched {
    VmcWatch watch;
    uint8_t frame[1024];
    size_t len;
} Watched;

static const uint8_t guest_mac[6] = {0x52, 0x54, 0, 0, 0, 1};

static void show(Watched *w, bool sent)
{
    struct iovec iov[2] = {{w->frame, MIN(w->len, 20)}, {w->frame + 20, w->len > 20 ? w->len - 20 : 0}};

    if (sent)
        vmc_watch_sent(&w->watch, iov, 2);
    else
        vmc_watch_received(&w->watch, iov, 2);
}

static void expect_addresses(Watched *w, ...)
{
    VmcNetAddress addresses[VMC_WATCH_ADDRESSES];
    unsigned n = vmc_watch_addresses(&w->watch, guest_mac, addresses, G_N_ELEMENTS(addresses)), i = 0;
    const char *wanted;
    va_list args;

    va_start(args, w);
    while ((wanted = va_arg(args, const char *))) {
        char text[INET6_ADDRSTRLEN] = "nothing";
        if (i < n)
            inet_ntop(addresses[i].family, addresses[i].bytes, text, sizeof(text));
        assert_string_equal(text, wanted);
        i++;
    }
    va_end(args);
    assert_int_equal(n, i);
}

static void ethernet(Watched *w, unsigned type, size_t len)
{
    memset(w->frame, 0, sizeof(w->frame));
    memset(w->frame, 0xff, 6);
    memcpy(w->frame + 6, guest_mac, 6);
    put16(w->frame + 12, type);
    w->len = len;
}

static void arp(Watched *w, const char *sender)
{
    ethernet(w, 0x0806, 42);
    memcpy(w->frame + 14, "\0\1\10\0\6\4\0\1", 8);
    memcpy(w->frame + 22, guest_mac, 6);
    inet_pton(AF_INET, sender, w->frame + 28);
}

static void neighbour(Watched *w, uint8_t type, const char *source, const char *target)
{
    ethernet(w, 0x86dd, 14 + 40 + 24);
    w->frame[14] = 0x60;
    put16(w->frame + 18, 24);
    w->frame[20] = 58;
    w->frame[21] = 255;
    inet_pton(AF_INET6, source, w->frame + 22);
    w->frame[54] = type;
    inet_pton(AF_INET6, target, w->frame + 62);
}

static void dhcp(Watched *w, bool from_server, uint8_t type, const char *address)
{
    uint8_t *ip = w->frame + 14, *message = ip + 28;
    static const uint8_t before[] = {0, 0, 54, 4, 10, 0, 2, 2, 53, 1};

    ethernet(w, 0x0800, 14 + 20 + 8 + 260);
    ip[0] = 0x45;
    ip[9] = 17;
    put16(ip + 20, from_server ? 67 : 68);
    put16(ip + 22, from_server ? 68 : 67);
    put16(ip + 24, 8 + 260);
    message[0] = from_server ? 2 : 1;
    message[1] = 1;
    message[2] = 6;
    inet_pton(AF_INET, address, message + (from_server ? 16 : 12));
    memcpy(message + 28, guest_mac, 6);
    memcpy(message + 236, "\x63\x82\x53\x63", 4);
    memcpy(message + 240, before, sizeof(before));
    message[240 + sizeof(before)] = type;
    message[241 + sizeof(before)] = 255;
}

static int watch_setup(void **state)
{
    Watched *w = g_new0(Watched, 1);

    vmc_watch_init(&w->watch);
    *state = w;
    return 0;
}

static int watch_teardown(void **state)
{
    Watched *w = *state;

    vmc_watch_clear(&w->watch);
    g_free(w);
    return 0;
}

static void test_watch_learns_from_arp(void **state)
{
    Watched *w = *state;

    arp(w, "0.0.0.0"); /* a probe */
    show(w, true);
    expect_addresses(w, NULL);
    arp(w, "10.0.2.15");
    show(w, false); /* not the guest's words */
    expect_addresses(w, NULL);
    show(w, true);
    show(w, true);
    expect_addresses(w, "10.0.2.15", NULL);
    arp(w, "192.168.1.7");
    show(w, true);
    expect_addresses(w, "192.168.1.7", "10.0.2.15", NULL);
    arp(w, "1.2.3.4");
    w->frame[22] ^= 2; /* speaks for somebody else */
    show(w, true);
    arp(w, "1.2.3.4");
    for (w->len = 0; w->len < 42; w->len++)
        show(w, true);
    arp(w, "255.255.255.255");
    show(w, true);
    arp(w, "127.0.0.1");
    show(w, true);
    expect_addresses(w, "192.168.1.7", "10.0.2.15", NULL);
    vmc_watch_reset(&w->watch);
    expect_addresses(w, NULL);
}

static void test_watch_learns_from_dhcp(void **state)
{
    Watched *w = *state;

    dhcp(w, true, 2, "10.0.2.15"); /* an offer */
    show(w, false);
    dhcp(w, true, 5, "10.0.2.15");
    show(w, true); /* from the guest: it is no server */
    size_t whole = w->len;
    for (w->len = 0; w->len < whole - 10; w->len++)
        show(w, false);
    expect_addresses(w, NULL);
    w->len = whole;
    show(w, false);
    expect_addresses(w, "10.0.2.15", NULL);
    dhcp(w, false, 7, "10.0.2.15"); /* release */
    show(w, true);
    expect_addresses(w, NULL);
    dhcp(w, true, 5, "10.0.2.16");
    put16(w->frame + 14 + 24, 8 + 230); /* its UDP length ends before the options */
    show(w, false);
    dhcp(w, true, 5, "10.0.2.16");
    w->frame[14 + 28 + 240 + 3] = 255; /* an option longer than the message */
    show(w, false);
    dhcp(w, true, 5, "10.0.2.16");
    w->frame[14 + 28 + 1] = 2; /* not Ethernet */
    show(w, false);
    expect_addresses(w, NULL);
}

static void test_watch_learns_from_neighbour_discovery(void **state)
{
    Watched *w = *state;

    neighbour(w, 135, "::", "fe80::1:2"); /* is it free? */
    show(w, true);
    neighbour(w, 135, "fec0::5054", "fec0::2");
    show(w, true);
    neighbour(w, 136, "fe80::1:2", "fec0::77");
    show(w, true);
    expect_addresses(w, "fec0::77", "fec0::5054", "fe80::1:2", NULL);
    neighbour(w, 136, "fe80::9", "fec0::77"); /* no, somebody has it */
    show(w, false);
    expect_addresses(w, "fec0::5054", "fe80::1:2", NULL);
    neighbour(w, 135, "::", "fec0::99");
    w->frame[21] = 64; /* came over a router */
    show(w, true);
    neighbour(w, 135, "::", "ff02::1");
    show(w, true);
    neighbour(w, 128, "fec0::99", "fec0::2"); /* an echo */
    show(w, true);
    neighbour(w, 135, "::", "fec0::99");
    w->len -= 1;
    show(w, true);
    expect_addresses(w, "fec0::5054", "fe80::1:2", NULL);
}

/* A guest can make up as many as it likes. */
static void test_watch_keeps_the_latest(void **state)
{
    Watched *w = *state;
    VmcNetAddress addresses[VMC_WATCH_ADDRESSES + 1];

    for (unsigned i = 1; i <= 40; i++) {
        char text[32];
        g_snprintf(text, sizeof(text), "10.1.1.%u", i);
        arp(w, text);
        show(w, true);
    }
    assert_int_equal(vmc_watch_addresses(&w->watch, NULL, addresses, G_N_ELEMENTS(addresses)),
                     VMC_WATCH_ADDRESSES);
    assert_int_equal(addresses[0].bytes[3], 40);
    assert_int_equal(addresses[VMC_WATCH_ADDRESSES - 1].bytes[3], 40 - VMC_WATCH_ADDRESSES + 1);
    assert_int_equal(vmc_watch_addresses(&w->watch, NULL, addresses, 3), 3);
    assert_int_equal(vmc_watch_addresses(&w->watch, (const uint8_t *)"\x52\0\0\0\0\x9", addresses, 3), 0);
}

/* ---- MAC addresses ---- */

static void test_mac_addresses(void **state)
{
    static const char *const wrong[] = {"",
                                        "52:54:00:12:34",
                                        "52:54:00:12:34:56:78",
                                        "52:54:00:12:34:5g",
                                        "525400123456",
                                        "01:00:5e:00:00:01",
                                        "ff:ff:ff:ff:ff:ff",
                                        "00:00:00:00:00:00"};
    uint8_t mac[6], other[6];

    assert_true(vmc_mac_parse("52:54:00:aB:34:56", mac, NULL));
    char *text = vmc_mac_to_string(mac);
    assert_string_equal(text, "52:54:00:ab:34:56");
    g_free(text);
    assert_true(vmc_mac_parse("52-54-00-12-34-56", mac, NULL));
    for (unsigned i = 0; i < G_N_ELEMENTS(wrong); i++) {
        GError *error = NULL;
        assert_false(vmc_mac_parse(wrong[i], mac, &error));
        assert_true(g_error_matches(error, VMC_ERROR, VMC_ERROR_CONFIG));
        assert_non_null(strstr(error->message, "“"));
        g_error_free(error);
    }
    vmc_mac_random(mac);
    vmc_mac_random(other);
    assert_int_equal(mac[0] & 3, 2);
    assert_memory_not_equal(mac, other, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_sums),
        cmocka_unit_test(test_sums_of_all_lengths),
        cmocka_unit_test(test_checksum_is_filled_in),
        cmocka_unit_test(test_zero_sum_is_stored_as_ones),
        cmocka_unit_test(test_segments),
        cmocka_unit_test(test_segments_end_when_nobody_takes_them),
        cmocka_unit_test(test_info_has_to_fit),
        cmocka_unit_test(test_malformed_headers_give_nothing),
        cmocka_unit_test_setup_teardown(test_watch_learns_from_arp, watch_setup, watch_teardown),
        cmocka_unit_test_setup_teardown(test_watch_learns_from_dhcp, watch_setup, watch_teardown),
        cmocka_unit_test_setup_teardown(test_watch_learns_from_neighbour_discovery, watch_setup,
                                        watch_teardown),
        cmocka_unit_test_setup_teardown(test_watch_keeps_the_latest, watch_setup, watch_teardown),
        cmocka_unit_test(test_mac_addresses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
