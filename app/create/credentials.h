/*
 * How the first user of a guest logs in: a password's hash, and the user's own SSH keys to choose from.
 *
 * Threads: any.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

G_BEGIN_DECLS

/* The hash of a password as every Linux takes it (crypt(5), sha512crypt, which musl knows as well as glibc).
 * Free with g_free. NULL with `error` set: a password nobody could type. */
char *esp_password_hash(const char *password, GError **error);

/* The public keys in `ssh_dir` (NULL: ~/.ssh), each a line of an authorized_keys file; in the order of their
 * files' names. Free with g_strfreev. */
char **esp_ssh_keys_find(const char *ssh_dir);
/* Whether that is one public key: "TYPE BASE64 [COMMENT]". */
bool esp_ssh_key_check(const char *line, GError **error);
/* What a person knows a key by: its comment, or its type. Free with g_free. */
char *esp_ssh_key_label(const char *line);

G_END_DECLS
