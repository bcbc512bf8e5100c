#!/bin/sh
# Numba reads its cache only where it may write too, so on a read-only root file system the kernels of the image (8 MB) go
# to /tmp first. A kernel that is not among them is compiled there.
set -eu
if [ ! -d "$NUMBA_CACHE_DIR" ]; then
    cp -R "${LEVER_KERNELS:-/opt/lever/kernels}" "$NUMBA_CACHE_DIR.$$"
    mv "$NUMBA_CACHE_DIR.$$" "$NUMBA_CACHE_DIR"
fi
exec lever "$@"
