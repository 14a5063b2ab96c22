# openwrt.mk - stands for OpenWrt's rules.mk and include/package.mk in tests: what a package's Makefile may use, and what
# it is asked for.  TOPDIR has rules.mk and include/package.mk, which both include this; W is where it works.

ifndef BUILD_DIR
BUILD_DIR := $(W)/build_dir
DL_DIR := $(W)/dl
INCLUDE_DIR := $(TOPDIR)/include
HOST_TAR := tar
TAR_OPTIONS := -xf -
INSTALL_BIN := install -m0755
INSTALL_DIR := install -d -m0755
INSTALL_DATA := install -m0644
INSTALL_CONF := install -m0600
include $(W)/config
else

PKG_BUILD_DIR := $(BUILD_DIR)/$(PKG_NAME)-$(PKG_VERSION)
.DEFAULT_GOAL := all
PKG_JOBS := -j2
SOURCE := .

define Build/Prepare/Default
	gzip -dc $(DL_DIR)/$(PKG_SOURCE) | tar -C $(BUILD_DIR) -xf -
endef

# A file that is downloaded has an address, a name and a sum.
define Download
$(eval URL :=)$(eval FILE :=)$(eval HASH :=)$(eval $(Download/$(1)))
$(if $(URL),,$(error Download/$(1) has no URL))$(if $(findstring $(words $(HASH)),1),,$(error Download/$(1) has no HASH))
$(DL_DIR)/$(FILE):
	@echo "$(FILE) is to be in $(DL_DIR)" && false
prepare: $(DL_DIR)/$(FILE)
endef

define BuildPackage
$(eval SECTION :=)$(eval CATEGORY :=)$(eval TITLE :=)$(eval $(Package/$(1)))
$(foreach field,SECTION CATEGORY TITLE,$(if $($(field)),,$(error Package/$(1) is missing the $(field) field)))
all: prepare
	$$(Build/Compile)
	$$(call Package/$(1)/install,$(W)/root)
	@echo $$(strip $$(Package/$(1)/conffiles)) >$(W)/conffiles
	@echo '$$(strip $$(Package/$(1)/config))' >$(W)/menu
prepare:
	rm -rf $(BUILD_DIR) && mkdir -p $(BUILD_DIR)
	$$(Build/Prepare)
endef
endif
