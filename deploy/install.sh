#!/usr/bin/env bash
# From a bare Debian 12 or Ubuntu 24.04 to https, in one command, as root, from a checkout of Frontdesk:
#
#   deploy/install.sh voice.example.com
#
# The name must lead to this machine, and ports 80 and 443 be open: Caddy gets the certificate. Running it again is
# harmless: it keeps settings, secrets, database and Caddyfile, and installs the checkout's code.
#   --tls internal   a certificate of Caddy's own authority, for a machine without a public name
set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=deploy/frontdesk
. "$here/frontdesk"

NAME='' TLS=''
while (($#)); do
	case $1 in
	--tls)
		TLS="tls ${2:?--tls takes: internal}"
		shift
		;;
	-*) stop "unknown option $1" ;;
	*) NAME=$1 ;;
	esac
	shift
done

[ "$(id -u)" = 0 ] || stop "needs root"
[[ $NAME =~ ^[a-z0-9.-]+$ ]] || stop "say under which name: deploy/install.sh voice.example.com"

install_packages() {
	say "Installing PostgreSQL, Redis, Caddy and Python"
	export DEBIAN_FRONTEND=noninteractive
	apt-get -q update
	apt-get -q -y install --no-install-recommends ca-certificates python3 python3-venv postgresql redis-server caddy util-linux
	python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || stop "needs Python 3.11 or newer: Debian 12, Ubuntu 24.04"
}

start() {
	if has_systemd; then
		systemctl enable --quiet --now "$1"
	else
		service "$1" start
	fi
}

make_user() {
	id frontdesk >/dev/null 2>&1 || useradd --system --home-dir "$DATA" --shell /usr/sbin/nologin --user-group frontdesk
	install -d -m 700 -o frontdesk -g frontdesk "$DATA" "$BACKUPS"
	install -d -m 755 "$ROOT" "$ROOT/releases"
}

as_postgres() { (cd / && runuser -u postgres -- "$@"); }

make_database() {
	local deadline=$((SECONDS + 30))
	until as_postgres psql -qtAc 'SELECT 1' >/dev/null 2>&1; do
		((SECONDS < deadline)) || stop "PostgreSQL does not answer"
		sleep 1
	done
	[ "$(as_postgres psql -tAc "SELECT 1 FROM pg_roles WHERE rolname = 'frontdesk'")" = 1 ] || as_postgres createuser frontdesk
	[ "$(as_postgres psql -tAc "SELECT 1 FROM pg_database WHERE datname = 'frontdesk'")" = 1 ] ||
		as_postgres createdb --owner=frontdesk --encoding=UTF8 --template=template0 --locale=C.UTF-8 frontdesk
}

# Secrets are made once. Whoever loses DATA_KEYS loses what they encrypt: keep a copy where the backups are not.
make_settings() {
	[ ! -e "$SETTINGS" ] || return 0
	say "Writing $SETTINGS"
	local port
	port=$(as_postgres psql -tAc 'SHOW port')
	(
		umask 077
		python3 - "$NAME" "$DATA" "${port#5432}" >"$SETTINGS.new" <<'PYTHON'
import base64, secrets, sys
name, data, port = sys.argv[1:]
print(f"""# The settings of Frontdesk: .env.example in /opt/frontdesk/current explains each. After a change:
#   systemctl restart 'frontdesk-serve@*' frontdesk-worker
# Keep a copy of DATA_KEYS in a safe place away from the backups: without it their secrets cannot be read.
DEBUG=false
SECRET_KEY={secrets.token_urlsafe(50)}
DATA_KEYS={base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()}
ALLOWED_HOSTS={name}
# PostgreSQL on this machine knows the user by its socket: there is no password.
DATABASE_URL=postgres://{port and ":" + port}/frontdesk
REDIS_URL=redis://127.0.0.1:6379/0
DATA_DIR={data}
TRUSTED_PROXIES=1
DRAIN_SECONDS=600
OPENAI_API_KEY=""")
PYTHON
	)
	mv "$SETTINGS.new" "$SETTINGS"
}

# It takes its place when it is right, and is loaded there and then: a run that stops later on leaves nothing half done.
make_caddyfile() {
	local file=/etc/caddy/Caddyfile
	! grep -qs 'Written by deploy/install.sh' "$file" || return 0
	sed -e "s|@NAME@|$NAME|; s|@TLS@|$TLS|" "$RELEASE/deploy/Caddyfile" >"$file.new"
	caddy fmt --overwrite "$file.new"
	caddy validate --adapter caddyfile --config "$file.new" >/dev/null 2>&1 ||
		stop "the Caddyfile is wrong: caddy validate --adapter caddyfile --config $file.new"
	if [ -e "$file" ] && [ ! -e "$file.before-frontdesk" ]; then
		cp "$file" "$file.before-frontdesk"
	fi
	chmod 644 "$file.new"
	mv "$file.new" "$file"
	! has_systemd || systemctl restart caddy
}

make_administrator() {
	local password
	[ "$(manage shell -v0 -c 'from django.contrib.auth.models import User; print(User.objects.filter(is_superuser=True).exists())')" = False ] || return 0
	password=${ADMIN_PASSWORD:-$(python3 -c 'import secrets; print(secrets.token_urlsafe(15))')}
	GIVEN=("DJANGO_SUPERUSER_PASSWORD=$password")
	manage createsuperuser --noinput --username admin --email "admin@$NAME" >/dev/null
	GIVEN=()
	if [ -n "${ADMIN_PASSWORD:-}" ]; then
		say "Administrator: admin, with the password that was given"
	else
		say "Administrator: admin, password $password (shown this once; change it in the admin)"
	fi
}

start_all() {
	if ! has_systemd; then
		say "systemd does not run here: units are installed, and nothing of ours was started"
		return 0
	fi
	if [ -n "$(running_ports)" ]; then
		replace_processes
	else
		systemctl enable --quiet --now "frontdesk-serve@${PORTS[0]}" frontdesk-worker
		wait_ready "${PORTS[0]}"
	fi
	systemctl enable --quiet --now frontdesk-backup.timer
	systemctl enable --quiet --now caddy
}

# The authority of `--tls internal` is this machine's own: it trusts itself, and browsers need its root.crt.
trust_internal() {
	local root=/var/lib/caddy/.local/share/caddy/pki/authorities/local/root.crt deadline=$((SECONDS + 30))
	if [ -z "$TLS" ] || ! has_systemd; then return 0; fi
	until [ -s "$root" ]; do
		((SECONDS < deadline)) || stop "Caddy has made no certificate: journalctl -u caddy"
		sleep 1
	done
	install -m 644 "$root" /usr/local/share/ca-certificates/frontdesk-caddy.crt
	update-ca-certificates >/dev/null
}

install_packages
start postgresql
start redis-server
make_user
make_database
make_settings
build
install_units
migrate
change_over
make_caddyfile
make_administrator
start_all
trust_internal
remove_old_releases
say "Installed. Next: set OPENAI_API_KEY in $SETTINGS (or a key for each clinic in https://$NAME/admin/), and restart."
if has_systemd; then
	say "frontdesk doctor says:"
	manage doctor --url "https://$NAME" || say "Something is left to do: see above."
fi
