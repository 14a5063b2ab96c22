# shellcheck shell=dash
# uci.sh - a section of /etc/config/cubhttpd as the configuration of cubhttpd
#
# The options have the names that uhttpd gave them, where the meaning is the same.  Sourced after /lib/functions.sh, by
# the init script for what it starts:
#
#   config_load cubhttpd; config_foreach cub_conf cubhttpd      print it
#
# What has no equal here is told by cub_told, which the init script makes a line of the system's log.

: "${CUB_PROGRAM:=/usr/sbin/cubhttpd}"
: "${CUB_RUN:=/var/etc/cubhttpd}"          # for files of passwords, which a section of users becomes

command -v cub_told >/dev/null || cub_told() { echo "cubhttpd: $*" >&2; }

# An argument, in quotes where cubhttpd.conf(5) wants them.
cub_quote() {
	local rest="$1" done=''

	case $rest in
	'' | *[!A-Za-z0-9/._*:@%+=,-]*) ;;
	*)	printf '%s' "$rest"; return ;;
	esac
	while :; do
		case $rest in
		*[\"\\]*)
			local head="${rest%%[\"\\]*}"
			rest="${rest#"$head"}"
			done="$done$head\\${rest%"${rest#?}"}"
			rest="${rest#?}"
			;;
		*)	break ;;
		esac
	done
	printf '"%s%s"' "$done" "$rest"
}

# A line: a word and its arguments.
cub_line() {
	printf '%s' "$1"
	shift
	while [ $# -gt 0 ]; do
		printf ' %s' "$(cub_quote "$1")"
		shift
	done
	echo
}

# Was the program that is installed built with this feature?
cub_has() {
	"$CUB_PROGRAM" -V 2>/dev/null | grep -q "^CONFIG_$1 1"
}

# cub_option SECTION OPTION WORD...: a line with the option's value, when it has one.
cub_option() {
	local value

	config_get value "$1" "$2"
	[ -z "$value" ] || { shift 2; cub_line "$@" "$value"; }
}

# The same for a number that is to be above 0.
cub_number() {
	local value

	config_get value "$1" "$2"
	case $value in
	'' | 0)	;;
	*[!0-9]*) cub_told "option $2 '$value' is no number" ;;
	*)	shift 2; echo "$* $value" ;;
	esac
}

# "80", "192.168.1.1:80", "[::1]:80"; uhttpd's 0.0.0.0 beside [::] is one socket here.
cub_listen() {
	case $1 in
	0.0.0.0:*) CUB_ANY4="$CUB_ANY4 ${1##*:}" ;;
	'[::]:'*) CUB_ANY6="$CUB_ANY6 ${1##*:}" ;;
	*)	CUB_ADDRESSES="$CUB_ADDRESSES $1" ;;
	esac
}

# cub_listens SECTION OPTION [tls]
cub_listens() {
	local port addresses

	CUB_ANY4='' CUB_ANY6='' CUB_ADDRESSES=''
	config_list_foreach "$1" "$2" cub_listen
	addresses="$CUB_ADDRESSES"
	for port in $CUB_ANY6; do
		addresses="$addresses $port"
	done
	for port in $CUB_ANY4; do
		case " $CUB_ANY6 " in
		*" $port "*) ;;
		*)	addresses="$addresses 0.0.0.0:$port" ;;
		esac
	done
	for port in $addresses; do
		echo "listen $port${3:+ $3}"
	done
}

# cub_pair WORD TEXT: "url=path" as the two arguments of WORD.
cub_pair() {
	case $2 in
	*=*)	cub_line "$1" "$(cub_below "${2%%=*}")" "${2#*=}" ;;
	*)	cub_told "'$2' has no =" ;;
	esac
}

# A path as uhttpd takes it, with or without slashes around it, as a pattern.
cub_below() {
	local path="/${1#/}"

	path="${path%/}"
	echo "${path:-/}"
}

cub_alias() {
	cub_pair alias "$1"
}

cub_interpreter() {
	case $1 in
	.?*=/*)	cub_line cgi "*${1%%=*}" "${1#*=}" ;;
	*)	cub_told "interpreter '$1' is not .ext=/program" ;;
	esac
}

cub_index() {
	CUB_INDEX="$CUB_INDEX $(cub_quote "$1")"
}

# A section of users: prefix, username and password.  uhttpd takes text, a hash, or $p$name for a system account.
cub_user() {
	local prefix user password

	config_get prefix "$1" prefix /
	config_get user "$1" username
	config_get password "$1" password
	[ -n "$user" ] && [ -n "$password" ] || return 0
	cub_password "$prefix" "$user" "$password"
}

cub_password() {
	local pattern file

	pattern="$(cub_below "$1")"
	case $3 in
	\$p\$*) CUB_AUTH="$CUB_AUTH
$(cub_line auth "$pattern" system "$CUB_REALM")" ;;
	*)	file="$CUB_RUN/$CUB_NAME$(printf '%s' "$pattern" | tr -c 'A-Za-z0-9' _).users"
		case $CUB_AUTH in
		*" $file "*) ;;
		*)	mkdir -p "$CUB_RUN"
			(umask 077 && : >"$file")
			CUB_AUTH="$CUB_AUTH
$(cub_line auth "$pattern" "$file" "$CUB_REALM")" ;;
		esac
		case $3 in
		\$*)	echo "$2:$3" ;;
		*)	echo "$2:{PLAIN}$3" ;;
		esac >>"$file" ;;
	esac
}

# busybox httpd's file, of which uhttpd reads a part: passwords, interpreters, indexes, error pages.
cub_httpd_conf() {
	local line rest

	[ -r "$1" ] || { cub_told "cannot read $1"; return; }
	while IFS= read -r line || [ -n "$line" ]; do
		case $line in
		'' | '#'*) ;;
		/*:*:*)	rest="${line#*:}"; cub_password "${line%%:*}" "${rest%%:*}" "${rest#*:}" ;;
		'*'.*:/*) cub_line cgi "${line%%:*}" "${line#*:}" ;;
		I:*)	cub_index "${line#I:}" ;;
		E404:*)	cub_line error 404 "${line#E404:}" ;;
		H:*)	cub_line root "${line#H:}" ;;
		P:/*:*)	rest="${line#P:}"; cub_line proxy "${rest%%:*}" "${rest#*:}" ;;
		[AD]:*)	CUB_ACCESS="$CUB_ACCESS ${line%%:*}=${line#?:}" ;;
		*)	cub_told "$1: '$line' has no equal here" ;;
		esac
	done <"$1"
}

# A: and D: lines: who may ask.  A list of those who may needs D:* at its end there; others cannot be said.
cub_access() {
	local entry range='' denied=''

	for entry in $CUB_ACCESS; do
		case $entry in
		A=*)	range="$range $(cub_range "${entry#A=}")" ;;
		'D=*')	denied=1 ;;
		*)	cub_told "${entry#D=} cannot be excluded alone: say who may ask" ;;
		esac
	done
	[ -z "$denied" ] || [ -z "$range" ] || echo "allow /$range"
}

# "192.168." is 192.168.0.0/16.
cub_range() {
	case $1 in
	*.*.*.*[0-9/]) echo "$1" ;;
	*.*.*.)	echo "${1}0/24" ;;
	*.*.)	echo "${1}0.0/16" ;;
	*.)	echo "${1}0.0.0/8" ;;
	*)	echo "$1" ;;
	esac
}

cub_strange() {
	local option value

	for option in lua_prefix ucode_prefix ubus_socket json_script rfc1918_filter; do
		config_get value "$1" "$option"
		case $value in
		'' | 0)	;;
		*)	cub_told "option $option has no equal here" ;;
		esac
	done
	# LuCI asks its CGI script where no /ubus answers, so nothing is missed but speed.
}

cub_tls() {
	local cert key redirect

	cub_listens "$1" listen_https tls
	config_get cert "$1" cert
	config_get key "$1" key
	# Without a certificate, or with one that is not there yet, the server makes its own and keeps it.
	[ -z "$cert" ] || [ ! -e "$cert" ] || cub_line certificate "$cert" ${key:+"$key"}
	config_get_bool redirect "$1" redirect_https 0
	[ "$redirect" = 0 ] || echo 'redirect / https: 307'
}

cub_conf() {
	local section="$1" value

	CUB_NAME="$section" CUB_INDEX='' CUB_AUTH='' CUB_ACCESS=''
	config_get CUB_REALM "$section" realm "$(cat /proc/sys/kernel/hostname 2>/dev/null || echo OpenWrt)"

	echo "# made from /etc/config/cubhttpd, section $section; changes here are lost"
	cub_listens "$section" listen_http
	config_get value "$section" listen_https
	if [ -n "$value" ]; then
		if cub_has TLS; then
			cub_tls "$section"
		else
			cub_told "listen_https: this program was built without TLS"
		fi
	fi
	cub_option "$section" home root
	config_get_bool value "$section" no_symlinks 0
	[ "$value" = 1 ] && echo 'links inside' || echo 'links any'
	cub_number "$section" max_connections clients
	cub_number "$section" max_requests scripts
	cub_number "$section" script_timeout timeout backend
	cub_number "$section" network_timeout timeout body
	cub_number "$section" network_timeout timeout send
	cub_number "$section" http_keepalive timeout idle
	echo 'log errors syslog warn'

	config_list_foreach "$section" index_page cub_index
	config_get value "$section" cgi_prefix
	[ -z "$value" ] || cub_line cgi "$(cub_below "$value")/"
	config_list_foreach "$section" interpreter cub_interpreter
	config_list_foreach "$section" alias cub_alias
	cub_option "$section" error_page error 404
	config_get_bool value "$section" no_dirlists 0
	[ "$value" = 1 ] || echo 'listing /'

	config_list_foreach "$section" httpauth cub_user
	config_get value "$section" config
	[ -z "$value" ] || cub_httpd_conf "$value"
	[ -z "$CUB_INDEX" ] || echo "index$CUB_INDEX"
	cub_access
	[ -z "$CUB_AUTH" ] || echo "${CUB_AUTH#?}"
	cub_strange "$section"
	config_get value "$section" include
	[ -z "$value" ] || cub_line include "$value"
}
