#!/bin/sh
# The engines of the software CPU against each other on random programs, for some seconds; a difference names its seed.
# Before that, for a moment, with no more than x86-64-v2, as on a host without AVX.
# time-limit: 120
# sanitize: yes
"${ESPALIER_BUILD:-build}/fuzzcpu" --baseline --seconds 4 || exit
exec "${ESPALIER_BUILD:-build}/fuzzcpu" --seconds "${FUZZ_CPU_SECONDS:-20}"
