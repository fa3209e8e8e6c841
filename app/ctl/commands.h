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

/* bundles.c: whole machines that do not run */
int esp_ctl_clone(int argc, char **argv);
int esp_ctl_rename(int argc, char **argv);
int esp_ctl_export(int argc, char **argv);
int esp_ctl_import(int argc, char **argv);
int esp_ctl_trash(int argc, char **argv);
int esp_ctl_throw_away(int argc, char **argv);

/* snapshots.c: of whole machines */
int esp_ctl_snapshots(int argc, char **argv);
int esp_ctl_go_back(int argc, char **argv);
int esp_ctl_forget(int argc, char **argv);

/* check.c: this computer; the exit status is 1 if it has a problem */
int esp_ctl_check(int argc, char **argv);
