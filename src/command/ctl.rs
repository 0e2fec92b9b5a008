//! `sipban ctl COMMAND...`: one command of the console, for scripts.
//!
//! It waits for the prompt, sends `ctl` and the command, and reads the answer in the form of [`crate::console::session`]:
//! lines with a space in front, then `ok` or `error`.

mod check;

use std::fmt;
use std::io::{self, BufRead, BufReader, ErrorKind, Read as _, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use super::known::{Known, known};
use crate::cli;
use crate::config::Secret;
use crate::console::session::{PASSWORD_PROMPT, PROMPT};
use crate::failure::Failure;
use crate::logging::printable;

/// At most this many bytes of an answer are read, enough for a list of three million blocks.
const MAX_ANSWER: u64 = 256 << 20;

/// The command was done.
pub const OK: u8 = 0;
/// The command was not done: its answer is on standard error.
pub const FAILED: u8 = 1;

/// Does one command and returns the exit code: [`OK`], [`FAILED`], or of [`Failure`] `USAGE`, `UNAVAILABLE` if no
/// console answers or lets us in, `OUTPUT`. The answer goes to `out`, or to `err` when the command failed.
///
/// # Errors
/// If the configuration can be read and is wrong. Where it cannot be read, its defaults hold.
pub fn run(config_file: &Path, options: &cli::Ctl, out: &mut dyn Write, err: &mut dyn Write) -> Result<u8, Failure> {
    let Known { config, unread } = known(config_file)?;
    let control = &config.control;
    let host = options.address.unwrap_or(reachable(control.address));
    let address = SocketAddr::new(host, options.port.unwrap_or(control.port));
    let console = Destination { address, password: control.password.as_ref() };
    if let Some(("check", args)) = options.words.split_first().map(|(word, args)| (word.as_str(), args)) {
        return Ok(console.check(args, out));
    }
    let code = console.call(&options.words, options.json, out, err);
    if let Some(unread) = unread.filter(|_| code == Failure::UNAVAILABLE) {
        complain(err, &format!("{unread}; say --address and --port if the console is elsewhere"));
    }
    Ok(code)
}

/// Where a console is.
#[derive(Clone, Copy, Debug)]
pub struct Destination<'a> {
    /// Address and port to connect to.
    pub address: SocketAddr,
    /// The password, for a console that asks for it.
    pub password: Option<&'a Secret>,
}

impl Destination<'_> {
    /// Does one command at that console. Output and exit code are those of [`run`].
    pub fn call(&self, words: &[String], json: bool, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
        let command = words.join(" ");
        if command.trim().is_empty() || command.contains(char::is_control) {
            complain(err, "name one command of the console, such as 'sipban ctl status' or 'sipban ctl help'");
            return Failure::USAGE;
        }
        let answer = match self.ask(&format!("{command}{}", if json { " --json" } else { "" })) {
            Ok(answer) => answer,
            Err(error) => {
                complain(err, &error.to_string());
                return Failure::UNAVAILABLE;
            }
        };
        if !answer.ok {
            // Where standard error is closed, the exit code has to do.
            let _ = err.write_all(answer.text.as_bytes());
            return FAILED;
        }
        match out.write_all(answer.text.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => OK,
            Err(error) => {
                complain(err, &format!("cannot write the answer: {error}"));
                Failure::OUTPUT
            }
        }
    }

    /// Says in a line how the daemon there is, and returns the exit status of a plugin of Nagios.
    fn check(&self, args: &[String], out: &mut dyn Write) -> u8 {
        let ask = |command: &str| match self.ask(command) {
            Ok(Said { ok: true, text }) => Ok(text),
            Ok(Said { text, .. }) => Err(text),
            Err(silence) => Err(silence.to_string()),
        };
        let (line, code) = check::check(args, ask);
        // Where standard output is closed, the exit status has to do.
        let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
        code
    }

    fn ask(&self, command: &str) -> Result<Said, Silence> {
        /// Longer than the console itself waits for its owner.
        const PATIENCE: Duration = Duration::from_secs(60);
        let address = self.address;
        let stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(|e| Silence::Unreachable(address, e))?;
        let broken = |error| Silence::Broken(address, error);
        stream.set_read_timeout(Some(PATIENCE)).map_err(broken)?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(broken)?;

        let mut reader = BufReader::new(&stream);
        let send = |text: String| (&stream).write_all(text.as_bytes()).map_err(broken);
        // Nothing is sent before the prompt. A console that refuses us closes the connection, and if something of ours
        // were unread then, its reason would be lost.
        let turn = |reader: &mut BufReader<&TcpStream>| match read_until(reader, &[PROMPT, PASSWORD_PROMPT]) {
            Ok(Turn::Ours(prompt)) => Ok(prompt),
            Ok(Turn::Over(said)) => Err(Silence::Refused(address, said)),
            Err(error) => Err(broken(error)),
        };
        if turn(&mut reader)? == PASSWORD_PROMPT {
            let Some(Secret(password)) = self.password else {
                let why = "it wants control.password, which the configuration here does not have";
                return Err(Silence::Refused(address, why.to_owned()));
            };
            send(format!("{password}\n"))?;
            if turn(&mut reader)? == PASSWORD_PROMPT {
                return Err(Silence::Refused(address, "control.password is not the one it wants".to_owned()));
            }
        }
        send(format!("ctl\n{command}\n"))?;
        read_answer(&mut reader, MAX_ANSWER).map_err(broken)
    }
}

fn complain(err: &mut dyn Write, text: &str) {
    // Where standard error is closed, the exit code has to do.
    let _ = writeln!(err, "sipban ctl: {text}");
}

struct Said {
    ok: bool,
    /// Lines, each with its end.
    text: String,
}

/// Why there is no answer.
enum Silence {
    Unreachable(SocketAddr, io::Error),
    Broken(SocketAddr, io::Error),
    /// The console said this instead of a prompt and hung up.
    Refused(SocketAddr, String),
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Silence::Unreachable(at, error) => {
                write!(f, "cannot connect to the console at {at}: {error}; is sipban running there?")
            }
            Silence::Broken(at, error) => write!(f, "lost the console at {at} before its answer was complete: {error}"),
            Silence::Refused(at, text) if text.is_empty() => write!(f, "the console at {at} closed the connection"),
            Silence::Refused(at, text) => write!(f, "the console at {at} closed the connection: {text}"),
        }
    }
}

/// Where to reach the console of this machine. Whatever its address, it listens on loopback too, where it knows its
/// users.
pub(super) fn reachable(address: IpAddr) -> IpAddr {
    match address {
        own if own.to_canonical().is_loopback() => own,
        IpAddr::V6(any) if any.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        _ => Ipv4Addr::LOCALHOST.into(),
    }
}

enum Turn<'a> {
    /// The console shows this prompt.
    Ours(&'a str),
    /// The connection is closed; this was said before.
    Over(String),
}

/// Reads up to one of these prompts, at most 4096 bytes: what a console says before is short.
fn read_until<'a>(reader: &mut impl BufRead, prompts: &[&'a str]) -> io::Result<Turn<'a>> {
    const LONGEST: u64 = 4096;
    let mut said = Vec::new();
    for byte in reader.take(LONGEST).bytes() {
        match byte {
            Ok(byte) => said.push(byte),
            // The console has closed the connection with something of ours unread.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => return Err(error),
        }
        if let Some(prompt) = prompts.iter().find(|prompt| said.ends_with(prompt.as_bytes())) {
            return Ok(Turn::Ours(prompt));
        }
    }
    Ok(Turn::Over(printable(String::from_utf8_lossy(&said).trim())))
}

/// Reads an answer of at most `limit` bytes. Whoever gave it, its lines are harmless to a terminal.
///
/// # Errors
/// If it ends too soon or too late, or cannot be read.
fn read_answer(reader: impl BufRead, limit: u64) -> io::Result<Said> {
    let mut lines = reader.take(limit);
    let (mut begun, mut text) = (false, String::new());
    loop {
        let mut line = Vec::new();
        lines.read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            let too_long = || io::Error::new(ErrorKind::InvalidData, format!("it is longer than {limit} bytes"));
            return Err(if lines.limit() == 0 { too_long() } else { ErrorKind::UnexpectedEof.into() });
        }
        match &line[..] {
            b"ctl" => begun = true,
            b"ok" | b"error" if begun => return Ok(Said { ok: line == b"ok", text }),
            _ if begun => {
                text.push_str(&printable(&String::from_utf8_lossy(line.strip_prefix(b" ").unwrap_or(&line))));
                text.push('\n');
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn answer(text: &str) -> io::Result<(bool, String)> {
        read_answer(Cursor::new(text), 100).map(|answer| (answer.ok, answer.text))
    }

    #[test]
    fn an_answer_ends_with_its_outcome_whatever_its_text_says() {
        assert_eq!(answer("\nctl\n a\n\x20\n ok\n  b\nok\n").unwrap(), (true, "a\n\nok\n b\n".to_owned()));
        assert_eq!(answer("ctl\n no\nerror\n").unwrap(), (false, "no\n".to_owned()));
        assert_eq!(answer("ctl\nok\n").unwrap(), (true, String::new()));
    }

    #[test]
    fn an_answer_cut_short_is_no_answer() {
        for text in ["", "ok\n", "ctl\n", "ctl\n 192.0.2.7 bl"] {
            assert_eq!(answer(text).unwrap_err().kind(), ErrorKind::UnexpectedEof, "{text:?}");
        }
    }

    #[test]
    fn what_a_false_console_says_commands_no_terminal() {
        let said = "ctl\n a\u{1b}[2J\u{9b}\u{202e}b\r\u{7}\n\u{1b}c\nerror\n";
        assert_eq!(answer(said).unwrap(), (false, "a\\u{1b}[2J\\u{9b}\\u{202e}b\\r\\u{7}\n\\u{1b}c\n".to_owned()));
        let read = read_answer(Cursor::new(b"ctl\n \xff\nok\n"), 100).unwrap();
        assert_eq!(read.text, "\u{fffd}\n");
    }

    #[test]
    fn an_answer_without_an_end_is_given_up() {
        let (fits, endless) = (" x".repeat(47) + "\nok\n", " x\n".repeat(40));
        assert_eq!(format!("ctl\n{fits}").len(), 102);
        assert_eq!(answer(&format!("ctl\n{}", &fits[2..])).unwrap().1.len(), 92);
        for said in [format!("ctl\n{fits}"), format!("ctl\n{endless}"), "x".repeat(200)] {
            assert!(answer(&said).err().unwrap().to_string().contains("longer than 100 bytes"), "{said}");
        }
    }

    #[test]
    fn a_prompt_or_the_end_is_waited_for() {
        let mut said = Cursor::new("\r\nSipban\r\nsipban>rest");
        assert!(matches!(read_until(&mut said, &[PROMPT]), Ok(Turn::Ours(PROMPT))));
        assert_eq!(said.position(), 17);
        match read_until(&mut Cursor::new("too many sessions\r\n"), &[PROMPT]) {
            Ok(Turn::Over(said)) => assert_eq!(said, "too many sessions"),
            _ => panic!("no prompt, and yet a turn"),
        }
    }

    #[test]
    fn a_console_is_reached_over_loopback_wherever_else_it_listens() {
        for (listens, reached) in [
            ("0.0.0.0", "127.0.0.1"),
            ("192.0.2.1", "127.0.0.1"),
            ("2001:db8::1", "127.0.0.1"),
            ("127.0.0.2", "127.0.0.2"),
            ("::", "::1"),
            ("::1", "::1"),
        ] {
            assert_eq!(reachable(listens.parse().unwrap()), reached.parse::<IpAddr>().unwrap());
        }
    }

    #[test]
    fn a_missing_console_or_command_is_told_with_its_own_exit_code() {
        let console = Destination { address: (Ipv4Addr::LOCALHOST, 1).into(), password: None };
        let call = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let code = console.call(&words, false, &mut out, &mut err);
            assert!(out.is_empty());
            (code, String::from_utf8(err).unwrap())
        };
        let (code, text) = call(&["uptime"]);
        assert_eq!(code, Failure::UNAVAILABLE);
        assert!(text.contains("127.0.0.1:1") && text.contains("is sipban running"), "{text}");
        for words in [&[][..], &[" "], &["ping\nflush"]] {
            assert_eq!(call(words).0, Failure::USAGE, "{words:?}");
        }
    }
}
