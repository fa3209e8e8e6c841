/* What the user is told of a disk; see report.h. */
#include "block/report.h"

#include <errno.h>

#define REPORT_NS 10000000000u /* between two reports of errors */

const char *vmc_disk_name(const VmcDisk *disk)
{
    return disk->path ? disk->path : disk->ops->name;
}

void vmc_disk_report_error(VmcDiskReport *report, VmcBlockOp op, uint64_t offset, int error)
{
    static const char *const doing[] = {
        [VMC_BLOCK_READ] = "Reading from",       [VMC_BLOCK_WRITE] = "Writing to",
        [VMC_BLOCK_FLUSH] = "Flushing",          [VMC_BLOCK_DISCARD] = "Discarding on",
        [VMC_BLOCK_WRITE_ZEROES] = "Zeroing on",
    };
    uint64_t now = vmc_now_ns();

    if (!report->hooks || !report->hooks->log)
        return;
    if (report->reported && now - report->reported < REPORT_NS) {
        report->unreported++;
        return;
    }
    g_autofree char *more =
        report->unreported
            ? g_strdup_printf(" (and %u more errors since the last report)", report->unreported)
            : g_strdup("");
    g_autofree char *line =
        g_strdup_printf("%s disk “%s” failed at byte %" G_GUINT64_FORMAT
                        ": %s%s; the guest was told, look after the file or device",
                        doing[op], vmc_disk_name(report->disk), offset, g_strerror(-error), more);
    report->reported = now;
    report->unreported = 0;
    report->hooks->log(report->hooks->opaque, line);
}

bool vmc_disk_ask_for_room(VmcDiskReport *report, int error)
{
    if ((error != -ENOSPC && error != -EDQUOT) || !report->hooks || !report->hooks->attention)
        return false;
    if (report->asked)
        return true;
    report->asked = true;
    g_autofree char *why = g_strdup_printf("Disk “%s” has no room on this computer (%s): make room there, "
                                           "then resume the machine, which goes on "
                                           "as if nothing had happened",
                                           vmc_disk_name(report->disk), g_strerror(-error));
    report->hooks->attention(report->hooks->opaque, why);
    return true;
}
