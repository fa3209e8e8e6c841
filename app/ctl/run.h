/* `espalierctl run`: a machine from the command line, in the terminal. */
#pragma once

/* The exit statuses of espalierctl; a signal makes 128 plus its number. */
enum { ESP_EXIT_OK = 0, ESP_EXIT_FAILED = 1, ESP_EXIT_USAGE = 2 };

/* `argv` behind the word "run". Returns the exit status. */
int esp_ctl_run(int argc, char **argv);

/* One message to the user on stderr. */
void esp_ctl_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
