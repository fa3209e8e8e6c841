#!/bin/sh
# The engines of the software CPU against each other on random programs, for some seconds; a difference names its seed.
# time-limit: 120
exec "${ESPALIER_BUILD:-build}/fuzzcpu" --seconds "${FUZZ_CPU_SECONDS:-20}"
