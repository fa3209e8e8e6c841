/*
 * libphodav and libsoup, loaded with the first WebDAV port (base/late.h): after vmc_dav_load its functions
 * are there under their own names.
 */
#pragma once

#include <libphodav/phodav.h>
#include <libsoup/soup.h>

#include "base/late.h"

/* clang-format off */
#define VMC_DAV_FUNCTIONS(X) \
    X(phodav_server_get_soup_server) \
    X(phodav_server_new_for_root_file) \
    X(soup_date_time_new_from_http_string) \
    X(soup_date_time_to_string) \
    X(soup_message_body_append_take) \
    X(soup_message_body_complete) \
    X(soup_message_body_set_accumulate) \
    X(soup_message_body_truncate) \
    X(soup_message_headers_get_list) \
    X(soup_message_headers_get_one) \
    X(soup_message_headers_remove) \
    X(soup_message_headers_replace) \
    X(soup_message_headers_set_content_length) \
    X(soup_message_headers_set_content_range) \
    X(soup_message_headers_set_content_type) \
    X(soup_server_accept_iostream) \
    X(soup_server_add_early_handler) \
    X(soup_server_disconnect) \
    X(soup_server_message_get_method) \
    X(soup_server_message_get_request_body) \
    X(soup_server_message_get_request_headers) \
    X(soup_server_message_get_response_body) \
    X(soup_server_message_get_response_headers) \
    X(soup_server_message_get_uri) \
    X(soup_server_message_set_response) \
    X(soup_server_message_set_status)

struct vmc_dav {
#define X(function) __typeof__(function) *function;
    VMC_DAV_FUNCTIONS(X)
#undef X
};

extern struct vmc_dav vmc_dav;

/* False with `error`: the library is not installed. From any thread, as often as one likes. */
bool vmc_dav_load(GError **error);

#ifndef VMC_DAV_PLAIN
#define phodav_server_get_soup_server            vmc_dav.phodav_server_get_soup_server
#define phodav_server_new_for_root_file          vmc_dav.phodav_server_new_for_root_file
#define soup_date_time_new_from_http_string      vmc_dav.soup_date_time_new_from_http_string
#define soup_date_time_to_string                 vmc_dav.soup_date_time_to_string
#define soup_message_body_append_take            vmc_dav.soup_message_body_append_take
#define soup_message_body_complete               vmc_dav.soup_message_body_complete
#define soup_message_body_set_accumulate         vmc_dav.soup_message_body_set_accumulate
#define soup_message_body_truncate               vmc_dav.soup_message_body_truncate
#define soup_message_headers_get_list            vmc_dav.soup_message_headers_get_list
#define soup_message_headers_get_one             vmc_dav.soup_message_headers_get_one
#define soup_message_headers_remove              vmc_dav.soup_message_headers_remove
#define soup_message_headers_replace             vmc_dav.soup_message_headers_replace
#define soup_message_headers_set_content_length  vmc_dav.soup_message_headers_set_content_length
#define soup_message_headers_set_content_range   vmc_dav.soup_message_headers_set_content_range
#define soup_message_headers_set_content_type    vmc_dav.soup_message_headers_set_content_type
#define soup_server_accept_iostream              vmc_dav.soup_server_accept_iostream
#define soup_server_add_early_handler            vmc_dav.soup_server_add_early_handler
#define soup_server_disconnect                   vmc_dav.soup_server_disconnect
#define soup_server_message_get_method           vmc_dav.soup_server_message_get_method
#define soup_server_message_get_request_body     vmc_dav.soup_server_message_get_request_body
#define soup_server_message_get_request_headers  vmc_dav.soup_server_message_get_request_headers
#define soup_server_message_get_response_body    vmc_dav.soup_server_message_get_response_body
#define soup_server_message_get_response_headers vmc_dav.soup_server_message_get_response_headers
#define soup_server_message_get_uri              vmc_dav.soup_server_message_get_uri
#define soup_server_message_set_response         vmc_dav.soup_server_message_set_response
#define soup_server_message_set_status           vmc_dav.soup_server_message_set_status
#endif
/* clang-format on */
