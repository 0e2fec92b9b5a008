//! A connection to the server: commands out, answers in, each within its time and its size.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Parser, Value, cmd};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::config::{Fleet, ServerUrl};
use crate::model::clock::Clock;
use crate::tls::{self, Identity};

/// At most this many bytes has an answer: more than any that an honest member causes. A member can write entries of
/// half a gigabyte.
pub const MOST_ANSWER: usize = 4 << 20;

/// At most this long may connecting take, and each piece of an answer. A read of streams waits for less.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// At most this long may all answers to what was asked in one go take: a server that sends a byte now and then makes
/// progress for ever.
const WHOLE: Duration = Duration::from_secs(30);

/// A connection, logged in.
pub struct Server {
    wire: Wire,
    /// Keeps what was read beyond an answer.
    parser: Parser,
}

/// Why the server did not answer as it should.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// It is not there, or not as expected. The connection is of no use any more.
    #[error("{0}")]
    Lost(String),
    /// The server refused the command, in these words.
    #[error("{0}")]
    Refused(String),
    /// The answer to this command, counted from 0, is longer than [`MOST_ANSWER`]. The connection is of no use any more.
    #[error("an answer is longer than {MOST_ANSWER} bytes")]
    Overlong(usize),
}

/// Why a thread does not go on with its connection.
pub(super) enum End {
    /// The owner is gone, and so is the process.
    OwnerGone,
    /// The connection is of no use any more because of what a member wrote: not the server's fault.
    Again,
    Failed(Error),
}

impl From<Error> for End {
    fn from(error: Error) -> End {
        End::Failed(error)
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

impl Server {
    /// Connects and logs in.
    ///
    /// # Errors
    /// If it cannot be reached or does not let us in.
    pub fn connect(config: &Fleet, url: &ServerUrl) -> Result<Server, Error> {
        Server::connect_as(config, url, &config.user, config.password.as_ref().map(|secret| secret.0.as_str()))
    }

    /// The same as another user.
    ///
    /// # Errors
    /// If it cannot be reached or does not let us in.
    pub fn connect_as(config: &Fleet, url: &ServerUrl, user: &str, password: Option<&str>) -> Result<Server, Error> {
        let lost = |what: &dyn std::fmt::Display| Error::Lost(format!("{}:{}: {what}", url.host, url.port));
        let tcp = connect(url).map_err(|why| lost(&why))?;
        let clock = Clock::start();
        let line = Line { tcp, until: WHOLE, clock };
        let stream = if url.tls {
            let identity = config.certificate.as_deref().zip(config.key.as_deref());
            let identity = identity.map(|(certificate, key)| Identity { certificate, key });
            let client = tls::client(config.ca.as_deref(), identity).map_err(Error::Lost)?;
            let name = ServerName::try_from(url.host.clone()).map_err(|why| lost(&why))?;
            let connection = ClientConnection::new(Arc::clone(&client), name).map_err(|why| lost(&why))?;
            Stream::Tls(Box::new(StreamOwned::new(connection, line)))
        } else {
            Stream::Plain(line)
        };
        let mut server = Server { wire: Wire { stream, left: 0 }, parser: Parser::new() };
        if let Some(password) = password {
            let mut login = cmd("AUTH");
            if !user.is_empty() {
                login.arg(user);
            }
            server.ask(login.arg(password)).map_err(|why| match why {
                // Some servers repeat what they do not understand.
                Error::Refused(why) => {
                    let why = if password.is_empty() { why } else { why.replace(password, "...") };
                    Error::Refused(format!("the server refuses user or password ({why})"))
                }
                Error::Lost(why) => lost(&why),
                why => why,
            })?;
        }
        if url.database > 0 {
            server.ask(cmd("SELECT").arg(url.database))?;
        }
        // Without a password nothing was sent yet.
        server.ask(&cmd("PING")).map_err(|why| match why {
            Error::Lost(why) => lost(&why),
            why => why,
        })?;
        Ok(server)
    }

    /// Asks one thing.
    ///
    /// # Errors
    /// If there is no answer, or it is a refusal.
    pub fn ask(&mut self, command: &Cmd) -> Result<Value, Error> {
        self.send(&command.get_packed_command())?;
        refusal(self.receive(0)?)
    }

    /// Asks several things in one go. A refusal is an answer like others ([`refusal`]).
    ///
    /// # Errors
    /// If there are fewer answers than questions.
    pub fn ask_all(&mut self, commands: &[Cmd]) -> Result<Vec<Value>, Error> {
        self.send(&commands.iter().flat_map(Cmd::get_packed_command).collect::<Vec<u8>>())?;
        (0..commands.len()).map(|number| self.receive(number)).collect()
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let Wire { stream, .. } = &mut self.wire;
        stream.line().begin();
        stream.write_all(bytes).and_then(|()| stream.flush()).map_err(|why| Error::Lost(reason(&why)))
    }

    fn receive(&mut self, number: usize) -> Result<Value, Error> {
        self.wire.left = MOST_ANSWER;
        let answer = self.parser.parse_value(&mut self.wire);
        answer.map_err(|why| match why {
            _ if self.wire.left == 0 => Error::Overlong(number),
            why if why.is_timeout() && self.wire.stream.line().is_late() => {
                Error::Lost(format!("no whole answer within {} s", WHOLE.as_secs()))
            }
            why if why.is_timeout() => Error::Lost(format!("no answer within {} s", PATIENCE.as_secs())),
            why => Error::Lost(why.to_string()),
        })
    }
}

/// Tells a refusal from an answer.
///
/// # Errors
/// The refusal.
pub fn refusal(answer: Value) -> Result<Value, Error> {
    match answer {
        Value::ServerError(why) => {
            let words = [Some(why.code()), why.details()].into_iter().flatten();
            Err(Error::Refused(words.collect::<Vec<_>>().join(" ").chars().take(200).collect()))
        }
        answer => Ok(answer),
    }
}

fn connect(url: &ServerUrl) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (url.host.as_str(), url.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                return Ok(stream);
            }
            Err(why) => last = why,
        }
    }
    Err(last)
}

fn reason(why: &io::Error) -> String {
    match why.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => format!("no progress within {} s", PATIENCE.as_secs()),
        _ => why.to_string(),
    }
}

/// What an answer is read from, up to its bound.
struct Wire {
    stream: Stream,
    left: usize,
}

enum Stream {
    Plain(Line),
    Tls(Box<StreamOwned<ClientConnection, Line>>),
}

/// What bytes go over, until it is too late.
struct Line {
    tcp: TcpStream,
    /// By this clock.
    until: Duration,
    clock: Clock,
}

impl Stream {
    fn line(&mut self) -> &mut Line {
        match self {
            Stream::Plain(line) => line,
            Stream::Tls(stream) => &mut stream.sock,
        }
    }
}

impl Line {
    /// From now on there are [`WHOLE`] seconds.
    fn begin(&mut self) {
        self.until = self.clock.now().monotonic + WHOLE;
    }

    fn is_late(&self) -> bool {
        self.clock.now().monotonic >= self.until
    }

    fn in_time(&self) -> io::Result<()> {
        if self.is_late() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}

impl Read for Line {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.in_time()?;
        self.tcp.read(into)
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.in_time()?;
        self.tcp.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other("overlong"));
        }
        let most = into.len().min(self.left);
        let read = match &mut self.stream {
            Stream::Plain(stream) => stream.read(&mut into[..most]),
            Stream::Tls(stream) => stream.read(&mut into[..most]),
        }?;
        self.left -= read;
        Ok(read)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(stream) => stream.flush(),
            Stream::Tls(stream) => stream.flush(),
        }
    }
}

#[cfg(test)]
mod tests;
