//! The kernel's tables of sockets, as `/proc` shows them.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, SocketAddr};

use crate::file::of_network;

/// One line of a table. Its form is given by the kernel's `proc_net_tcp.rst`:
/// `sl local_address rem_address st tx_queue:rx_queue tr:when retrnsmt uid timeout inode ...`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Socket {
    /// The end of this socket; see [`canonical`].
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// The state of a TCP connection; UDP borrows its numbers.
    pub state: u8,
    /// The user who made it; 0 also once it is closed.
    pub uid: u32,
    /// Its number, by which `/proc/PID/fd` names it; 0 once it is closed.
    pub inode: u64,
}

/// A TCP socket that waits for connections.
pub(crate) const LISTEN: u8 = 0x0a;

/// States of a TCP connection whose handshake is not complete, and of one that this side begins.
const UNPROVED: [u8; 4] = [0x02, 0x03, LISTEN, 0x0c];

/// A UDP socket that takes packets from anybody.
pub(crate) const UNCONNECTED: u8 = 0x07;

/// Hands over the sockets of a protocol, `tcp` or `udp`, in this network namespace, until `each` has found what it
/// wants. IPv4 connections are in the IPv6 table when they were made through an IPv6 socket.
///
/// # Errors
/// If a table cannot be read.
pub(crate) fn find<T>(protocol: &str, mut each: impl FnMut(Socket) -> Option<T>) -> io::Result<Option<T>> {
    for table in [of_network(protocol), of_network(&format!("{protocol}6"))] {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{table}: {error}"));
        let file = match File::open(&table) {
            Ok(file) => file,
            // A kernel without IPv6 has no such table.
            Err(error) if error.kind() == io::ErrorKind::NotFound && table.ends_with('6') => continue,
            Err(error) => return Err(named(error)),
        };
        let found = find_in(BufReader::new(file), &mut each).map_err(named)?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// The address without the scope and flow of IPv6, and an IPv4 address in its own form.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn find_in<T>(table: impl BufRead, mut each: impl FnMut(Socket) -> Option<T>) -> io::Result<Option<T>> {
    for line in table.lines() {
        if let Some(found) = Socket::parse(&line?).and_then(&mut each) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

impl Socket {
    /// Whether the other end of a TCP connection has answered.
    pub(crate) fn is_connected(&self) -> bool {
        !UNPROVED.contains(&self.state)
    }

    /// Its user and inode; `None` once it is closed.
    pub(crate) fn owner(&self) -> Option<(u32, u64)> {
        (self.inode != 0).then_some((self.uid, self.inode))
    }

    /// Reads a line; `None` for the heading of a table, and for what has another form.
    fn parse(line: &str) -> Option<Socket> {
        let mut words = line.split_ascii_whitespace();
        Some(Socket {
            local: end(words.nth(1)?)?,
            remote: end(words.next()?)?,
            state: u8::from_str_radix(words.next()?, 16).ok()?,
            uid: words.nth(3)?.parse().ok()?,
            inode: words.nth(1)?.parse().ok()?,
        })
    }
}

/// Reads one end, such as `0100007F:1163`: the address in words of 32 bits in the byte order of the machine, then the
/// port.
fn end(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let digits = address.get(8 * at..8 * at + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    let ip = match address.len() {
        8 => IpAddr::from(word(0)?),
        32 => {
            let mut octets = [0; 16];
            for (at, four) in octets.chunks_exact_mut(4).enumerate() {
                four.copy_from_slice(&word(at)?);
            }
            IpAddr::from(octets)
        }
        _ => return None,
    };
    Some(canonical(SocketAddr::new(ip, port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Linux writes it on a little-endian machine.
    #[cfg(target_endian = "little")]
    const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1163 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 20001 1 0000000000000000 100 0 0 10 0
   1: 0100007F:1163 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 20002 1 0000000000000000 20 4 30 10 -1
   2: 0100007F:C350 0100007F:1163 01 00000000:00000000 00:00000000 00000000  1000        0 20003 1 0000000000000000 20 4 30 10 -1
   3: 0100007F:C351 0100007F:1163 06 00000000:00000000 03:00001770 00000000     0        0 0 3 0000000000000000
   4: 0200007F:C350 0100007F:1163 01 00000000:00000000 00:00000000 00000000     0        0 20004 1 0000000000000000 20 4 30 10 -1
";
    #[cfg(target_endian = "little")]
    const TCP6: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0000000000000000FFFF00000100007F:C352 0000000000000000FFFF00000100007F:1163 01 00000000:00000000 00:00000000 00000000  1001        0 30001 1 0000000000000000 20 4 30 10 -1
   1: 00000000000000000000000001000000:C353 00000000000000000000000001000000:1163 01 00000000:00000000 00:00000000 00000000  1002        0 30002 1 0000000000000000 20 4 30 10 -1
   2: B80D01200000000000000000EFCDAB89:0050 00000000000000000000000001000000:1163 08 00000000:00000000 00:00000000 00000000  1003        0 30003 1 0000000000000000 20 4 30 10 -1
";

    #[cfg(target_endian = "little")]
    fn uid_in(table: &str, local: &str, remote: &str) -> Option<u32> {
        let ends = (local.parse().unwrap(), remote.parse().unwrap());
        let owner = |socket: Socket| socket.owner().filter(|_| (socket.local, socket.remote) == ends);
        find_in(table.as_bytes(), owner).unwrap().map(|(uid, _)| uid)
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn the_socket_with_exactly_these_ends_is_found() {
        assert_eq!(uid_in(TCP, "127.0.0.1:50000", "127.0.0.1:4451"), Some(1000));
        assert_eq!(uid_in(TCP, "127.0.0.2:50000", "127.0.0.1:4451"), Some(0));
        assert_eq!(uid_in(TCP6, "127.0.0.1:50002", "127.0.0.1:4451"), Some(1001));
        assert_eq!(uid_in(TCP6, "[::1]:50003", "[::1]:4451"), Some(1002));
        assert_eq!(uid_in(TCP6, "[2001:db8::89ab:cdef]:80", "[::1]:4451"), Some(1003));
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn no_other_socket_will_do() {
        // Ours, the other way round, is root's; so would be a listening one and one that was closed.
        assert_eq!(uid_in(TCP, "127.0.0.1:4451", "127.0.0.1:50001"), None);
        assert_eq!(uid_in(TCP, "127.0.0.1:50000", "127.0.0.1:4452"), None);
        assert_eq!(uid_in(TCP, "127.0.0.1:50001", "127.0.0.1:4451"), None, "closed: uid 0 means nothing");
        assert_eq!(uid_in(TCP6, "127.0.0.1:50000", "127.0.0.1:4451"), None);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn a_handshake_that_is_not_complete_is_no_connection() {
        let connected = |table: &str| {
            table.lines().filter_map(Socket::parse).map(|socket| socket.is_connected()).collect::<Vec<_>>()
        };
        assert_eq!(connected(TCP), [false, true, true, true, true]);
        // SYN_SENT and SYN_RECV.
        assert_eq!(connected(&TCP.replace(" 01 ", " 02 ").replace(" 06 ", " 03 ")), [false; 5]);
    }

    #[test]
    fn what_is_not_a_line_of_the_table_is_passed_over() {
        for line in ["", "sl", "0: x y", "0: 0100007F:1163 0100007F:ZZZZ 01 a b c 0 0 1", "0: 01:1 01:1 01 a b c 0 0 1"]
        {
            assert_eq!(Socket::parse(line), None, "{line}");
        }
    }
}
