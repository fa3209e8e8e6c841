/* What espalierctl does with the user's machines. Each command takes `argv` behind its own word and returns
 * the exit status. */
#pragma once

/* look.c: what there is */
int esp_ctl_list(int argc, char **argv);
int esp_ctl_status(int argc, char **argv);
int esp_ctl_ip(int argc, char **argv);
int esp_ctl_log(int argc, char **argv);

/* lifecycle.c: on, off, and kept */
int esp_ctl_start(int argc, char **argv);
int esp_ctl_stop(int argc, char **argv);
int esp_ctl_pause(int argc, char **argv);
int esp_ctl_resume(int argc, char **argv);
int esp_ctl_reset(int argc, char **argv);
int esp_ctl_snapshot(int argc, char **argv);
int esp_ctl_save(int argc, char **argv);

/* screen.c: what it shows, and keys */
int esp_ctl_screenshot(int argc, char **argv);
int esp_ctl_send_key(int argc, char **argv);

/* devices.c */
int esp_ctl_devices(int argc, char **argv);
int esp_ctl_device(int argc, char **argv);
int esp_ctl_attach(int argc, char **argv);
int esp_ctl_detach(int argc, char **argv);
