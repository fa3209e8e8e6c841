/*
 * Physical Region Pages (s4.3): where the data of a command lies. The first entry may point into a page, all
 * others are whole pages. The second field of the command is an entry if that is enough, and a list of them
 * otherwise; where a list does not fit into its page, the last place in it has the address of the next.
 *
 * A list is read once. It ends because the data does, and because lists behind the first are whole pages, so
 * that each has entries for data. Every page has to be RAM, which for data to the guest can be written; a
 * page never lies in two slots.
 */
#include "base/vectors.h"
#include "nvme/nvme_internal.h"

#define LIST_MAX (NVME_PAGE / 8) /* entries of a list */

static void reserve(NvmeData *data, unsigned n)
{
    if (n <= data->capacity)
        return;
    data->capacity = MAX(data->capacity * 2, 8);
    data->iov = g_renew(struct iovec, data->iov, data->capacity);
    data->spans = g_renew(NvmeSpan, data->spans, data->capacity);
}

/* Adds a page or a part of one, to the span before it if it goes on from there. */
static uint16_t add(Nvme *nvme, NvmeData *data, uint64_t gpa, uint64_t length)
{
    uint64_t offset;
    const VmcMemSlot *slot = vmc_memory_find(nvme->memory, gpa, &offset);

    if (!slot || (data->to_guest && slot->readonly))
        return NVME_DATA_TRANSFER_ERROR;
    uint8_t *host = slot->host + offset;
    if (data->n) {
        struct iovec *last = &data->iov[data->n - 1];
        NvmeSpan *span = &data->spans[data->n - 1];
        if ((uint8_t *)last->iov_base + last->iov_len == host && span->gpa + span->length == gpa) {
            last->iov_len += length;
            span->length += length;
            return NVME_SUCCESS;
        }
    }
    reserve(data, data->n + 1);
    data->iov[data->n] = (struct iovec){host, length};
    data->spans[data->n++] = (NvmeSpan){gpa, length};
    return NVME_SUCCESS;
}

static uint16_t add_list(Nvme *nvme, NvmeData *data, uint64_t list, uint64_t left)
{
    uint64_t entries[LIST_MAX];
    uint16_t status = NVME_SUCCESS;

    if (list % 8)
        return NVME_INVALID_PRP_OFFSET;
    while (left) {
        unsigned room = (unsigned)(NVME_PAGE - list % NVME_PAGE) / 8;
        unsigned wanted = (unsigned)((left + NVME_PAGE - 1) / NVME_PAGE);
        bool chained = wanted > room;
        unsigned n = chained ? room - 1 : wanted;
        if (!vmc_memory_read(nvme->memory, list, entries, 8ull * (n + chained)))
            return NVME_DATA_TRANSFER_ERROR;
        for (unsigned i = 0; i < n; i++) {
            uint64_t gpa = GUINT64_FROM_LE(entries[i]), here = MIN(left, NVME_PAGE);
            if (gpa % NVME_PAGE)
                return NVME_INVALID_PRP_OFFSET;
            status = add(nvme, data, gpa, here);
            if (status)
                return status;
            left -= here;
        }
        if (chained)
            list = GUINT64_FROM_LE(entries[n]);
        if (chained && list % NVME_PAGE)
            return NVME_INVALID_PRP_OFFSET;
    }
    return NVME_SUCCESS;
}

uint16_t vmc_nvme_map(Nvme *nvme, NvmeRequest *req, uint64_t length, bool to_guest)
{
    uint64_t prp1 = req->cmd.prp1, prp2 = req->cmd.prp2;
    uint64_t first = MIN(length, NVME_PAGE - prp1 % NVME_PAGE), left = length - first;
    NvmeData *data = &req->data;

    data->n = 0;
    data->to_guest = to_guest;
    if (prp1 % 4)
        return NVME_INVALID_PRP_OFFSET;
    uint16_t status = add(nvme, data, prp1, first);
    if (status || !left)
        return status;
    if (left > NVME_PAGE)
        return add_list(nvme, data, prp2, left);
    return prp2 % NVME_PAGE ? NVME_INVALID_PRP_OFFSET : add(nvme, data, prp2, left);
}

uint16_t vmc_nvme_reply(Nvme *nvme, NvmeRequest *req, const void *buf, uint64_t length)
{
    uint16_t status = vmc_nvme_map(nvme, req, length, true);

    if (!status)
        vmc_iov_write(req->data.iov, req->data.n, 0, buf, length);
    return status;
}
