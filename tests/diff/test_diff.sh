#!/bin/sh
# The differential test for a bounded time: the corpus, every enumerated encoding, then random ones.
# time-limit: 120
# sanitize: yes
exec "${ESPALIER_BUILD:-build}/difftest" --corpus tests/diff/corpus --seconds "${DIFF_SECONDS:-50}"
