//! Speaks with the kernel's nf_tables itself: reads all of it, and makes elements come and go.
//!
//! The program `nft` fetches all elements of all sets even to show one, or none (1.0.6: nine seconds for 260,000), its
//! text differs by version, and to start it takes longer than a block. Chains, rules and sets are made by it all the
//! same: what they are in bytes differs by version too.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use super::batch::{self, Batch};
use super::wire::{Attributes, DUMP, GENERIC, INTERRUPTED, Kind, REQUEST, SUBSYSTEM, message, messages};

/// At most this many bytes come in one message of the kernel.
const BUFFER: usize = 32 * 1024;

/// At most this many seconds is an answer waited for: it comes at once, or never.
const PATIENCE: i64 = 5;

/// At most this many bytes are in one transaction. The kernel takes that from a container too, which may not ask for more,
/// and larger ones are no quicker.
const TRANSACTION: usize = 128 << 10;

/// At most this many elements may be changed in one transaction.
pub(super) const ROOM: usize = TRANSACTION / batch::MOST_BYTES;

/// A listing that another program's change interrupts is asked for again at most this often.
const TRIES: usize = 5;

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
        setsockopt(&socket, sockopt::SndBuf, &TRANSACTION)?;
        Ok(Netlink { socket, sequence: Cell::new(0) })
    }

    /// Has the elements of a table's sets changed as `write` says, in one transaction. With `after` only if the number of
    /// the kernel's last change is this one; kernels before 4.12 do not look at it.
    ///
    /// # Errors
    /// The kernel's own, where it took nothing; ERESTART if the number is another one. What became of the transaction is
    /// not known if the error [`leaves_open`] it.
    pub(super) fn commit(&self, table: &str, after: Option<u32>, write: impl FnOnce(&mut Batch<'_>)) -> io::Result<()> {
        let sequence = self.next();
        let mut batch = Batch::begin(table, sequence, after);
        write(&mut batch);
        match batch.end() {
            Some(bytes) => self.converse(&bytes, sequence, false, |_| {}),
            None => Ok(()),
        }
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

    fn ask(&self, what: Ask, dump: bool, attributes: &[u8], each: impl FnMut(Attributes<'_>)) -> Result<(), NoAnswer> {
        let sequence = self.next();
        let flags = if dump { REQUEST | DUMP } else { REQUEST };
        let message = message(SUBSYSTEM | what as u16, flags, sequence, attributes);
        Ok(self.converse(&message, sequence, dump, each)?)
    }

    fn next(&self) -> u32 {
        self.sequence.set(self.sequence.get().wrapping_add(1));
        self.sequence.get()
    }

    /// Sends messages that have this number, and takes the first answer to them, or all parts of a listing.
    fn converse(
        &self,
        sent: &[u8],
        sequence: u32,
        listing: bool,
        mut each: impl FnMut(Attributes<'_>),
    ) -> io::Result<()> {
        sendto(self.socket.as_raw_fd(), sent, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        let mut buffer = vec![0; BUFFER];
        let mut interrupted = false;
        loop {
            let length = match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                // The kernel had more to say of a transaction that it refused than there is room for; the first comes.
                Err(Errno::EINTR | Errno::ENOBUFS) => continue,
                received => received?,
            };
            for answer in messages(&buffer[..length]).filter(|answer| answer.sequence == sequence) {
                interrupted |= answer.flags & INTERRUPTED != 0;
                match answer.kind {
                    Kind::Done if interrupted => return Err(io::ErrorKind::Interrupted.into()),
                    Kind::Done | Kind::Error(0) => return Ok(()),
                    Kind::Error(errno) => {
                        self.forget_answers();
                        return Err(io::Error::from_raw_os_error(errno));
                    }
                    Kind::Data => {
                        each(Attributes(answer.payload.get(GENERIC..).unwrap_or_default()));
                        if !listing {
                            return Ok(());
                        }
                    }
                }
            }
        }
    }

    /// Makes room for the next answer. All there are to what was refused have come together.
    fn forget_answers(&self) {
        let next = || recv(self.socket.as_raw_fd(), &mut [0], MsgFlags::MSG_DONTWAIT);
        while matches!(next(), Ok(_) | Err(Errno::EINTR | Errno::ENOBUFS)) {}
    }
}

/// Whether it is open what became of a transaction: no answer came.
pub(super) fn leaves_open(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EAGAIN)
}
