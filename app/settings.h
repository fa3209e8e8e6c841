/*
 * Every setting of a machine, in one table: what it is called, where it is kept, what it may be, when it
 * takes effect and what it needs. The settings window, `espalierctl set` and `show`, and the manual page
 * espalier-settings(7) are made from it. Type, bounds, default and words of a choice are those of the
 * VmcField that the validator and config.plist go by, too, so that nothing is said twice.
 *
 * A setting is named "cpus", "boot.kernel"; one of a device "disk.cache", or "disk.3.cache" where 3 is the
 * number that `espalierctl devices` shows, if the machine has several such devices.
 *
 * Labels and help are N_(): whoever shows them translates. Sentences that functions return are translated.
 *
 * Threads: any one at a time per EspMachineSettings; the tables are constant.
 */
#pragma once

#include <glib.h>
#include <vmcore/config.h>

#include "app/machine_settings.h"

G_BEGIN_DECLS

/* The pages of the settings window. */
typedef enum EspSettingGroup {
    ESP_GROUP_GENERAL,
    ESP_GROUP_SYSTEM,
    ESP_GROUP_DISPLAY,
    ESP_GROUP_INPUT,
    ESP_GROUP_REGION,
    ESP_GROUP_SHARING,
    ESP_GROUP_NETWORK,
    ESP_GROUP_SOUND,
    ESP_GROUP_DRIVES,
    ESP_GROUP_SERIAL,
    ESP_GROUP_ADVANCED,
    ESP_SETTING_GROUPS
} EspSettingGroup;

/* What it is a member of. */
typedef enum EspSettingScope {
    ESP_SCOPE_NAME,   /* the machine's name */
    ESP_SCOPE_CONFIG, /* VmcConfig */
    ESP_SCOPE_INFO,   /* EspMachineInfo */
    ESP_SCOPE_DEVICE, /* VmcDeviceConfig, of the kinds it is for */
    ESP_SCOPE_KIND,   /* which kind such a device is of */
} EspSettingScope;

/* When a change is seen by a machine that runs. */
typedef enum EspSettingLive {
    ESP_LIVE_NEXT_START,
    ESP_LIVE_AT_ONCE, /* the program looks at it each time */
    ESP_LIVE_RESIZE,  /* the display's action "resize" */
} EspSettingLive;

typedef enum EspSettingFlags {
    ESP_SETTING_LINES = 1,   /* a text of several lines */
    ESP_SETTING_FOLDER = 2,  /* a PATH that is a folder */
    ESP_SETTING_CREATED = 4, /* a PATH that need not be there: it is made */
    ESP_SETTING_RARE = 8,    /* few people need it */
} EspSettingFlags;

typedef struct EspSetting {
    const char *name; /* stable: "cpus", "disk.cache" */
    EspSettingScope scope;
    EspSettingGroup group;
    guint32 kinds;     /* of DEVICE and KIND: a bit for each */
    const char *field; /* the name of its VmcField */
    const char *label, *help;
    const char *unit;           /* of a number, for people; or NULL */
    const char *const *choices; /* of a choice: what its words mean, in their order, NULL-terminated */
    EspSettingLive live;
    unsigned flags; /* EspSettingFlags */
    /* One sentence on why it cannot be used with this guest or next to other settings; NULL: it can, or the
     * function is not there. */
    const char *(*why_not)(const EspMachineSettings *machine, const VmcDeviceConfig *device);
} EspSetting;

/* What a kind of device is for people. */
typedef struct EspDeviceWords {
    const char *prefix; /* of its settings: "disk" */
    EspSettingGroup group;
    const char *label; /* "Disk" */
    const char *help;
    const char *icon; /* of the theme */
    /* As of settings: why the kind cannot be used with this guest. */
    const char *(*why_not)(const EspMachineSettings *machine, const VmcDeviceConfig *device);
} EspDeviceWords;

/* All settings, machine's first, in the order in which they are shown. */
const EspSetting *esp_settings_table(unsigned *n);
/* NULL: there is none of that name. */
const EspSetting *esp_setting_by_name(const char *name);
const char *esp_setting_group_label(EspSettingGroup group); /* N_() */
/* NULL for what is no kind. */
const EspDeviceWords *esp_device_words(VmcDeviceKind kind);
static inline bool esp_setting_is_for(const EspSetting *setting, VmcDeviceKind kind)
{
    return setting->kinds >> kind & 1;
}

/* The field it is kept in; `kind` matters to settings of devices only. NULL: of NAME and KIND. */
const VmcField *esp_setting_field(const EspSetting *setting, VmcDeviceKind kind);
/* The kinds that a device may be made, of KIND: up to `max` into `kinds`; how many. */
unsigned esp_setting_kinds(const EspSetting *setting, VmcDeviceKind *kinds, unsigned max);
VmcFieldType esp_setting_type(const EspSetting *setting, VmcDeviceKind kind);
/* What a number or size may be here; memory not more than this computer has. False: it has no bounds. */
bool esp_setting_bounds(const EspSetting *setting, VmcDeviceKind kind, uint64_t *min, uint64_t *max);
/* "1 to 64", "yes or no", "auto, kvm or soft"; free with g_free. */
char *esp_setting_describe_values(const EspSetting *setting, VmcDeviceKind kind);
/* Why it cannot be used now, or NULL. */
const char *esp_setting_why_not(const EspSetting *setting, const EspMachineSettings *machine,
                                const VmcDeviceConfig *device);

/* The value as text: "4", "4G", "yes", "writeback", a list with commas; "" for none. `device` is NULL for
 * what is the machine's. Free with g_free. */
char *esp_setting_get(const EspSetting *setting, const EspMachineSettings *machine,
                      const VmcDeviceConfig *device);
/* The value it has in a new machine. */
char *esp_setting_get_default(const EspSetting *setting, VmcDeviceKind kind);
/* Takes a value as text; "" is the default, or none. False with one sentence in `error`
 * (ESP_BUNDLE_ERROR_FORMAT); the value is the old one or none then. Relative paths are taken from the working
 * directory. */
bool esp_setting_set(const EspSetting *setting, EspMachineSettings *machine, VmcDeviceConfig *device,
                     const char *text, GError **error);

/* Finds what "disk.3.cache" names: the setting, and the number of the device (-1: it is the machine's). */
const EspSetting *esp_setting_find(const EspMachineSettings *machine, const char *name, int *index,
                                   GError **error);
/* The name that esp_setting_find understands, as short as it may be; free with g_free. */
char *esp_setting_full_name(const EspSetting *setting, const EspMachineSettings *machine, int index);
/* What a person calls a device: "Disk “disk.img”"; free with g_free. */
char *esp_device_title(const VmcDeviceConfig *device);

/* Makes a device one of another kind with the settings that both have; `kind` must have the same prefix. */
void esp_device_change_kind(VmcDeviceConfig *device, VmcDeviceKind kind);

G_END_DECLS
