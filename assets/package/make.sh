#!/usr/bin/env bash
# Builds what is handed out, for Linux machines like the one that it runs on: a tar.gz that needs no package manager,
# and a Debian package where cargo-deb is installed. Both end up in the build folder, under `dist`.
set -euo pipefail
cd "$(dirname "$0")/../.."
target="${CARGO_TARGET_DIR:-target}"
version="$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)"
dist="$target/dist"
name="lapidary-$version-$(uname -m)-$(uname -s | tr '[:upper:]' '[:lower:]')"

cargo build --release --locked

stage="$dist/$name"
rm -rf "$stage"
put() { install -D -m "$1" "$2" "$stage/$3"; }
put 755 "$target/release/lapidary" bin/lapidary
strip "$stage/bin/lapidary"
put 644 assets/package/lapidary.desktop share/applications/lapidary.desktop
put 644 assets/package/lapidary.xml share/mime/packages/lapidary.xml
put 644 assets/package/icon.svg share/icons/hicolor/scalable/apps/lapidary.svg
for size in 16 24 32 48 64 128 256 512; do
  put 644 "assets/package/icon-$size.png" "share/icons/hicolor/${size}x$size/apps/lapidary.png"
done
for page in assets/manual/*.md; do
  put 644 "$page" "share/doc/lapidary/manual/$(basename "$page")"
done
for page in CHANGELOG.md LICENSE-APACHE LICENSE-MIT; do
  put 644 "$page" "share/doc/lapidary/$page"
done
put 755 assets/package/install.sh install.sh
# Owners and order do not depend on who packs.
tar --create --gzip --owner=0 --group=0 --sort=name --file "$dist/$name.tar.gz" --directory "$dist" "$name"
rm -rf "$stage"
echo "$dist/$name.tar.gz"

if cargo deb --version >/dev/null 2>&1; then
  cargo deb --no-build --output "$dist/"
else
  echo "no Debian package: \`cargo install cargo-deb --locked\`, then run this again"
fi
