/*
 * Sections of little-endian numbers.
 *
 * A section is: length of its name (one byte, not 0), the name, its version (16 bits), the length of what
 * follows (32 bits), and that. Names cost some bytes and make a file that does not fit say where.
 */
#include "base/state.h"

#include <string.h>

#include "base/i18n.h"
#include "vmcore/error.h"

#define NO_STRING 0xffffffffu

/* ---- writing ---- */

struct VmcStateWriter {
    GByteArray *bytes;
    guint starts[VMC_STATE_DEPTH_MAX]; /* where the lengths of the sections under way are */
    unsigned depth;
    char *refusal;
};

VmcStateWriter *vmc_state_writer_new(void)
{
    VmcStateWriter *w = g_new0(VmcStateWriter, 1);

    w->bytes = g_byte_array_new();
    return w;
}

void vmc_state_writer_free(VmcStateWriter *w)
{
    if (!w)
        return;
    g_byte_array_unref(w->bytes);
    g_free(w->refusal);
    g_free(w);
}

GBytes *vmc_state_writer_take(VmcStateWriter *w, GError **error)
{
    g_return_val_if_fail(!w->depth, NULL);
    if (w->refusal) {
        g_set_error_literal(error, VMC_ERROR, VMC_ERROR_STATE, w->refusal);
        return NULL;
    }
    GBytes *bytes = g_byte_array_free_to_bytes(w->bytes);
    w->bytes = g_byte_array_new();
    return bytes;
}

void vmc_state_refuse(VmcStateWriter *w, const char *format, ...)
{
    va_list args;

    if (w->refusal)
        return;
    va_start(args, format);
    w->refusal = g_strdup_vprintf(format, args);
    va_end(args);
}

static void put(VmcStateWriter *w, const void *bytes, size_t n)
{
    if (n > G_MAXUINT32 / 2 - w->bytes->len) {
        vmc_state_refuse(w, _("The state of the machine's devices has more than 2 GiB"));
        return;
    }
    g_byte_array_append(w->bytes, bytes, (guint)n);
}

void vmc_state_begin(VmcStateWriter *w, const char *name, unsigned version)
{
    size_t n = strlen(name);

    g_return_if_fail(n && n <= VMC_STATE_NAME_MAX && version && version <= G_MAXUINT16);
    g_return_if_fail(w->depth < VMC_STATE_DEPTH_MAX);
    vmc_state_put_u8(w, (uint8_t)n);
    put(w, name, n);
    vmc_state_put_u16(w, (uint16_t)version);
    w->starts[w->depth++] = w->bytes->len;
    vmc_state_put_u32(w, 0);
}

void vmc_state_end(VmcStateWriter *w)
{
    g_return_if_fail(w->depth);
    guint start = w->starts[--w->depth];
    if (w->refusal)
        return;
    uint32_t n = GUINT32_TO_LE(w->bytes->len - start - (guint)sizeof(uint32_t));
    memcpy(w->bytes->data + start, &n, sizeof(n));
}

void vmc_state_put_u8(VmcStateWriter *w, uint8_t value)
{
    put(w, &value, sizeof(value));
}

void vmc_state_put_u16(VmcStateWriter *w, uint16_t value)
{
    value = GUINT16_TO_LE(value);
    put(w, &value, sizeof(value));
}

void vmc_state_put_u32(VmcStateWriter *w, uint32_t value)
{
    value = GUINT32_TO_LE(value);
    put(w, &value, sizeof(value));
}

void vmc_state_put_u64(VmcStateWriter *w, uint64_t value)
{
    value = GUINT64_TO_LE(value);
    put(w, &value, sizeof(value));
}

void vmc_state_put_bool(VmcStateWriter *w, bool value)
{
    vmc_state_put_u8(w, value);
}

void vmc_state_put_bytes(VmcStateWriter *w, const void *bytes, size_t n)
{
    put(w, bytes, n);
}

void vmc_state_put_blob(VmcStateWriter *w, const void *bytes, size_t n)
{
    vmc_state_put_u32(w, (uint32_t)n);
    put(w, bytes, n);
}

void vmc_state_put_string(VmcStateWriter *w, const char *text)
{
    if (text)
        vmc_state_put_blob(w, text, strlen(text));
    else
        vmc_state_put_u32(w, NO_STRING);
}

/* ---- reading ---- */

void vmc_state_reader_init(VmcStateReader *r, const void *data, size_t n)
{
    memset(r, 0, sizeof(*r));
    r->data = data;
    r->end = n;
}

void vmc_state_reader_clear(VmcStateReader *r)
{
    g_clear_pointer(&r->failure, g_free);
}

bool vmc_state_ok(const VmcStateReader *r)
{
    return !r->failure;
}

bool vmc_state_reader_finish(const VmcStateReader *r, GError **error)
{
    if (r->failure)
        g_set_error_literal(error, VMC_ERROR, VMC_ERROR_IMAGE, r->failure);
    return !r->failure;
}

/* "In the saved state, section “board/pit”: WHAT", of which WHAT, for whoever looks into such a file, is in
 * English. */
bool vmc_state_fail(VmcStateReader *r, const char *format, ...)
{
    va_list args;

    if (r->failure)
        return false;
    g_autoptr(GString) section = g_string_new(NULL);
    for (unsigned i = 0; i < r->depth; i++)
        g_string_append_printf(section, "%s%s", i ? "/" : "", r->sections[i].name);
    va_start(args, format);
    g_autofree char *what = g_strdup_vprintf(format, args);
    va_end(args);
    /* Translators: a part of the file that a machine was saved to, and what is wrong there. */
    r->failure = r->depth ? g_strdup_printf(_("In the saved state, section “%s”: %s"), section->str, what)
                          : g_strdup_printf(_("In the saved state, %s"), what);
    return false;
}

/* The next `n` bytes, or NULL. */
static const uint8_t *take(VmcStateReader *r, size_t n)
{
    if (r->failure)
        return NULL;
    if (n > r->end - r->at) {
        vmc_state_fail(r, "it ends too early");
        return NULL;
    }
    const uint8_t *bytes = r->data + r->at;
    r->at += n;
    return bytes;
}

bool vmc_state_next_is(const VmcStateReader *r, const char *name)
{
    size_t n = strlen(name);

    return !r->failure && r->end - r->at > n && r->data[r->at] == n &&
           memcmp(r->data + r->at + 1, name, n) == 0;
}

unsigned vmc_state_enter(VmcStateReader *r, const char *name, unsigned newest)
{
    if (r->failure)
        return 0;
    if (!vmc_state_next_is(r, name) || r->depth == VMC_STATE_DEPTH_MAX) {
        vmc_state_fail(r, "“%s” is missing where it should be", name);
        return 0;
    }
    r->at += 1 + strlen(name);
    unsigned version = vmc_state_get_u16(r);
    uint32_t n = vmc_state_get_u32(r);
    if (!r->failure && (!version || version > newest))
        vmc_state_fail(r, "“%s” is of version %u, and only versions up to %u can be read", name, version,
                       newest);
    if (!r->failure && n > r->end - r->at)
        vmc_state_fail(r, "“%s” is longer than what it is in", name);
    if (r->failure)
        return 0;
    g_strlcpy(r->sections[r->depth].name, name, sizeof(r->sections[0].name));
    r->sections[r->depth++].outer_end = r->end;
    r->end = r->at + n;
    return version;
}

bool vmc_state_leave(VmcStateReader *r)
{
    if (r->failure)
        return false;
    g_return_val_if_fail(r->depth, false);
    if (r->at != r->end) {
        vmc_state_fail(r, "it has %zu bytes too many", r->end - r->at);
        return false;
    }
    r->end = r->sections[--r->depth].outer_end;
    return true;
}

uint8_t vmc_state_get_u8(VmcStateReader *r)
{
    const uint8_t *bytes = take(r, 1);

    return bytes ? *bytes : 0;
}

uint16_t vmc_state_get_u16(VmcStateReader *r)
{
    uint16_t value = 0;

    vmc_state_get_bytes(r, &value, sizeof(value));
    return GUINT16_FROM_LE(value);
}

uint32_t vmc_state_get_u32(VmcStateReader *r)
{
    uint32_t value = 0;

    vmc_state_get_bytes(r, &value, sizeof(value));
    return GUINT32_FROM_LE(value);
}

uint64_t vmc_state_get_u64(VmcStateReader *r)
{
    uint64_t value = 0;

    vmc_state_get_bytes(r, &value, sizeof(value));
    return GUINT64_FROM_LE(value);
}

bool vmc_state_get_bool(VmcStateReader *r)
{
    return vmc_state_get_u8_max(r, 1);
}

static uint64_t at_most(VmcStateReader *r, uint64_t value, uint64_t max)
{
    if (value <= max)
        return value;
    vmc_state_fail(r, "a number is %" G_GUINT64_FORMAT " and can be %" G_GUINT64_FORMAT " at most", value,
                   max);
    return 0;
}

uint8_t vmc_state_get_u8_max(VmcStateReader *r, uint8_t max)
{
    return (uint8_t)at_most(r, vmc_state_get_u8(r), max);
}

uint16_t vmc_state_get_u16_max(VmcStateReader *r, uint16_t max)
{
    return (uint16_t)at_most(r, vmc_state_get_u16(r), max);
}

uint32_t vmc_state_get_u32_max(VmcStateReader *r, uint32_t max)
{
    return (uint32_t)at_most(r, vmc_state_get_u32(r), max);
}

uint64_t vmc_state_get_u64_max(VmcStateReader *r, uint64_t max)
{
    return at_most(r, vmc_state_get_u64(r), max);
}

void vmc_state_get_bytes(VmcStateReader *r, void *bytes, size_t n)
{
    const uint8_t *from = take(r, n);

    if (from)
        memcpy(bytes, from, n);
    else
        memset(bytes, 0, n);
}

const uint8_t *vmc_state_get_blob(VmcStateReader *r, size_t max, size_t *n)
{
    size_t length = vmc_state_get_u32_max(r, (uint32_t)MIN(max, G_MAXUINT32));
    const uint8_t *bytes = take(r, length);

    *n = bytes ? length : 0;
    return bytes;
}

char *vmc_state_get_string(VmcStateReader *r, size_t max)
{
    uint32_t n = vmc_state_get_u32(r);

    if (n == NO_STRING)
        return NULL;
    const uint8_t *bytes = take(r, (size_t)at_most(r, n, max));
    if (!bytes || !vmc_state_check(r, g_utf8_validate_len((const char *)bytes, n, NULL), "a text"))
        return NULL;
    return g_strndup((const char *)bytes, n);
}

bool vmc_state_check(VmcStateReader *r, bool good, const char *what)
{
    if (!good)
        vmc_state_fail(r, "%s is not one there can be", what);
    return vmc_state_ok(r);
}
