//! One conversation with a user: reads his lines, asks the owner, writes the answers.
//!
//! To a person an answer is a blank line, the lines of text, a blank line and the prompt. After the command `ctl`,
//! which is answered with the line `ctl` alone, answers have the form that [`crate::command::ctl`] reads: each line of text
//! behind one space, then the line `ok` or `error`.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use crate::config::Secret;
use crate::console::Context;
use crate::console::access;
use crate::console::command::{self, Command};
use crate::console::request::{NotAsked, Reply, Request};
use crate::console::telnet::{Input, MAX_LINE, Telnet};
use crate::console::text::{self, Page};

/// What a person sees when it is his turn.
pub const PROMPT: &str = "sipban>";
/// What a person sees when he is asked for the password.
pub const PASSWORD_PROMPT: &str = "Password: ";

/// One connection.
pub struct Session<'a> {
    stream: &'a TcpStream,
    context: &'a Context,
    telnet: Telnet,
    /// What the user did and has not been answered yet.
    inputs: VecDeque<Input>,
    /// Bytes to be sent.
    out: Vec<u8>,
    /// Whether nothing has been read yet.
    fresh: bool,
    /// Whether answers are for `sipban ctl`.
    machine: bool,
}

impl<'a> Session<'a> {
    /// A conversation over this connection, in which nothing has been said yet.
    pub fn new(stream: &'a TcpStream, context: &'a Context) -> Session<'a> {
        let (telnet, inputs, out) = (Telnet::default(), VecDeque::new(), Vec::new());
        Session { stream, context, telnet, inputs, out, fresh: true, machine: false }
    }

    /// Asks for the password, three times at most, with a growing delay after a wrong one, and within
    /// [`Patience::login`](super::Patience::login) altogether. Returns whether it was right.
    ///
    /// # Errors
    /// If the connection fails.
    pub fn login(&mut self, password: &Secret) -> io::Result<bool> {
        const TRIES: u32 = 3;
        let deadline = self.context.clock.now().monotonic + self.context.patience.login;
        self.telnet.hide_typing(true, &mut self.out);
        for attempt in 0..TRIES {
            self.say(PASSWORD_PROMPT)?;
            let left = deadline.saturating_sub(self.context.clock.now().monotonic);
            let Some(Input::Line(line)) = self.input(left)? else { return Ok(false) };
            if command::is_foreign(&line) {
                return Ok(false);
            }
            if access::is_password(&line, password) {
                self.telnet.hide_typing(false, &mut self.out);
                return Ok(true);
            }
            thread::sleep(self.context.patience.wrong_password * 2u32.pow(attempt));
            self.say("\r\n")?;
        }
        Ok(false)
    }

    /// Greets, and then does what is asked until the user leaves, falls silent or is no user at all.
    ///
    /// # Errors
    /// If the connection fails.
    pub fn converse(&mut self) -> io::Result<()> {
        self.say(&format!("\r\nSipban\r\nuse 'help' for more commands\r\n{PROMPT}"))?;
        let idle = self.context.patience.idle;
        let mut first = true;
        while let Some(input) = self.input(idle)? {
            match input {
                Input::Line(line) => {
                    if command::is_foreign(&line) || !self.obey(&line)? {
                        return Ok(());
                    }
                }
                // No person begins like this, but a request for a very long web address does.
                Input::TooLong if first => return Ok(()),
                Input::TooLong => self.answer(&Page::failed(format!("line longer than {MAX_LINE} bytes ignored")))?,
                Input::Abandoned => self.answer(&Page { ok: false, lines: vec![] })?,
                Input::Leave => return Ok(()),
            }
            first = false;
        }
        Ok(())
    }

    /// Tells the user something outside of any answer.
    ///
    /// # Errors
    /// If the connection fails.
    pub fn say(&mut self, text: &str) -> io::Result<()> {
        self.out.extend(text.as_bytes());
        self.flush()
    }

    /// Does what a line says. Returns whether the conversation goes on.
    fn obey(&mut self, line: &str) -> io::Result<bool> {
        match command::parse(line) {
            Ok(Command::Nothing) => self.answer(&Page { ok: true, lines: vec![] })?,
            Ok(Command::Help) => self.answer(&text::help(&self.context.holder))?,
            Ok(Command::Machine) => {
                self.machine = true;
                self.say("\nctl\n")?;
            }
            Ok(Command::Ask { request: Request::Ping, json }) => self.ping(json)?,
            Ok(Command::Ask { request, json }) => {
                let (reply, _) = self.ask(request);
                self.answer(&self.page(&reply, json))?;
            }
            Ok(Command::Whois { address, json }) => {
                let page = match self.context.whois.ask(address, &self.context.clock) {
                    Ok(answer) => text::whois(&answer, json),
                    Err(error) => self.page(&Reply::Failed(format!("No response from WHOIS servers: {error}")), json),
                };
                self.answer(&page)?;
            }
            Ok(Command::Exit) => {
                if self.machine {
                    self.say("ok\n")?;
                }
                return Ok(false);
            }
            Err(text) => self.answer(&Page::failed(text))?,
        }
        Ok(true)
    }

    /// Says that the Ping is sent before it waits for the Pong.
    fn ping(&mut self, json: bool) -> io::Result<()> {
        let (reply, replies) = self.ask(Request::Ping);
        if reply != Reply::PingSent {
            return self.answer(&self.page(&reply, json));
        }
        self.begin();
        if !json {
            self.lines(&self.page(&reply, json));
            self.flush()?;
        }
        let patience = self.context.patience.pong;
        let pong = replies
            .recv_timeout(patience)
            .unwrap_or_else(|_| Reply::Failed(format!("No Pong within {} s", patience.as_secs())));
        let page = self.page(&pong, json);
        self.lines(&page);
        self.end(page.ok)
    }

    /// Puts a request to the owner and waits for its first reply; more may follow.
    fn ask(&self, request: Request) -> (Reply, Receiver<Reply>) {
        let patience = &self.context.patience;
        // There is room for more replies than the owner ever gives, so it never has to wait.
        let (answer, replies) = bounded(4);
        let failed = |text: &str| Reply::Failed(text.to_owned());
        let reply = match (self.context.ask)(request, answer, patience.enqueue) {
            Ok(()) => match replies.recv_timeout(patience.reply) {
                Ok(reply) => reply,
                Err(RecvTimeoutError::Timeout) => failed("busy, try again: the command may still be carried out"),
                Err(RecvTimeoutError::Disconnected) => failed("no answer: the program is stopping"),
            },
            Err(NotAsked::Busy) => failed("busy, try again"),
            Err(NotAsked::Gone) => failed("the program is stopping"),
        };
        (reply, replies)
    }

    fn page(&self, reply: &Reply, json: bool) -> Page {
        let form = if json { text::json } else { text::page };
        form(reply, self.context.local_time, &self.context.atlas)
    }

    fn answer(&mut self, page: &Page) -> io::Result<()> {
        self.begin();
        self.lines(page);
        self.end(page.ok)
    }

    fn begin(&mut self) {
        if !self.machine {
            self.out.extend(b"\r\n");
        }
    }

    fn lines(&mut self, page: &Page) {
        let (before, after) = if self.machine { (" ", "\n") } else { ("", "\r\n") };
        for line in &page.lines {
            self.out.extend([before, line, after].map(str::as_bytes).concat());
        }
    }

    fn end(&mut self, ok: bool) -> io::Result<()> {
        match (self.machine, ok) {
            (true, true) => self.say("ok\n"),
            (true, false) => self.say("error\n"),
            (false, _) => self.say(&format!("\r\n{PROMPT}")),
        }
    }

    /// The next thing the user does, or `None` if he is gone, silent for `patience`, or no user at all.
    fn input(&mut self, patience: Duration) -> io::Result<Option<Input>> {
        let deadline = self.context.clock.now().monotonic + patience;
        let mut bytes = [0; 4096];
        loop {
            if let Some(input) = self.inputs.pop_front() {
                return Ok(Some(input));
            }
            let left = deadline.saturating_sub(self.context.clock.now().monotonic);
            if left.is_zero() {
                return Ok(None);
            }
            self.stream.set_read_timeout(Some(left))?;
            let length = match self.stream.read(&mut bytes) {
                Ok(0) => return Ok(None),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            };
            if std::mem::take(&mut self.fresh) && begins_tls(bytes[0]) {
                return Ok(None);
            }
            self.inputs.extend(self.telnet.feed(&bytes[..length], &mut self.out));
            self.flush()?;
        }
    }

    /// Sends what is due. Fails when the other side has not read for [`Patience::write`](super::Patience::write).
    fn flush(&mut self) -> io::Result<()> {
        let mut stream = self.stream;
        let sent = stream.write_all(&self.out);
        // A list of all blocks can be large, so its memory is given back.
        self.out = Vec::new();
        sent
    }
}

/// Whether a connection that begins with this byte speaks TLS. That begins with a record of a handshake, or, from old
/// clients, with one of SSL 2, whose first byte is never the first of a text in UTF-8.
fn begins_tls(byte: u8) -> bool {
    matches!(byte, 0x16 | 0x80..=0xbf)
}
