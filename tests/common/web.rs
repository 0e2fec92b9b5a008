//! A web server that answers as the test tells it to.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What is asked: the first line and the headers, in small letters.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    pub headers: Vec<String>,
    pub body: String,
}

impl Asked {
    pub fn has(&self, header: &str) -> bool {
        self.headers.iter().any(|line| line == header)
    }
}

/// Writes an answer as the bytes it likes.
pub type Answer = Box<dyn Fn(&Asked, &mut dyn ReadWrite) -> std::io::Result<()> + Send + Sync>;

pub trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

/// A server on loopback of the thread's network, until it is dropped.
pub struct Server {
    pub address: SocketAddr,
    answer: Arc<Mutex<Arc<Answer>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    ends: Arc<AtomicBool>,
}

impl Server {
    pub fn start(answer: Answer) -> Server {
        Server::with_tls(answer, None)
    }

    pub fn with_tls(answer: Answer, tls: Option<Arc<rustls::ServerConfig>>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server {
            address: listener.local_addr().unwrap(),
            answer: Arc::new(Mutex::new(Arc::new(answer))),
            asked: Arc::default(),
            ends: Arc::default(),
        };
        let (answer, asked, ends) = (Arc::clone(&server.answer), Arc::clone(&server.asked), Arc::clone(&server.ends));
        let serve = move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                let (answer, asked, tls) = (Arc::clone(&answer.lock().unwrap()), Arc::clone(&asked), tls.clone());
                // Who asked may go away whenever it likes.
                thread::Builder::new().spawn(move || drop(one(stream, &answer, &asked, tls))).unwrap();
            }
        };
        thread::Builder::new().name("server".into()).spawn(serve).unwrap();
        server
    }

    /// From now on it answers like this.
    pub fn answer(&self, answer: Answer) {
        *self.answer.lock().unwrap() = Arc::new(answer);
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All that was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Ends it; `netns` is where it listens.
    pub fn stop(&self) {
        self.ends.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

fn one(
    stream: TcpStream,
    answer: &Answer,
    asked: &Mutex<Vec<Asked>>,
    tls: Option<Arc<rustls::ServerConfig>>,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    match tls {
        None => talk(stream, answer, asked),
        Some(config) => {
            let connection = rustls::ServerConnection::new(config).map_err(std::io::Error::other)?;
            talk(rustls::StreamOwned::new(connection, stream), answer, asked)
        }
    }
}

fn talk(mut stream: impl ReadWrite, answer: &Answer, asked: &Mutex<Vec<Asked>>) -> std::io::Result<()> {
    let mut lines = Vec::new();
    let mut reader = BufReader::new(&mut stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    let Some(first) = lines.first().cloned() else { return Ok(()) };
    let headers: Vec<String> = lines[1..].iter().map(|line| line.to_lowercase()).collect();
    let length = headers.iter().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let it = Asked { path, headers, body: String::from_utf8_lossy(&body).into_owned() };
    asked.lock().unwrap().push(it.clone());
    answer(&it, &mut stream)?;
    stream.flush()
}

/// An answer with a body, and all that belongs to it.
pub fn whole(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Always answers with these bytes.
pub fn always(bytes: Vec<u8>) -> Answer {
    Box::new(move |_, stream| stream.write_all(&bytes))
}

/// A list of this many addresses, from 45.10.0.1 on.
pub fn addresses(count: u32) -> String {
    (1..=count).map(|n| format!("{}\n", std::net::Ipv4Addr::from_bits(0x2d0a_0000 + n))).collect()
}
