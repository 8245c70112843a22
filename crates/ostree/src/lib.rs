//! OSTree repositories, in the format that `ostree` reads and writes.
