#!/usr/bin/env sh
# Installs Lapidary from this folder for one person (~/.local), or elsewhere: ./install.sh /usr/local
# `./install.sh --remove [PREFIX]` takes it away again. Projects and their data are never touched.
set -eu
cd "$(dirname "$0")"

remove=no
if [ "${1:-}" = --remove ]; then
  remove=yes
  shift
fi
prefix="${1:-$HOME/.local}"

find bin share -type f | while read -r file; do
  if [ "$remove" = yes ]; then
    rm -f "$prefix/$file"
  else
    mkdir -p "$prefix/$(dirname "$file")"
    cp "$file" "$prefix/$file.new"
    mv "$prefix/$file.new" "$prefix/$file"
  fi
done

# What desktops keep of these folders is made anew, where they have the tools; others look by themselves.
[ -d "$prefix/share/mime/packages" ] && command -v update-mime-database >/dev/null && update-mime-database "$prefix/share/mime" || true
[ -d "$prefix/share/applications" ] && command -v update-desktop-database >/dev/null && update-desktop-database "$prefix/share/applications" || true
[ -d "$prefix/share/icons/hicolor" ] && touch "$prefix/share/icons/hicolor" || true

if [ "$remove" = yes ]; then
  echo "Lapidary is gone from $prefix"
else
  echo "Lapidary is in $prefix; start it with $prefix/bin/lapidary"
fi
