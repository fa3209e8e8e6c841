/* The one error domain of vmcore; see include/vmcore/error.h. */
#include "vmcore/error.h"

/* clang-format off: the name is one word */
G_DEFINE_QUARK(vmc-error-quark, vmc_error)
/* clang-format on */
