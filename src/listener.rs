//! Takes TCP connections for a server. It finds out who has come, and gives a thread to each whom the server admits.
//!
//! INVARIANT: nothing that a client does or fails to do keeps out root on this machine, or delays another client.
//! - The kernel tells which user of this machine a connection over loopback belongs to. Root is let in at once, and has
//!   seats of his own.
//! - Whether other users are let in is up to the server. It is asked in a thread apart, because looking up the name of a
//!   user may take long.
//! - Strangers, who come from elsewhere, have to prove that they may use the server. They take none of its seats before
//!   they did.
//!
//! What clients can make us keep is bounded: [`Server::SEATS`] threads for root and as many for all others who are let
//! in, 32 threads for strangers, and 64 connections in front of each of the two threads that judge.

mod local;
mod refusals;
mod seats;
pub(crate) mod sockets;
mod strangers;

use std::io::{self, ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{Uid, User};

use crate::model::clock::Clock;
use local::Arrival;
use refusals::Refusals;
use seats::{Seat, Seats};
use strangers::{Strangers, TurnedAway};

/// At most this many connections over loopback wait until it is known whose they are, and as many until the server has
/// judged their users.
const MAX_WAITING: usize = 64;

/// What connections are taken for, such as the console.
pub trait Server: Send + Sync + 'static {
    /// The name of its threads and, in capitals, of its lines in the log, such as `console`.
    const NAME: &'static str;

    /// At most this many connections of root are served at a time, and as many of all others together.
    const SEATS: usize;

    /// Whether a user of this machine other than root may use the server.
    ///
    /// # Errors
    /// If not: why, in words for him and for the log.
    fn admits(&self, user: Uid) -> Result<(), String>;

    /// Serves somebody who may use the server, until he leaves.
    ///
    /// # Errors
    /// If the connection fails.
    fn serve(&self, stream: &TcpStream) -> io::Result<()>;

    /// Has a stranger prove that he may use the server. When he has, it calls [`Pass::prove`], and serves him if there is
    /// a seat.
    ///
    /// # Errors
    /// If the connection fails.
    fn receive(&self, stream: &TcpStream, pass: &mut Pass<'_>) -> io::Result<()>;
}

/// What a stranger needs to be served.
pub struct Pass<'a> {
    /// His place among the strangers, until he has proved himself.
    stranger: Option<strangers::Stranger>,
    others: &'a Seats,
    seat: Option<Seat>,
}

impl Pass<'_> {
    /// The stranger has proved that he may use the server. Returns whether there is a seat for him.
    pub fn prove(&mut self) -> bool {
        if let Some(stranger) = self.stranger.take() {
            stranger.proved();
        }
        self.seat = self.others.take();
        self.seat.is_some()
    }
}

/// Why no connections are taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Address and port cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// Address and port.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// The system cannot start a thread.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

/// Listens on this address, and also on loopback if that is not a part of it, so that root on this machine is known and
/// let in. When this returns, clients can connect, until the program ends. Returns the address with its port, which the
/// system chooses if it is 0.
///
/// # Errors
/// If an address cannot be listened on, or a thread cannot be started.
pub fn listen<S: Server>(address: SocketAddr, clock: Clock, server: Arc<S>) -> Result<SocketAddr, Error> {
    let first = bind(address)?;
    let address = first.local_addr().map_err(|source| Error::Bind { address, source })?;
    let mut sockets = vec![first];
    if !address.ip().to_canonical().is_loopback() && !address.ip().is_unspecified() {
        sockets.push(bind((Ipv4Addr::LOCALHOST, address.port()).into())?);
    }
    let (door, at_the_door) = bounded(MAX_WAITING);
    let reception = Arc::new(Reception {
        server,
        clock,
        refusals: Mutex::default(),
        root: Seats::of(S::SEATS),
        others: Seats::of(S::SEATS),
        strangers: Strangers::default(),
    });
    let here = Arc::clone(&reception);
    let judge = move || here.judge(&at_the_door);
    thread::Builder::new().name(format!("{}-door", S::NAME)).spawn(judge).map_err(Error::Thread)?;
    let take = move || reception.take_connections(&sockets, &door);
    thread::Builder::new().name(S::NAME.to_owned()).spawn(take).map_err(Error::Thread)?;
    Ok(address)
}

fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    let bound = TcpListener::bind(address).and_then(|socket| {
        // A client that has left again before it is taken must not make us wait for the next one.
        socket.set_nonblocking(true)?;
        Ok(socket)
    });
    bound.map_err(|source| Error::Bind { address, source })
}

/// What the threads of one server share.
struct Reception<S> {
    server: Arc<S>,
    clock: Clock,
    refusals: Mutex<Refusals>,
    root: Seats,
    others: Seats,
    strangers: Strangers,
}

/// What is said to a client for whom there is no seat.
pub const TOO_MANY: &str = "too many sessions";

impl<S: Server> Reception<S> {
    /// Takes connections for ever.
    fn take_connections(self: &Arc<Self>, sockets: &[TcpListener], door: &Sender<(Arrival, Uid)>) {
        let mut arrivals = Vec::new();
        let mut working = true;
        loop {
            let taken = self.take_more(sockets, &mut arrivals);
            self.tell_apart(&mut arrivals, door);
            if let Err(error) = &taken {
                if working {
                    log::warn!("{} => cannot accept connections for now: {error}", label::<S>());
                }
                // A process that is out of descriptors waits for one instead of spinning.
                thread::sleep(Duration::from_secs(1));
            }
            working = taken.is_ok();
        }
    }

    /// Waits for connections, or for the moment to look again at those that wait here, and takes those that have come.
    fn take_more(self: &Arc<Self>, sockets: &[TcpListener], arrivals: &mut Vec<Arrival>) -> io::Result<()> {
        if arrivals.is_empty() {
            wait(sockets)?;
        } else {
            thread::sleep(local::LOOK_AGAIN);
        }
        sockets.iter().try_for_each(|socket| self.take_waiting(socket, arrivals))
    }

    /// Takes the connections that wait at a socket, but not endlessly many: the other socket has its turn too.
    fn take_waiting(self: &Arc<Self>, socket: &TcpListener, arrivals: &mut Vec<Arrival>) -> io::Result<()> {
        for _ in 0..MAX_WAITING {
            if arrivals.len() >= MAX_WAITING {
                break;
            }
            match socket.accept() {
                Ok((stream, peer)) if peer.ip().to_canonical().is_loopback() => {
                    arrivals.extend(Arrival::new(stream, peer));
                }
                Ok((stream, peer)) => self.receive_stranger(stream, peer),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Lets root in, passes other users on to be judged, and keeps the connections whose user the kernel does not tell
    /// yet.
    fn tell_apart(self: &Arc<Self>, arrivals: &mut Vec<Arrival>, door: &Sender<(Arrival, Uid)>) {
        let users = match local::users(arrivals) {
            Ok(users) => users,
            Err(error) => {
                for arrival in arrivals.drain(..) {
                    let why = format!("cannot find out whose connection this is: {error}");
                    self.refuse(&arrival.stream, &arrival.peer.ip().to_string(), &why);
                }
                return;
            }
        };
        for (arrival, user) in std::mem::take(arrivals).into_iter().zip(users) {
            match user {
                Some(user) if user.is_root() => self.admit(arrival.stream, &self.root),
                Some(user) => {
                    if let Err(full) = door.try_send((arrival, user)) {
                        turn_away(&full.into_inner().0.stream, TOO_MANY);
                    }
                }
                None if arrival.is_over() => {}
                None => match arrival.look_again() {
                    Ok(arrival) => arrivals.push(arrival),
                    Err(gone) => {
                        let why = "the kernel does not say whose connection this is";
                        self.refuse(&gone.stream, &gone.peer.ip().to_string(), why);
                    }
                },
            }
        }
    }

    /// Judges the users of this machine other than root, one after the other, for ever.
    fn judge(self: &Arc<Self>, at_the_door: &Receiver<(Arrival, Uid)>) {
        for (arrival, user) in at_the_door {
            match self.server.admits(user) {
                Ok(()) => self.admit(arrival.stream, &self.others),
                Err(why) => {
                    let name = User::from_uid(user).ok().flatten().map_or(format!("uid {user}"), |user| user.name);
                    self.refuse(&arrival.stream, &name, &why);
                }
            }
        }
    }

    /// Gives a thread to somebody who may use the server, if there is a seat.
    fn admit(self: &Arc<Self>, stream: TcpStream, seats: &Seats) {
        let Some(seat) = seats.take() else { return turn_away(&stream, TOO_MANY) };
        let here = Arc::clone(self);
        self.start(move || {
            let _seat = seat;
            here.served(&stream, here.server.serve(&stream));
        });
    }

    fn receive_stranger(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let address = peer.ip().to_canonical();
        let stranger = match self.strangers.take(address, &stream, self.clock.now().monotonic) {
            Ok(stranger) => stranger,
            Err(TurnedAway::TooMany) => return turn_away(&stream, TOO_MANY),
            Err(TurnedAway::Wait(left)) => {
                return turn_away(&stream, &format!("too many failures: try again in {} s", left.as_secs() + 1));
            }
        };
        let here = Arc::clone(self);
        self.start(move || {
            let mut pass = Pass { stranger: Some(stranger), others: &here.others, seat: None };
            let outcome = here.server.receive(&stream, &mut pass);
            if let Some(stranger) = pass.stranger {
                stranger.failed(here.clock.now().monotonic);
                here.log_refusal(&address.to_string(), "no or a wrong password");
            }
            here.served(&stream, outcome);
        });
    }

    fn start(&self, work: impl FnOnce() + Send + 'static) {
        if let Err(error) = thread::Builder::new().name(format!("{}-session", S::NAME)).spawn(work) {
            log::warn!("{} => cannot start a session: {error}", label::<S>());
        }
    }

    /// A connection that failed is over. That is of interest only to somebody who looks for the cause of something.
    fn served(&self, stream: &TcpStream, outcome: io::Result<()>) {
        if let Err(error) = outcome {
            let peer = stream.peer_addr().map_or("somebody".to_owned(), |peer| peer.to_string());
            log::debug!("{} => connection from {peer} lost: {error}", label::<S>());
        }
    }

    fn refuse(&self, stream: &TcpStream, who: &str, why: &str) {
        self.log_refusal(who, why);
        turn_away(stream, why);
    }

    fn log_refusal(&self, who: &str, why: &str) {
        let now = self.clock.now().monotonic;
        // A panic ends the program, so no lock is ever found poisoned.
        match self.refusals.lock().unwrap_or_else(PoisonError::into_inner).tell(who, now) {
            Some(0) => log::warn!("{} => {who} refused: {why}", label::<S>()),
            Some(before) => {
                log::warn!("{} => {who} refused: {why} ({before} times more since last told)", label::<S>());
            }
            None => {}
        }
    }
}

/// Waits for a connection.
fn wait(sockets: &[TcpListener]) -> io::Result<()> {
    let mut polled: Vec<PollFd> = sockets.iter().map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN)).collect();
    match poll(&mut polled, PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Tells a client why it is not served. The buffer of a new connection is empty, so nothing has to be waited for; if the
/// text should not fit all the same, it is left out.
fn turn_away(stream: &TcpStream, why: &str) {
    let mut stream = stream;
    let _ = stream.set_nonblocking(true).and_then(|()| stream.write_all(format!("{why}\r\n").as_bytes()));
}

fn label<S: Server>() -> String {
    S::NAME.to_uppercase()
}
