/*
 * Making a machine: one job that goes through its steps, each of which sees what an earlier run has done
 * already.
 *
 * Cancelled, failed or killed, it leaves a draft behind that the next run goes on with; in the library there
 * is a machine, whole, or none.
 */
#pragma once

#include "app/create/draft.h"
#include "app/job.h"

G_BEGIN_DECLS

/* A job, ready to be started by esp_create_start, which takes the draft. */
EspJob *esp_create_job_new(EspDraft *draft);
/* Begins, or goes on. The owner's thread. */
void esp_create_start(EspJob *job, EspDraft *draft);

/* Where the machine of a draft lies once its job has succeeded; free with g_free. */
char *esp_create_path(EspDraft *draft);

/* The steps themselves, on the thread of a job; or of a caller who waits. */
bool esp_create_run(EspJob *job, EspDraft *draft, GError **error);

G_END_DECLS
