/*
 * Mistakes on purpose, to show that the fuzzers find such: one of each kind that others paid for. A build has
 * none of them, unless it is made with -DVMC_SEEDED_BUG=VMC_BUG_..., as `make fuzz-seeded` does (with the
 * files that hold that bug, and tests/fuzz/seeded.txt for who is to find it).
 *
 * VMC_SEEDED(NAME) stands where the check is, as a condition that leaves it out:
 *
 *     if (!slot || (write && slot->readonly && !VMC_SEEDED(DMA_TARGET)))
 */
#pragma once

enum VmcSeededBug {
    VMC_BUG_NONE,
    VMC_BUG_QUEUE_REWRITE, /* queue registers rewritten after activation */
    VMC_BUG_IN_FLIGHT,     /* requests in flight without a cap */
    VMC_BUG_DMA_TARGET,    /* DMA to what is not writable RAM */
    VMC_BUG_FIXED_BUFFER,  /* a fixed buffer with the guest's length */
    VMC_BUG_DESC_LOOP,     /* descriptors that form a loop */
    VMC_BUG_DESC_INDEX,    /* an index of the guest's beyond its table */
    VMC_BUG_MSIX_SIZE,     /* accesses behind the end of the MSI-X table */
    VMC_BUG_RESET_RACE,    /* memory used by a request after its reset was done */
    VMC_BUG_FREED_IN_USE,  /* the same of a disk, whose requests are still under way */
    VMC_BUG_SPECIAL_FILE,  /* special files opened through a shared folder */
    VMC_BUG_SETGID,        /* setgid lost on create */
    VMC_BUG_UMASK,         /* what the host's umask took off is lost on create */
    VMC_BUG_USB_LENGTH,    /* a USB setup length that nobody checked */
    VMC_BUG_IMAGE_FORMAT,  /* an image format guessed from content the guest can write */
    VMC_BUG_CURSOR_SIZE,   /* a cursor image of another size than its buffer */
    VMC_BUG_FRAME_LENGTH,  /* lengths within a frame that are not checked against it */
    VMC_BUG_DIVISION,      /* division by a guest's zero */
    VMC_BUG_CLIP_TYPE,     /* clipboard content taken for the type it is said to be */
};

#ifdef VMC_SEEDED_BUG
#define VMC_SEEDED(bug) (VMC_SEEDED_BUG == VMC_BUG_##bug)
#else
#define VMC_SEEDED(bug) 0
#endif
