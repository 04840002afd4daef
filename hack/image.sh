#!/usr/bin/env bash
# Copyright The regfish-issuer Authors
# SPDX-License-Identifier: Apache-2.0
#
# Usage: VERSION=... hack/image.sh TARGET ARCH IMAGE [ARCHIVE]
#
# Builds the Dockerfile's TARGET for linux/ARCH as IMAGE, with docker, podman or
# buildah: the first of them that works here, or the one that BUILDER names. With
# ARCHIVE the image is also written to that file, to be loaded where there is no
# registry. Its times are those of the commit, so the same source makes the same image.
set -euo pipefail

cd "$(dirname "$0")/.."
target=$1 arch=$2 image=$3 archive=${4:-}

epoch=$(git log -1 --format=%ct 2>/dev/null || echo 0)
common=(--target "$target" --build-arg "TARGETARCH=$arch" --build-arg "VERSION=${VERSION:-dev}" --tag "$image")

works() {
	case $1 in
	docker) command -v docker >/dev/null && docker info >/dev/null 2>&1 ;; # A client without its daemon builds nothing.
	*) command -v "$1" >/dev/null ;;
	esac
}

builder=${BUILDER:-}
for candidate in docker podman buildah; do
	[[ -n $builder ]] || ! works "$candidate" || builder=$candidate
done
[[ -n $builder ]] || { echo "make image: found neither docker with its daemon, nor podman, nor buildah" >&2; exit 1; }
works "$builder" || { echo "make image: $builder does not work here" >&2; exit 1; }

echo "building $image ($target, linux/$arch) with $builder"
case $builder in
docker)
	SOURCE_DATE_EPOCH=$epoch docker build --platform "linux/$arch" --build-arg "SOURCE_DATE_EPOCH=$epoch" "${common[@]}" .
	[[ -z $archive ]] || docker save --output "$archive" "$image"
	;;
podman)
	podman build --platform "linux/$arch" --timestamp "$epoch" "${common[@]}" .
	[[ -z $archive ]] || { rm -f "$archive"; podman save --format docker-archive --output "$archive" "$image"; }
	;;
buildah)
	# Nothing is run in these images, so no isolation is needed; vfs works in containers.
	options=(--storage-driver "${STORAGE_DRIVER:-vfs}")
	buildah "${options[@]}" build --isolation chroot --platform "linux/$arch" --timestamp "$epoch" "${common[@]}" .
	[[ -z $archive ]] || { rm -f "$archive"; buildah "${options[@]}" push "$image" "docker-archive:$archive:$image"; }
	;;
*)
	echo "make image: BUILDER is docker, podman or buildah, not $builder" >&2
	exit 1
	;;
esac
