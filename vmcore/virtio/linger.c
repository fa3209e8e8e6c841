/* Waiting a moment for the driver (linger.h): when, and for how long. */
#include "virtio/linger.h"

#include <glib.h>

#include "base/io.h"

#define LINGER_NS 20000u
#define LOOKS     8u /* between two looks at the clock */
#define VAIN_MAX  1024u

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static bool wait_for_buffers(VmcVirtqueue *vq)
{
    uint64_t end = vmc_now_ns() + LINGER_NS;

    do
        for (unsigned i = 0; i < LOOKS; i++) {
            if (vmc_virtqueue_available(vq))
                return true;
            relax();
        }
    while (vmc_now_ns() < end);
    return false;
}

bool vmc_linger(VmcLinger *linger, VmcVirtqueue *vq)
{
    if (vmc_virtqueue_available(vq))
        return true;
    if (linger->skip) {
        linger->skip--;
        return false;
    }
    if (g_get_num_processors() > 1 && wait_for_buffers(vq)) {
        linger->vain = 0;
        return true;
    }
    linger->skip = linger->vain = CLAMP(2 * linger->vain, 1, VAIN_MAX);
    return false;
}
