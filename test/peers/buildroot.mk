# buildroot.mk - stands for Buildroot in tests: the target of a package by $(eval $(generic-package)), with what such a
# package is given.  MK is the package's file, W is where it works, SOURCES the tarball.

PKG := $(basename $(notdir $(MK)))
UP := $(shell echo $(PKG) | tr a-z A-Z)
D := $(W)/build/$(PKG)
TARGET_DIR := $(W)/target
INSTALL := install
qstrip = $(strip $(subst ",,$(1)))
TARGET_CPPFLAGS := -D_LARGEFILE_SOURCE -D_LARGEFILE64_SOURCE -D_FILE_OFFSET_BITS=64
TARGET_CFLAGS := $(TARGET_CPPFLAGS) -Os -g0
TARGET_CONFIGURE_OPTS = PATH="$(PATH)" AR="$(AR)" CC="$(CC)" CPPFLAGS="$(TARGET_CPPFLAGS)" CFLAGS="$(TARGET_CFLAGS)" \
	LDFLAGS="" STRIP=/bin/true
all: $(D)/.built                # in recipes $(@D) is the folder of the target, and has to be this one
generic-package = $(generic)
define generic
$(foreach v,VERSION SOURCE SITE SITE_METHOD LICENSE LICENSE_FILES,$(if $($(UP)_$(v)),,$(error $(UP)_$(v) is missing)))
$(D)/.built:
	rm -rf $(D) && mkdir -p $(D)
	tar -C $(D) --strip-components=1 -xzf $(SOURCES)/$($(UP)_SOURCE)
	cd $(SOURCES) && grep ' $($(UP)_SOURCE)$$$$' $(dir $(MK))$(PKG).hash | sed 's/^sha256  //' | sha256sum -c
	cd $(D) && grep ' $($(UP)_LICENSE_FILES)$$$$' $(dir $(MK))$(PKG).hash | sed 's/^sha256  //' | sha256sum -c
	$$($(UP)_BUILD_CMDS)
	$$($(UP)_INSTALL_TARGET_CMDS)
	$$($(UP)_INSTALL_INIT_SYSV)
	$$($(UP)_INSTALL_INIT_SYSTEMD)
endef
-include $(W)/config
include $(MK)
