#!/bin/sh
# The root filesystem is mounted at $NEWROOT: go into the deployment.
. /usr/lib/backstop/enter-deployment.sh
# systemd shares all mounts, and a shared one cannot be moved.
mount --make-rprivate /
backstop_main "$NEWROOT" || die "backstop: no deployment was mounted"
