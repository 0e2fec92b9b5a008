//! The local API of CrowdSec: what is asked of it, and what it answers.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::decisions::Stream;
use crate::config::{CrowdsecConfig, FeedUrl, Secret};
use crate::web::{Answer, Client, Limits};

/// What an answer may cost: the list of decisions is asked for as a whole.
const LIMITS: Limits = Limits { time: Duration::from_secs(20), bytes: 64 << 20 };

/// A server, and who we are there.
pub(super) struct Api {
    client: Client,
    base: String,
    key: Option<Secret>,
    machine: String,
    password: Option<Secret>,
    /// What a login has brought, until the server does not take it any more.
    token: Option<String>,
}

#[derive(Deserialize)]
struct Login {
    token: String,
}

impl Api {
    /// Speaks with nobody yet.
    ///
    /// # Errors
    /// If there is no authority to trust.
    pub(super) fn new(config: &CrowdsecConfig) -> Result<Api, String> {
        let base = match &config.url {
            Some(FeedUrl::Web(url)) => url.trim_end_matches('/').to_owned(),
            _ => return Err("crowdsec.url is not that of a server".to_owned()),
        };
        let client = Client::new(base.starts_with("https://"), config.ca.as_deref(), LIMITS)?;
        let (key, machine, password) = (config.key.clone(), config.machine.clone(), config.password.clone());
        Ok(Api { client, base, key, machine, password, token: None })
    }

    /// Where the server is.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// Whether we are a bouncer, which is told of decisions.
    pub(super) fn is_bouncer(&self) -> bool {
        self.key.is_some()
    }

    /// Whether we are a machine, which reports.
    pub(super) fn is_machine(&self) -> bool {
        self.password.is_some()
    }

    /// All decisions, or those that have changed since the last answer.
    pub(super) fn decisions(&self, all: bool) -> Result<Stream, String> {
        let Some(Secret(key)) = &self.key else { return Err("there is no key".to_owned()) };
        let url = format!("{}/v1/decisions/stream?startup={all}", self.base);
        let answer = self.client.get(&url, &[("X-Api-Key", key)])?;
        refused(answer.status)?;
        serde_json::from_slice(&answer.body).map_err(|why| format!("the answer is no list: {why}"))
    }

    /// Whether the server takes the key. Does not touch what it remembers of the stream.
    pub(super) fn knock(&self) -> Result<(), String> {
        let Some(Secret(key)) = &self.key else { return Err("there is no key".to_owned()) };
        // An address that nobody has.
        let url = format!("{}/v1/decisions?ip=192.0.2.1", self.base);
        refused(self.client.get(&url, &[("X-Api-Key", key)])?.status)
    }

    /// Reports these alerts, after a login if it takes one.
    pub(super) fn report(&mut self, alerts: &[Value]) -> Result<(), String> {
        let body = json!(alerts).to_string();
        if self.token.is_some() {
            match self.post_alerts(&body)?.status {
                // The token has ended.
                401 | 403 => {}
                status => return taken(status),
            }
        }
        self.login()?;
        taken(self.post_alerts(&body)?.status)
    }

    /// Logs in as a machine.
    pub(super) fn login(&mut self) -> Result<(), String> {
        let Some(Secret(password)) = &self.password else { return Err("there is no password".to_owned()) };
        let body = json!({ "machine_id": self.machine, "password": password, "scenarios": [] }).to_string();
        let answer = self.client.post(&format!("{}/v1/watchers/login", self.base), &[], body.as_bytes())?;
        match answer.status {
            200 => {
                let Login { token } = serde_json::from_slice(&answer.body)
                    .map_err(|_| "the server answers a login with nonsense".to_owned())?;
                self.token = Some(token);
                Ok(())
            }
            401 | 403 => {
                Err("the server refuses the machine: look at crowdsec.machine and crowdsec.password here, and \
                              at `cscli machines list` there"
                    .to_owned())
            }
            status => Err(format!("the server answers {status} to a login")),
        }
    }

    fn post_alerts(&self, body: &str) -> Result<Answer, String> {
        let token = format!("Bearer {}", self.token.as_deref().unwrap_or_default());
        let url = format!("{}/v1/alerts", self.base);
        self.client.post(&url, &[("Authorization", &token)], body.as_bytes())
    }
}

/// Why alerts are not taken with this status, if they are not.
fn taken(status: u16) -> Result<(), String> {
    match status {
        200 | 201 => Ok(()),
        status => Err(format!("the server does not take alerts: it answers {status}")),
    }
}

/// Why a bouncer is not answered with this status, if it is not.
fn refused(status: u16) -> Result<(), String> {
    match status {
        200 => Ok(()),
        401 | 403 => Err("the server refuses the key: look at crowdsec.key and `cscli bouncers list`".to_owned()),
        status => Err(format!("the server answers {status}")),
    }
}
