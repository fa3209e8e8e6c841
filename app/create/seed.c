/* What cloud-init is told (see seed.h). The disc is written in seed_disc.c. */
#include "app/create/seed.h"

#include <string.h>

#include "app/region.h"

#define HOST_NAME_MAX_BYTES 63u

/* YAML 1.2, 7.3.1 and 5.7: double-quoted. */
char *esp_yaml_quote(const char *text)
{
    GString *quoted = g_string_new("\"");

    for (const char *p = text; *p; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);
        if (c == '"' || c == '\\')
            g_string_append_printf(quoted, "\\%c", (char)c);
        else if (c >= ' ' && c < 0x7f)
            g_string_append_c(quoted, (char)c);
        else if (c <= 0xff)
            g_string_append_printf(quoted, "\\x%02x", c);
        else if (c <= 0xffff)
            g_string_append_printf(quoted, "\\u%04x", c);
        else
            g_string_append_printf(quoted, "\\U%08x", c);
    }
    g_string_append_c(quoted, '"');
    return g_string_free(quoted, FALSE);
}

char *esp_host_name_of(const char *name)
{
    g_autofree char *ascii = g_str_to_ascii(name, "C");
    GString *host = g_string_new(NULL);

    for (const char *p = ascii; *p && host->len < HOST_NAME_MAX_BYTES; p++) {
        if (g_ascii_isalnum(*p))
            g_string_append_c(host, g_ascii_tolower(*p));
        else if (host->len && host->str[host->len - 1] != '-')
            g_string_append_c(host, '-');
    }
    while (host->len && host->str[host->len - 1] == '-')
        g_string_truncate(host, host->len - 1);
    if (!host->len)
        g_string_assign(host, "espalier");
    return g_string_free(host, FALSE);
}

/* "KEY: TEXT" on a line of its own; nothing for an empty text. */
static void add(GString *yaml, const char *indent, const char *key, const char *text)
{
    if (!text || !*text)
        return;
    g_autofree char *quoted = esp_yaml_quote(text);
    g_string_append_printf(yaml, "%s%s: %s\n", indent, key, quoted);
}

/* What is said of "user" is laid over the user that the image has by default, with its groups and shell. */
static void add_user(GString *yaml, const EspFirstUser *user)
{
    g_string_append(yaml, "user:\n");
    add(yaml, "  ", "name", user->name);
    add(yaml, "  ", "gecos", user->full_name);
    g_string_append_printf(yaml, "  lock_passwd: %s\n", user->password_hash ? "false" : "true");
    add(yaml, "  ", "passwd", user->password_hash);
    if (user->ssh_key) {
        g_autofree char *key = esp_yaml_quote(user->ssh_key);
        g_string_append_printf(yaml, "  ssh_authorized_keys:\n    - %s\n", key);
    }
    g_string_append(yaml, "users:\n  - default\n");
    /* Over the network a key is safer, where there is one. */
    g_string_append_printf(yaml, "ssh_pwauth: %s\n",
                           user->password_hash && !user->ssh_key ? "true" : "false");
}

/* Debian makes those locales only that are in a list of its own, which cloud-init does not write to. */
static void add_locale_source(GString *yaml, const char *locale)
{
    if (!locale || !esp_region_is_id(locale) || !g_str_has_suffix(locale, ".UTF-8"))
        return;
    g_string_append_printf(
        yaml,
        "bootcmd:\n"
        "  - [sh, \"-c\", \"test ! -f /etc/locale.gen || grep -q '^%s ' /etc/locale.gen || "
        "echo '%s UTF-8' >> /etc/locale.gen\"]\n",
        locale, locale);
}

static void add_region(GString *yaml, const EspCreation *creation)
{
    const EspRegion *region = &creation->region;

    add(yaml, "", "locale", region->locale);
    add_locale_source(yaml, region->locale);
    add(yaml, "", "timezone", region->time_zone);
    if (!region->keyboard_layout || !*region->keyboard_layout)
        return;
    g_string_append(yaml, "keyboard:\n");
    add(yaml, "  ", "layout", region->keyboard_layout);
    add(yaml, "  ", "variant", region->keyboard_variant);
    add(yaml, "  ", "model",
        creation->keyboard_type == VMC_KEYBOARD_JIS   ? "jp106"
        : creation->keyboard_type == VMC_KEYBOARD_ISO ? "pc105"
                                                      : "pc104");
}

/* cloud-init's own "mounts" knows devices only. */
static void add_share(GString *yaml)
{
    g_string_append(yaml, "runcmd:\n"
                          "  - [mkdir, \"-p\", \"/mnt/" ESP_SEED_SHARE_TAG "\"]\n"
                          "  - [sh, \"-c\", \"grep -q '^" ESP_SEED_SHARE_TAG " ' /etc/fstab || "
                          "echo '" ESP_SEED_SHARE_TAG " /mnt/" ESP_SEED_SHARE_TAG
                          " virtiofs nofail 0 0' >> /etc/fstab\"]\n"
                          "  - [sh, \"-c\", \"mount /mnt/" ESP_SEED_SHARE_TAG " || true\"]\n");
}

void esp_seed_init(EspSeed *seed, const EspCreation *creation, const char *instance)
{
    GString *meta = g_string_new(NULL), *user = g_string_new("#cloud-config\n");
    g_autofree char *host = esp_host_name_of(creation->name);

    add(meta, "", "instance-id", instance);
    add(meta, "", "local-hostname", host);
    if (creation->user.name)
        add_user(user, &creation->user);
    add_region(user, creation);
    if (creation->share_path)
        add_share(user);
    seed->meta_data = g_string_free(meta, FALSE);
    seed->user_data = g_string_free(user, FALSE);
    /* By a pattern and not an address, so that a duplicate with another address is in the network as well.
     * Where the pattern is not understood, the interface has the name given to the entry. */
    seed->network_config = g_strdup("version: 2\n"
                                    "ethernets:\n"
                                    "  eth0:\n"
                                    "    match:\n"
                                    "      name: \"e*\"\n"
                                    "    dhcp4: true\n");
}

void esp_seed_clear(EspSeed *seed)
{
    g_free(seed->meta_data);
    g_free(seed->user_data);
    g_free(seed->network_config);
    memset(seed, 0, sizeof(*seed));
}
