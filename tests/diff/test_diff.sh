#!/bin/sh
# The differential test for a bounded time, with either engine: the corpus, every enumerated encoding, then random ones.
# The translator has 64-bit code only.
# time-limit: 180
# sanitize: yes
seconds="${DIFF_SECONDS:-50}"
status=0
for engine in interpreter "translator --mode 64"; do
    "${ESPALIER_BUILD:-build}/difftest" --corpus tests/diff/corpus --seconds "$seconds" --engine $engine || status=$?
    [ $status = 0 ] || exit $status
done
