/*
 * The user's terminal while a guest has it: raw, and as it was again afterwards, whatever happens.
 *
 * A terminal belongs to the process as a whole, so this is the one place with state of its own. The functions
 * are for the main thread; the signal handlers it installs only do what is safe in one.
 */
#pragma once

#include <stdbool.h>

/* To be called before there are threads. If standard input is a terminal: remembers how it is, and sees to it
 * that it will be so again when the program ends, by exit, by a signal or by being killed. True if it is a
 * terminal. */
bool esp_terminal_guard(void);

/* Makes it raw: every key is the guest's. Only after esp_terminal_guard said true. */
void esp_terminal_raw(void);
/* As it was before. Fine at any time. */
void esp_terminal_restore(void);

/* Reads keys from standard input on the main loop and passes them on: returns a descriptor to give to a
 * device, or -1. Ctrl-A x calls quit(data), Ctrl-A Ctrl-A sends one Ctrl-A, Ctrl-A with anything else is
 * dropped. */
int esp_terminal_relay(void (*quit)(void *data), void *data);
