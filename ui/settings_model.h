/*
 * A machine's settings as its settings window has them: read and changed on a thread, one change after the
 * other, and followed when somebody else changes them.
 *
 * Signals:
 *   changed ()   the settings, or whether the machine runs
 *
 * Threads: GTK's.
 */
#pragma once

#include <gio/gio.h>

#include "app/settings.h"

G_BEGIN_DECLS

#define ESP_TYPE_SETTINGS_MODEL (esp_settings_model_get_type())
G_DECLARE_FINAL_TYPE(EspSettingsModel, esp_settings_model, ESP, SETTINGS_MODEL, GObject)

/* Reads the bundle at `path`; "changed" comes once it is read. */
EspSettingsModel *esp_settings_model_new(const char *path);

const char *esp_settings_model_get_path(EspSettingsModel *model);
/* As they are on disk; NULL until they are read, or if they cannot be. Valid until the next "changed". */
const EspMachineSettings *esp_settings_model_get(EspSettingsModel *model);
/* Why there are none; or NULL. */
const GError *esp_settings_model_get_error(EspSettingsModel *model);
bool esp_settings_model_is_running(EspSettingsModel *model);

/* Told what became of a change: `error` is NULL if it is written. After "changed". */
typedef void (*EspSettingsDone)(const GError *error, gpointer data);

/* `live` is called on the thread once the change is written, with what the machine was before, if it runs:
 * what it can take part in at once (app/live.h). What it cannot comes at its next start, as the rest does. */
typedef struct EspSettingsChange {
    EspChange change;
    void (*live)(const EspMachineSettings *before, gpointer data); /* or NULL */
    gpointer data;
    GDestroyNotify free_data; /* or NULL */
} EspSettingsChange;

/* Carries out a change on a thread, behind those that wait. `done` (may be NULL) is called with `owner` if
 * that is still there then; an EspSettingsChange is copied. */
void esp_settings_model_change(EspSettingsModel *model, const EspSettingsChange *change, EspSettingsDone done,
                               GObject *owner);
/* Sets one setting; `index` is the device's number, or -1. */
void esp_settings_model_set(EspSettingsModel *model, const EspSetting *setting, int index, const char *text,
                            EspSettingsDone done, GObject *owner);

G_END_DECLS
