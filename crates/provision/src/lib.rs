//! Making a host.
