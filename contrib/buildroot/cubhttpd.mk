################################################################################
#
# cubhttpd
#
################################################################################

CUBHTTPD_VERSION = 0.1
CUBHTTPD_SOURCE = cubhttpd-$(CUBHTTPD_VERSION).tar.gz
CUBHTTPD_SITE_METHOD = file
CUBHTTPD_SITE = $(BR2_EXTERNAL_CUBHTTPD_PATH)/dl
CUBHTTPD_LICENSE = MIT
CUBHTTPD_LICENSE_FILES = LICENSE

CUBHTTPD_CPPFLAGS = $(call qstrip,$(BR2_PACKAGE_CUBHTTPD_OPTIONS))

ifeq ($(BR2_PACKAGE_CUBHTTPD_TLS),y)
CUBHTTPD_DEPENDENCIES += bearssl
else
CUBHTTPD_CPPFLAGS += -DCONFIG_TLS=0
endif

define CUBHTTPD_BUILD_CMDS
	$(MAKE) $(TARGET_CONFIGURE_OPTS) CPPFLAGS="$(TARGET_CPPFLAGS) $(CUBHTTPD_CPPFLAGS)" -C $(@D)
endef

define CUBHTTPD_INSTALL_TARGET_CMDS
	$(INSTALL) -D -m 0755 $(@D)/cubhttpd $(TARGET_DIR)/usr/sbin/cubhttpd
	[ -e $(TARGET_DIR)/etc/cubhttpd.conf ] || \
		$(INSTALL) -D -m 0644 $(@D)/contrib/cubhttpd.conf $(TARGET_DIR)/etc/cubhttpd.conf
endef

define CUBHTTPD_INSTALL_INIT_SYSV
	$(INSTALL) -D -m 0755 $(@D)/contrib/buildroot/S50cubhttpd $(TARGET_DIR)/etc/init.d/S50cubhttpd
endef

define CUBHTTPD_INSTALL_INIT_SYSTEMD
	$(INSTALL) -D -m 0644 $(@D)/contrib/systemd/cubhttpd.service \
		$(TARGET_DIR)/usr/lib/systemd/system/cubhttpd.service
endef

$(eval $(generic-package))
