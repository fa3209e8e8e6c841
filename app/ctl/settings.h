/* `espalierctl show`, `set`, and `devices add` and `remove`: a machine in the library, and what it is told.
 */
#pragma once

/* Each takes `argv` behind its own words and returns the exit status. */
int esp_ctl_show(int argc, char **argv);
int esp_ctl_set(int argc, char **argv);
int esp_ctl_devices_add(int argc, char **argv);
int esp_ctl_devices_remove(int argc, char **argv);
