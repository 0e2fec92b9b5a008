//! Where a list comes from: a server or a file.

use std::fs::Metadata;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::copy::Copy;
use super::parse::{self, Batch, Parsed};
use crate::config::{FeedConfig, FeedFormat, FeedUrl, Secret};
use crate::file;
use crate::model::nets::Nets;
use crate::web::{self, Client, Limits};

/// Where APIBAN is, up to the key.
const APIBAN: &str = "https://apiban.org/api/";

/// What a source says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The list is the one that is held.
    Same,
    /// A whole list.
    List {
        /// What it says.
        parsed: Parsed,
        /// What the source calls this version of it.
        etag: Option<String>,
        /// When the source says that it was changed.
        modified: Option<String>,
    },
    /// A part more of a list that is had in parts.
    Batch {
        /// Its entries.
        nets: Vec<IpNet>,
        /// Where the next part begins.
        id: String,
    },
    /// There are no more parts.
    End,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// In words.
    pub what: String,
    /// How long the source wants not to be asked.
    pub wait: Option<Duration>,
}

impl From<String> for Failed {
    fn from(what: String) -> Failed {
        Failed { what, wait: None }
    }
}

/// A source of a list.
#[derive(Debug)]
pub struct Source {
    config: FeedConfig,
    limits: Limits,
    /// What was put in force last.
    last: Option<Arc<Nets>>,
}

impl Source {
    /// Asks for nothing yet.
    pub fn new(config: &FeedConfig) -> Source {
        Source { config: config.clone(), limits: Limits::default(), last: None }
    }

    /// One that has less time and room.
    pub fn with_limits(config: &FeedConfig, limits: Limits) -> Source {
        Source { limits, ..Source::new(config) }
    }

    /// Where it is, for a copy to say where it came from.
    pub fn origin(&self) -> String {
        self.config.url.as_ref().map_or_else(|| APIBAN.to_owned(), FeedUrl::to_string)
    }

    /// Asks for what is newer than this copy.
    ///
    /// # Errors
    /// If there is no answer, or none that is a list.
    pub fn ask(&self, copy: &Copy) -> Result<Answer, Failed> {
        match (&self.config.url, self.config.format, &self.config.key) {
            (Some(FeedUrl::File(path)), ..) => self.read(path, copy),
            (Some(FeedUrl::Web(url)), FeedFormat::Apiban, Some(key)) => self.ask_apiban(url, key, copy),
            (None, _, Some(key)) => self.ask_apiban(APIBAN, key, copy),
            (Some(FeedUrl::Web(url)), ..) => self.get(url, copy),
            (None, ..) => Err("it is not said where it is".to_owned().into()),
        }
    }

    /// Whether this list differs from the one that was put in force last. From then on it is that.
    pub(super) fn is_news(&mut self, list: &Arc<Nets>) -> bool {
        let is_same = self.last.as_ref().is_some_and(|last| Arc::ptr_eq(last, list) || last == list);
        self.last = Some(Arc::clone(list));
        !is_same
    }

    /// Nothing is in force any more.
    pub(super) fn forget(&mut self) {
        self.last = None;
    }

    fn get(&self, url: &str, copy: &Copy) -> Result<Answer, Failed> {
        // What is not held cannot be the same.
        let held = |what: &Option<String>| what.clone().filter(|_| !copy.is_empty());
        let conditions = [("If-None-Match", held(&copy.etag)), ("If-Modified-Since", held(&copy.modified))];
        let headers: Vec<(&str, &str)> =
            conditions.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect();
        let web::Answer { status, etag, modified, retry_after, body } = self.client(url)?.get(url, &headers)?;
        match status {
            200 => {
                let parsed = parse::list(self.config.format, &body).map_err(|wrong| wrong.to_string())?;
                Ok(Answer::List { parsed, etag, modified })
            }
            304 => Ok(Answer::Same),
            status => Err(Failed { what: format!("the server answers {status}"), wait: retry_after }),
        }
    }

    /// The end of the list is an answer 400 with the ID `none`.
    fn ask_apiban(&self, url: &str, Secret(key): &Secret, copy: &Copy) -> Result<Answer, Failed> {
        let slash = if url.ends_with('/') { "" } else { "/" };
        let from = copy.id.as_ref().map_or(String::new(), |id| format!("/{id}"));
        let answer = self.client(url)?.get(&format!("{url}{slash}{key}/banned{from}"), &[])?;
        let failed = |what: String| Failed { what, wait: answer.retry_after };
        match (answer.status, parse::apiban(&answer.body)) {
            (200, Ok(Batch::Some { nets, id })) => Ok(Answer::Batch { nets, id }),
            (200 | 400, Ok(Batch::End)) => Ok(Answer::End),
            (200, Err(wrong)) => Err(failed(wrong.to_string())),
            (401 | 403, _) => Err(failed("the server refuses the key".to_owned())),
            (429, _) => Err(failed("the server is asked too often".to_owned())),
            (status, _) => Err(failed(format!("the server answers {status}"))),
        }
    }

    fn client(&self, url: &str) -> Result<Client, String> {
        Client::new(url.starts_with("https://"), self.config.ca.as_deref(), self.limits)
    }

    /// A file is the same if it was not written since.
    fn read(&self, path: &Path, copy: &Copy) -> Result<Answer, Failed> {
        let failed = |why: std::io::Error| Failed::from(format!("{}: {why}", path.display()));
        let mut opened = file::open(path).map_err(failed)?;
        let metadata = opened.metadata().map_err(failed)?;
        let modified = Some(version(&metadata));
        if modified == copy.modified && !copy.is_empty() {
            return Ok(Answer::Same);
        }
        let mut bytes = Vec::new();
        let read = (&mut opened).take(self.limits.bytes + 1).read_to_end(&mut bytes).map_err(failed)?;
        if read as u64 > self.limits.bytes {
            return Err(format!("{} is longer than {} bytes", path.display(), self.limits.bytes).into());
        }
        let parsed = parse::list(self.config.format, &bytes).map_err(|wrong| wrong.to_string())?;
        Ok(Answer::List { parsed, etag: None, modified })
    }
}

fn version(file: &Metadata) -> String {
    format!("{}.{:09} {} {}", file.mtime(), file.mtime_nsec(), file.size(), file.ino())
}
