/* `espalierctl create`: a new machine in the library. */
#pragma once

/* `argv` behind the word "create". Returns the exit status. */
int esp_ctl_create(int argc, char **argv);
