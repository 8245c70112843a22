//! Deployments of an OSTree-format host.
