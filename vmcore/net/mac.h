/* Ethernet addresses. Any thread. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* A random unicast address, locally administered, so that no card on sale has it. */
void vmc_mac_random(uint8_t mac[6]);

/* Reads "52:54:00:12:34:56" (or with "-"). False with `error` set (VMC_ERROR_CONFIG): not an address, or not
 * one that a card can have: a multicast address or all zero. */
bool vmc_mac_parse(const char *text, uint8_t mac[6], GError **error);

/* The other way; free with g_free. */
char *vmc_mac_to_string(const uint8_t mac[6]);
