/* What the user is told of a disk; see report.h. */
#include "block/report.h"
#include "base/i18n.h"

#include <errno.h>

#define REPORT_NS 10000000000u /* between two reports of errors */

const char *vmc_disk_name(const VmcDisk *disk)
{
    return disk->path ? disk->path : disk->ops->name;
}

void vmc_disk_report_error(VmcDiskReport *report, VmcBlockOp op, uint64_t offset, int error)
{
    /* Translators: the disk, where in it, and why. */
    static const char *const sentences[] = {
        [VMC_BLOCK_READ] =
            N_("Reading from disk “%s” failed at byte %" PRIu64 ": %s; the guest was told, look after "
               "the file or device"),
        [VMC_BLOCK_WRITE] =
            N_("Writing to disk “%s” failed at byte %" PRIu64 ": %s; the guest was told, look after "
               "the file or device"),
        [VMC_BLOCK_FLUSH] =
            N_("Flushing disk “%s” failed at byte %" PRIu64 ": %s; the guest was told, look after "
               "the file or device"),
        [VMC_BLOCK_DISCARD] =
            N_("Discarding on disk “%s” failed at byte %" PRIu64 ": %s; the guest was told, look "
               "after the file or device"),
        [VMC_BLOCK_WRITE_ZEROES] =
            N_("Zeroing on disk “%s” failed at byte %" PRIu64 ": %s; the guest was told, "
               "look after the file or device"),
    };
    uint64_t now = vmc_now_ns();

    if (!report->hooks || !report->hooks->log)
        return;
    if (report->reported && now - report->reported < REPORT_NS) {
        report->unreported++;
        return;
    }
    g_autofree char *line = NULL;
    g_autofree char *first =
        g_strdup_printf(_(sentences[op]), vmc_disk_name(report->disk), offset, g_strerror(-error));
    if (report->unreported)
        /* Translators: a sentence about an error, and how many more there were. */
        line = g_strdup_printf(ngettext("%s (and %u more error since the last report)",
                                        "%s (and %u more errors since the last report)", report->unreported),
                               first, report->unreported);
    report->reported = now;
    report->unreported = 0;
    report->hooks->log(report->hooks->opaque, line ? line : first);
}

bool vmc_disk_ask_for_room(VmcDiskReport *report, int error)
{
    if ((error != -ENOSPC && error != -EDQUOT) || !report->hooks || !report->hooks->attention)
        return false;
    if (report->asked)
        return true;
    report->asked = true;
    g_autofree char *why = g_strdup_printf(_("Disk “%s” has no room on this computer (%s): make room there, "
                                             "then resume the machine, which goes on "
                                             "as if nothing had happened"),
                                           vmc_disk_name(report->disk), g_strerror(-error));
    report->hooks->attention(report->hooks->opaque, why);
    return true;
}
