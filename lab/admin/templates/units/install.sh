#!/bin/sh
# Installs the units beside it[[ "" if system else " for this user" ]] and starts them. Written by `lab units`; again does no harm.
set -eu
cd "$(dirname "$0")"
[% if system %]
units=/etc/systemd/system config=/etc/sharelab
systemctl() { command systemctl "$@"; }
[% else %]
units=${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user config=${XDG_CONFIG_HOME:-$HOME/.config}/sharelab
systemctl() { command systemctl --user "$@"; }
[% endif %]
mkdir -p "$units" "$config"
[% if coordinator %]
new=$(cmp -s sharelab-coordinator.service "$units/sharelab-coordinator.service" || echo yes)
was=$(systemctl is-active sharelab-coordinator.service || true)
[% endif %]
cp ./*.service "$units/"
[% if exporters %]
[# power ports may have passwords in their URLs #]
for file in ./*.yaml; do install -m 600 "$file" "$config/"; done
[% endif %]
systemctl daemon-reload
systemctl enable --quiet [[ units | join(" ") ]]
[% if coordinator %]
systemctl start sharelab-coordinator.service
[ "$was" != active ] || [ -z "$new" ] ||
    echo "changed, but still running as before: a restart of sharelab-coordinator takes everybody's board away" >&2
[% endif %]
systemctl restart [[ units | reject("equalto", "sharelab-coordinator.service") | join(" ") ]]
[% if not system %]
loginctl enable-linger 2>/dev/null ||
    echo "without lingering they end with your last login: loginctl enable-linger" >&2
[% endif %]
systemctl --no-pager --no-legend --plain list-units "sharelab-*"
