#!/usr/bin/env bash
# Draws the icon's PNG files anew from icon.svg. Needs rsvg-convert (Debian: librsvg2-bin), resvg or inkscape.
set -euo pipefail
cd "$(dirname "$0")"

draw() {
  if command -v rsvg-convert >/dev/null; then
    rsvg-convert --width "$1" --height "$1" --output "$2" icon.svg
  elif command -v resvg >/dev/null; then
    resvg --width "$1" --height "$1" icon.svg "$2"
  elif command -v inkscape >/dev/null; then
    inkscape --export-type=png --export-width="$1" --export-height="$1" --export-filename="$2" icon.svg
  else
    echo "nothing here draws SVG: install rsvg-convert, resvg or inkscape" >&2
    exit 1
  fi
}

for size in 16 24 32 48 64 128 256 512; do
  draw "$size" "icon-$size.png"
done
