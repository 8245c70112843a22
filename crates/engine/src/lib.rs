//! The upgrade transaction.
