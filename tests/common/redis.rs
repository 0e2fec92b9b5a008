//! A real redis-server on a port of loopback of the thread that starts it, with its data in a folder of its own.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

/// How long anything that must happen may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// A running server, ended when dropped.
pub struct Redis {
    process: Option<Child>,
    port: u16,
    args: Vec<String>,
    folder: TempDir,
}

impl Redis {
    /// Starts one that keeps its data in memory only, with more arguments such as `--requirepass x`.
    pub fn start(args: &[&str]) -> Redis {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Redis::start_at(port, args)
    }

    /// The same at this port.
    pub fn start_at(port: u16, args: &[&str]) -> Redis {
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        let mut redis = Redis { process: None, port, args, folder: tempfile::tempdir().unwrap() };
        redis.resume();
        redis
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it keeps its data, and a place for its certificates.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Kills it; connections break.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Starts it again, with what it saved.
    pub fn resume(&mut self) {
        assert!(self.process.is_none(), "it is running");
        let mut command = program("redis-server");
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]);
        command.arg(self.folder.path()).args(&self.args);
        command.stdout(fs::File::create(self.path("log")).unwrap());
        self.process = Some(command.spawn().expect("redis-server of Debian's package redis-server"));
        let mut tries = DEADLINE.as_millis() / 10;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            thread::sleep(Duration::from_millis(10));
            tries -= 1;
            assert!(tries > 0, "no redis-server: {}", fs::read_to_string(self.path("log")).unwrap_or_default());
        }
    }

    /// Has the process stand still, as a server that hangs; [`Redis::wake`] ends it.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    pub fn wake(&self) {
        self.signal("CONT");
    }

    /// Says this to it as its administrator; the answer.
    #[track_caller]
    pub fn say(&self, words: &[&str]) -> String {
        let mut command = program("redis-cli");
        command.args(["-p", &self.port.to_string(), "--no-auth-warning"]).args(words);
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        assert!(output.status.success(), "{words:?}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    /// Says all these lines.
    pub fn say_lines(&self, lines: &str) {
        use std::io::Write;
        let mut command = program("redis-cli");
        command.args(["-p", &self.port.to_string()]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut cli = command.spawn().unwrap();
        cli.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        assert!(cli.wait().unwrap().success());
    }

    fn signal(&self, signal: &str) {
        let pid = self.process.as_ref().unwrap().id().to_string();
        assert!(program("kill").args([format!("-{signal}"), pid]).status().unwrap().success());
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

#[expect(clippy::disallowed_methods, reason = "a server of the test's own")]
fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    command.stdin(Stdio::null());
    command
}
