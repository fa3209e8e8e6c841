/* The calling thread takes names of files for UTF-8, whatever the user's locale: libarchive converts by that.
 */
#pragma once

#include <locale.h>

typedef struct EspUtf8 {
    locale_t own, before;
} EspUtf8;

static inline EspUtf8 esp_utf8_begin(void)
{
    EspUtf8 utf8 = {.own = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0)};

    if (utf8.own)
        utf8.before = uselocale(utf8.own);
    return utf8;
}

static inline void esp_utf8_end(EspUtf8 utf8)
{
    if (!utf8.own)
        return;
    uselocale(utf8.before);
    freelocale(utf8.own);
}
