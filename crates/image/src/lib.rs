//! Image hosts.
