/*
 * The user's language: what both programs do before they say anything.
 */
#pragma once

/* Takes the locale of the environment and finds our catalogues: beside the program in a source tree, or in
 * share/locale of the prefix it is installed in. Once, before any thread. */
void esp_locale_init(void);

/* Sentences are in English from here on: what programs read, and the manual. Before any thread. */
void esp_locale_english(void);

/* The domain of our catalogues, for GOption. */
#define ESP_DOMAIN "espalier"
