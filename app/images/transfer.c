/*
 * One request of a download and the answer to it (see transfer.h), by libcurl.
 *
 * Only http and https are spoken, also behind redirects, of which ten are followed; from https never back to
 * http. Content codings are not asked for: what is counted and kept are the file's own bytes.
 */
#include "app/images/transfer.h"

#include <curl/curl.h>
#include <glib/gi18n.h>
#include <string.h>

#include "app/images/download.h"
#include "app/version.h"

#define REDIRECTS_MAX   10L
#define CONNECT_SECONDS 30L
#define STALL_SECONDS   60L

typedef struct Call {
    const EspTransfer *transfer;
    EspAnswer *answer;
    bool begun;
    GError *error; /* of ours; ends the transfer */
} Call;

void esp_answer_clear(EspAnswer *answer)
{
    g_free(answer->type);
    g_free(answer->mark);
    *answer = (EspAnswer){.length = -1, .from = -1, .of = -1};
}

static void take_header(EspAnswer *answer, const char *name, const char *value)
{
    if (!g_ascii_strcasecmp(name, "content-type")) {
        g_free(answer->type);
        answer->type = g_ascii_strdown(value, (gssize)strcspn(value, "; \t"));
    } else if (!g_ascii_strcasecmp(name, "etag")) {
        /* A weak one promises nothing about bytes. */
        if (value[0] == '"') {
            g_free(answer->mark);
            answer->mark = g_strdup(value);
        }
    } else if (!g_ascii_strcasecmp(name, "last-modified")) {
        if (!answer->mark)
            answer->mark = g_strdup(value);
    } else if (!g_ascii_strcasecmp(name, "content-length")) {
        guint64 length = 0;
        if (g_ascii_string_to_unsigned(value, 10, 0, G_MAXINT64, &length, NULL))
            answer->length = (gint64)length;
    } else if (!g_ascii_strcasecmp(name, "content-range")) {
        long long from = -1, to = -1, of = -1;
        if (sscanf(value, "bytes %lld-%lld/%lld", &from, &to, &of) >= 2 && from >= 0 && to >= from)
            answer->from = from;
        else if (sscanf(value, "bytes */%lld", &of) != 1)
            of = -1;
        answer->of = of;
    }
}

/* One line of a head; each answer, also one that redirects, begins with its status. */
static size_t on_header(char *line, size_t size, size_t n, void *data)
{
    Call *call = data;
    g_autofree char *text = g_strstrip(g_strndup(line, MIN(size * n, 4096)));
    char *colon = strchr(text, ':');

    if (g_str_has_prefix(text, "HTTP/")) {
        const char *status = strchr(text, ' ');
        esp_answer_clear(call->answer);
        call->answer->status = status ? strtol(status, NULL, 10) : 0;
    } else if (colon) {
        *colon = '\0';
        take_header(call->answer, text, g_strstrip(colon + 1));
    }
    return size * n;
}

static bool is_page(const EspAnswer *answer)
{
    return answer->type &&
           (!strcmp(answer->type, "text/html") || !strcmp(answer->type, "application/xhtml+xml"));
}

static bool begin(Call *call)
{
    if (is_page(call->answer)) {
        g_set_error(&call->error, ESP_DOWNLOAD_ERROR, ESP_DOWNLOAD_ERROR_ANSWER,
                    _("“%s” is a web page, not a file. Please give the link of the file itself."),
                    call->transfer->link);
        return false;
    }
    return call->transfer->begin(call->answer, call->transfer->data, &call->error);
}

static size_t on_bytes(char *bytes, size_t size, size_t n, void *data)
{
    Call *call = data;

    if (call->answer->status != 200 && call->answer->status != 206)
        return size * n; /* the page that tells of an error, which the status tells as well */
    if (!call->begun) {
        call->begun = true;
        if (!begin(call))
            return 0;
    }
    return call->transfer->bytes(bytes, size * n, call->transfer->data, &call->error) ? size * n : 0;
}

static int on_progress(void *data, curl_off_t total, curl_off_t now, curl_off_t up_total, curl_off_t up)
{
    Call *call = data;

    return g_cancellable_is_cancelled(call->transfer->cancellable);
}

static void set_up(CURL *curl, Call *call, struct curl_slist **headers)
{
    const EspTransfer *transfer = call->transfer;
    const char *onwards = g_ascii_strncasecmp(transfer->link, "https:", 6) ? "http,https" : "https";

    curl_easy_setopt(curl, CURLOPT_URL, transfer->link);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "Espalier/" ESP_VERSION);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, onwards);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl, CURLOPT_MAXREDIRS, REDIRECTS_MAX);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, STALL_SECONDS);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, call);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, call);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    if (transfer->from) {
        g_autofree char *range = g_strdup_printf("Range: bytes=%" G_GUINT64_FORMAT "-", transfer->from);
        g_autofree char *condition = g_strdup_printf("If-Range: %s", transfer->mark);
        *headers = curl_slist_append(*headers, range);
        *headers = curl_slist_append(*headers, condition);
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, *headers);
    }
}

/* The server's answer is an error. */
static bool refuse(const EspTransfer *transfer, long status, bool *passing, GError **error)
{
    const char *format = status == 404 || status == 410
                             ? _("There is no file at “%s” (the server says %ld). Please check the link.")
                         : status == 401 || status == 403
                             ? _("The server does not hand out “%s” (it says %ld). Please check the link.")
                             : _("The server cannot send “%s” now (it says %ld). Please try again later.");

    *passing = status == 408 || status == 429 || status >= 500;
    g_set_error(error, ESP_DOWNLOAD_ERROR, ESP_DOWNLOAD_ERROR_ANSWER, format, transfer->link, status);
    return false;
}

static bool fail(const EspTransfer *transfer, CURLcode code, bool *passing, GError **error)
{
    switch (code) {
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        g_set_error(error, ESP_DOWNLOAD_ERROR, ESP_DOWNLOAD_ERROR_LINK,
                    _("“%s” cannot be followed: a link begins with https:// or http://."), transfer->link);
        return false;
    case CURLE_TOO_MANY_REDIRECTS:
        g_set_error(error, ESP_DOWNLOAD_ERROR, ESP_DOWNLOAD_ERROR_ANSWER,
                    _("“%s” leads from one place to the next without an end."), transfer->link);
        return false;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        g_set_error(error, ESP_DOWNLOAD_ERROR, ESP_DOWNLOAD_ERROR_ANSWER,
                    _("The server of “%s” cannot show that it is the right one (%s)."), transfer->link,
                    curl_easy_strerror(code));
        return false;
    default:
        *passing = true;
        g_set_error(error, ESP_DOWNLOAD_ERROR, ESP_DOWNLOAD_ERROR_NETWORK,
                    _("“%s” could not be downloaded: %s."), transfer->link, curl_easy_strerror(code));
        return false;
    }
}

static bool judge(Call *call, CURLcode code, bool *passing, GError **error)
{
    if (g_cancellable_set_error_if_cancelled(call->transfer->cancellable, error))
        return false;
    if (call->error) {
        g_propagate_error(error, g_steal_pointer(&call->error));
        return false;
    }
    if (code != CURLE_OK)
        return fail(call->transfer, code, passing, error);
    if (call->answer->status != 200 && call->answer->status != 206)
        return refuse(call->transfer, call->answer->status, passing, error);
    if (!call->begun && !begin(call)) { /* a file of no bytes */
        g_propagate_error(error, g_steal_pointer(&call->error));
        return false;
    }
    return true;
}

bool esp_transfer(const EspTransfer *transfer, EspAnswer *answer, bool *passing, GError **error)
{
    Call call = {.transfer = transfer, .answer = answer};
    struct curl_slist *headers = NULL;
    CURL *curl = curl_easy_init();

    *passing = false;
    *answer = (EspAnswer){.length = -1, .from = -1, .of = -1};
    if (!curl) {
        g_set_error(error, ESP_DOWNLOAD_ERROR, ESP_DOWNLOAD_ERROR_NETWORK,
                    _("libcurl could not be started."));
        return false;
    }
    set_up(curl, &call, &headers);
    CURLcode code = curl_easy_perform(curl);
    curl_easy_cleanup(curl);
    curl_slist_free_all(headers);
    bool good = judge(&call, code, passing, error);
    g_clear_error(&call.error);
    return good;
}
