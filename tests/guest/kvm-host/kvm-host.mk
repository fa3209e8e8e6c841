# The KVM backend on an emulated kvm-amd (run.sh): minutes, so not part of `make test`. The bare-metal guests are made
# once more so that they go on after a check that failed.
KVM_HOST_BARE := $(patsubst tests/guest/bare/%.S,$(B)/kvm-host/bare/%.bin,$(wildcard tests/guest/bare/*.S))

$(B)/kvm-host/bare/%.bin: tests/guest/bare/%.S tests/guest/bare/bare.h
	@mkdir -p $(@D)
	$(Q)$(CC) -m64 -DGO_ON -c -x assembler-with-cpp -Itests/guest/bare $< -o $(@:.bin=.o)
	$(Q)$(LD) -m elf_x86_64 -N -Ttext=0x8000 -e start --no-warn-rwx-segments --oformat binary $(@:.bin=.o) -o $@

ifdef WAY
.PHONY: test-kvm
test-kvm: $(B)/tests/test_bare $(B)/tests/test_gdb $(B)/tests/test_kvm $(B)/tests/test_slots \
		$(B)/tests/test_host_sleep $(B)/espalierctl $(KVM_HOST_BARE) $(GUEST) $(TOOLS)
	$(Q)tests/guest/kvm-host/run.sh
endif
