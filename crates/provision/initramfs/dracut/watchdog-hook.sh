#!/bin/sh
# Before anything that could hang: a trial is watched from here on.
. /usr/lib/backstop/enter-deployment.sh
backstop_watchdog
backstop_store
