# Sourced by demo/run and demo/wordpress: whom to run as, children that end with us, php-fpm, and the server itself.
# shellcheck shell=sh

set -eu
umask 022
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
top=$(cd "${0%/*}/.." && pwd)
httpd=${CUBHTTPD:-$top/cubhttpd}
case $httpd in /*) ;; *) httpd=$PWD/$httpd ;; esac
port=${PORT:-8000}
secure_port=${SECURE_PORT:-$([ "$port" = 0 ] && echo 0 || echo 8443)}
address=${ADDRESS:-127.0.0.1}   # '*' lets others in, a telephone for instance

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "$@"; exit 1; }

# -- whom to run as ----------------------------------------------------------------------------------

user=                           # who runs all this; empty: who called us
as_user() {                     # COMMAND...: becomes it, so call it with & or in parentheses
	[ -n "$user" ] || exec "$@"
	exec setpriv --reuid="$user" --regid="$(id -g "$user")" --clear-groups "$@"
}

# Nothing here needs root.  Called by root, it goes on as nobody, as long as nobody can enter the folder.
choose_user() {                 # FOLDER
	[ "$(id -u)" = 0 ] || return 0
	user=nobody
	if ! (as_user test -x "$1") 2>/dev/null; then
		say "nobody cannot enter $1: all runs as root"
		user=
	fi
}

# Makes the folder, sets dir to its full name, and keeps a second one of us out of it, as long as a child lives.
enter() {                       # FOLDER
	[ -x "$httpd" ] || die "$httpd is not there: run make first"
	mkdir -p "$1"
	dir=$(cd "$1" && pwd)
	exec 9>"$dir/lock"
	flock -n 9 || die "in $dir another one is at work"
	choose_user "$dir"
}

own() {                         # FOLDER...: made, and given to whoever runs all this
	mkdir -p "$@"
	[ -z "$user" ] || chown -R "$user:$(id -g "$user")" "$@"
}

# -- children ----------------------------------------------------------------------------------------

children=                       # process ids, the youngest first
adopt() { children="$! $children"; }

end_children() {
	trap '' INT TERM HUP
	for child in $children; do      # the server first, then what is behind it
		kill "$child" 2>/dev/null || :
		wait "$child" || :
	done
	children=
	wait
}
trap end_children EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

await() {                       # COMMAND...: until it succeeds, for a minute, while the youngest child lives
	tries=600
	until "$@" >/dev/null 2>&1; do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] && kill -0 "${children%% *}" 2>/dev/null || return 1
		sleep 0.1
	done
}

# -- php-fpm -----------------------------------------------------------------------------------------

find_php() {                    # prints the newest php-fpm, or nothing
	for found in /usr/local/sbin/php-fpm* /usr/sbin/php-fpm*; do
		[ ! -x "$found" ] || printf '%s\n' "$found"
	done | sort -V | tail -n 1
}

# A php-fpm of our own on FOLDER/php.sock.  A kept connection holds a worker, so the server's `scripts` is not above
# pm.max_children.
start_php() {                   # PROGRAM FOLDER
	[ "${#2}" -lt 95 ] || die "the path of $2 is too long for a unix socket"
	rm -f "$2/php.sock"
	cat >"$2/php-fpm.conf" <<-END
		[global]
		error_log = $2/php-fpm.log
		daemonize = no
		[demo]
		listen = $2/php.sock
		listen.mode = 0600
		pm = ondemand
		pm.max_children = 4
		catch_workers_output = yes
		access.log = $2/php-access.log
		access.format = "%m %f %s"
		php_admin_value[upload_max_filesize] = 64M
		php_admin_value[post_max_size] = 64M
		php_admin_value[upload_tmp_dir] = $2
		php_admin_value[session.save_path] = $2
		php_admin_value[sendmail_path] = /bin/true
	END
	root=
	[ "$(id -u)" != 0 ] || [ -n "$user" ] || {
		printf 'user = root\ngroup = root\n' >>"$2/php-fpm.conf"
		root=--allow-to-run-as-root
	}
	own "$2"
	as_user "$1" --nodaemonize --fpm-config "$2/php-fpm.conf" $root 2>"$2/php-fpm.err" & adopt
	await test -S "$2/php.sock" || { cat "$2/php-fpm.err" >&2; die "php-fpm did not start"; }
}

# -- the server --------------------------------------------------------------------------------------

port_of() { printf '%s' "${1##*:}"; }

# The words that make it speak HTTPS too, with a certificate of its own in FOLDER; none where it cannot.
secure() {                      # FOLDER
	case $("$httpd" -V) in *'CONFIG_TLS 1'*) ;; *) return 0 ;; esac
	printf '%s\n' --listen "$address:$secure_port" tls --state "$1"
}

# Starts it with these words, says so once it listens, and stays until it ends.  Its log comes through a fifo, because
# the line that says where it listens is the event to wait for, and holds the ports when PORT is 0.
serve() {                       # FOLDER PATH WORD...
	fifo=$1/stderr path=$2
	shift 2
	rm -f "$fifo"
	mkfifo "$fifo"
	"$httpd" "$@" --listen "$address:$port" ${user:+--user "$user"} 2>"$fifo" & adopt
	server=$!
	exec 3<"$fifo"
	while IFS= read -r line <&3; do
		printf '%s\n' "$line" >&2
		case $line in
		*' listens on '*)
			also=
			case $line in *', '*) also=", and https://localhost:$(port_of "${line%,*}")$path" ;; esac
			printf 'http://localhost:%s%s is ready%s, until Ctrl-C\n' "${line##*:}" "$path" "$also"
			cat <&3 >&2 &   # ends by itself, when the server has
			break ;;
		esac
	done
	exec 3<&-
	wait "$server"
}
