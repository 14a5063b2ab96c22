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

# cub_number SECTION OPTION MOST WORD...: the same for a number above 0; what is above MOST is as good as that.
cub_number() {
	local value

	config_get value "$1" "$2"
	case $value in
	'' | 0)	;;
	*[!0-9]*) cub_told "option $2 '$value' is no number" ;;
	*)	[ ${#value} -lt 9 ] && [ "$value" -le "$3" ] || value=$3
		shift 3
		echo "$* $value" ;;
	esac
}

# cub_each SECTION OPTION FUNCTION: for each word of an option or a list, as uhttpd's own script takes them.
cub_each() {
	local words value

	config_get words "$1" "$2"
	set -f
	for value in $words; do
		"$3" "$value"
	done
	set +f
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

	CUB_ANY4='' CUB_ANY6='' CUB_ADDRESSES='' CUB_HEARD=''
	cub_each "$1" "$2" cub_listen
	addresses="$CUB_ADDRESSES $CUB_ANY6"
	for port in $CUB_ANY4; do
		case " $CUB_ANY6 " in
		*" $port "*) ;;
		*)	addresses="$addresses 0.0.0.0:$port" ;;
		esac
	done
	for port in $addresses; do
		case $CUB_HEARD in
		*" $port "*) ;;         # uhttpd listens once to what is named twice
		*)	echo "listen $port${3:+ $3}" ;;
		esac
		CUB_HEARD="$CUB_HEARD $port "
	done
}

# A path as uhttpd takes it, with or without slashes around it, as a pattern.
cub_below() {
	local path="/${1#/}"

	path="${path%/}"
	echo "${path:-/}"
}

# "/url=/path": what begins with /url is asked for below /path, /url included; without =/path, below the CGI prefix.
cub_alias() {
	local url path="$CUB_PREFIX"

	url="$(cub_below "${1%%=*}")"
	case $1 in
	*=*)	path="$(cub_below "${1#*=}")" ;;
	esac
	cub_line rewrite "$url" "${path%/}$url"
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
	if [ -n "$user" ] && [ -n "$password" ]; then
		cub_password "$prefix" "$user" "$password"
	else
		cub_told "httpauth '$1' has no user or no password"
	fi
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
	cub_number "$section" max_connections 4096 clients
	cub_number "$section" max_requests 4096 scripts
	cub_number "$section" script_timeout 86400 timeout backend
	cub_number "$section" network_timeout 86400 timeout body
	cub_number "$section" network_timeout 86400 timeout send
	cub_number "$section" http_keepalive 86400 timeout idle
	config_get value "$section" http_keepalive
	[ "$value" != 0 ] || echo 'timeout idle 1'      # off over there; no less can be said here
	echo 'log errors syslog warn'

	cub_each "$section" index_page cub_index
	config_get value "$section" cgi_prefix /cgi-bin
	CUB_PREFIX="$(cub_below "$value")"
	cub_each "$section" alias cub_alias
	cub_line cgi "${CUB_PREFIX%/}/"
	cub_each "$section" interpreter cub_interpreter
	config_get value "$section" error_page
	[ -z "$value" ] || cub_line error 404 "/${value#/}"
	config_get_bool value "$section" no_dirlists 0
	[ "$value" = 1 ] || echo 'listing /'

	cub_each "$section" httpauth cub_user
	config_get value "$section" config
	[ -z "$value" ] || cub_httpd_conf "$value"
	[ -z "$CUB_INDEX" ] || echo "index$CUB_INDEX"
	cub_access
	[ -z "$CUB_AUTH" ] || echo "${CUB_AUTH#?}"
	cub_strange "$section"
	config_get value "$section" include
	[ -z "$value" ] || cub_line include "$value"
}

# cub_mend FILE: leave out what this program does not take, and tell of it: a feature that is not built in must not cost
# the others.  Where it listens and who may ask is never left out.
cub_mend() {
	local said line number='' drop=''

	said="$("$CUB_PROGRAM" -t -f "$1" 2>&1 >/dev/null)" && return
	while read -r line; do
		case $line in
		"$1":[0-9]*:*) ;;
		*)	continue ;;
		esac
		number="${line#"$1":}"
		number="${number%%:*}"
		case $(sed -n "${number}p" "$1") in
		listen* | allow* | auth*) ;;
		*)	cub_told "$line"
			drop="$drop${number}d;" ;;
		esac
	done <<-E
		$said
	E
	[ -z "$drop" ] || sed -i "$drop" "$1"
}
