/* What espalierctl does with machines that run elsewhere: look at their devices, act on them, attach, pause,
 * stop. */
#pragma once

/* The folder of a machine that is given as one, or by its name in the library; NULL: there is none. Free with
 * g_free. */
char *esp_ctl_find_bundle(const char *name);

/* Each takes `argv` behind its own word and returns the exit status. */
int esp_ctl_devices(int argc, char **argv);
int esp_ctl_device(int argc, char **argv);
int esp_ctl_attach(int argc, char **argv);
int esp_ctl_detach(int argc, char **argv);
int esp_ctl_pause(int argc, char **argv);
int esp_ctl_resume(int argc, char **argv);
int esp_ctl_snapshot(int argc, char **argv);
int esp_ctl_save(int argc, char **argv);
int esp_ctl_stop(int argc, char **argv);
