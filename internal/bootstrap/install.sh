#!/bin/sh
# Installs the distribution's Docker engine, starts it now and at every boot, and
# lets the user who called sudo use it. Runs as root, fed to `sh -s`; run again
# it goes on where it stopped.
set -eu

die() {
	echo "$*" >&2
	exit 1
}

install_engine() {
	if command -v apt-get >/dev/null; then
		export DEBIAN_FRONTEND=noninteractive
		set -- docker.io ca-certificates
		# Where the kernel has AppArmor on, containers do not start without.
		if [ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" = Y ]; then
			set -- "$@" apparmor
		fi
		# Another apt may be at work, as after the first boot.
		apt-get -q -o DPkg::Lock::Timeout=300 update
		apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "$@"
	elif command -v dnf >/dev/null; then
		dnf -q -y install moby-engine || dnf -q -y install docker
	elif command -v yum >/dev/null; then
		yum -q -y install docker
	elif command -v zypper >/dev/null; then
		zypper -q --non-interactive install docker
	elif command -v apk >/dev/null; then
		apk add -q -U docker
	elif command -v pacman >/dev/null; then
		pacman -S --noconfirm --needed docker
	else
		die "no package manager that this script knows; name a script of yours under bootstrap.script"
	fi
}

start_engine() {
	if [ -d /run/systemd/system ]; then
		systemctl enable --now docker.service
	elif command -v rc-service >/dev/null; then
		rc-update add docker default
		rc-service docker start
	elif [ -x /etc/init.d/docker ]; then
		/etc/init.d/docker status >/dev/null 2>&1 || /etc/init.d/docker start
	else
		die "the engine is installed, but nothing here can start it"
	fi
}

command -v dockerd >/dev/null || install_engine
# On RHEL and its kin the package is a stand-in for Podman.
command -v dockerd >/dev/null || die "the distribution's package brought no dockerd; name a script under bootstrap.script that installs Docker's own"
start_engine
if [ -n "${SUDO_USER:-}" ] && [ "$SUDO_USER" != root ]; then
	usermod -aG docker "$SUDO_USER" 2>/dev/null || addgroup "$SUDO_USER" docker
fi
