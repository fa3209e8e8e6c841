#!/bin/sh
# The interpreter's handlers end in a tail call into the next one (vmcore/cpu/soft/uop.h). A handler whose local variable
# escapes would call instead of jump, and the host's stack would grow with every guest instruction: so the object
# code is read here, and no such function (op_, slow_, vmc_sse_, vmc_avx_ ...) may hold an indirect call.
build=${ESPALIER_BUILD:-build}
objects=$(ls "$build"/obj/vmcore/cpu/soft/exec/*.o 2>/dev/null)
if [ -z "$objects" ]; then
    echo "no objects of the software CPU in $build: run make first"
    exit 77
fi
# shellcheck disable=SC2086
handlers=$(objdump -d --no-show-raw-insn $objects | awk '
    /^[0-9a-f]+ <.*>:$/ { name = $2; handler = name ~ /^<(op|slow|vmc_op|vmc_sse|vmc_avx|vmc_x87_op)_/ && name !~ /cold/; count += handler }
    handler && /call +\*0x20\(/ { print "a call instead of a tail call in " name > "/dev/stderr"; bad++ }
    END { print count; exit bad > 0 }')
status=$?
echo "$handlers handlers looked at"
[ "$handlers" -gt 1000 ] && [ "$status" -eq 0 ]
