//! Who waits for packets and connections on this machine.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;

use crate::listener::sockets;

/// A protocol with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Protocol {
    Udp,
    Tcp,
}

/// A socket that waits for packets or connections from anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listener {
    pub protocol: Protocol,
    pub address: SocketAddr,
    /// Names of the programs that hold it, where they can be told: only root sees those of others. Several, because
    /// what a program starts may inherit its sockets, as an AGI script inherits Asterisk's.
    pub programs: Vec<String>,
}

impl Listener {
    /// Whether it is of a program of this name.
    pub(super) fn is_of(&self, program: &str) -> bool {
        self.programs.iter().any(|name| name == program)
    }
}

/// All of this network namespace.
pub(super) fn listeners() -> Vec<Listener> {
    let programs = programs();
    let mut found = Vec::new();
    for (name, protocol, waits) in
        [("udp", Protocol::Udp, sockets::UNCONNECTED), ("tcp", Protocol::Tcp, sockets::LISTEN)]
    {
        // Where the table cannot be read, nobody is seen to listen.
        let _ = sockets::find(name, |socket| {
            if socket.state == waits {
                let programs = programs.get(&socket.inode).cloned().unwrap_or_default();
                found.push(Listener { protocol, address: socket.local, programs });
            }
            None::<()>
        });
    }
    found
}

/// The names of the programs that hold each socket, by its inode.
fn programs() -> HashMap<u64, Vec<String>> {
    let mut programs: HashMap<u64, Vec<String>> = HashMap::new();
    let folders = fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in folders.map(|folder| folder.path()) {
        // A process may end while we look, and those of others are not ours to see.
        let Ok(name) = fs::read_to_string(process.join("comm")) else { continue };
        for file in fs::read_dir(process.join("fd")).into_iter().flatten().flatten() {
            let target = fs::read_link(file.path()).unwrap_or_default();
            let inode = target.to_str().and_then(|target| target.strip_prefix("socket:[")?.strip_suffix(']'));
            if let Some(inode) = inode.and_then(|inode| inode.parse().ok()) {
                let names = programs.entry(inode).or_default();
                if names.iter().all(|known| known != name.trim_end()) {
                    names.push(name.trim_end().to_owned());
                }
            }
        }
    }
    programs
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream, UdpSocket};

    #[test]
    fn our_own_sockets_are_found_with_our_name_and_a_connection_is_none() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (tcp, udp, client) =
            (tcp.local_addr().unwrap(), udp, TcpStream::connect(tcp.local_addr().unwrap()).unwrap());
        let found = listeners();
        let find = |address| found.iter().find(|listener| listener.address == address);
        let name = fs::read_to_string("/proc/self/comm").unwrap();
        for (address, protocol) in [(tcp, Protocol::Tcp), (udp.local_addr().unwrap(), Protocol::Udp)] {
            let listener = find(address);
            assert_eq!(listener.map(|listener| listener.protocol), Some(protocol));
            assert!(listener.is_some_and(|listener| listener.is_of(name.trim_end())), "{listener:?}");
        }
        assert_eq!(find(client.local_addr().unwrap()), None);
    }
}
