//! What the network looks like from `/proc`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use crate::report::Listener;

/// The listeners of system services. Where systemd runs, those of people's own
/// sessions are left out: what somebody started by hand does not come back with
/// a reboot, and that says nothing about the version.
pub(crate) fn listeners(proc: &Path, systemd: bool) -> std::io::Result<BTreeSet<Listener>> {
    let mut sockets = BTreeMap::new();
    for name in ["net/tcp", "net/tcp6"] {
        match std::fs::read_to_string(proc.join(name)) {
            Ok(table) => sockets.extend(listening(&table)),
            // A kernel without IPv6.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && name == "net/tcp6" => {}
            Err(e) => return Err(e),
        }
    }
    let ephemeral = first_ephemeral_port(proc);
    sockets.retain(|_, listener| listener.port < ephemeral);
    if systemd {
        let by_services = held_by_services(proc);
        sockets.retain(|inode, _| by_services.contains(inode));
    }
    Ok(sockets.into_values().collect())
}

/// The listening sockets in `/proc/net/tcp` or `tcp6`, by inode.
fn listening(table: &str) -> BTreeMap<u64, Listener> {
    let socket = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let local = fields.nth(1)?;
        let state = fields.nth(1)?;
        let inode = fields.nth(5)?.parse().ok()?;
        let (address, port) = local.split_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        let address = address_from_hex(address)?;
        (state == "0A").then_some((inode, Listener { address, port }))
    };
    table.lines().skip(1).filter_map(socket).collect()
}

/// The kernel prints addresses as native 32-bit words in hex.
fn address_from_hex(hex: &str) -> Option<IpAddr> {
    let word = |i: usize| {
        let word = u32::from_str_radix(hex.get(i * 8..i * 8 + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    match hex.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let mut bytes = [0; 16];
            for i in 0..4 {
                bytes[i * 4..i * 4 + 4].copy_from_slice(&word(i)?);
            }
            Some(IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical())
        }
        _ => None,
    }
}

/// Ports from here on are handed out at random.
fn first_ephemeral_port(proc: &Path) -> u16 {
    let range = std::fs::read_to_string(proc.join("sys/net/ipv4/ip_local_port_range"));
    let first = |range: String| range.split_ascii_whitespace().next()?.parse().ok();
    range.ok().and_then(first).unwrap_or(32768)
}

/// The inodes of the sockets that system services, or systemd for them, hold.
fn held_by_services(proc: &Path) -> BTreeSet<u64> {
    let mut held = BTreeSet::new();
    let Ok(processes) = std::fs::read_dir(proc) else {
        return held;
    };
    for process in processes.flatten() {
        let path = process.path();
        let cgroup = std::fs::read_to_string(path.join("cgroup")).unwrap_or_default();
        if !cgroup.lines().any(of_a_service) {
            continue;
        }
        let Ok(files) = std::fs::read_dir(path.join("fd")) else {
            continue;
        };
        held.extend(files.flatten().filter_map(|fd| socket_inode(&fd.path())));
    }
    held
}

/// Whether a line of `/proc/PID/cgroup` is a system service's, or systemd's own.
fn of_a_service(line: &str) -> bool {
    let path = line.rsplit(':').next().unwrap_or_default();
    path.starts_with("/system.slice/") || path == "/init.scope"
}

fn socket_inode(fd: &Path) -> Option<u64> {
    let target = std::fs::read_link(fd).ok()?;
    let inode = target.to_str()?.strip_prefix("socket:[")?;
    inode.strip_suffix(']')?.parse().ok()
}

/// The listeners of before that nothing stands in for now. A port counts as
/// served when something listens on it for the same kind of peer: an address
/// may change, but what could be reached from outside must still be.
pub(crate) fn missing(before: &BTreeSet<Listener>, now: &BTreeSet<Listener>) -> Vec<Listener> {
    let serves = |old: &Listener, new: &Listener| {
        let from_outside = !new.address.is_loopback();
        let same_reach = from_outside || old.address.is_loopback();
        new.port == old.port && same_reach
    };
    let gone = |old: &&Listener| !now.iter().any(|new| serves(old, new));
    before.iter().filter(gone).copied().collect()
}

/// Whether there is a default route, by IPv4 or IPv6.
pub(crate) fn has_default_route(proc: &Path) -> std::io::Result<bool> {
    let v4 = std::fs::read_to_string(proc.join("net/route"))?;
    let v6 = std::fs::read_to_string(proc.join("net/ipv6_route")).unwrap_or_default();
    Ok(v4.lines().skip(1).any(is_default_v4) || v6.lines().any(is_default_v6))
}

fn is_default_v4(line: &str) -> bool {
    let fields: Vec<_> = line.split_ascii_whitespace().collect();
    let up = |flags: &&str| u32::from_str_radix(flags, 16).is_ok_and(|f| f & 1 != 0);
    fields.get(1) == Some(&"00000000")
        && fields.get(7) == Some(&"00000000")
        && fields.get(3).is_some_and(up)
}

/// The kernel keeps a rejecting default route on `lo`; it leads nowhere.
fn is_default_v6(line: &str) -> bool {
    let fields: Vec<_> = line.split_ascii_whitespace().collect();
    let zero = |field: &&str| field.bytes().all(|b| b == b'0');
    fields.first().is_some_and(zero)
        && fields.get(1) == Some(&"00")
        && fields.get(9).is_some_and(|device| *device != "lo")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Listener {
        let socket: std::net::SocketAddr = text.parse().unwrap();
        Listener {
            address: socket.ip(),
            port: socket.port(),
        }
    }

    #[test]
    fn listening_sockets_are_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 x\n\
            1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4243 1 x\n\
            2: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 4244 1 x\n\
            3: 00000000000000000000000001000000:0050 0 0A 0:0 00:0 0 0 0 4245 1 x\n\
            garbage\n";
        let found: Vec<_> = listening(table).into_iter().collect();
        let wanted = [
            (4242, at("0.0.0.0:22")),
            (4243, at("127.0.0.1:8080")),
            (4245, at("[::1]:80")),
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn a_listener_may_move_but_not_go() {
        let table = [
            ("0.0.0.0:22", vec!["0.0.0.0:22"], false),
            ("0.0.0.0:22", vec!["[::]:22"], false),
            ("10.0.0.1:22", vec!["10.0.0.2:22"], false),
            ("0.0.0.0:22", vec!["127.0.0.1:22"], true),
            ("127.0.0.1:25", vec!["0.0.0.0:25"], false),
            ("127.0.0.1:25", vec!["[::1]:25"], false),
            ("0.0.0.0:22", vec!["0.0.0.0:2222"], true),
            ("0.0.0.0:22", vec![], true),
        ];
        for (before, now, gone) in table {
            let now = now.into_iter().map(at).collect();
            let missing = missing(&BTreeSet::from([at(before)]), &now);
            assert_eq!(!missing.is_empty(), gone, "{before} {now:?}");
        }
    }

    #[test]
    fn default_routes_are_told_from_others() {
        let v4 = "eth0\t00000000\t0202000A\t0003\t0\t0\t0\t00000000\t0\t0\t0";
        assert!(is_default_v4(v4));
        assert!(!is_default_v4(&v4.replace("0003", "0002")));
        assert!(!is_default_v4(
            "eth0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0"
        ));
        let zeros = "0".repeat(32);
        let v6 = |device| format!("{zeros} 00 {zeros} 00 {zeros} 00000400 1 0 00000003 {device}");
        assert!(is_default_v6(&v6("eth0")));
        assert!(!is_default_v6(&v6("lo")));
    }

    #[test]
    fn services_are_told_from_sessions() {
        assert!(of_a_service("0::/system.slice/ssh.service"));
        assert!(of_a_service("0::/init.scope"));
        assert!(!of_a_service("0::/user.slice/user-0.slice/session-1.scope"));
    }
}
