//! Connections from elsewhere, until they have proved that they may use the server.
//!
//! An address that failed has to wait before it may try again, longer each time. When all places are taken, the one who
//! has been asked for longest makes room, so that strangers who keep silent keep nobody out.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// At most this many strangers are asked to prove themselves at a time...
const MAX_ASKED: usize = 16;

/// ...and at most this many from one address, or one /64 of IPv6.
const MAX_FROM_ONE: usize = 2;

/// At most this many threads serve strangers. A thread whose stranger had to make room may take a moment to end.
pub(super) const MAX_THREADS: usize = 2 * MAX_ASKED;

/// At most this many addresses that failed are remembered. The one that may try again soonest is forgotten first.
const MAX_FAILED: usize = 1024;

/// How long an address has to wait after its first failure. It doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest time that an address has to wait.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// How long an address is remembered after its wait is over.
const MEMORY: Duration = Duration::from_secs(3600);

/// Why a stranger is not asked at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TurnedAway {
    /// There is no place for him.
    TooMany,
    /// His address has failed, and has to wait this much longer.
    Wait(Duration),
}

/// All strangers, and the addresses that failed.
#[derive(Default)]
pub(super) struct Strangers(Arc<Mutex<Register>>);

#[derive(Default)]
struct Register {
    /// In the order in which they came.
    asked: Vec<Unproven>,
    failed: HashMap<IpAddr, Failed>,
    next_number: u64,
}

struct Unproven {
    number: u64,
    source: IpAddr,
    stream: TcpStream,
    /// Whether he had to make room for another.
    made_room: bool,
}

#[derive(Clone, Copy, Debug)]
struct Failed {
    times: u32,
    /// When its wait is over, on the monotonic clock.
    until: Duration,
}

/// A stranger who is being asked. His place is free again when this is dropped.
pub(super) struct Stranger {
    register: Arc<Mutex<Register>>,
    number: u64,
    source: IpAddr,
}

impl Strangers {
    /// Takes a place for a connection from this address. `now` is monotonic.
    ///
    /// # Errors
    /// If there is no place, or the address has to wait.
    pub(super) fn take(&self, address: IpAddr, stream: &TcpStream, now: Duration) -> Result<Stranger, TurnedAway> {
        let stream = stream.try_clone().map_err(|_: io::Error| TurnedAway::TooMany)?;
        let source = source(address);
        let mut register = lock(&self.0);
        register.may_come(source, now)?;
        let number = register.next_number;
        register.next_number += 1;
        register.asked.push(Unproven { number, source, stream, made_room: false });
        Ok(Stranger { register: Arc::clone(&self.0), number, source })
    }
}

impl Stranger {
    /// He has proved himself. The failures of his address are forgotten.
    pub(super) fn proved(self) {
        lock(&self.register).failed.remove(&self.source);
    }

    /// He has failed to prove himself. `now` is monotonic.
    pub(super) fn failed(self, now: Duration) {
        lock(&self.register).remember(self.source, now);
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        lock(&self.register).asked.retain(|asked| asked.number != self.number);
    }
}

impl Register {
    fn may_come(&mut self, source: IpAddr, now: Duration) -> Result<(), TurnedAway> {
        let left = self.failed.get(&source).map_or(Duration::ZERO, |failed| failed.until.saturating_sub(now));
        if !left.is_zero() {
            return Err(TurnedAway::Wait(left));
        }
        let from_there = self.asked.iter().filter(|asked| asked.source == source).count();
        if from_there >= MAX_FROM_ONE || self.asked.len() >= MAX_THREADS {
            return Err(TurnedAway::TooMany);
        }
        let mut waiting = self.asked.iter_mut().filter(|asked| !asked.made_room);
        if let Some(longest) = waiting.next().filter(|_| waiting.count() + 1 >= MAX_ASKED) {
            longest.made_room = true;
            // His thread notices that the connection is closed. It does no harm if it was closed already.
            let _ = longest.stream.shutdown(Shutdown::Both);
        }
        Ok(())
    }

    fn remember(&mut self, source: IpAddr, now: Duration) {
        if self.failed.len() >= MAX_FAILED && !self.failed.contains_key(&source) {
            self.failed.retain(|_, failed| now < failed.until + MEMORY);
            if self.failed.len() >= MAX_FAILED {
                let soonest = self.failed.iter().min_by_key(|(_, failed)| failed.until).map(|(source, _)| *source);
                soonest.map(|source| self.failed.remove(&source));
            }
        }
        let before = self.failed.get(&source).filter(|failed| now < failed.until + MEMORY).map_or(0, |it| it.times);
        let wait = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(before)).min(LONGEST_WAIT);
        self.failed.insert(source, Failed { times: before.saturating_add(1), until: now + wait });
    }
}

/// What counts as one source: an address of IPv4, or a /64 of IPv6, which belongs to one customer.
fn source(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

/// A panic ends the program, so no lock is ever found poisoned.
fn lock(register: &Mutex<Register>) -> MutexGuard<'_, Register> {
    register.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpListener;

    /// A connection, and its other end.
    fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (listener.accept().unwrap().0, client)
    }

    fn address(number: u32) -> IpAddr {
        IpAddr::from(0xc633_6400_u32.wrapping_add(number).to_be_bytes())
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn who_is_asked_longest_makes_room_and_one_address_gets_two_places() {
        let (strangers, (stream, mut client)) = (Strangers::default(), connection());
        let (other, _far) = connection();
        let first = strangers.take(address(0), &stream, seconds(0)).unwrap();
        let second = strangers.take(address(0), &other, seconds(0)).unwrap();
        let third = strangers.take(address(0), &other, seconds(0));
        assert_eq!(third.err(), Some(TurnedAway::TooMany));
        let _more: Vec<Stranger> =
            (2..MAX_ASKED as u32).map(|number| strangers.take(address(number), &other, seconds(0)).unwrap()).collect();
        client.set_nonblocking(true).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let _newest = strangers.take(address(100), &other, seconds(0)).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap(), 0, "the first one has made room");
        drop((first, second));
        assert_eq!(lock(&strangers.0).asked.len(), MAX_ASKED - 1);
    }

    #[test]
    fn threads_that_do_not_end_are_bounded() {
        let (strangers, (stream, _client)) = (Strangers::default(), connection());
        let places: Vec<_> = (0..100).map(|number| strangers.take(address(number), &stream, seconds(0))).collect();
        assert_eq!(places.iter().filter(|place| place.is_ok()).count(), MAX_THREADS);
    }

    #[test]
    fn an_address_waits_longer_each_time_until_it_proves_itself_or_is_forgotten() {
        let (strangers, (stream, _client)) = (Strangers::default(), connection());
        let v6 = |text: &str| text.parse::<IpAddr>().unwrap();
        let (one, neighbour) = (v6("2001:db8::1"), v6("2001:db8::2"));
        let mut now = seconds(10);
        for wait in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600] {
            strangers.take(one, &stream, now).unwrap().failed(now);
            let left = strangers.take(neighbour, &stream, now).err();
            assert_eq!(left, Some(TurnedAway::Wait(seconds(wait))));
            now += seconds(wait) + Duration::from_millis(1);
        }
        strangers.take(one, &stream, now).unwrap().proved();
        strangers.take(one, &stream, now).unwrap().failed(now);
        assert_eq!(strangers.take(one, &stream, now).err(), Some(TurnedAway::Wait(seconds(1))));
        strangers.take(one, &stream, now + seconds(2)).unwrap().failed(now + seconds(2));
        let later = now + seconds(4) + MEMORY;
        strangers.take(one, &stream, later).unwrap().failed(later);
        assert_eq!(strangers.take(one, &stream, later).err(), Some(TurnedAway::Wait(seconds(1))));
    }

    #[test]
    fn no_more_than_so_many_addresses_are_remembered_and_the_worst_longest() {
        let (strangers, (stream, _client)) = (Strangers::default(), connection());
        let worst = address(1_000_000);
        for second in [0, 2, 5] {
            strangers.take(worst, &stream, seconds(second)).unwrap().failed(seconds(second));
        }
        for number in 0..10_000 {
            strangers.take(address(number), &stream, seconds(6)).unwrap().failed(seconds(6));
            assert!(lock(&strangers.0).failed.len() <= MAX_FAILED);
        }
        assert_eq!(strangers.take(worst, &stream, seconds(6)).err(), Some(TurnedAway::Wait(seconds(3))));
    }
}
