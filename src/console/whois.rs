//! Asks the registries of the internet who holds an address (RFC 3912). It begins at the root of their tree and follows
//! their referrals to the one that knows.
//!
//! It runs in the thread of the session that asks, never in the owner's. INVARIANT: a record is a stranger's text. It can
//! name the next host to ask, but neither the port nor what is sent there, which is an address that we have written.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use serde::Serialize;

use crate::model::clock::Clock;
use crate::model::net;

/// At most this many bytes are read of one answer; a longer one is cut.
pub const MAX_ANSWER: usize = 64 * 1024;

/// At most this many servers are asked: the root, a regional registry, a national one, and one to spare.
const MAX_SERVERS: usize = 4;

/// Where and how long to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whois {
    /// The host asked first.
    pub root: String,
    /// The TCP port of all of them.
    pub port: u16,
    /// Time for all servers together. Only the look-up of a host name may exceed it, which has the time limits of
    /// `resolv.conf`.
    pub patience: Duration,
}

/// What the registries know of the holder of an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// The address.
    pub address: IpAddr,
    /// The server that knew most of it.
    pub server: String,
    /// Its records, without its remarks.
    pub lines: Vec<String>,
}

/// No server answered.
#[derive(Debug, thiserror::Error)]
#[error("{server}: {source}")]
pub struct Error {
    /// The host that was asked.
    pub server: String,
    /// What went wrong.
    pub source: io::Error,
}

impl Default for Whois {
    fn default() -> Whois {
        Whois { root: "whois.iana.org".to_owned(), port: 43, patience: Duration::from_secs(15) }
    }
}

impl Whois {
    /// Asks who holds this address. If a referral leads nowhere, the last line of the answer says so.
    ///
    /// # Errors
    /// If the root does not answer.
    pub fn ask(&self, address: IpAddr, clock: &Clock) -> Result<Holder, Error> {
        let deadline = Deadline { clock, at: clock.now().monotonic + self.patience };
        let ask = |server: &str| {
            let text = self.query(server, address, &deadline);
            text.map_err(|source| Error { server: server.to_owned(), source })
        };
        let mut asked = vec![self.root.clone()];
        let mut text = ask(&self.root)?;
        let mut answer = Holder { address, server: self.root.clone(), lines: records(&text) };
        while let Some(next) = self.referral(&text).filter(|next| asked.len() < MAX_SERVERS && !asked.contains(next)) {
            match ask(&next) {
                Ok(found) => text = found,
                Err(error) => {
                    answer.lines.push(format!("({} refers to {error})", answer.server));
                    break;
                }
            }
            let lines = records(&text);
            if !lines.is_empty() {
                answer = Holder { address, server: next.clone(), lines };
            }
            asked.push(next);
        }
        Ok(answer)
    }

    fn query(&self, server: &str, address: IpAddr, deadline: &Deadline<'_>) -> io::Result<String> {
        let mut stream = connect((server, self.port).to_socket_addrs()?, deadline)?;
        stream.set_write_timeout(Some(deadline.left()?))?;
        stream.write_all(question(server, address).as_bytes())?;
        read(&mut stream, deadline).map(decode)
    }

    /// The host that an answer says to ask next. Servers on other ports speak other protocols.
    fn referral(&self, text: &str) -> Option<String> {
        text.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            let value = value.trim();
            let host = match key.to_ascii_lowercase().as_str() {
                "refer" | "whois" => value,
                "referralserver" => {
                    let authority = value.strip_prefix("whois://")?.trim_end_matches('/');
                    authority.strip_suffix(&format!(":{}", self.port)).unwrap_or(authority)
                }
                _ => return None,
            };
            net::host(host)
        })
    }
}

struct Deadline<'a> {
    clock: &'a Clock,
    /// On the monotonic clock.
    at: Duration,
}

impl Deadline<'_> {
    /// The time left, which is never zero.
    ///
    /// # Errors
    /// If none is left.
    fn left(&self) -> io::Result<Duration> {
        let left = self.at.saturating_sub(self.clock.now().monotonic);
        if left.is_zero() { Err(timed_out()) } else { Ok(left) }
    }
}

fn connect(addresses: impl Iterator<Item = SocketAddr>, deadline: &Deadline<'_>) -> io::Result<TcpStream> {
    /// For one address, so that one that is not reachable, often that of IPv6, leaves time for the next.
    const EACH: Duration = Duration::from_secs(4);
    let mut failure = io::Error::new(ErrorKind::NotFound, "has no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, EACH.min(deadline.left()?)) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Reads what comes before the end, the deadline or [`MAX_ANSWER`].
///
/// # Errors
/// If nothing comes at all.
fn read(stream: &mut TcpStream, deadline: &Deadline<'_>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    while bytes.len() < MAX_ANSWER {
        let read = deadline.left().and_then(|left| {
            stream.set_read_timeout(Some(left))?;
            stream.read(&mut piece)
        });
        match read {
            Ok(0) if bytes.is_empty() => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(0) => break,
            Ok(length) => bytes.extend(&piece[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) if !bytes.is_empty() => break,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(timed_out()),
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(MAX_ANSWER);
    Ok(bytes)
}

fn timed_out() -> io::Error {
    io::Error::new(ErrorKind::TimedOut, "no answer in time")
}

/// The line to send. ARIN shows whole records only when it is asked to.
fn question(server: &str, address: IpAddr) -> String {
    let options = if server == "whois.arin.net" { "n + " } else { "" };
    format!("{options}{address}\r\n")
}

/// Some registries write UTF-8, the others ISO 8859-1.
fn decode(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| error.into_bytes().into_iter().map(char::from).collect())
}

/// The lines that are worth reading. Left out are remarks, but for the one that says whom to tell of abuse, and empty
/// lines behind others.
fn records(text: &str) -> Vec<String> {
    let is_remark = |line: &str| line.starts_with(['%', '#']) && !line.contains("Abuse contact");
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines().map(str::trim_end).filter(|line| !is_remark(line)) {
        if !line.is_empty() || lines.last().is_some_and(|last| !last.is_empty()) {
            lines.push(line.replace('\t', "    "));
        }
    }
    lines.truncate(lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn referral(text: &str) -> Option<String> {
        Whois::default().referral(text)
    }

    #[test]
    fn referrals_of_every_registry_are_understood() {
        for text in [
            "% IANA WHOIS server\n\nrefer:        whois.example.net\n\ninetnum: 192.0.2.0\nwhois: whois.example.org\n",
            "whois:        whois.example.net\r\n",
            "OrgName: X\nReferralServer:  whois://whois.example.net\n",
            "ReferralServer: whois://Whois.Example.NET:43/\n",
        ] {
            assert_eq!(referral(text).as_deref(), Some("whois.example.net"), "{text}");
        }
    }

    #[test]
    fn no_record_can_lead_us_to_another_port_or_protocol_or_make_up_a_host() {
        for text in [
            "",
            "% refer: whois.example.net\n",
            "remarks: whois: whois.example.net\n",
            "ReferralServer: rwhois://rwhois.example.net:4321\n",
            "ReferralServer: whois://127.0.0.1:5038\n",
            "ReferralServer: whois://user@example.net\n",
            "refer: whois.example.net:5038\n",
            "refer: a b\nwhois:\n",
        ] {
            assert_eq!(referral(text), None, "{text}");
        }
    }

    #[test]
    fn records_are_shown_and_terms_of_use_are_not() {
        let text = "% Terms\r\n%\r\n\r\n% Abuse contact for '192.0.2.0' is 'abuse@example.net'\r\n\r\n\r\n\
                    inetnum:\t192.0.2.0\r\n# more terms\r\n\r\nrole: R\r\n\r\n\r\n% end\r\n";
        assert_eq!(
            records(text),
            ["% Abuse contact for '192.0.2.0' is 'abuse@example.net'", "", "inetnum:    192.0.2.0", "", "role: R"]
        );
        assert_eq!(records("% nothing\n\n"), [""; 0]);
    }

    #[test]
    fn old_registries_write_iso_8859_1() {
        assert_eq!(decode(b"M\xfcnchen".to_vec()), "München");
        assert_eq!(decode("München".into()), "München");
    }
}
