/*
 * The clipboards: who has grabbed what, and what was asked for.
 *
 * A guest may only send what it was asked for, and is only asked for what it has grabbed, so the content of a
 * message that nobody waits for is never kept. Both sides are given time to answer; a guest that pastes waits
 * for us, with its window standing still.
 *
 * When both sides grab at the same moment, each would take the other for the owner. With
 * VD_AGENT_CAP_CLIPBOARD_GRAB_SERIAL grabs are numbered: one that does not carry the number that is next has
 * crossed one of the other side's and is void, if it is the guest's (the host wins).
 */
#include <string.h>

#include "agent/internal.h"
#include "base/i18n.h"
#include "base/seeded.h"

bool vmc_agent_clip_to_guest(const VmcAgent *agent)
{
    return agent->policy == VMC_CLIPBOARD_BOTH || agent->policy == VMC_CLIPBOARD_TO_GUEST;
}

static bool to_host(const VmcAgent *agent)
{
    return agent->policy == VMC_CLIPBOARD_BOTH || agent->policy == VMC_CLIPBOARD_TO_HOST;
}

static bool has_selections(const VmcAgent *agent)
{
    return vmc_agent_guest_can(agent, VD_AGENT_CAP_CLIPBOARD_SELECTION);
}

static bool reaches(const VmcAgent *agent, unsigned selection)
{
    return vmc_agent_guest_can(agent, VD_AGENT_CAP_CLIPBOARD_BY_DEMAND) &&
           (!selection || has_selections(agent));
}

/* ---- contents ---- */

/* LF to CRLF for guests that have it so, or back; takes and gives a reference. */
static GBytes *convert_lines(GBytes *text, bool to_crlf)
{
    size_t len;
    const char *from = g_bytes_get_data(text, &len);
    GString *to = g_string_sized_new(len + 1);

    for (size_t i = 0; i < len; i++) {
        if (from[i] == '\r' && i + 1 < len && from[i + 1] == '\n')
            continue;
        if (from[i] == '\n' && to_crlf)
            g_string_append_c(to, '\r');
        g_string_append_c(to, from[i]);
    }
    g_bytes_unref(text);
    return g_string_free_to_bytes(to);
}

static bool starts_with(const uint8_t *data, size_t len, const char *magic, size_t magic_len)
{
    return len >= magic_len && memcmp(data, magic, magic_len) == 0;
}

/* Whether the content may be what it is said to be. */
static bool is_of_type(VmcClipType type, const uint8_t *data, size_t len)
{
    switch (type) {
    case VMC_CLIP_TEXT:
        return g_utf8_validate_len((const char *)data, len, NULL);
    case VMC_CLIP_PNG:
        return starts_with(data, len, "\x89PNG\r\n\x1a\n", 8);
    case VMC_CLIP_BMP:
        return starts_with(data, len, "BM", 2);
    case VMC_CLIP_TIFF:
        return starts_with(data, len, "II*\0", 4) || starts_with(data, len, "MM\0*", 4);
    case VMC_CLIP_JPEG:
        return starts_with(data, len, "\xff\xd8\xff", 3);
    case VMC_CLIP_FILES: /* all of it is looked at by who wants it, on another thread */
        return starts_with(data, len, "copy", 5) || starts_with(data, len, "cut", 4);
    default:
        return false;
    }
}

/* ---- messages to the guest ---- */

static void post(VmcAgent *agent, uint32_t message, unsigned selection, const uint32_t *words, unsigned n,
                 GBytes *data)
{
    uint8_t head[4 + (VMC_CLIP_TYPES + 1) * 4] = {(uint8_t)selection};
    size_t len = has_selections(agent) ? 4 : 0, data_len = 0;
    const void *bytes = data ? g_bytes_get_data(data, &data_len) : NULL;

    if (!reaches(agent, selection))
        return;
    for (unsigned i = 0; i < n; i++, len += 4) {
        uint32_t word = GUINT32_TO_LE(words[i]);
        memcpy(head + len, &word, 4);
    }
    vmc_agent_post(agent, message, head, len, bytes, data_len);
}

static void post_grab(VmcAgent *agent, unsigned selection)
{
    VmcAgentClip *clip = &agent->clips[selection];
    uint32_t words[VMC_CLIP_TYPES + 1];
    unsigned n = 0;

    if (!reaches(agent, selection))
        return;
    if (vmc_agent_guest_can(agent, VD_AGENT_CAP_CLIPBOARD_GRAB_SERIAL))
        words[n++] = clip->guest_serial++;
    for (unsigned type = 1; type < VMC_CLIP_TYPES; type++)
        if (clip->host_types & VMC_CLIP_BIT(type))
            words[n++] = type;
    post(agent, VD_AGENT_CLIPBOARD_GRAB, selection, words, n, NULL);
}

/* NULL: there is nothing, which is an answer without content. */
static void post_answer(VmcAgent *agent, unsigned selection, uint32_t type, GBytes *data)
{
    uint32_t word = data ? type : VMC_CLIP_NONE;

    if (!data || type != VMC_CLIP_TEXT || !vmc_agent_guest_can(agent, VD_AGENT_CAP_GUEST_LINEEND_CRLF)) {
        post(agent, VD_AGENT_CLIPBOARD, selection, &word, 1, data);
        return;
    }
    g_autoptr(GBytes) lines = convert_lines(g_bytes_ref(data), true);
    post(agent, VD_AGENT_CLIPBOARD, selection, &word, 1, lines);
}

/* ---- messages from the guest ---- */

static void forget_answers(VmcAgentClip *clip)
{
    for (unsigned type = 0; type < VMC_CLIP_TYPES; type++)
        g_clear_pointer(&clip->data[type], g_bytes_unref);
    clip->failed = 0;
}

/* All that was asked for will not come. */
static void fail_asked(VmcAgent *agent, VmcAgentClip *clip, unsigned types)
{
    types &= clip->asked;
    clip->asked &= ~types;
    clip->failed |= types;
    clip->tell_data |= types;
    if (types)
        vmc_agent_tell(agent);
}

static void set_guest_types(VmcAgent *agent, VmcAgentClip *clip, unsigned types)
{
    fail_asked(agent, clip, VMC_CLIP_ALL);
    forget_answers(clip);
    clip->guest_types = types;
    clip->tell_guest = true;
    vmc_agent_tell(agent);
}

/* What is kept of the host's content; what the guest was told of files in it stays for a while. */
static void drop_offers(VmcAgent *agent, VmcAgentClip *clip)
{
    for (unsigned type = 0; type < VMC_CLIP_TYPES; type++)
        g_clear_pointer(&clip->offer[type], g_bytes_unref);
    if (!clip->files)
        return;
    vmc_exports_end(agent->exports, g_steal_pointer(&clip->files));
    vmc_agent_ring(agent);
}

/* Without a WebDAV port files are out of reach. */
static unsigned without_files(VmcAgent *agent, unsigned types)
{
    return types & VMC_CLIP_BIT(VMC_CLIP_FILES) && !vmc_exports_served(agent->exports)
               ? types & ~VMC_CLIP_BIT(VMC_CLIP_FILES)
               : types;
}

/* The guest has it now; the host's is no more. */
static void on_grab(VmcAgent *agent, unsigned selection, const uint8_t *body, size_t len)
{
    VmcAgentClip *clip = &agent->clips[selection];
    unsigned types = 0;
    uint32_t word;

    if (vmc_agent_guest_can(agent, VD_AGENT_CAP_CLIPBOARD_GRAB_SERIAL)) {
        if (len < 4)
            return;
        memcpy(&word, body, 4);
        if (GUINT32_FROM_LE(word) != clip->guest_serial)
            return;
        clip->guest_serial++;
        body += 4;
        len -= 4;
    }
    for (; len >= 4; body += 4, len -= 4) {
        memcpy(&word, body, 4);
        word = GUINT32_FROM_LE(word);
        if (word > VMC_CLIP_NONE && word < VMC_CLIP_TYPES)
            types |= VMC_CLIP_BIT(word);
    }
    clip->host_types = clip->wanted = clip->tell_wanted = 0;
    drop_offers(agent, clip);
    if (to_host(agent))
        set_guest_types(agent, clip, without_files(agent, types));
}

static void on_request(VmcAgent *agent, unsigned selection, uint32_t type)
{
    VmcAgentClip *clip = &agent->clips[selection];

    if (type == VMC_CLIP_NONE || type >= VMC_CLIP_TYPES || !(clip->host_types & VMC_CLIP_BIT(type))) {
        post_answer(agent, selection, type, NULL);
    } else if (clip->offer[type]) {
        post_answer(agent, selection, type, clip->offer[type]);
    } else if (!agent->frontend) {
        post_answer(agent, selection, type, NULL);
    } else if (!(clip->wanted & VMC_CLIP_BIT(type))) {
        clip->wanted |= VMC_CLIP_BIT(type);
        clip->tell_wanted |= VMC_CLIP_BIT(type);
        clip->want_until = vmc_now_ns() + VMC_AGENT_ANSWER_NS;
        vmc_agent_tell(agent);
        vmc_agent_ring(agent);
    }
}

static void on_data(VmcAgent *agent, VmcAgentClip *clip, uint32_t type, const uint8_t *data, size_t len)
{
    if (type == VMC_CLIP_NONE || type >= VMC_CLIP_TYPES) {
        fail_asked(agent, clip, VMC_CLIP_ALL); /* it does not say which */
        return;
    }
    if (!(clip->asked & VMC_CLIP_BIT(type)))
        return;
    if (type == VMC_CLIP_TEXT)
        while (len && !data[len - 1]) /* some agents send the end of the string, too */
            len--;
    if (!is_of_type(type, data, len) && !VMC_SEEDED(CLIP_TYPE)) {
        fail_asked(agent, clip, VMC_CLIP_BIT(type));
        return;
    }
    GBytes *bytes = g_bytes_new(data, len);
    if (type == VMC_CLIP_TEXT && vmc_agent_guest_can(agent, VD_AGENT_CAP_GUEST_LINEEND_CRLF))
        bytes = convert_lines(bytes, false);
    g_clear_pointer(&clip->data[type], g_bytes_unref);
    clip->data[type] = bytes;
    clip->asked &= ~VMC_CLIP_BIT(type);
    clip->failed &= ~VMC_CLIP_BIT(type);
    clip->tell_data |= VMC_CLIP_BIT(type);
    vmc_agent_tell(agent);
}

bool vmc_agent_clip_wanted(VmcAgent *agent, uint32_t len)
{
    unsigned asked = 0;

    for (unsigned i = 0; i < VMC_SELECTIONS; i++)
        asked |= agent->clips[i].asked;
    return asked && len <= VMC_CLIP_MAX + 8;
}

void vmc_agent_clip_oversize(VmcAgent *agent)
{
    for (unsigned i = 0; i < VMC_SELECTIONS; i++)
        fail_asked(agent, &agent->clips[i], VMC_CLIP_ALL);
}

void vmc_agent_clip_message(VmcAgent *agent, uint32_t message, const uint8_t *body, size_t len)
{
    unsigned selection = VMC_SELECTION_CLIPBOARD;
    uint32_t type = VMC_CLIP_NONE;

    if (!vmc_agent_guest_can(agent, VD_AGENT_CAP_CLIPBOARD_BY_DEMAND))
        return;
    if (has_selections(agent)) {
        if (len < 4 || body[0] >= VMC_SELECTIONS)
            return;
        selection = body[0];
        body += 4;
        len -= 4;
    }
    VmcAgentClip *clip = &agent->clips[selection];
    if (message == VD_AGENT_CLIPBOARD_REQUEST || message == VD_AGENT_CLIPBOARD) {
        if (len < 4)
            return;
        memcpy(&type, body, 4);
        type = GUINT32_FROM_LE(type);
        body += 4;
        len -= 4;
    }
    if (message == VD_AGENT_CLIPBOARD_GRAB)
        on_grab(agent, selection, body, len);
    else if (message == VD_AGENT_CLIPBOARD_REQUEST)
        on_request(agent, selection, type);
    else if (message == VD_AGENT_CLIPBOARD)
        on_data(agent, clip, type, body, len);
    else if (clip->guest_types)
        set_guest_types(agent, clip, 0);
}

/* ---- the agent comes and goes ---- */

void vmc_agent_clip_connected(VmcAgent *agent)
{
    for (unsigned i = 0; i < VMC_SELECTIONS; i++) {
        agent->clips[i].guest_serial = 0;
        if (agent->clips[i].host_types)
            post_grab(agent, i);
    }
}

void vmc_agent_clip_gone(VmcAgent *agent)
{
    for (unsigned i = 0; i < VMC_SELECTIONS; i++) {
        VmcAgentClip *clip = &agent->clips[i];
        if (clip->guest_types)
            set_guest_types(agent, clip, 0);
        clip->wanted = clip->tell_wanted = 0;
    }
}

uint64_t vmc_agent_clip_expire(VmcAgent *agent, uint64_t now)
{
    uint64_t next = UINT64_MAX;

    for (unsigned i = 0; i < VMC_SELECTIONS; i++) {
        VmcAgentClip *clip = &agent->clips[i];
        if (clip->asked && clip->ask_until <= now)
            fail_asked(agent, clip, VMC_CLIP_ALL);
        for (unsigned type = 1; clip->wanted && clip->want_until <= now && type < VMC_CLIP_TYPES; type++)
            if (clip->wanted & VMC_CLIP_BIT(type))
                post_answer(agent, i, type, NULL);
        if (clip->want_until <= now)
            clip->wanted = clip->tell_wanted = 0;
        if (clip->asked)
            next = MIN(next, clip->ask_until);
        if (clip->wanted)
            next = MIN(next, clip->want_until);
    }
    return next;
}

void vmc_agent_clip_clear(VmcAgent *agent, VmcAgentClip *clip)
{
    forget_answers(clip);
    drop_offers(agent, clip);
}

/* ---- what the owner does ---- */

static bool is_clip(VmcSelection selection, VmcClipType type)
{
    return (unsigned)selection < VMC_SELECTIONS && type > VMC_CLIP_NONE && type < VMC_CLIP_TYPES;
}

static void host_grabs(VmcAgent *agent, VmcSelection selection, unsigned types)
{
    VmcAgentClip *clip = &agent->clips[selection];

    clip->host_types = types;
    clip->wanted = clip->tell_wanted = 0;
    if (clip->guest_types)
        set_guest_types(agent, clip, 0);
    clip->tell_guest = false; /* who has grabbed knows */
    post_grab(agent, selection);
}

bool vmc_agent_grab(VmcAgent *agent, VmcSelection selection, unsigned types)
{
    types = without_files(agent, types & VMC_CLIP_ALL);
    if (!vmc_agent_clip_to_guest(agent) || (unsigned)selection >= VMC_SELECTIONS || !types)
        return false;
    g_mutex_lock(&agent->lock);
    drop_offers(agent, &agent->clips[selection]);
    host_grabs(agent, selection, types);
    g_mutex_unlock(&agent->lock);
    return true;
}

void vmc_agent_clip_offer(VmcAgent *agent, VmcSelection selection, VmcClipType type, GBytes *data,
                          VmcExport *files)
{
    VmcAgentClip *clip = &agent->clips[selection];

    drop_offers(agent, clip);
    clip->offer[type] = g_bytes_ref(data);
    clip->files = files;
    host_grabs(agent, selection, VMC_CLIP_BIT(type));
}

bool vmc_agent_offer(VmcAgent *agent, VmcSelection selection, VmcClipType type, GBytes *data)
{
    if (!vmc_agent_clip_to_guest(agent) || !is_clip(selection, type) || type == VMC_CLIP_FILES || !data ||
        g_bytes_get_size(data) > VMC_CLIP_MAX)
        return false;
    g_mutex_lock(&agent->lock);
    vmc_agent_clip_offer(agent, selection, type, data, NULL);
    g_mutex_unlock(&agent->lock);
    return true;
}

void vmc_agent_release(VmcAgent *agent, VmcSelection selection)
{
    if ((unsigned)selection >= VMC_SELECTIONS)
        return;
    g_mutex_lock(&agent->lock);
    VmcAgentClip *clip = &agent->clips[selection];
    if (clip->host_types)
        post(agent, VD_AGENT_CLIPBOARD_RELEASE, selection, NULL, 0, NULL);
    clip->host_types = clip->wanted = clip->tell_wanted = 0;
    drop_offers(agent, clip);
    g_mutex_unlock(&agent->lock);
}

bool vmc_agent_clip_answer(VmcAgent *agent, VmcSelection selection, VmcClipType type, GBytes *data)
{
    VmcAgentClip *clip = &agent->clips[selection];

    if (!(clip->wanted & VMC_CLIP_BIT(type)))
        return false;
    clip->wanted &= ~VMC_CLIP_BIT(type);
    clip->tell_wanted &= ~VMC_CLIP_BIT(type);
    post_answer(agent, selection, type, data);
    return true;
}

void vmc_agent_send(VmcAgent *agent, VmcSelection selection, VmcClipType type, GBytes *data)
{
    if (!is_clip(selection, type))
        return;
    if (type == VMC_CLIP_FILES || (data && g_bytes_get_size(data) > VMC_CLIP_MAX))
        data = NULL;
    g_mutex_lock(&agent->lock);
    vmc_agent_clip_answer(agent, selection, type, data);
    g_mutex_unlock(&agent->lock);
}

unsigned vmc_agent_guest_types(VmcAgent *agent, VmcSelection selection)
{
    if ((unsigned)selection >= VMC_SELECTIONS)
        return 0;
    g_mutex_lock(&agent->lock);
    unsigned types = agent->clips[selection].guest_types;
    g_mutex_unlock(&agent->lock);
    return types;
}

static bool request(VmcAgent *agent, VmcSelection selection, VmcClipType type)
{
    VmcAgentClip *clip = &agent->clips[selection];
    uint32_t word = type;

    if (!to_host(agent) || !reaches(agent, selection) || !(clip->guest_types & VMC_CLIP_BIT(type)))
        return false;
    if (clip->asked & VMC_CLIP_BIT(type))
        return true;
    clip->asked |= VMC_CLIP_BIT(type);
    clip->failed &= ~VMC_CLIP_BIT(type);
    clip->tell_data &= ~VMC_CLIP_BIT(type);
    clip->ask_until = vmc_now_ns() + VMC_AGENT_REQUEST_NS;
    post(agent, VD_AGENT_CLIPBOARD_REQUEST, selection, &word, 1, NULL);
    return true;
}

bool vmc_agent_request(VmcAgent *agent, VmcSelection selection, VmcClipType type)
{
    if (!is_clip(selection, type))
        return false;
    g_mutex_lock(&agent->lock);
    bool good = request(agent, selection, type);
    g_mutex_unlock(&agent->lock);
    return good;
}

GBytes *vmc_agent_peek(VmcAgent *agent, VmcSelection selection, VmcClipType type, GError **error)
{
    static const struct {
        const char *none, *none_for_host, *refused, *asked;
    } sentences[] = {
        [VMC_CLIP_TEXT] =
            {N_("The guest's clipboard has no text"),
             N_("The guest's clipboard has no text for the host; the device's “clipboard” setting "
                "says so"),
             N_("The guest did not give us the text of its clipboard; ask again"),
             N_("The guest was asked for the text of its clipboard; ask again")},
        [VMC_CLIP_PNG] = {N_("The guest's clipboard has no PNG image"),
                          N_("The guest's clipboard has no PNG image for the host; the device's “clipboard” "
                             "setting says so"),
                          N_("The guest did not give us the PNG image of its clipboard; ask again"),
                          N_("The guest was asked for the PNG image of its clipboard; ask again")},
        [VMC_CLIP_FILES] =
            {N_("The guest's clipboard has no files"),
             N_("The guest's clipboard has no files for the host; the device's “clipboard” setting "
                "says so"),
             N_("The guest did not give us the files of its clipboard; ask again"),
             N_("The guest was asked for the files of its clipboard; ask again")},
    };
    GBytes *data = NULL;

    g_return_val_if_fail(is_clip(selection, type), NULL);
    g_mutex_lock(&agent->lock);
    VmcAgentClip *clip = &agent->clips[selection];
    bool failed = clip->failed & VMC_CLIP_BIT(type);
    if (clip->data[type])
        data = g_bytes_ref(clip->data[type]);
    else if (!request(agent, selection, type))
        g_set_error_literal(error, VMC_ERROR, VMC_ERROR_STATE,
                            to_host(agent) ? _(sentences[type].none) : _(sentences[type].none_for_host));
    else
        g_set_error_literal(error, VMC_ERROR, VMC_ERROR_STATE,
                            failed ? _(sentences[type].refused) : _(sentences[type].asked));
    g_mutex_unlock(&agent->lock);
    return data;
}
