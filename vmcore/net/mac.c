/* Ethernet addresses: made up, read and written. */
#include "net/mac.h"

#include <string.h>
#include <sys/random.h>

#include "base/i18n.h"
#include "vmcore/error.h"

/* The kernel's random numbers: GLib's go on the same in a process and its forked child. */
void vmc_mac_random(uint8_t mac[6])
{
    if (getrandom(mac, 6, 0) != 6)
        for (unsigned i = 0; i < 6; i++)
            mac[i] = (uint8_t)g_random_int();
    mac[0] = (uint8_t)((mac[0] & ~1u) | 2u);
}

bool vmc_mac_parse(const char *text, uint8_t mac[6], GError **error)
{
    static const uint8_t none[6];
    bool good = strlen(text) == 17;

    for (unsigned i = 0; good && i < 6; i++) {
        int high = g_ascii_xdigit_value(text[3 * i]), low = g_ascii_xdigit_value(text[3 * i + 1]);
        char behind = text[3 * i + 2];
        good = high >= 0 && low >= 0 && (i == 5 ? !behind : behind == ':' || behind == '-');
        mac[i] = (uint8_t)(high << 4 | low);
    }
    if (!good) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                    _("“%s” is not a MAC address; one looks like “52:54:00:12:34:56”"), text);
        return false;
    }
    if (mac[0] & 1) {
        g_set_error(
            error, VMC_ERROR, VMC_ERROR_CONFIG,
            _("“%s” is a multicast address, which no network card can have; its second digit has to be even"),
            text);
        return false;
    }
    if (!memcmp(mac, none, sizeof(none))) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                    _("A network card cannot have the MAC address “%s”; leave it out to get a random one"),
                    text);
        return false;
    }
    return true;
}

char *vmc_mac_to_string(const uint8_t mac[6])
{
    return g_strdup_printf("%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}
