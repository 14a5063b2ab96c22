# shellcheck shell=dash
# uci.sh - stands for /lib/functions.sh of OpenWrt in tests: the functions that read /etc/config, and those of procd
#
# config_load FILE takes any file of UCI's grammar: config TYPE [NAME], option NAME VALUE, list NAME VALUE.

uci_value() {
	eval "printf '%s' \"\${UCI_$1_$2-}\""
}

uci_set() {
	eval "UCI_$1_$2=\$3"
}

config_load() {
	local line word name value section='' n=0

	UCI_SECTIONS=''
	while IFS= read -r line || [ -n "$line" ]; do
		eval "set -- $line"
		word=${1-} name=${2-} value=${3-}
		case $word in
		config)	n=$((n + 1))
			section=${value:-cfg$n}
			UCI_SECTIONS="$UCI_SECTIONS $section"
			uci_set "$section" TYPE "$name" ;;
		option)	uci_set "$section" "$name" "$value" ;;
		list)	count=$(uci_value "$section" "${name}_LENGTH")
			count=$((${count:-0} + 1))
			uci_set "$section" "${name}_LENGTH" "$count"
			uci_set "$section" "${name}_ITEM$count" "$value"
			old=$(uci_value "$section" "$name")
			uci_set "$section" "$name" "${old:+$old }$value" ;;
		esac
	done <"$1"
}

config_get() {
	local uci_got

	uci_got=$(uci_value "$2" "$3")
	eval "$1=\${uci_got:-\${4-}}"
}

config_get_bool() {
	local uci_got

	uci_got=$(uci_value "$2" "$3")
	case ${uci_got:-${4-}} in
	1 | on | true | yes | enabled) uci_got=1 ;;
	*)	uci_got=0 ;;
	esac
	eval "$1=\$uci_got"
}

config_foreach() {
	local function=$1 type=$2 section

	shift 2
	for section in $UCI_SECTIONS; do
		[ "$(uci_value "$section" TYPE)" != "$type" ] || "$function" "$section" "$@"
	done
}

config_list_foreach() {
	local section=$1 list=$2 function=$3 count i=1

	shift 3
	count=$(uci_value "$section" "${list}_LENGTH")
	while [ "$i" -le "${count:-0}" ]; do
		"$function" "$(uci_value "$section" "${list}_ITEM$i")" "$@"
		i=$((i + 1))
	done
}

logger() {
	echo "log: $*" >&2
}

for name in open_instance set_param append_param close_instance add_jail add_jail_mount add_jail_mount_rw add_reload_trigger \
	add_raw_trigger; do
	eval "procd_$name() { echo \"procd_$name \$*\"; }"
done
