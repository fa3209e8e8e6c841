#!/bin/sh
# The differential test for a bounded time, with either engine: the corpus, every enumerated encoding, then random ones.
# The translator has 64-bit code only. Before that, for a moment, a software CPU that offers no more than x86-64-v2.
# time-limit: 180
# sanitize: yes
seconds="${DIFF_SECONDS:-50}"
status=0
"${ESPALIER_BUILD:-build}/difftest" --baseline --random --seconds 5 || exit
for engine in interpreter "translator --mode 64"; do
    "${ESPALIER_BUILD:-build}/difftest" --corpus tests/diff/corpus --seconds "$seconds" --engine $engine || status=$?
    [ $status = 0 ] || exit $status
done
