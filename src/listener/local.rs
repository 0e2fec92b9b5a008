//! Finds out which user of this machine a connection over loopback belongs to.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use nix::unistd::Uid;

use crate::listener::sockets::{self, canonical};

/// How long to wait before a connection whose user was not found is looked for again.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(30);

/// At most this many times a connection is looked for.
const LOOKS: u32 = 3;

/// A connection whose user is not known yet.
pub(super) struct Arrival {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    ours: SocketAddr,
    looks: u32,
}

/// User and inode of a socket. The inode tells it from those that had, or will have, the same ends.
type SocketOwner = (u32, u64);

impl Arrival {
    /// A connection that was just accepted; `None` if it is over already.
    pub(super) fn new(stream: TcpStream, peer: SocketAddr) -> Option<Arrival> {
        let ours = canonical(stream.local_addr().ok()?);
        Some(Arrival { stream, peer: canonical(peer), ours, looks: 1 })
    }

    /// Whether the client has left again.
    pub(super) fn is_over(&self) -> bool {
        let peeked = self.stream.set_nonblocking(true).and_then(|()| self.stream.peek(&mut [0]));
        let is_over = match peeked {
            Ok(count) => count == 0,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        };
        is_over || self.stream.set_nonblocking(false).is_err()
    }

    /// Counts another look for it.
    ///
    /// # Errors
    /// With the connection, if it was looked for often enough.
    pub(super) fn look_again(self) -> Result<Arrival, Arrival> {
        if self.looks < LOOKS { Ok(Arrival { looks: self.looks + 1, ..self }) } else { Err(self) }
    }

    /// Both ends, in the order in which the kernel lists them for the client's socket.
    fn ends(&self) -> (SocketAddr, SocketAddr) {
        (self.peer, self.ours)
    }
}

/// The user of each of these connections. It is `None` if the client's socket is not found, or belongs to no process any
/// more. However many connections there are, the kernel's table is read twice.
///
/// Why twice: a socket that was closed is shown with uid 0, which is root's, and inode 0. The kernel reads the two one
/// after the other, so a socket that is just being closed may be shown with uid 0 and its inode. At the second look it
/// has none.
///
/// # Errors
/// If the table cannot be read.
pub(super) fn users(arrivals: &[Arrival]) -> io::Result<Vec<Option<Uid>>> {
    let (first, second) = (owners(arrivals)?, owners(arrivals)?);
    let user = |arrival: &Arrival| {
        let owner = first.get(&arrival.ends())?;
        (second.get(&arrival.ends()) == Some(owner)).then(|| Uid::from_raw(owner.0))
    };
    Ok(arrivals.iter().map(user).collect())
}

fn owners(arrivals: &[Arrival]) -> io::Result<HashMap<(SocketAddr, SocketAddr), SocketOwner>> {
    let wanted: HashSet<_> = arrivals.iter().map(Arrival::ends).collect();
    let mut found = HashMap::new();
    if !wanted.is_empty() {
        sockets::find("tcp", |socket| {
            let ends = (socket.local, socket.remote);
            if let Some(owner) = socket.owner().filter(|_| wanted.contains(&ends)) {
                found.insert(ends, owner);
            }
            (found.len() == wanted.len()).then_some(())
        })?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;

    #[test]
    fn the_kernel_knows_our_own_connections_until_they_are_closed() {
        let listeners = ["127.0.0.1:0", "[::1]:0"].map(TcpListener::bind);
        let listeners: Vec<_> = listeners.into_iter().flatten().collect();
        let mut clients: Vec<_> =
            listeners.iter().map(|listener| TcpStream::connect(listener.local_addr().unwrap()).unwrap()).collect();
        let accepted = listeners.iter().map(|listener| listener.accept().unwrap());
        let arrivals: Vec<Arrival> = accepted.filter_map(|(stream, peer)| Arrival::new(stream, peer)).collect();
        assert_eq!(users(&arrivals).unwrap(), vec![Some(Uid::current()); arrivals.len()]);
        clients.remove(0);
        let mut left = vec![Some(Uid::current()); arrivals.len()];
        left[0] = None;
        assert_eq!(users(&arrivals).unwrap(), left);
    }

    #[test]
    fn a_client_that_has_left_is_told_from_one_that_waits_or_has_spoken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connect = || {
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (stream, peer) = listener.accept().unwrap();
            (client, Arrival::new(stream, peer).unwrap())
        };
        let (client, silent) = connect();
        assert!(!silent.is_over());
        drop(client);
        // Loopback delivers at once.
        assert!(silent.is_over());
        let (mut client, speaking) = connect();
        client.write_all(b"ctl\n").unwrap();
        drop(client);
        assert!(!speaking.is_over());
    }

    #[test]
    fn a_connection_is_looked_for_three_times() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let peer = stream.local_addr().unwrap();
        let mut arrival = Ok(Arrival::new(stream, peer).unwrap());
        for _ in 1..LOOKS {
            arrival = arrival.and_then(Arrival::look_again);
            assert!(arrival.is_ok());
        }
        assert!(arrival.and_then(Arrival::look_again).is_err());
    }
}
