/* Reading a packet's text and writing a reply. A packet is as hostile as who sends it: nothing is read behind
 * its end, and numbers that do not fit are no numbers. */
#include <string.h>

#include "gdb/internal.h"

bool vmc_gdb_text_is_empty(const VmcGdbText *text)
{
    return text->at == text->end;
}

bool vmc_gdb_take_char(VmcGdbText *text, char c)
{
    if (text->at == text->end || *text->at != (uint8_t)c)
        return false;
    text->at++;
    return true;
}

bool vmc_gdb_take_word(VmcGdbText *text, const char *word)
{
    size_t n = strlen(word);

    if ((size_t)(text->end - text->at) < n || memcmp(text->at, word, n) != 0)
        return false;
    text->at += n;
    return true;
}

static int digit_at(const VmcGdbText *text, size_t n)
{
    return (size_t)(text->end - text->at) > n ? g_ascii_xdigit_value((char)text->at[n]) : -1;
}

bool vmc_gdb_take_hex(VmcGdbText *text, uint64_t *value)
{
    unsigned n = 0;

    *value = 0;
    for (; digit_at(text, n) >= 0; n++) {
        if (n == 16)
            return false;
        *value = *value << 4 | (unsigned)digit_at(text, n);
    }
    text->at += n;
    return n > 0;
}

bool vmc_gdb_take_bytes(VmcGdbText *text, uint8_t *bytes, size_t n)
{
    if ((size_t)(text->end - text->at) / 2 < n)
        return false;
    for (size_t i = 0; i < n; i++) {
        int high = digit_at(text, 2 * i), low = digit_at(text, 2 * i + 1);

        if (high < 0 || low < 0)
            return false;
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    text->at += 2 * n;
    return true;
}

bool vmc_gdb_take_thread(VmcGdbSession *s, VmcGdbText *text, int any, int *cpu)
{
    uint64_t number;

    *cpu = VMC_GDB_ALL_CPUS;
    if (vmc_gdb_take_word(text, "-1"))
        return true;
    if (!vmc_gdb_take_hex(text, &number) || number > s->ops->n_cpus(s->opaque))
        return false;
    *cpu = number ? (int)number - 1 : any;
    return true;
}

void vmc_gdb_say(VmcGdbSession *s, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    g_byte_array_append(s->reply, (const uint8_t *)text, (guint)strlen(text));
}

void vmc_gdb_say_bytes(VmcGdbSession *s, const uint8_t *bytes, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    guint at = s->reply->len;

    g_byte_array_set_size(s->reply, at + 2 * (guint)n);
    for (size_t i = 0; i < n; i++) {
        s->reply->data[at + 2 * i] = (uint8_t)digits[bytes[i] >> 4];
        s->reply->data[at + 2 * i + 1] = (uint8_t)digits[bytes[i] & 15];
    }
}

void vmc_gdb_say_ok(VmcGdbSession *s)
{
    vmc_gdb_say(s, "OK");
}

void vmc_gdb_say_error(VmcGdbSession *s, unsigned number)
{
    vmc_gdb_say(s, "E%02x", number);
}
