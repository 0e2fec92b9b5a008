//! Asks web servers: everything within a time, in bounded memory, and whole or not at all.
//!
//! INVARIANT: no error names more of an address than its host, because the rest may be a secret.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ureq::http::{HeaderMap, Response};
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};
use ureq::{Agent, Body, Error};

use crate::tls;

/// At most this often is a request led elsewhere.
const MOST_REDIRECTS: u32 = 3;

/// What an answer may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// At most this long may all of it take, from the look-up of the host to the last byte.
    pub time: Duration,
    /// At most this many bytes may the body have.
    pub bytes: u64,
}

impl Default for Limits {
    /// Two minutes, and 64 MiB: a million entries of a list with room for a comment each.
    fn default() -> Limits {
        Limits { time: Duration::from_secs(120), bytes: 64 << 20 }
    }
}

/// Asks servers.
#[derive(Clone, Debug)]
pub struct Client {
    agent: Agent,
    limits: Limits,
}

/// What a server answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Such as 200 or 404.
    pub status: u16,
    /// `ETag`, for the next request.
    pub etag: Option<String>,
    /// `Last-Modified`, likewise.
    pub modified: Option<String>,
    /// `Retry-After`, where it is a number of seconds.
    pub retry_after: Option<Duration>,
    /// All of the body.
    pub body: Vec<u8>,
}

impl Client {
    /// One that trusts the authorities of `ca`, or else those of this machine. If `only_tls`, it is led nowhere without
    /// TLS either.
    ///
    /// # Errors
    /// If there is no authority to trust.
    pub fn new(only_tls: bool, ca: Option<&Path>, limits: Limits) -> Result<Client, String> {
        let authorities = match tls::authorities(ca) {
            // It may be led to where there is TLS, and then fails.
            Err(_) if !only_tls && ca.is_none() => Vec::new(),
            authorities => authorities?,
        };
        let authorities = authorities.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(tls::provider())
            .root_certs(RootCerts::Specific(Arc::new(authorities)))
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .https_only(only_tls)
            .http_status_as_error(false)
            .max_redirects(MOST_REDIRECTS)
            .max_redirects_will_error(true)
            .timeout_global(Some(limits.time))
            .user_agent(concat!("SIPban/", env!("CARGO_PKG_VERSION")))
            .proxy(None)
            .max_idle_connections(0)
            .build();
        Ok(Client { agent: config.into(), limits })
    }

    /// Asks for what is at this address.
    ///
    /// # Errors
    /// If the server cannot be reached in time, or its answer is not whole. A status is no error.
    pub fn get(&self, url: &str, headers: &[(&str, &str)]) -> Result<Answer, String> {
        let request = headers.iter().fold(self.agent.get(url), |request, (name, value)| request.header(*name, *value));
        self.read(request.call())
    }

    /// Sends JSON to this address.
    ///
    /// # Errors
    /// As [`get`](Client::get).
    pub fn post(&self, url: &str, headers: &[(&str, &str)], json: &[u8]) -> Result<Answer, String> {
        let request = self.agent.post(url).header("Content-Type", "application/json");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.read(request.send(json))
    }

    fn read(&self, response: Result<Response<Body>, Error>) -> Result<Answer, String> {
        let mut response = response.map_err(|error| self.why(&error))?;
        let headers = response.headers();
        let status = response.status().as_u16();
        let mut answer = Answer {
            status,
            etag: text(headers, "etag"),
            modified: text(headers, "last-modified"),
            retry_after: text(headers, "retry-after").and_then(|text| text.parse().ok()).map(Duration::from_secs),
            body: Vec::new(),
        };
        if text(headers, "content-encoding").is_some_and(|encoding| encoding != "identity") {
            return Err("the answer is compressed, which was not asked for".to_owned());
        }
        // An answer that ends with the connection may have been cut short.
        let has_end = headers.contains_key("content-length") || headers.contains_key("transfer-encoding");
        if !has_end && status != 304 && status != 204 {
            return Err("the answer does not say how long it is".to_owned());
        }
        answer.body = response
            .body_mut()
            .with_config()
            .limit(self.limits.bytes)
            .read_to_vec()
            .map_err(|error| self.why(&error))?;
        Ok(answer)
    }

    fn why(&self, error: &Error) -> String {
        let Limits { time, bytes } = self.limits;
        match error {
            Error::Timeout(_) => format!("no whole answer within {:.0?}", time),
            Error::BodyExceedsLimit(_) => format!("the answer is longer than {bytes} bytes"),
            Error::RequireHttpsOnly(_) => "it is led to a server without TLS".to_owned(),
            Error::TooManyRedirects => format!("it is led elsewhere more than {MOST_REDIRECTS} times"),
            Error::HostNotFound => "the host is not found".to_owned(),
            Error::BadUri(_) | Error::Http(_) => "the address cannot be asked for".to_owned(),
            Error::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                "the answer is cut short".to_owned()
            }
            error => error.to_string(),
        }
    }
}

/// The text of a header, if it is one that can be kept.
fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    const LONGEST: usize = 500;
    let text = headers.get(name)?.to_str().ok()?;
    (text.len() <= LONGEST).then(|| text.to_owned())
}
