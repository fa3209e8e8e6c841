/* A job in the terminal: one line that says how far it is, and Ctrl+C to cancel it. */
#pragma once

#include "app/job.h"

/* Waits for the job and gives the caller's reference up. Returns the exit status; what went wrong is said. */
int esp_ctl_watch_job(EspJob *job);
