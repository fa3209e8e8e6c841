/*
 * Downloading one file, so that what lies at its place in the end is that file, whole, or nothing.
 *
 * The bytes go to PATH.part, and what they are the beginning of (link, size, the server's mark for this
 * version) to PATH.part.info. When a download is cut off, cancelled or killed, the next call asks for the
 * rest, under the condition that the file has not changed since (RFC 9110, 13.1.5 and 14.2); a server that
 * ignores that, or has another file now, sends it from the beginning and loses us nothing but time. Web
 * pages, error pages and wrong lengths are refused. PATH appears by a rename, synced, when all is there.
 *
 * Threads: any; the caller's waits.
 */
#pragma once

#include <gio/gio.h>
#include <stdbool.h>

G_BEGIN_DECLS

#define ESP_DOWNLOAD_ERROR (esp_download_error_quark())
GQuark esp_download_error_quark(void);

typedef enum EspDownloadError {
    ESP_DOWNLOAD_ERROR_LINK,    /* no link that can be followed */
    ESP_DOWNLOAD_ERROR_NETWORK, /* the server cannot be reached, or breaks off again and again */
    ESP_DOWNLOAD_ERROR_ANSWER,  /* it answers, but not with the file */
    ESP_DOWNLOAD_ERROR_SPACE,   /* there is no room for it */
    ESP_DOWNLOAD_ERROR_FILE,    /* it cannot be written */
    ESP_DOWNLOAD_ERROR_DAMAGED, /* the sum does not match */
} EspDownloadError;

/* How far it is; `total` 0: the server has not said. On the thread of the download. */
typedef void (*EspDownloadProgress)(guint64 done, guint64 total, gpointer data);

typedef struct EspDownload {
    const char *link;             /* http:// or https:// */
    const char *path;             /* where the file shall lie; nothing is there yet */
    unsigned tries;               /* without a single new byte, before it gives up; 0: 5 */
    EspDownloadProgress progress; /* or NULL */
    gpointer data;
    GCancellable *cancellable; /* or NULL */
} EspDownload;

/* Whether it is a link that esp_download follows. */
bool esp_download_is_link(const char *text);

/* False with `error` set (ESP_DOWNLOAD_ERROR, or G_IO_ERROR_CANCELLED); what has come so far is kept then for
 * the next call, unless it was wrong. */
bool esp_download(const EspDownload *download, GError **error);

/* A small text, such as a list of sums: at most 1 MiB, valid UTF-8. Free with g_free. */
char *esp_download_text(const char *link, GCancellable *cancellable, GError **error);

/* Takes away what a download for `path` has left. */
void esp_download_forget(const char *path);

G_END_DECLS
