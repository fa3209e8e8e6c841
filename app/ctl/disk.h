/* `espalierctl disk`: disk images, their snapshots and linked clones. */
#pragma once

/* `argv` behind the word "disk". Returns the exit status. */
int esp_ctl_disk(int argc, char **argv);
