/* The differentiated definition block: what is on the board, in AML. */
#pragma once

#include <glib.h>

#include "pc/acpi.h"

/* The AML after the table's header. Free with g_byte_array_unref. */
GByteArray *vmc_dsdt_build(const VmcAcpiParams *params);
