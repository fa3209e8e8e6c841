/*
 * Sentences in the user's language: _(), ngettext() and their like for vmcore.
 *
 * vmcore is in the catalogues of the programs made of it. Whoever uses it without calling bindtextdomain
 * reads English. What guests, files, protocols and programs read is never translated.
 */
#pragma once

#define GETTEXT_PACKAGE "espalier"
#include <glib/gi18n-lib.h>
#include <inttypes.h>

/* gi18n-lib.h leaves plurals to us. */
#undef ngettext
#define ngettext(one, many, n) g_dngettext(GETTEXT_PACKAGE, one, many, n)
