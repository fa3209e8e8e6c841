/*
 * What a command has found, for people as a table and for programs as JSON: both are made of the same
 * objects, so that they say the same.
 */
#pragma once

#include <json-glib/json-glib.h>

typedef struct EspColumn {
    const char *member;                                    /* of each object */
    const char *title;                                     /* of the column or line; N_() */
    char *(*text)(JsonObject *object, const char *member); /* NULL: a string or number as it is */
} EspColumn;

/* A table with a line for each object of the array; nothing for an empty one. */
void esp_output_table(JsonArray *array, const EspColumn *columns, unsigned n);
/* The members of an object under each other; those that are not there are left out. */
void esp_output_lines(JsonObject *object, const EspColumn *columns, unsigned n);
/* Takes the node over. */
void esp_output_json(JsonNode *node);

/* Prints a text with so many blanks behind it that it takes `width` columns. */
void esp_output_cell(const char *text, int width);

/* Ways to show numbers: bytes as "1.5 GiB", CPUs in use as "35 %". Free with g_free. */
char *esp_output_bytes(JsonObject *object, const char *member);
char *esp_output_percent(JsonObject *object, const char *member);
