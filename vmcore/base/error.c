/* The one error domain of vmcore; see include/vmcore/error.h. */
#include "vmcore/error.h"

/* The name is one word, which the formatter would take apart. */
/* clang-format off */
G_DEFINE_QUARK(vmc-error-quark, vmc_error)
/* clang-format on */
