# What is installed beside the programs, and the Debian packages. Included by the Makefile.

# Each file with its place below share/.
DATA_FILES := data/espalierctl.1:man/man1/espalierctl.1 \
	$(B)/espalier-settings.7:man/man7/espalier-settings.7 \
	data/espalier.1:man/man1/espalier.1 \
	data/org.espalier.Espalier.gschema.xml:glib-2.0/schemas/org.espalier.Espalier.gschema.xml \
	data/org.espalier.Espalier.mime.xml:mime/packages/org.espalier.Espalier.xml \
	$(B)/share/org.espalier.Espalier.desktop:applications/org.espalier.Espalier.desktop \
	$(B)/share/org.espalier.Espalier.metainfo.xml:metainfo/org.espalier.Espalier.metainfo.xml \
	data/completions/espalierctl.bash:bash-completion/completions/espalierctl \
	data/completions/espalierctl.fish:fish/vendor_completions.d/espalierctl.fish \
	data/completions/espalierctl.zsh:zsh/site-functions/_espalierctl \
	$(foreach icon,scalable/apps/org.espalier.Espalier.svg symbolic/apps/org.espalier.Espalier-symbolic.svg \
		scalable/mimetypes/application-x-espalier-machine.svg,resources/icons/$(icon):icons/hicolor/$(icon)) \
	$(foreach language,$(LINGUAS),$(B)/locale/$(language)/LC_MESSAGES/espalier.mo:locale/$(language)/LC_MESSAGES/espalier.mo)
SHARE = $(DESTDIR)$(PREFIX)/share
SERVICE := dbus-1/services/org.espalier.Espalier.service

ifdef WAY
install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/include/vmcore
	install -d $(SHARE)/espalier/demo
	install -m 755 $(PROGRAMS) $(DESTDIR)$(PREFIX)/bin/
	install -m 644 $(B)/libvmcore.a $(DESTDIR)$(PREFIX)/lib/
	install -m 644 vmcore/include/vmcore/*.h $(DESTDIR)$(PREFIX)/include/vmcore/
	install -m 644 $(B)/guest/vmlinuz $(B)/guest/initrd.img $(SHARE)/espalier/demo/
	install -d $(SHARE)/dbus-1/services
	sed 's|@prefix@|$(PREFIX)|' data/org.espalier.Espalier.service.in > $(SHARE)/$(SERVICE)
	sed 's|@prefix@|$(PREFIX)|' vmcore/vmcore.pc.in > $(DESTDIR)$(PREFIX)/lib/pkgconfig/vmcore.pc
	$(foreach file,$(DATA_FILES),install -D -m 644 $(subst :, $(SHARE)/,$(file)) &&) true
	$(if $(DESTDIR),,-glib-compile-schemas $(SHARE)/glib-2.0/schemas)
	$(if $(DESTDIR),,-update-mime-database $(SHARE)/mime)
	$(if $(DESTDIR),,-gtk-update-icon-cache -q -t $(SHARE)/icons/hicolor)
	$(if $(DESTDIR),,-update-desktop-database -q $(SHARE)/applications)

# From the tree as it is, with what was built in $(B).
.PHONY: deb
deb: all
	$(Q)rm -rf $(B)/deb && mkdir -p $(B)/deb/espalier
	$(Q)git ls-files -co --exclude-standard -z | xargs -0 cp -p --parents -t $(B)/deb/espalier
	$(Q)cd $(B)/deb/espalier && DEB_BUILT=$(abspath $(B)) dpkg-buildpackage -b -us -uc -nc > ../log 2>&1 || { tail -n 40 ../log; exit 1; }
	$(Q)ls -1 $(B)/deb/*.deb
endif

.PHONY: uninstall
uninstall:
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/bin/,espalier espalierctl)
	rm -f $(DESTDIR)$(PREFIX)/lib/libvmcore.a $(DESTDIR)$(PREFIX)/lib/pkgconfig/vmcore.pc
	rm -f $(foreach file,$(DATA_FILES),$(SHARE)/$(lastword $(subst :, ,$(file)))) $(SHARE)/$(SERVICE)
	rm -rf $(DESTDIR)$(PREFIX)/include/vmcore $(SHARE)/espalier
