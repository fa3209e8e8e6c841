/*
 * The disc with which cloud-init sets a Linux guest up at its first start: data source "NoCloud", a volume
 * with the label cidata and the files meta-data, user-data and network-config.
 *
 * Texts are data, never syntax: each is written as a double-quoted YAML scalar with everything escaped that
 * is not plain ASCII.
 *
 * Threads: any.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "app/create/creation.h"

G_BEGIN_DECLS

#define ESP_SEED_SHARE_TAG "shared"

typedef struct EspSeed {
    char *meta_data, *user_data, *network_config;
} EspSeed;

/* What cloud-init is to be told. `instance` is new for each machine: when it is another, cloud-init begins
 * anew. */
void esp_seed_init(EspSeed *seed, const EspCreation *creation, const char *instance);
void esp_seed_clear(EspSeed *seed);

/* Writes the disc (ISO 9660 with Joliet and Rock Ridge), over one that is there, by a rename. */
bool esp_seed_write(const EspSeed *seed, const char *path, GError **error);

/* A text as a YAML scalar that means that text and nothing else. `text` must be UTF-8. Free with g_free. */
char *esp_yaml_quote(const char *text);
/* A name for the guest in the network, of a machine's name: letters, digits and "-". Free with g_free. */
char *esp_host_name_of(const char *name);

G_END_DECLS
