/* The one error domain of vmcore; see include/vmcore/error.h. */
#include "vmcore/error.h"

G_DEFINE_QUARK(vmc - error - quark, vmc_error)
