//! Reads nf_tables from the kernel itself. The program `nft` fetches all elements of all sets even to show one, or none
//! (1.0.6: nine seconds for 260,000), and its text differs by version; the kernel's messages do not.
//!
//! Only reads. The numbers are those of `linux/netlink.h`, `linux/netfilter/nfnetlink.h` and
//! `linux/netfilter/nf_tables.h`.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::libc;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

/// At most this many bytes come in one message of the kernel.
const BUFFER: usize = 32 * 1024;

/// At most this many seconds is an answer waited for: it comes at once, or never.
const PATIENCE: i64 = 5;

/// A listing that another program's change interrupts is asked for again at most this often.
const TRIES: usize = 5;

const HEADER: usize = 16;
/// Family, version, resource: what each message of netfilter begins with.
const GENERIC: usize = 4;
const SUBSYSTEM: u16 = 10 << 8;
const INET: u8 = 1;

/// Bits of a message's flags.
const REQUEST: u16 = 1;
const DUMP: u16 = 0x300;
const INTERRUPTED: u16 = 0x10;
/// Bit of an attribute's type, which says that it holds others.
const NESTED: u16 = 1 << 15;
const TYPE_MASK: u16 = 0x3fff;

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Table = 1,
    Chains = 4,
    Rules = 7,
    Sets = 10,
    Elements = 13,
    Generation = 16,
    Object = 19,
}

/// A connection with nf_tables of the network namespace that it was opened in.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: OwnedFd,
    sequence: Cell<u32>,
}

/// What the kernel answered instead.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// There is no such thing.
    NotThere,
    Failed(io::Error),
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoAnswer::NotThere => f.write_str("the kernel's nf_tables cannot be read: there is no such table"),
            NoAnswer::Failed(error) => write!(f, "the kernel's nf_tables cannot be read: {error}"),
        }
    }
}

impl From<io::Error> for NoAnswer {
    fn from(error: io::Error) -> NoAnswer {
        match error.raw_os_error() {
            Some(libc::ENOENT) => NoAnswer::NotThere,
            _ => NoAnswer::Failed(error),
        }
    }
}

impl Netlink {
    pub(super) fn open() -> io::Result<Netlink> {
        let protocol = SockProtocol::NetlinkNetFilter;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::seconds(PATIENCE))?;
        Ok(Netlink { socket, sequence: Cell::new(0) })
    }

    /// A number that every change of nf_tables in this network namespace makes larger by one, whoever makes it.
    pub(super) fn generation(&self) -> Result<u32, NoAnswer> {
        self.get(Ask::Generation, &[], |answer| answer.number(1))
    }

    /// Everything of a kind, in the order of the kernel. `read` takes what it wants of each message.
    pub(super) fn list<T>(
        &self,
        what: Ask,
        attributes: &[u8],
        mut read: impl FnMut(Attributes<'_>, &mut Vec<T>),
    ) -> Result<Vec<T>, NoAnswer> {
        for _ in 0..TRIES {
            let mut found = Vec::new();
            match self.ask(what, true, attributes, |answer| read(answer, &mut found)) {
                Err(NoAnswer::Failed(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                asked => return asked.map(|()| found),
            }
        }
        Err(NoAnswer::Failed(io::Error::other("other programs change it all the time")))
    }

    /// The one thing that the attributes name.
    pub(super) fn get<T>(
        &self,
        what: Ask,
        attributes: &[u8],
        read: impl Fn(Attributes<'_>) -> Option<T>,
    ) -> Result<T, NoAnswer> {
        let mut found = None;
        self.ask(what, false, attributes, |answer| found = read(answer))?;
        found.ok_or_else(|| NoAnswer::Failed(io::ErrorKind::InvalidData.into()))
    }

    fn ask(
        &self,
        what: Ask,
        dump: bool,
        attributes: &[u8],
        mut each: impl FnMut(Attributes<'_>),
    ) -> Result<(), NoAnswer> {
        self.sequence.set(self.sequence.get().wrapping_add(1));
        let sequence = self.sequence.get();
        let flags = if dump { REQUEST | DUMP } else { REQUEST };
        let message = message(SUBSYSTEM | what as u16, flags, sequence, attributes);
        sendto(self.socket.as_raw_fd(), &message, &NetlinkAddr::new(0, 0), MsgFlags::empty())
            .map_err(io::Error::from)?;
        let mut buffer = vec![0; BUFFER];
        let mut interrupted = false;
        loop {
            let length = match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Err(nix::errno::Errno::EINTR) => continue,
                received => received.map_err(io::Error::from)?,
            };
            for answer in messages(&buffer[..length]).filter(|answer| answer.sequence == sequence) {
                interrupted |= answer.flags & INTERRUPTED != 0;
                match answer.kind {
                    Kind::Done if interrupted => return Err(io::Error::from(io::ErrorKind::Interrupted).into()),
                    Kind::Done => return Ok(()),
                    Kind::Error(0) => return Ok(()),
                    Kind::Error(errno) => return Err(io::Error::from_raw_os_error(errno).into()),
                    Kind::Data => {
                        each(Attributes(answer.payload.get(GENERIC..).unwrap_or_default()));
                        if !dump {
                            return Ok(());
                        }
                    }
                }
            }
        }
    }
}

/// Attributes of a message, or within another attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attributes<'a>(pub &'a [u8]);

impl<'a> Attributes<'a> {
    /// All of them, each with its type.
    pub(super) fn iter(self) -> impl Iterator<Item = (u16, &'a [u8])> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let length = usize::from(u16::from_ne_bytes([*rest.first()?, *rest.get(1)?]));
            let kind = u16::from_ne_bytes([*rest.get(2)?, *rest.get(3)?]) & TYPE_MASK;
            let value = rest.get(4..length)?;
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            Some((kind, value))
        })
    }

    /// The first of a type.
    pub(super) fn get(self, wanted: u16) -> Option<&'a [u8]> {
        self.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
    }

    /// Those within the first of a type.
    pub(super) fn within(self, wanted: u16) -> Option<Attributes<'a>> {
        self.get(wanted).map(Attributes)
    }

    /// A text, which ends in a zero.
    pub(super) fn text(self, wanted: u16) -> Option<&'a str> {
        let text = std::str::from_utf8(self.get(wanted)?).ok()?;
        Some(text.trim_end_matches('\0'))
    }

    pub(super) fn number(self, wanted: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(wanted)?.try_into().ok()?))
    }

    pub(super) fn long_number(self, wanted: u16) -> Option<u64> {
        Some(u64::from_be_bytes(self.get(wanted)?.try_into().ok()?))
    }
}

/// An attribute of a request.
pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = 4 + value.len();
    let mut bytes = Vec::with_capacity(length.next_multiple_of(4));
    bytes.extend(u16::try_from(length).unwrap_or(u16::MAX).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(length.next_multiple_of(4), 0);
    bytes
}

/// An attribute that holds others.
pub(super) fn nested(kind: u16, within: &[u8]) -> Vec<u8> {
    attribute(kind | NESTED, within)
}

/// A text with the zero at its end.
pub(super) fn text(kind: u16, value: &str) -> Vec<u8> {
    attribute(kind, &[value.as_bytes(), b"\0"].concat())
}

fn message(kind: u16, flags: u16, sequence: u32, attributes: &[u8]) -> Vec<u8> {
    let length = HEADER + GENERIC + attributes.len();
    let mut bytes = Vec::with_capacity(length);
    bytes.extend(u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend([INET, 0, 0, 0]);
    bytes.extend(attributes);
    bytes
}

struct Message<'a> {
    kind: Kind,
    flags: u16,
    sequence: u32,
    payload: &'a [u8],
}

enum Kind {
    /// The last of a listing.
    Done,
    /// An errno, or 0 for success.
    Error(i32),
    Data,
}

fn messages(bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    const ERROR: u16 = 2;
    const DONE: u16 = 3;
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let header = rest.get(..HEADER)?;
        let short = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
        let long = |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let length = usize::try_from(long(0)).ok()?;
        let payload = rest.get(HEADER..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        let kind = match short(4) {
            DONE => Kind::Done,
            ERROR => Kind::Error(-payload.first_chunk().map_or(0, |errno| i32::from_ne_bytes(*errno))),
            _ => Kind::Data,
        };
        Some(Message { kind, flags: short(6), sequence: long(8), payload })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_as_they_are_written() {
        let bytes = [text(1, "sipban"), nested(3, &attribute(1, &7_u32.to_be_bytes())), attribute(5, b"x")].concat();
        let attributes = Attributes(&bytes);
        assert_eq!(attributes.text(1), Some("sipban"));
        assert_eq!(attributes.within(3).unwrap().number(1), Some(7));
        assert_eq!(attributes.get(5), Some(&b"x"[..]));
        assert_eq!(attributes.get(2), None);
        assert_eq!(attributes.iter().count(), 3);
    }

    #[test]
    fn a_message_is_read_as_it_is_written() {
        let bytes = [message(SUBSYSTEM | 1, REQUEST, 9, &text(1, "t")), message(3, 0, 10, &[])].concat();
        let mut messages = messages(&bytes);
        let first = messages.next().unwrap();
        assert!(matches!(first.kind, Kind::Data) && (first.flags, first.sequence) == (REQUEST, 9));
        assert_eq!(Attributes(&first.payload[GENERIC..]).text(1), Some("t"));
        assert!(matches!(messages.next().unwrap().kind, Kind::Done));
        assert!(messages.next().is_none());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_are_too_strange_to_read(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64)) {
            for message in messages(&bytes) {
                Attributes(message.payload).iter().count();
            }
            Attributes(&bytes).long_number(1);
        }
    }
}
