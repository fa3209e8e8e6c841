/* virtio-snd as a driver sees it: what it tells about itself, the order of requests, and buffers that move at
 * the pace of the sound. The backend is the real one for silence. alone: yes */
#include <linux/virtio_snd.h>

#include "tests/unit/virtio_rig.h"

#define RATE   48000
#define PERIOD 1920u /* 10 ms of 2 channels of 16 bits */

enum { CONTROL, EVENT, TX, RX };

typedef struct Card {
    Rig rig;
    uint64_t out, in;
} Card;

static Card *card_new(bool output, bool input)
{
    Card *card = g_new0(Card, 1);

    rig_init(&card->rig);
    rig_plug(&card->rig,
             vmc_virtio_sound_new(&card->rig.host, vmc_sound_silent_new(card->rig.io), output, input));
    rig_bring_up(&card->rig, RIG_FEATURES, 4, 64);
    card->out = rig_alloc(&card->rig, 4096);
    card->in = rig_alloc(&card->rig, 4096);
    return card;
}

static void card_free(Card *card)
{
    rig_clear(&card->rig);
    g_free(card);
}

/* Sends a control request; returns its status. What follows the status is at card->in + 4. */
static uint32_t request(Card *card, const void *message, size_t len, uint32_t in_len)
{
    memcpy(rig_host(&card->rig, card->out, len), message, len);
    memset(rig_host(&card->rig, card->in, 4096), 0xee, 4096);
    rig_add(&card->rig, &card->rig.queues[CONTROL],
            (RigBuffer[]){{card->out, (uint32_t)len}, {card->in, in_len}}, 1, 1);
    rig_kick(&card->rig, &card->rig.queues[CONTROL]);
    rig_used(&card->rig, &card->rig.queues[CONTROL]);
    return *(uint32_t *)rig_host(&card->rig, card->in, 4);
}

static uint32_t stream_request(Card *card, uint32_t code, uint32_t stream)
{
    struct virtio_snd_pcm_hdr header = {.hdr.code = code, .stream_id = stream};

    return request(card, &header, sizeof(header), 4);
}

static uint32_t set_params(Card *card, uint32_t buffer, uint32_t period, uint8_t channels, uint8_t format,
                           uint8_t rate)
{
    struct virtio_snd_pcm_set_params params = {
        .hdr = {.hdr.code = VIRTIO_SND_R_PCM_SET_PARAMS, .stream_id = 0},
        .buffer_bytes = buffer,
        .period_bytes = period,
        .channels = channels,
        .format = format,
        .rate = rate,
    };

    return request(card, &params, sizeof(params), 4);
}

static uint32_t good_params(Card *card)
{
    return set_params(card, 4 * PERIOD, PERIOD, 2, VIRTIO_SND_PCM_FMT_S16, VIRTIO_SND_PCM_RATE_48000);
}

static void test_it_tells_what_it_has(void **state)
{
    Card *card = card_new(true, true);
    struct virtio_snd_query_info query = {
        .hdr.code = VIRTIO_SND_R_PCM_INFO, .count = 2, .size = sizeof(struct virtio_snd_pcm_info)};
    struct virtio_snd_pcm_info info[2]; /* it lies behind four bytes of status, misaligned */

    assert_int_equal(vmc_bus_read(card->rig.mmio, card->rig.device + 4, 4), 2);
    assert_int_equal(request(card, &query, sizeof(query), 4 + sizeof(info)), VIRTIO_SND_S_OK);
    memcpy(info, rig_host(&card->rig, card->in + 4, sizeof(info)), sizeof(info));
    assert_int_equal(info[0].direction, VIRTIO_SND_D_OUTPUT);
    assert_int_equal(info[1].direction, VIRTIO_SND_D_INPUT);
    assert_true(info[0].formats & 1 << VIRTIO_SND_PCM_FMT_S16);
    assert_true(info[0].rates & 1 << VIRTIO_SND_PCM_RATE_44100);
    assert_int_equal(info[0].channels_max, 2);
    /* macOS asks for nothing at all, and wants to hear that this is fine. */
    query = (struct virtio_snd_query_info){.hdr.code = VIRTIO_SND_R_JACK_INFO};
    assert_int_equal(request(card, &query, sizeof(query), 4), VIRTIO_SND_S_OK);
    query.hdr.code = VIRTIO_SND_R_CHMAP_INFO;
    assert_int_equal(request(card, &query, sizeof(query), 4), VIRTIO_SND_S_OK);
    query =
        (struct virtio_snd_query_info){{VIRTIO_SND_R_CHMAP_INFO}, 1, 1, sizeof(struct virtio_snd_chmap_info)};
    assert_int_equal(request(card, &query, sizeof(query), 4 + sizeof(struct virtio_snd_chmap_info)),
                     VIRTIO_SND_S_OK);
    assert_int_equal(((struct virtio_snd_chmap_info *)rig_host(&card->rig, card->in + 4, 24))->positions[1],
                     VIRTIO_SND_CHMAP_FR);
    card_free(card);
}

static void test_questions_for_more_than_there_is_are_refused(void **state)
{
    Card *card = card_new(true, false);
    struct virtio_snd_query_info query = {{VIRTIO_SND_R_PCM_INFO}, 0, 2, sizeof(struct virtio_snd_pcm_info)};

    assert_int_equal(request(card, &query, sizeof(query), 1000), VIRTIO_SND_S_BAD_MSG);
    query.start_id = 0xffffffff;
    assert_int_equal(request(card, &query, sizeof(query), 1000), VIRTIO_SND_S_BAD_MSG);
    query = (struct virtio_snd_query_info){{VIRTIO_SND_R_PCM_INFO}, 0, 1, 0x10000};
    assert_int_equal(request(card, &query, sizeof(query), 1000), VIRTIO_SND_S_BAD_MSG);
    query.size = sizeof(struct virtio_snd_pcm_info); /* the answer does not fit */
    assert_int_equal(request(card, &query, sizeof(query), 20), VIRTIO_SND_S_BAD_MSG);
    assert_int_equal(request(card, &query, 3, 100), VIRTIO_SND_S_NOT_SUPP);
    card_free(card);
}

static void test_parameters_that_cannot_be_are_refused(void **state)
{
    Card *card = card_new(true, false);
    const uint8_t s16 = VIRTIO_SND_PCM_FMT_S16, fast = VIRTIO_SND_PCM_RATE_48000;

    assert_int_equal(set_params(card, 4096, 0, 2, s16, fast), VIRTIO_SND_S_BAD_MSG);
    assert_int_equal(set_params(card, 0, 4096, 2, s16, fast), VIRTIO_SND_S_BAD_MSG);
    assert_int_equal(set_params(card, 4096, 1023, 2, s16, fast), VIRTIO_SND_S_BAD_MSG);
    assert_int_equal(set_params(card, 0xfffffffc, 4096, 2, s16, fast), VIRTIO_SND_S_BAD_MSG);
    assert_int_equal(set_params(card, 4096, 1024, 0, s16, fast), VIRTIO_SND_S_NOT_SUPP);
    assert_int_equal(set_params(card, 4096, 1024, 3, s16, fast), VIRTIO_SND_S_NOT_SUPP);
    assert_int_equal(set_params(card, 4096, 1024, 2, 200, fast), VIRTIO_SND_S_NOT_SUPP);
    assert_int_equal(set_params(card, 4096, 1024, 2, s16, 14), VIRTIO_SND_S_NOT_SUPP);
    assert_int_equal(good_params(card), VIRTIO_SND_S_OK);
    card_free(card);
}

static void test_requests_come_in_the_order_of_the_specification(void **state)
{
    Card *card = card_new(true, false);

    assert_int_equal(stream_request(card, VIRTIO_SND_R_PCM_PREPARE, 0), VIRTIO_SND_S_BAD_MSG);
    assert_int_equal(stream_request(card, VIRTIO_SND_R_PCM_START, 0), VIRTIO_SND_S_BAD_MSG);
    assert_int_equal(stream_request(card, VIRTIO_SND_R_PCM_PREPARE, 1),
                     VIRTIO_SND_S_BAD_MSG); /* no such stream */
    assert_int_equal(good_params(card), VIRTIO_SND_S_OK);
    assert_int_equal(stream_request(card, VIRTIO_SND_R_PCM_START, 0), VIRTIO_SND_S_BAD_MSG);
    assert_int_equal(stream_request(card, VIRTIO_SND_R_PCM_PREPARE, 0), VIRTIO_SND_S_OK);
    assert_int_equal(stream_request(card, VIRTIO_SND_R_PCM_START, 0), VIRTIO_SND_S_OK);
    assert_int_equal(good_params(card), VIRTIO_SND_S_BAD_MSG); /* it plays */
    assert_int_equal(stream_request(card, VIRTIO_SND_R_PCM_RELEASE, 0), VIRTIO_SND_S_BAD_MSG);
    assert_int_equal(stream_request(card, VIRTIO_SND_R_PCM_STOP, 0), VIRTIO_SND_S_OK);
    assert_int_equal(stream_request(card, VIRTIO_SND_R_PCM_STOP, 0), VIRTIO_SND_S_BAD_MSG);
    assert_int_equal(stream_request(card, VIRTIO_SND_R_PCM_RELEASE, 0), VIRTIO_SND_S_OK);
    assert_int_equal(stream_request(card, VIRTIO_SND_R_PCM_PREPARE, 0), VIRTIO_SND_S_OK);
    assert_int_equal(stream_request(card, VIRTIO_SND_R_JACK_REMAP, 0), VIRTIO_SND_S_NOT_SUPP);
    card_free(card);
}

/* Hands over a period for playback; its status will be at the address returned. */
static uint64_t send_period(Card *card, uint32_t stream, uint32_t bytes)
{
    uint64_t header = rig_alloc(&card->rig, 4096), status = header + 8;

    *(uint32_t *)rig_host(&card->rig, header, 4) = stream;
    *(uint64_t *)rig_host(&card->rig, status, 8) = 0;
    rig_add(&card->rig, &card->rig.queues[TX], (RigBuffer[]){{header, 4}, {card->out, bytes}, {status, 8}}, 2,
            1);
    rig_kick(&card->rig, &card->rig.queues[TX]);
    return status;
}

static uint32_t status_at(Card *card, uint64_t at)
{
    return *(uint32_t *)rig_host(&card->rig, at, 4);
}

static void test_buffers_go_back_at_the_pace_of_the_sound(void **state)
{
    Card *card = card_new(true, false);
    const unsigned periods = 20; /* three descriptors each */
    uint64_t status = 0;
    int64_t start;

    good_params(card);
    stream_request(card, VIRTIO_SND_R_PCM_PREPARE, 0);
    stream_request(card, VIRTIO_SND_R_PCM_START, 0);
    start = g_get_monotonic_time();
    for (unsigned i = 0; i < periods; i++)
        status = send_period(card, 0, PERIOD);
    for (unsigned i = 0; i < periods; i++)
        rig_used(&card->rig, &card->rig.queues[TX]);
    /* 200 ms of sound, of which the backend takes two periods at once. */
    assert_in_range(g_get_monotonic_time() - start, 170 * 1000, 5000 * 1000);
    assert_int_equal(status_at(card, status), VIRTIO_SND_S_OK);
    card_free(card);
}

static void test_release_gives_waiting_buffers_back(void **state)
{
    Card *card = card_new(true, false);

    good_params(card);
    stream_request(card, VIRTIO_SND_R_PCM_PREPARE, 0);
    for (unsigned i = 0; i < 10; i++)
        send_period(card, 0, PERIOD);
    assert_int_equal(stream_request(card, VIRTIO_SND_R_PCM_RELEASE, 0), VIRTIO_SND_S_OK);
    for (unsigned i = 0; i < 10; i++)
        rig_used(&card->rig, &card->rig.queues[TX]);
    card_free(card);
}

static void test_buffers_that_cannot_be_played_are_refused(void **state)
{
    Card *card = card_new(true, true);
    uint64_t early = send_period(card, 0, PERIOD), wrong, odd;

    rig_used(&card->rig, &card->rig.queues[TX]);
    assert_int_equal(status_at(card, early), VIRTIO_SND_S_BAD_MSG); /* not prepared */
    good_params(card);
    stream_request(card, VIRTIO_SND_R_PCM_PREPARE, 0);
    wrong = send_period(card, 1, PERIOD);
    rig_used(&card->rig, &card->rig.queues[TX]);
    assert_int_equal(status_at(card, wrong), VIRTIO_SND_S_BAD_MSG); /* a stream for recording */
    odd = send_period(card, 0, PERIOD - 1);
    rig_used(&card->rig, &card->rig.queues[TX]);
    assert_int_equal(status_at(card, odd), VIRTIO_SND_S_BAD_MSG); /* not whole frames */
    card_free(card);
}

static void test_recording_brings_silence_and_a_status_behind_it(void **state)
{
    Card *card = card_new(false, true);
    uint64_t header = rig_alloc(&card->rig, 4096), data = rig_alloc(&card->rig, 4096);
    struct vring_used_elem used;

    good_params(card);
    stream_request(card, VIRTIO_SND_R_PCM_PREPARE, 0);
    *(uint32_t *)rig_host(&card->rig, header, 4) = 0;
    memset(rig_host(&card->rig, data, 4096), 0xee, 4096);
    rig_add(&card->rig, &card->rig.queues[RX], (RigBuffer[]){{header, 4}, {data, PERIOD + 8}}, 1, 1);
    rig_kick(&card->rig, &card->rig.queues[RX]);
    stream_request(card, VIRTIO_SND_R_PCM_START, 0);
    used = rig_used(&card->rig, &card->rig.queues[RX]);
    assert_int_equal(used.len, PERIOD + 8);
    assert_int_equal(*(uint8_t *)rig_host(&card->rig, data + PERIOD - 1, 1), 0);
    assert_int_equal(status_at(card, data + PERIOD), VIRTIO_SND_S_OK);
    card_free(card);
}

static void test_a_reset_while_it_plays_starts_over(void **state)
{
    Card *card = card_new(true, false);

    for (unsigned i = 0; i < 3; i++) {
        good_params(card);
        stream_request(card, VIRTIO_SND_R_PCM_PREPARE, 0);
        stream_request(card, VIRTIO_SND_R_PCM_START, 0);
        for (unsigned n = 0; n < 8; n++)
            send_period(card, 0, PERIOD);
        rig_reset(&card->rig);
        rig_bring_up(&card->rig, RIG_FEATURES, 4, 64);
        assert_int_equal(stream_request(card, VIRTIO_SND_R_PCM_START, 0), VIRTIO_SND_S_BAD_MSG);
    }
    card_free(card);
}

static void test_a_buffer_without_a_status_breaks_the_device(void **state)
{
    Card *card = card_new(true, false);

    rig_add(&card->rig, &card->rig.queues[TX], (RigBuffer[]){{card->out, 100}, {card->in, 7}}, 1, 1);
    rig_kick(&card->rig, &card->rig.queues[TX]);
    rig_expect_needs_reset(&card->rig);
    card_free(card);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_tells_what_it_has),
        cmocka_unit_test(test_questions_for_more_than_there_is_are_refused),
        cmocka_unit_test(test_parameters_that_cannot_be_are_refused),
        cmocka_unit_test(test_requests_come_in_the_order_of_the_specification),
        cmocka_unit_test(test_buffers_go_back_at_the_pace_of_the_sound),
        cmocka_unit_test(test_release_gives_waiting_buffers_back),
        cmocka_unit_test(test_buffers_that_cannot_be_played_are_refused),
        cmocka_unit_test(test_recording_brings_silence_and_a_status_behind_it),
        cmocka_unit_test(test_a_reset_while_it_plays_starts_over),
        cmocka_unit_test(test_a_buffer_without_a_status_breaks_the_device),
    };

    return cmocka_run_group_tests_name("virtio_sound", tests, NULL, NULL);
}
