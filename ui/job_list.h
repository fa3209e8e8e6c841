/*
 * Running jobs at the foot of a window: what each does, how far it is, at what speed and how long it will
 * take yet, and a button to cancel it. It is there only while there are jobs.
 */
#pragma once

#include <gtk/gtk.h>

#include "app/job.h"

G_BEGIN_DECLS

#define ESP_TYPE_JOB_LIST (esp_job_list_get_type())
G_DECLARE_FINAL_TYPE(EspJobList, esp_job_list, ESP, JOB_LIST, GtkRevealer)

/* Shows a job that has been started, until it is over; takes over the caller's reference. One that fails says
 * why in a dialog over the window. The caller may watch "finished" as well. */
void esp_job_list_add(EspJobList *list, EspJob *job);
/* How many run. */
unsigned esp_job_list_count(EspJobList *list);

G_END_DECLS
