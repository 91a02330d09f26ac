#!/usr/bin/env sh
# Installs Lapidary from this folder for one person (~/.local), or elsewhere: ./install.sh /usr/local
# `./install.sh --remove [FOLDER]` takes it away again. Projects and their data are never touched.
set -eu
here="$(cd "$(dirname "$0")" && pwd)"

remove=no
if [ "${1:-}" = --remove ]; then
  remove=yes
  shift
fi
case "${1:-}" in
  -*)
    echo "usage: $0 [--remove] [FOLDER]" >&2
    exit 2
    ;;
  "") prefix="$HOME/.local" ;;
  /*) prefix="$1" ;;
  *) prefix="$PWD/$1" ;;
esac
cd "$here"

# A menu starts what its entry names, whether or not the folder of programs is among those that are searched.
with_path() {
  PROGRAM="$prefix/bin/lapidary" awk '
    /^Exec=lapidary / { print "Exec=\"" ENVIRON["PROGRAM"] "\"" substr($0, length("Exec=lapidary") + 1); next }
    /^TryExec=/ { print "TryExec=" ENVIRON["PROGRAM"]; next }
    { print }'
}

find bin share -type f | while read -r file; do
  if [ "$remove" = yes ]; then
    rm -f "$prefix/$file"
  else
    mkdir -p "$prefix/$(dirname "$file")"
    cp "$file" "$prefix/$file.new"
    case "$file" in
      *.desktop) with_path <"$file" >"$prefix/$file.new" ;;
    esac
    mv "$prefix/$file.new" "$prefix/$file"
  fi
done
if [ "$remove" = yes ]; then
  rmdir "$prefix/share/doc/lapidary/manual" "$prefix/share/doc/lapidary" 2>/dev/null || true
fi

# What desktops remember of these folders is made anew where the tools for it are; other desktops look by themselves.
if command -v update-mime-database >/dev/null && [ -d "$prefix/share/mime" ]; then
  update-mime-database "$prefix/share/mime" 2>/dev/null || true
fi
if command -v update-desktop-database >/dev/null && [ -d "$prefix/share/applications" ]; then
  update-desktop-database "$prefix/share/applications" || true
fi
if [ -d "$prefix/share/icons/hicolor" ]; then
  touch "$prefix/share/icons/hicolor"
fi

if [ "$remove" = yes ]; then
  echo "Lapidary is gone from $prefix"
else
  echo "Lapidary is in $prefix; it starts from the menu, or with $prefix/bin/lapidary"
fi
