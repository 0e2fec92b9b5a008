//! What the threads say to the owner: [`Event`] is the whole vocabulary of its inbox.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{SendTimeoutError, Sender, bounded};

use crate::console::request::{Ask, NotAsked, Reply, Request};
use crate::fleet::{Heard, Tell};
use crate::metrics::{Measure, Measures};
use crate::model::security::SecurityEvent;

/// Everything that can wake the owner.
#[derive(Debug)]
pub enum Event {
    /// Security events read from Asterisk in one piece, in order.
    Security(Vec<SecurityEvent>),
    /// The AMI connection changed its state.
    Ami(AmiState),
    /// How many more frames could not be read as events.
    Unread {
        /// Those of a shape that no known version of Asterisk sends.
        strange: u64,
        /// Those that were too long.
        overlong: u64,
    },
    /// Asterisk answered a Ping; it took this long.
    Pong(Duration),
    /// A console session asks; the answer goes to the sender, which never blocks the owner.
    Request(Request, Sender<Reply>),
    /// The metrics are asked for.
    Measure(Sender<Measures>),
    /// The addresses behind the host names of the white list, as resolved just now.
    Resolved(Vec<(String, Vec<IpAddr>)>),
    /// What the other PBXs say.
    Fleet(Heard),
    /// A second has passed (several at once are one).
    Tick,
    /// SIGHUP: read configuration and white list again, reopen the log.
    Reload,
    /// SIGTERM or SIGINT: stop cleanly.
    Shutdown,
}

/// State of the connection to Asterisk, told for each change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AmiState {
    /// Logged in; the text is Asterisk's greeting, such as `Asterisk Call Manager/11.0.0`.
    Up {
        /// Asterisk's greeting line.
        greeting: String,
    },
    /// Logged in, but Asterisk has not sent the event of our own login: the user may not read security events.
    Deaf,
    /// The connection is lost, or could not be made.
    Down {
        /// What happened, for the log.
        why: String,
        /// Time until the next try.
        retry: Duration,
    },
    /// Asterisk refused user or secret: a matter for the administrator, not of the network.
    Refused {
        /// Asterisk's message.
        why: String,
        /// Time until the next try.
        retry: Duration,
    },
}

/// How the metrics are asked for, in at most two seconds.
pub fn measuring(inbox: Sender<Event>) -> Measure {
    const PATIENCE: Duration = Duration::from_secs(1);
    Arc::new(move || {
        let (reply, measures) = bounded(1);
        inbox.send_timeout(Event::Measure(reply), PATIENCE).ok()?;
        measures.recv_timeout(PATIENCE).ok()
    })
}

/// How a console session puts its requests into this inbox.
pub fn asking(inbox: Sender<Event>) -> Ask {
    Arc::new(move |request, reply, patience| {
        inbox.send_timeout(Event::Request(request, reply), patience).map_err(|error| match error {
            SendTimeoutError::Timeout(_) => NotAsked::Busy,
            SendTimeoutError::Disconnected(_) => NotAsked::Gone,
        })
    })
}

/// How the threads of the fleet put what they hear into this inbox.
pub fn hearing(inbox: Sender<Event>) -> Tell {
    Arc::new(move |heard| inbox.send(Event::Fleet(heard)).is_ok())
}
