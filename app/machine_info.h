/*
 * What a bundle says of a machine beside its VmcConfig: how the user knows it, what is installed in it, where
 * in the world it is, and how the program treats it.
 *
 * Plain data; strings are owned by the struct. In config.plist it is the dictionary "Info", with the name
 * beside it as "Name".
 */
#pragma once

#include <plist/plist.h>
#include <vmcore/config.h>

G_BEGIN_DECLS

typedef enum EspGuestSystem { ESP_GUEST_OTHER, ESP_GUEST_LINUX, ESP_GUEST_MACOS } EspGuestSystem;

/* Language and keyboard as the guest is to have them, in the words of Linux; NULL or "": not chosen. */
typedef struct EspRegion {
    char *locale;           /* "de_CH.UTF-8" */
    char *keyboard_layout;  /* of xkb: "ch" */
    char *keyboard_variant; /* "fr" */
    char *time_zone;        /* "Europe/Zurich" */
} EspRegion;

/* What closing the window of a running machine does. */
typedef enum EspCloseAction {
    ESP_CLOSE_ASK,
    ESP_CLOSE_KEEP_RUNNING,
    ESP_CLOSE_SAVE,
    ESP_CLOSE_SHUT_DOWN
} EspCloseAction;

typedef struct EspMachineInfo {
    char *icon;  /* name of an icon of the theme's or ours, or a PNG or SVG file in the bundle; NULL: the
                    system's */
    char *notes; /* the user's own words, any number of lines */
    EspGuestSystem system;
    char *os_id; /* of libosinfo, "http://debian.org/debian/12", or NULL */
    EspRegion region;
    EspCloseAction on_close;
    bool clipboard_focus_only; /* the clipboard crosses only while the machine's window has the focus */
    bool isolated; /* no network, no shares, no clipboard; what changes on its disks is thrown away */
} EspMachineInfo;

/* Frees what it holds and leaves it empty. */
void esp_machine_info_clear(EspMachineInfo *info);
/* `to` must be empty. */
void esp_machine_info_copy(EspMachineInfo *to, const EspMachineInfo *from);

/* Its members as settings, with offsets in EspMachineInfo. */
const VmcField *esp_machine_info_fields(unsigned *n);

/* From and into a bundle's root dictionary; keys we do not know stay. `info` must be empty for reading, and
 * is after an error. */
bool esp_machine_info_read(plist_t root, EspMachineInfo *info, GError **error);
void esp_machine_info_write(plist_t root, const EspMachineInfo *info);

G_END_DECLS
