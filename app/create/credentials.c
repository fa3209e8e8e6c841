/* How the first user of a guest logs in (see credentials.h). */
#include "app/create/credentials.h"

#include <crypt.h>
#include <glib/gi18n.h>
#include <string.h>

#include "app/create/creation.h"

#define PASSWORD_MAX 128u
#define ROUNDS       50000ul
#define KEY_FILE_MAX 16384u
#define KEYS_MAX     32u

static bool wrong(GError **error, const char *message)
{
    g_set_error_literal(error, ESP_CREATION_ERROR, ESP_CREATION_ERROR_WANTED, message);
    return false;
}

char *esp_password_hash(const char *password, GError **error)
{
    char setting[CRYPT_GENSALT_OUTPUT_SIZE];
    struct crypt_data *data = NULL;
    char *hash = NULL;

    if (!*password || strlen(password) > PASSWORD_MAX || strpbrk(password, "\r\n") ||
        !g_utf8_validate(password, -1, NULL)) {
        wrong(error, _("A password is one line of at most 128 bytes."));
        return NULL;
    }
    data = g_new0(struct crypt_data, 1);
    if (crypt_gensalt_rn("$6$", ROUNDS, NULL, 0, setting, sizeof(setting)))
        hash = g_strdup(crypt_r(password, setting, data));
    memset(data, 0, sizeof(*data));
    g_free(data);
    if (!hash || *hash == '*') {
        g_clear_pointer(&hash, g_free);
        wrong(error, _("The password could not be made unreadable, so it is not used."));
    }
    return hash;
}

bool esp_ssh_key_check(const char *line, GError **error)
{
    static const char *const types[] = {"ssh-ed25519",
                                        "ssh-rsa",
                                        "ecdsa-sha2-nistp256",
                                        "ecdsa-sha2-nistp384",
                                        "ecdsa-sha2-nistp521",
                                        "sk-ssh-ed25519@openssh.com",
                                        "sk-ecdsa-sha2-nistp256@openssh.com"};
    g_auto(GStrv) words = g_strsplit(line, " ", 3);
    bool known = false;

    for (size_t i = 0; words[0] && i < G_N_ELEMENTS(types); i++)
        known = known || !strcmp(words[0], types[i]);
    if (!known || !words[1] || strlen(words[1]) < 32 ||
        strspn(words[1], "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") !=
            strlen(words[1]) ||
        strpbrk(line, "\r\n") || !g_utf8_validate(line, -1, NULL))
        return wrong(
            error, _("This is not a public SSH key: it should be one line that begins with its type, such as "
                     "“ssh-ed25519”."));
    return true;
}

char *esp_ssh_key_label(const char *line)
{
    g_auto(GStrv) words = g_strsplit(line, " ", 3);

    return g_strdup(words[0] && words[1] && words[2] && *words[2] ? words[2] : words[0] ? words[0] : "");
}

static void take_file(GPtrArray *keys, const char *path)
{
    g_autofree char *text = NULL;
    gsize length;

    if (!g_file_test(path, G_FILE_TEST_IS_REGULAR) || !g_file_get_contents(path, &text, &length, NULL) ||
        length > KEY_FILE_MAX)
        return;
    g_strstrip(text);
    if (esp_ssh_key_check(text, NULL))
        g_ptr_array_add(keys, g_steal_pointer(&text));
}

static int by_name(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

char **esp_ssh_keys_find(const char *ssh_dir)
{
    g_autofree char *folder = ssh_dir ? g_strdup(ssh_dir) : g_build_filename(g_get_home_dir(), ".ssh", NULL);
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    GPtrArray *keys = g_ptr_array_new();
    GDir *dir = g_dir_open(folder, 0, NULL);
    const char *entry;

    while (dir && names->len < KEYS_MAX && (entry = g_dir_read_name(dir)))
        if (g_str_has_suffix(entry, ".pub"))
            g_ptr_array_add(names, g_build_filename(folder, entry, NULL));
    if (dir)
        g_dir_close(dir);
    g_ptr_array_sort(names, by_name);
    for (guint i = 0; i < names->len; i++)
        take_file(keys, names->pdata[i]);
    g_ptr_array_add(keys, NULL);
    return (char **)g_ptr_array_free(keys, FALSE);
}
