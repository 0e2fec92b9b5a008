//! Who may use the console: over loopback the users that the kernel vouches for, from elsewhere those who know the
//! password.

use std::collections::HashMap;
use std::hint::black_box;
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use nix::unistd::{Uid, User};

use crate::config::{Control, Secret};
use crate::system::sockets::{self, canonical};

/// What is to be done with a connection.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Let in.
    Admitted,
    /// Let in who knows this.
    Password(Secret),
    /// Turned away.
    Refused {
        /// Who came, for the log: a user or an address.
        who: String,
        /// Why, for him and for the log.
        why: String,
    },
}

/// Judges a connection from `peer` to our end of it, `ours`. Takes a fraction of a second at worst.
pub fn judge(control: &Control, peer: SocketAddr, ours: SocketAddr) -> Verdict {
    let (peer, ours) = (canonical(peer), canonical(ours));
    if !peer.ip().is_loopback() {
        return match &control.password {
            Some(password) if !password.0.is_empty() => Verdict::Password(password.clone()),
            _ => refused(peer.ip().to_string(), "connections that are not loopback need control.password"),
        };
    }
    match owner_of(peer, ours) {
        Ok(Some(uid)) if is_allowed(control, uid) => Verdict::Admitted,
        Ok(Some(uid)) => {
            let who = User::from_uid(uid).ok().flatten().map_or(format!("uid {uid}"), |user| user.name);
            refused(who, "only root and the users named in control.users may use this console")
        }
        Ok(None) => refused(peer.ip().to_string(), "the kernel does not say whose connection this is"),
        Err(error) => refused(peer.ip().to_string(), &format!("cannot find out whose connection this is: {error}")),
    }
}

/// Compares without telling, by the time it takes, how much of the password was right.
pub fn is_password(attempt: &str, password: &Secret) -> bool {
    let (attempt, password) = (attempt.as_bytes(), password.0.as_bytes());
    let difference = attempt.iter().zip(password).fold(0, |found, (a, b)| black_box(found | (a ^ b)));
    attempt.len() == password.len() && difference == 0
}

/// Bounds what is logged of refusals: each source once, then how often it came again, at most every
/// [`Refusals::QUIET`]; no more than [`Refusals::SOURCES`] sources in that time.
#[derive(Debug, Default)]
pub struct Refusals {
    /// When each source was last told of, and how often it came since.
    told: HashMap<String, (Duration, u64)>,
}

impl Refusals {
    /// Time during which a source is not told of again.
    pub const QUIET: Duration = Duration::from_secs(600);
    /// Most sources remembered.
    pub const SOURCES: usize = 64;

    /// Whether to log a refusal of `who` now, and how many went unlogged before. `now` is monotonic.
    pub fn tell(&mut self, who: &str, now: Duration) -> Option<u64> {
        if let Some((at, unlogged)) = self.told.get_mut(who) {
            if now.saturating_sub(*at) < Refusals::QUIET {
                *unlogged += 1;
                return None;
            }
            *at = now;
            return Some(std::mem::take(unlogged));
        }
        if self.told.len() >= Refusals::SOURCES {
            self.told.retain(|_, (at, _)| now.saturating_sub(*at) < Refusals::QUIET);
        }
        if self.told.len() >= Refusals::SOURCES {
            return None;
        }
        self.told.insert(who.to_owned(), (now, 0));
        Some(0)
    }
}

fn refused(who: String, why: &str) -> Verdict {
    Verdict::Refused { who, why: why.to_owned() }
}

fn is_allowed(control: &Control, uid: Uid) -> bool {
    // Names are looked up each time: users come and go while we run. Root needs no look-up.
    uid.is_root()
        || control.users.iter().any(|name| User::from_name(name).ok().flatten().is_some_and(|user| user.uid == uid))
}

/// The user whose socket is at `peer`, connected to `ours`; `None` if there is no such socket, or none that still
/// belongs to a process.
///
/// A socket that was closed is shown with uid 0 and inode 0, and the kernel reads the two one after the other. So the
/// same socket has to be seen with the same user twice: a closing one does not stay alive for a second look.
fn owner_of(peer: SocketAddr, ours: SocketAddr) -> io::Result<Option<Uid>> {
    const TRIES: u32 = 3;
    let look_up = || sockets::find("tcp", |socket| socket.owner_between(peer, ours));
    for attempt in 0..TRIES {
        if attempt > 0 {
            thread::sleep(Duration::from_millis(30));
        }
        if let Some((uid, inode)) = look_up()? {
            if look_up()? == Some((uid, inode)) {
                return Ok(Some(Uid::from_raw(uid)));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn the_kernel_knows_our_own_connections_until_they_are_closed() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (server, peer) = listener.accept().unwrap();
            let ours = server.local_addr().unwrap();
            assert_eq!(owner_of(peer, ours).unwrap(), Some(Uid::current()), "{address}");
            drop(client);
            assert_eq!(owner_of(peer, ours).unwrap(), None, "{address}");
        }
    }

    #[test]
    fn root_and_the_named_users_are_allowed() {
        let control = |users: &[&str]| Control {
            address: "127.0.0.1".parse().unwrap(),
            port: 4451,
            users: users.iter().map(|&name| name.to_owned()).collect(),
            password: None,
        };
        let nobody = User::from_name("nobody").unwrap().unwrap().uid;
        assert!(is_allowed(&control(&[]), Uid::from_raw(0)));
        assert!(is_allowed(&control(&["no-such-user", "nobody"]), nobody));
        assert!(!is_allowed(&control(&["root", "no-such-user"]), nobody));
    }

    #[test]
    fn connections_from_elsewhere_are_asked_for_the_password_if_there_is_one() {
        let mut control = Control { address: "0.0.0.0".parse().unwrap(), port: 4451, users: vec![], password: None };
        let (peer, ours) = ("192.0.2.7:50000".parse().unwrap(), "192.0.2.1:4451".parse().unwrap());
        assert!(matches!(judge(&control, peer, ours), Verdict::Refused { .. }));
        control.password = Some(Secret(String::new()));
        assert!(matches!(judge(&control, peer, ours), Verdict::Refused { .. }));
        control.password = Some(Secret("getout".to_owned()));
        assert!(matches!(judge(&control, peer, ours), Verdict::Password(_)));
    }

    #[test]
    fn only_the_whole_password_is_right() {
        let password = Secret("getout".to_owned());
        assert!(is_password("getout", &password));
        for wrong in ["", "getou", "getouT", "getoutt", "Getout"] {
            assert!(!is_password(wrong, &password), "{wrong}");
        }
    }

    #[test]
    fn refusals_are_logged_once_a_source_and_in_bounded_number() {
        let (mut refusals, minute) = (Refusals::default(), Duration::from_secs(60));
        assert_eq!(refusals.tell("nobody", minute), Some(0));
        assert_eq!(refusals.tell("nobody", 2 * minute), None);
        assert_eq!(refusals.tell("192.0.2.7", 2 * minute), Some(0));
        assert_eq!(refusals.tell("nobody", 3 * minute), None);
        assert_eq!(refusals.tell("nobody", 11 * minute), Some(2));

        let logged = (0..10_000).filter(|n| refusals.tell(&n.to_string(), 12 * minute).is_some()).count();
        assert!(logged < Refusals::SOURCES);
        assert_eq!(refusals.told.len(), Refusals::SOURCES);
        assert_eq!(refusals.tell("new", 60 * minute), Some(0), "old ones make room");
    }
}
